"""The command lines with which agents are started and resumed, and how a job's own command is recognised."""

from __future__ import annotations

import json
import shlex

import pytest

from tidegate import agents
from tidegate.agents import Command
from tidegate.agents.claude import Claude
from tidegate.errors import BadInput
from tidegate.model import Spec

KNOWN = agents.known()
NEW, OLD = "11111111-2222-4333-8444-555555555555", "99999999-8888-4777-8666-555555555555"
STREAM = "--output-format stream-json --verbose"


def begun(spec: Spec) -> Command:
    return KNOWN.of(spec).command(spec, session=None, new_session=NEW)


def resumed(spec: Spec) -> Command:
    return KNOWN.of(spec).command(spec, session=OLD, new_session=NEW)


def own(line: str) -> Spec:
    """A job whose command is written as in a shell, a prompt in quotation marks."""
    return Spec(command=tuple(shlex.split(line)))


def said(command: Command) -> str:
    return " ".join(f'"{word}"' if " " in word else word for word in command.argv)


# --- claude ---

OWN_CLAUDE = [
    # a job's command | begun | resumed
    ('claude -p "fix it"', f'claude {STREAM} --session-id NEW -p "fix it"', f"claude {STREAM} --resume OLD -p"),
    ('claude "fix it"', f'claude -p {STREAM} --session-id NEW "fix it"', f"claude -p {STREAM} --resume OLD"),
    ("claude -p", f"claude {STREAM} --session-id NEW -p", f"claude {STREAM} --resume OLD -p"),
    (
        'claude -p "fix it" --model opus --allowedTools Bash Edit --max-turns 3',
        f'claude {STREAM} --session-id NEW -p "fix it" --model opus --allowedTools Bash Edit --max-turns 3',
        f"claude {STREAM} --resume OLD -p --model opus --allowedTools Bash Edit --max-turns 3",
    ),
    (
        'claude --print --output-format stream-json --verbose "fix it"',
        'claude --session-id NEW --print --output-format stream-json --verbose "fix it"',
        "claude --resume OLD --print --output-format stream-json --verbose",
    ),
    (
        'claude -p --output-format=json "fix it"',
        'claude --session-id NEW -p --output-format=json "fix it"',
        "claude --resume OLD -p --output-format=json",
    ),
    (
        'claude -p --output-format text "fix it"',
        'claude --session-id NEW -p --output-format text "fix it"',
        "claude --resume OLD -p --output-format text",
    ),
    ('claude -p -c "go on"', f'claude {STREAM} -p -c "go on"', f"claude {STREAM} --resume OLD -p"),
    ('claude -p --resume X "go on"', f'claude {STREAM} -p --resume X "go on"', f"claude {STREAM} --resume OLD -p"),
    (
        'claude -p --resume X --fork-session "go on"',
        f'claude {STREAM} -p --resume X --fork-session "go on"',
        f"claude {STREAM} --resume OLD -p",
    ),
    ('claude -p --session-id X "a b"', f'claude {STREAM} -p --session-id X "a b"', f"claude {STREAM} --resume OLD -p"),
    ('claude -p -- "- a b"', f'claude {STREAM} --session-id NEW -p -- "- a b"', f"claude {STREAM} --resume OLD -p"),
    (
        'claude -p --brand-new value "fix it"',
        f'claude {STREAM} --session-id NEW -p --brand-new value "fix it"',
        f"claude {STREAM} --resume OLD -p --brand-new value",
    ),
    (
        'claude -p --brand-new "fix it"',
        f'claude {STREAM} --session-id NEW -p --brand-new "fix it"',
        f"claude {STREAM} --resume OLD -p --brand-new",
    ),
    (
        'env A=1 -u B timeout -k 5 1h nice -n 10 claude -p "fix it"',
        f'env A=1 -u B timeout -k 5 1h nice -n 10 claude {STREAM} --session-id NEW -p "fix it"',
        f"env A=1 -u B timeout -k 5 1h nice -n 10 claude {STREAM} --resume OLD -p",
    ),
    (
        'npx -y @anthropic-ai/claude-code@2.1.330 -p "fix it"',
        f'npx -y @anthropic-ai/claude-code@2.1.330 {STREAM} --session-id NEW -p "fix it"',
        f"npx -y @anthropic-ai/claude-code@2.1.330 {STREAM} --resume OLD -p",
    ),
    (
        'node /opt/node_modules/@anthropic-ai/claude-code/cli.js -p "fix it"',
        f'node /opt/node_modules/@anthropic-ai/claude-code/cli.js {STREAM} --session-id NEW -p "fix it"',
        f"node /opt/node_modules/@anthropic-ai/claude-code/cli.js {STREAM} --resume OLD -p",
    ),
    (
        '/usr/local/bin/claude -p "fix it" --add-dir /a /b',
        f'/usr/local/bin/claude {STREAM} --session-id NEW -p "fix it" --add-dir /a /b',
        f"/usr/local/bin/claude {STREAM} --resume OLD -p --add-dir /a /b",
    ),
]


