"""When a limit ends: every way of telling a time gives the one right instant, or none."""

from __future__ import annotations

import re
import time
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import effort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate import resets

NOW = datetime(2026, 1, 9, 18, 30, tzinfo=UTC)  # a Friday
HERE = ZoneInfo("UTC")
BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture(autouse=True)
def unread() -> None:
    """Each test looks for its zones itself."""
    resets.zone_named.cache_clear()


# what is printed | when that is (UTC; * for an instant given to the second)
TOLD = r"""
resets 4pm (America/Los_Angeles)                             | 2026-01-10 00:00
resets 4:50am (Europe/Rome)                                  | 2026-01-10 03:50
resets 11:59 PM                                              | 2026-01-09 23:59
resets 4:05:06 PM                                            | 2026-01-10 16:05:06*
resets 14:00                                                 | 2026-01-10 14:00
resets 23:30 (UTC)                                           | 2026-01-09 23:30
resets 12am                                                  | 2026-01-10 00:00
resets 12pm (Asia/Tokyo)                                     | 2026-01-10 03:00
resets 12:04 AM                                              | 2026-01-10 00:04
resets noon                                                  | 2026-01-10 12:00
resets at midnight (Asia/Kolkata)                            | 2026-01-09 18:30
resets 6 p.m. (EST5EDT)                                      | 2026-01-09 23:00
resets 5pm (Etc/GMT+5)                                       | 2026-01-09 22:00
resets 5pm (Etc/GMT-5)                                       | 2026-01-10 12:00
resets 5pm (UTC+5)                                           | 2026-01-10 12:00
resets 5pm -05:00                                            | 2026-01-09 22:00
resets 5pm PST                                               | 2026-01-10 01:00
resets 5pm Pacific Time                                      | 2026-01-10 01:00
resets 5pm UTC                                               | 2026-01-10 17:00
resets 11:30am (Asia/Calcutta)                               | 2026-01-10 06:00
RESETS 4PM (AMERICA/LOS_ANGELES)                             | 2026-01-10 00:00
resets 4pm (America/Los\n_Angeles)                           | 2026-01-10 00:00
resets 4pm (code 1) (America/Los_Angeles)                    | 2026-01-10 00:00
resets 4pm · exit (1) · zone (Asia/Tokyo)                    | 2026-01-10 07:00
\x1b[31mresets\x1b[0m 4pm \x1b[1m(Asia/Tokyo)\x1b[0m         | 2026-01-10 07:00
resets\n at\n 4pm                                            | 2026-01-10 16:00
resets ∙ 4pm                                                 | 2026-01-10 16:00
resets 3:51\u202fPM                                          | 2026-01-10 15:51
resets Jan 30, 11:30am (Asia/Calcutta)                       | 2026-01-30 06:00
resets Feb 17 at 2pm                                         | 2026-02-17 14:00
try again at Apr 16th, 2026 12:04 AM.                        | 2026-04-16 00:04
to reset on April 20, 2026 at 2:00 AM or switch              | 2026-04-20 02:00
resets Jan 22, 2027, 12pm (America/New_York)                 | 2027-01-22 17:00
resets Jul 12, 2026, 5:04 AM                                 | 2026-07-12 05:04
resets Fri, Jan 30, 9am                                      | 2026-01-30 09:00
resets 30 Jan 2026, 9am                                      | 2026-01-30 09:00
resets Sept 1 at 12:00am                                     | 2026-09-01 00:00
resets Dec 2, 7pm (Europe/Moscow)                            | 2026-12-02 16:00
resets Jan 5, 9am                                            | 2027-01-05 09:00
resets Feb 29, 9am                                           | 2028-02-29 09:00
resets Mon 12:00am                                           | 2026-01-12 00:00
resets on Friday at 7pm                                      | 2026-01-09 19:00
resets Fri 9am                                               | 2026-01-16 09:00
resets tomorrow at 9am                                       | 2026-01-10 09:00
resets today at 9pm                                          | 2026-01-09 21:00
resets tomorrow at 9pm                                       | 2026-01-10 21:00
resets today at 5pm                                          | 2026-01-09 17:00
resets tomorrow at 9am (Asia/Tokyo)                          | 2026-01-11 00:00
resets Sun 9am (Asia/Tokyo)                                  | 2026-01-11 00:00
monthly cycle ends on 11/17/2026.                            | 2026-11-17 00:00
resets 1/30/2026 11:30 AM                                    | 2026-01-30 11:30
resets 31/1/2026 11:30 AM                                    | 2026-01-31 11:30
resets 12/1/2026 9:00 AM                                     | 2026-12-01 09:00
resets 13/1/2026 9:00 AM                                     | 2026-01-13 09:00
resets 2026-01-30                                            | 2026-01-30 00:00
resets at 2026-01-30 05:38:28                                | 2026-01-30 05:38:28*
resets 2026-01-30T05:38:28Z                                  | 2026-01-30 05:38:28*
resets 2026-01-30T05:38:28.123+02:00                         | 2026-01-30 03:38:28*
regain access on 2026-07-01 at 00:00 UTC                     | 2026-07-01 00:00
resets Wed, 21 Oct 2026 07:28:00 GMT                         | 2026-10-21 07:28:00*
Claude AI usage limit reached|1760000400                     | 2025-10-09 09:00:00*
resets at 1760000400                                         | 2025-10-09 09:00:00*
resets at 1760000400123                                      | 2025-10-09 09:00:00*
try again in 2 days 17 hours 14 minutes.                     | 2026-01-12 11:44
will reset in 3 hours 12 minutes                             | 2026-01-09 21:42
Resets in 2d17h14m                                           | 2026-01-12 11:44
reset in 1 day 3 hours.                                      | 2026-01-10 21:30
Refreshes in 6 days and 18 hours                             | 2026-01-16 12:30
reset after 3h11m4s.. Retrying after 11697609ms              | 2026-01-09 21:41:04*
Please retry in 56.19s.                                      | 2026-01-09 18:30:56*
Please retry in 900.2ms                                      | 2026-01-09 18:30:00*
Please try again in 20ms.                                    | 2026-01-09 18:30:00*
Please wait 587 hours 33 minutes before trying again         | 2026-02-03 06:03
Retry in 45 minutes.                                         | 2026-01-09 19:15
Your quota will reset after 10m.                             | 2026-01-09 18:40
continuing automatically at 7pm · esc                        | 2026-01-09 19:00
wait for limits to reset (every 5h), resets at 9pm           | 2026-01-09 21:00
"""

