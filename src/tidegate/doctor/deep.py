"""Looks whether all is true that must be true of a state directory."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate import audit
from tidegate.doctor.finding import Case, Finding, Verdict, ok

REPAIR = "tidegate doctor --repair, once nobody works here"


def state(check: str, case: Case) -> Iterator[Finding]:
    """Each invariant that does not hold, with what it means and whether it can be repaired."""
    found = audit.audit(case.state)
    for one in found:
        yield told(check, one)
    if not found:
        yield ok(check, "the database, its files and its processes fit together")


def told(check: str, one: audit.Finding) -> Finding:
    """What an audit found, as a line of the doctor."""
    do = f"{REPAIR}: {one.mend}" if one.mend else one.do
    verdict = Verdict.WRONG if one.is_wrong else Verdict.WARNING
    return Finding(check=check, verdict=verdict, said=one.said, do=do, kind=one.kind, mend=one.mend)
