"""The lines of `--output-format stream-json` and `json`, as claude prints them and others imitate them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from datetime import datetime, tzinfo

from msgspec.structs import replace

from tidegate import resets
from tidegate.agents.reading import frames, wording
from tidegate.agents.reading.draws import Draws
from tidegate.agents.reading.frames import Json
from tidegate.agents.reading.tail import ANSWER_MOST
from tidegate.model import (
    Drawn,
    Ending,
    Kind,
    Limit,
    Progress,
    Result,
    SessionSeen,
    Sighting,
    Usage,
    Warned,
    Window,
)

RESULT = re.compile(rb'"type"\s?:\s?"result"')
ERROR = re.compile(rb'"error"\s?:\s?"')
NEAR = 4096  # bytes at either end of a line in which a frame of an error shows what it is


class StreamJson:
    """Reads the frames of one attempt.

    A line's beginning decides: `user` lines and the answers of the model are passed over without parsing, however long,
    unless they bear the marks of an error frame (`"model":"<synthetic>"`, a top-level `error`).
    """

    def __init__(self, zone: tzinfo) -> None:
        self.framed = False  # a frame was seen: this output is JSON
        self.answered = False  # a result was seen
        self._zone = zone
        self._session = ""
        self._progressed = False
        self._rejected: Limit | None = None
        self._draws = Draws()

    @property
    def drawn(self) -> Drawn:
        """What the answers have drawn so far."""
        return self._draws.drawn

    def read(self, line: bytes, at: datetime) -> Iterable[Sighting] | None:
        """What one line of stdout tells; None where it is no frame."""
        head = frames.head(line)
        if head is None:
            return self._other(line, at)
        self.framed = True
        kind, subtype = head
        if kind == "assistant":
            return self._assistant(line, at)
        if kind in PARSED and (kind != "system" or subtype in SUBTYPES):
            frame = frames.parsed(line)
            return () if frame is None else list(self._frame(frame, at))
        return self._first_answer() if kind == "stream_event" and b'"content_block' in line[:NEAR] else ()

    def _other(self, line: bytes, at: datetime) -> Iterable[Sighting] | None:
        """A line whose first key is not its type: 2.1.330 writes its result so; `json --verbose` writes one array."""
        if line[:1] not in (b"{", b"["):
            return None
        if not RESULT.search(line):
            return None if not self.framed else ()
        try:
            value = json.loads(line.decode(errors="replace"))
        except (ValueError, RecursionError):
            return None
        told = [one for frame in (value if isinstance(value, list) else [value]) for one in self._whole(frame, at)]
        return told if self.framed else None

    def _whole(self, frame: object, at: datetime) -> Iterator[Sighting]:
        if isinstance(frame, dict) and isinstance(frame.get("type"), str):
            self.framed = True
            yield from self._frame(frame, at)

    def _assistant(self, line: bytes, at: datetime) -> Iterable[Sighting]:
        if b"<synthetic>" in line[:NEAR] or ERROR.search(line[-NEAR:]):
            frame = frames.parsed(line)
            if frame is not None:
                return list(self._frame(frame, at))
        self._draws.answer(line)
        return self._first_answer()

    def _first_answer(self) -> Iterable[Sighting]:
        if self._progressed:
            return ()
        self._progressed = True
        return (Progress(),)

    # --- frames ---

    def _frame(self, frame: Json, at: datetime) -> Iterator[Sighting]:
        yield from self._named(frame)
        match frame.get("type"):
            case "assistant" if frames.text(frame, "error"):
                yield from self._refused(frame, _said(frame), at)
            case "assistant" if frames.text(frame, "message", "model") != "<synthetic>":
                self._draws.message(frames.table(frame, "message"))
                yield from self._first_answer()
            case "rate_limit_event":
                yield from self._event(frames.table(frame, "rate_limit_info"), at)
            case "system" if frame.get("subtype") in ("api_retry", "retry"):
                yield from self._retry(frame, at)
            case "result":
                yield from self._result(frame, at)

    def _named(self, frame: Json) -> Iterator[Sighting]:
        session = frames.text(frame, "session_id")
        if session and session != self._session:
            self._session = session
            yield SessionSeen(session)

    def _event(self, info: Json, at: datetime) -> Iterator[Sighting]:
        yield from _warnings(info, at)
        limit = frames.rejected(info)
        if limit is not None:
            self._rejected = limit
            yield limit
        elif info.get("status") in ("allowed", "allowed_warning"):
            self._rejected = None

    def _retry(self, frame: Json, at: datetime) -> Iterator[Sighting]:
        """`api_retry`: the CLI waits by itself; after a rejection it would wait for the reset, holding a slot."""
        wait = resets.of_fields({**frame, **frames.table(frame, "data")}, at)
        if self._rejected is not None and self._rejected.kind is Kind.USAGE_LIMIT:
            yield replace(self._rejected, final=False)
            return
        kind = wording.of_status(frame.get("error_status")) or Kind.RATE_LIMIT
        yield Limit(
            kind=kind,
            evidence=wording.evidence(json.dumps({key: frame[key] for key in RETRY_KEYS if key in frame})),
            window=Window.MINUTE if kind is Kind.RATE_LIMIT else Window.UNKNOWN,
            resets_at=wait.at if wait and kind in (Kind.RATE_LIMIT, Kind.OVERLOADED) else None,
            exact=wait is not None,
            sure=False,
            final=False,
        )

    def _result(self, frame: Json, at: datetime) -> Iterator[Sighting]:
        self.answered = True
        tokens = frames.table(frame, "usage")
        self._draws.whole(tokens)
        told = frames.usage(tokens, frame.get("total_cost_usd"))
        if told is not None and told != Usage(input_tokens=0, output_tokens=0, cost_usd=0.0):
            yield replace(told, of_session=OF_SESSION)
        text = _answer(frame)
        ending = _ending(frame)
        ok = frame.get("is_error") is False and not frames.text(frame, "subtype").startswith("error") and not ending
        yield from self._first_answer() if ok or ending else self._refused(frame, text, at)
        yield Result(ok=ok, text=text[:ANSWER_MOST], ending=ending)

    def _refused(self, frame: Json, text: str, at: datetime) -> Iterator[Sighting]:
        limit = _limit(frame, text, at, self._zone)
        if limit is None:
            return
        if limit.kind is Kind.CREDIT and self._rejected is not None and self._rejected.resets_at is not None:
            return  # only the overage waits for a person: the plan's own window comes back at its reset
        if self._rejected is not None and limit.kind is Kind.USAGE_LIMIT:
            limit = _completed(limit, self._rejected)
        yield replace(limit, sure=True)


def _ending(frame: Json) -> Ending:
    """What a result says of why the model went no further.

    By the API's `stop_reason` and the `terminal_reason` of the Agent SDK's types (2.1 on); neither was recorded.
    """
    if frames.text(frame, "stop_reason") == "refusal":
        return Ending.REFUSAL
    too_long = frames.text(frame, "stop_reason") == "model_context_window_exceeded"
    if too_long or frames.text(frame, "terminal_reason") in ("prompt_too_long", "blocking_limit"):
        return Ending.CONTEXT
    return Ending.NONE


OF_SESSION = ("cost_usd",)  # claude 2.0.76 to 2.1.330 adds up a session's money; tokens are of the run
PARSED = frozenset({"rate_limit_event", "result", "system"})
SUBTYPES = frozenset({"init", "api_retry", "retry", ""})
METERED = frozenset({"five_hour", "seven_day", *frames.MODELS})  # windows whose use is told
RETRY_KEYS = ("subtype", "attempt", "max_retries", "retry_delay_ms", "error_status", "error", "data")


def _warnings(info: Json, at: datetime) -> Iterator[Warned]:
    """How much of each window is used; the event's own window where it names no others.

    What an account may use beyond its plan (`overage`) is none of its windows, nor is one that nobody knows. Where an
    event says no more than that a share is surpassed, so much is used.
    """
    windows = frames.table(info, "unifiedWindows") or {frames.text(info, "rateLimitType"): info}
    for name, told in windows.items():
        if name in METERED and isinstance(told, dict) and (used := _share(told)) is not None:
            reset, model = resets.epoch(told.get("resetsAt")), frames.MODELS.get(name)
            until = reset.at if reset else None
            yield Warned(window=frames.window_of(name), used=used, at=at, resets_at=until, model=model)


def _share(told: Json) -> float | None:
    shares = (told.get("utilization"), told.get("surpassedThreshold"))
    known = (float(one) for one in shares if isinstance(one, int | float) and not isinstance(one, bool))
    return next((one for one in known if math.isfinite(one)), None)


def _said(frame: Json) -> str:
    """The text of an assistant frame, which on an error frame is the error."""
    content = frames.table(frame, "message").get("content")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return "\n".join(frames.text(part, "text") for part in parts).strip()


def _answer(frame: Json) -> str:
    """The result's text, or what it says of its error."""
    errors = frame.get("errors")
    listed = "\n".join(one for one in errors if isinstance(one, str)) if isinstance(errors, list) else ""
    return (
        frames.text(frame, "result") or frames.text(frame, "error", "message") or frames.text(frame, "error") or listed
    )


