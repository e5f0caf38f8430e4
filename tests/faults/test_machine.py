"""Whatever happens in whatever order: store, policy and the plain model say the same, and every job ends."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from timeless.ground import stood_on

from faults import machine, mutants, orders, service
from faults.machine import order
from tidegate.model import Kind
from tidegate.stores.memory import MemoryStore


class AnyOrder(RuleBasedStateMachine):
    """One rule for each event of a table, see below."""

    world: Any  # to which it happens

    def __init__(self) -> None:
        super().__init__()
        self.is_whole = True

    def happen(self, event: str, drawn: dict[str, Any]) -> None:
        self.is_whole = False  # should this raise
        self.world.happen(event, **drawn)
        self.is_whole = True

    def teardown(self) -> None:
        if self.is_whole:
            self.world.come_to_an_end()


class AroundAStore(AnyOrder):
    def __init__(self) -> None:
        super().__init__()
        self.world = machine.Orders(MemoryStore())

    @invariant()
    def the_model_says_the_same(self) -> None:
        if self.world.counts.total() % 8 == 0:
            self.world.check()


class AroundASupervisor(AnyOrder):
    def __init__(self) -> None:
        super().__init__()
        self.world = service.Service()
        self.ground = ExitStack()
        self.ground.enter_context(stood_on(self.world.ground))

    def teardown(self) -> None:
        with self.ground:
            try:
                super().teardown()
            finally:
                self.world.close()


def of(kind: type[AnyOrder], events: Mapping[str, machine.Event], examples: int, steps: int) -> Any:
    """The test of a machine with a rule for each event."""
    rules = {name: happening(name, event) for name, event in events.items()}
    ruled: Any = type(kind.__name__, (kind,), rules)
    made = ruled.TestCase
    made.settings = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
    )
    return made


def happening(name: str, event: machine.Event) -> Any:
    def happens(world: AnyOrder, **drawn: Any) -> None:
        world.happen(name, drawn)

    happens.__name__ = name
    made: Any = rule
    return made(**{key: st.sampled_from(list(domain)) for key, domain in event.draws.items()})(happens)


class TestAStore(of(AroundAStore, machine.EVENTS, 8, 40)):  # type: ignore[misc]
    pass


class TestASupervisor(of(AroundASupervisor, service.EVENTS, 3, 40)):  # type: ignore[misc]
    pass


@pytest.mark.slow
@pytest.mark.timeout(300)
class TestAStoreForLong(of(AroundAStore, machine.EVENTS, 30, 80)):  # type: ignore[misc]
    pass


@pytest.mark.slow
@pytest.mark.timeout(300)
class TestASupervisorForLong(of(AroundASupervisor, service.EVENTS, 15, 80)):  # type: ignore[misc]
    pass


REFUSED = {"ahead": 3600, "sure": True, "final": True, "whole": True, "kind": Kind.USAGE_LIMIT}
FOUND: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "an agent that is stopped during its launch, and a kill as it ends": [
        ("pass_time", {"seconds": 0.0017}),
        ("stop", {}),
        ("pass_time", {"seconds": 0.002}),
        ("kill", {}),
    ],
    "the limit of an agent that takes its time to end after it was stopped during its launch": [
        ("stubborn", {"now": True}),
        ("pass_time", {"seconds": 0.002}),
        ("stop", {}),
        ("pass_time", {"seconds": 0.002}),
        ("limit", {"one": 1, **REFUSED, "exits": True, "watched": True}),
    ],
}


@pytest.mark.parametrize("what", FOUND)
def test_an_order_that_once_broke_a_promise_keeps_it(what: str) -> None:
    service.play(FOUND[what])


def test_some_orders_at_random_keep_every_promise() -> None:
    for number in range(10):
        machine.play(order(f"short-{number}", 60), MemoryStore())


def test_some_orders_around_a_supervisor_keep_every_promise() -> None:
    for number in range(4):
        service.play(order(f"short-{number}", 60, service.EVENTS))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("through", "number"), [("memory", 75), ("sqlite", 25), ("supervisor", 50)])
def test_many_orders_at_random_keep_every_promise(through: str, number: int) -> None:
    told = orders.Told()
    for first in range(0, number, orders.GULP):
        told.add(orders.gulp(("slow", first, through)))
    assert not told.failed, f"python tests/faults/orders.py --through {through} --replay {told.failed[0]}"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mistake", mutants.STORE)
def test_the_model_finds_a_mistake_in_the_store(mistake: str) -> None:
    assert found(mutants.STORE[mistake], orders.WAYS["memory"]) < 300


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mistake", mutants.SUPERVISOR)
def test_the_machine_finds_a_mistake_in_the_supervisor(mistake: str) -> None:
    assert found(mutants.SUPERVISOR[mistake], orders.WAYS["supervisor"]) < 150


def found(mutant: mutants.Mutant, way: orders.Way) -> int:
    """How many orders it takes."""
    with pytest.MonkeyPatch.context() as patch:
        mutant(patch)
        return next((number for number in range(1000) if orders.fault(order(f"m-{number}", 80, way.events), way)), 1000)
