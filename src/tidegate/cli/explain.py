"""The verb `explain`: what tidegate concludes from captured output."""

from __future__ import annotations

import json
import re
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace

from tidegate import agents, allowed, clock, settings
from tidegate import explain as reading
from tidegate.agents import COMMAND, Known
from tidegate.cli.config import loaded
from tidegate.errors import BadInput
from tidegate.explain import Explanation
from tidegate.look import plain
from tidegate.look.desk import note
from tidegate.look.find import meant
from tidegate.look.words import Page, page, shown
from tidegate.model import Kind, Stream

STDIN = "stdin"
KEYS = ("text", "agent", "stream", "exit", "now", "tz")
CODES = range(-64, 256)  # an exit code, or minus a signal's number
CODE = re.compile(r"-?\d{1,3}", re.ASCII)
RUNS = "none"


class Question(Struct, frozen=True, kw_only=True):
    """One captured output and how it came about; `exit` None: the attempt still runs."""

    text: str | bytes = ""
    agent: str
    stream: Stream
    exit: int | None
    now: datetime
    zone: tzinfo


def explain(args: Namespace) -> int:
    """Print what standard input comes to; 0. Raises BadInput, naming the line where there are many."""
    known, asked = agents.known(settings.agents(loaded(args).settings)), _asked(args)
    if args.jsonl:
        for question in _questions(asked):
            print(plain.line(_answer(question, known).as_json()))
        return 0
    if args.agent != COMMAND and known.called(args.agent).name == COMMAND:
        note(f"no agent {allowed.shown_key(args.agent)} is known: read as a program{meant(args.agent, known.names)}")
    answer = _answer(replace(asked, text=sys.stdin.buffer.read()), known)
    for line in [plain.line(answer.as_json())] if args.json else _lines(answer, replace(page(), now=asked.now)):
        print(line)
    return 0


def _answer(question: Question, known: Known) -> Explanation:
    return reading.explain(
        question.text,
        agent=question.agent,
        stream=question.stream,
        exit=question.exit,
        now=question.now,
        zone=question.zone,
        known=known,
    )


# --- what is asked ---


def _asked(args: Namespace) -> Question:
    """What the flags say."""
    zone = _zone(args.tz, "--tz") if args.tz is not None else clock.zone()
    return Question(
        agent=args.agent,
        stream=Stream(args.stream),
        exit=_exit(args.exit, "--exit"),
        now=_instant(args.now, zone, "--now") if args.now is not None else clock.SystemClock().now(),
        zone=zone,
    )


def _questions(asked: Question) -> Iterator[Question]:
    """A question for each line; what a line leaves out is as the flags say."""
    for number, line in enumerate(sys.stdin.buffer, 1):
        if line.strip():
            yield _question(line, asked, f"{STDIN}: line {number}")


def _question(line: bytes, asked: Question, where: str) -> Question:
    table = _object(line, where)
    zone = asked.zone if table.get("tz") is None else _zone(table["tz"], f"{where} tz")
    return Question(
        text=_text(table.get("text"), f"{where} text"),
        agent=asked.agent if table.get("agent") is None else _text(table["agent"], f"{where} agent"),
        stream=asked.stream if table.get("stream") is None else _stream(table["stream"], f"{where} stream"),
        exit=_exit(table["exit"], f"{where} exit") if "exit" in table else asked.exit,
        now=asked.now if table.get("now") is None else _instant(table["now"], zone, f"{where} now"),
        zone=zone,
    )


def _object(line: bytes, where: str) -> Mapping[str, Any]:
    try:
        table = json.loads(line.rstrip())
    except UnicodeDecodeError:
        raise BadInput(f"{where}: not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise BadInput(f"{where}, column {error.colno}: not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where}: not JSON: {error}") from None
    if not isinstance(table, dict):
        raise BadInput(f"{where}: must be an object with {', '.join(KEYS)}, {allowed.but(table)}")
    return table


def _text(said: object, where: str) -> str:
    if not isinstance(said, str):
        raise BadInput(f"{where}: must be text, {allowed.but(said)}")
    return said


def _stream(said: object, where: str) -> Stream:
    try:
        return Stream(allowed.one_of(*Stream)(said))
    except allowed.Wrong as wrong:
        raise BadInput(f"{where}: {wrong}") from None


def _exit(said: object, where: str) -> int | None:
    """An exit code as a shell tells it; minus a signal's number is 128 and that number, as Python's is meant."""
    if said is None or said == RUNS:
        return None
    number = int(said) if isinstance(said, str) and CODE.fullmatch(said) else said
    if isinstance(number, int) and not isinstance(number, bool) and number in CODES:
        return number if number >= 0 else 128 - number
    raise BadInput(f'{where}: must be 0 to 255, minus a signal\'s number, or "{RUNS}", {allowed.but(said)}')


def _instant(said: object, zone: tzinfo, where: str) -> datetime:
    """An instant in ISO 8601, or seconds since 1970; one that names no zone is a clock time in `zone`."""
    try:
        if isinstance(said, int | float) and not isinstance(said, bool):
            return datetime.fromtimestamp(said, UTC)
        found = datetime.fromisoformat(_text(said, where))
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise BadInput(f"{where}: must be a time like 2026-01-09T18:30:00Z, {allowed.but(said)}") from None


def _zone(said: object, where: str) -> tzinfo:
    try:
        return ZoneInfo(_text(said, where))
    except (ValueError, KeyError, OSError):  # ZoneInfoNotFoundError is a KeyError
        raise BadInput(f"{where}: must be a zone like Europe/Berlin, {allowed.but(said)}") from None


# --- what is answered ---


def _lines(answer: Explanation, on: Page) -> Iterator[str]:
    if answer.kind is Kind.NONE:
        yield f"no limit; outcome: {answer.outcome}"
        return
    sure = "sure" if answer.sure else "not sure by itself"
    sure += "" if answer.final else ", the agent tries again by itself"
    window = f", {answer.window} window" if answer.window != "unknown" else ""
    model = f", of the model {shown(answer.model)} alone" if answer.model else ""
    yield f"{answer.kind.replace('_', ' ')}{window}{model}: {sure}"
    yield from on.wrap(f'evidence  "{shown(answer.evidence)}"', hang=10)
    yield f"resets    {on.until(answer.resets_at) if answer.resets_at else 'nobody knows when'}"
    yield f"action    {answer.action.replace('_', ' ')}"
    yield f"outcome   {answer.outcome}"
