"""What a run came to, beside the best that could be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from simulated.agent import START, Tally
from simulated.allowance import Allowance
from simulated.scenario import FIVE_HOURS, WEEK, Scenario
from simulated.work import Task

DAY = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One run, or the mean of several; `ratio` is the makespan by the optimum, NaN unless all is done.

    `closed` launches met a limit that stood, without the `canaries` among them; `wasted` is a share of the quota,
    `whole` the share of the jobs that no limit has interrupted. `late` is 1 where a day and more was lost: what was
    wasted has used up the week, which the optimum just has not. `near` is the ratio of all others.
    """

    done: float
    ratio: float
    hours: float
    optimum: float
    wasted: float
    whole: float
    closed: float
    canaries: float
    closings: float
    launches: float
    late: float
    near: float


def figures(tasks: Sequence[Task], allowances: dict[str, Allowance], scenario: Scenario, tally: Tally) -> Figures:
    """Of a run that is over."""
    done = [task for task in tasks if task.finished is not None]
    spent, useful = sum(task.spent for task in tasks), sum(task.units for task in done)
    last, best = max((task.finished or 0.0 for task in done), default=math.nan), optimum(tasks, allowances, scenario)
    late = not last - best < DAY
    ratio = last / best if len(done) == len(tasks) else math.nan
    return Figures(
        done=len(done) / len(tasks),
        ratio=ratio,
        hours=last / 3600,
        optimum=best / 3600,
        wasted=(spent - useful) / spent if spent else 0.0,
        whole=sum(not task.cuts for task in done) / len(tasks),
        closed=tally.closed,
        canaries=tally.early,
        closings=sum(one.closings for one in allowances.values()),
        launches=tally.launches,
        late=float(late),
        near=math.nan if late else ratio,
    )


def mean(runs: Sequence[Figures]) -> Figures:
    """Of several runs; the ratio is that of those in which all was done."""
    names = Figures.__dataclass_fields__
    return Figures(**{name: _mean([getattr(run, name) for run in runs]) for name in names})


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return fmean(known) if known else math.nan


def optimum(tasks: Sequence[Task], allowances: dict[str, Allowance], scenario: Scenario) -> float:
    """Seconds that nobody can undercut: work as a fluid, nothing wasted, each window open the moment it can be."""
    busy = sum(task.seconds + START for task in tasks) / scenario.slots
    flows = (
        _flow([task for task in tasks if task.account == name], scenario, one.capacities)
        for name, one in allowances.items()
    )
    return max(busy, *flows, *(task.seconds + START for task in tasks))


def _flow(tasks: Sequence[Task], scenario: Scenario, capacities: Sequence[float]) -> float:
    """The time that one account's quota takes at least; windows that the run has not seen are as large as they get."""
    left = sum(task.units for task in tasks)
    rate = scenario.slots * left / sum(task.seconds + START for task in tasks)
    largest = iter([*capacities, *[scenario.capacity * (1 + scenario.wobble)] * 10_000])
    now, used, week = 0.0, scenario.used, scenario.week_used
    room, ends, week_ends = next(largest) - used, FIVE_HOURS - scenario.begun, scenario.week_left
    while left > 1e-9:
        if min(room, scenario.weekly - week) > 1e-9:
            turns = scenario.turns_after(now)
            human = scenario.human_rate if scenario.humanly(now, now + 1.0) else 0.0
            most = min(room, scenario.weekly - week) / (rate + human)
            spell = min(most, left / rate, ends - now, week_ends - now, turns - now)
            left, room, week = left - spell * rate, room - spell * (rate + human), week + spell * (rate + human)
            now += spell
        else:
            now = week_ends if scenario.weekly - week <= 1e-9 else ends
        if now >= ends - 1e-6:
            room, ends = next(largest), now + FIVE_HOURS
        if now >= week_ends - 1e-6:
            week, week_ends = 0.0, week_ends + WEEK
    return now
