"""Calls from a loop: together in one commit, and never waiting on the loop itself."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import assert_type

import anyio
import pytest

from stores.reconciling import reconcile
from stores.world import START, World, incarnation
from tidegate.errors import NotOwner, StoreBlocked, StoreBroken
from tidegate.model import Job, State, Succeeded
from tidegate.stores import Store, Turn, writer
from tidegate.stores.memory import MemoryStore
from tidegate.stores.sqlite import SqliteStore
from tidegate.stores.writer import MOST, Writer


@dataclass
class SlowTurn:
    """A turn whose commit waits until it is let go."""

    store: SlowStore

    def take(self) -> None:
        raise AssertionError("nobody else writes")

    def wrote(self) -> bool:
        return True

    def close(self) -> None:
        self.store.closing.set()
        assert self.store.let_go.wait(30)
        if self.store.broken:
            raise self.store.broken
        self.store.commits += 1


@dataclass
class SlowStore(MemoryStore):
    """A store on a slow disk, which may break."""

    closing: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)
    broken: StoreBroken | None = None
    commits: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def turn(self) -> Turn:
        return SlowTurn(self)


async def until(fact: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not fact():
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


async def test_calls_that_come_at_the_same_moment_share_one_commit() -> None:
    store = SlowStore()
    store.let_go.set()
    world = World(store)
    async with Writer(store) as ask:
        await asyncio.gather(*(ask(world.submit, f"j{number}") for number in range(MOST)))
        assert store.commits == 1
        await asyncio.gather(*(ask(world.submit, f"k{number}") for number in range(MOST + 1)))
        assert store.commits == 3


async def test_calls_that_come_during_a_commit_share_the_next_one() -> None:
    store = SlowStore()
    world = World(store)
    async with Writer(store) as ask, asyncio.TaskGroup() as tasks:
        tasks.create_task(ask(world.submit, "first"))
        await until(store.closing.is_set)
        for number in range(20):
            tasks.create_task(ask(world.submit, f"j{number}"))
        await asyncio.sleep(0)
        assert set(world.states()) == {"first"}, "the connection is the committing thread's"
        store.let_go.set()
    assert store.commits == 2
    assert len(world.states()) == 21


async def test_nobody_is_answered_before_the_commit() -> None:
    store = SlowStore()
    world = World(store)
    async with Writer(store) as ask:
        asked = asyncio.ensure_future(ask(world.submit, "a"))
        await until(store.closing.is_set)
        for _ in range(50):
            await asyncio.sleep(0)
        assert not asked.done(), "the loop goes on, but nothing is acknowledged"
        store.let_go.set()
        await asked


@dataclass
class RecordedTurn:
    """A turn that remembers which thread closed it."""

    turn: Turn
    closed_by: list[threading.Thread]

    def take(self) -> None:
        self.turn.take()

    def wrote(self) -> bool:
        return self.turn.wrote()

    def close(self) -> None:
        self.closed_by.append(threading.current_thread())
        self.turn.close()


class Recorded(SqliteStore):
    """Remembers which thread waited for the disk."""

    def turn(self) -> Turn:
        return RecordedTurn(super().turn(), self.__dict__.setdefault("closed_by", []))


async def test_only_a_call_that_wrote_waits_for_the_thread(tmp_path: Path) -> None:
    store = Recorded(tmp_path / "t.db")
    store.enter(incarnation())
    async with Writer(store) as ask:
        for reading in (store.holds, store.counts, lambda: store.claim("me", START), lambda: store.next_due(START)):
            await ask(reading)
        await ask(World(store).submit, "a")
    here = threading.main_thread()
    assert [thread is here for thread in store.__dict__["closed_by"]] == [True, True, True, True, False]
    store.close()


# --- what goes wrong ---


def refused() -> None:
    raise NotOwner("not yours")


async def test_a_call_that_raises_tells_its_own_caller_alone(store: Store) -> None:
    world = World(store)
    async with Writer(store) as ask:
        calls = (ask(world.submit, "a"), ask(refused), ask(world.submit, "b"))
        results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results[1], NotOwner)
    assert set(world.states()) == {"a", "b"}


async def test_a_commit_that_fails_tells_all_of_its_callers() -> None:
    store = SlowStore()
    store.let_go.set()
    world = World(store)
    async with Writer(store) as ask:
        store.broken = StoreBroken("t.db: the disk is full")
        calls = (ask(world.submit, "a"), ask(refused), ask(world.submit, "b"))
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert results[0] is results[2] is store.broken
        assert isinstance(results[1], NotOwner)
        store.broken = None
        await ask(world.submit, "c")


async def test_a_cancelled_caller_does_not_cancel_its_call() -> None:
    store = SlowStore()
    world = World(store)
    async with Writer(store) as ask:
        holding = asyncio.ensure_future(ask(world.submit, "first"))
        await until(store.closing.is_set)
        with anyio.move_on_after(0.01) as scope:
            await ask(world.submit, "a")
        assert scope.cancelled_caught
        store.let_go.set()
        await holding
    assert set(world.states()) == {"first", "a"}


# --- leaving ---


async def test_leaving_makes_every_call_that_was_asked_for(store: Store) -> None:
    world = World(store)
    async with Writer(store) as ask:
        waiting = [asyncio.ensure_future(ask(world.submit, f"j{number}")) for number in range(500)]
        await asyncio.sleep(0)
    assert len(world.states()) == 500
    await asyncio.gather(*waiting)


async def test_leaving_is_not_cut_short_by_a_cancelled_scope(store: Store) -> None:
    world = World(store)
    with anyio.CancelScope() as scope:
        async with Writer(store) as ask:
            waiting = asyncio.ensure_future(ask(world.submit, "a"))
            await asyncio.sleep(0)
            scope.cancel()
    assert set(world.states()) == {"a"}
    assert waiting.done()
    assert [thread.name for thread in threading.enumerate() if thread.name == "store"] == []


async def test_after_leaving_nothing_is_asked_and_the_interpreter_is_as_before(store: Store) -> None:
    before = sys.getswitchinterval()
    async with Writer(store) as ask:
        assert sys.getswitchinterval() < before
    with pytest.raises(RuntimeError, match="left"):
        await ask(store.holds)
    assert sys.getswitchinterval() == before


# --- while others write ---


async def test_the_loop_goes_on_while_another_program_writes(tmp_path: Path) -> None:
    mine, other = SqliteStore(tmp_path / "t.db"), SqliteStore(tmp_path / "t.db")
    world = World(mine)
    async with Writer(mine) as ask:
        with other.group():
            World(other).submit("theirs")
            read = asyncio.ensure_future(ask(mine.counts))
            written = [asyncio.ensure_future(ask(world.submit, name)) for name in ("a", "b")]
            assert (await read)[State.QUEUED] == 0, "reading waits for nobody"
            await asyncio.sleep(0.05)
            assert not any(task.done() for task in written)
        await asyncio.gather(*written)
    assert set(world.states()) == {"theirs", "a", "b"}
    mine.close()
    other.close()


async def test_another_program_that_never_ends_writing_is_told_and_the_next_call_works(tmp_path: Path) -> None:
    mine, other = SqliteStore(tmp_path / "t.db", busy=0.1), SqliteStore(tmp_path / "t.db")
    world = World(mine)
    async with Writer(mine) as ask:
        with other.group():
            World(other).submit("theirs")
            with pytest.raises(StoreBroken, match=r"kept the database locked for more than 0\.1 s"):
                await ask(world.submit, "a")
        await ask(world.submit, "b")
    assert set(world.states()) == {"theirs", "b"}
    mine.close()
    other.close()


# --- while the store is blocked ---


@dataclass
class Blocked:
    """A patient writer, and another program that keeps the database locked."""

    mine: SqliteStore
    other: SqliteStore
    told: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def writer(self) -> AsyncIterator[Writer]:
        async with Writer(self.mine, self.told.append) as ask:
            ask.endure()
            yield ask

    @contextmanager
    def locked(self) -> Iterator[None]:
        with self.other.group():
            World(self.other).submit("theirs")
            yield


@pytest.fixture
def blocked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Blocked]:
    monkeypatch.setattr(writer, "AGAIN", 0.05)
    monkeypatch.setattr(writer, "STILL", 0.3)
    made = Blocked(SqliteStore(tmp_path / "t.db", busy=0.05), SqliteStore(tmp_path / "t.db"))
    yield made
    made.mine.close()
    made.other.close()


async def test_a_patient_writer_waits_for_as_long_as_it_takes_while_those_that_read_go_on(blocked: Blocked) -> None:
    world = World(blocked.mine)
    async with blocked.writer() as ask:
        with blocked.locked():
            written = [asyncio.ensure_future(ask(world.submit, name)) for name in ("a", "b")]
            await until(lambda: ask.trouble)
            for _ in range(3):
                assert (await ask(blocked.mine.counts))[State.QUEUED] == 0
            with pytest.raises(NotOwner):
                await ask(refused)
            assert not any(task.done() for task in written)
        await asyncio.gather(*written)
        assert ask.trouble == ""
        assert blocked.told == [
            f"{blocked.mine._file.path}: another program has kept the database locked for more than 0.05 s",
            "",
        ]
        assert [job.name for job in blocked.mine.jobs()] == ["theirs", "a", "b"]


async def test_who_asks_once_is_told_and_nobody_else_is(blocked: Blocked) -> None:
    world = World(blocked.mine)
    async with blocked.writer() as ask:
        with blocked.locked():
            waits = asyncio.ensure_future(ask(world.submit, "waits"))
            for name in ("first", "second"):
                with pytest.raises(StoreBlocked, match="locked"):
                    await ask.once(world.submit, name)
        await waits
        await ask.once(world.submit, "third")
        assert [job.name for job in blocked.mine.jobs()] == ["theirs", "waits", "third"]


@pytest.mark.parametrize("leaving", [False, True])
async def test_a_writer_that_is_patient_no_more_tells_all_that_wait(blocked: Blocked, leaving: bool) -> None:
    world = World(blocked.mine)
    with blocked.locked():
        async with blocked.writer() as ask:
            waits = asyncio.ensure_future(ask(world.submit, "waits"))
            await until(lambda: ask.trouble)
            if not leaving:
                ask.hurry()
                with pytest.raises(StoreBlocked, match="locked"):
                    await waits
        with pytest.raises(StoreBlocked, match="locked"):
            await waits


async def test_a_blocked_store_is_believed_to_go_on_when_nobody_has_been_refused_for_a_while(
    blocked: Blocked,
) -> None:
    async with blocked.writer() as ask:
        with blocked.locked(), pytest.raises(StoreBlocked):
            await ask.once(World(blocked.mine).submit, "a")
        assert ask.trouble
        await until(lambda: not ask.trouble)
        assert blocked.told[-1] == ""
        assert await ask(blocked.mine.batches)


async def test_on_a_full_disk_all_that_was_asked_for_happens_once_there_is_room_and_only_once(blocked: Blocked) -> None:
    world, db = World(blocked.mine), blocked.mine._file._db
    world.enter()
    world.submit("a", "b")
    async with blocked.writer() as ask:
        claims = await ask(blocked.mine.claim, "me", START, most=2)
        db.pragma("max_page_count", db.pragma("page_count"))
        many = [f"j{number}" for number in range(400)]
        full = asyncio.ensure_future(ask(world.submit, *many))
        ends = [ask(blocked.mine.finish, claim[1], Succeeded(), START, exit=0) for claim in claims]
        ended = asyncio.gather(*ends)
        await until(lambda: ask.trouble)
        assert "the disk is full" in ask.trouble
        assert not full.done()
        db.pragma("max_page_count", 100_000)
        assert len((await full).added) == 400
        assert [job.state for job in await ended] == [State.SUCCEEDED] * 2
        reconcile(blocked.mine)


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
