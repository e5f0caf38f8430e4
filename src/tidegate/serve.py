"""The verb `serve`: works on all that is submitted, until it is told to stop."""

from __future__ import annotations

import os
import signal
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TextIO, cast

import anyio
import structlog
from msgspec.structs import replace

from tidegate import __version__, agents, capacity, daemon, logs, places, settings, signals, standing, systemd, upgrade
from tidegate.agents import Known
from tidegate.batch import Declared
from tidegate.bottom import Bottom
from tidegate.daemon import CONFIGURATION, LISTENED, PATIENCE, Duty, Shift, make_room, on_duty, owning, shift_for
from tidegate.errors import BadInput, StoreBlocked, StoreBroken
from tidegate.look.words import page, shown
from tidegate.model import Account, Admission, Ask, Request
from tidegate.retention import Keep
from tidegate.settings import Flag, Loaded, Settings
from tidegate.stores import Store, health, sqlite
from tidegate.systemd import Manager
from tidegate.upkeep import keep_within

log = structlog.get_logger()

OK = 0
EXTENSION = 30.0  # seconds that the service manager is asked for while what runs comes to its end


@dataclass(slots=True, kw_only=True)
class Service:
    """A serving process: how it was asked for, the settings in force, and who is told how it stands.

    `refused` says why the configuration that was to be read last is not in force, "" where it is; `told` is the line
    that was told last. `successor` is the command of the program that this process is to become.
    """

    config: str | None
    flags: Sequence[Flag]
    said: Settings
    manager: Manager
    bottom: Bottom | None
    refused: str = ""
    told: str = ""
    successor: list[str] | None = None


def serve(args: Namespace) -> int:
    """Serve until told to stop; 0. Raises BadInput, AlreadyRunning, StoreBroken."""
    asked = {"--slots": ("supervisor.slots", args.slots), "--log-format": ("log.format", args.log_format)}
    flags = [Flag(name, key, str(value)) for name, (key, value) in asked.items() if value is not None]
    loaded = settings.load(args.config, os.environ, flags)
    service = Service(
        config=args.config,
        flags=flags,
        said=loaded.settings,
        manager=systemd.manager(os.environ, os.getpid()),
        bottom=Bottom(sys.stderr) if sys.stderr.isatty() else None,
    )
    known = agents.known(settings.agents(loaded.settings))
    _log_as(service, loaded)
    state = places.state_dir(args.state_dir, os.environ)
    if args.check:
        return _would_start(service.said, state)
    signals.keep(*LISTENED)
    with closing(sqlite.open(places.database(state), busy=PATIENCE)) as store, owning(state) as lock:
        _work(service, shift_for(service.said, known, state, store), lock)
    return OK


def _work(service: Service, shift: Shift, lock: int) -> None:
    """Serve until told to stop, or become another program; where that fails after all, serve on."""
    make_room(shift, slots=shift.slots)
    anyio.run(partial(_serve, service, shift))
    if not service.successor:
        return
    shift.store.close()
    capacity.give_back()
    try:
        upgrade.become(service.successor, lock)
    except OSError as error:
        service.successor = None
        reason = f"cannot become {error.filename}: {error.strerror}"
        log.error("upgrade failed", reason=reason, in_force=f"tidegate {__version__}")  # noqa: TRY400 - no bug of ours
        with closing(sqlite.open(places.database(shift.state), busy=PATIENCE)) as store:
            now = shift.clock.now()
            store.answered(store.ask(Ask.UPGRADE, now, by="tidegate").id, now, refused=reason)  # for who waits for it
            known = agents.known(settings.agents(service.said))
            _work(service, shift_for(service.said, known, shift.state, store), lock)


def _would_start(said: Settings, state: Path) -> int:
    """Say whether this program could serve with this configuration on this state; 0. Raises BadSetting, StoreBroken."""
    capacity.make_room(said.supervisor.slots)
    database = places.database(state)
    if database.exists() and (wrong := health.faults(database, thoroughly=False)):
        raise StoreBroken(f"{database}: {wrong[0]}")
    print(f"tidegate {__version__}")
    return OK


def _log_as(service: Service, loaded: Loaded) -> None:
    """Log as these settings want it, first of all what is doubtful about them."""
    stream = cast("TextIO", service.bottom) if service.bottom else None
    logs.set_up(level=loaded.settings.log.level, form=loaded.settings.log.format, stream=stream)
    for warning in loaded.warnings:
        log.warning("doubtful setting", detail=warning)


