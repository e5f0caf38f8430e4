"""What an attempt's end does, and whose end counts."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest
from msgspec.structs import replace

from stores.reconciling import audited
from stores.world import RULES, START, World, names, new, said
from tidegate.errors import NotOwner
from tidegate.model import (
    Account,
    Batch,
    Cancelled,
    Failed,
    Interrupted,
    Limited,
    Lost,
    NewJob,
    Origin,
    Outcome,
    Spec,
    State,
    Succeeded,
    TimedOut,
    Usage,
)
from tidegate.stores.rows import Known

ENDS: list[tuple[Outcome, State, str, bool]] = [
    (Succeeded("fine"), State.SUCCEEDED, "succeeded", False),
    (Failed(reason="exit 1"), State.QUEUED, "failed", True),
    (Failed(reason="no such program", valid=False, retry=False), State.ERROR, "failed", True),
    (TimedOut(after=60), State.QUEUED, "timedout", True),
    (Limited(said()), State.QUEUED, "limited", False),
    (Interrupted(reason="drained"), State.QUEUED, "interrupted", False),
    (Lost("the host died"), State.QUEUED, "lost", False),
    (Cancelled("ann said so"), State.CANCELLED, "cancelled", False),
]


@pytest.mark.parametrize(("outcome", "state", "name", "charged"), ENDS, ids=lambda value: str(value)[:24])
def test_each_end_is_recorded_with_the_state_that_follows(
    world: World, outcome: Outcome, state: State, name: str, charged: bool
) -> None:
    world.submit("a")
    claim = world.take()
    world.wait(5)
    job = world.finish(claim, outcome, exit=7)
    assert job == world.job("a")
    assert (job.state, job.attempts) == (state, int(charged))
    (attempt,) = world.store.attempts(job.id)
    assert (attempt.outcome, attempt.exit, attempt.ended_at) == (name, 7, world.now)
    assert world.store.running() == []
    (event,) = world.events("attempt ended")
    assert {key: event.data[key] for key in ("outcome", "exit", "charged", "next")} == {
        "outcome": name,
        "exit": 7,
        "charged": charged,
        "next": state.value,
    }
    ended = world.events("job ended")
    assert [one.data["state"] for one in ended] == ([state.value] if state.is_final else [])
    assert (job.ended_at == world.now) == state.is_final


def test_an_end_keeps_session_usage_and_words(world: World) -> None:
    world.submit("a")
    _, attempt = world.take()
    usage = Usage(input_tokens=5, cost_usd=0.25)
    job = world.store.finish(attempt, Interrupted(reason="drained"), world.now, session="s-1", usage=usage, rules=RULES)
    assert job.session == "s-1"
    (row,) = world.store.attempts(job.id)
    assert (row.session, row.usage, row.detail) == ("s-1", usage, "drained")


def test_money_that_an_agent_adds_up_over_its_session_is_kept_once(world: World) -> None:
    world.submit("a", "b")
    for job in ("a", "b"):
        for told, session in ((0.5, "s"), (None, "s"), (2.0, "s"), (0.75, "t")):
            claim = world.take()
            assert claim[0].name == job
            usage = None if told is None else Usage(cost_usd=told, of_session=("cost_usd",))
            last = session == "t"
            outcome = Succeeded("done") if last else Interrupted(reason="drained")
            world.store.finish(claim[1], outcome, world.now, session=session, usage=usage, rules=RULES)
        attempts = world.store.attempts(world.job(job).id)
        assert [one.usage and one.usage.cost_usd for one in attempts] == [0.5, None, 1.5, 0.75]


def test_the_next_attempt_resumes_the_session_that_was_seen_last(world: World) -> None:
    world.submit("a")
    claim = world.take()
    world.store.note_session(claim[1], "s-1", world.now)
    world.store.note_session(claim[1], "s-1", world.now)
    assert [event.data for event in world.events("session seen")] == [{"session": "s-1"}]
    world.finish(claim, Interrupted(reason="drained"))
    job, again = world.take()
    assert job.session == "s-1"
    assert world.events("attempt claimed")[-1].data["resumes"] is True
    assert world.finish((job, again), Lost("gone")).session == "s-1"


def test_a_session_that_is_gone_is_forgotten_and_the_event_says_so(world: World) -> None:
    world.submit("a")
    claim = world.take()
    world.store.note_session(claim[1], "s-1", world.now)
    job = world.finish(claim, Interrupted(reason="No conversation found", session_gone=True), exit=1)
    assert job.session is None
    assert world.events("attempt ended")[0].data["session_gone"] is True


def test_a_spec_that_restarts_has_no_session_after_a_cut(world: World) -> None:
    world.store.submit(Batch("b"), [new("a", on_cutoff="restart")], world.now)
    claim = world.take()
    world.store.note_session(claim[1], "s-1", world.now)
    assert world.limited(claim, world.ahead(60)).session is None


# --- whose it is ---


def test_a_finish_that_no_longer_owns_the_attempt_is_refused(world: World) -> None:
    world.submit("a")
    _, attempt = world.take()
    world.enter("next")
    ((_, mine),) = world.store.adopt("next", "here", world.now)
    with pytest.raises(NotOwner):
        world.store.finish(attempt, Failed(reason="late"), world.now)
    with pytest.raises(NotOwner):
        world.store.note_session(attempt, "s", world.now)
    assert world.store.finish(mine, Succeeded(), world.now).state is State.SUCCEEDED


def test_a_finish_of_an_earlier_attempt_is_refused(world: World) -> None:
    world.submit("a")
    first = world.take()
    world.finish(first, Interrupted(reason="drained"))
    second = world.take()
    with pytest.raises(NotOwner):
        world.finish(first, Succeeded("late"))
    assert world.store.running() == [second]


def test_an_attempt_that_nobody_made_is_refused(world: World) -> None:
    world.submit("a")
    _, attempt = world.take()
    for made_up in (replace(attempt, n=2), replace(attempt, job=99), replace(attempt, supervisor="you")):
        with pytest.raises(NotOwner):
            world.store.finish(made_up, Succeeded(), world.now)
    assert world.states() == {"a": State.RUNNING}


@pytest.mark.parametrize("outcome", [Succeeded("fine"), Failed(reason="exit 1"), Limited(said()), Lost("gone")])
def test_repeating_a_finish_is_a_success_and_changes_nothing(world: World, outcome: Outcome) -> None:
    world.submit("a")
    claim = world.take()
    job = world.finish(claim, outcome)
    before = world.store.last_seq()
    world.wait(5)
    assert world.finish(claim, outcome) == job
    assert world.store.last_seq() == before


def test_a_finish_repeated_after_the_next_claim_disturbs_nobody(world: World) -> None:
    world.submit("a")
    first = world.take()
    world.finish(first, Interrupted(reason="drained"))
    second = world.take()
    assert world.finish(first, Interrupted(reason="drained")).state is State.RUNNING
    assert world.store.running() == [second]


def test_a_different_end_of_an_ended_attempt_is_refused(world: World) -> None:
    world.submit("a")
    claim = world.take()
    world.finish(claim, Succeeded("fine"))
    with pytest.raises(NotOwner):
        world.fail(claim)
    assert world.states() == {"a": State.SUCCEEDED}


def test_a_session_that_is_told_after_the_end_is_refused(world: World) -> None:
    world.submit("a")
    claim = world.take()
    world.finish(claim)
    with pytest.raises(NotOwner):
        world.store.note_session(claim[1], "s", world.now)


def test_progress_that_is_told_too_late_changes_nothing(world: World) -> None:
    world.submit("a", "b")
    ended, adopted = world.claim(2)
    world.finish(ended, Interrupted(reason="drained"))
    world.enter("next")
    world.store.adopt("next", "here", world.now)
    before = world.store.last_seq()
    assert world.progress(ended) == world.progress(adopted) == []
    assert world.store.last_seq() == before


# --- adopting ---


def test_a_new_incarnation_adopts_what_the_old_one_left_running(world: World) -> None:
    world.submit("a", "b", "c")
    world.finish(world.take())
    old = world.claim(2)
    world.enter("next")
    adopted = world.store.adopt("next", "here", world.now)
    assert names(adopted) == ["b", "c"]
    assert [attempt for _, attempt in adopted] == [replace(attempt, supervisor="next") for _, attempt in old]
    assert world.store.running() == adopted
    assert [one.uuid for one in world.store.supervisors()] == ["next"]
    assert [event.data for event in world.events("attempt adopted")] == [{"of": "me"}, {"of": "me"}]
    assert world.store.adopt("next", "here", world.now) == []


def test_what_runs_on_another_host_is_not_adopted(world: World) -> None:
    world.enter("far", host="there")
    world.submit("a")
    world.take(by="far")
    assert world.store.adopt("me", "here", world.now) == []
    assert {one.uuid for one in world.store.supervisors()} == {"me", "far"}


def test_what_a_supervisor_left_running_when_it_left_is_adopted(world: World) -> None:
    world.submit("a")
    world.take()
    world.store.leave("me", world.now)
    world.store.leave("me", world.now)
    world.enter("next")
    assert names(world.store.adopt("next", "here", world.now)) == ["a"]
    assert len(world.events("supervisor left")) == 1


def test_only_a_registered_supervisor_adopts(world: World) -> None:
    with pytest.raises(NotOwner):
        world.store.adopt("nobody", "here", world.now)


# --- the guard against endless limits ---


def limit_often(world: World, times: int) -> None:
    for _ in range(times):
        world.now = max([world.now, *(hold.until for hold in world.store.holds() if hold.until)])
        for claim in world.claim(9):
            if claim[0].name == "unlucky":
                world.limited(claim, world.ahead(60))
            else:
                world.fail(claim)
        world.wait()


def test_a_job_that_is_always_limited_while_others_go_on_waits_for_a_person(world: World) -> None:
    world.accounts(Account(name="acct", max_running=1))
    world.submit("unlucky", priority=1)
    world.submit(*(f"n{number}" for number in range(40)))
    limit_often(world, 40)
    job = world.job("unlucky")
    hold = world.hold(f"job:{job.id}")
    assert (job.state, job.limited_in_a_row, job.attempts) == (State.QUEUED, RULES.max_limited, 0)
    assert (hold.origin, hold.allow, hold.evidence) == (Origin.HUMAN, 0, "no more")
    (event,) = world.events("job stuck")
    assert (event.job, event.scope) == (job.id, hold.scope)
    assert (event.data["reason"], event.data["evidence"]) == (hold.reason, "no more")


def test_a_job_whose_neighbours_are_limited_too_is_not_stuck(world: World) -> None:
    world.submit("unlucky")
    limit_often(world, RULES.max_limited + 3)
    assert world.job("unlucky").limited_in_a_row > RULES.max_limited
    assert world.events("job stuck") == []


def limited_so_often(world: World, times: int, *, progress: bool = False) -> None:
    """Jobs of an account of one place, the first of which is limited again and again at the same instant."""
    world.accounts(Account(name="acct", max_running=1))
    for _ in range(times):
        world.store.lift(None, world.now, by="ann")
        claim = world.take()
        assert claim[0].name == "unlucky"
        if progress:
            world.progress(claim)
        world.limited(claim, world.ahead(60))


def test_a_jobs_own_progress_is_not_that_of_others(world: World) -> None:
    world.submit("unlucky")
    limited_so_often(world, RULES.max_limited + 1, progress=True)
    assert world.events("job stuck") == []


@pytest.mark.parametrize(("wait", "stuck"), [(0, True), (1, False)])
def test_others_count_that_progressed_since_the_first_limit_in_the_row(world: World, wait: int, stuck: bool) -> None:
    world.submit("other", priority=9)
    world.submit("unlucky")
    world.finish(world.take())
    world.wait(wait)
    limited_so_often(world, RULES.max_limited)
    assert bool(world.events("job stuck")) is stuck


# --- words ---


def test_an_agents_words_are_cut_and_made_valid_text(world: World) -> None:
    world.submit("a")
    claim = world.take()
    job = world.finish(claim, Failed(reason="\ud800" + "x" * 10_000, retry=False), exit=1)
    assert job.reason == "?" + "x" * 3999
    assert world.job("a").reason == job.reason


def test_an_instant_survives_in_every_zone(world: World) -> None:
    world.now = START.astimezone(timezone(timedelta(hours=-7)))
    world.submit("a")
    assert world.job("a").created_at == START
    assert world.store.events()[0].at == START


def test_three_attempts_in_a_row_that_fail_at_once_without_an_answer_stop_their_account(world: World) -> None:
    world.store.set_accounts([Account(name="acct", cautious=True)], world.now)
    world.submit("a", "b", "c", "d")
    for count in range(1, 4):
        claim = world.take()
        world.wait(2)
        world.finish(claim, Failed(reason="exit 1: words that nobody knows"))
        human = [hold for hold in world.store.holds() if hold.origin is Origin.HUMAN]
        assert bool(human) == (count == 3)
    (hold,) = human
    assert (hold.scope, hold.evidence) == ("acct", "exit 1: words that nobody knows")
    assert world.store.claim("me", world.now, most=8) == []


@pytest.mark.parametrize("why", ["an answer", "a long attempt", "an account without limits", "the job's own fault"])
def test_failures_that_tell_nothing_of_a_limit_stop_no_account(world: World, why: str) -> None:
    world.store.set_accounts([Account(name="acct", cautious=why != "an account without limits")], world.now)
    world.submit("a", "b", "c", "d")
    for _ in range(3):
        claim = world.take()
        if why == "an answer":
            world.store.note_progress(claim[1], world.now)
        world.wait(600 if why == "a long attempt" else 2)
        world.finish(claim, Failed(reason="exit 1", own=why == "the job's own fault"))
    assert [hold for hold in world.store.holds() if hold.origin is Origin.HUMAN] == []


def test_a_job_that_gets_on_a_little_each_time_is_not_stuck(world: World) -> None:
    world.submit("long", "short")
    for _ in range(10):
        claim = world.take()
        world.store.note_progress(claim[1], world.now)
        world.wait(5)
        job = world.limited(claim, resets_at=world.ahead(60))
        assert job.limited_in_a_row == 1
        world.wait(120)
    assert world.events("job stuck") == []


def test_failures_are_counted_by_kind_where_a_definition_names_kinds(world: World) -> None:
    spec = Spec(prompt="x", retries={"timeout": 1, "error": 1})
    world.store.submit(Batch("b"), [NewJob(name="a", account="acct", spec=spec)], world.now)
    for outcome in (TimedOut(after=1), Failed(reason="nothing", valid=False)):
        assert world.finish(world.take(), outcome).state is State.QUEUED
        world.wait(3600)
    assert (world.job("a").charges, world.job("a").attempts) == ({"timeout": 1, "error": 1}, 2)
    assert [event.data["kind"] for event in world.events("attempt ended")] == ["timeout", "error"]
    assert world.finish(world.take(), TimedOut(after=1)).state is State.FAILED
    world.store.retry(world.job("a").id, world.now, by="ann")
    assert world.job("a").charges == {}
    audited(world.store)


def test_what_is_known_of_an_account_is_what_was_written_last(world: World) -> None:
    rows = world.store._rows  # type: ignore[attr-defined] # of either store
    first = Known(Account(name="acct"))
    last = Known(Account(name="acct", max_running=3, cautious=True), world.now, 7, world.ahead(-60), 2)
    for known in (first, last):
        with rows.transaction():
            rows.put_known(known)
        assert rows.known("acct") == known
