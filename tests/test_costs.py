"""What is believed of the costs of jobs, and what one draws before it is done."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random
from statistics import NormalDist, fmean, pvariance

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate import costs
from tidegate.costs import Belief
from tidegate.model import Cost

AMOUNTS = st.floats(1e-3, 1e8)
BELIEFS = st.builds(Belief, st.floats(-5, 15), st.floats(costs.NARROW, costs.WIDE), st.floats(1e-3, 1e5))


def known(*amounts: float, pace: float = 2.0) -> Cost:
    """Jobs that are done, as they are kept."""
    logs = [math.log(amount) for amount in amounts]
    drawn = sum(amounts)
    squares = sum(log * log for log in logs)
    return Cost(
        account="a",
        group="b/g",
        jobs=len(logs),
        logs=sum(logs),
        squares=squares,
        drawn=drawn,
        seconds=drawn / pace if pace else 0.0,
        rates=pace * len(logs),
    )


def belief(costs_of: dict[str, Cost], group: str, *unfinished: float) -> Belief:
    found = costs.believed(costs_of, group, unfinished)
    assert found is not None
    return found


def test_a_batch_whose_name_is_a_path_is_believed_as_soon_as_three_of_its_jobs_are_done() -> None:
    groups = {"x/b/one": known(*[10.0] * 3), "x/c/one": known(*[1000.0] * 8)}
    assert math.exp(belief(groups, "x/b/new").mu) == pytest.approx(10)


def test_what_few_jobs_tell_is_believed_to_be_wider_and_their_pace_is_that_of_all_their_seconds() -> None:
    two = known(*[math.exp(-1), math.exp(1)] * 2, pace=100.0)
    found = belief({"b/g": two}, "b/g")
    assert (found.mu, found.sigma, found.pace) == pytest.approx((0.0, 1.25, 100.0))


def test_nothing_is_believed_before_three_jobs_of_an_account_are_done() -> None:
    assert costs.believed({}, "b/g") is None
    assert costs.believed({"b/g": known(1.0), "c/g": known(2.0)}, "b/g") is None
    assert costs.believed({"b/g": known(1.0), "c/g": known(2.0, 3.0)}, "b/g") is not None


def test_a_group_without_history_is_believed_to_be_like_its_batch_and_that_like_its_account() -> None:
    groups = {"b/one": known(*[10.0] * 8), "c/one": known(*[1000.0] * 8)}
    assert math.exp(belief(groups, "b/new").mu) == pytest.approx(10)
    assert math.exp(belief(groups, "d/new").mu) == pytest.approx(100)
    assert belief(groups, "b/new").pace == pytest.approx(2.0)


def test_a_group_with_history_is_believed_to_be_like_itself() -> None:
    groups = {"b/small": known(*[10.0] * 60), "b/large": known(*[1000.0] * 60)}
    assert math.exp(belief(groups, "b/small").mu) < 15
    assert math.exp(belief(groups, "b/large").mu) > 700


def test_jobs_that_are_not_done_yet_tell_that_they_take_more() -> None:
    groups = {"b/g": known(1.0, 2.0, 3.0)}
    assert belief(groups, "b/g", 8.0, 9.0, 0.0).mean > 2 * belief(groups, "b/g").mean


def test_what_is_learned_from_finished_and_running_jobs_comes_near_the_truth() -> None:
    rng = Random(1)
    every = [(rng.lognormvariate(2.0, 0.9), rng.uniform(1, 15)) for _ in range(150)]
    done = {"b/g": known(*[cost for cost, seen in every if cost <= seen])}
    running = [seen for cost, seen in every if cost > seen]
    fair, survivors = belief(done, "b/g", *running), belief(done, "b/g")
    assert abs(fair.mu - 2.0) < 0.3 < abs(survivors.mu - 2.0)


def likelihood(mu: float, sigma: float, done: list[float], running: list[float]) -> float:
    """The logarithm of how likely these costs of jobs are, where those that run take more than they have drawn."""
    normal = NormalDist(mu, sigma)
    return sum(math.log(normal.pdf(math.log(cost))) for cost in done) + sum(
        math.log(1 - normal.cdf(math.log(seen))) for seen in running
    )


@pytest.mark.parametrize("scale", [0.02, 50.0])
def test_what_is_learned_is_what_makes_all_that_was_seen_the_likeliest(scale: float) -> None:
    done = [scale * cost for cost in (1.0, 2.0, 3.0, 5.0, 8.0, 2.5, 1.5, 4.0, 0.5, 3.5)]
    running = [scale * seen for seen in (6.0, 3.0, 1.0)]
    one = known(*done)
    mu, sigma = costs._fitted(costs._pooled([one]), running)
    best = likelihood(mu, sigma, done, running)
    for other in ((mu + 0.02, sigma), (mu - 0.02, sigma), (mu, sigma * 1.02), (mu, sigma / 1.02)):
        assert likelihood(*other, done, running) < best


def test_of_many_jobs_that_are_not_done_those_that_have_drawn_most_are_looked_at() -> None:
    groups, little = {"b/g": known(1.0, 2.0, 3.0)}, [0.01] * costs.CENSORED
    assert belief(groups, "b/g", *little, 9.0) == belief(groups, "b/g", 9.0, *little[1:])
    assert belief(groups, "b/g", *little, 9.0) == belief(groups, "b/g", *little[1:], 9.0)


def test_jobs_that_outlast_everything_known_make_no_numbers_that_are_none() -> None:
    far = belief({"b/g": known(1.0, 1.0, 1.0)}, "b/g", 1e30)
    assert math.isfinite(far.mu)
    assert far.sigma == costs.WIDE


def test_a_pace_that_nobody_knows_is_no_bound() -> None:
    assert belief({"b/g": known(1.0, 2.0, 3.0, pace=0.0)}, "b/g").pace == math.inf


def test_what_a_person_says_is_a_mean_and_a_spread() -> None:
    said = costs.told(2.0, 1.0, 1.0)
    assert said.mean == pytest.approx(2.0)
    assert costs.rest(said, 0.0).variance == pytest.approx(1.0)


def test_a_fresh_job_takes_the_mean_and_one_that_has_drawn_more_than_that_takes_more_still() -> None:
    one = Belief(math.log(100), 1.0, 1.0)
    assert costs.rest(one, 0.0).mean == pytest.approx(one.mean)
    assert costs.rest(one, 1000.0).mean > 450


RESTS = [
    (100.0, 0.7, 0.0, math.inf, 0.0),
    (100.0, 1.0, 0.0, 150.0, 0.0),
    (100.0, 0.7, 80.0, math.inf, 0.0),
    (100.0, 0.5, 80.0, 60.0, 0.0),
    (100.0, 0.5, 0.0, 300.0, 80.0),
    (0.4, 0.8, 0.5, math.inf, 0.0),
    (0.4, 0.8, 0.5, 0.4, 0.0),
    (0.4, 0.8, 0.5, 0.7, 0.0),
]


@pytest.mark.parametrize(("median", "sigma", "drawn", "most", "least"), RESTS)
def test_what_is_to_come_is_the_mean_of_all_jobs_that_have_drawn_so_much(
    median: float, sigma: float, drawn: float, most: float, least: float
) -> None:
    normal, parts = NormalDist(math.log(median), sigma), 5000
    every = [math.exp(normal.inv_cdf((n + 0.5) / parts)) for n in range(parts)]
    left = [min(cost - drawn, most) for cost in every if cost > max(drawn, least)]
    rest = costs.rest(Belief(math.log(median), sigma, 1.0), drawn, most, least=least)
    assert rest.mean == pytest.approx(fmean(left), rel=0.02)
    assert rest.variance == pytest.approx(pvariance(left, fmean(left)), rel=0.1)


def test_at_the_reset_nothing_is_to_come_any_more() -> None:
    one = Belief(math.log(100), 1.0, 1.0)
    assert costs.rest(one, 0.0, 0.0) == costs.Rest()
    assert costs.rest(one, 50.0, 0.0) == costs.Rest()


def test_a_job_draws_no_more_than_it_can_until_the_reset() -> None:
    one = Belief(math.log(100), 1.0, 1.0)
    assert costs.rest(one, 50.0, 20.0).mean < 20
    assert costs.rest(one, 50.0, 0.001).mean == pytest.approx(0.001, rel=0.01)


def test_a_job_that_begins_anew_draws_at_least_what_it_has_drawn_before() -> None:
    one = Belief(math.log(100), 1.0, 1.0)
    again = costs.rest(one, 0.0, least=200.0)
    assert again.mean > 200
    assert costs.rest(one, 0.0, 150.0, least=200.0) == costs.Rest(150.0)


def test_what_refutes_a_belief_is_told_by_what_was_drawn_alone() -> None:
    rest = costs.rest(Belief(0.0, 0.15, 1.0), 1e9)
    assert (rest.mean, rest.variance) == pytest.approx((0.5e9, 0.1 * 1.5e9**2))
    assert costs.rest(Belief(0.0, 0.15, 1.0), 1e9, 1e8).mean == pytest.approx(1e8)


@settings(max_examples=25)
@given(BELIEFS, AMOUNTS, AMOUNTS)
def test_what_is_to_come_is_never_less_than_nothing_nor_more_than_it_can_be(
    one: Belief, drawn: float, most: float
) -> None:
    rest = costs.rest(one, drawn, most)
    assert 0 <= rest.mean <= most
    assert rest.variance >= 0


@settings(max_examples=25)
@given(BELIEFS, AMOUNTS)
def test_who_has_more_time_draws_more(one: Belief, drawn: float) -> None:
    means = [costs.rest(one, drawn, drawn * share).mean for share in (0.1, 0.5, 1.0, 5.0)]
    assert all(less <= more * (1 + 1e-6) for less, more in pairwise(means))
