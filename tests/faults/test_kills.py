"""Kills at random times and at random points: nothing is lost, nothing runs twice."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from faults.campaign import Lives, one_world, settled, worlds
from faults.plants import PLANTS
from faults.points import POINTS
from faults.workload import Work
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


SEEN = {  # what the invariants say of each planted defect: one of these at least
    "launch_before_the_commit": {"unrecorded", "twice", "exit"},
    "forget_to_adopt": {"twice", "unrecorded"},
    "no_owner": {"twice", "unrecorded", "exit", "gate", "books", "program", "state"},
    "charge_a_limit": {"charged"},
    "move_the_gate": {"gate"},
    "ignore_the_gate": {"gate"},
    "guess_the_exit": {"exit"},
    "leave_the_leftovers": {"orphan"},
    "begin_the_output_anew": {"lines"},
    "forget_a_job": {"lost", "database"},
}


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_defect_is_seen(nursery: Nursery, plant: str) -> None:
    kinds: set[str] = set()
    for attempt in range(6):
        figures = one_world(nursery, f"{plant}-{attempt}", kills=12, plant=plant, keep=False, patience=8)
        kinds |= {violation.kind for found in figures.violations.values() for violation in found}
        if kinds & SEEN[plant]:
            return
    assert kinds & SEEN[plant]
