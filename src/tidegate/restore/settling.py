"""Brings a database from a backup to the present: what ran then, and what it lacks."""

from __future__ import annotations

import os
import shutil
from collections import defaultdict
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from tidegate import launch, places
from tidegate.backup import Manifest
from tidegate.model import Hold, Lost, Origin, State
from tidegate.policy import Rules
from tidegate.restore.agents import Carried
from tidegate.stores import Store
from tidegate.stores.books import Books
from tidegate.stores.vault import is_gone

NO_END = Rules(max_lost=2**31)  # a restore is no reason to give a job up
MANY = 1000
NAMED = 5  # variables that are named


class Case(Struct, frozen=True, kw_only=True):
    """A backup that is unpacked in `staged`, for the state directory `state`; `books` are those of its database."""

    state: Path
    staged: Path
    manifest: Manifest
    whose: Carried
    books: Books


def settle(store: Store, case: Case, now: datetime) -> int:
    """End what ran when the backup was made and cannot be followed any more; how many that were."""
    hosts = {(one.job, one.n): one.host for one in case.books.open}
    why = f"it ran when the backup of {case.manifest.made_at:%Y-%m-%d %H:%M} UTC was made"
    lost = 0
    for job, attempt in store.running():
        if hosts.get((job.id, attempt.n)) != os.uname().nodename or not _goes_on(case, job.id, attempt.n):
            store.finish(attempt, Lost(why), now, rules=NO_END)
            lost += 1
    made = {"made_at": case.manifest.made_at.isoformat(), "host": case.manifest.host}
    store.tell("state restored", now, {**made, "version": case.manifest.version, "lost": lost})
    return lost


def _goes_on(case: Case, job: int, n: int) -> bool:
    """Whether the next start can follow an attempt: by its output here, or by its end, which is in the backup."""
    if job in case.whose.kept and places.attempt(case.state, job, n).is_dir():
        return True
    return isinstance(launch.found(places.attempt(case.staged, job, n)), launch.Ended)


def drop_newer(staged: Path, store: Store) -> None:
    """Remove the output of attempts that were launched while the backup was made, unless it tells their end.

    Nobody can follow them; that they were begun is no loss of theirs.
    """
    for place in places.attempts(staged).glob("*/*"):
        job, n = int(place.parent.name), int(place.name)
        known = store.launches([job]).get(job)
        if (known is None or n > known[1]) and not isinstance(launch.found(place), launch.Ended):
            shutil.rmtree(place)


def hold_back(store: Store, now: datetime) -> int:
    """Hold each batch that has queued jobs without their secrets, for a person; how many jobs those are."""
    lacking: dict[str, set[str]] = defaultdict(set)
    count, after = 0, 0
    while jobs := store.jobs(states=(State.QUEUED,), after=after, most=MANY):
        for job in jobs:
            if gone := [name for name, value in job.spec.env.items() if is_gone(value)]:
                count += 1
                lacking[job.batch_name].update(gone)
        after = jobs[-1].id
    for batch, names in lacking.items():
        store.hold(_waits(batch, sorted(names), now), now)
    return count


def _waits(batch: str, names: list[str], now: datetime) -> Hold:
    some = ", ".join(names[:NAMED]) + (" and more" if len(names) > NAMED else "")
    return Hold(
        scope=f"batch:{batch}",
        origin=Origin.HUMAN,
        since=now,
        reason=f"its secrets were not in the backup: {some}",
        evidence="tidegate edit JOB --env NAME=VALUE, or the same batch again with --update; then tidegate resume",
        by="restore",
    )
