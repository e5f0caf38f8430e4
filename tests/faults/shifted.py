"""Runs tidegate by a clock that is ahead by as many seconds as the file in $SHIFT says, at any moment.

The machine's own wall clock cannot be set for some processes alone. What reads it is one room of tidegate; the times of
files, which the kernel writes by the same clock, are moved with it. A machine that was suspended looks the same from
inside: the clock has gone on, monotonic time has not.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from tidegate import __main__ as program
from tidegate.clock import SystemClock
from tidegate.watch import _Tail

SHIFT = Path(os.environ["SHIFT"])
own_now, own_size = SystemClock.now, _Tail._size


def shift() -> float:
    return float(SHIFT.read_text() or 0)


def now(clock: SystemClock) -> datetime:
    return own_now(clock) + timedelta(seconds=shift())


def size(tail: _Tail) -> int:
    found = own_size(tail)
    tail.printed += shift()
    return found


SystemClock.now = now  # type: ignore[method-assign, assignment]
_Tail._size = size  # type: ignore[method-assign, assignment]
program.main()
