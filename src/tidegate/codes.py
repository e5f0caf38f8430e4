"""The exit codes that README.md lists."""

from __future__ import annotations

from collections.abc import Mapping

from tidegate.model import State

OK, SOME_FAILED, INFRASTRUCTURE, NEEDS_HUMAN, LIMITED, TIMED_OUT = 0, 1, 5, 6, 75, 124


def ended(counts: Mapping[State, int]) -> int:
    """The code for jobs that have all ended."""
    if counts.get(State.ERROR, 0):
        return INFRASTRUCTURE
    return OK if counts.get(State.SUCCEEDED, 0) == sum(counts.values()) else SOME_FAILED
