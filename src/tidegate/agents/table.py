"""Agents that a table describes: any further CLI without code, and the built-in ones of this kind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any

from msgspec.structs import replace

from tidegate import allowed, resets
from tidegate.agents import Command, Reader
from tidegate.agents.reading import frames, wording
from tidegate.agents.reading.frames import Json
from tidegate.agents.reading.stream import StreamJson
from tidegate.agents.reading.tail import ANSWER_MOST, Tails
from tidegate.errors import BadSetting
from tidegate.model import (
    CACHED,
    NOT_DRAWN,
    RECALLED,
    WRITTEN,
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
    Window,
)

RESUME_PROMPT = "Continue where you left off."
OUTPUTS = ("text", "events", "stream-json")
SEARCHED = 4096  # bytes of a line in which patterns are looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A line that says no: what `pattern` finds anywhere in a line of `stream` (None: of either).

    A time in the line, or in the group of a pattern that has one, is read as the reset. `sure` shuts the gate at once;
    otherwise it counts if the attempt fails.
    `final` is false for a line with which the CLI says that it tries again by itself.
    """

    pattern: str
    kind: Kind = Kind.USAGE_LIMIT
    stream: Stream | None = None
    window: Window = Window.UNKNOWN
    sure: bool = False
    final: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One CLI, described; itself an Agent.

    `start` and `resume` are argvs in which {prompt}, {session} and {args} (the job's own arguments, by default behind
    all others) are filled in; without {prompt} the prompt goes to stdin. A {session} in `start` is a fresh UUID that
    the caller chooses. Without `resume` the agent begins anew. `session` finds the conversation's id in a line (its
    first group), `gone` a line that says that there is no such conversation.

    `credential` is the variable in which the CLI takes its key or token.

    `output` is "stream-json" (claude's), "events" (other JSON lines; `progress` are the types of those that the model's
    answers come in, `answer` the way to the text in one of them) or "text". `failed` finds a line near the end
    that means failure though the CLI exits 0; `noise` lines that are never the reason of a failure. `proof`: success
    needs an answer. A command of the job's own is begun and, lacking its grammar, begun anew as it is.

    Raises BadSetting for a pattern that is none, a placeholder that is unknown, an `output` that is none.
    """

    name: str
    start: tuple[str, ...]
    resume: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    credential: str = ""
    has_limits: bool = True
    proof: bool = True
    output: str = "text"
    session: str = ""
    gone: str = ""
    progress: tuple[str, ...] = ()
    answer: str = ""
    failed: str = ""
    noise: str = ""
    limits: tuple[Refusal, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        where = f"[agents.{self.name}]"
        if self.output not in OUTPUTS:
            raise BadSetting(f"{where} output: must be one of {', '.join(OUTPUTS)}, not {self.output!r}")
        if not self.start:
            raise BadSetting(f"{where} start: must name a program")
        for key, words in (("start", self.start), ("resume", self.resume)):
            unknown = [name for word in words for name in PLACE.findall(word) if name not in PLACES]
            if unknown:
                raise BadSetting(f"{where} {key}: {{{unknown[0]}}} is none of {{prompt}}, {{session}}, {{args}}")
        patterns = {"session": self.session, "gone": self.gone, "failed": self.failed, "noise": self.noise}
        patterns |= {f"limits {n}": one.pattern for n, one in enumerate(self.limits, 1)}
        for key, pattern in patterns.items():
            _checked(f"{where} {key}", pattern, group=key == "session" and bool(pattern))

    @property
    def variables(self) -> Variables:
        """The variable in which the CLI takes a credential, where the table names one."""
        return Variables(takes=(("", self.credential),) if self.credential else ())

    def command(self, spec: Spec, *, session: str | None, new_session: str) -> Command:
        """The command that starts `spec`, or continues `session` where `resume` says how."""
        if spec.command:
            return Command(argv=spec.command, stdin=_encoded(spec.prompt), env=self.env)
        resumes = session is not None and bool(self.resume)
        words = self.resume if resumes else self.start
        prompt = (spec.resume_prompt or RESUME_PROMPT) if resumes else spec.prompt
        chosen = session if resumes else new_session
        known = chosen if resumes or any("{session}" in word for word in words) else None
        line = tuple(_filled(words, prompt or "", chosen or "", spec.args))
        stdin = None if any("{prompt}" in word for word in words) else _encoded(prompt)
        return Command(argv=line, stdin=stdin, env=self.env, session=known, resumes=resumes)

    def reader(self, zone: tzinfo) -> Reader:
        """A reader by this table."""
        return TableReader(self, zone)

    def aside(self, session: str, environment: Mapping[str, str]) -> Iterable[Sighting]:  # noqa: ARG002 - the port's
        """Nothing: all that it tells is in its output."""
        return ()


PLACE = re.compile(r"\{(\w*)\}")
PLACES = ("prompt", "session", "args")


def _checked(where: str, pattern: str, *, group: bool) -> None:
    try:
        groups = re.compile(pattern.encode()).groups
    except (re.error, UnicodeEncodeError) as error:
        raise BadSetting(f"{where}: {pattern!r} is no regular expression: {error}") from None
    if group and not groups:
        raise BadSetting(f"{where}: {pattern!r} needs a group, (...), around the id")


def _filled(words: Iterable[str], prompt: str, session: str, args: tuple[str, ...]) -> Iterator[str]:
    placed = False
    for word in words:
        if word == "{args}":
            placed = True
            yield from args
        else:
            yield PLACE.sub(lambda found: {"prompt": prompt, "session": session}.get(found[1], ""), word)
    if not placed:
        yield from args


def _encoded(prompt: str | None) -> bytes | None:
    return None if prompt is None else prompt.encode(errors="surrogateescape")


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[bytes] | None:
    return re.compile(pattern.encode(), re.IGNORECASE) if pattern else None


RETRYING = (b"etrying", b"econnecting")


class TableReader:
    """Reads what a table describes."""

    def __init__(self, table: Table, zone: tzinfo) -> None:
        self._table = table
        self._zone = zone
        self._tails = Tails()
        self._frames = StreamJson(zone) if table.output == "stream-json" else None
        self._events = table.output == "events"
        self._session = ""
        self._progressed = False
        self._framed = False
        self._erred = False
        self._answer = ""
        self._failure = ""
        self._drawn = NOT_DRAWN
        self._patterns = [(one, _compiled(one.pattern)) for one in table.limits]

    def read(self, stream: Stream, line: bytes, at: datetime) -> Iterable[Sighting]:
        """What one line tells."""
        told = self._frame(line, at) if stream is Stream.STDOUT else None
        if told is None:
            told = self._text(stream, line, at)
        said = line[:SEARCHED]
        return [*self._named(said), *told, *self._refused(stream, said, at)]

    def _named(self, line: bytes) -> Iterator[Sighting]:
        pattern = _compiled(self._table.session)
        found = pattern.search(line) if pattern and not self._session else None
        if found:
            self._session = next((group for group in found.groups() if group), b"").decode(errors="replace")
            yield SessionSeen(self._session)

    # --- frames ---

    def _frame(self, line: bytes, at: datetime) -> Iterable[Sighting] | None:
        if self._frames is not None:
            return self._frames.read(line, at)
        head = frames.head(line) if self._events else None
        if head is None:
            return None
        self._framed = True
        if b'"tokens"' in line and head[0] in self._table.progress:
            self._draw(frames.parsed(line) or {})
        return list(self._event(head[0], line, at))

    def _draw(self, frame: Json) -> None:
        """What a step of opencode tells (1.18.33)."""
        tokens = frames.table(frame, "part", "tokens")
        written = (frames.number(tokens, "output") or 0) + (frames.number(tokens, "reasoning") or 0)
        cache = frames.table(tokens, "cache")
        kinds = (("input", 1.0, tokens), ("read", RECALLED, cache), ("write", CACHED, cache))
        total = sum(one * (frames.number(table, name) or 0) for name, one, table in kinds) + WRITTEN * written
        if total:
            self._drawn = Drawn(self._drawn.tokens + total, self._drawn.answers + 1)

    def _event(self, kind: str, line: bytes, at: datetime) -> Iterator[Sighting]:
        if kind in self._table.progress:
            way = self._table.answer.split(".") if self._table.answer else []
            told = frames.text(frames.parsed(line) or {}, *way) if way else ""
            self._answer = told[:ANSWER_MOST] or self._answer
            self._erred, self._failure = False, ""  # it goes on
            if not self._progressed:
                self._progressed = True
                yield Progress()
        elif kind in frames.ERRORS:
            frame = frames.parsed(line) or {}
            self._erred = True
            self._failure = frames.message(frame) or self._failure
            limit = frames.refused(frame, at, self._zone)
            yield from (limit,) if limit else ()

    # --- text ---

    def _text(self, stream: Stream, line: bytes, at: datetime) -> Iterable[Sighting]:
        said = line[:SEARCHED]
        noise, gone = _compiled(self._table.noise), _compiled(self._table.gone)
        if noise and noise.search(said):
            return ()
        self._tails.keep(stream, line, at)
        if gone and gone.search(said):
            return (SessionGone(wording.evidence(said.decode(errors="replace"))),)
        if stream is Stream.STDERR and any(word in said for word in RETRYING):
            return self._retry(said.decode(errors="replace"), at)
        return ()

    def _retry(self, text: str, at: datetime) -> Iterable[Sighting]:
        limit = wording.told(text, at, self._zone)
        return () if limit is None else (replace(limit, final=False, sure=False, stream=Stream.STDERR),)

    def _refused(self, stream: Stream, line: bytes, at: datetime) -> Iterator[Sighting]:
        """What the table's own patterns find."""
        for refusal, pattern in self._patterns:
            found = pattern.search(line) if pattern is not None and refusal.stream in (None, stream) else None
            if found is not None:
                text = line.decode(errors="replace")
                when = f"resets {(found[1] or b'').decode(errors='replace')}" if found.re.groups else text
                yield _limit(refusal, stream, text, at, self._zone, when=when)

    # --- the end ---

    def end(self, exit: Exit, at: datetime) -> Iterator[Sighting]:  # noqa: ARG002 - the port's
        """A limit that only text told, and the answer."""
        if self._frames is not None and self._frames.answered:
            return
        self._failure = self._failure or self._tails.found(_compiled(self._table.failed))
        bad = bool(exit.code) or bool(self._failure) or self._erred
        limit = self._tails.refusal(self._zone) if bad and not self._erred else None
        if limit is not None:
            yield limit
        framed = self._framed or (self._frames is not None and self._frames.framed)
        text = self._answer if framed else self._tails.out.text
        if bad and (limit is None or limit.final) and (self._failure or text):
            yield Result(ok=False, text=self._failure or self.last_words)
        elif not bad and exit.code == 0 and text:
            yield Result(ok=True, text=text)

    @property
    def drawn(self) -> Drawn:
        """What claude's frames tell."""
        return self._frames.drawn if self._frames is not None else self._drawn

    @property
    def last_words(self) -> str:
        """The failure that was reported, else the last line of stderr, else of stdout."""
        return self._failure[: wording.EVIDENCE_MOST] or self._tails.last_words


