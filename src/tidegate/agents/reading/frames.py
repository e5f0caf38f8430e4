"""JSON lines of agents: which are worth parsing, and what the one that says no says.

Only fields at the top of a line are evidence. Tool results and the agent's prose are strings inside of it and are never
looked into; `user` lines are not even parsed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, tzinfo
from typing import Any

from msgspec.structs import replace

from tidegate import resets
from tidegate.agents.reading import wording
from tidegate.model import Kind, Limit, Usage, Window
from tidegate.resets import Reset

Json = dict[str, Any]

HEAD = re.compile(
    rb'\s{0,8}\{\s{0,4}"type"\s{0,4}:\s{0,4}"([A-Za-z_.-]{1,60})"(?:\s{0,4},\s{0,4}"subtype"\s{0,4}:\s{0,4}"(\w{1,60})")?'
)


def head(line: bytes) -> tuple[str, str] | None:
    """The `type` and the `subtype` that a line begins with, without parsing it; None where it begins otherwise."""
    found = HEAD.match(line)
    return None if found is None else (found[1].decode(), (found[2] or b"").decode())


def parsed(line: bytes | str) -> Json | None:
    """The object that a line is, None for anything else."""
    try:
        value = json.loads(line.decode(errors="replace") if isinstance(line, bytes) else line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def table(frame: Mapping[str, Any], *path: str) -> Json:
    """The table at a path inside a frame, an empty one where there is none."""
    value: Any = frame
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def text(frame: Mapping[str, Any], *path: str) -> str:
    """The text at a path inside a frame, "" where there is none."""
    value = table(frame, *path[:-1]).get(path[-1]) if len(path) > 1 else frame.get(path[0])
    return value if isinstance(value, str) else ""


def number(frame: Mapping[str, Any], name: str) -> int | None:
    """A whole number that is not negative, None for anything else."""
    value = frame.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def usage(tokens: Mapping[str, Any], cost: object = None) -> Usage | None:
    """Tokens in the spelling of Anthropic and OpenAI, what was read from or written to a cache being input, too."""
    parts = [
        number(tokens, name) for name in ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
    ]
    known = [part for part in parts if part is not None]
    dollars = float(cost) if isinstance(cost, int | float) and not isinstance(cost, bool) else None
    told = Usage(
        input_tokens=sum(known) if known else None, output_tokens=number(tokens, "output_tokens"), cost_usd=dollars
    )
    return None if told == Usage() else told


# --- what the frame of a rate limit says (claude from 2.1.45 on) ---

WINDOWS = {"five_hour": Window.FIVE_HOURS, "overage": Window.SPEND}
MODELS = {"seven_day_opus": "opus", "seven_day_sonnet": "sonnet", "seven_day_overage_included": "fable"}
# With these reasons an exhausted overage waits for an administrator (2.1.330 prints no reset then).
ADMINISTERED = frozenset(
    {
        "org_level_disabled_until",
        "org_spend_cap_reached",
        "org_service_level_disabled",
        "group_zero_credit_limit",
        "member_level_disabled",
        "member_zero_credit_limit",
    }
)


SHOWN = ("status", "rateLimitType", "resetsAt", "overageDisabledReason")


def window_of(name: object) -> Window:
    """The window of a `rateLimitType`."""
    if not isinstance(name, str):
        return Window.UNKNOWN
    return Window.WEEK if name.startswith("seven_day") else WINDOWS.get(name, Window.UNKNOWN)


def rejected(info: Mapping[str, Any]) -> Limit | None:
    """The limit that a `rate_limit_info` tells, sure; None unless it is rejected.

    A plain 429 is rejected as well, but without `resetsAt` and `rateLimitType`: that is no usage limit.
    """
    name, reset = info.get("rateLimitType"), resets.epoch(info.get("resetsAt"))
    if info.get("status") != "rejected" or not (reset or isinstance(name, str)):
        return None
    human = name == "overage" and (reset is None or info.get("overageDisabledReason") in ADMINISTERED)
    return Limit(
        kind=Kind.CREDIT if human else Kind.USAGE_LIMIT,
        evidence=wording.evidence(f"rate_limit_event {json.dumps({key: info[key] for key in SHOWN if key in info})}"),
        window=window_of(name),
        resets_at=reset.at if reset and not human else None,
        exact=reset is not None and not human,
        model=MODELS.get(name) if isinstance(name, str) else None,
    )


# --- what any agent's frame says ---

MESSAGES = (
    ("error", "data", "message"),
    ("error", "message"),
    ("data", "message"),
    ("message",),
    ("result",),
    ("error",),
)
DETAILS = (("error", "data"), ("data",), ("error",), ())
RESET_HEADERS = ("anthropic-ratelimit-unified-reset", "x-codex-primary-reset-at")


def message(frame: Json) -> str:
    """The text of the error that a frame reports, "" where it has none."""
    return next((said for said in (text(frame, *path) for path in MESSAGES) if said), "")


def refused(frame: Json, at: datetime, zone: tzinfo) -> Limit | None:
    """What the frame with which an agent reports an error says no about; its text first, then its status."""
    said = message(frame)
    details = next((found for found in (table(frame, *path) if path else frame for path in DETAILS) if found), {})
    limit = wording.told(said, at, zone) if said else None
    limit = limit or wording.of_answer(parsed(text(details, "responseBody")) or {}, at, zone, trusted=True)
    limit = limit or wording.of_answer({"type": "error", **details}, at, zone, trusted=True)
    if limit is None:
        kind = wording.of_status(details.get("statusCode"))
        limit = None if kind is None else Limit(kind=kind, evidence=wording.evidence(said))
    reset = _header(table(details, "responseHeaders"), at)
    if limit is not None and limit.kind is Kind.USAGE_LIMIT and limit.resets_at is None and reset is not None:
        limit = replace(limit, resets_at=reset.at, exact=True)
    return None if limit is None else replace(limit, sure=True)


def _header(headers: Json, at: datetime) -> Reset | None:
    told = (resets.epoch(headers.get(name)) for name in RESET_HEADERS)
    return next((one for one in told if one is not None), None) or resets.after(headers.get("retry-after"), at)


ERRORS = frozenset({"error", "turn.failed", "session.error"})


def is_error(frame: Json) -> bool:
    """Whether a frame is one with which an agent reports the error that ended its work."""
    kind = frame.get("type")
    return kind in ERRORS or (kind == "result" and (frame.get("is_error") is True or frame.get("status") == "error"))


def any_refusal(line: str, at: datetime, zone: tzinfo) -> Limit | None:
    """What one JSON line of whatever agent or provider says no about; not sure, as its origin is not known."""
    frame = parsed(line)
    if frame is None:
        return None
    info = frame.get("rate_limit_info") if frame.get("type") == "rate_limit_event" else frame
    limit = rejected(info) if isinstance(info, dict) else None
    if limit is None and is_error(frame):
        limit = refused(frame, at, zone)
    limit = limit or wording.of_answer(frame, at, zone, trusted=False)
    return None if limit is None else replace(limit, sure=False)
