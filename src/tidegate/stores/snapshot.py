"""Copies a database as it is at one moment, beside whoever works with it."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import apsw

from tidegate.errors import StoreBlocked, StoreBroken
from tidegate.stores.connection import PASSING, SQL

PATIENCE = 25_000  # milliseconds to wait for whoever has the file for itself


def snapshot(database: Path, to: Path) -> int:
    """Write a copy for this user alone, on the disk when this returns; its schema's version.

    Raises StoreBroken, and StoreBlocked where not the database is to blame.
    """
    os.close(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with (
            closing(apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)) as source,
            closing(apsw.Connection(str(to))) as target,
        ):
            source.set_busy_timeout(PATIENCE)
            if not next(source.execute(SQL["is_ours"]))[0]:
                raise StoreBroken(f"{database}: is not a tidegate database")
            with target.backup("main", source, "main") as copying:
                copying.step()  # all at once: readers keep no writer of a WAL waiting
            return int(next(target.execute(SQL["schema_version"]))[0])
    except apsw.Error as error:
        kind = StoreBlocked if isinstance(error, PASSING) else StoreBroken
        raise kind(f"{database}: cannot be copied: {error}") from error