def filled(line: str) -> str:
    return line.replace("NEW", NEW).replace("OLD", OLD)


@pytest.mark.parametrize(("line", "start", "resume"), OWN_CLAUDE)
def test_a_jobs_own_claude_gets_only_the_flags_that_it_lacks(line: str, start: str, resume: str) -> None:
    assert said(begun(own(line))) == filled(start)
    assert begun(own(line)).stdin is None


@pytest.mark.parametrize(("line", "start", "resume"), OWN_CLAUDE)
def test_to_resume_the_prompt_and_the_session_flags_give_way(line: str, start: str, resume: str) -> None:
    command = resumed(own(line))
    assert said(command) == filled(resume)
    assert command.stdin == b"Continue where you left off."
    assert (command.session, command.resumes) == (OLD, True)


def test_a_prompt_goes_to_claude_by_stdin_and_not_by_argv() -> None:
    command = begun(Spec(agent="claude", prompt="fix it", args=("--model", "opus")))
    assert said(command) == filled(f"claude -p {STREAM} --session-id NEW --model opus")
    assert command.stdin == b"fix it"
    assert (command.session, command.resumes) == (NEW, False)


def test_a_jobs_own_resume_prompt_is_used() -> None:
    command = resumed(Spec(agent="claude", prompt="fix it", resume_prompt="Go on."))
    assert said(command) == filled(f"claude -p {STREAM} --resume OLD")
    assert command.stdin == b"Go on."


def test_a_prompt_for_stream_json_input_is_a_message() -> None:
    spec = Spec(agent="claude", prompt="fix it", args=("--input-format", "stream-json"))
    message = json.loads(begun(spec).stdin or b"")
    assert message == {"type": "user", "message": {"role": "user", "content": "fix it"}}
    assert json.loads(resumed(spec).stdin or b"")["message"]["content"] == "Continue where you left off."


def test_claude_does_not_retry_for_long_and_does_not_wait_inside() -> None:
    env = begun(Spec(agent="claude", prompt="x")).env
    assert env["CLAUDE_CODE_MAX_RETRIES"] == "2"
    assert env["DISABLE_AUTOUPDATER"] == env["CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"] == "1"
    assert not env["CLAUDE_CODE_RETRY_WATCHDOG"], "set, so that none is inherited, and off"


@pytest.mark.parametrize(("line", "session"), [
    ("claude -p x --session-id MINE", "MINE"),
    ("claude -p x --resume MINE", "MINE"),
    ("claude -p x --resume MINE --fork-session", None),
    ("claude -p x --continue", None),
    ("claude -p x", NEW),
])  # fmt: skip
def test_the_session_is_known_before_the_launch_where_the_command_line_tells_it(line: str, session: str | None) -> None:
    assert begun(own(line)).session == session


