"""A fake Anthropic Messages API on 127.0.0.1, whose usage limit runs out and resets.

    with Provider(allowances=(3, 100), reset_after=20) as provider:
        env["ANTHROPIC_BASE_URL"] = provider.url

An agent turn is a request that carries tools; side requests (titles, probes) carry none and use up nothing. The limit
answers are those that claude 2.1.330 reads as a subscription's: HTTP 429 with the unified-limit headers.
"""

from __future__ import annotations

import json
import math
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Json = dict[str, Any]

WEEK = 4 * 86400  # seconds to the reset of the window that is not in question
USAGE = {"input_tokens": 12, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 9}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as the provider saw it; `at` is time.time().

    `prompts` are the user's texts of the whole conversation, oldest first; `tools_used` counts the tool calls in it.
    `turn` is true for an agent turn, `refused` for a 429, `retry` counts the CLI's own retries.
    """

    at: float
    method: str
    path: str
    session: str
    prompts: tuple[str, ...] = ()
    tools_used: int = 0
    turn: bool = False
    refused: bool = False
    retry: int = 0


class Provider:
    """Answers agents until an allowance is used up, then refuses until a reset, and so on.

    `allowances`: agent turns in each window, the last number for all later ones. The first turn too many sets the
    reset `reset_after` seconds ahead (on a full second); with `resets_at` (epoch) the limit is in force at the start.
    `turns`: how many turns each conversation takes; all but the last ask for the shell command `tool`.
    """

    def __init__(
        self,
        *,
        allowances: Sequence[int] = (3,),
        reset_after: float = 20.0,
        resets_at: int | None = None,
        turns: int = 1,
        tool: str = "echo step",
        claim: str = "five_hour",
    ) -> None:
        self.resets_at = resets_at
        self.resets: list[int] = [] if resets_at is None else [resets_at]
        self.requests: list[Request] = []
        self._allowances = list(allowances)
        self._used = 0
        self._reset_after = reset_after
        self._turns = turns
        self._tool = tool
        self._claim = claim
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def url(self) -> str:
        """For ANTHROPIC_BASE_URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def turns(self) -> list[Request]:
        """The agent turns seen so far, in order."""
        return [request for request in list(self.requests) if request.turn]

    @property
    def sessions(self) -> list[str]:
        """The conversations seen so far, in the order of their first turn."""
        return list(dict.fromkeys(request.session for request in self.turns))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def admit(self, *, turn: bool) -> int | None:
        """Count one request; the reset instant (epoch) where it is refused."""
        now = time.time()
        with self._lock:
            if self.resets_at is not None and now >= self.resets_at:
                self.resets_at, self._used = None, 0
            if self.resets_at is None and turn:
                self._spend(now)
            return self.resets_at

    def _spend(self, now: float) -> None:
        if self._used < self._allowances[0]:
            self._used += 1
            return
        self.resets_at = math.ceil(now + self._reset_after)
        self.resets.append(self.resets_at)
        self._allowances = self._allowances[1:] or self._allowances

    def answer(self, request: Request) -> list[Json]:
        """The content blocks of the next message of a conversation."""
        if not request.turn or request.tools_used >= self._turns - 1:
            return [{"type": "text", "text": f"Done: {request.prompts[0] if request.prompts else 'ok'}"}]
        call = {"command": self._tool, "description": "run a command"}
        return [
            {"type": "text", "text": "Let me run that."},
            {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex[:24]}", "name": "Bash", "input": call},
        ]

    def limits(self, refused_until: int | None) -> dict[str, str]:
        """The unified-limit headers; `refused_until` (epoch) is None while the account is open."""
        now = int(time.time())
        status = "allowed" if refused_until is None else "rejected"
        own, other = ("5h", "7d") if self._claim == "five_hour" else ("7d", "5h")
        reset = str(refused_until or now + 3600)
        facts = {"status": status, "reset": reset, "representative-claim": self._claim}
        facts |= {
            f"{own}-status": status,
            f"{own}-reset": reset,
            f"{own}-utilization": "1.0" if refused_until else "0.3",
        }
        facts |= {f"{other}-status": "allowed", f"{other}-reset": str(now + WEEK), f"{other}-utilization": "0.59"}
        return {f"anthropic-ratelimit-unified-{name}": value for name, value in facts.items()}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        class Bound(Handler):
            provider = self

        return Bound


