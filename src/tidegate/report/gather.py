"""Gathers what the store knows of a batch, as of one moment."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

from tidegate import night
from tidegate.look.desk import Desk
from tidegate.model import Balance, Batch, Event, Job
from tidegate.night import Facts
from tidegate.report import versions
from tidegate.report.told import Told
from tidegate.stores import Store

CHUNK = 1000
PRESENT = ("supervisor entered", "supervisor left")


def told(desk: Desk, batch: Batch) -> Told:
    """All that a report of a batch is made of. Raises StoreBroken."""
    with desk.store.moment():
        facts = _facts(desk, batch)
    known = versions.read(desk.state, facts.jobs, facts.attempts)
    return Told(picture=night.draw(facts), state=desk.state, page=desk.page, versions=known)


def _facts(desk: Desk, batch: Batch) -> Facts:
    store, works = desk.store, desk.works()
    jobs = list(_jobs(store, batch))
    return Facts(
        batch=batch,
        now=desk.page.now,
        host=desk.host,
        works=works.pid is not None and (works.known is None or works.known.batch in (None, batch.id)),
        jobs=jobs,
        attempts=[attempt for job in jobs if job.launches for attempt in store.attempts(job.id)],
        events=list(_events(store, batch, {job.id for job in jobs})),
        holds=store.holds(),
        balances=_balances(store, batch, jobs, desk.page.now),
        supervisors=store.supervisors(),
        needed=_needed(store, jobs),
        forecasts=store.forecasts(batch.id),
    )


def _jobs(store: Store, batch: Batch) -> Iterator[Job]:
    after = 0
    while some := store.jobs(batch=batch.id, after=after, most=CHUNK):
        yield from some
        after = some[-1].id


def _events(store: Store, batch: Batch, jobs: Collection[int]) -> Iterator[Event]:
    """What happened to these jobs, to any scope, and to supervisors, since the batch was submitted."""
    first = store.events(batch=batch.id, most=1)
    after = first[0].seq - 1 if first else store.last_seq()
    while some := store.events(after=after, most=CHUNK):
        yield from (one for one in some if one.job in jobs or one.scope is not None or one.name in PRESENT)
        after = some[-1].seq


def _balances(store: Store, batch: Batch, jobs: Sequence[Job], now: datetime) -> list[Balance]:
    """The budgets that bind any of these jobs."""
    scopes = {"*", f"batch:{batch.name}", *(job.account for job in jobs)}
    return [one for one in store.balances(now) if one.scope in scopes]


def _needed(store: Store, jobs: Sequence[Job]) -> Mapping[int, datetime | None]:
    """Until when each job that needs others waited for them."""
    ended = {job.id: job.ended_at for job in jobs}
    until: dict[int, datetime | None] = {}
    for place in range(0, len(jobs), CHUNK):
        for need in store.needs([job.id for job in jobs[place : place + CHUNK]]):
            if need.needs not in ended:
                other = store.job(need.needs)
                ended[need.needs] = other.ended_at if other else None
            met = ended[need.needs] if need.met else None
            known = until.get(need.job, met)
            until[need.job] = max(known, met) if known is not None and met is not None else None
    return until
