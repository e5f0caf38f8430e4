"""What is not expected to fit what is left of a window does not start."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from stores.world import Claim, World, incarnation, names
from tidegate.admission import LOOK
from tidegate.look import plain, why
from tidegate.look.words import Page
from tidegate.model import Account, Admission, Batch, Held, Interrupted, NewJob, Reading, Share, Spec, Window
from tidegate.stores.admitting import AGAIN

HOURS = 3600.0
CLAUDE = Account(name="acct", cautious=True)


def in_group(world: World, group: str, *jobs: str, priority: int = 0) -> None:
    new = [NewJob(name=job, account="acct", group=group, priority=priority, spec=Spec(prompt="do it")) for job in jobs]
    world.store.submit(Batch("b"), new, world.now, whole=False)


def read(world: World, used: float, ends: datetime, window: Window = Window.FIVE_HOURS, account: str = "acct") -> None:
    one = Reading(scope=account, window=window, used=used, at=world.now, resets_at=ends)
    world.store.note_signals([], [one], world.now)


def learn(world: World, group: str, drawn: float) -> None:
    in_group(world, group, *(f"{group}{n}" for n in range(5)))
    for _ in range(5):
        claim = world.take()
        world.wait(60)
        world.progress(claim)
        world.finish(claim, drawn=drawn)


@pytest.fixture
def ends(world: World) -> datetime:
    """When the window resets of an account of which 5,500 were drawn, five times 100 and five times 1,000."""
    world.accounts(CLAUDE)
    ends = world.ahead(1 * HOURS + 600.0)
    with world.store.group():
        read(world, 0.0, ends)
        learn(world, "small", 100.0)
        learn(world, "large", 1000.0)
    return ends


def runs(world: World) -> Claim:
    """One more small job runs, with priority."""
    in_group(world, "small", "runs", priority=9)
    return world.take()


def held(world: World) -> Held:
    (one,) = world.store.held()
    return one


def test_a_job_that_does_not_fit_waits_and_one_behind_it_that_fits_goes(world: World, ends: datetime) -> None:
    runs(world)
    read(world, 0.9, ends)  # of about 6,100
    in_group(world, "large", "l1", "l2", priority=1)
    in_group(world, "small", "s1")
    world.submit("else", batch="another", account="elsewhere")
    assert names(world.claim(3)) == ["s1", "else"]
    assert world.claim(3) == []


def test_behind_a_job_that_does_not_fit_one_goes_that_its_supervisor_may_start(world: World, ends: datetime) -> None:
    runs(world)
    read(world, 0.9, ends)
    in_group(world, "large", "mine", priority=1)
    in_group(world, "small", "another's", "mine too")
    world.store.enter(replace(incarnation("part"), only=("mine*",)))
    assert names(world.claim(3, by="part")) == ["mine too"]


def test_of_several_accounts_that_are_held_back_the_first_is_looked_at_first_unless_a_hold_ends_before(
    world: World, ends: datetime
) -> None:
    runs(world)
    read(world, 0.9, ends)
    in_group(world, "large", "l1")
    assert world.claim() == []
    world.wait(9)
    world.accounts(CLAUDE, replace(CLAUDE, name="other"))
    world.submit("o1", "o2", "o3", account="other")
    claim = world.take()
    read(world, 0.0, ends, account="other")
    world.wait(1)
    world.progress(claim)
    world.finish(claim, drawn=100.0)
    read(world, 0.6, ends, account="other")
    assert names(world.claim()) == ["o2"]
    assert world.claim() == []
    mine, another = world.store.held()
    assert (mine.account, mine.since, another.account, another.since) == ("acct", world.ahead(-10), "other", world.now)
    first, second = mine.again, another.again
    assert [world.store.next_due(now) for now in (world.now, first, second)] == [first, second, None]
    world.pause("x", until=world.ahead(20))
    assert world.store.next_due(world.now) == world.ahead(20)
    read(world, 0.0, ends + timedelta(hours=5), account="other")
    assert names(world.claim()) == ["o3"]
    assert world.store.held() == [mine]


def test_why_a_job_waits_is_known_and_told_once_for_each_window(world: World, ends: datetime) -> None:
    runs(world)
    read(world, 0.9, ends)
    in_group(world, "large", "l1")
    assert world.claim() == world.claim() == []
    one = held(world)
    assert (one.account, one.job, one.window, one.until) == ("acct", world.job("l1").id, Window.FIVE_HOURS, ends)
    assert one.left == pytest.approx(0.095)
    assert one.needed == pytest.approx(0.18, abs=0.05)
    assert one.again == world.now + AGAIN == world.store.next_due(world.now)
    world.wait(30)
    read(world, 0.93, ends)
    assert world.claim() == []
    assert held(world).left == pytest.approx(0.065)
    (told,) = world.events("admission held")
    assert (told.scope, told.job, told.data["left"]) == ("acct", one.job, one.left)


def test_whoever_looks_at_a_job_that_waits_sees_the_numbers(world: World, ends: datetime) -> None:
    runs(world)
    read(world, 0.9, ends)
    in_group(world, "large", "l1", "l2")
    assert world.claim() == []
    seen = why.picture(world.store, world.now, "here", supervised=True)
    on = Page(now=world.now, zone=UTC, width=None, colour=False)
    first, second = (why.stand(world.job(name), seen, on, {}) for name in ("l1", "l2"))
    assert re.fullmatch(r"would not fit: \d+ % ± \d+ % needed, 10 % left until 19:40:00 \(in 1 h\)", first), first
    assert second == f"is behind a job that {first}"
    (wait,) = why.waits(world.job("l1"), seen)
    told = plain.wait(wait)
    assert told["for"] == "window"
    assert told["window"]["left"] == held(world).left
    later = why.picture(world.store, ends, "here", supervised=True)
    assert why.stand(world.job("l1"), later, on, {}) == "waits for a free slot"


def test_what_waited_goes_when_there_is_room_again(world: World, ends: datetime) -> None:
    claim = runs(world)
    read(world, 0.9, ends)
    in_group(world, "large", "l1")
    assert world.claim() == []
    world.now = ends
    assert names(world.claim()) == ["l1"]
    assert world.store.held() == []
    assert [event.scope for event in world.events("admission open")] == ["acct"]
    world.finish(claim, drawn=10.0)


def test_who_observes_is_told_what_would_be_held(world: World, ends: datetime) -> None:
    world.accounts(replace(CLAUDE, admission=Admission.OBSERVE))
    runs(world)
    read(world, 0.9, ends)
    in_group(world, "large", "l1", "l2")
    assert names(world.claim()) == ["l1"]
    assert held(world).observed
    assert world.store.next_due(world.now) is None
    assert len(world.events("admission would hold")) == 1
    assert world.events("admission held") == []
    world.accounts(CLAUDE)
    assert world.claim() == []
    assert not held(world).observed
    assert len(world.events("admission held")) == 1


@pytest.mark.parametrize(
    "account",
    [replace(CLAUDE, admission=Admission.OFF), replace(CLAUDE, cautious=False)],
    ids=["off", "without limits"],
)
def test_who_wants_none_of_it_starts_what_comes_first(world: World, ends: datetime, account: Account) -> None:
    runs(world)
    read(world, 0.9, ends)
    in_group(world, "large", "l1")
    assert world.claim() == []
    world.accounts(account)
    assert world.store.held() == []
    assert names(world.claim()) == ["l1"]


def test_what_runs_is_reckoned_with(world: World, ends: datetime) -> None:
    runs(world)
    read(world, 0.9, ends)
    in_group(world, "small", *"abcdefgh")
    assert names(world.claim(8)) == ["a"]


def test_the_week_counts_as_the_five_hours_do(world: World, ends: datetime) -> None:
    runs(world)
    read(world, 0.2, ends)
    read(world, 0.5, week := world.ahead(50 * HOURS), Window.WEEK)
    in_group(world, "large", "l0", "l1", "l2")
    claim = world.take()
    world.wait(60)
    world.progress(claim)
    world.finish(claim, drawn=500.0)
    read(world, 0.95, week, Window.WEEK)
    assert world.claim() == []
    assert held(world).window is Window.WEEK


def test_what_others_have_used_of_a_week_before_is_not_what_a_job_takes(world: World, ends: datetime) -> None:
    runs(world)
    read(world, 0.2, ends)
    read(world, 0.6, world.ahead(50 * HOURS), Window.WEEK)
    in_group(world, "large", "l1", "l2")
    assert names(world.claim(2)) == ["l1", "l2"]
    assert world.store.held() == []


def test_nothing_that_runs_leaves_something_unused(world: World, ends: datetime) -> None:
    read(world, 0.9, ends)
    in_group(world, "large", "l1", "l2")
    assert names(world.claim(2)) == ["l1"]


def test_what_was_cut_off_has_done_a_part_already(world: World, ends: datetime) -> None:
    in_group(world, "large", "cut", "fresh")
    claim = world.take()
    world.progress(claim)
    world.store.note_session(claim[1], "s", world.now)
    world.finish(claim, Interrupted(reason="x"), drawn=900.0)
    runs(world)
    read(world, 0.7, ends)
    assert names(world.claim(2)) == ["cut"]


def test_a_canary_asks_nobody(world: World, ends: datetime) -> None:
    claim = runs(world)
    in_group(world, "large", "l1")
    world.limited(claim, resets_at=world.ahead(60))
    world.wait(61)
    assert len(world.claim(2)) == 1


def test_no_more_jobs_are_looked_at_than_are_worth_it(world: World, ends: datetime) -> None:
    runs(world)
    read(world, 0.9, ends)
    in_group(world, "large", *(f"l{n}" for n in range(LOOK)), priority=1)
    in_group(world, "small", "s1")
    assert world.claim() == []


def test_of_many_lanes_of_an_account_only_some_are_looked_through(world: World, ends: datetime) -> None:
    runs(world)
    read(world, 0.9, ends)
    for n in range(6):
        new = [NewJob(name=f"{n}{i}", account="acct", group="large", spec=Spec(prompt="x")) for i in range(LOOK)]
        world.store.submit(Batch(f"b{n}"), new, world.now, whole=False)
    assert world.claim() == []


def hinted(world: World, share: float, *jobs: str) -> None:
    new = [
        NewJob(name=job, account="acct", group="g", share=Share(share, share / 10), spec=Spec(prompt="do it"))
        for job in jobs
    ]
    world.store.submit(Batch("b"), new, world.now, whole=False)


def test_a_job_of_which_more_is_expected_than_of_others_of_its_group_is_not_taken_for_one_of_them(
    world: World, ends: datetime
) -> None:
    hinted(world, 0.01, "h0", "h1", "h2")
    for _ in range(3):
        claim = world.take()
        world.wait(60)
        world.finish(claim, drawn=100.0)
    assert [(one.group, one.jobs) for one in world.store.costs("acct")][:1] == [("b/g ~1%", 3)]
    runs(world)
    read(world, 0.9, ends)
    hinted(world, 0.4, "big")
    assert world.claim() == []
    assert held(world).needed == pytest.approx(0.43, abs=0.05)
    hinted(world, 0.01, "h3")
    assert names(world.claim(2)) == ["h3"]
