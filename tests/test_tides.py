"""Meters: what becomes of them by what is read, drawn and refused, in whatever order that comes."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from tidegate import tides
from tidegate.model import Cost, Meter, Reading, Tide, Window
from tidegate.tides import Turned

NOW = datetime(2026, 1, 9, 18, 30, tzinfo=UTC)
FIVE = Window.FIVE_HOURS


def at(minutes: float) -> datetime:
    return NOW + timedelta(minutes=minutes)


def reading(used: float, minutes: float = 0, resets: float | None = 200, window: Window = FIVE) -> Reading:
    until = None if resets is None else at(resets)
    return Reading(scope="acct", window=window, used=used, at=at(minutes), resets_at=until)


def meter(begins: float = -100, resets: float | None = 200, **more: object) -> Meter:
    until = None if resets is None else at(resets)
    return Meter(scope="acct", window=FIVE, begins_at=at(begins), resets_at=until, **more)  # type: ignore[arg-type]


def half_read(**more: object) -> Meter:
    return meter(**{"used": 0.5, "read_at": at(0), "drawn": 100.0, "drawn_at_reading": 90.0, **more})  # type: ignore[arg-type]


def turned(result: Turned | None) -> Turned:
    assert result is not None
    return result


def read(known: Meter | None, used: float, minutes: float = 0, **more: object) -> Turned | None:
    """A meter after a reading that is heard of five minutes after the latest that is known."""
    one = reading(used, minutes, **more)  # type: ignore[arg-type]
    heard = max(one.at, NOW if known is None else known.begins_at, NOW)
    return tides.read(known, one, heard)


# --- how long a window lasts ---


@pytest.mark.parametrize(
    ("window", "resets", "minutes"),
    [(FIVE, None, 200), (FIVE, 130, 130), (Window.DAY, None, 24 * 60 - 100), (Window.SPEND, None, None)],
)
def test_a_window_ends_as_told_else_as_long_after_its_begin_as_its_kind_lasts(
    window: Window, resets: float | None, minutes: float | None
) -> None:
    until = None if resets is None else at(resets)
    found = Meter(scope="acct", window=window, begins_at=at(-100), resets_at=until)
    assert found.ends_at == (None if minutes is None else at(minutes))
    assert not found.is_over(at(1))
    assert found.is_over(at(10**6)) == (minutes is not None)


# --- readings ---


def test_the_first_reading_tells_when_its_window_has_begun() -> None:
    found = turned(read(None, 0.2, resets=200))
    assert found == Turned(meter(-100, 200, used=0.2, read_at=at(0)))


def test_of_a_window_without_a_known_end_the_first_reading_is_the_begin() -> None:
    assert turned(read(None, 0.2, resets=None)).meter.begins_at == at(0)
    later = reading(0.2, window=Window.SPEND)
    assert turned(tides.read(None, later, NOW)).meter.begins_at == at(0)


def test_a_reading_of_a_window_that_is_over_is_old_news() -> None:
    assert read(None, 0.9, minutes=10, resets=9) is None
    assert read(meter(), 0.9, minutes=10, resets=9) is None


def test_more_is_used_and_what_was_drawn_since_is_counted_from_there() -> None:
    found = turned(read(half_read(), 0.6, 5))
    assert found == Turned(half_read(used=0.6, read_at=at(5), drawn_at_reading=100.0))


def test_a_little_less_in_the_same_window_was_only_told_late() -> None:
    assert turned(read(half_read(), 0.47, 5)).meter == half_read(read_at=at(5))


def test_the_same_again_says_that_what_was_drawn_meanwhile_is_less_than_a_hundredth() -> None:
    assert turned(read(half_read(), 0.5, 5)).meter == half_read(read_at=at(5), drawn_at_reading=100.0)


def test_a_little_less_is_an_answer_to_an_earlier_question() -> None:
    assert turned(read(half_read(), 0.48, 5)).meter == half_read(read_at=at(5))


def test_much_less_in_the_same_window_is_believed() -> None:
    found = turned(read(half_read(), 0.1, 5))
    assert found == Turned(half_read(used=0.1, read_at=at(5), drawn_at_reading=100.0))


def test_an_older_reading_tells_only_more() -> None:
    assert read(half_read(), 0.1, -5) is None
    found = turned(read(half_read(), 0.55, -5)).meter
    assert (found.used, found.read_at) == (0.55, at(0))


def test_a_reset_that_is_floored_to_the_minute_is_the_same_window() -> None:
    found = turned(read(half_read(), 0.6, 5, resets=199))
    assert found.tide is None
    assert found.meter.begins_at == at(-100)


def test_a_reading_without_a_reset_is_of_the_present_window() -> None:
    found = turned(read(half_read(), 0.6, 5, resets=None))
    assert found.tide is None
    assert found.meter.resets_at == at(200)


def test_a_reading_without_a_reset_after_the_end_is_of_the_next_window() -> None:
    found = turned(read(half_read(), 0.1, 210, resets=None))
    assert found.tide is not None
    assert found.tide.ended_at == at(200)
    assert found.meter == Meter(scope="acct", window=FIVE, begins_at=at(210), used=0.1, read_at=at(210))


def test_a_later_reset_turns_the_meter_over_and_keeps_what_was_used_at_the_end() -> None:
    found = turned(read(half_read(drawn=120.0), 0.02, 230, resets=525))
    assert found.tide == Tide(
        scope="acct", window=FIVE, began_at=at(-100), ended_at=at(200), used=0.5, drawn=120.0, drawn_at_reading=90.0
    )
    assert found.meter == meter(225, 525, used=0.02, read_at=at(230))


def test_an_old_agents_event_of_the_window_before_changes_nothing() -> None:
    present = meter(225, 525, used=0.3, read_at=at(240))
    assert read(present, 0.97, 198, resets=200) is None, "dated rightly"
    assert read(present, 0.97, 241, resets=200) is None, "or as late as it was read"
    assert read(present, 0.97, 190, resets=226) is None


def test_an_end_that_was_only_supposed_gives_way_to_one_that_is_told() -> None:
    supposed = meter(0, None, drawn=5.0)
    found = turned(read(supposed, 0.1, 1, resets=280))
    assert found.tide is None
    assert found.meter == meter(-20, 280, used=0.1, read_at=at(1), drawn=5.0, drawn_at_reading=5.0)


def test_an_end_that_was_told_wrongly_is_put_right_where_use_has_not_fallen() -> None:
    for resets in (140, 260):
        found = turned(read(half_read(), 0.52, 5, resets=resets))
        assert found.tide is None
        assert found.meter.resets_at == at(resets)
        assert found.meter.begins_at == at(resets - 300)


def test_an_older_reading_puts_no_end_right() -> None:
    assert read(half_read(), 0.52, -5, resets=140) is None


def test_a_window_that_is_given_back_early_is_over_when_the_next_begins() -> None:
    found = turned(read(half_read(), 0.03, 60, resets=350))
    assert found.tide is not None
    assert found.tide.ended_at == at(50)
    assert found.meter == meter(50, 350, used=0.03, read_at=at(60))


def test_a_window_that_is_shorter_than_its_kind_is_over_when_it_said_so() -> None:
    """The shipped agent's five hours are seconds."""
    found = turned(read(half_read(), 0.1, 201, resets=230))
    assert found.tide is not None
    assert (found.tide.ended_at, found.meter.begins_at, found.meter.ends_at) == (at(200), at(200), at(230))


