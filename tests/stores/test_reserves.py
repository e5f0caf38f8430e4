"""An account whose window is used so far that the rest is left to its owner: shut until the window ends."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from stores.world import World, names
from tidegate.errors import BadInput
from tidegate.model import Account, Batch, Hold, NewJob, Origin, Reading, Reserve, Spec, Window

NINETY = {"acct": {Window.FIVE_HOURS: 0.9}}


def read(world: World, used: float, *, ends: datetime, window: Window = Window.FIVE_HOURS, scope: str = "acct") -> None:
    world.wait()
    reading = Reading(scope=scope, window=window, used=used, at=world.now, resets_at=ends)
    world.store.note_signals([], [reading], world.now)


def holds(world: World) -> list[Hold]:
    return [hold for hold in world.store.holds() if hold.origin is Origin.RESERVE]


def test_an_account_is_shut_when_a_reading_says_so_and_opens_with_the_next_window(world: World) -> None:
    world.submit("a", "b")
    world.store.keep_stops("configuration", NINETY, world.now)
    ends = world.ahead(7200)
    read(world, 0.89, ends=ends)
    assert holds(world) == []
    first = world.take()
    read(world, 0.91, ends=ends)
    (hold,) = holds(world)
    assert (hold.scope, hold.window, hold.allow, hold.resets_at) == ("acct", Window.FIVE_HOURS, 0, ends)
    assert hold.reason == "5h: 91 % used, the rest is left (stop_at 90)"
    assert world.claim(9) == []
    world.finish(first)  # what runs goes on
    read(world, 0.94, ends=ends)
    assert holds(world) == [hold]
    assert world.store.next_due(world.now) == hold.until
    world.wait((ends - world.now).total_seconds() + 5)
    assert names(world.claim(9)) == ["b"]
    assert holds(world) == []
    told = [(event.name, event.data["origin"]) for event in world.events("gate shut", "gate moved", "gate lifted")]
    assert told == [("gate shut", "reserve"), ("gate lifted", "reserve")]


def test_other_accounts_and_the_windows_of_single_models_are_not_concerned(world: World) -> None:
    world.submit("a")
    world.store.keep_stops("configuration", {"other": NINETY["acct"]}, world.now)
    read(world, 0.95, ends=world.ahead(7200))
    read(world, 0.95, ends=world.ahead(7200), scope="other/opus")
    read(world, 0.95, ends=world.ahead(7200), scope="other", window=Window.WEEK)
    assert holds(world) == []


def test_a_person_takes_the_rest_in_this_window_and_not_in_the_next(world: World) -> None:
    world.store.keep_stops("configuration", NINETY, world.now)
    ends = world.ahead(7200)
    read(world, 0.91, ends=ends)
    world.store.lift("acct", world.now, by="ann", origins=[Origin.RESERVE])
    read(world, 0.97, ends=ends)
    world.store.keep_stops("configuration", NINETY, world.now)  # as a restart says it
    assert holds(world) == []
    world.wait(7200)
    read(world, 0.93, ends=world.ahead(3600))
    assert len(holds(world)) == 1


def test_a_window_that_is_given_back_early_opens_the_account(world: World) -> None:
    world.store.keep_stops("configuration", NINETY, world.now)
    read(world, 0.91, ends=world.ahead(7200))
    read(world, 0.02, ends=world.ahead(18000))
    assert holds(world) == []
    read(world, 0.92, ends=world.ahead(18000))
    assert len(holds(world)) == 1


def test_what_is_said_otherwise_is_decided_anew(world: World) -> None:
    keep, now = world.store.keep_stops, world.now
    read(world, 0.8, ends=world.ahead(7200))
    assert holds(world) == []
    keep("configuration", {"acct": {Window.FIVE_HOURS: 0.75}}, now)
    assert len(holds(world)) == 1
    keep("configuration", NINETY, now)
    assert holds(world) == []
    keep("batch:b", {"acct": {Window.FIVE_HOURS: 0.8, Window.WEEK: 0.5}}, now)
    assert [hold.reason for hold in holds(world)] == ["5h: 80 % used, the rest is left (stop_at 80)"]
    keep("configuration", {}, now)
    assert [(one.source, one.window, one.stop_at) for one in world.store.reserves()] == [
        ("batch:b", Window.FIVE_HOURS, 0.8), ("batch:b", Window.WEEK, 0.5)
    ]  # fmt: skip
    keep("batch:b", {"acct": {Window.WEEK: 0.5}}, now)
    assert holds(world) == []
    assert [event.data["by"] for event in world.events("gate lifted")] == ["stop_at", "stop_at"]


def test_every_source_is_heeded_once_in_a_window(world: World) -> None:
    world.store.keep_stops("configuration", NINETY, world.now)
    world.store.keep_stops("batch:b", {"acct": {Window.FIVE_HOURS: 0.75}}, world.now)
    ends = world.ahead(7200)
    for used in (0.76, 0.91):
        read(world, used, ends=ends)
        assert len(holds(world)) == 1
        world.store.lift("acct", world.now, by="ann")
        read(world, used + 0.02, ends=ends)
        assert holds(world) == []
    assert [one.heeded for one in world.store.reserves()] == [ends, ends]


def test_a_hold_moves_with_what_is_told_of_the_end(world: World) -> None:
    world.store.keep_stops("configuration", NINETY, world.now)
    read(world, 0.91, ends=world.ahead(7200))
    later = world.ahead(9000)
    read(world, 0.92, ends=later)
    assert [hold.resets_at for hold in holds(world)] == [later]


def test_a_week_and_five_hours_are_held_apart(world: World) -> None:
    world.store.keep_stops("configuration", {"acct": {Window.FIVE_HOURS: 0.9, Window.WEEK: 0.75}}, world.now)
    read(world, 0.91, ends=world.ahead(7200))
    read(world, 0.76, ends=world.ahead(3 * 86400), window=Window.WEEK)
    assert [hold.window for hold in holds(world)] == [Window.FIVE_HOURS, Window.WEEK]
    world.wait(7300)
    world.claim(1)
    assert [hold.window for hold in holds(world)] == [Window.WEEK]


def test_nothing_is_decided_by_a_window_that_is_over_or_of_which_nothing_is_told(world: World) -> None:
    world.store.keep_stops("configuration", NINETY, world.now)
    assert holds(world) == []
    world.store.keep_stops("configuration", {}, world.now)
    read(world, 0.95, ends=world.now + timedelta(seconds=60))
    world.wait(120)
    world.store.keep_stops("configuration", NINETY, world.now)
    assert holds(world) == []


def test_what_is_said_of_stops_is_kept_by_source_and_what_is_no_account_refused(world: World) -> None:
    world.store.keep_stops("configuration", NINETY, world.now)
    with pytest.raises(BadInput, match="stop_at: '' is no account"):
        world.store.keep_stops("configuration", {"": NINETY["acct"]}, world.now)
    with pytest.raises(BadInput, match="stop_at: "):
        world.store.configure("configuration", [], {}, {}, world.now, stops={"a\0": {}})
    assert world.store.reserves() == [
        Reserve(account="acct", source="configuration", window=Window.FIVE_HOURS, stop_at=0.9)
    ]
    world.store.configure("configuration", [], {}, {}, world.now, stops={})
    assert world.store.reserves() == []


def test_what_would_use_more_than_is_left_to_use_is_held_back_before(world: World) -> None:
    world.accounts(Account(name="acct", cautious=True))
    ends = world.ahead(4 * 3600)
    read(world, 0.0, ends=ends)
    for group, drawn in (("small", 100.0), ("large", 1000.0)):
        for number in range(5):
            world.store.submit(Batch("b"), [in_group(f"{group}{number}", group)], world.now, whole=False)
            claim = world.take()
            world.wait(60)
            world.progress(claim)
            world.finish(claim, drawn=drawn)
    read(world, 0.55, ends=ends)  # of about 10,000
    jobs = [in_group("l", "large", priority=1), in_group("s", "small")]
    world.store.submit(Batch("b"), jobs, world.now, whole=False)
    world.store.keep_stops("configuration", {"acct": {Window.FIVE_HOURS: 0.6}}, world.now)
    assert names(world.claim(2)) == ["s"]
    world.store.keep_stops("configuration", {}, world.now)
    assert names(world.claim(2)) == ["l"]


def in_group(name: str, group: str, priority: int = 0) -> NewJob:
    return NewJob(name=name, account="acct", group=group, priority=priority, spec=Spec(prompt="do it"))


def test_what_a_batch_says_goes_with_it_once_nothing_is_held_for_it(world: World) -> None:
    (job,) = world.submit("a").jobs
    world.store.keep_stops("batch:b", NINETY, world.now)
    world.store.keep_stops("configuration", {"other": NINETY["acct"]}, world.now)
    read(world, 0.95, ends=world.ahead(7200))
    world.store.cancel(job, world.now, by="ann")
    world.store.forget([job], world.now)
    world.store.forget_past(world.now)
    assert [one.source for one in world.store.reserves()] == ["batch:b", "configuration"]
    world.wait(7300)
    world.claim()
    world.store.forget_past(world.now)
    assert [one.source for one in world.store.reserves()] == ["configuration"]
