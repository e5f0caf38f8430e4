"""The audit: each thing that must be true, broken by hand in a real state directory, is found, and nothing else."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from corrupted import asked, copied, real, sleeper, sql
from filled import Night, job
from installed import Tidegate, until

from tidegate import places
from tidegate.audit import Finding, audit


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


@pytest.mark.slow
def test_of_a_real_state_directory_nothing_is_found(broken: Tidegate) -> None:
    assert audit(broken.state) == []


def test_where_nobody_has_worked_nothing_is_found_and_nothing_is_made(tmp_path: Path) -> None:
    assert audit(tmp_path / "none") == []
    assert list(tmp_path.iterdir()) == []


BOOKS = [
    ("UPDATE job SET state = 'running', unmet = 0 WHERE id = 5", {"job_running"}, "job 5 runs, but has no open"),
    ("UPDATE attempt SET ended_at = NULL, outcome = NULL WHERE job = 1", {"attempt_open", "attempt_told"}, "succeeded"),
    ("UPDATE attempt SET outcome = NULL WHERE job = 1", {"attempt_end"}, "attempt 1 of job 1 has ended"),
    ("UPDATE job SET ended_at = NULL WHERE id = 1", {"job_end"}, "job 1 is succeeded, but has no end"),
    ("UPDATE job SET state = 'failed' WHERE id = 2", {"job_untold"}, "job 2 is failed"),
    ("DELETE FROM event WHERE name = 'job ended' AND job = 2", {"job_untold"}, "job 2 is succeeded"),
    ("UPDATE job SET state = 'queued', ended_at = NULL WHERE id = 2", {"job_revived"}, "last event says that it has"),
    ("DELETE FROM event WHERE name = 'job added' AND job = 2", {"job_added"}, "job 2 has no event that it was added"),
    ("DELETE FROM definition WHERE job = 5", {"job_definition"}, "job 5 has no definition"),
    ("UPDATE definition SET spec = '{' WHERE job = 5", {"job_spec"}, "no JSON"),
    ("UPDATE job SET launches = 3 WHERE id = 3", {"job_launches"}, "counts 3 launches, but has 2 attempts"),
    ("DELETE FROM attempt WHERE job = 3 AND n = 1", {"job_launches", "attempt_row", "output_orphan"}, "has no row"),
    ("UPDATE attempt SET epoch = 1 WHERE job = 3 AND n = 1", {"attempt_claim"}, "no event of its claim"),
    ("DELETE FROM event WHERE name = 'attempt ended' AND job = 2", {"attempt_told"}, "0 events say that it has"),
    ("UPDATE job SET attempts = 1 WHERE id = 3", {"job_charged"}, "counts 1 charged attempts, but its events say 2"),
    ("UPDATE job SET lost = 1 WHERE id = 5", {"job_lost"}, "counts 1 lost attempts, but its events say 0"),
    ("UPDATE job SET limited_in_a_row = 2 WHERE id = 5", {"job_limited"}, "counts 2 limits in a row"),
    ("UPDATE job SET unmet = 1 WHERE id = 5", {"job_unmet"}, "waits for 1 jobs, but has 0 needs"),
    ("UPDATE need SET met = 0 WHERE job = 2; UPDATE job SET unmet = 1 WHERE id = 2", {"need_met"}, "waits for job 1"),
    ("INSERT INTO need VALUES (5, 3, 0); UPDATE job SET unmet = 1 WHERE id = 5", {"need_hopeless"}, "job 3, which is"),
    ("INSERT INTO need VALUES (5, 6, 0), (6, 5, 0); UPDATE job SET unmet = 1 WHERE id > 4", {"need_circle"}, "itself"),
    ("UPDATE lane SET queued = 7", {"lane_counts"}, "counts its jobs wrongly"),
    ("UPDATE job SET account = 'claude' WHERE id = 5", {"job_lane"}, "job 5 is in the lane of batch"),
    ("UPDATE job SET held = 0", {"job_held"}, "job 5 does not count as held"),
    ("UPDATE hold SET origin = 'nobody'", {"hold_origin"}, "'nobody'"),
    ("UPDATE hold SET allow = -1", {"hold_allow"}, "the hold of job:5 (operator) allows -1"),
    ("UPDATE hold SET ramp = 1", {"hold_allow"}, "allows 0 as a ramp"),
    ("UPDATE hold SET origin = 'limit'", {"hold_end"}, "the hold of job:5 (limit) has no end"),
    ("UPDATE hold SET epoch = 99999", {"hold_epoch"}, "event 99999, which is not here yet"),
    ("INSERT INTO opening VALUES ('x', 99999, '2026-01-01T00:00:00.000000Z')", {"hold_epoch"}, "the opening of x"),
    (
        "INSERT INTO request (at, verb, target, by) VALUES ('2026-01-01T00:00:00.000000Z', 'cancel', 5, 'ann')",
        {"request_cancel"},
        "job 5 is to be cancelled, but is queued",
    ),
    ("UPDATE event SET data = '{' WHERE name = 'job added' AND job = 5", {"event_data"}, "tells no JSON"),
    ("UPDATE event SET job = 99 WHERE name = 'job added' AND job = 1", {"event_job", "job_added"}, "which is not here"),
    ("UPDATE supervisor SET started_at = '2026-01-09 18:30'", {"times"}, "'2026-01-09 18:30' is no instant"),
    ("DROP TRIGGER job_moved", {"schema"}, "trigger job_moved is missing"),
    ("DROP INDEX job_ready", {"schema"}, "index job_ready is missing"),
    ("CREATE TABLE mine (x)", {"schema"}, "table mine is not ours"),
    ("ALTER TABLE batch ADD COLUMN colour TEXT", {"schema"}, "table batch is not as a new database has it"),
    ("DELETE FROM batch WHERE id = 2", {"reference"}, "refers to a row of batch that is not there"),
    ("UPDATE migration SET version = version + 100", {"newer"}, "made by a newer tidegate"),
]  # fmt: skip


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
    assert kinds(audit(broken.state)) >= {"index", "schema"}


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
