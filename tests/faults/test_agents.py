"""Agents that misbehave in every way that we could think of: each ends, is recorded, and runs once at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from delegated import delegated
from installed import Tidegate, until

HOSTILE = Path(__file__).with_name("hostile.py")


@pytest.fixture(params=["bare", "cgroup"])
def where(request: pytest.FixtureRequest) -> Iterator[str]:
    """Without and with a cgroup for each attempt."""
    if request.param == "bare":
        yield "bare"
        return
    with delegated():
        yield "cgroup"


def work(tidegate: Tidegate) -> Path:
    """The working directory of the agents."""
    place = tidegate.place / "work"
    place.mkdir(exist_ok=True)
    return place


def hostile(tidegate: Tidegate, *deeds: str, **more: object) -> str:
    """A batch of agents, each with its deed as its name."""
    jobs = [
        {"id": deed.replace(":", "_"), "command": [sys.executable, str(HOSTILE), deed], "cwd": str(work(tidegate))}
        for deed in deeds
    ]
    return tidegate.batch("".join(json.dumps({**job, **more}) + "\n" for job in jobs), "hostile.jsonl")


def stamps(tidegate: Tidegate) -> list[list[str]]:
    return [line.split() for line in (work(tidegate) / "stamps").read_text().splitlines()]


def alive(tidegate: Tidegate) -> list[str]:
    """The programs that live in the agents' working directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink().is_relative_to(work(tidegate)):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def outcomes(tidegate: Tidegate) -> dict[str, list[str]]:
    """How the attempts of each job ended."""
    found: dict[str, list[str]] = {}
    for event in tidegate.events("attempt ended"):
        found.setdefault(event["job"], []).append(event["data"]["outcome"])
    return found


LEAVE = ["leave:pgid", "leave:setsid", "leave:double-fork", "bomb", "rename", "close", "exec"]
SHIM = {
    "shim:kill": ["lost", "succeeded"],
    "shim:kill-all": ["lost", "succeeded"],
    "shim:term": ["succeeded"],
    "shim:stop": ["succeeded"],
}


@pytest.mark.slow
def test_whatever_an_agent_leaves_behind_is_gone_when_its_attempt_has_ended(tidegate: Tidegate, where: str) -> None:
    deeds = [*LEAVE, *(["comet", "leave:unmarked"] if where == "cgroup" else [])]
    done = tidegate("run", hostile(tidegate, *deeds), "--slots", "9")
    assert alive(tidegate) == []
    assert done.returncode == 0, done.stderr
    assert set(tidegate.states().values()) == {"succeeded"}
    assert "beside-another" not in {what for what, *_ in stamps(tidegate)}
    assert sum(what == "start" for what, *_ in stamps(tidegate)) == len(deeds)


@pytest.mark.slow
def test_a_shim_that_its_agent_ends_or_stops_costs_no_more_than_its_attempt(tidegate: Tidegate, where: str) -> None:
    done = tidegate("run", hostile(tidegate, *SHIM), "--slots", "9")
    assert alive(tidegate) == []
    assert done.returncode == 0, done.stderr
    assert outcomes(tidegate) == {deed.replace(":", "_"): ends for deed, ends in SHIM.items()}
    assert "beside-another" not in {what for what, *_ in stamps(tidegate)}
    assert {job["attempts"] for job in tidegate.lines("list")} == {0}, "nothing of this is charged"


ONCE, TWICE = ["succeeded"], ["lost", "succeeded"]
SPOILT = {  # how the attempts end where the supervisor is killed meanwhile; one that lives needs none of these files
    "spoil:delete": TWICE,
    "spoil:delete-output": ONCE,
    "spoil:truncate": ONCE,
    "spoil:truncate-lock": TWICE,
    "spoil:garbage-lock": TWICE,
    "spoil:innocent-lock": TWICE,
    "spoil:fifo-lock": TWICE,
    "spoil:fifo-output": ONCE,
    "spoil:directory-output": ONCE,
    "spoil:no-intent": TWICE,
    "spoil:fifo-intent": TWICE,
    "spoil:chmod": ONCE,
    "spoil:file": TWICE,
}


@pytest.fixture
def innocent() -> Iterator[int]:
    """A process that nobody may touch."""
    with subprocess.Popen(["/bin/sleep", "300"], start_new_session=True) as process:
        yield process.pid
        assert process.poll() is None, "it was none of theirs"
        process.kill()


def spoilt(tidegate: Tidegate, innocent: int) -> None:
    """The agents have spoilt their files, and work on under a supervisor."""
    batch = hostile(tidegate, *SPOILT, env={"INNOCENT": str(innocent)})
    tidegate.start("run", batch, "--slots", "20")
    until(lambda: len(list(work(tidegate).glob("*.ready"))) == len(SPOILT))


def end(tidegate: Tidegate) -> int:
    """Let the agents end; how the last run that was started then ends."""
    (work(tidegate) / "go").touch()
    return tidegate.started[-1].wait(40)


@pytest.mark.slow
def test_an_agent_that_spoils_its_own_files_is_recorded_all_the_same(tidegate: Tidegate, innocent: int) -> None:
    spoilt(tidegate, innocent)
    assert end(tidegate) == 0
    assert outcomes(tidegate) == {deed.replace(":", "_"): ONCE for deed in SPOILT}
    assert "Traceback" not in (tidegate.place / "started.0").read_text()


