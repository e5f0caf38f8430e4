"""All agents there are and were, and what a supervisor must find of them: the rooms below attempts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import anyio
import pytest
import structlog

from tidegate import attempt, handover, supervisor
from tidegate.errors import NotLaunched
from tidegate.launch import Order
from tidegate.model import Exit, Limit, Result, SessionGone, SessionSeen, Sighting, Stream
from timeless.loop import Time

LAUNCH = 0.002  # seconds that a launch takes, half of them before the agent runs
READ = 0.04  # seconds until a line is read
YOUNG = 0.05  # seconds in which nobody looks


class Cut(BaseException):
    """Raised where a supervisor was killed."""


@dataclass(slots=True, eq=False)
class Process:
    """An agent under its shim: what it has printed and how it ended."""

    job: int
    n: int
    born: datetime
    resumes: str | None
    stubborn: bool
    lines: list[Any] = field(default_factory=list)  # what its reader reads
    alive: bool = True
    code: int | None = None
    frozen: bool = False
    termed: bool = False
    wakes: list[Callable[[], None]] = field(default_factory=list)

    def wake(self) -> None:
        for one in list(self.wakes):
            one()

    def print(self, *lines: Any) -> None:
        self.lines.extend(lines)
        self.wake()

    def exit(self, code: int | None) -> None:
        if self.alive:
            self.alive, self.code, self.frozen = False, code, False
            self.wake()

    def said(self, kind: type[Sighting]) -> list[Any]:
        return [one for one in self.lines if isinstance(one, kind)]

    @property
    def limits(self) -> list[Limit]:
        return self.said(Limit)

    @property
    def session(self) -> str | None:
        told = self.said(SessionSeen)
        return told[-1].session if told else self.resumes

    @property
    def verdict(self) -> set[str]:
        """What its end can be where tidegate did not end it."""
        if self.code is None:
            return {"lost"}
        limits, results = self.said(Limit), self.said(Result)
        if self.code == 0 and results and results[-1].ok:
            return {"succeeded"}
        if any(one.sure and one.final for one in limits):
            return {"limited"}
        if self.said(SessionGone) and self.resumes:
            return {"interrupted"}
        if any(not one.sure or not one.final for one in limits):
            return {"limited", "failed"}
        return {"failed"}


class Child:
    """What a supervisor has of an agent."""

    shortage = None

    def __init__(self, process: Process, ground: Ground, *, ours: bool = False) -> None:
        self._process = process
        self._ground = ground
        self._ours = ours

    def _live(self) -> None:
        """The dead do nothing to anybody."""
        if self._ground.deaf:
            raise Cut

    async def ends_before(self, other: asyncio.Future[None]) -> bool:
        if self._ours:
            other.add_done_callback(lambda _: self._process.wake())
            await _until(self._process, lambda: not self._process.alive or other.done())
        return self._ours and not self._process.alive

    async def wait(self) -> Exit:
        await _until(self._process, lambda: not self._process.alive)
        return Exit(self._process.code)

    async def end(self, grace: float) -> None:
        self._live()
        one = self._process
        if one.alive:
            one.termed, one.frozen = True, False
            if one.stubborn:
                await anyio.sleep(grace)
            one.exit(137 if one.stubborn else 143)

    async def freeze(self) -> None:
        self._live()
        self._process.frozen = self._process.alive

    async def thaw(self) -> None:
        self._live()
        self._process.frozen = False

    async def sweep(self, _: float) -> None:
        await asyncio.sleep(0)

    def let_go(self) -> None: ...

    @property
    def is_gone(self) -> bool:
        return not self._process.alive

    def wake(self) -> None: ...

    def cpu(self) -> float:
        return 0.0


async def _until(process: Process, fact: Callable[[], bool]) -> None:
    loop = asyncio.get_running_loop()
    while not fact():
        woken = loop.create_future()

        def wake(woken: asyncio.Future[None] = woken) -> None:
            if not woken.done():
                woken.set_result(None)

        process.wakes.append(wake)
        try:
            await woken
        finally:
            process.wakes.remove(wake)


class Following:
    """Gives what an agent prints, a moment later."""

    def __init__(self, process: Process, read: Any, time: Time) -> None:
        self._process, self._read, self._time = process, read, time
        self._at, self._is_finishing = 0, False
        self.last_output = time.monotonic()
        self.unread = 0

    @property
    def youth(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        grown: asyncio.Future[None] = loop.create_future()
        loop.call_later(YOUNG, _come, grown)
        return grown

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def __aiter__(self) -> Following:
        return self

    async def __anext__(self) -> list[Sighting]:
        await _until(self._process, lambda: self._is_finishing or len(self._process.lines) > self._at)
        if not self._is_finishing:
            await asyncio.sleep(READ)
        if self._at == len(self._process.lines):
            raise StopAsyncIteration
        lines = self._process.lines[self._at :]
        self._at, self.last_output = len(self._process.lines), self._time.monotonic()
        return [one for line in lines for one in self._read(Stream.STDOUT, line, self._time.now())]

    def measure(self) -> None: ...

    def skip(self, _: int) -> int:
        return 0

    def finish(self, late: Callable[[], None] | None = None) -> None:
        self._is_finishing = True
        self._process.wake()


def _come(one: asyncio.Future[None]) -> None:
    if not one.done():
        one.set_result(None)


@dataclass(slots=True)
class Ground:
    """All agents there are and were, and what a supervisor must find of them: the rooms below attempts."""

    time: Time
    asked: Callable[[int, int, str | None], None]  # told of each launch, before it
    born: Callable[[Process], None]  # and of each agent
    processes: dict[str, Process] = field(default_factory=dict)
    left: dict[str, Any] = field(default_factory=dict)
    trouble: list[type[NotLaunched]] = field(default_factory=list)  # of the next launches
    stubborn: bool = False
    deaf: bool = False  # to a supervisor that is being killed
    errors: list[str] = field(default_factory=list)

    @property
    def alive(self) -> list[Process]:
        return [one for one in self.processes.values() if one.alive]

    # --- launch ---

    async def launch(self, order: Order, directory: Path, intent: Mapping[str, object]) -> Child:
        assert str(directory) not in self.processes, "a directory has seen a launch before"
        if self.deaf:
            raise Cut
        job, n = int(str(intent["job"])), int(str(intent["attempt"]))
        session = str(intent["session"]) if intent["resumes"] else None
        self.asked(job, n, session)
        await asyncio.sleep(LAUNCH / 2)
        if self.trouble:
            raise self.trouble.pop()("the machine has no room")
        made = Process(job, n, self.time.now(), session, self.stubborn)
        self.processes[str(directory)] = made
        self.left[f"{directory}/intent"] = dict(intent)
        self.born(made)
        await asyncio.sleep(LAUNCH / 2)
        return Child(made, self, ours=True)

    def was_started(self, directory: Path) -> bool:
        return str(directory) in self.processes

    async def is_whole(self, directory: Path) -> bool:
        await asyncio.sleep(0)
        return self.was_started(directory)

    async def put_down(self, directory: Path, marker: str) -> int:
        await asyncio.sleep(0)
        return 0

    async def adopt(self, directory: Path) -> Child:
        await asyncio.sleep(0)
        return Child(self.processes[str(directory)], self)

    # --- watch ---

    async def turn(self) -> None:
        await asyncio.sleep(0)

    def follow(self, directory: Path, read: Any, *, sized: Any) -> Following:
        return Following(self.processes[str(directory)], read, self.time)

    # --- handover ---

    def leave(self, path: Path, facts: Mapping[str, object]) -> None:
        if str(path.parent) in self.processes and not self.deaf:
            self.left[str(path)] = dict(facts)

    def find(self, path: Path) -> object:
        return self.left.get(str(path))

    def intent_of(self, directory: Path) -> Mapping[str, object]:
        found: Mapping[str, object] = self.left.get(f"{directory}/intent", {})
        return found


@contextmanager
def stood_on(ground: Ground) -> Iterator[None]:
    """Supervisors stand on this ground, and what they log as broken is an error."""

    def hear(_: object, name: str, event: dict[str, Any]) -> Any:
        if name in ("error", "exception", "critical"):
            ground.errors.append(f"{event}")
        raise structlog.DropEvent

    with pytest.MonkeyPatch.context() as patch, structlog_as([hear]):
        for room in (attempt, supervisor):
            patch.setattr(room, "launch", ground)
        patch.setattr(handover, "_leave", ground.leave)
        patch.setattr(handover, "_left", ground.find)
        yield


@contextmanager
def structlog_as(processors: Iterable[Any]) -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(processors=list(processors))
    try:
        yield
    finally:
        structlog.configure(**before)
