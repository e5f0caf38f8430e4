"""When it is open, by the clocks on the wall."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate import allowed
from tidegate.hours import DAYS, Hours, parse

BERLIN = ZoneInfo("Europe/Berlin")
SPRING, AUTUMN = "2026-03-29", "2026-10-25"  # 02:00 becomes 03:00; 03:00 becomes 02:00

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture(autouse=True)
def unread() -> None:
    """Each test reads its text itself."""
    parse.cache_clear()


def hours(text: str) -> Hours:
    return parse(text, BERLIN)


def at(text: str, fold: int = 0) -> datetime:
    """An instant by the clocks of Berlin."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).astimezone(UTC)


OPEN = [
    ("20:00-07:00", "2026-01-09 20:00", "2026-01-10 07:00"),
    ("20:00-07:00", "2026-01-09 23:59:59", "2026-01-10 07:00"),
    ("20:00-07:00", "2026-01-10 06:59:59.999999", "2026-01-10 07:00"),
    ("9:00-17:30", "2026-01-09 12:00", "2026-01-09 17:30"),
    ("mon-fri 20:00-07:00", "2026-01-10 06:00", "2026-01-10 07:00"),  # what began on Friday
    ("mon-fri 20:00-07:00, sat-sun 00:00-24:00", "2026-01-09 21:00", "2026-01-12 00:00"),
    ("FRI 22:00 - 02:00", "2026-01-10 01:00", "2026-01-10 02:00"),
    ("sat 00:00-24:00", "2026-01-10 00:00", "2026-01-11 00:00"),
    ("fri-mon 10:00-11:00", "2026-01-09 10:00", "2026-01-09 11:00"),
    ("fri-mon 10:00-11:00", "2026-01-11 10:30", "2026-01-11 11:00"),
    ("fri-mon 10:00-11:00", "2026-01-12 10:30", "2026-01-12 11:00"),
    ("fri 22:00-21:00", "2026-01-10 20:00", "2026-01-10 21:00"),
    ("23:00-23:59", "2026-01-09 23:30", "2026-01-09 23:59"),
    ("08:00-12:00, 12:00-16:00", "2026-01-09 09:00", "2026-01-09 16:00"),
    ("08:00-12:00, 11:00-13:00", "2026-01-09 09:00", "2026-01-09 13:00"),
    ("08:00-20:00, 11:00-13:00", "2026-01-09 09:00", "2026-01-09 20:00"),
    ("00:00-24:00", "2026-01-09 12:00", None),
    ("07:00-19:00, 19:00-07:00", "2026-01-09 12:00", None),
    ("fri 22:00-24:00 America/New_York", "2026-01-10 05:00", "2026-01-10 06:00"),
    # the clocks change
    ("20:00-07:00", f"{SPRING} 01:59", f"{SPRING} 07:00"),
    ("00:00-02:30", f"{SPRING} 01:59", f"{SPRING} 03:00"),  # they jump over the closing
    ("02:30-05:00", f"{SPRING} 03:00", f"{SPRING} 05:00"),  # and over the opening
    ("sat 20:00-02:30", f"{SPRING} 01:00", f"{SPRING} 03:00"),
    ("sat 00:00-24:00", "2026-03-28 12:00", f"{SPRING} 00:00"),
    ("sun 00:00-24:00", f"{SPRING} 12:00", "2026-03-30 00:00"),
    ("20:00-07:00", f"{AUTUMN} 02:30", f"{AUTUMN} 07:00"),
    ("00:00-02:30", f"{AUTUMN} 01:00", f"{AUTUMN} 02:30"),
    ("sun 00:00-24:00", f"{AUTUMN} 12:00", "2026-10-26 00:00"),
]


