"""Tells what is known of the windows of an account: how much of each is used, and when it ends."""

from __future__ import annotations

from collections.abc import Iterable

from tidegate.look import plain
from tidegate.look.words import Page, clean
from tidegate.model import Meter


def line(meter: Meter, page: Page) -> str:
    """A window in one line: "5h: 63 % used, resets 16:00:00 (in 2 h 5 min), read 2 min ago"."""
    model = meter.scope.partition("/")[2]
    return f"{meter.window.value}{f' of {clean(model)}' if model else ''}: {', '.join(_parts(meter, page))}"


def _parts(meter: Meter, page: Page) -> Iterable[str]:
    if meter.is_over(page.now):
        yield "over: the next one begins with the next use"
        if meter.used is not None:
            yield f"the last was {_share(meter)} used when it was read {page.since(meter.read_at or page.now)} ago"
        return
    if meter.refused_at is not None:
        yield f"used up since {page.at(meter.refused_at)}"
    elif meter.used is not None:
        yield f"{_share(meter)} used"
    else:
        yield f"begun {page.since(meter.begins_at)} ago, not read yet"
    if meter.resets_at is not None:
        yield f"resets {page.until(meter.resets_at)}"
    elif meter.ends_at is not None:
        yield f"ends by {page.until(meter.ends_at)} if it is anchored"
    if meter.read_at is not None and meter.refused_at is None:
        yield f"read {page.since(meter.read_at)} ago"


def _share(meter: Meter) -> str:
    return f"{100 * (meter.used or 0.0):.0f} %"


def form(meter: Meter) -> plain.Form:
    """A window as JSON says it; `used` is a share, 0..1, and `drawn` are token equivalents."""
    return {
        "scope": meter.scope,
        "window": meter.window.value,
        "begins_at": plain.iso(meter.begins_at),
        "resets_at": plain.iso(meter.resets_at),
        "ends_at": plain.iso(meter.ends_at),
        "used": meter.used,
        "read_at": plain.iso(meter.read_at),
        "refused_at": plain.iso(meter.refused_at),
        "drawn": round(meter.drawn),
        "drawn_at_reading": round(meter.drawn_at_reading),
    }
