"""Credentials: read from a file that is nobody else's, handed to the agent alone, and told nowhere."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from installed import Tidegate, until

from tidegate import credentials
from tidegate.agents import known
from tidegate.credentials import Credential
from tidegate.errors import NoCredential
from tidegate.redact import redacted

OAUTH, KEY = "sk-ant-oat01-abcdefgh12345678", "sk-ant-api03-abcdefgh12345678"
SLOW = pytest.mark.slow
ODD = "correct horse: battery/staple"  # like no token at all


def secret(path: Path, text: str | bytes = OAUTH + "\n", mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def refused(path: Path, *, granted: bool = False) -> str:
    with pytest.raises(NoCredential) as bad:
        credentials.read(Credential(account="a", path=path, granted=granted))
    assert str(bad.value).startswith(f"credential of a: {path}: ")
    assert str(bad.value).isprintable()
    return str(bad.value).removeprefix(f"credential of a: {path}: ")


# --- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("secret-1234\n", "secret-1234"), ("secret-1234\r\n", "secret-1234"), ("two\nlines-1\n\n", "two\nlines-1\n")],
)
def test_one_newline_at_the_end_is_no_part_of_a_credential(tmp_path: Path, text: str, value: str) -> None:
    assert credentials.read(Credential(account="a", path=secret(tmp_path / "a", text))) == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("short\n", "must be at least 8 characters long"),
        (b"nul\0nul\0nul", "must not hold a NUL character"),
        (b"\xff" * 20, "must be UTF-8 text"),
        (b"x" * 65_537, "must be at most 65,536 bytes"),
    ],
)
def test_a_file_that_is_no_credential_is_refused(tmp_path: Path, text: str | bytes, said: str) -> None:
    assert refused(secret(tmp_path / "a", text)) == said


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o644])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    assert refused(secret(tmp_path / "a", mode=mode)) == (
        f"must be for its owner alone (chmod 600), not mode 0{mode:o}"
    )


def test_what_systemd_granted_may_have_the_modes_of_systemd(tmp_path: Path) -> None:
    for mode in (0o400, 0o440):
        path = secret(tmp_path / f"{mode:o}", mode=mode)
        assert credentials.read(Credential(account="a", path=path, granted=True)) == OAUTH
    assert "owner alone" in refused(secret(tmp_path / "open", mode=0o444), granted=True)


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(secret(tmp_path / "a"))
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "directory").mkdir()
    assert refused(tmp_path / "link") == "must be a regular file, not a symbolic link"
    assert refused(tmp_path / "fifo") == "must be a regular file"
    assert refused(tmp_path / "directory") == "is a directory"
    assert refused(tmp_path / "none") == "no such file or directory"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = secret(tmp_path / "a")
    os.chown(path, 12345, 0)
    assert refused(path) == "must belong to this user or to root, not to uid 12345"


@pytest.mark.parametrize(
    ("said", "environ", "path", "granted"),
    [
        ("token", {}, "/etc/t/credentials/token", False),
        ("token", {"CREDENTIALS_DIRECTORY": "/run/c"}, "/run/c/token", True),
        ("token", {"CREDENTIALS_DIRECTORY": "nowhere"}, "/etc/t/credentials/token", False),
        ("~/token", {"CREDENTIALS_DIRECTORY": "/run/c"}, "/home/me/token", False),
        ("./token", {"CREDENTIALS_DIRECTORY": "/run/c"}, "/etc/t/token", False),
        ("/srv/token", {}, "/srv/token", False),
    ],
)
def test_where_a_credential_lies(said: str, environ: dict[str, str], path: str, granted: bool) -> None:
    assert credentials.located(said, Path("/etc/t"), environ, Path("/home/me")) == (Path(path), granted)


# --- handing over ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("agent", "value", "variable"),
    [
        ("claude", OAUTH, "CLAUDE_CODE_OAUTH_TOKEN"),
        ("claude", KEY, "ANTHROPIC_API_KEY"),
        ("codex", "sk-proj-12345678", "CODEX_API_KEY"),
        ("gemini", "AIza-12345678", "GEMINI_API_KEY"),
        ("cursor-agent", "key_12345678", "CURSOR_API_KEY"),
        ("amp", "sgamp_12345678", "AMP_API_KEY"),
        ("copilot", "github_pat_12345678", "COPILOT_GITHUB_TOKEN"),
    ],
)
def test_each_agent_gets_its_credential_in_its_own_variable_and_no_other_wins_over_it(
    tmp_path: Path, agent: str, value: str, variable: str
) -> None:
    variables = known().agents[agent].variables
    given = Credential(account="a", path=secret(tmp_path / "a", value))
    rivals = [*variables.rivals, *(name for _, name in variables.takes)]
    inherited = {**dict.fromkeys(rivals, "inherited"), "PATH": "/bin"}
    assert credentials.environment(given, inherited, {"MINE": "1"}, variables) == {
        variable: value,
        "PATH": "/bin",
        "MINE": "1",
    }


def test_a_job_that_brings_a_credential_of_its_own_keeps_it(tmp_path: Path) -> None:
    claude = known().agents["claude"].variables
    given = Credential(account="a", path=tmp_path / "not there")
    for own in ({"ANTHROPIC_API_KEY": "mine"}, {"CLAUDE_CODE_OAUTH_TOKEN": "mine"}):
        assert credentials.environment(given, {"PATH": "/bin"}, own, claude) == {"PATH": "/bin", **own}


def test_the_accounts_own_agent_and_variable_come_before_the_jobs(tmp_path: Path) -> None:
    agents, path = known().agents, secret(tmp_path / "a")
    wrapped = Credential(account="a", path=path, variables=agents["claude"].variables)
    assert credentials.environment(wrapped, {}, {}, agents["command"].variables) == {"CLAUDE_CODE_OAUTH_TOKEN": OAUTH}
    named = Credential(account="a", path=path, variable="MY_TOKEN")
    inherited = {"ANTHROPIC_API_KEY": "inherited"}
    assert credentials.environment(named, inherited, {}, agents["claude"].variables) == {"MY_TOKEN": OAUTH}


@pytest.mark.parametrize(
    ("agent", "said"),
    [("claude", "does not begin with sk-ant-oat... or sk-ant-...: say"), ("command", "no variable is known for its")],
)
def test_a_credential_without_a_variable_is_refused_without_being_told(tmp_path: Path, agent: str, said: str) -> None:
    given = Credential(account="a", path=secret(tmp_path / "a", ODD))
    with pytest.raises(NoCredential) as bad:
        credentials.environment(given, {}, {}, known().agents[agent].variables)
    assert said in str(bad.value)
    assert ODD not in str(bad.value)


# --- what is learnt is not told ----------------------------------------------------------------


def test_a_credential_that_was_read_is_taken_out_of_any_text_even_where_it_was_cut(tmp_path: Path) -> None:
    value = "Zq-first-part!of a secret?second-part"
    assert redacted(f"<{value}>") != "<[redacted]>"
    credentials.read(Credential(account="a", path=secret(tmp_path / "a", value)))
    assert redacted(f"<{value}> <{value}>") == "<[redacted]> <[redacted]>"
    assert redacted(f"cut off: {value[:20]}") == "cut off: [redacted]"
    assert redacted(f"{value[10:]} cut off") == "[redacted] cut off"
    assert redacted("second thoughts") == "second thoughts"


def test_another_token_that_begins_like_one_that_was_read_is_taken_out_as_a_whole(tmp_path: Path) -> None:
    credentials.read(Credential(account="a", path=secret(tmp_path / "a", OAUTH)))
    assert redacted("sk-ant-oat01-zyxwvuts87654321 was refused") == "sk-ant-[redacted] was refused"


def test_each_long_line_of_a_credential_is_taken_out(tmp_path: Path) -> None:
    value = "-----BEGIN\nQm9uam91ciBsZSBtb25k\nshort\n-----END"
    credentials.read(Credential(account="a", path=secret(tmp_path / "a", value)))
    assert redacted("it said Qm9uam91ciBsZSBtb25k, short") == "it said [redacted], short"


@pytest.mark.parametrize("form", ["json", "console"])
def test_no_log_tells_a_credential_that_was_read(tmp_path: Path, form: str) -> None:
    program = """if True:
        import pathlib, sys, structlog
        from tidegate import credentials, logs
        logs.set_up(form=sys.argv[2])
        value = credentials.read(credentials.Credential(account="a", path=pathlib.Path(sys.argv[1])))
        log = structlog.get_logger()
        log.info(f"said {value}", detail=value, listed=[value, {value: value}])
        try:
            raise ValueError(f"it was {value}")
        except ValueError:
            log.exception("broken")
    """
    path = secret(tmp_path / "a", ODD)
    done = subprocess.run([sys.executable, "-c", program, str(path), form], capture_output=True, text=True)
    assert "broken" in done.stderr
    assert done.stderr.count("[redacted]") >= 5
    assert ODD not in done.stderr


# --- the installed program ---------------------------------------------------------------------

OK = '{"type":"result","subtype":"success","is_error":false,"result":"done","session_id":"s"}'


def agent(tidegate: Tidegate, script: str, name: str = "claude") -> None:
    """A program in PATH that runs `script`."""
    program = tidegate.place / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\ncat > /dev/null\n{script}\n")
    program.chmod(0o700)
    tidegate.env["PATH"] = f"{program.parent}:/usr/bin:/bin"


def configured(tidegate: Tidegate, text: str) -> None:
    (tidegate.place / "config.toml").write_text(text)
    tidegate.env["TIDEGATE_CONFIG"] = "config.toml"


def jobs(*names: str, **more: object) -> str:
    return "".join(json.dumps({"id": name, "agent": "claude", "prompt": "do it", **more}) + "\n" for name in names)


def test_the_agent_gets_the_credential_of_its_account(tidegate: Tidegate) -> None:
    tidegate.env |= {"ANTHROPIC_API_KEY": "inherited", "CLAUDE_CODE_USE_BEDROCK": "1"}
    configured(tidegate, '[accounts.claude]\ncredential = "max"')
    secret(tidegate.place / "credentials" / "max")
    agent(tidegate, f"env | grep -E 'TOKEN|KEY|BEDROCK' >&2; echo '{OK}'")
    done = tidegate("run", tidegate.batch(jobs("a") + jobs("own", env={"ANTHROPIC_API_KEY": "mine"}), "b.jsonl"))
    assert done.returncode == 0, done.stderr
    assert tidegate("logs", "a", "--stderr").stdout == f"CLAUDE_CODE_OAUTH_TOKEN={OAUTH}\n", "logs are the agent's own"
    assert "ANTHROPIC_API_KEY=mine" in tidegate("logs", "own", "--stderr").stdout


def test_systemds_credentials_come_first(tidegate: Tidegate) -> None:
    configured(tidegate, '[accounts.claude]\ncredential = "max"')
    secret(tidegate.place / "credentials" / "max", KEY)
    secret(tidegate.place / "granted" / "max", OAUTH, 0o400)
    tidegate.env["CREDENTIALS_DIRECTORY"] = str(tidegate.place / "granted")
    agent(tidegate, f"env | grep -E 'TOKEN|KEY' >&2; echo '{OK}'")
    assert tidegate("run", tidegate.batch(jobs("a"), "b.jsonl")).returncode == 0
    assert tidegate("logs", "a", "--stderr").stdout == f"CLAUDE_CODE_OAUTH_TOKEN={OAUTH}\n"


def test_a_changed_file_counts_from_the_next_launch_on(tidegate: Tidegate) -> None:
    configured(tidegate, '[accounts.claude]\ncredential = "./token"\npreflight = "off"')
    path = secret(tidegate.place / "token")
    agent(tidegate, f"env | grep -E 'TOKEN|KEY' >&2; printf %s {KEY} > {path}; echo '{OK}'")
    assert tidegate("run", tidegate.batch(jobs("a", "b"), "b.jsonl"), "--slots", "1").returncode == 0
    assert tidegate("logs", "a", "--stderr").stdout == f"CLAUDE_CODE_OAUTH_TOKEN={OAUTH}\n"
    assert tidegate("logs", "b", "--stderr").stdout == f"ANTHROPIC_API_KEY={KEY}\n"


def test_a_credential_that_cannot_be_read_holds_the_account_for_a_person_and_fails_no_job(tidegate: Tidegate) -> None:
    configured(tidegate, '[accounts.claude]\ncredential = "max"')
    agent(tidegate, f"echo '{OK}'")
    batch = tidegate.batch(jobs("a", "b") + jobs("c", account="other"), "b.jsonl")
    done = tidegate("run", batch)
    path = tidegate.place / "credentials" / "max"
    assert done.returncode == 6, done.stderr
    assert tidegate.states() == {"a": "queued", "b": "queued", "c": "succeeded"}
    assert [job["attempts"] for job in tidegate.lines("list")[:2]] == [0, 0], "uncharged"
    assert "credentials/max: no such file" in " ".join(tidegate("status").stdout.split())
    assert f"credential of claude: {path}: no such file or directory" in done.stdout
    secret(path)
    tidegate("resume", "claude")
    assert tidegate("run", batch).returncode == 0


def test_an_agent_that_was_taken_over_prints_its_credential_into_no_row_either(tidegate: Tidegate) -> None:
    go, path = tidegate.place / "go", secret(tidegate.place.parent / "apart" / "max", ODD)
    configured(tidegate, f'[accounts.claude]\ncredential = "{path}"\ncredential_variable = "T"\n')
    agent(tidegate, f'while [ ! -e {go} ]; do sleep 0.05; done; echo "no luck with $T and $MY_TOKEN" >&2; exit 3')
    own = {"MY_TOKEN": "some-of-my-own"}
    process = tidegate.start("run", tidegate.batch(jobs("a", env=own, max_attempts=1), "b.jsonl"))
    until(lambda: list(tidegate.state.glob("attempts/*/*/stdout.log")))
    process.kill()
    process.wait()
    again = tidegate.start("run", "b.jsonl")
    until(lambda: tidegate.events("attempt adopted"))
    go.touch()
    assert again.wait(30) == 1
    (job,) = tidegate.lines("list")
    assert job["reason"] == "exit 3: no luck with [redacted] and [redacted]"
    assert places_of(ODD, tidegate.place) == []
    kept = [path for path in places_of("some-of-my-own", tidegate.state) if "/secrets/" not in path]
    assert kept == []


def test_a_machine_without_descriptors_is_no_missing_credential(tmp_path: Path) -> None:
    program = """if True:
        import pathlib, resource, sys
        from tidegate import credentials, errors
        given = credentials.Credential(account="a", path=pathlib.Path(sys.argv[1]))
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        try:
            credentials.read(given)
        except errors.NotNow as error:
            print(error)
    """
    path = secret(tmp_path / "a")
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True)
    assert done.stdout == f"cannot read {path}: too many open files\n", done.stderr


@pytest.mark.slow
def test_serve_takes_another_credential_with_the_configuration_and_keeps_the_old_one_for_a_bad_one(
    tidegate: Tidegate,
) -> None:
    configured(tidegate, '[accounts.claude]\ncredential = "one"\npreflight = "off"')
    secret(tidegate.place / "credentials" / "one")
    secret(tidegate.place / "credentials" / "two", KEY)
    agent(tidegate, f"env | grep -E 'TOKEN|KEY' >&2; echo '{OK}'")
    process = tidegate.start("serve")
    log = tidegate.place / "started.0"
    until(lambda: '"serving"' in log.read_text())
    assert tidegate("submit", "--agent", "claude", "--name", "first", "--wait", "x").returncode == 0
    configured(tidegate, '[accounts.claude]\ncredential = "two"\npreflight = "off"')
    process.send_signal(signal.SIGHUP)
    until(lambda: '"configuration read"' in log.read_text())
    assert tidegate("submit", "--agent", "claude", "--name", "second", "--wait", "x").returncode == 0
    configured(tidegate, '[accounts.claude]\nagent = "aider"\ncredential = "one"')
    process.send_signal(signal.SIGHUP)
    until(lambda: '"configuration refused"' in log.read_text())
    configured(tidegate, '[accounts.claude]\ncredential = "two"')
    assert tidegate("submit", "--agent", "claude", "--name", "third", "--wait", "x").returncode == 0
    said = [tidegate("logs", name, "--stderr").stdout for name in ("first", "second", "third")]
    assert said == [f"CLAUDE_CODE_OAUTH_TOKEN={OAUTH}\n", *[f"ANTHROPIC_API_KEY={KEY}\n"] * 2]


def test_a_command_that_only_looks_or_submits_pays_for_no_patterns() -> None:
    program = "import sys, tidegate.cli.submit, tidegate.look.status, tidegate.stores.sqlite; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert not {"tidegate.redact", "tidegate.hours", "tidegate.credentials"} & set(done.stdout.split())


def test_check_asks_with_the_credential(tidegate: Tidegate) -> None:
    configured(tidegate, '[accounts.max]\nagent = "claude"\ncredential = "max"')
    agent(tidegate, f"[ \"$CLAUDE_CODE_OAUTH_TOKEN\" = {OAUTH} ] && echo '{OK}'")
    done = tidegate("check", "--json")
    assert (done.returncode, json.loads(done.stdout)["answer"]) == (6, "needs a person")
    assert str(tidegate.place / "credentials" / "max") in done.stdout
    secret(tidegate.place / "credentials" / "max")
    assert json.loads(tidegate("check", "--json").stdout)["answer"] == "open"


@pytest.mark.parametrize(
    ("account", "said"),
    [
        (
            'agent = "aider"\ncredential = "a"',
            "[accounts.x] credential: the variable in which aider takes it is not kn",
        ),
        (f'credential = "{OAUTH}"', "[accounts.x] credential: must be the name of a file that holds the secret"),
        ('credential = "a b"', "[accounts.x] credential: must be letters, digits"),
        ('credential = ".."', "[accounts.x] credential: must be letters, digits"),
        ('credential = "~me/a"', "[accounts.x] credential: only ~/... stands for a home directory"),
        ('credential_variable = "A-B"', "[accounts.x] credential_variable: must be letters, digits and _"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line_with_its_file_and_key(
    tidegate: Tidegate, account: str, said: str
) -> None:
    configured(tidegate, f"[accounts.x]\n{account}")
    done = tidegate("run", tidegate.batch(jobs("a"), "b.jsonl"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert f"config.toml: {said}" in done.stderr
    assert OAUTH not in done.stderr


def test_the_configuration_is_shown_with_the_name_alone(tidegate: Tidegate) -> None:
    configured(tidegate, '[accounts.claude]\ncredential = "max"')
    secret(tidegate.place / "credentials" / "max")
    shown = json.loads(tidegate("config", "--json").stdout)
    assert shown["accounts.claude.credential"] == {"value": "max", "origin": "config.toml"}
    assert OAUTH not in tidegate("config").stdout


LEAKY = """
echo '{"type":"system","subtype":"init","session_id":"s-TOKEN"}' | told
while [ ! -e "$GO" ]; do sleep 0.05; done
case $TIDEGATE_JOB in
limited) echo '{"type":"assistant","error":"billing_error","message":{"content":[{"type":"text","text":"Credit '\
'balance is too low TOKEN"}],"model":"<synthetic>"}}' | told
  echo '{"type":"result","is_error":true,"api_error_status":400,"result":"Credit balance is too low TOKEN"}' | told
  exit 1;;
