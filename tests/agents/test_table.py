"""An agent that a table describes: its command lines, its session, its limits, and one clear line for what is wrong."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime

import pytest

from tidegate import agents, policy
from tidegate.agents.table import BUILT_IN, Table, described
from tidegate.errors import BadSetting
from tidegate.explain import explain, seen_in
from tidegate.model import (
    Exit,
    Failed,
    Interrupted,
    Kind,
    Limit,
    Limited,
    Outcome,
    Progress,
    SessionSeen,
    Sighting,
    Spec,
    Stream,
    Succeeded,
    Window,
)

NOW = datetime(2026, 1, 9, 18, 30, tzinfo=UTC)
NEW, OLD = "11111111-2222-4333-8444-555555555555", "ses_9"

WRITTEN = """
start = ["robo", "do", "{args}", "{prompt}"]
resume = ["robo", "go-on", "{session}", "{prompt}"]
programs = ["robo"]
session = "conversation (rb_[0-9]+)"
gone = "no such conversation"
failed = "^FAILED"
noise = "^Cost:"
env = { ROBO_QUIET = "1" }

[[limits]]
stream = "stderr"
pattern = "^robot is tired"
window = "day"
sure = true

[[limits]]
pattern = "slow down"
kind = "rate_limit"
final = false
"""
ROBO = described("robo", tomllib.loads(WRITTEN))


def told(line: str, stream: Stream = Stream.STDERR) -> list[Sighting]:
    return list(ROBO.reader(UTC).read(stream, line.encode(), NOW))


def outcome(agent: Table, out: str = "", err: str = "", *, exit: int) -> Outcome:
    lines = {Stream.STDOUT: out.encode().split(b"\n"), Stream.STDERR: err.encode().split(b"\n")}
    return policy.verdict(seen_in(lines, agent, exit=exit, now=NOW, zone=UTC), Exit(exit))


def test_the_argv_is_filled_in() -> None:
    command = ROBO.command(Spec(agent="robo", prompt="a b", args=("-x",)), session=None, new_session=NEW)
    assert command.argv == ("robo", "do", "-x", "a b")
    assert command.env == {"ROBO_QUIET": "1"}
    assert (command.stdin, command.session, command.resumes) == (None, None, False)


def test_a_session_is_resumed_with_the_resume_prompt() -> None:
    command = ROBO.command(Spec(agent="robo", prompt="a b", args=("-x",)), session=OLD, new_session=NEW)
    assert command.argv == ("robo", "go-on", OLD, "Continue where you left off.", "-x")
    assert (command.session, command.resumes) == (OLD, True)


def test_braces_in_a_prompt_are_the_prompts_own() -> None:
    command = ROBO.command(Spec(agent="robo", prompt="use {session} {x}"), session=None, new_session=NEW)
    assert command.argv[-1] == "use {session} {x}"


def test_without_a_place_for_it_the_prompt_goes_to_stdin() -> None:
    table = Table(name="t", start=("t", "--id", "{session}"), resume=("t", "--id", "{session}"))
    command = table.command(Spec(agent="t", prompt="a b"), session=None, new_session=NEW)
    assert command.argv == ("t", "--id", NEW)
    assert (command.stdin, command.session) == (b"a b", NEW)
    again = table.command(Spec(agent="t", prompt="a b"), session=OLD, new_session=NEW)
    assert (again.argv, again.stdin) == (("t", "--id", OLD), b"Continue where you left off.")


def test_without_a_resume_command_the_agent_begins_anew() -> None:
    command = Table(name="t", start=("t", "{prompt}")).command(Spec(prompt="p"), session=OLD, new_session=NEW)
    assert (command.argv, command.resumes) == (("t", "p"), False)


def test_a_jobs_own_command_is_kept() -> None:
    spec = Spec(command=("robo", "do", "x"))
    assert agents.known([ROBO]).of(spec) is ROBO
    assert ROBO.command(spec, session=OLD, new_session=NEW).argv == ("robo", "do", "x")


def test_the_session_is_found_once() -> None:
    reader = ROBO.reader(UTC)
    lines = [b"conversation rb_12 begins", b"conversation rb_13 begins"]
    assert [one for line in lines for one in reader.read(Stream.STDOUT, line, NOW)] == [SessionSeen("rb_12")]


def test_a_conversation_that_is_gone_says_so() -> None:
    ended = outcome(ROBO, err="Error: no such conversation: rb_1", exit=1)
    assert isinstance(ended, Interrupted)
    assert ended.session_gone


def test_a_pattern_of_the_table_is_a_limit_with_the_time_that_its_line_names() -> None:
    (limit,) = told("robot is tired until 9pm, resets 9pm")
    assert isinstance(limit, Limit)
    assert (limit.kind, limit.window, limit.sure) == (Kind.USAGE_LIMIT, Window.DAY, True)
    assert limit.resets_at == datetime(2026, 1, 9, 21, tzinfo=UTC)
    assert not told("robot is tired", Stream.STDOUT), "only on its stream"


def test_a_pattern_that_is_not_final_does_not_count_where_the_agent_gave_its_reason() -> None:
    (limit,) = told("please slow down")
    assert isinstance(limit, Limit)
    assert (limit.kind, limit.final, limit.sure) == (Kind.RATE_LIMIT, False, False)
    assert isinstance(outcome(ROBO, out="I give up: no tests", err="please slow down", exit=1), Failed)
    assert isinstance(outcome(ROBO, err="please slow down", exit=1), Limited)


def test_the_known_sentences_count_without_a_pattern() -> None:
    ended = outcome(ROBO, err="robo: You've hit your usage limit. Try again in 2 hours.", exit=1)
    assert isinstance(ended, Limited)
    assert not ended.limit.sure


def test_a_line_that_means_failure_outweighs_exit_0() -> None:
    assert isinstance(outcome(ROBO, out="FAILED: no way", exit=0), Failed)
    assert outcome(ROBO, out="all is well", exit=0) == Succeeded("all is well")
    assert isinstance(outcome(ROBO, out="", exit=0), Failed), "success needs an answer"


def test_a_failure_that_was_overcome_is_none() -> None:
    work = "\n".join(f"step {n}" for n in range(9))
    assert isinstance(outcome(ROBO, out=f"FAILED: try again\n{work}\ndone", exit=0), Succeeded)


def test_noise_is_never_the_reason() -> None:
    assert outcome(ROBO, err="boom\nCost: 3", exit=2) == Failed(reason="exit 2: boom")


# --- events ---

OPENCODE = next(one for one in BUILT_IN if one.name == "opencode")
AIDER = next(one for one in BUILT_IN if one.name == "aider")


def test_events_tell_the_session_progress_and_the_answer() -> None:
    text = '{"type":"text","sessionID":"ses_1a","part":{"type":"text","text":"hello"}}'
    reader = OPENCODE.reader(UTC)
    assert list(reader.read(Stream.STDOUT, text.encode(), NOW)) == [SessionSeen("ses_1a"), Progress()]
    assert outcome(OPENCODE, out=text, exit=0) == Succeeded("hello")


def test_an_error_event_is_sure_and_its_headers_name_the_reset() -> None:
    error = (
        '{"type":"error","sessionID":"ses_1a","error":{"name":"APIError","data":{'
        '"message":"The usage limit has been reached","statusCode":429,'
        '"responseHeaders":{"x-codex-primary-reset-at":"1788625200"},"responseBody":"{}"}}}'
    )
    ended = outcome(OPENCODE, out=error, exit=1)
    assert isinstance(ended, Limited)
    assert ended.limit.sure
    assert ended.limit.resets_at == datetime(2026, 9, 5, 16, 20, tzinfo=UTC)


def test_an_error_event_in_new_words_is_known_by_its_status() -> None:
    error = (
        '{"type":"error","error":{"data":{"message":"Nope","statusCode":%d,"responseHeaders":{"retry-after":"30"}}}}'
    )
    for status, kind in ((429, Kind.RATE_LIMIT), (402, Kind.CREDIT), (401, Kind.AUTH), (529, Kind.OVERLOADED)):
        ended = outcome(OPENCODE, out=error % status, exit=1)
        assert isinstance(ended, Limited)
        assert (ended.limit.kind, ended.limit.sure) == (kind, True)
    assert outcome(OPENCODE, out=error % 400, exit=1) == Failed(reason="exit 1: Nope")


def test_aider_that_exits_0_on_a_rate_limit_is_no_success() -> None:
    said = "litellm.RateLimitError: AnthropicException - {}\nThe API provider has rate limited you. Try again later."
    ended = outcome(AIDER, out=said, exit=0)
    assert isinstance(ended, Limited)
    assert ended.limit.kind is Kind.RATE_LIMIT
    assert isinstance(outcome(AIDER, out=said + "\n" + "\n".join("abcdefgh"), exit=0), Succeeded)


# --- built in ---


@pytest.mark.parametrize("table", BUILT_IN, ids=lambda one: one.name)
def test_a_built_in_table_names_its_source_and_begins_with_its_program(table: Table) -> None:
    assert table.source
    assert table.start[0] in table.programs
    command = table.command(Spec(agent=table.name, prompt="say hi", args=("--flag",)), session=None, new_session=NEW)
    assert "say hi" in command.argv
    assert "--flag" in command.argv
    if table.resume:
        again = table.command(Spec(agent=table.name, prompt="say hi"), session=OLD, new_session=NEW)
        assert any(OLD in word for word in again.argv)
        assert again.resumes


def test_a_table_of_the_configuration_replaces_a_built_in_one() -> None:
    own = Table(name="opencode", start=("my-opencode", "{prompt}"))
    assert agents.known([own]).agents["opencode"] is own


def test_explain_reads_by_a_table_of_the_configuration() -> None:
    known = agents.known([ROBO])
    told = explain("robot is tired", agent="robo", stream=Stream.STDERR, exit=1, now=NOW, zone=UTC, known=known)
    assert (told.kind, told.window, told.sure) == (Kind.USAGE_LIMIT, Window.DAY, True)


# --- what is wrong ---


@pytest.mark.parametrize(("table", "words"), [
    ("", 'must say start = ["program"'),
    ("start = []", "start: must name a program"),
    ('start = "robo"', "start: must be a list of texts, not 'robo'"),
    ('start = ["robo", "{model}"]', "start: {model} is none of {prompt}, {session}, {args}"),
    ('start = ["r"]\nresume = ["r", "{id}"]', "resume: {id} is none of"),
    ('start = ["r"]\nsession = "("', "session: '(' is no regular expression"),
    ('start = ["r"]\nsession = "abc"', "session: 'abc' needs a group"),
    ('start = ["r"]\noutput = "xml"', "output: must be one of text, events, stream-json, not 'xml'"),
    ('start = ["r"]\nstrat = 1', "strat: is no key; allowed are answer, credential, env"),
    ('start = ["r"]\nproof = "yes"', "proof: must be true or false, not 'yes'"),
    ('start = ["r"]\nenv = { A = 1 }', "env: must be a table of texts"),
    ('start = ["r"]\nlimits = 3', "limits: must be tables"),
    ('start = ["r"]\n[[limits]]\nkind = "auth"', "limits 1: must say pattern"),
    ('start = ["r"]\n[[limits]]\npattern = "["', "limits 1: '[' is no regular expression"),
    ('start = ["r"]\n[[limits]]\npattern = "x"\nkind = "tired"', "limits 1 kind: must be one of usage_limit"),
    ('start = ["r"]\n[[limits]]\npattern = "x"\nwindow = "year"', "limits 1 window: must be one of minute, 5h, day"),
    ('start = ["r"]\n[[limits]]\npattern = "x"\nmodel = "y"', "limits 1 model: is no key"),
])  # fmt: skip
def test_a_wrong_table_is_one_clear_line(table: str, words: str) -> None:
    with pytest.raises(BadSetting) as raised:
        described("robo", tomllib.loads(table))
    assert str(raised.value).startswith("[agents.robo]")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
