"""What providers say when they say no: whole texts of an error, recognised by how they begin.

A text counts only where a known sentence (`sentences`) stands at its beginning, after the marks that terminals draw and
after labels ("API Error: "); a sentence inside other prose is never recognised. `refusal` gives a Limit that is not
sure: a reader that knows that the text stood on an error frame says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from typing import Any

from tidegate import resets
from tidegate.agents.reading import sentences
from tidegate.model import Kind, Limit, Window
from tidegate.resets import Reset

EVIDENCE_MOST = 500  # characters of a limit's evidence
LONG = timedelta(minutes=30)  # a rate limit that says to wait longer is an allowance that is used up
Json = dict[str, Any]


def refusal(text: str, at: datetime, zone: tzinfo, *, any_label: bool = False) -> Limit | None:
    """What a whole text, printed at `at` by an agent in `zone`, says no about; None: nothing.

    `any_label` accepts any wrapper's "...: " before the sentence, as on stderr; otherwise only labels of errors. A text
    that says that another model takes over is no refusal.
    """
    lines = parted(text)
    if not lines or SWITCHES.search(lines):
        return None
    return told(text, at, zone, any_label=any_label)


def told(text: str, at: datetime, zone: tzinfo, *, any_label: bool = False) -> Limit | None:
    """What the text of an error that ended the work says no about; None: nothing known."""
    lines = parted(text)
    found = _found(lines, any_label=any_label)
    return None if found is None else _limit(found, lines, at, zone)


def of_answer(body: Json, at: datetime, zone: tzinfo, *, trusted: bool) -> Limit | None:
    """What a provider's JSON answer says no about.

    `trusted`: it stands on an error frame of an agent, so an HTTP status or a general type counts, too.
    """
    found = _of_body(body, trusted=trusted)
    if found is None:
        return None
    text = found.body.get("message") if found.body else None
    return _limit(found, parted(text if isinstance(text, str) else json.dumps(body)[: resets.TEXT_MOST]), at, zone)


def of_status(status: object) -> Kind | None:
    """What an HTTP status of a provider's answer says, where nothing else does."""
    if not isinstance(status, int) or isinstance(status, bool):
        return None
    return sentences.STATUSES.get(status, Kind.OVERLOADED if 500 <= status <= 599 else None)


def is_error(text: str) -> bool:
    """Whether a line says of itself that it is an error."""
    return any(label.match(_unmarked(text)) for label in LABELS[1:4])


def evidence(text: str) -> str:
    """The text as the evidence of a limit: one line, bounded."""
    return resets.flat(text)[:EVIDENCE_MOST]


def parted(text: str) -> str:
    """The text without terminal codes and with one space between words, its lines kept apart; bounded."""
    parts = (resets.flat(line) for line in text[: resets.TEXT_MOST].split("\n"))
    return "\n".join(part for part in parts if part)


# --- finding a sentence ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Found:
    """A recognised sentence: its kind, the words that tell its window, the zones that it implies, an answer's body."""

    kind: Kind
    words: str
    zone: str | None = None
    daily: str | None = None
    body: Json | None = None


MARKS = re.compile(r"(?:[^\w\x21-\x7e]|[*_])+")  # bullets, arrows, signs: anything but letters and ASCII
SWITCHES = re.compile(r"\bswitch(?:ing|ed) (?:from \S{1,80} )?(?:you )?to\b", re.IGNORECASE)
STATUS = re.compile(r"\(?([45]\d\d)\)?(?:: |[ ·-]{1,3})(?=\S)")
WORD_LABEL = r"(?!Assertion)[\w.]{0,40}(?:Error|ERROR|error|Exception|EXCEPTION|FATAL|Fatal|fatal)"
WHO = (
    r"(?:API|Codex|Claude|Gemini|OpenAI|Anthropic|LLM|Model|Provider|Server|Stream|stream|Upstream|Agent|HTTP|Request)"
)
FROM = r"Error from [\w ]{1,40}(?:\([^()]{1,60}\))?"
LABELS = (
    STATUS,
    re.compile(
        rf"\[?(?:{WORD_LABEL}|{WHO}(?: request| stream)? (?:error|Error|failed)(?: \(?[45]\d\d\)?)?|{FROM})(?::| -)\s+"
    ),
    re.compile(r"\w{1,40}Exception - |\[\w{1,40}(?:_error|Error)\] |\[?chatMessage: "),
    re.compile(r"[Ss]tream disconnected before completion: |Error code: (?=[45]\d\d\b)|\w{1,40}_error: "),
    re.compile(r"unexpected status [45]\d\d [\w ]{1,40}: |got status: [45]\d\d [\w ]{1,40}\. "),
    re.compile(r"Failed to get response from the AI model; retried \d{1,3} times[^\n]{0,60}Last error: "),
    re.compile(r"Attempt \d{1,3} failed: |Retrying in [\d.]{1,9} ?\w{1,8} \(attempt \d{1,3}/\d{1,3}\): "),
    re.compile(r"Reconnecting\.\.\. \d{1,3}/\d{1,3} \("),
    re.compile(r"(?:sorry|unfortunately|oops)[,!.] ", re.IGNORECASE),
)
ANY_LABEL = re.compile(r"(?!\W*(?:E\s+)?Assert)[^:\"'`{}\n]{1,80}:\s+")
STAMP = re.compile(r"\[?\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[\d.,]{0,10}(?:Z|[+-]\d\d:?\d\d)?\]?:?\s+")  # of a log
API_ERROR = re.compile(r"\b(?:API [Ee]rror|Error code|unexpected status|got status)\b")
LABEL_STATUS = re.compile(r"\b[45]\d\d\b")


