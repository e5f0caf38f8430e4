"""The supervisor when its surroundings are not as they should be."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from installed import Tidegate, until

from tidegate.supervisor import AT_ONCE

NOWHERE = "11111111-1111-1111-1111-111111111111"


def shell(id: str, script: str, **more: object) -> str:
    return json.dumps({"id": id, "command": ["sh", "-c", script], **more}) + "\n"


def named(batch: str) -> str:
    return json.dumps({"batch": {"name": batch}}) + "\n"


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def started(tidegate: Tidegate, launches: int) -> bool:
    claimed = (tidegate.state / "tidegate.db").exists() and len(tidegate.events("attempt claimed")) == launches
    return claimed and len(list(tidegate.state.glob("attempts/*/*/lock"))) == launches


@pytest.mark.slow
def test_an_agent_of_another_batch_is_neither_killed_nor_waited_for(tidegate: Tidegate, tmp_path: Path) -> None:
    wait = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo real"
    other = tidegate.batch(named("other") + shell("theirs", wait) + shell("later", "true"), "a.jsonl")
    first = tidegate.start("run", other, "--slots", "1")
    until(lambda: started(tidegate, 1))
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    done = tidegate("run", tidegate.batch(named("own") + shell("mine", "true"), "b.jsonl"), "--slots", "2", timeout=20)
    assert done.returncode == 0, done.stderr
    assert "2 launches, 1 of them adopted = 1 succeeded + 1 still running" in done.stdout
    assert "1 of another batch still running: other:theirs" in done.stdout
    assert tidegate.states() == {"theirs": "running", "later": "queued", "mine": "succeeded"}
    (tmp_path / "go").touch()
    assert tidegate("run", other).returncode == 0
    assert tidegate("logs", "theirs").stdout == "real\n"
    assert [job["launches"] for job in tidegate.lines("list")] == [1, 1, 1]


@pytest.mark.slow
def test_many_free_slots_are_filled_a_few_at_a_time(tidegate: Tidegate) -> None:
    batch = tidegate.batch("".join(shell(f"j{n}", "true") for n in range(30)), "many.jsonl")
    assert tidegate("run", batch, "--slots", "30").returncode == 0
    claims = Counter(event["at"] for event in tidegate.events("attempt claimed"))
    assert claims.total() == 30
    assert max(claims.values()) <= AT_ONCE  # or nothing else gets a turn while all are launched


@pytest.mark.slow
def test_an_agent_of_another_batch_that_ends_meanwhile_is_recorded(tidegate: Tidegate) -> None:
    other = tidegate.batch(named("other") + shell("theirs", "sleep 1"), "a.jsonl")
    first = tidegate.start("run", other)
    until(lambda: started(tidegate, 1))
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    done = tidegate("run", tidegate.batch(named("own") + shell("mine", "sleep 3"), "b.jsonl"))
    assert done.returncode == 0, done.stderr
    assert tidegate.states() == {"theirs": "succeeded", "mine": "succeeded"}


def test_a_running_agent_that_the_configuration_does_not_know_any_more_is_left_alone(
    tidegate: Tidegate, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    wait = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    config.write_text(f"[agents.mine]\nproof = false\nstart = ['sh', '-c', '{wait}', '{{prompt}}']\n")
    tidegate.env["TIDEGATE_CONFIG"] = str(config)
    other = tidegate.batch(named("other") + json.dumps({"id": "x", "agent": "mine", "prompt": "hi"}), "a.jsonl")
    first = tidegate.start("run", other)
    until(lambda: started(tidegate, 1))
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    tidegate.env["TIDEGATE_CONFIG"] = os.devnull
    done = tidegate("run", tidegate.batch(named("own") + shell("mine", "true"), "b.jsonl"), timeout=20)
    assert done.returncode == 0, done.stderr
    assert "there is no agent 'mine'" in done.stderr
    tidegate.env["TIDEGATE_CONFIG"] = str(config)
    (tmp_path / "go").touch()
    assert tidegate("run", other).returncode == 0
    assert [job["launches"] for job in tidegate.lines("list")] == [1, 1]


def test_a_waiting_job_whose_agent_is_not_known_any_more_is_an_error(tidegate: Tidegate, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("[agents.mine]\nstart = ['true', '{prompt}']\n")
    tidegate.env["TIDEGATE_CONFIG"] = str(config)
    tidegate("pause", "mine")
    jobs = named("own") + shell("a", "true") + json.dumps({"id": "x", "agent": "mine", "prompt": "hi"})
    first = tidegate.start("run", tidegate.batch(jobs, "b.jsonl"))
    until(lambda: (tidegate.state / "tidegate.db").exists() and tidegate.events("job ended"))
    first.send_signal(signal.SIGINT)
    assert first.wait(20) == 130
    tidegate("resume", "mine")
    tidegate.env["TIDEGATE_CONFIG"] = os.devnull
    done = tidegate("run", tidegate.batch(named("own") + shell("a", "true") + shell("b", "true"), "b.jsonl"))
    assert done.returncode == 5, done.stderr
    assert tidegate.states() == {"a": "succeeded", "b": "succeeded", "x": "error"}
    assert next(job["reason"] for job in tidegate.lines("list") if job["job"] == "x").startswith("there is no agent")


def test_a_session_of_the_jobs_own_that_is_gone_is_a_failure_and_no_endless_fresh_start(
    tidegate: Tidegate, tmp_path: Path
) -> None:
    gone = f"echo 'No conversation found with session ID: {NOWHERE}' >&2; exit 1"
    claude = program(tmp_path / "bin" / "claude", gone)
    tidegate.env["TIDEGATE_RETRY__FIRST"] = "0.1"
    job = {"id": "a", "command": [str(claude), "-p", "go on", "--resume", NOWHERE], "max_attempts": 2}
    done = tidegate("run", tidegate.batch(json.dumps(job), "b.jsonl"), timeout=30)
    assert done.returncode == 1, done.stderr
    assert [job["attempts"] for job in tidegate.lines("list")] == [2]


@pytest.mark.slow
def test_agents_that_are_slow_to_end_are_timed_out_at_the_same_time(tidegate: Tidegate, tmp_path: Path) -> None:
    """Each ends only when all have had their TERM; one after the other, the first would be killed before that."""
    told = f"{tmp_path}/told"
    slow = (
        f"trap 'touch {told}.$0' TERM; until [ -e {told}.3 ] && [ -e {told}.2 ] && [ -e {told}.1 ]; do sleep 0.1; done"
    )
    commands = [["sh", "-c", f"{slow}; exit 9", str(n)] for n in (1, 2, 3)]
    jobs = [{"id": one[-1], "command": one, "timeout": 1, "max_attempts": 1} for one in commands]
    tidegate.env["TIDEGATE_SUPERVISOR__GRACE"] = "30"
    done = tidegate("run", tidegate.batch("\n".join(map(json.dumps, jobs)), "b.jsonl"))
    assert done.returncode == 1, done.stderr
    assert {job["reason"] for job in tidegate.lines("list")} == {"no end after 1 s"}
    assert [event["data"]["exit"] for event in tidegate.events("attempt ended")] == [9, 9, 9]


@pytest.mark.slow
def test_a_database_that_cannot_grow_is_told_and_ends_neither_run_nor_agent(tidegate: Tidegate, tmp_path: Path) -> None:
    wait = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo real"
    jobs = shell("long", wait) + "".join(shell(f"j{n}", "true") for n in range(300))
    batch = tidegate.batch(jobs, "b.jsonl")
    bound = "ulimit -f 1400; exec "  # blocks of 512 bytes: some hundred transactions' worth of log
    said = tmp_path / "said"
    with said.open("w") as log:
        first = subprocess.Popen(
            ["sh", "-c", bound + f"{sys.executable} -m tidegate run {batch} --slots 4"],
            cwd=tidegate.place,
            env=tidegate.environment(),
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: "database blocked" in said.read_text(), within=50)
        assert first.poll() is None
    finally:
        first.kill()
        first.wait()
    assert "Traceback" not in said.read_text()
    assert tidegate.states()["long"] == "running", "its agent lives"
    (tmp_path / "go").touch()
    again = tidegate("run", batch)
    assert again.returncode == 0, again.stderr
    assert "adopted" in again.stdout
    assert [job["launches"] for job in tidegate.lines("list") if job["job"] == "long"] == [1]


@pytest.mark.slow
def test_a_second_signal_ends_the_batchs_own_agents_and_no_other(tidegate: Tidegate, tmp_path: Path) -> None:
    wait = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    other = tidegate.batch(named("other") + shell("theirs", wait), "a.jsonl")
    first = tidegate.start("run", other)
    until(lambda: started(tidegate, 1))
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    second = tidegate.start("run", tidegate.batch(named("own") + shell("mine", "sleep 60"), "b.jsonl"))
    until(lambda: started(tidegate, 2))
    second.send_signal(signal.SIGINT)
    until(lambda: "draining" in (tmp_path / "started.1").read_text())
    second.send_signal(signal.SIGINT)
    assert second.wait(20) == 130
    assert tidegate.states() == {"theirs": "running", "mine": "queued"}
    (tmp_path / "go").touch()
    assert tidegate("run", other).returncode == 0
    assert [job["launches"] for job in tidegate.lines("list")] == [1, 1]


@pytest.mark.slow
def test_what_ignores_term_behind_an_agent_delays_its_end_by_seconds_only(tidegate: Tidegate, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    stays = f"trap '' TERM; echo $$ > {pid}; while :; do sleep 0.1; done"
    tidegate.env["TIDEGATE_SUPERVISOR__GRACE"] = "1h"  # that an agent gets
    left = f"({stays}) & while [ ! -s {pid} ]; do sleep 0.01; done; echo done"
    assert tidegate("run", tidegate.batch(shell("a", left), "b.jsonl")).returncode == 0


@pytest.mark.slow
def test_a_signal_after_an_agents_exit_does_not_undo_its_success(tidegate: Tidegate, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    left = f"(trap '' TERM; echo $$ > {pid}; sleep 60) & while [ ! -s {pid} ]; do sleep 0.01; done; echo done"
    process = tidegate.start("run", tidegate.batch(shell("a", left), "b.jsonl"))
    until(lambda: [lock for lock in tidegate.state.glob("attempts/*/*/lock") if lock.read_text().count("\n") == 2])
    process.send_signal(signal.SIGINT)  # while what it left behind ignores its TERM
    until(lambda: "draining" in (tmp_path / "started.0").read_text())
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert tidegate.states() == {"a": "succeeded"}


@pytest.mark.slow
def test_an_agent_whose_supervisor_is_killed_while_it_ends_it_is_interrupted_and_not_failed(
    tidegate: Tidegate, tmp_path: Path
) -> None:
    (tmp_path / "stay").touch()
    slow = f"trap 'touch {tmp_path}/told; while [ -e {tmp_path}/stay ]; do sleep 0.05; done; exit 143' TERM"
    batch = tidegate.batch(shell("a", f"[ -e {tmp_path}/told ] && exit 0; {slow}; sleep 60 & wait"), "b.jsonl")
    first = tidegate.start("run", batch)
    until(lambda: started(tidegate, 1))
    first.send_signal(signal.SIGINT)
    until(lambda: "draining" in (tmp_path / "started.0").read_text())
    first.send_signal(signal.SIGINT)
    until((tmp_path / "told").exists)
    first.kill()
    first.wait()
    (tmp_path / "stay").unlink()
    until(lambda: [lock for lock in tidegate.state.glob("attempts/*/*/lock") if lock.read_text().count("\n") == 2])
    assert tidegate("run", batch).returncode == 0
    assert [event["data"]["outcome"] for event in tidegate.events("attempt ended")] == ["interrupted", "succeeded"]
    assert [job["attempts"] for job in tidegate.lines("list")] == [0], "an interruption is not charged"
