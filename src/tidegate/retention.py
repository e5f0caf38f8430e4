"""Removes the output of ended jobs: what is too old, and the oldest where there is more than there may be.

Only the directories of attempts go; the jobs stay in the store, or a batch would run again what it has finished. Below
the directory of all attempts no link is followed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tidegate import launch, places
from tidegate.model import Job
from tidegate.stores import Store
from tidegate.workspace.trees import remove_tree, size_of


@dataclass(frozen=True, slots=True)
class Keep:
    """What may stay: output younger than `age` seconds, `size` bytes in all, jobs that ended less than `forget` seconds
    ago; None is no bound.
    """

    age: float | None
    size: int | None
    forget: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What the attempts of one job left on the disk; `ended_at` None: the job is queued or running."""

    job: int
    launches: int
    size: int
    ended_at: datetime | None


@dataclass(slots=True)
class Swept:
    """What was removed so far: jobs, attempts, bytes; the bytes that are left, and a line for what resisted."""

    jobs: int = 0
    attempts: int = 0
    size: int = 0
    left: int = 0
    resisted: list[str] = field(default_factory=list)


def sweep(state: Path, store: Store, now: datetime, keep: Keep, *, dry: bool = False) -> Iterator[Swept]:
    """Look at the output of each job, then remove what need not stay; after each job tell how far it has got.

    `dry` only counts. Bytes are those on the disk. A job that is retried meanwhile loses at most the output that it
    had before.
    """
    swept, outputs = Swept(), []
    for one in _outputs(state, store):
        outputs.append(one)
        swept.left += one.size
        yield swept
    for one in surplus(outputs, now, keep):
        found = store.job(one.job)
        if found is None or found.state.is_final:
            _remove(places.attempts(state) / str(one.job), one, swept, dry=dry)
        yield swept


def surplus(outputs: Iterable[Output], now: datetime, keep: Keep) -> Iterator[Output]:
    """What need not stay, the longest ended first."""
    outputs = list(outputs)
    left = sum(one.size for one in outputs)
    age = min((bound for bound in (keep.age, keep.forget) if bound is not None), default=None)
    before = now - timedelta(seconds=age) if age is not None else None
    ended = ((one.ended_at, one) for one in outputs if one.ended_at is not None)
    for ended_at, one in sorted(ended, key=lambda pair: (pair[0], pair[1].job)):
        too_old = before is not None and ended_at <= before
        too_much = keep.size is not None and left > keep.size
        if not (too_old or too_much):
            return
        left -= one.size
        yield one


def forgettable(store: Store, before: datetime) -> list[int]:
    """The jobs that ended before an instant and that nobody can hand in again: those of a batch that ended wholly
    before it, and those that are named by their own number.

    A batch that has begun to end would run what it has finished once more, if that was forgotten.
    """
    ended: dict[int, list[Job]] = {}
    after = 0
    while jobs := store.ended(before, after=after):
        for job in jobs:
            ended.setdefault(job.batch, []).append(job)
        after = jobs[-1].id
    found = []
    for batch, jobs in ended.items():
        whole = len(jobs) == sum(store.counts(batch).values())
        found += [job.id for job in jobs if whole or job.name == str(job.id)]
    return found


# --- what is there -----------------------------------------------------------------------------


def _outputs(state: Path, store: Store) -> Iterator[Output]:
    """The output of every job; a number that no job has is a job that was forgotten, or of a database before this."""
    try:
        with os.scandir(places.attempts(state)) as entries:
            there = [entry for entry in entries if _is_number(entry.name) and entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return
    for entry in there:
        if (output := _output(int(entry.name), Path(entry.path), store)) is not None:
            yield output


def _output(job: int, place: Path, store: Store) -> Output | None:
    try:
        modified = datetime.fromtimestamp(place.lstat().st_mtime, UTC)
    except FileNotFoundError:  # somebody else cleans
        return None
    found, numbers = store.job(job), _numbers(place)
    size = sum(size_of(place / str(n)) for n in numbers)
    if found is None:
        return Output(job=job, launches=max(numbers, default=0), size=size, ended_at=modified)
    ended_at = (found.ended_at or modified) if found.state.is_final else None
    return Output(job=job, launches=found.launches, size=size, ended_at=ended_at)


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 19 and not name.startswith("0")


def _numbers(place: Path) -> list[int]:
    try:
        return sorted(int(one.name) for one in place.iterdir() if _is_number(one.name))
    except FileNotFoundError:
        return []


# --- removing it -------------------------------------------------------------------------------


def _remove(place: Path, output: Output, swept: Swept, *, dry: bool) -> None:
    """Remove the attempts of an ended job; one that the job has started since then is not among them."""
    removed = 0
    for n in _numbers(place):
        attempt = place / str(n)
        if n > output.launches or isinstance(launch.found(attempt), launch.Alive):
            continue
        size = size_of(attempt)
        resisted = [] if dry else remove_tree(attempt)
        swept.resisted += resisted
        if not resisted:
            removed += 1
            swept.size, swept.left = swept.size + size, swept.left - size
    swept.attempts += removed
    swept.jobs += bool(removed)
    if not dry:
        _remove_empty(place)


def _remove_empty(place: Path) -> None:
    """Remove the directory of a job unless something is in it, or comes."""
    with suppress(OSError):
        place.rmdir()
