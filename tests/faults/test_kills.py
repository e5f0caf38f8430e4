"""Kills at random times and at random points: nothing is lost, nothing runs twice."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from faults.campaign import Lives, settled, worlds
from faults.plants import PLANTS
from faults.points import POINTS
from faults.workload import Work, some
from faults.world import Nursery

KILLS = 30  # in each of the parts


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


def test_three_kills_around_a_launch_and_an_end_cost_nothing(nursery: Nursery) -> None:
    with settled(nursery) as world:
        lives = Lives(world, Random("few"), "serve")
        lives.begin([Work(f"j{n}", "plain", 2, 0.05, code=n % 3) for n in range(1, 7)])
        for name in ("attempt claimed:committed", "launch.spawn:after", "finish:committing"):
            assert lives.at(POINTS[name], 1, patience=20), f"{name} does not come"
        world.finish("serve")
        assert world.found == []


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("part", range(12))
def test_kills_at_any_time_cost_nothing(part: int) -> None:
    figures = worlds(f"ci{part}", KILLS)
    assert figures.violations == {}, "python tests/faults/campaign.py --replay SEED, with one of these"
    assert figures.kills.total() >= KILLS


SEEN = {  # where one is killed with this defect, and what the invariants then say: one of these kinds at least
    "forget_to_adopt": (["launch.spawn:after"] * 3, {"twice", "unrecorded"}),
    "charge_a_limit": ([], {"charged"}),
    "move_the_gate": (["gate shut:committed", "lift:before"] * 2, {"gate"}),
    "ignore_the_gate": ([], {"gate"}),
    "guess_the_exit": (["launch.spawn:after"] * 3, {"exit"}),
    "leave_the_leftovers": ([], {"orphan"}),
    "begin_the_output_anew": (["finish:committed"] * 3, {"lines"}),
    "forget_a_job": ([], {"lost", "database"}),
}


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("plant", SEEN)
def test_a_planted_defect_is_seen(nursery: Nursery, plant: str) -> None:
    points, kinds = SEEN[plant]
    for attempt in range(5):
        with settled(nursery, plant=plant) as world:
            lives = Lives(world, Random(f"{plant}-{attempt}"), "serve")
            lives.begin(some(Random(attempt), 16))
            for point in points:
                lives.at(POINTS[point], 1, patience=2)
                world.look()
            world.finish("serve", within=8)
            if {violation.kind for violation in world.found} & kinds:
                return
    pytest.fail(f"not seen: {[str(violation) for violation in world.found]}")


def test_each_plant_has_a_test_that_sees_it() -> None:
    assert PLANTS.keys() == SEEN.keys()
