"""Jobs that wait for other jobs, for a time, or are named by their id."""

from __future__ import annotations

from datetime import datetime

import pytest

from stores.world import World, names, new
from tidegate.errors import BadInput
from tidegate.model import Batch, Failed, Interrupted, Need, NewJob, Spec, State, Submission
from tidegate.stores.submit import CHUNK


def add(world: World, name: str, *needs: str, at: datetime | None = None, batch: str = "b") -> Submission:
    ids = tuple(world.job(need).id for need in needs)
    job = NewJob(name=name, account="acct", spec=Spec(prompt=name, max_attempts=1), needs=ids, not_before=at)
    return world.store.submit(Batch(batch), [job], world.now, whole=False)


def unmet(world: World) -> dict[str, int]:
    return {job.name: job.unmet for job in world.store.jobs() if job.unmet}


# --- needs ---


def test_a_job_waits_until_each_that_it_needs_has_succeeded(world: World) -> None:
    for name, needs in {"a": "", "b": "", "c": "ab", "d": "c"}.items():
        add(world, name, *needs)
    assert unmet(world) == {"c": 2, "d": 1}
    first, second = world.claim(9)
    world.finish(first)
    assert (unmet(world), world.claim(9)) == ({"c": 1, "d": 1}, [])
    world.finish(second)
    third = world.take()
    assert (third[0].name, unmet(world)) == ("c", {"d": 1})
    world.finish(third)
    assert names(world.claim(9)) == ["d"]


def test_a_need_that_is_met_already_waits_for_nothing(world: World) -> None:
    add(world, "a")
    world.finish(world.take())
    add(world, "b", "a", "a")
    assert names(world.claim(9)) == ["b"]


def test_a_need_that_was_met_once_is_not_met_again_by_a_second_success(world: World) -> None:
    add(world, "a")
    add(world, "b", "a")
    world.finish(world.take())
    world.store.retry(world.job("a").id, world.now, by="ann")
    add(world, "c", "a")
    assert unmet(world) == {"c": 1}
    claims = world.claim(9)
    assert sorted(names(claims)) == ["a", "b"]
    world.finish(next(claim for claim in claims if claim[0].name == "a"))
    assert unmet(world) == {}
    assert names(world.claim(9)) == ["c"]


def test_only_a_success_meets_a_need(world: World) -> None:
    add(world, "a")
    add(world, "b", "a")
    world.finish(world.take(), Interrupted(reason="drained"))
    assert unmet(world) == {"b": 1}
    assert world.job("b").state is State.QUEUED


def test_what_needs_a_job_that_ends_without_success_is_skipped_and_so_on(world: World) -> None:
    for name, needs in {"a": "", "b": "a", "c": "b", "d": "ab", "e": ""}.items():
        add(world, name, *needs)
    world.wait()
    world.fail(world.take())
    states = {"a": State.FAILED, "b": State.SKIPPED, "c": State.SKIPPED, "d": State.SKIPPED, "e": State.QUEUED}
    assert world.states() == states
    assert [world.job(name).reason for name in "bcd"] == [
        "needs a, which failed",
        "needs b, which was skipped",
        "needs a, which failed",
    ]
    assert world.job("c").ended_at == world.now
    told = {event.job: event.data["state"] for event in world.events("job ended")}
    assert told == {world.job(name).id: states[name].value for name in "abcd"}
    assert names(world.claim(9)) == ["e"]


@pytest.mark.parametrize("end", ["cancelled", "error", "unclaimed"])
def test_any_end_but_a_success_skips(world: World, end: str) -> None:
    add(world, "a")
    add(world, "b", "a")
    if end == "cancelled":
        world.store.cancel(world.job("a").id, world.now, by="ann")
    elif end == "error":
        world.finish(world.take(), Failed(reason="no such program", valid=False, retry=False))
    else:
        claim = world.take()
        world.store.cancel(claim[0].id, world.now, by="ann")
        world.store.unclaim(claim[1], world.now, "the gate shut")
    words = {"error": "needs a, which ended in an error"}.get(end, "needs a, which was cancelled")
    assert (world.job("b").state, world.job("b").reason) == (State.SKIPPED, words)


