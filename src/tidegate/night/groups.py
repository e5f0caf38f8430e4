"""Group by outcome: how many jobs of each group ended how, of all and of those that nothing ever interrupted."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import sqrt
from typing import Final

from msgspec import Struct

from tidegate import runs
from tidegate.model import Attempt, Job, State

Z: Final = 1.959964  # of 95 %
TRIAL: Final = re.compile(r"#\d+$", re.ASCII)


class Share(Struct, frozen=True):
    """`good` of `of` valid results, and Wilson's 95 % interval for what lies behind; None where there is none."""

    good: int
    of: int
    low: float | None
    high: float | None


class Row(Struct, frozen=True, kw_only=True):
    """One group: its jobs by state, all and those that were `clean` (never interrupted).

    The shares are None where the group has no trials.
    """

    name: str
    counts: Mapping[State, int]
    clean: Mapping[State, int]
    share: Share | None
    clean_share: Share | None


def rows(jobs: Iterable[Job], attempts: Iterable[Attempt], batch: str) -> list[Row]:
    """A row for each group, in the order of their first jobs; jobs without a group are under their batch."""
    cut = interrupted(attempts)
    groups: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        groups[job.group or batch].append(job)
    return [_row(name, some, cut) for name, some in groups.items()]


def interrupted(attempts: Iterable[Attempt]) -> set[int]:
    """The jobs whose last run was cut off, by a limit, by a person or by a crash."""
    every: dict[int, list[Attempt]] = defaultdict(list)
    for one in attempts:
        every[one.job].append(one)
    return {job for job, some in every.items() if not runs.is_uninterrupted(some)}


def _row(name: str, jobs: Sequence[Job], cut: set[int]) -> Row:
    counts = Counter(job.state for job in jobs)
    clean = Counter(job.state for job in jobs if job.id not in cut)
    trials = any(TRIAL.search(job.name) or "trial" in job.spec.labels for job in jobs)
    return Row(
        name=name,
        counts=counts,
        clean=clean,
        share=_share(counts) if trials else None,
        clean_share=_share(clean) if trials else None,
    )


def _share(counts: Mapping[State, int]) -> Share:
    good = counts.get(State.SUCCEEDED, 0)
    of = good + counts.get(State.FAILED, 0)
    return Share(good, of, *(wilson(good, of) or (None, None)))


def wilson(good: int, of: int) -> tuple[float, float] | None:
    """Wilson's 95 % interval for a share, 0..1; None of nothing."""
    if not of:
        return None
    share, square = good / of, Z * Z
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = Z * sqrt(share * (1 - share) / of + square / (4 * of * of)) / (1 + square / of)
    return max(middle - half, 0.0), min(middle + half, 1.0)
