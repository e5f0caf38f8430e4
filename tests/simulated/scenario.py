"""What the provider, the agents and the people around a batch are like."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

BEGIN = datetime(2026, 1, 9, 18, 30, tzinfo=UTC)
HOUR, FIVE_HOURS, DAY, WEEK = 3600.0, 5 * 3600.0, 24 * 3600.0, 7 * 24 * 3600.0
MIDNIGHT = (BEGIN - datetime(2026, 1, 9, tzinfo=UTC)) / timedelta(seconds=1)  # it is so long ago


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`human` draws so many windows in five hours, of each day in the hours `bouts` alone where there are some.

    `says`: "events" has structured lines with exact instants and percentages, "text" only a sentence that is floored to
    the minute, "unreadable" one without a time. `wrong` is the error of each stated reset, in seconds, `lag` the most
    by which an account opens later than it says. `wobble` is the share by which windows differ from `capacity`. At the
    start so much is `used` of a window that began `begun` seconds before, and `week_used` of a week that has
    `week_left` to go. `overhead` is what a resume costs, as a share of the progress so far. `per_minute` bounds the
    calls of an account.
    """

    slots: int = 8
    accounts: int = 1
    capacity: float = 100.0
    wobble: float = 0.0
    used: float = 0.0
    begun: float = 0.0
    weekly: float = 800.0
    week_used: float = 0.0
    week_left: float = WEEK
    sliding: bool = False
    human: float = 0.0
    bouts: tuple[tuple[int, int], ...] = ()
    says: str = "events"
    wrong: float = 0.0
    lag: float = 2.0
    resumes: bool = True
    overhead: float = 0.15
    per_minute: float = math.inf
    overloads: bool = False
    workload: str = ""  # the only one that it is made for

    @property
    def human_rate(self) -> float:
        """Units in a second, while the human works."""
        return self.human * self.capacity / FIVE_HOURS

    def humanly(self, since: float, now: float) -> float:
        """Seconds between two instants in which the human works."""
        return now - since if not self.bouts else self._worked(now) - self._worked(since)

    def _worked(self, now: float) -> float:
        """Since midnight before the start."""
        days, into = divmod(now + MIDNIGHT, DAY)
        whole = sum(end - begin for begin, end in self.bouts) * HOUR
        return days * whole + sum(min(max(into - begin * HOUR, 0.0), (end - begin) * HOUR) for begin, end in self.bouts)

    def turns_after(self, now: float) -> float:
        """When the human next begins or leaves off."""
        if not self.bouts:
            return math.inf
        days, into = divmod(now + MIDNIGHT, DAY)
        edges = [edge * HOUR for bout in self.bouts for edge in bout]
        return min((edge if edge > into else edge + DAY) for edge in edges) + days * DAY - MIDNIGHT


OFFICE = (9, 12), (14, 18)
PLAIN = Scenario()
TEXT = replace(PLAIN, says="text", lag=45.0)
SCENARIOS = {
    "plain": PLAIN,
    "refusals-only": TEXT,
    "no-resume": replace(PLAIN, resumes=False),
    "sliding": replace(PLAIN, sliding=True),
    "human": replace(PLAIN, human=0.35),
    "costly-resume": replace(PLAIN, overhead=0.8),
    "32-slots": replace(PLAIN, slots=32),
    "wrong-reset-early": replace(PLAIN, wrong=-3600.0),
    "wrong-reset-late": replace(PLAIN, wrong=3600.0),
    "unreadable": replace(PLAIN, says="unreadable"),
    "overloaded": replace(PLAIN, overloads=True),
    "bursts": replace(PLAIN, slots=32, per_minute=30),
    "two-accounts": replace(PLAIN, accounts=2, slots=16),
    "ten-days": replace(PLAIN, weekly=2000.0, workload="days"),
    "human-by-day": replace(PLAIN, human=0.8, bouts=OFFICE),
    "half-used": replace(PLAIN, used=50.0, begun=2 * HOUR, week_used=50.0),
    "week-nearly-used": replace(PLAIN, week_used=700.0, week_left=36 * HOUR),
    "week-met": replace(PLAIN, weekly=400.0, week_left=32 * HOUR),
    "changing": replace(PLAIN, wobble=0.1),
    "16-slots": replace(PLAIN, slots=16),
    "refusals-and-human": replace(TEXT, human=0.35),
    "refusals-and-changing": replace(TEXT, wobble=0.1),
    "refusals-and-sliding": replace(TEXT, sliding=True),
    "no-resume-by-day": replace(PLAIN, resumes=False, human=0.8, bouts=OFFICE, weekly=2000.0),
}
