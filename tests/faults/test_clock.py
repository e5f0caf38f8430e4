"""The clock is set, or the machine sleeps, while holds, waits and time-outs are in force."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from installed import Json, Started, Tidegate, end_what_is_left, until

HOUR = 3600.0


class Shifted(Tidegate):
    """The program by a clock that can be set."""

    def set_clock(self, seconds: float) -> None:
        """How far it is ahead of the machine's."""
        new = self.place / "shift.new"
        new.write_text(str(seconds))
        new.rename(self.place / "shift")

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=float((self.place / "shift").read_text()))

    def run(self, *jobs: dict[str, object]) -> Started:
        """A batch under way in the foreground, with these jobs or with those of before."""
        if jobs:
            self.batch("".join(json.dumps(job) + "\n" for job in jobs), "b.jsonl")
        return self.start("run", "b.jsonl")

    def said(self) -> str:
        """What was printed by the program that was started last."""
        return (self.place / f"started.{len(self.started) - 1}").read_text()

    def until_it_said(self, words: str) -> None:
        until(lambda: words in self.said())

    def hold(self) -> Json | None:
        """The hold of the account that the agents have."""
        (status,) = self.lines("status")
        return next((hold for hold in status["holds"] if hold["scope"] == "command"), None)

    def held(self) -> Json:
        """The same once there is one."""
        self.until_it_said('"gate shut"')
        hold = self.hold()
        assert hold is not None
        return hold

    def happened(self, *names: str) -> list[str]:
        return [event["event"] for event in self.events() if event["event"] in names]


@pytest.fixture
def shifted(tmp_path: Path) -> Iterator[Shifted]:
    program = Shifted(tmp_path, program=[sys.executable, str(Path(__file__).with_name("shifted.py"))])
    program.env |= {"SHIFT": str(tmp_path / "shift"), "TIDEGATE_LIMITS__JITTER": "0", "TZ": "UTC"}
    program.set_clock(0)
    yield program
    for process in program.started:
        if process.poll() is None:
            process.kill()
        process.wait()
    end_what_is_left(program.state)


def shell(id: str, script: str, **more: object) -> dict[str, object]:
    return {"id": id, "command": ["sh", "-c", script], **more}


def limited_once(shifted: Shifted, id: str, words: str, then: str = "true", **more: object) -> dict[str, object]:
    """A job that fails with these words; the next time it does not."""
    mark = shifted.place / f"once.{id}"
    return shell(id, f'[ -e {mark} ] && {{ {then}; exit 0; }}; touch {mark}; echo "{words}" >&2; exit 1', **more)


def resets(instant: datetime) -> str:
    return f"You've hit your limit · resets {instant:%b} {instant.day}, {instant:%-I:%M%p} (UTC)"


def in_hours(shifted: Shifted, hours: float) -> datetime:
    """That far ahead by the clock as it is; a minute, as agents print it."""
    return (shifted.now() + timedelta(hours=hours)).replace(second=0, microsecond=0)


def starts(shifted: Shifted) -> list[datetime]:
    """When each attempt began, by the clock as it was."""
    return [datetime.fromisoformat(one["at"]) for one in shifted.events("attempt claimed")]


def canaries(shifted: Shifted) -> list[Json]:
    """The attempts that went first."""
    return [one for one in shifted.events("attempt claimed") if one["data"]["canary"]]


def waits(shifted: Shifted, place: str = "go") -> str:
    return f"while [ ! -e {shifted.place}/{place} ]; do sleep 0.05; done"


# --- limits ------------------------------------------------------------------------------------

AT_THE_RESET = {"TIDEGATE_LIMITS__EARLY_CANARY": "off"}  # and nobody ahead of it


@pytest.mark.slow
def test_a_gate_opens_after_a_suspend_as_soon_as_its_reset_lies_behind_and_never_before(shifted: Shifted) -> None:
    shifted.env |= AT_THE_RESET
    reset = in_hours(shifted, 3)
    process = shifted.run(limited_once(shifted, "a", resets(reset)))
    hold = shifted.held()
    assert hold["resets_at"].startswith(f"{reset:%Y-%m-%dT%H:%M}")
    assert "in 2 h" in shifted("status").stdout or "in 3 h" in shifted("status").stdout
    shifted.set_clock(2 * HOUR)
    shifted.until_it_said("clock moved")
    assert shifted.hold() == hold, "its end is an instant"
    assert "(in 1 h" in shifted("status").stdout or "(in 59 min" in shifted("status").stdout
    assert len(starts(shifted)) == 1
    shifted.set_clock(3 * HOUR + 120)
    assert process.wait(20) == 0
    assert starts(shifted)[1] >= datetime.fromisoformat(hold["until"])
    assert shifted.happened("gate shut", "gate reopening") == ["gate shut", "gate reopening"]


