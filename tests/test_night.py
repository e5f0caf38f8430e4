"""The picture of a night: its figures are those of the event table, and its time adds up."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from stores.world import START, Claim, World, incarnation, new

from tidegate import night
from tidegate.look.desk import Desk
from tidegate.look.words import Page
from tidegate.model import (
    Allowance,
    Attempt,
    Batch,
    Budget,
    Cancelled,
    Event,
    Failed,
    Interrupted,
    NewJob,
    Origin,
    Past,
    Reading,
    Shut,
    Spec,
    Spent,
    Stage,
    State,
    Succeeded,
    Usage,
    Window,
)
from tidegate.night import cost, history, status, steps
from tidegate.night.groups import wilson
from tidegate.night.steps import Cause
from tidegate.report import files, gather, tables, words
from tidegate.report.told import Told
from tidegate.stores import Store
from tidegate.stores.memory import MemoryStore
from tidegate.stores.sqlite import SqliteStore


@pytest.fixture(params=["sqlite", "memory"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    store: Store = SqliteStore(tmp_path / "tidegate.db") if request.param == "sqlite" else MemoryStore()
    made = World(store)
    made.enter()
    yield made
    store.close()


def told(world: World, tmp_path: Path, batch: str = "b") -> Told:
    page = Page(now=world.now, zone=ZoneInfo("UTC"))
    desk = Desk(state=tmp_path, store=world.store, page=page, host="here")
    return gather.told(desk, next(one for one in world.store.batches() if one.name == batch))


def long_night(world: World) -> None:
    """Two windows of limits with a restart between them, failures, a cancel, a job that nobody got to.

    18:30 a, b, c begin; 18:40 a is refused until 20:00, b fails, c succeeds, f is cancelled. 20:00 a is the canary and
    succeeds at 20:10; the next is refused at 20:20 until 22:00; another supervisor enters at 21:00; 22:00 one more
    canary, which fails.
    """
    world.submit("a", "b", "c", "d", "e", "f")
    one, two, three = world.claim(3)
    world.wait(600)
    world.limited(one, START + timedelta(minutes=90))
    world.fail(two, "no such file: /tmp/17")
    world.finish(three)
    world.store.cancel(world.job("f").id, world.now, by="ann")
    world.wait(80 * 60)
    canary = world.take()
    world.progress(canary)
    world.wait(600)
    world.finish(canary)
    second = world.take()
    world.wait(600)
    world.limited(second, START + timedelta(minutes=210))
    world.wait(2400)
    world.store.enter(incarnation("next"))
    world.store.adopt("next", "here", world.now)
    world.wait(3600)
    last = world.take("next")
    world.wait(60)
    world.progress(last)
    world.store.finish(last[1], Failed(reason="no such file: /tmp/18", retry=False), world.now, exit=1)


def test_the_figures_of_a_night_are_those_of_the_event_table(world: World, tmp_path: Path) -> None:
    long_night(world)
    picture = told(world, tmp_path).picture
    ended = world.events("attempt ended")
    assert picture.doubts == []
    assert picture.ends.begun == len(world.events("attempt claimed"))
    assert picture.ends.outcomes == Counter(str(event.data["outcome"]) for event in ended)
    assert sum(picture.counts.values()) == len(world.events("job added")) == 6
    finals = Counter(str(event.data["state"]) for event in world.events("job ended"))
    assert {state: number for state, number in picture.counts.items() if state.is_final and number} == finals
    assert len(picture.closings) == len(world.events("gate shut")) == 2
    assert [one.reopened_at for one in picture.closings] == [event.at for event in world.events("gate reopening")]
    assert [one.cut_off for one in picture.closings] == [1, 1]
    assert [one.launched for one in picture.closings] == [0, 0]
    assert (picture.steps[0].working, picture.steps[-1].working) == (3, 0)


def test_the_time_of_a_night_adds_up_to_its_length(world: World, tmp_path: Path) -> None:
    long_night(world)
    picture = told(world, tmp_path).picture
    assert sum(picture.spent.values()) == pytest.approx((picture.end - picture.begin).total_seconds())
    spent = {words.cause(cause): round(seconds) for cause, seconds in picture.spent.items()}
    assert spent["working"] == 600 + 600 + 600 + 60
    assert spent["held by the 5h limit of acct"] == 80 * 60 + 100 * 60
    jobs = [(job.created_at, job.ended_at or world.now) for job in world.store.jobs()]
    lived = sum((end - begin).total_seconds() for begin, end in jobs)
    assert sum(picture.waited.values()) == pytest.approx(lived)


def test_a_closing_says_who_was_delayed_and_what_came_of_the_reset(world: World, tmp_path: Path) -> None:
    long_night(world)
    report = told(world, tmp_path)
    first, second = report.picture.closings
    assert words.delayed(report, first) == "4 jobs were delayed by the 5h limit of acct from 18:40:00 to 20:00:00"
    assert "stated reset 20:00:00, the first was let go at 20:00:00 (0 s after it)" in words.resets(report, first)
    assert words.effects(first) == "1 attempt cut off, 0 resumed the session; nothing was launched while it was shut"
    assert (first.evidence, first.stated) == ("no more", START + timedelta(minutes=90))
    assert second.shut_at == START + timedelta(minutes=110)


def test_a_gate_that_is_shut_says_until_when(world: World, tmp_path: Path) -> None:
    world.submit("a", "b")
    world.limited(world.take(), world.ahead(3600))
    world.wait(60)
    report = told(world, tmp_path)
    (one,) = report.picture.closings
    assert words.delayed(report, one) == "2 jobs were delayed by the 5h limit of acct since 18:30:00"
    assert "still shut, until 19:30:00" in words.resets(report, one)
    standing = status.of(world.store.counts(), world.store.jobs(), world.store.holds(), world.now, "here", works=True)
    assert standing.status == "paused_rate_limit"
    assert standing.limit is not None
    assert standing.limit.until == START + timedelta(hours=1)


def test_what_another_batch_met_counts_where_it_binds_this_one_too(world: World, tmp_path: Path) -> None:
    world.submit("mine", account="shared")
    world.submit("other", batch="other", account="shared", priority=5)
    world.submit("apart", batch="apart", account="its own")
    world.limited(world.take(), world.ahead(600))
    world.wait(60)
    assert len(told(world, tmp_path).picture.closings[0].delayed) == 1
    assert told(world, tmp_path, "apart").picture.closings == []


def test_a_gate_that_was_shut_before_the_batch_came_is_told_from_its_hold(world: World, tmp_path: Path) -> None:
    world.pause("acct")
    world.wait(60)
    world.submit("a")
    world.wait(60)
    (one,) = told(world, tmp_path).picture.closings
    assert (one.origin, one.shut_at, one.by) == (Origin.OPERATOR, START + timedelta(seconds=60), "ann")
    assert words.delayed(told(world, tmp_path), one).startswith("1 job was delayed by a pause of acct by ann since")


def test_a_refusal_while_the_gate_opens_again_is_a_closing_of_its_own(world: World, tmp_path: Path) -> None:
    world.submit("a", "b")
    world.limited(world.take(), world.ahead(60))
    world.wait(60)
    canary = world.take()
    world.wait(10)
    world.limited(canary, world.ahead(600))
    first, second = told(world, tmp_path).picture.closings
    assert first.again
    assert (first.cut_off, second.cut_off) == (1, 1)
    assert first.opened_at == second.shut_at


def test_a_limit_that_is_told_anew_while_it_stands_moves_its_end_and_is_one_closing(
    world: World, tmp_path: Path
) -> None:
    world.submit("a", "b")
    first, second = world.claim(2)
    world.limited(first, world.ahead(600))
    world.limited(second, world.ahead(1200))
    (one,) = told(world, tmp_path).picture.closings
    assert (one.moved, one.cut_off) == (1, 2)
    assert one.until == one.stated == START + timedelta(seconds=1200)


def test_a_pause_that_somebody_ends_cut_off_what_ran_and_says_who_ended_it(world: World, tmp_path: Path) -> None:
    world.submit("a")
    claim = world.take()
    world.pause("acct")
    world.finish(claim, Interrupted(reason="paused"))
    world.wait(60)
    world.store.lift("acct", world.now, by="bob")
    report = told(world, tmp_path)
    (one,) = report.picture.closings
    assert (one.cut_off, len(one.delayed)) == (1, 1)
    assert words.delayed(report, one) == "1 job was delayed by a pause of acct by ann from 18:30:00 to 18:31:00"
    assert words.resets(report, one).endswith("open again at 18:31:00 by bob")


def test_a_limit_that_somebody_lifts_while_it_opens_was_open_for_a_first_one_before(
    world: World, tmp_path: Path
) -> None:
    world.submit("a", "b")
    world.limited(world.take(), world.ahead(60))
    world.wait(60)
    world.take()
    world.wait(5)
    world.store.lift("acct", world.now, by="bob")
    (one,) = told(world, tmp_path).picture.closings
    assert (one.reopened_at, one.opened_at) == (START + timedelta(seconds=60), START + timedelta(seconds=65))
    assert (one.ended_by, one.again) == ("bob", False)


def test_a_pause_from_before_the_batch_that_has_ended_is_told_from_its_end(world: World, tmp_path: Path) -> None:
    world.pause("acct")
    world.wait(60)
    world.submit("a")
    world.wait(60)
    world.store.lift("acct", world.now, by="bob")
    (one,) = told(world, tmp_path).picture.closings
    assert (one.shut_at, one.reopened_at) == (START + timedelta(seconds=60), START + timedelta(seconds=120))
    assert len(one.delayed) == 1


def test_a_hold_that_only_limits_how_many_run_shuts_nothing_and_ends_a_pause(world: World, tmp_path: Path) -> None:
    world.submit("a")
    world.pause("acct", allow=1)
    assert told(world, tmp_path).picture.closings == []
    world.pause("acct")
    world.wait(60)
    world.pause("acct", allow=1)
    (one,) = told(world, tmp_path).picture.closings
    assert (one.opened_at, one.ended_by) == (START + timedelta(seconds=60), "ann")


def test_a_launch_that_was_refused_after_its_claim_is_told_as_that(world: World, tmp_path: Path) -> None:
    world.submit("a", "b")
    first, second = world.claim(2)
    world.limited(first, world.ahead(60))
    world.store.unclaim(second[1], world.now, "the gate is shut")
    world.wait(60)
    report = told(world, tmp_path)
    (one,) = report.picture.closings
    assert (one.launched, one.refused, len(one.delayed)) == (0, 1, 2)
    assert "1 launch taken back between claim and start; nothing was launched" in words.effects(one)
    assert report.picture.ends.begun == 1


def test_what_shut_after_the_last_job_had_ended_is_no_part_of_the_night(world: World, tmp_path: Path) -> None:
    world.submit("a")
    world.finish(world.take())
    world.wait(60)
    world.pause("acct")
    assert told(world, tmp_path).picture.closings == []


# --- where the time went ---


def seconds(spent: Mapping[Cause, float]) -> dict[str, int]:
    return {words.cause(cause): round(of) for cause, of in spent.items()}


def test_a_job_that_a_person_froze_stands_still(world: World, tmp_path: Path) -> None:
    world.submit("a")
    _, attempt = claim = world.take()
    world.wait(10)
    world.store.note_rest(attempt, world.now, rests=True)
    world.wait(60)
    world.store.note_rest(attempt, world.now, rests=False)
    world.wait(5)
    world.finish(claim)
    assert seconds(told(world, tmp_path).picture.waited) == {"working": 15, "frozen by a person": 60}


def test_between_the_last_job_and_one_that_came_later_nothing_was_queued(world: World, tmp_path: Path) -> None:
    for name in "ab":
        world.submit(name)
        claim = world.take()
        world.wait(10)
        world.finish(claim)
        world.wait(60)
    assert seconds(told(world, tmp_path).picture.spent) == {"working": 20, "nothing was queued": 60}


def test_a_night_ends_with_its_last_job_also_where_the_clock_was_set_back(world: World, tmp_path: Path) -> None:
    world.submit("a")
    claim = world.take()
    world.wait(10)
    world.finish(claim)
    world.wait(90)
    world.submit("b")
    world.wait(10)
    claim = world.take()
    world.wait(-60)
    world.finish(claim)
    assert seconds(told(world, tmp_path).picture.spent) == {"working": 10, "nothing was queued": 40}


# --- who was there ---


def happened(*names: str) -> list[Event]:
    """Events a minute apart, "enter X" and "leave X" of supervisors."""
    told = {"enter": "supervisor entered", "leave": "supervisor left"}
    split = [name.split() for name in names]
    return [
        Event(seq=n, at=START + timedelta(minutes=n), name=told.get(verb, verb), data={"uuid": uuid})
        for n, (verb, uuid) in enumerate(split)
    ]


@pytest.mark.parametrize(
    ("story", "there", "works", "spans"),
    [
        (["enter a", "progress -", "leave a"], [], False, [(0, 2)]),
        (["enter a", "progress -", "progress -"], ["a"], True, [(0, 9)]),
        (["enter a", "progress -", "progress -"], ["a"], False, [(0, 2)]),
        (["enter a", "progress -", "enter b", "leave a", "progress -"], ["b"], True, [(0, 1), (2, 9)]),
        (["progress -", "progress -"], ["a"], True, [(0, 9)]),
        (["progress -", "leave a", "progress -"], [], False, [(0, 1)]),
        (["progress -", "progress -", "enter b", "leave a"], ["b"], True, [(2, 9), (0, 1)]),
    ],
)
def test_one_who_was_killed_was_there_until_the_last_sign_of_life(
    story: list[str], there: list[str], works: bool, spans: list[tuple[int, int]]
) -> None:
    found = steps.presence(
        happened(*story), [incarnation(one) for one in there], START, START + timedelta(minutes=9), works=works
    )
    minutes = [tuple(round((at - START).total_seconds() / 60) for at in span) for span in found]
    assert sorted(minutes) == sorted(spans)


# --- whether the books agree ---


def test_an_end_that_the_event_table_does_not_tell_is_a_doubt(world: World, tmp_path: Path) -> None:
    world.submit("a")
    world.finish(world.take())
    facts = told(world, tmp_path).picture.facts
    torn = replace(facts, events=[event for event in facts.events if event.name != "job ended"])
    assert night.draw(torn).doubts == ["1 of the jobs ended otherwise than the event table says, the first is a"]


# --- one word ---


@pytest.mark.parametrize(
    ("scopes", "word"),
    [
        ([], "waiting"),
        (["*"], "paused_operator"),
        (["acct"], "paused_operator"),
        (["elsewhere"], "waiting"),
    ],
)
def test_a_batch_is_paused_where_every_queued_job_is(world: World, scopes: list[str], word: str) -> None:
    world.submit("a")
    for scope in scopes:
        world.pause(scope)
    held = status.of(world.store.counts(), world.store.jobs(), world.store.holds(), world.now, "here", works=True)
    assert held.status == word
    gone = status.of(world.store.counts(), world.store.jobs(), world.store.holds(), world.now, "here", works=False)
    assert gone.status == (word if word.startswith("paused") else "interrupted")


@pytest.mark.parametrize(
    ("counts", "word"),
    [
        ({State.SUCCEEDED: 3}, "completed"),
        ({State.SUCCEEDED: 3, State.FAILED: 1}, "completed"),
        ({State.ERROR: 1, State.CANCELLED: 1}, "failed"),
        ({State.CANCELLED: 1, State.SUCCEEDED: 3}, "cancelled"),
        ({State.SKIPPED: 1, State.FAILED: 1}, "failed"),
        ({State.RUNNING: 1, State.QUEUED: 5}, "running"),
    ],
)
def test_an_end_is_told_by_whether_every_job_has_a_valid_result(counts: dict[State, int], word: str) -> None:
    assert status.of(counts, [], [], START, "here", works=True).status == word


# --- groups ---


def test_the_interval_is_wilsons() -> None:
    low, high = wilson(8, 10) or (0, 0)
    assert (round(low, 4), round(high, 4)) == (0.4902, 0.9433)
    assert wilson(0, 0) is None


@given(st.integers(1, 2000).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_an_interval_holds_its_share_and_lies_between_nothing_and_all(case: tuple[int, int]) -> None:
    good, of = case
    low, high = wilson(good, of) or (2, 2)
    assert 0 <= low <= good / of + 1e-9 <= high + 2e-9 <= 1 + 3e-9


def test_jobs_without_a_group_are_under_their_batch_and_trials_have_shares(world: World, tmp_path: Path) -> None:
    world.submit("a#1", "a#2", "a#3")
    for claim, outcome in zip(world.claim(3), (None, Interrupted(reason="x"), None), strict=True):
        world.store.note_session(claim[1], "s", world.now)
        world.finish(claim, outcome)
    world.finish(world.take())
    (row,) = told(world, tmp_path).picture.groups
    assert row.name == "b"
    assert (row.counts[State.SUCCEEDED], row.clean[State.SUCCEEDED]) == (3, 2)
    assert words.share(row.share) == "3 of 3 = 100% (44% to 100%)"


# --- failures and cost ---


def test_failures_are_folded_by_what_they_have_in_common(world: World, tmp_path: Path) -> None:
    world.submit(*(f"j{n}" for n in range(4)))
    for number, claim in enumerate(world.claim(4)):
        reason = f"no file /a/b{number} at line {number}" if number else "other"
        world.store.finish(claim[1], Failed(reason=reason, retry=False, valid=False), world.now, exit=1)
    report = told(world, tmp_path)
    assert [len(one.jobs) for one in report.picture.failures] == [3, 1]
    assert words.log(report, report.picture.failures[0]).startswith(f"{tmp_path}/attempts/")
    assert next(iter(words.commands(report)))[1].endswith("retry '#1-#4'")


def test_what_no_agent_told_is_unknown_and_not_nothing(world: World, tmp_path: Path) -> None:
    world.store.submit(Batch("b"), [new(name, agent="claude") for name in ("a", "b", "c")], world.now)
    world.store.submit(Batch("b"), [new("make")], world.now, whole=False)
    first, second, third, plain = world.claim(4)
    world.finish(plain)
    assert words.money(told(world, tmp_path).picture.cost.usd) == "no agent has told of any"
    world.finish(third)
    assert words.money(told(world, tmp_path).picture.cost.usd) == "unknown"
    world.store.finish(first[1], Cancelled(), world.now, usage=Usage(cost_usd=0.5))
    world.finish(second)
    known = told(world, tmp_path).picture.cost
    assert words.money(known.usd) == "≥ $0.50 (2 attempts unknown)"
    assert words.tokens(known.input_tokens) == "unknown"


def test_a_judge_that_begins_while_the_gate_of_the_agents_is_shut_is_no_launch_into_it(
    world: World, tmp_path: Path
) -> None:
    check = Stage(agent="command", account="judge", command=("judge",))
    world.store.submit(Batch("b"), [new(name, check=check) for name in ("a", "b")], world.now, whole=False)
    first, second = world.take(), world.take()
    world.wait(60)
    world.limited(second, START + timedelta(minutes=30))
    world.finish(first)
    world.wait(60)
    judge = world.take()
    assert (judge[0].name, judge[0].account) == ("a", "judge")
    world.finish(judge)
    (one,) = told(world, tmp_path).picture.closings
    assert (one.scope, one.launched, one.cut_off) == ("acct", 0, 1)
    assert one.delayed == (second[0].id,)


def test_a_judge_that_is_an_agent_is_expected_to_tell_and_a_plain_check_is_not(world: World) -> None:
    for name, judge in (("a", "command"), ("b", "claude")):
        check = Stage(agent=judge, command=("judge",))
        world.store.submit(Batch("b"), [new(name, check=check)], world.now, whole=False)
    jobs = world.store.jobs()
    attempts = [
        Attempt(job=job.id, n=1, supervisor="me", epoch=1, started_at=START, outcome="succeeded", stage="check")
        for job in jobs
    ]
    assert cost.total(attempts, jobs).usd == cost.Known(None, 0, 1)


def test_what_a_budget_kept_back_is_told_and_until_when(world: World, tmp_path: Path) -> None:
    world.store.keep_budgets("batch:b", {"batch:b": Budget(whole=Allowance(usd=1))}, world.now)
    world.submit("a", "b")
    world.store.finish(world.take()[1], Succeeded("done"), world.now, usage=Usage(cost_usd=1.5))
    world.wait(60)
    (one,) = (report := told(world, tmp_path)).picture.closings
    assert words.resets(report, one) == "still shut"
    assert list(words.spendings(report)) == ["budget of batch:b: $1.50 of $1.00: spent, nothing more is launched"]
    assert report.picture.standing.status == "paused_budget"
    resume = "launch more than the budget of batch:b allows"
    assert dict(words.commands(report))[resume].endswith(" resume batch:b")
    world.store.lift("batch:b", world.now, by="ann")
    (one,) = (report := told(world, tmp_path)).picture.closings
    assert words.resets(report, one) == "open again at 18:31:00 by ann"
    assert resume not in dict(words.commands(report))


def test_what_was_left_of_a_window_is_told_with_when_that_ends(world: World, tmp_path: Path) -> None:
    world.store.keep_stops("configuration", {"acct": {Window.FIVE_HOURS: 0.9}}, world.now)
    world.submit("a", "b")
    world.finish(world.take())
    world.wait(60)
    end = world.ahead(7200)
    reading = Reading(scope="acct", window=Window.FIVE_HOURS, used=0.91, at=world.now, resets_at=end)
    world.store.note_signals([], [reading], world.now)
    world.wait(60)
    (one,) = (report := told(world, tmp_path)).picture.closings
    shut = "1 job was delayed by the 5h reserve of acct, 91 % used, the rest is left (stop_at 90), since 18:31:00"
    assert words.delayed(report, one) == shut
    assert words.resets(report, one) == "stated reset 20:31:00, still shut, until 20:31:03"
    assert report.picture.standing.status == "paused_reserve"
    assert words.STATUS.keys() >= {*status.PAUSED.values()}
    resume = "use the rest of acct, which stop_at leaves"
    assert dict(words.commands(report))[resume].endswith(" resume acct")
    world.wait(7200)
    assert world.claim()
    (one,) = (report := told(world, tmp_path)).picture.closings
    assert words.resets(report, one).startswith(
        "stated reset 20:31:00, the first was let go at 20:32:00 (1 min after it)"
    )
    assert resume not in dict(words.commands(report))


# --- many nights ---

FEW = [
    Past(day="2026-01-01", account="a", launches=40, limited=9, cut_off=10, recovered=5, resumed=4, failed=3),
    Past(day="2026-01-02", account="a", launches=10, retries=2, succeeded=7),
    Past(day="2026-01-02", account="b", launches=0, skipped=1),
]
STRUCK = [
    Shut(scope="a", window="5h", since=START - timedelta(days=8), until=START - timedelta(days=8, hours=-2)),
    Shut(scope="a", window="5h", since=START - timedelta(hours=1)),
    Shut(scope="a/opus", window="week", since=START, until=START - timedelta(hours=1)),
    Shut(scope="gone", window="day", since=START),
]


def test_a_history_tells_how_often_limits_struck_and_what_was_recovered() -> None:
    spent = {("2026-01-02", "a"): Spent(attempts=2, usd_told=1, microdollars=5)}
    told = history.of(FEW, STRUCK, spent, START, "")
    first, second = told.records
    assert (first.account, first.days, first.launches, first.recovery) == ("a", 2, 50, 0.5)
    assert (first.jobs["succeeded"], first.retries, first.spent.microdollars) == (7, 2, 5)
    assert (second.recovery, second.days, second.spent) == (None, 0, Spent())
    assert [(one.scope, one.closings, one.per_day, one.per_100) for one in told.strikings] == [
        ("a", 2, 1.0, 4.0),
        ("a/opus", 1, 0.5, 2.0),
        ("gone", 1, None, None),
    ]
    assert [one.median_wait for one in told.strikings] == [5400.0, 0.0, 0.0]


def test_a_history_may_begin_later() -> None:
    told = history.of(FEW, STRUCK, {("2026-01-01", "z"): Spent(attempts=1)}, START, "2026-01-02")
    assert [(one.account, one.launches) for one in told.records] == [("a", 10), ("b", 0)]
    assert [one.closings for one in told.strikings] == [1, 1, 1]


# --- whatever happens ---


def wander(world: World, chance: Random) -> None:  # noqa: C901 - a row for each thing that can happen
    """Some of all that can happen to a batch, in any order; clocks are set back, too."""
    ids, who = world.submit(*"abcdef").jobs, "me"
    running: list[Claim] = []
    for turn in range(chance.randrange(60)):
        match chance.randrange(10):
            case 0:
                world.wait(chance.choice([1, 30, 600, 4000, -300]))
            case 1:
                running += world.claim(2, by=who)
            case 2 if running:
                world.finish(running.pop())
            case 3 if running:
                world.limited(running.pop(), world.ahead(chance.choice([60, 900, -5])))
            case 4 if running:
                world.fail(running.pop())
            case 5 if running:
                world.store.unclaim(running.pop()[1], world.now, "refused")
            case 6:
                world.pause(chance.choice(["*", "acct", "batch:b", "job:1", "host:here", "other"]))
            case 7:
                world.store.lift(None, world.now, by="ann")
            case 8:
                chance.choice([world.store.cancel, world.store.retry])(chance.choice(ids), world.now, by="ann")
            case 9:
                who = f"next {turn}"
                world.store.enter(incarnation(who))
                world.store.adopt(who, "here", world.now)
                running = world.store.running()


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 200, 50))
def test_whatever_happens_the_sums_agree_and_every_form_can_be_written(first: int, tmp_path: Path) -> None:
    for seed in range(first, first + 50):
        world = World(MemoryStore())
        world.enter()
        wander(world, Random(seed))
        report = told(world, tmp_path)
        picture = report.picture
        assert picture.doubts == [], seed
        assert sum(picture.spent.values()) == pytest.approx((picture.end - picture.begin).total_seconds()), seed
        assert all(seconds >= 0 for seconds in picture.waited.values()), seed
        assert [one.launched for one in picture.closings if one.origin is Origin.LIMIT and one.launched] == [], seed
        for _, write in files.FORMATS.values():
            assert write(report), seed


def test_a_batch_without_jobs_has_a_report_too(world: World, tmp_path: Path) -> None:
    world.store.submit(Batch("b"), [], world.now)
    report = told(world, tmp_path)
    for _, write in files.FORMATS.values():
        write(report)
    assert words.counts(report) == "no jobs"


def test_what_held_a_judge_back_is_told_of_its_account(world: World, tmp_path: Path) -> None:
    check = Stage(command=("judge",), account="judges")
    spec = Spec(agent="claude", prompt="do it", check=check)
    world.store.submit(Batch("b"), [NewJob(name="a", account="claude", spec=spec)], world.now)
    world.wait(60)
    world.finish(world.take())
    world.limited(world.take(), world.ahead(300))
    world.wait(301)
    world.finish(world.take(), Failed(reason='exit 1: {"score": 0.5}'), exit=1)
    seen = told(world, tmp_path)
    (closing,) = seen.picture.closings
    assert (closing.scope, closing.cut_off, len(closing.delayed)) == ("judges", 1, 1)
    assert any(cause.scope == "judges" and held == 300 for cause, held in seen.picture.waited.items())
    (row,) = [json.loads(line) for line in tables.jsonl(seen).splitlines()]
    assert (row["score"], row["interrupted"], row["uninterrupted"]) == (0.5, 0, True)
    assert [line.split(",")[4] for line in tables.csv_text(seen).splitlines()[1:]] == ["claude", "judges", "judges"]


def test_a_gate_has_the_colour_of_what_it_held(world: World, tmp_path: Path) -> None:
    """In a page where a pause and a limit held, the bar of each is that of its row in the legend."""
    world.submit("a", "b")
    world.limited(world.take(), world.ahead(600))
    world.wait(60)
    world.pause("batch:b")
    world.wait(900)
    page = files.FORMATS["html"][1](told(world, tmp_path))
    dots = dict(re.findall(r'dot (c-held\d)"></i>held by (\w+)', page))
    assert len(dots) == 2
    strips = re.findall(r'class="strip">(.*?)</div>', page)
    used = [re.findall(r"c-held\d", one)[0] for one in strips]
    assert sorted(used) == sorted(dots)
