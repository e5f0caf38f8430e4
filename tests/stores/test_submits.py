"""What a submit adds, keeps and tells."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from stores.world import World, names, new
from tidegate.errors import BadInput
from tidegate.model import Batch, Interrupted, NewJob, Share, Spec, State
from tidegate.stores.submit import CHUNK


def test_submitting_again_adds_what_is_new_and_keeps_what_is_known(world: World) -> None:
    store, first = world.store, [new("a"), new("b")]
    told = store.submit(Batch("b"), first, world.now)
    assert (told.batch.name, told.added, told.unchanged) == ("b", ("a", "b"), ())
    world.finish(world.take())
    told = store.submit(Batch("b"), [*first, new("c")], world.now)
    assert (told.added, told.unchanged, told.changed, told.absent) == (("c",), ("a", "b"), (), ())
    assert world.states() == {"a": State.SUCCEEDED, "b": State.QUEUED, "c": State.QUEUED}
    assert [event.job for event in world.events("job added")] == [job.id for job in store.jobs()]


def test_a_batch_is_known_by_its_name(world: World) -> None:
    one = world.submit("a", batch="one").batch
    two = world.submit("a", batch="two").batch
    assert world.submit("b", batch="one").batch == one
    assert world.store.batches() == [one, two]
    assert [job.batch for job in world.store.jobs_named("a")] == [one.id, two.id]
    assert [job.batch_name for job in world.store.jobs_named("a", two.id)] == ["two"]


def test_what_is_expected_of_a_job_is_kept_with_it_and_is_no_part_of_what_it_does(world: World) -> None:
    first = replace(new("a"), expect=600.0, share=Share(0.02, 0.01))
    assert world.store.submit(Batch("b"), [first, new("b")], world.now).added == ("a", "b")
    assert (world.job("a").expect, world.job("a").share) == (600.0, Share(0.02, 0.01))
    assert (world.job("b").expect, world.job("b").share) == (None, None)
    again = [replace(new("a"), share=Share(0.5)), replace(new("b"), expect=1.5)]
    assert world.store.submit(Batch("b"), again, world.now).unchanged == ("a", "b")
    assert (world.job("a").expect, world.job("a").share) == (None, Share(0.5))
    assert (world.job("b").expect, world.job("b").share) == (1.5, None)
    world.take()
    world.store.submit(Batch("b"), [first, new("b")], world.now)
    assert world.job("a").share == Share(0.5)  # it runs already
    assert world.job("b").expect is None


CHANGES = [
    new("a", account="other"),
    new("a", model="opus"),
    new("a", priority=1),
    NewJob(name="a", account="acct", group="g", spec=new("a").spec),
    NewJob(name="a", account="acct", spec=Spec(prompt="something else")),
    new("a", env={"A": "1"}),
    new("a", env={"API_KEY": "1"}),
    new("a", args=("--fast",)),
    new("a", timeout=5.0),
    new("a", labels={"tier": "1"}),
]


@pytest.mark.parametrize("changed", CHANGES, ids=range(len(CHANGES)))
def test_a_changed_definition_is_told_and_kept_unless_asked_for(world: World, changed: NewJob) -> None:
    store = world.store
    store.submit(Batch("b"), [new("a")], world.now)
    before = world.job("a")
    assert store.submit(Batch("b"), [changed], world.now).changed == ("a",)
    assert world.job("a") == before
    assert store.submit(Batch("b"), [changed], world.now, update=True).updated == ("a",)
    after = world.job("a")
    assert (after.spec, after.account, after.model, after.priority, after.group) == (
        changed.spec,
        changed.account,
        changed.model,
        changed.priority,
        changed.group,
    )
    assert store.submit(Batch("b"), [changed], world.now, update=True).unchanged == ("a",)
    assert [event.job for event in world.events("job updated")] == [after.id]
    assert names(world.claim(9)) == ["a"]


def test_another_agent_in_a_submit_again_does_not_inherit_the_session(world: World) -> None:
    world.submit("a")
    claim = world.take()
    world.store.note_session(claim[1], "a conversation of the first agent", world.now)
    world.finish(claim, Interrupted(reason="drained"))
    assert world.job("a").session
    world.store.submit(Batch("b"), [new("a", agent="codex")], world.now, update=True)
    job = world.job("a")
    assert (job.session, job.resumed, job.launches) == (None, False, 1)


def test_a_changed_secret_is_a_changed_definition(world: World) -> None:
    store = world.store
    store.submit(Batch("b"), [new("a", env={"API_KEY": "one"})], world.now)
    assert store.submit(Batch("b"), [new("a", env={"API_KEY": "one"})], world.now).unchanged == ("a",)
    assert store.submit(Batch("b"), [new("a", env={"API_KEY": "two"})], world.now).changed == ("a",)
    assert world.take()[0].spec.env == {"API_KEY": "one"}


def test_the_order_of_variables_and_labels_is_no_change(world: World) -> None:
    world.store.submit(Batch("b"), [new("a", env={"A": "1", "B": "2"})], world.now)
    assert world.store.submit(Batch("b"), [new("a", env={"B": "2", "A": "1"})], world.now).unchanged == ("a",)


def test_a_running_or_finished_job_keeps_its_definition(world: World) -> None:
    world.submit("a", "b")
    claims = world.claim(2)
    world.finish(claims[0])
    told = world.store.submit(Batch("b"), [new("a", priority=9), new("b", priority=9)], world.now, update=True)
    assert (told.changed, told.updated) == (("a", "b"), ())
    assert world.job("a").priority == 0


def test_an_operators_priority_survives_the_same_file(world: World) -> None:
    world.submit("a")
    world.store.set_priority(world.job("a").id, 7, world.now)
    assert world.submit("a").unchanged == ("a",)
    assert world.job("a").priority == 7


def test_jobs_that_are_not_in_the_file_any_more_are_told(world: World) -> None:
    world.submit("a", "b", "c")
    told = world.store.submit(Batch("b"), [new("b"), new("d")], world.now)
    assert told.absent == ("a", "c")
    assert world.store.submit(Batch("b"), [new("b")], world.now, whole=False).absent == ()


def test_an_empty_batch_is_a_batch(world: World) -> None:
    told = world.store.submit(Batch("b"), [], world.now)
    assert (told.batch, told.added) == (world.store.batches()[0], ())


def test_more_jobs_than_one_chunk_arrive_in_their_order(world: World) -> None:
    wanted = [f"j{number}" for number in range(2 * CHUNK + 7)]
    assert list(world.submit(*wanted).added) == wanted
    assert [job.name for job in world.store.jobs(most=10_000)] == wanted
    assert len(world.submit(*wanted).unchanged) == len(wanted)
    assert world.store.counts()[State.QUEUED] == len(wanted)


BAD = [
    ([new("a"), new("a")], "two jobs are named 'a'"),
    ([new("a\0b")], "is not valid text"),
    ([new("\ud800")], "is not valid text"),
    ([new("a", account="\udcff")], "is not valid text"),
    ([new("a", priority=2**63)], "priority 9223372036854775808 is not between"),
]


@pytest.mark.parametrize(("jobs", "words"), BAD, ids=[words for _, words in BAD])
def test_what_no_row_can_hold_is_refused_before_anything_is_written(
    world: World, jobs: list[NewJob], words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        world.store.submit(Batch("b"), [new("good"), *jobs], world.now)
    assert world.store.jobs() == []


ODD_SPECS = [
    Spec(command=("sh", "-c", "echo 'ü'", "")),
    Spec(agent="claude", prompt="lone \ud800 surrogate \0 and nul", args=("-v",)),
    Spec(prompt="x" * 300_000, cwd="/nowhere/\udcff", timeout=1.5, silence=0.0),
    Spec(env={"TOKEN": "\udcff", "EMPTY": "", "MY_PASSWORD": ""}, labels={"a": "b"}, max_attempts=1),
    Spec(on_cutoff="restart", on_failure="resume", resume_prompt="go on"),
]


@pytest.mark.parametrize("spec", ODD_SPECS, ids=range(len(ODD_SPECS)))
def test_a_spec_comes_back_as_it_was(world: World, spec: Spec) -> None:
    world.store.submit(Batch("b"), [NewJob(name="a", account="acct", spec=spec)], world.now)
    assert world.job("a").spec == spec
    assert world.take()[0].spec == spec
