"""Looks whether a database file is whole, and changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from tidegate.errors import StoreBroken
from tidegate.stores.connection import EMPTIED, SCHEMA, SQL, is_emptied

PATIENCE: Final = 2000  # milliseconds to wait for whoever has the file for itself


def faults(path: Path, *, thoroughly: bool = True) -> list[str]:
    """What is wrong with the file, in one line each; none where it is whole. `thoroughly`: every page is read."""
    try:
        with _reading(path) as db:
            if next(db.execute(SQL["is_empty"]))[0]:
                return [EMPTIED] if is_emptied(path) else []
            if not next(db.execute(SQL["is_ours"]))[0]:
                return ["is not a tidegate database"]
            version = next(db.execute(SQL["schema_version"]))[0]
            if version > SCHEMA:
                return [f"made by a newer tidegate (schema {version}; this one knows {SCHEMA}): upgrade tidegate"]
            rows = db.execute(SQL["quick_check"]) if thoroughly else ()
            return [str(row[0]) for row in rows if row[0] != "ok"]
    except (apsw.Error, StoreBroken) as error:
        return [f"{type(error).__name__.removesuffix('Error')}: {error}"]


@contextmanager
def _reading(path: Path) -> Iterator[apsw.Connection]:
    if not os.access(path, os.R_OK):
        raise StoreBroken("this user may not read it")
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        db.set_busy_timeout(PATIENCE)
        yield db
    finally:
        db.close()
