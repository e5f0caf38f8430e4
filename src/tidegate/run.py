"""The verb `run`: one batch, supervised in the foreground to its end."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TextIO, cast

import anyio
import structlog

from tidegate import agents, files, logs, places, settings, signals
from tidegate.agents import Known
from tidegate.batch import Expanded
from tidegate.bottom import Bottom
from tidegate.check import preflight
from tidegate.daemon import CONFIGURATION, LISTENED, Duty, Shift, on_duty, owning, shift_for
from tidegate.gate import Key, key
from tidegate.look import why
from tidegate.look.words import Page, counted, page, shown
from tidegate.model import Batch, Job, Origin, State, Submission, Window
from tidegate.narrate import Tally
from tidegate.settings import Flag, Settings
from tidegate.stores import sqlite

log = structlog.get_logger()

PAGE = 500
GOES_ON = "the next `tidegate run` of this file goes on with them"
OK, SOME_FAILED, INFRASTRUCTURE, NEEDS_HUMAN, LIMITED = 0, 1, 5, 6, 75


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a batch stands when its supervisor leaves; `left` are lines that say why jobs are still queued."""

    batch: str
    counts: Mapping[State, int]
    tally: Tally
    left: Sequence[str] = ()
    code: int = OK


async def supervise(batch: Expanded, shift: Shift, *, update: bool = False, bottom: Bottom | None = None) -> Report:
    """Submit a batch, work on it until it is over, and say how it stands; `bottom` shows what goes on meanwhile.

    Raises AlreadyRunning where another process supervises the state directory, StoreBroken where the store fails.
    """
    store, now = shift.store, shift.clock.now()
    with owning(shift.state):
        store.set_accounts(batch.accounts, now)
        store.keep_hours(CONFIGURATION, shift.hours, now)
        store.keep_hours(f"batch:{batch.name}", batch.hours, now)
        told = store.submit(Batch(batch.name), batch.jobs, now, update=update)
        _tell(told)
        over = Over(on_limit=batch.on_limit)
        async with on_duty(shift, told.batch.id, over) as duty:
            async with anyio.create_task_group() as beside:
                beside.start_soon(_status_line, duty, bottom)
                await duty.supervisor.run()
                beside.cancel_scope.cancel()
            counts = await duty.ask(store.counts, told.batch.id)
            why_left = await over.why_left(duty)
            left = [*(await _left_in_words(duty) if why_left else []), *_runs_on(duty)]
        code = _code(duty, counts, why_left)
    return Report(batch=batch.name, counts=counts, tally=duty.narrator.tally, left=left, code=code)


def _tell(told: Submission) -> None:
    log.info("batch submitted", batch=told.batch.name, added=len(told.added), known=len(told.unchanged))
    if told.changed:
        log.warning("definitions changed", kept=len(told.changed), jobs=_some(told.changed), take_them_with="--update")
    if told.updated:
        log.info("definitions updated", jobs=_some(told.updated))
    if told.absent:
        log.warning("jobs not in the file any more", kept=len(told.absent), jobs=_some(told.absent))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


# --- when it is over ---


@dataclass(slots=True, kw_only=True)
class Over:
    """Nothing runs and nothing could start: over, unless time alone will change that."""

    on_limit: str
    _told: set[Key] = field(default_factory=set)

    async def __call__(self, duty: Duty) -> bool:
        """Whether to end; where not, the log says what is waited for, once."""
        if await self.why_left(duty) != "time":
            return True
        holds = {key(hold) for hold in duty.supervisor.gate.holds() if not hold.ramp}
        if holds - self._told:
            for words, number in (await _causes(duty)).items():
                log.info("waiting", jobs=number, reason=words)
        self._told = holds
        return False

    async def why_left(self, duty: Duty) -> str:
        """Why jobs are still queued: "" for none, "human" or "limit" where that ends the run, else "time"."""
        store, after, reasons = duty.shift.store, 0, set()
        await duty.supervisor.see_holds()  # a look would ring the bell that asks whether it is over
        while jobs := await duty.ask(store.jobs, batch=duty.batch, states=[State.QUEUED], after=after, most=PAGE):
            reasons |= {self._reason(duty, job) for job in jobs}
            if "time" in reasons:
                return "time"
            after = jobs[-1].id
        return next((reason for reason in ("limit", "human") if reason in reasons), "")

    def _reason(self, duty: Duty, job: Job) -> str:
        holds = [hold for hold in duty.supervisor.gate.binding(job, duty.shift.clock.now()) if hold.allow == 0]
        if any(hold.origin is Origin.HUMAN for hold in holds):
            return "human"
        limited = any(hold.origin is Origin.LIMIT and hold.window is not Window.MINUTE for hold in holds)
        return "limit" if limited and self.on_limit == "exit" else "time"  # a moment's back-off is no reason to leave


