"""Any order of events around a real supervisor: agents, doors, kills and the passing of time, on a virtual machine."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from stores.reconciling import reconcile
from stores.world import START, said
from timeless.asking import DISK
from timeless.ground import Ground, Process, stood_on
from timeless.loop import Time

from faults.machine import Event, Step
from faults.virtual import Disk, Life
from tidegate.errors import BadInput, NotLaunched, NotNow
from tidegate.model import (
    Account,
    Ask,
    Attempt,
    Batch,
    Halt,
    Hold,
    Job,
    Kind,
    Limit,
    NewJob,
    Origin,
    Progress,
    Result,
    SessionGone,
    SessionSeen,
    Spec,
    State,
    family,
)
from tidegate.policy import Rules
from tidegate.supervisor import Supervisor

SLOTS, GRACE, QUIET = 4, 2.0, 3.5
RULES = Rules(max_limited=3, spread=0.0)
SCOPES = ("*", "host:here", "batch:one", "claude", "claude/opus", "codex", "codex", "job:1", "job:3")
JOBS = tuple(range(1, 9))
ANY = tuple(range(6))
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "once": {"max_attempts": 1},
    "afresh": {"on_cutoff": "restart"},
    "carries on": {"on_failure": "resume"},
    "brief": {"timeout": 20.0},
}
WHAT: dict[str, Sequence[Any]] = {
    "account": ("claude", "claude", "codex"),
    "model": (None, "opus"),
    "priority": (0, 0, 1),
    "kind": tuple(KINDS),
}
RING = (True, False)
MOMENTS = (0, 0.0003, 0.0005, 0.001, 0.0015, 0.003, 0.05, 1.1)
EVENTS: dict[str, Event] = {
    "submit": Event(8, {"names": ("a", "bc", "def", "gh", "abcd"), "batch": ("one", "two"), **WHAT, "ring": RING}),
    "need": Event(2, {"name": tuple("klm"), "needs": ((1,), (2,), (1, 3)), "ring": RING, **WHAT}),
    "turns": Event(14, {"number": (1, 2, 3, 5, 8, 13, 21)}),
    "pass_time": Event(20, {"seconds": MOMENTS}),
    "settle": Event(7, {}),
    "sleep": Event(3, {"seconds": (10, 60, 400, 3600, 5 * 3600, 86_400)}),
    "until_due": Event(6, {}),
    "progress": Event(8, {"one": ANY}),
    "session": Event(6, {"one": ANY, "session": ("x", "y")}),
    "session_gone": Event(1, {"one": ANY}),
    "limit": Event(
        10,
        {
            "one": ANY,
            "ahead": (None, -5, 5, 60, 3600),
            "sure": (True, True, False),
            "final": (True, True, False),
            "whole": (True, True, False),
            "kind": (*tuple(Kind)[:3], Kind.USAGE_LIMIT, Kind.CREDIT),
            "exits": (True, True, False),
            "watched": (True, False),
        },
    ),
    "exit": Event(18, {"one": ANY, "code": (0, 0, 0, 1, 1, 137), "ok": (True, True, True, False, None)}),
    "shim_killed": Event(1, {"one": ANY}),
    "stubborn": Event(2, {"now": (True, False)}),
    "trouble": Event(1, {"kind": (NotNow, NotNow, NotLaunched)}),
    "full_disk": Event(2, {"now": (True, False)}),
    "pause": Event(
        3,
        {
            "scope": SCOPES,
            "until": (None, 1, 1, 1, 60, 3600),
            "halt": (*Halt, Halt.INTERRUPT),
            "allow": (0, 0, 1),
            "ring": RING,
        },
    ),
    "resume": Event(4, {"scope": (None, *SCOPES), "ring": RING}),
    "unstick": Event(2, {"ring": RING}),
    "hours": Event(1, {"scope": ("*", "codex"), "text": ("", "", "18:00-21:00 UTC"), "ring": RING}),
    "cancel": Event(2, {"job": JOBS, "ring": RING}),
    "retry": Event(6, {"job": JOBS, "ring": RING}),
    "prioritise": Event(1, {"job": JOBS, "priority": (-1, 2), "ring": RING}),
    "edit": Event(1, {"job": JOBS, "account": ("claude", "codex"), "model": (None, "opus"), "ring": RING}),
    "forget": Event(1, {"jobs": ((1,), (2, 3), JOBS)}),
    "account": Event(1, {"account": ("claude", "codex"), "most": (None, None, 1, 2), "cautious": (False, False, True)}),
    "kill": Event(7, {}),
    "detach": Event(2, {}),
    "stop": Event(2, {}),
    "drain": Event(1, {"ring": RING}),
    "start": Event(18, {}),
    "reboot": Event(1, {}),
}


@dataclass(slots=True)
class Service:
    """A state directory, its agents, and its supervisor where one lives."""

    time: Time = field(default_factory=lambda: Time(START))
    disk: Disk = field(default_factory=Disk)
    ground: Ground = field(init=False)
    life: Life | None = None
    lives: int = 0
    bounded_at: datetime = START
    cancels: set[int] = field(default_factory=set)
    may_interrupt: bool = False
    judged: set[tuple[int, int]] = field(default_factory=set)
    names: set[int] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.ground = Ground(self.time, self.asked, self.born)
        self._start()
        for names, account in (("abc", "claude"), ("de", "codex")):
            self._submit(names, "one", False, account=account, kind="plain")

    def happen(self, event: str, **drawn: Any) -> None:
        """One event, and what must hold after it."""
        if getattr(self, f"_{event}")(**drawn) is not False:
            self.counts[event] += 1
        if self.life is not None and self.life.is_over:
            life, self.life = self.life, None
            life.end()
        self.check()

    def close(self) -> None:
        if self.life is not None:
            self.life.kill()
            self.life = None

    # --- what people do: other processes, which write between two commits and may ring ---

    def door(self, ring: bool) -> None:
        """Called after a door has written."""
        if ring and self.life is not None:
            self.life.do(lambda supervisor: supervisor.look())

    def wait_for_disk(self) -> None:
        while self.disk.turn_open is not None and self.life is not None:
            self.life.loop.pass_time(DISK)

    def _submit(self, names: str, batch: str, ring: bool, needs: tuple[int, ...] = (), **what: Any) -> bool | None:
        self.wait_for_disk()
        spec = Spec(agent="claude", prompt="do it", **KINDS[what.pop("kind")])
        jobs = [NewJob(name=name, spec=spec, needs=needs, **what) for name in names]
        try:
            told = self.disk.submit(Batch(batch), jobs, self.time.now(), whole=False)
        except BadInput:
            return False
        self.names |= set(told.jobs)
        self.door(ring)
        return None

    def _need(self, name: str, needs: tuple[int, ...], ring: bool, **what: Any) -> bool | None:
        return self._submit(name, "one", ring, needs, **what)

    def _pause(self, scope: str, until: float | None, halt: Halt, allow: int, ring: bool) -> None:
        self.wait_for_disk()
        now = self.time.now()
        end = None if until is None else now + timedelta(seconds=until)
        allow = 0 if halt else allow
        hold = Hold(scope=scope, origin=Origin.OPERATOR, since=now, until=end, halt=halt, by="ann", allow=allow)
        self.disk.hold(hold, now)
        self.may_interrupt |= halt is Halt.INTERRUPT
        self.door(ring)

    def _resume(self, scope: str | None, ring: bool) -> None:
        self._lift(scope, ring, Origin.OPERATOR)

    def _unstick(self, ring: bool) -> None:
        self._lift(None, ring, Origin.HUMAN)

    def _lift(self, scope: str | None, ring: bool, *origins: Origin) -> None:
        self.wait_for_disk()
        self.disk.lift(scope, self.time.now(), by="ann", origins=origins)
        self.door(ring)

    def _hours(self, scope: str, text: str, ring: bool) -> None:
        self.wait_for_disk()
        self.disk.set_hours(scope, text, self.time.now())
        self.door(ring)

    def _cancel(self, job: int, ring: bool) -> bool | None:
        return self._steer(job, ring, lambda: self.disk.cancel(job, self.time.now(), by="ann"), self.cancels)

    def _retry(self, job: int, ring: bool) -> bool | None:
        return self._steer(job, ring, lambda: self.disk.retry(job, self.time.now(), by="ann"), set())

    def _prioritise(self, job: int, priority: int, ring: bool) -> bool | None:
        return self._steer(job, ring, lambda: self.disk.set_priority(job, priority, self.time.now()), set())

    def _edit(self, job: int, account: str, model: str | None, ring: bool) -> bool | None:
        if job not in self.names or self.job(job).state is not State.QUEUED or self.disk.turn_open is not None:
            return False
        new = NewJob(name="other", account=account, model=model, spec=self.job(job).spec)
        return self._steer(job, ring, lambda: self.disk.edit(job, new, self.time.now(), by="ann"), set())

    def _forget(self, jobs: tuple[int, ...]) -> None:
        self.wait_for_disk()
        before = {job.id for job in self.disk.jobs() if job.state.is_final}
        self.disk.forget(jobs, self.time.now())
        gone = self.names - {job.id for job in self.disk.jobs()}
        assert gone <= before & set(jobs), f"{gone} are forgotten"
        self.names -= gone

    def _steer(self, job: int, ring: bool, do: Any, noted: set[int]) -> bool | None:
        if job not in self.names:
            return False
        self.wait_for_disk()
        do()
        noted.add(job)
        self.door(ring)
        return None

    def _account(self, account: str, most: int | None, cautious: bool) -> None:
        self.wait_for_disk()
        self.bounded_at = self.time.now()
        self.disk.set_accounts([Account(name=account, max_running=most, cautious=cautious)], self.time.now())

    # --- what agents do ---

    def _one(self, choice: int) -> Process | None:
        awake = [one for one in self.ground.alive if not one.frozen]
        return awake[choice % len(awake)] if awake else None

    def _progress(self, one: int) -> bool | None:
        return self._print(one, Progress())

    def _session(self, one: int, session: str) -> bool | None:
        return self._print(one, SessionSeen(session))

    def _session_gone(self, one: int) -> bool | None:
        return self._print(one, SessionGone("no such session"), code=1)

    def _print(self, one: int, sighting: Any, code: int | None = None) -> bool | None:
        if (process := self._one(one)) is None:
            return False
        process.print(sighting)
        if code is not None:
            process.exit(code)
        return None

    def _limit(
        self, one: int, ahead: float | None, whole: bool, exits: bool, watched: bool, **more: Any
    ) -> bool | None:
        if (process := self._one(one)) is None:
            return False
        at = None if ahead is None else self.time.now() + timedelta(seconds=ahead)
        job = self.job(process.job)
        limit = said(at, model=None if whole else job.model, **more)
        process.print(limit)
        if exits:
            process.exit(1)
        if watched and limit.sure and limit.final and self.life is not None and not self.disk.is_full:
            self.life.loop.pass_time(0.5)
            self.check_shut(job, process, limit)
        return None

    def check_shut(self, job: Job, process: Process, limit: Limit) -> None:
        """A sure limit has shut its gate, unless it tells what was over before the gate was opened again.

        Too many requests of several at once only let fewer run.
        """
        lane = job.account if limit.model is None else f"{job.account}/{family(limit.model if job.model else None)}"
        opened = self.disk._looks.opening(lane)
        origins = {Origin.LIMIT, Origin.HUMAN} | ({Origin.BURST} if limit.kind is Kind.RATE_LIMIT else set())
        held = any(one.scope == lane and one.origin in origins for one in self.disk.holds())
        assert held or (opened and opened[0] > self.attempt(job.id, process.n).epoch), f"{lane} is open after a limit"

    def _exit(self, one: int, code: int, ok: bool | None) -> bool | None:
        if (process := self._one(one)) is None:
            return False
        if ok is not None:
            process.print(Result(ok=ok, text="fine" if ok else "no"))
        process.exit(code)
        return None

    def _shim_killed(self, one: int) -> bool | None:
        if (process := self._one(one)) is None:
            return False
        process.exit(None)
        return None

    def _stubborn(self, now: bool) -> None:
        self.ground.stubborn = now

    def _full_disk(self, now: bool) -> None:
        """Supervisors can write no more, or again; doors use what room there is."""
        self.disk.is_full = now

    def _trouble(self, kind: type[NotLaunched]) -> None:
        self.ground.trouble.append(kind)

    # --- the supervisor, and time ---

    def _start(self) -> bool | None:
        if self.life is not None:
            return False
        self.lives += 1
        self.life = Life(self.ground, self.disk, f"s{self.lives}", slots=SLOTS, rules=RULES, grace=GRACE)
        return None

    def _kill(self) -> bool | None:
        if self.life is None:
            return False
        self.life.kill()
        self.life = None
        return None

    def _detach(self) -> bool | None:
        """An upgrade: it leaves its agents running, and another goes on."""
        if self.life is None:
            return False
        self.life.do(detached)
        self.life.loop.pass_time(1.0)
        assert self.life.is_over, "it does not let go"
        return None

    def _stop(self) -> bool | None:
        if self.life is None:
            return False
        self.may_interrupt = True
        self.life.do(lambda supervisor: supervisor.stop("stopped"))
        return None

    def _drain(self, ring: bool) -> None:
        self.wait_for_disk()
        self.disk.ask(Ask.DRAIN, self.time.now(), by="ann")
        self.door(ring)

    def _reboot(self) -> bool | None:
        """The machine restarts: nobody lives."""
        self._kill()
        for one in self.ground.alive:
            one.exit(None)
        return None

    def _turns(self, number: int) -> bool | None:
        if self.life is None:
            return False
        self.life.loop.turns(number)
        return None

    def _pass_time(self, seconds: float) -> None:
        if self.life is None:
            self.time.at += seconds
        else:
            self.life.loop.pass_time(seconds)

    def _sleep(self, seconds: float) -> None:
        self.time.sleep(seconds)

    def _until_due(self) -> bool | None:
        due = self.disk.next_due(self.time.now())
        if due is None:
            return False
        self.time.sleep((due - self.time.now()).total_seconds())
        return None

    def _settle(self) -> bool | None:
        if self.life is None:
            return False
        self.life.loop.pass_time(QUIET)
        while not self.life.is_over and self.is_busy():
            self.life.loop.pass_time(0.2)
        if not self.life.is_over and not self.disk.is_full:
            self.check_quiet()
        return None

    def is_busy(self) -> bool:
        """Whether something has happened a moment ago: a hold has come due, say."""
        (last,) = self.disk.events(after=self.disk.last_seq() - 1)
        return self.disk.turn_open is not None or self.time.now() - last.at < timedelta(seconds=0.15)

    # --- what must hold at each launch ---

    def wrong(self, what: str) -> None:
        self.ground.errors.append(what)

    def job(self, id: int) -> Job:
        found = self.disk.job(id)
        assert found is not None, f"job {id} is lost"
        return found

    def attempt(self, job: int, n: int) -> Attempt:
        return next(one for one in self.disk.attempts(job) if one.n == n)

    def asked(self, id: int, n: int, session: str | None) -> None:
        """A launch is about to be."""
        job, attempt = self.job(id), self.attempt(id, n)
        if self.life is None or attempt.supervisor != self.life.uuid:
            self.wrong(f"job {id} is launched by {attempt.supervisor}, who is dead")
        if (job.state, job.launches, attempt.ended_at) != (State.RUNNING, n, None):
            self.wrong(f"job {id} is launched, and is {job.state}")
        for hold in self.binding(job):
            if hold.allow == 0 and (hold.origin is Origin.LIMIT or hold.since < attempt.started_at):
                self.wrong(f"job {id} is launched into {hold.scope}, shut by {hold.origin}")
        expected = self.session_of(job, n)
        if session not in expected:
            self.wrong(f"job {id} is launched with session {session}, not {expected}")

    def born(self, process: Process) -> None:
        """An agent runs from now on."""
        alive = self.ground.alive
        if sum(one.job == process.job for one in alive) > 1:
            self.wrong(f"job {process.job} runs twice")
        if len(alive) > SLOTS:
            self.wrong(f"{len(alive)} run at once")
        jobs = [self.job(one.job) for one in alive]
        for account in self.disk.accounts():
            mine = [job for job in jobs if job.account == account.name]
            most = account.max_running if self.attempt(process.job, process.n).started_at > self.bounded_at else None
            if most is not None and self.job(process.job) in mine and len(mine) > most:
                self.wrong(f"{len(mine)} run in {account.name}")
        for hold in self.disk.holds():
            if hold.ramp:
                after = [one for one in alive if self.attempt(one.job, one.n).epoch > hold.epoch]
                inside = [one for one in after if hold.scope in scopes(self.job(one.job))]
                allowed = 2 ** self.proofs(hold)
                if process in inside and len(inside) > allowed:
                    self.wrong(f"{len(inside)} run in the ramp of {hold.scope}, which allows {allowed}")

    def proofs(self, hold: Hold) -> int:
        """How many attempts have got on since a ramp began: one goes at first, then 2, 4 ..."""
        jobs = [id for id in self.names if hold.scope in scopes(self.job(id))]
        return sum(one.progressed and one.epoch > hold.epoch for id in jobs for one in self.disk.attempts(id))

    def binding(self, job: Job) -> list[Hold]:
        now = self.time.now()
        standing = [one for one in self.disk.holds() if one.ramp or one.until is None or one.until > now]
        return [one for one in standing if one.scope in scopes(job)]

    def session_of(self, job: Job, n: int) -> set[str | None]:
        """The conversations that the next launch may go on with: what its attempts before have said."""
        session: set[str | None] = {None}
        for attempt in self.disk.attempts(job.id):
            process = self.ground.processes.get(place(job.id, attempt.n))
            if attempt.n < n and process is not None:
                session = after(job.spec, attempt.outcome or "", process, session)
        return session

    # --- what must always hold ---

    def check(self) -> None:
        assert not self.ground.errors, self.ground.errors[0]
        jobs = {job.id: job for job in self.disk.jobs()}
        assert jobs.keys() == self.names, "a job is lost"
        for one in self.ground.alive:
            assert jobs[one.job].state is State.RUNNING, f"job {one.job} runs, and is {jobs[one.job].state}"
            assert jobs[one.job].launches == one.n
        for job in jobs.values():
            assert job.attempts <= job.spec.max_attempts

    def check_ends(self) -> None:
        """Each end is on record as it was."""
        for id in self.names:
            job = self.job(id)
            for attempt in self.disk.attempts(id):
                if attempt.ended_at is not None and (id, attempt.n) not in self.judged:
                    self.judged.add((id, attempt.n))
                    self.check_end(job, attempt)

    def check_end(self, job: Job, attempt: Attempt) -> None:
        process = self.ground.processes.get(place(job.id, attempt.n))
        which = f"attempt {attempt.n} of job {job.id}"
        if process is None:
            assert attempt.outcome in ("unclaimed", "failed"), f"{which} never ran, and {attempt.outcome}"
            return
        assert not process.alive
        assert attempt.exit == process.code, f"{which} ended with {process.code}, not {attempt.exit}"
        reasons = {"cancelled"} if job.id in self.cancels else set()
        reasons |= {"interrupted"} if self.may_interrupt else set()
        reasons |= {"timedout"} if job.spec.timeout else set()
        verdict = process.verdict
        if process.termed and verdict == {"failed"}:
            verdict = set()  # tidegate has ended it, for a reason
        if process.termed and any(not one.final for one in process.limits):
            reasons.add("limited")
        if verdict in ({"succeeded"}, {"limited"}):
            reasons = set()
        assert attempt.outcome in verdict | reasons, f"{which} {verdict}, on record as {attempt.outcome}"
        charged = attempt.outcome in ("failed", "timedout")
        assert self.charged(attempt) == charged, f"{which} {attempt.outcome}, charged: {not charged}"

    def charged(self, attempt: Attempt) -> bool:
        ends = [one for one in self.disk.events(job=attempt.job) if one.name == "attempt ended"]
        return next(bool(one.data["charged"]) for one in ends if one.attempt == attempt.n)

    def check_quiet(self) -> None:
        """With nothing under way, the record says what is."""
        running = {(one.job, one.n): one for _, one in self.disk.running()}
        alive = {(one.job, one.n): one for one in self.ground.alive}
        assert running.keys() == alive.keys(), f"on record {set(running)}, alive {set(alive)}"
        assert self.life is not None
        assert {one.supervisor for one in running.values()} <= {self.life.uuid}
        for process in alive.values():
            halts = {one.halt for one in self.binding(self.job(process.job))}
            assert Halt.INTERRUPT not in halts, f"job {process.job} goes on"
            assert process.frozen == (Halt.FREEZE in halts), f"job {process.job} is frozen: {process.frozen}"
        assert all(one.target not in self.names for one in self.disk.requests()), "a cancel is not heeded"
        self.check_ends()
        reconcile(self.disk)

    def come_to_an_end(self) -> None:
        """With no person's hold left and as time passes, every job that can run has run in the end."""
        self.ground.trouble.clear()
        self.disk.is_full = False
        for number in range(2000):
            if self.life is None:
                self._start()
            if number % 10 == 0:
                self.happen("resume", scope=None, ring=True)
                self.happen("unstick", ring=True)
            self.happen("settle")
            for process in [one for one in self.ground.alive if not one.frozen]:
                process.print(Result(ok=True, text="fine"))
                process.exit(0)
            states = self.disk.counts()
            if not states[State.QUEUED] and not states[State.RUNNING]:
                self.happen("settle")
                return
            if not self.ground.alive and not states[State.RUNNING] and self.life is not None:
                self.happen("until_due")
                self.life.loop.pass_time(31)
        raise AssertionError(f"{[job.id for job in self.disk.jobs(states=[State.QUEUED])]} never run")


async def detached(supervisor: Supervisor) -> None:
    supervisor.detach()


def scopes(job: Job) -> set[str]:
    lane = f"{job.account}/{family(job.model)}"
    return {"*", "host:here", f"batch:{job.batch_name}", f"job:{job.id}", job.account, lane}


def place(job: int, n: int) -> str:
    return str(Path(f"/attempts/{job}/{n}"))


def after(spec: Spec, outcome: str, process: Process, before: set[str | None]) -> set[str | None]:
    said: set[str | None] = {process.session} if process.session else before
    if process.said(SessionGone):
        return {*said, None}
    match outcome:
        case "limited" | "interrupted" | "lost":
            return said if spec.on_cutoff == "resume" else {None}
        case "failed" | "timedout":
            return said if spec.on_failure == "resume" else {None, *said}  # a retried job goes on all the same
        case _:
            return said


def play(steps: Iterable[Step]) -> Service:
    """Let it all happen, and come to an end. Raises what it meets."""
    random.seed(1)  # the supervisor's jitter
    service = Service()
    with stood_on(service.ground):
        try:
            for name, drawn in steps:
                service.happen(name, **drawn)
            service.come_to_an_end()
        finally:
            service.close()
    return service
