"""What there is to do: jobs with the quota and the time that they need, drawn by seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from simulated.scenario import Scenario

TURN = 33.0  # seconds between two model calls, about
Drawn = Iterator[tuple[str, float, float]]


@dataclass(slots=True, eq=False)
class Task:
    """A job: `units` of quota and `seconds` without interruption, in equal turns; and how far it has come."""

    name: str
    batch: str
    group: str
    account: str
    units: float
    seconds: float
    turns: int
    rng: Random
    done: int = 0  # turns
    owed: float = 0.0  # units, of the next turn: what it must read again
    spent: float = 0.0
    in_session: float = 0.0
    cuts: int = 0
    finished: float | None = None
    refused: int = 0  # in a row
    sessions: list[str] = field(default_factory=list)

    @property
    def progress(self) -> float:
        return self.units * self.done / self.turns

    def begin(self, *, resumes: bool, overhead: float) -> None:
        """It is launched: it goes on where it was, or from its beginning."""
        if resumes:
            self.owed = overhead * self.progress
        else:
            self.done, self.owed, self.in_session = 0, 0.0, 0.0

    def paid(self, units: float) -> None:
        self.owed = 0.0
        self.spent += units
        self.in_session += units

    @property
    def next_units(self) -> float:
        return self.units / self.turns + self.owed

    def next_seconds(self) -> float:
        return self.seconds / self.turns * math.exp(self.rng.gauss(-0.08, 0.4))


def tasks(workload: str, seed: int, scenario: Scenario) -> list[Task]:
    """The jobs of a workload, in the order in which they are handed in."""
    rng = Random(f"{workload}-{seed}")
    drawn = list(WORKLOADS[workload](rng))
    if workload not in IN_ORDER:
        rng.shuffle(drawn)
    return [
        Task(
            name=f"{n:04}",
            batch="/".join(named[:-1]) or "batch",
            group=named[-1],
            account=f"claude-{n % scenario.accounts}",
            units=max(units, 0.05),
            seconds=max(seconds, 36.0),
            turns=min(max(round(seconds / TURN), 4), 120),
            rng=Random(f"{workload}-{seed}-{n}"),
        )
        for n, (group, units, seconds) in enumerate(drawn)
        for named in [group.split("/")]
    ]


def _refactor(rng: Random, jobs: int = 200) -> Drawn:
    """One prompt on many repositories: most are small, a few take an afternoon."""
    for _ in range(jobs):
        size = min(2.2 * rng.paretovariate(1.6) if rng.random() < 0.06 else _around_one(rng, 1.05), 14.0)
        yield "refactor", 2.5 * size * math.exp(rng.gauss(0, 0.2)), 1080 * size**0.886 * math.exp(rng.gauss(0, 0.25))


def _tiers(rng: Random) -> Drawn:
    """An experiment: 113 subtests of seven tiers, three trials of each, alike within a subtest."""
    for tier, subtests in enumerate((24, 10, 15, 41, 7, 15, 1)):
        for _ in range(subtests):
            size = rng.gauss(0, 0.7)
            for _ in range(3):
                trial = size + rng.gauss(0, 0.3)
                yield f"T{tier}", 1.2 * math.exp(trial - 0.29), 360 * math.exp(0.886 * trial + rng.gauss(-0.3, 0.25))


def _ci(rng: Random) -> Drawn:
    """A small batch: a window and a half."""
    for _ in range(60):
        size = _around_one(rng, 0.6)
        yield "ci", 2.5 * size, 480 * size**0.9


def _heavy(rng: Random, jobs: int = 200) -> Drawn:
    """A mean that a few jobs make: a tail of 1.3."""
    for _ in range(jobs):
        size = min(rng.paretovariate(1.3) / 3, 16.0)
        yield "heavy", 2.5 * size, 1080 * size**0.9 * math.exp(rng.gauss(0, 0.2))


# --- those that nothing was tuned on ---


def _repos(rng: Random) -> Drawn:
    """Many tiny jobs and some large ones, each in a group of its own."""
    for _ in range(260):
        if rng.random() < 0.75:
            yield "docs", 0.4 * _around_one(rng, 0.5), 200 * _around_one(rng, 0.4)
        else:
            size = _around_one(rng, 0.7)
            yield "port", 6.0 * size, 2200 * size**0.9 * math.exp(rng.gauss(0, 0.2))


def _drift(rng: Random, jobs: int = 220) -> Drawn:
    """What a job takes grows to the fourfold over the night."""
    for n in range(jobs):
        size = 4 ** (n / jobs) * _around_one(rng, 0.6)
        yield "drift", 1.1 * size, 480 * size**0.9


def _one_big(rng: Random) -> Drawn:
    """Small jobs, and four among them that take a quarter to a half of a window each, which nobody tells apart."""
    for _ in range(180):
        size = _around_one(rng, 0.5)
        yield "jobs", 1.5 * size, 600 * size**0.9
    for _ in range(4):
        units = rng.uniform(25.0, 50.0)
        yield "jobs", units, 240 * units


def _mixed(rng: Random) -> Drawn:
    """Two batches, one after the other at the same account: of the second nobody knows anything when it begins."""
    yield from (("night/" + group, units, seconds) for group, units, seconds in _refactor(rng, 90))
    for _ in range(150):
        yield "papers/read", 0.9 * _around_one(rng, 0.4), 700 * _around_one(rng, 0.5)


def _equal(rng: Random) -> Drawn:
    """All alike, and large: a tenth of a window each."""
    for _ in range(48):
        yield "equal", 10.0 * _around_one(rng, 0.1), 3600 * _around_one(rng, 0.1)


def _around_one(rng: Random, sigma: float) -> float:
    return rng.lognormvariate(-sigma * sigma / 2, sigma)


WORKLOADS: dict[str, Callable[[Random], Drawn]] = {
    "refactor": _refactor,
    "tiers": _tiers,
    "ci": _ci,
    "heavy": _heavy,
    "repos": _repos,
    "drift": _drift,
    "one-big": _one_big,
    "mixed": _mixed,
    "equal": _equal,
    "days": lambda rng: _refactor(rng, 1400),
    "few": lambda rng: _refactor(rng, 12),
}
IN_ORDER = ("drift", "mixed")  # handed in as they are
