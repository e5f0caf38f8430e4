"""A disk that is full, and one that has room again: nothing is lost, nobody is killed, and all goes on by itself."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from installed import Tidegate, said, until

from faults.small_disk import SmallDisk, small_disk

WAITS = "while [ ! -e {gate} ]; do sleep 0.05; done; echo done; exit {code}"


@pytest.fixture
def small(small: SmallDisk) -> SmallDisk:
    """Nothing shuts launching before the disk is full; who fails is not tried again."""
    small.env |= {"TIDEGATE_SUPERVISOR__MIN_FREE_DISK": "none", "TIDEGATE_SUPERVISOR__SLOTS": "2"}
    return small


def batch(*jobs: dict[str, object]) -> str:
    return "".join(f"{json.dumps(job)}\n" for job in jobs)


def shell(id: str, script: str, **more: object) -> dict[str, object]:
    return {"id": id, "command": ["sh", "-c", script], "max_attempts": 1, **more}


def told(tidegate: Tidegate, number: int = 0) -> str:
    return (tidegate.place / f"started.{number}").read_text()


def submit_until_full(small: SmallDisk) -> list[str]:
    """Hand jobs in until the disk takes no more; the names of those that were acknowledged."""
    acknowledged: list[str] = []
    for number in range(2000):
        name = f"extra{number}"
        done = small("submit", "--name", name, "--label", f"long={'x' * 190}", "--", "true", "y" * 4000)
        if done.returncode:
            assert done.returncode == 5
            assert "t" in said(done)
            return acknowledged
        acknowledged.append(name)
    raise AssertionError("the disk is never full")


def leave_no_room(small: SmallDisk) -> tuple[Path, list[str]]:
    """Fill the disk, and what the database's own files still have room for."""
    filler = small.fill()
    acknowledged = submit_until_full(small)
    small.fill(name="rest")
    return filler, acknowledged


def make_room(small: SmallDisk) -> None:
    for filler in ("filler", "rest"):
        (small.disk / filler).unlink(missing_ok=True)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_service_on_a_full_disk_keeps_every_end_and_goes_on_when_there_is_room(
    small: SmallDisk, tmp_path: Path
) -> None:
    service = small.start("serve")
    until(lambda: (small.state / "bell").exists())
    for name, code in (("good", 0), ("bad", 7)):
        script = WAITS.format(gate=tmp_path / "gate", code=code)
        small("submit", "--name", name, "--max-attempts", "1", "--", "sh", "-c", script)
    until(lambda: list(small.states().values()) == ["running", "running"])
    _, acknowledged = leave_no_room(small)
    (tmp_path / "gate").touch()
    until(lambda: "database blocked" in told(small))
    assert service.poll() is None
    assert "nothing can be recorded: " in small("status").stdout, "who only looks goes on, and is told"
    make_room(small)
    until(lambda: "database goes on" in told(small))
    until(lambda: set(small.states().values()) <= {"succeeded", "failed"})
    states = small.states()
    assert states.pop("bad") == "failed"
    assert set(states) == {"good", *acknowledged}
    assert set(states.values()) == {"succeeded"}
    assert {event["data"]["outcome"] for event in small.events("attempt ended")} == {"succeeded", "failed"}
    assert len(small.events("attempt ended")) == len(acknowledged) + 2
    service.send_signal(signal.SIGTERM)
    assert service.wait(30) == 0
    assert "Traceback" not in told(small)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_whoever_is_killed_on_a_full_disk_leaves_every_end_to_the_next(small: SmallDisk, tmp_path: Path) -> None:
    service = small.start("serve")
    until(lambda: (small.state / "bell").exists())
    small("submit", "--name", "a", "--", "sh", "-c", WAITS.format(gate=tmp_path / "gate", code=0))
    until(lambda: small.states() == {"a": "running"})
    leave_no_room(small)
    (tmp_path / "gate").touch()
    until(lambda: "database blocked" in told(small))
    service.kill()
    service.wait()
    done = small("run", small.batch(batch(shell("other", "true")), "b.jsonl"))
    assert done.returncode == 5
    assert "Traceback" not in done.stderr
    make_room(small)
    small.start("serve")
    until(lambda: small.states()["a"] == "succeeded")
    outcomes = [event["data"]["outcome"] for event in small.events("attempt ended") if event["job"] == "a"]
    assert outcomes == ["succeeded"]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_on_a_full_disk_can_be_stopped_and_charges_nobody(
    small: SmallDisk, tmp_path: Path, number: signal.Signals
) -> None:
    service = small.start("serve")
    until(lambda: (small.state / "bell").exists())
    small(
        "submit", "--name", "a", "--", "sh", "-c", "trap 'exit 3' TERM; " + WAITS.format(gate=tmp_path / "gate", code=0)
    )
    until(lambda: small.states() == {"a": "running"})
    leave_no_room(small)
    for _ in range(2):
        service.send_signal(number)
        until(lambda: "draining" in told(small) or service.poll() is not None)
    assert service.wait(30) in (0, 5), told(small)
    assert "Traceback" not in told(small)
    make_room(small)
    (tmp_path / "gate").touch()
    small.start("serve")
    until(lambda: small.states()["a"] == "succeeded")
    assert [job["attempts"] for job in small.lines("list") if job["job"] == "a"] == [0]


