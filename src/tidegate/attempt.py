"""One attempt: launch it, watch it, judge it."""

from __future__ import annotations

import asyncio
import math
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta, tzinfo
from functools import cached_property, lru_cache, partial
from pathlib import Path

import anyio
import structlog

from tidegate import answers, credentials, handover, launch, policy, redact, stages
from tidegate import clock as clocks
from tidegate.agents import Agent, Command, Reader
from tidegate.agents.reading import results
from tidegate.clock import Clock
from tidegate.credentials import Credential
from tidegate.errors import NoCredential, NoDirectory, NotLaunched, NotNow, NoWorkspace
from tidegate.launch import MARK, UNBOUND, Bounds, Child, Order
from tidegate.model import (
    AGENT,
    NOT_DRAWN,
    Attempt,
    Drawn,
    Exit,
    Failed,
    Interrupted,
    Job,
    Kind,
    Limit,
    Limited,
    Outcome,
    Seen,
    SessionSeen,
    Sighting,
    Succeeded,
    TimedOut,
    Usage,
    Warned,
)
from tidegate.stores.vault import is_gone, is_secret
from tidegate.watch import DRAIN, Follow, Watcher
from tidegate.workspace import Workshop

log = structlog.get_logger()

LAST = 1024 * 1024  # bytes at the end of each stream that are read however far the readers are behind
BRIM, FOAM = 0.1, 64 * 1024 * 1024  # what an agent may print beyond its output until KILL ends it: a share, or bytes
TOLD_MOST = 100  # sessions and limits of one attempt that are told while it runs: each is a row; the last ones count
LEFTOVER = 2.0  # seconds at most from TERM to KILL of what an agent leaves behind: the job's outcome waits for it
Tell = Callable[[Sighting], Awaitable[None]]
Rested = Callable[[bool], Awaitable[None]]
Feed = Callable[[], Awaitable[tuple[bytes, Mapping[str, str]]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What every attempt of a supervisor works with.

    `environment` is the part of the supervisor's own that agents may see; `credentials` are the accounts'. `grace` is
    the time from TERM to KILL; `timeout` and `silence` are for jobs that name none, None for no bound; `silence` only
    for agents whose provider has limits: a program that sleeps is no sign of one. All in seconds. `max_output` is in
    bytes, for jobs that say none, as `bounds` are; `must`: nothing is launched without the bounds it is to have.
    `cgroups`: each attempt gets one of its own, where that can be. `descriptors` is the agents' soft limit of them,
    None for this process's own. `workshop` makes the directories of jobs that have one of their own.
    """

    clock: Clock
    watcher: Watcher
    environment: Mapping[str, str]
    credentials: Mapping[str, Credential] = field(default_factory=dict)
    grace: float = 10.0
    timeout: float | None = None
    silence: float | None = None
    max_output: int | None = None
    bounds: Bounds = UNBOUND
    must: bool = True
    cgroups: bool = False
    descriptors: int | None = None
    workshop: Workshop | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How an attempt ended, and what its output told besides."""

    outcome: Outcome
    exit: int | None = None
    session: str | None = None
    usage: Usage | None = None
    drawn: Drawn | None = None


class Running:
    """One attempt from its launch, or its adoption, to its judgement.

    `tell` hears each sighting as it is read, before the attempt's end. `is_to_rest`: the agent is to stand still,
    which `settle` sees to; `rested` then hears whether it does. `feed` gives what a program reads on stdin, and further
    variables, where somebody has something to tell it.
    """

    def __init__(
        self,
        job: Job,
        attempt: Attempt,
        *,
        agent: Agent,
        directory: Path,
        means: Means,
        tell: Tell,
        rested: Rested | None = None,
        feed: Feed | None = None,
    ) -> None:
        self.job = job
        self.attempt = attempt
        self.directory = directory
        self._spec = stages.spec_of(job)
        self._agent = agent
        self._means = means
        self._tell = tell
        self._rested = rested
        self._feed = feed
        self._fed: tuple[bytes | None, Mapping[str, str]] = (None, {})
        self._seen = Seen(proof=agent.proof)
        self._session = job.session
        self._resumes = False
        self._child: Child | None = None
        self._follow: Follow[Sighting] | None = None
        self._asked: Outcome | None = None
        self._has_exited = False
        self.is_to_rest = False
        self.drawn_told = NOT_DRAWN
        self._reader: Reader | None = None
        self._rest = handover.Rest()
        self._is_unsure = False
        self._told = 0
        self._dams: list[asyncio.Task[None]] = []  # ends of an agent while it is read: the polite, then the other
        self._is_telling = False
        self._quiet_cpu: float | None = None  # its processor time when the present silence was young
        self._cwd = _place(job.spec.cwd)
        self._making: anyio.CancelScope | None = None  # while its directory is made
        self._launched = means.clock.monotonic()
        self._quiet_from = self._launched

    @cached_property
    def _settling(self) -> anyio.Lock:
        """Made when it is needed: most attempts never rest."""
        return anyio.Lock()

    # --- the story ---

    async def prepare(self) -> Ended | None:
        """Have the directory that the job works in, where it has one of its own; its end, where that cannot be."""
        workshop, workspace = self._means.workshop, self.job.spec.workspace
        assert workshop is not None, "a supervisor has one"
        assert workspace is not None, "else there is nothing to prepare"
        environment = {**self._means.environment, MARK: marker(self.attempt, self.attempt.supervisor)}
        fresh, outcome = policy.begins_anew(self.job), self._asked
        try:
            with anyio.CancelScope() as self._making:
                if outcome is None:
                    self._cwd = await workshop.directory(self.job, self.attempt.n, environment, fresh=fresh)
        except NoWorkspace as error:
            outcome = Failed(reason=f"no {workspace.kind}: {error}", valid=False, retry=error.retry, own=True)
        finally:
            self._making = None
        self._launched = self._quiet_from = self._means.clock.monotonic()  # that was no work of the agent's
        outcome = self._asked or outcome
        return None if outcome is None else Ended(outcome=outcome, session=self.job.session)

    async def run(self) -> Ended:
        """Start the agent and stay with it to its end. Raises NotNow where the machine lacks what a launch needs."""
        self._learn()
        if gone := [name for name, value in self._spec.env.items() if is_gone(value)]:
            return self._without(gone)
        if lacking := answers.lacking(self.job, self.directory):
            return self._unfounded(lacking)
        if self._feed is not None:
            self._fed = await self._feed()
        if self.job.stage == AGENT and self.job.work is not None and self.job.work.feedback:
            self._spec = stages.with_feedback(self._spec, answers.feedback(self.job, self.directory))
        command = self._command()
        self._session, self._resumes = command.session or self._session, command.resumes
        try:
            child = await launch.launch(self._order(command), self.directory, self._intent(command))
        except NotNow:
            raise
        except NotLaunched as error:
            failed = Failed(reason=str(error), valid=False, retry=False, own=isinstance(error, NoDirectory))
            return Ended(outcome=failed, session=self.job.session)
        except NoCredential as error:  # a person must act, and no job of the account is to blame
            limit = Limit(kind=Kind.AUTH, evidence=str(error))
            return Ended(outcome=Limited(limit), session=self.job.session)
        return await self._stay(child)

    def _without(self, gone: Sequence[str]) -> Ended:
        """The end of an attempt that cannot begin: a person must give the job its secrets again."""
        say = " ".join(f"--env {name}=VALUE" for name in gone)
        reason = f"the value of {', '.join(gone)} is gone: tidegate retry {self.job.id}, then edit {self.job.id} {say}"
        return Ended(outcome=Failed(reason=reason, valid=False, retry=False, own=True), session=self.job.session)

    def _unfounded(self, path: str) -> Ended:
        """The end of a stage to which what the agent has said is lost."""
        reason = f"what the agent said is not there any more ({path}): tidegate retry {self.job.id} --clean"
        return Ended(outcome=Failed(reason=reason, valid=False, retry=False, own=True))

    async def adopt(self) -> Ended:
        """Stay with an agent that another incarnation started, wherever it has got to."""
        credentials.recall(self._means.credentials.get(self.job.account))
        self._learn()
        intent = launch.intent_of(self.directory)
        session, self._resumes = intent.get("session"), intent.get("resumes") is True
        self._cwd = _place(str(intent.get("cwd", self.job.spec.cwd)))
        self._session = session if isinstance(session, str) else self._session
        self._asked = handover.read_asked(self.directory)  # the other incarnation was killed while it ended this agent
        self._take_up(handover.read_rest(self.directory), intent.get("monotonic"))
        return await self._stay(await launch.adopt(self.directory))

    def _take_up(self, rest: handover.Rest, launched: object) -> None:
        """Go on from the work and the rest that were before this incarnation; `launched` in monotonic seconds."""
        if isinstance(launched, float):
            self._launched = launched  # it worked on while nobody supervised it
        self._rest, self._is_unsure = rest, rest.since is not None  # the other may have been killed on the way

    async def end(self, outcome: Outcome) -> None:
        """End the agent; the attempt then ends as `outcome`, unless it has exited or proven something else by then."""
        if not self._has_exited and self._asked is None:
            self._asked = outcome
            handover.write_asked(self.directory, outcome)
        if self._making is not None:
            self._making.cancel()
        if self._child is not None:
            async with self._settling:  # or it would be frozen again after it is woken to hear of its end
                child = self._child
            await child.end(self._means.grace)

    def forgo(self, why: str) -> None:
        """Do not wait for a directory that is being made; once there is an agent this does nothing."""
        if self._making is not None:
            self._asked = self._asked or Interrupted(reason=f"{why} while its directory was made")
            self._making.cancel()

    @property
    def is_ending(self) -> bool:
        """Whether its end was asked for, or has come."""
        return self._asked is not None or self._has_exited

    @property
    def draws(self) -> bool:
        """Whether its agent draws on an allowance."""
        return self._agent.has_limits

    @property
    def drawn(self) -> Drawn:
        """What it has drawn by what was read so far: `drawn_told` is what of that is written."""
        return NOT_DRAWN if self._reader is None else self._reader.drawn

    def _learn(self) -> None:
        """Know the secrets of the job's own environment: an agent may print them, and they are not to be told."""
        for name, value in self._spec.env.items():
            if is_secret(name) and len(value) >= redact.SHORTEST:
                redact.learn(value)

    # --- launching ---

    def _command(self) -> Command:
        return self._agent.command(self._spec, session=self.job.session, new_session=str(uuid.uuid4()))

    def _order(self, command: Command) -> Order:
        spec = self._spec
        ours = {"TIDEGATE_JOB": self.job.name, "TIDEGATE_BATCH": self.job.batch_name}
        if self.job.stage:
            ours |= answers.environment(self.job, self.directory)
        environment = credentials.environment(
            self._means.credentials.get(self.job.account),
            {**self._means.environment, **command.env},
            spec.env,
            self._agent.variables,
        )
        return Order(
            argv=command.argv,
            cwd=self._cwd,
            env={**environment, **ours, **self._fed[1]},
            stdin=self._fed[0] or command.stdin,
            cgroup=self._means.cgroups,
            descriptors=self._means.descriptors,
            bounds=self._bounds(),
            must=self._means.must,
            marker=marker(self.attempt, self.attempt.supervisor),
        )

    def _bounds(self) -> Bounds:
        spec, usual = self._spec, self._means.bounds
        return Bounds(spec.memory or usual.memory, spec.pids or usual.pids, spec.cpu_weight or usual.cpu_weight)

    def _intent(self, command: Command) -> dict[str, object]:
        return {
            "job": self.job.id,
            "attempt": self.attempt.n,
            "batch": self.job.batch_name,
            "name": self.job.name,
            "account": self.job.account,
            "agent": self._agent.name,
            "argv": list(command.argv),
            "cwd": str(self._cwd),
            "session": command.session,
            "resumes": command.resumes,
            "supervisor": self.attempt.supervisor,
            "claimed_at": self.attempt.started_at.isoformat(),
            "monotonic": self._launched,
        }

    # --- watching ---

    async def _stay(self, child: Child) -> Ended:
        try:
            return await self._judge(await self._watched(child))
        finally:
            child.let_go()  # whoever is cancelled leaves the agent to be adopted
            self._follow = None  # which knows this attempt: a circle would be the collector's to find

    async def _watched(self, child: Child) -> Exit:
        self._child = child
        self._reader = reader = self._agent.reader(self._zone())
        sized = self._sized if self._most_output is not None else None
        async with self._means.watcher.follow(self.directory, reader.read, sized=sized) as self._follow:
            if not self._is_settled():
                await self.settle()
            if self._asked is not None:  # its end was asked for while it was being launched, and had no directory
                handover.write_asked(self.directory, self._asked)
                self._dams.append(asyncio.create_task(child.end(self._means.grace)))  # it is read meanwhile
            if not self._dams and await child.ends_before(self._follow.youth) and self._follow.unread <= LAST:
                exit = await self._read_at_once(child, self._follow)
            else:
                exit = await self._read_to_its_end(child, self._follow)
        if self._dams:
            await asyncio.gather(*self._dams)
        await self._means.watcher.turn()  # where hundreds end at once, others are not kept waiting
        await child.sweep(min(self._means.grace, LEFTOVER))
        return exit

    async def _read_at_once(self, child: Child, follow: Follow[Sighting]) -> Exit:
        """The end of an agent that was as short as its output: nobody need watch it."""
        exit = await child.wait()
        self._has_exited = True
        follow.finish()
        async for sightings in follow:
            for sighting in sightings:
                await self._sighted(sighting)
        return exit

    async def _read_to_its_end(self, child: Child, follow: Follow[Sighting]) -> Exit:
        with anyio.CancelScope() as reading:
            ending = asyncio.create_task(self._ended(child, follow, reading))
            try:
                await self._read(follow, reading)
            except BaseException:
                for task in (ending, *self._dams):
                    task.cancel()
                raise
        if reading.cancelled_caught:
            await self._read_last(follow)
        return await ending

    async def _ended(self, child: Child, follow: Follow[Sighting], reading: anyio.CancelScope) -> Exit:
        """The agent's end, for which nobody has to read to the end; a task of its own, as a group costs more."""
        try:
            return await child.wait()
        finally:
            self._has_exited = True  # what is asked for while its leftovers are ended comes too late
            follow.finish(partial(self._hurry, follow, reading))

    def _hurry(self, follow: Follow[Sighting], reading: anyio.CancelScope) -> None:
        """Read only the end of what has not been read by now, and not for long."""
        _skip(follow)
        if not self._is_telling:
            reading.deadline = min(reading.deadline, anyio.current_time() + DRAIN)

    async def _read(self, follow: Follow[Sighting], reading: anyio.CancelScope) -> None:
        """Tell what is read; how long whoever is told takes, the readers have more time."""
        async for sightings in follow:
            for sighting in sightings:
                left, reading.deadline = reading.deadline - anyio.current_time(), math.inf
                self._is_telling = True
                await self._sighted(sighting)
                self._is_telling = False
                if self._has_exited:
                    reading.deadline = anyio.current_time() + min(left, DRAIN)

    async def _read_last(self, follow: Follow[Sighting]) -> None:
        """What a flood ends with, where whoever was told of it has taken all the time."""
        _skip(follow)
        with anyio.move_on_after(DRAIN) as reading:
            await self._read(follow, reading)

    async def _sighted(self, sighting: Sighting) -> None:
        before, self._seen = self._seen, policy.see(self._seen, sighting)
        if (self._seen is not before and self._is_worth_telling(sighting)) or isinstance(sighting, Warned):
            await self._tell(sighting)
        if isinstance(sighting, Limit) and policy.waits_inside(sighting):
            await self.end(Limited(sighting))

    def _is_worth_telling(self, sighting: Sighting) -> bool:
        """Whether somebody is to hear of it before the end: one that tells ever new things would fill the store."""
        if isinstance(sighting, SessionSeen | Limit):
            self._told += 1
            return self._told <= TOLD_MOST
        return True

    # --- too much output ---

    @property
    def _most_output(self) -> int | None:
        return self._spec.max_output or self._means.max_output

    def _sized(self, size: int) -> None:
        """End an agent that has printed too much: politely, and at once where it goes on printing."""
        most, child = self._most_output, self._child
        if most is None or size <= most or child is None or child.is_gone:
            return
        if not self._dams:
            log.warning("attempt printed too much", bytes=size, most=most)
            self._dams.append(asyncio.create_task(self.end(policy.flooded(most))))
        elif len(self._dams) == 1 and size > most + max(most * BRIM, FOAM):
            self._dams.append(asyncio.create_task(child.end(0.0)))

    # --- judging ---

    async def _judge(self, exit: Exit) -> Ended:
        assert self._reader is not None, "what is judged was read"
        for sighting in (*self._reader.end(exit, self._means.clock.now()), *self._left_behind(exit), *self._aside()):
            await self._sighted(sighting)
        self._seen = policy.heard(self._seen, self._reader.last_words, resumed=self._resumes)
        short = self._child.shortage if self._child is not None else None
        verdict = policy.verdict(self._seen, exit, short)
        if self.job.stage:
            grade = answers.grade(self.directory)
            verdict = stages.graded(verdict, exit.code, grade, proof=self._seen.proof)
        outcome = policy.judged(verdict, self._asked, proof=self._seen.proof)
        if isinstance(outcome, Succeeded) and outcome.text and self._has_more_stages:
            answers.write(self.directory, outcome.text)
        return Ended(
            outcome=outcome,
            exit=exit.code,
            session=self._seen.session or self._session,
            usage=self._seen.usage,
            drawn=self._reader.drawn if self.draws else None,
        )

    @property
    def _has_more_stages(self) -> bool:
        """Whether somebody may want to know what the agent has answered."""
        return self.job.stage == AGENT and stages.following(self.job.spec, AGENT) is not None

    def _left_behind(self, exit: Exit) -> Iterator[Limit]:
        """What the result files of a wrapper that failed say no about."""
        spec, clock = self._spec, self._means.clock
        if spec.result_files and exit.code:
            now = clock.now()
            began = now - timedelta(seconds=clock.monotonic() - self._launched)  # by the clock as it goes now
            began = min(began, self.attempt.started_at)
            limit = results.refusal(self._cwd, spec.result_files, began, now, self._zone())
            if limit is not None:
                yield limit

    def _aside(self) -> Iterable[Sighting]:
        """What the CLI has told in files of its own."""
        session = self._seen.session or self._session
        if session is None or not self.draws:
            return ()
        return self._agent.aside(session, {**self._means.environment, **self._spec.env})

    def _zone(self) -> tzinfo:
        """The zone that the agent prints clock times in."""
        return clocks.zone(self._spec.env.get("TZ") or self._means.environment.get("TZ"))

    # --- standing still ---

    async def settle(self) -> None:
        """Freeze or thaw the agent, as `is_to_rest` says; the next incarnation finds out what was done."""
        if self.is_to_rest:
            self.forgo("paused")  # nothing is there yet that could stand still
        async with self._settling:
            if self._child is None or self.is_ending or self._is_settled():
                return
            if self.is_to_rest:
                self._rest = self._rest.begun(self._means.clock.monotonic())
                handover.write_rest(self.directory, self._rest)  # first: whoever comes next must know
                await self._child.freeze()
            else:
                await self._child.thaw()
                self._go_on()
                handover.write_rest(self.directory, self._rest)
            self._is_unsure = False
            if self._rested is not None:  # in here: it is told in the order in which it was done
                await self._rested(self._rest.since is not None)

    def _is_settled(self) -> bool:
        return not self._is_unsure and (self._rest.since is not None) == self.is_to_rest

    def _go_on(self) -> None:
        """Standing still was no work, and no silence."""
        now = self._means.clock.monotonic()
        self._rest = self._rest.ended(now)
        self._quiet_from, self._quiet_cpu = now, None

    def wake_shim(self) -> None:
        """Let the shim go on where somebody has stopped it."""
        if self._child is not None and not self._has_exited:
            self._child.wake()

    # --- time-outs, in working time ---

    def overdue(self) -> Outcome | None:
        """The time-out to end the agent with, where it has worked, or been silent, for longer than it may."""
        if self._child is None or self._follow is None:
            return None
        self._follow.measure()  # its readers may wait for a store that is busy
        if self.is_ending or self._rest.since is not None:
            return None
        now = self._means.clock.monotonic()
        timeout = self._spec.timeout or self._means.timeout
        silence = self._spec.silence or (self._means.silence if self._agent.has_limits else None)
        if timeout is not None and now - self._launched - self._rest.seconds > timeout:
            return TimedOut(after=timeout)
        if silence is not None and self._is_silent(now, silence):
            return TimedOut(after=silence, silent=True)
        return None

    def _is_silent(self, now: float, silence: float) -> bool:
        """No output for long: a long build uses the processor, an agent that sleeps out a limit does not."""
        assert self._child is not None
        assert self._follow is not None
        if self._follow.last_output > self._quiet_from:
            self._quiet_from, self._quiet_cpu = self._follow.last_output, None
        quiet = now - self._quiet_from
        if self._quiet_cpu is None and quiet > silence * SETTLE:
            self._quiet_cpu = self._child.cpu()  # what it used before it fell silent says nothing
        if self._quiet_cpu is None or quiet <= silence:
            return False
        used = self._child.cpu()
        if used - self._quiet_cpu > silence * BUSY:
            self._quiet_cpu, self._quiet_from = used, now
            return False
        log.warning("attempt silent", seconds=round(silence), cpu_seconds=round(used, 2))
        return True


def _skip(follow: Follow[Sighting]) -> None:
    """Read only the end of a flood, where its readers had not got there by now: a limit is told last.

    No cancel of theirs: one that floods has always a turn before it.
    """
    if not follow.is_over and (skipped := follow.skip(LAST)):
        log.warning("output skipped", bytes=skipped)


SETTLE = 0.1  # the share of its silence after which an agent's processor time is taken
BUSY = 0.002  # the share of one processor below which a silent tree is asleep (claude idles at about 0.0005)


_place = lru_cache(64)(Path)  # jobs share their directories


def marker(attempt: Attempt, supervisor: str) -> str:
    """What marks the processes of an attempt that this supervisor has launched."""
    return f"{supervisor}/{attempt.job}/{attempt.n}"
