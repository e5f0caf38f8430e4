"""Puts a restored state in the place of another, file by file; what lay there is kept in another directory."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Container
from contextlib import suppress
from pathlib import Path

from tidegate import places
from tidegate.stores.vault import KEY, private, sync

STAGED = ".restoring-"  # begins the name of the directory in which a backup is unpacked
PLAN = "then.json"  # what is left to do when the database is in its place
OURS = ("tidegate.db", "tidegate.db-wal", "tidegate.db-shm", "secrets", "attempts")


def is_empty(state: Path) -> bool:
    """Whether nothing lies in a state directory that a restore would take the place of."""
    return not any(os.path.lexists(state / name) for name in OURS)


def keep_secrets(state: Path, staged: Path, wanted: frozenset[str]) -> None:
    """Take what a backup without secrets lacks from the state before it."""
    old, new = places.secrets(state), places.secrets(staged)
    for name in (KEY, *sorted(wanted)):
        if (old / name).is_file() and not (new / name).exists():
            private(new)
            shutil.copy2(old / name, new / name)
            (new / name).chmod(0o600)


def merge(staged: Path, state: Path, but: Container[int] = ()) -> None:
    """Add the files of a restored state to those that lie there, `but` for the output of some jobs; nothing that lies
    there is replaced.
    """
    for place in places.attempts(staged).glob("*/*"):
        if int(place.parent.name) not in but:
            _move(place, places.attempts(state) / place.parent.name / place.name)
    for place in places.secrets(staged).glob("[!.]*"):
        _move(place, places.secrets(state) / place.name)


def _move(place: Path, target: Path) -> None:
    if not target.exists():
        private(target.parent)
        place.rename(target)
        sync(target.parent)


def keep_old(state: Path, aside: Path) -> None:
    """Copy what lies there, but the output, into another directory."""
    private(aside)
    if places.secrets(state).is_dir():
        shutil.copytree(places.secrets(state), places.secrets(aside))
        sync(places.secrets(aside))


def plan(staged: Path, aside: Path, others: Collection[int]) -> None:
    """Write down what is left to do once the database is exchanged: where the output of which jobs goes."""
    part = staged / f".{PLAN}"
    with part.open("w") as opened:
        json.dump({"aside": aside.name, "others": sorted(others)}, opened)
        opened.flush()
        os.fsync(opened.fileno())
    part.rename(staged / PLAN)
    sync(staged)


def complete(state: Path, staged: Path) -> None:
    """Move the output of jobs that are no jobs of this state any more out of the way of those that are.

    Doing it again does what was left.
    """
    try:
        said = json.loads((staged / PLAN).read_bytes())
    except FileNotFoundError:
        return
    aside = places.attempts(state / said["aside"])
    for job in said["others"]:
        private(aside)
        if not (aside / str(job)).exists():
            with suppress(FileNotFoundError):
                (places.attempts(state) / str(job)).rename(aside / str(job))
    merge(staged, state)  # the output of jobs whose numbers those had


def finish(state: Path) -> None:
    """Do what a restore that was killed has left to do, and remove what it has left; its caller owns the directory."""
    for staged in state.glob(f"{STAGED}*"):
        if _is_exchanged(state, staged):
            complete(state, staged)
        shutil.rmtree(staged, ignore_errors=True)


def _is_exchanged(state: Path, staged: Path) -> bool:
    """Whether the database that was unpacked there has become the one of the state directory."""
    new, there = places.database(staged), places.database(state)
    return not new.exists() or (there.exists() and new.samefile(there))
