"""Mends what an audit has found in a database; each repair is an event."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final

import apsw

from tidegate.errors import StoreBroken
from tidegate.stores.books import Fault, family_of, reference
from tidegate.stores.connection import SQL, statements
from tidegate.stores.rows import iso, json_text

PATIENCE: Final = 10_000  # milliseconds to wait for other writers
REPAIR: Final = statements("repair.sql")
STEPS: Final = {  # where mending one kind takes another's statements
    "attempt_end": ("attempt_half", "attempt_open"),
    "attempt_told": ("attempt_open",),
    "job_end": ("job_end",),
}


def mend(path: Path, faults: Sequence[Fault], now: datetime, by: str) -> None:
    """Mend what is mendable of these in one transaction; nobody supervises meanwhile. Raises StoreBroken."""
    try:
        with closing(apsw.Connection(str(path))) as db:
            db.set_busy_timeout(PATIENCE)
            db.create_scalar_function("family", family_of, 1, deterministic=True)
            db.execute(SQL["begin"])
            for fault in faults:
                _mend(db, fault, now, by)
            db.execute(SQL["commit"])
    except apsw.Error as error:
        raise StoreBroken(
            f"{path}: cannot be repaired: {type(error).__name__.removesuffix('Error')}: {error}"
        ) from error


def _mend(db: apsw.Connection, fault: Fault, now: datetime, by: str) -> None:
    told = json_text({"kind": fault.kind, "said": fault.said, "by": by})
    binds = {"job": fault.job, "n": fault.attempt, "now": iso(now), "host": os.uname().nodename, "data": told}
    if fault.kind == "schema_part":
        _make_again(db)
    for step in STEPS.get(fault.kind, (fault.kind,)):
        if step in REPAIR:
            db.execute(REPAIR[step], binds)
    db.execute(REPAIR["repaired"], binds)


def _make_again(db: apsw.Connection) -> None:
    """Every index and trigger that is missing, or that is another than a new database has."""
    there = reference(db)
    for name, sql in reference().items():
        if there.get(name) != sql and not name.startswith("table "):
            db.execute(f"DROP {name.partition(' ')[0]} IF EXISTS {name.partition(' ')[2]}")
            db.execute(sql)
