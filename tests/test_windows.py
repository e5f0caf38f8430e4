"""What is left of a window."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tidegate import windows
from tidegate.model import Meter, Reading, Tide, Window
from tidegate.windows import Left, left, sliding

NOW = datetime(2026, 1, 9, 18, 30, tzinfo=UTC)
BEGAN, ENDS = NOW - timedelta(hours=2), NOW + timedelta(hours=3)
TOLD = Meter(
    scope="claude",
    window=Window.FIVE_HOURS,
    begins_at=BEGAN,
    resets_at=ENDS,
    used=0.49,
    read_at=NOW - timedelta(minutes=1),
    drawn=500.0,
    drawn_at_reading=495.0,
)
UNTOLD = replace(TOLD, used=None, read_at=None, resets_at=None, drawn_at_reading=0.0)
REFUSED = Tide(scope="claude", window=Window.FIVE_HOURS, began_at=BEGAN, ended_at=ENDS, drawn=1000.0, refused=True)


def some(meter: Meter, *tides: Tide, most: float = 1.0) -> Left:
    found = left(meter, tides, NOW, most=most)
    assert found is not None
    return found


def test_a_reading_and_what_was_drawn_since_tell_what_is_left() -> None:
    now = some(TOLD)
    assert now.whole == pytest.approx(1000.0)
    assert now.free == pytest.approx(500.0)
    assert (now.seconds, now.until, now.stale) == (3 * 3600.0, ENDS, 60.0)
    assert 2.0 < now.spread < 5.0  # a step of what is told


def test_what_was_told_of_a_window_without_a_reset_is_no_reason_to_wait_for_one_that_is_only_guessed() -> None:
    now = some(replace(TOLD, resets_at=None))
    assert now.until == BEGAN + timedelta(hours=5)
    assert now.stale == math.inf


def test_of_a_window_that_slides_there_is_left_what_is_free_and_what_returns_soon() -> None:
    draws = [(NOW - timedelta(minutes=ago), tokens) for ago, tokens in ((301.5, 70), (290, 30), (281, 10), (90, 450))]
    now = sliding(TOLD, draws, NOW, most=0.9)
    assert now is not None
    assert [now.whole, now.usable] == pytest.approx([490 / 0.495, 441 / 0.495])
    assert now.free == pytest.approx((0.9 - 0.495 - 0.03) / 0.495 * 490 - 5 + 40)
    assert (now.seconds, now.until, now.stale) == (1200.0, None, math.inf)


NOBODY_KNOWS = [
    ("nobody told", UNTOLD, 100.0),
    ("little is used", replace(TOLD, used=0.01), 100.0),
    ("we have drawn nothing", TOLD, 0.0),
    ("it was refused since", replace(TOLD, refused_at=NOW), 100.0),
    ("it has no length", replace(TOLD, window=Window.SPEND), 100.0),
]


@pytest.mark.parametrize(("meter", "tokens"), [row[1:] for row in NOBODY_KNOWS], ids=[row[0] for row in NOBODY_KNOWS])
def test_of_a_window_that_slides_nobody_may_know(meter: Meter, tokens: float) -> None:
    assert sliding(meter, [(NOW - timedelta(hours=1), tokens)], NOW) is None


def test_a_window_that_slides_and_was_refused_before_it_was_read_is_known() -> None:
    meter = replace(TOLD, refused_at=NOW - timedelta(minutes=2))
    assert sliding(meter, [(NOW - timedelta(hours=1), 100.0)], NOW) is not None


def test_of_a_window_part_of_which_is_for_others_the_rest_alone_is_left() -> None:
    now = some(TOLD, most=0.9)
    assert [now.free, now.whole, now.usable] == pytest.approx([400.0, 1000.0, 900.0])
    fresh = some(replace(TOLD, resets_at=NOW), most=0.9)
    assert [fresh.free, fresh.whole, fresh.usable] == pytest.approx([900.0, 1000.0, 900.0])


def test_where_nobody_tells_past_refusals_do() -> None:
    assert left(UNTOLD, [], NOW) is None
    now = some(UNTOLD, REFUSED)
    assert now.free == pytest.approx(500.0)
    assert now.seconds == 3 * 3600.0
    assert now.stale == math.inf


def test_drawing_more_than_past_refusals_allow_proves_them_wrong() -> None:
    assert some(replace(UNTOLD, drawn=1050.0), REFUSED).free < 0
    assert left(replace(UNTOLD, drawn=1150.0), [REFUSED], NOW) is None


def test_a_window_that_was_refused_is_the_gates_alone() -> None:
    assert left(replace(TOLD, refused_at=NOW), [REFUSED], NOW) is None


@pytest.mark.parametrize("meter", [TOLD, replace(TOLD, refused_at=NOW, drawn=1000.0)])
def test_a_window_that_is_over_gives_way_to_a_whole_one(meter: Meter) -> None:
    fresh = some(replace(meter, resets_at=NOW))
    assert fresh.free == fresh.whole == pytest.approx(1000.0)
    assert (fresh.seconds, fresh.until) == (5 * 3600.0, None)


def test_a_window_of_which_nobody_knows_the_length_has_no_end() -> None:
    endless = replace(TOLD, window=Window.SPEND, resets_at=None)
    assert some(endless).seconds == math.inf
    assert some(replace(endless, resets_at=NOW)).seconds > 1e9


def test_what_is_told_of_windows_before_counts_less_than_of_this_one() -> None:
    cheap = Tide(
        scope="claude",
        window=Window.FIVE_HOURS,
        began_at=BEGAN,
        ended_at=ENDS,
        used=0.495,
        drawn=2000.0,
        drawn_at_reading=1000.0,
    )
    early = replace(TOLD, used=0.095, drawn=100.0, drawn_at_reading=100.0)
    assert some(early, cheap).whole == pytest.approx(1980, rel=0.05)
    assert some(early, REFUSED, cheap).whole == pytest.approx(1250, rel=0.1)
    assert some(early, replace(cheap, used=None), REFUSED).whole == pytest.approx(1000, rel=0.05)


def read(*points: tuple[float, float, float]) -> list[Reading]:
    """Readings by the seconds since the begin, what we had drawn by then, and what was used."""
    return [
        Reading(scope="claude", window=Window.FIVE_HOURS, used=used, at=BEGAN + timedelta(seconds=at), drawn=drawn)
        for at, drawn, used in points
    ]


def test_what_others_draw_is_told_by_use_that_grows_while_we_draw_less() -> None:
    """Ours is worth 0.001 each, and others use 0.0001 in a second."""
    fast, slow = (100.0, 200.0, 0.21), (1100.0, 220.0, 0.33)
    assert windows.others(read((0.0, 0.0, 0.0), fast, slow)) == pytest.approx(0.0001)
    assert windows.others(read((0.0, 0.0, 0.0), (100.0, 200.0, 0.2), (1100.0, 250.0, 0.25))) == 0.0


def test_where_nothing_tells_what_others_draw_they_draw_nothing() -> None:
    assert windows.others([]) == 0.0
    assert windows.others(read((0.0, 0.0, 0.0), (100.0, 200.0, 0.21), (200.0, 400.0, 0.42))) == 0.0, "it is all alike"
    assert windows.others(read((0.0, 0.0, 0.0), (9.0, 9.0, 0.04))) == 0.0, "too small a piece"
    assert windows.others(read((0.0, 90.0, 0.5), (9.0, 0.0, 0.6), (20.0, 5.0, 0.1))) == 0.0, "other windows"


@settings(max_examples=25)
@given(st.floats(0.0, 1.0), st.floats(1.0, 1e6), st.floats(0.0, 1e6))
def test_who_draws_on_has_less_left(used: float, drawn: float, more: float) -> None:
    before = left(replace(TOLD, used=used, drawn=drawn, drawn_at_reading=drawn), [REFUSED], NOW)
    after = left(replace(TOLD, used=used, drawn=drawn + more, drawn_at_reading=drawn), [REFUSED], NOW)
    assert before is not None
    assert after is not None
    assert after.free <= before.free
    assert after.spread >= before.spread
    assert after.whole == before.whole > 0


def told(used: float, drawn: float) -> Reading:
    return Reading(scope="claude", window=Window.FIVE_HOURS, used=used, at=BEGAN, resets_at=ENDS, drawn=drawn)


def test_what_others_used_before_the_first_reading_says_nothing_of_what_we_draw() -> None:
    now = left(TOLD, [], NOW, firsts=[told(0.29, 95.0)])
    assert now is not None
    assert now.whole == pytest.approx(2000.0)
    assert now.free == pytest.approx((1 - 0.495) * 2000 - 5)


def test_until_a_window_has_moved_the_ones_before_it_tell_what_a_draw_is_worth() -> None:
    first = told(0.49, 490.0)
    assert left(TOLD, [], NOW, firsts=[first]) is None
    now = left(TOLD, [REFUSED], NOW, firsts=[first, told(0.495, 500.0)])
    assert now is not None
    assert now.whole == pytest.approx(1000.0)
