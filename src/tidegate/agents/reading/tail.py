"""The last lines of an attempt's two streams: what an end without a frame is judged by."""

from __future__ import annotations

import re
from collections import deque
from datetime import datetime, tzinfo

from msgspec.structs import replace

from tidegate import resets
from tidegate.agents.reading import frames, wording
from tidegate.model import Limit, Stream

KEPT = 40  # lines of each stream
LINE_MOST = 8192  # bytes of a line
BLOCK = 5  # lines that one message may take
OUT_DEEP = 4  # an agent that is refused prints that last: the last lines of stdout are searched
ERR_DEEP = 30  # wrappers print more behind it
NEAR_END = 6  # lines in which a CLI that exits 0 says that it failed
RETRY_DEEP = 3  # an agent that said "retrying" further up went on
WORDS_MOST = 500  # characters of a plain failure's reason
TEXT_MOST = 4000  # characters of text that is taken for an answer
ANSWER_MOST = 1_000_000  # characters of an answer that is told as one: a check may judge the whole of it

QUOTES = re.compile(r"(?::|```\w{0,20})\s*$")
HINT = re.compile(
    r"limit|quota|credit|cap\b|spend|log ?in|logged|auth|api|oauth|token|disabled|exhausted|load|busy|capacity|demand"
    r"|429|401|403|529|503|throttl|request|usage|out of|plan|trial|unavailable|billing|insufficient|paused",
    re.IGNORECASE,
)


class Tail:
    """The last KEPT lines of one stream that are not blank, each with the instant when it was printed."""

    def __init__(self) -> None:
        self._lines: deque[tuple[bytes, datetime]] | None = None  # many streams stay empty, and a thousand agents run

    def __bool__(self) -> bool:
        return bool(self._lines)

    def keep(self, line: bytes, at: datetime) -> None:
        """One more line; LINE_MOST bytes of it."""
        head = line[:LINE_MOST]
        if head and not head.isspace():
            if self._lines is None:
                self._lines = deque(maxlen=KEPT)
            self._lines.append((head, at))

    def lines(self) -> list[tuple[str, datetime]]:
        """The lines as text, oldest first."""
        return [(line.decode(errors="replace"), at) for line, at in self._lines or ()]

    def near_end(self) -> list[bytes]:
        """The last lines, the very last one first."""
        return [line for line, _ in reversed(self._lines or ())][:NEAR_END]

    @property
    def last(self) -> str:
        """The last line, plain and bounded; "" where there is none."""
        return resets.flat(self._lines[-1][0].decode(errors="replace"))[:WORDS_MOST] if self._lines else ""

    @property
    def text(self) -> str:
        """All that is kept, as an answer: TEXT_MOST characters of its end."""
        return "\n".join(line for line, _ in self.lines())[-TEXT_MOST:].strip()

    def refusal(self, zone: tzinfo, *, deep: int, any_label: bool = False) -> Limit | None:
        """The last message among the last `deep` lines that says no.

        Unless `any_label`, an error that says something else is the last word, and what a line with a colon at its end
        announces is a quotation.
        """
        lines = self.lines()
        for place in range(len(lines) - 1, max(len(lines) - 1 - deep, -1), -1):
            block = [line for line, _ in lines[place : place + BLOCK]]
            quoted = not any_label and place > 0 and QUOTES.search(lines[place - 1][0])
            limit = None if quoted else _refusal(block, lines[place][1], zone, any_label=any_label)
            if limit is not None and (limit.final or place >= len(lines) - RETRY_DEEP):
                return limit
            if not any_label and wording.is_error(block[0]):
                return None
        return None


def _refusal(block: list[str], at: datetime, zone: tzinfo, *, any_label: bool) -> Limit | None:
    """What the message that begins with a block's first line says no about."""
    if not HINT.search(block[0]):
        return None
    limit = frames.any_refusal(block[0], at, zone) if block[0].lstrip()[:1] == "{" else None
    return limit or wording.refusal("\n".join(block), at, zone, any_label=any_label)


def refusal_in(text: str, at: datetime, zone: tzinfo) -> Limit | None:
    """What the end of a whole text, printed at `at`, says no about; any wrapper's label may stand before it."""
    tail = Tail()
    for line in text.split("\n"):
        tail.keep(line.encode(errors="replace"), at)
    return tail.refusal(zone, deep=ERR_DEEP, any_label=True)


class Tails:
    """Both streams of one attempt."""

    def __init__(self) -> None:
        self.out = Tail()
        self.err = Tail()

    def keep(self, stream: Stream, line: bytes, at: datetime) -> None:
        """One more line."""
        (self.out if stream is Stream.STDOUT else self.err).keep(line, at)

    def refusal(self, zone: tzinfo) -> Limit | None:
        """What the end of stderr (behind any wrapper's label), else of stdout, says no about; not sure."""
        limit = self.err.refusal(zone, deep=ERR_DEEP, any_label=True)
        if limit is not None:
            return replace(limit, stream=Stream.STDERR)
        return self.out.refusal(zone, deep=OUT_DEEP)

    def found(self, pattern: re.Pattern[bytes] | None) -> str:
        """The line near the end of stdout, else of stderr, in which a pattern is found; "" where there is none."""
        near = [line for tail in (self.out, self.err) for line in tail.near_end()] if pattern else []
        return next(
            (wording.evidence(line.decode(errors="replace")) for line in near if pattern and pattern.search(line)), ""
        )

    @property
    def last_words(self) -> str:
        """The reason to show for a plain failure: the last line of stderr, else of stdout."""
        return self.err.last or self.out.last
