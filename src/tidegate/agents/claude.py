"""Claude Code, `claude -p`: its command lines and its `stream-json` (versions 1.0.43 to 2.1.330 were recorded)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

from tidegate.agents import Command, Reader
from tidegate.agents.reading import argv
from tidegate.agents.reading.argv import Grammar, Part, Program
from tidegate.agents.reading.stream import StreamJson
from tidegate.agents.reading.tail import Tails
from tidegate.model import Drawn, Exit, Result, SessionGone, Sighting, Spec, Stream, Variables

RESUME_PROMPT = "Continue where you left off."

# The CLI retries twice, some seconds, instead of for 3 to 11 minutes; the job waits outside of it. An empty
# CLAUDE_CODE_RETRY_WATCHDOG is off: on, the process would sit out a limit itself and hold a slot (2.1.330).
ENVIRONMENT = {
    "CLAUDE_CODE_MAX_RETRIES": "2",
    "DISABLE_AUTOUPDATER": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "CLAUDE_CODE_RETRY_WATCHDOG": "",
}

# A token of `claude setup-token`, or a key. In `claude -p` a key wins over a token, and each of the rest over both.
VARIABLES = Variables(
    takes=(("sk-ant-oat", "CLAUDE_CODE_OAUTH_TOKEN"), ("sk-ant-", "ANTHROPIC_API_KEY")),
    rivals=(
        *("ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR", "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR"),
        *("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY"),
    ),
)

# From `claude --help` of 2.1.330, and the flags that it does not show.
GRAMMAR = Grammar(
    valued=argv.flags(
        "--agent --agents --append-system-prompt --append-system-prompt-file --autocompact --debug-file"
        " --effort --environment --fallback-model --input-format --json-schema --max-budget-usd"
        " --max-thinking-tokens --max-turns --model -n --name --output-format --permission-mode"
        " --permission-prompt-tool --permission-prompts --plugin-dir --plugin-url"
        " --remote-control-session-name-prefix --resume-session-at --session-id --setting-sources --settings"
        " --system-prompt --system-prompt-file --system-prompt-snapshot --task-budget --thinking"
    ),
    optional=argv.flags(
        "--cloud -d --debug --from-pr --prompt-suggestions --remote-control -r --resume --teleport -w --worktree"
    ),
    listed=argv.flags(
        "--add-dir --allowedTools --allowed-tools --betas --disallowedTools --disallowed-tools --file"
        " --mcp-config --tools"
    ),
    switches=argv.flags(
        "-p --print -c --continue --allow-dangerously-skip-permissions --ax-screen-reader --bare --bg"
        " --background --brief --chrome --dangerously-skip-permissions --desktop --disable-slash-commands"
        " --exclude-dynamic-system-prompt-sections --fork-session --forward-subagent-text --ide"
        " --include-hook-events --include-partial-messages --no-chrome --no-session-persistence"
        " --replay-user-messages --restricted --safe-mode --strict-mcp-config --tmux --verbose"
    ),
)
SESSION_FLAGS = ("--session-id", "--resume", "-r", "--continue", "-c", "--fork-session", "--from-pr", "--teleport")
SUBCOMMANDS = argv.flags(
    "agents attach auth auto-mode config doctor gateway import install logs mcp migrate-installer plugin"
    " plugins purge rm setup-token stop update upgrade"
)


@dataclass(frozen=True, slots=True)
class Claude:
    """The agent `claude`.

    `program` is what a job that says only a prompt runs. A job's own command line is kept: only absent ones of `-p`,
    `--output-format stream-json`, `--verbose` and a session's id are added, directly behind the program. To resume, its
    session flags and its prompt (each positional argument) give way to `--resume ID` and the resume prompt on stdin.
    Not recognised: a prompt that a variadic flag
    before it swallows (`--allowedTools Bash "fix it"`; claude does not see it either), and the value of a flag that
    GRAMMAR does not know, which stays unless it is the last and only positional argument. A command line that names its
    own `--session-id` can begin only once: claude refuses an id that is in use.
    """

    name: str = "claude"
    has_limits: bool = True
    proof: bool = True
    programs: tuple[str, ...] = ("claude",)
    variables: Variables = VARIABLES
    program: tuple[str, ...] = ("claude",)

    def command(self, spec: Spec, *, session: str | None, new_session: str) -> Command:
        """The command that starts `spec` under the id `new_session`, or resumes `session`; prompts go to stdin."""
        found = argv.program(spec.command) if spec.command else Program(self.name, self.program, spec.args)
        args = argv.parts(found.args, GRAMMAR) if found else []
        if found is None or found.name not in (*self.programs, self.name) or _is_subcommand(args):
            return Command(argv=spec.command, stdin=_encoded(spec.prompt, []), env=ENVIRONMENT)
        if session is not None:
            return self._resumed(found.before, args, spec, session)
        own = argv.has(args, *SESSION_FLAGS)
        flags = _absent(args) + ([] if own else ["--session-id", new_session])
        known = new_session if not own else _own_session(args)
        line = (*found.before, *flags, *argv.tokens(args))
        return Command(argv=line, stdin=_encoded(spec.prompt, args), env=ENVIRONMENT, session=known)

    def _resumed(self, before: tuple[str, ...], args: list[Part], spec: Spec, session: str) -> Command:
        kept = argv.without_prompt(argv.without(args, *SESSION_FLAGS))
        line = (*before, *_absent(args), "--resume", session, *argv.tokens(kept))
        prompt = _encoded(spec.resume_prompt or RESUME_PROMPT, args)
        return Command(argv=line, stdin=prompt, env=ENVIRONMENT, session=session, resumes=True)

    def reader(self, zone: tzinfo) -> Reader:
        """A reader of `stream-json`, `json` and `text`."""
        return ClaudeReader(zone)

    def aside(self, session: str, environment: Mapping[str, str]) -> Iterable[Sighting]:  # noqa: ARG002 - the port's
        """Nothing: all that it tells is in its output."""
        return ()


def _absent(args: list[Part]) -> list[str]:
    """The flags that are needed and that a command line lacks."""
    printed = argv.value(args, "--output-format") or "stream-json"
    flags = [] if argv.has(args, "-p", "--print") else ["-p"]
    flags += [] if argv.has(args, "--output-format") else ["--output-format", printed]
    return flags + (["--verbose"] if printed == "stream-json" and not argv.has(args, "--verbose") else [])


def _is_subcommand(args: list[Part]) -> bool:
    """Whether a command line manages claude (`claude mcp list`) rather than asks it something."""
    first = next((part.tokens[0] for part in args if not part.flag), "")
    return first in SUBCOMMANDS and not argv.has(args, "-p", "--print")


def _own_session(args: list[Part]) -> str | None:
    if argv.has(args, "--fork-session", "-c", "--continue", "--from-pr", "--teleport"):
        return None
    return argv.value(args, "--session-id", "--resume", "-r")


def _encoded(prompt: str | None, args: list[Part]) -> bytes | None:
    """A prompt as stdin wants it: text, or a message where the command line says `--input-format stream-json`."""
    if prompt is None:
        return None
    if argv.value(args, "--input-format") == "stream-json":
        prompt = json.dumps({"type": "user", "message": {"role": "user", "content": prompt}}) + "\n"
    return prompt.encode(errors="surrogateescape")


INTERRUPTED = "Execution error"  # all that text mode prints after SIGINT, with exit 0
GONE = b"No conversation found with session ID"


class ClaudeReader:
    """Reads the frames; where a job asked for text, the text by the exit code and its last line."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._frames = StreamJson(zone)
        self._tails = Tails()

    def read(self, stream: Stream, line: bytes, at: datetime) -> Iterable[Sighting]:
        """What one line tells."""
        if stream is Stream.STDOUT:
            told = self._frames.read(line, at)
            if told is not None:
                return told
        self._tails.keep(stream, line, at)
        if stream is Stream.STDERR and line.startswith(GONE):
            return (SessionGone(self._tails.err.last),)
        return ()

    def end(self, exit: Exit, at: datetime) -> Iterator[Sighting]:  # noqa: ARG002 - the port's
        """A limit that only text told, and the result of text mode: the whole of stdout is the answer, or the error."""
        if self._frames.answered:
            return
        limit = self._tails.refusal(self._zone) if exit.code else None
        if limit is not None:
            yield limit
        if not self._frames.framed and self._tails.out and (limit is None or limit.final):
            text = self._tails.out.text
            yield Result(ok=exit.code == 0 and text != INTERRUPTED, text=text)

    @property
    def drawn(self) -> Drawn:
        """What the answers and the result tell."""
        return self._frames.drawn

    @property
    def last_words(self) -> str:
        """The last line of stderr, else of text on stdout."""
        return self._tails.last_words
