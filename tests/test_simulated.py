"""The simulator of issue 7 around the real supervisor: what it counts adds up, and chance is drawn by its seed."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from simulated.agent import Tally
from simulated.allowance import Allowance
from simulated.baselines import BASELINES
from simulated.runs import TIDEGATE, run, serve
from simulated.scenario import SCENARIOS, Scenario
from simulated.work import tasks

TIGHT = replace(SCENARIOS["plain"], capacity=12.0)  # for a few jobs to come to its end


def test_the_same_seed_gives_the_same_figures_and_another_others() -> None:
    one, again, other = (run(TIDEGATE, "few", TIGHT, seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other


@pytest.mark.parametrize("scenario", [TIGHT, replace(TIGHT, says="text", lag=45.0)])
def test_what_a_run_counts_adds_up_and_nothing_is_launched_behind_a_shut_gate(scenario: Scenario) -> None:
    work, tally = tasks("few", 3, scenario), Tally()
    allowances = {"claude-0": Allowance(scenario, Random(3))}
    service = serve(work, allowances, scenario, tally, 3)
    assert service.behind == 0
    assert all(task.finished for task in work)
    assert allowances["claude-0"].closings > 0
    assert tally.launches == len(work) + tally.refused == sum(job.launches for job in service.store.jobs())
    assert all(not job.attempts for job in service.store.jobs()), "a limit is charged"


def test_those_without_tidegate_come_to_an_end() -> None:
    for name in BASELINES:
        told = run(name, "few", TIGHT, 1)
        assert 0 < told.done <= 1
        assert told.launches >= 12
