"""How fast windows are used up: what was told of them beside what was drawn."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from tidegate.ahead import Quota
from tidegate.model import Meter, Reading, Reserve, Tide, Window
from tidegate.prospect import Lap
from tidegate.quotas import quotas

NOW = datetime(2026, 1, 9, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)
LAPS = [Lap(batch=1, account="acct", group="", seconds=90.0, spent=100.0, drawn=1000.0)]  # 10 in a second


def meter(window: Window = Window.FIVE_HOURS, **more: object) -> Meter:
    said = {"begins_at": NOW - HOUR, "drawn": 30_000.0, "drawn_at_reading": 20_000.0, "used": 0.195, **more}
    return Meter(scope="acct", window=window, **said)  # type: ignore[arg-type]


def tide(window: Window = Window.FIVE_HOURS, **more: object) -> Tide:
    said = {"began_at": NOW - 9 * HOUR, "ended_at": NOW - 4 * HOUR, **more}
    return Tide(scope="acct", window=window, **said)  # type: ignore[arg-type]


def found(*meters: Meter, tides: tuple[Tide, ...] = ()) -> Quota:
    (one,) = quotas(meters, tides, LAPS, NOW)
    return one


def test_what_was_drawn_since_the_last_reading_is_used_too() -> None:
    one = found(meter())
    assert (one.name, one.ends, one.length) == ("5h", 4 * 3600, 5 * 3600)
    assert one.used == pytest.approx(0.3)
    assert one.rate == pytest.approx(10 / 100_000)


def test_windows_that_are_over_tell_how_much_fits_into_one() -> None:
    past = (tide(used=0.495, drawn=90_000.0, drawn_at_reading=80_000.0), tide(refused=True, drawn=170_000.0))
    one = found(meter(), tides=past)
    assert one.rate == pytest.approx(10 / ((20_000 + 80_000 + 170_000) / 1.7))
    assert one.doubt < found(meter()).doubt
    week = tide(Window.WEEK, refused=True, drawn=1.0)
    assert found(meter(), tides=(week,)) == found(meter())


def test_refusals_alone_will_do() -> None:
    one = found(meter(used=None), tides=(tide(refused=True, drawn=60_000.0),))
    assert one.used == pytest.approx((30_000 - 20_000) / 60_000)
    assert found(meter(used=None, refused_at=NOW)).used == 1.0


def test_a_window_that_is_over_begins_with_the_next_use() -> None:
    one = found(meter(begins_at=NOW - 6 * HOUR))
    assert (one.used, one.ends) == (0.0, None)


def test_nothing_is_made_of_nothing() -> None:
    kept = Reserve(account="acct", source="configuration", window=Window.WEEK, stop_at=0.75)
    found = quotas([meter(), meter(Window.WEEK)], [], LAPS, NOW, kept=[kept])
    assert [(one.name, one.most) for one in found] == [("5h", 1.0), ("week", 0.75)]
    assert quotas([meter()], [], [], NOW) == []
    assert quotas([meter(used=0.01)], [], LAPS, NOW) == []
    assert quotas([meter(drawn_at_reading=0.0)], [], LAPS, NOW) == []
    assert quotas([meter(Window.SPEND)], [], LAPS, NOW) == [], "nobody knows how long it lasts"
    assert [one.name for one in quotas([meter(), meter(Window.WEEK)], [], LAPS, NOW)] == ["5h", "week"]


def test_what_others_used_before_us_is_not_what_our_jobs_take() -> None:
    first = Reading(scope="acct", window=Window.FIVE_HOURS, used=0.1, at=NOW - HOUR, drawn=10_000.0)
    past = replace(first, at=NOW - 9 * HOUR, used=0.5, drawn=0.0)
    week = replace(first, window=Window.WEEK, used=0.9)
    before = tide(used=0.7, drawn=9_000.0, drawn_at_reading=8_000.0)
    (one,) = quotas([meter()], [before, tide(Window.WEEK)], LAPS, NOW, readings=[past, week, first])
    (alone,) = quotas([meter()], [], LAPS, NOW)
    assert alone.rate / one.rate == pytest.approx((10_000 + 8_000) / (0.095 + 0.2) / (20_000 / 0.2), rel=0.02)
