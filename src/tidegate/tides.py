"""What becomes of the meters of an account's windows: by what is read, drawn and refused.

A window is anchored: it begins with the first use after the last one has ended. So a meter turns over when something is
drawn after its end, or when somebody tells of another window; time alone changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from tidegate.model import LENGTHS, Cost, Meter, Reading, Tide, Window

NEAR = timedelta(seconds=90)  # ends that lie no further apart are one: some are floored to the minute
FALL = 0.05  # of a window: less is told by answers that were asked for earlier, and come later
BUCKET = timedelta(minutes=5)  # what is drawn is kept by pieces of time so long
KEPT = timedelta(days=35)  # for so long, as are the readings: longer than any window
LEAST = 1e-9


class Turned(NamedTuple):
    """A meter, and the window before it where that has ended by this."""

    meter: Meter
    tide: Tide | None = None


def opened(scope: str, window: Window, at: datetime, resets_at: datetime | None = None) -> Meter:
    """The meter of a window that is open at an instant, and of which nothing else is known."""
    length = LENGTHS.get(window)
    begins = at if resets_at is None or length is None else min(resets_at - length, at)
    return Meter(scope=scope, window=window, begins_at=begins, resets_at=resets_at)


def ended(meter: Meter, at: datetime) -> Tide:
    """The window of a meter, over at an instant."""
    return Tide(
        scope=meter.scope,
        window=meter.window,
        began_at=meter.begins_at,
        ended_at=max(at, meter.begins_at),
        used=meter.used,
        drawn=meter.drawn,
        drawn_at_reading=meter.drawn_at_reading,
        refused=meter.refused_at is not None,
    )


# --- what is read ------------------------------------------------------------------------------


def read(meter: Meter | None, reading: Reading, now: datetime) -> Turned | None:
    """The meter after a reading, of which one hears now; None where that is old news.

    Readings come from several agents, and may come late: the window that ends later is the later one, and within one
    window use does not fall. By much it falls only where somebody gave the window back, or where it slides.
    """
    if reading.resets_at is not None and reading.resets_at <= reading.at:
        return None  # of a window that is over, told late
    if meter is None or _is_ahead(meter, now):
        return Turned(_read(opened(reading.scope, reading.window, reading.at, reading.resets_at), reading))
    if reading.at < meter.begins_at - NEAR:
        return None
    if reading.resets_at is None or _is_near(meter.resets_at, reading.resets_at):
        return _read_within(meter, reading)
    began = _began(meter, reading, reading.resets_at)
    if meter.ends_at is None or began >= meter.ends_at - NEAR:
        return _turned(meter, meter.ends_at or began, reading)
    if reading.resets_at <= meter.begins_at + NEAR or _is_late(meter, reading):
        return None
    if meter.resets_at is not None and _has_fallen(meter, reading) and reading.resets_at > meter.resets_at:
        over = meter.resets_at if meter.is_over(reading.at) else max(began, meter.begins_at)
        return _turned(meter, over, reading)
    moved = replace(meter, begins_at=began, resets_at=reading.resets_at)  # it was not known rightly
    return Turned(_read(moved, reading))


def _began(meter: Meter, reading: Reading, resets_at: datetime) -> datetime:
    """When the window began that ends then; where its length is not known, not before it was told of."""
    length = LENGTHS.get(meter.window)
    return reading.at if length is None else min(resets_at - length, reading.at)


def _read_within(meter: Meter, reading: Reading) -> Turned | None:
    """The same window, or one of which nobody says when it ends."""
    if meter.is_over(reading.at):
        return _turned(meter, meter.ends_at or reading.at, reading)
    late = _is_late(meter, reading)
    if meter.used is not None and reading.used <= meter.used:
        if late:
            return None
        if not _has_fallen(meter, reading):  # it is as it was
            drawn = meter.drawn if reading.used > meter.used - LEAST else meter.drawn_at_reading
            resets_at = meter.resets_at or reading.resets_at
            return Turned(replace(meter, read_at=reading.at, resets_at=resets_at, drawn_at_reading=drawn))
    if late:  # it tells more, though of an earlier time
        return Turned(replace(meter, used=reading.used, drawn_at_reading=meter.drawn))
    return Turned(_read(replace(meter, resets_at=reading.resets_at or meter.resets_at), reading))


def _read(meter: Meter, reading: Reading) -> Meter:
    return replace(meter, used=reading.used, read_at=reading.at, drawn_at_reading=meter.drawn)


def _turned(meter: Meter, at: datetime, reading: Reading) -> Turned:
    fresh = opened(meter.scope, meter.window, reading.at, reading.resets_at)
    return Turned(_read(replace(fresh, begins_at=max(fresh.begins_at, at)), reading), ended(meter, at))


def _is_ahead(meter: Meter, now: datetime) -> bool:
    """Whether a window begins ahead: the clock was set back since."""
    return meter.begins_at > now + NEAR


def _is_near(known: datetime | None, told: datetime) -> bool:
    return known is not None and abs(known - told) <= NEAR


def _is_late(meter: Meter, reading: Reading) -> bool:
    return meter.read_at is not None and reading.at < meter.read_at


def _has_fallen(meter: Meter, reading: Reading) -> bool:
    return meter.used is not None and reading.used < meter.used - FALL


def is_news(meter: Meter, before: Meter | None) -> bool:
    """Whether what was read is worth a row of its own: a hundredth more, or less, or another end."""
    if before is None or before.used is None or before.begins_at != meter.begins_at:
        return True
    moved = meter.resets_at is not None and not _is_near(before.resets_at, meter.resets_at)
    return moved or (meter.used is not None and abs(meter.used - before.used) > 0.01 - LEAST)


# --- what is drawn, and refused ----------------------------------------------------------------


def drew(meter: Meter, tokens: float, at: datetime, began: datetime) -> Turned:
    """The meter after an attempt that began at an instant has drawn so much.

    What begins after a refusal, and is answered, draws on the next window: the last one has ended early.
    """
    tide = None
    if _is_ahead(meter, at):
        meter = replace(opened(meter.scope, meter.window, at), drawn=meter.drawn)
    elif meter.is_over(at):
        meter, tide = opened(meter.scope, meter.window, at), ended(meter, meter.ends_at or at)
    elif meter.refused_at is not None and began > meter.refused_at:
        meter, tide = opened(meter.scope, meter.window, at), ended(meter, at)
    return Turned(replace(meter, drawn=meter.drawn + tokens), tide)


def refused(meter: Meter | None, scope: str, window: Window, at: datetime, resets_at: datetime | None) -> Turned:
    """The meter after a refusal, which says that the window ends then.

    One that is over, and of which nothing was drawn since, has not ended yet, unless the refusal tells of a later one.
    """
    ahead = resets_at if resets_at is not None and resets_at > at else None
    if meter is None or _is_ahead(meter, at):
        return Turned(replace(opened(scope, window, at, ahead), refused_at=at))
    fresh, end = opened(scope, window, at, ahead), meter.ends_at
    if ahead is not None and end is not None and meter.is_over(at) and fresh.begins_at >= end - NEAR:
        return Turned(replace(fresh, refused_at=at), ended(meter, end))
    end = ahead if meter.resets_at is None or meter.is_over(at) else meter.resets_at
    return Turned(replace(meter, resets_at=end or meter.resets_at, refused_at=meter.refused_at or at))


def window_for(window: Window, at: datetime, resets_at: datetime | None) -> Window:
    """The window that a refusal is of, where it does not say which: by how far away its end is."""
    if window is not Window.UNKNOWN or resets_at is None or resets_at <= at:
        return window
    return Window.FIVE_HOURS if resets_at - at <= LENGTHS[Window.FIVE_HOURS] + NEAR else Window.UNKNOWN


def begun(draws: Iterable[datetime], window: Window, at: datetime) -> datetime:
    """When the present window must have begun if all use of it is ours, by when something was drawn, in order."""
    length, begins = LENGTHS[window], at
    end: datetime | None = None
    for drawn in draws:
        if end is None or drawn >= end:
            begins, end = drawn, drawn + length
    return begins if end is not None and end > at else at


def bucket(at: datetime) -> datetime:
    """The piece of time that an instant lies in."""
    return at - (at - at.min.replace(tzinfo=at.tzinfo)) % BUCKET


# --- what jobs cost ----------------------------------------------------------------------------


def cost(before: Cost, drawn: float, seconds: float) -> Cost:
    """What the jobs of a group have cost, with one more."""
    log = math.log(drawn)
    return replace(
        before,
        jobs=before.jobs + 1,
        logs=before.logs + log,
        squares=before.squares + log * log,
        drawn=before.drawn + drawn,
        seconds=before.seconds + seconds,
        rates=before.rates + drawn / max(seconds, 1.0),
    )
