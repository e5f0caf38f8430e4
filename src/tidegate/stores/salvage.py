"""Writes what can still be read of a damaged database into a new one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import apsw

from tidegate.errors import StoreBroken
from tidegate.stores.connection import SCHEMA, SQL, Row

TABLES: Final = (  # each before those that refer to it; by which column its rows are found one by one
    *(("migration", "version"), ("supervisor", ""), ("account", ""), ("batch", "id"), ("group", "id"), ("lane", "id")),
    *(("group_need", ""), ("job", "id")),
    *(("definition", "job"), ("attempt", ""), ("hold", ""), ("opening", ""), ("event", "seq"), ("need", "")),
    *(("request", "id"), ("hours", ""), ("spent", ""), ("budget", ""), ("history", ""), ("closing", "")),
    *(("habit", ""), ("draw", ""), ("meter", ""), ("tide", ""), ("reading", ""), ("cost", ""), ("held", "")),
    *(("forecast", ""), ("reserve", "")),
)
GAP: Final = 100_000  # numbers without a readable row after which none is expected any more


def salvage(damaged: Path, to: Path) -> Mapping[str, int]:
    """Write a new database from what can be read of a damaged one; how many rows of each table that is.

    The damaged one is only read. Jobs whose definitions are lost are left out: nobody knows what they do. Raises
    StoreBroken where nothing can be read.
    """
    os.close(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    try:
        with _reading(damaged) as source, closing(apsw.Connection(str(to))) as target:
            target.execute(SQL["wal"])
            target.execute(SQL["begin"])
            for version in range(1, SCHEMA + 1):
                target.execute(SQL[f"migration_{version}"])
            found = {table: _copy(source, target, table, key) for table, key in TABLES}
            if not found["job"] and not found["event"]:
                raise StoreBroken(f"{damaged}: nothing can be read of it: restore a backup")
            target.execute(SQL["salvaged"])
            target.execute(SQL["commit"])
    except apsw.Error as error:
        raise StoreBroken(f"{damaged}: cannot be read: {error}: restore a backup") from error
    return found


@contextmanager
def _reading(damaged: Path) -> Iterator[apsw.Connection]:
    with closing(apsw.Connection(str(damaged), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        db.set_busy_timeout(10_000)
        yield db


def _copy(source: apsw.Connection, target: apsw.Connection, table: str, key: str) -> int:
    columns = [name for (name,) in target.execute("SELECT name FROM pragma_table_info(?)", (table,))]
    names = ", ".join(f'"{name}"' for name in columns)
    places = ", ".join("?" * len(columns))
    into = f'INSERT OR IGNORE INTO "{table}" ({names}) VALUES ({places})'  # noqa: S608 - our own names
    count = 0
    for row in _rows(source, table, names, key):
        with suppress(apsw.Error):  # what is no row of ours
            target.execute(into, row)
            count += target.changes()  # none for a row that was read before
    return count


def _rows(source: apsw.Connection, table: str, names: str, key: str) -> Iterator[Row]:
    """Every row that can be read: from the first on, from the last back, and then one by one between."""
    read = f'SELECT {names} FROM "{table}" NOT INDEXED'  # noqa: S608
    if not key:
        yield from _until_damaged(source, read)
        yield from _until_damaged(source, f"{read} ORDER BY 1 DESC")
        return
    first, last = 0, 0
    for at, *row in _until_damaged(source, f'SELECT {key}, {names} FROM "{table}" NOT INDEXED ORDER BY {key}'):  # noqa: S608
        first = int(str(at))
        yield tuple(row)
    for at, *row in _until_damaged(source, f'SELECT {key}, {names} FROM "{table}" NOT INDEXED ORDER BY {key} DESC'):  # noqa: S608
        last = int(str(at))
        yield tuple(row)
    missing = 0
    for number in range(first + 1, last or first + GAP):
        found = list(_until_damaged(source, f"{read} WHERE {key} = ?", number))
        yield from found
        missing = 0 if found else missing + 1
        if missing == GAP:  # a damaged page may tell of any number
            return


def _until_damaged(source: apsw.Connection, query: str, *binds: int | str) -> Iterator[Row]:
    with suppress(apsw.Error, UnicodeDecodeError):
        yield from source.execute(query, binds)
