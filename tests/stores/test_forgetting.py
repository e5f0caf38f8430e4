"""What is left of jobs that are forgotten: nothing, and all else stays as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from stores.reconciling import reconcile
from stores.world import World, incarnation, names, new
from tidegate.model import Batch, Hold, NewJob, Origin, Spec, State, Succeeded
from tidegate.stores.connection import SQL
from tidegate.stores.sqlite import SqliteStore
from tidegate.stores.submit import CHUNK
from tidegate.stores.writer import Writer


def forget(world: World, *names: str) -> int:
    return world.store.forget([world.job(name).id for name in names], world.now)


def finished(world: World, *names: str) -> None:
    world.submit(*names)
    for claim in world.claim(len(names)):
        world.finish(claim)


def test_a_forgotten_job_is_gone_with_all_that_was_known_of_it(world: World) -> None:
    finished(world, "a", "b")
    a, b = world.job("a").id, world.job("b").id
    world.store.hold(Hold(scope=f"job:{a}", origin=Origin.OPERATOR, since=world.now), world.now)
    world.store.set_hours(f"job:{a}", "00:00-24:00 UTC", world.now)
    kept = world.store.events(job=b)
    assert forget(world, "a") == 1
    assert (world.store.job(a), world.store.jobs_named("a"), world.store.attempts(a)) == (None, [], [])
    assert (world.store.events(job=a), world.store.holds(), world.store.hours()) == ([], [], {})
    assert (world.store.events(job=b), len(world.store.attempts(b))) == (kept, 1)
    assert world.events()[-1].data == {"jobs": 1}
    assert world.store.counts() == {**dict.fromkeys(State, 0), State.SUCCEEDED: 1}
    reconcile(world.store)


def test_forgetting_is_for_jobs_that_have_ended(world: World) -> None:
    world.submit("a", "b")
    world.take()
    last = world.store.last_seq()
    assert forget(world, "a", "b") == 0
    assert world.store.forget([77, 0, -1, 2**70], world.now) == 0
    assert world.store.forget([], world.now) == 0
    assert (world.store.last_seq(), len(world.store.jobs())) == (last, 2)


def test_forgetting_twice_is_forgetting_once(world: World) -> None:
    finished(world, "a")
    id = world.job("a").id
    assert [world.store.forget([id, id], world.now) for _ in range(2)] == [1, 0]


def test_neither_ids_nor_the_order_of_events_is_used_again(world: World) -> None:
    finished(world, "a", "b")
    ids, last = [job.id for job in world.store.jobs()], world.store.last_seq()
    world.store.forget(ids, world.now)
    assert world.store.last_seq() > last
    world.submit("a")
    assert world.job("a").id > max(ids)
    assert world.take()[1].epoch > last


def test_a_job_that_an_unfinished_one_needs_stays(world: World) -> None:
    finished(world, "a", "b")
    needs = (world.job("a").id,)
    world.store.submit(Batch("b"), [NewJob(name="c", account="x", spec=Spec(), needs=needs)], world.now, whole=False)
    assert forget(world, "a", "b") == 1
    claim = world.take()
    assert (claim[0].name, forget(world, "a")) == ("c", 0)
    world.finish(claim)
    assert forget(world, "a", "c") == 2


def test_a_skipped_job_does_not_wait_for_a_forgotten_one(world: World) -> None:
    world.submit("a", "b")
    needs = (world.job("a").id, world.job("b").id)
    world.store.submit(Batch("b"), [NewJob(name="c", account="acct", spec=Spec(), needs=needs)], world.now, whole=False)
    world.store.cancel(needs[0], world.now, by="ann")
    assert (world.job("c").state, world.job("c").unmet) == (State.SKIPPED, 2)
    assert forget(world, "a") == 1
    assert (world.job("c").unmet, [need.name for need in world.store.needs([world.job("c").id])]) == (1, ["b"])
    world.store.retry(world.job("c").id, world.now, by="ann")
    world.finish(world.take())
    assert names(world.claim(9)) == ["c"]


def test_more_than_one_chunk_is_forgotten(world: World) -> None:
    wanted = [f"j{number}" for number in range(CHUNK + 7)]
    world.submit(*wanted, "last")
    for job in world.store.jobs(most=len(wanted)):
        world.store.cancel(job.id, world.now, by="ann")
    assert world.store.forget([job.id for job in world.store.jobs(most=9999)], world.now) == len(wanted)
    assert list(world.states()) == ["last"]


def test_a_forgotten_name_is_a_new_job(world: World) -> None:
    finished(world, "a")
    forget(world, "a")
    assert world.submit("a").added == ("a",)
    assert names(world.claim(9)) == ["a"]


def test_forgetting_in_a_group_that_breaks_off_has_not_happened(world: World) -> None:
    finished(world, "a", "b")
    before = (world.store.jobs(), world.store.events(), world.store.attempts(1))
    with pytest.raises(ZeroDivisionError), world.store.group():  # noqa: PT012 - the group is what breaks off
        forget(world, "a")
        raise ZeroDivisionError
    assert (world.store.jobs(), world.store.events(), world.store.attempts(1)) == before
    assert world.store.counts()[State.SUCCEEDED] == 2


# --- secrets ---


class Keeper:
    """A store in a file whose jobs have secrets."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.store = SqliteStore(place / "t.db")
        self.world = World(self.store)

    def ended(self, name: str, secret: str) -> int:
        """A cancelled job with a secret."""
        job = new(name, env={"API_KEY": secret, "PLAIN": "x"})
        (id,) = self.store.submit(Batch("b"), [job], self.world.now, whole=False).jobs
        self.store.cancel(id, self.world.now, by="ann")
        return id

    def secrets(self) -> int:
        return len([path for path in (self.place / "secrets").iterdir() if path.name != "key"])


