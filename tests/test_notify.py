"""Notifications: what a person is told, once, in time, and without anybody waiting for it."""

from __future__ import annotations

import json
import os
import signal
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from installed import Json, Tidegate, until
from structlog.testing import capture_logs

from tidegate import doorbell, places
from tidegate.cli import arguments
from tidegate.cli.notify import sample
from tidegate.clock import SystemClock
from tidegate.model import Batch, Event, NewJob, Spec
from tidegate.notice import KINDS, Target, Wish
from tidegate.notify import Notice, Notifier, message, variables
from tidegate.stores import sqlite
from tidegate.stores.memory import MemoryStore
from tidegate.stores.writer import Writer

NOW = datetime(2026, 1, 9, 18, 0, tzinfo=UTC)
LIMIT = 'echo "You\'ve hit your limit · resets 11:59pm (UTC)" >&2; exit 1'

# --- how it is said ----------------------------------------------------------------------------


def test_the_command_line_offers_every_kind() -> None:
    assert arguments.KINDS == KINDS


def test_every_kind_is_one_readable_sentence() -> None:
    texts = {kind: sample(kind).text for kind in KINDS}
    assert texts["needs_human"] == "claude needs a person: not logged in"
    assert texts["hold"].startswith("claude is shut until ")
    assert texts["hold"].endswith(': usage limit, 5h window ("You\'ve hit your 5-hour limit")')
    assert texts["opened"] == "claude is open again"
    assert texts["finished"] == "batch sample has finished: 38 succeeded, 2 failed"
    assert texts["failed"] == "job sample:train/3 failed: a sample"
    assert texts["error"] == "job sample:train/3 ended without a result: a sample"
    assert texts["cancelled"] == "job sample:train/3 was cancelled: a sample"


def test_several_notices_are_one_message_that_counts_all() -> None:
    some = [Notice(kind="failed", at=NOW, text=f"job b:{n} failed") for n in range(7)]
    told = message([*some, Notice(kind="needs_human", at=NOW, text="x needs a person")], {"failed": 5}, "here")
    assert (told["event"], told["count"], told["level"]) == ("several", 13, "error")
    assert told["kinds"] == {"failed": 12, "needs_human": 1}
    assert told["text"].startswith("13 notices: job b:0 failed; ")
    assert told["text"].endswith("; and 8 more")
    assert len(told["events"]) == 8
    assert variables(told)["TIDEGATE_COUNT"] == "13"


def shut(window: str) -> Event:
    return Event(seq=1, at=NOW, name="gate shut", scope="claude", data={"origin": "limit", "window": window})


class Broken:
    """A store that answers nothing, as the port of a Notifier."""

    async def __call__(self, *args: object, **more: object) -> Any:
        raise RuntimeError("no answer")


async def test_a_mistake_in_telling_ends_nothing() -> None:
    target = Target(command=("true",), on=(Wish("hold"),), every=0.0, timeout=1.0, environment={})
    notifier = Notifier(target, MemoryStore(), cast("Writer", Broken()), SystemClock(), "here")
    with capture_logs() as logged:
        async with anyio.create_task_group() as around:
            around.start_soon(notifier.work)
            for _ in range(2):  # it goes on after the first
                before = len(logged)
                notifier.hear(shut(window=str(before)))
                while len(logged) == before:
                    await anyio.sleep(0.02)
            around.cancel_scope.cancel()
        await notifier.finish()
    assert {one["event"] for one in logged} == {"notification failed"}


# --- the installed program ---------------------------------------------------------------------


def told_by(tidegate: Tidegate, script: str = "", **settings: Any) -> Path:
    """A program that writes each message as a line of a file, and its environment beside it."""
    program, messages = tidegate.place / "tell", tidegate.place / "told.jsonl"
    program.write_text(f"#!/bin/sh\n{script}\ncat >> {messages}\nenv > {tidegate.place}/env\n")
    program.chmod(0o700)
    said = {"command": [str(program)], "on": ["finished"], "every": "1h", **settings}
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in said.items())
    (tidegate.place / "config.toml").write_text(f"[notify]\n{lines}\n[retry]\nfirst = 0.1\n")
    tidegate.env["TIDEGATE_CONFIG"] = "config.toml"
    messages.touch()
    return messages


