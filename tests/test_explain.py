"""What `explain` concludes from captured output."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tidegate.explain import Explanation, explain
from tidegate.model import Kind, Stream, Window
from tidegate.policy import Action

NOW = datetime(2026, 1, 9, 18, 30, tzinfo=UTC)
LINE = "You've hit your limit · resets 4pm (America/Los_Angeles)"
INFO = {"status": "rejected", "resetsAt": 1788625200, "rateLimitType": "five_hour"}
REJECTED = json.dumps({"type": "rate_limit_event", "rate_limit_info": INFO})


def told(
    text: str | bytes, *, agent: str = "claude", exit: int | None = 1, stream: Stream = Stream.STDOUT
) -> Explanation:
    return explain(text, agent=agent, stream=stream, exit=exit, now=NOW, zone=UTC)


@pytest.mark.parametrize(("text", "kind", "action"), [
    (LINE, Kind.USAGE_LIMIT, "hold"),
    ("API Error: Request rejected (429) · slow down", Kind.RATE_LIMIT, "backoff"),
    ("API Error: Repeated 529 Overloaded errors. Try again in a moment.", Kind.OVERLOADED, "backoff"),
    ("Credit balance is too low", Kind.CREDIT, "needs_human"),
    ("Not logged in · Please run /login", Kind.AUTH, "needs_human"),
    ("Hello.", Kind.NONE, "none"),
])  # fmt: skip
def test_each_kind_asks_for_its_action(text: str, kind: Kind, action: Action) -> None:
    assert (told(text).kind, told(text).action) == (kind, action)


def test_all_that_is_known_is_told() -> None:
    assert told(REJECTED).as_json() == {
        "kind": "usage_limit",
        "sure": True,
        "final": True,
        "window": "5h",
        "resets_at": "2026-09-05T16:20:00+00:00",
        "exact": True,
        "model": None,
        "action": "hold",
        "evidence": 'rate_limit_event {"status": "rejected", "rateLimitType": "five_hour", "resetsAt": 1788625200}',
        "outcome": "limited",
    }


def test_an_unsure_phrase_gives_none_where_the_agent_succeeded() -> None:
    concluded = told(LINE, exit=0)
    assert (concluded.kind, concluded.action, concluded.outcome) == (Kind.NONE, "none", "succeeded")


def test_what_waits_for_a_person_has_no_reset() -> None:
    text = "You have reached your specified API usage limits. You will regain access on 2026-07-01 at 00:00 UTC."
    assert told(f"API Error: 400 {text}").resets_at is None


def test_a_running_agent_asks_for_something_only_if_it_is_sure() -> None:
    assert (told(REJECTED, exit=None).action, told(REJECTED, exit=None).outcome) == ("hold", "running")
    assert told(LINE, exit=None).action == "none"
    retry = "Attempt 1 failed: You exceeded your current quota, retry in 7s https://ai.google.dev"
    unsure = told(retry, exit=None, agent="gemini", stream=Stream.STDERR)
    assert (unsure.kind, unsure.sure, unsure.final, unsure.action) == (Kind.RATE_LIMIT, False, False, "none")


def test_a_name_that_nobody_knows_is_read_as_a_program() -> None:
    wrapped = told(f"Rate limit from agent: {LINE}", agent="my-wrapper", stream=Stream.STDERR)
    assert (wrapped.kind, wrapped.window, wrapped.sure) == (Kind.USAGE_LIMIT, Window.UNKNOWN, False)


def test_a_time_without_a_zone_is_in_the_zone_that_is_given() -> None:
    concluded = explain(
        "You've hit your limit · resets 4pm", agent="claude", exit=1, now=NOW, zone=ZoneInfo("Asia/Tokyo")
    )
    assert concluded.resets_at == datetime(2026, 1, 10, 7, tzinfo=UTC)


def test_bytes_that_are_no_text_are_read_as_well_as_they_can() -> None:
    assert told(b"\xff\xfe\x00" * 100).kind is Kind.NONE
    assert told(b"You\xe2\x80\x99ve hit your limit \xff").kind is Kind.NONE
    assert told(b"\xff\n" + LINE.encode()).kind is Kind.USAGE_LIMIT


def test_a_message_may_take_several_lines() -> None:
    wrapped = (
        "ERROR: You've hit your usage limit. To get more access, send a request to your\nadmin or try again at 9:12 PM."
    )
    assert told(wrapped, agent="codex").resets_at == NOW.replace(hour=21, minute=12)
    assert told("Model quota limit exceeded\nRefreshes in 6 days", agent="x").resets_at == NOW + timedelta(days=6)
