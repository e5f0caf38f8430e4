"""Tells the metrics across batches: `tidegate report --history`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from tidegate import budget
from tidegate.look import plain
from tidegate.look.desk import Desk
from tidegate.look.words import Page, cells, clean, page, sizes, span
from tidegate.night import history
from tidegate.night.history import ENDS, History, Record, Striking

ACCOUNTS = ("ACCOUNT", "DAYS", "LAUNCHES", "CUT OFF", "RECOVERED", "RESUMED", "RETRIES", "JOBS", "COST")
WINDOWS = ("GATE", "WINDOW", "CLOSINGS", "A DAY", "PER 100 LAUNCHES", "MEDIAN WAIT")


def tell(desk: Desk | None, args: Namespace) -> Iterator[str]:
    """The lines of the history, or its one JSON object; None where nothing was ever submitted."""
    told = _history(desk, args.since) if desk is not None else History(since="", records=(), strikings=())
    if args.format == "html":
        yield _page(told)
    else:
        yield from [plain.line(_form(told))] if args.json else _lines(told, desk.page if desk is not None else page())


def _history(desk: Desk, since: float | None) -> History:
    now, store = desk.page.now, desk.store
    first = (now - timedelta(seconds=since)).date().isoformat() if since is not None else ""
    with store.moment():
        return history.of(store.past(), store.shuts(), store.spent_by_day(), now, first)


def _lines(told: History, on: Page) -> Iterator[str]:
    if not told.records:
        yield "nothing was launched here" + (f" since {told.since}" if told.since else "")
        return
    yield from _table([ACCOUNTS, *map(_account, told.records)], on)
    yield ""
    if told.strikings:
        yield from _table([WINDOWS, *map(_window, told.strikings)], on)
    else:
        yield "no limit has shut a gate"


def _table(rows: Sequence[tuple[str, ...]], on: Page) -> Iterator[str]:
    columns = sizes(rows, on.width, (0,))
    for row in rows:
        yield from on.wrap(cells(row, columns, on.width), hang=4)


def _account(one: Record) -> tuple[str, ...]:
    recovery = "-" if one.recovery is None else f"{one.recovered} ({one.recovery:.0%})"
    jobs = ", ".join(f"{number} {state}" for state, number in one.jobs.items() if number) or "-"
    cost = f"{budget.money(one.spent)}{budget.unknown(one.spent)}" if one.spent.usd_told else "unknown"
    numbers = (one.days, one.launches, one.cut_off)
    return (clean(one.account), *map(str, numbers), recovery, str(one.resumed), str(one.retries), jobs, cost)


def _window(one: Striking) -> tuple[str, ...]:
    rates = ["-" if rate is None else f"{rate:.1f}" for rate in (one.per_day, one.per_100)]
    wait = "-" if one.median_wait is None else span(one.median_wait)
    return (clean(one.scope), clean(one.window), str(one.closings), *rates, wait)


# --- as HTML ---


def _page(told: History) -> str:
    from tidegate.report.page import plainly, whole  # noqa: PLC0415 - the others need no styles

    since = f"since {told.since}" if told.since else "of all that is known"
    body = f'<p class="dim">{plainly(since)}, days in UTC</p><section><h2>Accounts</h2>'
    body += _rows(ACCOUNTS, map(_account, told.records)) + "</section><section><h2>Limits</h2>"
    return whole("History", body + _rows(WINDOWS, map(_window, told.strikings)) + "</section>").rstrip()


def _rows(head: Sequence[str], rows: Iterable[tuple[str, ...]]) -> str:
    from tidegate.report.page import plainly  # noqa: PLC0415

    heads = "".join(f"<th>{plainly(one.lower())}" for one in head)
    lines = "".join(f"<tr>{''.join(f'<td>{plainly(cell)}' for cell in row)}</tr>" for row in rows)
    table = f"<thead><tr>{heads}</tr></thead><tbody>{lines or '<tr><td>none</tr>'}</tbody>"
    return f'<div class="scroll"><table>{table}</table></div>'


# --- as JSON ---


def _form(told: History) -> plain.Form:
    return {
        "since": told.since or None,
        "accounts": [_account_form(one) for one in told.records],
        "limits": [_window_form(one) for one in told.strikings],
    }


def _account_form(one: Record) -> plain.Form:
    spent = one.spent
    return {
        "account": one.account,
        "days": one.days,
        "launches": one.launches,
        "limited": one.limited,
        "cut_off": one.cut_off,
        "recovered": one.recovered,
        "recovery_rate": one.recovery,
        "resumed": one.resumed,
        "retries": one.retries,
        "jobs": {state: one.jobs[state] for state in ENDS},
        "cost_usd": spent.microdollars / budget.MICRO if spent.usd_told else None,
        "cost_unknown_of": spent.attempts - spent.usd_told,
        "tokens": spent.tokens if spent.tokens_told else None,
    }


def _window_form(one: Striking) -> plain.Form:
    return {
        "scope": one.scope,
        "window": one.window,
        "closings": one.closings,
        "per_day": one.per_day,
        "per_100_launches": one.per_100,
        "median_wait_seconds": one.median_wait,
    }