NOT_TOLD = r"""
resets 13pm
resets 0am
resets Jan 30, 13pm
resets Jan 30 at 0:75
resets 25:00
resets 12:60pm
resets Feb 30 at 10am (Europe/Paris)
resets 31 Feb, 9am
resets 2026-13-01 10:00
resets 9/31/2026
cycle ends on 11/17/2025.
resets Apr 10, 7pm (TZ)
or try again later.
or wait for limits to reset (every 5h and every week.)
Claude AI usage limit reached|0
resets
resets soon
resets in a while
resets in 99999999999 days
resets Jan
retrying 4/5 in 1.471s
Retry in 0.7 seconds.
"""


ESCAPES = {r"\n": "\n", r"\x1b": "\x1b", r"\u202f": "\u202f"}


def table(text: str) -> list[list[str]]:
    for written, meant in ESCAPES.items():
        text = text.replace(written, meant if meant != "\n" else "\v")
    return [[cell.strip(" ").replace("\v", "\n") for cell in row.split(" | ")] for row in text.strip("\n").split("\n")]


@pytest.mark.parametrize(("text", "when"), table(TOLD))
def test_a_time_is_read_as_one_instant(text: str, when: str) -> None:
    told = resets.read(text, NOW, HERE)
    assert told is not None
    assert told.at.replace(microsecond=0) == datetime.fromisoformat(when.rstrip("*")).replace(tzinfo=UTC)
    assert told.at.tzinfo is UTC
    assert told.exact == when.endswith("*")


@pytest.mark.parametrize("text", [row[0] for row in table(NOT_TOLD)])
def test_nonsense_and_missing_times_are_unknown(text: str) -> None:
    assert resets.read(text, NOW, HERE) is None


# --- the zone ---


def test_a_missing_zone_is_the_agents_own_and_says_so() -> None:
    told = resets.read("resets 4pm", NOW, BERLIN)
    assert told == resets.Reset(datetime(2026, 1, 10, 15, tzinfo=UTC), exact=False, zone_known=False)


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "W. Europe Standard Time", "code 1", "local time", "/etc/passwd", "America", "Factory"]
)
def test_an_unknown_zone_is_the_agents_own_and_says_so(zone: str) -> None:
    told = resets.read(f"resets 4pm ({zone})", NOW, BERLIN)
    assert told is not None
    assert (told.at, told.zone_known) == (datetime(2026, 1, 10, 15, tzinfo=UTC), False)


