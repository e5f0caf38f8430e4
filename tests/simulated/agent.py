"""One launch of an agent: it asks its model turn by turn, and tells what it hears."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from timeless.loop import Loop

from simulated.allowance import Allowance, Refusal, Told
from simulated.work import Task

START = 8.0  # seconds from the launch to the first model call
GIVES_UP = 3.0  # and from a refusal of that to the end
RETRIES, PAUSE = 2, 5.0  # of a call that is refused for the moment


@dataclass(frozen=True, slots=True)
class Answered:
    """The model has answered once more, for so many units."""

    units: float
    told: Told | None


@dataclass(frozen=True, slots=True)
class Finished:
    """The work is done, with one more answer."""

    units: float
    told: Told | None


Heard = Answered | Finished | Refusal


@dataclass(slots=True)
class Tally:
    """What a run counts; `closed` launches met a limit that stood already, `early` those of them that were canaries."""

    launches: int = 0
    closed: int = 0
    early: int = 0
    refused: int = 0


@dataclass(slots=True, eq=False)
class Agent:
    """Works at a task until it is done, is refused, or is not alive any more."""

    task: Task
    allowance: Allowance
    loop: Loop
    tally: Tally
    hear: Callable[[Heard], None]
    is_alive: Callable[[], bool] = lambda: True
    is_canary: Callable[[], bool] = lambda: False
    answers: int = 0
    _retries: int = 0
    _met_shut: bool = field(init=False)

    def __post_init__(self) -> None:
        self.tally.launches += 1
        self._met_shut = self.allowance.is_shut(self.loop.time())
        self.loop.call_later(START, self._ask)

    def _ask(self) -> None:
        if not self.is_alive():
            return
        units = self.task.next_units
        refusal = self.allowance.ask(self.loop.time(), units)
        if refusal is None:
            self._retries = 0
            self.task.paid(units)
            self.loop.call_later(self.task.next_seconds(), self._answered, units, self.allowance.told(self.loop.time()))
        elif refusal.kind != "usage" and self._retries < RETRIES:
            self._retries += 1
            self.loop.call_later(PAUSE, self._ask)
        else:
            self._refused(refusal)

    def _refused(self, refusal: Refusal) -> None:
        self.tally.refused += 1
        if self.answers:
            self.task.cuts += 1
        elif self._met_shut:
            self.tally.early += self.is_canary()
            self.tally.closed += not self.is_canary()
        self.loop.call_later(0.0 if self.answers else GIVES_UP, self.hear, refusal)

    def _answered(self, units: float, told: Told | None) -> None:
        if not self.is_alive():
            return
        self.answers += 1
        self.task.done += 1
        if self.task.done < self.task.turns:
            self.hear(Answered(units, told))
            self._ask()
        else:
            self.task.finished = self.loop.time()
            self.hear(Finished(units, told))
