"""Turns a time that a person writes ("07:00", "fri 07:00", "tomorrow 7am", "2h", ISO 8601) into one instant."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from tidegate import allowed

WANTED = 'a time like "07:00", "tomorrow 07:00", "fri 07:00", "2026-01-31 07:00" or a length like "90m", "2h"'
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WEEKDAY = r"mon(?:day)?|tue(?:s(?:day)?)?|wed(?:nesday)?|thu(?:r?s(?:day)?)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?"
CLOCK = r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d))?(?::(?P<second>\d\d))? ?(?P<half>[ap]m)?"
TIME = re.compile(rf"(?:(?P<day>today|tomorrow|{WEEKDAY})(?: at)? )?{CLOCK}", re.ASCII | re.IGNORECASE)
FULL = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?(?:Z|[+-]\d\d:?\d\d)?", re.ASCII)
ZONED = re.compile(r"(?P<text>.*\S)\s+(?P<zone>UTC|[A-Za-z_]+(?:/[A-Za-z0-9_+-]+)+)", re.ASCII)
LONGEST = 80  # characters


def instant(text: str, now: datetime, zone: tzinfo) -> datetime:
    """The instant that a text means at `now`, in UTC; clock times are those of `zone` unless the text names another.

    A clock time is the next one, a length of time counts from now; only a full date may lie in the past. Where clocks
    are set back, a time that comes twice is the first of the two that is still ahead; one that is left out is as long
    after midnight as if nothing had happened. Raises ValueError with what is allowed.
    """
    said = " ".join(text.split())
    if len(text) > LONGEST:
        raise ValueError(f"must be {WANTED}, not {len(text):,} characters")
    if (length := _length(said)) is not None:
        return now + timedelta(seconds=length)
    bare, where = _zoned(said, zone)
    found = _full(bare, where) if FULL.fullmatch(bare) else _next(bare, now, where)
    if found is None:
        raise ValueError(f"must be {WANTED}, {allowed.but(text)}")
    return found


def _length(text: str) -> float | None:
    """Seconds, for a text with units: a number alone could be meant as an hour."""
    return allowed.seconds()(text) if allowed.DURATION.fullmatch(text) else None


def _zoned(text: str, zone: tzinfo) -> tuple[str, tzinfo]:
    if (found := ZONED.fullmatch(text)) is None:
        return text, zone
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - few name a zone

    try:
        return found["text"], ZoneInfo(found["zone"])
    except (ValueError, KeyError, OSError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(f"names no zone that is known here, {allowed.but(found['zone'])}") from None


def _full(text: str, zone: tzinfo) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _next(text: str, now: datetime, zone: tzinfo) -> datetime | None:
    """The next instant of a clock time, on the day that is named or on the first that has it."""
    if (found := TIME.fullmatch(text)) is None or (clock := _clock(found)) is None:
        return None
    named = (found["day"] or "").lower()
    today = now.astimezone(zone).date()
    if ahead := [one for day in _days(named, today) for one in _instants(day, clock, zone) if one > now]:
        return ahead[0]
    raise ValueError(f"is over already, {allowed.but(text)}")


def _clock(found: re.Match[str]) -> time | None:
    hour, half = int(found["hour"]), (found["half"] or "").lower()
    if not half and found["minute"] is None:
        return None
    if half:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half == "pm" else 0)
    try:
        return time(hour, int(found["minute"] or 0), int(found["second"] or 0))
    except ValueError:
        return None


def _days(named: str, today: date) -> list[date]:
    """The days that a word may mean, in order; no word: today or the day after."""
    match named:
        case "":
            return [today + timedelta(days=n) for n in range(3)]
        case "today":
            return [today]
        case "tomorrow":
            return [today + timedelta(days=1)]
        case _:
            until = (WEEKDAYS.index(named[:3]) - today.weekday()) % 7
            return [today + timedelta(days=until), today + timedelta(days=until + 7)]


def _instants(day: date, clock: time, zone: tzinfo) -> list[datetime]:
    """The two instants of a local time, the one to be preferred first: they differ only where clocks change."""
    local = datetime.combine(day, clock, zone)
    return [local.replace(fold=fold).astimezone(UTC) for fold in (0, 1)]