def test_after_the_clock_was_set_back_a_window_that_begins_ahead_is_forgotten() -> None:
    ahead = meter(600, 900, used=0.4, read_at=at(610))
    found = turned(tides.read(ahead, reading(0.5), NOW))
    assert found == Turned(meter(-100, 200, used=0.5, read_at=at(0)))


def test_a_window_of_no_known_length_turns_over_when_another_end_is_told() -> None:
    known = Meter(scope="acct", window=Window.SPEND, begins_at=at(0), used=0.9, read_at=at(0))
    found = turned(read(known, 0.1, 5, resets=900, window=Window.SPEND))
    assert found.tide is not None
    assert (found.tide.ended_at, found.meter.begins_at) == (at(5), at(5))


@pytest.mark.parametrize(
    ("before", "after", "news"),
    [
        (None, half_read(), True),
        (meter(), half_read(), True),
        (half_read(), half_read(used=0.505), False),
        (half_read(), half_read(read_at=at(5)), False),
        (half_read(), half_read(used=0.51), True),
        (half_read(), half_read(used=0.4), True),
        (half_read(), half_read(resets=201), False),
        (half_read(), half_read(resets=230), True),
        (half_read(), half_read(begins=225), True),
    ],
)
def test_a_hundredth_more_or_less_or_another_end_is_news(before: Meter | None, after: Meter, news: bool) -> None:
    assert tides.is_news(after, before) is news


# --- draws ---


def test_what_is_drawn_adds_up() -> None:
    assert tides.drew(half_read(), 5.0, at(1), at(0)) == Turned(half_read(drawn=105.0))


def test_what_is_drawn_after_the_end_begins_the_next_window() -> None:
    found = tides.drew(half_read(), 5.0, at(230), at(0))
    assert found.tide is not None
    assert (found.tide.ended_at, found.tide.drawn) == (at(200), 100.0)
    assert found.meter == meter(230, None, drawn=5.0)


