"""Which jobs of a batch a person has picked: by patterns of their names, or by their groups."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase


def fits(name: str, group: str, patterns: Sequence[str]) -> bool:
    """Whether one of these patterns picks a job; none at all pick every job."""
    return not patterns or any(group == one or fnmatchcase(name, one) for one in patterns)


def as_glob(pattern: str) -> str:
    """The same pattern for SQLite, whose GLOB says otherwise what is not in a set."""
    return pattern.replace("[!", "[^")
