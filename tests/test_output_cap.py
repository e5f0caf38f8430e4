"""What an attempt may print: a flood is ended near its bound, with its cause, and no limit is drowned in it."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from installed import Tidegate, until

from tidegate import handover, policy
from tidegate.model import Cause, Failed, Interrupted

MB = 10**6
LIMIT = "You've hit your limit · resets 11:59pm (UTC)"
DEAF = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
FLOOD = "import sys\nfor _ in range(50_000): sys.stdout.write('a line of a flood\\n' * 4000)"  # 3.6 GB
STREAM = "import sys, time\nfor _ in range(50_000): sys.stdout.write('a line of a flood\\n' * 4000); time.sleep(0.003)"


def python(id: str, code: str, **more: object) -> str:
    return json.dumps({"id": id, "command": [sys.executable, "-c", code], "max_attempts": 1, **more}) + "\n"


def printed(tidegate: Tidegate, job: int = 1, n: int = 1) -> int:
    place = tidegate.state / "attempts" / str(job) / str(n)
    return sum((place / name).stat().st_size for name in ("stdout.log", "stderr.log"))


def test_a_flood_is_ended_near_its_bound_and_says_why(tidegate: Tidegate) -> None:
    """Its job's own, or that of the settings where its job says nothing."""
    tidegate.env["TIDEGATE_ATTEMPT__MAX_OUTPUT"] = "3MB"
    lines = "import sys\nfor _ in range(50): sys.stdout.write('x' * 99_999 + '\\n')"
    jobs = (
        python("flood", STREAM, max_output="2MB") + python("other", STREAM) + python("large", lines, max_output="1GB")
    )
    done = tidegate("run", tidegate.batch(jobs, "b.jsonl"))
    assert done.returncode == 5, done.stderr
    ended = {event["job"]: event["data"] for event in tidegate.events("attempt ended")}
    assert {name: data["reason"] for name, data in ended.items()} == {
        "flood": "printed more than 2 MB",
        "other": "printed more than 3 MB",
        "large": "",
    }
    assert (ended["flood"]["cause"], ended["flood"]["charged"], ended["flood"]["next"]) == ("output", True, "error")
    logs = tidegate("logs", "flood")
    assert printed(tidegate) >= len(logs.stdout) > 2 * MB
    assert logs.stderr == "tidegate: attempt 1 was ended here: printed more than 2 MB\n"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_flood_that_ignores_its_polite_end_is_killed_at_once(tidegate: Tidegate) -> None:
    tidegate.env["TIDEGATE_SUPERVISOR__GRACE"] = "10m"
    done = tidegate("run", tidegate.batch(python("deaf", DEAF + FLOOD, max_output="5MB"), "b.jsonl"), timeout=150)
    assert done.returncode == 5, done.stderr
    assert tidegate.lines("list")[0]["reason"] == "printed more than 5 MB"
    assert printed(tidegate) < 3000 * MB  # it is killed at 72 MB, as soon as a loaded machine gets to it


@pytest.mark.slow
def test_a_limit_that_was_told_in_a_flood_is_no_failure(tidegate: Tidegate) -> None:
    told = f"import sys\nprint({LIMIT!r}, file=sys.stderr, flush=True)\n"
    process = tidegate.start("run", tidegate.batch(python("a", told + STREAM, max_output="2MB"), "b.jsonl"))
    until(lambda: (tidegate.state / "tidegate.db").exists() and tidegate.events("attempt ended"))
    (ended,) = tidegate.events("attempt ended")
    assert (ended["data"]["outcome"], ended["data"]["charged"]) == ("limited", False)
    process.send_signal(signal.SIGINT)
    process.wait(30)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_flood_goes_on_being_bounded_after_a_crash(tidegate: Tidegate) -> None:
    go = tidegate.place / "go"
    code = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\n" + FLOOD
    first = tidegate.start("run", tidegate.batch(python("a", code, max_output="50MB"), "b.jsonl"))
    lock = tidegate.state / "attempts" / "1" / "1" / "lock"
    until(lambda: lock.exists() and lock.read_text(), within=60)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    go.touch()
    until(lambda: printed(tidegate) > 50 * MB, within=60)
    done = tidegate("run", "b.jsonl")
    assert done.returncode == 5, done.stderr
    (ended,) = tidegate.events("attempt ended")
    assert (ended["data"]["cause"], ended["data"]["reason"]) == ("output", "printed more than 50 MB")


def test_flags_say_bounds_as_a_batch_does(tidegate: Tidegate) -> None:
    flags = ["--max-output", "200MB", "--memory", "6GB", "--pids", "200", "--cpu-weight", "50"]
    assert tidegate("submit", "--name", "a", *flags, "--", "true").returncode == 0
    spec = tidegate.lines("show", "a")[0]["spec"]
    assert (spec["max_output"], spec["memory"], spec["pids"], spec["cpu_weight"]) == (200 * MB, 6000 * MB, 200, 50)
    shown = tidegate("show", "a").stdout
    for line in (
        "output    at most 200 MB",
        "memory    at most 6 GB",
        "processes at most 200, threads",
        "weight    50",
    ):
        assert line in shown


@pytest.mark.slow
def test_the_plan_and_an_edit_say_the_bound_in_bytes(tidegate: Tidegate) -> None:
    assert tidegate("submit", "--name", "a", "--", "true").returncode == 0
    assert tidegate("edit", "a", "--max-output", "1GiB").returncode == 0
    assert tidegate.lines("show", "a")[0]["spec"]["max_output"] == 2**30
    plan = tidegate("plan", tidegate.batch(python("a", "", max_output="1.5GB"), "b.jsonl"), "--json")
    assert json.loads(plan.stdout.splitlines()[-1])["max_output"] == 1_500_000_000


@pytest.mark.parametrize("asked", [Interrupted(reason="paused"), policy.flooded(5), Failed(reason="plain")])
def test_the_next_incarnation_knows_what_an_agent_was_ended_for(tmp_path: Path, asked: Interrupted | Failed) -> None:
    handover.write_asked(tmp_path, asked)
    plain = isinstance(asked, Failed) and asked.cause is Cause.NONE
    assert handover.read_asked(tmp_path) == (None if plain else asked)