# `error` of an assistant frame (from 2.0.76 on).
KINDS = {
    "rate_limit": Kind.RATE_LIMIT,
    "overloaded": Kind.OVERLOADED,
    "server_error": Kind.OVERLOADED,
    "billing_error": Kind.CREDIT,
    "authentication_failed": Kind.AUTH,
}


def _limit(frame: Json, text: str, at: datetime, zone: tzinfo) -> Limit | None:
    """What an error frame says no about: its text by the known sentences, else its `api_error`, status or `error`."""
    said = wording.told(text, at, zone) if text else None
    api_error = frames.text(frame, "api_error")
    info = frames.rejected(frames.table(frame, "api_error_params", "rate_limit_info"))
    if api_error == "usage_limit_reached":
        if said is None or said.kind in (Kind.RATE_LIMIT, Kind.OVERLOADED):
            said = Limit(
                kind=Kind.USAGE_LIMIT, evidence=wording.evidence(text), window=wording.window(text, Kind.USAGE_LIMIT)
            )
        return said if info is None or said.kind is not Kind.USAGE_LIMIT else _completed(said, info)
    if said is not None:
        return said
    kind = Kind.CREDIT if api_error.endswith("credits_required") else wording.of_status(frame.get("api_error_status"))
    kind = kind or (None if api_error else KINDS.get(frames.text(frame, "error")))
    if kind is None:
        return None
    return Limit(kind=kind, evidence=wording.evidence(text), window=wording.window(text, kind))


def _completed(said: Limit, event: Limit) -> Limit:
    """A usage limit as its sentence says it, with the exact instant, the window and the model of the event."""
    if event.kind is not Kind.USAGE_LIMIT:
        return said
    return replace(
        said,
        window=event.window if event.window is not Window.UNKNOWN else said.window,
        resets_at=event.resets_at or said.resets_at,
        exact=event.exact if event.resets_at else said.exact,
        model=event.model,
    )