@pytest.mark.slow
def test_a_disk_without_room_for_files_delays_launches_and_charges_nobody(tmp_path: Path) -> None:
    with small_disk(tmp_path, inodes=40) as small:
        small.env["TIDEGATE_SUPERVISOR__MIN_FREE_DISK"] = "none"
        done = small("run", small.batch(batch(shell("first", "true")), "first.jsonl"))
        assert done.returncode == 0, done.stderr
        fillers: list[Path] = []
        try:
            while True:
                (small.disk / f"file{len(fillers)}").touch()
                fillers.append(small.disk / f"file{len(fillers)}")
        except OSError:
            pass
        fillers.pop().unlink()  # the database's own files need two
        fillers.pop().unlink()
        running = small.start("run", small.batch(batch(shell("a", "true"), shell("b", "true")), "b.jsonl"))
        until(lambda: "cannot launch" in told(small))
        for filler in fillers:
            filler.unlink()
        assert running.wait(60) == 0, told(small)
        assert {job["attempts"] for job in small.lines("list")} == {0}
        assert set(small.states().values()) == {"succeeded"}


@pytest.mark.slow
def test_an_agent_whose_own_disk_is_full_is_an_error_of_its_job_and_no_verdict(tidegate: Tidegate) -> None:
    done = tidegate("run", tidegate.batch(batch(shell("a", "cat /proc/version > /dev/full")), "b.jsonl"))
    assert done.returncode == 5, done.stderr
    assert tidegate.states() == {"a": "error"}
    assert [event["data"]["cause"] for event in tidegate.events("attempt ended")] == ["disk"]


# --- a lock that another program keeps ---

LOCKING = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_a_lock_that_is_kept_for_long_loses_no_end_and_keeps_nobody_from_looking(
    tidegate: Tidegate, tmp_path: Path
) -> None:
    tidegate.program = [sys.executable, str(Path(__file__).with_name("impatient.py"))]
    service = tidegate.start("serve")
    until(lambda: (tidegate.state / "bell").exists())
    tidegate("submit", "--name", "a", "--", "sh", "-c", WAITS.format(gate=tmp_path / "gate", code=0))
    until(lambda: tidegate.states() == {"a": "running"})
    script = ["python3", "-c", LOCKING, str(tidegate.state / "tidegate.db")]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as locking:
        assert locking.stdout is not None
        assert locking.stdout.readline() == "locked\n"
        (tmp_path / "gate").touch()
        until(lambda: "database blocked" in told(tidegate))
        assert "another program has kept the database locked" in " ".join(tidegate("status").stdout.split())
        assert "locked" in json.loads(tidegate("status", "--json").stdout)["working"]["trouble"]
        assert service.poll() is None
    until(lambda: tidegate.states() == {"a": "succeeded"})
    assert "database goes on" in told(tidegate)
    until(lambda: json.loads(tidegate("status", "--json").stdout)["working"]["trouble"] is None)
    service.send_signal(signal.SIGTERM)
    assert service.wait(30) == 0
