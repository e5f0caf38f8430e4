"""The verbs `submit` and `edit`: what a command line says of a job."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from filled import Night
from installed import Json, Tidegate, said, until

from tidegate import agents, doorbell
from tidegate.agents import names
from tidegate.model import Account


def show(tidegate: Tidegate, *jobs: str) -> Json:
    (told,) = tidegate.lines("show", *jobs)
    return told


def submitted(tidegate: Tidegate, *args: str) -> Json:
    done = tidegate("submit", "--json", *args)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


# --- what is submitted ---


def test_a_command_is_queued_and_its_number_alone_is_printed(tidegate: Tidegate) -> None:
    done = tidegate("submit", "--", "echo", "--", "a b")
    assert (done.returncode, done.stdout) == (0, "1\n")
    assert done.stderr == "tidegate: nobody works here: `tidegate serve` starts what is queued\n"
    told = show(tidegate, "1")
    assert told["spec"]["command"] == ["echo", "--", "a b"]
    assert (told["agent"], told["account"], told["batch"], told["job"]) == ("command", "command", "cli", "1")
    assert told["spec"]["cwd"] == str(tidegate.place)
    assert tidegate("submit", "--", "echo", "--", "a b").stdout == "2\n", "without a name it is another job"


@pytest.mark.parametrize("argv", [["claude", "-p", "x"], ["env", "A=1", "timeout", "9", "/opt/bin/claude", "-p", "x"]])
def test_an_agents_command_is_recognised_as_in_batch_files(tidegate: Tidegate, argv: list[str]) -> None:
    tidegate("submit", "--", *argv, "--model", "opus")
    told = show(tidegate, "1")
    assert (told["agent"], told["account"], told["model"]) == ("claude", "claude", "opus")
    batch = tidegate.batch(json.dumps({"id": "a", "command": [*argv, "--model", "opus"]}), "b.jsonl")
    planned = json.loads(tidegate("plan", batch).stdout)
    assert (planned["command"], planned["model"]) == (told["spec"]["command"], told["model"])


def test_an_agent_gets_a_prompt_from_the_line_or_from_standard_input(tidegate: Tidegate) -> None:
    tidegate("submit", "--agent", "codex", "do it")
    tidegate("submit", "--agent", "codex", "--stdin", stdin="do that\n")
    tidegate("submit", "--stdin", "--", "cat", stdin="input")
    assert [show(tidegate, n)["spec"]["prompt"] for n in "123"] == ["do it", "do that\n", "input"]
    assert show(tidegate, "3")["agent"] == "command"


def test_every_flag_is_kept(tidegate: Tidegate) -> None:
    tidegate.env |= {"TAKEN": "from here"}
    flags = ["--account", "max", "--priority", "-3", "--timeout", "90m", "--max-attempts", "7", "--group", "tier 1"]
    more = ["--label", "a=1", "--label", "b=", "--env", "X=y=z", "--env", "TAKEN", "--env", "API_KEY=hush-hush"]
    where = ["--cwd", "sub/dir", "--name", "one", "--batch", "mine"]
    done = tidegate("submit", *flags, *more, *where, "--", "true")
    told = show(tidegate, "mine:one")
    assert told["number"] == int(done.stdout)
    assert (told["account"], told["priority"], told["max_attempts"], told["group"]) == ("max", -3, 7, "tier 1")
    assert told["labels"] == {"a": "1", "b": ""}
    spec = told["spec"]
    assert spec["env"] == {"X": "y=z", "TAKEN": "from here", "API_KEY": "[redacted]"}
    assert (spec["timeout"], spec["cwd"]) == (5400, f"{tidegate.place}/sub/dir")
    assert b"hush-hush" not in (tidegate.state / "tidegate.db").read_bytes(), "the vault has it"


def test_a_start_is_kept_back_to_its_time(tidegate: Tidegate) -> None:
    for flag in (["--in", "90m"], ["--in", "5400"], ["--at", "90m"]):
        told = submitted(tidegate, *flag, "--", "true")
        start = datetime.fromisoformat(told["not_before"])
        assert abs(start - datetime.now(UTC) - timedelta(minutes=90)) < timedelta(minutes=1)
    assert re.search(r"^why +starts at .* \(in 1 h ", tidegate("show", "1").stdout, re.MULTILINE)
    assert submitted(tidegate, "--at", "2020-01-01", "--", "true")["job"] == "4", "what is past is now"


def test_a_job_waits_for_those_that_it_is_to_follow(tidegate: Tidegate) -> None:
    for _ in range(3):
        tidegate("submit", "--", "true")
    told = submitted(tidegate, "--after", "1", "--after", "2-3", "--", "true")
    assert told["unmet"] == 3
    assert re.search(r"^why +waits for 1, 2 and 3$", tidegate("show", "4").stdout, re.MULTILINE)
    tidegate("cancel", "2")
    assert tidegate.states()["4"] == "skipped"


# --- the same again ---


def test_the_same_name_and_definition_is_the_same_job(tidegate: Tidegate) -> None:
    first = tidegate("submit", "--name", "nightly", "--", "true")
    assert tidegate("submit", "--name", "nightly", "--", "true").stdout == first.stdout
    done = tidegate("submit", "--name", "nightly", "--", "false")
    assert done.returncode == 2
    assert said(done) == (
        "tidegate: job #1 cli:nightly is there with another definition: --update gives it the new definition"
    )
    assert tidegate("submit", "--name", "nightly", "--update", "--", "false").stdout == first.stdout
    assert show(tidegate, "1")["spec"]["command"] == ["false"]
    tidegate("cancel", "1")
    done = tidegate("submit", "--name", "nightly", "--update", "--", "true")
    assert (done.returncode, "is cancelled" in said(done)) == (2, True)
    assert tidegate("submit", "--name", "nightly", "--batch", "other", "--", "true").stdout == "2\n"


# --- accounts ---


def test_an_account_with_limits_is_made_known_as_run_does(tidegate: Tidegate) -> None:
    tidegate("submit", "--", "claude", "-p", "x")
    tidegate("submit", "--", "true")
    assert Night(tidegate.state).store.accounts() == [
        Account(name="claude", cautious=True),
        Account(name="command", cautious=False),
    ]


def test_an_account_of_the_configuration_keeps_its_concurrency(tidegate: Tidegate) -> None:
    (tidegate.place / "c.toml").write_text(
        '[accounts.max]\nagent = "claude"\nconcurrency = 3\n[agents.mine]\nstart = ["mine", "{prompt}"]\n'
    )
    config = ["--config", "c.toml"]
    assert tidegate("submit", *config, "--account", "max", "--", "claude", "-p", "x").returncode == 0
    made = Night(tidegate.state)
    assert made.store.accounts() == [Account(name="max", max_running=3, cautious=True)]
    made.store.set_accounts([Account(name="max", max_running=9)], made.now)
    assert tidegate("submit", "--account", "max", "--", "claude", "-p", "y").returncode == 0
    assert made.store.accounts() == [Account(name="max", max_running=9)], "what is known is left alone"
    tidegate("submit", *config, "--agent", "mine", "x")
    assert show(tidegate, "3")["account"] == "mine"


def test_a_bad_configuration_is_refused_where_it_matters(tidegate: Tidegate) -> None:
    (tidegate.place / "c.toml").write_text("[accounts.max\n")
    for file in ("c.toml", "nope.toml"):
        done = tidegate("submit", "--config", file, "--", "true")
        assert done.returncode == 2
        assert file in said(done)


def test_the_light_table_of_agents_is_the_heavy_one() -> None:
    known = agents.known()
    assert {program: name for name, agent in known.agents.items() for program in agent.programs} == names.PROGRAMS
    assert set(names.NAMES) == set(known.names)
    assert [name for name in known.names if known.has_limits(name)] == sorted(filter(names.has_limits, names.NAMES))


# --- what is refused ---


@pytest.mark.parametrize(
    ("args", "line"),
    [
        ([], "tidegate: say what to do: -- COMMAND ..., or --agent AGENT with a PROMPT"),
        (["do it"], "tidegate: say what to do: "),
        (["--"], "tidegate: -- COMMAND: must name a program, not be an empty list"),
        (["--", ""], "tidegate: -- COMMAND: must begin with a program"),
        (["--", "a\nb\0"], None),
        (["--agent", "claude", "--", "true"], "tidegate: say --agent AGENT with a PROMPT, or -- COMMAND, not both"),
        (["x", "--", "true"], "tidegate: say --agent AGENT with a PROMPT, or -- COMMAND, not both"),
        (["--agent", "claude"], 'tidegate: submit: job: agent "claude" needs a prompt'),
        (["--agent", "claud", "x"], 'tidegate: submit: job agent: unknown agent "claud"; did you mean claude?'),
        (["--agent", "claude", " "], "tidegate: PROMPT: must not be empty"),
        (["--agent", "claude", "--stdin"], "tidegate: stdin: must not be empty"),
        (["--agent", "claude", "--stdin", "x"], "tidegate: say a PROMPT or --stdin, not both"),
        (["--name", "17", "--", "true"], "tidegate: --name: digits alone are the numbers of jobs, not '17'"),
        (["--name", "a\nb", "--", "true"], "tidegate: --name: must be one line without control characters"),
        (["--name", "", "--", "true"], "tidegate: --name: must not be empty"),
        (["--batch", "/etc", "--", "true"], "tidegate: --batch: must not begin with /"),
        (["--batch", "a\x1b[31m", "--", "true"], "tidegate: --batch: must be one line"),
        (["--group", "a\nb", "--", "true"], "tidegate: --group: must be one line"),
        (["--account", "../x", "--", "true"], "tidegate: --account: must be letters, digits"),
        (["--priority", "9" * 400, "--", "true"], "tidegate: --priority: must be a whole number from -1000000"),
        (["--timeout", "soon", "--", "true"], "tidegate: --timeout: must be seconds or text like"),
        (["--max-attempts", "0", "--", "true"], "tidegate: --max-attempts: must be a whole number from 1 to 1000"),
        (["--env", "A-B=1", "--", "true"], "tidegate: --env.A-B: must be letters, digits and _"),
        (["--env", "NOT_THERE", "--", "true"], "tidegate: --env: must be NAME=VALUE, not 'NOT_THERE'"),
        (["--label", "x", "--", "true"], "tidegate: --label: must be NAME=VALUE, not 'x'"),
        (["--at", "x", "--", "true"], "tidegate: --at: must be a time like"),
        (["--in", "07:00", "--", "true"], "tidegate: --in: must be seconds or text like"),
        (["--at", "2h", "--in", "2h", "--", "true"], "tidegate: say --at or --in, not both"),
        (["--after", "99", "--", "true"], "tidegate: no job 99 here"),
        (["claude", "-p", "x"], "tidegate submit: error: unrecognized arguments: "),
    ],
)
def test_what_is_no_job_is_one_line_and_exit_code_2(tidegate: Tidegate, args: list[str], line: str | None) -> None:
    if line is None:
        return  # no shell can hand over a NUL
    done = tidegate("submit", *args)
    assert done.returncode == 2
    assert said(done).startswith(line)
    assert len(done.stderr) < 500
    assert tidegate("list").stdout == "", "nothing is half done"


# --- beside a supervisor ---


def test_a_running_service_starts_it_at_once_and_wait_tells_its_end(tidegate: Tidegate) -> None:
    tidegate.start("serve")
    until(lambda: doorbell.ring(tidegate.state))
    done = tidegate("submit", "--wait", "--", "sh", "-c", "echo hello")
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")
    assert tidegate("logs", "1").stdout == "hello\n"
    assert tidegate("submit", "--wait", "--max-attempts", "1", "--", "false").returncode == 1


def test_a_job_that_a_run_will_not_start_is_told_as_such(tidegate: Tidegate) -> None:
    batch = tidegate.batch(json.dumps({"id": "a", "command": ["sleep", "600"]}), "b.jsonl")
    run = tidegate.start("run", batch)
    until(lambda: doorbell.ring(tidegate.state))
    until(lambda: tidegate.states() == {"a": "running"})
    done = tidegate("submit", "--", "true")
    assert done.stderr == (
        f"tidegate: pid {run.pid} works on another batch alone: the job waits for `tidegate serve`\n"
    )
    assert re.search(r"^why +another batch alone is worked on$", tidegate("show", "2").stdout, re.MULTILINE)
    assert re.search(rf"^working: pid {run.pid} for .* on .*b.jsonl alone, ", tidegate("status").stdout, re.MULTILINE)


def test_a_submit_rings_the_supervisor(tidegate: Tidegate) -> None:
    Night(tidegate.state)
    bell = doorbell.listen(tidegate.state)
    tidegate("submit", "--", "true")
    assert doorbell.answer(bell)
    os.close(bell)


def test_a_submit_imports_neither_a_loop_nor_the_settings(tidegate: Tidegate) -> None:
    for args in (["--", "claude", "-p", "x"], ["--agent", "claude", "x"], ["--in", "2h", "--env", "A=1", "--", "true"]):
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "tidegate", "submit", *args],
            env=tidegate.environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0
        imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
        assert "tidegate.batch" in imported
        assert not imported & {"asyncio", "anyio", "pydantic", "structlog", "subprocess", "shutil", "socket"}
        assert not imported & {"tidegate.agents.claude", "tidegate.agents.table"}


# --- edit ---


def test_an_edit_changes_what_it_says_and_nothing_else(tidegate: Tidegate) -> None:
    tidegate("submit", "--name", "a", "--label", "x=1", "--env", "A=1", "--timeout", "5", "--agent", "claude", "old")
    assert (
        tidegate("edit", "a", "--label", "y=2", "--env", "A=2", "--priority", "4", "new").stdout
        == "#1 cli:a: changed\n"
    )
    told = show(tidegate, "1")
    assert (told["spec"]["prompt"], told["labels"], told["priority"]) == ("new", {"x": "1", "y": "2"}, 4)
    assert (told["spec"]["env"], told["spec"]["timeout"], told["account"]) == ({"A": "2"}, 5, "claude")
    assert tidegate("edit", "a", "--agent", "codex").returncode == 0
    told = show(tidegate, "1")
    assert (told["agent"], told["account"], told["spec"]["prompt"]) == ("codex", "codex", "new")
    tidegate("edit", "a", "--account", "mine", "--", "gemini", "-p", "x")
    told = show(tidegate, "1")
    assert (told["agent"], told["account"], told["spec"]["command"]) == ("gemini", "mine", ["gemini", "-p", "x"])
    (told,) = tidegate.lines("edit", "1", "--cwd", "/tmp", "--max-attempts", "1")
    assert (told["max_attempts"], told["account"]) == (1, "mine")


def test_an_edit_keeps_secrets_in_the_vault(tidegate: Tidegate) -> None:
    tidegate("submit", "--env", "API_KEY=hush-hush", "--", "true")
    assert tidegate("edit", "1", "--priority", "1").returncode == 0
    assert b"hush-hush" not in (tidegate.state / "tidegate.db").read_bytes()
    assert Night(tidegate.state).store.jobs_named("1")[0].spec.env == {"API_KEY": "hush-hush"}


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["a"], "tidegate: say what is to change"),
        (["a", "a prompt"], "tidegate: job #1 b:a is a command: say -- COMMAND ..."),
        (["a", "--agent", "claude"], 'tidegate: edit: job: agent "claude" needs a prompt'),
        (["ended", "--priority", "1"], "tidegate: job #2 b:ended is cancelled: only a queued job can be changed"),
        (["nope", "--priority", "1"], "tidegate: no job nope here"),
        (["a", "--priority", "x"], "tidegate: --priority: must be a whole number"),
    ],
)
def test_an_edit_that_cannot_be_is_refused(tidegate: Tidegate, args: list[str], line: str) -> None:
    tidegate("submit", "--batch", "b", "--name", "a", "--", "true")
    tidegate("submit", "--batch", "b", "--name", "ended", "--", "true")
    tidegate("cancel", "ended")
    done = tidegate("edit", *args)
    assert done.returncode == 2
    assert said(done).startswith(line)
