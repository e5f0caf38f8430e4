"""Gemini CLI, `gemini`: its command lines, its `stream-json`, `json` and text (0.61.0 was recorded)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

from msgspec.structs import replace

from tidegate import resets
from tidegate.agents import Command, Reader
from tidegate.agents.reading import argv, frames, wording
from tidegate.agents.reading.argv import Grammar, Part
from tidegate.agents.reading.draws import weight_of_all
from tidegate.agents.reading.frames import Json
from tidegate.agents.reading.tail import ANSWER_MOST, ERR_DEEP, OUT_DEEP, TEXT_MOST, Tail
from tidegate.model import (
    NOT_DRAWN,
    Drawn,
    Exit,
    Kind,
    Limit,
    Progress,
    Result,
    SessionGone,
    SessionSeen,
    Sighting,
    Spec,
    Stream,
    Variables,
)

RESUME_PROMPT = "Continue where you left off."
ENVIRONMENT = {"GEMINI_CLI_NO_RELAUNCH": "true"}  # else TERM to the launched pid is ignored: the work runs in a child

# From `gemini --help` of 0.61.0.
GRAMMAR = Grammar(
    valued=argv.flags(
        "-m --model -p --prompt -i --prompt-interactive --approval-mode -r --resume --session-file"
        " --session-id --delete-session -o --output-format -w --worktree"
    ),
    listed=argv.flags(
        "--policy --admin-policy --allowed-mcp-server-names --allowed-tools -e --extensions --include-directories"
    ),
    switches=argv.flags(
        "-d --debug --skip-trust -s --sandbox -y --yolo --acp --experimental-acp -l --list-extensions"
        " --list-sessions --screen-reader --raw-output --accept-raw-output-risk"
    ),
)
SESSION_FLAGS = ("--session-id", "--session-file", "--resume", "-r")
PROMPT_FLAGS = ("-p", "--prompt", "-i", "--prompt-interactive")
SUBCOMMANDS = argv.flags("mcp extensions extension skills skill hooks hook gemma")

# The rest choose Vertex or a login in its place.
VARIABLES = Variables(
    takes=(("", "GEMINI_API_KEY"),),
    rivals=("GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_GCA"),
)


@dataclass(frozen=True, slots=True)
class Gemini:
    """The agent `gemini`.

    Without a prompt in the arguments it reads one from stdin and runs headless. A job's own command line is kept; an
    absent `--output-format stream-json` and a session's id are added directly behind the program. To resume, its
    session flags, `-p` and positional arguments give way to `--resume ID` and the resume prompt on stdin.
    """

    name: str = "gemini"
    has_limits: bool = True
    proof: bool = True
    programs: tuple[str, ...] = ("gemini",)
    variables: Variables = VARIABLES

    def command(self, spec: Spec, *, session: str | None, new_session: str) -> Command:
        """The command that starts `spec` under the id `new_session`, or resumes `session`; prompts go to stdin."""
        found = argv.program(spec.command or ("gemini", *spec.args))
        args = argv.parts(found.args, GRAMMAR) if found else []
        if found is None or found.name not in self.programs or _is_subcommand(args):
            return Command(argv=spec.command, stdin=_encoded(spec.prompt), env=ENVIRONMENT)
        flags = [] if argv.has(args, "-o", "--output-format") else ["--output-format", "stream-json"]
        if session is not None:
            kept = argv.tokens(argv.without_prompt(argv.without(args, *SESSION_FLAGS, *PROMPT_FLAGS)))
            line = (*found.before, *flags, "--resume", session, *kept)
            prompt = _encoded(spec.resume_prompt or RESUME_PROMPT)
            return Command(argv=line, stdin=prompt, env=ENVIRONMENT, session=session, resumes=True)
        own = argv.has(args, *SESSION_FLAGS)
        flags += [] if own else ["--session-id", new_session]
        line = (*found.before, *flags, *argv.tokens(args))
        known = argv.value(args, "--session-id") if own else new_session
        return Command(argv=line, stdin=_encoded(spec.prompt), env=ENVIRONMENT, session=known)

    def reader(self, zone: tzinfo) -> Reader:
        """A reader of `stream-json`, `json` and text."""
        return GeminiReader(zone)

    def aside(self, session: str, environment: Mapping[str, str]) -> Iterable[Sighting]:  # noqa: ARG002 - the port's
        """Nothing: all that it tells is in its output."""
        return ()


def _is_subcommand(args: list[Part]) -> bool:
    return bool(args) and not args[0].flag and args[0].tokens[0] in SUBCOMMANDS


def _encoded(prompt: str | None) -> bytes | None:
    return None if prompt is None else prompt.encode(errors="surrogateescape")


# Exit codes are HTTP statuses modulo 256 in the JSON modes, and these.
EXITS = {173: 429, 144: 400, 145: 401, 147: 403, 244: 500, 247: 503, 41: 401}
REPORT = b"Error when talking to Gemini API"
CAUSE = re.compile(r"^.*?\b(?:\w*Error): (?=\S)", re.DOTALL)
STACK = re.compile(r"\n\s+at .*", re.DOTALL)
TRIES = re.compile(rb"Attempt \d{1,3} failed[: ]")
DELAY = re.compile(rb"\s*retryDelayMs: (\d{1,12})\b")
STATUS = re.compile(rb"\s*status: (\d{3})\b")
ANSWER = re.compile(rb'  "(response|session_id)": (".*")')
NOISE = (b"Warning: ", b"Ripgrep is not available", b"YOLO mode is enabled", b"[STARTUP] ")
GONE = b"Error resuming session:"


class GeminiReader:
    """Reads stdout's events; what went wrong stands on stderr, in a report, and for `json` in an object at its end."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._out = Tail()
        self._err = Tail()
        self._framed = False
        self._answered = False
        self._progressed = False
        self._session = ""
        self._answer = ""
        self._spoken = False
        self._report: list[str] | None = None
        self._report_at: datetime | None = None
        self._facts: dict[str, object] = {}
        self._drawn = NOT_DRAWN

    def read(self, stream: Stream, line: bytes, at: datetime) -> Iterable[Sighting]:
        """What one line tells."""
        if stream is Stream.STDERR:
            return self._stderr(line, at)
        head = frames.head(line)
        if head is None or head[0] not in EVENTS:
            return self._text(line, at)
        self._framed = True
        if head[0] in ("init", "message", "result"):
            frame = frames.parsed(line)
            return () if frame is None else list(self._event(frame, at))
        if head[0] != "tool_use":
            return ()
        self._spoken = True  # what follows a tool is a new answer
        return self._progress()

    # --- stdout ---

    def _text(self, line: bytes, at: datetime) -> Iterable[Sighting]:
        self._out.keep(line, at)
        key = ANSWER.match(line)  # `json`: keys of the outermost object stand two blanks deep
        if key is None:
            return ()
        value = frames.parsed(b'{"it": ' + key[2] + b"}")
        text = frames.text(value or {}, "it")
        if key[1] == b"session_id":
            return self._named(text)
        self._answered, self._answer = True, text[:ANSWER_MOST]
        return ()

    def _event(self, frame: Json, at: datetime) -> Iterator[Sighting]:
        match frame.get("type"):
            case "init":
                yield from self._named(frames.text(frame, "session_id"))
            case "message" if frame.get("role") == "assistant":
                self._say(frames.text(frame, "content"), more=frame.get("delta") is True)
                yield from self._progress()
            case "result":
                yield from self._result(frame, at)

    def _say(self, text: str, *, more: bool) -> None:
        """Keep the end of the agent's last answer, which comes in pieces."""
        self._answer = ((self._answer if more and not self._spoken else "") + text)[-ANSWER_MOST:]
        self._spoken = False

    def _named(self, session: str) -> Iterable[Sighting]:
        if not session or session == self._session:
            return ()
        self._session = session
        return (SessionSeen(session),)

    def _progress(self) -> Iterable[Sighting]:
        if self._progressed:
            return ()
        self._progressed = True
        return (Progress(),)

    def _result(self, frame: Json, at: datetime) -> Iterator[Sighting]:
        self._answered = True
        stats = frames.table(frame, "stats")
        told = frames.usage(stats)
        names = ("input_tokens", "output_tokens", "cached")
        whole, written, recalled = (frames.number(stats, name) or 0 for name in names)
        self._drawn = Drawn(weight_of_all(whole, written, recalled=recalled), int(bool(whole or written)))
        if told is not None and (told.input_tokens or told.output_tokens):
            yield told
        if frame.get("status") == "success":
            yield Result(ok=True, text=self._answer)
            return
        message = frames.text(frame, "error", "message")
        limit = frames.refused(frame, at, self._zone)
        yield from (limit,) if limit else ()
        yield Result(ok=False, text=message)

    # --- stderr ---

    def _stderr(self, line: bytes, at: datetime) -> Iterable[Sighting]:
        if not line.startswith(NOISE):
            self._err.keep(line, at)
        self._gather(line, at)
        if line.startswith(GONE):
            return (SessionGone(self._err.last),)
        return self._retry(line, at) if TRIES.match(line) else ()

    def _retry(self, line: bytes, at: datetime) -> Iterable[Sighting]:
        """The CLI tries again by itself. With a login it would sleep until a far reset, for hours: that is sure."""
        text = line[:TEXT_MOST].decode(errors="replace")
        limit = wording.told(text, at, self._zone)
        if limit is None:
            return ()
        far = limit.resets_at is not None and limit.resets_at - at > resets.OWN_WAIT
        if limit.kind is Kind.USAGE_LIMIT and not far:
            limit = replace(limit, kind=Kind.RATE_LIMIT)
        sure = far and limit.kind is Kind.USAGE_LIMIT
        return (replace(limit, final=False, sure=sure, stream=Stream.STDERR),)

    def _gather(self, line: bytes, at: datetime) -> None:
        """The report of an error: its text up to the stack, its status and its delay."""
        if REPORT in line[:200] or line.startswith(b"[API Error"):
            self._report, self._report_at, self._facts = [], at, {}
        if self._report is not None and len(self._report) < REPORT_LINES:
            self._report.append(line[:TEXT_MOST].decode(errors="replace"))
        for name, pattern in (("retryDelayMs", DELAY), ("status", STATUS)):
            found = pattern.match(line)
            if found:
                self._facts[name] = int(found[1])

    # --- the end ---

    def end(self, exit: Exit, at: datetime) -> Iterator[Sighting]:
        """The answer of `json` and of text, or what the report on stderr says."""
        if self._framed and self._answered:
            return
        if exit.code == 0:
            yield from self._success()
            return
        body = _object(self._err)
        yield from self._named(frames.text(body, "session_id"))
        error = frames.table(body, "error")
        limit = self._refused(error, exit, at)
        if limit is not None:
            yield limit
        words = frames.text(error, "message") or self.last_words
        if words and (limit is None or limit.final):
            yield Result(ok=False, text=words)

    def _success(self) -> Iterator[Sighting]:
        if self._answered:
            yield from self._progress()
            yield Result(ok=True, text=self._answer)
        elif not self._framed and self._out:
            yield Result(ok=True, text=self._out.text)

    def _refused(self, error: Json, exit: Exit, at: datetime) -> Limit | None:
        """The JSON error is sure; a report counts as what it says; an exit code alone says as much as its status."""
        answer = {"type": "error", "error": _plain(error)} if error else {}
        limit = wording.of_answer(answer, at, self._zone, trusted=True)
        sure = limit is not None
        limit = limit or self._told() or self._err.refusal(self._zone, deep=ERR_DEEP, any_label=True)
        if limit is not None:
            return replace(self._delayed(limit, at), sure=sure, stream=Stream.STDERR)
        limit = self._out.refusal(self._zone, deep=OUT_DEEP)
        kind = wording.of_status(EXITS.get(exit.code or 0))
        if limit is not None or kind is None:
            return limit
        return Limit(kind=kind, evidence=self.last_words or f"exit {exit.code}", sure=False, stream=Stream.STDERR)

    def _told(self) -> Limit | None:
        """What the report of text mode says, by its text or its status."""
        if self._report is None or self._report_at is None:
            return None
        text = STACK.sub("", CAUSE.sub("", "\n".join(self._report), count=1))
        limit = wording.told(text, self._report_at, self._zone)
        if limit is not None:
            return limit
        kind = wording.of_status(self._facts.get("status"))
        return None if kind is None else Limit(kind=kind, evidence=wording.evidence(text), sure=False)

    def _delayed(self, limit: Limit, at: datetime) -> Limit:
        """The limit with the delay of the report, where its own text names no time; a long one is a quota's."""
        wait = resets.after(int(str(self._facts.get("retryDelayMs", -1000))) / 1000, self._report_at or at)
        if wait is None or limit.resets_at is not None or limit.kind not in (Kind.RATE_LIMIT, Kind.USAGE_LIMIT):
            return limit
        kind = Kind.USAGE_LIMIT if wait.at - (self._report_at or at) > wording.LONG else limit.kind
        return replace(limit, kind=kind, resets_at=wait.at, exact=True)

    @property
    def drawn(self) -> Drawn:
        """What the result tells."""
        return self._drawn

    @property
    def last_words(self) -> str:
        """The report's first line, else the last line of stderr, else of stdout."""
        if self._report:
            return wording.evidence(CAUSE.sub("", self._report[0], count=1))
        return self._err.last or self._out.last


REPORT_LINES = 8
EVENTS = argv.flags("init message tool_use tool_result error result")


def _plain(error: Json) -> Json:
    """The error with the message that a message may hold as JSON."""
    inner = frames.parsed(frames.text(error, "message")) if frames.text(error, "message")[:1] == "{" else None
    return {**error, **frames.table(inner or {}, "error")}


def _object(tail: Tail) -> Json:
    """The JSON object that the last lines are, an empty one where they are none."""
    lines = [line for line, _ in tail.lines()]
    if not lines or lines[-1] != "}":
        return {}
    start = next((n for n in range(len(lines) - 1, -1, -1) if lines[n] == "{"), None)
    return {} if start is None else frames.parsed("\n".join(lines[start:])) or {}
