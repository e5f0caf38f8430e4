"""A power cut loses nothing that was acknowledged, and makes up no result."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from installed import Tidegate, until

from faults import power
from tidegate.launch.traces import state_of
from tidegate.stores import connection

WAITS = "[ -e {gate} ] || exec sleep 600"


def test_a_power_cut_loses_nothing_that_was_acknowledged_and_leaves_a_whole_database() -> None:
    assert power.fly(1, cuts=16, calls=14) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 106))
def test_power_cuts_all_through_a_night_lose_nothing(seed: int) -> None:
    assert power.fly(seed, cuts=60) == []


@pytest.mark.slow
def test_the_harness_sees_what_a_database_loses_that_syncs_less(monkeypatch: pytest.MonkeyPatch) -> None:
    hasty = connection.SQL["settings"].replace("synchronous = FULL", "synchronous = NORMAL")
    monkeypatch.setitem(connection.SQL, "settings", hasty)
    found = [line for seed in range(3) for line in power.fly(seed, cuts=40)]
    assert any("acknowledged calls are lost" in line for line in found)


# --- what a power cut leaves of an attempt ---

OTHER_BOOT = "00000000-0000-4000-8000-000000000000"
LEFT = {  # the lock file, and the intent: None for as it was
    "no status": (b"4194000\n", None),
    "a status": (b"4194000\n0\n", None),
    "half a status": (b"4194000\n0", None),
    "zeros for a status": (b"4194000\n\0\0", None),
    "no intent": (b"4194000\n0\n", b""),
    "zeros for the intent": (b"4194000\n0\n", b"\0" * 300),
    "half an intent": (b"4194000\n0\n", b'{"job": 1, "boot'),
    "an empty lock": (b"", None),
    "zeros for a lock": (b"\0" * 10, None),
    "half a pid": (b"41940", None),
    "nothing": (None, None),
}
STARTED = 7  # so many of them show that the agent was started


@pytest.mark.slow
def test_what_a_power_cut_leaves_of_an_attempt_is_never_taken_for_a_result(tidegate: Tidegate, tmp_path: Path) -> None:
    script = WAITS.format(gate=tmp_path / "gate")
    jobs = "".join(json.dumps({"id": name, "command": ["sh", "-c", script], "max_attempts": 1}) + "\n" for name in LEFT)
    running = tidegate.start("run", tidegate.batch(jobs, "b.jsonl"), "--slots", str(len(LEFT)))
    until(lambda: len(list(tidegate.state.glob("attempts/*/1/lock"))) == len(LEFT))
    until(lambda: all(lock.stat().st_size for lock in tidegate.state.glob("attempts/*/1/lock")))
    running.kill()
    running.wait()
    places = sorted(tidegate.state.glob("attempts/*/1"), key=lambda place: int(place.parent.name))
    for place, (lock, intent) in zip(places, LEFT.values(), strict=True):
        leave(place, lock, intent)
    (tmp_path / "gate").touch()
    done = tidegate("run", "b.jsonl")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert set(tidegate.states().values()) == {"succeeded"}
    assert {job["attempts"] for job in tidegate.lines("list")} == {0}
    first = [event["data"]["outcome"] for event in tidegate.events("attempt ended") if event["attempt"] == 1]
    assert first == ["lost"] * STARTED
    assert len(tidegate.events("attempt unclaimed")) == len(LEFT) - STARTED


def leave(place: Path, lock: bytes | None, intent: bytes | None) -> None:
    """End what runs there, and leave what a power cut has left."""
    with suppress(ProcessLookupError):
        os.killpg(int((place / "lock").read_text().split()[0]), signal.SIGKILL)
    if lock is None:
        for path in place.iterdir():
            path.unlink()
        place.rmdir()
        return
    known = json.loads((place / "attempt.json").read_bytes())
    (place / "attempt.json").write_bytes(json.dumps(known | {"boot_id": OTHER_BOOT}).encode())
    if intent is not None:
        (place / "attempt.json").write_bytes(intent)
    until(lambda: not state_of(place).held)
    (place / "lock").write_bytes(lock)
