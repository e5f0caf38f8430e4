"""Runs tidegate, and notes every second how late its loop was: `python lagged.py NOTES VERB ...`.

Each line of NOTES is a JSON object: `at` (epoch seconds) and, in milliseconds, how late each of the second's looks came
(`late`) and how much processor time the loop's thread took at most between two of them (`busy`), and how many
`tasks` it has: a loop that is late without being busy waited for the machine, or for the interpreter's lock.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from tidegate import watch
from tidegate.__main__ import main

EVERY = float(os.environ.get("LAGGED_EVERY", "0.01"))  # seconds between two looks


class Notes:
    """Looks at the clock as often as the loop lets it."""

    def __init__(self, path: Path) -> None:
        self._out = path.open("a", buffering=1)
        self._loop = asyncio.get_running_loop()
        self._late: list[float] = []
        self._busy = 0.0
        self._told = self._due = self._loop.time()
        self._used = time.thread_time()
        self.look()

    def look(self) -> None:
        now, used = self._loop.time(), time.thread_time()
        self._late.append(round(1000 * (now - self._due), 2))
        self._busy = max(self._busy, used - self._used)
        if now - self._told >= 1:
            told = {"at": time.time(), "late": self._late, "busy": 1000 * self._busy}
            self._out.write(json.dumps({**told, "tasks": len(asyncio.all_tasks(self._loop))}) + "\n")
            self._late, self._busy, self._told = [], 0.0, now
        self._due, self._used = now + EVERY, used
        self._loop.call_later(EVERY, self.look)


def noting(path: Path) -> None:
    """Have whatever watches in this process noted."""
    enter = watch.Watcher.__aenter__

    async def entered(self: watch.Watcher) -> watch.Watcher:
        self.notes = Notes(path)  # type: ignore[attr-defined]
        return await enter(self)

    watch.Watcher.__aenter__ = entered  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    noting(Path(sys.argv.pop(1)))
    main()