@pytest.fixture
def keeper(tmp_path: Path) -> Keeper:
    return Keeper(tmp_path)


def test_a_secret_goes_with_the_last_job_that_has_it(keeper: Keeper) -> None:
    a, b, c = keeper.ended("a", "one"), keeper.ended("b", "one"), keeper.ended("c", "two")
    store, now = keeper.store, keeper.world.now
    assert keeper.secrets() == 2
    store.forget([a], now)
    assert keeper.secrets() == 2
    store.forget([c], now)
    assert keeper.secrets() == 1
    assert keeper.world.job("b").spec.env == {"API_KEY": "one", "PLAIN": "x"}
    store.forget([b], now)
    assert keeper.secrets() == 0
    keeper.ended("a", "one")
    assert (keeper.secrets(), keeper.world.job("a").spec.env["API_KEY"]) == (1, "one")
    store.close()


def test_the_secret_of_an_earlier_definition_goes_too(keeper: Keeper) -> None:
    keeper.world.submit("a")
    id = keeper.world.job("a").id
    for secret in ("one", "two"):
        keeper.store.edit(id, new("a", env={"TOKEN": secret}), keeper.world.now, by="ann")
    keeper.store.forget([keeper.ended("b", "three")], keeper.world.now)
    assert keeper.secrets() == 1
    assert keeper.store.jobs()[0].spec.env == {"TOKEN": "two"}
    keeper.store.close()


def test_no_secret_is_removed_before_its_job_is_gone_for_good(keeper: Keeper) -> None:
    a = keeper.ended("a", "one")
    with keeper.store.group():
        keeper.store.forget([a], keeper.world.now)
        assert keeper.secrets() == 1
    assert keeper.secrets() == 0
    b = keeper.ended("b", "two")
    with pytest.raises(ZeroDivisionError), keeper.store.group():  # noqa: PT012 - the group is what breaks off
        keeper.store.forget([b], keeper.world.now)
        raise ZeroDivisionError
    keeper.world.submit("c")
    assert (keeper.secrets(), keeper.world.job("b").spec.env["API_KEY"]) == (1, "two")
    keeper.store.close()


def test_a_secret_that_another_process_swept_away_is_written_again(keeper: Keeper) -> None:
    a = keeper.ended("a", "one")
    other = Keeper(keeper.place)
    other.store.forget([a], keeper.world.now)
    assert keeper.secrets() == 0
    keeper.ended("b", "one")
    assert other.world.job("b").spec.env["API_KEY"] == "one"
    keeper.store.close()
    other.store.close()


def test_a_sweep_that_cannot_be_made_is_made_the_next_time(keeper: Keeper) -> None:
    a, b = keeper.ended("a", "one"), keeper.ended("b", "two")
    (keeper.place / "secrets" / "sub").mkdir()  # which no sweep can unlink
    assert keeper.store.forget([a], keeper.world.now) == 1
    (keeper.place / "secrets" / "sub").rmdir()
    assert keeper.store.forget([b], keeper.world.now) == 1
    assert keeper.secrets() == 0
    keeper.store.close()


