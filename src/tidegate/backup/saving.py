"""Saves a backup into a file of its own."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from tidegate import places
from tidegate.backup.manifest import Manifest
from tidegate.backup.writing import Wanted, write
from tidegate.errors import BadInput
from tidegate.stores.vault import name_it, private, sync


def save(state: Path, path: Path, now: datetime, wanted: Wanted) -> Manifest:
    """Write a backup into a new file, for this user alone: it is there as a whole, or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as opened:
            with suppress(PermissionError):  # on FAT, which knows no modes
                os.fchmod(fd, 0o600)
            manifest = write(state, opened, now, wanted)
            opened.flush()
            os.fsync(fd)
        name_it(part, path)
        sync(path.parent)
    except FileExistsError:
        raise BadInput(f"{path}: is there already") from None
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        if error.filename not in (part, str(part)):
            raise
        raise BadInput(f"{path}: cannot write it: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
    return manifest


def default(state: Path, now: datetime, what: str = "tidegate") -> Path:
    """Where a backup goes that is not said to go elsewhere; its directory is made."""
    directory = places.backups(state)
    private(directory)
    return directory / name(now, what)


def name(now: datetime, what: str = "tidegate") -> str:
    """The name of a backup's file."""
    return f"{what}-{now:%Y%m%dT%H%M%S}Z.tar.gz"
