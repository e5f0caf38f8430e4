"""The demo's agent behaves like the real CLI at a usage limit."""

import json
import os
import re
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

STREAM = ("--output-format", "stream-json", "--verbose")


@dataclass(frozen=True)
class Ended:
    code: int
    stdout: bytes
    stderr: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.splitlines()]

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["type"] == kind]


@dataclass(frozen=True)
class Demo:
    account: Path

    def argv(self, *args: str, **numbers: float) -> list[str]:
        numbers = {"step_seconds": 0, "allowance": 100, "reset_after": 1, **numbers}
        options = [f"--{name.replace('_', '-')}={value}" for name, value in numbers.items()]
        return [sys.executable, "-m", "tidegate.examples.demo_agent", "--account", str(self.account), *options, *args]

    def run(self, *args: str, stdin: str = "", env: dict[str, str] | None = None, **numbers: float) -> Ended:
        done = subprocess.run(
            self.argv(*args, **numbers),
            input=stdin.encode(),
            capture_output=True,
            env={**os.environ, **(env or {})},
            timeout=30,
        )
        return Ended(done.returncode, done.stdout, done.stderr.decode())

    def reset(self) -> None:
        """Wait until the account's window has reset."""
        resets_at = json.loads((self.account / "account.json").read_text())["resets_at"]
        while time.time() < resets_at:
            time.sleep(0.02)


@pytest.fixture
def demo(tmp_path: Path) -> Demo:
    return Demo(tmp_path / "account")


def test_a_success_names_its_session_first_and_its_result_last(demo: Demo) -> None:
    session = str(uuid.uuid4())
    ended = demo.run("-p", "sort the list", *STREAM, "--session-id", session, steps=3)
    assert (ended.code, ended.stderr) == (0, "")
    assert (ended.lines[0]["type"], ended.lines[0]["subtype"]) == ("system", "init")
    assert {line["session_id"] for line in ended.lines} == {session}
    assert [line["message"]["content"][0]["text"] for line in ended.all("assistant")] == [
        f"Step {n} of 3 is done: sort the list" for n in (1, 2, 3)
    ]
    result = ended.lines[-1]
    assert (result["type"], result["is_error"], result["num_turns"]) == ("result", False, 3)
    assert result["usage"]["output_tokens"] == 3 * 240


def test_the_prompt_may_come_on_stdin(demo: Demo) -> None:
    ended = demo.run("-p", *STREAM, stdin="sort the list\n", steps=1)
    assert ended.lines[-1]["result"] == "All 1 steps are done: sort the list"


def test_without_a_prompt_nothing_is_begun(demo: Demo) -> None:
    ended = demo.run("-p", *STREAM)
    assert (ended.code, ended.stdout) == (1, b"")
    assert ended.stderr.startswith("Error: Input must be provided")


def test_stream_json_needs_verbose_as_with_the_real_one(demo: Demo) -> None:
    ended = demo.run("-p", "x", "--output-format", "stream-json")
    assert ended.code == 1
    assert "requires --verbose" in ended.stderr


def test_text_mode_prints_the_last_words_alone(demo: Demo) -> None:
    assert demo.run("-p", "sort", steps=2).stdout == b"All 2 steps are done: sort\n"


def test_lines_come_as_they_happen(demo: Demo) -> None:
    argv = demo.argv("-p", "x", *STREAM, steps=2, step_seconds=30)
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        assert json.loads(agent.stdout.readline())["subtype"] == "init"
        agent.terminate()
    assert agent.returncode == -15


def test_at_the_limit_it_prints_the_event_the_words_and_a_result_that_is_an_error(demo: Demo) -> None:
    ended = demo.run("-p", "x", *STREAM, steps=4, allowance=2, reset_after=15)
    assert (ended.code, ended.stderr) == (1, "")
    info = ended.all("rate_limit_event")[-1]["rate_limit_info"]
    assert (info["status"], info["rateLimitType"]) == ("rejected", "five_hour")
    assert isinstance(info["resetsAt"], int)
    assert time.time() + 5 < info["resetsAt"] < time.time() + 17
    words = ended.all("assistant")[-1]
    assert (words["message"]["model"], words["error"]) == ("<synthetic>", "rate_limit")
    result = ended.lines[-1]
    assert (result["is_error"], result["api_error"], result["api_error_status"]) == (True, "usage_limit_reached", 429)
    assert re.fullmatch(r"You've hit your 5-hour limit · resets 1?\d(:[0-5]\d)?[ap]m \(UTC\)", result["result"])


