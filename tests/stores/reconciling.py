"""Whether a store's books balance."""

from __future__ import annotations

from collections import Counter

from stores.world import START
from tidegate.model import Ask, Event, Job, State
from tidegate.stores import Store
from tidegate.stores.books import books
from tidegate.stores.sqlite import SqliteStore


def reconcile(store: Store) -> None:
    """The states and the attempts say what the events say."""
    jobs, events = store.jobs(most=100_000), store.events(most=1_000_000)
    counts = Counter(job.state for job in jobs)
    assert {state: number for state, number in store.counts().items() if number} == counts
    for batch in store.batches():
        own = Counter(job.state for job in jobs if job.batch == batch.id)
        assert {state: number for state, number in store.counts(batch.id).items() if number} == own
    told = Counter(event.name for event in events)
    attempts = {job.id: store.attempts(job.id) for job in jobs}
    every = [attempt for those in attempts.values() for attempt in those]
    assert told["job added"] == len(jobs)
    assert told["attempt claimed"] == len(every) == sum(job.launches for job in jobs)
    assert told["attempt ended"] + told["attempt unclaimed"] == sum(one.ended_at is not None for one in every)
    assert told["job ended"] - told["job retried"] == sum(job.state.is_final for job in jobs)
    assert len(store.running()) == counts[State.RUNNING] == sum(one.ended_at is None for one in every)
    for job in jobs:
        assert [one.n for one in attempts[job.id]] == list(range(1, job.launches + 1))
        began = [*of(events, job.id, "job retried"), *of(events, job.id, "job staged")]
        anew = max((event.seq for event in began), default=0)
        since = [event for event in of(events, job.id, "attempt ended") if event.seq > anew]
        assert job.attempts == sum(bool(event.data["charged"]) for event in since)
    _needs_are_as_told(store, jobs)
    running = {job.id for job in jobs if job.state is State.RUNNING}
    assert {one.target for one in store.requests() if one.verb is Ask.CANCEL} <= running


def audited(store: Store) -> None:
    """What an audit of the file of a store finds: nothing."""
    if isinstance(store, SqliteStore):
        faults = books(store._file.path, START).faults
        assert [one for one in faults if one.kind not in ("times_ahead", "request_old")] == []


def _needs_are_as_told(store: Store, jobs: list[Job]) -> None:
    """What is not met keeps a job back, and nobody waits for what has ended."""
    needs = store.needs([job.id for job in jobs])
    for job in jobs:
        unmet = [need for need in needs if need.job == job.id and not need.met]
        assert job.unmet == len(unmet)
        if job.state is State.RUNNING:
            assert not unmet
        if job.state is State.QUEUED:
            assert all(need.state in (State.QUEUED, State.RUNNING) for need in unmet)


def of(events: list[Event], job: int, name: str) -> list[Event]:
    return [event for event in events if event.job == job and event.name == name]