def read(messages: Path) -> list[Json]:
    return [json.loads(line) for line in messages.read_text().splitlines()]


def shell(id: str, script: str, **more: object) -> str:
    return json.dumps({"id": id, "command": ["sh", "-c", script], "max_attempts": 1, **more}) + "\n"


HEAD = json.dumps({"batch": {"name": "night"}}) + "\n"


def test_a_finished_batch_is_told_once_as_json_and_in_the_environment(tidegate: Tidegate) -> None:
    messages = told_by(tidegate)
    tidegate.env["MY_OWN_SECRET"] = "s"
    batch = tidegate.batch(HEAD + shell("a", "true") + shell("b", "exit 3"), "b.jsonl")
    assert tidegate("run", batch).returncode == 1
    (told,) = read(messages)
    assert (told["event"], told["batch"], told["count"]) == ("finished", "night", 1)
    assert told["text"] == "batch night has finished: 1 succeeded, 1 failed"
    seen = dict(line.split("=", 1) for line in (tidegate.place / "env").read_text().splitlines())
    assert seen["TIDEGATE_EVENT"] == "finished"
    assert seen["TIDEGATE_TEXT"] == told["text"]
    assert seen["TIDEGATE_BATCH"] == "night"
    assert "TIDEGATE_ATTEMPT" not in seen, "it is no agent's child"
    assert "MY_OWN_SECRET" not in seen
    assert tidegate("run", batch).returncode == 1
    assert len(read(messages)) == 1, "it ended nothing anew"


def test_a_burst_is_told_in_few_calls_and_none_is_lost(tidegate: Tidegate) -> None:
    messages = told_by(tidegate, on=["failed", "error", "finished"])
    jobs = "".join(shell(f"j{n}", "exit 3" if n % 2 else "/no/such") for n in range(30))
    assert tidegate("run", tidegate.batch(HEAD + jobs, "b.jsonl")).returncode == 1
    told = read(messages)
    assert len(told) <= 2, "one at once, one at the end: nothing in the hour between"
    assert sum(one["count"] for one in told) == 31


def test_a_hold_is_told_with_its_end_and_its_evidence(tidegate: Tidegate) -> None:
    messages = told_by(tidegate, on=["hold"])
    assert tidegate("run", tidegate.batch(shell("a", LIMIT), "b.jsonl"), "--on-limit", "exit").returncode == 75
    (told,) = read(messages)
    assert (told["event"], told["scope"], told["level"]) == ("hold", "command", "warning")
    assert told["until"] > told["at"]
    assert "command is shut until " in told["text"]
    assert "You've hit your limit" in told["text"]


@pytest.mark.parametrize(
    ("script", "why"),
    [("echo 'no route' >&2; exit 7", "exit 7: no route"), ("sleep 60", "no end in time"), (None, "No such file")],
)
def test_a_program_that_fails_is_one_warning_and_nothing_else(tidegate: Tidegate, script: str | None, why: str) -> None:
    told_by(tidegate, script or "", timeout=1, **({} if script else {"command": ["/no/such/program"]}))
    done = tidegate("run", tidegate.batch(HEAD + shell("a", "true"), "b.jsonl"))
    assert done.returncode == 0
    (warning,) = [json.loads(line) for line in done.stderr.splitlines() if "notification" in line]
    assert (warning["level"], warning["event"]) == ("warning", "notification failed")
    assert why in warning["reason"]


@pytest.mark.slow
def test_nothing_waits_for_a_program_that_hangs(tidegate: Tidegate) -> None:
    told_by(tidegate, f"echo $$ > {tidegate.place}/pid; sleep 60 & sleep 60", on=["succeeded"], timeout=30)
    go = tidegate.place / "go"
    jobs = shell("first", "true") + shell("wait", f"while [ ! -e {go} ]; do sleep 0.05; done") + shell("last", "true")
    process = tidegate.start("run", tidegate.batch(jobs, "b.jsonl"), "--slots", "1")
    until(lambda: (tidegate.place / "pid").exists() and (tidegate.place / "pid").read_text())
    hangs = int((tidegate.place / "pid").read_text())
    go.touch()
    until(lambda: list(tidegate.states().values()) == ["succeeded"] * 3)
    os.kill(hangs, signal.SIGKILL)
    assert process.wait(20) == 0
    assert not Path(f"/proc/{hangs}").exists()