@pytest.mark.parametrize("zone", ["(Asia/Tokyo)", "JST", "+09:00", "UTC"])
def test_a_named_zone_is_known(zone: str) -> None:
    told = resets.read(f"resets 4pm {zone}", NOW, BERLIN)
    assert told is not None
    assert told.zone_known


@pytest.mark.parametrize("offset", ["+25:00", "-99", "PSDT"])
def test_an_offset_that_no_zone_has_is_the_agents_own_zone_and_says_so(offset: str) -> None:
    told = resets.read(f"resets 4pm {offset}", NOW, BERLIN)
    assert told == resets.Reset(datetime(2026, 1, 10, 15, tzinfo=UTC), zone_known=False)


# --- just past ---


@pytest.mark.parametrize("seconds", [0, 1, 59, 240, 300])
def test_a_time_just_past_means_now_and_not_tomorrow(seconds: int) -> None:
    printed = datetime(2026, 1, 9, 16, tzinfo=UTC) + timedelta(seconds=seconds)
    told = resets.read("resets 4pm", printed, HERE)
    assert told is not None
    assert told.at == datetime(2026, 1, 9, 16, tzinfo=UTC)


def test_just_past_ends_after_five_minutes() -> None:
    told = resets.read("resets 4pm", datetime(2026, 1, 9, 16, 5, 1, tzinfo=UTC), HERE)
    assert told is not None
    assert told.at == datetime(2026, 1, 10, 16, tzinfo=UTC)


def test_just_past_midnight_is_still_now() -> None:
    told = resets.read("resets 11:59pm", datetime(2026, 1, 10, 0, 1, tzinfo=UTC), HERE)
    assert told is not None
    assert told.at == datetime(2026, 1, 9, 23, 59, tzinfo=UTC)


def test_just_past_is_seen_from_the_other_side_of_the_date_line_too() -> None:
    told = resets.read("resets 11:59pm (Pacific/Pago_Pago)", datetime(2026, 1, 10, 11, 1, tzinfo=UTC), HERE)
    assert told is not None
    assert told.at == datetime(2026, 1, 10, 10, 59, tzinfo=UTC)


def test_just_past_on_the_weekday_before_is_still_now() -> None:
    told = resets.read("resets Fri 11:59pm", datetime(2026, 1, 10, 0, 1, tzinfo=UTC), HERE)
    assert told is not None
    assert told.at == datetime(2026, 1, 9, 23, 59, tzinfo=UTC)


def test_a_day_without_a_time_is_over_a_day_after_it_began() -> None:
    told = resets.read("cycle ends on 1/8/2026", datetime(2026, 1, 9, tzinfo=UTC), HERE)
    assert told is not None
    assert told.at == datetime(2026, 1, 8, tzinfo=UTC)
    assert resets.read("cycle ends on 1/8/2026", datetime(2026, 1, 9, 0, 0, 1, tzinfo=UTC), HERE) is None


def test_a_date_of_today_that_is_past_is_not_next_year() -> None:
    told = resets.read("resets Jan 9, 5pm", NOW, HERE)
    assert told is not None
    assert told.at == datetime(2026, 1, 9, 17, tzinfo=UTC)


# --- changes of clocks ---


def test_a_time_that_does_not_exist_is_never_early() -> None:
    told = resets.read("resets 2:30am", datetime(2026, 3, 8, 5, tzinfo=UTC), NEW_YORK)
    assert told is not None
    assert told.at == datetime(2026, 3, 8, 7, 30, tzinfo=UTC)  # 3:30 by the new clock


def test_a_time_that_comes_twice_is_never_early() -> None:
    told = resets.read("resets 1:30am", datetime(2026, 11, 1, 4, tzinfo=UTC), NEW_YORK)
    assert told is not None
    assert told.at == datetime(2026, 11, 1, 6, 30, tzinfo=UTC)  # the second one


ZONES = sorted(name for name in available_timezones() if "/" in name and not name.startswith(("posix", "right")))


def changes(zone: ZoneInfo, year: int) -> list[date]:
    """The days of a year on which a zone's clocks change."""
    noons = [datetime(year, 1, 1, 12, tzinfo=zone) + timedelta(days=n) for n in range(365)]
    return [there.date() for before, there in pairwise(noons) if before.utcoffset() != there.utcoffset()]


