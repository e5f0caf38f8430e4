"""The supervising process: its lock, its store, its signals, its supervisor."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

import anyio
import structlog
from anyio.to_thread import run_sync

from tidegate import capacity, doorbell, expand, headroom, lock, places, settings, signals, upgrade
from tidegate.attempt import Means
from tidegate.bell import Bell
from tidegate.clock import SystemClock
from tidegate.errors import AlreadyRunning, StoreBlocked
from tidegate.forgotten import take_up_all
from tidegate.launch import UNBOUND, Bounds
from tidegate.model import Ask, Budget, Hold, Origin, Request, Spec, State, Window
from tidegate.model import Supervisor as Incarnation
from tidegate.narrate import Narrator
from tidegate.notify import Notifier
from tidegate.stores.writer import Writer
from tidegate.supervisor import Expanding, Post, Supervisor
from tidegate.watch import Watcher
from tidegate.workspace import Workshop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidegate.agents import Agent, Known
    from tidegate.clock import Clock
    from tidegate.credentials import Credential
    from tidegate.notice import Target
    from tidegate.policy import Rules
    from tidegate.settings import Settings
    from tidegate.stores import Store

log = structlog.get_logger()

CONFIGURATION = "configuration"  # who says an account's hours, where no batch does
DISK = 3.0  # seconds between two looks at how much room there is
FORETELL = 60.0  # seconds before the first look ahead
NARRATE = 0.1  # seconds over which events are gathered before they are told
PATIENCE = 25.0  # seconds for others to unlock the database: more than a person waits, less than a watchdog's half
ENDING = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}
LISTENED = (*ENDING, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTSTP, signal.SIGCONT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """What a supervising process works with, as plain values; durations in seconds.

    `agents` gives the agent of a job; `environment` is the part of this process's own that agents may see;
    `credentials` and `hours` are the accounts', `budgets` are by scope, `stops` say how much of accounts' windows may
    be used, `notify` is whom to tell what happens; with less than `min_free_disk` bytes of room nothing is launched.
    `workspaces` is where directories of jobs are made (None: below `state`), each in `patience` seconds.
    """

    state: Path
    store: Store
    clock: Clock
    rules: Rules
    agents: Callable[[Spec], Agent]
    environment: Mapping[str, str]
    credentials: Mapping[str, Credential]
    hours: Mapping[str, str]
    budgets: Mapping[str, Budget]
    stops: Mapping[str, Mapping[Window, float]]
    slots: int
    grace: float
    timeout: float | None
    silence: float | None
    max_output: int | None = None
    bounds: Bounds = UNBOUND
    must: bool = True
    cgroups: bool = False
    min_free_disk: int | None = None
    notify: Target | None = None
    expanding: Expanding | None = None
    workspaces: Path | None = None
    patience: float = 900.0


def shift_for(said: Settings, known: Known, state: Path, store: Store) -> Shift:
    """What the settings in force ask for. Raises BadSetting where they do not fit the agents."""
    accounts = settings.accounts(said)
    return Shift(
        state=state,
        store=store,
        clock=SystemClock(),
        rules=settings.rules(said),
        agents=known.of,
        environment=settings.environment(said, os.environ),
        credentials=settings.granted(said, known.variables, os.environ),
        hours=settings.hours(said),
        budgets=settings.budgets(said),
        stops=settings.stops(said),
        slots=said.supervisor.slots,
        grace=said.supervisor.grace,
        timeout=said.attempt.timeout,
        silence=said.attempt.silence,
        max_output=said.attempt.max_output,
        bounds=settings.bounds(said),
        must=said.attempt.unbounded == "refuse",
        cgroups=said.supervisor.cgroups == "auto",
        min_free_disk=said.supervisor.min_free_disk,
        notify=settings.notifying(said, os.environ, state),
        expanding=Expanding(
            told=lambda ask, job: expand.told(ask, store, state, job),
            variables=lambda job: expand.variables(state, job),
            printed=lambda job, place: expand.printed(job, place, known, accounts),
        ),
        workspaces=settings.workspaces(said, os.environ, state),
        patience=said.workspace.timeout,
    )


@dataclass(slots=True)
class Duty:
    """A supervising process under way: `ended_by` is the first signal that asked for its end.

    `news` rings after something has happened and been told. Requests up to the number `before` were asked of others.
    """

    shift: Shift
    ask: Writer
    me: Incarnation
    batch: int | None
    narrator: Narrator
    notifier: Notifier
    news: Bell
    ended_by: signal.Signals | None = None
    before: int = 0
    supervisor: Supervisor = field(init=False)

    def is_asked(self, request: Request) -> bool:
        """Whether a request is for this incarnation; no time tells, for clocks are set back."""
        return request.id > self.before


def make_room(shift: Shift, *, slots: int) -> None:
    """Get the descriptors that so many slots need, and say what else the machine grants too little of.

    What runs already is adopted, however many slots there are. Raises BadSetting where there cannot be enough.
    """
    capacity.make_room(slots, shift.store.counts()[State.RUNNING])
    for doubt in capacity.doubts(slots):
        log.warning("doubtful machine", detail=doubt)


@contextmanager
def owning(state: Path) -> Iterator[int]:
    """Own a state directory: one supervisor at a time; the descriptor of its lock.

    Raises AlreadyRunning with the other's pid.
    """
    fd = upgrade.handed_over(places.lock(state))
    if fd is None:
        fd = os.open(places.lock(state), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.pread(fd, 32, 0).decode(errors="replace").partition("\n")[0].strip() or "unknown"
            raise AlreadyRunning(f"{state}: another tidegate supervises this directory (pid {other})") from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield fd
    finally:
        os.close(fd)


def incarnation(clock: Clock, batch: int | None, only: Sequence[str] = ()) -> Incarnation:
    """Who this process is."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return Incarnation(
        uuid=str(uuid.uuid4()),
        host=socket.gethostname(),
        pid=os.getpid(),
        boot_id=boot,
        started_at=clock.now(),
        batch=batch,
        only=tuple(only),
    )


