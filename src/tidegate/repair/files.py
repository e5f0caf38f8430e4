"""Mends what an audit has found among the files and the processes of a state directory."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path

from tidegate import places
from tidegate.audit import Finding, running
from tidegate.launch.processes import Process, is_still, send
from tidegate.stores import sqlite

GRACE, MOMENT = 5.0, 0.05  # seconds from TERM to KILL, and between two looks


def mend(state: Path, finding: Finding) -> bool:
    """Mend one thing; whether this was a thing to mend here."""
    if finding.kind not in _MENDS:
        return False
    with suppress(FileNotFoundError):
        _MENDS[finding.kind](state, finding)
    return True


def _close(_state: Path, finding: Finding) -> None:
    if finding.place is not None:
        fd = os.open(finding.place, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)  # an agent may put a link there meanwhile
        try:
            found = os.fstat(fd).st_mode
            if not stat.S_ISLNK(found):
                Path(f"/proc/self/fd/{fd}").chmod(found & 0o7700)
        finally:
            os.close(fd)


def _sweep(state: Path, finding: Finding) -> None:
    """Remove it unless a job that is being submitted just now has it."""
    if finding.place is not None and finding.place.name.startswith("."):  # half written, once
        finding.place.unlink()
        return
    with closing(sqlite.open(places.database(state))) as store:
        store.sweep()


def _remove(_state: Path, finding: Finding) -> None:
    if finding.place is not None:
        shutil.rmtree(finding.place)
        with suppress(OSError):  # other attempts are in it
            finding.place.parent.rmdir()


def _end(state: Path, finding: Finding) -> None:
    """TERM, then KILL: each look sees only what carries the mark still."""
    mark = next((mark for one, mark in running.marked(state).items() if one.pid == finding.pid), None)
    for number, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        for process in (found := _processes(state, mark)):
            send(process, number)
            send(process, signal.SIGCONT)
        for _ in range(int(seconds / MOMENT)):
            if not any(is_still(process) for process in found):
                break
            time.sleep(MOMENT)


def _processes(state: Path, mark: str | None) -> list[Process]:
    """Those of one attempt; another state directory has jobs and attempts of the same numbers."""
    return [one for one, its in running.marked(state).items() if its == mark]


_MENDS: Mapping[str, Callable[[Path, Finding], None]] = {
    "mode": _close,
    "secret_orphan": _sweep,
    "output_orphan": _remove,
    "leftover": _end,
}
