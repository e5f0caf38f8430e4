"""Codex, `codex exec`: its command lines, its `--json` events and its text (0.169.0 was recorded)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

from msgspec.structs import replace

from tidegate.agents import Command, Reader
from tidegate.agents.reading import argv, frames, rollout
from tidegate.agents.reading.argv import Grammar, Part
from tidegate.agents.reading.draws import weight_of_all
from tidegate.agents.reading.frames import Json
from tidegate.agents.reading.tail import ANSWER_MOST, Tails
from tidegate.model import (
    NOT_DRAWN,
    Drawn,
    Exit,
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
# developers.openai.com/codex/environment-variables: a key for `codex exec`; CODEX_ACCESS_TOKEN is a ChatGPT token's.
VARIABLES = Variables(takes=(("", "CODEX_API_KEY"),), rivals=("CODEX_ACCESS_TOKEN", "OPENAI_API_KEY"))

# From `codex --help` and `codex exec --help` of 0.169.0. An -i takes several files; "--image=FILE" one.
GRAMMAR = Grammar(
    valued=argv.flags(
        "-c --config --enable --disable -m --model --local-provider -p --profile -s --sandbox -a"
        " --ask-for-approval -C --cd --add-dir --thread-source --cyber-access-program --output-schema --color"
        " -o --output-last-message --remote --remote-auth-token-env"
    ),
    listed=frozenset(("-i", "--image")),
    switches=argv.flags(
        "--all --approve-for-me --dangerously-bypass-approvals-and-sandbox --dangerously-bypass-hook-trust"
        " --ephemeral --experimental-json --full-auto --ignore-rules --ignore-user-config --json --last --oss"
        " --search --skip-git-repo-check --strict-config --trust --worktree --yolo"
    ),
)
EXEC = ("exec", "e")


@dataclass(frozen=True, slots=True)
class Codex:
    """The agent `codex`.

    A job's own command line is kept; only an absent `--json` is added, directly behind `exec`. To resume, its prompt
    (each positional argument), a `resume` of its own and the images of its first prompt give way to `resume ID -` with
    the resume prompt on stdin. Not recognised: a command line without `exec` (the interactive program), which is kept
    as it is; `exec review` and `exec fork` are begun as they are and resumed as a conversation.
    """

    name: str = "codex"
    has_limits: bool = True
    proof: bool = True
    programs: tuple[str, ...] = ("codex",)
    variables: Variables = VARIABLES

    def command(self, spec: Spec, *, session: str | None, new_session: str) -> Command:  # noqa: ARG002 - the port's
        """The command that starts `spec`, or resumes `session`; codex gives a conversation its id itself."""
        found = argv.program(spec.command or ("codex", "exec", *spec.args))
        args = argv.parts(found.args, GRAMMAR) if found else []
        place = next((n for n, part in enumerate(args) if not part.flag), len(args))
        stdin = None if spec.prompt is None else _encoded(spec.prompt)
        if found is None or found.name not in self.programs or not _is_exec(args, place):
            return Command(argv=spec.command, stdin=stdin)
        first, rest = args[: place + 1], args[place + 1 :]
        json = [] if argv.has(rest, "--json", "--experimental-json") else ["--json"]
        begun = (*found.before, *argv.tokens(first), *json)
        if session is None:
            return Command(argv=(*begun, *argv.tokens(rest)), stdin=stdin)
        kept = argv.tokens(argv.without_prompt(argv.without(rest, "--last", "--all", "-i", "--image")))
        prompt = _encoded(spec.resume_prompt or RESUME_PROMPT)
        return Command(argv=(*begun, *kept, "resume", session, "-"), stdin=prompt, session=session, resumes=True)

    def reader(self, zone: tzinfo) -> Reader:
        """A reader of `--json` events and of text."""
        return CodexReader(zone)

    def aside(self, session: str, environment: Mapping[str, str]) -> Iterable[Sighting]:
        """How much of the account's windows is used, by the file of the session."""
        return rollout.warnings(session, environment)


def _is_exec(args: list[Part], place: int) -> bool:
    return place < len(args) and args[place].tokens[0] in EXEC


def _encoded(prompt: str) -> bytes:
    return prompt.encode(errors="surrogateescape")


MESSAGE = re.compile(rb'\s*\{"type":"item\.completed","item":\{"id":"[^"]{0,80}","type":"agent_message"')
FAULT = re.compile(rb'\s*\{"type":"item\.(?:started|completed)","item":\{"id":"[^"]{0,80}","type":"error"')
SESSION = re.compile(rb"session id: ([0-9A-Za-z-]{8,64})\s*$")
NOISE = (b"Reading additional input from stdin", b"Reading prompt from stdin", b"WARNING: proceeding, even though")
GONE = b"no rollout found for thread id"