P = ParamSpec("P")
Obey = Callable[["Duty", signal.Signals], Awaitable[None]]
Heed = Callable[["Duty", Request], Awaitable[None]]


@asynccontextmanager
async def on_duty(
    shift: Shift,
    batch: int | None,
    is_over: Callable[[Duty], Awaitable[bool]],
    *,
    only: Sequence[str] = (),
    obey: Obey | None = None,
    heed: Heed | None = None,
) -> AsyncIterator[Duty]:
    """Everything around the supervisor: entered, listening and narrating; left in order.

    `only` these jobs are started, by the patterns of `selection`.
    `obey` does what a signal means, `heed` what a request asks, where that is something else than in the foreground.
    """
    me = incarnation(shift.clock, batch, only)
    gc.freeze()  # what is there by now stays: each collection of the whole would walk it for 20 ms
    news = Bell()
    async with Writer(shift.store, partial(_tell_blocked, shift.state, news)) as ask, Watcher(shift.clock) as watcher:
        last = await ask(shift.store.last_seq)
        asked = await ask(shift.store.requests)
        await _enter(shift, ask, me)
        notifier = Notifier(shift.notify, shift.store, ask, shift.clock, me.host)
        duty = Duty(shift, ask, me, batch, Narrator(shift.store, ask, last, notifier.hear), notifier, news)
        duty.before = max((request.id for request in asked), default=0)
        duty.supervisor = Supervisor(_post(duty, watcher, is_over, heed or heeded))
        await duty.supervisor.see_holds()
        await _see_disk(duty)  # before anything is launched
        async with anyio.create_task_group() as around:
            around.start_soon(_listen, duty, obey or foreground)
            around.start_soon(_answer_bell, duty)
            around.start_soon(_narrate, duty)
            around.start_soon(_watch_disk, duty)
            around.start_soon(notifier.work)
            around.start_soon(_foretell, duty)
            ask.endure()  # now that signals are heard
            yield duty
            ask.hurry()
            notifier.hurry()
            around.cancel_scope.cancel()
        with suppress(StoreBlocked):  # the next incarnation sees that this one is gone
            await ask(shift.store.leave, me.uuid, shift.clock.now())
        await duty.narrator.catch_up()
        await notifier.finish()


