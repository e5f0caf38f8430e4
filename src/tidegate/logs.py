"""Sends every event of the program to stderr: as lines for a person on a terminal, as JSON elsewhere.

Loggers of the standard library go through the same chain. No value can forge a line, no token is printed, and a
terminal that is gone is no error: it must not end the supervisor that drains because of it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor

from tidegate.clock import SystemClock, zone
from tidegate.look.words import Page, clean, fit, pad
from tidegate.redact import redacted

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # syslog's, as sd-daemon(3) has them
SIGNS = {"debug": "·", "warning": "!", "error": "!!", "critical": "!!"}
COLOURS = {"debug": "dim", "info": "bold", "warning": "yellow", "error": "red", "critical": "red"}
FIRST = ("at", "level", "event")  # the keys that every event has; the rest are its facts
LEADING = ("job", "attempt", "scope")  # facts that a person looks for first
QUOTED = ("evidence", "reason", "error", "detail")  # other people's words: long, so they come last
PLAIN = re.compile(r"[^\s\"'=\\]+")  # what needs no quotes
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)", re.ASCII)
EVENT_WIDTH = 17  # columns; most names are shorter
VALUE_MOST = 400  # columns of one value for a person


def set_up(*, level: str = "info", form: str = "auto", stream: TextIO | None = None) -> None:
    """Make every logger write to `stream` (stderr); `level` is the least that is told.

    `form` is "console", "json", or "auto": console on a terminal, JSON elsewhere. Under journald each line begins with
    its priority, "<4>", which the journal takes off.
    """
    out = sys.stderr if stream is None else stream
    journal = _is_journal(out)
    person = form == "console" or (form == "auto" and out.isatty() and not journal)
    last = Console(zone(), colour=_has_colour(out)) if person else as_json
    chain: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _add_time,
        structlog.processors.format_exc_info,
        _without_secrets,
        last,
        *([_with_priority] if journal else []),
    ]
    sink = Sink(out)
    structlog.configure(
        processors=chain,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,  # a later call reaches loggers that are in use
    )
    _bridge(chain, sink, LEVELS[level])


def _add_time(_logger: object, _method: str, event: EventDict) -> EventDict:
    event["at"] = SystemClock().now()
    return event


def _without_secrets(_logger: object, _method: str, event: EventDict) -> EventDict:
    return {key: _bare(value) for key, value in event.items()}


def _bare(value: object) -> object:
    """A value made of what JSON and a person's line can hold, without secrets."""
    match value:
        case str():  # first: most are
            return redacted(value)
        case None | bool() | int() | float() | datetime():
            return value
        case Mapping():
            return {redacted(str(key)): _bare(one) for key, one in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_bare(one) for one in value]
        case _:
            return redacted(str(value))


# --- as JSON ---


def as_json(_logger: object, _method: str, event: EventDict) -> str:
    """An event as one line of JSON, in ASCII; instants are ISO 8601 in UTC."""
    first = {key: event.pop(key) for key in FIRST if key in event}
    return _JSON({**first, **event})


def _plain(value: object) -> str:
    assert isinstance(value, datetime)
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_JSON = json.JSONEncoder(default=_plain).encode


# --- for a person ---


@dataclass(frozen=True, slots=True)
class Console:
    """Events as lines for a person: the local time, the event, then its facts; other people's words in quotes."""

    zone: tzinfo
    colour: bool = False

    def __call__(self, _logger: object, method: str, event: EventDict) -> str:
        """An event as one line, followed by the lines of its traceback if it has one, indented."""
        page = Page(now=event.pop("at"), zone=self.zone, colour=self.colour)
        level, traceback = event.pop("level", method), event.pop("exception", "")
        sign = page.paint(pad(SIGNS.get(level, ""), 2), COLOURS.get(level, ""))
        name = clean(str(event.pop("event", "")))
        name = page.paint(name, COLOURS.get(level, "bold")) + " " * (EVENT_WIDTH - len(name))
        facts = (f"{page.paint(f'{clean(key)}=', 'dim')}{_shown(key, value, page)}" for key, value in _in_order(event))
        line = " ".join([page.at(page.now), sign, name, *facts]).rstrip()
        return "\n".join([line, *(f"    {clean(one)}" for one in traceback.splitlines())])


def _in_order(facts: EventDict) -> list[tuple[str, object]]:
    leading = [(key, facts[key]) for key in LEADING if key in facts]
    trailing = [(key, facts[key]) for key in QUOTED if key in facts]
    return [*leading, *((key, facts[key]) for key in facts if key not in {*LEADING, *QUOTED}), *trailing]


def _shown(key: str, value: object, page: Page) -> str:
    match value:
        case None:
            return "-"
        case datetime():
            return page.at(value)
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.3f}".rstrip("0").rstrip(".")
        case str() if INSTANT.fullmatch(value):
            return page.at(datetime.fromisoformat(value))
        case str():
            return _quoted(key, value)
        case dict() | list():
            return _quoted("", json.dumps(value, default=_plain, ensure_ascii=False))
        case _:
            return clean(str(value))


def _quoted(key: str, value: str) -> str:
    said = fit(clean(value), VALUE_MOST)
    if key not in QUOTED and PLAIN.fullmatch(said):
        return said
    return '"' + said.replace('"', '\\"') + '"' if key else said


def _has_colour(out: TextIO) -> bool:
    return out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


# --- for everybody ---


def _with_priority(_logger: object, method: str, line: EventDict | str) -> str:
    """Each line with its priority: the journal takes every line for an entry of its own."""
    return "\n".join(f"<{PRIORITIES.get(method, 6)}>{one}" for one in str(line).split("\n"))


def _is_journal(out: TextIO) -> bool:
    """Whether a stream is the one that systemd gave to the journal: a child's own may be another (systemd.exec(5))."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(out.fileno())
    except (OSError, ValueError):
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


class Sink:
    """Writes lines; where they cannot be written they are lost."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def msg(self, line: str) -> None:
        """Write one line, or the lines of one event."""
        with suppress(OSError, ValueError):  # the terminal hung up, the pipe's reader left, the stream is closed
            self._out.write(f"{line}\n")
            self._out.flush()

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


# --- loggers of the standard library ---


def _bridge(chain: Sequence[Processor], sink: Sink, level: int) -> None:
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, Bridge)]:
        root.removeHandler(handler)
    root.addHandler(Bridge(chain, sink))
    root.setLevel(max(level, logging.INFO))  # debug means ours: a library's would drown it


class Bridge(logging.Handler):
    """Leads the records of standard loggers through the chain."""

    def __init__(self, chain: Sequence[Processor], sink: Sink) -> None:
        super().__init__()
        self._chain = chain
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        try:
            told: EventDict = {"event": record.getMessage(), "logger": record.name, "exc_info": record.exc_info}
            line: object = told
            for step in self._chain:
                line = step(None, record.levelname.lower(), line)  # type: ignore[arg-type] # each takes what the last gave
            self._sink.msg(str(line))
        except Exception:  # noqa: BLE001 - the library's own rule: a record that cannot be told must not end the program
            self.handleError(record)