def _limit(refusal: Refusal, stream: Stream, text: str, at: datetime, zone: tzinfo, *, when: str) -> Limit:
    """The limit of a table's own pattern, at the time that its line, or the pattern's group, names (`when`)."""
    reset = resets.read(when, at, zone) if refusal.kind is Kind.USAGE_LIMIT else None
    if refusal.kind in (Kind.RATE_LIMIT, Kind.OVERLOADED) and refusal.final:
        reset = resets.wait_named(when, at)
    return Limit(
        kind=refusal.kind,
        evidence=wording.evidence(text),
        window=refusal.window,
        resets_at=reset.at if reset else None,
        exact=reset.exact if reset else False,
        sure=refusal.sure,
        final=refusal.final,
        stream=stream,
    )


def described(name: str, said: Mapping[str, object]) -> Table:
    """The agent of a configuration table [agents.NAME]. Raises BadSetting, naming the key and what is allowed."""
    values: dict[str, Any] = {}
    for key, value in said.items():
        if key not in KEYS:
            raise BadSetting(f"[agents.{name}] {key}: is no key; allowed are {', '.join(sorted(KEYS))}")
        values[key] = KEYS[key](f"[agents.{name}] {key}", value)
    if "start" not in values:
        raise BadSetting(f'[agents.{name}]: must say start = ["program", "argument", "{{prompt}}"]')
    return Table(name=name, **values)