def test_what_an_older_attempt_draws_after_a_refusal_was_under_way() -> None:
    shut = half_read(refused_at=at(10))
    assert tides.drew(shut, 5.0, at(11), at(9)) == Turned(half_read(refused_at=at(10), drawn=105.0))


def test_who_begins_after_a_refusal_and_is_answered_draws_on_the_next_window() -> None:
    found = tides.drew(half_read(refused_at=at(10)), 5.0, at(70), at(60))
    assert found.tide is not None
    assert (found.tide.ended_at, found.tide.refused, found.tide.drawn) == (at(70), True, 100.0)
    assert found.meter == meter(70, None, drawn=5.0)


def test_after_the_clock_was_set_back_the_window_goes_on_now() -> None:
    assert tides.drew(meter(600, 900, drawn=100.0), 5.0, at(0), at(0)) == Turned(meter(0, None, drawn=105.0))


# --- refusals ---


def test_a_refusal_marks_the_window() -> None:
    found = tides.refused(half_read(), "acct", FIVE, at(10), at(260))
    assert found == Turned(half_read(refused_at=at(10))), "a reading's end is better than a refusal's"
    again = tides.refused(found.meter, "acct", FIVE, at(20), at(260))
    assert again == found


def test_a_refusal_tells_the_end_where_nobody_else_has() -> None:
    found = tides.refused(meter(-100, None), "acct", FIVE, at(10), at(190))
    assert found == Turned(meter(-100, 190, refused_at=at(10)))
    assert tides.refused(meter(-100, None), "acct", FIVE, at(10), at(-1)).meter.resets_at is None


def test_a_refusal_is_the_first_that_is_heard_of_a_window() -> None:
    found = tides.refused(None, "acct", FIVE, at(10), at(190))
    assert found == Turned(meter(-110, 190, refused_at=at(10)))
    ahead = meter(600, 900, used=0.4)
    assert tides.refused(ahead, "acct", FIVE, at(10), at(190)) == found


def test_a_refusal_before_anything_was_drawn_is_still_of_the_last_window() -> None:
    over = half_read(refused_at=at(10))
    found = tides.refused(over, "acct", FIVE, at(201), None)
    assert found == Turned(over)
    assert tides.refused(over, "acct", FIVE, at(201), at(205)).meter.resets_at == at(205)


def test_a_refusal_that_tells_of_a_later_window_turns_the_meter_over() -> None:
    found = tides.refused(half_read(refused_at=at(10)), "acct", FIVE, at(230), at(510))
    assert found.tide is not None
    assert found.tide.ended_at == at(200)
    assert found.meter == meter(210, 510, refused_at=at(230))


@pytest.mark.parametrize(
    ("window", "resets", "means"),
    [
        (FIVE, 6000, FIVE),
        (Window.UNKNOWN, 299, FIVE),
        (Window.UNKNOWN, 310, Window.UNKNOWN),
        (Window.UNKNOWN, -1, Window.UNKNOWN),
        (Window.UNKNOWN, None, Window.UNKNOWN),
    ],
)
def test_a_refusal_that_does_not_say_of_which_window_is_of_the_one_that_ends_so_soon(
    window: Window, resets: float | None, means: Window
) -> None:
    assert tides.window_for(window, at(0), None if resets is None else at(resets)) is means


@pytest.mark.parametrize(
    ("draws", "begins"),
    [
        ([], 0),
        ([-100], -100),
        ([-400], 0),
        ([-400, -350, -90, -10], -90),
        ([-650, -340, -90], 0),
        ([-650, -290, -90], -290),
    ],
)
def test_a_window_has_begun_with_the_first_draw_after_the_last_one_ended(draws: list[float], begins: float) -> None:
    assert tides.begun([at(one) for one in draws], FIVE, at(0)) == at(begins)
    assert tides.bucket(at(4)) == at(0)


# --- costs ---


def test_what_jobs_cost_adds_up_so_that_a_logarithmic_mean_and_spread_follow() -> None:
    found = Cost(account="acct", group="b/g")
    for drawn, seconds in ((100.0, 50.0), (10_000.0, 100.0), (1000.0, 0.0)):
        found = tides.cost(found, drawn, seconds)
    assert found.jobs == 3
    assert math.isclose(found.logs / 3, math.log(1000))
    assert math.isclose(found.squares / 3 - (found.logs / 3) ** 2, math.log(10) ** 2 * 2 / 3)
    assert (found.drawn, found.seconds, found.rates) == (11_100.0, 150.0, 1102.0)