class CodexReader:
    """Reads events; in text mode stderr also echoes the prompt and the answer, so only its `ERROR: ` lines count."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._tails = Tails()
        self._framed = False
        self._progressed = False
        self._answer = ""
        self._errors = Tails()
        self._drawn = NOT_DRAWN

    def read(self, stream: Stream, line: bytes, at: datetime) -> Iterable[Sighting]:
        """What one line tells."""
        if stream is Stream.STDOUT:
            head = frames.head(line)
            if head is not None and head[0] in EVENTS:
                self._framed = True
                return self._event(head[0], line, at)
        if not line.startswith(NOISE):
            self._tails.keep(stream, line, at)
        return self._stderr(line, at) if stream is Stream.STDERR else ()

    # --- events ---

    def _event(self, kind: str, line: bytes, at: datetime) -> Iterable[Sighting]:
        if kind.startswith("item."):
            return self._item(line)
        frame = frames.parsed(line) if kind != "turn.started" else None
        return () if frame is None else list(self._told(kind, frame, at))

    def _item(self, line: bytes) -> Iterable[Sighting]:
        """Commands and their output are passed over without parsing; only the agent's last message is kept."""
        if MESSAGE.match(line):
            self._answer = frames.text(frames.parsed(line) or {}, "item", "text")[:ANSWER_MOST]
        if self._progressed or FAULT.match(line):
            return ()
        self._progressed = True
        return (Progress(),)

    def _told(self, kind: str, frame: Json, at: datetime) -> Iterator[Sighting]:
        match kind:
            case "thread.started":
                yield SessionSeen(frames.text(frame, "thread_id"))
            case "turn.completed":
                tokens = frames.table(frame, "usage")
                told = frames.usage({name: tokens.get(name) for name in OF_SESSION})
                self._draw(tokens)
                yield from (replace(told, of_session=OF_SESSION),) if told else ()
                yield Result(ok=True, text=self._answer)
            case "error" | "turn.failed":
                limit = frames.refused(frame, at, self._zone)
                message = frames.text(frame, "error", "message") or frames.text(frame, "message")
                yield from (_as_it_stands(limit),) if limit else ()
                if kind == "turn.failed":
                    yield Result(ok=False, text=message)

    def _draw(self, tokens: Json) -> None:
        """Its input is all of it, what a cache had as well (0.169.0)."""
        names = ("input_tokens", "output_tokens", "cached_input_tokens", "cache_write_input_tokens")
        whole, written, recalled, cached = (frames.number(tokens, name) or 0 for name in names)
        total = weight_of_all(whole, written, recalled=recalled, cached=cached)
        self._drawn = Drawn(total, self._drawn.answers + 1, of_session=True)

    # --- text ---

    def _stderr(self, line: bytes, at: datetime) -> Iterable[Sighting]:
        session = SESSION.match(line)
        if session and not self._framed:
            return (SessionSeen(session[1].decode()),)
        if GONE in line[:1000]:
            return (SessionGone(self._tails.err.last),)
        if line.startswith(b"ERROR: "):
            self._errors.keep(Stream.STDERR, line, at)
        return ()

    def end(self, exit: Exit, at: datetime) -> Iterator[Sighting]:  # noqa: ARG002 - the port's
        """In text mode the answer, or what the last error line says."""
        if self._framed:
            return
        told = self._errors if self._errors.err else self._tails
        limit = told.refusal(self._zone) if exit.code else None
        if limit is not None:
            yield limit
        if exit.code == 0 and self._tails.out:
            yield Result(ok=True, text=self._tails.out.text)
        elif exit.code and told.last_words and (limit is None or limit.final):
            yield Result(ok=False, text=told.last_words)

    @property
    def drawn(self) -> Drawn:
        """What the turns tell, which is of the whole thread."""
        return self._drawn

    @property
    def last_words(self) -> str:
        """The last line of stderr, else of stdout."""
        return self._tails.last_words


OF_SESSION = ("input_tokens", "output_tokens")  # of the whole thread, also where it is resumed (0.169.0)
EVENTS = argv.flags(
    "thread.started turn.started turn.completed turn.failed error item.started item.updated item.completed"
)


def _as_it_stands(limit: Limit) -> Limit:
    """`Reconnecting... 3/5` is neither final nor sure: codex may get through."""
    return limit if limit.final else replace(limit, sure=False)
