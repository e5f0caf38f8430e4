"""When the rest of a window is left to the person whose account it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from tidegate import reserve
from tidegate.model import Hold, Origin, Reserve, Window
from tidegate.reserve import MARGIN, decided, least, usable

NOW = datetime(2026, 1, 9, 12, tzinfo=UTC)
END = NOW + timedelta(hours=3)
NINETY = Reserve(account="acct", source="configuration", window=Window.FIVE_HOURS, stop_at=0.9)
LESS = replace(NINETY, source="batch:b", stop_at=0.75)
HEEDED = replace(NINETY, heeded=END)
HOLD = reserve.hold_for([NINETY], 0.91, END, NOW)


def test_an_account_is_shut_until_the_window_ends_once_so_much_of_it_is_used() -> None:
    hold, after = decided([NINETY], None, 0.915, END, NOW)
    assert hold == Hold(
        scope="acct",
        origin=Origin.RESERVE,
        window=Window.FIVE_HOURS,
        since=NOW,
        until=END + MARGIN,
        reason="5h: 91 % used, the rest is left (stop_at 90)",
        by="tidegate",
        resets_at=END,
    )
    assert after == (HEEDED,)


@pytest.mark.parametrize(("used", "is_shut"), [(0.0, False), (0.8999, False), (0.9, True), (1.0, True)])
def test_it_is_shut_at_the_very_part_that_is_named(used: float, is_shut: bool) -> None:
    assert (decided([NINETY], None, used, END, NOW).hold is not None) is is_shut
    assert reserve.percent(used) == {0.0: "0", 0.8999: "89", 0.9: "90", 1.0: "100"}[used]


def test_a_hold_stands_as_it_is_while_more_is_used_by_what_runs() -> None:
    for moved in (timedelta(0), timedelta(seconds=60), timedelta(seconds=-60)):
        hold, after = decided([HEEDED], HOLD, 0.97, END + moved, NOW + timedelta(minutes=9))
        assert hold is HOLD
        assert after == (replace(HEEDED, heeded=END + moved),)


def test_a_hold_moves_with_the_end_of_its_window() -> None:
    later = END + timedelta(hours=1)
    hold, after = decided([HEEDED], HOLD, 0.92, later, NOW)
    assert hold == replace(HOLD, until=later + MARGIN, resets_at=later)
    assert after == (replace(NINETY, heeded=later),)


def test_a_hold_that_a_person_has_lifted_does_not_come_back_in_this_window() -> None:
    assert decided([HEEDED], None, 0.95, END, NOW) == (None, (HEEDED,))
    later = END + timedelta(hours=5)
    hold, after = decided([HEEDED], None, 0.95, later, END + timedelta(hours=2))
    assert hold is not None
    assert hold.until == later + MARGIN
    assert after == (replace(NINETY, heeded=later),)


def test_less_use_than_that_lifts_the_hold_and_it_may_come_again() -> None:
    assert decided([HEEDED], HOLD, 0.02, END, NOW) == (None, (NINETY,))
    assert decided([HEEDED], None, 0.02, END, NOW) == (None, (NINETY,))
    assert decided([NINETY], None, 0.5, END, NOW) == (None, (NINETY,))


def test_of_several_that_speak_of_a_window_each_is_heeded_and_the_least_is_named() -> None:
    hold, after = decided([LESS, NINETY], None, 0.8, END, NOW)
    assert hold is not None
    assert hold.reason == "5h: 80 % used, the rest is left (stop_at 75)"
    assert after == (replace(LESS, heeded=END), NINETY)
    lifted, after = decided(after, None, 0.85, END, NOW)
    assert lifted is None
    again, after = decided(after, None, 0.9, END, NOW)
    assert again is not None
    assert again.reason == "5h: 90 % used, the rest is left (stop_at 75)"
    assert after == (replace(LESS, heeded=END), HEEDED)


def test_what_is_launched_may_use_the_least_that_anybody_says_of_a_window() -> None:
    week = replace(NINETY, window=Window.WEEK, stop_at=0.5)
    assert usable([NINETY, LESS, week], Window.FIVE_HOURS, NOW) == 0.75
    assert usable([NINETY, LESS, week], Window.WEEK, NOW) == 0.5
    assert usable([NINETY], Window.DAY, NOW) == 1.0


def test_who_lifts_the_hold_takes_the_rest_of_this_window() -> None:
    some = [HEEDED, replace(LESS, stop_at=0.95)]
    assert usable(some, Window.FIVE_HOURS, NOW) == 0.95
    assert usable(some, Window.FIVE_HOURS, END) == 0.9
    assert least(some, Window.FIVE_HOURS) == 0.9
