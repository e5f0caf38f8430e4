"""Several processes on one file, several threads on one memory, and claimers that are killed."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace

from stores.reconciling import reconcile
from stores.world import World, incarnation, new
from tidegate.model import Batch, Lost, State, Succeeded
from tidegate.stores.memory import MemoryStore
from tidegate.stores.sqlite import SqliteStore

CLAIMER = Path(__file__).with_name("claimer.py")


def start(database: Path, uuid: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(CLAIMER), str(database), uuid, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def said(claimer: subprocess.Popen[str], most: int = 1_000_000) -> list[str]:
    """The next lines of a claimer."""
    assert claimer.stdout is not None
    return [line for line, _ in zip(claimer.stdout, range(most), strict=False)]


def test_eight_processes_never_claim_the_same_job(tmp_path: Path) -> None:
    database, wanted = tmp_path / "tidegate.db", [f"j{number}" for number in range(400)]
    store = SqliteStore(database)
    World(store).submit(*wanted)
    claimers = [start(database, f"s{number}") for number in range(8)]
    lines = [line for claimer in claimers for line in claimer.communicate(timeout=50)[0].splitlines()]
    assert [claimer.returncode for claimer in claimers] == [0] * 8
    assert sorted(line for line in lines if line.startswith("claimed")) == sorted(
        f"claimed {name} 1" for name in wanted
    )
    assert Counter(line.split()[0] for line in lines) == {"claimed": 400, "finished": 400}
    assert store.counts()[State.SUCCEEDED] == 400
    reconcile(store)
    store.close()


def test_eight_threads_never_claim_the_same_job() -> None:
    world = World(MemoryStore())
    world.submit(*(f"j{number}" for number in range(200)))
    taken: list[str] = []

    def work(uuid: str) -> None:
        world.store.enter(incarnation(uuid))
        while claims := world.claim(2, by=uuid):
            for claim in claims:
                taken.append(claim[0].name)
                world.finish(claim)

    threads = [threading.Thread(target=work, args=(f"s{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(taken) == Counter({f"j{number}": 1 for number in range(200)})
    reconcile(world.store)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_claimers_that_are_killed_lose_no_job_and_none_is_run_twice_at_once(tmp_path: Path, seed: int) -> None:
    chance, database = random.Random(seed), tmp_path / "tidegate.db"
    wanted = {f"j{number}" for number in range(120)}
    world = World(SqliteStore(database))
    world.submit(*sorted(wanted))
    world.enter("reaper")
    for number in range(5):
        with start(database, f"s{number}", "--hold", "0.002") as claimer:
            said(claimer, 1)  # it has begun
            time.sleep(chance.random() * 0.1)
            claimer.kill()
        for job, attempt in world.store.adopt("reaper", "here", world.now):
            assert (job.state, attempt.ended_at) == (State.RUNNING, None)
            world.store.finish(attempt, Lost("killed"), world.now)
        reconcile(world.store)
        assert world.store.running() == []
    while claims := world.claim(10, by="reaper"):
        for claim in claims:
            world.finish(claim, Succeeded())
    assert {job.name for job in world.store.jobs(states=[State.SUCCEEDED])} == wanted
    reconcile(world.store)
    world.store.close()


@pytest.mark.parametrize("seed", [1, 2])
def test_steering_beside_claimers_keeps_the_books_and_every_secret_that_is_needed(tmp_path: Path, seed: int) -> None:
    chance, database = random.Random(seed), tmp_path / "tidegate.db"
    world = World(SqliteStore(database))
    store = world.store
    world.submit(*(f"j{number}" for number in range(60)))
    with start(database, "s0", "--hold", "0.001") as first, start(database, "s1", "--hold", "0.001") as second:
        for number in range(150):
            steer(world, number, chance)
        assert [claimer.communicate(timeout=50) and claimer.returncode for claimer in (first, second)] == [0, 0]
    world.enter("last")
    while claims := world.claim(9, by="last"):
        for claim in claims:
            world.finish(claim)
    assert {job.spec.env.get("TOKEN", "x") for job in store.jobs()} <= set("xyz"), "each can be read"
    assert all(job.state.is_final for job in store.jobs())
    assert store.requests() == []
    reconcile(store)
    store.close()


def steer(world: World, number: int, chance: random.Random) -> None:
    """Do one thing to a job or two."""
    ids = [job.id for job in world.store.jobs()]
    one, some = chance.choice(ids), tuple(chance.sample(ids, min(2, len(ids))))
    job = replace(new(f"n{number}", env={"TOKEN": chance.choice("xyz")}), needs=some if number % 2 else ())
    match number % 5:
        case 0 | 1:
            world.store.submit(Batch("b"), [job], world.now, whole=False)
        case 2:
            world.store.cancel(one, world.now, by="ann")
        case 3:
            world.store.retry(one, world.now, by="ann")
        case _:
            world.store.forget(some, world.now)


def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    database = tmp_path / "tidegate.db"
    store = SqliteStore(database)
    World(store).submit(*(f"j{number}" for number in range(300)))
    with start(database, "s") as claimer:
        lines = said(claimer, 40)
        claimer.kill()
        lines += said(claimer)
    finished = {line.split()[1] for line in lines if line.startswith("finished")}
    assert finished <= {job.name for job in store.jobs(states=[State.SUCCEEDED])}
    assert len(finished) >= 15
    store.close()


# --- one sees what another did ---


def test_the_version_changes_when_another_connection_commits_and_not_by_ones_own(tmp_path: Path) -> None:
    mine, other = World(SqliteStore(tmp_path / "t.db")), World(SqliteStore(tmp_path / "t.db"))
    before = mine.store.version()
    mine.submit("a")
    assert mine.store.version() == before
    other.submit("b")
    assert mine.store.version() != before
    assert set(mine.states()) == {"a", "b"}


def test_a_hold_that_another_process_wrote_binds_the_next_claim(tmp_path: Path) -> None:
    mine, other = World(SqliteStore(tmp_path / "t.db")), World(SqliteStore(tmp_path / "t.db"))
    mine.enter()
    mine.submit("a")
    other.pause("acct")
    assert mine.claim() == []


def test_a_call_waits_for_another_programs_transaction(tmp_path: Path) -> None:
    mine, other = World(SqliteStore(tmp_path / "t.db")), World(SqliteStore(tmp_path / "t.db"))
    entered = threading.Event()

    def slow() -> None:
        with other.store.group():
            other.submit("b")
            entered.set()
            time.sleep(0.3)

    thread = threading.Thread(target=slow)
    thread.start()
    assert entered.wait(10)
    mine.submit("a")
    thread.join()
    assert set(mine.states()) == {"a", "b"}