def _str(place: str, value: object) -> str:
    if not isinstance(value, str):
        raise BadSetting(f"{place}: must be text, not {value!r}")
    return value


def _bool(place: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadSetting(f"{place}: must be true or false, not {value!r}")
    return value


def _strs(place: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise BadSetting(f"{place}: must be a list of texts, not {value!r}")
    return tuple(value)


def _env(place: str, value: object) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(one, str) for one in value.values()):
        raise BadSetting(f"{place}: must be a table of texts, not {value!r}")
    return {str(key): one for key, one in value.items()}


def _variable(place: str, value: object) -> str:
    try:
        return allowed.variable(value)
    except allowed.Wrong as wrong:
        raise BadSetting(f"{place}: {wrong}") from None


def _limits(place: str, value: object) -> tuple[Refusal, ...]:
    if not isinstance(value, list | tuple):
        raise BadSetting(f"{place}: must be tables, [[...limits]], not {value!r}")
    return tuple(_refusal(f"{place} {n}", one) for n, one in enumerate(value, 1))


def _refusal(place: str, value: object) -> Refusal:
    if not isinstance(value, Mapping) or not isinstance(value.get("pattern"), str):
        raise BadSetting(f'{place}: must say pattern = "..."')
    unknown = sorted(value.keys() - {"pattern", "kind", "stream", "window", "sure", "final"})
    if unknown:
        raise BadSetting(f"{place} {unknown[0]}: is no key; allowed are pattern, kind, stream, window, sure, final")
    for key, kinds in (("kind", Kind), ("stream", Stream), ("window", Window)):
        if key in value and value[key] not in set(kinds):
            raise BadSetting(f"{place} {key}: must be one of {', '.join(kinds)}, not {value[key]!r}")
    return Refusal(
        pattern=value["pattern"],
        kind=Kind(value.get("kind", Kind.USAGE_LIMIT)),
        stream=Stream(value["stream"]) if "stream" in value else None,
        window=Window(value.get("window", Window.UNKNOWN)),
        sure=_bool(f"{place} sure", value.get("sure", False)),
        final=_bool(f"{place} final", value.get("final", True)),
    )


KEYS = {
    **dict.fromkeys(("output", "session", "gone", "answer", "failed", "noise", "source"), _str),
    **dict.fromkeys(("start", "resume", "programs", "progress"), _strs),
    **dict.fromkeys(("has_limits", "proof"), _bool),
    "env": _env,
    "credential": _variable,
    "limits": _limits,
}

# --- built in ----------------------------------------------------------------------------------

OPENCODE = Table(
    name="opencode",
    start=("opencode", "run", "--format", "json", "{args}", "{prompt}"),
    resume=("opencode", "run", "--format", "json", "-s", "{session}", "{args}", "{prompt}"),
    programs=("opencode",),
    output="events",
    session=r'"sessionID":"(ses_\w+)"',
    gone=r"Session not found",
    progress=("text", "tool_use", "step_finish", "reasoning"),
    answer="part.text",
    source="opencode-ai 1.18.33, recorded; a limit with a retry-after is slept out in silence, seen only by `silence`",
)
QWEN = Table(
    name="qwen-code",
    start=("qwen", "--output-format", "stream-json", "{args}", "{prompt}"),
    resume=("qwen", "--output-format", "stream-json", "--resume", "{session}", "{args}", "{prompt}"),
    programs=("qwen",),
    output="stream-json",
    gone=r"No saved session found",
    noise=r"^Ripgrep not available|^Retrying provider attempt|^Warning: running headless",
    source="@qwen-code/qwen-code 0.24.4, recorded",
)
COPILOT = Table(
    name="copilot",
    start=("copilot", "--output-format", "json", "{args}", "-p", "{prompt}"),
    resume=("copilot", "--output-format", "json", "--resume={session}", "{args}", "-p", "{prompt}"),
    programs=("copilot",),
    credential="COPILOT_GITHUB_TOKEN",  # before GH_TOKEN and GITHUB_TOKEN (docs.github.com: authenticate Copilot CLI)
    output="events",
    session=r'"sessionId":"([0-9a-f-]{36})"|copilot --resume=([0-9a-f-]{36})',
    progress=("assistant.message", "assistant.reasoning"),
    answer="data.content",
    noise=r"^\s*(?:Changes|Duration|Tokens|Resume|Requests|AI Credits|Breakdown)\s",
    source="@github/copilot 1.0.102 with a key of its own, recorded; `--resume` is what it prints itself",
)
CURSOR = Table(
    name="cursor-agent",
    start=("cursor-agent", "-p", "--output-format", "stream-json", "{args}", "{prompt}"),
    resume=("cursor-agent", "-p", "--output-format", "stream-json", "--resume", "{session}", "{args}", "{prompt}"),
    programs=("cursor-agent",),
    credential="CURSOR_API_KEY",
    output="stream-json",
    source="cursor.com/docs/cli: print mode, output formats, --resume; its limit lines from public reports; not run",
)
AMP = Table(
    name="amp",
    start=("amp", "--stream-json", "{args}", "-x", "{prompt}"),
    resume=("amp", "threads", "continue", "{session}", "--stream-json", "{args}", "-x", "{prompt}"),
    programs=("amp",),
    credential="AMP_API_KEY",
    output="stream-json",
    source="ampcode.com/news/streaming-json: claude's frames, session_id T-..., threads continue; not run",
)
GOOSE = Table(
    name="goose",
    start=("goose", "run", "--name", "{session}", "{args}", "-t", "{prompt}"),
    resume=("goose", "run", "--name", "{session}", "--resume", "{args}", "-t", "{prompt}"),
    programs=("goose",),
    source="block.github.io/goose: run -t, --name, --resume; not run",
)
AIDER = Table(
    name="aider",
    start=("aider", "--yes-always", "--no-pretty", "--no-check-update", "{args}", "--message", "{prompt}"),
    programs=("aider",),
    failed=r"^litellm\.\w+(?:Error|Exception)\b|^The API provider (?:has rate limited you|is not able to authenticate)",
    source="aider-chat 0.86.2, run: exits 0 on a rate limit and a bad key, the error in lines of 80 columns on stdout",
)

BUILT_IN = (OPENCODE, QWEN, COPILOT, CURSOR, AMP, GOOSE, AIDER)
