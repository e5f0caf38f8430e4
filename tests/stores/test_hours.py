"""Scopes that are open at some hours only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from stores.world import World, names
from tidegate.errors import BadInput
from tidegate.model import Account, Hold, Origin
from tidegate.stores.memory import MemoryStore

NIGHT = "20:00-07:00 Europe/Berlin"  # the world begins at 19:30 in Berlin
EIGHT = datetime(2026, 1, 9, 19, tzinfo=UTC)


def hours_holds(world: World) -> list[Hold]:
    return [hold for hold in world.store.holds() if hold.origin is Origin.HOURS]


@pytest.fixture
def before(world: World) -> World:
    """Half an hour before the opening, with a job."""
    world.store.set_hours("acct", NIGHT, world.now)
    world.submit("a", "b")
    return world


def test_nothing_starts_outside_the_hours_and_all_that_waits_starts_inside(before: World) -> None:
    world = before
    assert world.claim(9) == []
    assert world.store.next_due(world.now) == EIGHT
    world.now = EIGHT - timedelta(microseconds=1)
    assert world.claim(9) == []
    world.now = EIGHT
    assert names(world.claim(9)) == ["a", "b"]
    assert hours_holds(world) == []


def test_the_hold_says_why_and_until_when(before: World) -> None:
    (hold,) = hours_holds(before)
    assert (hold.scope, hold.allow, hold.until) == ("acct", 0, EIGHT)
    assert hold.reason == f"outside its hours ({NIGHT})"
    assert before.events("gate shut")[0].data["reason"] == hold.reason


def test_claims_outside_the_hours_write_their_hold_once(before: World) -> None:
    before.claim()
    last = before.store.last_seq()
    for _ in range(3):
        before.wait(60)
        assert before.claim() == []
    assert before.store.last_seq() == last


def test_the_closing_is_seen_by_the_next_claim(before: World) -> None:
    world = before
    world.now = EIGHT
    world.take()
    world.now = EIGHT + timedelta(hours=11)
    assert hours_holds(world) == []
    assert world.claim() == []
    assert hours_holds(world)[0].until == EIGHT + timedelta(days=1)
    assert len(world.store.running()) == 1, "what runs goes on"


def test_an_opening_is_due_even_where_no_claim_has_written_its_hold(before: World) -> None:
    world = before
    world.now = EIGHT + timedelta(hours=11)
    assert world.store.next_due(world.now) == EIGHT + timedelta(days=1)


def test_other_scopes_go_on(before: World) -> None:
    before.submit("c", account="other")
    assert names(before.claim(9)) == ["c"]


def test_a_batch_may_have_hours(world: World) -> None:
    world.submit("a")
    world.submit("x", batch="other")
    world.store.set_hours("batch:b", NIGHT, world.now)
    assert names(world.claim(9)) == ["x"]


def test_hours_that_are_taken_away_leave_no_hold(before: World) -> None:
    before.claim()
    before.store.set_hours("acct", "", before.now)
    assert (hours_holds(before), before.store.hours()) == ([], {})
    assert names(before.claim(9)) == ["a", "b"]
    last = before.store.last_seq()
    before.store.set_hours("acct", "", before.now)
    assert before.store.last_seq() == last


def test_hours_that_are_changed_move_their_hold_or_take_it_away(before: World) -> None:
    before.store.set_hours("acct", "21:00-07:00 Europe/Berlin", before.now)
    assert hours_holds(before)[0].until == EIGHT + timedelta(hours=1)
    before.store.set_hours("acct", "19:00-07:00 Europe/Berlin", before.now)
    assert hours_holds(before) == []
    assert [event.name for event in before.events("gate shut", "gate moved", "gate lifted", "hours set")] == [
        "hours set", "gate shut", "hours set", "gate moved", "hours set", "gate lifted",
    ]  # fmt: skip


def test_a_claim_removes_a_hold_that_the_hours_do_not_ask_for(world: World) -> None:
    world.submit("a")
    world.store.set_hours("acct", "19:00-07:00 Europe/Berlin", world.now)
    stray = Hold(scope="acct", origin=Origin.HOURS, since=world.now, until=world.ahead(9999))
    world.store.hold(stray, world.now)
    assert names(world.claim()) == ["a"]
    assert hours_holds(world) == []


def test_hours_and_a_person_hold_independently(before: World) -> None:
    world = before
    world.pause("acct")
    world.now = EIGHT
    assert world.claim() == []
    world.store.lift("acct", world.now, by="ann", origins=[Origin.OPERATOR])
    assert len(world.claim(9)) == 2


def test_an_hours_hold_that_somebody_lifts_comes_back(before: World) -> None:
    before.store.lift(None, before.now, by="ann")
    assert before.claim() == []
    assert len(hours_holds(before)) == 1


def test_hours_name_their_zone_whatever_zone_the_claimer_has(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    world.store.set_hours("acct", "20:00-07:00", world.now)
    monkeypatch.setenv("TZ", "America/New_York")
    assert world.store.hours() == {"acct": "20:00-07:00 Asia/Tokyo"}
    world.claim()
    assert hours_holds(world) == [], "half past three at night in Tokyo"


def test_setting_the_same_hours_again_changes_nothing(before: World) -> None:
    last = before.store.last_seq()
    before.store.set_hours("acct", NIGHT, before.now)
    assert before.store.last_seq() == last


@pytest.mark.parametrize(
    ("scope", "text", "words"),
    [
        ("acct", "whenever", r'hours of acct: must be like "20:00-07:00" or'),
        ("acct", "20:00-07:00 Mars/Base", "must end with the name of a zone such as Europe/Berlin, not 'Mars/Base'"),
        ("", NIGHT, "is no scope"),
        ("a\0", NIGHT, "is no scope"),
        ("\ud800", NIGHT, "is no scope"),
    ],
)
def test_bad_hours_are_one_clear_line(world: World, scope: str, text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        world.store.set_hours(scope, text, world.now)
    assert world.store.hours() == {}


def test_where_there_are_no_hours_they_cost_one_read() -> None:
    reads: list[str] = []
    store = MemoryStore()
    rows = store._looks
    asked = rows.hours
    rows.hours = lambda: reads.append("hours") or asked()  # type: ignore[method-assign,func-returns-value]
    world = World(store)
    world.enter()
    world.submit("a")
    world.take()
    assert reads == ["hours"]


def test_of_several_sources_the_last_one_counts_and_gives_way_when_it_says_no_more(world: World) -> None:
    first, second = "21:00-07:00 Europe/Berlin", "22:00-07:00 Europe/Berlin"
    world.store.keep_hours("configuration", {"acct": first, "other": first}, world.now)
    world.store.keep_hours("batch:b", {"acct": second}, world.now)
    assert world.store.hours() == {"acct": second, "other": first}
    last = world.store.last_seq()
    world.store.keep_hours("configuration", {"acct": first, "other": first}, world.now)
    assert (world.store.hours()["acct"], world.store.last_seq()) == (second, last), "it says nothing new"
    world.store.keep_hours("batch:b", {}, world.now)
    assert (world.store.hours()["acct"], hours_holds(world)[0].until) == (first, EIGHT + timedelta(hours=1))
    world.store.keep_hours("configuration", {"other": second}, world.now)
    assert world.store.hours() == {"other": second}
    assert [hold.scope for hold in hours_holds(world)] == ["other"]


def test_a_source_whose_hours_are_no_hours_changes_nothing(world: World) -> None:
    world.store.keep_hours("configuration", {"acct": NIGHT}, world.now)
    with pytest.raises(BadInput):
        world.store.keep_hours("configuration", {"other": NIGHT, "acct": "nonsense"}, world.now)
    assert world.store.hours() == {"acct": NIGHT}


def test_a_configuration_is_taken_as_a_whole_or_not_at_all(world: World) -> None:
    world.store.configure(
        "configuration", [Account(name="acct", max_running=2)], {"acct": NIGHT}, {}, world.now, stops={}
    )
    before = world.store.accounts(), world.store.hours()
    with pytest.raises(BadInput):
        world.store.configure(
            "configuration", [Account(name="acct", max_running=9)], {"acct": "nonsense"}, {}, world.now, stops={}
        )
    assert (world.store.accounts(), world.store.hours()) == before
    world.store.configure("configuration", [Account(name="acct")], {}, {}, world.now, stops={})
    assert ([one.max_running for one in world.store.accounts()], world.store.hours()) == ([None], {})
