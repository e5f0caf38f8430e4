"""What a job draws before it is done: log-normal by group, learned from the jobs that are done and those that are not.

All amounts are drawn: token equivalents. What was cut off, or still runs, has told that it takes more than it has drawn
so far; without that the short jobs, which are done first, would speak for all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from tidegate.model import Cost

LEAST = 3  # jobs that must be done before anything is believed
WEIGHT = 1.0  # jobs of a group that outweigh what is known of all
NARROW, WIDE = 0.15, 1.5  # of the logarithm: no group is surer, and none is spread more
ROUNDS = 8  # of expectation and maximization: more change the third digit
CENSORED = 64  # unfinished jobs that are looked at
REFUTED = 1e-9  # so unlikely is what was seen that nothing follows from the belief
GROWS = 0.05  # of what it has drawn: the least that a job is expected to draw still


class Belief(Struct, frozen=True):
    """A log-normal cost: `mu` and `sigma` of its logarithm; `pace` is what one job draws in a second."""

    mu: float
    sigma: float
    pace: float

    @property
    def mean(self) -> float:
        """What a job takes, on average."""
        return math.exp(self.mu + self.sigma**2 / 2)


class Rest(Struct, frozen=True):
    """What is still to come: its mean, and its variance."""

    mean: float = 0.0
    variance: float = 0.0

    def __add__(self, other: Rest) -> Rest:
        return Rest(self.mean + other.mean, self.variance + other.variance)


# --- what is believed ---


def believed(known: Mapping[str, Cost], group: str, unfinished: Sequence[float] = ()) -> Belief | None:
    """What is known of a group "batch/name": of itself, and of its batch, else of its account; None for nothing.

    `unfinished` is what those of its jobs have drawn that are not done.
    """
    batch = group.rpartition("/")[0] + "/"  # whose name may be a path
    wide = _pooled(one for name, one in known.items() if name.startswith(batch))
    if wide.n < LEAST:
        wide = _pooled(known.values())
    if wide.n < LEAST:
        return None
    own = _pooled([known[group]] if group in known else [])
    both = _Sums(*(mine + WEIGHT / wide.n * theirs for mine, theirs in zip(own, wide, strict=True)))
    mu, sigma = _fitted(both, unfinished)
    few = 1.0 + 1.0 / max(own.n, wide.n)
    return Belief(mu, _bounded(sigma * few), both.drawn / both.seconds if both.seconds > 0 else math.inf)


class _Sums(NamedTuple):
    """How many jobs, and the sums of their logarithms, of the squares of these, of their draws and their seconds."""

    n: float = 0.0
    logs: float = 0.0
    squares: float = 0.0
    drawn: float = 0.0
    seconds: float = 0.0


def _pooled(several: Iterable[Cost]) -> _Sums:
    """Several groups as one."""
    told = [(one.jobs, one.logs, one.squares, one.drawn, one.seconds) for one in several]
    return _Sums(*map(sum, zip(*told, strict=True))) if told else _Sums()


def _fitted(done: _Sums, unfinished: Sequence[float]) -> tuple[float, float]:
    """The likeliest log-normal, where what is not done takes more than it has drawn."""
    mu, sigma = _normal(done.n, done.logs, done.squares)
    above = [math.log(drawn) for drawn in sorted(unfinished, reverse=True)[:CENSORED] if drawn > 0]
    for _ in range(ROUNDS if above else 0):
        logs, squares = done.logs, done.squares
        for log in above:
            lift = sigma * _hazard((log - mu) / sigma)
            logs += mu + lift
            squares += mu * mu + sigma * sigma + lift * (log + mu)
        mu, sigma = _normal(done.n + len(above), logs, squares)
    return mu, sigma


def _normal(n: float, logs: float, squares: float) -> tuple[float, float]:
    mu = logs / n
    return mu, _bounded(math.sqrt(max(squares / n - mu * mu, 0.0)))


def told(mean: float, spread: float, pace: float) -> Belief:
    """What a person says of a job: so much, give or take."""
    sigma = _bounded(math.sqrt(math.log1p((spread / mean) ** 2)))
    return Belief(math.log(mean) - sigma**2 / 2, sigma, pace)


def _bounded(sigma: float) -> float:
    return min(max(sigma, NARROW), WIDE)


# --- what is still to come ---


def rest(belief: Belief, drawn: float, most: float = math.inf, *, least: float = 0.0) -> Rest:
    """What a job draws from now on that has drawn so much, and no more than `most` of it.

    `least`: it takes more than this in all, as an attempt of it has shown.
    """
    floor, ceiling = max(drawn, least), drawn + most
    if ceiling <= floor:
        return Rest(most)
    some, squared = _between(belief, floor, ceiling)
    mean = min(max(some - drawn, GROWS * floor), most)
    return Rest(mean, max(squared - some * some, 0.0))


def _between(belief: Belief, floor: float, ceiling: float) -> tuple[float, float]:
    """Mean and mean square of a cost above `floor`, where all above `ceiling` counts as that."""
    mu, sigma = belief.mu, belief.sigma
    if floor <= 0 and ceiling == math.inf:
        return belief.mean, math.exp(2 * mu + 2 * sigma * sigma)
    low = (math.log(floor) - mu) / sigma if floor > 0 else -math.inf
    high = (math.log(ceiling) - mu) / sigma if ceiling < math.inf else math.inf
    over = _tail(low)
    if over < REFUTED:
        some = min(1.5 * floor, ceiling)
        return some, some * some * 1.1
    mean = belief.mean * (_tail(low - sigma) - _tail(high - sigma))
    square = math.exp(2 * mu + 2 * sigma * sigma) * (_tail(low - 2 * sigma) - _tail(high - 2 * sigma))
    beyond = _tail(high)
    if beyond > 0:
        mean, square = mean + ceiling * beyond, square + ceiling * ceiling * beyond
    return mean / over, square / over


def _tail(z: float) -> float:
    """How likely a normal number is above `z`."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def _hazard(z: float) -> float:
    """Its mean, where it is above `z`."""
    if z > 30:
        return z
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / _tail(z)
