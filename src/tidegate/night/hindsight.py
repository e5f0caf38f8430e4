"""How good it was what was foretold of a batch's end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from tidegate.prospect import Forecast


class Hindsight(Struct, frozen=True, kw_only=True):
    """The forecasts that named an end, the first first; of a batch that is over by how much they were off.

    `error` is the mean distance of `p50` to the end in seconds, `by_p50` and `by_p90` count those that it
    had ended by. All three are None where it is not over.
    """

    forecasts: Sequence[Forecast]
    error: float | None = None
    by_p50: int | None = None
    by_p90: int | None = None


def of(forecasts: Sequence[Forecast], end: datetime | None) -> Hindsight | None:
    """What became of these forecasts of a batch that ended then (None: it has not); None where none named an end."""
    named = [(one, one.p50, one.p90) for one in forecasts if one.p50 is not None and one.p90 is not None]
    known = [one for one in named if end is None or one[0].at < end]  # what came later was of a batch that went on
    if not known:
        return None
    told = [one for one, _, _ in known]
    if end is None:
        return Hindsight(forecasts=told)
    errors = [abs((end - p50).total_seconds()) for _, p50, _ in known]
    return Hindsight(
        forecasts=told,
        error=sum(errors) / len(errors),
        by_p50=sum(end <= p50 for _, p50, _ in known),
        by_p90=sum(end <= p90 for _, _, p90 in known),
    )


def picked(found: Hindsight, most: int) -> Sequence[Forecast]:
    """At most so many of the forecasts, evenly, with the first and the last."""
    every = found.forecasts
    if len(every) <= most:
        return every
    return [every[place * (len(every) - 1) // (most - 1)] for place in range(most)]
