"""What waits is not held for hours more because the clock was set back."""

from __future__ import annotations

from stores.world import RULES, World, names
from tidegate.model import Batch, Kind, NewJob, Spec, Window

HOURS = 3 * 3600.0


def test_a_moments_wait_ends_and_what_a_person_or_a_provider_has_said_stays(world: World) -> None:
    world.submit("failed")
    world.fail(world.take())
    world.submit("limited", account="told")
    world.limited(world.take(), world.ahead(3600))
    world.submit("unknown", account="untold")
    world.limited(world.take())
    world.submit("busy", account="busy")
    world.limited(world.take(), kind=Kind.RATE_LIMIT, window=Window.MINUTE)
    world.pause("paused", until=world.ahead(3600))
    stays = [hold for hold in world.store.holds() if hold.scope in ("told", "paused")]
    world.wait(-HOURS)
    assert world.claim(9) == []
    world.store.unstrand(world.now, rules=RULES)
    assert sorted(names(world.claim(9))) == ["busy", "failed", "unknown"]
    assert [hold for hold in world.store.holds() if hold.scope in ("told", "paused")] == stays


def test_a_wait_that_ends_in_time_and_a_start_that_was_asked_for_stay(world: World) -> None:
    world.submit("failed")
    world.fail(world.take())
    world.submit("limited", account="untold")
    world.limited(world.take())
    asked = NewJob(name="asked", account="acct", spec=Spec(prompt="later"), not_before=world.ahead(HOURS))
    world.store.submit(Batch("b"), [asked], world.now, whole=False)
    holds, jobs = world.store.holds(), world.store.jobs()
    world.store.unstrand(world.now, rules=RULES)
    assert world.store.holds() == holds
    assert world.store.jobs() == jobs
