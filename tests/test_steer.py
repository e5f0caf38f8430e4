"""The verbs by which a person holds work back and lets it go: pause, resume, drain."""

from __future__ import annotations

import fcntl
import os
import re
from datetime import UTC, datetime, timedelta

import pytest
from filled import EVIDENCE, Night, job, night
from installed import Tidegate, said, until

from tidegate import doorbell, places
from tidegate.model import Account, Halt


def test_a_pause_holds_an_account_until_it_is_resumed(tidegate: Tidegate) -> None:
    made = free(tidegate)
    done = tidegate("pause", "claude", "--reason", "I need it\nmyself")
    assert re.fullmatch(r"claude is paused by \S+: I need it\\nmyself\n", done.stdout)
    assert [one.account for one, _ in made.claim(9)] == ["command"] * 2
    assert tidegate("pause", "claude").returncode == 0, "again is no error"
    assert len(made.store.holds()) == 1
    assert "resumed: claude (is paused by" in tidegate("resume", "claude").stdout
    assert [one.account for one, _ in made.claim(9)] == ["claude"] * 2
    done = tidegate("resume", "claude")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "nothing held claude that a person can take away")


def test_a_pause_of_nothing_in_particular_holds_everything(tidegate: Tidegate) -> None:
    made = free(tidegate)
    made.claim(1)
    done = tidegate("pause")
    assert re.fullmatch(r"everything is paused by \S+; 1 running attempt goes on to the end\n", done.stdout)
    assert made.claim(9) == []
    tidegate("resume")
    assert len(made.claim(9)) == 3


def test_resume_without_a_scope_leaves_single_pauses_and_names_them(tidegate: Tidegate) -> None:
    free(tidegate)
    for scope in ("*", "claude", "batch:b", "job:c1"):
        assert tidegate("pause", scope).returncode == 0
    told = tidegate("resume").stdout
    assert "resumed: everything (is paused" in told
    for scope in ("claude", "batch:b", "job:3"):
        assert f"still there: {scope} is paused" in told


def test_resume_ends_a_wait_for_a_reset_and_lets_one_go_first(tidegate: Tidegate) -> None:
    made = night(tidegate.state)
    assert made.claim(9) == []
    told = tidegate("resume", "claude-max").stdout
    assert "reopened, one job goes first: claude-max (is shut until" in told
    made.now = datetime.now(UTC)
    ((_, attempt),) = made.claim(9)
    assert attempt.canary
    (hold,) = [hold for hold in made.store.holds() if hold.scope == "claude-max"]
    assert (hold.ramp, hold.allow, hold.evidence) == (True, 1, EVIDENCE)


def test_resume_ends_a_wait_for_a_person(tidegate: Tidegate) -> None:
    made = night(tidegate.state)
    (told,) = tidegate.lines("resume", "gemini")
    assert [hold["reason"] for hold in told["lifted"]] == ["not logged in"]
    assert told["left"] == []
    assert {one.account for one, _ in made.claim(9)} == {"gemini"}


def test_a_scope_that_is_none_is_refused_with_what_was_meant(tidegate: Tidegate) -> None:
    free(tidegate)
    for scope, line in {
        "cluade": "tidegate: no account cluade here; did you mean claude?",
        "nobody": "tidegate: no account nobody here; there are claude, command",
        "batch:x": "tidegate: no batch x here",
        "job:zzz": "tidegate: no job zzz here",
        "host:": "tidegate: host: names no host",
        "claude/": "tidegate: claude/ names no model",
    }.items():
        done = tidegate("pause", scope)
        assert (done.returncode, said(done)) == (2, line)


def test_an_account_can_be_paused_before_the_first_batch(tidegate: Tidegate) -> None:
    assert tidegate("pause", "claude").returncode == 0
    made = free(tidegate)
    assert {one.account for one, _ in made.claim(9)} == {"command"}
    assert tidegate("--state-dir", str(tidegate.place / "new"), "pause", "no\nname").returncode == 2


def test_a_pause_rings_the_supervisor(tidegate: Tidegate) -> None:
    free(tidegate)
    bell = doorbell.listen(tidegate.state)
    assert not doorbell.answer(bell)
    tidegate("pause")
    assert doorbell.answer(bell)
    os.close(bell)


def free(tidegate: Tidegate) -> Night:
    """A place with two jobs each of `claude` and `command` that nothing holds."""
    made = Night(tidegate.state)
    made.store.set_accounts([Account(name="claude"), Account(name="command")], made.now)
    made.submit("b", job("a1", "claude"), job("a2", "claude"), job("c1"), job("c2"))
    made.enter()
    return made


# --- how a pause begins and ends ---


def test_a_pause_with_an_end_lifts_itself(tidegate: Tidegate) -> None:
    made = free(tidegate)
    done = tidegate("pause", "claude", "--until", "2h")
    assert re.fullmatch(r"claude is paused by \S+ until .* \(in 2 h\)\n", done.stdout), done.stderr
    assert {one.account for one, _ in made.claim(9)} == {"command"}
    made.now = datetime.now(UTC) + timedelta(hours=3)
    assert {one.account for one, _ in made.claim(9)} == {"claude"}
    assert made.store.holds() == []


