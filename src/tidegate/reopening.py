"""What an account's closings and openings have taught about when it really opens, as pure functions of values.

A reset is taken at its word: nobody waits for longer than it says, unless it has proved to be none. A window that was
used up again soon after it had opened, and is said to open soon, while it once was said to last for much longer, is no
window that begins anew but one that slides: a little of it is free all the time, and whoever takes each bit at once
cuts all off that run. Everything is measured by the window's own length, so that short ones are not kept waiting.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from tidegate.model import Habit, Hold, Origin, Window
from tidegate.policy import RAMP_END

HOUR: Final = 3600.0
LENGTHS: Final[Mapping[Window, float]] = {Window.FIVE_HOURS: 5 * HOUR, Window.DAY: 24 * HOUR, Window.WEEK: 168 * HOUR}
SLACK: Final = timedelta(seconds=60)  # between the launch of the first that is answered and what begins a window
SOON: Final = 1 / 15  # of a window: used up so soon after it opened
NEAR: Final = 1 / 2  # of a window from its begin to its end: it is none that has begun anew
MUCH: Final = 0.5  # of a window that has just opened: it has not begun anew
MINUTE: Final = timedelta(minutes=1)  # in which requests are counted
FEWER: Final = 0.7  # of what ran, after a burst
QUIET: Final = timedelta(minutes=30)  # after a burst it is approached slowly again
REST_FIRST, REST_MOST = 1 / 60, 0.1  # of a window


def is_learned_from(hold: Hold) -> bool:
    """Whether a hold is the closing of a window, of which something can be learned."""
    return hold.origin is Origin.LIMIT and hold.window is not Window.MINUTE and hold.until is not None


def opened(habit: Habit, began: datetime) -> Habit:
    """After an attempt that was launched at `began` is answered, the first one since the window was shut."""
    return replace(habit, opened_at=began)


def shut(habit: Habit, hold: Hold, now: datetime, started: datetime | None) -> tuple[Hold, Habit]:
    """The hold of a window that was found used up, and what is known of it then.

    `started` is when its scope was last opened, or was begun to be used after a pause.
    """
    if habit.opened_at is None and habit.cut_at is not None:  # the one that went first was refused
        return hold, habit
    began = _began(habit, started)
    known = replace(habit, opened_at=None, began=began, cut_at=now)
    if began is None or hold.resets_at is None or hold.resets_at <= now:
        return hold, known
    return _rested(known, hold, now, began)


def read(habit: Habit, used: float, at: datetime) -> Habit:
    """After it is told how much of a window is used: one that has just opened is little used, unless it slides."""
    length, opened_at = _length(habit), habit.opened_at
    if habit.cut_at is None or opened_at is None or not 0 <= (at - opened_at).total_seconds() < length * SOON:
        return habit
    return replace(habit, slides=used >= MUCH)


def _began(habit: Habit, started: datetime | None) -> datetime | None:
    """When the present window began, as far as anybody can tell."""
    if habit.opened_at is None or started is None:
        return habit.opened_at or started
    length = _length(habit)
    return started if length and (started - habit.opened_at).total_seconds() >= length else habit.opened_at


def _length(habit: Habit) -> float:
    return LENGTHS.get(habit.window, habit.span)


def _rested(habit: Habit, hold: Hold, now: datetime, began: datetime) -> tuple[Hold, Habit]:
    """A window that slides has a rest, for twice as long each time in a row that it is used up soon."""
    assert hold.resets_at is not None
    lasts = (hold.resets_at - began).total_seconds()
    known = replace(habit, span=max(habit.span, lasts))
    lasted = (now - began).total_seconds()
    if not 0 <= lasted < known.span * SOON or lasts >= known.span * NEAR:
        rest = known.rest / 2 if known.rest / 2 >= known.span * REST_FIRST else 0.0
        known = replace(known, cuts=0, rest=rest)
    else:
        rest = min(max(known.rest * 2, known.span * REST_FIRST), known.span * REST_MOST)
        known = replace(known, cuts=known.cuts + 1, rest=rest)
    until = now + timedelta(seconds=known.rest)
    if lasts < known.span * NEAR:
        known = replace(known, slides=True)
    if lasts >= known.span * NEAR or hold.until is None or until <= hold.until:
        return hold, known
    more = (until - hold.until).total_seconds()
    return replace(hold, until=until, reason=f"{hold.reason}, {_why(known, lasted, more)}"), known


def _why(habit: Habit, lasted: float, more: float) -> str:
    times = {0: "", 1: "", 2: ", twice"}.get(habit.cuts, f", {habit.cuts} times")
    return f"cut off {_span(lasted)} after opening{times}: rests {_span(more)} more"


def should_be_over(habit: Habit, read_at: datetime | None, now: datetime) -> bool:
    """Whether a window should be over, by its begin and its length, and nobody has told anything of it since."""
    length = _length(habit)
    if habit.opened_at is None or not length:
        return False
    began = habit.opened_at + SLACK
    times = (now - began) // timedelta(seconds=length)
    return times > 0 and (read_at is None or read_at < began + timedelta(seconds=length) * times)


def narrowed(prior: Hold | None, told: Hold, running: int, now: datetime) -> Hold | None:
    """How many may run in a scope of which so many were too many at once, `running` with the one that was refused.

    None where that one ran alone: then it has to wait. `prior` is what was said so before; while more run than that
    allows, or have within the last minute, it has had no effect yet.
    """
    if running <= 1:
        return None
    if prior is not None and (running > prior.allow or timedelta(0) <= now - prior.since < MINUTE):
        return prior
    return Hold(
        scope=told.scope,
        origin=Origin.BURST,
        window=Window.MINUTE,
        allow=max(int(running * FEWER), 1),
        since=now,
        reason=f"too many requests from {running} at once",
        evidence=told.evidence,
        by="tidegate",
    )


def relaxed(hold: Hold, now: datetime, *, most: int | None) -> Hold | None:
    """What a burst allows after one more attempt is answered that was launched since; None: it limits nothing any more.

    One more may run when as many have been answered as may, or, where it has been quiet for a while, after each.
    """
    answers, is_quiet = hold.misses + 1, now - hold.since >= QUIET
    if not is_quiet and answers < hold.allow:
        return replace(hold, misses=answers)
    allow = hold.allow + 1
    if allow >= RAMP_END or (most is not None and allow >= most):
        return None
    return replace(hold, allow=allow, misses=0)


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


def looked_for(habit: Habit | None, hold: Hold, now: datetime) -> Hold:
    """The hold with the instant at which one goes ahead of its end: where the window should be over, if not before.

    Without a reset that is ahead, the end itself is no later than that.
    """
    over = None if habit is None else _over(habit, now)
    if hold.until is None:
        return hold
    if hold.resets_at is None or hold.resets_at <= now:
        until = hold.until if over is None else min(hold.until, over)
        return replace(hold, until=until)
    if hold.early_at is None or over is None:
        return hold
    return replace(hold, early_at=min(hold.early_at, over))


def _over(habit: Habit, now: datetime) -> datetime | None:
    """When the window that was used up is over, by its begin and its length; the one after it where that is past."""
    length = _length(habit)
    if habit.began is None or not length:
        return None
    began = habit.began + SLACK
    times = (now - began) // timedelta(seconds=length) + 1
    return began + timedelta(seconds=length) * max(times, 1)
