"""The only room that reads the time."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from anyio import CancelScope

# Loop timers stand still while the machine is suspended, so a wait towards a wall-clock time looks again this often.
LOOK_AGAIN = 30.0


class Clock(Protocol):
    """Port: wall-clock time, a monotonic time, and waits towards an instant."""

    def now(self) -> datetime:
        """The present instant, aware UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back; stands still while the machine is suspended."""

    def move_on_at(self, when: datetime | None) -> CancelScope:
        """A scope that is left at `when`, or after LOOK_AGAIN seconds, whichever is first."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The present instant, aware UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds of CLOCK_MONOTONIC."""
        return time.monotonic()

    def move_on_at(self, when: datetime | None) -> CancelScope:
        """A scope that is left at `when`, or after LOOK_AGAIN seconds, whichever is first."""
        import anyio  # noqa: PLC0415 - doors read the time without paying for a loop

        wait = LOOK_AGAIN if when is None else (when - self.now()).total_seconds()
        return anyio.move_on_after(min(max(wait, 0.0), LOOK_AGAIN))


def zone(name: str | None = None) -> tzinfo:
    """The zone that a program prints clock times in: of its TZ where that is a zone's name, else this machine's."""
    return _zone(name, os.environ.get("TZ"), _localtime())


@cache
def _zone(*names: str | None) -> tzinfo:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - not every door prints a time

    for candidate in names:
        if candidate:
            try:
                return ZoneInfo(candidate.removeprefix(":"))
            except (ValueError, KeyError, OSError):  # not a zone's name; ZoneInfoNotFoundError is a KeyError
                continue
    return datetime.now(UTC).astimezone().tzinfo or UTC


@cache
def _localtime() -> str:
    """The name behind /etc/localtime, "" where it is no link into the zone data."""
    target = os.path.realpath("/etc/localtime")
    return target.partition("/zoneinfo/")[2]
