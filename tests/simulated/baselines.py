"""What people do without tidegate: pools of workers, each with its own idea of a refusal."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random

from timeless.loop import Loop, Time

from simulated.agent import GIVES_UP, START, Agent, Answered, Finished, Heard, Tally
from simulated.allowance import Allowance, Refusal
from simulated.scenario import BEGIN, Scenario
from simulated.work import Task


@dataclass(slots=True, eq=False)
class Pool:
    """Workers take tasks in their order, and launch each from its beginning."""

    tasks: list[Task]
    allowances: dict[str, Allowance]
    scenario: Scenario
    tally: Tally
    rng: Random
    resumes = False
    loop: Loop = field(init=False)
    ready: deque[Task] = field(init=False)
    busy: int = 0  # workers, also those that wait with their task
    left: int = field(init=False)

    def run(self, horizon: float) -> None:
        """Until nothing is left to do, or for so many seconds."""
        self.loop = Loop(Time(BEGIN))
        self.ready, self.left = deque(self.tasks), len(self.tasks)
        self.loop.call_at(horizon, self.loop.stop)
        self.loop.call_soon(self.look)
        self.loop.run_forever()
        self.loop.close()

    @property
    def workers(self) -> int:
        return self.scenario.slots

    def opens(self) -> float | None:
        """Until when nothing is launched; None for now."""
        return None

    def look(self) -> None:
        while self.ready and self.busy < self.workers:
            if (wait := self.opens()) is not None:
                if wait > self.loop.time():
                    self.loop.call_at(wait, self.look)
                return
            self.launch(self.ready.popleft())

    def launch(self, task: Task) -> None:
        self.busy += 1
        task.begin(resumes=self.resumes and task.spent > 0, overhead=self.scenario.overhead)
        agent = Agent(
            task, self.allowances[task.account], self.loop, self.tally, hear=lambda heard: self._hear(agent, heard)
        )

    def _hear(self, agent: Agent, heard: Heard) -> None:
        match heard:
            case Answered():
                self.answered(agent.task)
            case Finished():
                self.busy -= 1
                self.end()
                self.finished()
                self.look()
            case Refusal():
                self.busy -= 1
                agent.task.refused = 1 if agent.answers else agent.task.refused + 1
                self.refused(agent.task, heard)
                self.look()

    def end(self) -> None:
        """A task has ended, well or not."""
        self.left -= 1
        if not self.left:
            self.loop.stop()

    # --- what they differ in ---

    def answered(self, task: Task) -> None: ...

    def finished(self) -> None: ...

    def refused(self, task: Task, refusal: Refusal) -> None:
        raise NotImplementedError

    def wait(self, task: Task, seconds: float) -> None:
        """The worker sleeps, and tries the same again."""
        self.busy += 1
        self.loop.call_later(seconds, self._again, task)

    def _again(self, task: Task) -> None:
        self.busy -= 1
        self.ready.appendleft(task)
        self.look()


@dataclass(slots=True, eq=False)
class Polling(Pool):
    """A loop around each task that sleeps so long and tries again; rounds that are refused alike are only counted."""

    pause: float = 1.0

    def refused(self, task: Task, refusal: Refusal) -> None:
        cycle, now = self.pause + START + GIVES_UP, self.loop.time()
        allowance = self.allowances[task.account]
        rounds = int((allowance.reopens(now) - now - self.pause) / cycle) if allowance.is_shut(now) else 0
        rounds = max(rounds, 0)
        self.tally.launches += rounds
        self.tally.closed += rounds
        self.wait(task, self.pause + rounds * cycle)


@dataclass(slots=True, eq=False)
class Exponential(Pool):
    """Full jitter, doubled from a second up to a minute, ten tries: what retry libraries are told to do."""

    def refused(self, task: Task, refusal: Refusal) -> None:
        if task.refused >= 10:
            self.end()
        else:
            self.wait(task, self.rng.uniform(0.0, min(60.0, 2.0**task.refused)))


@dataclass(slots=True, eq=False)
class Parallel(Pool):
    """GNU parallel --retries 3: at once, behind all others."""

    tries: dict[str, int] = field(default_factory=dict)

    def refused(self, task: Task, refusal: Refusal) -> None:
        self.tries[task.name] = self.tries.get(task.name, 0) + 1
        if self.tries[task.name] >= 3:
            self.end()
        else:
            self.ready.append(task)


@dataclass(slots=True, eq=False)
class Scylla(Pool):
    """ProjectScylla: what failed waits until all others have, then for the reset and a tenth more; three rounds."""

    rounds: int = 0
    failed: list[Task] = field(default_factory=list)
    resets_at: float = 0.0

    def refused(self, task: Task, refusal: Refusal) -> None:
        self.failed.append(task)
        self.resets_at = refusal.resets_at or 0.0
        self.finished()

    def finished(self) -> None:
        if self.ready or self.busy or not self.failed:
            return
        again, self.failed = self.failed, []
        if self.rounds == 3:
            for _ in again:
                self.end()
            return
        self.rounds += 1
        wait = max(self.resets_at - self.loop.time(), 0.0) * 1.1
        self.loop.call_later(max(wait, 60.0), self._round, again)

    def _round(self, again: list[Task]) -> None:
        self.ready.extend(again)
        self.look()


@dataclass(slots=True, eq=False)
class AutoResume(Pool):
    """claude-auto-resume: one agent, which waits for the printed time and ten seconds, and goes on in its session."""

    resumes = True
    until: float = 0.0

    @property
    def workers(self) -> int:
        return 1

    def opens(self) -> float | None:
        return self.until if self.until > self.loop.time() else None

    def refused(self, task: Task, refusal: Refusal) -> None:
        now = self.loop.time()
        self.until = max(now, refusal.resets_at or now) + 10.0
        self.ready.appendleft(task)


@dataclass(slots=True, eq=False)
class Breaker(Pool):
    """A circuit breaker: five refusals open it for a minute, then one tries."""

    refusals: int = 0
    until: float = 0.0
    probe: Task | None = None

    def opens(self) -> float | None:
        if self.until > self.loop.time():
            return self.until
        return 0.0 if self.probe is not None else None

    def launch(self, task: Task) -> None:
        if self.until:
            self.probe = task
        super(Breaker, self).launch(task)

    def answered(self, task: Task) -> None:
        if task is self.probe:
            self.refusals, self.until, self.probe = 0, 0.0, None
            self.look()

    def refused(self, task: Task, refusal: Refusal) -> None:
        self.ready.appendleft(task)
        self.refusals += 1
        if task is self.probe or (not self.until and self.refusals >= 5):
            self.probe, self.until = None, self.loop.time() + 60.0


BASELINES: dict[str, Callable[..., Pool]] = {
    "naive loop, 1 s": Polling,
    "sleep 5 min": partial(Polling, pause=300.0),
    "exponential back-off": Exponential,
    "GNU parallel --retries 3": Parallel,
    "ProjectScylla, 3 retries": Scylla,
    "claude-auto-resume": AutoResume,
    "circuit breaker": Breaker,
}