def _code(duty: Duty, counts: Mapping[State, int], left: str) -> int:
    running = counts.get(State.RUNNING, 0)  # those that nobody here can read
    if duty.ended_by is not None and (counts.get(State.QUEUED, 0) or running):
        return 128 + duty.ended_by
    if left:
        return NEEDS_HUMAN if left == "human" else LIMITED
    if running or counts.get(State.ERROR, 0):
        return INFRASTRUCTURE
    return OK if counts.get(State.SUCCEEDED, 0) == sum(counts.values()) else SOME_FAILED


# --- what a person sees ---


async def _status_line(duty: Duty, bottom: Bottom | None) -> None:
    """One line that is always true: what runs, what waits and until when."""
    if bottom is None:
        return
    try:
        while True:
            counts = await duty.ask(duty.shift.store.counts, duty.batch)
            words = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
            bottom.show(" · ".join([words, *(await _waits(duty) if counts[State.QUEUED] else [])]))
            await anyio.sleep(1)
    finally:
        bottom.show("")


async def _waits(duty: Duty) -> list[str]:
    """The holds that keep a job of this batch back, in words."""
    now = duty.shift.clock.now()
    on = replace(page(), now=now)
    waiting = await duty.ask(duty.shift.store.jobs, batch=duty.batch, states=[State.QUEUED], most=1)
    holds = duty.supervisor.gate.binding(waiting[0], now) if waiting else []
    return [f"{hold.scope} {why.hold_words(hold, on)}" for hold in holds]


async def _left_in_words(duty: Duty) -> list[str]:
    """One line for each reason why jobs are still queued."""
    return [f"{number} wait: {words}" for words, number in (await _causes(duty, leaving=True)).items()]


async def _causes(duty: Duty, *, leaving: bool = False) -> Counter[str]:
    """The reasons why jobs are queued, in words, and how many wait for each."""
    store, now, after = duty.shift.store, duty.shift.clock.now(), 0
    seen = await duty.ask(why.picture, store, now, duty.me.host, supervised=not leaving)
    on = Page(now=now, zone=page().zone)
    causes: Counter[str] = Counter()
    while jobs := await duty.ask(store.jobs, batch=duty.batch, states=[State.QUEUED], after=after, most=PAGE):
        for cause, waiting in why.by_cause(jobs, seen).items():
            words = why.words(cause, waiting[0], seen, on) if cause.kind != "supervisor" else GOES_ON
            causes[f"{words}{_evidence(cause)}"] += len(waiting)
        after = jobs[-1].id
    return causes


def _runs_on(duty: Duty) -> list[str]:
    """The attempts that this run did not see to their end, being of another batch."""
    jobs = duty.supervisor.left
    names = _some([f"{job.batch_name}:{job.name}" for job in jobs])
    return [f"{len(jobs)} of another batch still running: {names}; the next `tidegate run` takes over"] if jobs else []


def _evidence(cause: why.Wait) -> str:
    return f' ("{shown(cause.hold.evidence)}")' if cause.hold and cause.hold.evidence else ""


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
    lines += [f"  {line}" for line in report.left]
    lines.append(f"  state: {state}")
    return "\n".join(lines)


def _launches(tally: Tally) -> str:
    begun = tally.launches + tally.adopted - tally.returned
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
    )
    if args.on_limit:
        batch = replace(batch, on_limit=args.on_limit)
    return work(batch, said, known, places.state_dir(args.state_dir, os.environ), update=args.update)


def _settings(args: Namespace) -> Settings:
    """The settings in force; each doubtful one is told on stderr."""
    asked = {"--slots": ("supervisor.slots", args.slots), "--log-format": ("log.format", args.log_format)}
    flags = [Flag(name, key, str(value)) for name, (key, value) in asked.items() if value is not None]
    loaded = settings.load(args.config, os.environ, flags)
    for warning in loaded.warnings:
        print(f"tidegate: {warning}", file=sys.stderr)
    return loaded.settings


def work(batch: Expanded, said: Settings, known: Known, state: Path, *, update: bool = False) -> int:
    """Supervise a batch with these settings, print its summary, and give the exit code."""
    bottom = Bottom(sys.stderr) if sys.stderr.isatty() else None
    logs.set_up(level=said.log.level, form=said.log.format, stream=cast("TextIO", bottom) if bottom else None)
    with closing(sqlite.open(places.database(state))) as store:
        batch = preflight(batch, said, known, store)
        signals.keep(*LISTENED)
        shift = shift_for(said, known, state, store)
        report = anyio.run(partial(supervise, batch, shift, update=update, bottom=bottom))
    _print(summary(report, state))
    return report.code


def _print(text: str) -> None:
    """Print what may be lost: a closed terminal or pipe changes nothing about how the batch stands."""
    try:
        print(text, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the rest fails once more at the end