def _found(lines: str, *, any_label: bool) -> _Found | None:
    """The first sentence at the text's beginning, else behind one label, behind two, and so on."""
    label = ""
    for text in _beginnings(lines, any_label=any_label):
        label = lines[: len(lines) - len(text)]
        if text.startswith("{"):
            return _in_body(text, trusted=bool(API_ERROR.search(label)), cut=bool(label)) or _labelled(label)
        found = _sentence(text)
        if found is not None:
            return found
    return _labelled(label)


def _beginnings(lines: str, *, any_label: bool) -> Iterator[str]:
    """The text, then what is left of it behind each further label."""
    text = _unmarked(lines)
    for _ in range(6):
        yield text
        label = next((match for match in (one.match(text) for one in LABELS) if match), None)
        label = label or ((STAMP.match(text) or ANY_LABEL.match(text)) if any_label else None)
        if label is None:
            return
        text = _unmarked(text[label.end() :])


def _unmarked(text: str) -> str:
    marks = MARKS.match(text)
    return text[marks.end() :] if marks else text


def _sentence(text: str) -> _Found | None:
    for kind, pattern, daily in sentences.ALL:
        match = pattern.match(text)
        if match:
            zone = sentences.BEIJING if sentences.GLM.match(text) else None
            return _Found(kind, text[: _ends(text, match.end())], zone, daily)
    return None


def _ends(text: str, place: int) -> int:
    """Where a sentence that was recognised up to `place` goes on to, 40 characters at most."""
    rest = SENTENCE_REST.match(text, place)
    return rest.end() if rest else place


SENTENCE_REST = re.compile(r"[^.·|(\n]{0,40}")


def _labelled(label: str) -> _Found | None:
    """What labels alone say: the name of an exception, or an API error's status."""
    kind = next((kind for kind, pattern in sentences.LABELLED if pattern.search(label)), None)
    status = LABEL_STATUS.search(label) if kind is None and API_ERROR.search(label) else None
    kind = of_status(int(status[0])) if status else kind
    return None if kind is None else _Found(kind, label)


# --- an answer's body --------------------------------------------------------------------------


def _in_body(text: str, *, trusted: bool, cut: bool) -> _Found | None:
    """What the JSON at the beginning of a text says; behind a label it may be cut off."""
    try:
        body, _ = json.JSONDecoder(strict=False).raw_decode(text)
    except (ValueError, RecursionError):
        return _in_pieces(text) if cut else None
    return _of_body(body, trusted=trusted) if isinstance(body, dict) else None


def _of_body(body: Json, *, trusted: bool) -> _Found | None:
    """What a provider's answer says: its message by the sentences, else its code, type or status.

    Only a body that says that it is an error counts. Anthropic's usage meter (not its models) answers with a
    `rate_limit_error` that lacks the outer `"type": "error"`: that refuses no work.
    """
    error = body.get("error")
    inner: Json = error if isinstance(error, dict) else {"message": error} if isinstance(error, str) else {}
    if not inner and body.get("type") == "error":
        inner = body
    if not inner or _is_the_meter(body, inner):
        return None
    message = inner.get("message")
    found = _found(parted(message), any_label=False) if isinstance(message, str) else None
    found = found or _of_type(inner, trusted=trusted)
    return None if found is None else replace(found, body=found.body or inner)


def _is_the_meter(body: Json, inner: Json) -> bool:
    return inner.get("type") == "rate_limit_error" and body.get("type") != "error" and not inner.keys() - PLAIN


PLAIN = {"message", "type"}


