"""Whether the jobs of a group may start, by how those of the groups that it needs have ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

from tidegate.model import Group, Stand, State, When
from tidegate.policy import came_to

Counts = Mapping[State, int]


def stand(when: When, needed: Iterable[Counts], *, started: bool) -> Stand:
    """Where a group stands; `needed` are the jobs of each group that it needs, by state.

    Groups without jobs hold nobody up. Of what has `started` once nothing is taken back: it stays open.
    """
    counts = together(needed)
    left, succeeded = unfinished(counts), counts[State.SUCCEEDED]
    bad = sum(counts.values()) - left - succeeded
    if started:
        return Stand.OPEN
    match when:
        case When.FINISHED:
            return Stand.WAITING if left else Stand.OPEN
        case When.ALL_SUCCEEDED:
            return Stand.HOPELESS if bad else Stand.WAITING if left else Stand.OPEN
        case When.ANY_SUCCEEDED:
            return Stand.WAITING if left else Stand.OPEN if succeeded or not bad else Stand.HOPELESS
        case _:
            assert_never(when)


def together(several: Iterable[Counts]) -> dict[State, int]:
    """The jobs of several groups by state."""
    listed = list(several)
    return {state: sum(counts.get(state, 0) for counts in listed) for state in State}


def unfinished(counts: Counts) -> int:
    """How many of these jobs have not ended."""
    return counts.get(State.QUEUED, 0) + counts.get(State.RUNNING, 0)


def why_hopeless(group: Group, bad: tuple[str, State] | None) -> str:
    """The reason of its jobs, which are skipped; `bad` is a job of what it needs that ended without success."""
    if group.when is When.ALL_SUCCEEDED and bad is not None:
        return f"needs {named(group.needs)}, where {bad[0]} {came_to(bad[1])}"
    return f"needs {named(group.needs)}, where no job succeeded"


def named(names: Sequence[str]) -> str:
    """Groups in words: "group T0", "groups T0, T1 and T2"."""
    if len(names) == 1:
        return f"group {names[0]}"
    return f"groups {', '.join(names[:-1])} and {names[-1]}"
