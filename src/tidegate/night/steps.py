"""Where the time went: how many jobs did what at each moment, and what each moment was spent on."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final, NamedTuple

from tidegate.model import Event, Job, Supervisor
from tidegate.night.closings import Closing, binds, present
from tidegate.night.spells import Kind, Spell


class Cause(NamedTuple):
    """What a job does, or what keeps it back; a hold with its scope, origin and window."""

    kind: str
    scope: str = ""
    origin: str = ""
    window: str = ""


class Step(NamedTuple):
    """From `at` on until the next step so many jobs do this."""

    at: datetime
    jobs: Mapping[Cause, int]

    @property
    def working(self) -> int:
        """How many attempts run."""
        return self.jobs.get(WORKING, 0)


WORKING: Final = Cause("working")
FROZEN: Final = Cause("frozen")
HELD: Final = "held"
NOBODY: Final = Cause("nobody")
OPENING: Final = "opening"
BACKING_OFF: Final = Cause("backing off")
NEEDS: Final = Cause("needs")
WAITING: Final = Cause("waiting")
IDLE: Final = Cause("idle")
OWN: Final = {
    Kind.RUNNING: WORKING,
    Kind.FROZEN: FROZEN,
    Kind.BACKING_OFF: BACKING_OFF,
    Kind.NEEDS: NEEDS,
}
ORDER: Final = ("working", "frozen", HELD, "nobody", OPENING, "waiting", "backing off", "needs", "idle")

Segment = tuple[datetime, Cause]


def walk(spells: Iterable[Spell], closings: Sequence[Closing], batch: str, end: datetime) -> list[Step]:
    """The steps of a night, in order, until `end`."""
    lanes = _Lanes(closings, batch)
    changes: dict[datetime, Counter[Cause]] = defaultdict(Counter)
    for spell in spells:
        for begin, until, cause in _split(spell, lanes):
            if begin < min(until, end):
                changes[begin][cause] += 1
                changes[min(until, end)][cause] -= 1
    now: Counter[Cause] = Counter()
    steps = []
    for at in sorted(changes):
        now.update(changes[at])
        steps.append(Step(at, {cause: number for cause, number in now.items() if number}))
    return steps


def _split(spell: Spell, lanes: _Lanes) -> Iterator[tuple[datetime, datetime, Cause]]:
    if spell.kind is not Kind.READY:
        yield spell.begin, spell.end, OWN[spell.kind]
        return
    segments = lanes.of(spell.job)
    place = bisect_right(segments, spell.begin, key=lambda one: one[0]) - 1
    at, cause = spell.begin, segments[place][1] if place >= 0 else WAITING
    for begin, follows in segments[place + 1 :]:
        if begin >= spell.end:
            break
        yield at, begin, cause
        at, cause = begin, follows
    yield at, spell.end, cause


class _Lanes:
    """What a ready job waits for at each moment; jobs that the same closings bind share it."""

    def __init__(self, closings: Sequence[Closing], batch: str) -> None:
        self._closings, self._batch = closings, batch
        self._single = {one.scope for one in closings if one.scope.startswith("job:")}
        self._known: dict[tuple[str, str | None, int], list[Segment]] = {}

    def of(self, job: Job) -> list[Segment]:
        key = (job.account, job.model, job.id if f"job:{job.id}" in self._single else 0)
        if key not in self._known:
            reached = present(job, self._batch)
            self._known[key] = _segments([one for one in self._closings if binds(one.scope, reached)])
        return self._known[key]


def _segments(closings: Sequence[Closing]) -> list[Segment]:
    """From when on a ready job waits for what; the closing that began first is blamed."""
    spans = [span for one in closings for span in _spans(one)]
    edges = sorted({edge for begin, end, _ in spans for edge in (begin, end) if edge is not None})
    found: list[Segment] = []
    for edge in edges:
        causes = [cause for begin, end, cause in spans if begin <= edge and (end is None or edge < end)]
        held = [cause for cause in causes if cause.kind == HELD]
        found.append((edge, (held or causes or [WAITING])[0]))
    return found


def _spans(one: Closing) -> Iterator[tuple[datetime, datetime | None, Cause]]:
    """While it is shut and its end is ahead it holds; after that the first ones go."""
    known = (one.scope, one.origin.value, one.window.value)
    ends = [end for end in (one.until, one.reopened_at) if end is not None and end >= one.shut_at]
    held = min(ends, default=None)
    yield one.shut_at, held, Cause(HELD, *known)
    if held is not None and held != one.opened_at:
        yield held, one.opened_at, Cause(OPENING, *known)


# --- sums --------------------------------------------------------------------------------------


def waited(steps: Sequence[Step], end: datetime) -> dict[Cause, float]:
    """Seconds of all jobs together by what they did."""
    total: Counter[Cause] = Counter()
    for step, after in _pairs(steps, end):
        seconds = (after - step.at).total_seconds()
        for cause, number in step.jobs.items():
            total[cause] += number * seconds  # type: ignore[assignment]  # seconds, not numbers
    return _ordered(total)


def spent(
    steps: Sequence[Step], present: Sequence[tuple[datetime, datetime]], begin: datetime, end: datetime
) -> dict[Cause, float]:
    """Seconds of the night by what it was spent on; they add up to its length."""
    total: Counter[Cause] = Counter()
    if not steps or steps[0].at > begin:
        steps = [Step(begin, {}), *steps]
    for step, after in _pairs(steps, end):
        main = _main(step)
        seconds = (after - step.at).total_seconds()
        if main.kind not in ("working", "frozen", HELD, "idle"):
            there = sum(_common(span, step.at, after) for span in present)
            away = max(seconds - there, 0.0)
            total[NOBODY] += away  # type: ignore[assignment]
            seconds -= away
        total[main] += seconds  # type: ignore[assignment]
    return _ordered(total)


def _main(step: Step) -> Cause:
    """What a moment was spent on: work where any was done, else what kept most jobs back."""
    if not step.jobs:
        return IDLE
    return min(step.jobs, key=lambda cause: (ORDER.index(cause.kind), -step.jobs[cause], cause))


def _pairs(steps: Sequence[Step], end: datetime) -> Iterator[tuple[Step, datetime]]:
    yield from ((step, after.at) for step, after in pairwise(steps))
    if steps and steps[-1].at < end:
        yield steps[-1], end


def _common(span: tuple[datetime, datetime], begin: datetime, end: datetime) -> float:
    return max((min(span[1], end) - max(span[0], begin)).total_seconds(), 0.0)


def _ordered(total: Mapping[Cause, float]) -> dict[Cause, float]:
    found = sorted((cause for cause in total if total[cause] > 0), key=lambda one: (ORDER.index(one.kind), one))
    return {cause: float(total[cause]) for cause in found}


# --- who was there -----------------------------------------------------------------------------


def presence(
    events: Sequence[Event], there: Sequence[Supervisor], begin: datetime, now: datetime, *, works: bool
) -> list[tuple[datetime, datetime]]:
    """When somebody worked; of one that was killed until the last sign of life before the next."""
    entered = {event.data.get("uuid") for event in events if event.name == "supervisor entered"}
    who: object = next((one.uuid for one in there if one.uuid not in entered), None)
    spans: list[tuple[datetime, datetime]] = []
    since = begin if who else None
    last = gone = begin
    for event in events:
        uuid = event.data.get("uuid")
        if event.name == "supervisor entered":
            if since is not None:
                spans.append((since, last))  # the one before had not left
            since, who, gone = event.at, uuid, last
        elif event.name == "supervisor left" and since is not None and uuid == who:
            spans.append((since, event.at))
            since = None
        elif event.name == "supervisor left" and uuid not in entered:  # it was here before the batch
            spans.append((begin, gone if since is not None else event.at))
        last = max(last, event.at)
    if since is not None:
        spans.append((since, now if works else last))
    return spans
