"""Puts a restored state in the place of another, file by file; what lay there is kept in another directory."""

from __future__ import annotations

import os
import shutil
from collections.abc import Container
from contextlib import suppress
from pathlib import Path

from tidegate import places
from tidegate.restore.agents import Carried
from tidegate.stores.vault import KEY, private, sync

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


def move_others(state: Path, aside: Path, whose: Carried) -> None:
    """Move the output of jobs that are no jobs of this state any more out of the way."""
    for job in whose.others:
        private(places.attempts(aside))
        with suppress(FileNotFoundError):
            (places.attempts(state) / str(job)).rename(places.attempts(aside) / str(job))
