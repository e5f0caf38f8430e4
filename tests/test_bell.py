"""The bell: whoever took the ticket before the look misses no ring."""

from __future__ import annotations

import anyio

from tidegate.bell import Bell


async def test_a_ring_between_the_ticket_and_the_wait_is_not_missed() -> None:
    bell = Bell()
    ticket = bell.next()
    bell.ring()
    with anyio.fail_after(10):
        await ticket.wait()


async def test_one_ring_wakes_every_holder_of_a_ticket_and_none_of_a_later_one() -> None:
    bell = Bell()
    first, second = bell.next(), bell.next()
    bell.ring()
    later = bell.next()
    assert first.is_set()
    assert second.is_set()
    assert not later.is_set()


async def test_a_ring_that_nobody_waits_for_is_not_kept() -> None:
    bell = Bell()
    bell.ring()
    assert not bell.next().is_set()
