"""Many runs, side by side in processes where there are cores: the mean of each over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from simulated.figures import Figures, mean
from simulated.runs import TIDEGATE, run
from simulated.scenario import SCENARIOS


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """Who works at what, and without which parts of it."""

    who: str = TIDEGATE
    workload: str = "refactor"
    scenario: str = "plain"
    without: tuple[str, ...] = ()
    store: str = "memory"


def measured(tries: Sequence[Try], seeds: Sequence[int], processes: int = 1) -> dict[Try, Figures]:
    """Each once, however often it is asked for; the same whatever the number of processes."""
    wanted = list(dict.fromkeys(tries))
    each = [(one, seed) for one in wanted for seed in seeds]
    if processes == 1:
        told = list(map(_run, each))
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            told = list(pool.map(_run, each))
    size = len(seeds)
    return {one: mean(told[n * size : (n + 1) * size]) for n, one in enumerate(wanted)}


def _run(one: tuple[Try, int]) -> Figures:
    what, seed = one
    return run(what.who, what.workload, SCENARIOS[what.scenario], seed, without=what.without, store=what.store)
