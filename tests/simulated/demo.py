"""A batch for the shipped demo agent, in the simulator: its own account and its own words, without its processes."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from timeless.ground import Process
from timeless.loop import Time

from simulated.scenario import BEGIN
from simulated.supervised import Supervised
from tidegate import agents
from tidegate.agents import DEMO
from tidegate.examples import demo_agent
from tidegate.model import Account, Batch, NewJob, Spec
from tidegate.stores.memory import MemoryStore

Json = dict[str, Any]
SPEC = Spec(agent=DEMO, prompt="do it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """Jobs by their steps, each of so many seconds, at an account that allows so many, and then none for a while.

    `starts` and `ends` are the seconds that a process takes before its first step and after its last line, give or take
    a half, as processes do: who comes first is chance, and on it hangs whom admission lets start.
    """

    steps: tuple[int, ...]
    seconds: float
    allowance: int
    reset_after: float
    slots: int
    starts: float = 0.15
    ends: float = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """What a night came to, by its events; the makespan in seconds, from the first claim to the last end."""

    makespan: float
    launches: float
    cuts: float
    closings: float
    done: float


def drawn(seed: int, jobs: int, most: int) -> tuple[int, ...]:
    """Steps of jobs: most are small."""
    rng = Random(f"night-{seed}")
    return tuple(min(max(round(rng.lognormvariate(1.8, 0.6)), 2), most) for _ in range(jobs))


def came_to(events: Iterable[tuple[str, datetime, Json]]) -> Came:
    """Of (name, instant, facts), in order."""
    told = list(events)
    counts = Counter(name for name, _, _ in told)
    ends = [(at, facts["outcome"]) for name, at, facts in told if name == "attempt ended"]
    first = next(at for name, at, _ in told if name == "attempt claimed")
    outcomes = Counter(outcome for _, outcome in ends)
    return Came(
        makespan=(max(at for at, _ in ends) - first).total_seconds(),
        launches=counts["attempt claimed"] - counts["attempt unclaimed"],
        cuts=outcomes["limited"],
        closings=counts["gate shut"],
        done=outcomes["succeeded"],
    )


def simulated(night: Night, seed: int) -> Came:
    """The same with processes and time that are not real; the seed is that of all that is chance."""
    begin = BEGIN + timedelta(seconds=Random(seed).random())  # resets are on full seconds
    with tempfile.TemporaryDirectory(prefix="tidegate-demo-") as folder:
        account = demo_agent.Account(Path(folder), night.allowance, night.reset_after)
        service = Demo(
            store=MemoryStore(),
            slots=night.slots,
            seed=seed,
            agent=agents.known().of(SPEC),
            time=Time(begin),
            night=night,
            account=account,
        )
        service.submit()
        service.run(24 * 3600.0)
    events = service.store.events(after=0, most=1_000_000)
    return came_to((event.name, event.at, dict(event.data)) for event in events)


class Said(demo_agent.Talk):
    """What one process would print."""

    def __init__(self, session: demo_agent.Session) -> None:
        super().__init__(session, stream=True)
        self.lines: list[bytes] = []

    def line(self, what: Json) -> None:
        self.lines.append(json.dumps(what | {"session_id": self.session.id}, separators=(",", ":")).encode())

    def taken(self) -> list[bytes]:
        lines, self.lines = self.lines, []
        return lines


class Remembered(demo_agent.Session):
    """A session without a file."""

    def save(self) -> None: ...


@dataclass(slots=True, eq=False, kw_only=True)
class Demo(Supervised):
    """Each launch of the supervisor goes through the steps of the demo agent."""

    night: Night
    account: demo_agent.Account
    _chance: Random = field(init=False)
    _steps: dict[int, int] = field(default_factory=dict)
    _sessions: dict[str, Remembered] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._chance = Random(f"processes-{self.seed}")

    def submit(self) -> None:
        now = self.time.now()
        self.store.set_accounts([Account(name=DEMO, cautious=True)], now)
        new = [NewJob(name=f"{n:03}", account=DEMO, spec=SPEC) for n in range(len(self.night.steps))]
        told = self.store.submit(Batch("night"), new, now, whole=False)
        self._steps = dict(zip(told.jobs, self.night.steps, strict=True))

    def born(self, process: Process) -> None:
        id = process.resumes or f"session-{process.job}-{process.n}"
        session = self._sessions.setdefault(id, Remembered(id, Path(id), "do it"))
        talk, last = Said(session), max(self._steps[process.job], session.done + 1)
        self.loop.call_later(self._about(self.night.starts), self._begin, process, talk, last)

    def _about(self, seconds: float) -> float:
        return seconds * self._chance.uniform(0.5, 1.5)

    def _begin(self, process: Process, talk: Said, last: int) -> None:
        talk.line(demo_agent.INIT)
        process.print(*talk.taken())
        self._next(process, talk, last)

    def _next(self, process: Process, talk: Said, last: int) -> None:
        """As `Talk.work` does."""
        if not process.alive:
            return
        if talk.session.done == last:
            self._leave(process, talk, talk.finished("done"))
        elif (info := self.account.take(self.time.now().timestamp()))["status"] == "rejected":
            self._leave(process, talk, talk.limited(info))
        else:
            self.loop.call_later(self.night.seconds, self._stepped, process, talk, last, info)

    def _leave(self, process: Process, talk: Said, code: int) -> None:
        process.print(*talk.taken())
        self.loop.call_later(self._about(self.night.ends), process.exit, code)

    def _stepped(self, process: Process, talk: Said, last: int, info: Json) -> None:
        if process.alive:
            talk.step("...", info)
            process.print(*talk.taken())
            self._next(process, talk, last)
