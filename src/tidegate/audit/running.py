"""Compares the processes of this machine with the attempts that a database says are running."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

from tidegate import places
from tidegate.audit.finding import Finding
from tidegate.launch import traces
from tidegate.launch.processes import Process, all_pids, is_still, marker_of, process_of, tag_for, tag_of
from tidegate.stores.books import Books

TAGGED = range(1 << 48, 1 << 49)  # limits that nobody means: they are marks
SETTLED = timedelta(seconds=60)  # after which a supervisor has entered, and taken over what others left

Marked = Mapping[Process, str]


def marked(state: Path) -> Marked:
    """Every process that carries the mark of an attempt, with that; a mark without words is looked up in `state`."""
    said: dict[Process, str] = {}
    tagged: dict[Process, int] = {}
    for pid in all_pids():
        process = process_of(pid)
        if process is None or not process.is_alive:
            continue
        if (marker := marker_of(pid)) is not None:
            said[process] = marker
        elif (tag := tag_of(pid)) is not None and tag in TAGGED:
            tagged[process] = tag
    return {**said, **_looked_up(tagged, state)} if tagged else said


def _looked_up(tagged: Mapping[Process, int], state: Path) -> Marked:
    markers = [str(traces.intent_of(place).get("marker", "")) for place in places.attempts(state).glob("*/*")]
    names = {tag_for(marker): marker for marker in markers}
    return {process: names[tag] for process, tag in tagged.items() if tag in names}


def findings(state: Path, before: Marked, books: Books) -> Iterator[Finding]:
    """What runs though its attempt does not, and what runs where nobody could follow it."""
    running = {(one.job, one.n) for one in books.open}
    for process, marker in before.items():
        supervisor, job, n = parts(marker)
        launched = supervisor in books.supervisors or _is_written(marker, places.attempt(state, job, n))
        is_ahead = n > books.launches.get(job, n)  # of an attempt that is newer than the database
        if not launched or is_ahead or not is_still(process):
            continue
        about = f"process {process.pid} is of attempt {n} of job {job}"
        if (job, n) not in running:
            yield Finding(
                kind="leftover",
                said=f"{about}, which does not run any more",
                mend="it is ended",
                job=job,
                attempt=n,
                pid=process.pid,
            )
        elif not (place := places.attempt(state, job, n)).is_dir():
            said = f"{about}, whose directory {place} is gone: nobody can follow it"
            do = f"end it (kill {process.pid}); the next start then launches its job again"
            yield Finding(kind="unfollowed", said=said, do=do, job=job, attempt=n, place=place, pid=process.pid)


def parts(marker: str) -> tuple[str, int, int]:
    """By whom, of which job and attempt a mark is; zeros where it is none of ours."""
    match marker.split("/"):
        case [supervisor, job, n] if job.isdecimal() and n.isdecimal():
            return supervisor, int(job), int(n)
        case _:
            return "", 0, 0


def _is_written(marker: str, place: Path) -> bool:
    """Whether an attempt here was launched with a mark, be it by a supervisor that this database does not know."""
    return traces.intent_of(place).get("marker") == marker


def supervisors(pid: int | None, books: Books, host: str, now: datetime) -> Iterator[Finding]:
    """Whether whoever owns the lock has entered the database, and is the only one there."""
    if not pid:
        return
    here = {uuid: one for uuid, one in books.supervisors.items() if one.host == host and one.left_at is None}
    mine = [one for one in here.values() if one.pid == pid and now - one.started_at > SETTLED]
    others = sorted(one.pid for one in here.values() if one.pid != pid)
    if mine and others:
        said = f"pid {pid} supervises, but pid {others[0]} has not left the database"
        yield Finding(kind="supervisor", said=said, do="restart it: the next start settles that", is_wrong=False)
