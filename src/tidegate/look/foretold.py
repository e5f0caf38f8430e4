"""Tells what was foretold of a batch's end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from tidegate.look import plain
from tidegate.look.words import Page, clean, counted
from tidegate.prospect import Forecast, Week

VOID = timedelta(hours=2)  # after which a forecast that was not renewed says nothing: nobody has looked


def is_fresh(one: Forecast | None, now: datetime) -> bool:
    """Whether a forecast is to be told at all."""
    return one is not None and timedelta(0) <= now - one.at < VOID


def lines(one: Forecast, page: Page) -> Iterator[str]:
    """When a batch will be done, and what its weeks will be like: one line, or two."""
    if one.p50 is None or one.p90 is None:
        yield f"nobody knows when it is done: {clean(one.why)}"
        return
    if one.p50 <= page.now:
        said = f"was to be done by about {clock(one.p50, page)}"
    else:
        said = f"done by about {clock(one.p50, page)}"
    latest = f", {clock(one.p90, page)} at the latest nine times in ten" if one.p90 > page.now else ""
    windows = f": {counted(one.windows, 'more window')}" if one.windows else ""
    yield said + latest + windows + (f" ({clean(one.why)})" if one.why else "")
    yield from (_week(name, week, page) for name, week in one.weeks.items())


def in_the_end(forecasts: Sequence[Forecast], page: Page) -> str:
    """What was foretold first of a batch that has ended now, and when that was; "" where no end was named."""
    first = next((one for one in forecasts if one.p50 is not None and one.p90 is not None), None)
    if first is None or first.p50 is None or first.p90 is None:
        return ""
    named = f"{clock(first.p50, page)} (p90 {clock(first.p90, page)})"
    return f"forecast at {clock(first.at, page)}: {named}; it ended at {clock(page.now, page)}"


def _week(account: str, week: Week, page: Page) -> str:
    used = f"the week of {clean(account)}: {week.now:.0%} used now"
    if week.full is not None:
        return f"{used}, all of it by {clock(week.full, page)} at this rate"
    return f"{used}, about {week.then:.0%} then"


def clock(instant: datetime, page: Page) -> str:
    """A local time to the minute: nobody knows it better; with its weekday, or date, where it is not today's."""
    local, today = instant.astimezone(page.zone), page.now.astimezone(page.zone).date()
    days = abs((local.date() - today).days)
    return f"{local:%H:%M}" if days == 0 else f"{local:%a %H:%M}" if days < 7 else f"{local:%Y-%m-%d %H:%M}"


def form(one: Forecast | None) -> plain.Form | None:
    """A forecast as JSON says it."""
    if one is None:
        return None
    return {
        "at": plain.iso(one.at),
        "left": one.left,
        "slots": one.slots,
        "p50": plain.iso(one.p50),
        "p90": plain.iso(one.p90),
        "windows": one.windows,
        "weeks": {
            name: {"used_now": week.now, "used_then": week.then, "full_at": plain.iso(week.full)}
            for name, week in one.weeks.items()
        },
        "why": one.why or None,
    }
