"""When batches will be done: what is known of lengths, one possible course, and what is foretold of many."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from tidegate import hours
from tidegate.ahead import REOPENS, Course, End, Flow, Load, Quota
from tidegate.forecast import ENDLESS, LOOK_LEAST, LOOK_MOST, UNKNOWN, Scene, foresee, is_news, look_again
from tidegate.lengths import Drawn, Length, beyond, hazard, learn
from tidegate.model import Account, Batch, Group, Hold, Origin, Stand
from tidegate.prospect import Forecast, Lap, Pile

NOW = datetime(2026, 1, 9, 20, tzinfo=UTC)
SURE = Length(math.log(100), 0.02, 1e6)  # every job takes 100 s
BATCH, OTHER = Batch("b", 1), Batch("c", 2)


# --- lengths ---


def test_nothing_is_known_before_a_job_has_ended() -> None:
    assert learn([], [500.0, 900.0]) is None


def test_what_has_ended_tells_the_mean_and_the_spread() -> None:
    rng = Random(1)
    found = learn([math.exp(rng.gauss(6, 0.5)) for _ in range(400)], [])
    assert found is not None
    assert found.mean == pytest.approx(6, abs=0.1)
    assert found.sigma == pytest.approx(0.5, abs=0.05)


def test_long_jobs_that_still_run_make_all_of_them_longer() -> None:
    """At the beginning only short ones can have ended."""
    rng = Random(2)
    true = [math.exp(rng.gauss(6, 1)) for _ in range(300)]
    ended, still = [one for one in true if one < 300], [300.0 for one in true if one >= 300]
    naive, found = learn(ended, []), learn(ended, still)
    assert naive is not None
    assert found is not None
    assert naive.mean < 5.3
    assert found.mean == pytest.approx(6, abs=0.2)
    assert found.sigma == pytest.approx(1, abs=0.2)


def test_a_group_of_which_little_is_known_is_like_the_others() -> None:
    above = Length(6.0, 0.4, 50)
    assert learn([], [], above) == Length(6.0, 0.4, 2.0)
    one, many = learn([math.exp(3)], [], above), learn([math.exp(3)] * 100, [], above)
    assert one is not None
    assert many is not None
    assert one.mean == pytest.approx(5.0)
    assert many.mean == pytest.approx(3.06, abs=0.01)


def test_the_less_is_known_the_more_worlds_are_possible() -> None:
    def spread(length: Length) -> float:
        rng = Random(3)
        means = [length.drawn(rng).mean for _ in range(400)]
        return max(means) - min(means)

    assert spread(Length(5.0, 0.5, 2)) > 5 * spread(Length(5.0, 0.5, 200))


def test_a_sum_has_the_mean_of_its_jobs() -> None:
    drawn, rng = Drawn(4.0, 0.8), Random(4)
    assert sum(drawn.sum(50, rng) for _ in range(2000)) / 2000 == pytest.approx(50 * drawn.expected, rel=0.02)
    assert sum(drawn.one(rng) for _ in range(20_000)) / 20_000 == pytest.approx(drawn.expected, rel=0.03)


def test_the_rest_of_a_long_job_is_what_lies_beyond_its_past() -> None:
    drawn, rng = Drawn(4.0, 1.0), Random(5)
    true = [one - 200 for one in (drawn.one(rng) for _ in range(40_000)) if one > 200]
    rests = [drawn.rest(200, rng) for _ in range(len(true))]
    assert min(rests) >= 0
    assert sorted(rests)[len(rests) // 2] == pytest.approx(sorted(true)[len(true) // 2], rel=0.1)
    assert drawn.rest(0.0, Random(1)) == drawn.one(Random(1))


@pytest.mark.parametrize("least", [-3.0, 0.0, 1.0, 4.0])
def test_what_is_drawn_beyond_a_point_has_the_mean_of_that(least: float) -> None:
    rng = Random(6)
    drawn = [beyond(least, rng) for _ in range(4000)]
    assert min(drawn) > least
    assert sum(drawn) / 4000 == pytest.approx(hazard(least), abs=0.05)


def test_far_out_the_mean_of_what_lies_beyond_is_still_known() -> None:
    assert hazard(8.01) == pytest.approx(hazard(8.0), abs=0.02)
    assert hazard(1e6) == pytest.approx(1e6)


# --- one course ---


def load(fresh: int, batch: int = 1, account: str = "acct", **more: object) -> Load:
    return Load(batch=batch, account=account, length=SURE, fresh=fresh, **more)  # type: ignore[arg-type]


def course(loads: Sequence[Load], slots: int, flow: Flow | None = None, **flows: Flow) -> Mapping[int, End]:
    return Course(loads, flows or {"acct": flow or Flow()}, slots, Random(7)).run()


def ends(loads: Sequence[Load], slots: int, flow: Flow | None = None, **flows: Flow) -> dict[int, float]:
    return {batch: end.at for batch, end in course(loads, slots, flow, **flows).items()}


def about(seconds: float) -> object:
    return pytest.approx(seconds, rel=0.08)


def test_jobs_take_turns_in_the_slots() -> None:
    assert ends([load(1)], 4) == {1: about(100)}
    assert ends([load(8)], 4) == {1: about(200)}
    assert ends([load(400)], 4) == {1: about(10_000)}
    assert ends([load(2, begun=[90, 90])], 4) == {1: about(100)}
    assert ends([load(4, waste=1.5)], 4) == {1: about(150)}


def test_an_account_runs_no_more_than_it_may() -> None:
    assert ends([load(8)], 4, Flow(most=2)) == {1: about(400)}
    assert ends([load(400)], 4, Flow(most=2)) == {1: about(20_000)}


def test_accounts_share_the_slots() -> None:
    both = [load(100, account="one"), load(100, batch=2, account="two")]
    assert ends(both, 4, one=Flow(), two=Flow()) == {1: pytest.approx(5000, rel=0.12), 2: pytest.approx(5000, rel=0.12)}
    assert ends(both, 4, one=Flow(most=1), two=Flow()) == {1: about(10_000), 2: about(3333)}


def test_what_is_handed_in_later_comes_later() -> None:
    assert ends([load(100), load(100, batch=2)], 4) == {1: about(2500), 2: about(5000)}


def test_a_shut_account_begins_when_it_opens() -> None:
    assert ends([load(4)], 4, Flow(opens=1000.0)) == {1: about(1100)}


def test_outside_of_its_hours_nothing_starts_and_what_runs_goes_on() -> None:
    closed = Flow(closed=[(50.0, 1000.0)])
    assert ends([load(4)], 4, closed) == {1: about(100)}
    assert ends([load(8)], 4, closed) == {1: about(1100)}
    assert ends([load(40)], 4, Flow(closed=[(500.0, 1000.0)])) == {1: about(1500)}


def test_a_window_that_is_used_up_stands_still_until_it_opens_again() -> None:
    quota = Quota(name="5h", used=0.5, ends=1000.0, length=1000.0, rate=1 / 1600)  # 8 jobs of 100 s are a half
    found = course([load(16)], 4, Flow(quotas=[quota]))
    assert found[1].at == about(1000 + REOPENS + 200)
    assert found[1].windows == 1
    assert found[1].full == {("acct", "5h"): about(200)}
    assert found[1].used == {("acct", "5h"): about(0.5)}


def test_a_window_whose_rest_is_left_to_its_owner_stands_still_before_it_is_used_up() -> None:
    quota = Quota(name="5h", used=0.25, ends=1000.0, length=1000.0, rate=1 / 1600, most=0.75)
    found = course([load(16)], 4, Flow(quotas=[quota]))
    assert found[1].at == about(1000 + REOPENS + 200)
    assert found[1].full == {("acct", "5h"): about(200)}
    beyond = Quota(name="5h", used=0.8, ends=1000.0, length=1000.0, rate=1 / 1600, most=0.75)
    assert course([load(8)], 4, Flow(quotas=[beyond]))[1].at == about(1000 + REOPENS + 200)


def test_a_window_that_ends_before_it_is_used_up_begins_anew() -> None:
    quota = Quota(name="5h", used=0.0, ends=None, length=1000.0, rate=1 / 8000)
    found = course([load(80)], 4, Flow(quotas=[quota]))
    assert found[1].at == about(2000)
    assert found[1].windows == 2
    assert found[1].full == {}


def test_the_longest_window_holds_up_the_most() -> None:
    five = Quota(name="5h", used=0.0, ends=None, length=1000.0, rate=1 / 8000)
    week = Quota(name="week", used=0.9, ends=50_000.0, length=100_000.0, rate=1 / 16_000)
    found = course([load(80)], 4, Flow(quotas=[five, week]))
    assert found[1].full[("acct", "week")] == about(400)
    assert found[1].at == about(50_000 + REOPENS + 1600)


def test_what_waits_for_others_begins_when_they_have_ended() -> None:
    waves = [load(4, wave=1), load(4), load(4, wave=2)]
    assert ends(waves, 4) == {1: about(300)}
    assert ends([*waves, load(4, batch=2)], 8) == {1: about(300), 2: about(100)}


def test_loads_take_turns() -> None:
    """Long jobs among short ones are not left to the end."""
    long = Load(batch=1, account="acct", length=Length(math.log(1000), 0.02, 1e6), fresh=8)
    assert ends([load(800), long], 8) == {1: pytest.approx(11_000, rel=0.08)}


def test_a_job_with_a_time_of_its_own_waits_for_that() -> None:
    assert ends([load(4, due=5000.0)], 4) == {1: about(5100)}


def test_what_never_ends_has_no_end() -> None:
    assert ends([load(1)], 4, Flow(opens=math.inf)) == {}
    forever = Quota(name="5h", used=0.0, ends=None, length=1e6, rate=1.0)
    assert ends([load(400)], 4, Flow(quotas=[forever])) == {}
    assert ends([], 4) == {}
    restless = Quota(name="5h", used=0.0, ends=None, length=1.0, rate=1e-9)
    assert ends([load(400)], 4, Flow(quotas=[restless])) == {}, "nobody looks so often"
    assert ends([load(4)], 4, Flow(most=0)) == {}


# --- what is foretold ---


def pile(queued: int, batch: int = 1, **more: object) -> Pile:
    said = {"account": "acct", "model": "default", "group": "", "running": 0, **more}
    return Pile(batch=batch, queued=queued, **said)  # type: ignore[arg-type]


def lap(seconds: float = 100.0, **more: object) -> Lap:
    said = {"batch": 1, "account": "acct", "group": "", "spent": seconds, "ended_at": NOW, **more}
    return Lap(seconds=seconds, **said)  # type: ignore[arg-type]


MANY = [lap(100.0 + place % 3) for place in range(1000)]


def scene(*piles: Pile, laps: Sequence[Lap] = MANY, **more: object) -> Scene:
    said = {"now": NOW, "host": "here", "slots": 4, "batches": [BATCH], **more}
    return Scene(piles=piles, laps=laps, **said)  # type: ignore[arg-type]


def told(known: Scene) -> Forecast:
    (found,) = foresee(known)
    return found


def seconds(known: Scene) -> float:
    """Until the batch is done, with even odds."""
    found = told(known)
    assert found.p50 is not None
    assert found.p90 is not None
    assert found.p90 >= found.p50
    return (found.p50 - NOW).total_seconds()


def spread(found: Forecast) -> timedelta:
    assert found.p50 is not None
    assert found.p90 is not None
    return found.p90 - found.p50


def test_the_same_facts_foretell_the_same() -> None:
    known = scene(pile(40))
    assert foresee(known) == foresee(known)
    assert told(known).left == 40


def test_the_number_of_jobs_and_of_slots_tell_the_end() -> None:
    assert seconds(scene(pile(40))) == about(1000)
    assert seconds(scene(pile(40), slots=8)) == about(500)
    assert seconds(scene(pile(10_000))) == about(250_000)


def test_where_no_job_has_ended_nothing_is_foretold() -> None:
    found = told(scene(pile(3, running=2), laps=[lap(stays=True, ended_at=None)]))
    assert (found.p50, found.p90, found.why, found.left) == (None, None, UNKNOWN, 5)


def test_what_a_person_expects_will_do_until_a_job_has_ended() -> None:
    hoped = seconds(scene(pile(400, expect=100.0), pile(400, group="g"), laps=[]))
    assert hoped == pytest.approx(20_000, rel=0.5)


def test_a_batch_of_which_nothing_is_known_does_not_keep_others_from_being_foretold() -> None:
    first, second = foresee(scene(pile(4), pile(4, batch=2), batches=[BATCH, OTHER]))
    assert first.p50 is not None
    assert second.why == UNKNOWN


def test_more_is_uncertain_where_less_is_known() -> None:
    few, many = (spread(told(scene(pile(100), laps=laps))) for laps in (MANY[:2], MANY))
    assert few > 3 * many


def test_what_was_begun_already_takes_less() -> None:
    under_way = [lap(90.0, stays=True, ended_at=None) for _ in range(4)]
    assert seconds(scene(pile(0, running=4), laps=[*MANY, *under_way])) < 40
    anew = [lap(90.0, ended_at=None) for _ in range(4)]
    assert seconds(scene(pile(4), laps=[*MANY, *anew])) == about(102)


def test_attempts_that_come_to_nothing_make_all_of_it_longer() -> None:
    twice = [lap(100.0, spent=200.0) for _ in range(60)]
    assert seconds(scene(pile(40), laps=twice)) == about(2000)


def test_of_short_jobs_what_is_around_them_counts() -> None:
    """A job of 10 ms that is launched every 100 ms in four slots is as good as one of 400 ms."""
    short = [lap(0.05, ended_at=NOW - timedelta(seconds=0.1 * place)) for place in range(100)]
    assert seconds(scene(pile(4000), laps=short)) == about(400)
    assert 25 < seconds(scene(pile(4000), laps=[lap(0.05)])) < 200, "of one job nothing of the kind is known"


def test_nothing_that_took_no_time_is_divided_by() -> None:
    assert seconds(scene(pile(4), laps=[lap(0.0)])) < 5


def test_groups_differ() -> None:
    laps = [*(lap(100.0, group="a") for _ in range(30)), *(lap(1000.0, group="b") for _ in range(30))]
    assert seconds(scene(pile(40, group="a"), laps=laps)) == pytest.approx(1100, rel=0.15)
    assert seconds(scene(pile(40, group="b"), laps=laps)) == pytest.approx(10_000, rel=0.15)
    assert 2000 < seconds(scene(pile(40, group="c"), laps=laps)) < 10_000


def test_groups_that_wait_come_after_those_that_they_need() -> None:
    groups = [
        Group(id=1, batch=1, batch_name="b", name="a"),
        Group(id=2, batch=1, batch_name="b", name="b", needs=("a",), stand=Stand.WAITING),
        Group(id=3, batch=1, batch_name="b", name="c", needs=("b", "a"), stand=Stand.WAITING),
        Group(id=4, batch=2, batch_name="c", name="d"),
    ]
    piles = [pile(2, group=name) for name in "cab"]
    assert seconds(scene(*piles)) == about(200)
    assert seconds(scene(*piles, groups=groups)) == pytest.approx(320, rel=0.1)


def test_what_may_not_begin_before_a_time_is_waited_for() -> None:
    assert seconds(scene(pile(4, due=NOW + timedelta(hours=2)))) == about(7300)
    assert seconds(scene(pile(4, due=NOW - timedelta(hours=2)))) == about(100)


def hold(scope: str, seconds: float | None = None, origin: Origin = Origin.LIMIT, **more: object) -> Hold:
    until = None if seconds is None else NOW + timedelta(seconds=seconds)
    return Hold(scope=scope, origin=origin, since=NOW, until=until, **more)  # type: ignore[arg-type]


def test_a_hold_is_waited_for() -> None:
    for scope in ("*", "host:here", "acct", "acct/opus"):
        assert seconds(scene(pile(4, model="opus"), holds=[hold(scope, 5000)])) == about(5100), scope
    free = [hold("other", 5000), hold("acct/sonnet", 5000), hold("acct", -5), hold("acct", origin=Origin.START)]
    assert seconds(scene(pile(4, model="opus"), holds=[*free, hold("acct", ramp=True, allow=1)])) == about(100)
    mixed = (pile(2, model="opus"), pile(2, model="sonnet"))
    assert seconds(scene(*mixed, holds=[hold("acct/opus", 5000)])) == about(100)


def test_a_hold_without_an_end_is_told_and_not_counted_with() -> None:
    paused = told(scene(pile(4), holds=[hold("acct", origin=Origin.OPERATOR)]))
    assert (paused.p50, paused.why) == (None, "acct is held until somebody lifts it")
    assert told(scene(pile(4), holds=[hold("*", origin=Origin.OPERATOR)])).why.startswith("everything")
    first, second = foresee(
        scene(
            pile(40),
            pile(4, batch=2),
            laps=[*MANY, *(replace(one, batch=2) for one in MANY)],
            batches=[BATCH, OTHER],
            holds=[hold("batch:b", origin=Origin.OPERATOR)],
        )
    )
    assert first.why.startswith("batch:b")
    assert second.p50 is not None
    assert second.p50 - NOW < timedelta(seconds=120)


def test_an_account_is_as_wide_as_it_is_allowed_to_be() -> None:
    narrow = {"acct": Account(name="acct", max_running=2)}
    assert seconds(scene(pile(40), accounts=narrow)) == about(2000)
    assert seconds(scene(pile(40), accounts={"acct": Account(name="acct")})) == about(1000)
    one = hold("acct", origin=Origin.OPERATOR, allow=1)
    assert seconds(scene(pile(40), accounts=narrow, holds=[one])) == about(4000)


def test_hours_are_kept() -> None:
    zone = ZoneInfo("Europe/Berlin")  # it is 21:00 there
    nightly = {"acct": hours.parse("22:00-07:00", zone)}
    assert seconds(scene(pile(4), hours=nightly)) == about(3700)
    closed = hold("acct", 3600, Origin.HOURS)
    assert seconds(scene(pile(4), hours=nightly, holds=[closed])) == about(3700)
    assert seconds(scene(pile(4000), hours=nightly)) > 3600 + 100_000 + 50_000


FIVE = Quota(name="5h", used=0.5, ends=3600.0, length=18_000.0, rate=1 / 8000)
WEEK = Quota(name="week", used=0.41, ends=90_000.0, length=604_800.0, rate=1 / 160_000, doubt=0.02)


def test_windows_and_the_week_are_told() -> None:
    found = told(scene(pile(100), quotas={"acct": [FIVE, WEEK]}))
    assert found.windows == 1
    week = found.weeks["acct"]
    assert (week.now, week.full) == (0.41, None)
    assert week.then == pytest.approx(0.41 + 10_000 / 160_000, abs=0.01)


def test_limits_of_which_nothing_is_known_are_told_to_be_possible() -> None:
    limited = {"acct": Account(name="acct", cautious=True), "other": Account(name="other", cautious=True)}
    found = told(scene(pile(40), accounts=limited))
    assert found.p50 is not None
    assert found.why == "nothing is known yet of the windows of acct"
    assert told(scene(pile(40), accounts=limited, quotas={"acct": [FIVE]})).why == ""
    assert told(scene(pile(40), accounts={"acct": Account(name="acct")})).why == ""


def test_a_week_that_will_be_used_up_is_told_with_the_instant() -> None:
    found = told(scene(pile(2400), quotas={"acct": [replace(FIVE, used=0.0, rate=1e-9), WEEK], "other": [WEEK]}))
    assert found.weeks.keys() == {"acct"}
    assert found.weeks["acct"].full is not None
    assert (found.weeks["acct"].full - NOW).total_seconds() == pytest.approx(0.59 * 160_000 / 4, rel=0.1)


def test_what_takes_longer_than_anybody_looks_ahead_is_told_so() -> None:
    never = replace(FIVE, rate=1.0, length=1e6)
    assert told(scene(pile(4000), quotas={"acct": [never]})).why == ENDLESS


# --- what is kept ---


def foretold(minutes: float | None, at: float = 0.0, why: str = "") -> Forecast:
    seen = NOW + timedelta(minutes=at)
    p50 = None if minutes is None else NOW + timedelta(minutes=minutes)
    return Forecast(batch=1, at=seen, left=3, slots=4, p50=p50, p90=p50, why=why)


@pytest.mark.parametrize(
    ("before", "after", "news"),
    [
        (None, foretold(None, why=UNKNOWN), True),
        (foretold(None, why=UNKNOWN), foretold(None, 90, UNKNOWN), False),
        (foretold(None, why=UNKNOWN), foretold(100), True),
        (foretold(100), foretold(105, 5), False),
        (foretold(100), foretold(115, 5), True),
        (foretold(100), foretold(80, 5), True),
        (foretold(1000), foretold(1000, 59), False),
        (foretold(1000), foretold(1000, 60), True),
        (foretold(100), foretold(None, 5, ENDLESS), True),
    ],
)
def test_a_forecast_is_kept_where_it_says_something_else(before: Forecast | None, after: Forecast, news: bool) -> None:
    assert is_news(before, after) is news


def test_the_nearer_an_end_the_sooner_it_is_looked_at_again() -> None:
    assert look_again([]) == LOOK_LEAST
    assert look_again([foretold(None, why=UNKNOWN)]) == LOOK_LEAST
    assert look_again([foretold(1), foretold(600)]) == LOOK_LEAST
    assert look_again([foretold(60)]) == 120
    assert look_again([foretold(6000)]) == LOOK_MOST