@pytest.mark.parametrize(("text", "now", "closing"), OPEN, ids=[f"{text} at {now}" for text, now, _ in OPEN])
def test_it_is_open_until_it_closes(text: str, now: str, closing: str | None) -> None:
    said, begin = hours(text), at(now)
    end = at(closing) if closing else begin + timedelta(days=15)
    assert all(said.opens(begin + (end - begin) // 20 * part) is None for part in range(20))
    assert said.opens(end - timedelta(microseconds=1)) is None
    assert (said.opens(end) is None) is (closing is None)


SHUT = [
    ("20:00-07:00", "2026-01-09 19:59:59.999999", "2026-01-09 20:00"),
    ("20:00-07:00", "2026-01-09 07:00", "2026-01-09 20:00"),
    ("9:00-17:30", "2026-01-09 17:30", "2026-01-10 09:00"),
    ("mon-fri 20:00-07:00", "2026-01-10 07:00", "2026-01-12 20:00"),
    ("mon-fri 20:00-07:00", "2026-01-11 21:00", "2026-01-12 20:00"),
    ("fri 10:00-11:00", "2026-01-09 11:00", "2026-01-16 10:00"),
    ("fri-mon 10:00-11:00", "2026-01-12 11:00", "2026-01-16 10:00"),
    ("20:00-07:00 Asia/Tokyo", "2026-01-09 11:59", "2026-01-09 12:00"),
    # the clocks change
    ("04:00-05:00", f"{SPRING} 01:59", f"{SPRING} 04:00"),
    ("02:30-05:00", f"{SPRING} 01:59", f"{SPRING} 03:00"),
    ("02:15-02:45", f"{SPRING} 01:59", "2026-03-30 02:15"),  # all of it is left out
    ("sun 02:15-02:45", f"{SPRING} 01:59", "2026-04-05 02:15"),
    ("00:00-02:30", f"{SPRING} 03:00", "2026-03-30 00:00"),
    ("04:00-05:00", f"{AUTUMN} 02:59", f"{AUTUMN} 04:00"),
    ("02:30-05:00", f"{AUTUMN} 02:29", f"{AUTUMN} 02:30"),
    ("02:00-02:30", f"{AUTUMN} 02:30", "2026-10-26 02:00"),
]


@pytest.mark.parametrize(("text", "now", "opening"), SHUT, ids=[f"{text} at {now}" for text, now, _ in SHUT])
def test_it_is_shut_until_it_opens(text: str, now: str, opening: str) -> None:
    said, told = hours(text), hours(text).opens(at(now))
    assert told == at(opening)
    assert told.tzinfo is UTC
    assert said.opens(at(opening)) is None
    assert said.opens(at(opening) - timedelta(microseconds=1)) == at(opening)


def test_the_hour_that_comes_twice_counts_once() -> None:
    said = hours("02:00-02:30")
    assert said.opens(at(f"{AUTUMN} 02:15")) is None
    assert said.opens(at(f"{AUTUMN} 02:15", fold=1)) == at("2026-10-26 02:00")


@pytest.mark.parametrize(("evening", "length"), [("2026-10-24 20:00", 12), ("2026-03-28 20:00", 10)])
def test_a_night_in_which_the_clocks_change_is_an_hour_longer_or_shorter(evening: str, length: int) -> None:
    night, end = hours("20:00-07:00"), at(evening) + timedelta(hours=length)
    assert night.opens(end - timedelta(microseconds=1)) is None
    assert night.opens(end) is not None


def test_a_zone_that_jumps_over_a_day() -> None:
    said = parse("fri 00:00-24:00 Pacific/Apia", UTC)  # there was no Friday, 2011-12-30
    now = datetime(2011, 12, 30, 9, 59, tzinfo=UTC)
    assert said.opens(now) == datetime(2012, 1, 6, 0, 0, tzinfo=ZoneInfo("Pacific/Apia")).astimezone(UTC)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("20:00-07:00", "20:00-07:00 Europe/Berlin"),
        ("  mon-fri   20:00-07:00 ,sat 0:00-24:00  UTC ", "mon-fri 20:00-07:00 ,sat 0:00-24:00 UTC"),
        ("Fri 20:00-07:00 America/New_York", "Fri 20:00-07:00 America/New_York"),
    ],
)
def test_hours_say_what_they_are(text: str, told: str) -> None:
    assert hours(text).text == told
    assert hours(told) == hours(text)


