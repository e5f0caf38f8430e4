"""The settings: where they come from, what they may be, and the one line that says what is wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest

from tidegate import places, settings
from tidegate.batch import Declared
from tidegate.errors import BadSetting
from tidegate.model import Window
from tidegate.policy import Rules
from tidegate.settings import Flag, Loaded

CONFIG = Path(__file__).parents[1] / "config.toml"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory, and a machine without a configuration of its own."""
    monkeypatch.setattr(places, "MACHINE_CONFIG", tmp_path / "etc" / "config.toml")
    return tmp_path / "home"


def write(path: Path, text: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def load(config: object = "/dev/null", environ: Mapping[str, str] | None = None, *flags: Flag) -> Loaded:
    return settings.load(str(config), environ or {}, flags)


def refused(config: object = "/dev/null", environ: Mapping[str, str] | None = None, *flags: Flag) -> str:
    with pytest.raises(BadSetting) as bad:
        load(config, environ, *flags)
    assert str(bad.value).isprintable()
    return str(bad.value)


def values(loaded: Loaded) -> dict[str, object]:
    return {row.key: row.value for row in settings.effective(loaded)}


def origins(loaded: Loaded) -> dict[str, str]:
    return {row.key: row.origin for row in settings.effective(loaded)}


# --- config.toml -------------------------------------------------------------------------------


def test_the_shipped_configuration_says_the_defaults_key_by_key() -> None:
    written, embedded = values(load(CONFIG)), values(load())
    for key, value in embedded.items():
        assert written[key] == value, key
    assert written.keys() == embedded.keys()


def test_the_shipped_configuration_says_every_key() -> None:
    named = set(settings.NAMED)
    silent = {key for key, origin in origins(load(CONFIG)).items() if origin != str(CONFIG)} - named
    assert not silent


def test_every_key_of_the_shipped_configuration_has_a_comment() -> None:
    lines = CONFIG.read_text().splitlines()
    keys = [(at, line) for at, line in enumerate(lines) if re.match(r"#?[a-z_]+ = ", line)]
    bare = [line for at, line in keys if "# " not in line.lstrip("#") and not lines[at - 1].startswith("# ")]
    assert not bare
    assert len(keys) > 20


def test_the_examples_of_the_shipped_configuration_are_good_and_show_every_key(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^#(?=\S)", "", CONFIG.read_text())
    told = load(write(tmp_path / "c.toml", text)).settings
    assert {key for account in told.accounts.values() for key in account.model_fields_set} == set(
        settings.AccountTable.model_fields
    )
    (agent,) = settings.agents(told)
    assert told.agents["mycli"].keys() == {field.name for field in fields(agent)} - {"name"}
    assert told.agents["mycli"]["limits"][0].keys() == {field.name for field in fields(agent.limits[0])}


def test_the_decisions_own_defaults_are_the_embedded_ones() -> None:
    assert settings.rules(load().settings) == Rules()


def test_every_rule_can_be_set(tmp_path: Path) -> None:
    text = """
        [supervisor]
        max_limited = 101
        max_lost = 102
        [limits]
        margin_exact = 103
        margin_printed = 104
        jitter = 105
        unknown_first = 106
        unknown_most = 107
        rate_first = 108
        rate_most = 109
        recent = 110
        [retry]
        first = 111
        most = 112
    """
    told = settings.rules(load(write(tmp_path / "c.toml", text)).settings)
    assert told == Rules(
        max_limited=101,
        max_lost=102,
        margin_exact=103,
        margin_printed=104,
        spread=105,
        unknown_first=106,
        unknown_most=107,
        rate_first=108,
        rate_most=109,
        recent=110,
        retry_first=111,
        retry_most=112,
    )


# --- where settings come from ------------------------------------------------------------------


def test_long_names_with_one_beginning_are_told_apart(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    names = [f"account-of-a-colleague-with-a-very-long-name-{n}" for n in range(2)]
    config.write_text("".join(f"[accounts.{name}]\nconcurrency = {n + 1}\n" for n, name in enumerate(names)))
    told = {row.key: row.value for row in settings.effective(settings.load(str(config), {}))}
    assert [told[f"accounts.{name}.concurrency"] for name in names] == [1, 2]


def test_a_flag_wins_over_a_variable_over_the_persons_file_over_the_machines_over_the_default(home: Path) -> None:
    machine = write(places.MACHINE_CONFIG, "[supervisor]\nslots = 10\ngrace = 10.5\nmax_lost = 10\n[retry]\nfirst = 10")
    person = write(home / ".config/tidegate/config.toml", "[supervisor]\nslots = 20\ngrace = 20.5\nmax_lost = 20")
    environ = {"HOME": str(home), "TIDEGATE_SUPERVISOR__SLOTS": "30", "TIDEGATE_SUPERVISOR__GRACE": "30s"}
    loaded = settings.load(None, environ, [Flag("--slots", "supervisor.slots", "40")])
    told = {row.key: (row.value, row.origin) for row in settings.effective(loaded)}
    assert told["supervisor.slots"] == (40, "--slots")
    assert told["supervisor.grace"] == (30, "TIDEGATE_SUPERVISOR__GRACE")
    assert told["supervisor.max_lost"] == (20, person)
    assert told["retry.first"] == (10, machine)
    assert told["retry.most"] == (600, "default")


def test_a_file_that_is_named_is_the_only_one(home: Path, tmp_path: Path) -> None:
    write(home / ".config/tidegate/config.toml", "[supervisor]\nslots = 20")
    named = write(tmp_path / "named.toml", "[retry]\nfirst = 1")
    for config, environ in ((named, {}), (None, {"TIDEGATE_CONFIG": named})):
        loaded = settings.load(config, {"HOME": str(home), **environ})
        assert loaded.settings.supervisor.slots == 4
        assert loaded.settings.retry.first == 1


def test_no_file_at_all_is_no_mistake(home: Path) -> None:
    assert values(settings.load(None, {"HOME": str(home)})) == values(load())


def test_the_processes_real_environment_is_read(tmp_path: Path) -> None:
    program = """if True:
        import os
        from tidegate import settings
        loaded = settings.load(None, os.environ)
        print([row.value for row in settings.effective(loaded) if row.origin.startswith("TIDEGATE_")])
        print(*loaded.warnings)
    """
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TIDEGATE_SUPERVISOR__SLOTS": "7",
        "TIDEGATE_LOG__LEVEL": "DEBUG",
        "TIDEGATE_SLOTS": "3",
    }
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "[7, 'debug']",
        "TIDEGATE_SLOTS is no setting; did you mean TIDEGATE_SUPERVISOR__SLOTS?",
    ], done.stderr


@pytest.mark.parametrize(
    ("variable", "said", "key", "value"),
    [
        ("SUPERVISOR__SLOTS", "8", "supervisor.slots", 8),
        ("RETRY__FIRST", "0.1", "retry.first", 0.1),
        ("ATTEMPT__TIMEOUT", "2h", "attempt.timeout", 7200),
        ("ATTEMPT__SILENCE", "none", "attempt.silence", "none"),
        ("LOG__FORMAT", "json", "log.format", "json"),
        ("ENVIRONMENT__PASS", '["PATH", "A,B"]', "environment.pass", ["PATH", "A,B"]),
        ("ENVIRONMENT__PASS", "PATH, HOME", "environment.pass", ["PATH", "HOME"]),
        ("ENVIRONMENT__SET", '{"A": "1"}', "environment.set.A", "1"),
        ("ENVIRONMENT__SET__Ab_C", "007", "environment.set.Ab_C", "007"),
        ("ACCOUNTS__CLAUDE__CONCURRENCY", "3", "accounts.claude.concurrency", 3),
    ],
)
def test_a_variable_may_say_any_setting(variable: str, said: str, key: str, value: object) -> None:
    loaded = load("/dev/null", {f"TIDEGATE_{variable}": said})
    assert (values(loaded)[key], origins(loaded)[key]) == (value, f"TIDEGATE_{variable}")
    assert not loaded.warnings


def test_an_empty_variable_says_nothing() -> None:
    assert load("/dev/null", {"TIDEGATE_SUPERVISOR__SLOTS": "", "TIDEGATE_NONSENSE": ""}) == load()


def test_a_variable_finds_an_account_of_the_file_whose_name_no_variable_can_hold(tmp_path: Path) -> None:
    config = write(tmp_path / "c.toml", '[accounts.claude-max]\nagent = "claude"')
    loaded = load(config, {"TIDEGATE_ACCOUNTS__CLAUDE_MAX__CONCURRENCY": "2"})
    assert settings.accounts(loaded.settings) == {
        "claude-max": Declared(agent="claude", concurrency=2, preflight="canary", admission="on")
    }


@pytest.mark.parametrize(
    ("variable", "warning"),
    [
        ("TIDEGATE_SLOTS", "TIDEGATE_SLOTS is no setting; did you mean TIDEGATE_SUPERVISOR__SLOTS?"),
        (
            "TIDEGATE_SUPERVISOR_SLOTS",
            "TIDEGATE_SUPERVISOR_SLOTS is no setting; did you mean TIDEGATE_SUPERVISOR__SLOTS?",
        ),
        ("TIDEGATE_STATEDIR", "TIDEGATE_STATEDIR is no setting; did you mean TIDEGATE_STATE_DIR?"),
        ("TIDEGATE_LOG__LEVLE", "TIDEGATE_LOG__LEVLE is no setting; did you mean TIDEGATE_LOG__LEVEL?"),
        ("TIDEGATE_ACCOUNTS__A__B", "TIDEGATE_ACCOUNTS__A__B is no setting"),
        ("TIDEGATE_", "TIDEGATE_ is no setting"),
        ("TIDEGATE_A\nB", '"TIDEGATE_A\\nB" is no setting'),
    ],
)
def test_a_variable_that_looks_like_a_setting_and_is_none_is_a_warning(variable: str, warning: str) -> None:
    loaded = load("/dev/null", {variable: "1"})
    assert loaded.warnings[0].startswith(warning)
    assert loaded.settings == load().settings


def test_variables_that_are_known_for_something_else_are_no_warning() -> None:
    names = ("STATE_DIR", "CONFIG", "ATTEMPT", "JOB", "BATCH")
    assert not settings.load("/dev/null", {f"TIDEGATE_{name}": "/x" for name in names}).warnings


# --- one line for each mistake -----------------------------------------------------------------

BAD = [
    ("supervisor = 3", "[supervisor]: must be a table, not 3"),
    ("[[supervisor]]", "[supervisor]: must be a table, not a list"),
    ("[supervisor]\nslots = 'many'", "[supervisor] slots: must be a whole number from 1 to 1000, not 'many'"),
    ("[supervisor]\nslots = '8'", "[supervisor] slots: must be a whole number from 1 to 1000, not '8'"),
    ("[supervisor]\nslots = 0", "[supervisor] slots: must be a whole number from 1 to 1000, not 0"),
    ("[supervisor]\nslots = 4.0", "[supervisor] slots: must be a whole number from 1 to 1000, not 4.0"),
    ("[supervisor]\nslots = true", "[supervisor] slots: must be a whole number from 1 to 1000, not true"),
    ("[supervisor]\ncgroups = 'on'", '[supervisor] cgroups: must be "auto" or "off", not \'on\''),
    ("[supervisor]\nslts = 4", "[supervisor] slts: unknown key; did you mean slots?"),
    (
        "[supervisor]\nx = 4",
        "[supervisor] x: unknown key; known are slots, grace, max_limited, max_lost, cgroups, pause, min_free_disk",
    ),
    ("[supervsor]\nslots = 4", "supervsor: unknown key; did you mean supervisor?"),
    (
        '"a\\nb" = 1',
        '"a\\nb": unknown key; known are ' + ", ".join(settings.Settings.model_fields),
    ),
    ("[limits]\njitter = -1", "[limits] jitter: must be 0 or more than 0 seconds, not -1"),
    ("[limits]\nunknown_first = 0", "[limits] unknown_first: must be more than 0 seconds, not 0"),
    (
        "[limits]\nunknown_most = 'x'",
        '[limits] unknown_most: must be seconds or text like "90s", "15m", "2h", not \'x\'',
    ),
    (
        "[attempt]\ntimeout = 'never'",
        '[attempt] timeout: must be seconds or text like "90s", "15m", "2h", not \'never\'; "none" for none',
    ),
    ("[retry]\nfirst = '9999d'", "[retry] first: must be at most 366 days, not '9999d'"),
    ("[environment]\npass = 'PATH'", "[environment] pass: must be a list, not 'PATH'"),
    ("[environment]\npass = ['A', 3]", '[environment] pass[1]: must be text, not 3 (write "3")'),
    ("[environment]\npassed = ['A']", "[environment] passed: unknown key; did you mean pass?"),
    ("[environment]\nset = { A = 1 }", '[environment] set.A: must be text, not 1 (write "1")'),
    (
        "[environment]\nset = { 'A B' = '1' }",
        "[environment] set.\"A B\": must be letters, digits and _ (no digit first), not 'A B'",
    ),
    (
        "[log]\nlevel = 'loud'",
        '[log] level: must be "debug" or "info" or "warning" or "error", not \'loud\'',
    ),
    ("accounts = 3", "[accounts]: must be a table, not 3"),
    ("[accounts]\nx = 3", "[accounts.x]: must be a table, not 3"),
    ("[accounts.x]\nagnt = 'a'", "[accounts.x] agnt: unknown key; did you mean agent?"),
    (
        "[accounts.x]\nconcurrency = 0",
        '[accounts.x] concurrency: must be a whole number from 1 to 10000, not 0; "none" for none',
    ),
    (
        "[accounts.x]\nstop_at = { '5h' = 0 }",
        '[accounts.x] stop_at.5h: must be a whole number from 1 to 100, not 0; "none" for none',
    ),
    (
        "[accounts.x]\nstop_at = { weak = 75 }",
        '[accounts.x] stop_at.weak: unknown key; did you mean week?; "none" for none',
    ),
    ("[accounts.x]\nstop_at = '90%'", "[accounts.x] stop_at: must be a table, not '90%'; \"none\" for none"),
    ("[accounts.x]\nstop_at = { }", '[accounts.x] stop_at: must say one of 5h, day, week, month; "none" for none'),
    (
        "[accounts.'a/b']",
        "[accounts.\"a/b\"]: its name must be letters, digits and . _ @ + - (a letter or digit first), not 'a/b'",
    ),
    ("agents = 3", "[agents]: must be a table, not 3"),
    ("[agents]\nx = 3", "[agents.x]: must be a table, not 3"),
    ("[supervisor", "line 1, column 12: not TOML: Expected ']' at the end of a table declaration"),
    ("a = 1\na = 2", "line 2, column 6: not TOML: Cannot overwrite a value"),
]


@pytest.mark.parametrize(("text", "line"), BAD)
def test_a_mistake_is_one_line_that_names_the_file_the_table_the_key_and_what_is_allowed(
    text: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("config.toml"), text)
    assert refused("config.toml") == f"config.toml: {line}"


def test_a_mistake_in_the_table_of_an_agent_names_the_file_and_the_table(tmp_path: Path) -> None:
    config = write(tmp_path / "c.toml", "[agents.mine]\nstrat = ['x']")
    assert refused(config).startswith(f"{config}: [agents.mine] strat: ")
    config = write(tmp_path / "c.toml", "[agents.mine]\nstart = ['x', '{promt}']")
    assert refused(config).startswith(f"{config}: [agents.mine] start: ")


def test_the_table_of_an_agent_may_stand_in_two_files(home: Path) -> None:
    write(places.MACHINE_CONFIG, "[agents.mine]\nstart = ['mine']\nproof = false")
    person = write(
        home / ".config/tidegate/config.toml", "[agents.mine]\nproof = true\nenv = { MY_KEY = 'x', B = 'y' }"
    )
    loaded = settings.load(None, {"HOME": str(home)})
    (agent,) = settings.agents(loaded.settings)
    assert (agent.name, agent.start, agent.proof) == ("mine", ("mine",), True)
    assert (values(loaded)["agents.mine.env.MY_KEY"], values(loaded)["agents.mine.env.B"]) == ("[redacted]", "y")
    assert origins(loaded)["agents.mine.proof"] == person


def test_a_mistake_in_a_variable_names_the_variable() -> None:
    said = "must be a whole number from 1 to 1000, not 'many'"
    assert refused("/dev/null", {"TIDEGATE_SUPERVISOR__SLOTS": "many"}) == f"TIDEGATE_SUPERVISOR__SLOTS: {said}"
    assert refused("/dev/null", {"TIDEGATE_ENVIRONMENT__PASS": "[1"}) == (
        "TIDEGATE_ENVIRONMENT__PASS: must be JSON where it begins with [, not '[1'"
    )


def test_a_mistake_in_a_flag_names_the_flag() -> None:
    said = "must be a whole number from 1 to 1000, not '0'"
    assert refused("/dev/null", {}, Flag("--slots", "supervisor.slots", "0")) == f"--slots: {said}"


def test_a_configuration_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone.toml"
    assert refused(gone) == f"{gone}: no such file"
    assert refused(tmp_path) == f"{tmp_path}: cannot read it: Is a directory"
    assert refused(write(tmp_path / "c.toml", b"[log]\nlevel = '\xff'")) == f"{tmp_path}/c.toml: line 2: not UTF-8 text"
    assert (
        refused(write(tmp_path / "c.toml", "#" * 1024 * 1025)) == f"{tmp_path}/c.toml: must be at most 1,048,576 bytes"
    )


def test_a_mistake_in_a_file_is_told_even_where_a_variable_wins(tmp_path: Path) -> None:
    config = write(tmp_path / "c.toml", "[supervisor]\nslots = 0")
    assert refused(config, {"TIDEGATE_SUPERVISOR__SLOTS": "3"}).startswith(f"{config}: [supervisor] slots:")


# --- what agents see ---------------------------------------------------------------------------


def test_agents_see_what_is_on_the_list_and_what_is_set_and_nothing_else(tmp_path: Path) -> None:
    config = write(tmp_path / "c.toml", '[environment]\nset = { MINE = "1", PATH = "/opt" }')
    environ = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "ANTHROPIC_API_KEY": "k",
        "CLAUDE_CODE_OAUTH_TOKEN": "t",
        "https_proxy": "http://proxy",
        "AWS_SECRET_ACCESS_KEY": "no",
        "GITHUB_TOKEN": "no",
        "CLAUDECODE": "no",
        "TIDEGATE_JOB": "no",
        "LD_PRELOAD": "no",
        "path": "no",
    }
    seen = settings.environment(load(config).settings, environ)
    assert seen == {
        "PATH": "/opt",
        "LC_ALL": "C",
        "ANTHROPIC_API_KEY": "k",
        "CLAUDE_CODE_OAUTH_TOKEN": "t",
        "https_proxy": "http://proxy",
        "MINE": "1",
    }


