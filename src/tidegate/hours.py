"""Office hours: when the jobs of a scope may start, as a person writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from itertools import takewhile
from typing import Final
from zoneinfo import ZoneInfo

from tidegate import allowed

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WANTED: Final = 'must be like "20:00-07:00" or "mon-fri 20:00-07:00, sat-sun 00:00-24:00 Europe/Berlin"'
MOST: Final = 400  # characters
DAY: Final = 24 * 60  # minutes
SECOND: Final = timedelta(seconds=1)

_DAY = "|".join(DAYS)
_SPAN = re.compile(rf"(?:({_DAY})(?:-({_DAY}))? )?(\d?\d):(\d\d)-(\d?\d):(\d\d)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Span:
    """From one clock time to another on some weekdays (Monday is 0), in minutes after the midnight before.

    `end` is more than DAY where it lies on the next day.
    """

    days: frozenset[int]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Hours:
    """When it is open, by the clocks of `zone`; `text` says so, with the zone where that has a name.

    A clock time that comes twice, in the hour before winter time, counts the first time; one that is left out, in the
    hour before summer time, is the instant at which the clocks jump.
    """

    text: str
    spans: tuple[Span, ...]
    zone: tzinfo

    def opens(self, now: datetime) -> datetime | None:
        """The next opening, in UTC; None where it is open now."""
        begin, _ = next(one for one in self._open_from(now) if one[1] > now)
        return None if begin <= now else begin

    def closed(self, now: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The times between two instants in which it is not open, in UTC and in order."""
        shut = now
        for begin, end in takewhile(lambda span: span[0] < until, self._open_from(now)):
            if begin > shut:
                yield shut, begin
            shut = max(shut, end)
        if shut < until:
            yield shut, until

    def _open_from(self, now: datetime) -> Iterator[tuple[datetime, datetime]]:
        """When it is open, in order, for ever; from a day before `now` on, so that what began then is there."""
        day = now.astimezone(self.zone).date() - timedelta(days=1)
        while True:
            for span in self.spans:
                if day.weekday() in span.days:
                    begin, end = _instant(day, span.start, self.zone), _instant(day, span.end, self.zone)
                    if begin < end:  # not so where the clocks jump over all of it
                        yield begin, end
            day += timedelta(days=1)


def _instant(day: date, minute: int, zone: tzinfo) -> datetime:
    """When a clock of the zone shows this, in UTC."""
    wall = datetime.combine(day + timedelta(days=minute // DAY), time(minute // 60 % 24, minute % 60), zone)
    return _jump(wall.replace(fold=1).astimezone(UTC), wall.astimezone(UTC), zone)


def _jump(before: datetime, after: datetime, zone: tzinfo) -> datetime:
    """The instant between these two at which the zone's clocks are put forward; `after` where they are not."""
    offset = before.astimezone(zone).utcoffset()
    while after - before > SECOND:
        middle = (before + (after - before) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after


# --- from text ---


@lru_cache(64)  # each claim asks
def parse(text: str, zone: tzinfo) -> Hours:
    """Hours from text; `zone` is for one that names none. Raises Wrong, a ValueError, with what is allowed."""
    said = " ".join(text.split())
    if not said or len(said) > MOST:
        raise allowed.Wrong(f"{WANTED}, {allowed.but(text)}")
    spans, named = _zone_of(said)
    listed = [_span(one.strip(), text) for one in spans.lower().split(",")]
    where = _known(named) if named else zone
    name = getattr(where, "key", "")
    return Hours(f"{spans} {name}".strip(), tuple(sorted(listed, key=lambda one: one.start)), where)


def _zone_of(said: str) -> tuple[str, str]:
    """The spans, and the name of the zone at the end, "" where there is none."""
    spans, _, last = said.rpartition(" ")
    return (spans, last) if spans and ":" not in last else (said, "")


def _known(zone: str) -> tzinfo:
    try:
        return ZoneInfo(zone)
    except (ValueError, KeyError, OSError):  # ZoneInfoNotFoundError is a KeyError
        raise allowed.Wrong(f"must end with the name of a zone such as Europe/Berlin, {allowed.but(zone)}") from None


def _span(said: str, text: str) -> Span:
    found = _SPAN.fullmatch(re.sub(r" ?- ?", "-", said))
    if found is None:
        raise allowed.Wrong(f"{WANTED}, {allowed.but(text)}")
    first, last, *clocks = found.groups()
    start, end = _minute(*clocks[:2], text=text), _minute(*clocks[2:], text=text)
    if start in (DAY, end):
        raise allowed.Wrong(f"must begin before 24:00 and not end when it begins (00:00-24:00), {allowed.but(text)}")
    return Span(_days(first, last or first), start, end if end > start else end + DAY)


def _minute(hour: str, minute: str, *, text: str) -> int:
    at = int(hour) * 60 + int(minute)
    if int(minute) > 59 or at > DAY:
        raise allowed.Wrong(f"must have clock times from 00:00 to 24:00, {allowed.but(text)}")
    return at


def _days(first: str | None, last: str | None) -> frozenset[int]:
    if first is None or last is None:
        return frozenset(range(7))
    start, end = DAYS.index(first), DAYS.index(last)
    return frozenset(range(start, end + 1)) if start <= end else frozenset(range(7)) - frozenset(range(end + 1, start))
