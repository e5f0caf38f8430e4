"""When a limit ends: the ways of telling a time that providers use, turned into one instant.

Rules, for text that was printed at the instant `printed`:

* A clock time is its next occurrence. One that is at most JUST_PAST old is that past instant, which means "now": one
  second after the reset is not tomorrow. A provider prints a reset that is past like one that comes, so an older one is
  indistinguishable from tomorrow's; an exact instant (`resetsAt`) beside it is always to be preferred.
* A date without a year is the next such date, unless it is at most DATE_PAST old. A date with a year and a time is
  itself, however old. A day without a time begins at midnight; one that is over tells nothing.
* A time stands in the zone that is named behind it: in parentheses anywhere (the first that is a zone), or bare ("UTC",
  "PT", "+02:00"). A missing or unknown zone means the agent's own, and `Reset.zone_known` is false.
* A local time that a change of clocks skips or doubles means its later instant: never early.
* Printed minutes are floored, so `exact` is false for them: the reset may come up to 59 s later.
* Nonsense ("13pm", 31 Feb) is unknown: None. Nothing here raises, and the time taken is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo, available_timezones

JUST_PAST = timedelta(minutes=5)
DATE_PAST = timedelta(hours=24)
FARTHEST = timedelta(days=3660)
OWN_WAIT = timedelta(minutes=5)  # an agent's own pause that is shorter is its back-off ladder, not the limit's end
TEXT_MOST = 4000  # characters of a text that are looked at
CUES_MOST = 16  # places in it that may announce a time
EXPRESSION_MOST = 400  # characters of a time and its zone

PACIFIC = "America/Los_Angeles"  # where Gemini's daily quotas begin anew at midnight


@dataclass(frozen=True, slots=True)
class Reset:
    """The instant (aware UTC) at which a limit ends.

    `exact` is true where it was given to the second. `zone_known` is false where the text named no zone that is known.
    """

    at: datetime
    exact: bool = False
    zone_known: bool = True


# --- text --------------------------------------------------------------------------------------

ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
ALIKE = str.maketrans(
    {
        **dict.fromkeys("\u2219\u2022\u2027\u22c5", "·"),
        **dict.fromkeys("\u2019\u2018\u02bc\u2032\u201b", "'"),
        **dict.fromkeys("\u201c\u201d\u201e", '"'),
        **dict.fromkeys("\u2013\u2014\u2212\u2010\u2011", "-"),
        "\u2026": "...",
        "\u200b": "",
        "\ufeff": "",
    }
)


def flat(text: str) -> str:
    """The text on one line, without terminal codes, in plain quotes, dots and dashes; TEXT_MOST characters of it."""
    plain = text[: TEXT_MOST * 2]
    if "\x1b" in plain:
        plain = ANSI.sub("", plain)
    if not plain.isascii():
        plain = plain.translate(ALIKE)
    return " ".join(plain.split())[:TEXT_MOST]


def read(text: str, printed: datetime, zone: tzinfo) -> Reset | None:
    """The reset that a text names, `printed` (aware UTC) by an agent whose own zone is `zone`; None: it names none."""
    line = flat(text)
    barred = BAR.search(line)
    if barred:
        return epoch(barred[1])
    tolds = (moment(rest, printed, zone) for rest in _behind(RESETS, TRY_AGAIN, line=line))
    return next((told for told in tolds if told is not None), None)


def wait_named(text: str, printed: datetime) -> Reset | None:
    """The reset behind a wait that a text names ("try again in 14s"); clock times do not count."""
    tolds = (_span(rest, printed) for rest in _behind(RESETS, TRY_AGAIN, line=flat(text)))
    return next((told for told in tolds if told is not None), None)


def own_wait(text: str, printed: datetime) -> Reset | None:
    """The end of a pause of OWN_WAIT or more that an agent itself makes ("retrying in 9h")."""
    tolds = (_span(rest, printed) for rest in _behind(RETRYING, line=flat(text)))
    return next((told for told in tolds if told is not None and told.at - printed >= OWN_WAIT), None)


def _behind(*cues: re.Pattern[str], line: str) -> Iterator[str]:
    """What stands behind each of the words that announce a time, the surest words first."""
    for cue in cues:
        for found in islice(cue.finditer(line), CUES_MOST):
            yield line[found.end() : found.end() + EXPRESSION_MOST]


FILLER = r"(?:[ :~*·-]{0,3}\b(?:at|on|in|after|by|until|about|around|approximately|again|time|is)\b){0,3}[ :~*·]{0,3}"
RESETS = re.compile(
    r"\b(?:resets?|resetting|refresh(?:es)?|renews?|regain access|continuing automatically|available again"
    rf"|(?:cycle|period|window) ends){FILLER}",
    re.IGNORECASE,
)
TRY_AGAIN = re.compile(
    rf"\b(?:try again|please retry|suggested retry|retry after|retry(?= in (?:\d+ ?m|\d+ ?h|\d+ ?d))"
    rf"|wait(?:ing)?(?: for)?){FILLER}",
    re.IGNORECASE,
)
RETRYING = re.compile(rf"\bretrying{FILLER}", re.IGNORECASE)
BAR = re.compile(r"\|\s?(\d{9,13})\b")


# --- fields ------------------------------------------------------------------------------------


def epoch(value: object) -> Reset | None:
    """Seconds (or, from 10^11 on, milliseconds) since 1970 as a reset."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None
    seconds = number / 1000 if number >= 1e11 else number
    if isinstance(value, bool) or not 1e9 <= seconds < 1e10:
        return None
    return Reset(datetime.fromtimestamp(seconds, UTC), exact=True)


