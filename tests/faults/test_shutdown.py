"""`run` is interrupted at every stage of its life and of its end, and continued: each job is done once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from installed import Started, Tidegate, until

PROGRAM = [sys.executable, str(Path(__file__).with_name("program.py"))]
CODES = {"INT": 130, "TERM": 143, "HUP": 129}
STAGES = [  # a moment, and which of them
    ("submit:committed", 1),
    ("claim:before", 1),
    ("claim:committed", 2),
    ("launch.intent:before", 1),
    ("launch.spawn:after", 2),
    ("finish:committed", 3),  # the last of all
    ("leave:before", 1),
]
INTERRUPTED = [(*stage, "INT") for stage in STAGES]
OTHERWISE = [("claim:committed", 2, "TERM"), ("launch.spawn:after", 2, "HUP"), ("leave:before", 1, "KILL")]


def shell(id: str, script: str, **more: object) -> str:
    return json.dumps({"id": id, "command": ["sh", "-c", script], **more}) + "\n"


def stamped(tidegate: Tidegate, id: str, script: str = "true") -> str:
    """A job that stamps its start and its end."""
    stamps = tidegate.place / "stamps"
    return shell(id, f"echo start {id} >> {stamps}; {script}; echo end {id} >> {stamps}")


def stamps(tidegate: Tidegate) -> list[str]:
    with suppress(FileNotFoundError):
        return (tidegate.place / "stamps").read_text().splitlines()
    return []


def ends(process: Started) -> int:
    """The exit code as a shell tells it."""
    code = process.wait(30)
    return 128 - code if code < 0 else code


def said(tidegate: Tidegate, number: int = 0) -> str:
    return (tidegate.place / f"started.{number}").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("point", "at", "number"), [*INTERRUPTED, *OTHERWISE], ids=lambda one: str(one))
def test_a_batch_that_was_interrupted_at_any_stage_goes_on_where_it_was(
    tidegate: Tidegate, point: str, at: int, number: str
) -> None:
    tidegate.batch("".join(stamped(tidegate, id) for id in "abc"), "b.jsonl")
    tidegate.program = PROGRAM
    tidegate.env |= {"FAULT_POINT": point, "FAULT_AT": str(at), "FAULT_SIGNAL": f"SIG{number}"}
    code = ends(tidegate.start("run", "b.jsonl", "--slots", "1"))
    tidegate.env = {}
    whole = len(stamps(tidegate)) == 6
    if number == "KILL":
        assert code == 137, said(tidegate)
    else:
        assert code == (0 if whole else CODES[number]), said(tidegate)
        assert "b.jsonl: 3 jobs: " in said(tidegate)
    assert "Traceback" not in said(tidegate)
    done = tidegate("run", "b.jsonl", "--slots", "1")
    assert done.returncode == 0, done.stderr
    assert sorted(stamps(tidegate)) == [f"{what} {id}" for what in ("end", "start") for id in "abc"]
    jobs = tidegate.lines("list")
    assert {(job["state"], job["attempts"]) for job in jobs} == {("succeeded", 0)}, "nothing of this is charged"


STUBBORN = 'trap "" TERM; while [ ! -e {place}/go ]; do sleep 0.05; done'


@pytest.mark.slow
@pytest.mark.parametrize(("first", "killed"), [("INT", "in the grace"), ("HUP", "in the drain")])
def test_whoever_is_killed_between_two_signals_or_in_the_grace_leaves_what_runs_to_the_next(
    tidegate: Tidegate, first: str, killed: str
) -> None:
    stubborn = STUBBORN.format(place=tidegate.place)
    tidegate.batch(stamped(tidegate, "a", stubborn) + stamped(tidegate, "b"), "b.jsonl")
    process = tidegate.start("run", "b.jsonl", "--slots", "1")
    until(lambda: stamps(tidegate) == ["start a"])
    process.send_signal(signal.Signals[f"SIG{first}"])
    until(lambda: '"draining"' in said(tidegate))
    if killed == "in the grace":
        process.send_signal(signal.Signals[f"SIG{first}"])
        until(lambda: '"stopping"' in said(tidegate) and asked(tidegate))
    process.kill()
    process.wait()
    next_one = tidegate.start("run", "b.jsonl", "--slots", "1")
    until(lambda: tidegate.events("attempt adopted"))
    (tidegate.place / "go").touch()
    assert ends(next_one) == 0, said(tidegate, 1)
    (first_end, *later) = [one["data"] for one in tidegate.events("attempt ended")]
    interrupted = killed == "in the grace"  # what was asked for is what became of it: a program proves no success
    assert first_end["outcome"] == ("interrupted" if interrupted else "succeeded")
    assert not first_end["charged"] or not interrupted
    assert [one["outcome"] for one in later] == ["succeeded"] * (2 if interrupted else 1)
    runs = 2 if interrupted else 1
    assert stamps(tidegate) == ["start a", "end a"] * runs + ["start b", "end b"]


def asked(tidegate: Tidegate) -> bool:
    return bool(list(tidegate.state.glob("attempts/*/*/asked")))


@pytest.mark.slow
def test_further_signals_in_the_grace_change_nothing(tidegate: Tidegate) -> None:
    tidegate.env["TIDEGATE_SUPERVISOR__GRACE"] = "1"
    tidegate.batch(stamped(tidegate, "a", 'trap "" TERM; sleep 60') + stamped(tidegate, "b"), "b.jsonl")
    process = tidegate.start("run", "b.jsonl", "--slots", "1")
    until(lambda: stamps(tidegate) == ["start a"])
    process.send_signal(signal.SIGINT)
    until(lambda: '"draining"' in said(tidegate))
    process.send_signal(signal.SIGINT)
    until(lambda: asked(tidegate))
    while process.poll() is None:
        for number in CODES:
            process.send_signal(signal.Signals[f"SIG{number}"])
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    assert ends(process) == 130
    assert tidegate.states() == {"a": "queued", "b": "queued"}
    assert [one["data"]["outcome"] for one in tidegate.events("attempt ended")] == ["interrupted"]
    assert "2 wait: the next `tidegate run` of this file goes on" in said(tidegate)
