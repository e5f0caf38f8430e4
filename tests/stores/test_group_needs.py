"""Groups that wait for other groups."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import pytest

from stores.reconciling import audited, reconcile
from stores.world import World, names
from tidegate.look import why
from tidegate.look.words import Page
from tidegate.model import (
    Batch,
    Failed,
    Group,
    Interrupted,
    NewGroup,
    NewJob,
    Spec,
    Stand,
    State,
    When,
)
from tidegate.stores.submit import CHUNK


def tier(*names: str, account: str = "acct", needs: tuple[int, ...] = (), **spec: object) -> list[NewJob]:
    """Jobs of the groups that their names begin with."""
    made = Spec(prompt="do", **{"max_attempts": 1, **spec})  # type: ignore[arg-type]
    return [NewJob(name=name, account=account, spec=made, group=name.partition("/")[0], needs=needs) for name in names]


def waits(name: str, *needs: str, when: When = When.ALL_SUCCEEDED) -> NewGroup:
    return NewGroup(name=name, needs=needs, when=when)


def add(world: World, jobs: list[NewJob], *groups: NewGroup, batch: str = "b") -> None:
    world.store.submit(Batch(batch), jobs, world.now, groups=groups, whole=False)


def stands(world: World) -> dict[str, Stand]:
    return {group.name: group.stand for group in world.store.groups()}


def group(world: World, name: str) -> Group:
    return next(one for one in world.store.groups() if one.name == name)


def again(world: World, name: str) -> None:
    world.store.retry(world.job(name).id, world.now, by="ann")


def two_tiers(world: World, when: When = When.ALL_SUCCEEDED) -> None:
    add(world, tier("T0/1", "T0/2", "T5/1", "T5/2"), waits("T5", "T0", when=when))


@pytest.fixture(autouse=True)
def _books_balance(world: World) -> object:
    yield
    if sum(world.store.counts().values()) < CHUNK:  # a look at each of more takes its time
        reconcile(world.store)
        audited(world.store)


def test_a_group_waits_for_every_job_of_the_group_that_it_needs(world: World) -> None:
    two_tiers(world)
    first, second = world.claim(9)
    assert names([first, second]) == ["T0/1", "T0/2"]
    world.finish(first)
    assert (world.claim(9), group(world, "T5").stand) == ([], Stand.WAITING)
    world.finish(second)
    assert names(world.claim(9)) == ["T5/1", "T5/2"]
    (opened,) = world.events("group opened")
    assert (opened.scope, opened.data) == ("batch:b", {"group": "T5"})


def test_a_group_may_need_several(world: World) -> None:
    jobs = tier("T0/1", "T1/1", account="other") + tier("T5/1")
    add(world, jobs, waits("T5", "T0", "T1"))
    a, b = world.claim(9)
    world.finish(a)
    assert world.claim(9) == []
    world.finish(b)
    assert names(world.claim(9)) == ["T5/1"]


def test_the_order_in_which_jobs_are_handed_in_does_not_matter(world: World) -> None:
    add(world, tier("T5/1", "T0/1"), waits("T5", "T0"))
    assert names(world.claim(9)) == ["T0/1"]


def test_what_waits_neither_costs_nor_stops_what_does_not(world: World) -> None:
    jobs = [*tier("T0/1", "T5/1"), NewJob(name="x", account="acct", spec=Spec(prompt="x"), group="free")]
    add(world, jobs, waits("T5", "T0"))
    assert names(world.claim(9)) == ["T0/1", "x"]
    assert [one.name for one in world.store.groups()] == ["T0", "T5"]


@pytest.mark.parametrize("end", ["failed", "error", "cancelled"])
def test_what_can_never_begin_is_skipped_and_what_needs_that_too(world: World, end: str) -> None:
    add(world, tier("T0/1", "T0/2", "T5/1", "T5/2", "T6/1"), waits("T6", "T5"), waits("T5", "T0"))
    if end == "cancelled":
        world.store.cancel(world.job("T0/1").id, world.now, by="ann")
    else:
        world.finish(world.take(), Failed(reason="no", valid=end == "failed", retry=False))
    how = {"error": "ended in an error", "cancelled": "was cancelled"}.get(end, end)
    assert stands(world) == {"T0": Stand.OPEN, "T5": Stand.HOPELESS, "T6": Stand.HOPELESS}
    assert [world.job(name).reason for name in ("T5/1", "T5/2", "T6/1")] == [
        f"needs group T0, where T0/1 {how}",
        f"needs group T0, where T0/1 {how}",
        "needs group T5, where T5/1 was skipped",
    ]
    assert (world.job("T5/1").state, world.job("T5/1").ended_at) == (State.SKIPPED, world.now)
    assert names(world.claim(9)) == ["T0/2"]


def test_a_job_that_is_tried_again_has_not_failed_for_good(world: World) -> None:
    add(world, tier("T0/1", max_attempts=2) + tier("T5/1"), waits("T5", "T0"))
    world.fail(world.take())
    world.wait(60)
    world.finish(world.take(), Interrupted(reason="drained"))
    assert stands(world)["T5"] is Stand.WAITING
    world.finish(world.take())
    assert names(world.claim(9)) == ["T5/1"]


def test_finished_waits_for_any_end(world: World) -> None:
    two_tiers(world, When.FINISHED)
    world.fail(world.take())
    assert stands(world)["T5"] is Stand.WAITING
    world.store.cancel(world.job("T0/2").id, world.now, by="ann")
    assert names(world.claim(9)) == ["T5/1", "T5/2"]


def test_any_succeeded_waits_for_all_ends_and_wants_one_success(world: World) -> None:
    two_tiers(world, When.ANY_SUCCEEDED)
    first, second = world.claim(9)
    world.finish(first)
    assert stands(world)["T5"] is Stand.WAITING
    world.fail(second)
    assert names(world.claim(9)) == ["T5/1", "T5/2"]


def test_without_any_success_it_is_skipped(world: World) -> None:
    two_tiers(world, When.ANY_SUCCEEDED)
    for claim in world.claim(9):
        world.fail(claim)
    assert world.job("T5/2").reason == "needs group T0, where no job succeeded"


def test_a_group_without_jobs_holds_nobody_up(world: World) -> None:
    for when in When:
        add(world, tier("T5/1"), waits("T5", "T0", when=when), batch=when)
    assert names(world.claim(9)) == ["T5/1", "T5/1", "T5/1"]


def test_a_retry_of_what_failed_brings_back_what_was_skipped_for_it(world: World) -> None:
    add(world, tier("T0/1", "T5/1", "T5/2", "T6/1"), waits("T5", "T0"), waits("T6", "T5"))
    world.store.cancel(world.job("T5/2").id, world.now, by="ann")
    world.fail(world.take())
    again(world, "T0/1")
    states = {"T0/1": State.QUEUED, "T5/1": State.QUEUED, "T5/2": State.CANCELLED, "T6/1": State.SKIPPED}
    assert world.states() == states, "T6 needs what a person has cancelled"
    assert group(world, "T5").reason == ""
    back = [event for event in world.events("job retried") if event.data.get("group")]
    assert [(event.job, event.data) for event in back] == [(world.job("T5/1").id, {"by": "ann", "group": "T5"})]
    again(world, "T5/2")
    assert world.job("T6/1").state is State.QUEUED
    world.finish(world.take())
    for claim in world.claim(9):
        world.finish(claim)
    assert names(world.claim(9)) == ["T6/1"]


def test_what_was_skipped_for_its_group_cannot_be_retried_by_itself(world: World) -> None:
    two_tiers(world)
    world.store.cancel(world.job("T5/2").id, world.now, by="ann")
    world.fail(world.take())
    skipped = world.job("T5/1")
    assert world.store.retry(skipped.id, world.now, by="ann") == skipped
    retried = world.store.retry(world.job("T5/2").id, world.now, by="ann")
    assert (retried.state, retried.reason) == (State.SKIPPED, "needs group T0, where T0/1 failed")
    again(world, "T0/1")
    assert world.states()["T5/2"] is State.QUEUED


def test_one_of_two_that_failed_is_not_enough(world: World) -> None:
    two_tiers(world)
    for claim in world.claim(9):
        world.fail(claim)
    again(world, "T0/1")
    assert world.states()["T5/1"] is State.SKIPPED
    again(world, "T0/2")
    assert world.states()["T5/1"] is State.QUEUED


def test_a_job_that_comes_later_closes_what_has_not_begun(world: World) -> None:
    two_tiers(world)
    for claim in world.claim(9):
        world.finish(claim)
    add(world, tier("T0/3"), waits("T5", "T0"))
    assert stands(world)["T5"] is Stand.WAITING
    assert len(world.events("group waits")) == 1
    assert names(world.claim(9)) == ["T0/3"]


def test_a_job_that_comes_later_takes_nothing_back_that_has_begun(world: World) -> None:
    two_tiers(world)
    for claim in world.claim(9):
        world.finish(claim)
    begun = world.take()
    add(world, tier("T0/3"), waits("T5", "T0"))
    assert names(world.claim(9)) == ["T5/2", "T0/3"]
    assert world.finish(begun).state is State.SUCCEEDED
    assert stands(world)["T5"] is Stand.OPEN


def test_what_waits_to_go_on_has_begun(world: World) -> None:
    add(world, tier("T0/1") + tier("T5/1", max_attempts=2), waits("T5", "T0"))
    world.finish(world.take())
    world.fail(world.take())
    again(world, "T0/1")
    assert stands(world)["T5"] is Stand.OPEN


def test_a_whole_group_that_is_run_anew_waits_again(world: World) -> None:
    two_tiers(world)
    for _ in range(4):
        world.finish(world.take())
    for name in ("T0/1", "T5/1", "T5/2"):
        world.store.retry(world.job(name).id, world.now, by="ann", clean=True)
        assert (stands(world)["T5"] is Stand.WAITING) == (name == "T5/2"), "once nothing of it stands any more"
    assert names(world.claim(9)) == ["T0/1"]


def test_a_new_job_of_a_hopeless_group_is_skipped_at_once(world: World) -> None:
    two_tiers(world)
    world.fail(world.take())
    world.store.submit(Batch("b"), tier("T5/3"), world.now, whole=False)
    assert world.job("T5/3").reason == "needs group T0, where T0/1 failed"


def test_a_single_job_joins_the_group_that_waits(world: World) -> None:
    two_tiers(world)
    world.store.submit(Batch("b"), tier("T5/3", account="other"), world.now, whole=False)
    assert names(world.claim(9)) == ["T0/1", "T0/2"]
    assert group(world, "T5").counts[State.QUEUED] == 3


def test_what_the_file_says_last_of_needs_counts(world: World) -> None:
    jobs = tier("T0/1", "T1/1", "T5/1")
    add(world, jobs)
    assert world.store.groups() == []
    add(world, jobs, waits("T5", "T0"))
    assert names(world.claim(9)) == ["T0/1", "T1/1"]
    add(world, jobs, waits("T5", "T1", when=When.FINISHED))
    assert (group(world, "T5").needs, group(world, "T5").when) == (("T1",), When.FINISHED)
    add(world, jobs)
    assert names(world.claim(9)) == ["T5/1"]


def test_a_kinder_condition_brings_back_what_was_skipped(world: World) -> None:
    two_tiers(world)
    for claim in world.claim(9):
        world.fail(claim)
    two_tiers(world, When.FINISHED)
    assert names(world.claim(9)) == ["T5/1", "T5/2"]


def test_other_batches_are_other_groups(world: World) -> None:
    add(world, tier("T0/1", "T5/1"), waits("T5", "T0"))
    add(world, tier("T0/x"), batch="c")
    world.store.cancel(world.job("T0/x").id, world.now, by="ann")
    assert stands(world) == {"T0": Stand.OPEN, "T5": Stand.WAITING}


def test_jobs_that_need_jobs_and_groups_that_need_groups_fall_together(world: World) -> None:
    add(world, tier("T0/1", "T0/2", "T5/1"), waits("T5", "T0"))
    needed = world.job("T5/1").id
    world.store.submit(Batch("b"), tier("x/1", needs=(needed,)), world.now, whole=False)
    add(world, tier("y/1"), waits("y", "x"), waits("T5", "T0"))
    world.fail(world.take())
    assert [world.job(name).reason for name in ("x/1", "y/1")] == [
        "needs T5/1, which was skipped",
        "needs group x, where x/1 was skipped",
    ]
    again(world, "T0/1")
    assert world.states()["T5/1"] is State.QUEUED
    assert world.states()["x/1"] is State.SKIPPED, "by itself it needed a job: that is never brought back"


def test_what_is_brought_back_may_still_need_a_job_in_vain(world: World) -> None:
    add(world, tier("T0/1", "z/1"))
    needed = world.job("z/1").id
    world.store.submit(Batch("b"), tier("T5/1", needs=(needed,)), world.now, groups=[waits("T5", "T0")], whole=False)
    zero, other = world.claim(9)
    world.fail(zero)
    assert world.job("T5/1").reason == "needs group T0, where T0/1 failed"
    world.fail(other)
    again(world, "T0/1")
    assert world.job("T5/1").reason == "needs z/1, which failed"


def test_a_batch_in_chunks_begins_no_group_before_it_is_whole(world: World) -> None:
    jobs = tier("T0/0", "T5/0", *(f"T0/{number}" for number in range(1, CHUNK)), account="acct")
    add(world, jobs, waits("T5", "T0"))
    assert stands(world)["T5"] is Stand.WAITING
    assert group(world, "T0").counts[State.QUEUED] == CHUNK


class Broken(list[NewJob]):
    """Jobs whose second chunk never comes: whoever hands them in is killed."""

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice) and place.start >= CHUNK:
            raise KeyboardInterrupt
        return super().__getitem__(place)


def test_a_batch_of_which_the_rest_never_came_begins_no_group_until_it_is_handed_in_again(world: World) -> None:
    jobs = tier("T5/0", "T0/0", *(f"x/{number}" for number in range(CHUNK - 2)), "T0/1")
    with pytest.raises(KeyboardInterrupt):
        add(world, Broken(jobs), waits("T5", "T0"))
    assert (len(world.store.jobs(most=CHUNK * 2)), stands(world)["T5"]) == (CHUNK, Stand.FILLING)
    world.finish(world.take())
    assert (world.job("T0/0").state, stands(world)["T5"]) == (State.SUCCEEDED, Stand.FILLING)
    add(world, jobs, waits("T5", "T0"))
    assert stands(world)["T5"] is Stand.WAITING
    world.store.cancel(world.job("T0/1").id, world.now, by="ann")
    assert world.job("T5/0").reason == "needs group T0, where T0/1 was cancelled"


def test_what_a_waiting_group_needs_is_not_forgotten(world: World) -> None:
    two_tiers(world)
    first, second = world.claim(9)
    world.finish(first)
    ids = [world.job(name).id for name in ("T0/1", "T0/2")]
    assert world.store.forget(ids, world.now) == 0
    world.finish(second)
    for claim in world.claim(9):
        world.finish(claim)
    assert world.store.forget([*ids, *(job.id for job in world.store.jobs())], world.now) == 4
    world.store.forget_past(world.ahead(1))
    assert (world.store.groups(), world.store.batches()) == ([], [])


def test_a_job_that_moves_into_another_group_waits_with_it(world: World) -> None:
    two_tiers(world)
    (moved,) = tier("T0/2")
    changed = NewJob(name="T0/2", account=moved.account, spec=moved.spec, group="T5")
    world.store.edit(world.job("T0/2").id, changed, world.now, by="ann")
    world.finish(world.take())
    assert names(world.claim(9)) == ["T0/2", "T5/1", "T5/2"]


def test_many_jobs_open_at_once(world: World) -> None:
    add(world, tier("T0/1", *(f"T5/{number}" for number in range(500))), waits("T5", "T0"))
    assert names(world.claim(9)) == ["T0/1"]
    last = world.store.last_seq()
    world.finish(world.store.running()[0])
    assert [event.name for event in world.events()][-3:] == ["attempt ended", "job ended", "group opened"]
    assert world.store.last_seq() == last + 3
    assert len(world.claim(5)) == 5


# --- in words ----------------------------------------------------------------------------------


def why_not(world: World, name: str) -> str:
    """The first reason why a job is not running, as `list` and `show` tell it."""
    seen, job = why.picture(world.store, world.now, "here", supervised=True), world.job(name)
    return why.words(why.waits(job, seen)[0], job, seen, Page(now=world.now, zone=UTC))


def test_what_a_group_waits_for_is_told_with_how_much_is_left(world: World) -> None:
    add(world, tier("T0/1", "T0/2", "T1/1", "T5/1"), waits("T5", "T0", "T1"))
    assert why_not(world, "T0/1") == "waits for a free slot"
    assert why_not(world, "T5/1") == "waits for groups T0 and T1 (3 of 3 jobs left)"
    for _ in range(2):
        world.finish(world.take())
    assert why_not(world, "T5/1") == "waits for group T1 (1 of 1 job left)"
    world.finish(world.take())
    assert why_not(world, "T5/1") == "waits for a free slot"


def test_a_batch_that_is_not_whole_yet_is_told_as_that(world: World) -> None:
    with pytest.raises(KeyboardInterrupt):
        add(world, Broken(tier("T5/0", *(f"x/{number}" for number in range(CHUNK)))), waits("T5", "x"))
    assert why_not(world, "T5/0") == "waits until its batch is handed in whole"


def test_a_group_that_loses_its_last_job_to_none_is_waited_for_no_more(world: World) -> None:
    add(world, tier("G0/a", "G1/f"), waits("G1", "G0"), waits("G2", "G1", when=When.FINISHED))
    assert stands(world)["G2"] is Stand.WAITING
    moved = NewJob(name="G1/f", account="acct", spec=Spec(prompt="do", max_attempts=1))
    world.store.submit(Batch("b"), [moved], world.now, update=True, whole=False)
    assert stands(world)["G2"] is Stand.OPEN
