"""A batch of simulated agents through the real supervisor, policy, gate, ledger and reader of claude.

Two shortcuts make ten days cheap. `SELDOM`: a supervisor looks now and then at what it is not told, time-outs and what
other processes wrote, of which there is nothing here. `Steady`: it does not look at the clock while it waits for an
instant. Neither changed a figure of the seeds that were run without them, where nothing is drawn by chance in between.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from random import Random

import anyio
from timeless.ground import Process
from timeless.loop import Time

from simulated.agent import Agent, Answered, Finished, Heard, Tally
from simulated.allowance import Allowance
from simulated.scenario import BEGIN, Scenario
from simulated.supervised import HOST, Supervised
from simulated.words import Words
from simulated.work import Task
from tidegate import policy
from tidegate.model import Account, Admission, Batch, NewJob, Spec, scopes

SELDOM = 600.0  # seconds


class Steady(Time):
    """The clock of a machine that is never suspended: whoever waits for an instant need not look again before it."""

    def move_on_at(self, when: datetime | None) -> anyio.CancelScope:
        return anyio.move_on_after(3600.0 if when is None else max((when - self.now()).total_seconds(), 0.0))


@dataclass(slots=True, eq=False, kw_only=True)
class Service(Supervised):
    """One run: the tasks are jobs in the store, and each launch of the supervisor is a simulated agent."""

    tasks: list[Task]
    allowances: dict[str, Allowance]
    scenario: Scenario
    tally: Tally
    admission: Admission = Admission.ON
    tick: float = field(default_factory=lambda: SELDOM)
    time: Time = field(default_factory=lambda: Steady(BEGIN))
    behind: int = 0  # launches behind a shut gate
    _ids: dict[int, Task] = field(default_factory=dict)

    def submit(self) -> None:
        """Hand everything in, batch by batch."""
        accounts = [Account(name=name, cautious=True, admission=self.admission) for name in self.allowances]
        self.store.set_accounts(accounts, self.time.now())
        for batch in dict.fromkeys(task.batch for task in self.tasks):
            some = [task for task in self.tasks if task.batch == batch]
            told = self.store.submit(Batch(batch), list(map(self._job, some)), self.time.now(), whole=False)
            self._ids |= zip(told.jobs, some, strict=True)

    def _job(self, task: Task) -> NewJob:
        cutoff = "resume" if self.scenario.resumes else "restart"
        spec = Spec(agent="claude", prompt="do it", on_cutoff=cutoff)
        return NewJob(name=task.name, account=task.account, group=task.group, spec=spec)

    # --- agents ---

    def asked(self, job: int, n: int, session: str | None) -> None:
        found, now = self.store.job(job), self.time.now()
        assert found is not None, "what is launched is a job"
        mine = scopes(found, HOST)
        held = (hold.scope in mine and hold.allow == 0 and policy.prior_binds(hold, now) for hold in self.store.holds())
        self.behind += any(held)

    def born(self, process: Process) -> None:
        task = self._ids[process.job]
        session = process.resumes or f"session-{process.job}-{process.n}"
        words = Words(session, BEGIN, Random(f"{self.seed}-{process.job}-{process.n}"))
        task.begin(resumes=process.resumes is not None, overhead=self.scenario.overhead)
        process.print(words.begin())
        agent = Agent(
            task,
            self.allowances[task.account],
            self.loop,
            self.tally,
            hear=lambda heard: _tell(process, words.say(agent, heard), heard),
            is_alive=lambda: process.alive,
            is_canary=lambda: self._is_canary(process),
        )

    def _is_canary(self, process: Process) -> bool:
        return any(one.n == process.n and one.canary for one in self.store.attempts(process.job))


def _tell(process: Process, lines: list[bytes], heard: Heard) -> None:
    process.print(*lines)
    if not isinstance(heard, Answered):
        process.exit(0 if isinstance(heard, Finished) else 1)
