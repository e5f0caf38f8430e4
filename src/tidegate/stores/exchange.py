"""Puts one database in the place of another: at every moment one of them is there, whole."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import apsw

from tidegate.errors import BadInput, StoreBlocked, StoreBroken
from tidegate.stores.connection import PASSING, SQL
from tidegate.stores.snapshot import snapshot
from tidegate.stores.vault import name_it

PATIENCE = 10_000  # milliseconds to wait for whoever reads or writes
MOVED = b"This database was restored from a backup while this file was open.\n"


def exchange(database: Path, new: Path, aside: Path) -> None:
    """Replace a database by another, which nobody has open; a copy of the old one goes into the directory `aside`.

    Raises BadInput where somebody has begun one where none was, or has the old one open all the time; StoreBlocked
    where it cannot be read or written for now.
    """
    if not os.path.lexists(database):
        _begin(database, new)
        return
    with _alone(database, aside), database.open("r+b") as old:
        os.replace(new, database)  # noqa: PTH105 - as the manual of rename(2) has it
        old.write(MOVED)  # whoever has waited for it must not write into a file beside the new one
        old.truncate()


def _begin(database: Path, new: Path) -> None:
    try:
        name_it(new, database)
    except FileExistsError:
        raise BadInput(f"{database}: somebody has made it meanwhile: restore once more") from None


@contextmanager
def _alone(database: Path, aside: Path) -> Iterator[None]:
    """Copy the old database, and keep everybody out of it; a damaged one is copied as it lies there."""
    try:
        snapshot(database, aside / database.name)
    except StoreBlocked:
        raise
    except StoreBroken:
        for suffix in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                shutil.copy2(f"{database}{suffix}", aside / f"{database.name}{suffix}")
                (aside / f"{database.name}{suffix}").chmod(0o600)
    with closing(apsw.Connection(str(database))) as db:
        db.set_busy_timeout(PATIENCE)
        try:
            db.execute(SQL["leave_wal"])
            db.execute(SQL["begin_alone"])
        except (apsw.BusyError, apsw.LockedError):
            raise BadInput(f"{database}: another program uses it: end that, and restore once more") from None
        except PASSING as error:
            raise StoreBlocked(f"{database}: cannot be replaced: {error}") from None
        except apsw.Error:  # damaged: nobody can use it
            for suffix in ("-wal", "-shm"):
                Path(f"{database}{suffix}").unlink(missing_ok=True)
        yield