def test_what_a_program_leaves_behind_ends_with_it_and_is_buried(tidegate: Tidegate) -> None:
    told_by(tidegate, f"sleep 61 & echo $! > {tidegate.place}/pid", on=["succeeded"])
    go = tidegate.place / "go"
    jobs = shell("first", "true") + shell("wait", f"while [ ! -e {go} ]; do sleep 0.05; done")
    process = tidegate.start("run", tidegate.batch(jobs, "b.jsonl"))
    until(lambda: (tidegate.place / "env").exists())
    left = int((tidegate.place / "pid").read_text())
    until(lambda: not Path(f"/proc/{left}").exists())  # a dead one that nobody buries is still there
    go.touch()
    assert process.wait(20) == 0


def test_a_secret_in_evidence_is_not_told(tidegate: Tidegate) -> None:
    messages = told_by(tidegate, on=["failed"])
    job = shell("a", "echo sk-ant-oat01-abcdefgh12345678 is bad >&2; exit 1")
    assert tidegate("run", tidegate.batch(job, "b.jsonl")).returncode == 1
    assert "sk-ant-[redacted] is bad" in read(messages)[0]["text"]
    assert "abcdefgh12345678" not in messages.read_text() + (tidegate.place / "env").read_text()


def submit(tidegate: Tidegate, name: str, script: str) -> None:
    """Hand a job in as any other process does."""
    spec = Spec(command=("sh", "-c", script), max_attempts=1)
    with closing(sqlite.open(places.database(tidegate.state))) as store:
        store.submit(Batch("night"), [NewJob(name=name, account="command", spec=spec)], datetime.now(UTC), whole=False)
    doorbell.ring(tidegate.state)


@pytest.mark.slow
def test_serve_tells_and_takes_another_configuration(tidegate: Tidegate) -> None:
    messages = told_by(tidegate, on=["failed"], every=0)
    process = tidegate.start("serve")
    log = tidegate.place / "started.0"
    until(lambda: '"serving"' in log.read_text())
    submit(tidegate, "a", "exit 1")
    until(lambda: read(messages))
    told_by(tidegate, on=["finished", "succeeded"], every=0)
    process.send_signal(signal.SIGHUP)
    until(lambda: '"configuration read"' in log.read_text())
    submit(tidegate, "b", "exit 1")
    until(lambda: len(read(messages)) == 2)
    submit(tidegate, "c", "true")
    until(lambda: len(read(messages)) == 3)
    first, second, third = read(messages)
    assert (first["event"], second["event"], third["kinds"]) == ("failed", "finished", {"succeeded": 1, "finished": 1})
    assert second["text"] == "batch night has finished: 2 failed"


def test_the_verb_sends_a_sample(tidegate: Tidegate) -> None:
    messages = told_by(tidegate)
    done = tidegate("notify", "finished")
    assert (done.returncode, done.stdout) == (0, "told: batch sample has finished: 38 succeeded, 2 failed\n")
    assert read(messages)[0]["event"] == "finished"
    assert json.loads(tidegate("notify", "--json").stdout) == read(messages)[1]
    told_by(tidegate, "exit 3")
    done = tidegate("notify")
    assert (done.returncode, done.stderr) == (5, "tidegate: not told: exit 3\n")


def test_the_verb_without_a_program_is_one_line(tidegate: Tidegate) -> None:
    done = tidegate("notify")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "[notify] command" in done.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"on": ["finish"]}, "[notify] on[0]: is nothing to be told"),
        ({"command": "tell me"}, "[notify] command: must be a list"),
        ({"every": -1}, "[notify] every: must be 0 or more"),
        ({"onn": []}, "[notify] onn: unknown key; did you mean on?"),
    ],
)
def test_a_setting_that_cannot_be_names_its_key(tidegate: Tidegate, settings: Json, said: str) -> None:
    told_by(tidegate, **settings)
    done = tidegate("notify")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"config.toml: {said}" in done.stderr
