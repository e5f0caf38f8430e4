"""What the provider, the agents and the people around a batch are like."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`human` draws so many windows in five hours; `wrong` is the error of each stated reset, in seconds.

    `says`: "events" has structured lines with exact instants and percentages, "text" only a sentence that is floored to
    the minute, "unreadable" one without a time. `lag` is the most by which an account opens later than it says.
    `overhead` is what a resume costs, as a share of the progress so far. `per_minute` bounds the calls of an account.
    """

    slots: int = 8
    accounts: int = 1
    capacity: float = 100.0
    weekly: float = 800.0
    sliding: bool = False
    human: float = 0.0
    says: str = "events"
    wrong: float = 0.0
    lag: float = 2.0
    resumes: bool = True
    overhead: float = 0.15
    per_minute: float = math.inf
    overloads: bool = False
    workload: str = ""  # the only one that it is made for
    target: float = 1.03  # issue 7's bound of the makespan


PLAIN = Scenario()
SCENARIOS = {
    "plain": PLAIN,
    "refusals-only": replace(PLAIN, says="text", lag=45.0, target=1.04),
    "no-resume": replace(PLAIN, resumes=False, target=1.12),
    "sliding": replace(PLAIN, sliding=True, target=1.10),
    "human": replace(PLAIN, human=0.35, target=1.12),
    "costly-resume": replace(PLAIN, overhead=0.8, target=1.08),
    "32-slots": replace(PLAIN, slots=32, target=1.06),
    "wrong-reset-early": replace(PLAIN, wrong=-3600.0, target=1.08),
    "wrong-reset-late": replace(PLAIN, wrong=3600.0, target=1.08),
    "unreadable": replace(PLAIN, says="unreadable", target=1.08),
    "overloaded": replace(PLAIN, overloads=True),
    "bursts": replace(PLAIN, slots=32, per_minute=30),
    "two-accounts": replace(PLAIN, accounts=2, slots=16),
    "ten-days": replace(PLAIN, weekly=2000.0, workload="days"),
}
