"""A database that is damaged, cut off, empty, gone, foreign or newer: one clear line, code 5, and nobody is killed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from installed import OWN, Started, Tidegate, said, until

from faults import damage
from faults.small_disk import SmallDisk
from tidegate import places
from tidegate.launch.traces import state_of
from tidegate.stores import sqlite

WAITS = "while [ ! -e {gate} ]; do sleep 0.05; done"


def test_whatever_is_in_a_database_makes_a_value_or_one_clear_line() -> None:
    assert damage.fly(range(12)) == []


@pytest.mark.slow
def test_whatever_is_in_many_databases_makes_values_or_clear_lines() -> None:
    assert damage.fly(range(1000, 1060)) == []


# --- at the start ---


def overwrite(database: Path) -> None:
    raw = bytearray(database.read_bytes())
    raw[4096:] = b"\xa5" * (len(raw) - 4096)
    database.write_bytes(raw)


def newer(database: Path) -> None:
    store = sqlite.open(database)
    store._file._db.execute("INSERT INTO migration VALUES (999, '2030')")
    store.close()


SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "damaged": (overwrite, "the database is damaged"),
    "cut off": (lambda path: os.truncate(path, 8192), "the database is damaged"),
    "shorter than a page": (lambda path: os.truncate(path, 300), "not a tidegate database|damaged"),
    "empty": (lambda path: os.truncate(path, 0), "is empty, and there is output of jobs"),
    "no database": (lambda path: path.write_text("no database " * 1000), "is not a tidegate database"),
    "newer": (newer, "made by a newer tidegate"),
}


def filled(tidegate: Tidegate) -> Path:
    """A state directory in which jobs have run."""
    jobs = "".join(json.dumps({"id": f"j{number}", "command": ["true"]}) + "\n" for number in range(3))
    assert tidegate("run", tidegate.batch(jobs, "b.jsonl")).returncode == 0
    return places.database(tidegate.state)


@pytest.mark.slow
@pytest.mark.parametrize("how", SPOILT)
def test_every_verb_says_in_one_line_what_is_wrong_with_the_database(tidegate: Tidegate, how: str) -> None:
    database = filled(tidegate)
    spoil, words = SPOILT[how]
    spoil(database)
    before = database.read_bytes()
    for verb in (["status"], ["submit", "--", "true"], ["run", "b.jsonl"], ["serve"]):
        done = tidegate(*verb)
        assert done.returncode == 5, (verb, done.stdout)
        (line,) = [one for one in done.stderr.splitlines() if not one.startswith("{")]
        assert line.startswith(f"tidegate: {database}"), (verb, line)
        assert any(word in line for word in words.split("|")), (verb, line)
        assert "Traceback" not in done.stderr
    assert tidegate("doctor").returncode == 5
    assert database.read_bytes() == before, "nothing is made of it"


def test_an_empty_file_in_a_new_place_is_the_beginning_of_a_database(tmp_path: Path) -> None:
    (tmp_path / "t.db").touch()
    store = sqlite.open(tmp_path / "t.db")
    assert store.jobs() == []
    store.close()


# --- the log that a database has beside it ---


def killed(tidegate: Tidegate) -> Path:
    """A database whose last words are in its log alone."""
    service = tidegate.start("serve")
    until(lambda: (tidegate.state / "bell").exists())
    for number in range(3):
        script = f"echo late{number} >> {tidegate.place}/ran"
        assert tidegate("submit", "--name", f"late{number}", "--", "sh", "-c", script).returncode == 0
    until(lambda: set(tidegate.states().values()) == {"succeeded"})
    service.kill()
    service.wait()
    return places.database(tidegate.state)


@pytest.mark.slow
def test_a_log_that_is_left_behind_from_another_database_is_told_or_harmless(
    tidegate: Tidegate, tmp_path: Path
) -> None:
    database = killed(tidegate)
    log = database.with_name("tidegate.db-wal")
    assert log.stat().st_size
    other = Tidegate(tmp_path / "other")
    other.place.mkdir()
    shutil.copy(filled(other), tmp_path / "copy.db")
    shutil.copy(tmp_path / "copy.db", database)
    done = tidegate("run", other.batch('{"id": "more", "command": ["true"]}\n', "more.jsonl"), timeout=60)
    assert done.returncode in (0, 2, 5)
    assert "Traceback" not in done.stderr
    assert sorted((tidegate.place / "ran").read_text().split()) == ["late0", "late1", "late2"]
    whole = tidegate("doctor", "--deep")
    assert "Traceback" not in whole.stderr


@pytest.mark.slow
def test_a_database_whose_log_is_gone_runs_nothing_twice(tidegate: Tidegate, tmp_path: Path) -> None:
    database = killed(tidegate)
    for end in ("-wal", "-shm"):
        database.with_name(f"tidegate.db{end}").unlink()
    done = tidegate("run", tidegate.batch('{"id": "more", "command": ["true"]}\n', "more.jsonl"))
    assert done.returncode in (0, 5)
    assert "Traceback" not in done.stderr
    assert sorted((tidegate.place / "ran").read_text().split()) == ["late0", "late1", "late2"]


# --- under a running supervisor ---


def serving(tidegate: Tidegate, tmp_path: Path) -> tuple[Started, Path]:
    """A service with one agent that runs, and the directory of its attempt."""
    service = tidegate.start("serve")
    until(lambda: (tidegate.state / "bell").exists())
    script = WAITS.format(gate=tmp_path / "gate")
    assert tidegate("submit", "--name", "a", "--", "sh", "-c", script).returncode == 0
    until(lambda: list(tidegate.state.glob("attempts/*/*/lock")))
    (lock,) = tidegate.state.glob("attempts/*/*/lock")
    until(lambda: lock.stat().st_size)
    return service, lock.parent


def last_line(tidegate: Tidegate) -> str:
    """What a program that has ended said last, besides its log."""
    text = (tidegate.place / "started.0").read_text()
    assert "Traceback" not in text, text
    (line,) = [one for one in text.splitlines() if not one.startswith("{")]
    return line


def scramble(path: Path, start: int) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(random.Random(1).randbytes(max(path.stat().st_size - start, 0)))


@pytest.mark.slow
def test_a_database_that_is_damaged_while_it_is_used_ends_the_service_and_no_agent(
    tidegate: Tidegate, tmp_path: Path
) -> None:
    service, attempt = serving(tidegate, tmp_path)
    database = places.database(tidegate.state)
    scramble(database, 4096)
    scramble(database.with_name("tidegate.db-wal"), 32)
    done = tidegate("submit", "--name", "b", "--", "true")
    assert (done.returncode, "Traceback" in done.stderr) == (5, False)
    assert state_of(attempt).held, "the agent runs on"
    (tmp_path / "gate").touch()
    assert service.wait(30) == 5
    assert "doctor --deep" in last_line(tidegate)
    until(lambda: state_of(attempt).code == 0)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["deleted", "renamed"])
def test_a_state_directory_that_goes_ends_the_service_and_nothing_is_made_in_its_place(
    tidegate: Tidegate, tmp_path: Path, how: str
) -> None:
    service, attempt = serving(tidegate, tmp_path)
    if how == "renamed":
        tidegate.state.rename(tmp_path / "elsewhere")
    else:
        pid = state_of(attempt).pid
        shutil.rmtree(tidegate.state)
    assert service.wait(30) == 5
    assert "was removed or replaced while it was open" in last_line(tidegate)
    assert not tidegate.state.exists()
    if how == "renamed":
        (tmp_path / "elsewhere").rename(tidegate.state)
        assert state_of(attempt).held, "the agent runs on"
        tidegate.start("serve")
        (tmp_path / "gate").touch()
        until(lambda: tidegate.states() == {"a": "succeeded"})
        assert [job["attempts"] for job in tidegate.lines("list")] == [0]
    else:
        assert pid is not None
        os.killpg(pid, signal.SIGKILL)


@pytest.mark.slow
def test_a_disk_that_is_read_only_is_told_in_one_line_and_all_goes_on_when_it_is_writable(small: SmallDisk) -> None:
    small.env["TIDEGATE_SUPERVISOR__MIN_FREE_DISK"] = "none"
    filled(small)
    small.remount("ro")
    for verb in (["submit", "--", "true"], ["serve"]):
        done = small(*verb)
        assert done.returncode == 5, (verb, done.stdout, done.stderr)
        assert "ead-only" in said(done)
    small.remount("rw")
    assert small("run", "b.jsonl").returncode == 0


# --- who may not ---

BARE = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner", "--inh-caps=-all"]  # root as anybody is


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv")
@pytest.mark.parametrize("how", ["another's directory", "a directory that is not writable", "another's database"])
def test_whoever_may_not_write_there_is_told_in_one_line(tidegate: Tidegate, how: str) -> None:
    database = filled(tidegate)
    match how:
        case "another's directory":
            os.chown(tidegate.state, 65534, 65534)
        case "a directory that is not writable":
            tidegate.state.chmod(0o500)
        case _:
            database.chmod(0o600)
            os.chown(database, 65534, 65534)
    tidegate.program = [*BARE, *OWN]
    for verb in (["submit", "--", "true"], ["serve"]):
        done = tidegate(*verb)
        assert done.returncode == 5, (verb, done.stdout, done.stderr)
        (line,) = [one for one in done.stderr.splitlines() if not one.startswith("{")]
        assert str(tidegate.state) in line
    tidegate.state.chmod(0o700)
