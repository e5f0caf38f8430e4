"""Attempts that a store has forgotten: known again, with no number given twice and every book balanced."""

from __future__ import annotations

from typing import Any

from stores.reconciling import audited, reconcile
from stores.world import World, incarnation
from tidegate.model import Failed, Forgotten, State
from tidegate.stores.takeup import OVER


def forgotten(world: World, job: int, *numbers: int, adopts: bool = True, **more: Any) -> Forgotten:
    them = incarnation("them")
    return Forgotten(job=job, numbers=numbers, supervisor=them, began=world.now, adopts=adopts, **more)


def test_the_last_of_a_queued_job_is_its_running_one(world: World) -> None:
    world.submit("a")
    world.store.take_up(forgotten(world, 1, 2, 3), world.now)
    assert (world.job("a").state, world.job("a").launches) == (State.RUNNING, 3)
    assert [(one.n, one.outcome) for one in world.store.attempts(1)] == [
        (1, "interrupted"),
        (2, "interrupted"),
        (3, None),
    ]
    world.enter("we")
    ((job, attempt),) = world.store.adopt("we", "here", world.now)
    assert (attempt.n, attempt.supervisor) == (3, "we")
    assert world.finish((job, attempt)).state is State.SUCCEEDED
    reconcile(world.store)
    audited(world.store)


def test_what_is_known_already_changes_nothing(world: World) -> None:
    world.submit("a")
    world.take()
    before = world.store.last_seq()
    world.store.take_up(forgotten(world, 1, 1), world.now)
    assert world.store.last_seq() == before


def test_what_was_believed_to_run_is_over_when_a_later_one_was_launched(world: World) -> None:
    world.submit("a")
    world.take()
    world.store.take_up(forgotten(world, 1, 2), world.now)
    assert [(one.outcome, one.detail) for one in world.store.attempts(1)] == [("interrupted", OVER), (None, "")]
    assert [attempt.n for _, attempt in world.store.running()] == [2]
    reconcile(world.store)
    audited(world.store)


def test_a_job_that_has_ended_was_retried_where_it_runs(world: World) -> None:
    world.submit("a")
    world.finish(world.take(), Failed(reason="no", retry=False), exit=1)
    world.store.take_up(forgotten(world, 1, 2), world.now)
    assert (world.job("a").state, world.job("a").attempts, world.job("a").ended_at) == (State.RUNNING, 0, None)
    reconcile(world.store)
    audited(world.store)


def test_output_of_another_job_takes_numbers_only(world: World) -> None:
    world.submit("a", "b", "c")
    world.finish(world.take())
    world.take()
    for job in (1, 2, 3):
        world.store.take_up(forgotten(world, job, 4, adopts=False), world.now)
    assert world.states() == {"a": State.SUCCEEDED, "b": State.QUEUED, "c": State.QUEUED}
    assert {launches for _, launches in world.store.launches([1, 2, 3]).values()} == {4}
    assert world.store.running() == []
    reconcile(world.store)
    audited(world.store)
    world.store.leave("me", world.now)
    world.enter("we")
    assert [attempt.n for _, attempt in world.claim(9, by="we")] == [5, 5]
