"""The one room that reads the time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from tidegate import clock
from tidegate.clock import LOOK_AGAIN, SystemClock

CLOCK = SystemClock()


def test_now_is_in_utc_and_goes_on() -> None:
    first, second = CLOCK.now(), CLOCK.now()
    assert first.tzinfo is UTC
    assert first <= second
    assert CLOCK.monotonic() <= CLOCK.monotonic()


@pytest.mark.parametrize(
    ("ahead", "wait"),
    [(timedelta(days=3), LOOK_AGAIN), (timedelta(seconds=20), 20), (timedelta(days=-1), 0), (None, LOOK_AGAIN)],
    ids=["far", "near", "past", "never"],
)
async def test_nobody_sleeps_longer_than_it_may_take_to_notice_that_the_machine_was_suspended(
    ahead: timedelta | None, wait: float
) -> None:
    before = anyio.current_time()
    when = None if ahead is None else CLOCK.now() + ahead
    with CLOCK.move_on_at(when) as scope:
        assert before + wait - 1 <= scope.deadline <= anyio.current_time() + wait + 1


# --- the zone ---


def utc_offset(zone: str | None = None) -> timedelta | None:
    return datetime(2026, 1, 9, tzinfo=clock.zone(zone)).utcoffset()


def test_a_programs_own_zone_goes_before_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", ":Asia/Tokyo")
    assert utc_offset("America/New_York") == timedelta(hours=-5)
    assert utc_offset() == timedelta(hours=9)


@pytest.mark.parametrize("name", ["Mars/Olympus", "../../etc/passwd", "Europe", "", "CET-1CEST"])
def test_what_is_no_zones_name_is_passed_over(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert utc_offset(name) == timedelta(hours=9)


def test_without_any_name_it_is_the_machines_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TZ", raising=False)
    now = datetime.now(UTC)
    assert now.astimezone(clock.zone()).utcoffset() == now.astimezone().utcoffset()
    assert now.astimezone(clock._zone(None, "")).utcoffset() == now.astimezone().utcoffset()


def test_the_machines_zone_has_the_name_that_it_is_linked_to() -> None:
    name = clock._localtime()
    assert name == "" or name in str(Path("/etc/localtime").resolve())
