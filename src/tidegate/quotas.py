"""How fast an account's windows are used up, by what was told of them and what its jobs have drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from tidegate.ahead import Quota
from tidegate.model import LENGTHS, Meter, Reading, Reserve, Tide
from tidegate.prospect import Lap
from tidegate.reserve import least
from tidegate.windows import point

FLOORED: Final = 0.005  # by which what is told is less in the mean: hundredths are floored
DOUBT, COARSE = 0.06, 0.012  # how far the capacity of one window is from that of others, and a reading of it from true


def quotas(
    meters: Iterable[Meter],
    tides: Iterable[Tide],
    laps: Iterable[Lap],
    now: datetime,
    *,
    kept: Sequence[Reserve] = (),
    readings: Sequence[Reading] = (),
) -> list[Quota]:
    """The windows of one account of which enough is known; all else that is said is of that account, too.

    `readings`, in order, tell what others had used of a window before we drew on it.
    """
    known = [lap for lap in laps if lap.drawn > 0 and lap.spent > 0]
    if not known:
        return []
    per_second = math.fsum(lap.drawn for lap in known) / math.fsum(lap.spent for lap in known)
    past = list(tides)
    found = (
        _quota(meter, _seen(meter, past, readings), per_second, now, least(kept, meter.window)) for meter in meters
    )
    return [one for one in found if one is not None]


def _seen(meter: Meter, tides: Sequence[Tide], readings: Sequence[Reading]) -> list[tuple[float, float]]:
    """How much was drawn while how much was used, of a window and of those before it that tell anything."""
    told = [one for one in readings if one.window is meter.window]
    points = [
        point(meter, next((one for one in told if one.at >= meter.begins_at), None)),
        *(
            point(tide, next((one for one in told if tide.began_at <= one.at < tide.ended_at), None))
            for tide in tides
            if tide.window is meter.window
        ),
    ]
    return [one for one in points if one is not None]


def _quota(
    meter: Meter, seen: Sequence[tuple[float, float]], per_second: float, now: datetime, most: float
) -> Quota | None:
    length = LENGTHS.get(meter.window)
    whole = math.fsum(used for _, used in seen)
    if length is None or not whole:
        return None
    capacity = math.fsum(drawn for drawn, _ in seen) / whole
    over, ends = meter.is_over(now), meter.ends_at
    return Quota(
        name=meter.window.value,
        used=0.0 if over else _used(meter, capacity),
        ends=None if over or ends is None else (ends - now).total_seconds(),
        length=length.total_seconds(),
        rate=per_second / capacity,
        doubt=math.hypot(DOUBT, COARSE / whole),
        most=most,
    )


def _used(meter: Meter, capacity: float) -> float:
    """What is used by now, of which a part may not have been read yet."""
    if meter.refused_at is not None:
        return 1.0
    told = 0.0 if meter.used is None else meter.used + FLOORED
    return min(told + (meter.drawn - meter.drawn_at_reading) / capacity, 1.0)
