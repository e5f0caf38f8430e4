"""The audit: each thing that must be true, broken by hand in a real state directory, is found, and nothing else."""

from __future__ import annotations

import os
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from corrupted import BOOKS, asked, copied, real, sleeper, sql
from filled import Night, job
from installed import Tidegate, until

from tidegate import places
from tidegate.audit import Finding, audit
from tidegate.model import Failed, Origin, Outcome, Window
from tidegate.repair import repair
from tidegate.stores.books import AUDIT


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Tidegate:
    return real(tmp_path_factory.mktemp("made"))


@pytest.fixture
def broken(made: Tidegate, tmp_path: Path) -> Tidegate:
    return copied(made, tmp_path)


def kinds(found: list[Finding]) -> set[str]:
    return {one.kind for one in found}


def test_a_fault_is_found_in_a_moment(tmp_path: Path) -> None:
    filled = Night(tmp_path)
    filled.submit("b", job("a"), job("b"))
    filled.enter()
    filled.claim(1)
    tmp_path.chmod(0o700)
    assert audit(tmp_path) == []
    sql(tmp_path, "UPDATE job SET lost = 7 WHERE name = 'b'")
    assert [one.said for one in audit(tmp_path)] == ["job 2 counts 7 lost attempts, but its events say 0"]


def test_an_event_and_a_definition_that_are_no_json_are_told_and_the_rest_is_looked_at(tmp_path: Path) -> None:
    filled = Night(tmp_path)
    filled.submit("b", job("a"), job("b", env={"A_TOKEN": "hush-hush"}))
    filled.enter()
    ((_, attempt),) = filled.claim(1)
    filled.store.finish(attempt, Failed(reason="no"), filled.now)
    filled.store.close()
    tmp_path.chmod(0o700)
    before = asked(tmp_path, "SELECT attempts, state FROM job")
    sql(tmp_path, "UPDATE event SET data = '{\"charged\"' WHERE name = 'attempt ended'")
    sql(tmp_path, "UPDATE definition SET spec = 'x' WHERE job = 2; UPDATE job SET lost = 7 WHERE id = 2")
    assert kinds(audit(tmp_path)) == {"event_data", "job_spec", "job_charged", "job_lost"}
    places.lock(tmp_path).touch(mode=0o600)
    repair(tmp_path, filled.now, "ann")
    assert kinds(audit(tmp_path)) == {"job_spec"}
    assert asked(tmp_path, "SELECT attempts, state FROM job") == before, "its charge is not lost with its event"
    (event,) = asked(tmp_path, "SELECT data ->> 'outcome', data ->> 'damaged' FROM event WHERE name = 'attempt ended'")
    assert event == ("failed", '{"charged"')


@pytest.mark.slow
def test_of_a_real_state_directory_nothing_is_found(broken: Tidegate) -> None:
    assert audit(broken.state) == []


def test_an_audit_knows_every_origin_window_and_outcome() -> None:
    known = AUDIT["hold_origin"]
    assert {*map(str, Origin), *map(str, Window)} == set(re.findall(r"'([\w]+)'", known))
    uncharged = {"limited", "interrupted", "lost", "unclaimed"}
    assert f"NOT IN ({', '.join(map(repr, ['limited', 'interrupted', 'lost', 'unclaimed']))})" in AUDIT["job_limited"]
    outcomes = {kind.__name__.lower() for kind in get_args(Outcome)}
    assert outcomes - uncharged == {"succeeded", "failed", "timedout", "cancelled"}


def test_where_nobody_has_worked_nothing_is_found_and_nothing_is_made(tmp_path: Path) -> None:
    assert audit(tmp_path / "none") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("statement", "expected", "words"), BOOKS, ids=[said for said, _, _ in BOOKS])
def test_what_is_wrong_in_the_books_is_found_and_nothing_else(
    broken: Tidegate, statement: str, expected: set[str], words: str
) -> None:
    sql(broken.state, statement)
    found = audit(broken.state)
    assert kinds(found) == expected, found
    assert any(words in one.said for one in found), found


@pytest.mark.slow
def test_many_faults_of_one_kind_are_counted(broken: Tidegate) -> None:
    sql(
        broken.state,
        "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 50)"
        " INSERT INTO event (at, name, job, data) SELECT '2026-01-09T18:30:00.000000Z', 'progress', 5, '{' FROM n",
    )
    found = audit(broken.state)
    assert len(found) == 21
    assert found[-1].said == "30 more are so"


@pytest.mark.slow
def test_an_index_that_differs_from_its_table_is_no_damage(broken: Tidegate) -> None:
    sql(
        broken.state,
        "PRAGMA writable_schema = ON;"
        "UPDATE sqlite_schema SET sql = 'CREATE INDEX job_ended ON job (created_at)' WHERE name = 'job_ended'",
    )
    assert kinds(audit(broken.state)) >= {"index", "schema_part"}


@pytest.mark.slow
def test_a_page_of_rubbish_is_damage(broken: Tidegate) -> None:
    path = places.database(broken.state)
    ((page,),) = asked(broken.state, "SELECT rootpage FROM sqlite_schema WHERE name = 'event'")
    raw = bytearray(path.read_bytes())
    raw[4096 * (int(str(page)) - 1) : 4096 * int(str(page))] = b"\xa5" * 4096
    path.write_bytes(raw)
    assert kinds(audit(broken.state)) == {"damage"}


