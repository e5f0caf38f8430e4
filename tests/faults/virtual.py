"""A machine without time: a loop that jumps from one timer to the next, and agents that do what they are told.

A supervisor lives on a loop of its own. To kill it is to run that loop no more: what it had asked the store for and was
not on the disk is undone, what was on the disk stays, and its agents live on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self, cast

import anyio
import pytest
import structlog
from msgspec.structs import replace
from stores.world import incarnation

from tidegate import attempt, handover, supervisor
from tidegate.agents import Command
from tidegate.attempt import Means
from tidegate.clock import SystemClock
from tidegate.errors import NotLaunched, StoreBlocked
from tidegate.launch import Order
from tidegate.model import Ask as Verb
from tidegate.model import (
    Exit,
    Limit,
    Origin,
    Request,
    Result,
    SessionGone,
    SessionSeen,
    Sighting,
    Spec,
    Stream,
    Variables,
)
from tidegate.policy import Rules
from tidegate.stores import Busy, Turn
from tidegate.stores.memory import MemoryStore
from tidegate.stores.writer import Writer, _error_of
from tidegate.supervisor import Post, Supervisor
from tidegate.watch import Watcher

DISK = 0.0008  # seconds that a commit takes
LAUNCH = 0.002  # seconds that a launch takes, half of them before the agent runs
READ = 0.04  # seconds until a line is read


class Time(SystemClock):
    """The wall's clock and the loop's, which stands still while the machine sleeps."""

    def __init__(self, start: datetime) -> None:
        self.at = 0.0
        self._start = start

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.at)

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        """The machine is suspended."""
        self._start += timedelta(seconds=seconds)


class _Selector:
    """Waits for nothing but time, and that passes at once."""

    def __init__(self, time: Time) -> None:
        self._time = time

    def select(self, timeout: float | None) -> list[object]:
        assert timeout is not None, "nobody wakes this loop any more"
        self._time.at += max(timeout, 0.0)
        return []

    def close(self) -> None: ...

    def get_map(self) -> dict[int, object]:
        return {}


class Loop(asyncio.SelectorEventLoop):
    """A loop in the time of a Time."""

    def __init__(self, time: Time) -> None:
        self._at = time
        super().__init__(_Selector(time))  # type: ignore[arg-type]

    def _make_self_pipe(self) -> None: ...

    def _close_self_pipe(self) -> None: ...

    def _write_to_self(self) -> None: ...

    def time(self) -> float:
        return self._at.at

    def create_task(self, coro: Any, **more: Any) -> asyncio.Task[Any]:
        """A task that is cancelled before its first step leaves no coroutine behind that nobody awaits."""
        task: asyncio.Task[Any] = super().create_task(coro, **more)
        inner = getattr(coro.cr_frame.f_locals.get("self"), "_coro", None)  # of an anyio task
        if inner is not None:
            task.add_done_callback(lambda _: inner.close())
        return task

    def turns(self, number: int) -> None:
        """So many turns and no more."""
        for _ in range(number):
            self.call_soon(self.stop)
            self.run_forever()

    def pass_time(self, seconds: float) -> None:
        """All that happens within so many seconds."""
        self.call_at(self.time() + seconds, self.stop)
        self.run_forever()


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


class Cut(BaseException):
    """Raised where a supervisor was killed."""


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


class Ask(Writer):
    """The writer with a disk that takes its time on the loop instead of in a thread."""

    def __init__(self, store: Disk, loop: Loop) -> None:
        super().__init__(store)
        self._loop = loop
        self._is_cut = False

    def _send(self, errand: Callable[[], None], then: Callable[[BaseException | None], None]) -> None:
        def done() -> None:
            error = Cut() if self._is_cut else _error_of(errand)
            self._loop.call_later(DISK / 2, lambda: then(Cut() if self._is_cut else error))

        self._loop.call_later(DISK / 2, done)

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


@dataclass(slots=True, eq=False)
class Process:
    """An agent under its shim: what it has printed and how it ended."""

    job: int
    n: int
    born: datetime
    resumes: str | None
    stubborn: bool
    lines: list[Sighting] = field(default_factory=list)
    alive: bool = True
    code: int | None = None
    frozen: bool = False
    termed: bool = False
    wakes: list[Callable[[], None]] = field(default_factory=list)

    def wake(self) -> None:
        for one in list(self.wakes):
            one()

    def print(self, sighting: Sighting) -> None:
        self.lines.append(sighting)
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

    def __init__(self, process: Process, ground: Ground) -> None:
        self._process = process
        self._ground = ground

    def _live(self) -> None:
        """The dead do nothing to anybody."""
        if self._ground.deaf:
            raise Cut

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

    def finish(self, late: Callable[[], None]) -> None:
        self._is_finishing = True
        self._process.wake()


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
        job, n, session = int(str(intent["job"])), int(str(intent["attempt"])), order.argv[1] or None
        self.asked(job, n, session)
        await asyncio.sleep(LAUNCH / 2)
        if self.trouble:
            raise self.trouble.pop()("the machine has no room")
        made = Process(job, n, self.time.now(), session, self.stubborn)
        self.processes[str(directory)] = made
        self.left[f"{directory}/intent"] = dict(intent)
        self.born(made)
        await asyncio.sleep(LAUNCH / 2)
        return Child(made, self)

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


class Scripted:
    """The agent of all jobs, and its own reader: its lines are what they say."""

    name, has_limits, proof = "claude", True, True
    programs: tuple[str, ...] = ()
    variables = Variables()
    last_words = ""

    def command(self, spec: Spec, *, session: str | None, new_session: str) -> Command:
        return Command(argv=("agent", session or ""), session=session, resumes=session is not None)

    def reader(self, zone: tzinfo) -> Any:
        return self

    def read(self, stream: Stream, line: Any, at: datetime) -> tuple[Sighting, ...]:
        return (line,)

    def end(self, exit: Exit, at: datetime) -> tuple[Sighting, ...]:
        return ()


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


# --- one life of a supervisor ---


class Life:
    """One incarnation, from its start to its end or its death."""

    def __init__(self, ground: Ground, disk: Disk, uuid: str, *, slots: int, rules: Rules, grace: float) -> None:
        self.uuid = uuid
        self.loop = Loop(ground.time)
        self.loop.set_exception_handler(lambda *_: None)
        self._ground, self._disk = ground, disk
        self._ask = Ask(disk, self.loop)
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