async def test_a_loop_forgets_beside_other_work(keeper: Keeper) -> None:
    a = keeper.ended("a", "one")
    keeper.world.enter()
    keeper.world.submit("b")
    async with Writer(keeper.store) as ask:
        claim = keeper.world.take()
        assert await ask(keeper.store.forget, [a], keeper.world.now) == 1
        assert (await ask(keeper.store.finish, claim[1], Succeeded(), keeper.world.now)).state is State.SUCCEEDED
        assert keeper.secrets() == 0
    keeper.store.close()


KILLED = """
import os, sys
from pathlib import Path
sys.path[:0] = {path!r}
from tidegate.stores.sqlite import SqliteStore
from tidegate.stores.vault import Vault
import world
store = SqliteStore(Path({database!r}))
Vault.keep_only = lambda *_: os._exit(9)
store.forget([1], world.START)
"""


def test_a_crash_between_the_commit_and_the_sweep_loses_no_secret_that_is_needed(keeper: Keeper) -> None:
    keeper.ended("a", "one")
    keeper.ended("b", "two")
    script = KILLED.format(path=[*sys.path, str(Path(__file__).parent)], database=str(keeper.place / "t.db"))
    assert subprocess.run([sys.executable, "-c", script]).returncode == 9
    assert (keeper.secrets(), list(keeper.world.states())) == (2, ["b"])
    assert keeper.world.job("b").spec.env["API_KEY"] == "two"
    keeper.store.forget([keeper.ended("c", "three")], keeper.world.now)
    assert keeper.secrets() == 1, "the next sweep finds what the crash left"
    keeper.store.close()


def test_every_part_of_forgetting_uses_an_index(keeper: Keeper) -> None:
    for text in SQL["forget"].split(";"):
        if text.strip():
            plan = keeper.store._file._db.execute(f"EXPLAIN QUERY PLAN {text}", {"jobs": "[]"})
            assert [row[3] for row in plan if row[3].startswith("SCAN") and "VIRTUAL TABLE" not in row[3]] == []
    keeper.store.close()


# --- what is of no job ---


def test_what_was_told_of_no_job_goes_with_the_past_and_the_newest_row_stays(world: World) -> None:
    finished(world, "a")
    world.pause("acct")
    world.store.lift("acct", world.now, by="ann")
    kept = world.store.events(job=world.job("a").id)
    world.wait(10)
    assert world.store.forget_past(world.ahead(-20)) == 0
    last = world.store.last_seq()
    gone = world.store.forget_past(world.now)
    assert gone >= 2
    assert world.store.events(job=world.job("a").id) == kept
    assert world.store.last_seq() == last
    assert [event for event in world.events() if event.job is None and event.at < world.now and event.seq < last] == []
    assert world.store.forget_past(world.now) == 0
    reconcile(world.store)


def test_batches_without_jobs_and_supervisors_without_attempts_go_with_the_past(world: World) -> None:
    finished(world, "a", "b")
    world.submit("c", batch="other")
    world.enter("earlier")
    world.store.leave("earlier", world.now)
    ids = [world.job(name).id for name in "ab"]
    assert world.store.forget(ids, world.now) == 2
    world.wait(10)
    world.store.forget_past(world.now)
    assert [batch.name for batch in world.store.batches()] == ["other"]
    assert [one.uuid for one in world.store.supervisors()] == ["me"]
    again = world.submit("a")
    assert again.added == ("a",)
    assert again.batch.id > 2  # no number is given twice
    assert names(world.claim(2)) == ["c", "a"]
    reconcile(world.store)


def test_a_batch_that_somebody_works_on_stays_though_its_jobs_are_forgotten(world: World) -> None:
    world.submit("a")
    (batch,) = world.store.batches()
    world.store.enter(replace(incarnation("run", "here"), batch=batch.id))
    world.store.cancel(world.job("a").id, world.now, by="ann")
    assert forget(world, "a") == 1
    world.wait(10)
    world.store.forget_past(world.now)
    assert world.store.batches() == [batch]
    world.store.leave("run", world.now)
    world.store.forget_past(world.now)
    assert world.store.batches() == []
