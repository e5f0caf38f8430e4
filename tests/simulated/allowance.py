"""An account as its provider keeps it: what it answers to one model call.

Units are percent of one five-hour window, times are seconds from the start of the run.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from random import Random

from simulated.scenario import FIVE_HOURS, WEEK, Scenario

FULL = 1e-9
FREED = 0.99  # of a sliding window: below this share it is said to be open again


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer tells of both windows: used shares in hundredths, and when they end."""

    five: float
    five_ends: float | None
    week: float
    week_ends: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """A no; `resets_at` is what the provider says, which need not be so."""

    kind: str  # usage, rate, overloaded
    window: str = ""
    resets_at: float | None = None
    told: Told | None = None


@dataclass(slots=True)
class Allowance:
    """One account; `closings` counts how often it began to refuse, `capacities` are those of its windows so far."""

    scenario: Scenario
    rng: Random
    used: float = field(init=False)
    week_used: float = field(init=False)
    week_ends: float = field(init=False)
    began: float | None = None  # the present window
    capacities: list[float] = field(default_factory=list)
    lag: float = 0.0  # by which it opens later than it says
    closings: int = 0
    _is_refusing: bool = False
    _drawn_at: float = 0.0  # by the human
    _uses: deque[tuple[float, float]] = field(default_factory=deque)  # of a sliding window
    _calls: deque[float] = field(default_factory=deque)  # of the last minute
    _overload: tuple[float, float] = (math.inf, math.inf)

    def __post_init__(self) -> None:
        self.used, self.week_used, self.week_ends = (
            self.scenario.used,
            self.scenario.week_used,
            self.scenario.week_left,
        )
        self.began = -self.scenario.begun if self.used else None
        self.lag = self.rng.uniform(0.0, self.scenario.lag)
        self._begin()
        if self.scenario.overloads:
            self._overload = self._next_overload(0.0)

    @property
    def capacity(self) -> float:
        return self.capacities[-1]

    # --- what agents ask ---

    def ask(self, now: float, units: float) -> Refusal | None:
        """One model call that uses so much; None where it is answered."""
        refusal = self._refusal(now)
        if refusal is None:
            self._use(now, units)
            self._is_refusing = False
        elif refusal.kind == "usage" and not self._is_refusing:
            self._is_refusing, self.closings = True, self.closings + 1
        return refusal

    def is_shut(self, now: float) -> bool:
        """Whether a usage limit stands."""
        self._pass(now)
        return self.used >= self.capacity - FULL or self.week_used >= self.scenario.weekly - FULL

    def told(self, now: float) -> Told | None:
        """What its answers tell beside their text: None where it says nothing but no."""
        if self.scenario.says != "events":
            return None
        self._pass(now)
        five, week = self.used / self.capacity, self.week_used / self.scenario.weekly
        ends = None if self.scenario.sliding else self._ends(now) + self.scenario.wrong
        return Told(_hundredths(five), ends, _hundredths(week), self.week_ends)

    def _ends(self, now: float) -> float:
        return (now if self.began is None else self.began) + FIVE_HOURS

    def reopens(self, now: float) -> float:
        """When it really opens again; for those who ask so often that only the number of their questions counts."""
        if self.week_used >= self.scenario.weekly - FULL:
            return self.week_ends
        return now if self.scenario.sliding or self.began is None else self.began + FIVE_HOURS + self.lag

    # --- what passes ---

    def _refusal(self, now: float) -> Refusal | None:
        if self.is_shut(now):
            weekly = self.week_used >= self.scenario.weekly - FULL
            said, told = self._said(now, weekly=weekly), self.told(now)
            if told is not None and not weekly:
                told = replace(told, five_ends=said)
            return Refusal("usage", "seven_day" if weekly else "five_hour", said, told)
        if self._overload[0] <= now < self._overload[1]:
            return Refusal("overloaded")
        while self._calls and self._calls[0] <= now - 60:
            self._calls.popleft()
        if len(self._calls) >= self.scenario.per_minute:
            return Refusal("rate")
        return None

    def _said(self, now: float, *, weekly: bool) -> float | None:
        """The reset as the provider tells it: exact, floored to the minute, an hour wrong, or not at all."""
        if self.scenario.says == "unreadable":
            return None
        true = self.week_ends if weekly else self._freed(now) if self.scenario.sliding else self._ends(now)
        said = true + (0.0 if weekly else self.scenario.wrong)
        return math.floor(said / 60) * 60.0 if self.scenario.says == "text" else math.ceil(said)

    def _freed(self, now: float) -> float:
        """When so much has slid out of the window that it is open."""
        over = self.used - self.capacity * FREED
        for at, units in self._uses:
            over -= units
            if over <= 0:
                return at + FIVE_HOURS
        return now + FIVE_HOURS

    def _use(self, now: float, units: float) -> None:
        self._calls.append(now)
        if self.began is None:
            self.began = self._drawn_at = now
        self._add(now, units)

    def _add(self, now: float, units: float) -> None:
        self.used += units
        self.week_used += units
        if self.scenario.sliding:
            self._uses.append((now, units))

    def _pass(self, now: float) -> None:
        while now >= self.week_ends:
            self.week_ends, self.week_used = self.week_ends + WEEK, 0.0
        if now >= self._overload[1]:
            self._overload = self._next_overload(now)
        if self.scenario.sliding:
            while self._uses and self._uses[0][0] <= now - FIVE_HOURS:
                self.used = max(self.used - self._uses.popleft()[1], 0.0)
        elif self.began is not None and now >= self.began + FIVE_HOURS + self.lag:
            self.began, self.used = None, 0.0
            self.lag = self.rng.uniform(0.0, self.scenario.lag)
            self._begin()
        self._draw(now)

    def _begin(self) -> None:
        """Another window, as large as it happens to be."""
        wobble = self.scenario.wobble
        self.capacities.append(self.scenario.capacity * (1 + (self.rng.uniform(-wobble, wobble) if wobble else 0.0)))

    def _draw(self, now: float) -> None:
        """The human at the same account works on while there is something left."""
        units = self.scenario.humanly(self._drawn_at, now) * self.scenario.human_rate if self.scenario.human else 0.0
        self._drawn_at = max(now, self._drawn_at)
        left = min(self.capacity - self.used, self.scenario.weekly - self.week_used)
        if self.began is not None and units > 0 and left > 0:
            self._add(now, min(units, left))

    def _next_overload(self, now: float) -> tuple[float, float]:
        begins = now + self.rng.expovariate(1 / (8 * 3600.0))
        return begins, begins + self.rng.uniform(60.0, 600.0)


def _hundredths(share: float) -> float:
    return min(math.floor(share * 100) / 100, 1.0)
