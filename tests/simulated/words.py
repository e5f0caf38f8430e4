"""What claude 2.1.330 prints in `stream-json` where a simulated agent hears something."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from simulated.agent import Agent, Answered, Finished, Heard
from simulated.allowance import Refusal

DOLLARS, TOKENS = 0.5, 20_000  # of one unit
STEP = 0.02  # of a window: how much more must be used for it to be told again
NEVER = (-1.0, -1.0)
SAYS = {
    "rate": (429, "rate_limit", "API Error: Request rejected (429) · this may be a temporary capacity issue"),
    "overloaded": (529, "overloaded", "API Error: Repeated 529 Overloaded errors. The API is at capacity"),
}


@dataclass(slots=True)
class Words:
    """One process; `start` is the instant at which the loop's time was 0."""

    session: str
    start: datetime
    _told: tuple[float, float] = NEVER

    def begin(self) -> bytes:
        return self._line(type="system", subtype="init", model="claude-opus-5-5")

    def say(self, agent: Agent, heard: Heard) -> list[bytes]:
        """The lines of what an agent has heard."""
        match heard:
            case Answered():
                return [self._answer("..."), *self._event(agent, "allowed")]
            case Finished():
                return [
                    self._answer("done"),
                    *self._event(agent, "allowed"),
                    self._result(agent, "done", is_error=False),
                ]
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
        event = self._event(agent, "rejected", refusal)
        ending = {"api_error_status": 429, "api_error": "usage_limit_reached", "terminal_reason": "api_error"}
        return [*event, self._error(text, "rate_limit"), self._result(agent, text, is_error=True, **ending)]

    def _event(self, agent: Agent, status: str, refusal: Refusal | None = None) -> list[bytes]:
        """What the windows are like, where that has changed since it was last told."""
        allowance, now = agent.allowance, agent.loop.time()
        if allowance.scenario.says != "events":
            return []
        five, week = allowance.share(now)
        if refusal is None and self._told != NEVER and abs(five - self._told[0]) < STEP:
            return []
        self._told = (five, week)
        ends = refusal.resets_at if refusal is not None else allowance.ends(now)
        weekly = {"utilization": week, "resetsAt": self._epoch(allowance.week_ends)}
        info = {
            "status": "allowed_warning" if refusal is None and five >= 0.75 else status,
            "resetsAt": self._epoch(ends),
            "rateLimitType": refusal.window if refusal is not None else "five_hour",
            "unifiedWindows": {
                "five_hour": {"utilization": five, "resetsAt": self._epoch(allowance.ends(now))},
                "seven_day": weekly,
            },
        }
        return [self._line(type="rate_limit_event", rate_limit_info=info)]

    def _epoch(self, at: float | None) -> int | None:
        return None if at is None else int((self.start + timedelta(seconds=at)).timestamp())

    def _clock(self, agent: Agent, at: float) -> str:
        """A reset as people read it, floored to the minute; with its date where it is more than a day away."""
        when = (self.start + timedelta(seconds=at)).astimezone(UTC)
        minutes = f":{when.minute:02}" if when.minute else ""
        day = f"{when:%b} {when.day}, " if at - agent.loop.time() > 86_400 else ""
        return f"{day}{when.hour % 12 or 12}{minutes}{'am' if when.hour < 12 else 'pm'}"

    def _answer(self, text: str) -> bytes:
        message = {"model": "claude-opus-5-5", "role": "assistant", "content": [{"type": "text", "text": text}]}
        return self._line(type="assistant", message=message)

    def _error(self, text: str, kind: str) -> bytes:
        message = {"model": "<synthetic>", "role": "assistant", "content": [{"type": "text", "text": text}]}
        return self._line(type="assistant", message=message, error=kind)

    def _result(self, agent: Agent, text: str, **more: object) -> bytes:
        spent = agent.task.in_session
        usage = {"input_tokens": round(spent * TOKENS), "output_tokens": round(spent * TOKENS / 20)}
        told = {"total_cost_usd": spent * DOLLARS, "usage": usage, "result": text}
        return self._line(type="result", subtype="success", **told, **more)

    def _line(self, **frame: object) -> bytes:
        return msgspec.json.encode({**frame, "session_id": self.session})
