"""Supervisors that are killed on a machine without time.

A supervisor lives on a loop of its own. To kill it is to run that loop no more: what it had asked the store for and was
not on the disk is undone, what was on the disk stays, and its agents live on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, cast

from msgspec.structs import replace
from stores.world import incarnation
from timeless.asking import DISK, Ask
from timeless.ground import Cut, Ground
from timeless.loop import Loop

from tidegate.agents import Command
from tidegate.attempt import Means
from tidegate.errors import StoreBlocked
from tidegate.model import (
    NOT_DRAWN,
    Exit,
    Origin,
    Request,
    Sighting,
    Spec,
    Stream,
    Variables,
)
from tidegate.model import Ask as Verb
from tidegate.policy import Rules
from tidegate.stores import Busy, Turn
from tidegate.stores.memory import MemoryStore
from tidegate.supervisor import Post, Supervisor
from tidegate.watch import Watcher

# --- a store that can be cut off in the middle of a commit ---


class _OpenTurn:
    """Calls that are made and not yet on the disk."""

    def __init__(self, store: Disk) -> None:
        self._store = store
        self._written = store._looks._written
        self._open: AbstractContextManager[None] = store.group()
        self._open.__enter__()
        store.turn_open = self

    def take(self) -> None: ...

    def wrote(self) -> bool:
        return len(self._written) > 0

    def close(self) -> None:
        if self._store.is_full and self.wrote():
            self.cut()
            raise StoreBlocked("the disk is full")
        self._store.turn_open = None
        self._open.__exit__(None, None, None)

    def cut(self) -> None:
        """The power goes: none of it happened."""
        self._store.turn_open = None
        with contextlib.suppress(Cut):
            self._open.__exit__(Cut, Cut(), None)


class Disk(MemoryStore):
    """The store that outlives its supervisors; it tells, as a file does, when it was written."""

    def __init__(self) -> None:
        super().__init__()
        self.turn_open: _OpenTurn | None = None
        self.is_full = False
        self._reads_only = False
        self._looks._put = self._writing(self._looks._put)  # type: ignore[method-assign]

    def _writing(self, put: Callable[..., None]) -> Callable[..., None]:
        def checked(*args: Any, **more: Any) -> None:
            if self._reads_only:
                raise Busy
            put(*args, **more)

        return checked

    def version(self) -> int:
        return self.last_seq()

    def turn(self) -> Turn:
        return _OpenTurn(self)

    def reading(self) -> Turn:
        self._reads_only = True
        return self._Reading(self)

    class _Reading:
        def __init__(self, disk: Disk) -> None:
            self._disk = disk

        def take(self) -> None: ...

        def wrote(self) -> bool:
            return False

        def close(self) -> None:
            self._disk._reads_only = False


class Torn(Ask):
    """A writer that can be cut off."""

    _is_cut = False

    def _send(self, errand: Callable[[], None], then: Callable[[BaseException | None], None]) -> None:
        def live() -> None:
            if self._is_cut:
                raise Cut
            errand()

        super()._send(live, lambda error: then(Cut() if self._is_cut else error))

    def _ask(self, call: Any) -> asyncio.Future[Any]:
        if self._is_cut:
            raise Cut
        return super()._ask(call)

    def cut(self) -> None:
        """Nothing that is asked for is made any more."""
        self._is_cut = True
        self.hurry()
        for call in self._asked:
            call.do = _gone


def _gone() -> None:
    raise Cut


# --- agents ---


class Scripted:
    """The agent of all jobs, and its own reader: its lines are what they say."""

    name, has_limits, proof = "claude", True, True
    programs: tuple[str, ...] = ()
    variables = Variables()
    last_words, drawn = "", NOT_DRAWN

    def command(self, spec: Spec, *, session: str | None, new_session: str) -> Command:
        return Command(argv=("agent", session or ""), session=session, resumes=session is not None)

    def reader(self, zone: tzinfo) -> Any:
        return self

    def aside(self, session: str, environment: Mapping[str, str]) -> tuple[Sighting, ...]:
        return ()

    def read(self, stream: Stream, line: Any, at: datetime) -> tuple[Sighting, ...]:
        return (line,)

    def end(self, exit: Exit, at: datetime) -> tuple[Sighting, ...]:
        return ()


# --- one life of a supervisor ---


class Life:
    """One incarnation, from its start to its end or its death."""

    def __init__(self, ground: Ground, disk: Disk, uuid: str, *, slots: int, rules: Rules, grace: float) -> None:
        self.uuid = uuid
        self.loop = Loop(ground.time)
        self.loop.set_exception_handler(lambda *_: None)
        self._ground, self._disk = ground, disk
        self._ask = Torn(disk, self.loop)
        self._me = incarnation(uuid)
        means = Means(clock=ground.time, watcher=cast("Watcher", ground), environment={}, grace=grace)
        self._post = Post(
            store=disk,
            ask=self._ask,
            me=replace(self._me, started_at=ground.time.now()),
            clock=ground.time,
            means=means,
            rules=rules,
            slots=slots,
            directory=lambda job, n: Path(f"/attempts/{job}/{n}"),
            pick=lambda _: Scripted(),
            is_over=self._is_over,
            heed=self._heed,
        )
        self._main = self.loop.create_task(self._live())

    async def _live(self) -> None:
        store, now = self._disk, self._ground.time.now()
        self.supervisor = Supervisor(self._post)
        with contextlib.suppress(StoreBlocked):  # a start says so and ends; an end says nothing
            await self._ask(store.enter, self._post.me)
            await self._ask(store.lift, "host:here", now, by="start", origins=(Origin.HOST,))
            self._ask.endure()
            await self.supervisor.run()
            self._ask.hurry()
            await self._ask(store.leave, self.uuid, self._ground.time.now())

    async def _is_over(self) -> bool:
        return False

    async def _heed(self, request: Request) -> None:
        refused = "of another incarnation" if request.at < self._post.me.started_at else ""
        await self._ask(self._disk.answered, request.id, self._ground.time.now(), refused=refused)
        if request.verb is Verb.DRAIN and not refused:
            self.supervisor.drain()

    @property
    def is_over(self) -> bool:
        return self._main.done()

    def do(self, what: Callable[[Supervisor], Awaitable[object]]) -> None:
        """Somebody in the same process asks for something."""

        async def later() -> None:
            while not hasattr(self, "supervisor"):
                await asyncio.sleep(DISK)
            await what(self.supervisor)

        self._errand = self.loop.create_task(later())

    def end(self) -> None:
        """It has ended by itself; raises what it met."""
        self.kill()
        self._main.result()

    def kill(self) -> None:
        """Nothing of it happens any more, and what was not on the disk did not happen."""
        time, self._ground.deaf = self._ground.time.at, True
        if self._disk.turn_open is not None:
            self._disk.turn_open.cut()
        self._ask.cut()
        self.loop.turns(4)  # what was begun and not yet awaited meets its end by itself
        while tasks := asyncio.all_tasks(self.loop):
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=1))
        self.loop.close()
        self._ground.time.at, self._ground.deaf = time, False