def test_a_zone_without_a_name_is_left_out() -> None:
    assert parse("20:00-07:00", timezone(timedelta(hours=2))).text == "20:00-07:00"


BAD = [
    ("", "must be like"), ("   ", "must be like"), ("always", "must be like"), ("20:00", "must be like"),
    ("20-07", "must be like"), ("20:00-07:00,", "must be like"), ("mon", "must be like"),
    ("20:00-07:00 fri", "the name of a zone"), ("monday 20:00-07:00", "must be like"), ("x" * 500, "must be like"),
    ("20:0-07:00", "must be like"), ("mon-fri-sat 20:00-07:00", "must be like"), ("²0:00-07:00", "must be like"),
    ("20:00-07:00 Europe/Atlantis", "the name of a zone"), ("20:00-07:00 ../../etc/passwd", "the name of a zone"),
    ("20:00-07:00 Europe", "the name of a zone"), ("20:00-07:00 \0", "the name of a zone"),
    ("20:00-07:00 \ud800", "the name of a zone"), ("20:00-07:00 " + "A" * 300, "the name of a zone"),
    ("25:00-26:00", "from 00:00 to 24:00"), ("20:60-21:00", "from 00:00 to 24:00"), ("20:00-24:01", "00:00 to 24:00"),
    ("20:00-20:00", "not end when it begins"), ("24:00-07:00", "must begin before 24:00"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "words"), BAD, ids=range(len(BAD)))
def test_what_is_no_hours_is_told_in_one_line(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        parse(text, BERLIN)
    told = str(raised.value)
    assert "\n" not in told
    assert len(told) < 300
    assert told.endswith(allowed.but(text.rpartition(" ")[2] if "a zone" in told else text))


CLOCKS = st.integers(0, 24 * 4 - 1).map(lambda quarter: f"{quarter // 4:02}:{quarter % 4 * 15:02}")
PART = st.tuples(st.sampled_from(["", *(f"{a}-{b} " for a in DAYS for b in DAYS)]), CLOCKS, CLOCKS).filter(
    lambda part: part[1] != part[2]
)
ZONES = st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"])


@given(
    parts=st.lists(PART, min_size=1, max_size=4),
    zone=ZONES,
    now=st.integers(0, 400 * 24 * 3600).map(lambda seconds: datetime(2025, 12, 1, tzinfo=UTC) + timedelta(0, seconds)),
)
def test_an_opening_is_the_first_instant_of_being_open(
    parts: list[tuple[str, str, str]], zone: str, now: datetime
) -> None:
    said = parse(", ".join(f"{days}{start}-{end}" for days, start, end in parts) + f" {zone}", UTC)
    opening = said.opens(now)
    if opening is not None:
        assert now < opening <= now + timedelta(days=15)
        assert said.opens(opening) is None
        assert said.opens(opening - timedelta(microseconds=1)) == opening


def test_the_times_between_openings_are_closed() -> None:
    nightly, noon = parse("22:00-07:00", BERLIN), datetime(2026, 1, 9, 12, tzinfo=BERLIN)
    found = nightly.closed(noon, noon.replace(day=11))
    assert [(f"{begin.astimezone(BERLIN):%d %H}", f"{end.astimezone(BERLIN):%d %H}") for begin, end in found] == [
        ("09 12", "09 22"),
        ("10 07", "10 22"),
        ("11 07", "11 12"),
    ]
    assert list(parse("00:00-24:00", BERLIN).closed(noon, noon.replace(day=11))) == []
    late = noon.replace(hour=23)
    assert list(nightly.closed(late, late.replace(minute=30))) == []
    assert list(nightly.closed(late, late.replace(day=10, hour=7))) == []