def after(value: object, printed: datetime) -> Reset | None:
    """A wait as a reset: seconds with or without a fraction, text ("7s", "1h30m"), or an HTTP date (Retry-After)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return _ahead(float(value), printed)
    if not isinstance(value, str):
        return None
    text = flat(value)
    if NUMBER.fullmatch(text):
        return _ahead(float(text), printed)
    return moment(text, printed, UTC)


def of_fields(fields: Mapping[str, object], printed: datetime) -> Reset | None:
    """The reset in a structured answer: an instant (`resetsAt`) first, else a wait from `printed` on."""
    for name in INSTANTS:
        told = epoch(fields.get(name)) or _iso_field(fields.get(name), printed)
        if told is not None:
            return told
    for name, unit in WAITS.items():
        value = fields.get(name)
        told = after(value * unit if isinstance(value, int | float) else value, printed)
        if told is not None:
            return told
    return None


INSTANTS = ("resetsAt", "resets_at", "resetAt", "reset_at", "resetTime", "quotaResetTimeStamp")
WAITS = {
    "resets_in_seconds": 1.0,
    "reset_after_seconds": 1.0,
    "retry_after": 1.0,
    "retryAfter": 1.0,
    "retry-after": 1.0,
    "retryDelay": 1.0,
    "retry-after-ms": 0.001,
    "retry_delay_ms": 0.001,
    "retryDelayMs": 0.001,
    "delayMs": 0.001,
}
NUMBER = re.compile(r"\d{1,9}(?:\.\d{1,9})?")


def _iso_field(value: object, printed: datetime) -> Reset | None:
    return moment(value, printed, UTC) if isinstance(value, str) and value[4:5] == "-" else None


def _ahead(seconds: float, printed: datetime) -> Reset | None:
    if not 0 <= seconds <= FARTHEST.total_seconds():
        return None
    try:
        return Reset(printed + timedelta(seconds=seconds), exact=True)
    except OverflowError:
        return None


# --- one moment --------------------------------------------------------------------------------


def moment(text: str, printed: datetime, zone: tzinfo) -> Reset | None:
    """The instant that a text begins with, "4pm (America/Los_Angeles)", "in 3 hours 12 minutes", "Jan 30, 11:30am"."""
    try:
        line = flat(text)
        return _moment(line[len(LEAD.match(line)[0]) :], printed, zone)  # type: ignore[index]
    except (ValueError, OverflowError):  # 31 Feb, the year 10000
        return None


LEAD = re.compile(FILLER, re.IGNORECASE)


def next_midnight(printed: datetime, zone: str) -> Reset | None:
    """The next midnight of a named zone: when a daily quota begins anew that names no time."""
    there = zone_named(zone)
    return None if there is None else _clock_time(time(0), printed, there, past=timedelta(0))


def _moment(text: str, printed: datetime, zone: tzinfo) -> Reset | None:
    if EPOCH.match(text):
        return epoch(EPOCH.match(text)[0])  # type: ignore[index]
    span = _span(text, printed)
    if span is not None:
        return span
    said = _day(text)
    if said is None:
        return None
    day, clock, seconds, rest = said
    there, known = _zone_in(rest, zone)
    if there is None:
        return None
    told = day.resolve(clock, printed, there)
    return None if told is None else Reset(told.at, exact=seconds, zone_known=known)


EPOCH = re.compile(r"1\d{9}(?:\d{3})?\b(?![-/:.]\d)")

# --- lengths of time ---

UNITS = {
    **dict.fromkeys(("ms", "msec", "msecs", "millisecond", "milliseconds"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks"), 604800.0),
}
PART = re.compile(
    r"(?:,? ?and |, ?| )?(\d{1,9}(?:\.\d{1,9})?) ?(" + "|".join(sorted(UNITS, key=len, reverse=True)) + r")(?![a-z])",
    re.IGNORECASE,
)


def _span(text: str, printed: datetime) -> Reset | None:
    """The reset after the length of time that a text begins with."""
    seconds, place, finest = 0.0, 0, 604800.0
    while part := PART.match(text, place):
        unit = UNITS[part[2].lower()]
        seconds, place, finest = seconds + float(part[1]) * unit, part.end(), min(finest, unit)
    told = _ahead(seconds, printed) if place else None
    return None if told is None else Reset(told.at, exact=finest <= 1.0)


# --- days ---


@dataclass(frozen=True, slots=True)
class _Day:
    """Which day a text means: a full date, a month and a day, a weekday, some days from now, or the next that fits."""

    full: date | None = None
    month: int = 0
    day: int = 0
    weekday: int | None = None
    ahead: int | None = None

    def resolve(self, clock: time | None, printed: datetime, zone: tzinfo) -> Reset | None:
        """The instant of `clock` on that day; None for a day that is over and names no time, or is none."""
        today = printed.astimezone(zone).date()
        at = clock or time(0)
        if self.full is not None:
            told = Reset(_instant(self.full, at, zone))
            return None if clock is None and told.at < printed - DATE_PAST else told
        if self.ahead is not None:
            return Reset(_instant(today + timedelta(days=self.ahead), at, zone))
        if self.month:
            return _first(self._years(today), at, printed - DATE_PAST, zone)
        if self.weekday is not None:
            days = (today + timedelta(days=n) for n in range(-1, 9))
            return _first((one for one in days if one.weekday() == self.weekday), at, printed - JUST_PAST, zone)
        return _clock_time(at, printed, zone, past=JUST_PAST)

    def _years(self, today: date) -> Iterator[date]:
        """That month and day in the years around; 29 Feb is not in each."""
        for year in range(today.year - 1, today.year + 9):
            try:
                yield date(year, self.month, self.day)
            except ValueError:
                continue


def _clock_time(clock: time, printed: datetime, zone: tzinfo, *, past: timedelta) -> Reset | None:
    today = printed.astimezone(zone).date()
    return _first((today + timedelta(days=n) for n in range(-1, 4)), clock, printed - past, zone)


def _first(days: Iterator[date], clock: time, earliest: datetime, zone: tzinfo) -> Reset | None:
    instants = (_instant(day, clock, zone) for day in days)
    return next((Reset(one) for one in instants if one >= earliest), None)


def _instant(day: date, clock: time, zone: tzinfo) -> datetime:
    """The later of the two instants that a local time may mean where clocks change."""
    local = datetime.combine(day, clock, zone)
    return max(local.replace(fold=fold).astimezone(UTC) for fold in (0, 1))


MONTH_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAY_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MONTH = rf"(?P<month>{'|'.join(MONTH_NAMES)})[a-z]{{0,6}}\.?"
WEEKDAY = rf"(?P<weekday>{'|'.join(WEEKDAY_NAMES)})[a-z]{{0,6}}\.?"
NTH = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
YEAR = r"(?:,? (?P<year>\d{4})(?![\d:]))?"
DAYS = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?P<year>\d{4})-(?P<month>\d{1,2})-(?P<day>\d{1,2})(?!\d)",
        r"(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4})(?!\d)",
        rf"(?:{WEEKDAY},? )?{MONTH} {NTH}(?![\d:]){YEAR}",
        rf"(?:{WEEKDAY},? )?{NTH} {MONTH}(?![a-z]){YEAR}",
        rf"{WEEKDAY}(?![a-z])",
        r"(?P<word>today|tomorrow)\b",
    )
]
JOINT = re.compile(r"(?:,? at |,? @ ?|, ?| |T)?", re.IGNORECASE)
CLOCK12 = re.compile(r"(\d{1,2})(?::(\d\d))?(?::(\d\d)(?:\.\d{1,9})?)? ?([ap])\.? ?m\b\.?", re.IGNORECASE)
CLOCK24 = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d)(?:\.\d{1,9})?)?(?![\d:])(?! ?[ap]\.?m\b)", re.IGNORECASE)
NAMED = re.compile(r"(noon|midnight)\b", re.IGNORECASE)


def _day(text: str) -> tuple[_Day, time | None, bool, str] | None:
    """The day, the clock time, whether that has seconds, and what follows; None where the text begins with neither."""
    found = next((match for match in (pattern.match(text) for pattern in DAYS) if match), None)
    day = _Day() if found is None else _day_of(found)
    rest = text if found is None else text[found.end() :]
    clock = _clock(rest[len(JOINT.match(rest)[0]) :])  # type: ignore[index]
    if clock is None:
        return None if found is None or NONSENSE.match(rest) else (day, None, False, rest)
    return day, *clock


NONSENSE = re.compile(r"(?:,? at |, ?| )?\d{1,2}(?::\d\d)? ?[ap]\.?m\b|(?:,? at |, ?| )?\d{1,2}:\d\d", re.IGNORECASE)


def _day_of(found: re.Match[str]) -> _Day:
    said = {name: value for name, value in found.groupdict().items() if value}
    if "word" in said:
        return _Day(ahead=1 if said["word"].lower() == "tomorrow" else 0)
    if "day" not in said:
        return _Day(weekday=WEEKDAY_NAMES.index(said["weekday"].lower()))
    month = int(said["month"]) if said["month"].isdigit() else MONTH_NAMES.index(said["month"].lower()) + 1
    day = int(said["day"])
    if "/" in found[0] and month > 12:  # 31/12/2026 can only be the other order
        month, day = day, month
    if "year" in said:
        return _Day(full=date(int(said["year"]), month, day))
    date(2000, month, day)  # a leap year: raises for 31 Feb
    return _Day(month=month, day=day)


def _clock(text: str) -> tuple[time, bool, str] | None:
    """The clock time that a text begins with, whether it has seconds, and what follows. Raises ValueError for 25:00."""
    named = NAMED.match(text)
    if named:
        return time(12 if named[1].lower() == "noon" else 0), False, text[named.end() :]
    half = CLOCK12.match(text)
    if half:
        hour = int(half[1])
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if half[4].lower() == "p" else 0)
        return time(hour, int(half[2] or 0), int(half[3] or 0)), half[3] is not None, text[half.end() :]
    whole = CLOCK24.match(text)
    if whole is None:
        return None
    return time(int(whole[1]), int(whole[2]), int(whole[3] or 0)), whole[3] is not None, text[whole.end() :]


# --- zones -------------------------------------------------------------------------------------

ABBREVIATED = {
    **dict.fromkeys(("pt", "pst", "pdt", "pacific", "pacific time"), PACIFIC),
    **dict.fromkeys(("mt", "mdt", "mountain time"), "America/Denver"),
    **dict.fromkeys(("ct", "cst", "cdt", "central time"), "America/Chicago"),
    **dict.fromkeys(("et", "edt", "eastern", "eastern time"), "America/New_York"),
    **dict.fromkeys(("cest",), "Europe/Paris"),
    **dict.fromkeys(("bst",), "Europe/London"),
    **dict.fromkeys(("ist",), "Asia/Kolkata"),
    **dict.fromkeys(("jst",), "Asia/Tokyo"),
    **dict.fromkeys(("beijing time",), "Asia/Shanghai"),
    "z": "UTC",
}
NO_ZONE = frozenset({"tz", "timezone", "time zone", "zone", "your timezone", "your time zone", "redacted"})
NOT_NAMES = frozenset({"localtime", "posixrules", "factory"})  # files beside the zones
BARE_ZONE = re.compile(
    r"(?: ?(?:UTC|GMT))?(?P<offset> ?[+-]\d{1,2}(?::?\d\d)?)(?![\d:])"
    r"| ?(?P<name>Z|UTC|GMT|[PMCE]S?D?T|CES?T|BST|IST|JST|(?:Pacific|Mountain|Central|Eastern|Beijing)(?: Time)?)\b",
    re.IGNORECASE,
)
PARENTHESES = re.compile(r"\(([^()]{1,64})\)")
OFFSET = re.compile(r"(?:utc|gmt)? ?([+-]) ?(\d{1,2}):?(\d\d)?")
ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")


def _zone_in(rest: str, zone: tzinfo) -> tuple[tzinfo | None, bool]:
    """The zone named in what follows a time, and whether one is; (None, False) where somebody blotted it out."""
    bare = BARE_ZONE.match(rest)
    if bare:
        found = zone_named((bare["offset"] or bare["name"]).strip())
        if found is not None:
            return found, True
    inside = [one[1] for one in PARENTHESES.finditer(rest[:300])]
    for name in inside:
        found = zone_named(name)
        if found is not None:
            return found, True
    return (None, False) if any(name.strip().lower() in NO_ZONE for name in inside) else (zone, False)


@lru_cache(maxsize=512)
def zone_named(name: str) -> tzinfo | None:
    """The zone of a name: any that zoneinfo knows in any case, an abbreviation or an offset; None for others.

    "Etc/GMT+5" has its POSIX sign, five hours behind UTC; "UTC+5" and "+05:00" are five hours ahead of it.
    """
    short = " ".join(name.split()).lower()
    offset = OFFSET.fullmatch(short)
    if offset:
        minutes = int(offset[2]) * 60 + int(offset[3] or 0)
        return timezone(timedelta(minutes=minutes if offset[1] == "+" else -minutes)) if minutes < 1440 else None
    said = ABBREVIATED.get(short, name.strip())
    wrapped = "/" in said and " " in short  # by a terminal, or in place of an underscore
    tries = ["".join(said.split()), "_".join(said.split())] if wrapped else [said]
    return next((found for found in map(_loaded, tries) if found is not None), None)


def _loaded(name: str) -> tzinfo | None:
    if not ZONE_NAME.fullmatch(name) or name.lower() in NOT_NAMES:
        return None
    for spelled in (name, _spelling().get(name.lower())):
        try:
            if spelled:
                return ZoneInfo(spelled)
        except (ValueError, KeyError, OSError):  # a directory is an OSError, ZoneInfoNotFoundError a KeyError
            continue
    return None


@lru_cache(maxsize=1)
def _spelling() -> dict[str, str]:
    """Each zone's name by the same in lower case: some texts are printed in capitals."""
    return {name.lower(): name for name in available_timezones()}
