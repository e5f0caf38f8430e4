"""How good it was what was foretold, and how a report tells it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from stores.world import START, World

from tidegate.look.desk import Desk
from tidegate.look.words import Page
from tidegate.model import Batch
from tidegate.night import hindsight
from tidegate.prospect import Forecast
from tidegate.report import gather, markdown, page, summary, words
from tidegate.report.told import Told
from tidegate.stores.memory import MemoryStore


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def forecast(at: float, p50: float | None, p90: float | None = None) -> Forecast:
    """What was foretold after so many minutes: an end after so many."""
    named = [None if end is None else START + minutes(end) for end in (p50, p90 if p90 is not None else p50)]
    return Forecast(
        batch=1, at=START + minutes(at), left=3, slots=4, p50=named[0], p90=named[1], why="" if p50 else "no"
    )


ON_THE_WAY = [forecast(0, None), forecast(10, 90, 130), forecast(40, 110, 140), forecast(60, 125, 128)]


def test_how_good_it_was_is_known_at_the_end() -> None:
    found = hindsight.of(ON_THE_WAY, START + minutes(120))
    assert found is not None
    assert list(found.forecasts) == ON_THE_WAY[1:]
    assert found.error == (30 + 10 + 5) / 3 * 60
    assert (found.by_p50, found.by_p90) == (1, 3)


def test_until_then_it_is_only_told_what_was_foretold() -> None:
    found = hindsight.of(ON_THE_WAY, None)
    assert found is not None
    assert (len(found.forecasts), found.error, found.by_p50, found.by_p90) == (3, None, None, None)


def test_what_named_no_end_or_came_after_it_is_no_forecast_of_it() -> None:
    assert hindsight.of([], None) is None
    assert hindsight.of(ON_THE_WAY[:1], None) is None
    assert hindsight.of([forecast(130, 150)], START + minutes(120)) is None, "jobs were retried after the end"


@pytest.mark.parametrize(("number", "places"), [(2, [0, 1]), (6, [0, 1, 2, 3, 4, 5]), (11, [0, 2, 4, 6, 8, 10])])
def test_of_many_some_are_picked(number: int, places: list[int]) -> None:
    every = [forecast(place, 100) for place in range(number)]
    found = hindsight.of(every, None)
    assert found is not None
    assert list(hindsight.picked(found, 6)) == [every[place] for place in places]


# --- in a report ---


def told(world: World, tmp_path: Path) -> Told:
    desk = Desk(state=tmp_path, store=world.store, page=Page(now=world.now, zone=ZoneInfo("UTC")), host="here")
    return gather.told(desk, Batch("b", 1))


@pytest.fixture
def world() -> World:
    """A batch of 35 minutes, and what was foretold of it."""
    made = World(MemoryStore())
    made.enter()
    batch = made.submit("a", "b").batch
    first, second = made.claim(2)
    made.wait(300)
    made.finish(first)
    for one in (forecast(5, 20, 50), forecast(15, 30, 40)):
        made.store.note_forecast(batch, one, one.at)
    made.now = START + minutes(35)
    made.finish(second)
    return made


def test_a_report_says_how_good_it_was(world: World, tmp_path: Path) -> None:
    report = told(world, tmp_path)
    lines = [
        "forecast at 18:35: 18:50 (p90 19:20)",
        "forecast at 18:45: 19:00 (p90 19:10)",
        "it ended at 19:05: the mean error was 10 min, it had ended by p50 in 0 of 2 and by p90 in 2",
    ]
    assert list(words.foretold(report)) == lines
    assert "## What was foretold\n\n- forecast at 18:35" in markdown.text(report)
    assert "<h2>What was foretold</h2><p>Forecast at 18:35" in page.text(report)
    form = json.loads(summary.text(report))["foretold"]
    assert (form["mean_error_seconds"], form["ended_by_p50"], form["ended_by_p90"]) == (600.0, 0, 2)
    assert form["forecasts"][0]["p50"] == "2026-01-09T18:50:00.000Z"


def test_a_report_of_many_forecasts_tells_some(world: World, tmp_path: Path) -> None:
    for place in range(20):
        one = forecast(16 + place / 10, 36)
        world.store.note_forecast(Batch("b", 1), one, one.at)
    lines = list(words.foretold(told(world, tmp_path)))
    assert len(lines) == 8
    assert lines[-2] == "these are 6 of 22 forecasts"


def test_a_report_of_a_batch_that_goes_on_tells_what_is_foretold(world: World, tmp_path: Path) -> None:
    world.store.retry(1, world.now, by="ann")
    report = told(world, tmp_path)
    assert list(words.foretold(report))[-1] == "forecast at 18:45: 19:00 (p90 19:10)"
    assert json.loads(summary.text(report))["foretold"]["mean_error_seconds"] is None


def test_where_nothing_was_foretold_nothing_is_told(tmp_path: Path) -> None:
    world = World(MemoryStore())
    world.enter()
    world.submit("a")
    report = told(world, tmp_path)
    assert list(words.foretold(report)) == []
    assert "foretold" not in markdown.text(report) + page.text(report)
    assert json.loads(summary.text(report))["foretold"] is None
