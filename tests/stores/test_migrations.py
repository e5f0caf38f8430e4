"""A database of an earlier tidegate is brought up to date where it lies."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from stores.world import START, World, names
from tidegate.model import Halt, Spent, State
from tidegate.stores.connection import SCHEMA, SQL
from tidegate.stores.rows import iso
from tidegate.stores.sqlite import SqliteStore

FILLED = """
INSERT INTO supervisor VALUES ('me', 'here', 1, 'boot', :now, NULL);
INSERT INTO account VALUES ('acct', 2, 1, :now, 1, NULL, 0);
INSERT INTO batch VALUES (1, 'b');
INSERT INTO lane (id, batch, account, model) VALUES (1, 1, 'acct', 'default');
INSERT INTO job (id, batch, lane, name, account, "group", priority, created_at)
  VALUES (1, 1, 1, 'a', 'acct', '', 0, :now), (2, 1, 1, 'b', 'acct', '', 5, :now), (3, 1, 1, 'c', 'acct', '', 0, :now);
INSERT INTO definition VALUES (1, x'00', '{"prompt":"do a"}'), (2, x'01', '{}'), (3, x'02', '{}');
UPDATE job SET state = 'running', launches = 1 WHERE id = 1;
INSERT INTO attempt (job, n, supervisor, epoch, started_at, canary) VALUES (1, 1, 'me', 1, :now, 0);
UPDATE job SET state = 'failed', reason = 'exit 1', ended_at = :now WHERE id = 3;
INSERT INTO hold VALUES ('job:2', 'operator', 'unknown', 0, :now, NULL, 'lunch', '', 'ann', 1, NULL, 0, 0, 0, NULL);
INSERT INTO event (at, name, job) VALUES (:now, 'job added', 1);
"""


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A database as version 1 made it, in the middle of its work."""
    path = tmp_path / "t.db"
    file = apsw.Connection(str(path))
    file.execute(SQL["wal"])
    file.execute(SQL["migration_1"])
    file.execute(SQL["migrated"], {"version": 1})
    file.execute(FILLED, {"now": iso(START)})
    file.close()
    return path


def test_a_database_of_the_first_version_is_upgraded_in_place(first: Path) -> None:
    store = SqliteStore(first)
    world = World(store)
    assert store._file.number("schema_version") == SCHEMA
    assert world.states() == {"a": State.RUNNING, "b": State.QUEUED, "c": State.FAILED}
    assert [one.batch for one in store.supervisors()] == [None]
    assert [(hold.scope, hold.halt) for hold in store.holds()] == [("job:2", Halt.NONE)]
    assert store.requests() == []
    assert world.job("a").spec.prompt == "do a"
    store.close()


def test_what_attempts_have_cost_before_there_were_books_is_in_them(first: Path) -> None:
    file = apsw.Connection(str(first))
    ended = {"now": iso(START), "usage": '{"input_tokens":5,"output_tokens":2,"cost_usd":0.25}'}
    file.execute("UPDATE job SET launches = 1 WHERE id = 3", ended)
    file.execute(
        "INSERT INTO attempt VALUES (3, 1, 'me', 1, :now, 0, 1, :now, 'succeeded', 0, NULL, :usage, '')",
        ended,
    )
    file.close()
    store = SqliteStore(first)
    told = Spent(attempts=1, usd_told=1, microdollars=250_000, tokens_told=1, tokens=7)
    assert store.spent(batch=1) == store.spent(account="acct") == told
    store.close()


def test_work_goes_on_after_the_upgrade(first: Path) -> None:
    store = SqliteStore(first)
    world = World(store)
    assert world.claim(9) == [], "b is held by a person, and stays so"
    store.lift("job:2", world.now, by="ann")
    ((job, attempt),) = store.running()
    assert world.finish((job, attempt)).state is State.SUCCEEDED
    assert store.retry(3, world.now, by="ann").state is State.QUEUED
    world.progress(claim := world.take())
    assert names([claim, *world.claim(9)]) == ["b", "c"]
    assert store.counts()[State.RUNNING] == 2
    store.close()


def test_the_upgraded_tables_are_those_of_a_new_database(first: Path, tmp_path: Path) -> None:
    def tables(path: Path) -> dict[str, set[tuple[object, ...]]]:
        store = SqliteStore(path)
        db = store._file._db
        kinds = [name for (name,) in db.execute("SELECT name FROM sqlite_schema ORDER BY name")]
        found = {kind: set(db.execute("SELECT * FROM pragma_table_xinfo(?)", (kind,))) for kind in kinds}
        store.close()
        return found

    assert tables(first) == tables(tmp_path / "new.db")


def test_an_upgrade_that_breaks_off_has_not_happened(first: Path) -> None:
    file = apsw.Connection(str(first))
    file.execute("CREATE TABLE request (x)")  # in the way of the new one
    file.close()
    with pytest.raises(Exception, match="request"):
        SqliteStore(first)
    file = apsw.Connection(str(first))
    assert list(file.execute("SELECT max(version) FROM migration")) == [(1,)]
    assert "halt" not in [row[1] for row in file.execute("SELECT * FROM pragma_table_info('hold')")]
    file.execute("DROP TABLE request")
    file.close()
    SqliteStore(first).close()
