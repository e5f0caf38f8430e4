"""The ends of batches are foretold while somebody works on them."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from installed import Tidegate, until
from msgspec.structs import replace
from simulated.foreseen import fit, foreseen
from simulated.scenario import PLAIN
from stores.world import START, World, new

from tidegate.forecast import UNKNOWN
from tidegate.foretell import news, scene
from tidegate.model import Account, Batch, NewGroup
from tidegate.prospect import Forecast
from tidegate.stores.memory import MemoryStore

LENGTHS = {"a": 1, "b": 1, "c": 300, "d": 300}


@pytest.fixture
def world() -> World:
    made = World(MemoryStore())
    made.enter()
    return made


def told(world: World, batch: int | None = None, slots: int = 2) -> list[Forecast]:
    """What is news, which is kept."""
    fresh, _ = news(world.store, scene(world.store, world.now, host="here", slots=slots, batch=batch))
    for one, forecast in fresh:
        world.store.note_forecast(one, forecast, world.now)
    return [forecast for _, forecast in fresh]


def test_each_batch_is_foretold_as_soon_as_something_is_known(world: World) -> None:
    world.submit("a", "b", "c", "d")
    world.submit("e", batch="c")
    assert [(one.batch, one.left, one.why) for one in told(world)] == [(1, 4, UNKNOWN), (2, 1, UNKNOWN)]
    assert told(world) == [], "that is known"
    claim = world.take()
    world.wait(600)
    world.finish(claim)
    (first,) = told(world)
    assert (first.batch, first.left, first.slots) == (1, 3, 2)
    assert first.p50 is not None
    assert 600 < (first.p50 - world.now).total_seconds() < 6000
    world.wait(1)
    assert told(world, batch=1) == [], "nothing has moved"
    world.wait(3600)
    assert [one.batch for one in told(world)] == [1], "it is late by now"
    assert len(world.store.forecasts(1)) == 3


def test_what_binds_a_batch_is_looked_up(world: World) -> None:
    world.accounts(Account(name="acct", max_running=1))
    jobs = [replace(new(name), group=name[0]) for name in ("a1", "a2", "b1")]
    world.store.submit(Batch("b"), jobs, world.now, groups=[NewGroup(name="b", needs=("a",))])
    world.pause("acct", world.ahead(3600))
    world.store.set_hours("acct", "00:00-24:00", world.now)
    known = scene(world.store, START + timedelta(seconds=5), host="here", slots=2)
    assert [group.name for group in known.groups] == ["a", "b"]
    assert known.accounts["acct"].max_running == 1
    assert [hold.scope for hold in known.holds] == ["acct"]
    assert known.hours["acct"].opens(known.now) is None


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_whoever_works_on_a_batch_foretells_its_end(tidegate: Tidegate) -> None:
    """The first look is after a minute: what ends sooner needs none."""
    jobs = "".join(f'[[job]]\nid = "{name}"\ncommand = ["sleep", "{seconds}"]\n' for name, seconds in LENGTHS.items())
    run = tidegate.start("run", tidegate.batch(f'[batch]\nname = "b"\n{jobs}'), "--slots", "2")
    until(lambda: tidegate.state.exists() and "done by about" in tidegate("status").stdout, within=240)
    (told,) = tidegate.events("forecast made")
    assert told["scope"] == "batch:b"
    assert tidegate("cancel", "c", "d").returncode == 0
    run.wait(30)
    printed = (tidegate.place / "started.0").read_text()
    assert re.search(r"^  forecast at \d\d:\d\d: .*\(p90 .*\); it ended at ", printed, re.MULTILINE)


@pytest.mark.slow
def test_what_is_foretold_of_a_simulated_batch_is_near_its_end() -> None:
    """How near it is over many seeds and workloads tests/benchmarks/foretold.py measures."""
    told = foreseen("ci", PLAIN, 3)
    assert [one.share for one in told] == [0.1, 0.25, 0.5]
    last = told[-1]
    assert last.off is not None
    assert abs(last.off) < 0.3
    assert fit(told).unknown == 0
    assert fit(told).by_p90 >= 2 / 3
