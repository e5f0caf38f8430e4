"""Keeps the books of what attempts have used, and heeds what may be spent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace

from tidegate import budget, clock, stages
from tidegate.errors import BadInput
from tidegate.model import Attempt, Balance, Budget, Exceed, Hold, Job, Origin, Spent, Window
from tidegate.stores import ends
from tidegate.stores.rows import Kept, Rows, Ties, about, is_text, iso_or_none, told

BATCH = "batch:"
EVERYTHING = "*"
Part = tuple[int | None, str | None]  # a batch and an account, None for any


def count(rows: Rows, job: Job, attempt: Attempt, ties: Ties, now: datetime) -> None:
    """Count what an attempt has used that has just ended, and act where a budget is spent; inside a transaction."""
    agent = stages.spec_of(job).agent
    if not (ties.budgeted or budget.is_counted(attempt.usage, agent)):
        return
    rows.add_spent(budget.day(now, clock.zone()), job.batch, job.account, budget.spent_by(attempt, agent))
    if ties.budgeted:
        scopes = (EVERYTHING, job.account, f"{BATCH}{job.batch_name}")
        _heed(rows, [one for one in rows.budgets() if one.scope in scopes], now)


def keep(rows: Rows, source: str, said: Mapping[str, Budget], now: datetime) -> None:
    """Write down all that a source says of budgets; one that it says as before changes nothing."""
    before = {one.scope: one for one in rows.budgets() if one.source == source}
    for scope in sorted({*said, *before}):
        known, new = before.get(scope), said.get(scope)
        if known is not None and known.budget == new:
            continue
        if new is None:
            rows.drop_budget(scope, source)
        else:
            rows.put_budget(Kept(scope, source, new))
        _settle(rows, scope, now)


def check(scopes: Iterable[str]) -> None:
    """Raises BadInput for what is no scope."""
    for scope in scopes:
        if not scope or "\0" in scope or not is_text(scope):
            raise BadInput(f"budget: {scope!r} is no scope")


def balances(rows: Rows, now: datetime) -> list[Balance]:
    """Every budget, and what was spent of it."""
    return [
        Balance(
            scope=one.scope,
            source=one.source,
            budget=one.budget,
            spent=_spent(rows, one.scope, None),
            today=_spent(rows, one.scope, budget.day(now, clock.zone())),
        )
        for one in rows.budgets()
    ]


def _settle(rows: Rows, scope: str, now: datetime) -> None:
    """After a budget of a scope was changed: its holds go where nothing asks for them any more."""
    mine = [one for one in rows.budgets() if one.scope == scope]
    _heed(rows, mine, now)
    wanted = {window for one in mine for window, words, _ in _spent_of(rows, one, now) if words and _stops(one)}
    for hold in rows.holds_on(scope):
        if hold.origin is Origin.BUDGET and hold.window not in wanted:
            rows.drop_hold(hold)
            rows.event(now, "gate lifted", scope=scope, data={**about(hold), "by": "budget"})


def _stops(one: Kept) -> bool:
    return one.budget.on_exceed is not Exceed.WARN


def _heed(rows: Rows, budgets: Sequence[Kept], now: datetime) -> None:
    """Act once for each of these budgets that is spent: a person who lifts its hold has decided."""
    today = budget.day(now, clock.zone())
    for one in budgets:
        for window, words, until in _spent_of(rows, one, now):
            is_known = one.reached if window is Window.SPEND else one.reached_on == today
            if words and not is_known:
                one = one._replace(reached=True) if window is Window.SPEND else one._replace(reached_on=today)  # noqa: PLW2901
                rows.put_budget(one)
                _act(rows, one, budget.hold_for(one.scope, words, now, until), now)


def _spent_of(rows: Rows, one: Kept, now: datetime) -> Iterator[tuple[Window, str, datetime | None]]:
    """The whole and the day of a budget: in words what is spent of it, "" where there is some left, and until when."""
    zone = clock.zone()
    if one.budget.whole != budget.ANY:
        yield Window.SPEND, budget.reached(one.budget.whole, _spent(rows, one.scope, None)), None
    if one.budget.day != budget.ANY:
        spent = _spent(rows, one.scope, budget.day(now, zone))
        yield Window.DAY, budget.reached(one.budget.day, spent), budget.next_day(now, zone)


def _spent(rows: Rows, scope: str, day: str | None) -> Spent:
    batch, account = _part(rows, scope)
    return rows.spent(day=day, batch=batch, account=account)


def _part(rows: Rows, scope: str) -> Part:
    """The batch and the account of a scope; a batch that is not there yet has spent nothing."""
    if scope == EVERYTHING:
        return None, None
    if scope.startswith(BATCH):
        return rows.batch_named(scope.removeprefix(BATCH)) or -1, None
    return None, scope


def _act(rows: Rows, one: Kept, hold: Hold, now: datetime) -> None:
    data = {"window": hold.window.value, "reason": hold.reason, "on_exceed": one.budget.on_exceed.value}
    rows.event(now, "budget spent", scope=one.scope, data={**data, "until": iso_or_none(hold.until), "by": one.source})
    if not _stops(one):
        return
    prior = rows.hold(hold.scope, hold.origin, hold.window)
    if prior is None or (prior.reason, prior.until) != (hold.reason, hold.until):
        seq = rows.event(now, "gate moved" if prior else "gate shut", scope=hold.scope, data=told(hold))
        rows.put_hold(replace(hold, epoch=seq))
    if one.budget.on_exceed is Exceed.CANCEL:
        batch, account = _part(rows, one.scope)
        by = f"the budget of {one.scope}: {hold.reason.removeprefix(budget.SPENT)}"
        ends.cancel_all(rows, rows.unfinished(batch=batch, account=account), now, by)
