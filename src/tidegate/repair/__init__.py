"""Repairs a state directory: a backup first, then all that can be mended, and an event for each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from msgspec import Struct, field

from tidegate import places
from tidegate.audit import Finding, audit
from tidegate.audit.finding import MENDS
from tidegate.backup import Wanted, default, save
from tidegate.errors import BadInput
from tidegate.repair import files
from tidegate.stores.books import BLINDING, Fault, books
from tidegate.stores.mending import mend
from tidegate.stores.salvage import salvage
from tidegate.stores.vault import LINKLESS, sync

ROUNDS = 8  # what one repair uncovers the next one mends
EVERY = 10**9
LOST = ("damage", "table")  # what only a new file mends


class Repaired(Struct, kw_only=True):
    """What a repair has done: where the backups are, what was mended, and where a damaged database lies."""

    backups: list[Path] = field(default_factory=list)
    done: list[Finding] = field(default_factory=list)
    damaged: Path | None = None
    rows: int = 0


def repair(state: Path, now: datetime, by: str) -> Repaired:
    """Mend all that can be mended; its caller owns the state directory. Where nothing is wrong nothing is written.

    Raises StoreBroken, OSError.
    """
    repaired, before = Repaired(), set[tuple[str, str]]()
    for _ in range(ROUNDS):
        found = [one for one in audit(state, now) if one.mend]
        told = {(one.kind, one.said) for one in found}
        if not found or told == before:
            break
        before = told
        if not repaired.backups or any(
            one.kind == "output_orphan" for one in found
        ):  # which a round before has uncovered
            repaired.backups.append(_backup(state, found, now))
        _mend(state, found, now, by, repaired)
        repaired.done += found
    return repaired


def _backup(state: Path, found: Sequence[Finding], now: datetime) -> Path:
    """All that a repair may change or remove, in a file."""
    orphans = tuple(one.place for one in found if one.kind == "output_orphan" and one.place is not None)
    wanted = Wanted(secrets=True, raw=any(one.kind in BLINDING for one in found), attempts=orphans)
    for number in range(100):
        path = default(state, now, f"before-repair{f'-{number}' if number else ''}")
        with suppress(BadInput):  # another one of this second
            save(state, path, now, wanted)
            return path
    raise BadInput(f"{places.backups(state)}: no name is free")


def _mend(state: Path, found: Sequence[Finding], now: datetime, by: str, repaired: Repaired) -> None:
    if any(one.kind in LOST for one in found):
        _write_anew(state, now, by, repaired)
        return
    faults = [one for one in books(places.database(state), now, EVERY).faults if one.kind in MENDS]
    faults += [Fault(kind=one.kind, said=one.said) for one in found if files.mend(state, one)]
    mend(places.database(state), faults, now, by)


def _write_anew(state: Path, now: datetime, by: str, repaired: Repaired) -> None:
    """Take the damaged database out of the way of a new one, with all that can be read of it."""
    path = places.database(state)
    new, aside = path.with_name(f".{path.name}.salvaged"), path.with_name(f"{path.name}.damaged-{now:%Y%m%dT%H%M%S}Z")
    new.unlink(missing_ok=True)
    try:
        rows = salvage(path, new)
        _keep(path, aside)  # first: one of them lies there whenever this breaks off
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(f"{path}{suffix}", f"{aside}{suffix}")  # noqa: PTH104 - three names of one file
        new.replace(path)
        sync(state)
    finally:
        new.unlink(missing_ok=True)
    repaired.damaged, repaired.rows = aside, sum(rows.values())
    told = ", ".join(f"{number} of {table}" for table, number in rows.items() if number)
    mend(path, [Fault(kind="damage", said=f"the database was damaged; read were {told}; it lies in {aside}")], now, by)


def _keep(path: Path, aside: Path) -> None:
    """Let a file lie under another name too; as a copy, where none can have two."""
    try:
        os.link(path, aside)
    except OSError as error:
        if error.errno not in LINKLESS:
            raise
        shutil.copy2(path, aside)