@pytest.mark.slow
def test_after_a_suspend_one_goes_ahead_of_a_far_reset_and_the_gate_reopens_once(shifted: Shifted) -> None:
    process = shifted.run(
        limited_once(shifted, "a", resets(in_hours(shifted, 3)), waits(shifted)), shell("b", waits(shifted))
    )
    hold = shifted.held()
    shifted.set_clock(2 * HOUR)
    shifted.until_it_said('"gate tried"')
    until(lambda: len(canaries(shifted)) == 1)
    tried = shifted.hold()
    assert tried is not None
    assert (tried["until"], tried["since"]) == (hold["until"], hold["since"]), "it is shut still"
    shifted.set_clock(0)  # before it was tried, while the canary works
    until(lambda: shifted.said().count("clock moved") == 2)
    assert len(canaries(shifted)) == 1
    (shifted.place / "go").touch()
    assert process.wait(20) == 0
    assert shifted.happened("gate shut", "gate tried", "gate reopening") == [
        "gate shut",
        "gate tried",
        "gate reopening",
    ]


@pytest.mark.slow
def test_a_clock_that_is_set_back_opens_no_gate_early_and_none_twice(shifted: Shifted) -> None:
    shifted.set_clock(3 * HOUR)
    process = shifted.run(limited_once(shifted, "a", resets(in_hours(shifted, 1)), waits(shifted)))
    hold = shifted.held()
    shifted.set_clock(0)
    shifted.until_it_said("clock moved")
    assert shifted.hold() == hold
    assert len(starts(shifted)) == 1
    shifted.set_clock(4 * HOUR + 120)
    until(lambda: len(starts(shifted)) == 2)
    shifted.set_clock(0)  # before the reset once more, while the canary works
    until(lambda: shifted.said().count("clock moved") == 3)
    (shifted.place / "go").touch()
    assert process.wait(20) == 0
    assert shifted.happened("gate shut", "gate reopening") == ["gate shut", "gate reopening"]
    assert len(starts(shifted)) == 2
    assert "-" not in shifted.said().rpartition("held for")[2].partition("\n")[0], (
        "nothing is held for less than nothing"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("now", "words", "reset"),
    [
        (
            "2026-11-01T04:30:00+00:00",
            "resets 1:45am (America/New_York)",
            "2026-11-01T06:45",
        ),  # the second 1:45: rather late than early
        ("2026-03-08T06:30:00+00:00", "resets 3:30am (America/New_York)", "2026-03-08T07:30"),
    ],
)
def test_a_gate_opens_on_time_where_the_clocks_change_meanwhile(
    shifted: Shifted, now: str, words: str, reset: str
) -> None:
    shifted.env |= AT_THE_RESET
    begin = (datetime.fromisoformat(now) - datetime.now(UTC)).total_seconds()
    shifted.set_clock(begin)
    process = shifted.run(limited_once(shifted, "a", f"You've hit your limit · {words}"))
    hold = shifted.held()
    assert hold["resets_at"].startswith(reset)
    until_then = (datetime.fromisoformat(hold["until"]) - shifted.now()).total_seconds()
    shifted.set_clock(begin + until_then - 30)
    shifted.until_it_said("clock moved")
    assert len(starts(shifted)) == 1
    shifted.set_clock(begin + until_then + 1)
    assert process.wait(20) == 0
    assert starts(shifted)[1] >= datetime.fromisoformat(hold["until"])


# --- waits of our own --------------------------------------------------------------------------

BUSY = "API Error: Repeated 529 Overloaded errors"
WAITS = {"TIDEGATE_RETRY__FIRST": "600", "TIDEGATE_LIMITS__RATE_FIRST": "600"}
MEANWHILE, DOWN = False, True