@pytest.mark.slow
def test_what_is_no_database_is_one_finding(broken: Tidegate) -> None:
    places.database(broken.state).write_text("no database " * 1000)
    for suffix in ("-wal", "-shm"):
        Path(f"{places.database(broken.state)}{suffix}").unlink(missing_ok=True)
    assert [(one.kind, one.is_wrong) for one in audit(broken.state)] == [("unreadable", True)]


@pytest.mark.slow
def test_what_lies_ahead_is_doubtful(broken: Tidegate) -> None:
    found = audit(broken.state, datetime.now(UTC) - timedelta(days=1))
    assert [(one.kind, one.is_wrong) for one in found] == [("times_ahead", False)]


# --- files ---


@pytest.mark.slow
def test_what_others_may_read_is_found(broken: Tidegate) -> None:
    (broken.state / "attempts" / "1" / "1").chmod(0o750)
    (broken.state / "attempts" / "1" / "1" / "stdout.log").chmod(0o644)
    (broken.state / "home").mkdir(mode=0o755)  # not ours
    found = audit(broken.state)
    assert kinds(found) == {"mode"}
    assert [one.place and one.place.name for one in found] == ["1", "stdout.log"]


@pytest.mark.slow
def test_a_missing_secret_and_one_of_no_job_are_found(broken: Tidegate) -> None:
    first, _ = secrets = sorted(one for one in places.secrets(broken.state).iterdir() if one.name != "key")
    shutil.copy(first, first.with_name("f" * 40))
    os.utime(first.with_name("f" * 40), (0, 0))
    shutil.copy(first, first.with_name("e" * 40))  # may be that of a submit that is under way
    first.unlink()
    found = audit(broken.state)
    assert {(one.kind, one.place and one.place.name) for one in found} == {
        ("secret_missing", first.name),
        ("secret_orphan", "f" * 40),
    }
    assert len(secrets) == 2
    assert any("--env" in one.do for one in found)


@pytest.mark.slow
def test_output_of_no_attempt_is_found(broken: Tidegate) -> None:
    for place in ("1/9", "77/1"):
        (broken.state / "attempts" / place).mkdir(parents=True, mode=0o700)
        (broken.state / "attempts" / place).parent.chmod(0o700)
    found = audit(broken.state)
    assert {(one.kind, one.job, one.attempt) for one in found} == {("output_ahead", 1, 9), ("output_orphan", 77, 1)}


@pytest.mark.slow
def test_an_exit_status_that_differs_and_an_intent_of_another_are_found(broken: Tidegate) -> None:
    (broken.state / "attempts/1/1/lock").write_text("17\n3\n")
    (broken.state / "attempts/3/2/attempt.json").write_text("{")
    found = audit(broken.state)
    assert {(one.kind, one.job, one.attempt) for one in found} == {("exit", 1, 1), ("intent", 3, 2)}


@pytest.mark.slow
def test_output_that_was_cleaned_is_not_missed_but_that_of_a_waiting_job_is(broken: Tidegate) -> None:
    shutil.rmtree(broken.state / "attempts" / "1")
    assert audit(broken.state) == []
    sql(
        broken.state,
        "UPDATE job SET state = 'queued', ended_at = NULL WHERE id = 1;"
        "DELETE FROM event WHERE job = 1 AND name = 'job ended'",
    )
    assert [(one.kind, one.is_wrong) for one in audit(broken.state)] == [("output_missing", False)]


# --- processes ---


@pytest.mark.slow
def test_a_process_of_an_attempt_that_has_ended_is_found(broken: Tidegate) -> None:
    ((uuid,),) = asked(broken.state, "SELECT uuid FROM supervisor")
    for mark, expected in ((f"{uuid}/1/1", {"leftover"}), ("another's/1/1", set())):
        process = sleeper(mark, broken.place)
        try:
            until(lambda: Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(b"sleep"))  # noqa: B023
            found = audit(broken.state)
            assert kinds(found) == expected
            assert all(one.pid == process.pid for one in found)
        finally:
            process.kill()
            process.wait()
    assert audit(broken.state) == []


@pytest.mark.slow
def test_an_agent_whose_directory_is_gone_is_found(tidegate: Tidegate) -> None:
    tidegate("submit", "--", "sleep", "60")
    serving = tidegate.start("serve")
    until(lambda: (places.attempt(tidegate.state, 1, 1) / "lock").exists() and audit(tidegate.state) == [])
    until(lambda: len((places.attempt(tidegate.state, 1, 1) / "lock").read_text().split()) == 1)
    pid = int((places.attempt(tidegate.state, 1, 1) / "lock").read_text())
    serving.terminate()
    serving.wait()
    assert audit(tidegate.state) == [], "an agent that waits to be adopted is as it should be"
    try:
        shutil.rmtree(places.attempt(tidegate.state, 1, 1))
        assert kinds(audit(tidegate.state)) == {"unfollowed"}
    finally:
        os.killpg(pid, 9)


@pytest.mark.slow
def test_beside_a_busy_supervisor_nothing_is_found(tidegate: Tidegate) -> None:
    tidegate.env["TIDEGATE_RETRY__FIRST"] = "0s"
    jobs = [
        f'{{"id": "{n}", "command": ["sh", "-c", "exit $(({n} % 3 == 0))"], "max_attempts": 2}}' for n in range(150)
    ]
    (tidegate.place / "jobs.jsonl").write_text("\n".join(jobs))
    running = tidegate.start("run", "jobs.jsonl", "--slots", "6")
    looks = 0
    while running.poll() is None:
        assert audit(tidegate.state) == []
        looks += 1
    assert looks > 5
    assert audit(tidegate.state) == []