@st.composite
def printed_resets(draw: st.DrawFn) -> tuple[str, datetime, datetime, ZoneInfo]:
    """A full minute, how it is printed in some zone, and the instant of the printing, up to a day before it."""
    zone = ZoneInfo(draw(st.sampled_from(ZONES)))
    days = changes(zone, 2026) or [date(2026, 6, 1)]
    day = draw(st.sampled_from(days)) + timedelta(days=draw(st.integers(-1, 1)))
    minute = draw(st.integers(0, 1439))
    reset = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(minutes=minute)
    ahead = timedelta(minutes=draw(st.integers(0, 21 * 60)))  # on a day of 22 hours more is what is just past
    local = reset.astimezone(zone)
    clock_text = draw(st.sampled_from(["%I:%M%p", "%H:%M", "%I:%M %p"]))
    return f"resets {local.strftime(clock_text).lower()} ({zone.key})", reset, reset - ahead, zone


@settings(max_examples=effort.of(100, 400), deadline=None)
@given(printed_resets())
def test_a_printed_minute_comes_back_as_its_instant(case: tuple[str, datetime, datetime, ZoneInfo]) -> None:
    text, reset, printed, zone = case
    told = resets.read(text, printed, HERE)
    assert told is not None
    assert told.zone_known
    twin = reset.astimezone(zone)
    later = (
        twin.replace(fold=1).astimezone(UTC)
        if twin.replace(fold=1).utcoffset() != twin.replace(fold=0).utcoffset()
        else reset
    )
    assert told.at in (reset, max(reset, later)), "never early, and late only where the clock says the same twice"


@settings(max_examples=effort.of(50, 200), deadline=None)
@given(st.sampled_from(ZONES), st.integers(0, 1_000_000), st.integers(2, 300))
def test_a_printed_date_comes_back_as_its_instant(name: str, minute: int, days: int) -> None:
    zone = ZoneInfo(name)
    reset = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    local = reset.astimezone(zone)
    text = f"resets {local.strftime('%b')} {local.day}, {local.hour % 12 or 12}:{local:%M}{local:%p} ({name})".replace(
        "AM", "am"
    )
    told = resets.read(text, reset - timedelta(days=days), HERE)
    assert told is not None
    assert timedelta(0) <= told.at - reset <= timedelta(hours=3), "late only where the clock says the same twice"


# --- waits and fields ---


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (7, 7),
        (0, 0),
        (1.5, 1.5),
        ("7", 7),
        ("1.5", 1.5),
        ("7s", 7),
        ("1h30m", 5400),
        ("Fri, 09 Jan 2026 18:31:00 GMT", 60),
        ("2026-01-09 18:31:00", 60),
        (3660 * 86400, 3660 * 86400),
    ],
)
def test_retry_after_is_seconds_a_length_or_a_date(value: object, seconds: float) -> None:
    told = resets.after(value, NOW)
    assert told is not None
    assert told.at == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value", [None, True, -1, float("nan"), float("inf"), 1e300, "", "soon", [], {}, "-5", 3660 * 86400 + 1]
)
def test_what_is_no_wait_is_unknown(value: object) -> None:
    assert resets.after(value, NOW) is None


@pytest.mark.parametrize(
    "value", [None, True, 0, -1, 17, 10**10, "x", float("nan"), float("inf"), 1e300, [], "99999999999999999999"]
)
def test_what_is_no_epoch_is_unknown(value: object) -> None:
    assert resets.epoch(value) is None


@pytest.mark.parametrize(("value", "year"), [(10**9, 2001), (10**10 - 1, 2286), (10**12, 2001), (10**13 - 1, 2286)])
def test_an_epoch_is_seconds_or_milliseconds_of_these_centuries(value: int, year: int) -> None:
    told = resets.epoch(value)
    assert told is not None
    assert (told.at.year, told.exact) == (year, True)


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"resetsAt": 1788625200}, datetime(2026, 9, 5, 16, 20, tzinfo=UTC)),
        ({"resetsAt": 1788625200123}, datetime(2026, 9, 5, 16, 20, tzinfo=UTC)),
        ({"resets_at": "1788625200", "resets_in_seconds": 5}, datetime(2026, 9, 5, 16, 20, tzinfo=UTC)),
        ({"quotaResetTimeStamp": "2026-01-09T19:00:00Z"}, datetime(2026, 1, 9, 19, tzinfo=UTC)),
        ({"resetTime": "2026-01-09T19:00:00"}, datetime(2026, 1, 9, 19, tzinfo=UTC)),
        ({"resets_in_seconds": 602705}, NOW + timedelta(seconds=602705)),
        ({"retry_delay_ms": 1500}, NOW + timedelta(seconds=1.5)),
        ({"retryDelay": "7s"}, NOW + timedelta(seconds=7)),
    ],
)
def test_fields_tell_the_instant_or_the_wait(fields: dict[str, object], at: datetime) -> None:
    told = resets.of_fields(fields, NOW)
    assert told is not None
    assert told.at.replace(microsecond=0) == at.replace(microsecond=0)
    assert told.exact


