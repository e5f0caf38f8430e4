"""Reads a backup: whatever a file holds, it is unpacked whole and as it was, or refused in one line."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tidegate.backup.manifest import ALLOWED, FORMAT, HEADER, MANIFEST, Manifest, of_text
from tidegate.errors import BadInput
from tidegate.stores.vault import private

CHUNK = 1 << 20
SMALL = 64 << 20  # bytes that a header or a manifest may have
DAMAGES = (
    *(tarfile.TarError, zlib.error, ValueError, TypeError),
    *(KeyError, AttributeError, OverflowError, RecursionError),
)  # what reading rubbish ends in


def unpack(packed: BinaryIO, name: str, into: Path) -> Manifest:
    """Unpack a backup into an empty directory, for this user alone; what it is. Raises BadInput, OSError."""
    with _clearly(name), gzip.GzipFile(fileobj=packed) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
        members = iter(archive)
        _check_header(archive, next(members, None), name)
        seen: dict[str, tuple[int, str]] = {}
        manifest = None
        for member in members:
            if manifest is not None or not member.isfile():
                raise _refused(name, f"has {member.name!r} in it, which no backup has")
            if member.name == MANIFEST:
                manifest = _manifest(archive, member)
            elif ALLOWED.fullmatch(member.name) and member.name not in seen:
                seen[member.name] = _write(archive, member, into / member.name)
            else:
                raise _refused(name, f"has {member.name!r} in it, which no backup has")
        _check(name, manifest, seen)
    assert manifest is not None, "or the check would have refused it"
    return manifest


def _check_header(archive: tarfile.TarFile, member: tarfile.TarInfo | None, name: str) -> None:
    if member is None or member.name != HEADER or not member.isfile():
        raise BadInput(f"{name}: is no backup of tidegate")
    text = _bytes(archive, member).strip()
    if not text.isdigit() or int(text) > FORMAT:
        raise _refused(name, "was made by a newer tidegate: upgrade tidegate")


def _manifest(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Manifest:
    return of_text(_bytes(archive, member))


def _bytes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    opened = archive.extractfile(member)
    if opened is None or member.size > SMALL:
        raise ValueError("a member is too long")
    return opened.read()


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> tuple[int, str]:
    """Unpack one file; its length and its checksum as they came out."""
    private(path.parent)
    digest, size = hashlib.sha256(), 0
    opened = archive.extractfile(member)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as written:
        while opened is not None and (data := opened.read(CHUNK)):
            digest.update(data)
            size += len(data)
            written.write(data)
        written.flush()
        os.fsync(written.fileno())
    os.utime(path, (member.mtime, member.mtime))  # late-read lines are dated by it
    return size, digest.hexdigest()


def _check(name: str, manifest: Manifest | None, seen: dict[str, tuple[int, str]]) -> None:
    if manifest is None:
        raise _refused(name, "is cut short: it has no manifest")
    for file in sorted(manifest.files.keys() | seen.keys()):
        if manifest.files.get(file) != seen.get(file):
            raise _refused(name, f"is damaged: {file if file.isprintable() else repr(file)} is not as it was")


def _refused(name: str, why: str) -> BadInput:
    return BadInput(f"{name}: this backup {why}")


@contextmanager
def _clearly(name: str) -> Iterator[None]:
    try:
        yield
    except gzip.BadGzipFile as error:
        whole = "CRC" not in str(error) and "length" not in str(error)
        raise BadInput(f"{name}: is no backup of tidegate" if whole else f"{name}: this backup is damaged") from None
    except EOFError:
        raise _refused(name, "is cut short") from None
    except DAMAGES as error:
        raise _refused(name, f"is damaged: {error}") from None
