"""What claude 2.1.330 prints in `stream-json` where a simulated agent hears something.

Seen on the real CLI (tests/real): an answer's frame has an id and a usage, in which `output_tokens` is what a message
begins with (1 where the result says 9) and all else is final; the result adds up the run. A `rate_limit_event` follows
an answer of which a window is told otherwise than before, its share in hundredths or its reset; the same is not told
again in a process. An answer comes in one frame for each of its blocks; here it has one.
Assumed: how tokens make up an answer (`usage`), and that a provider counts them by these weights, give or take NOISE;
that it tells hundredths, as of the moment it was asked; that a reset is as wrong in an event as in a refusal; that of a
sliding window no reset is told before it refuses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

import msgspec
from msgspec.structs import replace

from simulated.agent import Agent, Answered, Finished, Heard
from simulated.allowance import Refusal, Told

DOLLARS, TOKENS = 0.5, 130_000  # of one unit; tokens as input counts
WRITE, READ, OUTPUT = 1.25, 0.1, 5.0  # what a token counts beside one of input
NOISE = 0.15  # of one answer, as a logarithm
WARNED = 0.9  # of a window
SAYS = {
    "rate": (429, "rate_limit", "API Error: Request rejected (429) · this may be a temporary capacity issue"),
    "overloaded": (529, "overloaded", "API Error: Repeated 529 Overloaded errors. The API is at capacity"),
}


class Usage(msgspec.Struct, frozen=True):
    """Tokens, as claude names them."""

    input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    output_tokens: int = 0

    @property
    def weight(self) -> float:
        """In tokens of input."""
        cached = WRITE * self.cache_creation_input_tokens + READ * self.cache_read_input_tokens
        return self.input_tokens + cached + OUTPUT * self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.cache_creation_input_tokens + other.cache_creation_input_tokens,
            self.cache_read_input_tokens + other.cache_read_input_tokens,
            self.output_tokens + other.output_tokens,
        )


NOTHING = Usage()


def usage(units: float, rng: Random) -> Usage:
    """Of an answer that cost so much: mostly a context that is read again, a fifth of it what is written."""
    weight = units * TOKENS * math.exp(rng.gauss(-NOISE * NOISE / 2, NOISE))
    output, write = weight * rng.uniform(0.1, 0.3), weight * rng.uniform(0.15, 0.35)
    read = max(weight - output - write - 4, 0.0)
    return Usage(4, round(write / WRITE), round(read / READ), round(output / OUTPUT))


@dataclass(slots=True)
class Words:
    """One process; `start` is the instant at which the loop's time was 0."""

    session: str
    start: datetime
    rng: Random
    _used: Usage = NOTHING
    _told: object = None

    def begin(self) -> bytes:
        return self._line(type="system", subtype="init", model="claude-opus-5-5")

    def say(self, agent: Agent, heard: Heard) -> list[bytes]:
        """The lines of what an agent has heard."""
        match heard:
            case Answered(units, told):
                return [self._answer("...", units), *self._event(told)]
            case Finished(units, told):
                said = [self._answer("done", units), *self._event(told)]
                return [*said, self._result(agent, "done", is_error=False)]
            case Refusal(kind="usage"):
                return self._refused(agent, heard)
            case Refusal():
                status, kind, text = SAYS[heard.kind]
                return [self._error(text, kind), self._result(agent, text, is_error=True, api_error_status=status)]

    def _refused(self, agent: Agent, refusal: Refusal) -> list[bytes]:
        name = "weekly" if refusal.window == "seven_day" else "5-hour"
        text = f"You've hit your {name} limit"
        if refusal.resets_at is not None:
            text += f" · resets {self._clock(agent, refusal.resets_at)} (UTC)"
        event = self._event(refusal.told, "rejected", refusal.window)
        ending = {"api_error_status": 429, "api_error": "usage_limit_reached", "terminal_reason": "api_error"}
        return [*event, self._error(text, "rate_limit"), self._result(agent, text, is_error=True, **ending)]

    def _event(self, told: Told | None, status: str = "", window: str = "five_hour") -> list[bytes]:
        """What the windows are like, where that has changed since it was last told."""
        if told is None or (told, status) == self._told:
            return []
        self._told = told, status
        info: dict[str, object] = {"status": status or "allowed"}
        if not status and told.five >= WARNED:
            info = {"status": "allowed_warning", "utilization": told.five, "surpassedThreshold": WARNED}
        five_hour = {"utilization": told.five, "resetsAt": self._epoch(told.five_ends)}
        seven_day = {"utilization": told.week, "resetsAt": self._epoch(told.week_ends)}
        windows = {"five_hour": five_hour, "seven_day": seven_day}
        told_at = {"resetsAt": windows[window]["resetsAt"], "rateLimitType": window, "isUsingOverage": False}
        return [self._line(type="rate_limit_event", rate_limit_info={**info, **told_at, "unifiedWindows": windows})]

    def _epoch(self, at: float | None) -> int | None:
        return None if at is None else int((self.start + timedelta(seconds=at)).timestamp())

    def _clock(self, agent: Agent, at: float) -> str:
        """A reset as people read it, floored to the minute; with its date where it is more than a day away."""
        when = (self.start + timedelta(seconds=at)).astimezone(UTC)
        minutes = f":{when.minute:02}" if when.minute else ""
        day = f"{when:%b} {when.day}, " if at - agent.loop.time() > 86_400 else ""
        return f"{day}{when.hour % 12 or 12}{minutes}{'am' if when.hour < 12 else 'pm'}"

    def _answer(self, text: str, units: float) -> bytes:
        used = usage(units, self.rng)
        self._used += used
        message = {
            "id": f"msg_{self.rng.getrandbits(96):024x}",
            "model": "claude-opus-5-5",
            "role": "assistant",
            "content": [{"type": "text", "text": text}],
            "usage": replace(used, output_tokens=1),
        }
        return self._line(type="assistant", message=message)

    def _error(self, text: str, kind: str) -> bytes:
        message = {"model": "<synthetic>", "role": "assistant", "content": [{"type": "text", "text": text}]}
        return self._line(type="assistant", message=message | {"usage": NOTHING}, error=kind)

    def _result(self, agent: Agent, text: str, **more: object) -> bytes:
        told = {"total_cost_usd": agent.task.in_session * DOLLARS, "usage": self._used, "result": text}
        return self._line(type="result", subtype="success", **told, **more)

    def _line(self, **frame: object) -> bytes:
        return msgspec.json.encode({**frame, "session_id": self.session})