def test_what_is_told_of_the_settings_hides_secrets(tmp_path: Path) -> None:
    config = write(
        tmp_path / "c.toml", '[environment]\nset = { MY_TOKEN = "abc", NOTE = "sk-ant-oat01-abcdefgh", A = "b" }'
    )
    told = values(load(config))
    assert told["environment.set.MY_TOKEN"] == "[redacted]"
    assert told["environment.set.NOTE"] == "sk-ant-[redacted]"
    assert told["environment.set.A"] == "b"


# --- what looking costs ------------------------------------------------------------------------


@pytest.mark.parametrize("room", ["places", "batch", "files", "redact", "allowed"])
def test_rooms_that_quick_commands_need_import_neither_pydantic_nor_structlog_nor_a_loop(room: str) -> None:
    program = (
        f"import sys, tidegate.{room}; print({{'pydantic', 'structlog', 'asyncio', 'anyio'}} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr


STOPS = "[accounts.a]\nstop_at = { '5h' = 90, week = 75 }\n[accounts.b]\nstop_at = 'none'"


def test_accounts_say_how_much_of_their_windows_may_be_used(tmp_path: Path) -> None:
    config = write(tmp_path / "c.toml", STOPS)
    said = {"TIDEGATE_ACCOUNTS__C__STOP_AT": '{"day": 50}'}
    assert settings.stops(settings.load(config, said).settings) == {
        "a": {Window.FIVE_HOURS: 0.9, Window.WEEK: 0.75},
        "c": {Window.DAY: 0.5},
    }
