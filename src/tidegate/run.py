"""The verb `run`: one batch, supervised in the foreground to its end."""

from __future__ import annotations

import os
import signal
import sys
from argparse import Namespace
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TextIO, cast

import anyio
import structlog
from msgspec.structs import replace

from tidegate import agents, codes, doorbell, files, follow, logs, places, settings, signals
from tidegate.again import NOTHING, Again, asked, queue
from tidegate.agents import Known
from tidegate.batch import Expanded
from tidegate.batch.longest import longest_first
from tidegate.batch.tables import LONGEST_FIRST
from tidegate.bottom import Bottom
from tidegate.check import preflight
from tidegate.daemon import CONFIGURATION, LISTENED, PATIENCE, Duty, Shift, make_room, on_duty, owning, shift_for
from tidegate.errors import AlreadyRunning
from tidegate.look import plain
from tidegate.look.desk import note
from tidegate.look.foretold import in_the_end
from tidegate.look.words import counted, page
from tidegate.model import Batch, NewJob, State, Submission
from tidegate.narrate import Tally
from tidegate.needs import unfinished
from tidegate.over import Over, View, left_in_words, status_line
from tidegate.report import keeping
from tidegate.report.files import ready
from tidegate.settings import Flag, Settings
from tidegate.stores import sqlite

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a batch stands when its supervisor leaves; `left` are lines that say why jobs are still queued.

    `foretold` says when it was to be done, where it is and where that was foretold.
    """

    batch: str
    counts: Mapping[State, int]
    tally: Tally
    left: Sequence[str] = ()
    code: int = codes.OK
    foretold: str = ""


async def supervise(
    batch: Expanded,
    shift: Shift,
    *,
    update: bool = False,
    again: Again = NOTHING,
    bottom: Bottom | None = None,
    into: Path | None = None,
) -> Report:
    """Submit a batch, work on it until it is over, and say how it stands; `bottom` shows what goes on meanwhile.

    A summary is kept up to date in the directory `into`.

    Raises AlreadyRunning where another process supervises the state directory, BadSetting where this one cannot have so
    many slots, StoreBroken where the store fails.
    """
    store, now = shift.store, shift.clock.now()
    with owning(shift.state):
        make_room(shift, slots=shift.slots)
        store.keep_hours(CONFIGURATION, shift.hours, now)
        store.keep_budgets(CONFIGURATION, shift.budgets, now)
        store.keep_stops(CONFIGURATION, shift.stops, now)
        told = _submitted(batch, shift, update=update, again=again)
        over = Over(on_limit=batch.on_limit)
        only, batch_id = again.only, told.batch.id
        async with on_duty(shift, batch_id, lambda duty: over(_view(duty, batch_id, only)), only=only) as duty:
            view = _view(duty, batch_id, only)
            async with _shown(view, told.batch, batch.jobs, bottom, into):
                await duty.supervisor.run()
            counts = await view.counts()
            why_left = await over.why_left(view)
            waits = why_left or (again.only and counts.get(State.QUEUED))  # for what is not selected
            left = [*(await left_in_words(view) if waits else []), *_runs_on(duty)]
            then = await _foretold(view, counts)
        code = exit_code(counts, why_left, duty.ended_by)
    return Report(batch=batch.name, counts=counts, tally=duty.narrator.tally, left=left, code=code, foretold=then)


async def followed(
    batch: Expanded,
    shift: Shift,
    *,
    update: bool = False,
    again: Again = NOTHING,
    bottom: Bottom | None = None,
    into: Path | None = None,
) -> Report:
    """The same where another process serves the state directory: submit the batch to it, and follow it."""
    store = shift.store
    after = store.last_seq()
    told = _submitted(batch, shift, update=update, again=again)
    if again.only:
        log.warning("others run too", reason=f"pid {follow.pid_of(shift)} starts whatever is queued")
    doorbell.ring(shift.state)
    over = Over(on_limit=batch.on_limit)
    async with follow.following(shift, told.batch, batch.accounts, after, again.only) as following:
        async with _shown(following.view, told.batch, batch.jobs, bottom, into):
            await following.until(over)
        counts = await following.view.counts()
        why_left = await over.why_left(following.view)
        left = await left_in_words(following.view) if why_left else []
        then = await _foretold(following.view, counts)
    if following.ended_by is not None:
        left = [f"left to the service, which goes on with it: pid {follow.pid_of(shift)}"]
    code = exit_code(counts, why_left, following.ended_by)
    tally = following.narrator.tally
    return Report(batch=batch.name, counts=counts, tally=tally, left=left, code=code, foretold=then)


async def _foretold(view: View, counts: Mapping[State, int]) -> str:
    """When a batch that is over now was to be done."""
    if unfinished(counts):
        return ""
    return in_the_end(await view.ask(view.store.forecasts, view.batch), replace(page(), now=view.clock.now()))


def _view(duty: Duty, batch: int, only: Sequence[str]) -> View:
    return View(
        store=duty.shift.store,
        ask=duty.ask,
        clock=duty.shift.clock,
        host=duty.me.host,
        batch=batch,
        gate=duty.supervisor.gate,
        see_holds=duty.supervisor.see_holds,
        only=only,
    )


@asynccontextmanager
async def _shown(
    view: View, batch: Batch, jobs: Sequence[NewJob], bottom: Bottom | None, into: Path | None
) -> AsyncIterator[None]:
    """Show meanwhile how things stand: at the terminal's bottom, and in a summary where one is asked for."""
    async with anyio.create_task_group() as beside:
        beside.start_soon(status_line, view, bottom)
        if into is not None:
            beside.start_soon(keeping.keep, view, batch, jobs, into)
        yield
        beside.cancel_scope.cancel()


