"""What agents draw of the windows of their accounts, and what is told of these."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from stores.reconciling import audited
from stores.world import RULES, Claim, World, said
from tidegate.model import (
    Account,
    Batch,
    Cost,
    Drawn,
    Failed,
    Interrupted,
    Job,
    Limited,
    Meter,
    NewJob,
    Outcome,
    Reading,
    Spec,
    Stage,
    Succeeded,
    Tide,
    Window,
)
from tidegate.stores.sqlite import SqliteStore

FIVE, WEEK = Window.FIVE_HOURS, Window.WEEK
HOURS = 3600.0


def note(world: World, *drawn: tuple[Claim, float]) -> None:
    told = [(claim[1], Drawn(tokens, 1)) for claim, tokens in drawn]
    world.store.note_signals(told, [], world.now)


def read(world: World, used: float, ends: float = 4 * HOURS, scope: str = "acct", window: Window = FIVE) -> None:
    one = Reading(scope=scope, window=window, used=used, at=world.now, resets_at=world.ahead(ends))
    world.store.note_signals([], [one], world.now)


def meter(world: World, scope: str = "acct", window: Window = FIVE) -> Meter:
    (found,) = [one for one in world.store.meters(scope) if one.window is window]
    return found


def finish(world: World, claim: Claim, drawn: Drawn, outcome: Outcome | None = None, session: str | None = None) -> Job:
    return world.store.finish(
        claim[1], outcome or Succeeded("done"), world.now, exit=0, session=session, drawn=drawn, rules=RULES
    )


def in_group(world: World, *names: str, **spec: object) -> None:
    jobs = [NewJob(name=name, account="acct", group="g", spec=Spec(prompt="do it", **spec)) for name in names]  # type: ignore[arg-type]
    world.store.submit(Batch("b"), jobs, world.now, whole=False)


# --- what is drawn ---


def test_what_an_attempt_has_drawn_counts_once_however_often_it_is_told(world: World) -> None:
    world.submit("a")
    claim = world.take()
    read(world, 0.1)
    for tokens in (100.0, 100.0, 250.0, 200.0):
        note(world, (claim, tokens))
    assert [(one.drawn, one.answers) for one in world.store.attempts(1)] == [(250.0, 1)]
    assert meter(world).drawn == 250.0
    finish(world, claim, Drawn(300.0, 4))
    assert [(one.drawn, one.answers) for one in world.store.attempts(1)] == [(300.0, 4)]
    assert meter(world).drawn == 300.0
    audited(world.store)


def test_what_is_told_of_an_attempt_that_has_ended_or_is_anothers_comes_too_late(world: World) -> None:
    world.submit("a", "b")
    ended, taken = world.take(), world.take()
    read(world, 0.1)
    world.finish(ended)
    world.enter("other")
    world.store.adopt("other", "here", world.now)
    note(world, (ended, 50.0), (taken, 50.0))
    assert meter(world).drawn == 0.0
    ((job, mine),) = world.store.running()
    note(world, ((job, mine), 70.0))
    assert meter(world).drawn == 70.0, "the next incarnation reads all of its output anew"


def test_an_end_that_tells_nothing_keeps_what_was_told(world: World) -> None:
    world.submit("a")
    claim = world.take()
    note(world, (claim, 50.0))
    world.finish(claim)
    assert world.store.attempts(1)[0].drawn == 50.0


def test_an_end_that_is_told_twice_is_counted_once(world: World) -> None:
    world.submit("a")
    claim = world.take()
    read(world, 0.1)
    finish(world, claim, Drawn(50.0, 1))
    finish(world, claim, Drawn(50.0, 1))
    assert meter(world).drawn == 50.0
    assert [one.jobs for one in world.store.costs("acct")] == [1]


def test_of_what_is_told_of_a_whole_session_an_attempt_has_drawn_what_those_before_have_not(world: World) -> None:
    world.submit("a")
    finish(world, world.take(), Drawn(100.0, 2, of_session=True), Interrupted(reason="drained"), "s")
    claim = world.take()
    assert claim[1].resumes
    finish(world, claim, Drawn(130.0, 3, of_session=True), session="s")
    assert [one.drawn for one in world.store.attempts(1)] == [100.0, 30.0]


def test_what_is_no_number_is_not_counted(world: World) -> None:
    world.submit("a")
    claim = world.take()
    for wrong in (math.nan, math.inf, -5.0):
        note(world, (claim, wrong))
    assert world.store.attempts(1)[0].drawn == 0.0
    bad = Reading(scope="acct", window=FIVE, used=math.nan, at=world.now)
    world.store.note_signals([], [bad], world.now)
    assert world.store.meters() == []


def test_jobs_that_draw_nothing_leave_nothing_behind(world: World) -> None:
    world.submit("a")
    world.finish(world.take())
    assert (world.store.meters(), world.store.costs("acct")) == ([], [])


# --- what is read ---


def test_a_window_that_is_told_of_has_what_was_drawn_since_it_began(world: World) -> None:
    world.submit("a")
    claim = world.take()
    note(world, (claim, 40.0))
    world.wait(2 * HOURS)
    note(world, (claim, 100.0))
    world.wait(HOURS)
    read(world, 0.3, ends=3.5 * HOURS)
    found = meter(world)
    assert (found.drawn, found.drawn_at_reading, found.used) == (60.0, 60.0, 0.3)
    assert found.begins_at == world.ahead(-1.5 * HOURS)
    assert found.read_at == world.now


def test_what_is_used_of_a_window_is_kept_hundredth_by_hundredth(world: World) -> None:
    world.submit("a")
    claim = world.take()
    ends = world.ahead(4 * HOURS)
    for number, used in enumerate((0.1, 0.1, 0.104, 0.12, 0.4)):
        world.wait(60)
        note(world, (claim, number * 10.0))
        one = Reading(scope="acct", window=FIVE, used=used, at=world.now, resets_at=ends)
        world.store.note_signals([], [one], world.now)
    told = world.store.readings("acct", FIVE, world.ahead(-(10**6)))
    assert [(one.used, one.drawn) for one in told] == [(0.1, 0.0), (0.12, 30.0), (0.4, 40.0)]
    assert [one.used for one in world.store.readings("acct", FIVE, world.now)] == [0.4]


def test_more_than_all_of_a_window_is_all_of_it(world: World) -> None:
    read(world, 1.07)
    assert meter(world).used == 1.0


def test_a_past_window_says_what_was_used_at_its_end_and_what_we_drew_in_it(world: World) -> None:
    world.submit("a")
    claim = world.take()
    began = world.ahead(-HOURS)
    read(world, 0.2)
    note(world, (claim, 50.0))
    world.wait(3 * HOURS)
    read(world, 0.7, ends=HOURS)
    note(world, (claim, 80.0))
    world.wait(2 * HOURS)
    note(world, (claim, 90.0))
    (tide,) = world.store.tides("acct", FIVE)
    assert tide == Tide(
        scope="acct",
        window=FIVE,
        began_at=began,
        ended_at=world.ahead(-HOURS),
        used=0.7,
        drawn=80.0,
        drawn_at_reading=50.0,
    )
    assert meter(world) == Meter(scope="acct", window=FIVE, begins_at=world.now, drawn=10.0)
    (event,) = world.events("window ended")
    assert (event.scope, event.data["window"], event.data["used"], event.data["drawn"]) == ("acct", "5h", 0.7, 80)
    audited(world.store)


def test_each_window_turns_over_by_itself(world: World) -> None:
    world.submit("a")
    claim = world.take()
    read(world, 0.2, ends=HOURS)
    read(world, 0.1, ends=100 * HOURS, window=WEEK)
    note(world, (claim, 50.0))
    world.wait(2 * HOURS)
    note(world, (claim, 60.0))
    assert (meter(world).drawn, meter(world, window=WEEK).drawn) == (10.0, 60.0)
    assert [one.window for one in world.store.meters()] == [FIVE, WEEK]


def test_of_several_past_windows_the_newest_come_first(world: World) -> None:
    for used in (0.1, 0.2, 0.3):
        read(world, used)
        world.wait(6 * HOURS)
    read(world, 0.4)
    assert [tide.used for tide in world.store.tides("acct", FIVE)] == [0.3, 0.2, 0.1]
    assert [tide.used for tide in world.store.tides("acct", FIVE, most=1)] == [0.3]
    assert world.store.tides("acct", WEEK) == world.store.tides("else", FIVE) == []


def test_a_window_that_a_model_has_alone_is_not_the_accounts(world: World) -> None:
    world.submit("a", model="claude-opus-5-5")
    world.submit("b", model="sonnet")
    opus, sonnet = world.take(), world.take()
    read(world, 0.1, window=WEEK)
    read(world, 0.6, scope="acct/opus", window=WEEK)
    note(world, (opus, 30.0), (sonnet, 5.0))
    assert [one.scope for one in world.store.meters("acct")] == ["acct"]
    assert (meter(world, window=WEEK).drawn, meter(world, "acct/opus", WEEK).drawn) == (35.0, 30.0)
    world.wait(60)
    read(world, 0.2, ends=4 * HOURS, scope="acct/opus")
    assert meter(world, "acct/opus", FIVE).drawn == 30.0, "what was drawn before is known by model"


def test_windows_that_are_shorter_than_their_kind_do_not_overlap(world: World) -> None:
    world.submit("a")
    claim = world.take()
    read(world, 0.9, ends=1800)
    note(world, (claim, 50.0))
    world.wait(1860)
    note(world, (claim, 60.0))
    read(world, 0.1, ends=1740)
    assert (meter(world).begins_at, meter(world).drawn) == (world.ahead(-60), 10.0)
    assert meter(world).drawn_at_reading == 10.0


# --- what is refused ---


def test_a_refusal_marks_the_window_and_so_what_was_drawn_is_all_of_it(world: World) -> None:
    world.accounts(Account(name="acct"))
    world.submit("a", "b")
    claim = world.take()
    read(world, 0.9, ends=2 * HOURS)
    note(world, (claim, 900.0))
    world.limited(claim, world.ahead(2 * HOURS))
    assert meter(world).refused_at == world.now
    world.wait(3 * HOURS)
    again = world.take()
    note(world, (again, 1.0))
    (tide,) = world.store.tides("acct", FIVE)
    assert (tide.refused, tide.drawn) == (True, 900.0)
    assert meter(world).refused_at is None


def test_refusals_alone_tell_what_a_window_holds(world: World) -> None:
    """Nobody has told of a window before: it has begun with the first draw after the last one must have ended."""
    world.submit("a", "b")
    first = world.take()
    note(world, (first, 70.0))
    world.wait(6 * HOURS)
    began = world.now
    note(world, (first, 100.0))
    world.wait(HOURS)
    note(world, (first, 200.0))
    world.limited(first, None)
    found = meter(world)
    assert (found.begins_at, found.drawn, found.refused_at) == (began, 130.0, world.now)
    assert found.ends_at == world.ahead(4 * HOURS)


def test_a_refusal_that_is_told_again_by_the_next_incarnation_marks_no_later_window(world: World) -> None:
    world.submit("a", "b")
    claim, other = world.take(), world.take()
    limited = said(world.ahead(HOURS))
    world.told(claim, limited)
    world.wait(2 * HOURS)
    note(world, (other, 10.0))
    world.finish(other)
    world.wait(4 * HOURS)
    read(world, 0.1)
    world.told(claim, limited)
    assert meter(world).refused_at is None
    assert world.finish(claim, Limited(limited), exit=1).limited_in_a_row == 1


def test_what_says_no_for_a_moment_or_to_a_person_has_used_up_no_window(world: World) -> None:
    world.submit("a")
    world.limited(world.take(), window=Window.MINUTE)
    world.pause("acct")
    assert world.store.meters() == []


# --- what jobs have cost ---


def test_what_a_job_has_drawn_in_its_last_run_is_what_its_group_costs(world: World) -> None:
    in_group(world, "a")
    claim = world.take()
    world.wait(100)
    finish(world, claim, Drawn(60.0, 2), Interrupted(reason="drained"), "s")
    claim = world.take()
    world.wait(50)
    finish(world, claim, Drawn(40.0, 2), session="s")
    assert world.store.costs("acct") == [
        Cost(
            account="acct",
            group="b/g",
            jobs=1,
            logs=math.log(100.0),
            squares=math.log(100.0) ** 2,
            drawn=100.0,
            seconds=150.0,
            rates=100 / 150,
        )
    ]
    assert world.store.costs("else") == []
    audited(world.store)


def test_what_failed_or_was_begun_anew_is_no_part_of_what_a_group_costs(world: World) -> None:
    in_group(world, "a", "b", max_attempts=2)
    claim = world.take()
    finish(world, claim, Drawn(60.0, 2), Failed(reason="exit 1"))
    world.wait(HOURS)
    for claim in world.claim(2):
        won = claim[0].name == "a"
        finish(world, claim, Drawn(40.0, 2), Succeeded("done") if won else Failed(reason="no", retry=False))
    (cost,) = world.store.costs("acct")
    assert (cost.jobs, cost.drawn) == (1, 40.0)


def test_the_stages_behind_an_agent_are_no_part_of_its_cost(world: World) -> None:
    in_group(world, "a", check=Stage(command=("true",)))
    finish(world, world.take(), Drawn(60.0, 2))
    assert world.store.costs("acct") == []
    finish(world, world.take(), Drawn(0.0, 0))
    (cost,) = world.store.costs("acct")
    assert (cost.jobs, cost.drawn) == (1, 60.0)


# --- what is forgotten ---


def test_past_windows_and_costs_that_nothing_was_added_to_are_forgotten_with_the_past(world: World) -> None:
    in_group(world, "a", "b")
    finish(world, world.take(), Drawn(60.0, 2))
    read(world, 0.2)
    world.wait(30 * HOURS)
    read(world, 0.3)
    world.store.forget_past(world.ahead(-HOURS))
    assert world.store.tides("acct", FIVE) == []
    assert world.store.costs("acct") == []
    assert meter(world).used == 0.3


def test_what_is_older_than_any_window_is_dropped(world: World) -> None:
    world.submit("a")
    claim = world.take()
    world.now = world.now.replace(minute=2)  # of an hour, when it is looked for
    for tokens in (10.0, 20.0):
        note(world, (claim, tokens))
        read(world, 0.2)
        world.wait(40 * 24 * HOURS)
    read(world, 0.3)
    assert [one.used for one in world.store.readings("acct", FIVE, datetime(2000, 1, 1, tzinfo=UTC))] == [0.3]
    if isinstance(world.store, SqliteStore):
        kept = world.store._looks.draws("acct", None, world.now - timedelta(days=400))
        assert [tokens for _, tokens in kept] == [10.0], "of the day of the last draw"


def test_a_window_that_was_thought_to_have_ended_goes_where_it_has_not(world: World) -> None:
    """Somebody was answered after a refusal, and then the same window is told of again."""
    world.submit("a", "b")
    first, ends = world.take(), world.ahead(2 * HOURS)
    read(world, 0.5, ends=2 * HOURS)
    note(world, (first, 50.0))
    world.told(first, said(ends))
    world.store.lift(None, world.now, by="ann")
    world.wait(1800)
    second = world.take()
    world.wait(60)
    note(world, (second, 5.0))
    assert len(world.store.tides("acct", FIVE)) == 1
    one = Reading(scope="acct", window=FIVE, used=0.6, at=world.now, resets_at=ends)
    world.store.note_signals([], [one], world.now)
    assert (meter(world).begins_at, meter(world).drawn) == (ends - timedelta(hours=5), 55.0)
    world.wait(6 * HOURS)
    note(world, (second, 6.0))
    (tide,) = world.store.tides("acct", FIVE)
    assert (tide.drawn, tide.used) == (55.0, 0.6)
