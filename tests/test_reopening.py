"""What closings and openings teach of a window, as tables."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from tidegate import reopening
from tidegate.model import Habit, Hold, Origin, Window

NOW = datetime(2026, 1, 9, 18, 30, tzinfo=UTC)
HOUR = 3600.0
FRESH = Habit(scope="claude", window=Window.FIVE_HOURS)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def hold(until: float | None, resets: float | None = None, **more: object) -> Hold:
    made = Hold(
        scope="claude",
        origin=Origin.LIMIT,
        window=Window.FIVE_HOURS,
        since=NOW,
        until=None if until is None else at(until),
        resets_at=None if resets is None else at(resets),
        reason="usage_limit",
    )
    return replace(made, **more)


@dataclass
class Account:
    """An account that is used up again and again; the resets are those that it tells."""

    habit: Habit = FRESH
    now: float = 0.0

    def cut(self, lasted: float, resets: float, after: float = 0.0) -> float:
        """Opened `after` seconds of waiting, used up `lasted` later, it tells of `resets`: for how long it is shut."""
        self.habit = reopening.opened(self.habit, at(self.now + after))
        self.now += after + lasted
        told = hold(self.now + resets, self.now + resets)
        shut, self.habit = reopening.shut(self.habit, told, at(self.now), None)
        assert shut.until is not None
        self.told = shut
        return (shut.until - at(self.now)).total_seconds()


def test_a_window_that_begins_anew_never_waits_for_longer_than_it_is_told_to() -> None:
    account, shut = Account(), 0.0
    for lasted in (5400, 60, 60, 4 * HOUR, 1, 1, 1, 600):
        told = 5 * HOUR - lasted
        assert account.cut(lasted, told, after=shut) == told
        shut = told
    assert not account.habit.slides
    assert (account.habit.cuts, account.habit.rest, account.habit.span) == (0, 0.0, 5 * HOUR)


@pytest.mark.parametrize("length", [60.0, 5 * HOUR])
def test_a_window_that_slides_rests_for_twice_as_long_each_time_that_it_is_used_up_soon(length: float) -> None:
    account, minute = Account(), length / 300
    assert account.cut(90 * minute, 210 * minute) == 210 * minute
    shut = 210 * minute
    rests = []
    for _ in range(7):
        rests.append(account.cut(4 * minute, minute, after=shut) / minute)
        shut = rests[-1] * minute
    assert account.habit.slides
    assert rests == pytest.approx([5, 10, 20, 30, 30, 30, 30])


def test_a_rest_says_why() -> None:
    account = Account()
    account.cut(90 * 60, 210 * 60)
    said = []
    for _ in range(3):
        account.cut(240, 60, after=HOUR)
        said.append(account.told.reason)
    assert said == [
        "usage_limit, cut off 4 min after opening: rests 4 min more",
        "usage_limit, cut off 4 min after opening, twice: rests 9 min more",
        "usage_limit, cut off 4 min after opening, 3 times: rests 19 min more",
    ]


def test_after_a_good_window_there_is_less_of_a_rest_and_then_none() -> None:
    account = Account()
    account.cut(90 * 60, 210 * 60)
    for _ in range(3):
        account.cut(240, 60, after=HOUR)
    assert account.habit.rest == 1200
    assert account.cut(HOUR, 60, after=HOUR) == 600
    assert account.told.reason == "usage_limit, cut off 60 min after opening: rests 9 min more"
    assert account.cut(HOUR, 60, after=HOUR) == 300
    assert account.cut(HOUR, 60, after=HOUR) == 60
    assert account.cut(10, 60, after=HOUR) == 300
    assert account.told.reason == "usage_limit, cut off 10 s after opening: rests 4 min more"
    assert account.cut(10, 4 * HOUR, after=HOUR) == 4 * HOUR, "it is told to be shut for long: it needs no rest"


def test_who_went_first_and_is_refused_tells_nothing_of_the_window() -> None:
    shut, once = reopening.shut(FRESH, hold(HOUR, HOUR), NOW, at(-4 * HOUR))
    assert shut == hold(HOUR, HOUR)
    assert once == replace(FRESH, began=at(-4 * HOUR), cut_at=NOW, span=5 * HOUR)
    assert reopening.shut(once, hold(3 * HOUR, 3 * HOUR), at(60), at(0)) == (hold(3 * HOUR, 3 * HOUR), once)


BOUNDS = [
    ("at once", 0, 60, 0.0, 1, 300),
    ("a clock was set back", -1, 60, 0.0, 0, 60),
    ("just soon", 1199, 60, 0.0, 1, 300),
    ("soon no more", 1200, 60, 0.0, 0, 60),
    ("soon, and just slides", 600, 8399, 0.0, 1, 8399),
    ("soon, but begins anew", 600, 8400, 0.0, 0, 8400),
    ("late, and just slides", 8000, 999, 7200.0, 0, 3600),
    ("late, but begins anew", 8000, 1000, 7200.0, 0, 1000),
]


@pytest.mark.parametrize(
    ("lasted", "resets", "rest", "cuts", "shut"), [row[1:] for row in BOUNDS], ids=[row[0] for row in BOUNDS]
)
def test_what_is_soon_and_what_slides_is_measured_by_the_window(
    lasted: float, resets: float, rest: float, cuts: int, shut: float
) -> None:
    known = replace(FRESH, opened_at=at(-lasted), span=5 * HOUR, rest=rest)
    made, known = reopening.shut(known, hold(resets, resets), NOW, None)
    assert (known.cuts, made.until) == (cuts, at(shut))
    assert ("rests" in made.reason) is (shut != resets)


def test_a_rest_that_is_over_with_the_hold_is_none_and_one_of_a_minute_is_told_in_minutes() -> None:
    known = replace(FRESH, opened_at=at(-60), span=5 * HOUR)
    assert reopening.shut(known, hold(300, 300), NOW, None)[0] == hold(300, 300)
    told = reopening.shut(known, hold(240, 240), NOW, None)[0]
    assert told.reason == "usage_limit, cut off 1 min after opening: rests 1 min more"


def test_a_reset_that_has_come_tells_nothing_of_the_window() -> None:
    made, known = reopening.shut(replace(FRESH, opened_at=at(-600)), hold(15, 0), NOW, None)
    assert (made, known.span) == (hold(15, 0), 0.0)


READS = [
    ("soon after it opened, much", at(-60), at(0), False, 0.5, True),
    ("soon after it opened, little", at(-60), at(0), True, 0.49, False),
    ("not so soon", at(-1200), at(0), False, 0.9, False),
    ("of the window before", at(1), at(0), False, 0.9, False),
    ("while nobody was answered yet", None, at(0), False, 0.9, False),
]


@pytest.mark.parametrize(
    ("opened", "when", "slid", "used", "slides"), [row[1:] for row in READS], ids=[row[0] for row in READS]
)
def test_a_window_that_is_much_used_as_it_opens_has_not_begun_anew(
    opened: datetime | None, when: datetime, slid: bool, used: float, slides: bool
) -> None:
    known = replace(FRESH, opened_at=opened, cut_at=at(-HOUR), slides=slid)
    assert reopening.read(known, used, when).slides is slides
    assert not reopening.read(replace(known, cut_at=None, slides=False), used, when).slides, "it was never shut"


BEGINS = [
    ("nobody knows", None, None, None),
    ("its scope was opened", None, at(-600), at(-600)),
    ("it was opened itself", at(-900), at(-600), at(-900)),
    ("it was opened, and began anew after a pause", at(-5 * HOUR), at(0), at(0)),
    ("the pause was within it", at(-5 * HOUR), at(-1), at(-5 * HOUR)),
]


@pytest.mark.parametrize(("opened", "started", "began"), [row[1:] for row in BEGINS], ids=[row[0] for row in BEGINS])
def test_a_window_begins_with_the_first_that_is_answered(
    opened: datetime | None, started: datetime | None, began: datetime | None
) -> None:
    _, known = reopening.shut(replace(FRESH, opened_at=opened), hold(300), NOW, started)
    assert known == replace(FRESH, began=began, cut_at=NOW)


LOOKS = [
    ("nothing is known", None, hold(HOUR, HOUR, early_at=at(1800)), HOUR, 1800),
    ("it should be over before", at(-17_000), hold(3 * HOUR, 3 * HOUR, early_at=at(1800)), 3 * HOUR, 1060),
    ("it should be over later", at(-HOUR), hold(3 * HOUR, 3 * HOUR, early_at=at(1800)), 3 * HOUR, 1800),
    ("it should be over by now", at(-6 * HOUR), hold(8 * HOUR, 8 * HOUR, early_at=at(1800)), 8 * HOUR, 1800),
    ("none goes early", at(-17_000), hold(3 * HOUR, 3 * HOUR), 3 * HOUR, None),
    ("no reset is told", at(-17_000), hold(HOUR), 1060, None),
    ("no reset is told, and it is looked at soon", at(-17_000), hold(300), 300, None),
    ("no reset is told, and nothing is known", None, hold(300), 300, None),
    ("the reset is past", at(-17_000), hold(3600, 0), 1060, None),
    ("a person must act", at(-17_000), hold(None), None, None),
]


@pytest.mark.parametrize(("began", "of", "until", "early"), [row[1:] for row in LOOKS], ids=[row[0] for row in LOOKS])
def test_one_goes_where_a_window_should_be_over(
    began: datetime | None, of: Hold, until: float | None, early: float | None
) -> None:
    looked = reopening.looked_for(replace(FRESH, began=began), of, NOW)
    assert looked.until == (None if until is None else at(until))
    assert looked.early_at == (None if early is None else at(early))


@pytest.mark.parametrize("of", [hold(HOUR, HOUR, early_at=at(1800)), hold(300), hold(None)])
def test_a_hold_of_which_nothing_was_ever_learned_is_as_it_is(of: Hold) -> None:
    assert reopening.looked_for(None, of, NOW) == of


def test_a_window_without_a_name_is_as_long_as_it_was_told_to_be() -> None:
    odd = Habit(scope="claude", window=Window.UNKNOWN, began=at(-900))
    assert reopening.looked_for(odd, hold(300), NOW) == hold(300)
    assert reopening.looked_for(replace(odd, span=1000.0), hold(300), NOW).until == at(160)


OVER = [
    ("nobody knows its begin", None, None, False),
    ("it lasts still", at(-5 * HOUR - 59), None, False),
    ("it should be over", at(-5 * HOUR - 60), None, True),
    ("and so was told since", at(-5 * HOUR - 120), at(-60), False),
    ("and was told of before", at(-5 * HOUR - 120), at(-61), True),
    ("so should be the one after it", at(-10 * HOUR - 120), at(-61), True),
]


@pytest.mark.parametrize(("opened", "told", "over"), [row[1:] for row in OVER], ids=[row[0] for row in OVER])
def test_a_window_should_be_over_by_its_begin_and_its_length(
    opened: datetime | None, told: datetime | None, over: bool
) -> None:
    assert reopening.should_be_over(replace(FRESH, opened_at=opened), told, NOW) is over
    assert not reopening.should_be_over(replace(FRESH, opened_at=opened, window=Window.UNKNOWN), told, NOW)


BURSTS = [
    ("the first", None, 32, 22),
    ("of two", None, 2, 1),
    ("the one that ran alone", None, 1, None),
    ("while as many run as before it", (22, -61), 23, 22),
    ("a moment after it", (22, -59), 20, 22),
    ("in the same moment", (22, 0), 20, 22),
    ("where that was too many as well", (22, -60), 22, 15),
    ("the clock was set back", (22, 1), 22, 15),
]


@pytest.mark.parametrize(("prior", "running", "allow"), [row[1:] for row in BURSTS], ids=[row[0] for row in BURSTS])
def test_after_a_burst_fewer_run_where_it_was_more_than_one(
    prior: tuple[int, float] | None, running: int, allow: int | None
) -> None:
    burst = None if prior is None else replace(BURST, allow=prior[0], since=at(prior[1]))
    found = reopening.narrowed(burst, hold(15, evidence="no more"), running, NOW)
    assert (None if found is None else found.allow) == allow
    if found not in (None, burst):
        assert found == replace(BURST, allow=allow, reason=f"too many requests from {running} at once")


BURST = Hold(
    scope="claude", origin=Origin.BURST, window=Window.MINUTE, since=NOW, evidence="no more", by="tidegate", allow=3
)
QUIET = at(1800)
RELAXED = [
    ("after one", 3, 0, NOW, None, (3, 1)),
    ("after as many as may run", 3, 2, NOW, None, (4, 0)),
    ("after a while", 3, 0, QUIET, None, (4, 0)),
    ("as many as the account may", 3, 2, NOW, 4, None),
    ("as many as anybody may", 63, 0, QUIET, None, None),
]


@pytest.mark.parametrize(
    ("allow", "answers", "now", "most", "left"), [row[1:] for row in RELAXED], ids=[row[0] for row in RELAXED]
)
def test_what_is_answered_lets_one_more_run_again(
    allow: int, answers: int, now: datetime, most: int | None, left: tuple[int, int] | None
) -> None:
    found = reopening.relaxed(replace(BURST, allow=allow, misses=answers), now, most=most)
    assert (None if found is None else (found.allow, found.misses)) == left


@pytest.mark.parametrize(
    ("of", "learned"),
    [
        (hold(300), True),
        (hold(None), False),
        (hold(300, origin=Origin.OPERATOR), False),
        (hold(300, window=Window.MINUTE), False),
    ],
)
def test_only_the_closing_of_a_window_teaches_something(of: Hold, learned: bool) -> None:
    assert reopening.is_learned_from(of) is learned


def test_what_lasts_for_half_a_window_is_one_that_has_begun_anew() -> None:
    account = Account()
    account.cut(2 * HOUR, 3 * HOUR)
    half = 2.5 * HOUR - 60
    assert account.cut(60, half, after=3 * HOUR) == half
    assert (account.habit.cuts, account.habit.slides) == (0, False)
    assert account.cut(60, half - 1, after=half) > half - 1 or account.habit.cuts == 1
