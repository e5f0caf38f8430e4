"""How fast an account's windows are used up, by what was told of them and what its jobs have drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from tidegate.ahead import Quota
from tidegate.model import LENGTHS, Meter, Reserve, Tide
from tidegate.prospect import Lap
from tidegate.reserve import least

LEAST: Final = 0.03  # of a window: from less nothing is learned
FLOORED: Final = 0.005  # by which what is told is less in the mean: hundredths are floored
DOUBT, COARSE = 0.06, 0.012  # how far the capacity of one window is from that of others, and a reading of it from true


def quotas(
    meters: Iterable[Meter], tides: Iterable[Tide], laps: Iterable[Lap], now: datetime, kept: Sequence[Reserve] = ()
) -> list[Quota]:
    """The windows of one account of which enough is known; `tides`, `laps` and what is `kept` are its own, too."""
    known = [lap for lap in laps if lap.drawn > 0 and lap.spent > 0]
    if not known:
        return []
    per_second = math.fsum(lap.drawn for lap in known) / math.fsum(lap.spent for lap in known)
    past = list(tides)
    found = (
        _quota(meter, [one for one in past if one.window is meter.window], per_second, now, least(kept, meter.window))
        for meter in meters
    )
    return [one for one in found if one is not None]


def _quota(meter: Meter, tides: Sequence[Tide], per_second: float, now: datetime, most: float) -> Quota | None:
    length = LENGTHS.get(meter.window)
    seen = [*_seen(meter), *(pair for tide in tides for pair in _seen(tide))]
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


def _seen(one: Meter | Tide) -> Iterator[tuple[float, float]]:
    """How much was drawn while how much of a window was used, where that tells anything."""
    refused = one.refused if isinstance(one, Tide) else one.refused_at is not None
    drawn, used = (one.drawn, 1.0) if refused else (one.drawn_at_reading, (one.used or 0.0) + FLOORED)
    if drawn > 0 and used >= LEAST:
        yield drawn, used


def _used(meter: Meter, capacity: float) -> float:
    """What is used by now, of which a part may not have been read yet."""
    if meter.refused_at is not None:
        return 1.0
    told = 0.0 if meter.used is None else meter.used + FLOORED
    return min(told + (meter.drawn - meter.drawn_at_reading) / capacity, 1.0)
