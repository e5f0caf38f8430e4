"""Looks whether all is true that must be true of a state directory; repairs it where that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tidegate import audit
from tidegate.clock import SystemClock
from tidegate.doctor.finding import Case, Finding, Verdict, ok
from tidegate.look.desk import person

REPAIR = "tidegate doctor --repair, once nobody works here"


def state(check: str, case: Case) -> Iterator[Finding]:
    """Each invariant that does not hold, with what it means and whether it can be repaired."""
    found = audit.audit(case.state)
    for one in found:
        yield told(check, one)
    if not found:
        yield ok(check, "the database, its files and its processes fit together")


def repaired(place: Path) -> Iterator[Finding]:
    """Repair what can be repaired; what was done. Raises AlreadyRunning where a supervisor works."""
    from tidegate.daemon import owning  # noqa: PLC0415 - it brings a loop along, and few repair
    from tidegate.repair import repair  # noqa: PLC0415

    if not place.is_dir():
        return
    with owning(place):
        done = repair(place, SystemClock().now(), person())
    if not done.backups:
        yield ok("repair", "there is nothing that it can mend")
        return
    for path in done.backups:
        yield ok("repair", f"before it, a backup: {path}")
    if done.damaged is not None:
        yield ok("repair", f"{done.rows} rows could be read of the damaged database, which lies in {done.damaged}")
    for one in done.done:
        yield Finding(check="repair", verdict=Verdict.OK, said=f"{one.said}: {one.mend}", kind=one.kind, mend=one.mend)


def told(check: str, one: audit.Finding) -> Finding:
    """What an audit found, as a line of the doctor."""
    do = f"{REPAIR}: {one.mend}" if one.mend else one.do
    verdict = Verdict.WRONG if one.is_wrong else Verdict.WARNING
    return Finding(check=check, verdict=verdict, said=one.said, do=do, kind=one.kind, mend=one.mend)
