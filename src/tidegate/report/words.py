"""The sentences of a report, in plain text: whatever others wrote is one line without secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from shlex import quote

from tidegate import budget, places
from tidegate.look import budgets
from tidegate.look.places import Spot, spots
from tidegate.look.why import scope_words
from tidegate.look.words import clean, counted, shown, span
from tidegate.model import Job, Origin, State, Window, scopes
from tidegate.night.closings import Closing
from tidegate.night.cost import Known
from tidegate.night.ends import Failures
from tidegate.night.groups import Share
from tidegate.night.hindsight import picked
from tidegate.night.steps import HELD, OPENING, Cause
from tidegate.report.told import Told

FORETOLD_MOST = 6  # forecasts that are told one by one
WORK_MOST = 50  # directories and branches that are told one by one
LEAST = 0.5  # seconds: less is told as 0 s
STATUS = {
    "running": "running",
    "waiting": "waiting: nothing runs just now",
    "paused_rate_limit": "waits for the reset of a usage limit",
    "paused_operator": "paused by a person",
    "paused_hours": "outside its hours",
    "paused_disk": "waits for room on the disk",
    "paused_budget": "held by a budget",
    "paused_reserve": "leaves the rest of a window to its owner",
    "needs_human": "needs a person",
    "interrupted": "interrupted: nobody works on it",
    "completed": "completed: every job has a valid result",
    "failed": "ended: some jobs have no valid result",
    "cancelled": "ended: some jobs were cancelled",
}
CAUSES = {
    "working": "working",
    "frozen": "frozen by a person",
    "nobody": "nobody worked on it",
    "backing off": "backing off after failures",
    "waiting": "waiting for a free slot",
    "needs": "waiting for other jobs",
    "idle": "nothing was queued",
}


def at(told: Told, instant: datetime | None) -> str:
    """A local time to the second, with its weekday or date where the night is of several days."""
    if instant is None:
        return "unknown"
    page, picture = told.page, told.picture
    days = [one.astimezone(page.zone).date() for one in (picture.begin, picture.end, instant)]
    apart = (max(days) - min(days)).days
    if apart > 6:
        return page.stamp(instant)
    return f"{instant.astimezone(page.zone):{'%a %H:%M:%S' if apart else '%H:%M:%S'}}"


def sentence(said: str) -> str:
    """The same beginning with a capital."""
    return said[:1].upper() + said[1:]


def title_of(batch: str) -> tuple[str, str]:
    """The name that heads a report, and the whole of it where it is the path of a file."""
    return (batch.rpartition("/")[2] or batch, batch) if batch.startswith("/") else (batch, "")


def group(told: Told, name: str) -> str:
    """A group's name; jobs without one are under their batch, as short as its heading."""
    return title_of(name)[0] if name == told.batch else name


def told_causes(told: Told) -> list[Cause]:
    """What at least half a second went to, of the night or of all jobs together."""
    spent, waited = told.picture.spent, told.picture.waited
    return [one for one in {**spent, **waited} if max(spent.get(one, 0.0), waited.get(one, 0.0)) >= LEAST]


def when(told: Told) -> str:
    """From when to when the batch went on, and in which zone times are told."""
    picture, page = told.picture, told.page
    length = span((picture.end - picture.begin).total_seconds())
    return f"{page.stamp(picture.begin)} to {page.stamp(picture.end)} ({length}), times in {clean(str(page.zone))}"


def counts(told: Told) -> str:
    """The jobs by state: "30 jobs = 28 succeeded + 2 failed"."""
    parts = [f"{number} {state.value}" for state, number in told.picture.counts.items() if number]
    return f"{counted(len(told.jobs), 'job')} = {' + '.join(parts)}" if parts else "no jobs"


def attempts(told: Told) -> str:
    """The attempts by outcome, and that they add up."""
    ends = told.picture.ends
    parts = [f"{number} {clean(name)}" for name, number in ends.outcomes.items()]
    parts += [f"{ends.running} still running"] if ends.running else []
    text = f"{counted(ends.begun, 'attempt')} = {' + '.join(parts) or 'none ended'}"
    more = [f"{ends.resumed} resumed a session"] if ends.resumed else []
    more += [f"{ends.on_the_way} ended badly and were tried again"] if ends.on_the_way else []
    more += [f"{counted(ends.returned, 'launch', 'launches')} taken back before it began"] if ends.returned else []
    return "; ".join([text, *more])


def share(found: Share | None) -> str:
    """A share with its interval: "8 of 10 = 80 % (49 % to 94 %)"; "" for none."""
    if found is None:
        return ""
    if found.low is None or found.high is None:
        return "no valid result"
    return f"{found.good} of {found.of} = {found.good / found.of:.0%} ({found.low:.0%} to {found.high:.0%})"


