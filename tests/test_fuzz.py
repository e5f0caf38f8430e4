"""Whatever is typed, set or written: one clear line, the right exit code, and nothing outside of the state.

The cases come from the tables of the program itself (its verbs, its settings, the keys of a batch), so that what is
added to them is tried without being listed here. A quick run tries a part of the values, another one for each argument;
a run with -m '' tries more of them, each with many arguments, and a campaign (see `effort`) all.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import effort
import pytest
from filled import RULES, Night, job
from fuzzing import Case, Told, run, state
from installed import Tidegate, until
from pydantic import BaseModel

from tidegate import batch, places, settings
from tidegate.agents.table import KEYS
from tidegate.batch.tables import SHAPES
from tidegate.cli.parser import parser_of
from tidegate.cli.verbs import VERBS
from tidegate.model import Batch, NewJob, Spec, Succeeded
from tidegate.settings import Settings

OK = {0, 1, 2, 5, 6, 75, 124}  # the exit codes that README.md explains for a command that nobody interrupts
GROUPS = 3  # of verbs, each tried by a process of its own
PART = 11  # a quick run tries every eleventh value
MORE = effort.of(3, 1)  # a whole one every third, a campaign each
PRINTS = {"\n", "\t"}

# What each may be taken for: a new line of a log, a command of a terminal, a number, a path, a flag, code.
HOSTILE = (
    "x\n2026-01-01 00:00:00 !! forged",
    '{"event": "forged"}\n',
    "x\rforged",
    "\x1b[2J\x1b]0;forged\x07\x1b[31m",
    "\x9b31mforged\x85forged",
    "\u202eforged\u2066\u2028forged\u200b",
    "\x07\x7f\x01",
    "\udcff\udc80",
    "9" * 400,
    "99999999999999999999",
    "18446744073709551616",
    "9223372036854775807",
    "-1",
    "-99999999999999999999",
    "0",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "1e-400",
    "0x10",
    "1_0",
    "٣",
    "",
    " ",
    "x" * 100_000,
    "é" * 1001,
    "../../../../etc/passwd",
    "/etc/passwd",
    "/proc/self/mem",
    "/dev/null/x",
    "a/../../b",
    ".",
    "..",
    "~root",
    "--json",
    "--",
    "-",
    "-rf",
    "%s%n%(x)s{0}{x!r}",
    "*",
    "[",
    "'; DROP TABLE job; --",
    "$(touch forged)`touch forged`",
    ":",
    "::::",
    "#",
    "#0",
    "#-1",
    "#99999999999999999999",
    "1-99999999999999999999",
    "9-1",
    "1..",
    "job:",
    "batch:",
    "host:",
    "account/",
    "/",
    "=",
    "A=B\nC=D",
    "=x",
    "99999999999999d",
    "25:99",
    "0000-00-00T00:00:00",
    "9999-12-31T23:59:59+14:00",
    "tomorrow tomorrow",
    "mon-sun 24:00-00:00 Nowhere/City",
    "[" * 10_000,
    "{" * 10_000,
)
FORGED, FORGED_WHOLE = (
    ("forged", "2026-01-01 00:00:00 !!"),
    '{"event": "forged"}',
)  # beginnings of lines, and a whole one
WRITE_THERE = {"init", "backup", "report"}  # into the present directory, or where the argument says
# What an argument gets that is required and not the one that is tried: something that ends at once.
BENIGN = {"FILE": "none.toml", "N": "1", "TIME": "2h", "SCOPE": "batch:b", "BATCH": "b", "ACCOUNT": "command"}


def part(values: Sequence[Any], turn: int, *, whole: bool) -> Sequence[Any]:
    """Another part of the values for each turn."""
    step = MORE if whole else PART
    return values[turn % step :: step]


def check(told: Told) -> list[str]:
    """What is wrong with how a case was met."""
    faults = []
    if told.code not in OK:
        faults.append(f"exit code {told.code}")
    if "Traceback" in told.stderr:
        faults.append("a traceback")
    if told.code == 2 and (told.stderr.count("\n") != 1 or not told.stderr.endswith("\n")):
        faults.append(f"{told.stderr.count(chr(10))} lines")
    if told.code == 2 and told.stdout:
        faults.append("something on stdout")
    for name, text in (("stdout", told.stdout), ("stderr", told.stderr)):
        if odd := {one for one in text if not one.isprintable()} - PRINTS:
            faults.append(f"{odd} on {name}")
        if any(line.startswith(FORGED) or line == FORGED_WHOLE for line in text.split("\n")):
            faults.append(f"a forged line on {name}")
    if len(told.stderr) > 5000:
        faults.append(f"{len(told.stderr)} characters on stderr")
    if told.outside and told.case.argv[0] not in WRITE_THERE:
        faults.append(f"left behind: {told.outside}")
    return faults


def met_well(tolds: Sequence[Told]) -> None:
    """Raises AssertionError with what was not met well."""
    bad = [
        f"{told.case}\n    {', '.join(faults)}\n    {told.stderr[-600:]!r}" for told in tolds if (faults := check(told))
    ]
    assert not bad, f"{len(bad)} of {len(tolds)}:\n" + "\n".join(bad[:40])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A place with a state: jobs that ended and one that waits; its lock is taken, so that nobody works there."""
    made = Night(state(tmp_path))
    made.submit("b", job("a"), job("waits"))
    made.enter()
    ((_, attempt),) = made.claim()
    made.output(attempt, b"one line\n")
    made.store.finish(attempt, Succeeded("done"), made.now, exit=0, rules=RULES)
    made.store.close()
    with places.lock(made.state).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield tmp_path


