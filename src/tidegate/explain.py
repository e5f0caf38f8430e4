"""What tidegate would conclude from a captured output: read by the very readers of a live attempt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any

from tidegate import agents, policy
from tidegate.agents import Agent, Known
from tidegate.model import Exit, Kind, Limit, Limited, Seen, Stream, Window
from tidegate.policy import Action


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The conclusion.

    `kind` NONE: no limit; the other fields then say nothing. `resets_at` is aware UTC without a margin, None where it
    is not known. `outcome` is the attempt's by the rules of a live one, "running" where its end is not known.
    """

    kind: Kind = Kind.NONE
    sure: bool = False
    final: bool = True
    window: Window = Window.UNKNOWN
    resets_at: datetime | None = None
    exact: bool = False
    model: str | None = None
    action: Action = "none"
    evidence: str = ""
    outcome: str = ""

    def as_json(self) -> dict[str, Any]:
        """The fields for JSON; instants in ISO 8601."""
        return {
            "kind": self.kind.value,
            "sure": self.sure,
            "final": self.final,
            "window": self.window.value,
            "resets_at": None if self.resets_at is None else self.resets_at.isoformat(),
            "exact": self.exact,
            "model": self.model,
            "action": self.action,
            "evidence": self.evidence,
            "outcome": self.outcome,
        }


def explain(
    text: str | bytes,
    *,
    agent: str,
    stream: Stream = Stream.STDOUT,
    exit: int | None,
    now: datetime,
    zone: tzinfo,
    known: Known | None = None,
) -> Explanation:
    """What `text`, all of one stream, printed at `now` (aware UTC) in `zone` by an agent that exited so, comes to.

    `agent` is a name or what people call it ("claude-code"); one that is not known is read as a program. With `exit`
    None the attempt still runs: then only what is sure asks for anything.
    """
    reads = (known or _built_in()).called(agent)
    lines = (text.encode(errors="replace") if isinstance(text, str) else text).split(b"\n")
    return judged({stream: lines}, reads, exit=exit, now=now, zone=zone)


def judged(
    streams: dict[Stream, list[bytes]], agent: Agent, *, exit: int | None, now: datetime, zone: tzinfo
) -> Explanation:
    """What the lines of both streams come to."""
    seen = seen_in(streams, agent, exit=exit, now=now, zone=zone)
    if exit is None:
        limit = seen.sure or seen.unsure
        return Explanation(outcome="running") if limit is None else _of(limit, "running", asks=limit.sure)
    outcome = policy.verdict(seen, Exit(exit))
    name = type(outcome).__name__.lower()
    return _of(outcome.limit, name, asks=True) if isinstance(outcome, Limited) else Explanation(outcome=name)


def seen_in(streams: dict[Stream, list[bytes]], agent: Agent, *, exit: int | None, now: datetime, zone: tzinfo) -> Seen:
    """All that the lines of both streams and the exit tell, as an attempt would know it."""
    reader, seen = agent.reader(zone), Seen(proof=agent.proof)
    for stream, lines in streams.items():
        for line in lines:
            for sighting in reader.read(stream, line, now):
                seen = policy.see(seen, sighting)
    for sighting in reader.end(Exit(exit), now) if exit is not None else ():
        seen = policy.see(seen, sighting)
    return policy.heard(seen, reader.last_words)


def _of(limit: Limit, outcome: str, *, asks: bool) -> Explanation:
    return Explanation(
        kind=limit.kind,
        sure=limit.sure,
        final=limit.final,
        window=limit.window,
        resets_at=limit.resets_at,
        exact=limit.exact,
        model=limit.model,
        action=policy.action(limit) if asks else "none",
        evidence=limit.evidence,
        outcome=outcome,
    )


@lru_cache(maxsize=1)
def _built_in() -> Known:
    return agents.known()
