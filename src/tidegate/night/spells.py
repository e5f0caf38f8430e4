"""What each job did from when to when: it ran, stood still, was ready, backed off, or waited for others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

from tidegate import stages
from tidegate.model import AGENT, Event, Job

RUNS: Final = ("attempt claimed", "attempt thawed")
QUEUES: Final = ("job added", "job retried", "attempt unclaimed")
STAGED: Final = ("job staged", "job retried")


class Kind(StrEnum):
    """What a job was doing."""

    RUNNING = "running"
    FROZEN = "frozen"
    READY = "ready"  # nothing of its own kept it from being launched
    BACKING_OFF = "backing off"
    NEEDS = "needs"


class Spell(Struct, frozen=True):
    """A job did one thing from `begin` to `end`; `job` is for the account of the stage in which it was."""

    job: Job
    kind: Kind
    begin: datetime
    end: datetime


def of(
    jobs: Iterable[Job], events: Iterable[Event], needed: Mapping[int, datetime | None], now: datetime
) -> list[Spell]:
    """Every spell of these jobs until `now`, as the events tell it."""
    story: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if event.job is not None:
            story[event.job].append(event)
    return [spell for job in jobs for spell in _of_job(job, story[job.id], needed, now)]


def _of_job(job: Job, story: Sequence[Event], needed: Mapping[int, datetime | None], now: datetime) -> Iterator[Spell]:
    doing: Kind | None = None
    since, not_before = job.created_at, job.not_before if not job.launches else None
    unmet = needed.get(job.id, job.created_at) or now
    job = stages.seen_in(job, AGENT)
    for event in story:
        follows = _follows(doing, event)
        if follows is doing and event.name not in ("attempt ended", *STAGED):
            continue
        yield from _between(job, doing, (since, max(event.at, since)), not_before, unmet)
        if event.name not in ("job added", "job staged"):
            not_before = _later(event)
        doing, since = follows, max(event.at, since)  # a clock that was set back makes no time
        if event.name in STAGED:
            job = stages.seen_in(job, str(event.data.get("stage", AGENT)))
    yield from _between(job, doing, (since, max(now, since)), not_before, unmet)


def _follows(doing: Kind | None, event: Event) -> Kind | None:
    """What a job does after an event."""
    if event.name in RUNS:
        return Kind.RUNNING
    if event.name in QUEUES:
        return Kind.READY
    if event.name == "attempt frozen":
        return Kind.FROZEN
    if event.name == "attempt ended":
        return Kind.READY if event.data.get("next") == "queued" else None
    return None if event.name == "job ended" else doing


def _later(event: Event) -> datetime | None:
    said = event.data.get("not_before")
    return datetime.fromisoformat(said) if isinstance(said, str) else None


def _between(
    job: Job, doing: Kind | None, span: tuple[datetime, datetime], not_before: datetime | None, unmet: datetime
) -> Iterator[Spell]:
    """One stretch; time in the queue is split into what kept the job back of its own, and the rest."""
    since, end = span
    if doing is Kind.READY:
        for kind, until in ((Kind.NEEDS, unmet), (Kind.BACKING_OFF, not_before)):
            if until is not None and until > since and end > since:
                yield Spell(job, kind, since, min(until, end))
                since = min(until, end)
    if doing is not None and end > since:
        yield Spell(job, doing, since, end)
