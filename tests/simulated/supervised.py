"""The real supervisor, policy, gate, ledger and reader of an agent, on a machine without processes or time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from stores.world import incarnation
from timeless.asking import Ask
from timeless.ground import Ground, Process, stood_on
from timeless.loop import Loop, Time

from simulated.scenario import BEGIN
from tidegate import supervisor
from tidegate.agents import Agent
from tidegate.agents.claude import Claude
from tidegate.attempt import Means
from tidegate.model import Request, State
from tidegate.policy import Rules
from tidegate.stores import Store
from tidegate.supervisor import Post, Supervisor

if TYPE_CHECKING:
    from tidegate.watch import Watcher

HOST = "here"


@dataclass(slots=True, eq=False, kw_only=True)
class Supervised:
    """One run of what is in the store; `tick` is how often the supervisor looks at what nobody rings for.

    Who derives from it says what each launch does.
    """

    store: Store
    slots: int
    rules: Rules = field(default_factory=Rules)
    seed: int = 0
    agent: Agent = field(default_factory=Claude)
    tick: float = supervisor.TICK
    time: Time = field(default_factory=lambda: Time(BEGIN))
    loop: Loop = field(init=False)

    def run(self, horizon: float) -> None:
        """Until all has ended, or for so many seconds."""
        self.loop = Loop(self.time)
        ground = Ground(self.time, self.asked, self.born)
        with stood_on(ground), _chance(self.seed, self.tick):
            main = self.loop.create_task(self._supervise(ground, horizon))
            main.add_done_callback(lambda _: self.loop.stop())
            self.loop.run_forever()
            self.loop.turns(2)
            self.loop.close()
            main.result()
        assert not ground.errors, ground.errors[0]

    def asked(self, job: int, n: int, session: str | None) -> None:
        """A launch is asked for."""

    def born(self, process: Process) -> None:
        """An agent begins."""
        raise NotImplementedError

    async def _supervise(self, ground: Ground, horizon: float) -> None:
        ask = Ask(self.store, self.loop)
        post = Post(
            store=self.store,
            ask=ask,
            me=incarnation(host=HOST),
            clock=self.time,
            means=Means(clock=self.time, watcher=cast("Watcher", ground), environment={"TZ": "UTC"}),
            rules=self.rules,
            slots=self.slots,
            directory=lambda job, n: Path(f"/attempts/{job}/{n}"),
            pick=lambda _: self.agent,
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


async def _heed(_: Request) -> None: ...


@contextmanager
def _chance(seed: int, tick: float) -> Iterator[None]:
    """Chance is drawn by the seed."""
    state = random.getstate()
    random.seed(seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "TICK", tick)
        yield
    random.setstate(state)
