"""What codex leaves in the file of a session tells how much of its account's windows is used."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tidegate import agents
from tidegate.agents.reading import rollout
from tidegate.model import Sighting, Warned, Window

BEGAN = datetime(2026, 1, 9, 23, 30, tzinfo=UTC)
THREAD = str(UUID(int=(int(BEGAN.timestamp() * 1000) << 80) | (0x7 << 76) | 0x2_0000_0000_0000_0001))
WRITTEN = datetime(2026, 1, 10, 8, 15, 30, 250_000, tzinfo=UTC)
EPOCH = 1768046400
FIVE = {"used_percent": 42.5, "window_minutes": 299, "resets_at": EPOCH}
WEEK = {"used_percent": 7, "window_minutes": 10080, "resets_at": EPOCH + 86_400}


def count(limits: object, **more: Any) -> str:
    payload = {"type": "token_count", "info": None, "rate_limits": limits}
    return json.dumps({"timestamp": "2026-01-10T08:15:30.250Z", "type": "event_msg", "payload": payload, **more})


def kept(home: Path, *lines: str, days: int = 0) -> Path:
    folder = home / f"sessions/{BEGAN + timedelta(days=days):%Y/%m/%d}"
    folder.mkdir(parents=True)
    place = folder / f"rollout-2026-01-10T00-30-00-{THREAD}.jsonl"
    place.write_text("\n".join(lines) + "\n")
    return place


def told(home: Path, thread: str = THREAD) -> list[Sighting]:
    return list(agents.known().agents["codex"].aside(thread, {"CODEX_HOME": str(home)}))


def test_the_last_answer_tells_of_both_windows_whatever_slots_they_are_in(tmp_path: Path) -> None:
    kept(tmp_path, count({"primary": {**FIVE, "used_percent": 3.0}}), count({"primary": WEEK, "secondary": FIVE}), "{}")
    reset = datetime.fromtimestamp(EPOCH, UTC)
    assert told(tmp_path) == [
        Warned(window=Window.WEEK, used=0.07, at=WRITTEN, resets_at=reset + timedelta(days=1)),
        Warned(window=Window.FIVE_HOURS, used=0.425, at=WRITTEN, resets_at=reset),
    ]


@pytest.mark.parametrize("days", [-1, 0, 1])
def test_a_session_is_found_under_its_local_day_and_by_the_home_of_the_agent(tmp_path: Path, days: int) -> None:
    kept(tmp_path / ".codex", count({"primary": FIVE}), days=days)
    assert len(list(rollout.warnings(THREAD, {"HOME": str(tmp_path)}))) == 1


def test_an_answer_without_windows_leaves_the_last_that_had_some(tmp_path: Path) -> None:
    kept(tmp_path, count({"primary": FIVE, "secondary": None}), count(None))
    assert [one.window for one in told(tmp_path) if isinstance(one, Warned)] == [Window.FIVE_HOURS]


@pytest.mark.parametrize(
    "line",
    [
        "",
        '{"rate_limits"',
        count({"primary": {**FIVE, "used_percent": True}}),
        count({"primary": {**FIVE, "used_percent": None}}),
        count({"primary": {**FIVE, "window_minutes": 60}}),
        count({"primary": {**FIVE, "window_minutes": None}}),
        count({"primary": FIVE}, timestamp="today"),
        count({"primary": FIVE}, timestamp="2026-01-10T08:15:30"),
        count({"primary": FIVE}, payload={"type": "agent_message", "message": '"rate_limits"'}),
    ],
)
def test_what_is_none_of_it_tells_nothing(tmp_path: Path, line: str) -> None:
    kept(tmp_path, line)
    assert told(tmp_path) == []


def test_where_there_is_no_file_nothing_is_told(tmp_path: Path) -> None:
    assert told(tmp_path) == told(tmp_path, "../../etc/passwd") == told(tmp_path, "") == []
    place = kept(tmp_path, count({"primary": FIVE}))
    elsewhere = place.rename(tmp_path / "elsewhere")
    place.symlink_to(elsewhere)
    assert told(tmp_path) == [], "an agent may have put a link there"


def test_of_a_long_file_only_the_end_is_read(tmp_path: Path) -> None:
    kept(tmp_path, count({"primary": FIVE}), *["x" * 1000] * 300, count({"primary": WEEK}))
    assert [one.window for one in told(tmp_path) if isinstance(one, Warned)] == [Window.WEEK]
    (tmp_path / "other").mkdir()
    kept(tmp_path / "other", count({"primary": FIVE}), *["x" * 1000] * 300)
    assert told(tmp_path / "other") == []


@pytest.mark.parametrize("name", ["claude", "gemini", "command", "opencode"])
def test_other_agents_tell_all_in_their_output(name: str) -> None:
    assert list(agents.known().agents[name].aside(THREAD, {})) == []
