"""The report as one HTML page that needs nothing besides itself: styles and plots are inside, no script, no network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files

from tidegate import __version__
from tidegate.look.words import counted, shown, span
from tidegate.model import State
from tidegate.night.closings import Closing
from tidegate.night.ends import Failures
from tidegate.night.steps import HELD, OPENING, Cause
from tidegate.report import plot, words
from tidegate.report.told import Told

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
HUES = 4  # colours of what held
GATES = 12  # scopes that get a bar of their own
NOTED = 50  # closings, and kinds of failures, that are told one by one
STATES = tuple(State)


def text(told: Told) -> str:
    """The whole page."""
    parts = [_verdict, _time, _foretold, _gate, _groups, _failures, _work, _cost, _going_on]
    body = "".join(line for part in parts for line in part(told))
    name, path = words.title_of(told.batch)
    return whole(name, (f'<p class="dim">{plainly(path)}</p>' if path else "") + body)


def whole(name: str, body: str) -> str:
    """A page of this title around a body."""
    title = plainly(name)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">'
        f"<title>{title}</title><style>{_style()}</style></head>"
        f"<body><main><h1>{title}</h1>{body}</main></body></html>\n"
    )


def plainly(said: str) -> str:
    """A text that means nothing to HTML: on one line, without secrets."""
    return escape(shown(said))


def _style() -> str:
    return files("tidegate.report").joinpath("page.css").read_text(encoding="utf-8")


def _verdict(told: Told) -> Iterator[str]:
    picture = told.picture
    status = picture.standing.status
    yield f'<p class="when">{plainly(words.when(told))}</p>'
    yield f'<p class="verdict v-{status}">{plainly(words.STATUS[status].capitalize())}</p>'
    chips = [(state, number) for state, number in picture.counts.items() if number]
    inside = "".join(f'<li class="s-{state.value}"><b>{number:,}</b> {state.value}</li>' for state, number in chips)
    yield f'<ul class="chips" aria-label="jobs by state">{inside}</ul>'
    yield f"<p>{plainly(words.counts(told))}.<br>{plainly(words.attempts(told))}.</p>"
    if picture.doubts:
        lines = "".join(f"<li>{plainly(doubt)}</li>" for doubt in picture.doubts)
        yield f'<div class="doubts"><b>The books do not agree:</b><ul>{lines}</ul></div>'
    else:
        yield '<p class="dim">The sums of jobs, attempts and events agree.</p>'


# --- time --------------------------------------------------------------------------------------


def _time(told: Told) -> Iterator[str]:
    picture = told.picture
    if not sum(picture.spent.values()):
        return
    colours = _colours({**picture.spent, **picture.waited})
    scale = plot.Scale(picture.begin, picture.end)
    yield "<section><h2>Where the night went</h2>"
    yield f'<div class="bar">{plot.spent(picture.spent, colours)}</div>'
    yield from _legend(told, colours)
    busy = f"at most {plot.peak(picture.steps)} at once; shaded: a gate is shut"
    yield f"<h3>Attempts at work <small>{busy}</small></h3>"
    yield f'<div class="plot">{plot.running(picture, scale)}</div>{_axis(told, scale)}'
    yield from _gates(told, scale, colours)
    most = max((sum(step.jobs.values()) for step in picture.steps), default=0)
    yield f"<h3>What the jobs did <small>{counted(most, 'job')} at most, colours as above</small></h3>"
    yield f'<div class="plot">{plot.stacked(picture, scale, colours)}</div>{_axis(told, scale)}</section>'


def _colours(causes: Iterable[Cause]) -> dict[Cause, str]:
    """A class for each cause; what was held by different limits differs."""
    scopes: dict[tuple[str, ...], int] = {}
    found = {}
    for cause in causes:
        number = scopes.setdefault(tuple(cause[1:]), len(scopes)) if cause.scope else 0
        kind = {HELD: f"held{number % HUES}", OPENING: f"open{number % HUES}"}.get(cause.kind, cause.kind)
        found[cause] = f"c-{kind.replace(' ', '-')}"
    return found


def _legend(told: Told, colours: Mapping[Cause, str]) -> Iterator[str]:
    spent, waited = told.picture.spent, told.picture.waited
    whole = sum(spent.values())
    yield '<div class="scroll"><table><thead><tr><th>what<th class="n">of the night<th class="n">share'
    yield '<th class="n">of all jobs together</tr></thead><tbody>'
    for cause in words.told_causes(told):
        length, jobs = spent.get(cause, 0.0), waited.get(cause, 0.0)
        yield f'<tr><td><i class="dot {colours[cause]}"></i>{plainly(words.cause(cause))}'
        yield f'<td class="n">{span(length)}<td class="n">{length / whole:.0%}'
        yield f'<td class="n">{span(jobs) if jobs else "-"}</tr>'
    yield "</tbody></table></div>"


def _axis(told: Told, scale: plot.Scale) -> str:
    marks = scale.marks(told.page.zone)
    inside = "".join(f'<span{" class=last" if x > 88 else ""} style="left:{x:.1f}%">{mark}</span>' for x, mark in marks)
    return f'<div class="axis" aria-hidden="true">{inside}</div>'


def _gates(told: Told, scale: plot.Scale, colours: Mapping[Cause, str]) -> Iterator[str]:
    scopes: dict[str, list[Closing]] = {}
    for one in told.picture.closings:
        scopes.setdefault(one.scope, []).append(one)
    if scopes:
        yield "<h3>The gate <small>strong: shut; pale: opening carefully</small></h3>"
    for scope, some in list(scopes.items())[:GATES]:
        yield f'<div class="lane"><span>{plainly("everything" if scope == "*" else scope)}</span>'
        yield f'<div class="strip">{plot.gate(some, told.picture, scale, colours)}</div></div>'
    if len(scopes) > GATES:
        yield f'<p class="dim">and {len(scopes) - GATES} more</p>'
    if scopes:
        yield _axis(told, scale)


# --- what happened -----------------------------------------------------------------------------


def _gate(told: Told) -> Iterator[str]:
    closings = told.picture.closings
    yield f"<section><h2>The gate was shut {_times(len(closings))}</h2>"
    for one in closings[:NOTED]:
        yield f'<article><p class="said">{plainly(words.delayed(told, one))}</p>'
        if one.evidence or one.reason:
            yield f'<p class="evidence">{plainly(one.evidence or one.reason)}</p>'
        yield f"<p>{plainly(words.sentence(words.resets(told, one)))}.<br>{plainly(words.effects(one))}.</p></article>"
    if len(closings) > NOTED:
        yield f'<p class="dim">and {len(closings) - NOTED} more: report.md has all of them</p>'
    yield "</section>"


def _times(number: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(number, f"{number} times")


def _groups(told: Told) -> Iterator[str]:
    rows = told.picture.groups
    if not rows:
        return
    used = [state for state in STATES if any(row.counts.get(state) for row in rows)]
    trials = any(row.share for row in rows)
    yield '<section><h2>Groups</h2><div class="scroll"><table><thead><tr><th>group<th class="n">jobs'
    yield "".join(f'<th class="n">{state.value}' for state in used)
    yield '<th class="n">never interrupted' + ("<th>succeeded, all<th>succeeded, never interrupted" if trials else "")
    yield "</tr></thead><tbody>"
    for row in rows:
        yield f'<tr><td>{plainly(words.group(told, row.name))}<td class="n">{sum(row.counts.values())}'
        yield "".join(f'<td class="n">{row.counts.get(state, 0)}' for state in used)
        yield f'<td class="n">{sum(row.clean.values())}'
        yield (
            f'<td class="w">{words.share(row.share)}<td class="w">{words.share(row.clean_share)}</tr>'
            if trials
            else "</tr>"
        )
    yield "</tbody></table></div>"
    if trials:
        yield '<p class="dim">Shares are of the valid results (succeeded or failed), with Wilson\'s 95 % interval.</p>'
    yield "</section>"


def _foretold(told: Told) -> Iterator[str]:
    if lines := list(words.foretold(told)):
        yield "<section><h2>What was foretold</h2>"
        yield "".join(f"<p>{plainly(words.sentence(line))}.</p>" for line in lines)
        yield "</section>"


def _failures(told: Told) -> Iterator[str]:
    found = told.picture.failures
    if not found:
        return
    yield "<section><h2>What did not succeed</h2>"
    for one in found[:NOTED]:
        yield from _failure(told, one)
    if len(found) > NOTED:
        yield f'<p class="dim">and {len(found) - NOTED} more kinds: report.md has all of them</p>'
    yield "</section>"


def _failure(told: Told, one: Failures) -> Iterator[str]:
    yield f'<article><p class="said"><span class="tag s-{one.state.value}">{one.state.value}</span> '
    yield f"{counted(len(one.jobs), 'job')}: {plainly(words.named(one.jobs))}</p>"
    yield f'<p class="evidence">{plainly(one.evidence) or "no reason told"}</p>'
    if place := words.log(told, one):
        yield f'<p class="dim">output: <code>{plainly(place)}</code></p>'
    yield "</article>"


def _work(told: Told) -> Iterator[str]:
    if lines := list(words.work(told)):
        yield "<section><h2>Where the work is</h2>"
        yield from (f"<p>{plainly(line)}</p>" for line in lines)
        yield "</section>"


def _cost(told: Told) -> Iterator[str]:
    cost = told.picture.cost
    lines = {
        "money": words.money(cost.usd),
        "input tokens": words.tokens(cost.input_tokens),
        "output tokens": words.tokens(cost.output_tokens),
    }
    yield "<section><h2>Cost</h2><dl>"
    yield "".join(f"<dt>{name}<dd>{plainly(said)}" for name, said in lines.items())
    yield "</dl>"
    yield "".join(f"<p>{plainly(words.sentence(line))}.</p>" for line in words.spendings(told))
    yield "</section>"


def _going_on(told: Told) -> Iterator[str]:
    yield "<section><h2>Going on</h2>"
    for does, command in words.commands(told):
        yield f"<p>{plainly(words.sentence(does))}:</p><pre>{plainly(command)}</pre>"
    yield "</section><footer>"
    known: Sequence[str] = [
        f"{plainly(name)} {plainly(', '.join(some) or 'of unknown version')}" for name, some in told.versions.items()
    ]
    yield f"<p>Agents that ran: {'; '.join(known) or 'none'}. Written by tidegate {__version__}.</p></footer>"
