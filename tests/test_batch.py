"""Batches: what may be written, what it means, and the one line that says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tidegate import batch
from tidegate.batch import Around, Declared
from tidegate.errors import BadInput
from tidegate.model import Account, Allowance, Budget, Exceed, NewJob, Spec, Stage, Window

AGENTS = ("claude", "codex", "gemini")
PROMPTS = {"/batches/p.txt": "from the file\n", "/home/me/q.txt": "from home", "/batches/empty.txt": " \n"}


def recognise(argv: Sequence[str]) -> str:
    program = Path(argv[0]).name
    return program if program in AGENTS else "command"


def read_text(path: Path) -> str:
    if str(path) not in PROMPTS:
        raise FileNotFoundError(2, "No such file or directory", str(path))
    return PROMPTS[str(path)]


AROUND = Around(
    place="b.toml",
    directory=Path("/batches"),
    home=Path("/home/me"),
    name="/batches/b.toml",
    agents=AGENTS,
    recognise=recognise,
    has_limits=lambda agent: agent in AGENTS,
    read_text=read_text,
)
PIPE = replace(AROUND, place="stdin", name=None)


def toml(text: str) -> batch.Expanded:
    return batch.from_toml(text, AROUND)


def jsonl(*records: object) -> batch.Expanded:
    return batch.from_jsonl("".join(json.dumps(record) + "\n" for record in records), PIPE)


def job(text: str, head: str = "") -> NewJob:
    (one,) = toml(f"{head}\n[[job]]\n{text}").jobs
    return one


# --- what it means -----------------------------------------------------------------------------


def test_a_whole_batch_becomes_jobs_accounts_and_options() -> None:
    told = toml("""
        [batch]
        name = "nightly"
        on_limit = "exit"
        [accounts.claude-max]
        agent = "claude"
        concurrency = 3
        [defaults]
        agent = "claude"
        account = "claude-max"
        timeout = "2h"
        env = { A = "1", B = "2" }
        labels = { tier = "T0" }
        [[job]]
        id = "T0/03#2"
        prompt = "Fix it."
        cwd = "repo"
        model = "opus"
        priority = 5
        env = { B = "3" }
        labels = { kind = "fix" }
        [[job]]
        id = "lint"
        command = ["make", "lint"]
        args = ["-j", "2"]
        account = "here"
        cwd = "~/src"
        timeout = 90
        silence = "1h30m"
        max_attempts = 1
        on_cutoff = "restart"
        on_failure = "resume"
        resume_prompt = "Go on."
    """)
    assert (told.name, told.on_limit) == ("nightly", "exit")
    assert told.accounts == (Account(name="claude-max", max_running=3, cautious=True), Account(name="here"))
    fix, lint = told.jobs
    assert fix == NewJob(
        name="T0/03#2",
        account="claude-max",
        model="opus",
        priority=5,
        spec=Spec(
            agent="claude",
            args=("--model", "opus"),
            prompt="Fix it.",
            cwd="/batches/repo",
            env={"A": "1", "B": "3"},
            timeout=7200,
            labels={"tier": "T0", "kind": "fix"},
        ),
    )
    assert lint.spec == Spec(
        agent="command",
        command=("make", "lint", "-j", "2"),
        cwd="/home/me/src",
        env={"A": "1", "B": "2"},
        timeout=90,
        silence=5400,
        max_attempts=1,
        on_cutoff="restart",
        on_failure="resume",
        resume_prompt="Go on.",
        labels={"tier": "T0"},
    )
    assert (lint.account, lint.model, lint.priority) == ("here", None, 0)


def test_jsonl_says_the_same_as_toml() -> None:
    written = toml("""
        [batch]
        name = "n"
        [accounts.a]
        concurrency = 1
        [defaults]
        timeout = "1m"
        [[job]]
        agent = "codex"
        prompt_file = "p.txt"
        account = "a"
    """)
    head = {"batch": {"name": "n"}, "accounts": {"a": {"concurrency": 1}}, "defaults": {"timeout": "1m"}}
    assert jsonl(head, {"agent": "codex", "prompt_file": "p.txt", "account": "a", "model": None}) == written


def test_the_tables_of_jsonl_may_come_in_lines_of_their_own() -> None:
    told = jsonl({"batch": {"name": "n"}}, {"defaults": {"priority": 3}}, {"command": ["true"]})
    assert (told.name, told.jobs[0].priority) == ("n", 3)


def test_blank_lines_and_line_separators_within_a_text_are_no_lines_of_jsonl() -> None:
    told = batch.from_jsonl('\n{"id": "a", "agent": "claude", "prompt": "one\u2028two"}\r\n \n', PIPE)
    assert told.jobs[0].spec.prompt == "one\u2028two"


def test_a_command_that_is_an_agents_is_recognised_and_belongs_to_its_account() -> None:
    one = job('command = ["/usr/bin/claude", "-p", "hi"]')
    assert (one.account, one.spec.agent, one.spec.command) == ("claude", "claude", ("/usr/bin/claude", "-p", "hi"))


def test_any_other_command_belongs_to_the_account_command() -> None:
    one = job('command = ["make"]')
    assert (one.account, one.spec.agent) == ("command", "command")


def test_a_job_of_an_agent_belongs_to_the_account_named_like_it() -> None:
    assert job('agent = "codex"\nprompt = "x"').account == "codex"


@pytest.mark.parametrize(
    ("own", "argv", "model"),
    [
        ('agent = "claude"\nprompt = "p"\nmodel = "opus"', ("--model", "opus"), "opus"),
        ('agent = "claude"\nargs = ["-v"]\nmodel = "opus"', ("-v", "--model", "opus"), "opus"),
        ('agent = "claude"\nargs = ["--model", "opus"]\nmodel = "opus"', ("--model", "opus"), "opus"),
        ('agent = "claude"\nargs = ["--model", "opus"]', ("--model", "opus"), "opus"),
        ('command = ["claude", "--model=opus", "x"]', ("claude", "--model=opus", "x"), "opus"),
        ('command = ["codex", "exec"]\nargs = ["-m", "o9"]', ("codex", "exec", "-m", "o9"), "o9"),
        ('command = ["claude", "--", "x"]\nmodel = "opus"', ("claude", "--model", "opus", "--", "x"), "opus"),
        ('command = ["claude", "--model"]', ("claude", "--model"), None),
        ('command = ["python", "-m", "http.server"]', ("python", "-m", "http.server"), None),
        ('command = ["./wrap"]\nmodel = "opus"', ("./wrap",), "opus"),
    ],
)
def test_a_jobs_model_is_told_to_its_agent_and_makes_its_lane(own: str, argv: tuple[str, ...], model: str) -> None:
    one = job(own)
    assert (one.spec.command or one.spec.args, one.model) == (argv, model)


def test_a_prompt_file_lies_beside_the_batch_or_in_the_home_directory() -> None:
    assert job('agent = "claude"\nprompt_file = "p.txt"').spec.prompt == "from the file\n"
    assert job('agent = "claude"\nprompt_file = "~/q.txt"').spec.prompt == "from home"


def test_a_job_works_in_the_directory_of_its_batch_unless_it_says_another() -> None:
    assert job('command = ["ls"]').spec.cwd == "/batches"
    assert job('command = ["ls"]\ncwd = "/x"').spec.cwd == "/x"
    assert job('command = ["ls"]\ncwd = "../x"').spec.cwd == "/batches/../x"
    assert job('command = ["ls"]\ncwd = "~"').spec.cwd == "/home/me"


HEAD = '[defaults]\nagent = "claude"\nargs = ["--a"]\nmodel = "opus"\nprompt = "p"'


@pytest.mark.parametrize(
    ("own", "agent", "command", "args", "model", "prompt"),
    [
        ('id = "a"', "claude", (), ("--a", "--model", "opus"), "opus", "p"),
        ('agent = "claude"', "claude", (), ("--a", "--model", "opus"), "opus", "p"),
        ('agent = "codex"', "codex", (), (), None, "p"),
        ('command = ["make"]', "command", ("make",), (), None, None),
        ('command = ["cat"]\nprompt = "q"', "command", ("cat",), (), None, "q"),
        ('prompt_file = "p.txt"', "claude", (), ("--a", "--model", "opus"), "opus", "from the file\n"),
        ("args = []", "claude", (), ("--model", "opus"), "opus", "p"),
        ('args = ["--model", "haiku"]', "claude", (), ("--model", "haiku"), "haiku", "p"),
    ],
)
def test_a_job_inherits_nothing_that_is_meant_for_the_agent_it_replaces(
    own: str, agent: str, command: tuple[str, ...], args: tuple[str, ...], model: str | None, prompt: str | None
) -> None:
    one = job(own, HEAD)
    told = (one.spec.agent, one.spec.command, one.spec.args, one.model, one.spec.prompt)
    assert told == (agent, command, args, model, prompt)


def test_defaults_without_an_agent_are_for_every_agent() -> None:
    one = job('agent = "codex"\nargs = ["x"]', '[defaults]\nmodel = "m"\nprompt = "p"')
    assert (one.model, one.spec.args, one.spec.prompt) == ("m", ("x", "--model", "m"), "p")
    assert job('command = ["cat"]', '[defaults]\nprompt = "p"').spec.prompt == "p"


def test_a_default_command_takes_each_jobs_own_arguments_and_prompt() -> None:
    one = job('args = ["7"]\nprompt = "x"', '[defaults]\ncommand = ["./agent.sh"]')
    assert (one.spec.command, one.spec.args, one.spec.prompt) == (("./agent.sh", "7"), (), "x")


def test_an_account_declared_elsewhere_holds_and_the_batchs_own_word_wins_key_by_key() -> None:
    elsewhere = {"a": Declared(agent="claude", concurrency=2), "b": Declared(concurrency=5)}
    text = '[accounts.a]\nconcurrency = 9\n[[job]]\ncommand = ["true"]\naccount = "b"'
    told = batch.from_toml(text, replace(AROUND, accounts=elsewhere))
    assert told.accounts == (Account(name="a", max_running=9, cautious=True), Account(name="b", max_running=5))


def test_an_account_is_cautious_as_its_agent_or_else_as_the_agents_that_use_it() -> None:
    text = '[accounts.mine]\nagent = "claude"\n[[job]]\ncommand = ["./wrap"]\naccount = "mine"'
    assert toml(text).accounts == (Account(name="mine", cautious=True),)
    assert toml(text.replace('agent = "claude"', "")).accounts == (Account(name="mine"),)
    other = toml('[accounts.free]\nagent = "command"\n[[job]]\nagent = "claude"\nprompt = "x"\naccount = "free"')
    assert other.accounts == (Account(name="free"),)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("90", 90),
        ("0.5", 0.5),
        ('"90"', 90),
        ('"90s"', 90),
        ('"15m"', 900),
        ('"15 min"', 900),
        ('"2h"', 7200),
        ('"1.5h"', 5400),
        ('"1h30m"', 5400),
        ('"1d 2h"', 93600),
        ('"366d"', 366 * 86400),
    ],
)
def test_a_duration_is_seconds_or_has_units(said: str, seconds: float) -> None:
    assert job(f'command = ["x"]\ntimeout = {said}').spec.timeout == seconds


# --- names that nobody gave --------------------------------------------------------------------


def test_a_batch_without_a_name_is_known_by_its_files_path() -> None:
    assert toml('[[job]]\ncommand = ["true"]').name == "/batches/b.toml"


def test_a_batch_from_a_pipe_is_known_by_its_jobs_and_their_directory() -> None:
    once, again, other = jsonl({"command": ["a"]}), jsonl({"command": ["a"], "model": None}), jsonl({"command": ["b"]})
    assert once.name == again.name != other.name
    elsewhere = batch.from_jsonl('{"command": ["a"]}', replace(PIPE, directory=Path("/else")))
    assert elsewhere.name != once.name
    assert once.name.startswith("stdin-")


def names(text: str) -> list[str]:
    return [one.name for one in toml(text).jobs]


def test_a_job_without_an_id_is_named_by_what_it_does_and_not_by_its_place() -> None:
    lint, docs = '[[job]]\ncommand = ["make", "lint"]\n', '[[job]]\nagent = "claude"\nprompt = "docs"\n'
    first, second = names(lint + docs)
    assert names(docs + lint) == [second, first]
    assert names('[[job]]\ncommand = ["new"]\n' + lint + docs)[1:] == [first, second]
    assert first.startswith("make-")
    assert second.startswith("claude-")


def test_a_default_or_a_time_out_does_not_change_a_name() -> None:
    plain = names('[[job]]\ncommand = ["make"]\n')
    assert names('[defaults]\nenv = { A = "1" }\n[[job]]\ncommand = ["make"]\ntimeout = 5\npriority = 3\n') == plain
    assert names('[[job]]\ncommand = ["make"]\nenv = { A = "1" }\n') != plain


def test_jobs_that_say_the_same_are_numbered() -> None:
    (first, *more) = names('[[job]]\ncommand = ["true"]\n' * 3)
    assert more == [f"{first}#2", f"{first}#3"]
    taken = names(f'[[job]]\nid = "{first}#2"\ncommand = ["x"]\n' + '[[job]]\ncommand = ["true"]\n' * 2)
    assert taken == [f"{first}#2", first, f"{first}#3"]


def test_a_name_is_made_of_plain_characters_whatever_the_program_is_called() -> None:
    assert names('[[job]]\ncommand = ["/opt/my tool\\n"]')[0].startswith("my-tool-")
    assert names('[[job]]\ncommand = ["/"]')[0].startswith("job-")


# --- one line for each mistake -----------------------------------------------------------------

JOB = '[[job]]\nid = "x"\ncommand = ["true"]\n'
X = 'b.toml: [[job]] 1 ("x")'
WANTED = (
    'must be a length of time ("10m", or seconds), a share of the 5-hour window ("2%", "2% ± 1%"), or both: "10m, 2%"'
)

KEYS = (
    "agent, command, args, model, prompt, prompt_file, cwd, files, env, account, priority, timeout, silence, expect, "
    "max_output, memory, pids, cpu_weight, max_attempts, retries, on_cutoff, on_failure, resume_prompt, result_files, "
    "labels, check, feed_failure_back, publish, max_interruptions, valid_outcomes"
)

BAD_TOML = [
    # the document
    ("", "b.toml: no jobs: nothing to do"),
    ("a = ", "b.toml: line 1, column 5: not TOML: Invalid value"),
    ("[batch]\nname 'x'", "b.toml: line 2, column 6: not TOML: Expected '=' after a key in a key/value pair"),
    ("[batch", "b.toml: line 1, column 7: not TOML: Expected ']' at the end of a table declaration"),
    ('[batch]\nname = "x', "b.toml: line 2, column 10: not TOML: Unterminated string"),
    ("[batch]\n[batch]\n", "b.toml: line 2, column 7: not TOML: Cannot declare ('batch',) twice"),
    ("x = " + "[" * 9999, "b.toml: not read: nested too deeply"),
    ("x = " + "9" * 5000, "b.toml: not TOML: a number of thousands of digits"),
    (f"jobs = 1\n{JOB}", "b.toml: jobs: unknown key; did you mean job?"),
    (f"{JOB}[account.a]", "b.toml: account: unknown key; did you mean accounts?"),
    (f"zzz = 1\n{JOB}", "b.toml: zzz: unknown key; known are batch, defaults, accounts, groups, job"),
    (f'"a\\nb" = 1\n{JOB}', 'b.toml: "a\\nb": unknown key; known are batch, defaults, accounts, groups, job'),
    ('[job]\ncommand = ["true"]', "b.toml: [job]: write [[job]], with two brackets on each side"),
    ("job = 3", "b.toml: job: must be tables, [[job]], not 3"),
    ("job = [1]", "b.toml: job: must be tables, [[job]], not a list"),
    ("job = []", "b.toml: no jobs: nothing to do"),
    # [batch], [defaults], [accounts.NAME]
    (f"batch = 1\n{JOB}", "b.toml: [batch]: must be a table, not 1"),
    (f'[batch]\nnmae = "x"\n{JOB}', "b.toml: [batch] nmae: unknown key; did you mean name?"),
    (f"[batch]\nname = 7\n{JOB}", 'b.toml: [batch] name: must be text, not 7 (write "7")'),
    (f'[batch]\nname = ""\n{JOB}', "b.toml: [batch] name: must not be empty"),
    (f'[batch]\nname = "/x"\n{JOB}', "b.toml: [batch] name: must not begin with /, as the names of unnamed batches do"),
    (
        f'[batch]\non_limit = "wat"\n{JOB}',
        'b.toml: [batch] on_limit: must be "wait" or "exit", not \'wat\'; did you mean wait?',
    ),
    (f"defaults = []\n{JOB}", "b.toml: [defaults]: must be a table, not a list"),
    (f'[defaults]\nid = "x"\n{JOB}', f"b.toml: [defaults] id: unknown key; known are {KEYS}"),
    (f'[defaults]\ntimout = "5m"\n{JOB}', "b.toml: [defaults] timout: unknown key; did you mean timeout?"),
    (
        f'[defaults]\nagent = "claude"\ncommand = ["x"]\n{JOB}',
        "b.toml: [defaults]: must say agent or command, not both",
    ),
    (f"accounts = 1\n{JOB}", "b.toml: accounts: must be tables, [accounts.NAME], not 1"),
    (f"[[accounts]]\n{JOB}", "b.toml: accounts: must be tables, [accounts.NAME], not a list"),
    (f"[accounts]\na = 2\n{JOB}", "b.toml: [accounts.a]: must be a table, not 2"),
    (
        f'[accounts."a/b"]\n{JOB}',
        (
            'b.toml: [accounts."a/b"]: its name must be letters, digits and . _ @ + - (a letter or digit first), '
            "not 'a/b'"
        ),
    ),
    (
        f'[accounts.a]\nagent = "claud"\n{JOB}',
        'b.toml: [accounts.a] agent: unknown agent "claud"; did you mean claude?',
    ),
    (
        f"[accounts.a]\nstop_at = {{ '5h' = 101 }}\n{JOB}",
        "b.toml: [accounts.a] stop_at.5h: must be a whole number from 1 to 100, not 101",
    ),
    (
        f"[accounts.a]\nstop_at = {{ week = '75%' }}\n{JOB}",
        "b.toml: [accounts.a] stop_at.week: must be a whole number from 1 to 100, not '75%'",
    ),
    (
        f"[accounts.a]\nstop_at = {{ minute = 9 }}\n{JOB}",
        "b.toml: [accounts.a] stop_at.minute: unknown key; known are 5h, day, week, month",
    ),
    (f"[accounts.a]\nstop_at = {{ }}\n{JOB}", "b.toml: [accounts.a] stop_at: must say one of 5h, day, week, month"),
    (f"[accounts.a]\nstop_at = 90\n{JOB}", "b.toml: [accounts.a] stop_at: must be a table, not 90"),
    (
        '[[job]]\nid = "x"\ncommand = ["x"]\nexpect = "2% ± x"',
        f"{X} expect: {WANTED}, not '2% ± x'",
    ),
    (f"[accounts.a]\nconcurency = 1\n{JOB}", "b.toml: [accounts.a] concurency: unknown key; did you mean concurrency?"),
    (
        f"[accounts.a]\nconcurrency = 0\n{JOB}",
        "b.toml: [accounts.a] concurrency: must be a whole number from 1 to 10000, not 0",
    ),
    # [[job]]: what runs
    ('[[job]]\nid = "x"', f"{X}: must say agent (with a prompt) or command"),
    ('[[job]]\nprompt = "x"', "b.toml: [[job]] 1: must say agent (with a prompt) or command"),
    (f'{JOB}agent = "claude"', f"{X}: must say agent or command, not both"),
    ('[[job]]\nid = "x"\nagent = "claude"', f'{X}: agent "claude" needs a prompt, a prompt_file or args'),
    (
        '[[job]]\nid = "x"\nagent = "cladue"\nprompt = "p"',
        f'{X} agent: unknown agent "cladue"; did you mean claude?',
    ),
    (
        '[[job]]\nid = "x"\nagent = "zzz"\nprompt = "p"',
        f'{X} agent: unknown agent "zzz"; known are claude, codex, gemini',
    ),
    (
        '[[job]]\nid = "x"\nagent = "command"\nprompt = "p"',
        f'{X} agent: "command" is no agent: say command = ["program", ...]',
    ),
    ('[[job]]\nid = "x"\ncommand = []', f"{X} command: must name a program, not be an empty list"),
    ('[[job]]\nid = "x"\ncommand = [""]', f"{X} command: must begin with a program, not with an empty text"),
    (
        '[[job]]\nid = "x"\ncommand = "make lint"',
        f"{X} command: must be a list, one text for each argument, not 'make lint'; there is no shell",
    ),
    ('[[job]]\nid = "x"\ncommand = ["a", 3]', f'{X} command[1]: must be text, not 3 (write "3")'),
    ('[[job]]\nid = "x"\ncommand = ["a", ["b"]]', f"{X} command[1]: must be text, not a list"),
    ('[[job]]\nid = "x"\ncommand = ["a\\u0000b"]', f"{X} command[0]: must not hold a NUL character"),
    (
        f'[[job]]\nid = "x"\ncommand = ["a", "{"b" * 131072}"]',
        f"{X} command[1]: must be at most 131,071 bytes, not 131,072",
    ),
    (
        '[[job]]\nid = "x"\ncommand = [' + ", ".join(['"' + "b" * 130000 + '"'] * 9) + "]",
        f"{X} command: must be at most 1,048,576 bytes together",
    ),
    (f'{JOB}args = "-v"', f"{X} args: must be a list, not '-v'"),
    # [[job]]: ids
    ('[[job]]\nid = 3\ncommand = ["x"]', 'b.toml: [[job]] 1 id: must be text, not 3 (write "3")'),
    ('[[job]]\nid = ""\ncommand = ["x"]', 'b.toml: [[job]] 1 ("") id: must not be empty'),
    (
        '[[job]]\nid = " a"\ncommand = ["x"]',
        "b.toml: [[job]] 1 (\" a\") id: must not begin or end with a blank, not ' a'",
    ),
    (
        '[[job]]\nid = "a\\nb"\ncommand = ["x"]',
        "b.toml: [[job]] 1 id: must be one line without control characters, not 'a\\nb'",
    ),
    (
        '[[job]]\nid = "a\\u001b[2J"\ncommand = ["x"]',
        "b.toml: [[job]] 1 id: must be one line without control characters, not 'a\\x1b[2J'",
    ),
    ('[[job]]\nid = "a\\u0000"\ncommand = ["x"]', "b.toml: [[job]] 1 id: must not hold a NUL character"),
    (f'[[job]]\nid = "{"a" * 201}"\ncommand = ["x"]', "b.toml: [[job]] 1 id: must be at most 200 characters, not 201"),
    (f"{JOB}{JOB}", 'b.toml: [[job]] 2 ("x") id: is already that of [[job]] 1'),
    # [[job]]: the rest
    (f'{JOB}timout = "5m"', f"{X} timout: unknown key; did you mean timeout?"),
    (f"{JOB}zzz = 1", f"{X} zzz: unknown key; known are id, group, {KEYS}, expand"),
    (
        f'{JOB}timeout = "soon"',
        f'{X} timeout: must be seconds or text like "90s", "15m", "2h", not \'soon\'',
    ),
    (f'{JOB}timeout = "1h30"', f'{X} timeout: must be seconds or text like "90s", "15m", "2h", not \'1h30\''),
    (f"{JOB}timeout = true", f'{X} timeout: must be seconds or text like "90s", "15m", "2h", not true'),
    (f"{JOB}timeout = nan", f'{X} timeout: must be seconds or text like "90s", "15m", "2h", not nan'),
    (f"{JOB}timeout = 07:32:00", f'{X} timeout: must be seconds or text like "90s", "15m", "2h", not a time'),
    (f"{JOB}timeout = 0", f"{X} timeout: must be more than 0 seconds, not 0"),
    (f"{JOB}timeout = -1", f"{X} timeout: must be more than 0 seconds, not -1"),
    (f"{JOB}pids = 0", f"{X} pids: must be a whole number from 1 to 4194304, not 0"),
    (f"{JOB}cpu_weight = 10001", f"{X} cpu_weight: must be a whole number from 1 to 10000, not 10001"),
    (f'{JOB}memory = "much"', f'{X} memory: must be bytes or text like "500M", "5GB", "20GiB", not \'much\''),
    (f"{JOB}max_output = 0", f"{X} max_output: must be more than 0 bytes, not 0"),
    (f"{JOB}silence = inf", f"{X} silence: must be at most 366 days, not inf"),
    (f'{JOB}silence = "9999d"', f"{X} silence: must be at most 366 days, not '9999d'"),
    (f"{JOB}silence = {'9' * 60}", f"{X} silence: must be at most 366 days, not a number of more than 40 digits"),
    (f'{JOB}priority = "high"', f"{X} priority: must be a whole number from -1000000 to 1000000, not 'high'"),
    (f'{JOB}priority = "5"', f"{X} priority: must be a whole number from -1000000 to 1000000, not '5'"),
    (f"{JOB}priority = 1.5", f"{X} priority: must be a whole number from -1000000 to 1000000, not 1.5"),
    (f"{JOB}max_attempts = 0", f"{X} max_attempts: must be a whole number from 1 to 1000, not 0"),
    (f"{JOB}max_attempts = true", f"{X} max_attempts: must be a whole number from 1 to 1000, not true"),
    (f'{JOB}on_cutoff = "continue"', f'{X} on_cutoff: must be "resume" or "restart", not \'continue\''),
    (
        f'{JOB}on_failure = "restrat"',
        f'{X} on_failure: must be "restart" or "resume", not \'restrat\'; did you mean restart?',
    ),
    (f"{JOB}env = []", f"{X} env: must be a table, not a list"),
    (f"{JOB}env = {{ PORT = 8080 }}", f'{X} env.PORT: must be text, not 8080 (write "8080")'),
    (f"{JOB}env = {{ PORT = 1.5 }}", f'{X} env.PORT: must be text, not 1.5 (write "1.5")'),
    (f"{JOB}env = {{ ON = true }}", f"{X} env.ON: must be text, not true"),
    (f'{JOB}env = {{ "A=B" = "x" }}', f"{X} env.\"A=B\": must be letters, digits and _ (no digit first), not 'A=B'"),
    (f'{JOB}env = {{ "1A" = "x" }}', f"{X} env.1A: must be letters, digits and _ (no digit first), not '1A'"),
    (f'{JOB}env = {{ A = "x\\u0000" }}', f"{X} env.A: must not hold a NUL character"),
    (
        f'{JOB}labels = {{ "a\\nb" = "x" }}',
        f"{X} labels.\"a\\nb\": must be one line without control characters, not 'a\\nb'",
    ),
    (f"{JOB}labels = {{ n = 1 }}", f'{X} labels.n: must be text, not 1 (write "1")'),
    (
        f'{JOB}account = "host:x"',
        f"{X} account: must be letters, digits and . _ @ + - (a letter or digit first), not 'host:x'",
    ),
    (f'{JOB}account = "*"', f"{X} account: must be letters, digits and . _ @ + - (a letter or digit first), not '*'"),
    (f'{JOB}model = ""', f"{X} model: must not be empty"),
    (
        '[[job]]\nid = "x"\ncommand = ["claude", "--model", "a"]\nmodel = "b"',
        f'{X} model: is "b", but the arguments say "a"',
    ),
    (f'{JOB}cwd = "~bob/x"', f"{X} cwd: only ~ and ~/... stand for a home directory, not '~bob/x'"),
    (f'{JOB}cwd = ""', f"{X} cwd: must not be empty"),
    (f'{JOB}cwd = "{"a/" * 3000}"', f"{X} cwd: must be at most 4,095 bytes, not 6,000"),
    (f'{JOB}prompt = "a"\nprompt_file = "b"', f"{X}: must say prompt or prompt_file, not both"),
    (f'{JOB}prompt = " "', f"{X} prompt: must not be empty"),
    (
        f'{JOB}prompt_file = "gone.txt"',
        f"{X} prompt_file: cannot read 'gone.txt' (/batches/gone.txt): No such file or directory",
    ),
    (
        f'{JOB}prompt_file = "/gone.txt"',
        f"{X} prompt_file: cannot read '/gone.txt': No such file or directory",
    ),
    (f'{JOB}prompt_file = "empty.txt"', f"{X} prompt_file: 'empty.txt' (/batches/empty.txt): must not be empty"),
]


@pytest.mark.parametrize(("text", "line"), BAD_TOML)
def test_a_mistake_in_toml_is_one_line_that_names_the_place_and_what_is_allowed(text: str, line: str) -> None:
    with pytest.raises(BadInput) as bad:
        toml(text)
    assert str(bad.value).isprintable()
    assert str(bad.value) == line


BAD_JSONL = [
    ("", "stdin: no jobs: nothing to do"),
    ('{"batch": {"name": "x"}}', "stdin: no jobs: nothing to do"),
    ('{"id": "x"', "stdin: line 1, column 11: not JSON: Expecting ',' delimiter"),
    ('\n\n{"id": x}', "stdin: line 3, column 8: not JSON: Expecting value"),
    ("[]", "stdin: line 1: must be an object, one for each line, not a list"),
    ('"x"', "stdin: line 1: must be an object, one for each line, not 'x'"),
    ('{"id": "a", "id": "b"}', "stdin: line 1: not JSON: the key id is there twice"),
    ('{"priority": NaN}', "stdin: line 1: not JSON: NaN is no number"),
    ("[" * 99999, "stdin: line 1: not read: nested too deeply"),
    ('{"timeout": ' + "9" * 5000 + "}", "stdin: line 1: not JSON: a number of thousands of digits"),
    ('{"id": "x"}', 'stdin: line 1 ("x"): must say agent (with a prompt) or command'),
    ('{"command": ["a"], "timout": 3}', "stdin: line 1 timout: unknown key; did you mean timeout?"),
    (
        '{"id": "x", "agent": "claude", "prompt": "\\ud800"}',
        'stdin: line 1 ("x") prompt: must be valid Unicode, not half of a surrogate pair',
    ),
    (
        '{"id": "x", "command": ["a"]}\n{"id": "x", "command": ["a"]}',
        'stdin: line 2 ("x") id: is already that of line 1',
    ),
    ('{"batch": {}, "id": "x"}', "stdin: line 1 id: unknown key; known are batch, defaults, accounts, groups"),
    ('{"batch": {}}\n{"batch": {}}', "stdin: line 2 batch: is said twice"),
    ('{"command": ["a"]}\n{"defaults": {}}', "stdin: line 2 defaults: must come before the first job"),
    ('{"defaults": {"timout": 3}}\n{"command": ["a"]}', "stdin: [defaults] timout: unknown key; did you mean timeout?"),
]


@pytest.mark.parametrize(("text", "line"), BAD_JSONL)
def test_a_mistake_in_jsonl_is_one_line_that_names_the_place_and_what_is_allowed(text: str, line: str) -> None:
    with pytest.raises(BadInput) as bad:
        batch.from_jsonl(text, PIPE)
    assert str(bad.value).isprintable()
    assert str(bad.value) == line


def test_a_path_that_cannot_name_a_batch_asks_for_a_name() -> None:
    around = replace(AROUND, name="/a\nb.toml")
    with pytest.raises(BadInput) as bad:
        batch.from_toml(JOB, around)
    assert str(bad.value) == "b.toml: its path cannot name the batch: say [batch] name"
    assert batch.from_toml(f'[batch]\nname = "n"\n{JOB}', around).name == "n"


def test_an_account_of_the_configuration_whose_agent_nobody_knows_is_one_line() -> None:
    with pytest.raises(BadInput) as bad:
        batch.from_toml(JOB, replace(AROUND, accounts={"a": Declared(agent="cladue")}))
    assert str(bad.value) == ('[accounts.a] agent of the configuration: unknown agent "cladue"; did you mean claude?')


def test_a_default_prompt_file_is_read_once() -> None:
    read: list[Path] = []

    def counted(path: Path) -> str:
        read.append(path)
        return "p"

    text = '[defaults]\nagent = "claude"\nprompt_file = "p"\n' + "[[job]]\n" * 3
    assert len(batch.from_toml(text, replace(AROUND, read_text=counted)).jobs) == 3
    assert read == [Path("/batches/p")]


def test_a_batch_of_more_than_a_million_jobs_is_one_line() -> None:
    with pytest.raises(BadInput, match=r"b\.toml: must be at most 1,000,000 jobs, not 1,000,001"):
        batch._from_lines({}, [({}, "line 1")] * 1_000_001, AROUND)


# --- hours ---


def test_a_batch_says_its_own_hours_and_those_of_its_accounts() -> None:
    told = toml(f"""
        [batch]
        name = "n"
        hours = "20:00-07:00 Europe/Berlin"
        [accounts.a]
        hours = "sat-sun 00:00-24:00"
        [accounts.b]
        concurrency = 1
        {JOB}""")
    assert told.hours == {"batch:n": "20:00-07:00 Europe/Berlin", "a": "sat-sun 00:00-24:00"}
    assert toml(JOB).hours == {}
    with pytest.raises(BadInput, match=r'b\.toml: \[batch\] hours: must be like "20:00-07:00"'):
        toml(f'[batch]\nhours = "night"\n{JOB}')


# --- one job by itself ---


def test_a_single_job_keeps_what_its_own_table_does_not_say() -> None:
    over = {"command": ["make", "lint"], "timeout": 60, "priority": 3, "id": "old"}
    job = batch.single({"priority": 5}, AROUND, over=over)
    assert (job.name, job.priority) == ("", 5)
    assert (job.spec.command, job.spec.timeout) == (("make", "lint"), 60)
    assert batch.single({"id": "x", "command": ["true"]}, AROUND).name == "x"
    with pytest.raises(BadInput, match=r"b\.toml priority: must be a whole number"):
        batch.single({"priority": "high", "command": ["true"]}, AROUND)


def test_the_account_of_a_single_job_is_as_it_is_declared_or_as_its_agent_makes_it() -> None:
    job = batch.single({"agent": "claude", "prompt": "p", "account": "a"}, AROUND)
    assert batch.account_of(job, AROUND) == Account(name="a", cautious=True)
    others = {"a": Declared(concurrency=2), "b": Declared(concurrency=3)}
    assert batch.account_of(job, replace(AROUND, accounts=others)) == Account(name="a", max_running=2, cautious=True)


# --- and back ----------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
SHOWN = st.characters(codec="utf-8", exclude_categories=["C", "Z"])
SOLID = st.tuples(TEXT, SHOWN, TEXT).map("".join)
NAME = st.lists(st.text(SHOWN, min_size=1, max_size=6), min_size=1, max_size=3).map(" ".join)
WORD = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,10}", fullmatch=True)
VARIABLE = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,10}", fullmatch=True)
LENGTH = st.none() | st.floats(min_value=0.001, max_value=1e7) | st.integers(1, 10**7).map(float)
ARGS = st.lists(TEXT.filter(lambda arg: arg not in {"-m", "--"} and not arg.startswith("--model")), max_size=3)


@st.composite
def new_jobs(draw: st.DrawFn) -> NewJob:
    model, args = draw(st.none() | NAME), tuple(draw(ARGS))
    program = draw(st.none() | SOLID | st.sampled_from(AGENTS))
    agent = draw(st.sampled_from(AGENTS)) if program is None else recognise([program])
    args += ("--model", model) if model and agent != "command" else ()
    spec = Spec(
        agent=agent,
        command=() if program is None else (program, *args),
        args=args if program is None else (),
        prompt=draw(SOLID if program is None else st.none() | SOLID),
        cwd="/" + draw(st.from_regex(r"[a-z]{1,5}(/[a-z]{1,5})?", fullmatch=True)),
        env=draw(st.dictionaries(VARIABLE, TEXT, max_size=3)),
        timeout=draw(LENGTH),
        silence=draw(LENGTH),
        max_output=draw(st.none() | st.integers(1, 10**15)),
        memory=draw(st.none() | st.integers(1, 10**15)),
        pids=draw(st.none() | st.integers(1, 4_194_304)),
        cpu_weight=draw(st.none() | st.integers(1, 10_000)),
        max_attempts=draw(st.integers(1, 1000)),
        on_cutoff=draw(st.sampled_from(["resume", "restart"])),
        on_failure=draw(st.sampled_from(["resume", "restart"])),
        resume_prompt=draw(st.none() | SOLID),
        result_files=tuple(draw(st.lists(st.sampled_from(["*.json", "**/.failed/result.json"]), max_size=2))),
        labels=draw(st.dictionaries(NAME, TEXT, max_size=3)),
    )
    priority = draw(st.integers(-(10**6), 10**6))
    group = draw(st.just("") | WORD)
    return NewJob(name=draw(NAME), account=draw(WORD), model=model, priority=priority, spec=spec, group=group)


@pytest.mark.slow
@given(st.lists(new_jobs(), min_size=1, max_size=4, unique_by=lambda one: one.name))
def test_jobs_come_back_from_their_records_as_they_were(jobs: list[NewJob]) -> None:
    text = batch.as_jsonl(jobs)
    assert text.isascii()
    assert list(batch.from_jsonl(text, PIPE).jobs) == jobs


def test_what_plan_prints_of_a_batch_means_the_same_batch_from_anywhere() -> None:
    written = toml(
        '[defaults]\ntimeout = "2h"\n[[job]]\ncommand = ["make"]\n[[job]]\nagent = "claude"\nprompt_file = "p.txt"'
    )
    again = batch.from_jsonl(batch.as_jsonl(written.jobs), replace(PIPE, directory=Path("/else")))
    assert again.jobs == written.jobs


def test_a_batch_says_what_may_be_spent_by_it_and_with_its_accounts() -> None:
    told = toml(
        """
        [batch]
        name = "n"
        budget = { usd = 50, tokens = 20_000_000, wall = "8h", on_exceed = "cancel" }
        [accounts.a.budget]
        usd = 9
        day = { usd = 2.5, wall = 60 }
        """
        + JOB
    )
    whole = Allowance(usd=50, tokens=20_000_000, wall=28_800)
    assert told.budgets == {
        "batch:n": Budget(whole=whole, on_exceed=Exceed.CANCEL),
        "a": Budget(whole=Allowance(usd=9), day=Allowance(usd=2.5, wall=60)),
    }
    assert toml(JOB).budgets == {}


def test_a_batch_says_how_much_of_the_windows_of_its_accounts_may_be_used() -> None:
    told = toml('[accounts.a]\nstop_at = { "5h" = 90, week = 75 }\n' + JOB)
    assert told.stops == {"a": {Window.FIVE_HOURS: 0.9, Window.WEEK: 0.75}}
    assert toml(JOB).stops == {}


@pytest.mark.parametrize(
    "head",
    [
        "",
        '[accounts.command]\nstop_at = { "5h" = 29, week = 57, day = 100 }\n',
        '[batch]\nhours = "20:00-07:00"\n',
        '[accounts.command]\nhours = "20:00-07:00"\nbudget = { usd = 0.5, day = { tokens = 9 }, on_exceed = "warn" }\n',
    ],
    ids=["nothing", "stops", "batch", "account"],
)
def test_what_plan_prints_says_the_same_hours(head: str) -> None:
    written = toml(f"{head}{JOB}")
    printed = batch.head_as_jsonl(written)
    assert (printed == "") is (head == "")
    again = batch.from_jsonl(printed + batch.as_jsonl(written.jobs), replace(PIPE, name="/batches/b.toml"))
    assert again.hours == written.hours
    assert again.budgets == written.budgets
    assert again.stops == written.stops


VALUES: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
RECORD_KEYS = st.sampled_from([*batch.JOB, *batch.HEAD, "nonsense"])


@given(st.lists(st.dictionaries(RECORD_KEYS, VALUES, max_size=4), max_size=4))
def test_whatever_is_written_becomes_jobs_or_one_line(records: list[dict[str, object]]) -> None:
    line = ""
    try:
        batch.from_jsonl("\n".join(json.dumps(record) for record in records), PIPE)
    except BadInput as bad:
        line = str(bad)
    assert line == "" or (line.isprintable() and line.startswith("stdin: ") and len(line) < 500)


STAGED = """
[groups.T0]
matrix = { name = ["x"], wait = ["90s"] }
agent = "claude"
prompt = "do it"
check = { command = ["judge", "${{ name }}", "-v"], account = "${{ name }}-j", timeout = "${{ wait }}", attempts = 2 }
publish = { command = ["codex", "exec", "push"] }
"""


def test_stages_are_filled_and_are_for_the_accounts_that_their_commands_would_have_as_jobs() -> None:
    told = toml(STAGED)
    spec = told.jobs[0].spec
    check = Stage(command=("judge", "x", "-v"), account="x-j", timeout=90.0, attempts=2)
    push = Stage(command=("codex", "exec", "push"), agent="codex", account="codex", once=True)
    assert (spec.check, spec.publish) == (check, push)
    assert {one.name: one.cautious for one in told.accounts} == {"claude": True, "x-j": False, "codex": True}
    again = batch.from_jsonl(batch.as_jsonl(told.jobs), AROUND)
    assert [one.spec for one in again.jobs] == [spec]
    often = toml(STAGED.replace('"push"] }', '"push"], once = false, attempts = 7 }')).jobs
    assert often[0].spec.publish == Stage(command=push.command, agent="codex", account="codex", attempts=7)
    assert batch.from_jsonl(batch.as_jsonl(often), AROUND).jobs[0].spec == often[0].spec


def test_a_stage_in_a_cell_of_a_table_is_json() -> None:
    cells = 'command,check,publish\n"[""true""]","{""command"": [""j""]}","{""command"": [""p""], ""once"": false}"\n'
    spec = batch.from_csv(cells, AROUND, {}).jobs[0].spec
    assert (spec.check, spec.publish) == (
        Stage(command=("j",), account="command"),
        Stage(command=("p",), account="command"),
    )


def test_jobs_that_a_program_prints_have_the_stages_of_their_group() -> None:
    text = """
[groups.T0]
command = ["true"]
[groups.T5]
needs = ["T0"]
expand = ["print"]
agent = "claude"
publish = { command = ["push"] }
check = { command = ["judge"] }
"""
    (one,) = [job for job in toml(text).jobs if job.spec.expand]
    said = json.loads(one.spec.expand)
    assert said["publish"] == {"command": ["push"], "account": "command", "once": True}
    assert said["check"] == {"command": ["judge"], "account": "command", "attempts": 3}
