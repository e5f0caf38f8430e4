"""Puts the jobs of a batch in the order of how long each is likely to take, the longest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean

from tidegate.model import NewJob


def longest_first(jobs: Sequence[NewJob], known: Mapping[str, float]) -> list[NewJob]:
    """The jobs by what each says to `expect`, else by what is `known` of its name, else by its group's mean of these.

    Those of which nothing is known are the last; what is expected to take equally long stays in its order.
    """
    own = {job.name: job.expect if job.expect is not None else known.get(job.name) for job in jobs}
    groups: dict[str, list[float]] = defaultdict(list)
    for job in jobs:
        if (length := own[job.name]) is not None:
            groups[job.group].append(length)
    means = {name: fmean(lengths) for name, lengths in groups.items() if name}
    lengths = {job.name: own[job.name] or means.get(job.group, 0.0) for job in jobs}
    return sorted(jobs, key=lambda job: -lengths[job.name])
