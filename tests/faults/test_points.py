"""The points at which the campaign kills: each names what is there, and the workload comes past each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

import tidegate
from faults.campaign import JOBS, Lives, settled
from faults.points import NEVER, POINTS, STEPS, SUPERVISOR, TOLD, TRANSACTIONS, placed
from faults.workload import some
from faults.world import Nursery, World
from tidegate.stores.sqlite import SqliteStore

SRC = Path(tidegate.__file__).parent


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.mark.parametrize("name", STEPS)
def test_each_step_is_still_there(name: str) -> None:
    owner, attribute = placed(STEPS[name][0])
    assert callable(getattr(owner, attribute))


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_each_transaction_is_still_there(name: str) -> None:
    assert callable(getattr(SqliteStore, name))


def test_each_event_is_still_written() -> None:
    text = "".join(path.read_text() for path in (SRC / "stores").glob("*.py"))
    assert [name for name in TOLD if f'"{name}"' not in text] == []


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_workload_comes_past_every_point(nursery: Nursery) -> None:
    with settled(nursery, trace=True) as world:
        lives = Lives(world, Random("tour"), "serve")
        lives.begin(some(Random("tour"), JOBS))
        deadline = time.monotonic() + 150
        while (missing := _missing(world)) and time.monotonic() < deadline:
            _tour(lives, missing)
            lives.go_on()
        assert missing == set()


def _missing(world: World) -> set[str]:
    trace = world.place / "trace"
    return POINTS.keys() - (set(trace.read_text().split("\n")) if trace.exists() else set()) - NEVER


def _tour(lives: Lives, missing: set[str]) -> None:
    """A life in which all is done that what is missing needs."""
    needed = {POINTS[name].by or SUPERVISOR for name in missing}
    for doing in sorted(needed):
        if doing in POINTS:
            lives.at(POINTS[doing], 1)
        elif doing == SUPERVISOR:
            lives.undisturbed(2.0)
        else:
            lives.undisturbed(0.5, doing)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("part", range(8))
def test_a_kill_at_every_point_costs_nothing(nursery: Nursery, part: int) -> None:
    points = sorted(POINTS)[part::8]
    with settled(nursery) as world:
        lives = Lives(world, Random(part), "serve")
        lives.begin(some(Random(part), JOBS))
        missed = []
        for name in points:
            missed += [] if _killed(lives, name) else [name]
            world.look()
        world.finish("serve")
        assert world.found == []
        assert len(missed) <= 5, f"on a slow machine some may not come in time, but {missed}"


def _killed(lives: Lives, name: str) -> bool:
    """Kill at a point; where it does not come at once, let the work go on and try again."""
    for _ in range(4):
        lives.go_on()
        if lives.at(POINTS[name], 1, patience=3.0):
            return True
    return False
