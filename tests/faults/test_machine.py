"""Whatever happens in whatever order: store, policy and the plain model say the same, and every job ends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from faults import orders
from faults.machine import EVENTS, Orders, order, play
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


def test_some_orders_at_random_keep_every_promise() -> None:
    for number in range(10):
        play(order(f"short-{number}", 60), MemoryStore())


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_many_orders_at_random_keep_every_promise(kind: str) -> None:
    told = orders.gulp((f"{kind}-slow", 0, kind))
    for first in range(orders.GULP, 100, orders.GULP):
        told.add(orders.gulp((f"{kind}-slow", first, kind)))
    assert not told.failed, f"python tests/faults/orders.py --store {kind} --replay {told.failed[0]}"
