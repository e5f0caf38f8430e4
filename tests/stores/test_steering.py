"""What becomes of a job that somebody cancels, retries or changes, and what doors ask of a supervisor."""

from __future__ import annotations

import pytest

from stores.world import Claim, World, names, new, said
from tidegate.errors import BadInput
from tidegate.model import (
    Account,
    Ask,
    Batch,
    Cancelled,
    Failed,
    Halt,
    Hold,
    Interrupted,
    Limited,
    Lost,
    NewJob,
    Origin,
    Outcome,
    Request,
    Spec,
    State,
    Succeeded,
    Supervisor,
)

UNKNOWN = [0, 99, -1, 2**63, 2**80]


def cancel(world: World, name: str) -> State:
    return world.store.cancel(world.job(name).id, world.now, by="ann").state


def retry(world: World, name: str) -> State:
    return world.store.retry(world.job(name).id, world.now, by="ann").state


# --- standing still ---


def test_what_stands_still_and_goes_on_is_told_while_it_runs(world: World) -> None:
    world.submit("a")
    claim = world.take()
    for rests in (True, False):
        world.store.note_rest(claim[1], world.now, rests=rests)
    world.finish(claim)
    world.store.note_rest(claim[1], world.now, rests=True)
    told = [(event.name, event.job, event.attempt) for event in world.events("attempt frozen", "attempt thawed")]
    assert told == [("attempt frozen", claim[0].id, 1), ("attempt thawed", claim[0].id, 1)]


def test_of_an_attempt_that_another_owns_by_now_nothing_is_told(world: World) -> None:
    world.submit("a")
    claim = world.take()
    world.enter("other")
    world.store.adopt("other", "here", world.now)
    world.store.note_rest(claim[1], world.now, rests=True)
    assert world.events("attempt frozen") == []


# --- cancel ---


def test_a_queued_job_is_cancelled_at_once(world: World) -> None:
    world.submit("a", "b")
    job = world.store.cancel(world.job("a").id, world.now, by="ann")
    assert (job.state, job.reason, job.ended_at) == (State.CANCELLED, "cancelled by ann", world.now)
    assert world.job("a") == job
    assert names(world.claim(9)) == ["b"]
    (ended,) = world.events("job ended")
    assert (ended.job, ended.attempt, ended.data) == (
        job.id,
        None,
        {"state": "cancelled", "reason": "cancelled by ann"},
    )
    assert world.store.requests() == []


def test_cancelling_twice_changes_nothing_more(world: World) -> None:
    world.submit("a", "b")
    world.take()
    for _ in range(2):
        cancel(world, "a")
        cancel(world, "b")
    last = world.store.last_seq()
    assert len(world.store.requests()) == 1
    world.wait()
    assert (cancel(world, "a"), cancel(world, "b")) == (State.RUNNING, State.CANCELLED)
    assert world.store.last_seq() == last


def test_a_running_job_is_asked_for_and_ends_when_its_attempt_does(world: World) -> None:
    world.submit("a")
    claim = world.take()
    assert cancel(world, "a") is State.RUNNING
    (asked,) = world.store.requests()
    assert asked == Request(id=asked.id, at=world.now, verb=Ask.CANCEL, by="ann", target=claim[0].id)
    assert [(event.job, event.data) for event in world.events("cancel asked")] == [(claim[0].id, {"by": "ann"})]
    job = world.finish(claim, Cancelled("cancelled by ann"), exit=143)
    assert (job.state, job.attempts) == (State.CANCELLED, 0)
    assert world.store.requests() == []


REQUEUED: list[Outcome] = [
    Interrupted(reason="drained"),
    Lost("killed"),
    Failed(reason="exit 1"),
    Limited(said()),
]


@pytest.mark.parametrize("outcome", REQUEUED, ids=lambda outcome: type(outcome).__name__)
def test_a_job_that_would_be_queued_again_ends_where_its_end_is_asked_for(world: World, outcome: Outcome) -> None:
    world.submit("a")
    claim = world.take()
    cancel(world, "a")
    job = world.finish(claim, outcome, exit=1)
    assert (job.state, job.reason, job.ended_at) == (State.CANCELLED, "cancelled by ann", world.now)
    assert world.finish(claim, outcome, exit=1) == job, "repeating it is a success"
    assert [event.data["next"] for event in world.events("attempt ended")] == ["cancelled"]
    assert len(world.events("job ended")) == 1
    assert world.store.requests() == []
    assert world.claim() == []