def test_a_new_job_that_needs_one_that_ended_without_success_is_skipped_at_once(world: World) -> None:
    add(world, "a")
    world.fail(world.take())
    added = add(world, "b", "a")
    assert (added.added, added.jobs) == (("b",), (world.job("b").id,))
    assert (world.job("b").state, world.job("b").reason) == (State.SKIPPED, "needs a, which failed")
    assert world.events("job ended")[-1].job == world.job("b").id


def test_a_retried_need_does_not_un_skip_and_a_retried_skipped_job_counts_anew(world: World) -> None:
    add(world, "a")
    add(world, "b", "a")
    world.fail(world.take())
    b, last = world.job("b"), world.store.last_seq()
    assert world.store.retry(b.id, world.now, by="ann") == b, "what it needs is still failed"
    assert world.store.last_seq() == last
    world.store.retry(world.job("a").id, world.now, by="ann")
    assert world.job("b").state is State.SKIPPED
    again = world.store.retry(b.id, world.now, by="ann")
    assert (again.state, again.unmet) == (State.QUEUED, 1)
    world.finish(world.take())
    assert names(world.claim(9)) == ["b"]


def test_a_skipped_job_whose_need_succeeds_after_all_can_be_retried(world: World) -> None:
    add(world, "a")
    add(world, "b", "a")
    world.fail(world.take())
    world.store.retry(world.job("a").id, world.now, by="ann")
    world.finish(world.take())
    assert (world.job("b").state, unmet(world)) == (State.SKIPPED, {})
    assert world.store.retry(world.job("b").id, world.now, by="ann").state is State.QUEUED
    assert names(world.claim(9)) == ["b"]


def test_a_cancelled_job_whose_need_has_failed_is_skipped_when_it_is_retried(world: World) -> None:
    add(world, "a")
    add(world, "b", "a")
    world.store.cancel(world.job("b").id, world.now, by="ann")
    world.fail(world.take())
    assert world.job("b").state is State.CANCELLED
    again = world.store.retry(world.job("b").id, world.now, by="ann")
    assert (again.state, again.reason) == (State.SKIPPED, "needs a, which failed")
    assert again == world.job("b")


def test_a_need_that_was_met_once_stays_met(world: World) -> None:
    add(world, "a")
    add(world, "b", "a")
    world.finish(world.take())
    world.store.retry(world.job("a").id, world.now, by="ann")
    assert names(world.claim(9)) == ["a", "b"]
    ((a, attempt), b) = world.store.running()
    world.fail((a, attempt))
    assert world.job("b").state is State.RUNNING
    world.finish(b, Interrupted(reason="drained"))
    assert names(world.claim(9)) == ["b"]
    world.store.retry(a.id, world.now, by="ann")
    world.finish(world.take())
    assert unmet(world) == {}


@pytest.mark.parametrize("id", [0, 99, -1, 2**63, 2**80])
def test_needing_a_job_that_is_not_there_is_bad_input_and_nothing_is_written(world: World, id: int) -> None:
    jobs = [*(new(f"j{number}") for number in range(CHUNK)), NewJob(name="x", account="a", spec=Spec(), needs=(id,))]
    with pytest.raises(BadInput, match=f"job 'x' needs #{id}, which is not here"):
        world.store.submit(Batch("b"), jobs, world.now)
    assert (world.store.jobs(), world.store.batches()) == ([], [])


def test_needs_and_times_are_no_change_of_what_a_job_does(world: World) -> None:
    add(world, "a")
    add(world, "b", "a")
    assert add(world, "b").unchanged == ("b",)
    assert add(world, "b", at=world.ahead(60)).unchanged == ("b",)
    assert (unmet(world), world.job("b").not_before) == ({"b": 1}, None)
    world.store.edit(world.job("b").id, new("b", priority=1), world.now, by="ann")
    assert unmet(world) == {"b": 1}


