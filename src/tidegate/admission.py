"""Decides which queued job may start now: what runs and what is started must fit what is left of the windows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from tidegate import costs
from tidegate.costs import Belief, Rest
from tidegate.model import AGENT, Attempt, Cost, Held, Share, Window
from tidegate.runs import NEVER_BEGUN
from tidegate.windows import Left

LOOK = 24  # candidates of an account that are looked at
FRESH = 0.9  # of a window: with so much left the first in the queue goes, however much it takes,
HALF = 0.5  # and no more of it is expected of what runs; so much must be left while nothing is known of what jobs take
HEADROOM = 0.03  # of a window that is too much to leave where nothing runs
STALE = 6 * 3600.0  # seconds after which what was told is no reason to let nothing run: longer than most windows last
CAREFUL, BOLD = 2.0, 0.3  # standard deviations that must fit beyond the mean: with time left; near the reset, and of a
# window so long that to leave some of it unused for days costs more than to be cut off once
UNHURRIED = 7200.0  # seconds before the reset: what is left over by then can still be used, less and less
MANY = 0.2  # windows that others draw in each: where they draw so much, nothing is gained by waiting
SETTLES = 300.0  # seconds of an attempt that outweigh the pace of its kind
AGAIN = 0.15  # of what it has drawn: what a job that goes on in its session reads again


Kind = tuple[str, float | None, Share | None]


class Load(Struct, frozen=True, kw_only=True):
    """A job that runs, or would: its group "batch/name", and what it has `drawn` of its work so far.

    `least` is more than that where an attempt of it has shown that it takes more. `seconds` is how long this attempt
    has run, in which it drew `lately`; None for a job that is queued. `goes_on`: it would begin in its session. A
    person expects it to take `expect` seconds, and a `share` of a window.
    """

    group: str
    drawn: float = 0.0
    least: float = 0.0
    seconds: float | None = None
    lately: float = 0.0
    goes_on: bool = False
    expect: float | None = None
    share: Share | None = None

    @property
    def kind(self) -> Kind:
        """All that are alike in it are believed to take the same."""
        return self.group, self.expect, self.share


class Outlook(Struct, frozen=True, kw_only=True):
    """What is known of one account: what is left of its windows, what its groups cost, and what runs.

    `caution` times as careful as usual it is decided (0..1).
    """

    windows: tuple[Left, ...]
    costs: Mapping[str, Cost]
    running: tuple[Load, ...]
    caution: float = 1.0


class Lack(Struct, frozen=True, kw_only=True):
    """Why nothing may start: `needed` of a window, give or take `spread`, and no more than `left` of it `until` then.

    All three are shares of the whole window; `needed` None: nobody knows what jobs take.
    """

    window: Window
    left: float
    needed: float | None = None
    spread: float = 0.0
    until: datetime | None = None


def shown(attempts: Iterable[Attempt], *, goes_on: bool) -> tuple[float, float]:
    """What a job has drawn of its work by all of its attempts, and what they have shown that it takes at least.

    `goes_on`: the next attempt begins where the last one ended, or the last one runs still; else the work is to be done
    anew.
    """
    runs: list[float] = []
    for one in attempts:
        if one.stage == AGENT and one.outcome != NEVER_BEGUN:
            runs = [*runs[:-1], runs[-1] + one.drawn] if runs and one.resumes else [*runs, one.drawn]
    return (runs[-1] if runs and goes_on else 0.0), max(runs, default=0.0)


def caution(others: float) -> float:
    """How careful to be where others draw so many windows in each: what is left for later they take meanwhile."""
    return max(1.0 - others / MANY, 0.0)


def decide(outlook: Outlook, candidates: Sequence[Load]) -> int | Lack:
    """Which of these queued jobs, best first, may start; or why the first may not."""
    beliefs = _beliefs(outlook, candidates) if outlook.windows else {}
    plans = [_Plan(left, outlook, beliefs) for left in outlook.windows]
    first: Lack | None = None
    for place, load in enumerate(candidates[:LOOK]):
        lack = next((lack for plan in plans if (lack := plan.lacks(load)) is not None), None)
        if lack is None:
            return place
        first = first or lack
    assert first is not None, "somebody waits"
    alone = () if outlook.running else enumerate(candidates[:LOOK])
    return next((place for place, load in alone if all(plan.bears(load) for plan in plans)), first)


def _beliefs(outlook: Outlook, candidates: Sequence[Load]) -> dict[Kind, Belief | None]:
    every = [*outlook.running, *candidates[:LOOK]]
    unfinished = {load.group: [one.least for one in every if one.group == load.group] for load in every}
    learned = {group: costs.believed(outlook.costs, group, some) for group, some in unfinished.items()}
    whole = next((left.whole for left in outlook.windows if left.window is Window.FIVE_HOURS), None)
    return {load.kind: _hinted(load, learned[load.group], outlook, whole) for load in every}


def _hinted(load: Load, learned: Belief | None, outlook: Outlook, whole: float | None) -> Belief | None:
    """What a person expects of a job counts until its group has told what it takes: a share, or a length of time."""
    known, pace = outlook.costs.get(load.group), learned.pace if learned else math.inf
    if known is not None and known.jobs >= costs.LEAST:
        return learned
    if load.share is not None and whole is not None:
        spread = load.share.mean / 2 if load.share.spread is None else load.share.spread
        return costs.told(load.share.mean * whole, spread * whole, pace)
    if load.share is None and load.expect is not None and pace < math.inf:
        return costs.told(load.expect * pace, load.expect * pace / 2, pace)
    return learned


class _Plan:
    """One window: what runs takes so much of it."""

    def __init__(self, left: Left, outlook: Outlook, beliefs: Mapping[Kind, Belief | None]) -> None:
        self._left = left
        self._beliefs = beliefs
        care = CAREFUL * min(left.seconds / UNHURRIED, 1.0) if left.window is Window.FIVE_HOURS else BOLD
        self._caution = outlook.caution * max(care, BOLD)
        self._headroom = outlook.caution * HEADROOM * left.whole
        self._runs = bool(outlook.running)
        self._taken = Rest()
        for load in outlook.running:
            if (belief := beliefs[load.kind]) is not None:
                self._taken += self._takes(load, belief)

    def lacks(self, load: Load) -> Lack | None:
        """Why this one may not start as well; None where it may."""
        left, belief = self._left, self._beliefs[load.kind]
        if left.free >= FRESH * left.usable and self._taken.mean <= HALF * left.usable:
            return None
        if belief is None:
            may = not self._runs or left.free > HALF * left.usable
            return None if may else self._lack()
        needed = self._taken + self._takes(load, belief)
        spread = math.sqrt(needed.variance + left.spread**2)
        if needed.mean + self._caution * spread <= left.free:
            return None
        return self._lack(needed.mean / left.whole, spread / left.whole)

    def bears(self, load: Load) -> bool:
        """Whether this one may start where nothing runs: to let nothing run would be a waste, or may be.

        Where a part of the window is kept for a person it is none to leave that what this one is likely to take.
        """
        left, belief = self._left, self._beliefs[load.kind]
        if not left.kept:
            return left.window is not Window.FIVE_HOURS or left.free > self._headroom or left.stale > STALE
        return belief is None or self._takes(load, belief).mean <= left.free

    def _lack(self, needed: float | None = None, spread: float = 0.0) -> Lack:
        left = self._left
        share = max(left.free / left.whole, 0.0)
        return Lack(window=left.window, left=share, needed=needed, spread=spread, until=left.until)

    def _takes(self, load: Load, belief: Belief) -> Rest:
        """What a job draws until the reset."""
        most = _pace(load, belief) * self._left.seconds
        took = costs.rest(belief, load.drawn, most, least=load.least)
        return took + Rest(AGAIN * load.drawn) if load.goes_on else took


def _pace(load: Load, belief: Belief) -> float:
    """What a job draws in a second: as its kind does, and as it has done itself."""
    if load.seconds is None or belief.pace == math.inf:
        return belief.pace
    return (load.lately + belief.pace * SETTLES) / (load.seconds + SETTLES)


# --- in words ---


def words(lack: Lack | Held, until: str) -> str:
    """The reason as people read it; `until` is the reset as they read that."""
    of = "" if lack.window is Window.FIVE_HOURS else f" of the {lack.window}"
    left = f"{_percent(lack.left)} left{of}" + (f" until {until}" if until else "")
    if lack.needed is None:
        return f"nobody knows yet what such jobs take, {left}"
    return f"would not fit: {_percent(lack.needed)} ± {_percent(lack.spread)} needed, {left}"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"