async def _serve(service: Service, shift: Shift) -> None:
    async with on_duty(shift, None, _never, obey=partial(_obey, service), heed=partial(_heed, service)) as duty:
        known = agents.known(settings.agents(service.said))
        accounts = await _changed(duty, settings.accounts(service.said), {}, known)
        await duty.ask(shift.store.set_accounts, accounts, shift.clock.now())
        await duty.ask(shift.store.keep_hours, CONFIGURATION, shift.hours, shift.clock.now())
        await duty.ask(shift.store.keep_budgets, CONFIGURATION, shift.budgets, shift.clock.now())
        await duty.ask(shift.store.keep_stops, CONFIGURATION, shift.stops, shift.clock.now())
        log.info("serving", pid=duty.me.pid, version=__version__, state=str(shift.state), slots=shift.slots)
        async with anyio.create_task_group() as beside:
            for task in (_tell_ready, _tell_standing, _feed_watchdog, _ask_for_time):
                beside.start_soon(task, service, duty)
            beside.start_soon(
                keep_within, partial(_bounds, service), partial(_rooms, service, shift.state), shift.state, shift.clock
            )
            await duty.supervisor.run()
            beside.cancel_scope.cancel()
        if not service.successor:
            service.manager.tell("STOPPING=1")
    log.info("served")


def _bounds(service: Service) -> Keep:
    """How much of the output of ended jobs stays, and how long they do, by the settings now in force."""
    said = service.said.retention
    return Keep(age=said.age, size=said.size, forget=said.forget)


def _rooms(service: Service, state: Path) -> tuple[Path, Mapping[str, str]]:
    """Where the directories of jobs lie, and the environment of the git that looks at them."""
    return settings.workspaces(service.said, os.environ, state), settings.environment(service.said, os.environ)


async def _never(_duty: Duty) -> bool:
    """Serving is not over before somebody says so."""
    return False


# --- signals ---


async def _obey(service: Service, duty: Duty, number: signal.Signals) -> None:
    match number:
        case signal.SIGHUP if _hung_up(service):
            _detach(duty, number)
        case signal.SIGHUP:
            await _reload(service, duty)
        case signal.SIGTERM if duty.ended_by is None:
            _detach(duty, number)
        case signal.SIGINT if duty.ended_by is None:
            await daemon.foreground(duty, number)
            await _tell(service, duty)
        case _:
            await daemon.foreground(duty, number)


def _hung_up(service: Service) -> bool:
    """Whether the terminal that this was started on is gone: nobody asks for another configuration that way."""
    return service.bottom is not None and not os.isatty(sys.stderr.fileno())


def _detach(duty: Duty, number: signal.Signals) -> None:
    duty.ended_by = number
    log.info("detaching", signal=number.name, running=duty.supervisor.running, agents="run on for the next start")
    duty.supervisor.detach()


# --- becoming another version ---


async def _heed(service: Service, duty: Duty, request: Request) -> None:
    if request.verb is Ask.UPGRADE and duty.is_asked(request):
        await _upgrade(service, duty, request)
    else:
        await daemon.heeded(duty, request)


async def _upgrade(service: Service, duty: Duty, request: Request) -> None:
    """Become the program that is installed now, once it has shown that it would start; else go on as before."""
    if duty.supervisor.draining.is_set():
        await daemon.answer(duty, request, refused="it drains")
        return
    trial = await upgrade.trial()
    await daemon.answer(duty, request, refused=trial.refused, said=trial.said)
    if not trial.refused:
        log.info("upgrading", by=request.by, to=trial.said, running=duty.supervisor.running)
        service.manager.tell("RELOADING=1", f"MONOTONIC_USEC={int(duty.shift.clock.monotonic() * 1e6)}")
        service.successor = upgrade.command()
        duty.supervisor.detach()


# --- reading the configuration again ---