class Handler(BaseHTTPRequestHandler):
    """Speaks HTTP for its provider; one connection, one request."""

    provider: Provider

    def log_message(self, *args: object) -> None:
        """Keep quiet: the provider records every request."""

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length") or 0))
        body = json.loads(raw or b"{}")
        path = self.path.split("?")[0]
        if path.endswith("/count_tokens"):
            self._record(body)
            self._send(200, {"input_tokens": 12})
        elif path.endswith("/messages"):
            self._message(body)
        else:
            self.do_GET()

    def do_GET(self) -> None:
        self._record({})
        self._send(404, {"type": "error", "error": {"type": "not_found_error", "message": "Not found"}})

    def do_HEAD(self) -> None:
        self._record({})
        self._send(200, {})

    def _message(self, body: Json) -> None:
        turn = bool(body.get("tools"))
        refused_until = self.provider.admit(turn=turn)
        request = self._record(body, turn=turn, refused=refused_until is not None)
        headers = self.provider.limits(refused_until)
        if refused_until is not None:
            self._refuse(refused_until, headers)
        elif body.get("stream"):
            message = message_of(body, self.provider.answer(request))
            self._send(200, b"".join(events(message)), headers, "text/event-stream")
        else:
            self._send(200, message_of(body, self.provider.answer(request)), headers)

    def _refuse(self, until: int, headers: dict[str, str]) -> None:
        text = "This request would exceed your account's rate limit. Please try again later."
        error = {"type": "error", "error": {"type": "rate_limit_error", "message": text}}
        wait = str(max(1, until - int(time.time())))
        self._send(429, error, {**headers, "retry-after": wait, "x-should-retry": "true"})

    def _record(self, body: Json, *, turn: bool = False, refused: bool = False) -> Request:
        messages = body.get("messages") or []
        request = Request(
            at=time.time(),
            method=self.command,
            path=self.path,
            session=self.headers.get("x-claude-code-session-id", ""),
            prompts=tuple(prompts(messages)),
            tools_used=sum(block.get("type") == "tool_use" for block in blocks(messages, "assistant")),
            turn=turn,
            refused=refused,
            retry=int(self.headers.get("x-stainless-retry-count") or 0),
        )
        self.provider.requests.append(request)
        return request

    def _send(
        self, status: int, body: Json | bytes, headers: dict[str, str] | None = None, kind: str = "application/json"
    ) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        facts = {"content-type": kind, "content-length": str(len(data)), "request-id": f"req_{uuid.uuid4().hex[:24]}"}
        try:
            self.send_response(status)
            for name, value in {**facts, **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else data)
        except ConnectionError:
            self.close_connection = True  # the agent was ended in mid-request


def blocks(messages: list[Json], role: str) -> Iterator[Json]:
    """The content blocks of every message of a role."""
    for message in messages:
        content = message.get("content")
        if message.get("role") == role:
            yield from [{"type": "text", "text": content}] if isinstance(content, str) else content or []


def prompts(messages: list[Json]) -> Iterator[str]:
    """What the user said, without what the CLI adds around it."""
    for block in blocks(messages, "user"):
        if block.get("type") == "text" and not block["text"].startswith("<system-reminder>"):
            yield block["text"].strip()  # claude 2.1.330 ends a prompt that was refused with a newline


def message_of(body: Json, content: list[Json]) -> Json:
    """A whole message, as the API answers a request that does not stream."""
    return {
        "id": f"msg_{uuid.uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": body.get("model", "fake"),
        "content": content,
        "stop_reason": "tool_use" if content[-1]["type"] == "tool_use" else "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
    }


def events(message: Json) -> Iterator[bytes]:
    """The same message as server-sent events."""
    start = {**message, "content": [], "stop_reason": None, "usage": {**USAGE, "output_tokens": 1}}
    yield event("message_start", message=start)
    for index, block in enumerate(message["content"]):
        empty, delta = opened(block)
        yield event("content_block_start", index=index, content_block=empty)
        yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield event("message_delta", delta=end, usage=USAGE)
    yield event("message_stop")


def opened(block: Json) -> tuple[Json, Json]:
    """A content block as it starts, and the one delta that fills it."""
    if block["type"] == "text":
        return {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
    return {**block, "input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}


def event(name: str, **data: object) -> bytes:
    """One server-sent event."""
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()
