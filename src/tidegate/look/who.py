"""Who works on a state directory: the process that owns its lock, and what the store knows of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from tidegate import places
from tidegate.lock import owner, trouble

if TYPE_CHECKING:
    from tidegate.model import Supervisor


class Works(Struct, frozen=True, kw_only=True):
    """`pid` is the owner of the state directory, None where nobody works.

    `known` is what the store knows of that process; `gone` are the incarnations that ended without leaving. `trouble`
    says why the owner can record nothing now, "" where it can.
    """

    pid: int | None
    known: Supervisor | None
    gone: Sequence[Supervisor]
    trouble: str = ""


def works(state: Path, entered: Sequence[Supervisor], host: str) -> Works:
    """Who works on a state directory, by its lock and by who has entered the store."""
    pid = owner(places.lock(state))
    mine = [one for one in entered if one.host == host and one.pid == pid]
    gone = [one for one in entered if one.host == host and one.pid != pid]
    said = trouble(places.lock(state)) if pid is not None else ""
    return Works(pid=pid, known=mine[-1] if mine else None, gone=gone, trouble=said)