def test_what_a_job_needs_is_told(world: World) -> None:
    for name, needs in {"a": "", "b": "", "c": "ba", "d": "c"}.items():
        add(world, name, *needs)
    world.finish(world.take())
    a, b, c, d = (world.job(name).id for name in "abcd")
    assert world.store.needs([d, c, a]) == [
        Need(job=c, needs=a, name="a", state=State.SUCCEEDED, met=True),
        Need(job=c, needs=b, name="b", state=State.QUEUED, met=False),
        Need(job=d, needs=c, name="c", state=State.QUEUED, met=False),
    ]
    assert world.store.needs([]) == world.store.needs([99]) == []


def test_a_long_chain_is_skipped_to_its_end(world: World) -> None:
    add(world, "0")
    for number in range(1, 1500):
        add(world, str(number), str(number - 1))
    world.fail(world.take())
    assert world.store.counts()[State.SKIPPED] == 1499


# --- times ---


def test_a_new_job_may_wait_for_its_time(world: World) -> None:
    add(world, "a", at=world.ahead(60))
    add(world, "b", at=world.ahead(-60))
    assert world.store.next_due(world.now) == world.ahead(60)
    assert names(world.claim(9)) == ["b"]
    world.wait(59)
    assert world.claim(9) == []
    world.wait(1)
    assert names(world.claim(9)) == ["a"]


def test_a_job_may_wait_for_both(world: World) -> None:
    add(world, "a")
    add(world, "b", "a", at=world.ahead(60))
    world.finish(world.take())
    assert world.claim(9) == []
    world.wait(60)
    assert names(world.claim(9)) == ["b"]


def test_a_retried_job_does_not_wait_for_its_time_again(world: World) -> None:
    add(world, "a", at=world.ahead(60))
    id = world.job("a").id
    assert world.store.cancel(id, world.now, by="ann").not_before is None
    world.store.retry(id, world.now, by="ann")
    assert names(world.claim(9)) == ["a"]


# --- names ---


def nameless(number: int = 1) -> list[NewJob]:
    return [NewJob(name="", account="acct", spec=Spec(prompt=f"do {n}")) for n in range(number)]


def test_a_job_without_a_name_is_named_by_its_id(world: World) -> None:
    told = world.store.submit(Batch("b"), [*nameless(2), new("x"), *nameless(1)], world.now)
    assert (told.added, told.jobs, told.absent) == (("1", "2", "x", "4"), (1, 2, 3, 4), ())
    assert [job.name for job in world.store.jobs()] == ["1", "2", "x", "4"]
    again = world.store.submit(Batch("b"), nameless(1), world.now)
    assert (again.added, again.jobs, again.absent) == (("5",), (5,), ("1", "2", "x", "4"))


def test_a_name_that_is_taken_gets_a_number(world: World) -> None:
    world.submit("4", "4-2", "9")
    told = world.store.submit(Batch("b"), [*nameless(2), new("5"), new("7")], world.now)
    assert told.added == ("4-3", "5-2", "5", "7")
    assert world.store.submit(Batch("other"), nameless(1), world.now).added == ("8",)
    assert world.store.submit(Batch("b"), nameless(1), world.now).added == ("9-2",)
    assert len({(job.batch, job.name) for job in world.store.jobs()}) == 9


def test_many_jobs_without_names(world: World) -> None:
    told = world.store.submit(Batch("b"), nameless(CHUNK + 7), world.now)
    assert told.added == tuple(str(id) for id in told.jobs)
    assert told.jobs == tuple(range(1, CHUNK + 8))


def test_a_submission_tells_the_id_of_each_job_that_was_handed_in(world: World) -> None:
    world.submit("b", "a")
    told = world.store.submit(Batch("b"), [new("a"), new("c"), new("b", priority=3)], world.now)
    assert (told.unchanged, told.added, told.changed) == (("a",), ("c",), ("b",))
    assert told.jobs == (2, 3, 1)
    assert world.store.submit(Batch("b"), [], world.now).jobs == ()