def test_a_later_pause_replaces_the_end_of_the_first(tidegate: Tidegate) -> None:
    made = free(tidegate)
    for flags in (["--until", "2h"], ["--until", "1h"], []):
        assert tidegate("pause", "claude", *flags).returncode == 0
    (hold,) = made.store.holds()
    assert hold.until is None


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--until", "noon"], "tidegate: --until: must be a time like "),
        (["--until", "2020-01-01"], "tidegate: --until: is over already, not '2020-01-01'"),
        (["--until", "x\n\x1b[2J"], "tidegate: --until: must be a time like "),
        (["--now=stop"], "tidegate pause: error: "),
    ],
)
def test_a_pause_that_cannot_be_is_refused(tidegate: Tidegate, flags: list[str], line: str) -> None:
    done = tidegate("pause", *flags)
    assert done.returncode == 2
    assert said(done).startswith(line)
    assert not tidegate.state.exists() or Night(tidegate.state).store.holds() == []


@pytest.mark.parametrize(
    ("flags", "setting", "halt"),
    [
        ([], "freeze", Halt.NONE),
        (["--now"], "", Halt.FREEZE),
        (["--now"], "interrupt", Halt.INTERRUPT),
        (["--now=freeze"], "interrupt", Halt.FREEZE),
        (["--now=interrupt"], "", Halt.INTERRUPT),
    ],
)
def test_a_pause_now_says_what_becomes_of_what_runs(
    tidegate: Tidegate, flags: list[str], setting: str, halt: Halt
) -> None:
    tidegate.env |= {"TIDEGATE_SUPERVISOR__PAUSE": setting}
    assert tidegate("pause", *flags, "claude").returncode == 0, "the flag does not take the scope for its value"
    (hold,) = Night(tidegate.state).store.holds()
    assert (hold.halt, hold.scope) == (halt, "claude")
    (told,) = tidegate.lines("pause", "claude", *flags)
    assert told["halt"] == halt.value


def test_a_pause_says_that_what_runs_goes_on_until_somebody_works_here(tidegate: Tidegate) -> None:
    free(tidegate).claim(1)
    later = ", as soon as somebody works here: `tidegate serve`\n"
    assert tidegate("pause", "--now=freeze").stdout.endswith(f"; 1 running attempt stands still{later}")
    assert tidegate("pause", "--now=interrupt").stdout.endswith(f" is ended and queued again{later}")
    assert later not in tidegate("pause").stdout
    with places.lock(tidegate.state).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert later not in tidegate("pause", "--now=freeze").stdout


def test_a_frozen_attempt_is_shown_as_such(tidegate: Tidegate) -> None:
    made = free(tidegate)
    made.claim(1)
    assert "; 1 running attempt stands still" in tidegate("pause", "--now=freeze").stdout
    assert re.search(r"^  \S+ +attempt 1, claude, for .*, frozen", tidegate("status").stdout, re.MULTILINE)
    (told,) = tidegate.lines("status")
    assert told["running"][0]["frozen"] is True
    assert re.search(r" running +claude +\S+ +frozen, for ", tidegate("list").stdout)
    assert re.search(r"^runs +frozen, for ", tidegate("show", "1").stdout, re.MULTILINE)


def test_every_word_of_a_hold_is_one_line(tidegate: Tidegate) -> None:
    free(tidegate)
    assert said(tidegate("pause", "host:a\nb")).startswith("tidegate: host: must be one line")
    tidegate("pause", "host:a", "--reason", "x\ny \x1b[31mred")
    for verb in ("status", "accounts", "resume"):
        assert all(line.isprintable() for line in tidegate(verb).stdout.split("\n"))


# --- drain ---


def test_a_drain_lets_what_runs_end_and_the_supervisor_leave(tidegate: Tidegate) -> None:
    service = tidegate.start("serve")
    until(lambda: doorbell.ring(tidegate.state))
    tidegate("submit", "--", "sh", "-c", f"while [ ! -e {tidegate.place}/go ]; do sleep 0.05; done")
    until(lambda: tidegate.states() == {"1": "running"})
    assert re.fullmatch(rf"pid {service.pid} drains, 1 running attempt goes on to the end\n", tidegate("drain").stdout)
    assert tidegate("drain").returncode == 0, "again is no error"
    until(lambda: "; it drains, asked by " in tidegate("status").stdout)
    tidegate("submit", "--", "true")
    waiting = tidegate.start("drain", "--wait")
    assert service.poll() is None
    (tidegate.place / "go").touch()
    assert service.wait(20) == 0
    assert waiting.wait(20) == 0
    assert tidegate.states() == {"1": "succeeded", "2": "queued"}


def test_a_drain_of_nobody_says_so_and_drains_nobody_later(tidegate: Tidegate) -> None:
    assert tidegate("drain", "--wait").stdout == "nobody works here: nothing to drain\n"
    assert not tidegate.state.exists()
    made = free(tidegate)
    assert tidegate.lines("drain") == [{"draining": None, "running": 0}]
    assert made.store.requests() == []