def test_a_job_that_was_never_started_ends_where_its_end_is_asked_for(world: World) -> None:
    world.submit("a")
    claim = world.take()
    cancel(world, "a")
    world.store.unclaim(claim[1], world.now, "the gate shut")
    assert world.states() == {"a": State.CANCELLED}
    assert (len(world.events("job ended")), world.store.requests()) == (1, [])


@pytest.mark.parametrize(
    ("outcome", "state"),
    [(Succeeded("done"), State.SUCCEEDED), (Failed(reason="no", retry=False), State.FAILED)],
    ids=["succeeded", "failed"],
)
def test_an_end_of_its_own_stands_and_answers_the_request(world: World, outcome: Outcome, state: State) -> None:
    world.submit("a")
    claim = world.take()
    cancel(world, "a")
    assert world.finish(claim, outcome).state is state
    assert world.store.requests() == []


def test_a_request_outlives_its_supervisor(world: World) -> None:
    world.submit("a")
    world.take()
    cancel(world, "a")
    world.enter("next")
    ((job, attempt),) = world.store.adopt("next", "here", world.now)
    assert [one.target for one in world.store.requests()] == [job.id]
    assert world.finish((job, attempt), Lost("killed")).state is State.CANCELLED


def test_a_stuck_job_that_is_cancelled_needs_nobody_any_more(world: World) -> None:
    world.submit("a")
    id = world.job("a").id
    for origin in (Origin.HUMAN, Origin.OPERATOR):
        world.store.hold(Hold(scope=f"job:{id}", origin=origin, since=world.now), world.now)
    cancel(world, "a")
    assert [hold.origin for hold in world.store.holds()] == [Origin.OPERATOR]


@pytest.mark.parametrize("id", UNKNOWN)
def test_a_job_that_is_not_there_is_bad_input(world: World, id: int) -> None:
    store = world.store
    for call in (
        lambda: store.cancel(id, world.now, by="ann"),
        lambda: store.retry(id, world.now, by="ann"),
        lambda: store.edit(id, new("a"), world.now, by="ann"),
        lambda: store.ask(Ask.CANCEL, world.now, by="ann", target=id),
    ):
        with pytest.raises(BadInput, match=f"no job #{id} here"):
            call()


# --- retry ---


def failed(world: World) -> Claim:
    """A job that has spent its attempts, and has a session."""
    world.store.submit(Batch("b"), [new("a", max_attempts=1)], world.now)
    claim = world.take()
    world.store.note_session(claim[1], "s-1", world.now)
    world.fail(claim)
    return claim


def test_a_job_that_has_ended_is_queued_with_all_of_its_attempts_and_its_session(world: World) -> None:
    failed(world)
    assert retry(world, "a") is State.QUEUED
    job = world.job("a")
    assert (job.attempts, job.lost, job.limited_in_a_row, job.session, job.launches) == (0, 0, 0, "s-1", 1)
    assert (job.reason, job.ended_at, job.not_before, job.resumed) == ("", None, None, False)
    assert [event.data for event in world.events("job retried")] == [{"by": "ann"}]
    assert world.take()[1].n == 2


def test_a_clean_retry_leaves_the_session_behind(world: World) -> None:
    failed(world)
    assert world.store.retry(world.job("a").id, world.now, by="ann", clean=True).session is None
    job = world.job("a")
    assert (job.state, job.session, job.attempts) == (State.QUEUED, None, 0)
    assert [event.data for event in world.events("job retried")] == [{"by": "ann", "clean": True}]


def test_a_job_that_has_not_ended_is_not_retried(world: World) -> None:
    world.submit("a", "b")
    world.take()
    assert (retry(world, "a"), retry(world, "b")) == (State.RUNNING, State.QUEUED)
    assert world.events("job retried") == []


def test_the_end_of_an_earlier_attempt_may_be_told_again_after_a_retry(world: World) -> None:
    claim = failed(world)
    retry(world, "a")
    assert world.fail(claim).state is State.QUEUED
    world.finish(world.take())
    assert world.states() == {"a": State.SUCCEEDED}


def test_each_end_can_be_retried(world: World) -> None:
    world.submit("a")
    world.finish(world.take())
    assert retry(world, "a") is State.QUEUED
    assert cancel(world, "a") is State.CANCELLED
    assert retry(world, "a") is State.QUEUED
    world.finish(world.take(), Failed(reason="no result", valid=False, retry=False))
    assert retry(world, "a") is State.QUEUED
    assert len(world.events("job ended")) == 3


