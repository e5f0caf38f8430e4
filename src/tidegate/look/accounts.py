"""The verb `accounts`: what runs and waits in each, what holds it, who answered when, what its windows are like."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from tidegate import reserve
from tidegate.look import find, plain, windows
from tidegate.look.desk import Desk, opened, refuse_named
from tidegate.look.why import hold_words, window_words
from tidegate.look.words import Page, cells, clean, sizes
from tidegate.model import Account, Held, Hold, Meter, Reserve, State, Window

HEADINGS = ("ACCOUNT", "RUNNING", "QUEUED", "ANSWERED", "GATE")
NAMES = (0,)  # the columns that shrink where the page is narrow


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """All that is told about one account; `answered` is the latest proof that its provider answers."""

    account: Account
    counts: Mapping[State, int]
    holds: Sequence[Hold]
    answered: datetime | None
    hours: str
    reserves: Sequence[Reserve]
    held: Held | None
    meters: Sequence[Meter]


def accounts(args: Namespace) -> int:
    """Print the accounts; 0. Raises BadInput for one that is unknown."""
    with opened(args) as desk:
        if desk is None:
            refuse_named(args, account=args.accounts[:1])
            return 0
        names = [find.account(desk.store, name) for name in args.accounts] or find.accounts(desk.store)
        sheets = _sheets(desk, names)
        for line in map(plain.line, map(_form, sheets)) if args.json else _lines(sheets, desk.page):
            print(line)
    return 0


def _sheets(desk: Desk, names: Sequence[str]) -> list[Sheet]:
    store, seen, hours, answered = desk.store, desk.picture(), desk.store.hours(), desk.store.answered_at()
    reserves, meters = store.reserves(), store.meters()
    held = {one.account: one for one in store.held() if one.until is None or one.until > seen.now}
    return [
        Sheet(
            account=account,
            counts=store.counts(account=account.name),
            holds=[hold for hold in seen.holds if hold.scope.partition("/")[0] == account.name],
            answered=answered.get(account.name),
            hours=hours.get(account.name, ""),
            reserves=[one for one in reserves if one.account == account.name],
            held=held.get(account.name),
            meters=[one for one in meters if one.scope.partition("/")[0] == account.name],
        )
        for account in store.accounts()
        if account.name in names
    ]


def _form(sheet: Sheet) -> plain.Form:
    account = sheet.account
    return {
        "account": account.name,
        "concurrency": account.max_running,
        "cautious": account.cautious,
        "admission": account.admission.value,
        **{state.value: sheet.counts.get(state, 0) for state in State},
        "answered_at": plain.iso(sheet.answered),
        "hours": sheet.hours or None,
        "stop_at": {window.value: round(part * 100) for window, part in _stops(sheet)} or None,
        "held": plain.held_back(sheet.held) if sheet.held else None,
        "holds": [plain.hold(hold) for hold in sheet.holds],
        "windows": [windows.form(meter) for meter in sheet.meters],
    }


def _lines(sheets: Sequence[Sheet], page: Page) -> Iterator[str]:
    if not sheets:
        return
    rows = [HEADINGS, *(_row(sheet, page) for sheet in sheets)]
    columns = sizes(rows, page.width, NAMES)
    for row, meters in zip(rows, [(), *(sheet.meters for sheet in sheets)], strict=True):
        yield from page.wrap(cells(row, columns, page.width), hang=sum(columns) + 2 * len(columns))
        for meter in meters:
            yield from page.wrap(windows.line(meter, page), indent=2)


def _row(sheet: Sheet, page: Page) -> tuple[str, ...]:
    most, running = sheet.account.max_running, sheet.counts.get(State.RUNNING, 0)
    return (
        clean(sheet.account.name),
        f"{running} of {most}" if most is not None else str(running),
        str(sheet.counts.get(State.QUEUED, 0)),
        f"{page.since(sheet.answered)} ago" if sheet.answered else "-",
        "; ".join([*_gates(sheet, page), *_bounds(sheet)]),
    )


def _bounds(sheet: Sheet) -> Iterator[str]:
    """When, and up to where, its jobs may start."""
    if sheet.hours:
        yield f"hours {clean(sheet.hours)}"
    if stops := [f"{window} {part:.0%}" for window, part in _stops(sheet)]:
        yield f"stop_at {', '.join(stops)}"


def _stops(sheet: Sheet) -> list[tuple[Window, float]]:
    """How much of each window may be used, of those of which anybody says it."""
    said = {one.window for one in sheet.reserves}
    return [(window, reserve.least(sheet.reserves, window)) for window in Window if window in said]


def _gates(sheet: Sheet, page: Page) -> Iterator[str]:
    if not sheet.holds:
        yield "open"
    if sheet.held is not None:
        would = "would be held back: " if sheet.held.observed else ""
        yield f"{would}the next job {window_words(sheet.held, None, page)}"
    for hold in sheet.holds:
        yield _gate(hold, sheet.account.name, page)


def _gate(hold: Hold, account: str, page: Page) -> str:
    """What a hold does; of one model of the account with its name."""
    model = hold.scope.removeprefix(account).removeprefix("/")
    return (f"{clean(model)} " if model else "") + hold_words(hold, page)
