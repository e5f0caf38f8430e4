"""The picture of a night: what the jobs, attempts, events and holds of a batch add up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from tidegate.model import Attempt, Balance, Batch, Event, Hold, Job, State, Supervisor
from tidegate.night import closings, cost, ends, groups, hindsight, spells, status, steps
from tidegate.night.closings import Closing
from tidegate.night.cost import Cost
from tidegate.night.ends import Ends, Failures
from tidegate.night.groups import Row
from tidegate.night.hindsight import Hindsight
from tidegate.night.status import Standing
from tidegate.night.steps import Cause, Step
from tidegate.prospect import Forecast


class Facts(Struct, frozen=True, kw_only=True):
    """What the store knows of a batch: all of its jobs and their attempts.

    `events` are those of its jobs, of every scope, and of supervisors, since the batch was submitted; `needed` says for
    each job that needs others until when it waited for them (None: it still does). `works`: somebody works on it.
    `forecasts` are those of its end.
    """

    batch: Batch
    now: datetime
    host: str
    works: bool
    jobs: Sequence[Job]
    attempts: Sequence[Attempt]
    events: Sequence[Event]
    holds: Sequence[Hold]
    balances: Sequence[Balance] = ()
    supervisors: Sequence[Supervisor] = ()
    needed: Mapping[int, datetime | None] = {}
    forecasts: Sequence[Forecast] = ()


class Picture(Struct, frozen=True, kw_only=True):
    """A night as a report tells it; `spent` is its length by what went on, `waited` the jobs' time by the same.

    `doubts` are lines on what does not add up.
    """

    facts: Facts
    begin: datetime
    end: datetime
    counts: Mapping[State, int]
    standing: Standing
    ends: Ends
    doubts: Sequence[str]
    groups: Sequence[Row]
    closings: Sequence[Closing]
    steps: Sequence[Step]
    spent: Mapping[Cause, float]
    waited: Mapping[Cause, float]
    failures: Sequence[Failures]
    cost: Cost
    hindsight: Hindsight | None = None


def draw(facts: Facts) -> Picture:
    """The picture that facts add up to."""
    counts = dict.fromkeys(State, 0) | Counter(job.state for job in facts.jobs)
    begin, end = _bounds(facts)
    reached = set[str]().union(*(closings.reach(job, facts.batch.name) for job in facts.jobs))
    found_shut = closings.binding(facts.events, facts.holds, reached, begin)
    mine = [one for one in found_shut if one.shut_at <= end]
    found = spells.of(facts.jobs, facts.events, facts.needed, facts.now)
    told = ends.count(facts.attempts, facts.events)
    walked = steps.walk(found, mine, facts.batch.name, end)
    present = steps.presence(facts.events, facts.supervisors, begin, facts.now, works=facts.works)
    queued = [job for job in facts.jobs if job.state is State.QUEUED]
    standing = status.of(counts, queued, facts.holds, facts.now, facts.host, works=facts.works)
    return Picture(
        facts=facts,
        begin=begin,
        end=end,
        counts=counts,
        standing=standing,
        ends=told,
        doubts=ends.doubts(facts.jobs, facts.attempts, facts.events, told),
        groups=groups.rows(facts.jobs, facts.attempts, facts.batch.name),
        closings=closings.with_effects(mine, facts.jobs, found, facts.events, facts.batch.name),
        steps=walked,
        spent=steps.spent(walked, present, begin, end),
        waited=steps.waited(walked, end),
        failures=ends.folded(facts.jobs, facts.attempts),
        cost=cost.total(facts.attempts, facts.jobs),
        hindsight=hindsight.of(facts.forecasts, end if _is_over(facts) else None),
    )


def _bounds(facts: Facts) -> tuple[datetime, datetime]:
    """From the first job's submission to the last one's end, or to now where some have not ended."""
    begin = min((job.created_at for job in facts.jobs), default=facts.now)
    ended = [job.ended_at for job in facts.jobs if job.ended_at is not None]
    return begin, max(begin, max(ended) if _is_over(facts) else facts.now)


def _is_over(facts: Facts) -> bool:
    return bool(facts.jobs) and all(job.ended_at is not None for job in facts.jobs)
