"""How attempts and jobs ended, whether the books agree, and the failures folded by what they have in common."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from tidegate.model import Attempt, Event, Job, State

NEVER_BEGUN: Final = "unclaimed"
BAD: Final = (State.ERROR, State.FAILED, State.CANCELLED, State.SKIPPED)
RETRIED: Final = ("failed", "timedout", "lost")
VARIES: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|0x[0-9a-f]+|\b[0-9a-f]{12,}\b|/[^\s\"':,]+|\d+",
    re.IGNORECASE,
)
ALIKE: Final = 160  # characters by which two reasons are compared


class Ends(Struct, frozen=True, kw_only=True):
    """Attempts that were begun, by how they ended; `returned` were taken back before they began.

    `resumed` of them went on in a session. `on_the_way` are the ends that were charged or lost, and tried again.
    """

    begun: int
    returned: int
    outcomes: Mapping[str, int]
    running: int
    resumed: int
    on_the_way: int


class Failures(Struct, frozen=True, kw_only=True):
    """Jobs that ended alike without success: `evidence` are the words of the last one, `attempt` its last number."""

    state: State
    evidence: str
    jobs: tuple[Job, ...]
    attempt: int | None
    exit: int | None


def count(attempts: Sequence[Attempt], events: Iterable[Event]) -> Ends:
    """How these attempts ended."""
    outcomes = Counter(one.outcome for one in attempts if one.outcome and one.outcome != NEVER_BEGUN)
    returned = sum(one.outcome == NEVER_BEGUN for one in attempts)
    begun = [event for event in events if event.name == "attempt claimed"]
    returns = {(one.job, one.n) for one in attempts if one.outcome == NEVER_BEGUN}
    latest = _latest(attempts)
    return Ends(
        begun=len(attempts) - returned,
        returned=returned,
        outcomes=dict(outcomes.most_common()),
        running=sum(one.outcome is None for one in attempts),
        resumed=sum(bool(one.data.get("resumes")) and (one.job, one.attempt) not in returns for one in begun),
        on_the_way=sum(one.outcome in RETRIED and one.n != latest[one.job] for one in attempts),
    )


def _latest(attempts: Iterable[Attempt]) -> dict[int, int]:
    latest: dict[int, int] = {}
    for one in attempts:
        latest[one.job] = max(latest.get(one.job, 0), one.n)
    return latest


# --- whether the books agree -------------------------------------------------------------------


def doubts(jobs: Sequence[Job], attempts: Sequence[Attempt], events: Sequence[Event], ends: Ends) -> list[str]:
    """A line for each sum that does not come out: of jobs, attempts and events."""
    told = Counter(str(event.data.get("outcome")) for event in events if event.name == "attempt ended")
    claimed = sum(event.name == "attempt claimed" for event in events)
    launches = sum(job.launches for job in jobs)
    running = sum(job.state is State.RUNNING for job in jobs)
    sums = [
        ("launches of the jobs", launches, "attempts", len(attempts)),
        ("attempts", len(attempts), "claims in the event table", claimed),
        ("running jobs", running, "attempts that have not ended", ends.running),
    ]
    sums += [
        (f"attempts that ended {name}", ends.outcomes.get(name, 0), "such ends in the event table", told[name])
        for name in sorted({*ends.outcomes, *told})
    ]
    found = [f"{one} {what}, but {other} {beside}" for what, one, beside, other in sums if one != other]
    return [*found, *_states(jobs, events)]


def _states(jobs: Sequence[Job], events: Iterable[Event]) -> Iterator[str]:
    """The jobs whose state is another than their last event says."""
    last: dict[int, str] = {}
    for event in events:
        if event.job is not None and event.name in ("job ended", "job retried"):
            last[event.job] = str(event.data.get("state")) if event.name == "job ended" else ""
    wrong = [job.name for job in jobs if job.state.is_final and last.get(job.id) != job.state]
    if wrong:
        yield f"{len(wrong)} of the jobs ended otherwise than the event table says, the first is {wrong[0]}"


# --- failures ----------------------------------------------------------------------------------


def folded(jobs: Iterable[Job], attempts: Iterable[Attempt]) -> list[Failures]:
    """The jobs that ended without success, the gravest and most frequent kind first."""
    latest: dict[int, Attempt] = {}
    for attempt in attempts:
        if attempt.outcome != NEVER_BEGUN and (attempt.job not in latest or latest[attempt.job].n < attempt.n):
            latest[attempt.job] = attempt
    kinds: dict[tuple[State, str], list[Job]] = defaultdict(list)
    for job in jobs:
        if job.state in BAD:
            kinds[job.state, _alike(job.reason)].append(job)
    found = [_failures(state, some, latest) for (state, _), some in kinds.items()]
    return sorted(found, key=lambda one: (BAD.index(one.state), -len(one.jobs), one.evidence))


def _alike(reason: str) -> str:
    """What two reasons of one kind have in common: numbers, ids and paths may differ."""
    return VARIES.sub("#", reason)[:ALIKE]


def _failures(state: State, jobs: Sequence[Job], latest: Mapping[int, Attempt]) -> Failures:
    last = max(jobs, key=lambda job: (job.id in latest, job.ended_at or job.created_at))
    attempt = latest.get(last.id)
    first = (last, *(job for job in jobs if job is not last))  # the one whose words these are
    return Failures(
        state=state,
        evidence=last.reason,
        jobs=first,
        attempt=attempt.n if attempt else None,
        exit=attempt.exit if attempt else None,
    )
