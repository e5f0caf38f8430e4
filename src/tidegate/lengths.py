"""How long jobs take, learned from those that have ended and from those that have not ended yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from typing import Final

from msgspec import Struct

LEAST: Final = 0.05  # seconds: less cannot be told from the cost of a launch
SIGMA, DEGREES = 1.0, 3.0  # of the spread before anything is known, and how many jobs that is worth
SIGMA_LEAST, SIGMA_MOST = 0.02, 1.5  # a wider spread says that a mean is anybody's guess
PULL = 2.0  # jobs that what is known of all groups together is worth for one of them
PART = 0.2  # of a job that has ended: what one is worth of which only a part is seen
ROUNDS: Final = 12


class Drawn(Struct, frozen=True):
    """What the logarithm of a length may be like: a mean and a spread, as one possible world has them."""

    mean: float
    sigma: float

    @property
    def expected(self) -> float:
        """Seconds of one job in the mean."""
        return math.exp(self.mean + self.sigma**2 / 2)

    def one(self, rng: Random) -> float:
        """The seconds of some job."""
        return math.exp(rng.gauss(self.mean, self.sigma))

    def rest(self, gone: float, rng: Random) -> float:
        """The seconds that are left of a job that has worked for `gone` already."""
        if gone <= LEAST:
            return self.one(rng)
        least = (math.log(gone) - self.mean) / self.sigma
        return math.exp(self.mean + self.sigma * beyond(least, rng)) - gone

    def sum(self, number: int, rng: Random) -> float:
        """The seconds of so many jobs together, as a log-normal of the same mean and variance."""
        spread = math.log1p(math.expm1(self.sigma**2) / number)
        return number * self.expected * math.exp(rng.gauss(-spread / 2, math.sqrt(spread)))


class Length(Struct, frozen=True):
    """What is known of the logarithm of a length: its mean and spread, from so many jobs."""

    mean: float
    sigma: float
    jobs: float

    def drawn(self, rng: Random) -> Drawn:
        """One of the worlds in which this could have been seen."""
        degrees = self.jobs + DEGREES
        sigma = self.sigma * math.sqrt(degrees / rng.gammavariate(degrees / 2, 2.0))
        sigma = min(max(sigma, SIGMA_LEAST), SIGMA_MOST)
        return Drawn(rng.gauss(self.mean, sigma / math.sqrt(self.jobs)), sigma)


def learn(ended: Sequence[float], under_way: Sequence[float], above: Length | None = None) -> Length | None:
    """What jobs tell that took so many seconds, and others that have worked for so long and have not ended.

    `above` is what is known of more jobs than these. None where no job has ended.
    """
    if not ended and above is None:
        return None
    logs, open_ = [math.log(max(one, LEAST)) for one in ended], [math.log(max(one, LEAST)) for one in under_way]
    pull = 0.0 if above is None else min(PULL, above.jobs)
    first = [*logs, *([above.mean] if above is not None else [])]
    mean, sigma = math.fsum(first) / len(first), SIGMA if above is None else above.sigma
    least = min(SIGMA, sigma)
    for _ in range(ROUNDS if open_ else 2):
        seen = [(mean + sigma * hazard((one - mean) / sigma), one) for one in open_]
        number = len(logs) + pull + len(open_)
        pulled = pull * above.mean if above is not None else 0.0
        after = (math.fsum(logs) + pulled + math.fsum(guess for guess, _ in seen)) / number
        squares = math.fsum((one - after) ** 2 for one in logs)
        squares += math.fsum(_square(one, mean, sigma, after) for _, one in seen)
        sigma = math.sqrt((squares + DEGREES * least**2) / (number - pull + DEGREES))
        mean = after
    return Length(mean, sigma, len(logs) + pull + PART * len(open_))


def _square(least: float, mean: float, sigma: float, around: float) -> float:
    """The expected square of the distance to `around` of what is more than `least`."""
    at = (least - mean) / sigma
    more = hazard(at)
    return sigma**2 * (1 + at * more) + 2 * sigma * more * (mean - around) + (mean - around) ** 2


def hazard(at: float) -> float:
    """The mean of a standard normal variable that is more than `at`."""
    if at > 8:
        return at + 1 / at
    return math.exp(-at * at / 2) / math.sqrt(math.pi / 2) / math.erfc(at / math.sqrt(2))


def beyond(least: float, rng: Random) -> float:
    """A standard normal variable that is more than `least`, drawn (Robert 1995 for the tail)."""
    if least < 0.5:
        while (found := rng.gauss(0.0, 1.0)) <= least:
            pass
        return found
    rate = (least + math.sqrt(least * least + 4)) / 2
    while True:
        found = least + rng.expovariate(rate)
        if rng.random() <= math.exp(-((found - rate) ** 2) / 2):
            return found
