"""A database that is older than the output beside it, as one put back by hand: nothing runs twice, nothing is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from installed import Tidegate, until

from tidegate import places
from tidegate.audit import audit

COUNTS = 'echo "$1" >> ran; {then}'


def counting(tidegate: Tidegate, name: str, then: str = "true", *flags: str) -> None:
    """A job that leaves a line each time it runs."""
    done = tidegate("submit", "--name", name, *flags, "--", "sh", "-c", COUNTS.format(then=then), "sh", name)
    assert done.returncode == 0, done.stderr


def ran(tidegate: Tidegate) -> list[str]:
    path = tidegate.place / "ran"
    return path.read_text().split() if path.exists() else []


def put_back(copy: Path, state: Path) -> None:
    """Replace a database by an older copy, as a person would."""
    for suffix in ("-wal", "-shm"):
        Path(f"{places.database(state)}{suffix}").unlink(missing_ok=True)
    shutil.copy(copy, places.database(state))


def kept(tidegate: Tidegate) -> Path:
    """A copy of the database while nobody works."""
    copy = tidegate.place / "copy.db"
    shutil.copy(places.database(tidegate.state), copy)
    return copy


@pytest.mark.slow
def test_what_an_older_database_does_not_know_is_taken_up_and_not_run_again(tidegate: Tidegate) -> None:
    tidegate.env["TIDEGATE_RETRY__FIRST"] = "0s"
    for name in ("done", "twice", "runs"):
        then = {
            "done": "true",
            "twice": "test -e marked || { touch marked; exit 1; }",
            "runs": "while ! test -e go; do sleep 0.02; done",
        }
        counting(tidegate, name, then[name])
    older = kept(tidegate)
    serving = tidegate.start("serve", "--slots", "3")
    until(lambda: sorted(ran(tidegate)) == ["done", "runs", "twice", "twice"])
    until(lambda: tidegate.states()["twice"] == "succeeded" == tidegate.states()["done"])
    serving.kill()
    serving.wait()
    put_back(older, tidegate.state)
    assert {one.kind for one in audit(tidegate.state)} == {"output_ahead"}
    serving = tidegate.start("serve", "--slots", "3")
    until(lambda: tidegate.states() == {"done": "succeeded", "twice": "succeeded", "runs": "running"})
    (tidegate.place / "go").touch()
    until(lambda: tidegate.states()["runs"] == "succeeded")
    assert sorted(ran(tidegate)) == ["done", "runs", "twice", "twice"]
    assert audit(tidegate.state) == []


@pytest.mark.slow
def test_a_job_that_has_ended_by_an_older_database_and_runs_is_followed(tidegate: Tidegate) -> None:
    counting(
        tidegate,
        "a",
        "test -e first || { touch first; exit 1; }; while ! test -e go; do sleep 0.02; done",
        "--max-attempts",
        "1",
    )
    serving = tidegate.start("serve")
    until(lambda: tidegate.states() == {"a": "failed"})
    serving.terminate()
    serving.wait()
    older = kept(tidegate)
    tidegate("retry", "a")
    serving = tidegate.start("serve")
    until(lambda: ran(tidegate) == ["a", "a"])
    serving.kill()
    serving.wait()
    put_back(older, tidegate.state)
    tidegate.start("serve")
    until(lambda: tidegate.states() == {"a": "running"})
    (tidegate.place / "go").touch()
    until(lambda: tidegate.states() == {"a": "succeeded"})
    assert ran(tidegate) == ["a", "a"]
    assert audit(tidegate.state) == []


@pytest.mark.slow
def test_output_of_another_database_takes_no_number_of_this_one(tidegate: Tidegate) -> None:
    """Until now a queued job ended as an error: an agent had run in its directory."""
    counting(tidegate, "a", "exit 1", "--max-attempts", "1")
    serving = tidegate.start("serve")
    until(lambda: tidegate.states() == {"a": "failed"})
    serving.terminate()
    serving.wait()
    intent = places.attempt(tidegate.state, 1, 1) / "attempt.json"
    intent.write_text(intent.read_text().replace('"name": "a"', '"name": "another"'))
    other = Tidegate(tidegate.place / "other")
    other.place.mkdir()
    counting(other, "b")
    put_back(places.database(other.state), tidegate.state)
    tidegate.start("serve")
    until(lambda: tidegate.states() == {"b": "succeeded"})
    assert tidegate.lines("show", "b")[0]["launches"] == 2
    assert audit(tidegate.state) == []
    assert [one.name for one in places.attempts(tidegate.state).iterdir()] == ["1"]