# --- edit ---

OTHER = NewJob(name="", account="other", model="opus", group="g", priority=7, spec=Spec(agent="claude", prompt="else"))


def test_a_queued_job_gets_its_new_definition_and_keeps_its_name(world: World) -> None:
    world.submit("a")
    id = world.job("a").id
    job = world.store.edit(id, OTHER, world.now, by="ann")
    assert (job.name, job.batch_name, job.spec, job.account) == ("a", "b", OTHER.spec, "other")
    assert (job.model, job.group, job.priority, job.state) == ("opus", "g", 7, State.QUEUED)
    assert world.job("a") == job
    assert [event.data for event in world.events("job updated")] == [{"by": "ann"}]
    world.accounts(Account(name="other", max_running=0))
    assert world.claim() == []


def test_editing_to_what_it_is_changes_nothing(world: World) -> None:
    world.submit("a")
    world.store.edit(world.job("a").id, OTHER, world.now, by="ann")
    last = world.store.last_seq()
    world.store.edit(world.job("a").id, OTHER, world.now, by="ann")
    assert world.store.last_seq() == last


def test_a_session_is_one_agents_own(world: World) -> None:
    world.submit("a")
    claim = world.take()
    world.store.note_session(claim[1], "s-1", world.now)
    world.finish(claim, Interrupted(reason="drained"), exit=143)
    same = new("a", timeout=5.0)
    assert world.store.edit(claim[0].id, same, world.now, by="ann").session == "s-1"
    job = world.store.edit(claim[0].id, OTHER, world.now, by="ann")
    assert (job.session, job.resumed, world.job("a")) == (None, False, job)


def test_only_a_queued_job_can_be_changed(world: World) -> None:
    world.submit("a")
    claim = world.take()
    with pytest.raises(BadInput, match="is running: only a queued job can be changed"):
        world.store.edit(claim[0].id, OTHER, world.now, by="ann")
    world.finish(claim)
    with pytest.raises(BadInput, match="is succeeded: only a queued job can be changed"):
        world.store.edit(claim[0].id, OTHER, world.now, by="ann")
    assert world.job("a").account == "acct"


def test_what_no_row_can_hold_is_no_new_definition(world: World) -> None:
    world.submit("a")
    with pytest.raises(BadInput, match="is not valid text"):
        world.store.edit(world.job("a").id, new("a", account="\0"), world.now, by="ann")
    with pytest.raises(BadInput, match="priority"):
        world.store.edit(world.job("a").id, new("a", priority=2**70), world.now, by="ann")


# --- requests ---


def test_one_request_for_each_thing_is_pending(world: World) -> None:
    store = world.store
    first = store.ask(Ask.DRAIN, world.now, by="ann")
    world.wait()
    assert store.ask(Ask.DRAIN, world.now, by="bob") == first
    second = store.ask(Ask.UPGRADE, world.now, by="bob")
    assert store.requests() == [first, second]
    store.answered(first.id, world.now)
    store.answered(first.id, world.now)
    assert store.requests() == [second]
    assert store.ask(Ask.DRAIN, world.now, by="ann").id > second.id, "a number is never given twice"
    told = ["drain asked", "upgrade asked", "drain answered"]
    assert [event.name for event in world.events(*told)] == [*told, "drain asked"]


def test_only_a_running_job_can_be_asked_to_end(world: World) -> None:
    world.submit("a")
    for target in (None, world.job("a").id):
        with pytest.raises(BadInput, match="is not running"):
            world.store.ask(Ask.CANCEL, world.now, by="ann", target=target)
    world.take()
    assert world.store.ask(Ask.CANCEL, world.now, by="ann", target=world.job("a").id) == world.store.requests()[0]


def test_a_hold_says_what_it_does_to_what_runs(world: World) -> None:
    hold = Hold(scope="*", origin=Origin.OPERATOR, since=world.now, halt=Halt.FREEZE)
    assert (made := world.store.hold(hold, world.now)) is not None
    assert (made.halt, world.hold("*").halt) == (Halt.FREEZE, Halt.FREEZE)
    assert world.events("gate shut")[0].data["halt"] == "freeze"
    world.pause("*")
    assert world.hold("*").halt is Halt.NONE


def test_a_supervisor_may_work_on_one_batch(world: World) -> None:
    one = Supervisor(uuid="two", host="here", pid=2, boot_id="boot", started_at=world.now, batch=7)
    world.store.enter(one)
    assert one in world.store.supervisors()
