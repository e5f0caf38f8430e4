"""When a closed account is tried, and what the store remembers of its windows: the same for every store."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from stores.world import RULES, Claim, World, names, said
from tidegate.model import Account, Drawn, Habit, Hold, Kind, Origin, Reading, Window

HOUR = 3600.0


def shut(world: World, hours: float = 4) -> None:
    """An account that is found used up for hours by the first of three jobs."""
    world.submit("a", "b", "c")
    world.limited(world.take(), world.ahead(hours * HOUR))


def test_one_goes_ahead_of_a_reset_that_is_far_and_its_refusal_is_no_new_closing(world: World) -> None:
    shut(world)
    since, end = world.now, world.hold("acct").until
    assert world.hold("acct").early_at == world.ahead(1800)
    assert world.store.next_due(world.now) == world.ahead(1800)
    world.wait(1799)
    assert world.claim(9) == []
    world.wait(1)
    ((job, attempt),) = world.claim(9)
    assert attempt.canary
    assert world.claim(9) == []
    assert (world.hold("acct").ramp, world.hold("acct").until) == (True, end)
    world.wait(10)
    world.limited((job, attempt), end, evidence="still no more")
    hold = world.hold("acct")
    assert (hold.ramp, hold.allow, hold.until, hold.since) == (False, 0, end, since)
    assert hold.early_at == world.ahead(1800)
    assert [event.name for event in world.events("gate shut", "gate tried", "gate moved", "gate reopening")] == [
        "gate shut",
        "gate tried",
        "gate moved",
    ]
    (tried,) = world.events("gate tried")
    assert (tried.at, tried.scope, tried.seq) == (attempt.started_at, "acct", attempt.epoch - 1)
    assert tried.data == {"origin": "limit", "window": "5h", "allow": 1}
    assert len(world.store.shuts()) == 1


def test_a_reset_that_came_early_is_found_and_opens_the_gate(world: World) -> None:
    shut(world)
    world.wait(1800)
    canary = world.take()
    world.wait(5)
    world.progress(canary)
    assert world.hold("acct").allow == 2
    (told,) = world.events("gate reopening")
    assert told.data["early"]
    (closing,) = world.store.shuts()
    assert closing.until == world.now
    assert len(world.claim(9)) == 1


def test_a_hold_whose_end_comes_before_anybody_could_try_it_reopens_once(world: World) -> None:
    shut(world)
    world.wait(4 * HOUR)
    assert world.claim(0) == []
    assert [event.name for event in world.events("gate tried", "gate reopening")] == ["gate reopening"]


def test_a_gate_that_opened_at_its_end_reopens_once_though_the_clock_is_set_back_meanwhile(world: World) -> None:
    shut(world)
    since = world.now
    world.wait(4 * HOUR)
    canary, opened = world.take(), world.now
    world.wait(-5 * HOUR)
    world.progress(canary)
    assert [event.at for event in world.events("gate reopening")] == [opened]
    assert [(closing.since, closing.until) for closing in world.store.shuts()] == [(since, opened)]


def test_a_refusal_is_a_new_closing_though_the_clock_is_set_back_meanwhile(world: World) -> None:
    shut(world)
    world.wait(4 * HOUR)
    canary = world.take()
    world.wait(-3 * HOUR)
    world.limited(canary, world.ahead(6 * HOUR), evidence="no more again")
    assert len(world.events("gate shut")) == 2
    assert world.hold("acct").since == world.now


@pytest.mark.parametrize("goes", [True, False])
def test_what_is_tried_early_reopens_at_its_end_where_nobody_has_been_answered_by_then(
    world: World, goes: bool
) -> None:
    shut(world)
    end = world.hold("acct").until
    world.wait(1800)
    claims = world.claim(int(goes))
    assert world.store.next_due(world.now) == end
    world.wait(3.5 * HOUR)
    assert world.claim(0) == []
    world.wait(60)
    (canary,) = claims or world.claim(9)
    assert world.claim(9) == []
    world.progress(canary)
    assert world.hold("acct").allow == 2
    assert [event.at for event in world.events("gate tried", "gate reopening")] == [world.ahead(-60 - 3.5 * HOUR), end]
    assert [closing.until for closing in world.store.shuts()] == [end]


def test_the_end_of_what_is_tried_early_is_told_also_where_no_claim_has_seen_it(world: World) -> None:
    shut(world)
    world.wait(1800)
    canary = world.take()
    world.wait(4 * HOUR)
    world.progress(canary)
    (told,) = world.events("gate reopening")
    assert (told.at, told.data.get("early")) == (world.now, None)


def test_the_first_that_is_to_be_tried_is_looked_at_first(world: World) -> None:
    for account, hours in (("one", 4), ("two", 5)):
        world.submit(account, account=account)
        world.limited(world.take(), world.ahead(hours * HOUR))
        world.wait(600)
    first, second, end = world.ahead(600), world.ahead(1200), world.hold("one").until
    assert world.store.next_due(world.now) == first
    assert world.store.next_due(first) == second
    assert world.store.next_due(second) == end


def test_who_goes_early_is_another_each_time_and_is_not_stuck_for_that(world: World) -> None:
    world.submit("a", "b")
    end = world.ahead(99 * HOUR)
    world.limited(world.take(), end)
    went = []
    for n in range(2 * RULES.max_limited + 2):
        early = world.hold("acct").early_at
        assert early is not None
        world.now = early
        claim = world.take()
        went.append(claim[0].name)
        world.limited(claim, end, evidence=f"no {n}")
    assert went[:4] == ["a", "b", "a", "b"]
    assert {world.job("a").limited_in_a_row, world.job("b").limited_in_a_row} == {1, 0}
    assert world.events("job stuck") == []


def test_several_holds_are_turned_in_the_order_of_their_instants(world: World) -> None:
    for account, ends, early in (("x", 7000, 90), ("y", 7000, 60), ("z", 100, None), ("w", 50, None)):
        hold = Hold(
            scope=account,
            origin=Origin.LIMIT,
            since=world.now,
            until=world.ahead(ends),
            early_at=None if early is None else world.ahead(early),
            window=Window.WEEK,
        )
        world.store.hold(hold, world.now)
    world.wait(100)
    world.claim(0)
    assert [event.scope for event in world.events("gate tried", "gate reopening")] == ["w", "z", "y", "x"]


def test_a_window_that_slides_is_remembered(world: World) -> None:
    world.accounts(Account(name="acct", cautious=True))
    world.submit(*"abcdefgh")
    claim = world.take()
    world.progress(claim)
    world.wait(2 * HOUR)
    world.limited(claim, world.ahead(3 * HOUR))
    world.wait(3 * HOUR)
    rests = []
    for n in range(3):
        claim = world.take()
        world.progress(claim)
        world.wait(60)
        world.limited(claim, world.ahead(30), evidence=f"no {n}")
        hold = world.hold("acct")
        assert hold.until is not None
        rests.append((hold.until - world.now).total_seconds())
        world.wait(rests[-1])
    assert rests == [300, 600, 1200]
    assert world.hold("acct").until == world.now
    assert world.hold("acct").reason == "usage_limit, cut off 1 min after opening, 3 times: rests 20 min more"


def test_what_is_remembered_of_a_window_says_nothing_of_another_or_of_another_account(world: World) -> None:
    world.accounts(Account(name="acct", cautious=True), Account(name="other", cautious=True))
    world.submit("a", "b")
    world.submit("c", account="other")
    claim, other = world.claim(2)
    for one in (claim, other):
        world.progress(one)
    second = world.take()
    world.wait(2 * HOUR)
    world.limited(claim, world.ahead(3 * HOUR))
    world.wait(3 * HOUR)
    world.progress(again := world.take())
    world.wait(60)
    world.limited(again, world.ahead(30), evidence="soon")
    assert world.hold("acct").until == world.ahead(300)
    world.limited(other, world.ahead(30))
    assert world.hold("other").until == world.ahead(30)
    world.limited(second, world.ahead(30), window=Window.WEEK)
    assert {hold.window: hold.until for hold in world.store.holds() if hold.scope == "acct"} == {
        Window.FIVE_HOURS: world.ahead(300),
        Window.WEEK: world.ahead(30),
    }


def test_a_window_that_is_told_no_reset_is_looked_at_where_it_should_be_over(world: World) -> None:
    world.accounts(Account(name="acct", cautious=True))
    world.submit("a", "b")
    claim = world.take()
    world.progress(claim)
    world.wait(5 * HOUR - 120)
    world.limited(claim)
    assert world.hold("acct").until == world.ahead(120 + 60)


def test_a_hold_and_what_is_remembered_are_read_as_they_were_written(world: World) -> None:
    shut(world)
    hold = world.hold("acct")
    written = world.store.hold(replace(hold, origin=Origin.OPERATOR, early_at=world.ahead(7)), world.now)
    assert written in world.store.holds()


def test_a_person_who_lifts_what_is_tried_early_opens_it(world: World) -> None:
    shut(world)
    world.wait(1800)
    world.take()
    world.store.lift("acct", world.now, by="ann")
    assert names(world.claim(9)) == ["b", "c"]


def test_a_burst_of_requests_lets_fewer_run_and_shuts_nobody_out(world: World) -> None:
    world.submit(*"abcdefghijkl")
    running = world.claim(10)
    told = world.told(running[0], said(kind=Kind.RATE_LIMIT))
    assert told is not None
    assert (told.origin, told.allow, told.until) == (Origin.BURST, 7, None)
    assert world.told(running[0], said(kind=Kind.RATE_LIMIT)) == told
    assert world.told(running[1], said(kind=Kind.RATE_LIMIT, evidence="the same")) == told
    for claim in running[:3]:
        world.finish(claim)
    assert world.claim(9) == []
    world.finish(running[3])
    later = world.take()
    assert world.claim(9) == []
    (event,) = world.events("gate narrowed")
    assert (event.data["allow"], event.data["reason"]) == (7, "too many requests from 10 at once")
    world.wait(1800)
    world.progress(running[9])
    assert world.hold("acct").allow == 7
    world.progress(later)
    assert world.hold("acct").allow == 8
    assert len(world.claim(9)) == 1


def test_a_burst_that_is_read_again_lets_no_fewer_run(world: World) -> None:
    world.submit(*"abcdefghij")
    running = world.claim(10)
    world.told(running[9], said(kind=Kind.RATE_LIMIT))
    for claim in running[:4]:
        world.finish(claim)
    world.wait(61)
    world.told(running[9], said(kind=Kind.RATE_LIMIT))
    assert world.hold("acct").allow == 7
    assert len(world.events("gate narrowed")) == 1


def test_a_burst_that_is_over_limits_nobody(world: World) -> None:
    world.accounts(Account(name="acct", max_running=3))
    world.submit(*"abcd")
    running = world.claim(3)
    world.told(running[0], said(kind=Kind.RATE_LIMIT))
    assert world.hold("acct").allow == 2
    world.finish(running[0])
    world.finish(running[1])
    world.progress(world.take())
    assert world.hold("acct").misses == 1
    world.wait(1800)
    world.progress(running[2])
    assert world.hold("acct").allow == 2, "it was launched before"
    world.finish(running[2])
    world.submit("e")
    world.progress(world.take())
    assert world.store.holds() == []
    assert [event.data["origin"] for event in world.events("gate opened")] == ["burst"]


@pytest.mark.parametrize(("kind", "ahead"), [(Kind.OVERLOADED, None), (Kind.RATE_LIMIT, 30)])
def test_what_is_no_burst_shuts_the_account_for_a_moment(world: World, kind: Kind, ahead: float | None) -> None:
    world.submit(*"abc")
    running = world.claim(3)
    told = world.told(running[0], said(None if ahead is None else world.ahead(ahead), kind=kind))
    assert told is not None
    assert (told.origin, told.allow) == (Origin.LIMIT, 0)


def test_who_runs_alone_and_asks_too_often_waits_for_a_moment(world: World) -> None:
    world.submit(*"abc")
    world.limited(world.take(), kind=Kind.RATE_LIMIT)
    assert (world.hold("acct").origin, world.hold("acct").allow) == (Origin.LIMIT, 0)


def used(world: World, much: float) -> None:
    reading = Reading(scope="acct", window=Window.FIVE_HOURS, used=much, at=world.now)
    world.store.note_signals([], [reading], world.now)


def drew(world: World, claim: Claim, tokens: float) -> None:
    world.store.note_signals([(claim[1], Drawn(tokens=tokens))], [], world.now)


@pytest.mark.parametrize("much", [0.02, 0.6])
def test_of_a_window_that_slides_what_returns_may_be_used(world: World, much: float) -> None:
    world.accounts(Account(name="acct", cautious=True))
    world.submit(*"abcdefgh")
    first = world.take()
    world.progress(first)
    drew(world, first, 1000)
    used(world, 0.99)
    world.limited(first, world.ahead(5 * HOUR - 60))
    world.now = world.hold("acct").until or world.now
    canary = world.take()
    world.progress(canary)
    used(world, much)
    for n in range(3):
        drew(world, canary, 10 + n)
    world.finish(canary)
    assert len(world.claim(9)) > 1


def test_what_is_remembered_is_what_was_written_last(world: World) -> None:
    rows = world.store._rows  # type: ignore[attr-defined] # of either store
    first = Habit(scope="acct", window=Window.FIVE_HOURS)
    last = replace(
        first,
        opened_at=world.now,
        began=world.ahead(-60),
        cut_at=world.ahead(-120),
        span=5 * HOUR,
        cuts=2,
        rest=300.0,
        slides=True,
    )
    for habit in (first, last):
        with rows.transaction():
            rows.put_habit(habit)
        assert rows.habit("acct", Window.FIVE_HOURS) == habit


def test_each_window_of_each_account_is_remembered_apart(world: World) -> None:
    rows = world.store._rows  # type: ignore[attr-defined] # of either store
    some = [
        Habit(scope=scope, window=window, span=span)
        for span, (scope, window) in enumerate(
            [("a", Window.WEEK), ("a", Window.FIVE_HOURS), ("b", Window.WEEK), ("b", Window.FIVE_HOURS)]
        )
    ]
    with rows.transaction():
        for habit in some:
            rows.put_habit(habit)
    assert [rows.habit(one.scope, one.window) for one in some] == some
    assert rows.habit("a", Window.DAY) is None
    assert rows.habit("c", Window.WEEK) is None
