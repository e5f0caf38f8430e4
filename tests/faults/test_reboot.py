"""The machine restarts: no process of before is left, and the kernel has another name for its run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import uuid
from contextlib import suppress
from pathlib import Path

import pytest
from installed import Started, Tidegate, until

BOOT_ID = "/proc/sys/kernel/random/boot_id"


def booted(tidegate: Tidegate) -> None:
    """From now on the program runs on a machine that has been restarted; skips the test where none can be had."""
    boot = tidegate.place / f"boot.{uuid.uuid4()}"
    boot.write_text(f"{uuid.uuid4()}\n")
    into = ["unshare", "--mount", "sh", "-ec", f'mount --bind "{boot}" {BOOT_ID}; exec "$@"', "sh"]
    tried = subprocess.run([*into, "cat", BOOT_ID], capture_output=True, text=True)
    if tried.stdout != boot.read_text():
        pytest.skip(f"no mount namespace can be had here: {tried.stderr.strip()}")
    tidegate.program = [*into, sys.executable, "-m", "tidegate"]


def shell(id: str, script: str, **more: object) -> str:
    return json.dumps({"id": id, "command": ["sh", "-c", script], **more}) + "\n"


def working(tidegate: Tidegate, script: str = "") -> str:
    """The script of an agent that stamps its start, works until `go`, and stamps its end."""
    place, pid = tidegate.place, "$$"
    wait = f"while [ ! -e {place}/go ]; do sleep 0.05; done"
    return f"echo start {pid} >> {place}/stamps; {script or wait}; echo end {pid} >> {place}/stamps"


def stamps(tidegate: Tidegate, what: str) -> list[int]:
    with suppress(FileNotFoundError):
        lines = (tidegate.place / "stamps").read_text().splitlines()
        return [int(line.split()[1]) for line in lines if line.startswith(what)]
    return []


def power_off(tidegate: Tidegate) -> None:
    """End the supervisor and everything of its agents at once."""
    tidegate.started[-1].kill()
    tidegate.started[-1].wait()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"MINE={tidegate.place}".encode() in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)


def run(tidegate: Tidegate, *jobs: str) -> Started:
    if jobs:
        tidegate.batch("".join(jobs), "b.jsonl")
    return tidegate.start("run", "b.jsonl", "--slots", "4")


def outcomes(tidegate: Tidegate) -> list[str]:
    return [f"{one['job']} {one['data']['outcome']}" for one in tidegate.events("attempt ended")]


@pytest.mark.slow
def test_what_ran_is_lost_uncharged_and_runs_again_once(tidegate: Tidegate) -> None:
    mine = {"MINE": str(tidegate.place)}
    run(tidegate, *(shell(id, working(tidegate), env=mine) for id in "abc"), shell("d", "true"))
    until(lambda: len(stamps(tidegate, "start")) == 3 and "d succeeded" in outcomes(tidegate))
    power_off(tidegate)
    booted(tidegate)
    process = run(tidegate)
    until(lambda: len(stamps(tidegate, "start")) == 6)
    (tidegate.place / "go").touch()
    assert process.wait(20) == 0
    assert (len(stamps(tidegate, "start")), len(stamps(tidegate, "end"))) == (6, 3)
    found = outcomes(tidegate)
    assert {id: [one for one in found if one.startswith(id)] for id in "abcd"} == {
        **{id: [f"{id} lost", f"{id} succeeded"] for id in "abc"},
        "d": ["d succeeded"],
    }
    assert {job["attempts"] for job in tidegate.lines("list")} == {0}
    lost = [one["data"] for one in tidegate.events("attempt ended") if one["data"]["outcome"] == "lost"]
    assert [one["charged"] for one in lost] == [False] * 3


@pytest.mark.slow
def test_nobody_who_has_got_the_pid_of_a_shim_since_is_touched(tidegate: Tidegate) -> None:
    run(tidegate, shell("a", working(tidegate), env={"MINE": str(tidegate.place)}))
    until(lambda: stamps(tidegate, "start"))
    power_off(tidegate)
    (lock,) = tidegate.state.glob("attempts/*/*/lock")
    with subprocess.Popen(["/bin/sleep", "300"], start_new_session=True) as innocent:
        lock.write_text(f"{innocent.pid}\n")
        booted(tidegate)
        (tidegate.place / "go").touch()
        assert run(tidegate).wait(20) == 0
        assert outcomes(tidegate) == ["a lost", "a succeeded"]
        assert innocent.poll() is None
        innocent.kill()


@pytest.mark.slow
def test_an_agent_that_lives_is_followed_whatever_the_kernel_calls_its_run(tidegate: Tidegate) -> None:
    """As in a container that another machine has taken over: the lock says who lives."""
    first = run(tidegate, shell("a", working(tidegate)))
    until(lambda: stamps(tidegate, "start"))
    first.kill()
    first.wait()
    booted(tidegate)
    process = run(tidegate)
    until(lambda: tidegate.events("attempt adopted"))
    (tidegate.place / "go").touch()
    assert process.wait(20) == 0
    assert (len(stamps(tidegate, "start")), outcomes(tidegate)) == (1, ["a succeeded"])


@pytest.mark.slow
def test_a_hold_stays_until_its_end(tidegate: Tidegate) -> None:
    limit = 'echo "You\'ve hit your limit · resets 11:59pm (UTC)" >&2; exit 1'
    run(tidegate, shell("a", limit))
    until(lambda: (tidegate.place / "started.0").read_text().count('"gate shut"'))
    (before,) = tidegate.lines("status")[0]["holds"]
    power_off(tidegate)
    booted(tidegate)
    run(tidegate)
    until(lambda: '"waiting"' in (tidegate.place / "started.1").read_text())
    assert tidegate.lines("status")[0]["holds"] == [before]
    assert len(tidegate.events("attempt claimed")) == 1
