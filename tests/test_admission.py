"""Which job may start, and why none may."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from test_costs import known

from tidegate import admission, costs
from tidegate.admission import Lack, Load, Outlook, decide
from tidegate.model import Attempt, Share, Window
from tidegate.windows import Left

UNTIL = datetime(2026, 1, 9, 16, 0, tzinfo=UTC)
SMALL, LARGE, NEW = Load(group="b/small"), Load(group="b/large"), Load(group="b/new")
COSTS = {"b/small": known(*[2.0, 3.0, 2.5] * 20), "b/large": known(*[20.0, 30.0, 25.0] * 20)}
SLOW = {key: replace(one, seconds=600.0 * one.jobs) for key, one in COSTS.items()}
FIVE = Left(window=Window.FIVE_HOURS, free=20.0, spread=0.3, whole=100.0, seconds=3600.0, until=UNTIL, stale=10.0)
OUTLOOK = Outlook(windows=(FIVE,), costs=COSTS, running=(SMALL,))


def left(free: float, **more: object) -> Left:
    return replace(FIVE, free=free, **more)


def seeing(*windows: Left, **more: object) -> Outlook:
    return replace(OUTLOOK, windows=windows, **more)


def test_the_first_goes_that_fits() -> None:
    assert decide(OUTLOOK, [SMALL]) == 0
    assert decide(OUTLOOK, [LARGE, LARGE, SMALL]) == 2


def test_none_goes_where_none_fits_and_the_first_is_told_of() -> None:
    lack = decide(OUTLOOK, [LARGE])
    assert isinstance(lack, Lack)
    assert (lack.window, lack.left, lack.until) == (Window.FIVE_HOURS, 0.2, UNTIL)
    assert lack.needed == pytest.approx(0.277, abs=0.03)
    assert 0.05 < lack.spread < 0.15


def test_nobody_looks_further_than_so_many_jobs() -> None:
    assert decide(OUTLOOK, [*[LARGE] * (admission.LOOK - 1), SMALL]) == admission.LOOK - 1
    assert isinstance(decide(OUTLOOK, [*[LARGE] * admission.LOOK, SMALL]), Lack)


def test_an_account_of_whose_windows_nothing_is_known_starts_what_comes_first() -> None:
    assert decide(seeing(), [LARGE]) == 0


def test_a_fresh_window_takes_the_first_however_large_it_is() -> None:
    huge = replace(LARGE, least=90.0)
    assert decide(seeing(left(95.0), running=(LARGE,)), [huge, SMALL]) == 0
    assert decide(seeing(left(85.0), running=(LARGE,)), [huge, SMALL]) == 1


def test_a_fresh_window_takes_no_more_than_is_likely_to_fit_though_it_is_fresh() -> None:
    assert isinstance(decide(seeing(left(95.0), running=(LARGE,) * 8), [LARGE, SMALL]), Lack)
    assert decide(seeing(left(95.0), running=()), [replace(LARGE, least=90.0)]) == 0


def test_with_time_left_it_is_decided_with_care_and_boldly_near_the_reset() -> None:
    """Two and one more take 75 %, give or take 12."""
    for free, seconds, fits in (
        (89.0, 7200.0, False),
        (89.0, 3600.0, True),
        (82.0, 3600.0, False),
        (82.0, 600.0, True),
    ):
        decided = decide(seeing(left(free, seconds=seconds), running=(LARGE,) * 2), [LARGE])
        assert (decided == 0) is fits, (free, seconds)


def test_what_is_fresh_and_what_is_left_over_is_measured_by_the_window() -> None:
    huge = replace(LARGE, least=90.0)
    assert isinstance(decide(seeing(left(89.9)), [huge]), Lack)
    assert decide(seeing(left(90.0)), [huge]) == 0
    assert isinstance(decide(seeing(left(3.0, stale=admission.STALE), running=()), [LARGE]), Lack)
    assert decide(seeing(left(3.01, stale=admission.STALE), running=()), [LARGE]) == 0
    assert decide(seeing(left(3.0, stale=admission.STALE + 1), running=()), [LARGE]) == 0


def test_a_week_is_used_up_rather_than_left_unused_for_days() -> None:
    """Two and one more take 75 %, give or take 12."""
    week = left(82.0, seconds=9e4, window=Window.WEEK)
    assert decide(seeing(week, running=(LARGE,) * 2), [LARGE]) == 0
    assert isinstance(decide(seeing(replace(week, window=Window.FIVE_HOURS), running=(LARGE,) * 2), [LARGE]), Lack)
    assert decide(seeing(replace(week, free=0.5), running=()), [LARGE]) == 0


def test_where_others_draw_nothing_is_left_for_later() -> None:
    assert admission.caution(0.0) == 1.0
    assert admission.caution(0.1) == pytest.approx(0.5)
    assert admission.caution(0.5) == 0.0
    alone = seeing(left(0.5), running=())
    assert isinstance(decide(alone, [LARGE]), Lack)
    assert decide(replace(alone, caution=0.0), [LARGE]) == 0


def test_what_just_fits_goes() -> None:
    """Both draw 8 until the reset, one in each second, for they are far from their ends."""
    paced = {"b/g": known(20.0, 25.0, 30.0, pace=1.0)}
    long = Load(group="b/g", least=1000.0)
    tight = seeing(left(16.0, seconds=8.0, spread=0.0), costs=paced, running=(replace(long, seconds=0.0),))
    assert decide(tight, [long]) == 0
    assert isinstance(decide(replace(tight, windows=(left(15.9, seconds=8.0, spread=0.0),)), [long]), Lack)
    alone = seeing(left(8.0, seconds=8.0, spread=1.0, kept=30.0), costs=paced, running=())
    assert decide(alone, [long]) == 0
    assert isinstance(decide(replace(alone, windows=(left(7.9, seconds=8.0, spread=1.0, kept=30.0),)), [long]), Lack)


def test_what_jobs_that_are_not_done_have_shown_counts_for_their_own_group_alone() -> None:
    outlook = seeing(left(20.0), costs={"b/small": known(2.0, 3.0, 2.5)}, caution=0.0)
    assert decide(outlook, [SMALL]) == 0
    assert isinstance(decide(outlook, [*[replace(SMALL, least=12.0)] * 5, SMALL]), Lack)
    assert decide(outlook, [*[Load(group="c/other", least=12.0)] * 5, SMALL]) == 5


def test_a_job_that_begins_anew_is_expected_to_take_what_its_attempts_have_shown() -> None:
    outlook = seeing(left(30.0), caution=0.0)
    assert decide(outlook, [LARGE]) == 0
    assert isinstance(decide(outlook, [replace(LARGE, least=30.0)]), Lack)


def test_of_what_is_kept_for_a_person_nothing_is_taken_though_nothing_runs() -> None:
    """But a fresh window takes what no part of it that may be used would hold."""
    kept = {"kept": 30.0, "seconds": math.inf}
    assert decide(seeing(left(64.0, **kept), running=()), [LARGE, SMALL]) == 0
    assert isinstance(decide(seeing(left(20.0, **kept, stale=9e9), running=()), [LARGE]), Lack)
    assert decide(seeing(left(26.0, **kept), running=()), [LARGE]) == 0, "it is likely to fit, if not sure to"
    assert decide(seeing(left(3.0, **kept), running=()), [LARGE, SMALL]) == 1
    assert decide(seeing(left(20.0, seconds=math.inf), running=()), [LARGE]) == 0, "where none is kept that is a waste"


def test_how_long_a_person_expects_a_job_to_take_counts_by_the_pace_of_the_others() -> None:
    """Small ones draw 2.5 in ten minutes here, large ones 25: the mean of both is 13.75."""
    hour = replace(NEW, expect=3600.0)
    outlook = seeing(left(20.0, seconds=9e9), costs=SLOW)
    assert isinstance(decide(outlook, [hour]), Lack)
    assert decide(outlook, [replace(hour, expect=60.0)]) == 0
    assert decide(outlook, [replace(hour, group="b/small")]) == 0, "which has told what it takes"
    assert isinstance(decide(outlook, [replace(hour, share=Share(0.9))]), Lack)


def test_what_runs_is_reckoned_with_until_the_reset_alone() -> None:
    assert decide(seeing(left(20.0, seconds=90.0), running=(LARGE,) * 3, costs=SLOW), [LARGE]) == 0
    assert isinstance(decide(seeing(left(20.0), running=(LARGE,) * 3, costs=SLOW), [LARGE]), Lack)


def test_what_a_person_expects_of_a_job_counts_until_its_group_has_told() -> None:
    said = Load(group="b/new", share=Share(0.03, 0.01))
    assert decide(OUTLOOK, [said]) == 0
    for expected in (Share(0.3), Share(0.3, 0.01)):
        assert isinstance(decide(OUTLOOK, [replace(said, share=expected)]), Lack)
        assert decide(OUTLOOK, [replace(said, group="b/small", share=expected)]) == 0
    week = replace(FIVE, window=Window.WEEK)
    assert decide(seeing(week, costs={}, running=()), [replace(said, share=Share(0.9))]) == 0
    assert isinstance(decide(seeing(FIVE, week, costs={}), [replace(said, share=Share(0.9))]), Lack)


def test_half_of_what_a_person_expects_is_how_far_it_may_be_off() -> None:
    small = costs.rest(costs.believed(COSTS, "b/small") or costs.told(1.0, 1.0, 1.0), 0.0)
    for share, spread in ((Share(0.2), 10.0), (Share(0.2, 0.04), 4.0)):
        lack = decide(seeing(left(20.0, spread=3.0)), [Load(group="b/new", share=share)])
        assert isinstance(lack, Lack)
        assert lack.needed == pytest.approx((small.mean + 20.0) / 100)
        assert lack.spread == pytest.approx(math.sqrt(small.variance + spread**2 + 3.0**2) / 100)


def test_a_length_of_time_is_expected_at_the_known_pace_and_may_be_off_by_half() -> None:
    small = costs.rest(costs.believed(COSTS, "b/small") or costs.told(1.0, 1.0, 1.0), 0.0)
    timed = Load(group="b/new", expect=10.0)
    lack = decide(seeing(left(20.0, spread=3.0)), [timed])
    assert isinstance(lack, Lack)
    assert lack.needed == pytest.approx((small.mean + 20.0) / 100)
    assert lack.spread == pytest.approx(math.sqrt(small.variance + 10.0**2 + 3.0**2) / 100)
    paceless = {key: replace(one, seconds=0.0) for key, one in COSTS.items()}
    assert decide(seeing(left(85.0), costs=paceless), [timed]) == 0


def test_nobody_is_more_careful_the_longer_the_window_lasts_still() -> None:
    assert decide(seeing(left(43.0, seconds=9000.0)), [LARGE]) == 0
    assert isinstance(decide(seeing(left(40.0, seconds=9000.0)), [LARGE]), Lack)


def test_a_fresh_window_takes_the_first_until_half_of_it_is_expected_of_what_runs() -> None:
    paced = {"b/g": known(20.0, 25.0, 30.0, pace=1.0), "c/huge": known(200.0, 250.0, 300.0, pace=0.0)}
    one = Load(group="b/g", least=1000.0, seconds=0.0)
    for number, goes in ((5, True), (6, False)):
        outlook = seeing(left(95.0, seconds=10.0), costs=paced, running=(one,) * number)
        assert (decide(outlook, [Load(group="c/huge")]) == 0) is goes


def test_what_a_person_expects_comes_at_the_pace_of_what_is_known_and_ends_with_three_jobs_that_are_done() -> None:
    said = Load(group="b/new", share=Share(0.9))
    assert decide(seeing(left(20.0, seconds=60.0), costs=SLOW), [said]) == 0
    three = COSTS | {"b/new": known(2.0, 2.5, 3.0)}
    assert decide(replace(OUTLOOK, costs=three), [said]) == 0


def test_attempts_show_what_a_job_has_done_and_takes_at_least() -> None:
    one = Attempt(job=1, n=1, supervisor="me", epoch=1, started_at=UNTIL, outcome="limited", drawn=5.0)
    on, anew = replace(one, resumes=True, drawn=2.0), replace(one, drawn=1.0)
    assert admission.shown([], goes_on=True) == (0.0, 0.0)
    assert admission.shown([one, on], goes_on=True) == (7.0, 7.0)
    assert admission.shown([one, on, anew], goes_on=True) == (1.0, 7.0)
    assert admission.shown([one, on, anew], goes_on=False) == (0.0, 7.0)
    judged, unclaimed = replace(one, stage="check", drawn=9.0), replace(one, outcome="unclaimed", drawn=8.0)
    assert admission.shown([one, judged, unclaimed], goes_on=True) == (5.0, 5.0)
    assert admission.shown([anew, replace(one, drawn=7.0), anew, on], goes_on=True) == (3.0, 7.0)


def test_every_window_must_have_room() -> None:
    week = replace(left(1.0), window=Window.WEEK)
    lack = decide(seeing(FIVE, week), [SMALL])
    assert isinstance(lack, Lack)
    assert lack.window is Window.WEEK
    assert decide(seeing(FIVE, replace(week, free=20.0)), [SMALL]) == 0


def test_an_attempt_that_draws_faster_than_its_kind_is_believed() -> None:
    quick = Load(group="b/large", drawn=5.0, least=5.0, seconds=1200.0, lately=5.0)
    one = seeing(left(10.0, seconds=600.0), costs=SLOW)
    assert decide(replace(one, running=(replace(quick, lately=1.0),)), [SMALL]) == 0
    assert isinstance(decide(replace(one, running=(replace(quick, lately=9.0),)), [SMALL]), Lack)


def test_what_goes_on_in_its_session_reads_again_what_it_has_done() -> None:
    before = Load(group="b/large", drawn=24.0, least=24.0)
    tight = seeing(left(12.0), caution=0.0)
    assert decide(tight, [before]) == 0
    assert isinstance(decide(tight, [replace(before, goes_on=True)]), Lack)


def test_while_nothing_is_known_of_such_jobs_half_of_a_window_is_for_finding_out() -> None:
    knows_nothing = replace(OUTLOOK, costs={})
    assert decide(replace(knows_nothing, windows=(left(51.0),)), [NEW]) == 0
    assert isinstance(decide(replace(knows_nothing, windows=(left(50.0),)), [NEW]), Lack)
    assert decide(replace(knows_nothing, windows=(left(49.0),)), [NEW]) == Lack(
        window=Window.FIVE_HOURS, left=0.49, until=UNTIL
    )
    assert decide(replace(knows_nothing, windows=(left(49.0),), running=()), [NEW]) == 0


def test_an_open_window_with_something_left_is_never_idle() -> None:
    idle = seeing(left(4.0), running=())
    assert decide(idle, [LARGE]) == 0
    assert isinstance(decide(replace(idle, windows=(left(2.0),)), [LARGE]), Lack)


def test_what_was_told_long_ago_lets_nothing_be_idle() -> None:
    assert decide(seeing(left(-5.0, stale=math.inf), running=()), [LARGE]) == 0


def test_a_pace_that_nobody_knows_is_no_hindrance() -> None:
    paceless = {key: replace(one, seconds=0.0) for key, one in COSTS.items()}
    running = (replace(SMALL, seconds=60.0, lately=1.0, drawn=1.0, least=1.0),)
    assert decide(seeing(FIVE, costs=paceless, running=running), [SMALL]) == 0


@pytest.mark.parametrize(
    ("lack", "until", "said"),
    [
        (
            Lack(window=Window.FIVE_HOURS, left=0.09, needed=0.14, spread=0.06),
            "16:00",
            "would not fit: 14 % ± 6 % needed, 9 % left until 16:00",
        ),
        (
            Lack(window=Window.WEEK, left=0.09, needed=0.14, spread=0.06),
            "",
            "would not fit: 14 % ± 6 % needed, 9 % left of the week",
        ),
        (
            Lack(window=Window.FIVE_HOURS, left=0.4),
            "16:00",
            "nobody knows yet what such jobs take, 40 % left until 16:00",
        ),
        (Lack(window=Window.FIVE_HOURS, left=0.89), "", "nobody knows yet what such jobs take, 89 % left"),
    ],
)
def test_the_reason_has_the_numbers(lack: Lack, until: str, said: str) -> None:
    assert admission.words(lack, until) == said


@settings(max_examples=25)
@given(st.floats(0.0, 100.0), st.floats(0.0, 100.0), st.lists(st.sampled_from([SMALL, LARGE, NEW]), max_size=6))
def test_with_more_room_what_could_start_still_can(one: float, other: float, running: list[Load]) -> None:
    less, more = sorted((one, other))
    tight = decide(seeing(left(less), running=tuple(running)), [LARGE, SMALL])
    roomy = decide(seeing(left(more), running=tuple(running)), [LARGE, SMALL])
    if isinstance(tight, int):
        assert isinstance(roomy, int)
        assert roomy <= tight


@settings(max_examples=25)
@given(st.floats(0.0, 90.0), st.lists(st.sampled_from([SMALL, LARGE]), max_size=6))
def test_whoever_is_bolder_holds_no_more(free: float, running: list[Load]) -> None:
    careful = seeing(left(free), running=tuple(running), caution=2.0)
    if isinstance(decide(careful, [LARGE]), int):
        assert decide(replace(careful, caution=0.5), [LARGE]) == 0