async def _reload(service: Service, duty: Duty) -> None:
    """Take what the configuration says now for all that is launched from now on; a bad one changes nothing."""
    service.manager.tell("RELOADING=1", f"MONOTONIC_USEC={int(duty.shift.clock.monotonic() * 1e6)}")
    try:
        loaded = settings.load(service.config, os.environ, service.flags)
        known = agents.known(settings.agents(loaded.settings))
        before, said = service.said, loaded.settings
        shift = shift_for(said, known, duty.shift.state, duty.shift.store)
        await duty.ask(make_room, shift, slots=shift.slots)
        accounts = await _changed(duty, settings.accounts(said), settings.accounts(before), known)
        await duty.ask.once(
            shift.store.configure,
            CONFIGURATION,
            accounts,
            shift.hours,
            shift.budgets,
            shift.clock.now(),
            stops=shift.stops,
        )
        _log_as(service, loaded)  # all of it is taken now, or nothing was
        service.said, service.refused = said, ""
        await duty.supervisor.look()
        _refit(duty, shift)  # after the accounts: more slots start more at once
        log.info("configuration read", slots=said.supervisor.slots)
    except (BadInput, StoreBlocked) as bad:
        service.refused = str(bad)
        log.error("configuration refused", reason=str(bad), in_force="the old one")  # noqa: TRY400 - no bug of ours
    finally:
        service.manager.tell("READY=1")
    await _tell(service, duty)


def _refit(duty: Duty, shift: Shift) -> None:
    duty.shift = shift
    duty.notifier.take(shift.notify)
    duty.supervisor.refit(
        slots=shift.slots,
        rules=shift.rules,
        pick=shift.agents,
        environment=shift.environment,
        credentials=shift.credentials,
        grace=shift.grace,
        timeout=shift.timeout,
        silence=shift.silence,
        max_output=shift.max_output,
        bounds=shift.bounds,
        must=shift.must,
        cgroups=shift.cgroups,
        expanding=shift.expanding,
    )


async def _changed(
    duty: Duty, now: Mapping[str, Declared], before: Mapping[str, Declared], known: Known
) -> list[Account]:
    """The accounts of which the configuration says something else than before, as they are to be.

    What it has never said anything about is a batch's to say.
    """
    changed = {name: now.get(name, Declared()) for name in {**before, **now} if now.get(name) != before.get(name)}
    return await duty.ask(_accounts, duty.shift.store, changed, before, known)


def _accounts(
    store: Store, changed: Mapping[str, Declared], before: Mapping[str, Declared], known: Known
) -> list[Account]:
    there = {one.name: one for one in store.accounts()}
    accounts = []
    for name, said in changed.items():
        account = there.get(name, Account(name=name))
        most = said.concurrency
        if most is None and (name not in before or before[name].concurrency is None):
            most = account.max_running
        agent = said.agent or name
        limited = account.cautious or (agent in known.names and known.has_limits(agent))
        cautious, admission = limited and said.preflight != "off", Admission(said.admission or Admission.ON)
        accounts.append(replace(account, max_running=most, cautious=cautious, admission=admission))
    return accounts


# --- telling how things stand ---


async def _tell_ready(service: Service, duty: Duty) -> None:
    await duty.supervisor.begun.wait()
    service.manager.tell("READY=1")


async def _tell_standing(service: Service, duty: Duty) -> None:
    """The bottom line and the service manager's status, as often as something happens."""
    try:
        while True:
            rung = duty.news.next()
            await _tell(service, duty)
            await rung.wait()
    finally:
        if service.bottom is not None:
            service.bottom.show("")


async def _tell(service: Service, duty: Duty) -> None:
    counts = await duty.ask(duty.shift.store.counts)
    mood = "draining" if duty.supervisor.draining.is_set() else ""
    if duty.ask.trouble:
        mood = f"nothing can be recorded ({shown(duty.ask.trouble)})"
    elif service.refused:
        mood = f"old configuration in force ({shown(service.refused)})"
    line = standing.line(counts, duty.supervisor.gate.holds(), duty.me.host, page(), mood=mood)
    if line != service.told:
        service.told = line
        service.manager.tell(f"STATUS={line}")
        if service.bottom is not None:
            service.bottom.show(line)


async def _feed_watchdog(service: Service, duty: Duty) -> None:
    """Tell the service manager that all is well, while the loop and the store answer."""
    if service.manager.watchdog is None:
        return
    while True:
        await duty.ask(duty.shift.store.version)
        service.manager.tell("WATCHDOG=1")
        await anyio.sleep(service.manager.watchdog / 4)


async def _ask_for_time(service: Service, duty: Duty) -> None:
    """Ask for more time again and again, while what runs comes to its end."""
    await duty.supervisor.draining.wait()
    service.manager.tell("STOPPING=1")
    while True:
        service.manager.tell(f"EXTEND_TIMEOUT_USEC={int(EXTENSION * 1e6)}")
        await anyio.sleep(EXTENSION / 3)
