"""What a supervisor left running is ended, unless somebody goes on with it."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from installed import Tidegate, until

from tidegate.cli.reap import goes_on

ODD = Path(__file__).parent / "programs/odd.py"


@pytest.mark.parametrize(
    ("job", "result", "expected"),
    [
        ("12 tidegate.service stop running", "success", False),  # systemctl stop, a shutdown
        ("12 tidegate.service stop running", "timeout", False),
        ("12 tidegate.service stop running", "signal", False),
        ("12 tidegate.service restart running", "success", True),
        ("12 tidegate.service start waiting", "success", True),  # a start that came while it stopped
        ("", "success", False),  # it ended by itself, or was told to by a signal
        ("", "exit-code", True),
        ("", "signal", True),
        ("", "watchdog", True),
        ("", "timeout", True),  # of a start
        ("", "", True),
        ("unknown", "success", False),
        ("unknown", "timeout", False),
        ("unknown", "signal", True),
    ],
)
def test_agents_go_on_where_their_unit_does(job: str, result: str, expected: bool) -> None:
    assert goes_on(job, result) is expected


def batch(*commands: list[str]) -> str:
    return "".join(json.dumps({"id": f"j{n}", "command": command}) + "\n" for n, command in enumerate(commands))


def left_running(tidegate: Tidegate, *commands: list[str]) -> list[int]:
    """The shims of agents whose supervisor was killed."""
    file = tidegate.batch(batch(*commands), "a.jsonl")
    first = tidegate.start("run", file, "--slots", str(len(commands)))
    until(lambda: len(shims(tidegate)) == len(commands))
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    return shims(tidegate)


def shims(tidegate: Tidegate) -> list[int]:
    locks = tidegate.state.glob("attempts/*/*/lock")
    return [int(lines[0]) for lock in locks if (lines := lock.read_text().splitlines())]


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


@pytest.mark.slow
def test_what_a_killed_supervisor_left_is_ended_and_queued_again_uncharged(tidegate: Tidegate, tmp_path: Path) -> None:
    server = tmp_path / "server.pid"
    odd = [sys.executable, str(ODD), "server_setsid", "0", str(server)]
    keeps_going = ["sh", "-c", f"{' '.join(odd)}; sleep 600"]
    pids = left_running(tidegate, ["sleep", "600"], keeps_going)
    until(server.exists)
    done = tidegate("reap")
    assert (done.returncode, done.stdout) == (0, "")
    assert not any(map(lives, [*pids, int(server.read_text())]))
    assert tidegate.states() == {"j0": "queued", "j1": "queued"}
    assert [job["attempts"] for job in tidegate.lines("list")] == [0, 0]
    assert {event["data"]["outcome"] for event in tidegate.events("attempt ended")} == {"interrupted"}


def test_where_the_database_is_broken_agents_are_ended_all_the_same(tidegate: Tidegate) -> None:
    pids = left_running(tidegate, ["sleep", "600"])
    for file in tidegate.state.glob("tidegate.db*"):
        file.write_bytes(b"x" * 4096)
    done = tidegate("reap")
    assert done.returncode == 5
    assert "Traceback" not in done.stderr
    assert not any(map(lives, pids))
    (asked,) = tidegate.state.glob("attempts/*/*/asked")
    assert "the service was stopped" in asked.read_text()


@pytest.mark.slow
def test_a_bad_configuration_leaves_no_agent_behind(tidegate: Tidegate, tmp_path: Path) -> None:
    pids = left_running(tidegate, ["sleep", "600"])
    (tmp_path / "config.toml").write_text("[supervisor]\nslots = 'many'\n")
    tidegate.env["TIDEGATE_CONFIG"] = str(tmp_path / "config.toml")
    assert tidegate("reap").returncode == 0
    assert not any(map(lives, pids))


def test_a_restart_leaves_agents_alone_and_imports_next_to_nothing(tidegate: Tidegate) -> None:
    pids = left_running(tidegate, ["sleep", "600"])
    tidegate.env["PYTHONPROFILEIMPORTTIME"] = "1"
    done = tidegate("reap", "--unit", "x.service", "--job", "7 x.service restart running")
    assert done.returncode == 0
    assert "agents run on: x.service has a restart job" in done.stderr
    assert not any(f" {name}\n" in done.stderr for name in ("asyncio", "anyio", "structlog", "pydantic"))
    assert all(map(lives, pids))


@pytest.mark.slow
def test_agents_of_a_working_supervisor_are_not_touched(tidegate: Tidegate) -> None:
    tidegate.start("run", tidegate.batch(batch(["sleep", "600"]), "a.jsonl"))
    until(lambda: shims(tidegate))
    done = tidegate("reap")
    assert done.returncode == 5
    assert "another tidegate supervises this directory" in done.stderr
    assert all(map(lives, shims(tidegate)))


def test_nothing_is_made_where_nothing_ever_ran(tidegate: Tidegate) -> None:
    assert tidegate("reap").returncode == 0
    assert not tidegate.state.exists()