def _of_type(inner: Json, *, trusted: bool) -> _Found | None:
    names = [inner.get(key) for key in ("code", "type", "status")]
    kinds = [sentences.TYPES.get(name.lower()) for name in names if isinstance(name, str)]
    if trusted:
        kinds += [sentences.GENERAL_TYPES.get(name.lower()) for name in names if isinstance(name, str)]
        kinds += [of_status(name) for name in names]
    kind = next((one for one in kinds if one is not None), None)
    return None if kind is None else _Found(kind, "")


TYPE_PIECE = re.compile(r"""["']type["'] ?: ?["']([a-z_]{1,60})["']""")


def _in_pieces(text: str) -> _Found | None:
    """What the types named in a body that is cut off say."""
    kinds = (sentences.TYPES.get(match[1]) for match in TYPE_PIECE.finditer(text[:1000]))
    kind = next((one for one in kinds if one is not None), None)
    return None if kind is None else _Found(kind, "")


# --- the limit ---------------------------------------------------------------------------------

RETRIES = re.compile(
    r"\bretrying\b|\breconnecting\b|\bcontinuing automatically\b|\(attempt \d{1,3}/\d{1,3}\)|\battempt #\d",
    re.IGNORECASE,
)


def _limit(found: _Found, lines: str, at: datetime, zone: tzinfo) -> Limit:
    final = not RETRIES.search(lines)
    kind, reset = _timed(found, lines, at, zone, final=final)
    return Limit(
        kind=kind,
        evidence=evidence(lines),
        window=window(found.words, kind),
        resets_at=reset.at if reset else None,
        exact=reset.exact if reset else False,
        sure=False,
        final=final,
        model=model(found.words) if kind is Kind.USAGE_LIMIT else None,
    )


def _timed(found: _Found, lines: str, at: datetime, zone: tzinfo, *, final: bool) -> tuple[Kind, Reset | None]:
    """The kind in the light of the time that the text names, and that time. What waits for a person has no reset."""
    fields = resets.of_fields(found.body, at) if found.body else None
    if found.kind in (Kind.RATE_LIMIT, Kind.OVERLOADED):
        return _waited(found.kind, fields or resets.wait_named(lines, at), at, final=final)
    there = (resets.zone_named(found.zone) if found.zone else None) or zone
    reset = fields or resets.read(lines, at, there) or resets.own_wait(lines, at)
    if found.kind is Kind.USAGE_LIMIT:
        return found.kind, reset or (resets.next_midnight(at, found.daily) if found.daily else None)
    if found.kind is Kind.CREDIT and reset is not None and sentences.OVERAGE.match(found.words):
        return Kind.USAGE_LIMIT, reset  # the plan's own allowance comes back by itself
    return found.kind, None


def _waited(kind: Kind, wait: Reset | None, at: datetime, *, final: bool) -> tuple[Kind, Reset | None]:
    """A rate limit's reset is a wait, no clock time, and none where the agent retries: its own pauses end nothing."""
    if wait is not None and kind is Kind.RATE_LIMIT and wait.at - at > LONG:
        return Kind.USAGE_LIMIT, wait
    return kind, wait if final else None


WINDOWS = (
    (Window.SPEND, re.compile(r"spend|credit|billing details|balance|overage", re.IGNORECASE)),
    (Window.FIVE_HOURS, re.compile(r"\b(?:5|five)[- _]?h(?:ou)?rs?\b|\bsession\b", re.IGNORECASE)),
    (Window.WEEK, re.compile(r"\bweek|\b(?:7|seven)[- _]?days?\b|\b(?:opus|sonnet|haiku|fable)\b", re.IGNORECASE)),
    (Window.DAY, re.compile(r"\bdai|\bper[- ]day\b|\brpd\b|limit_rpd|\b24[- ]?hours?\b", re.IGNORECASE)),
    (Window.MONTH, re.compile(r"\bmonth|\bbilling (?:period|cycle)\b", re.IGNORECASE)),
)
MODELS = re.compile(r"\b(opus|sonnet|haiku|fable)\b", re.IGNORECASE)


def window(words: str, kind: Kind) -> Window:
    """The window that words name, by its duration; a rate limit's is the minute, money's the spend."""
    if kind is Kind.RATE_LIMIT:
        return Window.MINUTE
    if kind is Kind.CREDIT:
        return Window.SPEND
    if kind is not Kind.USAGE_LIMIT:
        return Window.UNKNOWN
    return next((name for name, pattern in WINDOWS if pattern.search(words)), Window.UNKNOWN)


def model(words: str) -> str | None:
    """The one model that words name, None for the whole account."""
    named = MODELS.search(words)
    return named[1].lower() if named else None
