"""The runs of a job: which attempts were cut off, and whether its result comes from a run that nothing interrupted.

A run is an attempt that began anew and those that went on in its session.
"""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.model import AGENT, Attempt

CUTS = ("interrupted", "lost")
NEVER_BEGUN = "unclaimed"


def was_cut_off(attempt: Attempt) -> bool:
    """Whether an attempt of the agent was ended in the middle of its work, by a limit, by a person or by a crash.

    One that was refused before its first answer had not begun to work; of an agent without a session nobody knows.
    """
    if attempt.stage != AGENT:
        return False
    refused = attempt.outcome == "limited" and (attempt.progressed or attempt.session is None)
    return refused or attempt.outcome in CUTS


def cut_off(attempts: Sequence[Attempt]) -> int:
    """How often a job was ever cut off."""
    return sum(map(was_cut_off, attempts))


def last(attempts: Sequence[Attempt]) -> Sequence[Attempt]:
    """The attempts of the agent's last run, of all of a job's in their order."""
    mine = [one for one in attempts if one.stage == AGENT and one.outcome != NEVER_BEGUN]
    begin = next((place for place in reversed(range(len(mine))) if not mine[place].resumes), 0)
    return mine[begin:]


def is_uninterrupted(attempts: Sequence[Attempt]) -> bool:
    """Whether nothing has interrupted the last run of a job."""
    return not cut_off(last(attempts))
