"""The times that people write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate import allowed, when

BERLIN = ZoneInfo("Europe/Berlin")
FRIDAY = datetime(2026, 1, 9, 12, tzinfo=UTC)  # 13:00 in Berlin

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("13:01", "2026-01-09 13:01"),
        ("13:00", "2026-01-10 13:00"),
        ("07:00", "2026-01-10 07:00"),
        ("7:00:30", "2026-01-10 07:00:30"),
        ("7am", "2026-01-10 07:00"),
        ("1 am", "2026-01-10 01:00"),
        ("7:30 PM", "2026-01-09 19:30"),
        ("12am", "2026-01-10 00:00"),
        ("12pm", "2026-01-10 12:00"),
        ("today 18:00", "2026-01-09 18:00"),
        ("tomorrow 18:00", "2026-01-10 18:00"),
        ("Tomorrow at 7am", "2026-01-10 07:00"),
        ("fri 14:00", "2026-01-09 14:00"),
        ("fri 07:00", "2026-01-16 07:00"),
        ("thursday 07:00", "2026-01-15 07:00"),
        ("  sat   07:00 ", "2026-01-10 07:00"),
        ("2026-02-01", "2026-02-01 00:00"),
        ("2026-02-01 07:30", "2026-02-01 07:30"),
        ("2026-02-01T07:30Z", "2026-02-01 08:30"),
        ("2026-02-01T07:30:00+05:30", "2026-02-01 03:00"),
        ("2025-02-01 07:30", "2025-02-01 07:30"),
        ("07:00 America/New_York", "2026-01-09 13:00:00+1"),
        ("11:00 UTC", "2026-01-10 12:00"),
        ("2h", "2026-01-09 15:00"),
        ("1h30m", "2026-01-09 14:30"),
        ("90 s", "2026-01-09 13:01:30"),
        ("2d", "2026-01-11 13:00"),
        (" " * 75 + "13:01", "2026-01-09 13:01"),
    ],
)
def test_a_time_is_the_next_instant_that_it_can_mean(text: str, local: str) -> None:
    found = when.instant(text, FRIDAY, BERLIN)
    if local.endswith("+1"):  # 07:00 in New York is 13:00 in Berlin, which is just over: the day after
        local = "2026-01-10 13:00:00"
    assert found == datetime.fromisoformat(local).replace(tzinfo=BERLIN)
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be a time like "),
        ("7", "must be a time like "),
        ("25:00", "must be a time like "),
        ("07:60", "must be a time like "),
        ("13pm", "must be a time like "),
        ("0am", "must be a time like "),
        ("frid 07:00", "must be a time like "),
        ("2026-02-30", "must be a time like "),
        ("2026-02-01 25:00", "must be a time like "),
        ("9999-12-31 23:59 America/New_York", "must be a time like "),
        ("now\n", "must be a time like "),
        ("\u0660\u0667:\u0660\u0660", "must be a time like "),
        ("-2h", "must be a time like "),
        ("0h", "must be more than 0 seconds"),
        ("999999d", "must be at most 366 days"),
        ("today 13:00", "is over already"),
        ("07:00 Mars/Olympus", "names no zone that is known here, not 'Mars/Olympus'"),
        ("07:00 ../../etc/passwd", "must be a time like "),
        ("07:00" * 1000, "must be a time like "),
        (" " * 76 + "13:01", "must be a time like "),
    ],
)
def test_what_is_no_time_is_refused_with_what_is_allowed(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        when.instant(text, FRIDAY, BERLIN)
    told = str(refused.value)
    assert told.isprintable()
    assert len(told) < 250
    assert len(text) > when.LONGEST or allowed.but(text) in told or "no zone" in told


def test_a_day_is_that_of_the_zone_and_not_of_another() -> None:
    late = datetime(2026, 1, 9, 23, 30, tzinfo=UTC)  # half past midnight in Berlin
    assert when.instant("today 18:00", late, BERLIN) == datetime(2026, 1, 10, 17, tzinfo=UTC)
    assert when.instant("tomorrow 18:00", late, BERLIN) == datetime(2026, 1, 11, 17, tzinfo=UTC)


def test_a_time_that_comes_twice_is_the_first_that_is_still_ahead() -> None:
    before = datetime(2026, 10, 24, 22, tzinfo=UTC)  # midnight in Berlin; at 03:00 the clock goes back to 02:00
    first = when.instant("02:30", before, BERLIN)
    assert first == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert when.instant("02:30", first, BERLIN) == first + timedelta(hours=1)
    assert when.instant("02:30", first + timedelta(hours=1), BERLIN) == first + timedelta(hours=25)


def test_a_time_that_is_left_out_is_as_long_after_midnight() -> None:
    before = datetime(2026, 3, 28, 23, tzinfo=UTC)  # midnight in Berlin; at 02:00 the clock goes to 03:00
    assert when.instant("02:30", before, BERLIN) == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


@given(st.text(max_size=100) | st.from_regex(when.TIME, fullmatch=True) | st.from_regex(when.FULL, fullmatch=True))
def test_any_text_is_an_instant_or_refused(text: str) -> None:
    try:
        told = when.instant(text, FRIDAY, BERLIN).isoformat()
    except ValueError as refused:
        told = str(refused)
    assert told.isprintable()
