"""What the answers of a model have drawn, by the usage that lines tell: each answer counts once.

An answer comes in several lines of the same id, and what it wrote is known only at the end of the run, where the CLI
tells of all of it together (claude 2.0.76 to 2.1.330).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tidegate.agents.reading import frames
from tidegate.model import CACHED, RECALLED, WRITTEN, Drawn

NEAR = 4096  # bytes at either end of a line in which an answer's id and its usage stand
KEPT = 64  # answers whose further lines may come yet: of agents beside one another
USAGE = b'"usage"'
ID = re.compile(rb'"id"\s?:\s?"(msg_[^"]{1,80})"')
ANY_ID = re.compile(rb'"id"\s?:\s?"([^"]{1,80})"')
COUNT = re.compile(
    rb'"(input_tokens|cache_creation_input_tokens|cache_read_input_tokens|output_tokens)"\s?:\s?(\d{1,12})\b'
)
WEIGHTS = {
    b"input_tokens": 1.0,
    b"cache_creation_input_tokens": CACHED,
    b"cache_read_input_tokens": RECALLED,
    b"output_tokens": WRITTEN,
}


class Draws:
    """What one attempt has drawn so far."""

    def __init__(self) -> None:
        self._tokens = 0.0
        self._answers = 0
        self._last: dict[bytes, float] = {}  # by answer, the oldest first
        self._whole = 0.0

    @property
    def drawn(self) -> Drawn:
        """What was counted, or what was told of the whole run where that is more."""
        late = max(self._whole - self._tokens, 0.0)
        return Drawn(self._tokens + late, self._answers, late=late)

    def answer(self, line: bytes) -> None:
        """Count what the line of an answer tells, which is not parsed for that."""
        at = line.rfind(USAGE, max(len(line) - NEAR, 0))
        at = line.find(USAGE, 0, NEAR) if at < 0 else at
        if at < 0:
            return
        told: dict[bytes, float] = {}
        for name, number in COUNT.findall(line, at, at + NEAR):
            told.setdefault(name, WEIGHTS[name] * int(number))  # what comes later is of a part
        found = ID.search(line, 0, NEAR) or ANY_ID.search(line, 0, NEAR)
        self._count(b"" if found is None else found[1], sum(told.values()))

    def message(self, message: Mapping[str, Any]) -> None:
        """Count what an answer tells that is parsed already."""
        self._count(frames.text(message, "id").encode(), weight(frames.table(message, "usage")))

    def _count(self, id: bytes, tokens: float) -> None:
        if not tokens:
            return
        before = self._last.get(id) if id else None
        if before is None:
            self._answers += 1
            if len(self._last) >= KEPT:
                del self._last[next(iter(self._last))]
        if before is None or tokens > before:
            self._tokens += tokens - (before or 0.0)
            self._last[id] = tokens

    def whole(self, tokens: Mapping[str, Any]) -> None:
        """Hear what the whole run has used."""
        self._whole = max(self._whole, weight(tokens))


def weight(tokens: Mapping[str, Any]) -> float:
    """What a usage in the spelling of Anthropic draws: `input_tokens` are those that no cache had."""
    return float(sum(one * (frames.number(tokens, name.decode()) or 0) for name, one in WEIGHTS.items()))


def weight_of_all(read: int, written: int, *, recalled: int = 0, cached: int = 0) -> float:
    """What a usage draws whose input is all that was read, what was recalled from a cache or put into one as well."""
    recalled, cached = min(recalled, read), min(cached, max(read - recalled, 0))
    fresh = read - recalled - cached
    return fresh + RECALLED * recalled + CACHED * cached + WRITTEN * written
