"""How holds come, merge, turn into ramps and go."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest
from msgspec.structs import replace

from stores.world import RULES, World, incarnation, names, said
from tidegate.model import (
    Account,
    Failed,
    Hold,
    Interrupted,
    Kind,
    Limited,
    Lost,
    Origin,
    State,
    Succeeded,
    TimedOut,
    Window,
)


def gate(world: World) -> list[str]:
    """What the gate did, in order, without what jobs did."""
    return [event.name for event in world.events() if event.name.startswith("gate ")]


# --- shutting ---


def test_a_limit_shuts_its_account_while_the_attempt_still_runs(world: World) -> None:
    world.submit("a", "b", "c")
    claim = world.take()
    hold = world.told(claim, said(world.ahead(60)))
    assert hold is not None
    assert (hold.scope, hold.allow, hold.until, hold.ramp) == ("acct", 0, world.ahead(60), False)
    assert world.store.holds() == [hold]
    assert world.claim(9) == []
    (event,) = world.events("gate shut")
    assert (event.job, event.attempt, event.scope, event.seq) == (claim[0].id, 1, "acct", hold.epoch)
    assert event.data == {
        "origin": "limit",
        "window": "5h",
        "allow": 0,
        "until": "2026-01-09T18:31:00.000000Z",
        "resets_at": "2026-01-09T18:31:00.000000Z",
        "exact": True,
        "reason": "usage_limit",
        "evidence": "no more",
        "by": "tidegate",
    }


def test_shutting_the_gate_in_front_of_many_jobs_writes_one_row(world: World) -> None:
    world.submit(*(f"j{number}" for number in range(500)))
    claim = world.take()
    before = world.store.last_seq()
    world.told(claim, said(world.ahead(60)))
    assert world.store.last_seq() == before + 1
    assert all(job.not_before is None for job in world.store.jobs(states=[State.QUEUED]))


def test_a_limit_of_one_model_leaves_the_others_open(world: World) -> None:
    world.submit("a", "b", model="claude-opus-4")
    world.submit("c", model="sonnet")
    world.submit("d")
    world.told(world.take(), said(world.ahead(60), model="opus"))
    assert names(world.claim(9)) == ["c", "d"]


def test_the_same_limit_told_twice_changes_nothing(world: World) -> None:
    world.submit("a", "b")
    first, second = world.claim(2)
    hold = world.told(first, said(world.ahead(60)))
    world.wait(1)
    assert world.told(second, said(world.ahead(59))) == hold
    assert world.told(second, said(world.ahead(59.9))) == hold
    assert gate(world) == ["gate shut"]


def test_of_two_ends_the_later_wins(world: World) -> None:
    world.submit("a", "b")
    first, second = world.claim(2)
    world.told(first, said(world.ahead(60)))
    world.told(second, said(world.ahead(30)))
    assert world.hold("acct").until == world.ahead(60)
    world.told(second, said(world.ahead(90)))
    assert world.hold("acct").until == world.ahead(90)
    assert gate(world) == ["gate shut", "gate moved"]
    assert world.hold("acct").epoch == world.events("gate shut")[0].seq, "a moved end is no new turn"


def test_an_exact_end_replaces_a_printed_one_even_when_earlier(world: World) -> None:
    world.submit("a", "b")
    first, second = world.claim(2)
    world.told(first, replace(said(world.ahead(90)), exact=False))
    world.told(second, said(world.ahead(60)))
    assert (world.hold("acct").until, world.hold("acct").exact) == (world.ahead(60), True)


def test_windows_are_apart_and_all_of_them_bind(world: World) -> None:
    world.submit("a", "b")
    first, second = world.claim(2)
    world.told(first, said(world.ahead(60)))
    world.told(second, said(world.ahead(600), window=Window.WEEK))
    world.finish(first, Limited(said()))
    assert {hold.window for hold in world.store.holds()} == {Window.FIVE_HOURS, Window.WEEK}
    world.wait(60)
    assert world.claim() == []
    assert world.store.next_due(world.now) == world.ahead(540)


def test_an_operators_pause_survives_a_reset(world: World) -> None:
    world.submit("a", "b")
    world.limited(world.take(), world.ahead(60))
    world.pause("acct")
    world.wait(60)
    assert world.claim() == []
    assert gate(world) == ["gate shut", "gate shut", "gate reopening"]
    world.store.lift("acct", world.now, by="ann", origins=[Origin.OPERATOR])
    assert names(world.claim(9)) == ["a"]


def test_pausing_again_with_another_end_moves_it_and_with_the_same_end_does_nothing(world: World) -> None:
    world.pause("*", until=world.ahead(60))
    world.pause("*", until=world.ahead(60))
    world.pause("*", until=world.ahead(30))
    assert gate(world) == ["gate shut", "gate moved"]
    assert world.hold("*").until == world.ahead(30)


# --- lifting ---


def test_lifting_takes_the_origins_that_are_named_and_leaves_the_others(world: World) -> None:
    world.submit("a")
    world.limited(world.take(), world.ahead(60))
    world.pause("acct")
    world.pause("*")
    assert [hold.origin for hold in world.store.lift("acct", world.now, by="ann", origins=[Origin.LIMIT])] == [
        Origin.LIMIT
    ]
    assert world.store.lift("acct", world.now, by="ann", origins=[Origin.LIMIT]) == []
    assert sorted(hold.scope for hold in world.store.lift(None, world.now, by="ann")) == ["*", "acct"]
    assert [event.data["by"] for event in world.events("gate lifted")] == ["ann"] * 3


# --- stale evidence ---


def test_late_lines_of_a_cut_off_neighbour_do_not_shut_a_freshly_opened_gate(world: World) -> None:
    world.submit("a", "b", "c")
    first, late = world.claim(2)
    world.limited(first, world.ahead(60))
    world.wait(60)
    canary = world.take()
    assert world.told(late, said()) is None
    assert world.told(late, said(world.now - timedelta(seconds=1))) is None
    assert world.hold("acct").ramp
    assert world.told(canary, said()) is not None
    assert not world.hold("acct").ramp


def test_a_neighbour_from_before_is_believed_when_it_names_a_reset_ahead(world: World) -> None:
    world.submit("a", "b", "c")
    first, late = world.claim(2)
    world.limited(first, world.ahead(60))
    world.wait(60)
    world.take()
    assert world.told(late, said(world.ahead(60))) is not None
    assert world.claim(9) == []


def test_the_canarys_own_later_refusal_counts_after_the_gate_is_wide_open(world: World) -> None:
    world.accounts(Account(name="acct", max_running=1))
    world.submit("a", "b")
    world.limited(world.take(), world.ahead(60))
    world.wait(60)
    canary = world.take()
    world.progress(canary)
    assert world.store.holds() == []
    assert world.told(canary, said()) is not None


def test_what_was_told_before_an_operator_lifted_the_hold_is_old_news(world: World) -> None:
    world.submit("a", "b")
    first, late = world.claim(2)
    world.limited(first, world.ahead(3600))
    world.store.lift("acct", world.now, by="ann")
    assert world.told(late, said()) is None
    assert names(world.claim(9)) == ["a"]


def test_a_refusal_that_is_read_again_after_its_reset_does_not_shut_the_gate_again(world: World) -> None:
    world.submit("a", "b")
    refused, neighbour = world.claim(2)
    reset = world.ahead(60)
    world.told(refused, said(reset))
    world.told(neighbour, said(reset, evidence="the same, heard by another"))
    world.wait(61)  # nobody was there to turn the hold: the supervisor was killed, and reads all output anew
    world.told(refused, said(reset))
    world.told(neighbour, said(reset, evidence="the same, heard by another"))
    assert world.hold("acct").ramp
    assert [event.data["until"] for event in world.events("gate shut")] == ["2026-01-09T18:31:00.000000Z"]


def test_a_refusal_that_is_read_again_does_not_move_a_relative_reset(world: World) -> None:
    world.submit("a")
    refused = world.take()
    world.told(refused, said(world.ahead(60), evidence="try again in a minute"))
    world.wait(30)
    world.told(refused, said(world.ahead(60), evidence="try again in a minute"))
    assert world.events("gate moved") == []


def test_a_refusal_that_a_person_has_overruled_is_not_told_again_at_the_attempts_end(world: World) -> None:
    world.submit("a", "b")
    refused = world.take()
    world.told(refused, said(world.ahead(3600)))
    world.store.lift("acct", world.now, by="ann")
    world.limited(refused, world.ahead(3600))
    assert world.store.holds() == []
    assert names(world.claim(9)) == ["a", "b"]


# --- reopening ---


def reopened(world: World, jobs: int, most: int | None = None) -> None:
    """An account whose limit has just ended, with jobs that wait."""
    world.accounts(Account(name="acct", max_running=most))
    world.submit("struck", *(f"n{number}" for number in range(jobs)))
    world.limited(world.take(), world.ahead(60))
    assert world.store.next_due(world.now) == world.ahead(60)
    world.wait(60)


def test_at_the_reset_one_canary_goes_then_two_then_four(world: World) -> None:
    reopened(world, 70)
    (canary,) = world.claim(99)
    assert canary[1].canary
    assert world.hold("acct").canary == canary[0].id
    told = world.events("attempt claimed")[-1]
    assert (told.job, told.attempt, told.scope, told.data["canary"]) == (canary[0].id, canary[1].n, "acct", True)
    assert world.claim(99) == []
    assert [hold.allow for hold in world.progress(canary)] == [2]
    (second,) = world.claim(99)
    assert not second[1].canary
    assert [hold.allow for hold in world.progress(second)] == [4]
    assert len(world.claim(99)) == 2
    assert [hold.allow for hold in world.progress(canary)] == [4], "an attempt makes its first progress once"
    world.finish(canary)
    assert world.hold("acct").allow == 4, "nor does its end count again"


def test_each_turn_of_the_gate_is_told_with_its_time_its_scope_and_its_hold(world: World) -> None:
    world.accounts(Account(name="acct", cautious=True))
    world.submit("a", "b")
    claim, began = world.take(), world.now
    assert world.hold("acct").since == began
    world.limited(claim, world.ahead(60))
    world.pause("*", until=world.ahead(60))
    world.wait(60)
    assert world.claim(0) == []
    ramped = {"origin": "start", "window": "unknown", "allow": 1, "reason": "no recent evidence that it is open"}
    assert [
        (event.name, event.at, event.scope, event.data)
        for event in world.events("gate ramped", "gate reopening", "gate lifted")
    ] == [
        ("gate ramped", began, "acct", ramped),
        ("gate lifted", world.now, "*", {"origin": "operator", "window": "unknown", "by": "time"}),
        ("gate reopening", world.now, "acct", {"origin": "limit", "window": "5h", "allow": 1}),
    ]


def test_a_ramp_ends_at_sixty_four(world: World) -> None:
    reopened(world, 100)
    sizes = []
    while world.store.holds():
        claim = world.take()
        sizes.append(world.hold("acct").allow)
        world.progress(claim)
    assert sizes == [1, 2, 4, 8, 16, 32]
    assert gate(world)[-1] == "gate opened"
    assert len(world.claim(99)) == 95


def test_a_ramp_ends_where_the_accounts_own_limit_is_narrower(world: World) -> None:
    reopened(world, 10, most=3)
    world.progress(world.take())
    world.progress(world.take())
    assert world.store.holds() == []
    assert len(world.claim(99)) == 1


def test_an_end_without_a_limit_is_progress_too(world: World) -> None:
    reopened(world, 10)
    world.finish(world.take(), Succeeded("fine"))
    assert world.hold("acct").allow == 2
    world.fail(world.take())
    assert world.hold("acct").allow == 4
    (canary, *_) = world.store.attempts(world.job("struck").id)
    assert [attempt.progressed for attempt in world.store.attempts(world.job("n0").id)] == [True]
    assert not canary.progressed


@pytest.mark.parametrize(
    "outcome",
    [
        Failed(reason="no such program", valid=False),
        TimedOut(after=5),
        Interrupted(reason="drained"),
        Lost("gone"),
        Limited(said()),
    ],
    ids=lambda outcome: type(outcome).__name__,
)
def test_an_end_that_proves_nothing_widens_nothing(world: World, outcome: Failed) -> None:
    reopened(world, 10)
    world.finish(world.take(), outcome)
    assert world.hold("acct").allow == 1


def test_a_long_neighbour_from_before_never_blocks_the_canary(world: World) -> None:
    world.submit("a", "long", "c")
    first, _long = world.claim(2)
    world.limited(first, world.ahead(60))
    world.wait(60)
    assert [attempt.canary for _, attempt in world.claim(9)] == [True]


def test_progress_of_a_neighbour_from_before_widens_nothing(world: World) -> None:
    world.submit("a", "long", "c", "d")
    first, long = world.claim(2)
    world.limited(first, world.ahead(60))
    world.wait(60)
    world.take()
    world.progress(long)
    assert world.hold("acct").allow == 1


def test_a_refusal_during_the_ramp_shuts_it_with_the_new_time(world: World) -> None:
    reopened(world, 10)
    world.limited(world.take(), world.ahead(300))
    hold = world.hold("acct")
    assert (hold.ramp, hold.allow, hold.until) == (False, 0, world.ahead(300))
    assert gate(world) == ["gate shut", "gate reopening", "gate shut"]


def test_unknown_resets_double_their_wait_from_canary_to_canary(world: World) -> None:
    world.submit("a", "b")
    waits = []
    for _ in range(6):
        world.limited(world.take())
        until = world.hold("acct").until
        assert until is not None
        waits.append((until - world.now).total_seconds())
        world.now = until
    assert waits == [300, 600, 1200, 2400, 3600, 3600]


def test_never_the_same_job_twice_running_as_canary_while_another_waits(world: World) -> None:
    world.submit("a", "b", "c")
    canaries = []
    world.limited(world.take(), world.ahead(60))
    for _ in range(6):
        world.wait(60)
        claim = world.take()
        assert claim[1].canary
        canaries.append(claim[0].name)
        world.limited(claim, world.ahead(60))
    assert all(one != other for one, other in itertools.pairwise(canaries)), canaries
    assert len(set(canaries)) > 1


def test_of_two_reopenings_neither_last_canary_goes_while_another_waits(world: World) -> None:
    world.submit("a", "b", priority=1)
    world.submit("c")
    a, b = world.claim(2)
    world.limited(a, world.ahead(60), kind=Kind.RATE_LIMIT)
    world.limited(b, world.ahead(60))
    world.wait(60)
    a = world.take()  # the canary of both
    world.progress(a)
    world.limited(a, world.ahead(60))
    world.wait(60)
    b = world.take()
    assert b[0].name == "b"
    world.limited(b, world.ahead(60), kind=Kind.RATE_LIMIT)
    world.wait(60)
    assert {hold.canary for hold in world.store.holds()} == {a[0].id, b[0].id}
    assert world.take()[0].name == "c"


def test_once_it_is_answered_the_canary_is_a_job_like_any_other(world: World) -> None:
    world.submit("a", "b")
    world.limited(world.take(), world.ahead(60))
    world.wait(60)
    canary = world.take()
    world.progress(canary)
    world.finish(canary, Interrupted(reason="drained"))
    assert (world.hold("acct").canary, world.hold("acct").allow) == (canary[0].id, 2)
    assert names(world.claim()) == ["a"]


def test_the_other_canary_is_one_that_its_supervisor_may_start(world: World) -> None:
    world.submit("x", "mine", "mine too")
    world.store.enter(replace(incarnation("part"), only=("mine*",)))
    world.limited(world.take(by="part"), world.ahead(60))
    world.wait(60)
    world.limited(world.take(by="part"), world.ahead(60))
    world.wait(60)
    assert names(world.claim(by="part")) == ["mine too"]


def test_the_same_canary_goes_again_where_no_other_waits(world: World) -> None:
    world.submit("a")
    world.submit("elsewhere", account="other", priority=-1)
    world.limited(world.take(), world.ahead(60))
    for _ in range(3):
        world.wait(60)
        claim = world.take()
        assert (claim[0].name, claim[1].canary) == ("a", True)
        world.limited(claim, world.ahead(60))


def test_another_batch_of_the_same_account_gives_the_other_canary(world: World) -> None:
    world.submit("a", batch="one", priority=1)
    world.limited(world.take(), world.ahead(60))
    world.wait(60)
    world.limited(world.take(), world.ahead(60))
    world.submit("b", batch="two")
    world.wait(60)
    assert names(world.claim()) == ["b"]


def test_the_ramp_of_a_model_and_of_its_account_bind_together(world: World) -> None:
    world.submit("a", "b", "c", model="opus")
    world.submit("d", "e", model="sonnet")
    first, second = world.claim(2)
    world.limited(first, world.ahead(60))
    world.told(second, said(world.ahead(60), model="opus"))
    world.finish(second, Limited(said()))
    world.wait(60)
    canary = world.take()
    assert names([canary]) == ["a"]
    assert {(hold.scope, hold.canary) for hold in world.store.holds()} == {
        ("acct", canary[0].id),
        ("acct/opus", canary[0].id),
    }
    assert sorted((hold.scope, hold.allow) for hold in world.progress(canary)) == [("acct", 2), ("acct/opus", 2)]


def test_a_rate_limit_backs_off_for_a_moment_under_its_own_window(world: World) -> None:
    world.submit("a")
    world.limited(world.take(), kind=Kind.RATE_LIMIT)
    hold = world.hold("acct")
    assert (hold.window, hold.until) == (Window.MINUTE, world.ahead(RULES.rate_first * 0.75))


# --- starting into an account of which nobody knows ---


@pytest.fixture
def careful(world: World) -> World:
    world.accounts(Account(name="acct", cautious=True))
    world.submit(*"abcdef")
    return world


def test_without_recent_evidence_one_goes_first_until_its_first_progress(careful: World) -> None:
    world = careful
    (first,) = world.claim(9)
    assert (world.hold("acct").origin, world.hold("acct").allow) == (Origin.START, 1)
    assert not first[1].canary, "it is no reopening"
    assert world.hold("acct").epoch == world.events("gate ramped")[0].seq < first[1].epoch
    assert world.claim(9) == []
    assert world.progress(first) == []
    assert world.store.holds() == []
    assert len(world.claim(9)) == 5
    assert gate(world) == ["gate ramped", "gate opened"]


def test_starting_into_a_closed_limit_costs_one_launch(careful: World) -> None:
    world = careful
    world.limited(world.take(), world.ahead(60))
    assert world.claim(9) == []
    world.wait(60)
    (canary,) = world.claim(9)
    assert canary[1].canary
    world.progress(canary)
    assert [(hold.origin, hold.allow) for hold in world.store.holds()] == [(Origin.LIMIT, 2)]


def test_a_reopening_needs_no_start_of_its_own(world: World) -> None:
    world.submit(*"abc")
    world.limited(world.take(), world.ahead(RULES.recent))
    world.accounts(Account(name="acct", cautious=True))
    world.wait(RULES.recent)
    assert [attempt.canary for _, attempt in world.claim(9)] == [True]
    assert [hold.origin for hold in world.store.holds()] == [Origin.LIMIT]


def test_recent_progress_is_evidence_enough(careful: World) -> None:
    world = careful
    world.finish(world.take())
    world.wait(RULES.recent)
    claims = world.claim(2)
    assert len(claims) == 2
    for claim in claims:
        world.finish(claim, Interrupted(reason="drained"))
    world.wait(1)
    assert len(world.claim(9)) == 1, "an hour and a second later nobody knows"


def test_an_account_in_which_something_runs_needs_no_start(careful: World) -> None:
    world = careful
    world.progress(world.take())
    world.wait(RULES.recent + 1)
    assert len(world.claim(9)) == 5


def test_an_account_that_is_not_cautious_starts_at_once(world: World) -> None:
    world.submit(*"abc")
    assert len(world.claim(9)) == 3
    assert world.store.holds() == []


def test_an_account_behind_a_pause_makes_no_start_row(careful: World) -> None:
    careful.pause("acct")
    careful.claim(9)
    assert [hold.origin for hold in careful.store.holds()] == [Origin.OPERATOR]


def test_a_hold_that_a_person_must_lift_never_turns_into_a_ramp(world: World) -> None:
    world.submit("a", "b")
    world.told(world.take(), said(kind=Kind.AUTH))
    world.wait(10_000_000)
    assert world.claim() == []
    assert world.hold("acct") == Hold(
        scope="acct",
        origin=Origin.HUMAN,
        window=Window.FIVE_HOURS,
        since=world.hold("acct").since,
        reason="not logged in",
        evidence="no more",
        by="tidegate",
        epoch=world.hold("acct").epoch,
    )


def test_a_claim_of_nothing_turns_what_is_due_and_starts_no_ramp(world: World) -> None:
    world.accounts(Account(name="acct", cautious=True))
    world.submit("a")
    world.pause("acct", until=world.ahead(5))
    world.wait(6)
    assert world.claim(0) == []
    assert world.store.holds() == []
    assert [event.data["by"] for event in world.events("gate lifted")] == ["time"]


def test_a_hold_that_is_said_anew_is_so_in_every_word(world: World) -> None:
    first = Hold(
        scope="acct",
        origin=Origin.OPERATOR,
        since=world.now,
        until=world.ahead(5),
        resets_at=world.ahead(5),
        evidence="before",
        by="ann",
    )
    world.store.hold(first, world.now)
    world.wait(1)
    second = replace(first, since=world.now, until=None, resets_at=None, allow=2, reason="why", evidence="", by="bob")
    assert world.store.hold(second, world.now) == replace(second, epoch=world.hold("acct").epoch)
    assert world.hold("acct") == replace(second, epoch=world.hold("acct").epoch)


def test_a_limit_after_its_ramp_counts_from_its_own_claims_on(world: World) -> None:
    world.submit("a", "b")
    world.limited(world.take(), world.ahead(60))
    world.wait(60)
    canary = world.take()
    ramp = world.hold("acct").epoch
    told = world.told(canary, said(world.ahead(60)))
    assert told == world.hold("acct")
    assert world.hold("acct").epoch > ramp


def test_a_hold_is_lifted_and_another_of_its_kind_stays(world: World) -> None:
    world.pause("acct")
    world.pause("other")
    world.store.lift("acct", world.now, by="ann")
    assert [hold.scope for hold in world.store.holds()] == ["other"]


def test_of_two_windows_of_an_account_one_is_lifted_and_the_other_stays(world: World) -> None:
    world.submit("a")
    claim = world.take()
    world.told(claim, said(window=Window.WEEK, kind=Kind.AUTH))
    week = world.hold("acct")
    day = replace(week, window=Window.DAY, until=world.ahead(10))
    world.store.hold(day, world.now)
    world.wait(10)
    world.claim()
    assert world.store.holds() == [week]


def test_the_reopening_of_one_account_makes_no_news_of_another_old(world: World) -> None:
    world.submit("a", "b")
    world.submit("z", account="other")
    mine, *_, other = world.claim(9)
    world.limited(mine, world.ahead(60))
    world.wait(60)
    world.claim()
    assert world.hold("acct").ramp
    assert world.told(other, said()) == world.hold("other")


def test_what_is_old_news_is_told_from_the_last_reopening(world: World) -> None:
    world.submit("a", "b", "c")
    world.limited(world.take(), world.ahead(60))
    world.wait(60)
    canary = world.take()
    world.told(canary, said(world.ahead(60)))
    world.wait(60)
    world.claim()
    assert world.hold("acct").ramp
    assert world.told(canary, said(evidence="no more, without a time")) is None
    world.wait(-30)  # the clock is set back
    assert world.told(canary, said(world.ahead(10), evidence="no more, with one")) is None


@pytest.mark.parametrize(
    "more",
    [{}, {"evidence": "none left"}, {"window": Window.WEEK}, {"kind": Kind.AUTH}, {"model": "opus"}],
    ids=["the same", "in other words", "of another window", "of another kind", "of one model"],
)
def test_after_a_lift_an_attempt_is_heard_again_only_where_it_says_something_else(
    world: World, more: dict[str, object]
) -> None:
    world.submit("a")
    claim = world.take()
    world.told(claim, said(world.ahead(60)))
    world.told(claim, said(world.ahead(90), evidence="still no more"))
    world.store.lift("acct", world.now, by="ann")
    for evidence in ("no more", "still no more"):
        told = world.told(claim, said(world.ahead(90), **{"evidence": evidence, **more}))
        assert (told is not None) is bool(more)
    assert bool(world.store.holds()) is bool(more)