@pytest.mark.slow
@pytest.mark.parametrize(("moved", "down"), [(HOUR, MEANWHILE), (-3 * HOUR, MEANWHILE), (-3 * HOUR, DOWN)])
def test_a_moments_wait_does_not_become_one_of_hours(shifted: Shifted, moved: float, down: bool) -> None:
    shifted.env |= WAITS
    shifted.set_clock(4 * HOUR)
    process = shifted.run(limited_once(shifted, "a", "no such luck"), limited_once(shifted, "b", BUSY, account="other"))
    until(lambda: shifted.said().count('"attempt ended"') == 2)
    if down:
        process.kill()
        process.wait()
    shifted.set_clock(4 * HOUR + moved)
    process = shifted.run() if down else process
    assert process.wait(20) == 0
    assert len(starts(shifted)) == 4


# --- time-outs ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("moved", "down"), [(5 * HOUR, MEANWHILE), (5 * HOUR, DOWN), (-5 * HOUR, DOWN)])
def test_hours_of_the_clock_are_no_working_time(shifted: Shifted, moved: float, down: bool) -> None:
    shifted.set_clock(6 * HOUR)
    process = shifted.run(
        shell("a", f"touch {shifted.place}/on; {waits(shifted)}; sleep 2.5", timeout=600, silence=600)
    )
    until((shifted.place / "on").exists)
    if down:
        process.kill()
        process.wait()
    shifted.set_clock(6 * HOUR + moved)
    if down:
        process = shifted.run()
        shifted.until_it_said('"attempt adopted"')
    else:
        shifted.until_it_said("clock moved")
    (shifted.place / "go").touch()
    assert process.wait(20) == 0, shifted.said()
    assert shifted.happened("attempt ended") == ["attempt ended"]


@pytest.mark.slow
def test_the_hours_of_a_frozen_agent_are_no_working_time_whatever_the_clock_does_meanwhile(shifted: Shifted) -> None:
    shifted.set_clock(6 * HOUR)
    process = shifted.run(shell("a", f"touch {shifted.place}/on; {waits(shifted)}; sleep 2.5", timeout=600))
    until((shifted.place / "on").exists)
    assert shifted("pause", "--now=freeze").returncode == 0
    shifted.until_it_said('"attempt frozen"')
    process.kill()
    process.wait()
    shifted.set_clock(0)
    process = shifted.run()
    shifted.until_it_said('"attempt adopted"')
    assert shifted("resume").returncode == 0
    shifted.until_it_said('"attempt thawed"')
    (shifted.place / "go").touch()
    assert process.wait(20) == 0, shifted.said()


SUSPENDED = ["unshare", "--time", "--boottime", "10800", "--monotonic", "0", "--fork", "--kill-child"]


def can_suspend() -> bool:
    """Whether the kernel lets this user have a machine that has slept for three hours."""
    command = [*SUSPENDED, "true"]
    return shutil.which("unshare") is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not can_suspend(), reason="needs time namespaces, and root")
def test_a_machine_that_slept_between_two_starts_times_nobody_out(tidegate: Tidegate) -> None:
    """Of the kernel's own clocks only the one that counts sleep is three hours ahead for the second start."""
    service = tidegate.start("serve")
    until((tidegate.state / "bell").exists)
    script = f"while [ ! -e {tidegate.place}/go ]; do sleep 0.05; done"
    assert tidegate("submit", "--name", "a", "--timeout", "1h", "--", "sh", "-c", script).returncode == 0
    until(lambda: tidegate.states() == {"a": "running"})
    service.kill()
    service.wait()
    awoken = Tidegate(tidegate.place, program=[*SUSPENDED, "--", sys.executable, "-m", "tidegate"])
    again = awoken.start("serve")
    try:
        until(lambda: '"attempt adopted"' in (tidegate.place / "started.0").read_text())
        assert tidegate("submit", "--name", "next", "--", "sleep", "1.5").returncode == 0
        until(lambda: tidegate.states()["next"] == "succeeded")  # it has looked at time-outs by then
        (tidegate.place / "go").touch()
        until(lambda: tidegate.states()["a"] != "running")
    finally:
        os.killpg(again.pid, signal.SIGKILL)
        again.wait()
    assert [(job["state"], job["attempts"]) for job in tidegate.lines("list")] == [("succeeded", 0)] * 2


# --- requests ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_is_asked_after_the_clock_was_set_back_is_asked_of_who_works_now(shifted: Shifted) -> None:
    shifted.set_clock(2 * HOUR)
    process = shifted.start("serve")
    shifted.until_it_said('"serving"')
    shifted.set_clock(0)
    done = shifted("drain", "--wait")
    assert done.returncode == 0, done.stderr
    assert process.wait(20) == 0