@pytest.mark.parametrize(("zone", "shown"), [("Europe/Berlin", "Europe/Berlin"), ("Nowhere/None", "UTC"), ("", "UTC")])
def test_the_reset_is_printed_in_the_zone_of_the_environment(demo: Demo, zone: str, shown: str) -> None:
    ended = demo.run("-p", "x", *STREAM, env={"TZ": zone}, allowance=0)
    assert ended.lines[-1]["result"].endswith(f"({shown})")


def test_the_same_answer_is_given_whatever_the_locale(demo: Demo) -> None:
    ended = demo.run("-p", "x", *STREAM, env={"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}, allowance=0)
    assert " · resets " in ended.lines[-1]["result"]


def test_a_session_cut_off_by_the_limit_goes_on_where_it_was(demo: Demo) -> None:
    session = str(uuid.uuid4())
    cut = demo.run("-p", "sort", *STREAM, "--session-id", session, steps=4, allowance=3)
    assert cut.code == 1
    demo.reset()
    resumed = demo.run("-p", "go on", *STREAM, "--resume", session, steps=4, allowance=3)
    assert resumed.code == 0
    assert [line["message"]["content"][0]["text"] for line in resumed.all("assistant")] == ["Step 4 of 4 is done: sort"]
    assert resumed.lines[0]["session_id"] == session


def test_a_killed_session_goes_on_after_its_last_whole_step(demo: Demo) -> None:
    session = str(uuid.uuid4())
    argv = demo.argv("-p", "x", *STREAM, "--session-id", session, steps=3, step_seconds=0.2)
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        while json.loads(agent.stdout.readline())["type"] != "assistant":
            pass
        agent.kill()
    resumed = demo.run("-p", "go on", *STREAM, "--resume", session, steps=3)
    assert len(resumed.all("assistant")) == 2


def test_a_session_that_nobody_knows_cannot_be_resumed(demo: Demo) -> None:
    ended = demo.run("-p", "x", *STREAM, "--resume", "00000000-0000-4000-8000-000000000000")
    assert (ended.code, ended.stdout) == (1, b"")
    assert ended.stderr == "No conversation found with session ID: 00000000-0000-4000-8000-000000000000\n"


def test_a_session_id_cannot_be_used_twice(demo: Demo) -> None:
    session = str(uuid.uuid4())
    assert demo.run("-p", "x", "--session-id", session).code == 0
    again = demo.run("-p", "x", "--session-id", session)
    assert (again.code, again.stderr) == (1, f"Error: Session ID {session} is already in use.\n")


def test_a_session_id_that_is_no_uuid_is_refused(demo: Demo) -> None:
    assert demo.run("-p", "x", "--resume", "../account").code == 1
    assert demo.run("-p", "x", "--session-id", "../account").stderr == (
        "Error: Invalid session ID. Must be a valid UUID.\n"
    )


def test_agents_at_once_share_one_allowance_and_its_reset(demo: Demo) -> None:
    with ThreadPoolExecutor(4) as pool:
        ends = list(
            pool.map(lambda n: demo.run("-p", f"{n}", *STREAM, steps=4, allowance=10, reset_after=60), range(4))
        )
    words = [line["message"]["model"] for ended in ends for line in ended.all("assistant")]
    assert words.count("demo-1") == 10
    infos = [line["rate_limit_info"] for ended in ends for line in ended.all("rate_limit_event")]
    assert len({info["resetsAt"] for info in infos if info["status"] == "rejected"}) == 1


def test_its_files_are_for_their_owner_alone(demo: Demo) -> None:
    demo.run("-p", "x", steps=1)
    for path in [demo.account, *demo.account.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path
