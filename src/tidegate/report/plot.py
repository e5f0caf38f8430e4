"""Draws plots as SVG that stretches to any width; what is to be read stands beside it as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Final

from tidegate.night import Picture
from tidegate.night.closings import Closing
from tidegate.night.steps import HELD, OPENING, WORKING, Cause, Step

WIDE: Final = 1000  # units of a plot, whatever its width on the page
HIGH: Final = 120
STEPS: Final = (1, 2, 5, 10, 15, 30, 60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)  # seconds
MARKS: Final = 6  # times on an axis, at most
COLUMNS: Final = 800  # columns to which a long night is gathered

Mark = tuple[float, str]


class Scale:
    """Places on a plot for instants of a night."""

    def __init__(self, begin: datetime, end: datetime) -> None:
        self.begin = begin
        self.seconds = max((end - begin).total_seconds(), 1.0)

    def x(self, at: datetime) -> float:
        """The place of an instant, 0 to WIDE."""
        return round(min(max((at - self.begin).total_seconds() / self.seconds, 0.0), 1.0) * WIDE, 1)

    def marks(self, zone: tzinfo) -> Iterator[Mark]:
        """Round local times with their places, in percent."""
        step = next((one for one in STEPS if self.seconds / one <= MARKS), -(-self.seconds // MARKS // 86400) * 86400)
        local = self.begin.astimezone(zone)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        after = (local - midnight).total_seconds()
        at = midnight + timedelta(seconds=-(-after // step) * step)
        form = "%H:%M:%S" if step < 60 else "%H:%M" if step < 86400 else "%d %b"
        while at <= local + timedelta(seconds=self.seconds):
            yield self.x(at) / 10, at.strftime(form)
            at += timedelta(seconds=step)


def running(picture: Picture, scale: Scale) -> str:
    """How many attempts ran, as an area; where the gate was shut it is shaded."""
    most = peak(picture.steps)
    shades = [_rect(scale, one.shut_at, _shut_until(one, picture), HIGH, "shut") for one in picture.closings]
    return _svg(HIGH, [*_once(shades), _area(picture.steps, scale, picture.end, most)], "Attempts that ran, over time")


def peak(steps: Sequence[Step]) -> int:
    """The most attempts that ran at once."""
    return max((step.working for step in steps), default=0)


def gate(closings: Sequence[Closing], picture: Picture, scale: Scale, colours: Mapping[Cause, str]) -> str:
    """When one scope was shut, and when it opened carefully, as a bar; in the colour of what was held by it."""
    bars = []
    for one in closings:
        shut, what = _shut_until(one, picture), (one.scope, one.origin.value, one.window.value)
        bars.append(_rect(scale, one.shut_at, shut, 10, colours.get(Cause(HELD, *what), "bar")))
        if one.reopened_at is not None:
            kind = colours.get(Cause(OPENING, *what), "ramp")
            bars.append(_rect(scale, shut, one.opened_at or picture.end, 10, kind))
    return _svg(10, bars, "When it was shut")


def spent(seconds: Mapping[Cause, float], colours: Mapping[Cause, str]) -> str:
    """What the night was spent on, as one bar."""
    whole, at, bars = sum(seconds.values()) or 1.0, 0.0, []
    for cause, length in seconds.items():
        wide = length / whole * WIDE
        bars.append(f'<rect class="{colours[cause]}" x="{at:.1f}" y="0" width="{wide:.1f}" height="10"/>')
        at += wide
    return _svg(10, bars, "Where the night went")


def stacked(picture: Picture, scale: Scale, colours: Mapping[Cause, str]) -> str:
    """How many jobs did what, over time, on top of one another."""
    found = list(columns(picture.steps, scale, picture.end))
    most = max((sum(jobs.values()) for _, _, jobs in found), default=0) or 1
    floor = [0.0] * len(found)
    areas = []
    for cause, colour in colours.items():
        tops = [below + jobs.get(cause, 0) for below, (_, _, jobs) in zip(floor, found, strict=True)]
        if tops != floor:
            areas.append(f'<path class="{colour}" d="{_band(found, floor, tops, HIGH / most)}"/>')
        floor = tops
    return _svg(HIGH, areas, "What the jobs did, over time")


def _shut_until(one: Closing, picture: Picture) -> datetime:
    return one.reopened_at or picture.end


def _svg(high: int, inside: Sequence[str], title: str) -> str:
    head = f'<svg viewBox="0 0 {WIDE} {high}" preserveAspectRatio="none" role="img" aria-label="{title}">'
    return f"{head}{''.join(inside)}</svg>"


def _rect(scale: Scale, begin: datetime, end: datetime, high: int, kind: str) -> str:
    left = scale.x(begin)
    wide = max(scale.x(end) - left, 2.0)  # or nobody would see it
    return f'<rect class="{kind}" x="{left}" y="0" width="{wide:.1f}" height="{high}"/>'


def _once(rects: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(rects))


Column = tuple[float, float, Mapping[Cause, int]]


def columns(steps: Sequence[Step], scale: Scale, end: datetime) -> Iterator[Column]:
    """From where to where so many jobs did what; of many steps in one column of a plot the busiest counts."""
    edges = [*(scale.x(step.at) for step in steps), scale.x(end)]
    kept: Column | None = None
    for place, step in enumerate(steps):
        left, right = edges[place], edges[place + 1]
        if kept is not None and right - kept[0] <= WIDE / COLUMNS:
            busier = kept[2] if kept[2].get(WORKING, 0) >= step.working else step.jobs
            kept = (kept[0], right, busier)
            continue
        if kept is not None:
            yield kept
        kept = (left, right, step.jobs)
    if kept is not None:
        yield kept


def _area(steps: Sequence[Step], scale: Scale, end: datetime, most: int) -> str:
    found = list(columns(steps, scale, end))
    tops = [float(jobs.get(WORKING, 0)) for _, _, jobs in found]
    return f'<path class="c-working" d="{_band(found, [0.0] * len(tops), tops, HIGH / (most or 1))}"/>'


def _band(stairs: Sequence[Column], floor: Sequence[float], tops: Sequence[float], unit: float) -> str:
    """The outline of what lies between two stairs."""
    over = [f"{x:.1f} {HIGH - top * unit:.1f}" for (a, b, _), top in zip(stairs, tops, strict=True) for x in (a, b)]
    under = [f"{x:.1f} {HIGH - low * unit:.1f}" for (a, b, _), low in zip(stairs, floor, strict=True) for x in (a, b)]
    return f"M{' L'.join([*over, *reversed(under)])} Z" if over else ""
