"""What an attempt has cost, and what may still be spent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from tidegate import budget
from tidegate.budget import own
from tidegate.model import Allowance, Attempt, Origin, Spent, Usage, Window

NOW = datetime(2026, 3, 28, 22, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")

OF_CLAUDE, OF_CODEX = ("cost_usd",), ("input_tokens", "output_tokens")


@pytest.mark.parametrize(
    ("told", "before", "used"),
    [
        pytest.param(Usage(cost_usd=0.3), [], Usage(cost_usd=0.3), id="the first of a session"),
        pytest.param(
            Usage(input_tokens=12, cost_usd=0.000456, of_session=OF_CLAUDE),
            [Usage(input_tokens=12, cost_usd=0.000114), Usage(cost_usd=0.000114)],
            Usage(input_tokens=12, cost_usd=0.000228),
            id="claude adds up money, not tokens",
        ),
        pytest.param(
            Usage(input_tokens=24, output_tokens=18, of_session=OF_CODEX),
            [Usage(), Usage(input_tokens=12, output_tokens=9)],
            Usage(input_tokens=12, output_tokens=9),
            id="codex adds up tokens",
        ),
        pytest.param(
            Usage(cost_usd=0.1, of_session=OF_CLAUDE),
            [Usage(cost_usd=0.25)],
            Usage(cost_usd=0.1),
            id="less",
        ),
        pytest.param(
            Usage(input_tokens=3, of_session=OF_CLAUDE), [Usage(cost_usd=1)], Usage(input_tokens=3), id="none"
        ),
    ],
)
def test_nothing_that_an_agent_tells_of_a_whole_session_is_counted_twice(
    told: Usage, before: list[Usage], used: Usage
) -> None:
    assert own(told, before) == used


# --- what was spent ---


def attempt(usage: Usage | None, lasted: float = 1.5) -> Attempt:
    ended = NOW + timedelta(seconds=lasted)
    return Attempt(job=1, n=1, supervisor="me", epoch=1, started_at=NOW, ended_at=ended, usage=usage)


@pytest.mark.parametrize(
    ("told", "spent"),
    [
        (None, Spent(attempts=1, milliseconds=1500)),
        (Usage(), Spent(attempts=1, milliseconds=1500)),
        (Usage(cost_usd=0.25), Spent(attempts=1, usd_told=1, microdollars=250_000, milliseconds=1500)),
        (Usage(output_tokens=7), Spent(attempts=1, tokens_told=1, tokens=7, milliseconds=1500)),
        (Usage(input_tokens=3, output_tokens=4), Spent(attempts=1, tokens_told=1, tokens=7, milliseconds=1500)),
        (Usage(cost_usd=-1.0), Spent(attempts=1, usd_told=1, milliseconds=1500)),
    ],
)
def test_what_an_attempt_does_not_tell_is_unknown_and_not_nothing(told: Usage | None, spent: Spent) -> None:
    assert budget.spent_by(attempt(told), "claude") == spent


def test_an_attempt_that_ended_before_it_began_took_no_time() -> None:
    assert budget.spent_by(attempt(None, -60), "claude").milliseconds == 0
    assert budget.spent_by(Attempt(job=1, n=1, supervisor="me", epoch=1, started_at=NOW), "claude").milliseconds == 0


def test_several_are_added_up() -> None:
    one = Spent(attempts=1, usd_told=1, microdollars=5, milliseconds=3)
    assert budget.added([one, one, Spent(attempts=1, tokens=4)]) == Spent(
        attempts=3, usd_told=2, microdollars=10, tokens=4, milliseconds=6
    )
    assert budget.added([]) == Spent()


def test_only_a_plain_command_that_tells_nothing_is_not_counted() -> None:
    assert budget.is_counted(None, "claude")
    assert budget.is_counted(Usage(cost_usd=0.1), "command")
    assert not budget.is_counted(None, "command")
    assert budget.spent_by(attempt(None), "command") == Spent(milliseconds=1500)


def test_a_day_is_one_of_the_zone_and_may_have_23_hours() -> None:
    assert (budget.day(NOW, BERLIN), budget.day(NOW, UTC)) == ("2026-03-28", "2026-03-28")
    midnight = budget.next_day(NOW, BERLIN)
    assert (midnight, budget.day(midnight, BERLIN)) == (datetime(2026, 3, 28, 23, tzinfo=UTC), "2026-03-29")
    assert budget.next_day(midnight, BERLIN) == datetime(2026, 3, 29, 22, tzinfo=UTC)


# --- what may be spent ---


@pytest.mark.parametrize(
    ("allowance", "spent", "words"),
    [
        (Allowance(), Spent(attempts=9, usd_told=9, microdollars=10**12, tokens=10**12, milliseconds=10**12), ""),
        (Allowance(usd=50), Spent(attempts=1, usd_told=1, microdollars=49_999_999), ""),
        (Allowance(usd=50), Spent(attempts=1, usd_told=1, microdollars=50_000_000), "$50.00 of $50.00"),
        (Allowance(usd=0.0005), Spent(attempts=2, usd_told=1, microdollars=600), "≥ $0.0006 of $0.0005"),
        (Allowance(tokens=9_000), Spent(attempts=1, tokens_told=1, tokens=9_001), "9,001 of 9,000 tokens"),
        (Allowance(tokens=9), Spent(tokens=8), ""),
        (Allowance(wall=5400), Spent(milliseconds=5_399_999), ""),
        (Allowance(wall=5400), Spent(milliseconds=28_800_000), "8 h of 1 h 30 min"),
        (Allowance(wall=45), Spent(milliseconds=65_000), "1 min 5 s of 45 s"),
        (Allowance(wall=0.1), Spent(milliseconds=100), "0 s of 0 s"),
    ],
)
def test_a_budget_is_spent_when_its_figure_is_reached(allowance: Allowance, spent: Spent, words: str) -> None:
    assert budget.reached(allowance, spent) == words


def test_the_hold_of_a_day_ends_with_it_and_that_of_the_whole_never() -> None:
    whole = budget.hold_for("batch:b", "$5.00 of $5.00", NOW, None)
    assert (whole.origin, whole.window, whole.until, whole.allow) == (Origin.BUDGET, Window.SPEND, None, 0)
    of_day = budget.hold_for("acct", "$5.00 of $5.00", NOW, NOW + timedelta(hours=1))
    assert (of_day.window, of_day.until) == (Window.DAY, NOW + timedelta(hours=1))
    assert of_day.reason == "budget spent: $5.00 of $5.00 today"


def test_how_many_have_not_told_is_said() -> None:
    assert budget.unknown(Spent(attempts=4, usd_told=1)) == " (3 attempts unknown)"
    assert budget.unknown(Spent(attempts=2, usd_told=1)) == " (1 attempt unknown)"
    assert budget.unknown(Spent(attempts=4, usd_told=4)) == ""
