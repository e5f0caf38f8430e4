"""What is foretold of simulated batches on their way, beside how they end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

from simulated.agent import Tally
from simulated.allowance import Allowance
from simulated.runs import HORIZON, opened
from simulated.scenario import Scenario
from simulated.service import Service
from simulated.supervised import HOST
from simulated.work import tasks
from tidegate.forecast import foresee
from tidegate.foretell import scene
from tidegate.model import State
from tidegate.prospect import Forecast

SHARES = 0.1, 0.25, 0.5  # of the jobs that have ended
LOOK = 300.0  # seconds between two looks at how many have


@dataclass(slots=True, eq=False, kw_only=True)
class Foreseeing(Service):
    """A run of which the end is foretold when so many of the jobs have ended."""

    told: dict[float, list[Forecast]] = field(default_factory=dict)
    _looks: bool = False

    def asked(self, job: int, n: int, session: str | None) -> None:
        Service.asked(self, job, n, session)
        if not self._looks:
            self._looks = True
            self.loop.call_later(LOOK, self._look)

    def _look(self) -> None:
        counts = self.store.counts()
        done = 1 - (counts[State.QUEUED] + counts[State.RUNNING]) / sum(counts.values())
        if (due := [share for share in SHARES if done >= share and share not in self.told]) and done < 1:
            found = foresee(scene(self.store, self.time.now(), host=HOST, slots=self.slots))
            self.told |= dict.fromkeys(due, found)
        self.loop.call_later(LOOK, self._look)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was foretold when a share of the jobs had ended, and what came: seconds from then on, None for unknown."""

    share: float
    p50: float | None
    p90: float | None
    came: float

    @property
    def off(self) -> float | None:
        """By how much of the time that was left it came later than foretold."""
        return None if self.p50 is None else (self.came - self.p50) / self.came


def foreseen(workload: str, scenario: Scenario, seed: int) -> list[Told]:
    """What was foretold of one run."""
    work = tasks(scenario.workload or workload, seed, scenario)
    allowances = {name: Allowance(scenario, Random(f"{name}-{seed}")) for name in {task.account for task in work}}
    with opened("memory") as store:
        run = Foreseeing(
            tasks=work,
            allowances=allowances,
            scenario=scenario,
            store=store,
            slots=scenario.slots,
            tally=Tally(),
            seed=seed,
        )
        run.submit()
        run.run(HORIZON)
        ends = {job.batch: job.ended_at for job in sorted(store.jobs(most=10_000), key=lambda job: str(job.ended_at))}
    found = []
    for share, forecasts in run.told.items():
        for one in forecasts:
            end = ends[one.batch]
            assert end is not None, "it is over"
            p50, p90 = ((at - one.at).total_seconds() if at is not None else None for at in (one.p50, one.p90))
            found.append(Told(share=share, p50=p50, p90=p90, came=(end - one.at).total_seconds()))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """How good forecasts were: which share of the ends came by p50 and by p90, and by how much p50 was off."""

    known: int
    unknown: int
    by_p50: float
    by_p90: float
    off: float  # in the mean, without its sign
    late: float  # with it


def fit(some: Iterable[Told]) -> Fit:
    """Of several."""
    told = list(some)
    known = [one for one in told if one.p50 is not None and one.p90 is not None]
    offs = [one.off for one in known if one.off is not None]
    count = max(len(known), 1)
    return Fit(
        known=len(known),
        unknown=len(told) - len(known),
        by_p50=sum(one.came <= (one.p50 or 0) for one in known) / count,
        by_p90=sum(one.came <= (one.p90 or 0) for one in known) / count,
        off=sum(map(abs, offs)) / count,
        late=sum(offs) / count,
    )