async def _enter(shift: Shift, ask: Writer, me: Incarnation) -> None:
    """Take up what is there: what the database does not know, and what an incarnation before has paused for itself."""
    if any(shift.state.glob(".restoring-*")):
        from tidegate.restore import swap  # noqa: PLC0415 - a restore was killed, and nobody else needs archives

        swap.finish(shift.state)
    await ask(shift.store.enter, me)
    if jobs := await ask(take_up_all, shift.state, shift.store, me.host, shift.clock.now()):
        log.warning("attempts found that the database did not know", jobs=len(jobs), first=jobs[0])
    await ask(shift.store.lift, f"host:{me.host}", shift.clock.now(), by="start", origins=(Origin.HOST,))


def _tell_blocked(state: Path, news: Bell, why: str) -> None:
    lock.say_trouble(places.lock(state), why)
    if why:
        log.error("database blocked", reason=why)
    else:
        log.info("database goes on")
    news.ring()


def _post(duty: Duty, watcher: Watcher, is_over: Callable[[Duty], Awaitable[bool]], heed: Heed) -> Post:
    shift = duty.shift
    means = Means(
        clock=shift.clock,
        watcher=watcher,
        environment=shift.environment,
        credentials=shift.credentials,
        grace=shift.grace,
        timeout=shift.timeout,
        silence=shift.silence,
        max_output=shift.max_output,
        bounds=shift.bounds,
        must=shift.must,
        cgroups=shift.cgroups,
        descriptors=capacity.begun_with(),
        workshop=Workshop(shift.workspaces or places.workspaces(shift.state), shift.patience, shift.clock.monotonic),
    )
    return Post(
        store=shift.store,
        ask=duty.ask,
        me=duty.me,
        clock=shift.clock,
        means=means,
        rules=shift.rules,
        slots=shift.slots,
        directory=lambda job, n: places.attempt(shift.state, job, n),
        pick=shift.agents,
        is_over=lambda: is_over(duty),
        heed=lambda request: heed(duty, request),
        expanding=shift.expanding,
        batch=duty.batch,
    )


# --- what goes on beside the supervisor ---


async def _narrate(duty: Duty) -> None:
    while True:
        rung = duty.supervisor.bell.next()
        if await duty.narrator.catch_up():
            duty.news.ring()
        with anyio.move_on_after(1.0):
            await rung.wait()
        await anyio.sleep(NARRATE)


async def _foretell(duty: Duty) -> None:
    """Look ahead, after a minute: what ends sooner needs no forecast, nor the rooms that make one.

    Whatever is wrong with it, no supervisor and no agent ends of it.
    """
    await anyio.sleep(FORETELL)
    try:
        await run_sync(import_module, "tidegate.foretell")
        from tidegate import foretell  # noqa: PLC0415 - which is there by now

        await foretell.keep(duty)
    except Exception:
        log.exception("nothing is foretold any more")


async def _watch_disk(duty: Duty) -> None:
    while True:
        await anyio.sleep(DISK)
        await _see_disk(duty)


async def _see_disk(duty: Duty) -> None:
    """Shut launching on this host before the disk of the state directory is full; open it when there is room again."""
    shift, gate, now = duty.shift, duty.supervisor.gate, duty.shift.clock.now()
    scope = f"host:{duty.me.host}"
    held = any((hold.scope, hold.origin) == (scope, Origin.DISK) for hold in gate.holds())
    scarce = headroom.scarce(shift.state, shift.min_free_disk, held=held)
    if scarce and not held:
        hold = Hold(scope=scope, origin=Origin.DISK, since=now, reason=scarce, by="tidegate")
        await duty.supervisor.hold(hold)
    elif held and not scarce:
        await duty.ask(shift.store.lift, scope, now, by="tidegate", origins=(Origin.DISK,))
        await duty.supervisor.look()


