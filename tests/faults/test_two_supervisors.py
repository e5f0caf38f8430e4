"""Two supervisors on one state directory, and one that stands still for longer than its watchdog waits."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from random import Random

import pytest
from installed import until

from faults.campaign import settled
from faults.workload import some
from faults.world import Born, Nursery, World

WATCHDOG = 0.2  # seconds


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def world(nursery: Nursery) -> Iterator[World]:
    with settled(nursery) as world:
        world.submit(some(Random("two"), 12))
        yield world


def _owner(world: World, several: list[Born]) -> Born:
    """The one of several that works, when the others have ended."""

    def is_alone() -> bool:
        return sum(not world.nursery.wait(one, 0.01) for one in several) == 1

    until(is_alone)
    (owner,) = [one for one in several if one.status is None]
    assert [one.status for one in several if one is not owner] == [5] * (len(several) - 1)
    return owner


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_of_several_that_start_at_the_same_moment_one_works_and_the_others_say_so(world: World) -> None:
    for _ in range(6):
        owner = _owner(world, [world.start("serve") for _ in range(4)])
        assert (world.state / "lock").read_text() == f"{owner.pid}\n"
        world.nursery.wait(owner, 0.3)
        world.kill(owner)
        world.look()
    world.finish("serve")
    assert world.found == []
    refusals = (world.place / "serve.log").read_text().count("another tidegate supervises this directory (pid ")
    assert refusals == 6 * 3


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_second_one_that_comes_while_the_first_is_killed_takes_over_or_is_refused(world: World) -> None:
    first = world.start("serve")
    for n in range(8):
        world.nursery.wait(first, 0.2)
        several = [world.start("serve"), world.start("serve")]
        time.sleep(0.01 * n)
        world.kill(first)
        left = [one for one in several if not world.nursery.wait(one, 1.0)]
        first = left[0] if left else world.start("serve")
    world.kill(first)
    world.finish("serve")
    assert world.found == []


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("point", "then"),
    [
        ("attempt claimed:committed", signal.SIGCONT),
        ("launch.spawn:after", signal.SIGKILL),
        ("adopt:committing", signal.SIGCONT),
        ("finish:committing", signal.SIGKILL),
        ("hold:committed", signal.SIGCONT),
    ],
)
def test_one_that_stands_still_longer_than_its_watchdog_goes_on_or_is_replaced(
    world: World, point: str, then: signal.Signals
) -> None:
    if point.startswith("adopt"):
        first = world.start("serve")
        world.nursery.wait(first, 0.3)
        world.kill(first)  # so that there is something to adopt
    stopped = world.start("serve", FAULT_POINT=point, FAULT_SIGNAL="SIGSTOP", WATCHDOG_USEC=str(int(WATCHDOG * 1e6)))
    until(lambda: _state(stopped) == "T")
    time.sleep(4 * WATCHDOG)  # agents end, and resets pass, while nobody looks
    second = world.start("serve")
    assert world.nursery.wait(second, 30)
    assert second.status == 5, "it stands still, and it owns the directory"
    stopped.send(then)
    if then is signal.SIGCONT:
        until(lambda: world.count("queued", "running") == 0)
        world.kill(stopped, signal.SIGTERM)
        assert stopped.status == 0
    else:
        assert world.nursery.wait(stopped, 30)
    world.finish("serve")
    assert world.found == []


def _state(born: Born) -> str:
    with open(f"/proc/{born.pid}/stat") as file:  # noqa: PTH123
        return file.read().rpartition(")")[2].split()[0]