@pytest.mark.slow
def test_an_agent_that_has_spoilt_its_own_files_never_runs_beside_its_next_attempt(
    tidegate: Tidegate, innocent: int
) -> None:
    spoilt(tidegate, innocent)
    tidegate.started[0].send_signal(signal.SIGKILL)
    tidegate.started[0].wait()
    tidegate.start("run", "hostile.jsonl", "--slots", "20")
    until(lambda: len(tidegate.events("attempt ended")) >= list(SPOILT.values()).count(TWICE))
    assert end(tidegate) == 0
    assert outcomes(tidegate) == {deed.replace(":", "_"): ends for deed, ends in SPOILT.items()}
    assert "beside-another" not in {what for what, *_ in stamps(tidegate)}
    assert alive(tidegate) == []
    assert {job["attempts"] for job in tidegate.lines("list")} == {0}


@pytest.mark.slow
def test_whoever_ignores_term_or_hides_is_gone_when_it_was_cancelled(tidegate: Tidegate, where: str) -> None:
    tidegate.env["TIDEGATE_SUPERVISOR__GRACE"] = "1"
    deeds = ["doomed", *(f"stay:{deed}" for deed in ("pgid", "setsid", "double-fork", "bomb"))]
    process = tidegate.start("run", hostile(tidegate, *deeds), "--slots", "9")
    until(lambda: len(list(work(tidegate).glob("*.ready"))) == len(deeds))
    names = [deed.replace(":", "_") for deed in deeds]
    assert tidegate("cancel", *names).returncode == 0
    assert process.wait(40) == 1
    assert alive(tidegate) == []
    assert set(tidegate.states().values()) == {"cancelled"}


# --- shims, stage by stage ---------------------------------------------------------------------

BROKEN = Path(__file__).with_name("broken_shims.py")
STAGES, SIGNALS = ("start", "recorded", "ended"), ("KILL", "TERM", "STOP")
STAGED = [f"{stage}-{number}" for stage in STAGES for number in SIGNALS]
LOST = {"start-KILL", "recorded-KILL", "ended-KILL"}


def shims(tidegate: Tidegate) -> dict[str, int]:
    """The stopped shims, by their jobs."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            told = (process / "environ").read_bytes().split(b"\0")
            if f"PWD={work(tidegate)}".encode() in told and "\nState:\tT" in (process / "status").read_text():
                names = [one.partition(b"=")[2].decode() for one in told if one.startswith(b"TIDEGATE_JOB=")]
                found[names[0]] = int(process.name)
    return found


def staged(tidegate: Tidegate) -> str:
    """One agent for each stage and signal, which says that it runs."""
    tidegate.program = [sys.executable, str(BROKEN)]
    here = {"cwd": str(work(tidegate)), "env": {"PWD": str(work(tidegate))}}
    jobs = [{"id": name, "command": [sys.executable, str(HOSTILE), "well"], **here} for name in STAGED]
    return tidegate.batch("".join(json.dumps(job) + "\n" for job in jobs), "staged.jsonl")


def agents_begun(tidegate: Tidegate) -> dict[str, int]:
    begun = [job for what, job, *_ in stamps(tidegate) if what == "start"]
    return {name: begun.count(name) for name in STAGED}


@pytest.mark.slow
def test_a_shim_may_be_killed_or_stopped_at_each_stage(tidegate: Tidegate, where: str) -> None:
    done = tidegate("run", staged(tidegate), "--slots", "9")
    assert done.returncode == 0, done.stderr
    assert outcomes(tidegate) == {name: TWICE if name in LOST else ONCE for name in STAGED}
    assert agents_begun(tidegate) == {name: 2 if name == "ended-KILL" else 1 for name in STAGED}
    assert "beside-another" not in {what for what, *_ in stamps(tidegate)}
    assert alive(tidegate) == []


@pytest.mark.slow
def test_a_shim_may_be_killed_or_stopped_at_each_stage_while_nobody_supervises(tidegate: Tidegate, where: str) -> None:
    batch = staged(tidegate)
    tidegate.env["ASLEEP"] = "1"
    first = tidegate.start("run", batch, "--slots", "9")
    until(lambda: sorted(shims(tidegate)) == sorted(STAGED))
    first.kill()
    first.wait()
    for name, pid in shims(tidegate).items():
        os.kill(pid, signal.Signals[f"SIG{name.partition('-')[2]}"])
    del tidegate.env["ASLEEP"]
    done = tidegate("run", batch, "--slots", "9")
    assert done.returncode == 0, done.stderr
    spoilt = {"start-TERM", "start-STOP"}  # stopped for longer than a shim takes to say who it is
    lost = (LOST | spoilt) - {"start-KILL"}  # which had never started
    assert outcomes(tidegate) == {name: TWICE if name in lost else ONCE for name in STAGED}
    assert agents_begun(tidegate) == {name: 2 if name == "ended-KILL" else 1 for name in STAGED}
    assert "beside-another" not in {what for what, *_ in stamps(tidegate)}
    assert alive(tidegate) == []
