"""Decides when so much of a window is used that the rest of it is left to the person whose account it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from msgspec.structs import replace

from tidegate.model import Hold, Origin, Reserve, Window

MARGIN: Final = timedelta(seconds=3)  # behind the end of a window, as after a limit
NEAR: Final = timedelta(seconds=90)  # ends that lie no further apart are one: some are floored to the minute
LEAST: Final = 1e-9


class Decided(NamedTuple):
    """The hold that is to stand on a window, None for none, and the reserves of it, as they are from now on."""

    hold: Hold | None
    reserves: tuple[Reserve, ...]


def decided(reserves: Sequence[Reserve], prior: Hold | None, used: float, ends_at: datetime, now: datetime) -> Decided:
    """What the reserves of a window come to where so much of it (0..1) is used, and it ends then.

    Each of them shuts the account once in a window: `prior` is the present hold, None also where a person lifted it.
    """
    reached = [one for one in reserves if used >= one.stop_at - LEAST]
    done = all(_is_heeded(one, now) for one in reached)
    hold = prior if done else hold_for(reached, used, ends_at, now)
    if not reached or hold is None:  # there is some left, or a person has taken it
        return Decided(None, tuple(one if one in reached else replace(one, heeded=None) for one in reserves))
    if not _is_near(hold, ends_at + MARGIN):
        hold = replace(hold, until=ends_at + MARGIN, resets_at=ends_at)
    return Decided(hold, tuple(replace(one, heeded=ends_at if one in reached else None) for one in reserves))


def _is_heeded(one: Reserve, now: datetime) -> bool:
    return one.heeded is not None and now < one.heeded


def _is_near(hold: Hold, until: datetime) -> bool:
    return hold.until is not None and abs(hold.until - until) <= NEAR


def hold_for(reached: Sequence[Reserve], used: float, ends_at: datetime, now: datetime) -> Hold:
    """The hold of an account of whose window more is used than one of these allows."""
    first = min(reached, key=lambda one: one.stop_at)
    reason = f"{first.window}: {percent(used)} % used, the rest is left (stop_at {percent(first.stop_at)})"
    return Hold(
        scope=first.account,
        origin=Origin.RESERVE,
        window=first.window,
        since=now,
        until=ends_at + MARGIN,
        reason=reason,
        by="tidegate",
        resets_at=ends_at,
    )


def percent(part: float) -> str:
    """A part as a number of percent, rounded down: what is not reached does not look so."""
    return str(int(part * 100 + LEAST))


def usable(reserves: Iterable[Reserve], window: Window, now: datetime) -> float:
    """How much of an account's window (0..1) may be used by what is launched; `reserves` are those of the account.

    What has been heeded in this window counts no more: while its hold stands nothing is launched, and who lifts that
    takes the rest.
    """
    return least([one for one in reserves if not _is_heeded(one, now)], window)


def least(reserves: Iterable[Reserve], window: Window) -> float:
    """The least that anybody says of an account's window; all of it where nobody does."""
    return min((one.stop_at for one in reserves if one.window is window), default=1.0)
