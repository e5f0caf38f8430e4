"""Many at once: agents, lines, clients, and jobs one after the other; nothing is lost, and nothing grows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from installed import Started, Tidegate, until

from tidegate import doorbell, places
from tidegate.model import Account, Batch, NewJob, Spec, State
from tidegate.stores import sqlite

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

# Bursts of lines on both streams, a silence, and a last word; the exit status is the agent's own.
BURSTS = """
import os, sys, time
number, count = int(sys.argv[1]), 0
open(os.environ["GO"]).read()
for burst in range(5):
    for stream in (1, 2):
        os.write(stream, b"".join(b"%d %d\\n" % (number, n) for n in range(count, count + 200)))
    count += 200
    time.sleep(0.02 * (number % 7))
os.write(2, b"agent %d has ended\\n" % number)
sys.exit(number % 5)
"""


def batch(tidegate: Tidegate, commands: Sequence[Sequence[str]]) -> str:
    """Jobs `0`, `1`, ... of these commands, each tried once; they go on when somebody opens `go`."""
    os.mkfifo(tidegate.place / "go")
    env = {"GO": str(tidegate.place / "go")}
    jobs = [{"id": str(n), "command": command, "max_attempts": 1, "env": env} for n, command in enumerate(commands)]
    return tidegate.batch("".join(json.dumps(job) + "\n" for job in jobs), "many.jsonl")


def all_run(tidegate: Tidegate, jobs: int) -> bool:
    """Whether each has been launched and none has ended."""
    locks = [lock.stat().st_size for lock in tidegate.state.glob("attempts/*/1/lock")]
    return len(locks) == jobs and all(locks)


def go_on(tidegate: Tidegate, run: Started) -> int:
    """Let all go on, also those that come to the fifo late; the exit code of the run."""
    while run.poll() is None:
        with suppress(OSError):  # nobody waits there just now
            os.close(os.open(tidegate.place / "go", os.O_WRONLY | os.O_NONBLOCK))
        time.sleep(0.1)
    return run.wait()


def ends(tidegate: Tidegate) -> dict[int, tuple[int, str]]:
    """The exit status of each job and the reason of its end."""
    told = {int(event["job"]): event["data"] for event in tidegate.events("attempt ended")}
    return {number: (data["exit"], data["reason"]) for number, data in told.items()}


def test_two_hundred_agents_print_in_bursts_and_every_line_is_there_once(tidegate: Tidegate) -> None:
    (tidegate.place / "bursts.py").write_text(BURSTS)
    talk = [sys.executable, "-S", "-E", str(tidegate.place / "bursts.py")]
    run = tidegate.start("run", batch(tidegate, [[*talk, str(n)] for n in range(200)]), "--slots", "200")
    until(lambda: all_run(tidegate, 200), within=120)
    assert go_on(tidegate, run) == 1
    ended = ends(tidegate)
    assert sorted(ended) == list(range(200))
    for number, (code, reason) in ended.items():
        assert code == number % 5
        assert not code or f"agent {number} has ended" in reason  # the last of its lines was read last
    numbers = {int(event["job"]): event["number"] for event in tidegate.events("attempt ended")}
    lines = [f"{n}" for n in range(1000)]
    for number in range(200):
        folder = places.attempt(tidegate.state, numbers[number], 1)
        expected = [f"{number} {line}" for line in lines]
        assert (folder / "stdout.log").read_text().splitlines() == expected
        assert (folder / "stderr.log").read_text().splitlines() == [*expected, f"agent {number} has ended"]


def test_a_thousand_agents_run_at_once_and_every_status_is_right(tidegate: Tidegate) -> None:
    quiet = [["sh", "-c", 'read x <"$GO"; exit "$1"', "sh", str(n % 7)] for n in range(1000)]
    run = tidegate.start("run", batch(tidegate, quiet), "--slots", "1000")
    until(lambda: all_run(tidegate, 1000), within=150)
    assert go_on(tidegate, run) == 1
    assert {number: code for number, (code, _) in ends(tidegate).items()} == {n: n % 7 for n in range(1000)}


def test_twenty_clients_at_once_lose_nothing(tidegate: Tidegate) -> None:
    tidegate.start("serve", "--slots", "2")
    until(lambda: '"serving"' in (tidegate.place / "started.0").read_text())

    def client(number: int) -> list[subprocess.CompletedProcess[str]]:
        return [tidegate("submit", "--", "true"), tidegate("list" if number % 2 else "status", "--json")]

    with ThreadPoolExecutor(20) as clients:
        done = [one for told in clients.map(client, range(20)) for one in told]
    assert {(one.returncode, one.stderr) for one in done} == {(0, "")}
    submitted = {int(one.stdout) for one in done[::2]}
    assert len(submitted) == 20
    until(lambda: {int(job["number"]) for job in tidegate.lines("list") if job["state"] == "succeeded"} == submitted)


def held(pid: int) -> dict[str, int]:
    """What a process holds of the machine."""
    watches = 0
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            watches += info.read_text().count("inotify wd:")
        except OSError:  # it was closed meanwhile
            continue
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    threads, descriptors = (len(list(Path(f"/proc/{pid}/{kind}").iterdir())) for kind in ("task", "fd"))
    return {"descriptors": descriptors, "threads": threads, "watches": watches, "children": len(children)}


def test_after_two_thousand_jobs_nothing_more_is_held_than_after_two_hundred(tidegate: Tidegate) -> None:
    with closing(sqlite.open(places.database(tidegate.state))) as store:
        store.set_accounts([Account(name="command")], datetime.now(UTC))
        process = tidegate.start("serve", "--slots", "8")

        def work_on(name: str, jobs: int) -> dict[str, int]:
            spec = Spec(command=("sh", "-c", "echo out; echo err >&2"), cwd="/")
            batch = [NewJob(name=str(n), account="command", spec=spec) for n in range(jobs)]
            store.submit(Batch(name), batch, datetime.now(UTC))
            doorbell.ring(tidegate.state)
            until(lambda: store.counts()[State.QUEUED] + store.counts()[State.RUNNING] == 0, within=150)
            least = held(process.pid)  # a moment after the last end something may still be open
            until(lambda: held(process.pid) == least)
            return least

        first = work_on("first", 200)
        assert first["children"] == first["watches"] == 0
        assert work_on("second", 1800) == first
        assert store.counts()[State.SUCCEEDED] == 2000
