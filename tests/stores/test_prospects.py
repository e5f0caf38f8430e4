"""What is left to do in counts and lengths, and what was foretold of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from stores.world import START, World, new
from tidegate.model import Ask, Batch, Failed, Interrupted, Succeeded
from tidegate.prospect import Forecast, Lap, Pile, Week


def test_unfinished_jobs_are_counted_by_what_makes_them_alike(world: World) -> None:
    later = world.ahead(3600)
    jobs = [
        new("a"),
        replace(new("b", model="opus-5"), group="g", not_before=later, expect=60.0),
        replace(new("c", model="opus-4"), group="g", expect=120.0),
        replace(new("d"), group="h"),
        new("e"),
    ]
    world.store.submit(Batch("b"), jobs, world.now)
    (first,) = world.store.jobs(name="a")
    world.store.submit(Batch("c"), [replace(new("f", account="other"), needs=(first.id,))], world.now)
    world.finish(world.take())
    world.take()
    assert world.store.piles() == [
        Pile(batch=1, account="acct", model="opus", group="g", queued=1, running=1, due=later, expect=90.0),
        Pile(batch=1, account="acct", model="default", group="h", queued=1, running=0),
        Pile(batch=1, account="acct", model="default", group="", queued=1, running=0),
        Pile(batch=2, account="other", model="default", group="", queued=1, running=0),
    ]


def test_nothing_is_left_where_all_has_ended(world: World) -> None:
    world.submit("a")
    world.finish(world.take())
    assert world.store.piles() == []
    assert [lap.ended_at for lap in world.store.laps(world.now, most=9)] == [world.now]


def plainly(laps: list[Lap]) -> list[tuple[float, float, bool, bool]]:
    """Of each lap: seconds of its last run, of all attempts, whether it stays in its run, whether it has ended."""
    return [(round(one.seconds, 3), round(one.spent, 3), one.stays, one.ended_at is not None) for one in laps]


def test_a_job_that_goes_on_has_worked_in_all_attempts_of_its_run(world: World) -> None:
    world.submit("a", "b", "c")
    resumed, anew, third = world.claim(3)
    world.store.note_session(resumed[1], "s", world.now)
    world.wait(100)
    world.store.finish(resumed[1], Interrupted(reason="drained"), world.now, session="s")
    world.store.finish(anew[1], Failed(reason="exit 1"), world.now)
    world.wait(50)
    assert plainly(world.store.laps(world.now, most=9)) == [
        (150, 150, True, False),
        (100, 100, True, False),
        (100, 100, False, False),
    ]
    again = world.take()
    assert again[0].name == "a"
    world.wait(30)
    assert plainly(world.store.laps(world.now, most=9))[:2] == [(130, 130, True, False), (180, 180, True, False)]
    world.finish(again)
    world.finish(third)
    world.wait(600)
    later = world.take()
    world.wait(20)
    world.finish(later)
    assert plainly(world.store.laps(world.now, most=9)) == [
        (130, 130, False, True),
        (180, 180, False, True),
        (20, 120, False, True),
    ]
    assert plainly(world.store.laps(world.now, most=1)) == [(20, 120, False, True)]


def test_a_launch_that_was_taken_back_begins_no_run(world: World) -> None:
    world.submit("a")
    _, attempt = world.take()
    world.store.note_session(attempt, "s", world.now)
    world.wait(100)
    world.store.finish(attempt, Interrupted(reason="drained"), world.now, session="s")
    world.store.unclaim(world.take()[1], world.now, "the gate shut")
    assert plainly(world.store.laps(world.now, most=9)) == [(100, 100, True, False)]


def test_what_never_worked_tells_no_length(world: World) -> None:
    world.submit("a", "b")
    world.store.cancel(1, world.now, by="ann")
    claim = world.take()
    world.wait(10)
    world.store.ask(Ask.CANCEL, world.now, by="ann", target=claim[0].id)
    world.store.finish(claim[1], Succeeded("done"), world.now - timedelta(seconds=20))
    assert plainly(world.store.laps(world.now, most=9)) == [(0, 0, False, True)], "the clock was set back"


WEEK = Week(now=0.41, then=0.74, full=START + timedelta(hours=30))
FORECAST = Forecast(
    batch=1,
    at=START,
    left=12,
    slots=4,
    p50=START + timedelta(hours=8),
    p90=START + timedelta(hours=9),
    windows=2,
    weeks={"acct": WEEK, "other": Week(now=0.0, then=0.5)},
)


def test_what_is_foretold_is_kept_and_told(world: World) -> None:
    batch = world.submit("a").batch
    assert world.store.last_forecast(batch.id) is None
    later = Forecast(batch=batch.id, at=world.ahead(60), left=1, slots=4, why="no job has ended yet")
    for one in (FORECAST, later):
        world.store.note_forecast(batch, one, one.at)
    assert world.store.forecasts(batch.id) == [FORECAST, later]
    assert world.store.last_forecast(batch.id) == later
    assert world.store.forecasts(99) == []
    told = [event for event in world.store.events() if event.name == "forecast made"]
    assert [event.scope for event in told] == ["batch:b"] * 2
    assert told[0].data["left"] == 12
    assert told[0].data["p50"] == "2026-01-10T02:30:00.000000Z"


@pytest.mark.parametrize("ended", [True, False])
def test_old_forecasts_are_forgotten_with_what_else_is_old(world: World, ended: bool) -> None:
    batch = world.submit("a").batch
    late = replace(FORECAST, at=world.ahead(600))
    for one in (FORECAST, late):
        world.store.note_forecast(batch, one, one.at)
    if ended:
        world.finish(world.take())
        world.store.forget([1], world.now)
    world.store.forget_past(world.ahead(300))
    assert world.store.forecasts(batch.id) == ([] if ended else [late])
