"""Tells which process owns a lock file, and what keeps that from recording anything."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

LOCKS = Path("/proc/locks")
MOST = 1000  # bytes of a lock file
LOOKS = 10  # at most, where a table without the lock is doubtful


def owner(lock: Path) -> int | None:
    """The process that holds a lock file, None where none does.

    It reads the kernel's table, because trying the lock could make a supervisor that starts just now believe that
    another one runs. The kernel hands the table out by the page, and leaves a line out where others come and go
    meanwhile: where the one who wrote its pid lives, it is asked again.
    """
    for _ in range(LOOKS):
        if (found := _owner(lock)) is not None:
            return found
        if not Path(f"/proc/{_written(lock) or 0}").exists():
            return None
    return None


def _owner(lock: Path) -> int | None:
    try:
        found, table = lock.stat(), LOCKS.read_text()
    except FileNotFoundError:
        return None if LOCKS.exists() else _by_trying(lock)
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
    for line in table.splitlines():
        match line.split():
            case [_, "FLOCK", _, "WRITE", pid, place, *_] if place.endswith(f":{found.st_ino}"):
                if place.startswith(device) or pid == _written(lock):  # btrfs and overlays name another device
                    return int(pid)
            case _:
                pass
    return None


def _written(lock: Path) -> str:
    """The pid that the owner, or the last one, wrote into its lock file."""
    return _lines(lock)[0][:32].strip()


def trouble(lock: Path) -> str:
    """Why the owner of a lock file can record nothing now; "" where it can."""
    return "".join(_lines(lock)[1:2])


def say_trouble(lock: Path, why: str) -> None:
    """Say so as the owner: it is all that can be written while the database cannot be, for it takes no room."""
    with suppress(OSError):
        fd = os.open(lock, os.O_WRONLY | os.O_CLOEXEC)
        try:
            said = f"{os.getpid()}\n{' '.join(why.split())}\n".encode()[:MOST]
            os.pwrite(fd, said, 0)
            os.ftruncate(fd, len(said))
        finally:
            os.close(fd)


def _lines(lock: Path) -> list[str]:
    try:
        return lock.read_bytes()[:MOST].decode(errors="replace").split("\n")
    except OSError:
        return [""]


def _by_trying(lock: Path) -> int | None:
    """The same where the kernel shows no table of locks."""
    try:
        fd = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        written = _written(lock)
        return int(written) if written.isascii() and written.isdigit() else 0
    finally:
        os.close(fd)
    return None