def test_what_manages_claude_is_left_as_it_is() -> None:
    assert said(begun(own("claude mcp list"))) == "claude mcp list"


def test_another_program_that_behaves_like_claude_can_stand_in() -> None:
    like = Claude(name="demo", program=("python3", "-m", "demo"))
    command = like.command(Spec(agent="demo", prompt="x"), session=None, new_session=NEW)
    assert said(command) == filled(f"python3 -m demo -p {STREAM} --session-id NEW")


# --- codex ---

OWN_CODEX = [
    ('codex exec "do it"', 'codex exec --json "do it"', "codex exec --json resume OLD -"),
    ("codex exec -", "codex exec --json -", "codex exec --json resume OLD -"),
    (
        'codex -m gpt-5 exec -c a=b --json -s workspace-write "do it"',
        'codex -m gpt-5 exec -c a=b --json -s workspace-write "do it"',
        "codex -m gpt-5 exec -c a=b --json -s workspace-write resume OLD -",
    ),
    (
        'codex e --skip-git-repo-check "do it" -i a.png b.png',
        'codex e --json --skip-git-repo-check "do it" -i a.png b.png',
        "codex e --json --skip-git-repo-check resume OLD -",
    ),
    (
        'codex exec resume X "go on" --model gpt-5',
        'codex exec --json resume X "go on" --model gpt-5',
        "codex exec --json --model gpt-5 resume OLD -",
    ),
    (
        'codex exec resume --last "go on"',
        'codex exec --json resume --last "go on"',
        "codex exec --json resume OLD -",
    ),
    (
        'npx @openai/codex exec "do it"',
        'npx @openai/codex exec --json "do it"',
        "npx @openai/codex exec --json resume OLD -",
    ),
]


@pytest.mark.parametrize(("line", "start", "resume"), OWN_CODEX)
def test_a_jobs_own_codex_prints_events_and_is_resumed_by_its_thread(line: str, start: str, resume: str) -> None:
    assert said(begun(own(line))) == filled(start)
    assert begun(own(line)).session is None
    command = resumed(own(line))
    assert said(command) == filled(resume)
    assert command.stdin == b"Continue where you left off."
    assert (command.session, command.resumes) == (OLD, True)


def test_a_prompt_goes_to_codex_by_stdin() -> None:
    command = begun(Spec(agent="codex", prompt="do it", args=("-m", "gpt-5")))
    assert said(command) == "codex exec --json -m gpt-5"
    assert command.stdin == b"do it"


def test_codex_without_exec_is_left_as_it_is() -> None:
    assert said(resumed(own("codex login"))) == "codex login"


# --- gemini ---

OWN_GEMINI = [
    (
        'gemini -p "do it" -m gemini-2.5-pro --yolo',
        'gemini --output-format stream-json --session-id NEW -p "do it" -m gemini-2.5-pro --yolo',
        "gemini --output-format stream-json --resume OLD -m gemini-2.5-pro --yolo",
    ),
    (
        'gemini -o json "do it"',
        'gemini --session-id NEW -o json "do it"',
        "gemini --resume OLD -o json",
    ),
    (
        'gemini --resume latest -p "go on"',
        'gemini --output-format stream-json --resume latest -p "go on"',
        "gemini --output-format stream-json --resume OLD",
    ),
]


@pytest.mark.parametrize(("line", "start", "resume"), OWN_GEMINI)
def test_a_jobs_own_gemini_streams_and_is_resumed(line: str, start: str, resume: str) -> None:
    assert said(begun(own(line))) == filled(start)
    command = resumed(own(line))
    assert said(command) == filled(resume)
    assert command.stdin == b"Continue where you left off."


def test_gemini_is_launched_so_that_a_signal_reaches_it() -> None:
    command = begun(Spec(agent="gemini", prompt="do it"))
    assert said(command) == filled("gemini --output-format stream-json --session-id NEW")
    assert command.stdin == b"do it"
    assert command.env == {"GEMINI_CLI_NO_RELAUNCH": "true"}


