"""Puts a restored state in the place of another: the database comes last, and with it everything is there."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from tidegate import places
from tidegate.errors import BadInput
from tidegate.restore.agents import Carried
from tidegate.stores.vault import KEY, private

OURS = ("tidegate.db", "tidegate.db-wal", "tidegate.db-shm", "secrets", "attempts")


def is_empty(state: Path) -> bool:
    """Whether nothing lies in a state directory that a restore would take the place of."""
    return not any(os.path.lexists(state / name) for name in OURS)


def keep_secrets(state: Path, staged: Path, wanted: frozenset[str]) -> None:
    """Take what a backup without secrets lacks from the state before it, and go on with its key."""
    old, new = places.secrets(state), places.secrets(staged)
    for name in (KEY, *sorted(wanted)):
        if (old / name).is_file() and not (new / name).exists():
            private(new)
            shutil.copy2(old / name, new / name)
            (new / name).chmod(0o600)


def move_aside(state: Path, aside: Path, whose: Carried) -> None:
    """Move what lies in a state directory into another, but for the output that goes on to be its jobs'."""
    private(aside)
    for name in (*OURS[:3], "secrets"):
        with suppress(FileNotFoundError):
            (state / name).rename(aside / name)
    for job in whose.others:
        private(places.attempts(aside))
        (places.attempts(state) / str(job)).rename(places.attempts(aside) / str(job))
    sync(aside)


def move_in(staged: Path, state: Path) -> None:
    """Move a restored state into its place. Raises BadInput where somebody has begun another one there meanwhile."""
    for place in places.attempts(staged).glob("*/*"):
        target = places.attempts(state) / place.parent.name / place.name
        if not target.exists():
            private(target.parent)
            place.rename(target)
    with suppress(FileNotFoundError):
        places.secrets(staged).rename(places.secrets(state))
    sync(state)
    try:
        os.link(places.database(staged), places.database(state))  # which replaces nothing
    except FileExistsError:
        raise BadInput(f"{places.database(state)}: somebody has made it meanwhile: restore once more") from None
    sync(state)


def sync(directory: Path) -> None:
    """See that the names in a directory are on the disk."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
