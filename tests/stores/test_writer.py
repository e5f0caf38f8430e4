"""The one thread that speaks to the store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import assert_type

import anyio
import pytest
from world import START, World, incarnation

from tidegate.errors import NotOwner, StoreBroken
from tidegate.model import Job, State, Succeeded
from tidegate.stores import Store
from tidegate.stores.memory import MemoryStore
from tidegate.stores.sqlite import SqliteStore
from tidegate.stores.writer import Writer


@dataclass
class Gate:
    """Holds the writer's thread until it is let go."""

    entered: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> None:
        self.entered.set()
        assert self.let_go.wait(30)


async def begun(gate: Gate) -> None:
    while not gate.entered.is_set():
        await asyncio.sleep(0.001)


async def test_a_call_returns_what_the_store_returns_with_its_type(store: Store) -> None:
    world = World(store)
    world.enter()
    world.submit("a")
    async with Writer(store) as ask:
        ((job, attempt),) = await ask(store.claim, "me", START, most=3)
        ended = await ask(store.finish, attempt, Succeeded("fine"), START, exit=0)
        assert_type(ended, Job)
    assert (job.name, ended.state) == ("a", State.SUCCEEDED)
    assert world.states() == {"a": State.SUCCEEDED}


async def test_calls_that_wait_share_one_commit(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("state") / "t.db"
    store, onlooker, gate = SqliteStore(path), SqliteStore(path), Gate()
    world = World(store)
    versions = [onlooker.version()]
    async with Writer(store) as ask, anyio.create_task_group() as tasks:
        tasks.start_soon(ask, gate)
        await begun(gate)
        for number in range(20):
            tasks.start_soon(ask, world.submit, f"j{number}")
        await asyncio.sleep(0)
        gate.let_go.set()
    versions.append(onlooker.version())
    commits = store._file._db.execute("SELECT count(*) FROM job").get
    assert commits == 20
    assert versions[0] != versions[1]
    store.close()
    onlooker.close()


class Counting(MemoryStore):
    """Counts its groups; its commits can be made to fail."""

    groups = 0
    broken: StoreBroken | None = None

    def group(self):  # type: ignore[no-untyped-def]
        self.groups += 1
        return Committing(super().group(), self)


@dataclass
class Committing:
    inner: object
    store: Counting

    def __enter__(self) -> None:
        self.inner.__enter__()  # type: ignore[attr-defined]

    def __exit__(self, *error: object) -> None:
        self.inner.__exit__(*error)  # type: ignore[attr-defined]
        if self.store.broken:
            raise self.store.broken


async def together(store: Counting, *calls: Callable[[], object]) -> list[object]:
    """What came of calls that all waited for the thread at once."""
    gate = Gate()
    async with Writer(store) as ask:
        first = asyncio.ensure_future(ask(gate))
        await begun(gate)
        waiting = [asyncio.ensure_future(ask(call)) for call in calls]
        await asyncio.sleep(0)
        gate.let_go.set()
        await asyncio.wait([first])
        return await asyncio.gather(*waiting, return_exceptions=True)


def refused() -> None:
    raise NotOwner("not yours")


async def test_a_call_that_raises_tells_its_own_caller_alone() -> None:
    store = Counting()
    world = World(store)
    results = await together(store, lambda: world.submit("a"), refused, lambda: world.submit("b"))
    assert isinstance(results[1], NotOwner)
    assert set(world.states()) == {"a", "b"}
    assert store.groups == 2, "the gate, then all that waited"


async def test_a_commit_that_fails_tells_all_of_its_callers() -> None:
    store = Counting()
    world = World(store)
    store.broken = StoreBroken("t.db: the disk is full")
    results = await together(store, lambda: world.submit("a"), refused, lambda: world.submit("b"))
    assert results[0] is results[2] is store.broken
    assert isinstance(results[1], NotOwner)


async def test_a_cancelled_caller_does_not_cancel_its_call() -> None:
    store, gate = MemoryStore(), Gate()
    world = World(store)
    async with Writer(store) as ask:
        holding = asyncio.ensure_future(ask(gate))
        await begun(gate)
        with anyio.move_on_after(0.01) as scope:
            await ask(world.submit, "a")
        assert scope.cancelled_caught
        gate.let_go.set()
        await holding
    assert set(world.states()) == {"a"}


async def test_leaving_makes_every_call_that_was_asked_for() -> None:
    store = MemoryStore()
    world = World(store)
    async with Writer(store) as ask:
        waiting = [asyncio.ensure_future(ask(world.submit, f"j{number}")) for number in range(500)]
        await asyncio.sleep(0)
    assert len(world.states()) == 500
    await asyncio.gather(*waiting)


async def test_leaving_is_not_cut_short_by_a_cancelled_scope() -> None:
    store = MemoryStore()
    world = World(store)
    with anyio.CancelScope() as scope:
        async with Writer(store) as ask:
            waiting = asyncio.ensure_future(ask(world.submit, "a"))
            await asyncio.sleep(0)
            scope.cancel()
    assert set(world.states()) == {"a"}
    assert waiting.done()
    assert [thread.name for thread in threading.enumerate() if thread.name == "store"] == []


async def test_after_leaving_nothing_is_asked() -> None:
    store = MemoryStore()
    async with Writer(store) as ask:
        pass
    with pytest.raises(RuntimeError, match="left"):
        await ask(store.holds)


async def test_the_loop_goes_on_while_the_store_is_slow() -> None:
    store, gate = MemoryStore(), Gate()
    async with Writer(store) as ask:
        slow = asyncio.ensure_future(ask(gate))
        await begun(gate)
        for _ in range(100):
            await asyncio.sleep(0)
        assert not slow.done()
        gate.let_go.set()
        await slow


async def test_eight_callers_at_once_claim_and_finish_every_job(store: Store) -> None:
    world = World(store)
    store.enter(incarnation())
    world.submit(*(f"j{number}" for number in range(200)))
    taken: list[str] = []

    async def work() -> None:
        while claims := await ask(store.claim, "me", START):
            taken.append(claims[0][0].name)
            await ask(store.finish, claims[0][1], Succeeded(), START, exit=0)

    async with Writer(store) as ask, anyio.create_task_group() as callers:
        for _ in range(8):
            callers.start_soon(work)
    assert sorted(taken) == sorted(f"j{number}" for number in range(200))
    assert store.counts()[State.SUCCEEDED] == 200
