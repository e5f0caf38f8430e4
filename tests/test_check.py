"""Asking an account before anything is spent: `check`, and `preflight = "probe"`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from installed import Tidegate

OPEN = '{"type":"result","subtype":"success","is_error":false,"result":"ok","session_id":"s"}'
LIMITED = (
    '{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":1995454146,'
    '"rateLimitType":"five_hour"},"session_id":"s"}'
)
NO_LOGIN = "Not logged in · Please run /login"
ANSWERS = [
    (OPEN, 0, "open", 0),
    (LIMITED, 1, "limited", 75),
    (NO_LOGIN, 1, "needs a person", 6),
    ("words that nobody knows", 1, "unknown", 5),
    ("", 0, "unknown", 5),
]


def claude(tidegate: Tidegate, text: str, code: int) -> Path:
    """A program named claude that notes each launch, says `text` and exits `code`."""
    program = tidegate.place / "bin" / "claude"
    program.parent.mkdir(exist_ok=True)
    (tidegate.place / "said").write_text(f"{text}\n")
    note = f'echo "$*" >> {tidegate.place}/launches'
    program.write_text(f"#!/bin/sh\ncat > /dev/null\n{note}\ncat {tidegate.place}/said\nexit {code}\n")
    program.chmod(0o700)
    tidegate.env["PATH"] = f"{program.parent}:/usr/bin:/bin"
    return tidegate.place / "launches"


@pytest.mark.parametrize(("text", "code", "word", "exit"), ANSWERS)
def test_an_account_is_only_open_when_its_provider_has_answered(
    tidegate: Tidegate, text: str, code: int, word: str, exit: int
) -> None:
    launches = claude(tidegate, text, code)
    done = tidegate("check", "claude", "--json")
    assert (json.loads(done.stdout)["answer"], done.returncode) == (word, exit), done.stderr
    assert launches.read_text().count("--max-turns 1") == 1, "the cheapest question there is"


def test_a_missing_program_is_unknown_and_says_so(tidegate: Tidegate) -> None:
    tidegate.env["PATH"] = "/nowhere"
    done = tidegate("check", "claude")
    assert done.returncode == 5
    assert done.stdout.startswith('claude: unknown: "no such program: claude')


@pytest.mark.parametrize(("args", "said"), [((), "no account is configured"), (("foo",), "no agent to ask")])
def test_what_cannot_be_asked_is_one_line_and_exit_2(tidegate: Tidegate, args: tuple[str, ...], said: str) -> None:
    done = tidegate("check", *args)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr


BATCH = """
[batch]
on_limit = "exit"
[accounts.claude]
preflight = "%s"
[[job]]
id = "a"
agent = "claude"
prompt = "do it"
"""


def test_a_probe_that_is_refused_costs_no_launch_of_a_job(tidegate: Tidegate) -> None:
    launches = claude(tidegate, LIMITED, 1)
    done = tidegate("run", tidegate.batch(BATCH % "probe"))
    assert done.returncode == 75, done.stderr
    assert len(launches.read_text().splitlines()) == 1
    assert tidegate.events("attempt claimed") == []
    (shut,) = tidegate.events("gate shut")
    assert shut["data"]["resets_at"].startswith("2033-")


@pytest.mark.parametrize(("preflight", "ramps"), [("canary", 1), ("probe", 0), ("off", 0)])
def test_only_a_canary_begins_with_a_ramp(tidegate: Tidegate, preflight: str, ramps: int) -> None:
    claude(tidegate, OPEN, 0)
    done = tidegate("run", tidegate.batch(BATCH % preflight))
    assert done.returncode == 0, done.stderr
    assert len([event for event in tidegate.events("gate ramped") if event["data"]["origin"] == "start"]) == ramps
