"""How things stand, in one line that stays true until something happens: for a terminal's bottom, for systemd."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from tidegate.look.words import Page, clean, fit, shown
from tidegate.model import Hold, Origin, State, Window
from tidegate.policy import prior_binds

HOLDS = 3  # that are told one by one
WIDTH = 300  # columns of the line
SOON = timedelta(minutes=10)  # nearer ends are told with their seconds


def line(counts: Mapping[State, int], holds: Sequence[Hold], host: str, page: Page, *, mood: str = "") -> str:
    """The line: "3 running, 12 queued; claude-max held until 17:00 (5h window)"; `mood` comes before it."""
    jobs = [f"{counts[state]} {state}" for state in (State.RUNNING, State.QUEUED) if counts.get(state)]
    binding = [hold for hold in holds if prior_binds(hold, page.now) and hold.origin is not Origin.START]
    told = [_held(hold, host, page) for hold in sorted(binding, key=_weight)]
    more = [f"{len(told) - HOLDS} more"] if len(told) > HOLDS else []
    words = "; ".join([", ".join(jobs) or "nothing to do", *told[:HOLDS], *more])
    return fit(f"{mood}: {words}" if mood else words, WIDTH)


def _weight(hold: Hold) -> tuple[bool, bool, str]:
    """A person first, then what has no end."""
    return (hold.origin is not Origin.HUMAN, hold.until is not None, hold.scope)


def _held(hold: Hold, host: str, page: Page) -> str:
    scope = {"*": "everything", f"host:{host}": "this host"}.get(hold.scope, clean(hold.scope))
    end = f" until {_clock(hold.until, page)}" if hold.until is not None and not hold.ramp else ""
    match hold.origin:
        case Origin.LIMIT if hold.ramp:
            return f"{scope} opens again, {hold.allow} at once"
        case Origin.LIMIT if hold.window is Window.UNKNOWN:
            return f"{scope} held{end}"
        case Origin.LIMIT:
            return f"{scope} held{end} ({hold.window} window)"
        case Origin.BURST:
            return f"{scope} runs {hold.allow} at once{_because(hold)}"
        case Origin.OPERATOR:
            return f"{scope} paused{_by(hold)}{end}{_because(hold)}"
        case Origin.HUMAN:
            return f"{scope} needs a person{_because(hold)}"
        case _:
            return f"{scope} held{end}{_because(hold)}"


def _by(hold: Hold) -> str:
    return f" by {clean(hold.by)}" if hold.by else ""


def _because(hold: Hold) -> str:
    return f" ({fit(shown(hold.reason), 80)})" if hold.reason else ""


def _clock(instant: datetime, page: Page) -> str:
    """A local time to the minute; to the second where it is near, for it does not say how long that is."""
    at = page.at(instant)
    return at if instant - page.now < SOON else at[:-3]