def _submitted(batch: Expanded, shift: Shift, *, update: bool, again: Again) -> Submission:
    store, now = shift.store, shift.clock.now()
    store.set_accounts(batch.accounts, now)
    store.keep_hours(f"batch:{batch.name}", batch.hours, now)
    queue(store, batch, again, now)
    jobs: Sequence[NewJob] = batch.jobs
    if batch.order == LONGEST_FIRST:
        jobs = longest_first(jobs, store.lengths([job.name for job in jobs]))
    told = store.submit(Batch(batch.name), jobs, now, groups=batch.groups, update=update, whole=not again.only)
    store.keep_budgets(f"batch:{batch.name}", batch.budgets, now)
    store.keep_stops(f"batch:{batch.name}", batch.stops, now)
    _tell(told, again.printed)
    return told


def _tell(told: Submission, printed: Collection[str]) -> None:
    """Tell what was done with the jobs of the file; in the groups `printed` there are more than it names."""
    log.info("batch submitted", batch=told.batch.name, added=len(told.added), known=len(told.unchanged))
    if told.changed:
        log.warning("definitions changed", kept=len(told.changed), jobs=_some(told.changed), take_them_with="--update")
    if told.updated:
        log.info("definitions updated", jobs=_some(told.updated))
    if absent := [name for name in told.absent if name.partition("/")[0] not in printed]:
        log.warning("jobs not in the file any more", kept=len(absent), jobs=_some(absent))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def exit_code(counts: Mapping[State, int], left: str, ended_by: signal.Signals | None) -> int:
    """The code that a run ends with; `left` says why jobs are still queued, as `Over.why_left` does."""
    running = counts.get(State.RUNNING, 0)  # those that nobody here can read
    if ended_by is not None and (counts.get(State.QUEUED, 0) or running):
        return 128 + ended_by
    if left:
        return codes.NEEDS_HUMAN if left == "human" else codes.LIMITED
    return codes.INFRASTRUCTURE if running else codes.ended(counts)


# --- what a person sees ---


def _runs_on(duty: Duty) -> list[str]:
    """The attempts that this run did not see to their end, being of another batch."""
    jobs = duty.supervisor.left
    names = _some([f"{job.batch_name}:{job.name}" for job in jobs])
    return [f"{len(jobs)} of another batch still running: {names}; the next `tidegate run` takes over"] if jobs else []


def _form(report: Report, state: Path) -> plain.Form:
    """The summary as JSON says it: jobs by state, launches by outcome."""
    tally = report.tally
    return {
        "batch": report.batch,
        "code": report.code,
        "jobs": {state.value: number for state, number in report.counts.items()},
        "launches": _begun(tally),
        "adopted": tally.adopted,
        "resumed": tally.resumes,
        "outcomes": dict(tally.outcomes),
        "held": {scope: tally.held[scope] for scope in tally.shuts},
        "left": list(report.left),
        "state_dir": str(state),
    }


def summary(report: Report, state: Path) -> str:
    """The lines that end a run: how many jobs are where, and that launches and outcomes add up."""
    counts, tally = report.counts, report.tally
    jobs = ", ".join(f"{number} {name}" for name, number in counts.items() if number) or "none"
    total = sum(counts.values())
    lines = [f"{report.batch}: {total} job{'s' if total != 1 else ''}: {jobs}"]
    if tally.launches or tally.adopted:
        lines.append(f"  {_launches(tally)}")
    lines += [
        f"  the gate of {scope} shut {_times(shuts)}, {_held(tally, scope)}" for scope, shuts in tally.shuts.items()
    ]
    lines += [f"  {report.foretold}"] if report.foretold else []
    lines += [f"  {line}" for line in report.left]
    lines.append(f"  state: {state}")
    return "\n".join(lines)


