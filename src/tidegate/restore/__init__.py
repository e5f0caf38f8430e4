"""Restores a state directory from a backup: verified before it takes the place, and nothing of it runs twice."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from tidegate import places
from tidegate.backup import Manifest, unpack
from tidegate.errors import BadInput, StoreBlocked
from tidegate.restore import agents, settling, swap
from tidegate.restore.agents import Carried
from tidegate.restore.swap import is_empty
from tidegate.stores import sqlite
from tidegate.stores.books import BLINDING, books
from tidegate.stores.exchange import exchange
from tidegate.stores.vault import sync

__all__ = ["Restored", "is_empty", "restore"]


class Restored(Struct, frozen=True, kw_only=True):
    """What a restore has done: `lost` attempts ran then and cannot be followed, `followed` jobs go on with the output
    that lay here, `waiting` ones lack their secrets; `aside` is where the state before it lies.
    """

    manifest: Manifest
    jobs: int
    lost: int
    followed: int
    waiting: int
    aside: Path | None


def restore(packed: BinaryIO, name: str, state: Path, now: datetime) -> Restored:
    """Put a backup in the place of what lies in a state directory, which its caller owns.

    Raises BadInput where the file is no whole backup, or agents run that nobody would follow; nothing has changed then.
    """
    swap.finish(state)
    staged = state / f"{swap.STAGED}{os.getpid()}"
    staged.mkdir(mode=0o700)
    try:
        return _restore(packed, name, state, staged, now)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _restore(packed: BinaryIO, name: str, state: Path, staged: Path, now: datetime) -> Restored:
    manifest = unpack(packed, name, staged)
    _check(staged, name, now)
    with closing(sqlite.open(places.database(staged))) as store:  # which brings an older one up to date
        told = books(places.database(staged), now)
        whose = agents.carried(state, store)
        for agent in agents.unheeded(state, told, whose):
            raise BadInput(f"{agent}: end it first (tidegate reap), or its work would be done twice")
        swap.keep_secrets(state, staged, frozenset(told.secrets))
        case = settling.Case(state=state, staged=staged, manifest=manifest, whose=whose, books=told)
        lost = settling.settle(store, case, now)
        settling.drop_newer(staged, store)
        waiting = settling.hold_back(store, now)
        jobs = sum(store.counts().values())
    aside = _swap(state, staged, whose, now)
    return Restored(manifest=manifest, jobs=jobs, lost=lost, followed=len(whose.kept), waiting=waiting, aside=aside)


def _check(staged: Path, name: str, now: datetime) -> None:
    """Refuse a database that cannot be worked with; what a repair can mend is told afterwards."""
    path = places.database(staged)
    if not path.exists():
        raise BadInput(f"{name}: this backup has no database")
    for fault in books(path, now).faults:
        if fault.kind == "blocked":  # no fault of the backup's
            raise StoreBlocked(f"{path}: {fault.said}")
        if fault.kind in (*BLINDING, "unreadable", "newer"):
            raise BadInput(f"{name}: the database in this backup cannot be used: {fault.said}")


def _swap(state: Path, staged: Path, whose: Carried, now: datetime) -> Path | None:
    """Exchange what lies there; where what lay there is now, None where nothing did.

    Whenever this breaks off, the old database or the new one is there, with all that belongs to it, or will be: the
    output of new jobs that have the numbers of old ones is moved by whoever owns the directory next.
    """
    aside = None if is_empty(state) else _aside(state, now)
    if aside is not None:
        swap.keep_old(state, aside)
    swap.merge(staged, state, but=whose.others)
    if aside is not None:
        swap.plan(staged, aside, whose.others)
    exchange(places.database(state), places.database(staged), aside or staged)
    sync(state)
    swap.complete(state, staged)
    with closing(sqlite.open(places.database(state))) as store:
        store.sweep()
    return aside


def _aside(state: Path, now: datetime) -> Path:
    """Where what lies there is kept: named by the second, and by a number where another restore took that."""
    name = f"before-restore-{now:%Y%m%dT%H%M%S}Z"
    taken = sum(1 for _ in state.glob(f"{name}*"))
    return state / (f"{name}-{taken + 1}" if taken else name)
