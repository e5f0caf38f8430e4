"""Ends every agent that a supervisor left running, and records it."""

from __future__ import annotations

import os
from contextlib import closing
from functools import partial
from pathlib import Path

import anyio
import structlog

from tidegate import agents, daemon, handover, launch, logs, places, settings, systemd
from tidegate.daemon import Duty, Shift, on_duty, owning
from tidegate.errors import BadInput, NotLaunched
from tidegate.model import Interrupted
from tidegate.settings import Settings
from tidegate.stores import sqlite

log = structlog.get_logger()

LATE = 20.0  # seconds that all of it may take beyond the grace of the agents
WHY = "the service was stopped"


def end_all(state: Path, config: str | None) -> None:
    """End what runs, each attempt whole, and record it as interrupted.

    Takes `supervisor.grace` and some seconds at most. Raises AlreadyRunning where a supervisor works, StoreBroken after
    all has been ended unrecorded.
    """
    said = _settings(config)
    logs.set_up(level=said.log.level, form=said.log.format)
    if places.attempts(state).is_dir():
        with owning(state):
            _end_all(state, said)


def _settings(config: str | None) -> Settings:
    """The settings in force; a bad configuration is no reason to leave agents behind."""
    try:
        return settings.load(config, os.environ, []).settings
    except BadInput:
        return Settings()


def _end_all(state: Path, said: Settings) -> None:
    bound = said.supervisor.grace + LATE
    systemd.manager(os.environ, os.getpid()).tell(f"EXTEND_TIMEOUT_USEC={int(2 * bound * 1e6)}")
    try:
        with closing(sqlite.open(places.database(state))) as store:
            known = agents.known(settings.agents(said))
            anyio.run(partial(_end_recorded, daemon.shift_for(said, known, state, store), bound))
    finally:  # a broken store is no reason to leave agents behind
        anyio.run(_end_the_rest, state, said.supervisor.grace)


async def _end_recorded(shift: Shift, bound: float) -> None:
    """Adopt what runs and stop it at once: output, usage and outcome are recorded as at any other end."""
    daemon.make_room(shift, slots=0)
    async with on_duty(shift, None, _at_once) as duty:
        with anyio.move_on_after(bound):
            await duty.supervisor.stop(WHY)
            await duty.supervisor.run()


async def _at_once(_duty: Duty) -> bool:
    return True


async def _end_the_rest(state: Path, grace: float) -> None:
    """End what runs though it could not be recorded; the next start finds in its directory what became of it."""
    alive = [place for place in places.attempts(state).glob("*/*") if isinstance(launch.found(place), launch.Alive)]
    async with anyio.create_task_group() as ending:
        for place in alive:
            log.warning("ending an unrecorded attempt", directory=str(place))
            ending.start_soon(_end_one, place, grace)


async def _end_one(place: Path, grace: float) -> None:
    try:
        child = await launch.adopt(place)
    except NotLaunched:  # its agent has spoilt the files that tell who it is
        if marker := launch.intent_of(place).get("marker"):
            await launch.put_down(place, str(marker))
        return
    handover.write_asked(place, Interrupted(reason=WHY))
    await child.end(grace)
    child.let_go()
