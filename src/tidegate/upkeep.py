"""Keeps the output of ended jobs within bounds, beside a supervisor that serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import anyio
import structlog
from anyio.to_thread import run_sync

from tidegate import places
from tidegate.clock import Clock
from tidegate.errors import StoreBroken
from tidegate.leftovers import Tidied, tidy
from tidegate.retention import Keep, Swept, forgettable, sweep
from tidegate.stores import sqlite
from tidegate.stores.sqlite import SqliteStore
from tidegate.workspace.git import Task

log = structlog.get_logger()

HOUR = 3600.0  # seconds between two rounds
TURN, BREATH = 0.2, 0.3  # seconds of work, and of rest after it
PATIENCE = 60.0  # seconds for the directories of one job
SOME = 200  # jobs that are forgotten in one transaction


async def keep_within(
    bounds: Callable[[], Keep], rooms: Callable[[], tuple[Path, Mapping[str, str]]], state: Path, clock: Clock
) -> None:
    """Remove at once, and again each hour, what is beyond the bounds that are then in force; never returns.

    `rooms` tells where the directories of jobs lie, and the environment of the git that looks at them.
    """
    while True:
        try:
            _tell(await _round(bounds(), state, clock))
            await _tidy(bounds(), *rooms(), state, clock)
        except (OSError, StoreBroken) as error:
            log.warning("output not removed", error=str(error))
        await anyio.sleep(HOUR)


async def _round(keep: Keep, state: Path, clock: Clock) -> Swept:
    """Remove what need not stay, in short turns off the loop, by a connection of its own."""
    swept = Swept()
    with closing(await run_sync(sqlite.open, places.database(state))) as store:
        steps = sweep(state, store, clock.now(), keep)
        while (far := await run_sync(partial(_turn, steps, clock))) is not None:
            swept = far
            await anyio.sleep(BREATH)
        if keep.forget is not None:
            await _forget(store, clock.now(), timedelta(seconds=keep.forget))
    return swept


async def _tidy(keep: Keep, root: Path, environment: Mapping[str, str], state: Path, clock: Clock) -> None:
    """Remove the directories of jobs that have ended long ago, one after the other."""
    tidied = Tidied()
    with closing(await run_sync(sqlite.open, places.database(state))) as store:
        steps = tidy(root, store, clock.now(), keep.age, partial(Task, environment, PATIENCE, clock.monotonic))
        while (far := await run_sync(next, steps, None)) is not None:
            tidied = far
            await anyio.sleep(BREATH)
    if tidied.directories:
        log.info("directories removed", directories=tidied.directories, bytes=tidied.size, bytes_left=tidied.left)
    for one in tidied.resisted[:10]:
        log.warning("directory not removed", reason=one)


async def _forget(store: SqliteStore, now: datetime, age: timedelta) -> None:
    """Remove the jobs that ended so long ago, some at a time: others write too."""
    jobs, forgotten = await run_sync(forgettable, store, now - age), 0
    for start in range(0, len(jobs), SOME):
        forgotten += await run_sync(store.forget, jobs[start : start + SOME], now)
        await anyio.sleep(BREATH)
    events = await run_sync(store.forget_past, now - age)
    if forgotten or events:
        log.info("past forgotten", jobs=forgotten, events=events)


def _turn(steps: Iterator[Swept], clock: Clock) -> Swept | None:
    """Work for a while; how far it has got, None where nothing was left to do."""
    end, far = clock.monotonic() + TURN, None
    while clock.monotonic() < end and (step := next(steps, None)) is not None:
        far = step
    return far


def _tell(swept: Swept) -> None:
    if swept.attempts:
        log.info("output removed", jobs=swept.jobs, attempts=swept.attempts, bytes=swept.size, bytes_left=swept.left)
    for one in swept.resisted[:10]:
        log.warning("output not removed", error=one)
