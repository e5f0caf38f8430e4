"""Whatever happens in whatever order: store, policy and the plain model say the same, and every job ends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from faults import machine, mutants, orders, service
from faults.machine import EVENTS, Orders, order
from tidegate.model import Kind
from tidegate.stores.memory import MemoryStore


class AnyOrder(RuleBasedStateMachine):
    """One rule for each event of the table, see below."""

    def __init__(self) -> None:
        super().__init__()
        self.orders = Orders(MemoryStore())
        self.is_whole = True

    def happen(self, event: str, drawn: dict[str, Any]) -> None:
        self.is_whole = False  # should this raise
        self.orders.happen(event, **drawn)
        self.is_whole = True

    @invariant()
    def the_model_says_the_same(self) -> None:
        if self.orders.counts.total() % 8 == 0:
            self.orders.check()

    def teardown(self) -> None:
        if self.is_whole:
            self.orders.come_to_an_end()


def happening(event: str) -> Any:
    def happens(machine: AnyOrder, **drawn: Any) -> None:
        machine.happen(event, drawn)

    happens.__name__ = event
    draws = {key: st.sampled_from(list(domain)) for key, domain in EVENTS[event].draws.items()}
    made: Any = rule
    return made(**draws)(happens)


Machine = type("Machine", (AnyOrder,), {event: happening(event) for event in EVENTS})


class TestAnyOrder(Machine.TestCase):  # type: ignore[misc,name-defined]
    settings = settings(max_examples=10, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow
@pytest.mark.timeout(300)
class TestAnyOrderForLong(Machine.TestCase):  # type: ignore[misc,name-defined]
    settings = settings(
        max_examples=150, stateful_step_count=80, deadline=None, suppress_health_check=list(HealthCheck)
    )


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
    for number in range(10):
        service.play(order(f"short-{number}", 60, service.EVENTS))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("through", "number"), [("memory", 150), ("sqlite", 50), ("supervisor", 150)])
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
