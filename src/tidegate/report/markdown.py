"""The report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tidegate import __version__
from tidegate.look.words import shown, span
from tidegate.model import State
from tidegate.night.groups import Row
from tidegate.report import words
from tidegate.report.told import Told

SPECIAL = re.compile(r"([\\`*_\[\]<>#|~&$@]|^[-=+]|://|(?<=www)\.|^\d+(?=[.)]))")
STATES = tuple(State)


def text(told: Told) -> str:
    """The whole report."""
    parts = [
        _head(told),
        _verdict(told),
        _groups(told),
        _gate(told),
        _time(told),
        _foretold(told),
        _failures(told),
        _work(told),
    ]
    parts.append(_cost(told))
    parts += [_going_on(told), _versions(told)]
    return "\n\n".join("\n".join(lines) for part in parts if (lines := list(part))) + "\n"


def plainly(said: str) -> str:
    """A text that means nothing to Markdown: on one line, without secrets."""
    return SPECIAL.sub(lambda found: _escaped(found[1]), shown(said))


def _escaped(found: str) -> str:
    if found == "://":
        return r":\//"  # or it would be a link
    if found in "<>&":
        return {"<": "&lt;", ">": "&gt;", "&": "&amp;"}[found]
    return f"{found[:-1]}{found[-1]}\\" if found.isdigit() else f"\\{found}"


def code(said: str) -> str:
    """A text as code, however many backticks it has."""
    line = shown(said)
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def _head(told: Told) -> Iterator[str]:
    name, path = words.title_of(told.batch)
    yield f"# {plainly(name)}"
    yield ""
    if path:
        yield f"{code(path)}  "
    yield plainly(words.when(told))


def _verdict(told: Told) -> Iterator[str]:
    picture = told.picture
    yield f"**{plainly(words.STATUS[picture.standing.status].capitalize())}**"
    yield ""
    yield f"- {plainly(words.counts(told))}"
    yield f"- {plainly(words.attempts(told))}"
    if picture.doubts:
        yield "- the books do not agree:"
        yield from (f"  - {plainly(doubt)}" for doubt in picture.doubts)
    else:
        yield "- the sums of jobs, attempts and events agree"


def _groups(told: Told) -> Iterator[str]:
    rows = told.picture.groups
    if not rows:
        return
    used = [state for state in STATES if any(row.counts.get(state) for row in rows)]
    trials = any(row.share for row in rows)
    yield "## Groups"
    yield ""
    head = ["group", "jobs", *(state.value for state in used), "never interrupted"]
    yield from _table([*head, *(["succeeded, all", "succeeded, never interrupted"] if trials else [])], len(used) + 1)
    for row in rows:
        yield _line([plainly(words.group(told, row.name)), *_numbers(row, used), *(_shares(row) if trials else [])])
    if trials:
        yield ""
        yield "Shares are of the valid results (succeeded or failed), with Wilson's 95 % interval."


def _numbers(row: Row, used: Sequence[State]) -> list[str]:
    clean = f"{sum(row.clean.values())} ({row.clean.get(State.SUCCEEDED, 0)} succeeded)"
    return [str(sum(row.counts.values())), *(str(row.counts.get(state, 0)) for state in used), clean]


def _shares(row: Row) -> list[str]:
    return [words.share(row.share), words.share(row.clean_share)]


def _gate(told: Told) -> Iterator[str]:
    closings = told.picture.closings
    yield "## The gate"
    yield ""
    if not closings:
        yield "It was never shut."
    for one in closings:
        yield f"- **{plainly(words.delayed(told, one))}**"
        if one.evidence or one.reason:
            yield f"  - evidence: {code(one.evidence or one.reason)}"
        yield f"  - {plainly(words.resets(told, one))}"
        yield f"  - {plainly(words.effects(one))}"


def _time(told: Told) -> Iterator[str]:
    picture = told.picture
    whole = sum(picture.spent.values())
    if not whole:
        return
    yield "## Where the night went"
    yield ""
    yield from _table(["what", "of the night", "share", "of all jobs together"], 3)
    for cause in words.told_causes(told):
        spent, waited = picture.spent.get(cause, 0.0), picture.waited.get(cause, 0.0)
        yield _line([plainly(words.cause(cause)), span(spent), f"{spent / whole:.0%}", span(waited) if waited else ""])


def _foretold(told: Told) -> Iterator[str]:
    lines = list(words.foretold(told))
    if lines:
        yield "## What was foretold"
        yield ""
        yield from (f"- {plainly(line)}" for line in lines)


def _failures(told: Told) -> Iterator[str]:
    if not told.picture.failures:
        return
    yield "## What did not succeed"
    yield ""
    for one in told.picture.failures:
        yield f"- {plainly(words.kind(one))}"
        yield f"  - {plainly(words.named(one.jobs))}"
        if place := words.log(told, one):
            yield f"  - output: {code(place)}"


def _work(told: Told) -> Iterator[str]:
    lines = list(words.work(told))
    if lines:
        yield "## Where the work is"
        yield ""
        yield from (f"- {plainly(line)}" for line in lines)


def _cost(told: Told) -> Iterator[str]:
    cost = told.picture.cost
    yield "## Cost"
    yield ""
    yield f"- money: {plainly(words.money(cost.usd))}"
    yield f"- input tokens: {plainly(words.tokens(cost.input_tokens))}"
    yield f"- output tokens: {plainly(words.tokens(cost.output_tokens))}"
    yield from (f"- {plainly(line)}" for line in words.spendings(told))


def _going_on(told: Told) -> Iterator[str]:
    yield "## Going on"
    yield ""
    for does, command in words.commands(told):
        yield f"- {does}: {code(command)}"


def _versions(told: Told) -> Iterator[str]:
    yield "## Versions"
    yield ""
    yield f"- tidegate {__version__} (that wrote this report)"
    for agent, found in told.versions.items():
        yield f"- {plainly(agent)}: {plainly(', '.join(found) or 'unknown')}"


def _table(head: Sequence[str], numbers: int) -> Iterator[str]:
    yield _line(head)
    yield _line(["---:" if 0 < place <= numbers else "---" for place in range(len(head))])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
