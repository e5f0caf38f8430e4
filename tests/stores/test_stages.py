"""The stages of a job behind its agent's: whose they are, what their ends do, and what a person's retry begins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stores.reconciling import audited, reconcile
from stores.world import Claim, World, incarnation, names, said
from tidegate.errors import BadInput
from tidegate.model import (
    Account,
    Batch,
    Failed,
    Forgotten,
    Interrupted,
    Job,
    Limited,
    Lost,
    NewJob,
    Origin,
    Outcome,
    Spec,
    Stage,
    State,
    Succeeded,
    TimedOut,
)
from tidegate.stores import Store

JUDGE = Stage(command=("judge",), account="judges", attempts=2)
NO, NONE = Failed(reason="exit 1: 3 tests failed"), Failed(reason="exit 127: judge: not found", valid=False)


@pytest.fixture
def world(store: Store) -> Iterator[World]:
    made = World(store)
    made.enter()
    yield made
    reconcile(store)
    audited(store)


def judged(name: str = "a", check: Stage = JUDGE, **more: object) -> NewJob:
    spec = Spec(agent="claude", prompt="do it", check=check, **more)  # type: ignore[arg-type]
    return NewJob(name=name, account="claude", model="opus", spec=spec)


def done(world: World, *jobs: NewJob) -> Job:
    """The job after its agent has succeeded in a session of its own."""
    world.store.submit(Batch("b"), jobs or [judged()], world.now)
    job, attempt = world.take()
    assert (job.account, job.stage, attempt.stage) == ("claude", "", "")
    return world.store.finish(attempt, Succeeded("an answer"), world.now, exit=0, session="s-1")


def check(world: World) -> Claim:
    job, attempt = world.take()
    assert (job.account, job.model, job.session, attempt.stage) == ("judges", None, None, "check")
    return job, attempt


def test_after_its_agent_a_job_waits_for_its_check_in_the_lane_of_that_account(world: World) -> None:
    job = done(world)
    assert (job.state, job.stage, job.account, job.attempts) == (State.QUEUED, "check", "judges", 0)
    assert job.work is not None
    assert (job.work.attempt, job.work.account, job.work.model, job.work.session) == (1, "claude", "opus", "s-1")
    assert job == world.job("a")
    assert world.store.counts(account="judges")[State.QUEUED] == 1
    assert world.store.counts(account="claude")[State.QUEUED] == 0
    assert [one.data for one in world.events("job staged")] == [{"stage": "check"}]
    ended = world.finish(check(world))
    assert (ended.state, ended.account, ended.model, ended.session) == (State.SUCCEEDED, "claude", "opus", "s-1")
    assert [one.stage for one in world.store.attempts(ended.id)] == ["", "check"]
    assert [one.data.get("stage") for one in world.events("attempt claimed")] == [None, "check"]
    assert world.store.counts(account="claude")[State.SUCCEEDED] == 1


def test_a_limited_judge_waits_behind_its_own_hold_and_the_agent_never_runs_again(world: World) -> None:
    done(world, judged("a"), judged("b"))
    claim = check(world)  # ahead of fresh work
    job = world.limited(claim, world.ahead(60))
    assert (job.state, job.stage, job.attempts) == (State.QUEUED, "check", 0)
    assert world.hold("judges").allow == 0
    assert names(world.claim(9)) == ["b"], "the agent's account is open"
    world.wait(61)
    again = check(world)
    assert world.finish(again).state is State.SUCCEEDED
    assert [one.stage for one in world.store.attempts(again[0].id)] == ["", "check", "check"]


@pytest.mark.parametrize(
    ("outcome", "first", "second"),
    [
        (NO, State.FAILED, None),
        (NONE, State.QUEUED, State.ERROR),
        (TimedOut(after=5), State.QUEUED, State.ERROR),
        (Failed(reason="no such program", valid=False, retry=False), State.ERROR, None),
        (Interrupted(reason="drained"), State.QUEUED, State.QUEUED),
        (Lost("killed"), State.QUEUED, State.QUEUED),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_check_grades_or_comes_to_nothing(world: World, outcome: Outcome, first: State, second: State | None) -> None:
    done(world)
    job = world.finish(check(world), outcome, exit=1)
    assert (job.state, job.stage) == (first, "check")
    if second is not None:
        world.wait(600)
        assert world.finish(check(world), outcome, exit=1).state is second
    if world.job("a").state.is_final:
        assert world.job("a").reason.startswith("check: ")
        assert world.job("a").account == "claude"


def test_a_retry_after_no_result_asks_the_judge_alone(world: World) -> None:
    done(world)
    job = world.finish(check(world), Failed(reason="no such program", valid=False, retry=False), exit=None)
    again = world.store.retry(job.id, world.now, by="ann")
    assert (again.state, again.stage, again.account, again.attempts) == (State.QUEUED, "check", "judges", 0)
    assert world.events("job retried")[-1].data == {"by": "ann", "stage": "check"}
    assert world.finish(check(world)).state is State.SUCCEEDED


@pytest.mark.parametrize("clean", [False, True])
def test_a_retry_after_a_grade_or_a_clean_one_begins_with_the_agent_anew(world: World, clean: bool) -> None:
    done(world)
    job = world.finish(check(world), NONE if clean else NO, exit=1)
    if clean:
        world.wait(600)
        job = world.finish(check(world), NONE, exit=127)
    again = world.store.retry(job.id, world.now, by="ann", clean=clean)
    assert (again.stage, again.account, again.model, again.session, again.work) == ("", "claude", "opus", None, None)
    claimed, attempt = world.take()
    assert (claimed.account, attempt.stage, attempt.n) == ("claude", "", world.job("a").launches)


def test_a_job_that_is_cancelled_before_its_check_is_its_agents_again_and_a_retry_goes_on(world: World) -> None:
    job = done(world)
    ended = world.store.cancel(job.id, world.now, by="ann")
    assert (ended.state, ended.account, ended.stage) == (State.CANCELLED, "claude", "check")
    assert world.store.retry(job.id, world.now, by="ann").stage == "check"
    assert world.finish(check(world)).state is State.SUCCEEDED


def test_a_claim_of_a_check_that_is_given_back_is_no_attempt_of_it(world: World) -> None:
    done(world)
    _, attempt = check(world)
    world.store.unclaim(attempt, world.now, "draining")
    assert (world.job("a").stage, world.job("a").attempts) == ("check", 0)
    assert world.finish(check(world)).state is State.SUCCEEDED


def test_another_definition_of_a_job_that_waits_for_its_check_changes_the_check(world: World) -> None:
    job = done(world)
    other = Stage(command=("other",), account="others")
    assert world.store.edit(job.id, judged(check=other), world.now, by="ann").account == "others"
    assert world.job("a").stage == "check"
    world.store.submit(Batch("b"), [judged(check=JUDGE)], world.now, update=True)
    assert world.job("a").account == "judges"
    gone = NewJob(name="a", account="claude", spec=Spec(agent="claude", prompt="do it"))
    assert world.store.edit(job.id, gone, world.now, by="ann").stage == ""
    assert (world.job("a").account, world.job("a").work) == ("claude", None)


def test_a_judge_that_fails_within_seconds_is_braked_on_its_own_account(world: World) -> None:
    world.accounts(Account(name="judges", cautious=True))
    done(world, judged(check=Stage(command=("judge",), account="judges", attempts=9)))
    for _ in range(3):
        world.finish(check(world), NONE, exit=127)
        world.wait(600)
    assert [hold.scope for hold in world.store.holds() if hold.reason.startswith("3 attempts in a row")] == ["judges"]


def test_a_job_without_stages_is_kept_as_ever(world: World) -> None:
    world.submit("a")
    job = world.finish(world.take())
    assert (job.stage, job.work, job.state) == ("", None, State.SUCCEEDED)
    assert world.events("job staged") == []


# --- a no that is given back to the agent ---


def fed(times: int = 1) -> NewJob:
    return judged(feed_failure_back=times)


def test_a_no_is_given_back_to_the_agents_session_so_often_and_then_it_is_the_end(world: World) -> None:
    done(world, fed(2))
    for turn in (1, 2):
        job = world.finish(check(world), NO, exit=1)
        assert (job.state, job.stage, job.account, job.session) == (State.QUEUED, "", "claude", "s-1")
        assert job.work is not None
        assert (job.work.fed, job.work.feedback, job.attempts) == (turn, 2 * turn, 0)
        claim = world.take()
        assert (claim[1].stage, claim[1].resumes) == ("", True)
        world.store.finish(claim[1], Succeeded("again"), world.now, exit=0, session="s-1")
    job = world.finish(check(world), NO, exit=1)
    assert (job.state, job.account, job.session) == (State.FAILED, "claude", "s-1")
    assert [one.data["stage"] for one in world.events("job staged")] == ["check", "", "check", "", "check"]


def test_a_turn_that_fails_or_is_cut_off_is_tried_again_with_what_it_is_to_answer(world: World) -> None:
    done(world, fed())
    world.finish(check(world), NO, exit=1)
    world.limited(world.take(), world.ahead(5))
    world.wait(6)
    claim = world.take()
    assert claim[0].work is not None
    assert (claim[0].session, claim[0].work.feedback) == ("s-1", 2)
    world.fail(claim)
    world.wait(600)
    claim = world.take()
    assert claim[0].work is not None
    assert (claim[0].session, claim[0].work.feedback, claim[0].attempts) == (None, 2, 1)
    world.fail(claim)
    world.wait(600)
    ended = world.fail(world.take())
    assert (ended.state, ended.stage) == (State.FAILED, "")
    again = world.store.retry(ended.id, world.now, by="ann")
    assert again.work is not None
    assert again.work.feedback == 2
    assert world.store.cancel(ended.id, world.now, by="ann").state is State.CANCELLED
    assert world.store.retry(ended.id, world.now, by="ann", clean=True).work is None


def test_a_clean_run_is_told_nothing_of_an_earlier_one(world: World) -> None:
    done(world, judged(feed_failure_back=1, max_interruptions=0))
    world.finish(check(world), NO, exit=1)
    job = world.finish(world.take(), Interrupted(reason="drained"), exit=None)
    assert (job.session, job.work, job.stage) == (None, None, "")
    world.store.finish(world.take()[1], Succeeded("x"), world.now, exit=0, session="s-9")
    assert world.finish(check(world)).session == "s-9"


def test_another_agent_has_no_session_to_answer_in(world: World) -> None:
    job = done(world, fed())
    other = NewJob(
        name="a", account="codex", spec=Spec(agent="codex", prompt="do it", check=JUDGE, feed_failure_back=1)
    )
    world.store.edit(job.id, other, world.now, by="ann")
    assert world.finish(check(world), NO, exit=1).session is None
    assert world.store.edit(job.id, fed(), world.now, by="ann").work is not None
    assert world.take()[0].account == "claude"


# --- what is published once ---

PUSH = Stage(command=("push",), account="forge", once=True)


def publishing(world: World, publish: Stage = PUSH, check: Stage | None = None) -> Claim:
    """The claim of a job whose work is to be published."""
    spec = Spec(agent="claude", prompt="do it", check=check, publish=publish, max_attempts=2)
    world.store.submit(Batch("b"), [NewJob(name="a", account="claude", spec=spec)], world.now)
    world.finish(world.take())
    if check is not None:
        world.finish(world.take())
    job, attempt = world.take()
    assert (job.account, attempt.stage) == ("forge", "publish")
    return job, attempt


@pytest.mark.parametrize("check", [None, JUDGE])
def test_work_is_published_after_it_was_found_good(world: World, check: Stage | None) -> None:
    ended = world.finish(publishing(world, check=check))
    assert (ended.state, ended.account, ended.stage) == (State.SUCCEEDED, "claude", "publish")


@pytest.mark.parametrize(
    "outcome",
    [
        Failed(reason="exit 1: rejected"),
        Failed(reason="no such program", valid=False, retry=False),
        TimedOut(after=5),
        Limited(said()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_publish_that_has_failed_is_not_started_again_by_itself(world: World, outcome: Outcome) -> None:
    ended = world.finish(publishing(world), outcome, exit=1)
    assert (ended.state, ended.stage, ended.account) == (State.ERROR, "publish", "claude")
    assert ended.reason.startswith("publish: ")
    assert "the work is done" in ended.reason
    assert world.store.retry(ended.id, world.now, by="ann").stage == "publish"
    assert world.finish(world.take()).state is State.SUCCEEDED


@pytest.mark.parametrize("outcome", [Lost("killed"), Interrupted(reason="stopped")], ids=lambda value: value.reason)
@pytest.mark.parametrize("verb", ["resume", "cancel", "published"])
def test_where_nobody_knows_whether_it_was_published_a_person_is_asked(
    world: World, outcome: Outcome, verb: str
) -> None:
    job = world.finish(publishing(world), outcome, exit=None)
    assert (job.state, job.stage) == (State.QUEUED, "publish")
    hold = world.hold(f"job:{job.id}")
    assert (hold.origin, hold.allow, hold.until) == (Origin.HUMAN, 0, None)
    assert f"resume job:{job.id}" in hold.reason
    assert hold.evidence
    world.wait(100_000)
    assert world.claim(9) == []
    if verb == "cancel":
        assert world.store.cancel(job.id, world.now, by="ann").state is State.CANCELLED
        assert world.store.holds() == []
    elif verb == "published":
        ended = world.store.published(job.id, world.now, by="ann")
        assert (ended.state, ended.account, world.store.holds()) == (State.SUCCEEDED, "claude", [])
        assert [event.data for event in world.events("job published")] == [{"by": "ann"}]
        with pytest.raises(BadInput, match=f"job {job.id} does not wait to be published"):
            world.store.published(job.id, world.now, by="ann")
    else:
        world.store.lift(f"job:{job.id}", world.now, by="ann", origins=[Origin.HUMAN])
        assert world.finish(world.take()).state is State.SUCCEEDED


def test_only_what_waits_to_be_published_can_be_said_to_be(world: World) -> None:
    done(world, judged(publish=PUSH))  # it waits for its check
    claim = check(world)
    with pytest.raises(BadInput, match="does not wait to be published"):
        world.store.published(claim[0].id, world.now, by="ann")
    world.finish(claim)
    publishing = world.take()
    with pytest.raises(BadInput, match="does not wait to be published"):
        world.store.published(publishing[0].id, world.now, by="ann")
    assert world.finish(publishing).state is State.SUCCEEDED


def test_a_publish_that_was_claimed_and_never_launched_was_not_started(world: World) -> None:
    claim = publishing(world)
    world.store.unclaim(claim[1], world.now, "out of processes")
    assert world.store.holds() == []
    assert world.finish(world.take()).state is State.SUCCEEDED


def test_a_publish_that_may_be_repeated_is_tried_again_as_a_check_is(world: World) -> None:
    claim = publishing(world, Stage(command=("push",), account="forge", attempts=2))
    assert world.finish(claim, Lost("killed"), exit=None).state is State.QUEUED
    assert world.fail(world.take()).state is State.QUEUED
    world.wait(600)
    assert world.fail(world.take()).state is State.ERROR


@pytest.mark.parametrize("adopts", [False, True])
def test_what_a_restored_database_has_forgotten_may_have_been_published(world: World, adopts: bool) -> None:
    spec = Spec(agent="claude", prompt="do it", publish=PUSH)
    world.store.submit(Batch("b"), [NewJob(name="a", account="claude", spec=spec)], world.now)
    found = Forgotten(job=1, numbers=(1, 2), supervisor=incarnation("old"), began=world.now, adopts=adopts)
    world.store.take_up(found, world.now)
    assert world.hold("job:1").origin is Origin.HUMAN