def money(known: Known) -> str:
    """A sum of dollars, or unknown: "≥ $12.40 (3 attempts unknown)"."""
    return _sum(known, budget.dollars)


def tokens(known: Known) -> str:
    """A number of tokens, or unknown."""
    return _sum(known, lambda total: f"{total:,.0f}")


def _sum(known: Known, form: Callable[[float], str]) -> str:
    if known.total is None:
        return "unknown" if known.silent else "no agent has told of any"
    silent = f" ({counted(known.silent, 'attempt')} unknown)" if known.silent else ""
    return f"{'≥ ' if silent else ''}{form(known.total)}{silent}"


def spendings(told: Told) -> Iterator[str]:
    """The budgets of the batch, of its accounts and of everything, as they stand now."""
    for one in told.picture.facts.balances:
        yield f"budget of {budgets.line(one)}"


# --- the gate ----------------------------------------------------------------------------------


def gate(scope: str, origin: str, window: str) -> str:
    """What held, in words: "the 5h limit of claude-max", "a pause of everything"."""
    of = "everything" if scope == "*" else clean(scope)
    match Origin(origin):
        case Origin.LIMIT:
            name = {Window.UNKNOWN: "usage", Window.MINUTE: "rate", Window.SPEND: "spend"}.get(Window(window), window)
            return f"the {name} limit of {of}"
        case Origin.HUMAN:
            return f"a wait for a person at {of}"
        case Origin.OPERATOR | Origin.HOST:
            return f"a pause of {of}"
        case Origin.HOURS:
            return f"the hours of {of}"
        case Origin.DISK:
            return f"the full disk of {of}"
        case Origin.RESERVE:
            return f"the {window} reserve of {of}"
        case other:
            return f"the {other.value} of {of}"


def cause(found: Cause) -> str:
    """What time was spent on."""
    if found.kind == HELD:
        return f"held by {gate(*found[1:])}"
    if found.kind == OPENING:
        return f"opening carefully after {gate(*found[1:])}"
    return CAUSES[found.kind]


def delayed(told: Told, one: Closing) -> str:
    """One closing as a sentence."""
    named = gate(one.scope, one.origin.value, one.window.value) + _because(one)
    since = at(told, one.shut_at)
    span_ = f"since {since}" if one.reopened_at is None else f"from {since} to {at(told, one.reopened_at)}"
    if not one.delayed:
        return f"No job was delayed by {named}, {span_}"
    were = "was" if len(one.delayed) == 1 else "were"
    return f"{counted(len(one.delayed), 'job')} {were} delayed by {named} {span_}"


def _because(one: Closing) -> str:
    """Who shut it and why, where its name does not say so."""
    if one.origin in (Origin.LIMIT, Origin.HOURS, Origin.DISK):
        return ""
    if one.origin is Origin.RESERVE:  # its reason begins with the window, too
        return f", {shown(one.reason.partition(': ')[2])}," if one.reason else ""
    by = f" by {clean(one.by)}" if one.by and one.origin is Origin.OPERATOR else ""
    return f"{by} ({shown(one.reason)})" if one.reason else by


def resets(told: Told, one: Closing) -> str:
    """The reset that was stated, and what came of it; where no provider has shut it, how long it stayed so."""
    if one.origin is not Origin.LIMIT and one.stated is None:
        return _lifted(told, one)
    parts = [f"stated reset {at(told, one.stated)}" if one.stated else "no reset named"]
    if one.reopened_at is None:
        parts.append(f"still shut, until {at(told, one.until)}" if one.until else "still shut")
    else:
        late = (one.reopened_at - one.stated).total_seconds() if one.stated else None
        after = "" if late is None else f" ({span(abs(late))} {'after' if late >= 0 else 'before'} it)"
        parts.append(f"the first was let go at {at(told, one.reopened_at)}{after}")
        parts.append(_wide(told, one))
    return ", ".join(parts)


def _lifted(told: Told, one: Closing) -> str:
    if one.opened_at is None:
        return f"still shut, until {at(told, one.until)}" if one.until else "still shut"
    by = f" by {clean(one.ended_by)}" if one.ended_by and one.ended_by != "time" else ""
    return f"open again at {at(told, one.opened_at)}{by}"


def _wide(told: Told, one: Closing) -> str:
    if one.opened_at is None:
        return "not wide open by the end"
    if one.again:
        return f"refused again at {at(told, one.opened_at)}"
    by = f" by {clean(one.ended_by)}" if one.ended_by and one.ended_by != "time" else ""
    return f"wide open at {at(told, one.opened_at)}{by}"


def effects(one: Closing) -> str:
    """Whom it cut off and what it kept from starting."""
    cut = f"{counted(one.cut_off, 'attempt')} cut off"
    went_on = f", {one.resumed} resumed the session" if one.cut_off else ""
    back = f"; {counted(one.refused, 'launch', 'launches')} taken back between claim and start" if one.refused else ""
    launched = f"{one.launched} launched" if one.launched else "nothing was launched"
    return f"{cut}{went_on}{back}; {launched} while it was shut"


