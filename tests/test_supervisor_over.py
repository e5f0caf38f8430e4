"""A supervisor that has come to its end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from stores.world import incarnation

from tidegate.agents import known
from tidegate.attempt import Means
from tidegate.clock import SystemClock
from tidegate.model import Ask, Request
from tidegate.policy import Rules
from tidegate.stores.memory import MemoryStore
from tidegate.stores.writer import Writer
from tidegate.supervisor import Post, Supervisor

if TYPE_CHECKING:
    from tidegate.watch import Watcher


async def test_what_is_asked_of_a_supervisor_that_has_ended_waits_for_the_next() -> None:
    store, clock, heard = MemoryStore(), SystemClock(), list[Request]()

    async def over() -> bool:
        return True

    async def heed(request: Request) -> None:
        heard.append(request)

    async with Writer(store) as ask:
        post = Post(
            store=store,
            ask=ask,
            me=incarnation(host="here"),
            clock=clock,
            means=Means(clock=clock, watcher=cast("Watcher", None), environment={}),
            rules=Rules(),
            slots=1,
            directory=lambda job, n: Path(f"/nowhere/{job}/{n}"),
            pick=known().of,
            is_over=over,
            heed=heed,
        )
        await ask(store.enter, post.me)
        supervisor = Supervisor(post)
        await supervisor.run()
        await ask(store.ask, Ask.DRAIN, clock.now(), by="ann")
        await supervisor.look()
        assert heard == []
        assert [one.verb for one in store.requests()] == [Ask.DRAIN]
