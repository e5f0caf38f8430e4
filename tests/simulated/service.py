"""A batch through the real supervisor, policy, gate, ledger and reader of claude; processes and time are not real."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, cast

import anyio
import pytest
from stores.world import incarnation
from timeless.asking import Ask
from timeless.ground import Ground, Process, stood_on
from timeless.loop import Loop, Time

from simulated.agent import Agent, Answered, Finished, Heard, Tally
from simulated.allowance import Allowance
from simulated.scenario import BEGIN, Scenario
from simulated.words import Words
from simulated.work import Task
from tidegate import policy, supervisor
from tidegate.agents.claude import Claude
from tidegate.attempt import Means
from tidegate.model import Account, Batch, NewJob, Request, Spec, State, scopes
from tidegate.policy import Rules
from tidegate.stores import Store
from tidegate.supervisor import Post, Supervisor

if TYPE_CHECKING:
    from tidegate.watch import Watcher

SELDOM = 600.0  # seconds between two looks at what other processes wrote: there are none
HOST = "here"


class Steady(Time):
    """The clock of a machine that is never suspended: whoever waits for an instant need not look again before it."""

    def move_on_at(self, when: datetime | None) -> anyio.CancelScope:
        return anyio.move_on_after(3600.0 if when is None else max((when - self.now()).total_seconds(), 0.0))


@dataclass(slots=True, eq=False)
class Service:
    """One run: the tasks are jobs in the store, and each launch of the supervisor is a simulated agent."""

    tasks: list[Task]
    allowances: dict[str, Allowance]
    scenario: Scenario
    store: Store
    tally: Tally
    rules: Rules = field(default_factory=Rules)
    seed: int = 0
    behind: int = 0  # launches behind a shut gate
    time: Time = field(default_factory=lambda: Steady(BEGIN))
    loop: Loop = field(init=False)
    _ids: dict[int, Task] = field(init=False)

    def run(self, horizon: float) -> None:
        """Until all has ended, or for so many seconds."""
        self.loop = Loop(self.time)
        self._submit()
        ground = Ground(self.time, self._asked, self._born)
        with stood_on(ground), _seldom(self.seed):
            main = self.loop.create_task(self._supervise(ground, horizon))
            main.add_done_callback(lambda _: self.loop.stop())
            self.loop.run_forever()
            self.loop.turns(2)
            self.loop.close()
            main.result()
        assert not ground.errors, ground.errors[0]

    def _submit(self) -> None:
        accounts = [Account(name=name, cautious=True) for name in self.allowances]
        self.store.set_accounts(accounts, self.time.now())
        self._ids = {}
        for batch in dict.fromkeys(task.batch for task in self.tasks):
            some = [task for task in self.tasks if task.batch == batch]
            told = self.store.submit(Batch(batch), list(map(self._job, some)), self.time.now(), whole=False)
            self._ids |= zip(told.jobs, some, strict=True)

    def _job(self, task: Task) -> NewJob:
        cutoff = "resume" if self.scenario.resumes else "restart"
        spec = Spec(agent="claude", prompt="do it", on_cutoff=cutoff)
        return NewJob(name=task.name, account=task.account, group=task.group, spec=spec)

    async def _supervise(self, ground: Ground, horizon: float) -> None:
        ask, agent = Ask(self.store, self.loop), Claude()
        post = Post(
            store=self.store,
            ask=ask,
            me=incarnation(host=HOST),
            clock=self.time,
            means=Means(clock=self.time, watcher=cast("Watcher", ground), environment={"TZ": "UTC"}),
            rules=self.rules,
            slots=self.scenario.slots,
            directory=lambda job, n: Path(f"/attempts/{job}/{n}"),
            pick=lambda _: agent,
            is_over=self._is_over,
            heed=_heed,
        )
        await ask(self.store.enter, post.me)
        running = Supervisor(post)
        self.loop.call_at(horizon, running.detach)
        await running.run()
        await ask(self.store.leave, post.me.uuid, self.time.now())

    async def _is_over(self) -> bool:
        counts = self.store.counts()
        return not counts.get(State.QUEUED) and not counts.get(State.RUNNING)

    # --- agents ---

    def _asked(self, job: int, n: int, session: str | None) -> None:
        found, now = self.store.job(job), self.time.now()
        assert found is not None, "what is launched is a job"
        mine = scopes(found, HOST)
        held = (hold.scope in mine and hold.allow == 0 and policy.prior_binds(hold, now) for hold in self.store.holds())
        self.behind += any(held)

    def _born(self, process: Process) -> None:
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


async def _heed(_: Request) -> None: ...


@contextmanager
def _seldom(seed: int) -> Iterator[None]:
    """Nothing happens between two ticks that nobody rings for, so that ten days have few of them; chance is drawn."""
    state = random.getstate()
    random.seed(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "TICK", SELDOM)
        yield
    random.setstate(state)
