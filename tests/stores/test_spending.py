"""What attempts have used, and what may be spent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from stores.reconciling import audited
from stores.world import RULES, Claim, World, names
from tidegate import clock
from tidegate.errors import BadInput
from tidegate.model import (
    Allowance,
    Ask,
    Balance,
    Batch,
    Budget,
    Cancelled,
    Exceed,
    Failed,
    Hold,
    Interrupted,
    Job,
    NewGroup,
    NewJob,
    Origin,
    Outcome,
    Spec,
    Spent,
    State,
    Succeeded,
    Usage,
    When,
    Window,
)
from tidegate.stores.books import books
from tidegate.stores.mending import mend
from tidegate.stores.sqlite import SqliteStore

FIVE = Budget(whole=Allowance(usd=5))
DAILY = Budget(day=Allowance(usd=5))


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the day of these tests, which begin at 19:30, has another midnight than in UTC."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    assert clock.zone() == ZoneInfo("Europe/Berlin")


def submit(world: World, *names: str, batch: str = "b", account: str = "acct", agent: str = "claude") -> None:
    jobs = [NewJob(name=name, account=account, spec=Spec(agent=agent, prompt="do it")) for name in names]
    world.store.submit(Batch(batch), jobs, world.now, whole=False)


def spend(world: World, claim: Claim, usd: float | None, outcome: Outcome | None = None, tokens: int = 0) -> Job:
    usage = None if usd is None else Usage(cost_usd=usd, input_tokens=tokens or None)
    return world.store.finish(claim[1], outcome or Succeeded("done"), world.now, exit=0, usage=usage, rules=RULES)


def budget_holds(world: World) -> list[Hold]:
    return [hold for hold in world.store.holds() if hold.origin is Origin.BUDGET]


def balance(world: World, scope: str) -> Balance:
    (found,) = [one for one in world.store.balances(world.now) if one.scope == scope]
    return found


# --- what was spent ---


def test_what_attempts_tell_is_added_up_and_what_they_do_not_tell_is_unknown(world: World) -> None:
    submit(world, "a", "c", "d")
    for usd, tokens in ((1.25, 10), (None, 0), (0.000114, 0)):
        claim = world.take()
        world.wait(2)
        spend(world, claim, usd, tokens=tokens)
    spent = Spent(attempts=3, usd_told=2, microdollars=1250114, tokens_told=1, tokens=10, milliseconds=6000)
    (batch,) = world.store.batches()
    assert world.store.spent(batch=batch.id) == world.store.spent(account="acct") == world.store.spent() == spent
    assert world.store.spent(account="other") == Spent()
    audited(world.store)


def test_a_plain_command_tells_of_no_money_and_leaves_no_row_where_there_is_no_budget(world: World) -> None:
    submit(world, "a", "b", agent="command")
    spend(world, world.take(), None)
    assert world.store.spent() == Spent()
    world.store.keep_budgets("configuration", {"*": Budget(whole=Allowance(wall=60))}, world.now)
    claim = world.take()
    world.wait(2)
    spend(world, claim, None)
    assert world.store.spent() == Spent(milliseconds=2000), "nobody expects that it tells of money"


def test_an_attempt_that_never_began_has_spent_nothing(world: World) -> None:
    submit(world, "a")
    world.store.unclaim(world.take()[1], world.now, "draining")
    assert world.store.spent() == Spent()


def test_an_end_that_is_told_twice_is_counted_once(world: World) -> None:
    submit(world, "a")
    claim = world.take()
    spend(world, claim, 1.0)
    spend(world, claim, 1.0)
    assert world.store.spent().microdollars == 1_000_000


def test_the_money_of_forgotten_jobs_stays_spent(world: World) -> None:
    world.store.keep_budgets("configuration", {"acct": DAILY}, world.now)
    world.store.keep_budgets("batch:b", {"batch:b": FIVE}, world.now)
    submit(world, "a")
    job = spend(world, world.take(), 1.0)
    world.store.forget([job.id], world.now)
    world.store.forget_past(world.ahead(1))
    assert world.store.batches() == []
    assert [one.scope for one in world.store.balances(world.now)] == ["acct"], "a batch's own goes with it"
    assert balance(world, "acct").today.microdollars == world.store.spent().microdollars == 1_000_000
    submit(world, "a")
    spend(world, world.take(), 2.0)
    (batch,) = world.store.batches()
    assert world.store.spent(batch=batch.id).microdollars == 2_000_000, "another batch of the same name begins anew"
    assert balance(world, "acct").today.microdollars == 3_000_000


# --- what may be spent ---


def test_a_batch_launches_nothing_more_once_its_budget_is_spent(world: World) -> None:
    world.store.keep_budgets("batch:b", {"batch:b": FIVE}, world.now)
    submit(world, "a", "c", "d")
    submit(world, "x", batch="other")
    first, second = world.claim(2)
    spend(world, first, 4.99)
    assert budget_holds(world) == []
    spend(world, second, 0.01)
    (hold,) = budget_holds(world)
    assert (hold.scope, hold.window, hold.allow, hold.until) == ("batch:b", Window.SPEND, 0, None)
    assert hold.reason == "budget spent: $5.00 of $5.00"
    assert names(world.claim(9)) == ["x"]
    assert [event.scope for event in world.events("budget spent", "gate shut")] == ["batch:b", "batch:b"]


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Allowance(tokens=20), "≥ 30 of 20 tokens"),
        (Allowance(wall=3600), "1 h 30 min of 1 h"),
        (Allowance(usd=1, tokens=7), "≥ $2.00 of $1.00, ≥ 30 of 7 tokens"),
    ],
)
def test_tokens_and_time_are_budgets_too(world: World, budget: Allowance, words: str) -> None:
    submit(world, "a", "c", "d")
    spend(world, world.take(), None)
    claim = world.take()
    world.wait(5400)
    spend(world, claim, 2.0, tokens=30)
    world.store.keep_budgets("configuration", {"acct": Budget(whole=budget)}, world.now)
    assert [hold.reason for hold in budget_holds(world)] == [f"budget spent: {words}"]


def test_a_budget_that_only_warns_is_told_once_and_holds_nothing(world: World) -> None:
    warns = Budget(whole=Allowance(usd=1), on_exceed=Exceed.WARN)
    world.store.keep_budgets("batch:b", {"batch:b": warns}, world.now)
    submit(world, "a", "c", "d")
    for _ in range(2):
        spend(world, world.take(), 1.5)
    (told,) = world.events("budget spent")
    assert told.data["reason"] == "budget spent: $1.50 of $1.00"
    assert (told.scope, told.data["on_exceed"], budget_holds(world)) == ("batch:b", "warn", [])
    assert names(world.claim()) == ["d"]


def test_a_budget_that_cancels_ends_what_is_queued_and_asks_for_the_end_of_what_runs(world: World) -> None:
    cancels = Budget(whole=Allowance(usd=1), on_exceed=Exceed.CANCEL)
    world.store.keep_budgets("batch:b", {"batch:b": cancels}, world.now)
    submit(world, "a", "c", "d")
    submit(world, "x", batch="other")
    first, second = world.claim(2)
    again = spend(world, first, 1.0, Interrupted(reason="drained"))
    assert (again.state, again.reason) == (State.CANCELLED, "cancelled by the budget of batch:b: $1.00 of $1.00")
    assert [(one.verb, one.target) for one in world.store.requests()] == [(Ask.CANCEL, second[0].id)]
    assert world.states() == {"a": "cancelled", "c": "running", "d": "cancelled", "x": "queued"}
    spend(world, second, None, Cancelled("cancelled"))
    submit(world, "e")
    assert names(world.claim(9)) == ["x"], "and what comes later is held"
    audited(world.store)


def test_what_hangs_on_jobs_that_a_budget_cancels_is_settled(world: World) -> None:
    submit(world, "a", "c")
    stuck = Hold(scope=f"job:{world.job('c').id}", origin=Origin.HUMAN, since=world.now, by="tidegate")
    world.store.hold(stuck, world.now)
    later = NewJob(name="later", account="other", spec=Spec(prompt="x"), needs=(world.job("c").id,))
    world.store.submit(Batch("other"), [later], world.now, whole=False)
    spend(world, world.take(), 3.0)
    cancels = Budget(whole=Allowance(usd=1), on_exceed=Exceed.CANCEL)
    world.store.keep_budgets("configuration", {"acct": cancels}, world.now)
    assert world.states() == {"a": "succeeded", "c": "cancelled", "later": "skipped"}
    assert world.job("later").reason == "needs c, which was cancelled"
    assert [hold.origin for hold in world.store.holds()] == [Origin.BUDGET]
    audited(world.store)


def test_a_group_that_waits_for_the_end_of_what_a_budget_cancels_begins(world: World) -> None:
    cancels = Budget(whole=Allowance(usd=1), on_exceed=Exceed.CANCEL)
    world.store.keep_budgets("configuration", {"acct": cancels}, world.now)
    submit(world, "x", batch="other")
    claim = world.take()
    jobs = [NewJob(name=f"{g}/1", account=a, group=g, spec=Spec(prompt="x")) for g, a in (("T0", "acct"), ("T1", "o"))]
    groups = [NewGroup(name="T1", needs=("T0",), when=When.FINISHED)]
    world.store.submit(Batch("b"), jobs, world.now, groups=groups)
    spend(world, claim, 2.0)
    assert world.states() == {"x": "succeeded", "T0/1": "cancelled", "T1/1": "queued"}
    assert names(world.claim(9)) == ["T1/1"]
    audited(world.store)


def test_an_account_and_everything_have_budgets_across_batches(world: World) -> None:
    world.store.keep_budgets("configuration", {"acct": FIVE, "*": Budget(whole=Allowance(usd=8))}, world.now)
    submit(world, "a", "c")
    submit(world, "x", "y", "z", batch="other", account="other")
    spend(world, world.take(), 5.5)
    assert [hold.scope for hold in budget_holds(world)] == ["acct"]
    spend(world, world.take(), 3.0)
    assert [hold.scope for hold in budget_holds(world)] == ["*", "acct"]
    assert world.claim(9) == []


def test_the_budget_of_a_day_comes_back_at_midnight_where_it_is_worked(world: World) -> None:
    world.store.keep_budgets("configuration", {"acct": DAILY}, world.now)
    submit(world, "a", "c", "d")
    spend(world, world.take(), 7.0)
    (hold,) = budget_holds(world)
    midnight = datetime(2026, 1, 9, 23, tzinfo=UTC)
    assert (hold.until, hold.window, hold.reason) == (midnight, Window.DAY, "budget spent: $7.00 of $5.00 today")
    assert world.claim() == []
    assert world.store.next_due(world.now) == midnight
    world.now = midnight
    assert balance(world, "acct").today == Spent()
    spend(world, world.take(), 6.0)
    assert budget_holds(world)[0].until == midnight + timedelta(days=1)
    assert balance(world, "acct").spent.microdollars == 13_000_000


def test_a_larger_budget_opens_the_gate_and_one_that_is_still_spent_does_not(world: World) -> None:
    world.store.keep_budgets("batch:b", {"batch:b": FIVE}, world.now)
    submit(world, "a", "c")
    spend(world, world.take(), 7.0)
    world.store.keep_budgets("batch:b", {"batch:b": Budget(whole=Allowance(usd=6))}, world.now)
    assert [hold.reason for hold in budget_holds(world)] == ["budget spent: $7.00 of $6.00"]
    world.store.keep_budgets("batch:b", {"batch:b": Budget(whole=Allowance(usd=10))}, world.now)
    assert budget_holds(world) == []
    assert world.events("gate lifted")[-1].data["by"] == "budget"
    assert names(world.claim()) == ["c"]
    world.store.keep_budgets("batch:b", {"batch:b": FIVE}, world.now)
    assert len(budget_holds(world)) == 1, "and a smaller one shuts it"
    world.store.keep_budgets("batch:b", {}, world.now)
    assert (budget_holds(world), world.store.balances(world.now)) == ([], [])


def test_what_a_person_lifts_stays_open_until_the_budget_is_said_otherwise(world: World) -> None:
    world.store.keep_budgets("batch:b", {"batch:b": FIVE}, world.now)
    submit(world, "a", "c", "d")
    spend(world, world.take(), 7.0)
    world.store.lift("batch:b", world.now, by="ann", origins=[Origin.BUDGET])
    spend(world, world.take(), 7.0)
    world.store.keep_budgets("batch:b", {"batch:b": FIVE}, world.now)
    assert budget_holds(world) == []
    world.store.keep_budgets("batch:b", {"batch:b": Budget(whole=Allowance(usd=10))}, world.now)
    assert len(budget_holds(world)) == 1


def test_each_source_counts_and_the_hold_stays_while_one_of_them_is_spent(world: World) -> None:
    world.store.keep_budgets("configuration", {"acct": Budget(whole=Allowance(usd=2))}, world.now)
    world.store.keep_budgets("batch:b", {"acct": Budget(whole=Allowance(usd=100))}, world.now)
    submit(world, "a")
    spend(world, world.take(), 3.0)
    world.store.keep_budgets("batch:b", {}, world.now)
    assert len(budget_holds(world)) == 1
    world.store.keep_budgets("configuration", {}, world.now)
    assert budget_holds(world) == []


def test_an_attempt_of_a_retried_job_counts_too(world: World) -> None:
    world.store.keep_budgets("configuration", {"acct": FIVE}, world.now)
    submit(world, "a")
    spend(world, world.take(), 3.0, Failed(reason="exit 1"))
    world.wait(9)
    spend(world, world.take(), 3.0)
    assert balance(world, "acct").spent.microdollars == 6_000_000


@pytest.mark.parametrize("scope", ["", "a\0b", "\ud800"])
def test_what_is_no_scope_has_no_budget(world: World, scope: str) -> None:
    with pytest.raises(BadInput, match="is no scope"):
        world.store.keep_budgets("configuration", {scope: FIVE}, world.now)
    assert world.store.balances(world.now) == []


def test_books_that_have_lost_money_are_made_anew_from_the_attempts(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    world = World(store)
    world.enter()
    submit(world, "a", "c", "d")
    submit(world, "x", batch="other")
    for usd in (0.5, 0.25, None, 1.0):
        spend(world, world.take(), usd, tokens=3)
    whole, batches = store.spent(), store.batches()
    for statement in ("DELETE FROM spent WHERE batch = 1", "UPDATE spent SET microdollars = 7 WHERE batch = 1"):
        store._file._db.execute(statement)
        faults = [one for one in books(tmp_path / "t.db", world.now).faults if one.kind == "money"]
        assert ["tell of $0.750000 and 6" in one.said for one in faults] == [True]
        mend(tmp_path / "t.db", faults, world.now, "ann")
        assert store.spent() == whole
        assert store.spent(batch=batches[1].id).microdollars == 1_000_000
        audited(store)
    store.close()