@pytest.fixture(params=["quick", pytest.param("all", marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def whole(request: pytest.FixtureRequest) -> bool:
    """Whether most are tried."""
    if request.param == "quick" and not request.config.option.markexpr:
        pytest.skip("more of them are tried in this run")
    return bool(request.param == "all")


# --- arguments ---------------------------------------------------------------------------------


def arguments(verb: str) -> Iterator[tuple[argparse.Action, list[str]]]:
    """Each argument of a verb that takes a value, and the rest of a command line in which it can be tried."""
    actions = parser_of(verb, VERBS[verb])._actions
    for action in actions:
        if action.nargs != 0:
            yield action, [word for one in actions if one is not action for word in needed(verb, one)]


def needed(verb: str, action: argparse.Action) -> list[str]:
    """What an argument must be given where it is not the one that is tried; no command may take long."""
    if "--timeout" in action.option_strings:
        return ["--timeout=1"]
    if not action.required:
        return []
    some = "waits" if verb == "edit" else "a"
    value = next(iter(action.choices)) if action.choices else BENIGN.get(str(action.metavar), some)
    return [*action.option_strings[-1:], value]


def tried(verb: str, action: argparse.Action, rest: list[str], value: str) -> Case:
    command = ["--", "true"] if VERBS[verb].command else []
    if action.option_strings:
        return Case((verb, f"{action.option_strings[-1]}={value}", *rest, *command))
    if command and not action.required:
        return Case((verb, "--agent=claude", *rest, value))
    return Case((verb, *rest, value, *command))


def commands(verb: str, values: Sequence[str]) -> Iterator[Case]:
    """The command lines of a verb that takes a whole command, and has a value in it."""
    if VERBS[verb].command:
        rest = [word for one in parser_of(verb, VERBS[verb])._actions for word in needed(verb, one)]
        for value in values:
            yield Case((verb, *rest, "--", value))
            yield Case((verb, *rest, "--", "true", value))


@pytest.mark.parametrize("group", range(GROUPS))
def test_every_argument_of_every_verb_is_met_with_one_clear_line(group: int, place: Path, whole: bool) -> None:
    cases: list[Case] = []
    for verb in [*VERBS][group::GROUPS]:
        for action, rest in arguments(verb):
            values = part(HOSTILE, len(cases), whole=whole)
            if action.dest == "state_dir":
                values = [one for one in values if not is_a_place(one)]
            cases += [tried(verb, action, rest, value) for value in values]
        cases += commands(verb, part(HOSTILE, len(cases), whole=whole))
    cases = [case for case in cases if case.argv != ("backup", "-")]  # which prints the backup, and no text
    met_well(run(cases, place))


def is_a_place(value: str) -> bool:
    """Whether a directory of that name could be made: then it is the state directory, as it was asked for."""
    return not value.startswith(("/proc/", "/dev/null/", "/etc/passwd")) and len(value) < 4096 and "\0" not in value


def test_a_state_directory_of_any_name_holds_all_that_is_written(place: Path, whole: bool) -> None:
    values = [one for one in part(HOSTILE, 1, whole=whole) if is_a_place(one) and not one.startswith(("/", "..", "~"))]
    tolds = run([Case(("pause", f"--state-dir=s{value}")) for value in values if ".." not in value], place)
    for told in tolds:
        assert all("home/below/s" in one for one in told.outside), told
        assert not [fault for fault in check(told) if not fault.startswith("left behind")], told


SHOWN = (
    ("pause", "--reason={}", "batch:b"),
    ("submit", "--agent=claude", "x{}"),
    ("submit", "--", "true", "{}"),
    ("submit", "--", "./{}"),
    *(
        ("submit", f"--{flag}", "--", "true")
        for flag in ("name={}", "group={}", "batch=x{}", "label=l={}", "label={}=l")
    ),
    *(("submit", f"--{flag}={{}}", "--", "true") for flag in ("name", "group", "cwd", "account", "label=l", "env=A")),
    *(("submit", flag, "--", "true") for flag in ("--batch=x{}", "--label={}=l", "--env=TOKEN={}")),
)


def test_what_was_accepted_forges_nothing_where_it_is_shown(place: Path, whole: bool) -> None:
    made = [
        Case(tuple(word.replace("{}", value) for word in argv))
        for turn, argv in enumerate(SHOWN)
        for value in part([one for one in HOSTILE if len(one) < 2000], turn, whole=whole)
    ]
    tolds = run([*made, Case(("list", "--json", "--all"))], place)
    met_well(tolds)
    numbers = [str(json.loads(line)["number"]) for line in tolds[-1].stdout.splitlines()]
    assert len(numbers) > len(made) / 3
    looks = [("status",), ("list", "--all"), ("events",), ("accounts",), ("show", *numbers)]
    tolds = run([Case((*look, *more)) for look in looks for more in ((), ("--json",))], place)
    met_well(tolds)
    for told in tolds:
        assert told.code == 0, told
        if "--json" in told.case.argv:
            assert all(isinstance(json.loads(line), dict) for line in told.stdout.splitlines())


@pytest.mark.parametrize(
    "args", [["stauts"], [""], ["\x1b[2J"], ["--\n"], ["-h\n"], ["--state-dir"], ["list", "--"], []]
)
def test_what_is_no_verb_is_met_likewise(place: Path, args: list[str]) -> None:
    met_well(run([Case(tuple(args))], place))


# --- settings ----------------------------------------------------------------------------------

TOML = (
    '"a\\nforged"',
    '"\\u001b[2J\\u0007"',
    '"\\u0000"',
    '"\\u202e"',
    '""',
    '" "',
    '"../../../../etc/passwd"',
    '"--json"',
    '"%s{0}"',
    '"("',
    '"none"',
    f'"{"x" * 100_000}"',
    f'"{"9" * 400}"',
    '"99999999999999d"',
    "9" * 400,
    "9" * 5000,
    "9223372036854775807",
    "-1",
    "0",
    "-0.0",
    "1e400",
    "nan",
    "-inf",
    "true",
    "[]",
    '["\\n"]',
    "[[[]]]",
    "[1]",
    "{}",
    '{"a\\nb" = "\\u0000"}',
    "{a.b.c = 1}",
    "1979-05-27T07:32:00Z",
    "07:32:00",
)
NAMES = ('"a\\nforged"', '"../../etc/passwd"', '"--json"', '""', '"\\u001b[2J"', "x" * 5000, '"*"', '"a/b"', '"job:1"')


def setting_keys() -> Iterator[tuple[str, str]]:
    """Each key of the configuration, with the table it is in."""
    for table, field in Settings.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            for key in settings._fields(inner):
                yield table, key
        for key in {**dict.fromkeys(settings.NAMED.get(table, ())), **(KEYS if table == "agents" else {})}:
            yield f"{table}.x", key
        yield "", table


def toml_of(table: str, key: str, value: str) -> str:
    return f"[{table}]\n{key} = {value}\n" if table else f"{key} = {value}\n"


def test_every_key_of_the_configuration_is_met_with_one_clear_line(place: Path, whole: bool) -> None:
    texts = []
    for turn, (table, key) in enumerate(setting_keys()):
        texts += [toml_of(table, key, value) for value in part(TOML, turn, whole=whole)]
    for name in NAMES:
        texts += [f"{name} = 1\n", f"[{name}]\n", f"[accounts.{name}]\n", f"[agents.{name}]\nstart=['x']\n"]
        texts += [f"[supervisor]\n{name} = 1\n", f"[environment]\nset = {{{name} = 'x'}}\n"]
    verbs = (["config"], ["config", "--json"], ["plan", "b.jsonl"])
    files = {"b.jsonl": '{"id": "a", "command": ["true"]}\n'}
    tolds = run(
        [
            Case((*verbs[turn % 3], "--config=c.toml"), files={**files, "c.toml": text})
            for turn, text in enumerate(texts)
        ],
        place,
    )
    met_well(tolds)
    for told in tolds:
        assert told.code in (0, 2), told
        assert told.code == 0 or "c.toml" in told.stderr, told


def variable_names() -> list[str]:
    names = [f"TIDEGATE_{one}" for one in settings.NO_SETTINGS]
    names += [f"TIDEGATE_{table}__{key}".upper().replace(".", "__") for table, key in setting_keys() if table]
    return [*names, "TIDEGATE_\n", "TIDEGATE_\x1b[2J", "TIDEGATE_", "TIDEGATE___", "TIDEGATE_ACCOUNTS__\n__AGENT"]


def test_every_variable_is_met_with_one_clear_line(place: Path, whole: bool) -> None:
    cases = []
    for turn, name in enumerate(variable_names()):
        values = part([value for value in HOSTILE if value], turn, whole=whole)
        if name == "TIDEGATE_STATE_DIR":
            values = [value for value in values if not is_a_place(value)]
        cases += [Case(("config", "--json"), env={name: value}) for value in values]
        cases += [Case(("list",), env={name: value}) for value in values[:1]]
    met_well(run(cases, place))


@pytest.mark.parametrize(
    "name", ["COLUMNS", "TZ", "LANG", "TERM", "NO_COLOR", "HOME", "XDG_STATE_HOME", "JOURNAL_STREAM"]
)
def test_the_variables_of_other_programs_are_met_likewise(name: str, place: Path) -> None:
    met_well(run([Case(("status",), env={name: value}) for value in HOSTILE], place))


# --- batches -----------------------------------------------------------------------------------

JSON: tuple[object, ...] = (
    "a\nforged",
    "\x1b[2J\x07",
    "\x00",
    "\ud800",
    "\u202e",
    "",
    " ",
    "../../../../etc/passwd",
    "--json",
    "x" * 200_000,
    10**400,
    10**20,
    -1,
    0,
    -0.5,
    1e308,
    float("nan"),
    float("-inf"),
    True,
    None,
    [],
    ["\n"],
    [[[]]],
    ["\x00"],
    {},
    {"a\nb": "c"},
    {"A": 1},
    {"": ""},
    {"PATH": "\ud800"},
)
TABLES = {"batch": batch.BATCH, "accounts": batch.ACCOUNT, "defaults": batch.DEFAULTS, "job": batch.JOB}


def record(table: str, key: str, value: object) -> str:
    """A JSONL batch in which a key of a table has a value."""
    plain = {"id": "a", "command": ["true"]}
    match table:
        case "job":
            return json.dumps({**plain, key: value}) + "\n"
        case "accounts":
            return json.dumps({"accounts": {"x": {key: value}}}) + "\n" + json.dumps(plain) + "\n"
        case _:
            return json.dumps({table: {key: value}}) + "\n" + json.dumps(plain) + "\n"


def test_every_key_of_a_batch_is_met_with_one_clear_line(place: Path, whole: bool) -> None:
    texts, names = [], ["a\nforged", "\x1b[2J", "", "\ud800", "../x", "--json", "x" * 5000]
    for turn, (table, key) in enumerate((table, key) for table, keys in TABLES.items() for key in keys):
        texts += [record(table, key, value) for value in part(JSON, turn, whole=whole)]
    for table in TABLES:
        texts += [record(table, name, "x") for name in names]
        texts += [json.dumps({table: value}) + "\n" for value in part(JSON, 3, whole=whole)]
    texts += [json.dumps({"id": "a", "timeout": 0}).replace("0", "9" * 5000)]
    texts += ["[" * 100_000, "{}\n", "\x00", "null\n", '{"id": "a"\n', "\ud800", '{"id": "a", "id": "b"}\n']
    tolds = run([Case(("plan", "-"), stdin=text) for text in texts], place)
    met_well(tolds)
    assert {told.code for told in tolds} == {0, 2}


def test_every_key_of_a_batch_in_toml_is_met_with_one_clear_line(place: Path, whole: bool) -> None:
    texts = []
    for turn, (table, key) in enumerate((table, key) for table, keys in TABLES.items() for key in keys):
        head = {"job": "[[job]]", "accounts": "[accounts.x]"}.get(table, f"[{table}]")
        tail = "" if table == "job" else '\n[[job]]\nid = "a"\ncommand = ["true"]\n'
        plain = '\ncommand = ["true"]' if table == "job" and key != "command" else ""
        texts += [f"{head}\n{key} = {value}{plain}{tail}" for value in part(TOML, turn, whole=whole)]
    tolds = run([Case(("plan", "b.toml"), files={"b.toml": text}) for text in texts], place)
    met_well(tolds)
    for told in tolds:
        assert told.code == 0 or "b.toml" in told.stderr, told


@pytest.mark.slow
def test_every_key_of_a_group_is_met_with_one_clear_line(place: Path, whole: bool) -> None:
    texts = []
    for turn, key in enumerate((*batch.JOB, *SHAPES, "foreach.csv", "foreach.command", "matrix.a", "matrix.include")):
        plain = '\ncommand = ["true"]' if key not in ("command", "job") else ""
        texts += [f"[groups.x]\n{key} = {value}{plain}\n" for value in part(TOML, turn, whole=whole)]
    tolds = run([Case(("plan", "b.toml"), files={"b.toml": text}) for text in texts], place)
    met_well(tolds)
    for told in tolds:
        assert told.code == 0 or "b.toml" in told.stderr, told


def test_every_key_of_a_question_to_explain_is_met_with_one_clear_line(place: Path) -> None:
    keys = ("text", "agent", "stream", "exit", "now", "tz", "a\nforged")
    cases = [Case(("explain", "--jsonl"), stdin=json.dumps({key: value}) + "\n") for key in keys for value in JSON]
    met_well(run(cases, place))


# --- the program itself --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv", [["show", b"\xff"], ["list", b"--batch=\xc3("], [b"\x80"], ["config", b"--config=\xfe"], ["pause", b"a\nb"]]
)
def test_bytes_that_are_no_text_are_one_clear_line(tidegate: Tidegate, argv: list[str | bytes]) -> None:
    Night(tidegate.state).submit("b", job("a"))
    done = subprocess.run(
        [sys.executable, "-m", "tidegate", *argv], env=tidegate.environment(), cwd=tidegate.place, capture_output=True
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.count(b"\n") == 1
    assert done.stderr.decode().strip().isprintable()


FORGING = 'x\n{"event": "forged"}\n12:00:00 !! forged\r\x1b[2K<3>forged \u2028" event="forged" job=y'


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize("verb", ["serve", "run"])
def test_no_name_can_forge_a_line_of_the_log(tidegate: Tidegate, form: str, verb: str) -> None:
    made = Night(tidegate.state)
    spec = Spec(command=("sh", "-c", f"printf '%s' '{FORGING}' >&2; exit 1"), max_attempts=1, cwd=FORGING)
    made.store.submit(Batch(FORGING), [NewJob(name=FORGING, account=FORGING, spec=spec)], datetime.now(UTC))
    fails = {"id": "fails", "command": ["sh", "-c", f"printf '%s' '{FORGING}' >&2; exit 1"], "max_attempts": 1}
    (tidegate.place / "b.jsonl").write_text(json.dumps(fails) + "\n")
    process = tidegate.start(verb, *(["b.jsonl"] if verb == "run" else []), "--log-format", form)
    log = tidegate.place / "started.0"
    ended = "attempt ended" if verb == "run" else "not a directory"
    until(lambda: ended in log.read_text() or "no such directory" in log.read_text() or process.poll() is not None)
    process.terminate()
    process.wait(20)
    lines = log.read_text().split("\n")
    assert not [
        line for line in lines if line.lstrip("<3> ").startswith(("forged", '{"event": "forged"', "12:00:00 !!"))
    ]
    assert all(line.isprintable() for line in lines)
    if form == "json":
        told = [json.loads(line) for line in lines if line.startswith("{")]
        assert told
        assert "forged" not in {line["event"] for line in told}
