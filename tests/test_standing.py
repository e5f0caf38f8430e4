"""How things stand, in one line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tidegate.look.words import Page
from tidegate.model import Hold, Origin, State, Window
from tidegate.standing import line

NOW = datetime(2026, 1, 14, 12, 0, tzinfo=UTC)
PAGE = Page(now=NOW, zone=UTC)
SOME = {State.RUNNING: 3, State.QUEUED: 12, State.SUCCEEDED: 5}


def hold(scope: str, origin: Origin, hours: float | None = None, **more: object) -> Hold:
    until = None if hours is None else NOW + timedelta(hours=hours)
    return Hold(scope=scope, origin=origin, since=NOW, until=until, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("holds", "words"),
    [
        ([], ""),
        ([hold("claude-max", Origin.LIMIT, 5, window=Window.FIVE_HOURS)], "claude-max held until 17:00 (5h window)"),
        ([hold("claude-max", Origin.LIMIT, 48, window=Window.WEEK)], "claude-max held until Fri 12:00 (week window)"),
        ([hold("claude-max", Origin.LIMIT, 0.01)], "claude-max held until 12:00:36"),
        ([hold("claude-max", Origin.LIMIT, 0, ramp=True, allow=1)], "claude-max opens again, 1 at once"),
        ([hold("claude-max", Origin.LIMIT, -1)], ""),
        ([hold("host:here", Origin.OPERATOR, by="me", reason="lunch")], "this host paused by me (lunch)"),
        ([hold("*", Origin.OPERATOR, 19, by="me")], "everything paused by me until Thu 07:00"),
        ([hold("codex", Origin.HUMAN, reason="not\nlogged in")], "codex needs a person (not\\nlogged in)"),
        ([hold("codex", Origin.HOURS, 8, reason="outside its hours")], "codex held until 20:00 (outside its hours)"),
        ([hold(f"a{n}", Origin.LIMIT, 1) for n in range(5)], ("a0 held until 13:00; a1 held until 13:00; "
         "a2 held until 13:00; 2 more")),
    ],
)  # fmt: skip
def test_the_line_tells_what_runs_what_waits_and_what_for(holds: list[Hold], words: str) -> None:
    assert line(SOME, holds, "here", PAGE) == "3 running, 12 queued" + (f"; {words}" if words else "")


def test_the_line_without_work_says_so_and_a_mood_comes_first() -> None:
    assert line({}, [], "here", PAGE) == "nothing to do"
    assert line(SOME, [], "here", PAGE, mood="draining") == "draining: 3 running, 12 queued"