def _begun(tally: Tally) -> int:
    return tally.launches + tally.adopted - tally.returned


def _launches(tally: Tally) -> str:
    begun = _begun(tally)
    ends = " + ".join(f"{number} {name}" for name, number in tally.outcomes.items()) or "0 ended"
    left = begun - sum(tally.outcomes.values())
    running = f" + {left} still running" if left else ""
    adopted = f", {tally.adopted} of them adopted" if tally.adopted else ""
    resumed = f"; {tally.resumes} resumed a session" if tally.resumes else ""
    return f"{counted(begun, 'launch', 'launches')}{adopted} = {ends}{running}{resumed}"


def _held(tally: Tally, scope: str) -> str:
    if tally.is_shut(scope):
        return "still shut"
    return f"held for {timedelta(seconds=tally.held[scope])}"


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


# --- the door ---


def run_file(args: Namespace) -> int:
    """Run the batch that the command line names; the exit code of the README's table."""
    said = _settings(args)
    known = agents.known(settings.agents(said))
    batch = files.read_batch(
        args.file,
        agents=known.names,
        recognise=known.recognise,
        has_limits=known.has_limits,
        accounts=settings.accounts(said),
        form=args.format,
        defaults=args.default,
    )
    batch, again = asked(batch, args)
    if args.on_limit:
        batch = replace(batch, on_limit=args.on_limit)
    state = places.state_dir(args.state_dir, os.environ)
    into = Path(args.report).absolute() if args.report else None
    if into is not None:
        ready(into)
    return work(
        batch,
        said,
        known,
        state,
        update=args.update,
        again=again,
        slots=args.slots,
        as_json=args.json,
        into=into,
    )


def _settings(args: Namespace) -> Settings:
    """The settings in force; each doubtful one is told on stderr."""
    asked = {"--slots": ("supervisor.slots", args.slots), "--log-format": ("log.format", args.log_format)}
    flags = [Flag(name, key, str(value)) for name, (key, value) in asked.items() if value is not None]
    loaded = settings.load(args.config, os.environ, flags)
    for warning in loaded.warnings:
        note(warning)
    return loaded.settings


def work(
    batch: Expanded,
    said: Settings,
    known: Known,
    state: Path,
    *,
    update: bool = False,
    again: Again = NOTHING,
    slots: str | None = None,
    as_json: bool = False,
    into: Path | None = None,
) -> int:
    """Supervise a batch with these settings, print its summary, and give the exit code.

    Its report is written into the directory `into`, however it ends.

    `slots` are those that the command line asks for, which a service that works here already does not heed.
    """
    bottom = Bottom(sys.stderr) if sys.stderr.isatty() else None
    logs.set_up(level=said.log.level, form=said.log.format, stream=cast("TextIO", bottom) if bottom else None)
    with closing(sqlite.open(places.database(state), busy=PATIENCE)) as store:
        batch = preflight(batch, said, known, store)
        signals.keep(*LISTENED)
        shift = shift_for(said, known, state, store)
        try:
            report = _worked(batch, shift, slots, update=update, again=again, bottom=bottom, into=into)
        finally:
            if into is not None and keeping.write(store, state, batch.name, into):
                note(f"report: {into}")
    _print(plain.line(_form(report, state)) if as_json else summary(report, state))
    return report.code


def _worked(
    batch: Expanded,
    shift: Shift,
    slots: str | None,
    *,
    update: bool,
    again: Again,
    bottom: Bottom | None,
    into: Path | None,
) -> Report:
    """Supervise the batch, or follow it where a service works here."""
    try:
        return anyio.run(partial(supervise, batch, shift, update=update, again=again, bottom=bottom, into=into))
    except AlreadyRunning:
        if not follow.is_served(shift):
            raise
        if slots is not None:
            log.warning("slots not heeded", slots=slots, reason=f"pid {follow.pid_of(shift)} serves with its own")
        return anyio.run(partial(followed, batch, shift, update=update, again=again, bottom=bottom, into=into))


def _print(text: str) -> None:
    """Print what may be lost: a closed terminal or pipe changes nothing about how the batch stands."""
    try:
        print(text, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the rest fails once more at the end
