"""A free slot, an open gate, a claimed job, an attempt, a record."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import structlog
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint, checkpoint_if_cancelled

from tidegate import launch, model, policy, stages
from tidegate.agents import Agent
from tidegate.attempt import Ended, Means, Running, marker
from tidegate.bell import Bell
from tidegate.clock import Clock
from tidegate.credentials import Credential
from tidegate.errors import BadInput, NotNow, NotOwner, StoreBlocked, StoreBroken
from tidegate.gate import Gate
from tidegate.gauge import Gauge
from tidegate.model import (
    Ask,
    Attempt,
    Batch,
    Cancelled,
    Failed,
    Halt,
    Hold,
    Interrupted,
    Job,
    Limit,
    Limited,
    Lost,
    Origin,
    Outcome,
    Progress,
    Request,
    SessionSeen,
    Sighting,
    Spec,
    State,
    Succeeded,
    Warned,
    Window,
)
from tidegate.policy import Rules
from tidegate.stores import Store
from tidegate.stores.writer import Writer

if TYPE_CHECKING:
    from tidegate.batch import Expanded

log = structlog.get_logger()

BREATH, BREATH_MOST = 1.0, 60.0  # seconds in which nothing is started where the machine lacks what a launch needs
AT_ONCE = 8  # launches between which nothing else gets a turn: each takes a millisecond, or ten on a busy machine
TICK = 1.0  # seconds between looks at time-outs and at what other processes wrote
LEAP = 5.0  # seconds: by less the clock is corrected all the time
SHIMS = 5  # such looks between two at whether somebody has stopped a shim


@dataclass(frozen=True, slots=True, kw_only=True)
class Expanding:
    """What is done for a job that adds others to its group.

    `told` gives what it reads on stdin, `variables` what it finds in its environment; `printed` the jobs in its output,
    in an attempt's directory: it raises BadInput.
    """

    told: Callable[[Writer, Job], Awaitable[bytes]]
    variables: Callable[[Job], Mapping[str, str]]
    printed: Callable[[Job, Path], Expanded | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """Where and with what a supervisor works.

    `directory` gives the place of an attempt's files. `pick` finds the agent of a job. `batch` restricts the claims to
    one batch. `is_over` says whether to end, asked whenever nothing runs and nothing could be started. `heed` does what
    somebody asks of the whole supervisor; it is told of each request once. `expanding` knows jobs that add others.
    """

    store: Store
    ask: Writer
    me: model.Supervisor
    clock: Clock
    means: Means
    rules: Rules
    slots: int
    directory: Callable[[int, int], Path]
    pick: Callable[[Spec], Agent]
    is_over: Callable[[], Awaitable[bool]]
    heed: Callable[[Request], Awaitable[None]]
    expanding: Expanding | None = None
    batch: int | None = None


class Crew:
    """Tasks that attend one attempt after the other: to start a task costs as much as to follow a short attempt."""

    def __init__(self, attend: Callable[[Running], Awaitable[None]]) -> None:
        self._attend = attend
        self._idle: list[asyncio.Future[Running | None]] = []
        self._is_dismissed = False

    def give(self, attempts: TaskGroup, running: Running) -> None:
        """Have an attempt attended, by whoever is idle or by somebody new in the group."""
        if not self._wake(running):
            attempts.start_soon(self._work, running)

    def dismiss(self) -> None:
        """There will be no more: whoever is idle, or will be, leaves."""
        self._is_dismissed = True
        while self._wake(None):
            pass

    def _wake(self, running: Running | None) -> bool:
        """Give one that is idle something to do, or None to leave; whether there was one."""
        while self._idle:
            if not (idle := self._idle.pop()).done():  # by a cancel
                idle.set_result(running)
                return True
        return False

    async def _work(self, running: Running | None) -> None:
        while running is not None:
            await self._attend(running)
            running = None  # which is not to live as long as this waits
            running = await self._next()

    async def _next(self) -> Running | None:
        if self._is_dismissed:
            return None
        idle: asyncio.Future[Running | None] = asyncio.get_running_loop().create_future()
        self._idle.append(idle)
        return await idle


class Supervisor:
    """Keeps the slots filled with jobs that no hold binds, and records how each attempt ends."""

    def __init__(self, post: Post) -> None:
        self.bell = Bell()
        self.gate = Gate(post.me.host)
        self._gauge = Gauge(post.store, post.ask, post.clock)
        self._post = post
        self.left: list[Job] = []
        self.begun = anyio.Event()
        self.draining = anyio.Event()
        self._here = anyio.CancelScope()
        self._detached = False
        self._running: dict[int, Running] = {}
        self._stopped: Outcome | None = None
        self._version = 0
        self._lead = _lead(post.clock)
        self._is_unstranded = True
        self._breathless = 0
        self._unrecorded = 0
        self._is_awaited = False
        self._heeded: set[Request] = set()
        self._errands: TaskGroup | None = None
        self._attempts: TaskGroup | None = None
        self._tidying: TaskGroup | None = None  # which goes on to its end when nothing runs any more
        self._unread: list[tuple[Job, Attempt]] = []
        self._crew = Crew(self._attend)

    @property
    def running(self) -> int:
        """How many attempts are under way that this supervisor sees to their end."""
        return sum(map(self._is_ours, self._running.values()))

    @property
    def frozen(self) -> int:
        """How many of them stand still."""
        return sum(self._is_ours(running) and running.is_to_rest for running in self._running.values())

    @property
    def is_stopping(self) -> bool:
        """Whether every attempt is being ended."""
        return self._stopped is not None

    @property
    def _starts_none(self) -> bool:
        return self._detached or self.draining.is_set()

    def _is_ours(self, running: Running) -> bool:
        """Whether an attempt is of the batch that is worked on; one of another batch is adopted, never waited for."""
        return self._post.batch in (None, running.job.batch)

    async def run(self) -> None:
        """Adopt what still runs, then work until over, drained or detached.

        `begun` is set when all is adopted, `draining` when nothing new is started any more; at the end `left` are the
        jobs of other batches whose agents run on.
        """
        with self._here:
            group = anyio.create_task_group
            async with group() as self._tidying, group() as others:
                async with group() as attempts, group() as clockwork:
                    self._errands, self._attempts = clockwork, attempts
                    clockwork.start_soon(self._tick)
                    try:
                        await self._adopt(attempts, others)
                        self.begun.set()
                        await self._work(attempts)
                    finally:
                        self._errands = self._attempts = None  # whoever asks for something now comes too late
                    self._crew.dismiss()
                    clockwork.cancel_scope.cancel()
                self.left += [running.job for running in self._running.values() if not self._is_ours(running)]
                others.cancel_scope.cancel()

    async def _work(self, attempts: TaskGroup) -> None:
        while True:
            await checkpoint_if_cancelled()
            rung = self.bell.next()  # the ticket, before the look
            if await self._started(attempts):
                continue
            if self._is_idle() and (self.draining.is_set() or await self._post.is_over()) and self._is_idle():
                return
            with self._post.clock.move_on_at(await self._next_due()):
                await rung.wait()

    def _is_idle(self) -> bool:
        """Whether nothing runs, and every end is recorded: until then nobody knows what follows from it."""
        self._is_awaited = not self.running and self._unrecorded > 0  # by this alone: else each end would ring
        return not self.running and not self._unrecorded

    def drain(self) -> None:
        """Start nothing new; `run` returns when the attempts have ended."""
        self.draining.set()
        for running in self._running.values():
            running.forgo("draining")
        self.bell.ring()

    def detach(self) -> None:
        """Leave every agent running, for the next incarnation to adopt; `run` returns at once."""
        self._detached = True
        self._here.cancel()

    def refit(
        self,
        *,
        slots: int,
        rules: Rules,
        pick: Callable[[Spec], Agent],
        environment: Mapping[str, str],
        credentials: Mapping[str, Credential],
        grace: float,
        timeout: float | None,
        silence: float | None,
        max_output: int | None,
        bounds: launch.Bounds,
        must: bool,
        cgroups: bool,
        expanding: Expanding | None = None,
    ) -> None:
        """Work with other numbers, agents and means from now on; what runs keeps those that it was launched with."""
        means = replace(
            self._post.means,
            environment=environment,
            credentials=credentials,
            grace=grace,
            timeout=timeout,
            silence=silence,
            max_output=max_output,
            bounds=bounds,
            must=must,
            cgroups=cgroups,
        )
        self._post = replace(self._post, slots=slots, rules=rules, pick=pick, means=means, expanding=expanding)
        self._take_up_unread()
        self.bell.ring()

    async def stop(self, why: str) -> None:
        """Drain, and end every attempt now: each is requeued, uncharged, with its session."""
        self.drain()
        self._stopped = Interrupted(reason=why)
        async with anyio.create_task_group() as ending:
            for running in list(self._running.values()):
                if self._is_ours(running):
                    ending.start_soon(running.end, self._stopped)

    # --- starting ---

    async def _started(self, attempts: TaskGroup) -> bool:
        """Whether to look for more at once; where no claim can be written, only after a moment."""
        try:
            return await self._start_next(attempts)
        except StoreBlocked:  # the writer tells why
            await anyio.sleep(TICK)
            return True

    async def _start_next(self, attempts: TaskGroup) -> bool:
        post = self._post
        free = min(post.slots - len(self._running), AT_ONCE)
        if self._starts_none or free <= 0:
            return False
        if self._gauge.is_due:
            await self._gauge.write(self._running.values())
        with anyio.CancelScope(shield=True):  # a claim and its hand-over are one
            claims = await post.ask.once(
                post.store.claim, post.me.uuid, post.clock.now(), most=free, batch=post.batch, rules=post.rules
            )
            for job, attempt in claims:
                if self._starts_none:  # since the claim was asked for
                    attempts.start_soon(self._give_back, attempt, "draining before the launch")
                else:
                    self._hand_over(attempts, job, attempt)
        if claims and self.gate.holds():
            await self.look()  # the claim may have turned a hold into its ramp
        return bool(claims)

    def _hand_over(self, attempts: TaskGroup, job: Job, attempt: Attempt, *, adopted: bool = False) -> None:
        try:
            agent = self._post.pick(stages.spec_of(job))
        except BadInput as error:  # the configuration has changed since the job was submitted
            self._do_without(attempts, job, attempt, str(error), adopted=adopted)
            return
        running = self._running[job.id] = Running(
            job,
            attempt,
            agent=agent,
            directory=self._post.directory(job.id, attempt.n),
            means=self._post.means,
            tell=lambda sighting: self._told(job, attempt, sighting),
            rested=lambda rests: self._rested(attempt, rests),
            feed=partial(self._fed, job) if job.spec.expand and not job.stage else None,
        )
        running.is_to_rest = self._halt_of(job)[0] is Halt.FREEZE
        if agent.has_limits:
            self._gauge.follow()
        if adopted:
            attempts.start_soon(partial(self._attend, running, adopted=True))
        else:
            self._crew.give(attempts, running)
        if self._stopped is not None and self._is_ours(running):
            attempts.start_soon(running.end, self._stopped)

    def _do_without(self, attempts: TaskGroup, job: Job, attempt: Attempt, why: str, *, adopted: bool) -> None:
        """Nobody can read this job's agent: one that runs is left alone, one that does not is never launched."""
        if adopted:
            log.error("attempt left alone", job=job.name, attempt=attempt.n, reason=why)
            self.left.append(job)
            self._unread.append((job, attempt))
        else:
            ended = Ended(outcome=Failed(reason=why, valid=False, retry=False))
            attempts.start_soon(self._record, job, attempt, ended)

    def _take_up_unread(self) -> None:
        """What was left alone is followed from now on, where its agent is known again."""
        unread, self._unread = self._unread, []
        for job, attempt in unread:
            self.left.remove(job)
            if self._attempts is not None:
                self._hand_over(self._attempts, job, attempt, adopted=True)

    async def _attend(self, running: Running, *, adopted: bool = False) -> None:
        job, attempt = running.job, running.attempt
        structlog.contextvars.bind_contextvars(job=job.name, attempt=attempt.n)  # of this task alone
        try:
            if not adopted and (ended := await self._prepared(running)) is not None:
                await self._record(job, attempt, ended)
                return
            if not adopted and self._starts_none and job.spec.workspace is not None:  # since it was claimed
                await self._give_back(attempt, "draining before the launch")
                return
            if not adopted and not self.gate.is_open(job, self._post.clock.now()):
                await self._give_back(attempt, "the gate shut before the launch")
                return
            ended = await self._lived(running, adopted=adopted)
            await self._record(job, attempt, ended)
        except NotNow as error:
            await self._catch_breath(job, str(error))
            await self._give_back(attempt, str(error))
        finally:
            self._free(attempt)

    async def _prepared(self, running: Running) -> Ended | None:
        """See to the directory of a job that has one of its own: that takes time, in which a gate may shut."""
        if running.job.spec.workspace is None:
            return None
        try:
            return await running.prepare()
        except Exception as error:  # as at the end of an attempt
            log.exception("directory broken")
            return Ended(outcome=Failed(reason=f"{type(error).__name__}: {error}", valid=False))

    async def _lived(self, running: Running, *, adopted: bool) -> Ended:
        try:
            return await (running.adopt() if adopted else running.run())
        except NotNow:
            raise
        except Exception as error:  # the end of an attempt is where its errors meet people
            cause = _cause(error)
            if isinstance(cause, StoreBroken):
                raise
            log.exception("attempt broken")
            await running.end(Interrupted(reason="broken"))
            return Ended(outcome=Failed(reason=f"{type(cause).__name__}: {cause}", valid=False))

    async def _give_back(self, attempt: Attempt, why: str) -> None:
        try:
            await self._post.ask(self._post.store.unclaim, attempt, self._post.clock.now(), why)
        except NotOwner:  # another incarnation has it: to launch it, or to give it back
            log.warning("result refused", number=attempt.job, attempt=attempt.n, outcome="unclaimed")

    async def _catch_breath(self, job: Job, why: str) -> None:
        """Where the machine lacks what a launch needs, start nothing for a moment, for longer each time in a row."""
        post, now = self._post, self._post.clock.now()
        if not self.gate.is_open(job, now):
            return
        wait = policy.backoff(self._breathless, first=BREATH, most=BREATH_MOST)
        self._breathless += 1
        scope, until = f"host:{post.me.host}", now + timedelta(seconds=wait)
        await self.hold(
            Hold(
                scope=scope,
                origin=Origin.HOST,
                window=Window.MINUTE,
                since=now,
                until=until,
                reason=why,
                by="tidegate",
            )
        )

    # --- adopting ---

    async def _adopt(self, attempts: TaskGroup, others: TaskGroup) -> None:
        post = self._post
        await post.ask(post.store.unstrand, post.clock.now(), rules=post.rules)
        await self.see_holds()  # first: what is to stand still is not woken
        found = await post.ask(post.store.adopt, post.me.uuid, post.me.host, post.clock.now())
        async with anyio.create_task_group() as looking:
            for place, (job, attempt) in enumerate(found):
                if place % AT_ONCE == 0:
                    await checkpoint()  # those before are looked at now
                ours = post.batch in (None, job.batch)
                looking.start_soon(self._take_over, attempts if ours else others, job, attempt)
        await self.look()

    async def _take_over(self, attempts: TaskGroup, job: Job, attempt: Attempt) -> None:
        if await launch.is_whole(self._post.directory(job.id, attempt.n)):
            self._hand_over(attempts, job, attempt, adopted=True)
        else:
            await self._put_down(job, attempt)

    async def _put_down(self, job: Job, attempt: Attempt) -> None:
        """An attempt whose files do not tell: it never started, unless its agent has spoilt them."""
        place = self._post.directory(job.id, attempt.n)
        ended = await launch.put_down(place, marker(attempt, await self._launcher(job, attempt)))
        made_it = job.spec.workspace is not None and not place.exists()  # git, which was making its directory
        if (made_it or not ended) and not launch.was_started(place):
            await self._give_back(attempt, "never started")
            return
        log.warning("attempt spoilt", job=job.name, attempt=attempt.n, directory=str(place), processes=ended)
        await self._record(job, attempt, Ended(outcome=Lost("its files were destroyed while nobody supervised it")))

    async def _launcher(self, job: Job, attempt: Attempt) -> str:
        """The incarnation that claimed an attempt; it may have been adopted several times since."""
        after = 0
        while events := await self._post.ask(self._post.store.events, job=job.id, after=after):
            for event in events:
                if event.name == "attempt adopted" and event.attempt == attempt.n and "of" in event.data:
                    return str(event.data["of"])
            after = events[-1].seq
        return attempt.supervisor

    # --- what an agent tells while it runs ---

    async def _told(self, job: Job, attempt: Attempt, sighting: Sighting) -> None:
        post, now = self._post, self._post.clock.now()
        match sighting:
            case Limit(sure=True) if sighting.final or policy.waits_inside(sighting):
                await self._shut(job, attempt, sighting)
            case SessionSeen(session):
                with suppress(NotOwner):  # the finish will say so
                    await post.ask(post.store.note_session, attempt, session, now)
            case Progress():
                await post.ask(post.store.note_progress, attempt, now)
                self.bell.ring()
            case Warned() if self._gauge.hear(job, sighting):
                await self._gauge.write(self._running.values())
            case _:
                pass

    async def _rested(self, attempt: Attempt, rests: bool) -> None:  # noqa: FBT001 - as it is told
        post = self._post
        await post.ask(post.store.note_rest, attempt, post.clock.now(), rests=rests)
        self.bell.ring()  # whoever tells what happens waits for it

    async def _shut(self, job: Job, attempt: Attempt, limit: Limit) -> None:
        post, now = self._post, self._post.clock.now()
        scope = policy.scope_of(limit, job.account, job.model)
        prior = self.gate.known(scope, policy.window_of(limit))
        hold = policy.hold_for(limit, scope, now, rules=post.rules, prior=prior, jitter=random.random())  # noqa: S311
        if hold is not None:
            await self.hold(hold, attempt, burst=policy.is_burst(limit, now))

    async def hold(self, hold: Hold, attempt: Attempt | None = None, *, burst: bool = False) -> None:
        """Shut a scope for every claim from now on; `burst` as the port Store says."""
        self.gate.shut(hold)  # here at once, then in the row that every claim reads
        try:
            await self._post.ask(self._post.store.hold, hold, self._post.clock.now(), attempt=attempt, burst=burst)
            await self.look()
        finally:
            self.gate.settled(hold)  # after the look: what was claimed before the hold must not slip through between

    # --- recording ---

    async def _record(self, job: Job, attempt: Attempt, ended: Ended) -> None:
        try:
            if isinstance(ended.outcome, Limited):
                await self._shut(job, attempt, ended.outcome.limit)
            if job.spec.expand and not job.stage and isinstance(ended.outcome, Succeeded):
                ended = await self._expanded(job, attempt, ended)
            if ended.drawn is not None:
                self._gauge.settle(job, ended.drawn)
                if self._gauge.has_heard:
                    await self._gauge.write(self._running.values())
            after = await self._finish(attempt, ended)
            self._breathless = 0
        except NotOwner:
            log.warning("result refused", outcome=_name(ended.outcome))
        except StoreBroken:
            raise
        except Exception as error:  # what an agent told fits no row: its attempt ends without it
            log.exception("end not recorded", outcome=_name(ended.outcome))
            reason = f"{type(error).__name__}: {error}"
            await self._finish(attempt, Ended(outcome=Failed(reason=reason, valid=False), exit=ended.exit))
        else:
            if after.spec.workspace is not None and after.state is State.SUCCEEDED and self._tidying is not None:
                self._tidying.start_soon(self._tidy, after)

    def _free(self, attempt: Attempt) -> None:
        """Give the slot of an attempt to another; once is enough."""
        running = self._running.get(attempt.job)
        if running is not None and running.attempt.n == attempt.n:
            del self._running[attempt.job]
            self.bell.ring()

    async def _tidy(self, job: Job) -> None:
        """Remove the directory that was made for a job, where nothing would be lost with it."""
        means = self._post.means
        structlog.contextvars.bind_contextvars(job=job.name)
        try:
            if means.workshop is not None:
                await means.workshop.tidy(job, means.environment)
        except Exception:  # its job has ended well, whatever becomes of its directory
            log.exception("directory not removed")

    async def _finish(self, attempt: Attempt, ended: Ended) -> Job:
        self._free(attempt)  # before its end is on the disk: the claim that this brings is made after it
        self._unrecorded += 1
        try:
            return await self._post.ask(
                self._post.store.finish,
                attempt,
                ended.outcome,
                self._post.clock.now(),
                exit=ended.exit,
                session=ended.session,
                usage=ended.usage,
                drawn=ended.drawn,
                rules=self._post.rules,
                jitter=random.random(),  # noqa: S311 - spreads retries, guards nothing
            )
        finally:
            self._unrecorded -= 1
            if self._is_awaited:
                self.bell.ring()

    # --- jobs that add others ---

    async def _fed(self, job: Job) -> tuple[bytes, Mapping[str, str]]:
        return await self._expanding.told(self._post.ask, job), self._expanding.variables(job)

    async def _expanded(self, job: Job, attempt: Attempt, ended: Ended) -> Ended:
        """Add the jobs that a job has printed, before its own end is recorded: what a crash repeats changes nothing."""
        post, now, place = self._post, self._post.clock.now(), self._post.directory(job.id, attempt.n)
        try:
            added = await anyio.to_thread.run_sync(self._expanding.printed, job, place)
        except (BadInput, OSError) as error:
            return replace(ended, outcome=Failed(reason=str(error), valid=False, retry=False, own=True))
        if added is not None:
            known = {account.name for account in await post.ask(post.store.accounts)}
            accounts = [one for one in added.accounts if one.name not in known]
            await post.ask(post.store.set_accounts, accounts, now)
            told = await post.ask(post.store.submit, Batch(job.batch_name), added.jobs, now, whole=False)
            log.info("jobs printed", job=job.name, added=len(told.added), known=len(told.unchanged) + len(told.changed))
        return ended

    @property
    def _expanding(self) -> Expanding:
        assert self._post.expanding is not None, "whoever supervises can expand"
        return self._post.expanding

    # --- looking ---

    async def look(self) -> None:
        """Take the store's word for the holds, heed what is asked, and look for work."""
        await self.see_holds()
        requests = await self._post.ask(self._post.store.requests)
        for request in requests:
            self._heed(request)
        self._heeded.intersection_update(requests)
        self.bell.ring()

    async def see_holds(self) -> None:
        """Take the store's word for the holds, and wake nobody."""
        self.gate.told(await self._post.ask(self._post.store.holds))
        self._see_halts()

    async def _tick(self) -> None:
        """Now and then: time-outs, holds that have run out, and what other processes wrote without ringing.

        Also what a budget asks for that an attempt of our own has spent.
        """
        for tick in count():
            await anyio.sleep(TICK)
            for running in list(self._running.values()):
                if tick % SHIMS == 0:
                    running.wake_shim()
                if (overdue := running.overdue()) is not None:
                    self._end(running, overdue)
            self._see_halts()
            if self._gauge.is_due:
                await self._gauge.write(self._running.values())
            await self._turn_due()
            await self._heed_clock()
            version = await self._post.ask(self._post.store.version)
            asked = await self._post.ask(self._post.store.requests)
            if version != self._version or asked:
                self._version = version
                await self.look()

    async def _heed_clock(self) -> None:
        """Look at once where the clock has gone further than time has: what waited for hours may be due."""
        post, before = self._post, self._lead
        self._lead = _lead(post.clock)
        if abs(moved := self._lead - before) > LEAP:
            log.warning("clock moved", seconds=round(moved), reason="it was set, or the machine was suspended")
            self._is_unstranded = False
        if not self._is_unstranded:
            with suppress(StoreBlocked):  # the next tick comes soon
                await post.ask.once(post.store.unstrand, post.clock.now(), rules=post.rules)
                self._is_unstranded = True
            await self.look()

    # --- what is asked of it, and of what runs ---

    def _heed(self, request: Request) -> None:
        if request.verb is Ask.CANCEL:
            running = self._running.get(request.target or 0)
            if running is not None:
                self._end(running, Cancelled(f"cancelled by {request.by}"))
        elif request not in self._heeded and self._errands is not None:
            self._heeded.add(request)
            self._errands.start_soon(self._heed_one, request)

    async def _heed_one(self, request: Request) -> None:
        await self._post.heed(request)

    def _end(self, running: Running, outcome: Outcome) -> None:
        if self._errands is not None and not running.is_ending:
            self._errands.start_soon(running.end, outcome)  # which takes a while where TERM is ignored

    def _see_halts(self) -> None:
        """Freeze, thaw or interrupt what runs, as the holds want it now."""
        for running in self._running.values():
            halt, why = self._halt_of(running.job)
            if halt is Halt.INTERRUPT:
                self._end(running, Interrupted(reason=why))
            elif running.is_to_rest != (halt is Halt.FREEZE):
                running.is_to_rest = halt is Halt.FREEZE
                if self._errands is not None:
                    self._errands.start_soon(running.settle)

    def _halt_of(self, job: Job) -> tuple[Halt, str]:
        """What the holds of a running job's scopes want of it, and the reason."""
        holds = self.gate.halting(job, self._post.clock.now())
        strongest = max(holds, key=lambda hold: hold.halt is Halt.INTERRUPT, default=None)
        if strongest is None:
            return Halt.NONE, ""
        by = f" by {strongest.by}" if strongest.by else ""
        return strongest.halt, f"paused{by}" + (f": {strongest.reason}" if strongest.reason else "")

    async def _turn_due(self) -> None:
        """A hold whose end has come goes also where no claim sees to it, because nothing could start."""
        post, now = self._post, self._post.clock.now()
        idle = self._starts_none or len(self._running) >= post.slots
        if idle and any(policy.is_due(hold, now) for hold in self.gate.holds()):
            with suppress(StoreBlocked):  # the next tick comes soon
                await post.ask.once(post.store.claim, post.me.uuid, now, most=0)
            await self.see_holds()

    async def _next_due(self) -> datetime | None:
        if len(self._running) >= self._post.slots:
            return None  # whatever comes due, nothing starts before an attempt ends
        return await self._post.ask(self._post.store.next_due, self._post.clock.now())


def _lead(clock: Clock) -> float:
    """Seconds by which the clock is ahead of monotonic time."""
    return clock.now().timestamp() - clock.monotonic()


def _cause(error: BaseException) -> BaseException:
    """The first plain error in a group of errors."""
    return _cause(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _name(outcome: Outcome) -> str:
    return type(outcome).__name__.lower()
