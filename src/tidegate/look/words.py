"""Words for people: text that cannot forge a line, local times, spans and columns."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo

from msgspec import Struct

from tidegate.clock import SystemClock, zone
from tidegate.model import State

MINUTE, HOUR, DAY = 60, 3600, 86400
ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours and cursor moves
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # OSC, DCS and their kin: titles, links
    r"|\x1b[ -/]*[0-~]"  # two-character sequences
)
COLOURS = {"red": "31", "green": "32", "yellow": "33", "bold": "1", "dim": "2"}
SHADES = {State.SUCCEEDED: "green", State.FAILED: "red", State.ERROR: "red", State.CANCELLED: "yellow"}
NARROWEST = 20  # columns; a page gets no narrower than this
LEAST = 8  # columns of a name in a table, however narrow the page
LAST = 28  # columns that a table's last cell gets at the cost of names: an end, with its weekday, fits


class Page(Struct, frozen=True, kw_only=True):
    """Where text for people goes: its width in columns (None: unlimited), its zone, colour or not, and the present."""

    now: datetime
    zone: tzinfo
    width: int | None = None
    colour: bool = False

    def paint(self, text: str, colour: str) -> str:
        """The text in a colour of COLOURS, where there is colour."""
        return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if self.colour and text else text

    def state(self, state: State) -> str:
        """A job's state in its colour."""
        return self.paint(state.value, SHADES.get(state, "bold"))

    def at(self, instant: datetime) -> str:
        """A local time: the clock alone on the present day, with the weekday or the date otherwise."""
        local, today = instant.astimezone(self.zone), self.now.astimezone(self.zone).date()
        days = abs((local.date() - today).days)
        return f"{local:%H:%M:%S}" if days == 0 else f"{local:%a %H:%M:%S}" if days < 7 else self.stamp(instant)

    def stamp(self, instant: datetime) -> str:
        """A local date and time."""
        return f"{instant.astimezone(self.zone):%Y-%m-%d %H:%M:%S}"

    def until(self, instant: datetime) -> str:
        """A coming instant, and how long it is until then."""
        left = (instant - self.now).total_seconds()
        return f"{self.at(instant)} (in {span(left)})" if left > 0 else f"{self.at(instant)} (now)"

    def wrap(self, text: str, *, indent: int = 0, hang: int | None = None) -> Iterator[str]:
        """A text as lines of the page's width: indented, the further ones by `hang` (None: by two more)."""
        first, further = " " * indent, " " * (indent + 2 if hang is None else hang)
        if self.width is None or len(first) + columns_of(text) <= self.width:
            yield first + text
            return
        from textwrap import wrap  # noqa: PLC0415 - only a narrow page pays for it

        further = further[: self.width * 3 // 4]
        yield from wrap(text, self.width, initial_indent=first, subsequent_indent=further, break_on_hyphens=False)

    def since(self, instant: datetime) -> str:
        """How long ago an instant was."""
        return span((self.now - instant).total_seconds())


def page() -> Page:
    """The page that standard output is."""
    tty = sys.stdout.isatty()
    colour = tty and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
    return Page(now=SystemClock().now(), zone=zone(), width=_width(tty=tty), colour=colour)


def _width(*, tty: bool) -> int | None:
    """The columns of the terminal; for a pipe or a file only what COLUMNS asks for."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isascii() and asked.isdigit() and 0 < len(asked) < 6 and int(asked) > 0:
        return max(int(asked), NARROWEST)
    if not tty:
        return None
    try:
        return max(os.get_terminal_size(sys.stdout.fileno()).columns, NARROWEST)
    except OSError:
        return 80


# --- text that others wrote ---


def clean(text: str) -> str:
    """One line that shows what it is: terminal sequences gone, every other character that does not print escaped."""
    if text.isprintable():
        return text
    bare = ESCAPES.sub("", text)
    return "".join(one if one.isprintable() else _escaped(one) for one in bare)


def shown(text: str) -> str:
    """The same without what looks like a secret: for prompts, evidence and whatever else others wrote."""
    from tidegate.redact import redacted  # noqa: PLC0415 - a view without other people's words does without

    return redacted(clean(text)) if text else text


def _escaped(one: str) -> str:
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(one)
    return short or one.encode("unicode_escape").decode("ascii")


# --- sizes ---


def span(seconds: float) -> str:
    """A length of time in its two largest units: "45 s", "2 h 10 min", "3 d 4 h"."""
    left = max(round(seconds), 0)
    if left < MINUTE:
        return f"{left} s"
    if left < HOUR:
        return _two(left, MINUTE, "min", 1, "s") if left < 10 * MINUTE else f"{left // MINUTE} min"
    if left < DAY:
        return _two(left, HOUR, "h", MINUTE, "min")
    return _two(left, DAY, "d", HOUR, "h")


def _two(left: int, large: int, large_name: str, small: int, small_name: str) -> str:
    rest = left % large // small
    return f"{left // large} {large_name}" + (f" {rest} {small_name}" if rest else "")


def amount(size: float) -> str:
    """A number of bytes in its largest unit: "512 B", "1.5 kB", "20 GB"."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5 or unit == "TB":
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError(size)


def columns_of(text: str) -> int:
    """How many columns a clean text takes on a terminal."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width  # noqa: PLC0415 - most text is ASCII

    return sum(0 if combining(one) else 2 if east_asian_width(one) in "WF" else 1 for one in text)


def fit(text: str, width: int | None) -> str:
    """The text, cut to `width` columns with "..." where it is longer."""
    if width is None or columns_of(text) <= width:
        return text
    room, kept = max(width - 3, 0), 0
    for end, one in enumerate(text):
        kept += columns_of(one)
        if kept > room:
            return text[:end] + "..."[: max(width, 0)]
    return text


def sizes(rows: Sequence[Sequence[str]], width: int | None, names: Sequence[int]) -> list[int]:
    """The columns of each cell of a table but the last; `names` give way to that one where the page is narrow."""
    found = [max(columns_of(row[place]) for row in rows) for place in range(len(rows[0]) - 1)]
    while width is not None and sum(found) + 2 * len(found) + max(LAST, width // 3) > width:
        widest = max(names, key=lambda place: found[place])
        if found[widest] <= LEAST:
            break
        found[widest] -= 1
    return found


def cells(row: Sequence[str], found: Sequence[int], width: int | None) -> str:
    """A table's row; where nobody looks at columns each cell stays whole."""
    *first, last = row
    cut = [pad(cell if width is None else fit(cell, size), size) for cell, size in zip(first, found, strict=True)]
    return "  ".join([*cut, last]).rstrip()


def pad(text: str, width: int) -> str:
    """The text, filled with blanks to `width` columns."""
    return text + " " * (width - columns_of(text))


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number with its noun: "1 job", "3 jobs"."""
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"