# --- any program ---


def test_a_program_is_run_as_it_is_with_its_prompt_on_stdin() -> None:
    spec = Spec(command=("./tool", "-x"), prompt="words")
    assert begun(spec) == resumed(spec) == Command(argv=("./tool", "-x"), stdin=b"words")


def test_a_job_without_agent_and_command_is_refused() -> None:
    with pytest.raises(BadInput, match="command"):
        begun(Spec(agent="command"))


# --- who is who ---


@pytest.mark.parametrize(("argv", "agent"), [
    (("claude", "-p", "x"), "claude"),
    (("/opt/bin/claude", "-p", "x"), "claude"),
    (("env", "-i", "A=b c", "claude"), "claude"),
    (("timeout", "--signal=INT", "5m", "claude", "-p"), "claude"),
    (("nohup", "setsid", "-w", "stdbuf", "-oL", "codex", "exec"), "codex"),
    (("npx", "--yes", "@google/gemini-cli@latest", "-p", "x"), "gemini"),
    (("bunx", "opencode-ai", "run", "x"), "opencode"),
    (("uvx", "--from", "aider-chat", "aider", "--message", "x"), "aider"),
    (("node", "--max-old-space-size=4096", "/x/node_modules/@openai/codex/bin/codex.js", "exec"), "codex"),
    (("qwen", "x"), "qwen-code"),
    (("cursor-agent", "-p", "x"), "cursor-agent"),
    (("sh", "-c", "claude -p x"), "command"),
    (("./claude.sh",), "command"),
    (("node", "server.js"), "command"),
    (("npx", "prettier", "--write", "."), "command"),
    (("env",), "command"),
    (("timeout", "5"), "command"),
    (("env", "-u"), "command"),
    ((), "command"),
])  # fmt: skip
def test_a_command_is_recognised_by_its_program(argv: tuple[str, ...], agent: str) -> None:
    assert KNOWN.recognise(argv) == agent
    if argv:
        assert agents.recognise(Spec(command=argv), KNOWN.agents).name == agent


def test_a_job_that_names_its_agent_keeps_it_though_its_command_is_a_wrapper() -> None:
    spec = Spec(agent="claude", command=("./wrapper.sh", "x"), prompt="p")
    assert KNOWN.of(spec).name == "claude"
    assert begun(spec).argv == resumed(spec).argv == ("./wrapper.sh", "x")
    assert begun(spec).env["CLAUDE_CODE_MAX_RETRIES"] == "2", "for the agent that the wrapper starts"
    assert not resumed(spec).resumes


def test_an_agent_that_nobody_knows_is_one_clear_line() -> None:
    with pytest.raises(BadInput, match=r"no agent 'clod'; known are aider, amp, claude, codex"):
        KNOWN.of(Spec(agent="clod", prompt="x"))


@pytest.mark.parametrize(("called", "agent"), [
    ("claude-code", "claude"), ("Claude Code", "claude"), ("claude-code (context)", "claude"), ("codex app", "codex"),
    ("gemini-cli", "gemini"), ("gemini-code-assist", "gemini"), ("qwen-code", "qwen-code"), ("qwen", "qwen-code"),
    ("copilot-cli", "copilot"), ("cursor", "command"), ("cursor-agent", "cursor-agent"),
    ("pi (codex backend)", "command"),
    ("tool-output", "command"), ("gh", "command"), ("", "command"),
])  # fmt: skip
def test_people_call_agents_by_many_names(called: str, agent: str) -> None:
    assert KNOWN.called(called).name == agent


def test_only_providers_with_limits_are_approached_with_one_first() -> None:
    assert KNOWN.has_limits("claude")
    assert not KNOWN.has_limits("command")
    assert not KNOWN.has_limits("nobody")
