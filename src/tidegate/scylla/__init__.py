"""A results directory of ProjectScylla: which of its runs are valid, which were limits in disguise, and the rest."""

from __future__ import annotations

from tidegate.scylla.expected import Expected, expected
from tidegate.scylla.found import Found, read
from tidegate.scylla.layout import ATTEMPT, PHASES, RUN, TIER, run_name
from tidegate.scylla.rerun import Rerun, rerun
from tidegate.scylla.verdict import Refused, Run, RunFiles, Verdict, infected, judged

__all__ = [
    "ATTEMPT",
    "PHASES",
    "RUN",
    "TIER",
    "Expected",
    "Found",
    "Refused",
    "Rerun",
    "Run",
    "RunFiles",
    "Verdict",
    "expected",
    "infected",
    "judged",
    "read",
    "rerun",
    "run_name",
]
