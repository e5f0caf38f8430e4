"""Several calls in one commit: together on the disk, each for itself all-or-nothing."""

from __future__ import annotations

import pytest

from stores.world import World
from tidegate.errors import NotOwner
from tidegate.model import State


class Unlucky(Exception):
    """Raised by a test, in the middle of something."""


def test_what_a_group_wrote_is_there_after_it(world: World) -> None:
    world.submit("a", "b")
    with world.store.group():
        claims = world.claim(2)
        world.finish(claims[0])
    assert world.states() == {"a": State.SUCCEEDED, "b": State.RUNNING}


def test_calls_of_a_group_see_what_the_others_wrote(world: World) -> None:
    with world.store.group():
        world.submit("a")
        assert world.store.counts()[State.QUEUED] == 1
        assert world.take()[0].name == "a"
        assert len(world.store.running()) == 1


def test_a_call_that_is_refused_leaves_the_others_of_its_group_whole(world: World) -> None:
    world.submit("a", "b")
    first = world.take()
    world.finish(first)
    with world.store.group():
        second = world.take()
        with pytest.raises(NotOwner):
            world.fail(first)
        world.finish(second)
    assert world.states() == {"a": State.SUCCEEDED, "b": State.SUCCEEDED}


def test_a_group_that_breaks_off_wrote_nothing(world: World) -> None:
    world.submit("a")
    before = world.store.last_seq()
    with pytest.raises(Unlucky), world.store.group():  # noqa: PT012 - the group is what breaks off
        world.take()
        world.pause("acct")
        raise Unlucky
    assert world.states() == {"a": State.QUEUED}
    assert (world.store.last_seq(), world.store.holds(), world.store.running()) == (before, [], [])
    assert world.take()[1].n == 1


def test_a_group_within_a_group_is_part_of_it(world: World) -> None:
    with pytest.raises(Unlucky), world.store.group():  # noqa: PT012 - the group is what breaks off
        with world.store.group():
            world.submit("a")
        raise Unlucky
    assert world.store.jobs() == []


def test_a_group_that_only_looks_is_no_transaction(world: World) -> None:
    before = world.store.version()
    with world.store.group():
        world.store.holds()
        world.store.next_due(world.now)
    assert world.store.version() == before


def test_a_group_that_does_nothing_is_fine(world: World) -> None:
    with world.store.group():
        pass
    world.submit("a")
    assert world.states() == {"a": State.QUEUED}
