"""What the machine must grant to the slots: it is asked for at the start, raised where that can be, told where not."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from installed import Tidegate, said, until

from tidegate import capacity
from tidegate.capacity import Bound

ASKS = '[[job]]\nid = "asks"\ncommand = ["sh", "-c", "ulimit -Sn; ulimit -Hn"]\n'


def under(soft: int, hard: int, *args: str) -> list[str]:
    """A command of tidegate's under these limits of descriptors."""
    limits = f'ulimit -Sn {soft}; ulimit -Hn {hard}; exec "$@"'
    return ["/bin/sh", "-c", limits, "sh", sys.executable, "-m", "tidegate", *args]


def bounded(tidegate: Tidegate, *args: str, soft: int, hard: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        under(soft, hard, *args),
        cwd=tidegate.place,
        env=tidegate.environment(),
        capture_output=True,
        text=True,
    )


SLOW = pytest.mark.slow


@pytest.mark.parametrize("verb", ["run", pytest.param("serve", marks=SLOW), pytest.param("check", marks=SLOW)])
def test_too_many_slots_for_the_hard_limit_are_refused_in_one_line(tidegate: Tidegate, verb: str) -> None:
    args = {"run": ["run", tidegate.batch(ASKS)], "serve": ["serve"], "check": ["serve", "--check"]}[verb]
    done = bounded(tidegate, *args, "--slots", "500", soft=200, hard=400)
    assert done.returncode == 2
    line = said(done)
    assert "500 slots need 2064 file descriptors, and this process may have 400" in line
    assert line.endswith("or set at most 84 slots")
    assert verb == "check" or tidegate.lines("list") == []


def test_the_soft_limit_is_raised_as_far_as_needed_and_agents_get_their_own_back(tidegate: Tidegate) -> None:
    done = bounded(tidegate, "run", tidegate.batch(ASKS), "--slots", "500", soft=200, hard=4000)
    assert done.returncode == 0, done.stderr
    assert tidegate("logs", "asks").stdout.split() == ["200", "4000"]


@pytest.mark.slow
def test_where_the_soft_limit_suffices_it_stays(tidegate: Tidegate) -> None:
    done = bounded(tidegate, "run", tidegate.batch(ASKS), "--slots", "2", soft=300, hard=4000)
    assert done.returncode == 0, done.stderr
    assert tidegate("logs", "asks").stdout.split() == ["300", "4000"]


@pytest.mark.slow
def test_the_limit_is_raised_from_the_first_ones_after_an_upgrade_too(tidegate: Tidegate) -> None:
    with subprocess.Popen(
        under(200, 4000, "serve", "--slots", "500"), env=tidegate.environment(), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        until(lambda: '"serving"' in str(process.stderr and process.stderr.readline()))
        assert tidegate("upgrade").returncode == 0
        until(lambda: '"serving"' in str(process.stderr and process.stderr.readline()))
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (2064, 4000)
        tidegate("submit", "--name", "asks", "--", "sh", "-c", "ulimit -Sn")
        assert tidegate("wait", "asks").returncode == 0
        process.terminate()
    assert tidegate("logs", "asks").stdout.split() == ["200"]


@pytest.mark.slow
def test_a_reload_that_asks_for_too_many_slots_leaves_the_old_number_in_force(tidegate: Tidegate) -> None:
    config = tidegate.place / "config.toml"
    config.write_text("[supervisor]\nslots = 2\n")
    tidegate.env["TIDEGATE_CONFIG"] = str(config)
    process = tidegate.start("serve")
    log = tidegate.place / "started.0"
    until(lambda: '"serving"' in log.read_text())
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (200, 200))
    config.write_text("[supervisor]\nslots = 500\n")
    process.send_signal(signal.SIGHUP)
    until(lambda: '"configuration refused"' in log.read_text())
    assert "500 slots need 2064 file descriptors" in log.read_text()
    config.write_text("[supervisor]\nslots = 20\n")
    process.send_signal(signal.SIGHUP)
    until(lambda: '"configuration read"' in log.read_text())


TABLE = [(100, 100, "wrong"), pytest.param(100, 4000, "ok", marks=SLOW), pytest.param(4000, 4000, "ok", marks=SLOW)]


@pytest.mark.parametrize(("soft", "hard", "verdict"), TABLE)
def test_doctor_tells_whether_descriptors_suffice(tidegate: Tidegate, soft: int, hard: int, verdict: str) -> None:
    tidegate.env["TIDEGATE_SUPERVISOR__SLOTS"] = "100"
    done = bounded(tidegate, "doctor", "--json", soft=soft, hard=hard)
    (found,) = [one for one in map(json.loads, done.stdout.splitlines()) if one["check"] == "descriptors"]
    assert found["verdict"] == verdict
    assert verdict == "ok" or found["do"] == "raise that limit (LimitNOFILE=464 in a unit), or set at most 9 slots"
    assert soft != 100 or verdict == "wrong" or found["said"] == "100 are raised to 464 for 100 slots; agents keep 100"


@pytest.mark.parametrize(
    ("most", "doubt"),
    [(10**6, None), (3199, "b = 3199: 100 slots may need 3200 processes"), (199, "b = 199 leaves 100 slots no")],
)
def test_a_bound_on_processes_is_told_where_it_is_low_for_the_slots(most: int, doubt: str | None) -> None:
    found = list(capacity.process_doubts(100, Bound(most, "b")))
    assert [line[: len(doubt)] for line in found] == [doubt] if doubt else found == []


def test_the_least_bound_of_a_cgroup_and_those_above_counts(tmp_path: Path) -> None:
    (tmp_path / "a.slice/b.service").mkdir(parents=True)
    (tmp_path / "a.slice/pids.max").write_text("500\n")
    (tmp_path / "a.slice/b.service/pids.max").write_text("max\n")
    assert list(capacity.bounds_of_cgroups("/a.slice/b.service", tmp_path)) == [Bound(500, "TasksMax of /a.slice")]


def test_few_watches_and_instances_are_told() -> None:
    enough = (Bound(1000, "w"), Bound(128, "i"))
    assert list(capacity.notice_doubts(100, *enough)) == []
    assert [line.split(" = ")[0] for line in capacity.notice_doubts(100, Bound(99, "w"), Bound(2, "i"))] == ["w", "i"]