failed) echo "no such luck with $T" >&2; exit 3;;
*) echo '{"type":"result","is_error":false,"result":"I was given TOKEN"}' | told;;
esac
"""
TOLD = 'told() { while read -r line; do printf "%s\\n" "${line%%TOKEN*}$T${line#*TOKEN}"; done; }'


def places_of(value: str, place: Path) -> list[str]:
    """Every file below `place` that holds the value, but for what agents printed."""
    files = (path for path in place.rglob("*") if path.is_file() and path.name not in {"stdout.log", "stderr.log"})
    return [str(path) for path in files if value.encode() in path.read_bytes()]


def command_lines() -> bytes:
    """Those of all processes, but for a worker's that names the test which it runs."""
    lines = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            lines.append(one.read_bytes())
    return b"".join(line for line in lines if not line.startswith(b"[pytest-xdist"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("value", "form"),
    [(ODD, "json"), pytest.param(OAUTH, "json", marks=SLOW), pytest.param(ODD, "console", marks=SLOW)],
)
def test_an_agent_that_prints_its_credential_everywhere_leaves_it_in_its_own_output_alone(
    tidegate: Tidegate, value: str, form: str
) -> None:
    tidegate.env |= {"GO": "", "TIDEGATE_ENVIRONMENT__SET__GO": f"{tidegate.place}/go", "TIDEGATE_LOG__LEVEL": "debug"}
    configured(tidegate, '[accounts.claude]\ncredential = "/dev/null/x"\ncredential_variable = "T"\npreflight = "off"')
    tidegate.env["TIDEGATE_ACCOUNTS__CLAUDE__CREDENTIAL"] = str(secret(tidegate.place.parent / "apart" / form, value))
    agent(tidegate, f"{TOLD}\n{LEAKY}")
    batch = tidegate.batch(jobs("succeeded", "failed", "limited", max_attempts=1), "b.jsonl")
    process = tidegate.start("run", batch, "--log-format", form)
    until(lambda: (tidegate.state / "tidegate.db").exists() and len(tidegate.events("attempt claimed")) == 3)
    until(lambda: len(list(tidegate.state.glob("attempts/*/*/stdout.log"))) == 3)
    assert value.encode() not in command_lines()
    (tidegate.place / "go").touch()
    assert process.wait(30) == 6, (tidegate.place / "started.0").read_text()
    assert tidegate.states() == {"succeeded": "succeeded", "failed": "failed", "limited": "queued"}
    assert tidegate("logs", "succeeded").stdout.count(value) == 2, "the agent has it"
    for args in (["status"], ["list"], ["events"], ["show", "succeeded"], ["show", "failed"], ["show", "limited"]):
        assert value not in tidegate(*args).stdout + tidegate(*args, "--json").stdout, args
    assert "[redacted]" in tidegate("show", "failed").stdout
    assert places_of(value, tidegate.place) == [], "neither in the state nor in the log"
