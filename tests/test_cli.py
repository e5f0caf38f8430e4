"""The command line: what it says, where it says it, and how it ends."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import pytest
from filled import Night, job, night
from installed import Tidegate, said, until

from tidegate.cli.parser import parse
from tidegate.cli.verbs import VERBS, looking
from tidegate.model import State


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


# --- verbs and usage ---


def test_the_program_tells_its_version_and_its_verbs(tidegate: Tidegate) -> None:
    assert re.fullmatch(r"tidegate \d+\.\d+\.\d+\n", tidegate("--version").stdout)
    for args in ([], ["--help"]):
        told = tidegate(*args)
        assert told.returncode == 0
        assert all(f"\n  {name} " in told.stdout for name in VERBS)


def test_the_help_of_a_verb_that_takes_a_command_says_where_it_goes(tidegate: Tidegate) -> None:
    for name in (name for name, verb in VERBS.items() if verb.command):
        assert "[-- COMMAND ...]\n\n" in tidegate(name, "--help").stdout


def test_list_knows_every_state_though_its_parser_loads_no_model() -> None:
    assert tuple(state.value for state in State) == looking.STATES


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_a_door_and_an_example_that_parses(name: str, tidegate: Tidegate) -> None:
    room, _, door = VERBS[name].door.partition(":")
    assert callable(getattr(import_module(room), door))
    told = tidegate(name, "--help").stdout
    example = told[told.index("example: ") + 9 :].strip()
    words = re.split(r" (?=[|>])", example)
    command = next(one for one in words if one.lstrip("| ").startswith("tidegate ")).lstrip("| ")
    plain = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', command)]
    assert parse(plain[1:]).door == VERBS[name].door


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["statsu"], "tidegate: error: no verb 'statsu'; did you mean status? (see tidegate --help)"),
        (["--frob"], "tidegate: error: unrecognized arguments: --frob (see tidegate --help)"),
        (["run"], "tidegate run: error: the following arguments are required: FILE (see tidegate run --help)"),
        (["list", "--stat", "queued"], "tidegate list: error: unrecognized arguments: --stat (see"),
        (["list", "--state", "limited"], "tidegate list: error: argument --state: invalid choice: 'limited' (choose"),
        (["run", "--slots", "0", "f"], "tidegate run: error: argument --slots: '0' is no whole number from 1 to"),
        (["run", "--slots", "9" * 5000, "f"], "tidegate run: error: argument --slots: '9999"),
        (["run", "--slots", "٣", "f"], "tidegate run: error: argument --slots: '٣' is no whole number"),
        (["submit", "a", "b"], "tidegate submit: error: unrecognized arguments: b"),
        (["show", "x" * 5000], "tidegate show: error: argument JOB: 5000 characters are too many"),
        (["frob\n\x1b[2Jx"], "tidegate: error: no verb 'frob\\n\\x1b[2Jx' (see"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(tidegate: Tidegate, args: list[str], line: str) -> None:
    done = tidegate(*args)
    assert done.returncode == 2
    assert said(done).startswith(line)
    assert len(done.stderr) < 500


@pytest.mark.parametrize("verb", [["show"], ["logs"], ["events", "--job"], ["list", "--batch"], ["pause"], ["resume"]])
def test_an_argument_that_is_no_text_is_refused(tidegate: Tidegate, verb: list[str]) -> None:
    night(tidegate.state)
    done = subprocess.run(
        [sys.executable, "-m", "tidegate", *verb, b"\xff\xfe"],
        env=tidegate.environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "is not UTF-8" in said(done)


# --- where ---


def test_the_state_directory_is_named_before_or_after_the_verb(tidegate: Tidegate) -> None:
    elsewhere = tidegate.place / "else where"
    Night(elsewhere).submit("b", job("a"))
    for args in (["--state-dir", str(elsewhere), "list"], ["list", "--state-dir", str(elsewhere)]):
        assert "\n1   a " in tidegate(*args).stdout
    assert tidegate("list").stdout == ""


def test_a_state_directory_that_cannot_be_read_is_one_line(tidegate: Tidegate) -> None:
    tidegate.state.mkdir()
    (tidegate.state / "tidegate.db").write_text("no database, " * 1000)
    done = tidegate("status")
    assert done.returncode == 5
    assert str(tidegate.state) in said(done)
    (tidegate.place / "file").touch()
    done = tidegate("--state-dir", str(tidegate.place / "file"), "pause")
    assert done.returncode == 5
    assert "file" in said(done)


# --- streams ---


def test_a_reader_that_leaves_early_ends_the_program_in_silence(tidegate: Tidegate) -> None:
    Night(tidegate.state).submit("b", *[job(f"job-with-a-long-name-{n}") for n in range(3000)])
    command = [sys.executable, "-m", "tidegate", "list", "--all"]
    process = subprocess.Popen(
        command, env=tidegate.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stderr
    assert process.stdout.readline().startswith("NO ")
    process.stdout.close()
    assert process.wait(20) == 141
    assert process.stderr.read() == ""
    process.stderr.close()


@pytest.mark.parametrize("verb", [["status"], ["list", "--json"], ["logs", "train/4"]])
def test_a_full_disk_behind_standard_output_is_one_line(tidegate: Tidegate, verb: list[str]) -> None:
    night(tidegate.state)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tidegate", *verb],
            env=tidegate.environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr) == (5, "tidegate: No space left on device\n")


@pytest.mark.parametrize("redirect", [">&- </dev/null", "2>&- </dev/null", ">&- 2>&- <&-", "<&-"])
def test_closed_standard_streams_break_nothing(tidegate: Tidegate, redirect: str) -> None:
    night(tidegate.state)
    for verb in ("status", "logs train/4", "pause", "show nope", "explain"):
        script = f'"{sys.executable}" -m tidegate {verb} {redirect}'
        done = subprocess.run(["sh", "-c", script], env=tidegate.environment(), capture_output=True, text=True)
        assert done.returncode == (2 if "nope" in verb else 0), (verb, done.stderr)
        assert "Traceback" not in done.stderr
    assert (tidegate.state / "tidegate.db").read_bytes().startswith(b"SQLite format 3\0")


@pytest.mark.parametrize(
    "locale",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
    ],
)
def test_a_locale_without_the_letters_escapes_them(tidegate: Tidegate, locale: dict[str, str]) -> None:
    night(tidegate.state)
    tidegate.env |= locale
    for verb in (["status"], ["list"], ["show", "nightly:train/0"], ["events"], ["status", "--json"]):
        done = tidegate(*verb)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", [("events", "-f"), ("logs", "-f", "train/4")])
def test_an_interrupted_follower_leaves_without_a_word(tidegate: Tidegate, verb: tuple[str, ...]) -> None:
    night(tidegate.state)
    follower = tidegate.start(*verb)
    heard = tidegate.place / "started.0"
    until(heard.read_text)
    before = heard.read_text()
    follower.send_signal(signal.SIGINT)
    assert follower.wait(20) == 130
    assert heard.read_text().startswith(before)
    assert "Traceback" not in heard.read_text()


# --- plan and config ---


def test_plan_prints_the_jobs_and_runs_nothing(tidegate: Tidegate) -> None:
    batch = tidegate.batch('[[job]]\nid = "a b"\ncommand = ["touch", "ran"]\n', "a batch.toml")
    done = tidegate("plan", batch)
    assert done.returncode == 0, done.stderr
    assert tidegate("plan", "-", stdin=done.stdout).stdout == done.stdout, (
        "what it prints is a batch that means the same"
    )
    assert not (tidegate.place / "ran").exists()
    assert not tidegate.state.exists()


def test_a_bad_batch_is_one_line_and_exit_code_2(tidegate: Tidegate) -> None:
    done = tidegate("plan", tidegate.batch('[[job]]\nid = "a"\ncomand = ["true"]\n'))
    assert done.returncode == 2
    assert "batch.toml" in said(done)
    assert "comand" in done.stderr
    assert "command" in done.stderr


def test_config_tells_each_setting_and_where_it_came_from(tidegate: Tidegate) -> None:
    tidegate.env["TIDEGATE_SUPERVISOR__SLOTS"] = "7"
    lines = tidegate("config").stdout.splitlines()
    assert re.match(r"supervisor\.slots +TIDEGATE_SUPERVISOR__SLOTS +7$", lines[0])
    assert re.match(r"supervisor\.grace +default +10$", lines[1])
    (told,) = tidegate.lines("config")
    assert told["supervisor.slots"] == {"value": 7, "origin": "TIDEGATE_SUPERVISOR__SLOTS"}


def test_a_bad_setting_is_one_line_and_exit_code_2(tidegate: Tidegate) -> None:
    (tidegate.place / "c.toml").write_text("[supervisor]\nslots = 0\n")
    done = tidegate("config", "--config", "c.toml")
    assert done.returncode == 2
    assert re.search(r"c\.toml.*slots.*1", said(done))


# --- explain ---

LIMITED = "You've hit your limit · resets 4pm (America/Los_Angeles)"
WHEN = ("--now", "2026-01-09T18:30:00Z", "--tz", "UTC")


def test_explain_tells_a_limit_and_its_reset(tidegate: Tidegate) -> None:
    args = ("explain", "--agent", "claude", "--stream", "stdout", "--exit", "1", *WHEN)
    told = json.loads(tidegate(*args, "--json", stdin=f"{LIMITED}\n").stdout)
    assert (told["kind"], told["action"], told["evidence"]) == ("usage_limit", "hold", LIMITED)
    assert datetime.fromisoformat(told["resets_at"]) == datetime(2026, 1, 10, tzinfo=UTC)
    assert {"sure", "final", "window"} <= told.keys()
    tidegate.env["TZ"] = "America/Los_Angeles"
    assert re.search(r"^resets +16:00:00 \(in 5 h 30 min\)$", tidegate(*args, stdin=LIMITED).stdout, re.MULTILINE)


def test_explain_knows_the_agents_of_the_configuration(tidegate: Tidegate) -> None:
    table = '[agents.mine]\nstart = ["mine", "{prompt}"]\nlimits = [{ pattern = "no more tokens today" }]\n'
    (tidegate.place / "c.toml").write_text(table)
    args = ("explain", "--config", "c.toml", "--agent", "mine", "--json")
    told = json.loads(tidegate(*args, stdin="no more tokens today\n").stdout)
    assert told["kind"] == "usage_limit"
    batch = tidegate.batch('[[job]]\nid = "a"\nagent = "mine"\nprompt = "x"\n')
    assert json.loads(tidegate("plan", batch, "--config", "c.toml").stdout)["agent"] == "mine"


def test_explain_says_so_where_it_does_not_know_the_agent(tidegate: Tidegate) -> None:
    done = tidegate("explain", "--agent", "cluade", stdin="hello\n")
    assert done.stdout == "no limit; outcome: failed\n"
    assert done.stderr == "tidegate: no agent cluade is known: read as a program; did you mean claude?\n"
    assert tidegate("explain", "--agent", "claude-code", stdin="hello\n").stderr == ""


def test_explain_of_a_success_that_talks_of_limits_is_none(tidegate: Tidegate) -> None:
    done = tidegate("explain", "--agent", "command", "--exit", "0", stdin=f"I wrote: {LIMITED}\n")
    assert done.stdout == "no limit; outcome: succeeded\n"


def test_explain_answers_each_line_of_many(tidegate: Tidegate) -> None:
    lines = [
        {"text": LIMITED, "agent": "claude", "stream": "stdout", "exit": 1, "now": "2026-01-09T18:30:00Z", "tz": "UTC"},
        {"text": "fine", "agent": "command", "exit": 0, "tz": None, "id": "other keys are let be"},
        {"text": LIMITED, "agent": "command", "stream": "stderr", "exit": -1, "now": 1767983400},
    ]
    done = tidegate("explain", "--jsonl", stdin="\n".join(map(json.dumps, lines)))
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["kind"] for one in told] == ["usage_limit", "none", "usage_limit"]
    assert told[0]["resets_at"] == told[2]["resets_at"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "stdin: line 2, column 2: not JSON: "),
        ("[]", "stdin: line 2: must be an object with text, agent, "),
        ("{}", "stdin: line 2 text: must be text, not null"),
        ('{"text": "x", "stream": "both"}', 'stdin: line 2 stream: must be "stdout" or "stderr", not '),
        ('{"text": "x", "exit": "one"}', "stdin: line 2 exit: must be 0 to 255, "),
        ('{"text": "x", "exit": true}', "stdin: line 2 exit: must be 0 to 255, "),
        ('{"text": "x", "now": "noon"}', "stdin: line 2 now: must be a time like 2026-01-09T18:30:00Z, not 'noon'"),
        ('{"text": "x", "now": 1e300}', "stdin: line 2 now: must be a time like "),
        ('{"text": "x", "tz": "Mars/Olympus"}', "stdin: line 2 tz: must be a zone like Europe/Berlin, not "),
        ('{"text": "x", "tz": "../../etc/passwd"}', "stdin: line 2 tz: must be a zone like "),
        ("[" * 100_000, "stdin: line 2: not JSON: "),
        (r'{"text": "\ud800"}', ""),
    ],
)
def test_a_line_that_cannot_be_explained_is_named(tidegate: Tidegate, line: str, words: str) -> None:
    done = tidegate("explain", "--jsonl", stdin=f'{{"text": "x"}}\n{line}\n')
    assert len(done.stdout.splitlines()) == (1 if words else 2), "what comes before is answered"
    assert done.returncode == (2 if words else 0), done.stderr
    assert done.stderr.startswith(f"tidegate: {words}" if words else "")
    assert done.stderr.count("\n") == bool(words)


@pytest.mark.parametrize("flag", [("--now", "x"), ("--tz", "x/y"), ("--exit", "256"), ("--exit", "٣")])
def test_a_flag_of_explain_that_is_wrong_is_named(tidegate: Tidegate, flag: tuple[str, str]) -> None:
    done = tidegate("explain", *flag)
    assert done.returncode == 2
    assert said(done).startswith(f"tidegate: {flag[0]}: must be ")


# --- the cost of a look ---


LOOKS = [["status"], ["list"], ["show", "train/4"], ["accounts"], ["wait", "train/1"], ["cancel", "1-9"], ["--version"]]


@pytest.mark.parametrize("verb", LOOKS)
def test_a_look_imports_neither_a_loop_nor_the_settings(tidegate: Tidegate, verb: list[str]) -> None:
    night(tidegate.state)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tidegate", *verb],
        env=tidegate.environment(),
        capture_output=True,
        text=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "tidegate.cli" in imported
    assert not imported & {"asyncio", "anyio", "pydantic", "structlog", "subprocess", "shutil", "socket"}