async def _answer_bell(duty: Duty) -> None:
    fd = doorbell.listen(duty.shift.state)
    try:
        while True:
            await anyio.wait_readable(fd)
            doorbell.answer(fd)
            await duty.supervisor.look()
    finally:
        os.close(fd)


async def _listen(duty: Duty, obey: Obey) -> None:
    """Act on the signals, also on those that came before anybody listened."""
    with signals.arriving() as arrivals:
        while True:
            signals.settled(arrivals)  # before the look, or one that comes between is missed
            while (number := signals.take()) is not None:
                await obey(duty, number)
            await anyio.wait_readable(arrivals)


async def foreground(duty: Duty, number: signal.Signals) -> None:
    """What a signal means to a program that somebody watches."""
    match number:
        case signal.SIGUSR1:
            await _pause(duty, Origin.OPERATOR, "paused by SIGUSR1")
        case signal.SIGUSR2:
            await _resume(duty, Origin.OPERATOR)
        case signal.SIGTSTP:
            await _pause(duty, Origin.HOST, "paused from the terminal")
            os.kill(os.getpid(), signal.SIGSTOP)
        case signal.SIGCONT:
            await _resume(duty, Origin.HOST)
        case _:
            await _end(duty, number)


async def _end(duty: Duty, number: signal.Signals) -> None:
    """The first signal drains; the second ends every attempt now; further ones change nothing."""
    if duty.ended_by is None:
        duty.ended_by = number
        log.warning("draining", signal=number.name, **_under_way(duty), again="stops at once")
        duty.supervisor.drain()
    elif not duty.supervisor.is_stopping:
        log.warning("stopping", signal=number.name, running=duty.supervisor.running)
        await duty.supervisor.stop(f"{ENDING[number]} by {number.name}")
        duty.ask.hurry()


def _under_way(duty: Duty) -> dict[str, int]:
    """How many attempts are waited for; one that stands still ends only when somebody lets it go on."""
    frozen = duty.supervisor.frozen
    return {"running": duty.supervisor.running} | ({"frozen": frozen} if frozen else {})


async def heeded(duty: Duty, request: Request) -> None:
    """Do what a request asks of a program in the foreground; one that was meant for another incarnation is let go."""
    refused = "it was asked of another incarnation" if not duty.is_asked(request) else ""
    if request.verb is Ask.UPGRADE:
        refused = refused or "only `tidegate serve` can become another version: end this run, and start it again"
    await answer(duty, request, refused=refused)
    if request.verb is Ask.DRAIN and not refused:
        log.warning("draining", by=request.by, **_under_way(duty))
        if duty.batch is not None:
            duty.ended_by = duty.ended_by or signal.SIGTERM  # a batch that was left is an interrupted one
        duty.supervisor.drain()


async def answer(duty: Duty, request: Request, *, refused: str = "", said: str = "") -> None:
    """Tell whoever asked what came of it."""
    if refused:
        log.warning(f"{request.verb} refused", by=request.by, reason=refused)
    await duty.ask(duty.shift.store.answered, request.id, duty.shift.clock.now(), refused=refused, said=said)


async def _pause(duty: Duty, origin: Origin, reason: str) -> None:
    scope, now = f"host:{duty.me.host}", duty.shift.clock.now()
    hold = Hold(scope=scope, origin=origin, since=now, reason=reason, by=f"pid {duty.me.pid}")
    await _at_once(duty, duty.shift.store.hold, hold, now)


async def _resume(duty: Duty, origin: Origin) -> None:
    scope, now = f"host:{duty.me.host}", duty.shift.clock.now()
    await _at_once(duty, duty.shift.store.lift, scope, now, by=f"pid {duty.me.pid}", origins=(origin,))


async def _at_once(duty: Duty, do: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """What a signal asks of the store; the next signal must not wait until that can be written."""
    try:
        await duty.ask.once(do, *args, **kwargs)
    except StoreBlocked as blocked:
        log.error("signal not heeded", reason=str(blocked))  # noqa: TRY400 - no bug of ours
    await duty.supervisor.look()
