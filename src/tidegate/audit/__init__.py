"""Audits a state directory: whether all that must be true of its database, its files and its processes is.

It reads, and changes nothing. A supervisor may work beside it: the database is read in one transaction, what lay there
and what ran is listed before, and what is found is looked for once more: only what is still so is told.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from tidegate import places
from tidegate.audit import files, running
from tidegate.audit.finding import Finding, of
from tidegate.clock import SystemClock
from tidegate.lock import owner
from tidegate.stores.books import books

__all__ = ["Finding", "audit"]


def audit(state: Path, now: datetime | None = None) -> list[Finding]:
    """Everything that is not as it must be in a state directory; nothing where nobody has worked there yet.

    `now` (default: the present) is only for what can lie ahead of it or wait for too long.
    """
    if not state.is_dir():
        return []
    found = _look(state, now or SystemClock().now())
    if not found:
        return []
    again = {_key(one) for one in _look(state, now or SystemClock().now())}
    return [one for one in found if _key(one) in again]


def _look(state: Path, now: datetime) -> list[Finding]:
    before, processes = files.listed(state), running.marked(state)
    told = books(places.database(state), now)
    pid = owner(places.lock(state))
    found = [of(fault) for fault in told.faults if pid is not None or fault.kind != "request_old"]
    found += files.findings(state, before, told, now.timestamp())
    if told.is_readable:
        found += running.findings(state, processes, told)
        found += running.supervisors(pid, told, os.uname().nodename, now)
    return found


def _key(finding: Finding) -> tuple[object, ...]:
    return finding.kind, finding.job, finding.attempt, finding.place, finding.pid