@pytest.mark.parametrize("fields", [{}, {"resetsAt": None, "retry_after": None}, {"resetsAt": 0, "delayMs": -1}])
def test_fields_that_tell_nothing_are_unknown(fields: dict[str, object]) -> None:
    assert resets.of_fields(fields, NOW) is None


def test_a_wait_is_read_and_a_clock_time_is_none() -> None:
    told = resets.wait_named("Rate limit reached. Please try again in 14s. Visit ...", NOW)
    assert told == resets.Reset(NOW + timedelta(seconds=14), exact=True)
    assert resets.wait_named("try again at 6:03 PM, or retry after 2h", NOW) == resets.Reset(NOW + timedelta(hours=2))
    assert resets.wait_named("try again at 6:03 PM", NOW) is None
    assert resets.wait_named("Your quota will reset after 7s.", NOW) == resets.Reset(
        NOW + timedelta(seconds=7), exact=True
    )


def test_a_daily_quota_begins_anew_at_midnight_pacific() -> None:
    told = resets.next_midnight(NOW, resets.PACIFIC)
    assert told is not None
    assert told.at == datetime(2026, 1, 10, 8, tzinfo=UTC)


def test_a_daily_quota_in_a_zone_that_nobody_knows_is_unknown() -> None:
    assert resets.next_midnight(NOW, "Mars/Olympus") is None


def test_an_agents_own_short_pause_ends_nothing() -> None:
    assert resets.own_wait("retrying in 60s attempt #3", NOW) is None
    assert resets.own_wait("retrying in 299s", NOW) is None
    assert resets.own_wait("retrying in 5m", NOW) is not None
    told = resets.own_wait("free usage exceeded , subscribe to Go retrying in 9h", NOW)
    assert told is not None
    assert told.at == NOW + timedelta(hours=9)


# --- whatever comes ---


@pytest.mark.parametrize("text", ["resets in 3 days", "resets Feb 29, 9am", "resets tomorrow at 9am", "resets Jan 1"])
def test_what_is_behind_the_end_of_the_calendar_is_unknown(text: str) -> None:
    assert resets.read(text, datetime(9999, 12, 31, 20, tzinfo=UTC), HERE) is None


BITS = st.sampled_from(
    [
        "resets ",
        "reset in ",
        "try again at ",
        "|",
        "(",
        ")",
        "UTC",
        "1",
        "12",
        ":",
        "am",
        "pm",
        "Jan ",
        "Feb 30",
        ", ",
        "/",
    ]
)
PIECES = st.sampled_from(
    [
        "2026",
        "9999-12-31",
        "0001-01-01",
        "T",
        "Z",
        "+",
        "-14:00",
        "59",
        "days",
        "h",
        "m",
        "s",
        "\x1b[",
        "\x1b]",
        "∙",
        "\n",
    ]
)


@settings(max_examples=effort.of(100, 400), deadline=None)
@given(
    st.lists(st.one_of(BITS, PIECES, st.text(max_size=4)), max_size=30).map("".join),
    st.datetimes(timezones=st.just(UTC)),
)
def test_no_text_raises_at_any_time(text: str, printed: datetime) -> None:
    for told in (
        resets.read(text, printed, BERLIN),
        resets.moment(text, printed, NEW_YORK),
        resets.own_wait(text, printed),
    ):
        assert told is None or told.at.tzinfo is UTC


@pytest.mark.parametrize(
    "unit", ["resets ", "resets at 1", "wait · ", "1 day ", "(", "\x1b[", "\x1b]", "try again in 1", "a", "|1"]
)
def test_the_time_taken_does_not_grow_with_the_text(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    began = time.perf_counter()
    resets.read(text, NOW, HERE)
    assert time.perf_counter() - began < 0.2, "a quarter of a megabyte per 50 ms at least"


def test_the_rules_are_written_down() -> None:
    assert re.search(r"JUST_PAST", resets.__doc__ or "")
    assert timedelta(minutes=5) == resets.JUST_PAST
