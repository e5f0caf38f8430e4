"""Writes a backup: one compressed tar, its manifest last."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from tidegate import __version__, places
from tidegate.backup.manifest import ALLOWED, ATTEMPTS, DATABASE, FORMAT, HEADER, MANIFEST, SECRETS, Manifest, as_text
from tidegate.stores.snapshot import snapshot

LONG = 3600.0  # seconds that no copy of a database takes
LEVEL = 1  # of compression: a database shrinks to a fifth, at 100 MB a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What goes into a backup besides the database; `raw`: the database's files as they lie there, damaged maybe.

    `attempts` are directories whose output goes in whether or not all other does.
    """

    secrets: bool = False
    output: bool = False
    raw: bool = False
    attempts: tuple[Path, ...] = ()


def write(state: Path, to: BinaryIO, now: datetime, wanted: Wanted) -> Manifest:
    """Write a backup of a state directory; nobody who works there is disturbed. Raises StoreBroken, OSError."""
    with gzip.GzipFile("", "wb", LEVEL, to, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w|") as archive:
        writing = _Writing(archive, now)
        writing.text(HEADER, f"{FORMAT}\n".encode())
        _clear(state, now)
        schema = _write_raw(writing, state) if wanted.raw else _write_database(writing, state)
        for name, path in _files(state, wanted):
            writing.file(name, path)
        manifest = Manifest(
            made_at=now,
            host=os.uname().nodename,
            version=__version__,
            schema=schema,
            secrets=wanted.secrets,
            output=wanted.output,
            files=writing.files,
        )
        writing.text(MANIFEST, as_text(manifest))
    return manifest


def _clear(state: Path, now: datetime) -> None:
    """Remove the copies that backups which were killed have left."""
    for left in state.glob(".backup-*"):
        with suppress(FileNotFoundError):
            if now.timestamp() - left.stat().st_mtime > LONG:
                shutil.rmtree(left, ignore_errors=True)


def _write_database(writing: _Writing, state: Path) -> int:
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=state) as place:  # beside it: there is room for it
        copy = Path(place) / DATABASE
        schema = snapshot(places.database(state), copy)
        writing.file(DATABASE, copy)
    return schema


def _write_raw(writing: _Writing, state: Path) -> int:
    for suffix in ("", "-wal"):
        writing.file(f"{DATABASE}{suffix}", Path(f"{places.database(state)}{suffix}"))
    return 0


def _files(state: Path, wanted: Wanted) -> Iterator[tuple[str, Path]]:
    """What belongs there: what somebody has put beside it would keep the backup from being restored."""
    return ((name, path) for name, path in _there(state, wanted) if ALLOWED.fullmatch(name))


def _there(state: Path, wanted: Wanted) -> Iterator[tuple[str, Path]]:
    if wanted.secrets:
        for path in _sorted(places.secrets(state).glob("[!.]*")):
            yield f"{SECRETS}/{path.name}", path
    for place in sorted(places.attempts(state).glob("*/*") if wanted.output else wanted.attempts):
        for path in _sorted(place.rglob("*")):  # with what an agent has put there, whatever its name
            yield f"{ATTEMPTS}/{path.relative_to(places.attempts(state))}", path


def _opened(path: str, how: int) -> int:
    """Open a file, but no link and no pipe that an agent has put in its place since it was looked at."""
    return os.open(path, how | os.O_NOFOLLOW | os.O_NONBLOCK)


def _sorted(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.is_file() and not path.is_symlink())


class _Writing:
    """An archive under way, and what is in it so far."""

    def __init__(self, archive: tarfile.TarFile, now: datetime) -> None:
        self._archive = archive
        self._now = now
        self.files: dict[str, tuple[int, str]] = {}

    def text(self, name: str, text: bytes) -> None:
        """Add a file of the backup itself."""
        self._archive.addfile(self._info(name, len(text), self._now.timestamp()), io.BytesIO(text))

    def file(self, name: str, path: Path) -> None:
        """Add a file as long as it is now: an agent may be writing to it. One that is gone is left out.

        What is cut off meanwhile, as an agent may do with its output, is filled with zeros, as tar itself does.
        """
        with suppress(FileNotFoundError), open(path, "rb", opener=_opened) as opened:
            found = os.fstat(opened.fileno())
            hashed = Hashed(opened)
            self._archive.addfile(self._info(name, found.st_size, found.st_mtime), hashed)
            self.files[name] = (found.st_size, hashed.digest.hexdigest())

    def _info(self, name: str, size: int, at: float) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.size, info.mtime, info.mode = size, int(at), 0o600
        return info


class Hashed(io.RawIOBase):
    """A file that is read once, and its checksum."""

    def __init__(self, opened: BinaryIO) -> None:
        self._opened = opened
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """The next bytes, as many as are asked for."""
        data = self._opened.read(size).ljust(max(size, 0), b"\0")
        self.digest.update(data)
        return data
