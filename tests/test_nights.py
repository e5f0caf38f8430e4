"""Whole nights, shortened: real programs run through limits, crashes and odd output to their real ends."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest
from installed import Tidegate, until

PROGRAMS = Path(__file__).parent / "programs"


def program(name: str, *args: object) -> list[str]:
    return [sys.executable, str(PROGRAMS / name), *map(str, args)]


def jsonl(*jobs: Mapping[str, object], **batch: object) -> str:
    return "".join(json.dumps(line) + "\n" for line in ({"batch": batch}, *jobs))


def when(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_one_limited_job_and_its_crashing_neighbours_all_end_with_real_results(
    tidegate: Tidegate, tmp_path: Path
) -> None:
    """The incident that tidegate was born from: 15 jobs of one tier, one limit, others struck in the same second."""
    limit, launches = tmp_path / "limit", tmp_path / "limit" / "launches"
    limit.mkdir()
    jobs: list[dict[str, object]] = [{"id": "T0/00", "command": program("limited_wrapper.py", limit)}]
    ways = ["HUP", "KILL", "1", "KILL", "HUP", "1", "TERM"]
    jobs += [
        {"id": f"T0/{n:02}", "command": program("struck_once.py", tmp_path, way, launches)}
        for n, way in enumerate(ways, 1)
    ]
    jobs += [{"id": f"T0/{n:02}", "command": program("sleeper.sh", 1)[1:]} for n in range(8, 15)]
    done = tidegate("run", tidegate.batch(jsonl(*jobs, name="tier-0"), "t.jsonl"), "--slots", "15", timeout=390)
    assert done.returncode == 0, done.stderr
    assert Counter(tidegate.states().values()) == {"succeeded": 15}
    outcomes = Counter(event["data"]["outcome"] for event in tidegate.events("attempt ended"))
    assert outcomes == {"succeeded": 15, "limited": 1, "failed": len(ways)}
    shut = tidegate.events("gate shut")
    assert [event["scope"] for event in shut] == ["command"]
    assert "You've hit your limit · resets " in shut[0]["data"]["evidence"]
    reset = float((limit / "resets_at").read_text())
    assert when(shut[0]["data"]["resets_at"]) == reset
    later = [event for event in tidegate.events("attempt claimed") if event["seq"] > shut[0]["seq"]]
    assert all(when(event["at"]) >= reset for event in later), "nothing was launched into the closed limit"
    assert later[0]["data"]["canary"]
    charged = {job["job"]: job["attempts"] for job in tidegate.lines("list")}
    assert charged["T0/00"] == 0, "the limit cost no attempt"


@pytest.mark.slow
def test_a_supervisor_killed_in_mid_batch_is_followed_by_one_that_adopts_its_agents(
    tidegate: Tidegate, tmp_path: Path
) -> None:
    stamps = tmp_path / "stamps"
    jobs = [{"id": f"j{n}", "command": program("stamper.py", stamps, 2.5)} for n in range(6)]
    batch = tidegate.batch(jsonl(*jobs, name="killed"), "k.jsonl")
    first = tidegate.start("run", batch, "--slots", "3")
    until(lambda: stamps.exists() and stamps.read_text().count('"start"') == 3)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    done = tidegate("run", batch, "--slots", "3")
    assert done.returncode == 0, done.stderr
    assert Counter(tidegate.states().values()) == {"succeeded": 6}
    counted = Counter(json.loads(line)["event"] for line in stamps.read_text().splitlines())
    assert counted == {"start": 6, "end": 6}, "none ran twice, none overlapped"
    assert len(tidegate.events("attempt adopted")) == 3
    assert len(tidegate.events("attempt claimed")) == 6


ODD = {
    "long_line": "succeeded",
    "long_json": "succeeded",
    "invalid_utf8": "succeeded",
    "no_newline": "succeeded",
    "nothing": "succeeded",
    "server": "succeeded",
    "server_setsid": "succeeded",
}


def test_odd_output_ends_in_the_right_outcome_soon_after_the_exit(tidegate: Tidegate, tmp_path: Path) -> None:
    jobs = [{"id": mode, "command": program("odd.py", mode, 0, tmp_path / f"{mode}.pid")} for mode in ODD]
    began = time.time()
    done = tidegate("run", tidegate.batch(jsonl(*jobs, name="odd"), "o.jsonl"), "--slots", "8")
    assert done.returncode == 0, done.stderr
    assert tidegate.states() == ODD
    assert time.time() - began < 40, "servers that live for a minute held nothing up"
    for server in ("server", "server_setsid"):
        pid = int((tmp_path / f"{server}.pid").read_text())
        assert not Path(f"/proc/{pid}").exists(), "what an agent leaves behind is ended"
    (long,) = [job for job in tidegate.lines("list") if job["job"] == "long_line"]
    assert len((tidegate.state / "attempts" / str(long["number"]) / "1" / "stdout.log").read_bytes()) > 3_000_000


def test_what_cannot_be_launched_is_an_error_with_its_reason(tidegate: Tidegate, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("not executable")
    jobs: list[dict[str, object]] = [
        {"id": "missing", "command": ["no-such-program"]},
        {"id": "plain", "command": [str(plain)]},
        {"id": "nowhere", "command": ["true"], "cwd": str(tmp_path / "nowhere")},
        {"id": "fine", "command": ["true"]},
    ]
    done = tidegate("run", tidegate.batch(jsonl(*jobs, name="launch"), "l.jsonl"))
    assert done.returncode == 5, done.stderr
    assert tidegate.states() == {"missing": "error", "plain": "error", "nowhere": "error", "fine": "succeeded"}
    reasons = {job["job"]: job["reason"] for job in tidegate.lines("list")}
    assert "no such program: no-such-program" in reasons["missing"]
    assert reasons["plain"] == f"not executable: {plain}"
    assert reasons["nowhere"] == f"no such directory: {tmp_path / 'nowhere'}"
