"""Every message of the corpus, and every line of the tables beside this file, is read right.

The corpus (`tests/data/limit_messages.jsonl`) was collected from public reports, sources and tests of other tools. A
limit is read as the output of an agent that exits 1, a harmless line with exit 0 and 1; a stream that a case does not
name is stdout.
"""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tidegate.explain import Explanation, explain
from tidegate.model import Kind, Stream

HERE = Path(__file__).parent
CASES: list[dict[str, Any]] = [
    json.loads(line) for line in (HERE.parent / "data" / "limit_messages.jsonl").read_text().splitlines()
]
LIMITS = [case for case in CASES if case["kind"] not in ("not_a_limit", "other")]
HARMLESS = [case for case in CASES if case["kind"] in ("not_a_limit", "other")]

# The corpus holds null where its own rule says "next 12:00 (noon) Asia/Tokyo": the reset is told, and is read.
MENDED = {"● You've hit your session limit · resets 12pm (Asia/Tokyo)": "2026-01-10T03:00:00+00:00"}


def name(case: dict[str, Any]) -> str:
    return f"{CASES.index(case)} {case['cli']}"


def read(case: dict[str, Any], exit: int) -> Explanation:
    names = case["stream"]
    stream = Stream.STDERR if "stderr" in names and "stdout" not in names else Stream.STDOUT
    zone, now = ZoneInfo(case["local_zone"]), datetime.fromisoformat(case["now"])
    return explain(case["text"], agent=case["cli"], stream=stream, exit=exit, now=now, zone=zone)


@pytest.mark.parametrize("case", LIMITS, ids=name)
def test_a_limit_is_of_its_kind(case: dict[str, Any]) -> None:
    told = read(case, 1)
    assert told.kind == case["kind"]
    assert told.action != "none"
    assert told.evidence


@pytest.mark.parametrize("case", LIMITS, ids=name)
def test_its_reset_is_exact_to_the_minute(case: dict[str, Any]) -> None:
    wanted = MENDED.get(case["text"], case["resets_at"])
    told = read(case, 1).resets_at
    if wanted is None:
        assert told is None
    else:
        assert told is not None
        assert abs(told - datetime.fromisoformat(wanted)) < timedelta(minutes=1)


@pytest.mark.parametrize("case", HARMLESS, ids=name)
@pytest.mark.parametrize("exit", [0, 1])
def test_a_harmless_line_is_none(case: dict[str, Any], exit: int) -> None:
    told = read(case, exit)
    assert (told.kind, told.action, told.sure) == (Kind.NONE, "none", False)


@pytest.mark.parametrize("case", LIMITS, ids=name)
def test_a_limits_words_alone_are_nothing_where_the_agent_succeeded(case: dict[str, Any]) -> None:
    """The same words as an agent's answer: only a frame is evidence with exit 0, but for aider, which never exits 1."""
    told = read(case, 0)
    assert told.kind is Kind.NONE or told.sure or case["cli"] == "aider"


# --- the tables beside this file ---

NOW = datetime(2026, 1, 9, 18, 30, tzinfo=UTC)


LINES = [
    pytest.param(line, id=f"{file.stem} {n}")
    for file in sorted(HERE.glob("*.toml"))
    for n, line in enumerate(tomllib.loads(file.read_text())["line"], 1)
]


@pytest.mark.parametrize("line", LINES)
def test_a_line_of_a_table_is_read_as_it_says(line: dict[str, Any]) -> None:
    stream = Stream(line.get("stream", "stdout"))
    for exit in (0, 1) if line["kind"] == "none" else (1,):
        told = explain(line["text"], agent=line["agent"], stream=stream, exit=exit, now=NOW, zone=UTC)
        assert told.kind == line["kind"]
        assert told.resets_at == line.get("resets_at")
        assert told.model == line.get("model")
        assert told.final == line.get("final", True)
        if "window" in line:
            assert told.window == line["window"]
