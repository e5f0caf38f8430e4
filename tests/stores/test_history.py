"""What became of attempts and jobs over many nights, also of those that are forgotten."""

from __future__ import annotations

from datetime import timedelta

from stores.reconciling import audited
from stores.world import START, World
from tidegate.model import Failed, Interrupted, Past, Shut, Succeeded, Usage

DAY = "2026-01-09"


def filled(world: World) -> None:
    """A night with a limit that cuts off two attempts, a retry and a drain."""
    world.submit("a", "b", "c")
    first, second, third = world.claim(3)
    for claim in (first, second):
        world.store.note_session(claim[1], f"s-{claim[0].name}", world.now)
    world.limited(first, world.ahead(600))
    world.store.finish(second[1], Interrupted(reason="drained"), world.now, session="s-b", rules=None)
    world.fail(third)
    world.wait(601)
    world.finish(world.take())
    world.wait(60)
    for claim in world.claim(9):
        outcome = Succeeded("done") if claim[0].name == "b" else Failed(reason="no", retry=False)
        usage = Usage(cost_usd=0.5)
        world.store.finish(claim[1], outcome, world.now, session=claim[0].session, usage=usage, rules=None)


WHOLE = Past(
    day=DAY, account="acct", launches=6, limited=1, cut_off=2, recovered=2, resumed=2, retries=1, succeeded=2, failed=1
)
CLOSING = Shut(scope="acct", window="5h", since=START, until=START + timedelta(seconds=601))


def test_what_limits_did_is_counted_by_day_and_account(world: World) -> None:
    filled(world)
    assert world.store.past() == [WHOLE]
    assert world.store.shuts() == [CLOSING]
    assert {account: spent.microdollars for (_, account), spent in world.store.spent_by_day().items()} == {
        "acct": 1_000_000
    }


def test_what_is_forgotten_stays_counted(world: World) -> None:
    filled(world)
    ids = [job.id for job in world.store.jobs()]
    before = world.store.spent_by_day()
    assert world.store.forget(ids[:1], world.now) == 1
    assert (world.store.past(), world.store.shuts()) == ([WHOLE], [CLOSING])
    world.store.forget(ids, world.now)
    world.store.forget_past(world.ahead(1))
    assert world.store.jobs() == []
    assert (world.store.past(), world.store.shuts(), world.store.spent_by_day()) == ([WHOLE], [CLOSING], before)
    audited(world.store)


def test_a_gate_that_is_shut_still_has_no_end(world: World) -> None:
    world.submit("a", "b")
    claim = world.take()
    world.limited(claim, world.ahead(600))
    assert world.store.shuts() == [Shut(scope="acct", window="5h", since=START)]


def test_what_runs_and_what_never_began_is_no_end(world: World) -> None:
    world.submit("a", "b")
    first, _ = world.claim(2)
    world.store.unclaim(first[1], world.now, "draining")
    assert world.store.past() == [Past(day=DAY, account="acct", launches=1)]
