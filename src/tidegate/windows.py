"""How much of an account's windows is left, in what its jobs draw: from readings, else from past refusals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import chain, repeat

from msgspec import Struct

from tidegate.model import LENGTHS, Meter, Reading, Tide, Window

STEP = 0.01  # of a window: what is told is floored to it
FADES = 0.6  # what a window tells of the worth of a draw, beside the next one
LITTLE = 0.02  # of a window: less tells nothing of that
DOUBT = 0.03  # of what was drawn since the last reading
NEXT = timedelta(minutes=20)  # which what is left of a window that slides is meant for
SLIDES = 0.03  # of a window that slides is left, or whoever takes each bit at once is cut off at the next moment
PIECE = 0.05  # of a window: by less it grows unevenly, for what is drawn is told late
ALIKE = 0.05  # where we draw as evenly as this, nobody can tell what others draw
REFUTED = 1.1  # windows: with so much drawn by what is believed, and no refusal, it is not so


class Left(Struct, frozen=True, kw_only=True):
    """What an account may draw in a window until that resets in `seconds`, give or take `spread`; `whole` is all of it.

    `kept` of that is left to the person whose account it is, and is not in `free`.

    `stale` is the age of what was told, in seconds; infinite where nobody has told of this window.
    """

    window: Window
    free: float
    spread: float
    whole: float
    seconds: float
    until: datetime | None = None
    stale: float = math.inf
    kept: float = 0.0

    @property
    def usable(self) -> float:
        """What of the whole window may be drawn in all."""
        return self.whole - self.kept


def left(
    meter: Meter, tides: Iterable[Tide], now: datetime, *, most: float = 1.0, firsts: Sequence[Reading | None] = ()
) -> Left | None:
    """What is left of a window, of which `most` may be used; None where nobody knows, and where it was refused.

    The gate alone knows when a window opens again that was refused. `tides` are those before it, the newest first;
    `firsts` what was told first of each of these windows, the present one first.
    """
    known: list[Meter | Tide] = [meter, *tides]
    value = worth(list(map(point, known, chain(firsts, repeat(None)))))
    if value is None:
        return None
    if meter.is_over(now):
        return _fresh(meter, most, value)
    if meter.refused_at is not None:
        return None
    unread = max(meter.drawn - meter.drawn_at_reading, 0.0) if meter.used is not None else meter.drawn
    used = unread * value + (0.0 if meter.used is None else meter.used + STEP / 2)
    if meter.used is None and used > REFUTED:
        return None
    end = meter.ends_at
    return Left(
        window=meter.window,
        free=(most - used) / value,
        spread=math.hypot(0.0 if meter.used is None else STEP / math.sqrt(12), DOUBT * unread * value) / value,
        whole=1.0 / value,
        seconds=math.inf if end is None else max((end - now).total_seconds(), 0.0),
        until=end,
        stale=_age(meter, now),
        kept=(1.0 - most) / value,
    )


def sliding(meter: Meter, draws: Sequence[tuple[datetime, float]], now: datetime, *, most: float = 1.0) -> Left | None:
    """The same of a window that slides, by what was drawn of it in as much time as it is long; None where nobody knows.

    What is drawn in the near future may be as much as returns by then. `draws` are in order. Whether a window slides is
    only guessed: however much of it is used, that is no reason to let nothing run.
    """
    length = LENGTHS.get(meter.window)
    if length is None or meter.used is None or meter.read_at is None:
        return None
    begin, seen = meter.read_at - length, now - length
    within = math.fsum(tokens for at, tokens in draws if begin <= at <= meter.read_at)
    if within <= 0 or meter.used < LITTLE or (meter.refused_at is not None and meter.refused_at >= meter.read_at):
        return None
    value = (meter.used + STEP / 2) / within
    returns = math.fsum(tokens for at, tokens in draws if begin <= at < seen + NEXT)
    unread = max(meter.drawn - meter.drawn_at_reading, 0.0)
    return Left(
        window=meter.window,
        free=(most - meter.used - STEP / 2 - SLIDES) / value - unread + returns,
        spread=math.hypot(STEP / math.sqrt(12), DOUBT * unread * value) / value,
        whole=1.0 / value,
        seconds=NEXT.total_seconds(),
        kept=(1.0 - most) / value,
    )


def _age(meter: Meter, now: datetime) -> float:
    """Of what was told; nobody has told of a window whose reset is not known: it may be over already."""
    if meter.read_at is None or meter.resets_at is None:
        return math.inf
    return max((now - meter.read_at).total_seconds(), 0.0)


def _fresh(meter: Meter, most: float, value: float) -> Left:
    """A window that has not begun: all of it is left, from its first use on."""
    length = LENGTHS.get(meter.window, timedelta.max)
    return Left(
        window=meter.window,
        free=most / value,
        spread=0.0,
        whole=1.0 / value,
        seconds=length.total_seconds(),
        kept=(1.0 - most) / value,
    )


# --- what others draw ---


def others(readings: Sequence[Reading]) -> float:
    """What others use of a window in a second, by how its use has grown beside our draws; 0 where nothing tells."""
    dd = dt = tt = du = tu = 0.0
    begin: Reading | None = None
    for one in readings:
        if begin is None or one.used < begin.used or one.drawn < begin.drawn:
            begin = one
        elif one.used - begin.used >= PIECE:
            used, drawn, seconds = one.used - begin.used, one.drawn - begin.drawn, (one.at - begin.at).total_seconds()
            dd, dt, tt = dd + drawn * drawn, dt + drawn * seconds, tt + seconds * seconds
            du, tu = du + drawn * used, tu + seconds * used
            begin = one
    apart = dd * tt - dt * dt
    return max((tu * dd - du * dt) / apart, 0.0) if apart > ALIKE * dd * tt else 0.0


# --- what a draw is worth ---


def worth(points: Sequence[tuple[float, float] | None]) -> float | None:
    """What one unit that we draw takes of a window, with what others draw beside us; None where nothing tells.

    `points` are windows, the newest first: what we had drawn when so much of it was used, by us and others.
    """
    weight, above, below = 1.0, 0.0, 0.0
    for point in points:
        if point is not None:
            drawn, used = point
            above += weight * drawn * used
            below += weight * drawn * drawn
        weight *= FADES
    return above / below if below > 0 else None


def point(one: Meter | Tide, first: Reading | None = None) -> tuple[float, float] | None:
    """What we drew while so much of a window was used; None where that tells nothing.

    Only what came after its `first` reading counts, where there is one: others may have used much of it before us.
    """
    if _is_refused(one):
        drawn, used = one.drawn, 1.0
    elif one.used is not None:
        drawn, used = one.drawn_at_reading, one.used + STEP / 2
    else:
        return None
    if first is not None:
        drawn, used = drawn - first.drawn, used - first.used - STEP / 2
    return (drawn, used) if drawn > 0 and used >= LITTLE else None


def _is_refused(one: Meter | Tide) -> bool:
    return one.refused if isinstance(one, Tide) else one.refused_at is not None