# --- what was foretold ---


def foretold(told: Told) -> Iterator[str]:
    """What was foretold on the way, and how good that was."""
    found = told.picture.hindsight
    if found is None:
        return
    for one in picked(found, FORETOLD_MOST):
        yield f"forecast at {_minute(told, one.at)}: {_minute(told, one.p50)} (p90 {_minute(told, one.p90)})"
    if len(found.forecasts) > FORETOLD_MOST:
        yield f"these are {FORETOLD_MOST} of {len(found.forecasts)} forecasts"
    if found.error is not None:
        several = len(found.forecasts)
        by = f"it had ended by p50 in {found.by_p50} of {several} and by p90 in {found.by_p90}"
        yield f"it ended at {_minute(told, told.picture.end)}: the mean error was {span(found.error)}, {by}"


def _minute(told: Told, instant: datetime | None) -> str:
    """A local time to the minute: nobody knows it better ahead."""
    return at(told, instant).rpartition(":")[0]


# --- failures ----------------------------------------------------------------------------------


def kind(one: Failures) -> str:
    """How many jobs ended so, and their words."""
    return f"{counted(len(one.jobs), 'job')} {one.state.value}: {shown(one.evidence) or 'no reason told'}"


def named(jobs: Sequence[Job], most: int = 5) -> str:
    """Some jobs by their names."""
    names = ", ".join(shown(job.name) for job in jobs[:most])
    return f"{names} and {len(jobs) - most} more" if len(jobs) > most else names


def log(told: Told, one: Failures) -> str:
    """Where the output of the last such attempt is; "" where none was begun."""
    return str(places.attempt(told.state, one.jobs[0].id, one.attempt)) if one.attempt is not None else ""


def work(told: Told) -> Iterator[str]:
    """Where the work of jobs is that had a directory of their own: on a branch, or still there."""
    having = [job for job in told.jobs if job.spec.workspace is not None]
    attempts = told.attempts() if having else {}
    found = [line for job in having for line in _work(job, spots(told.state, job, attempts[job.id]))]
    yield from found[:WORK_MOST]
    if len(found) > WORK_MOST:
        yield f"and {len(found) - WORK_MOST} more, all in results.jsonl"


def _work(job: Job, found: Sequence[Spot]) -> Iterator[str]:
    for spot in found:
        if spot.branch:
            yield f"{job.name}: branch {spot.branch} in {spot.repository}" + (f", kept in {spot.path}" * spot.here)
        elif spot.here:
            yield f"{job.name}: kept in {spot.path}"


# --- going on ----------------------------------------------------------------------------------


def commands(told: Told) -> Iterator[tuple[str, str]]:
    """What to type to go on, each with what it does."""
    tidegate = f"tidegate --state-dir {quote(str(told.state))}"
    go_on = f"{tidegate} run {quote(told.batch)}" if told.batch.startswith("/") else f"{tidegate} serve"
    for state in (State.FAILED, State.ERROR, State.CANCELLED, State.SKIPPED):
        if jobs := [job for job in told.jobs if job.state is state]:
            yield f"queue the {counted(len(jobs), f'{state.value} job')} again", f"{tidegate} retry {_ranges(jobs)}"
    for scope in _held_by(told, Origin.BUDGET):
        yield f"launch more than the budget of {scope_words(scope)} allows", f"{tidegate} resume {quote(scope)}"
    for scope in _held_by(told, Origin.RESERVE):
        yield f"use the rest of {scope_words(scope)}, which stop_at leaves", f"{tidegate} resume {quote(scope)}"
    if told.picture.counts[State.QUEUED] or any(job.state is not State.SUCCEEDED for job in told.jobs):
        yield "work on what is queued", go_on
    yield "read this report again", f"{tidegate} report '#{told.picture.facts.batch.id}'"


def _held_by(told: Told, origin: Origin) -> list[str]:
    """The scopes whose holds of an origin keep jobs of the batch back."""
    queued = [job for job in told.jobs if job.state is State.QUEUED]
    mine = {scope for job in queued for scope in scopes(job, told.picture.facts.host)}
    held = {hold.scope for hold in told.picture.facts.holds if hold.origin is origin}
    return sorted(mine & held)


def _ranges(jobs: Iterable[Job]) -> str:
    """The numbers of jobs as a shell takes them, neighbours as ranges."""
    ids = sorted(job.id for job in jobs)
    found = []
    for _, run in groupby(enumerate(ids), key=lambda one: one[1] - one[0]):
        some = [id for _, id in run]
        found.append(f"'#{some[0]}'" if len(some) == 1 else f"'#{some[0]}-#{some[-1]}'")
    return " ".join(found)
