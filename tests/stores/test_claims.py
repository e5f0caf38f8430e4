"""Which job a claim takes, and which it leaves."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from stores.world import START, World, incarnation, names, new
from tidegate.errors import NotOwner
from tidegate.model import Account, Batch, Failed, Interrupted, NewJob, Origin, Spec, State


def test_a_claim_takes_the_oldest_job_and_says_who_runs_it(world: World) -> None:
    world.submit("a", "b")
    ((job, attempt),) = world.claim()
    assert (job.name, job.state, job.launches, job.attempts) == ("a", State.RUNNING, 1, 0)
    assert (attempt.job, attempt.n, attempt.supervisor, attempt.started_at) == (job.id, 1, "me", START)
    assert world.store.job(job.id) == job
    assert world.store.attempts(job.id) == [attempt]
    assert world.store.running() == [(job, attempt)]


def test_a_claim_takes_as_many_as_it_may_and_no_more(world: World) -> None:
    world.submit(*"abcde")
    assert names(world.claim(3)) == ["a", "b", "c"]
    assert names(world.claim(3)) == ["d", "e"]
    assert world.claim(3) == []


def test_the_epoch_of_an_attempt_is_the_seq_of_its_claim(world: World) -> None:
    world.submit("a", "b")
    (_, first), (_, second) = world.claim(2)
    claimed = world.events("attempt claimed")
    assert [event.seq for event in claimed] == [first.epoch, second.epoch]
    assert [(event.at, event.job, event.attempt, event.scope) for event in claimed] == [
        (START, first.job, 1, None),
        (START, second.job, 1, None),
    ]
    assert claimed[0].data == {"n": 1, "canary": False, "resumes": False, "account": "acct"}


def test_priority_goes_before_age(world: World) -> None:
    world.submit("old", "older")
    world.submit("urgent", priority=5)
    world.submit("never", priority=-5)
    assert names(world.claim(4)) == ["urgent", "old", "older", "never"]


def test_a_resumed_job_goes_ahead_of_fresh_ones_of_the_same_priority(world: World) -> None:
    world.submit("a", "b", "c")
    world.submit("urgent", priority=1)
    claims = world.claim(3)
    assert names(claims) == ["urgent", "a", "b"]
    world.finish(claims[2], Interrupted(reason="drained"))
    world.submit("later", priority=1)
    assert names(world.claim(9)) == ["later", "b", "c"]


def test_behind_the_first_job_of_a_lane_a_resumed_one_goes_ahead_of_older_fresh_ones(world: World) -> None:
    world.submit("other", account="two")
    world.submit("old")
    world.submit("cut", priority=9)
    cut = world.take()
    world.finish(cut, Interrupted(reason="drained"))
    world.store.set_priority(cut[0].id, 0, world.now)
    world.submit("urgent", priority=5)
    assert names(world.claim(9)) == ["urgent", "cut", "other", "old"]


def test_the_best_job_of_several_lanes_wins(world: World) -> None:
    world.submit("a1", account="one")
    world.submit("b1", account="two", priority=1)
    world.submit("a2", account="one", priority=2)
    world.submit("c1", account="three", batch="other")
    world.submit("b2", account="two", priority=2)
    assert names(world.claim(9)) == ["a2", "b2", "b1", "a1", "c1"]


def test_of_many_lanes_none_gives_a_job_that_runs_is_to_wait_is_held_or_needs_another(world: World) -> None:
    world.submit("runs", account="one")
    world.submit("failed", account="two")
    claims = world.claim(2)
    world.fail(claims[1])
    world.submit("held", account="three")
    world.pause(f"job:{world.job('held').id}")
    needy = replace(new("needy", account="four"), needs=(world.job("runs").id,))
    world.store.submit(Batch("b"), [needy], world.now, whole=False)
    assert world.claim(9) == []
    for account in ("one", "two", "three", "four"):
        world.submit(f"next of {account}", account=account)
    assert names(world.claim(9)) == ["next of one", "next of two", "next of three", "next of four"]


def test_of_many_lanes_each_gives_what_was_cut_off_before_what_is_fresh(world: World) -> None:
    world.submit("else", account="two")
    world.submit("old", account="one")
    world.submit("cut", account="one", priority=9)
    cut = world.take()
    world.finish(cut, Interrupted(reason="drained"))
    world.store.set_priority(cut[0].id, 0, world.now)
    assert names(world.claim()) == ["cut"]


def test_the_batch_that_is_named_is_held_under_its_own_name(world: World) -> None:
    first, second = (world.submit(name, batch=name).batch.id for name in ("first", "second"))
    world.pause("batch:first")
    assert world.claim(9, batch=first) == []
    assert names(world.claim(9, batch=second)) == ["second"]


def test_only_the_jobs_of_one_batch_are_taken_where_one_is_named(world: World) -> None:
    world.submit("a", batch="first", priority=9)
    second = world.submit("b", batch="second").batch.id
    assert names(world.claim(9, batch=second)) == ["b"]


def test_nobody_claims_who_has_not_entered_or_has_left(world: World) -> None:
    world.submit("a")
    with pytest.raises(NotOwner):
        world.claim(by="nobody")
    world.store.leave("me", world.now)
    with pytest.raises(NotOwner):
        world.claim()
    assert world.states() == {"a": State.QUEUED}


def test_a_job_that_is_to_wait_is_taken_when_it_is_due(world: World) -> None:
    world.submit("a")
    job = world.fail(world.take())
    assert job.not_before is not None
    assert world.claim() == []
    assert world.store.next_due(world.now) == job.not_before
    world.now = job.not_before
    assert world.store.next_due(world.now) is None
    assert world.take()[0].not_before is None


def test_of_several_jobs_that_are_to_wait_the_first_is_waited_for(world: World) -> None:
    world.submit("a", "b")
    first, second = world.claim(2)
    soon = world.fail(first).not_before
    world.wait(1)
    world.fail(second)
    assert world.store.next_due(world.now) == soon


def test_an_account_runs_no_more_than_it_may(world: World) -> None:
    world.accounts(Account(name="acct", max_running=2))
    world.submit(*"abcd")
    world.submit("other", account="free", batch="more")
    claims = world.claim(9)
    assert names(claims) == ["a", "b", "other"]
    assert world.claim() == []
    world.finish(claims[0])
    assert names(world.claim(9)) == ["c"]


def test_an_account_counts_over_all_of_its_batches_and_models(world: World) -> None:
    world.accounts(Account(name="acct", max_running=2))
    world.submit("a", batch="one", model="opus")
    world.submit("b", batch="two", model="sonnet")
    world.submit("c", batch="three")
    assert names(world.claim(9)) == ["a", "b"]


# --- held scopes ---


@pytest.mark.parametrize("scope", ["*", "host:here", "batch:b", "acct", "acct/opus"])
def test_a_held_scope_yields_nothing(world: World, scope: str) -> None:
    world.submit("a", model="claude-opus-4")
    world.pause(scope)
    assert world.claim() == []
    world.store.lift(scope, world.now, by="ann")
    assert names(world.claim()) == ["a"]


@pytest.mark.parametrize("account", ["Zeta", "anthropic", "job", "jobs", "kimi", "zai"])
def test_a_hold_binds_an_account_of_any_name(world: World, account: str) -> None:
    world.submit("a", account=account)
    world.pause(account)
    assert world.claim() == []


@pytest.mark.parametrize("scope", ["host:elsewhere", "batch:other", "other", "acct/sonnet", "acct/default"])
def test_a_hold_on_another_scope_binds_nothing(world: World, scope: str) -> None:
    world.submit("a", model="claude-opus-4")
    world.pause(scope)
    assert names(world.claim()) == ["a"]


def test_a_held_scope_is_skipped_and_the_lanes_behind_it_are_found(world: World) -> None:
    world.submit("shut1", "shut2", account="claude", priority=9)
    world.submit("open", account="codex")
    world.pause("claude")
    assert names(world.claim(9)) == ["open"]


def test_a_held_batch_is_skipped_and_another_of_the_same_account_goes_on(world: World) -> None:
    for batch in ("one", "two", "three"):
        world.submit(f"{batch}1", batch=batch)
    world.pause("batch:one")
    world.pause("batch:three", allow=1)
    assert names(world.claim(9)) == ["two1", "three1"]
    world.submit("two2", batch="two")
    world.submit("three2", batch="three")
    assert names(world.claim(9)) == ["two2"]


def test_a_hold_on_one_job_leaves_its_neighbours_alone(world: World) -> None:
    world.submit("a", "b")
    world.pause(f"job:{world.job('a').id}")
    assert names(world.claim(9)) == ["b"]
    world.store.lift(f"job:{world.job('a').id}", world.now, by="ann")
    assert names(world.claim(9)) == ["a"]


def test_a_job_under_two_holds_waits_for_both(world: World) -> None:
    world.submit("a")
    scope = f"job:{world.job('a').id}"
    world.pause(scope, until=world.ahead(10))
    world.store.hold(replace(world.hold(scope), origin=Origin.HUMAN, until=None), world.now)
    world.wait(10)
    assert world.claim() == []
    world.store.lift(scope, world.now, by="ann")
    assert names(world.claim()) == ["a"]


def test_a_standing_hold_counts_all_that_runs_in_its_scope(world: World) -> None:
    world.submit(*"abcde")
    first = world.take()
    world.pause("acct", allow=2)
    assert names(world.claim(9)) == ["b"]
    world.finish(first)
    assert names(world.claim(9)) == ["c"]


def test_a_hold_on_a_host_counts_only_what_runs_there(world: World) -> None:
    world.enter("there", host="there")
    world.submit(*"abcd")
    world.claim(2, by="there")
    world.pause("host:here", allow=1)
    assert names(world.claim(9)) == ["c"]


def test_a_hold_on_a_host_counts_each_attempt_once_however_many_lanes_there_are(world: World) -> None:
    for name in ("one", "two", "three"):
        world.submit(name, account=name, batch=name)
    world.take()
    world.pause("host:here", allow=2)
    assert names(world.claim(9)) == ["two"]


def test_an_operators_hold_is_lifted_when_its_end_comes(world: World) -> None:
    world.submit("a")
    world.pause("acct", until=world.ahead(60))
    assert world.claim() == []
    assert world.store.next_due(world.now) == world.ahead(60)
    world.wait(60)
    assert world.store.next_due(world.now) is None, "only what is ahead: the next claim turns what is due"
    assert names(world.claim()) == ["a"]
    assert world.store.holds() == []
    assert [event.data["by"] for event in world.events("gate lifted")] == ["time"]


def test_holds_are_lifted_in_the_order_of_their_ends(world: World) -> None:
    for scope, seconds in (("a", 20), ("b", 10), ("c", 30)):
        world.pause(scope, until=world.ahead(seconds))
    assert world.store.next_due(world.now) == world.ahead(10)
    world.wait(25)
    world.claim()
    assert [event.scope for event in world.events("gate lifted")] == ["b", "a"]
    assert world.store.next_due(world.now) == world.ahead(5)


def test_a_ramp_is_not_waited_for_though_the_clock_was_set_back_to_before_its_beginning(world: World) -> None:
    world.submit("a", "b")
    world.limited(world.take(), world.ahead(60))
    world.wait(60)
    world.claim()
    world.wait(-30)
    assert world.hold("acct").ramp
    assert world.store.next_due(world.now) is None


# --- giving back ---


def test_an_attempt_that_never_started_is_given_back_uncharged(world: World) -> None:
    world.submit("a", "b")
    claim = world.take()
    world.store.unclaim(claim[1], world.now, "the gate shut before the launch")
    job = world.job("a")
    assert (job.state, job.attempts, job.launches, job.resumed) == (State.QUEUED, 0, 1, True)
    assert world.store.attempts(job.id)[0].outcome == "unclaimed"
    assert [event.data for event in world.events("attempt unclaimed")] == [
        {"reason": "the gate shut before the launch"}
    ]
    again = world.take()
    assert (again[0].name, again[1].n) == ("a", 2)


def test_giving_back_twice_is_one_giving_back(world: World) -> None:
    world.submit("a")
    _, attempt = world.take()
    world.store.unclaim(attempt, world.now, "why")
    world.store.unclaim(attempt, world.now, "why")
    assert len(world.events("attempt unclaimed")) == 1


def test_only_the_owner_gives_back(world: World) -> None:
    world.submit("a")
    claim = world.take()
    world.finish(claim, Failed(reason="no", retry=False), exit=1)
    with pytest.raises(NotOwner):
        world.store.unclaim(claim[1], world.now, "too late")
    assert world.states() == {"a": State.FAILED}


def test_priority_can_be_changed_while_a_job_is_queued(world: World) -> None:
    world.submit("a", "b")
    world.store.set_priority(world.job("b").id, 3, world.now)
    claims = world.claim()
    assert names(claims) == ["b"]
    world.store.set_priority(claims[0][0].id, 9, world.now)
    assert world.job("b").priority == 3
    assert [event.data for event in world.events("job updated")] == [{"priority": 3}]


def test_who_starts_a_part_alone_claims_what_its_patterns_pick(world: World) -> None:
    grouped = [NewJob(name=name, account="acct", spec=Spec(prompt="x"), group=name[:2]) for name in ("T0/a", "T5/a")]
    world.store.submit(Batch("b"), [*grouped, new("x"), new("y1"), new("y2", "other")], world.now)
    world.store.enter(replace(incarnation("part"), only=("T5", "y[!1]")))
    assert [one.only for one in world.store.supervisors()] == [(), ("T5", "y[!1]")]
    assert names(world.claim(9, by="part")) == ["T5/a", "y2"]
    assert world.claim(9, by="part") == []
    assert names(world.claim(9)) == ["T0/a", "x", "y1"]


def test_who_starts_a_part_alone_takes_the_best_of_it_and_none_that_waits_for_something(world: World) -> None:
    world.store.enter(replace(incarnation("part"), only=("x*",)))
    world.submit("x failed")
    failed = world.take(by="part")
    world.fail(failed)
    world.submit("x old", "x older")
    world.submit("x two", account="two")
    world.submit("x cut", priority=9)
    cut = world.take(by="part")
    world.finish(cut, Interrupted(reason="drained"))
    world.store.set_priority(cut[0].id, 0, world.now)
    world.submit("x held")
    world.pause(f"job:{world.job('x held').id}")
    world.store.submit(Batch("b"), [replace(new("x needy"), needs=(failed[0].id,))], world.now, whole=False)
    world.submit("x urgent", "y", priority=1)
    world.submit("x elsewhere", account="two", priority=2)
    assert names(world.claim(9, by="part")) == ["x elsewhere", "x urgent", "x cut", "x old", "x older", "x two"]
