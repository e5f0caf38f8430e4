"""Checks that a database is whole and that its books balance, and changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import apsw
from msgspec import Struct, field

from tidegate.errors import StoreBroken
from tidegate.model import family
from tidegate.stores.connection import PASSING, SCHEMA, SQL, statements
from tidegate.stores.rows import iso

PATIENCE: Final = 10_000  # milliseconds to wait for whoever has the file for itself
SLACK: Final = timedelta(minutes=5)  # by which clocks may differ, and in which a request may wait
MOST: Final = 20  # faults of one kind that are told one by one
AUDIT: Final = statements("audit.sql")
BLINDING: Final = ("damage", "index", "table")
DOUBTFUL: Final = frozenset({"times_ahead", "request_old", "event_job", "attempt_claim", "job_added", "job_untold"})


class Fault(Struct, frozen=True, kw_only=True):
    """One thing that is not as it must be: its `kind`, and a sentence about an attempt, a job, or the database.

    `doubtful`: it can be so without harm.
    """

    kind: str
    said: str
    job: int | None = None
    attempt: int | None = None
    doubtful: bool = False


class Open(Struct, frozen=True, kw_only=True):
    """An attempt that is running, by the database: its job and number, and whose it is."""

    job: int
    n: int
    supervisor: str
    host: str


class Entered(Struct, frozen=True):
    """An incarnation that has entered, and left where `left_at` says when."""

    host: str
    pid: int
    started_at: datetime
    left_at: str | None


class Books(Struct, frozen=True, kw_only=True):
    """What a database says at one moment, and what is wrong with that.

    `attempts` are all of them with their exit statuses, `kept` those whose output must still be there,
    `launches` how many each job has; `supervisors`
    are all that ever entered, by uuid; `secrets` are the files that definitions name, each with a job.
    """

    faults: list[Fault]
    is_readable: bool = True
    attempts: Mapping[tuple[int, int], int | None] = field(default_factory=dict)
    launches: Mapping[int, int] = field(default_factory=dict)
    kept: frozenset[tuple[int, int]] = frozenset()
    open: tuple[Open, ...] = ()
    supervisors: Mapping[str, Entered] = field(default_factory=dict)
    secrets: Mapping[str, int] = field(default_factory=dict)


def books(path: Path, now: datetime, most: int = MOST) -> Books:
    """The books of a database, told in one look: whoever works beside it is not disturbed, and nothing is half done.

    At most `most` faults of one kind are told one by one.
    """
    try:
        with _look(path) as db:
            return _told(db, now, most)
    except (apsw.Error, StoreBroken, UnicodeDecodeError) as error:
        said = f"{type(error).__name__.removesuffix('Error')}: {error}"
        return Books(faults=[Fault(kind=_kind(error), said=said)], is_readable=False)


def _kind(error: Exception) -> str:
    """What kind of fault an error while reading is; another program's lock or a bad disk is none of the database's."""
    if isinstance(error, apsw.CorruptError | UnicodeDecodeError):
        return "damage"
    return "blocked" if isinstance(error, PASSING) else "unreadable"


def _told(db: apsw.Connection, now: datetime, most: int) -> Books:
    if _number(db, SQL["is_empty"]):  # made just now
        return Books(faults=[])
    if strange := list(_strange(db)):
        return Books(faults=strange, is_readable=False)
    faults = [*_damages(db), *_schema(db)]
    if any(one.kind in BLINDING for one in faults):  # a broken table, or index, answers wrongly
        return Books(faults=faults, is_readable=False)
    binds = {"soon": iso(now + SLACK), "ago": iso(now - SLACK)}
    for kind, statement in AUDIT.items():
        if not kind.startswith("see_"):
            found = list(_first(kind, db.execute(statement, binds), most))
            if found and (past := AUDIT.get(f"see_past_{kind}")):
                db.execute(past)
            faults += found
    return Books(
        faults=faults,
        attempts={(job, n): exit for job, n, exit in db.execute(AUDIT["see_attempts"])},
        launches=dict(db.execute(AUDIT["see_launches"])),
        kept=frozenset((job, n) for job, n in db.execute(AUDIT["see_kept"])),
        open=tuple(Open(job=job, n=n, supervisor=by, host=host) for job, n, by, host in db.execute(AUDIT["see_open"])),
        supervisors={uuid: _entered(*row) for uuid, *row in db.execute(AUDIT["see_supervisors"])},
        secrets={str(name): job for name, job in db.execute(AUDIT["see_secrets"])},
    )


def _entered(host: str, pid: int, started_at: str, left_at: str | None) -> Entered:
    return Entered(host, pid, _instant(started_at), left_at)


def _instant(said: str) -> datetime:
    """What a text tells; long ago where it tells none, which is a fault of its own."""
    try:
        return datetime.fromisoformat(said).replace(tzinfo=UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def _first(kind: str, rows: Iterable[tuple[int | None, int | None, str]], most: int) -> Iterator[Fault]:
    """A fault for each row; from a number on only how many more there are."""
    more = 0
    for number, (job, attempt, said) in enumerate(rows):
        if number < most:
            yield Fault(kind=kind, said=said, job=job, attempt=attempt, doubtful=kind in DOUBTFUL)
        else:
            more += 1
    if more:
        yield Fault(kind=kind, said=f"{more} more are so", doubtful=kind in DOUBTFUL)


def _strange(db: apsw.Connection) -> Iterator[Fault]:
    """Why this is no database that could be looked into."""
    if not _number(db, SQL["is_ours"]):
        yield Fault(kind="unreadable", said="is not a tidegate database")
        return
    version = _number(db, SQL["schema_version"])
    if version > SCHEMA:
        said = f"made by a newer tidegate (schema {version}; this one knows {SCHEMA}): upgrade tidegate"
        yield Fault(kind="newer", said=said)
    elif version < SCHEMA:
        said = f"made by an older tidegate (schema {version}): the next command that works here brings it up to date"
        yield Fault(kind="older", said=said, doubtful=True)


def _damages(db: apsw.Connection) -> Iterator[Fault]:
    """What SQLite itself finds: pages, then indexes, then references to rows that are not there."""
    for (told,) in db.execute(AUDIT["see_integrity"]):
        if told != "ok":
            said = str(told).strip().replace("\n", "; ")
            yield Fault(kind="index" if _is_of_index(said) else "damage", said=said)
    for table, row, parent, _ in db.execute(AUDIT["see_references"]):
        yield Fault(kind="reference", said=f"row {row} of {table} refers to a row of {parent} that is not there")


def _is_of_index(said: str) -> bool:
    return "missing from index" in said or "entries in index" in said or "non-unique entry in index" in said


def _schema(db: apsw.Connection) -> Iterator[Fault]:
    """What is there besides, or instead of, the tables, indexes and triggers of a new database."""
    there, wanted = reference(db), reference()
    for name, sql in wanted.items():
        is_table = name.startswith("table ")
        if name not in there:
            yield Fault(kind="table" if is_table else "schema_part", said=f"{name} is missing")
        elif there[name] != sql:
            kind = "schema" if is_table else "schema_part"
            yield Fault(kind=kind, said=f"{name} is not as a new database has it")
    for name in there.keys() - wanted.keys():
        yield Fault(kind="schema", said=f"{name} is not ours", doubtful=True)


def reference(db: apsw.Connection | None = None) -> Mapping[str, str]:
    """The tables (with their columns, STRICT or not), indexes and triggers of a database, each as one text.

    Without one, those of a new database.
    """
    if db is not None:
        return {f"{kind} {name}": str(said) for kind, name, said in db.execute(AUDIT["see_things"])}
    with closing(apsw.Connection(":memory:")) as new:
        for version in range(1, SCHEMA + 1):
            new.execute(SQL[f"migration_{version}"])
        return reference(new)


def _number(db: apsw.Connection, statement: str) -> int:
    return int(next(db.execute(statement))[0])


def family_of(*models: object) -> str:
    """The lane of a model, for SQL to ask."""
    return family(None if models[0] is None else str(models[0]))


@contextmanager
def _look(path: Path) -> Iterator[apsw.Connection]:
    """A connection that can only read, in one transaction."""
    if not os.access(path, os.R_OK):
        raise StoreBroken("this user may not read it")
    with closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        db.set_busy_timeout(PATIENCE)
        db.create_scalar_function("family", family_of, 1, deterministic=True)
        db.execute(SQL["look"])
        yield db
