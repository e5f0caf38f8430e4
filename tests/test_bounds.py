"""Bounds on memory, processes and processors: who needs more fails by its own name, and its neighbours live.

Most of it needs the kernel's controllers in cgroups of version 2; `test_usermode.py` boots a kernel that has them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from delegated import bounding
from installed import Tidegate, until

from tidegate import launch
from tidegate.launch import UNBOUND, Bounds

MB = 10**6
HUNGRY = "hold = []\nwhile True: hold.append(b'x' * 4_000_000)"
FORKS = "import os, time\nfor _ in range(60):\n    if not os.fork(): time.sleep(60)"


@pytest.fixture
def root() -> Iterator[Path]:
    """The cgroup in which attempts get theirs."""
    with bounding() as place:
        yield place


def python(id: str, code: str, **more: object) -> str:
    return json.dumps({"id": id, "command": [sys.executable, "-c", code], "max_attempts": 1, **more}) + "\n"


def reasons(tidegate: Tidegate) -> dict[str, str]:
    return {job["job"]: job["reason"] for job in tidegate.lines("list")}


# --- where they can be had ---


@pytest.mark.slow
def test_who_needs_more_memory_is_killed_whole_and_has_failed_for_it(tidegate: Tidegate, root: Path) -> None:
    tidegate.env["TIDEGATE_RETRY__FIRST"] = "0"
    left = "import subprocess, sys\nsubprocess.Popen(['sleep', '600'], start_new_session=True)\n"
    jobs = python("hungry", left + HUNGRY, memory="40MB", max_attempts=2)
    jobs += python("frugal", "import time\ntime.sleep(1)", memory="40MB") + python("free", "hold = b'x' * 60_000_000")
    done = tidegate("run", tidegate.batch(jobs, "b.jsonl"))
    assert done.returncode == 5, done.stderr
    assert tidegate.states() == {"hungry": "error", "frugal": "succeeded", "free": "succeeded"}
    assert reasons(tidegate)["hungry"] == "out of memory at 40 MB"
    told = [event["data"] for event in tidegate.events("attempt ended") if event["job"] == "hungry"]
    assert [(one["exit"], one["cause"], one["charged"]) for one in told] == [(137, "memory", True)] * 2
    assert "killed by SIGKILL (exit 137): out of memory at 40 MB" in tidegate("show", "hungry").stdout
    assert not list(root.glob("attempt-*"))


@pytest.mark.slow
def test_a_child_that_needs_more_takes_its_agent_along(tidegate: Tidegate, root: Path) -> None:
    script = f"{sys.executable} -c {HUNGRY!r}; echo went on; exit 0".replace("\\n", "\n")
    job = json.dumps({"id": "a", "command": ["sh", "-c", script], "max_attempts": 1, "memory": "40MB"}) + "\n"
    done = tidegate("run", tidegate.batch(job, "b.jsonl"))
    assert done.returncode == 5, done.stderr
    assert reasons(tidegate) == {"a": "out of memory at 40 MB"}
    assert "went on" not in tidegate("logs", "a").stdout


@pytest.mark.slow
def test_what_ran_out_of_memory_while_nobody_supervised_it_is_told_by_the_next(tidegate: Tidegate, root: Path) -> None:
    go = tidegate.place / "go"
    code = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\n" + HUNGRY
    process = tidegate.start("run", tidegate.batch(python("a", code, memory="40MB"), "b.jsonl"))
    lock = tidegate.state / "attempts" / "1" / "1" / "lock"
    until(lambda: lock.exists() and lock.read_text())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    go.touch()
    until(lambda: len(lock.read_text().split()) == 2)
    done = tidegate("run", "b.jsonl")
    assert done.returncode == 5, done.stderr
    assert reasons(tidegate) == {"a": "out of memory at 40 MB"}


@pytest.mark.slow
def test_who_meets_its_bound_of_processes_is_told_so_where_it_fails(tidegate: Tidegate, root: Path) -> None:
    jobs = python("forks", FORKS, pids=20) + python("few", "print('hi')", pids=20)
    done = tidegate("run", tidegate.batch(jobs, "b.jsonl"))
    assert done.returncode == 1, done.stderr
    assert reasons(tidegate)["few"] == ""
    assert reasons(tidegate)["forks"].endswith(" (it met its bound of 20 processes and threads)")


@pytest.mark.slow
def test_the_kernel_knows_the_bounds_of_the_job_over_those_of_the_settings(tidegate: Tidegate, root: Path) -> None:
    tidegate.env |= {"TIDEGATE_ATTEMPT__PIDS": "70", "TIDEGATE_ATTEMPT__CPU_WEIGHT": "30"}
    sleeps = python("b", "import time\ntime.sleep(60)", memory="1GiB", cpu_weight=50)
    process = tidegate.start("run", tidegate.batch(sleeps, "c.jsonl"))
    until(lambda: [path for path in root.glob("attempt-*") if (path / "cgroup.procs").read_text()])
    (path,) = root.glob("attempt-*")
    said = {name: (path / name).read_text().strip() for name in ("memory.max", "pids.max", "cpu.weight")}
    assert said == {"memory.max": str(2**30), "pids.max": "70", "cpu.weight": "50"}
    assert (path / "memory.oom.group").read_text() == "1\n"
    assert tidegate("cancel", "b").returncode == 0
    process.wait(30)


@pytest.mark.slow
def test_the_doctor_says_that_they_can_be_had(tidegate: Tidegate, root: Path) -> None:
    tidegate.env["TIDEGATE_ATTEMPT__MEMORY"] = "1GB"
    assert diagnosis(tidegate) == ("ok", "jobs can have memory, pids and cpu_weight")


# --- where they cannot ---


def diagnosis(tidegate: Tidegate) -> tuple[str, str]:
    """What the doctor says of bounds."""
    (found,) = [found for found in tidegate.lines("doctor") if found["check"] == "bounds"]
    return found["verdict"], found["said"]


@pytest.mark.slow
def test_the_doctor_says_that_they_cannot_be_had_and_that_it_matters_where_every_attempt_is_to(
    tidegate: Tidegate,
) -> None:
    tidegate.env["TIDEGATE_SUPERVISOR__CGROUPS"] = "off"
    why = "no cgroup is delegated to this process"
    assert diagnosis(tidegate) == ("ok", f"memory, pids and cpu_weight cannot be had: {why}")
    tidegate.env["TIDEGATE_ATTEMPT__MEMORY"] = "1GB"
    done = tidegate("doctor")
    assert done.returncode == 5, done.stdout
    assert f"memory 1 GB of [attempt] cannot be had: {why}: nothing is" in " ".join(done.stdout.split())


def test_a_job_that_cannot_have_its_bounds_is_refused_before_anything_is_spent(tidegate: Tidegate) -> None:
    jobs = python("a", "print('hi')", memory="6GB", pids=50) + python("b", "print('hi')")
    tidegate.env["TIDEGATE_SUPERVISOR__CGROUPS"] = "off"
    done = tidegate("run", tidegate.batch(jobs, "b.jsonl"))
    assert done.returncode == 5, done.stderr
    assert reasons(tidegate) == {
        "a": "memory 6 GB, pids 50 cannot be had here: no cgroup is delegated to this process; "
        "`tidegate doctor` says more",
        "b": "",
    }
    assert not (tidegate.state / "attempts" / "1" / "1" / "stdout.log").read_bytes()


@pytest.mark.slow
def test_it_runs_without_where_the_settings_say_so_and_that_is_told(tidegate: Tidegate) -> None:
    jobs = "".join(python(name, "print('hi')", memory="6GB") for name in "abc")
    tidegate.env |= {"TIDEGATE_SUPERVISOR__CGROUPS": "off", "TIDEGATE_ATTEMPT__UNBOUNDED": "run"}
    done = tidegate("run", tidegate.batch(jobs, "b.jsonl"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("attempts run without bounds") == 1
    shown = tidegate("show", "a").stdout
    assert "memory    at most 6 GB" in shown
    assert "ran without its bounds (memory 6 GB)" in shown
    assert json.loads(tidegate("show", "a", "--json").stdout)["history"][0]["unbounded"] == "memory 6 GB"


def test_bounds_come_back_from_an_intent_as_they_were() -> None:
    for bounds in (UNBOUND, Bounds(memory=5), Bounds(5, 6, 7)):
        assert launch.bounds.untold(json.loads(json.dumps(launch.bounds.told(bounds)))) == bounds
    assert launch.bounds.untold(None) == launch.bounds.untold({"memory": "much"}) == UNBOUND


def test_a_cgroup_without_controllers_says_what_it_lacks(tmp_path: Path) -> None:
    for name, text in {"controllers": "cpu memory\n", "subtree_control": "\n", "procs": "12\n"}.items():
        (tmp_path / f"cgroup.{name}").write_text(text)
    assert launch.lacking(None, ("memory",)) == "no cgroup is delegated to this process"
    assert launch.lacking(tmp_path, ("memory", "pids")) == f"{tmp_path} has no pids controller"
    assert "DelegateSubgroup=" in launch.lacking(tmp_path, ("memory",))
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    assert launch.lacking(tmp_path, ("memory",)) == ""
