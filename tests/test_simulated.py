"""The simulator of issue 7 around the real supervisor: what it counts adds up, and chance is drawn by its seed."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from statistics import fmean

import msgspec
import pytest
from simulated.agent import Agent, Answered, Finished, Tally
from simulated.allowance import Allowance, Told
from simulated.baselines import BASELINES
from simulated.runs import TIDEGATE, run, serve
from simulated.scenario import BEGIN, SCENARIOS, WEEK, Scenario
from simulated.words import TOKENS, Words, usage
from simulated.work import tasks
from timeless.loop import Loop, Time

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


def test_an_answer_tells_tokens_that_weigh_what_it_cost_and_an_event_only_what_is_new_of_a_window() -> None:
    words, units = Words("session", BEGIN, Random(1)), [0.02, 0.08, 0.4] * 200
    weights = [usage(each, Random(n)).weight / each for n, each in enumerate(units)]
    assert fmean(weights) == pytest.approx(TOKENS, rel=0.02)
    task, told = tasks("few", 1, TIGHT)[0], Told(0.03, 18_000.0, 0.0, WEEK)
    loop = Loop(Time(BEGIN))
    agent = Agent(task, Allowance(TIGHT, Random(1)), loop, Tally(), hear=lambda _: None)
    said = [words.say(agent, Answered(0.4, each)) for each in (told, told, replace(told, five=0.04))]
    assert [len(lines) for lines in said] == [2, 1, 2]
    told_of_result = msgspec.json.decode(words.say(agent, Finished(0.4, None))[-1])["usage"]
    assert told_of_result["output_tokens"] > 1000
    assert msgspec.json.decode(said[0][0])["message"]["usage"]["output_tokens"] == 1
    loop.close()


def test_those_without_tidegate_come_to_an_end() -> None:
    for name in BASELINES:
        told = run(name, "few", TIGHT, 1)
        assert 0 < told.done <= 1
        assert told.launches >= 12
