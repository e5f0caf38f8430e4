"""Follows a batch that another process works on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import structlog

from tidegate import signals
from tidegate.gate import Gate
from tidegate.look.who import Works, works
from tidegate.model import Account, Batch, Event, State
from tidegate.narrate import Narrator
from tidegate.over import View
from tidegate.stores.writer import Writer

if TYPE_CHECKING:
    from tidegate.daemon import Shift
    from tidegate.stores import Store

log = structlog.get_logger()

AGAIN = 0.1  # seconds between two looks at whether the store has changed
WHO = 10  # such looks between two looks at who works
ENTERS = 5.0  # seconds that a process which owns the state directory gets to enter the store
LEAVING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def is_served(shift: Shift) -> bool:
    """Whether a process works on all batches of a state directory; waits a moment for one that is starting."""
    for _ in range(round(ENTERS / AGAIN)):
        found = _works(shift)
        if found.pid is None or found.known is not None:
            return _serves(found)
        time.sleep(AGAIN)
    return False


def pid_of(shift: Shift) -> str:
    """The process that serves, in words."""
    found = _works(shift)
    return str(found.pid) if _serves(found) else "none just now"


def _works(shift: Shift) -> Works:
    return works(shift.state, shift.store.supervisors(), os.uname().nodename)


def _serves(found: Works) -> bool:
    return found.known is not None and found.known.batch is None


@dataclass(slots=True, kw_only=True)
class Following:
    """A batch under way elsewhere: `ended_by` is the signal that ended the following of it."""

    shift: Shift
    view: View
    narrator: Narrator
    ended_by: signal.Signals | None = None
    _served: bool = True
    _version: int = field(default=-1)

    async def until(self, over: Callable[[View], Awaitable[bool]]) -> None:
        """Tell what happens until the batch is over, or a signal asks to leave it."""
        looks = 0
        with signals.arriving() as arrivals:
            while not await self._is_over(over):
                signals.settled(arrivals)
                number = signals.take()
                if number in LEAVING:
                    self.ended_by = number
                    return
                if number is signal.SIGTSTP:
                    os.kill(os.getpid(), signal.SIGSTOP)
                if (looks := looks + 1) % WHO == 0:
                    self._see_who_works()
                with anyio.move_on_after(AGAIN):
                    await anyio.wait_readable(arrivals)

    async def _is_over(self, over: Callable[[View], Awaitable[bool]]) -> bool:
        """Look where something has changed; nothing that runs is over, nor what has changed during the look."""
        version = await self.view.ask(self.view.store.version)
        if version == self._version:
            return False
        self._version = version
        await self.narrator.catch_up()
        counts = await self.view.ask(self.view.store.counts, self.view.batch)
        if counts.get(State.RUNNING) or not await over(self.view):
            return False
        return version == await self.view.ask(self.view.store.version)  # else a claim may have come between the reads

    def _see_who_works(self) -> None:
        served = _serves(found := _works(self.shift))
        if served != self._served:
            self._served = served
            if served:
                log.info("worked on again", pid=found.pid)
            else:
                log.warning("nobody works on it", goes_on="when `tidegate serve` is back")


@asynccontextmanager
async def following(
    shift: Shift, batch: Batch, accounts: Sequence[Account], after: int, only: Sequence[str] = ()
) -> AsyncIterator[Following]:
    """Follow a batch, or `only` a part of it, telling what has happened to it since the event `after`."""
    gate = Gate(os.uname().nodename)
    async with Writer(shift.store) as ask:

        async def see_holds() -> None:
            gate.told(await ask(shift.store.holds))

        view = View(
            store=shift.store,
            ask=ask,
            clock=shift.clock,
            host=os.uname().nodename,
            batch=batch.id,
            gate=gate,
            see_holds=see_holds,
            only=only,
        )
        mine = Mine(view, {"*", f"host:{view.host}", f"batch:{batch.name}", *(one.name for one in accounts)})
        narrator = Narrator(shift.store, ask, after, _nobody, mine.of)
        yield Following(shift=shift, view=view, narrator=narrator)
        await narrator.catch_up()


class Mine:
    """Knows which events are about a batch: those of its jobs, and those of the scopes that bind them."""

    def __init__(self, view: View, scopes: Collection[str]) -> None:
        self._view = view
        self._scopes = scopes

    async def of(self, events: Sequence[Event]) -> list[Event]:
        """The events that are about the batch."""
        jobs = {event.job for event in events if event.job is not None}
        ours = await self._view.ask(_of_batch, self._view.store, jobs, self._view.batch)
        return [event for event in events if event.job in ours or self._binds(event.scope)]

    def _binds(self, scope: str | None) -> bool:
        return scope is not None and (scope in self._scopes or scope.partition("/")[0] in self._scopes)


def _of_batch(store: Store, jobs: Collection[int], batch: int) -> set[int]:
    found = ((id, store.job(id)) for id in jobs)
    return {id for id, job in found if job is not None and job.batch == batch}


def _nobody(_event: Event) -> None:
    """The service tells people elsewhere."""
