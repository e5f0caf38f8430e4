"""Finds attempts that the database has forgotten, as one that was put back from a backup has: their output is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tidegate import launch, places
from tidegate.launch.traces import intent_of
from tidegate.model import Forgotten, Job, Supervisor
from tidegate.stores import Store

MANY = 10_000  # jobs that are asked for at once
UNKNOWN = "00000000-0000-4000-8000-000000000000"  # the incarnation of an attempt that does not tell it


def take_up_all(state: Path, store: Store, host: str, now: datetime) -> list[int]:
    """Let the store know every attempt that it has forgotten, to be adopted like any other; their jobs.

    To be called by the owner of the state directory: nothing is launched meanwhile.
    """
    found = list(forgotten(state, store, host))
    for one in found:
        store.take_up(one, now)
    return [one.job for one in found]


def forgotten(state: Path, store: Store, host: str) -> Iterator[Forgotten]:
    """Jobs with output beyond what their launches have left.

    Costs a look at one name for each job that has ended: an attempt that was never launched left no output, so where
    the next one left none a later one may have.
    """
    there = _numbers(places.attempts(state))
    for start in range(0, len(there), MANY):
        for id, (now, launches) in store.launches(there[start : start + MANY]).items():
            if now.is_final and not os.path.lexists(places.attempt(state, id, launches + 1)):
                continue
            numbers = [n for n in _numbers(places.attempts(state) / str(id)) if n > launches]
            if numbers and (job := store.job(id)) is not None:
                yield _found(state, job, numbers, host)


def _found(state: Path, job: Job, numbers: list[int], host: str) -> Forgotten:
    place = places.attempt(state, job.id, numbers[-1])
    intent, written = intent_of(place), datetime.fromtimestamp(place.lstat().st_mtime, UTC)
    uuid, boot = str(intent.get("supervisor") or UNKNOWN), str(intent.get("boot_id", ""))
    its_own = (intent.get("name"), intent.get("batch")) == (job.name, job.batch_name)
    return Forgotten(
        job=job.id,
        numbers=tuple(numbers),
        supervisor=Supervisor(uuid=uuid, host=host, pid=0, boot_id=boot, started_at=written),
        began=_began(intent.get("claimed_at"), written),
        adopts=its_own and (not job.state.is_final or isinstance(launch.found(place), launch.Alive)),
    )


def _began(said: object, otherwise: datetime) -> datetime:
    try:
        return datetime.fromisoformat(str(said)).astimezone(UTC)
    except ValueError:
        return otherwise


def _numbers(place: Path) -> list[int]:
    try:
        names = os.listdir(place)  # noqa: PTH208 - there may be a hundred thousand
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(one) for one in names if one.isascii() and one.isdigit() and len(one) < 16 and one[0] != "0")
