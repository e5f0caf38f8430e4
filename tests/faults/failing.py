"""tidegate on a disk that fails: the FAULT_AT-th operation that changes a file below FAULT_BELOW, and those after it.

FAULT_FOR says how many fail, FAULT_ERROR how ("ENOSPC", "EDQUOT", "EIO", "EROFS"). Operations are those of this program
and of its SQLite, not its agents'. Each is written down in FAULT_TOLD.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import apsw

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
BY_PATH = ("mkdir", "mkfifo", "unlink", "rmdir", "rename", "replace", "link", "symlink")
BY_DESCRIPTOR = ("write", "pwrite", "ftruncate", "fsync")


class Disk:
    """Counts operations, and says which fail."""

    def __init__(self) -> None:
        self.below = os.environ["FAULT_BELOW"]
        self.at, self.times = int(os.environ["FAULT_AT"]), int(os.environ.get("FAULT_FOR", "1"))
        self.error = getattr(errno, os.environ.get("FAULT_ERROR", "ENOSPC"))
        self.told = os.open(os.environ["FAULT_TOLD"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.number = 0
        self.really_write = os.write

    def fails(self, what: str, path: object) -> bool:
        name = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
        if not name.startswith(self.below):
            return False
        self.number += 1
        failing = self.at <= self.number < self.at + self.times
        said = f"{self.number} {what} {name[len(self.below) :]}{' FAILS' if failing else ''}\n"
        self.really_write(self.told, said.encode())
        return failing

    def refuse(self, what: str, path: object) -> None:
        if self.fails(what, path):
            raise OSError(self.error, os.strerror(self.error), os.fsdecode(path) if path else None)  # type: ignore[arg-type]

    def refuse_sqlite(self, what: str, path: object) -> None:
        if self.fails(what, path):
            raise (apsw.FullError if self.error == errno.ENOSPC else apsw.IOError)(os.strerror(self.error))


def patch(disk: Disk) -> None:
    """Put the disk between this program and the system."""
    for name in BY_PATH:
        _by_path(disk, name)
    for name in BY_DESCRIPTOR:
        _by_descriptor(disk, name)
    really_open = os.open

    def opened(path: Any, flags: int, *args: Any, **more: Any) -> int:
        if flags & WRITING:
            disk.refuse("open", path)
        return really_open(path, flags, *args, **more)

    vars(os)["open"] = opened


def _by_path(disk: Disk, name: str) -> None:
    real: Callable[..., Any] = getattr(os, name)

    def done(path: Any, *args: Any, **more: Any) -> Any:
        if "dir_fd" not in more:
            disk.refuse(name, path)
        return real(path, *args, **more)

    vars(os)[name] = done


def _by_descriptor(disk: Disk, name: str) -> None:
    real: Callable[..., Any] = getattr(os, name)

    def done(fd: int, *args: Any) -> Any:
        try:
            path = str(Path(f"/proc/self/fd/{fd}").readlink())
        except OSError:
            path = ""
        disk.refuse(name, path)
        return real(fd, *args)

    vars(os)[name] = done


class Shim(apsw.VFS):
    """SQLite's way to the disk."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        super().__init__("failing", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if not Path(path or "/").exists():
            self.disk.refuse_sqlite("open", path)
        return ShimFile(self.disk, path, name, flags)

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: N802
        self.disk.refuse_sqlite("delete", name)
        super().xDelete(name, syncdir)


class ShimFile(apsw.VFSFile):
    """One open file of SQLite."""

    def __init__(self, disk: Disk, path: str | None, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self.disk, self.path = disk, path
        self.reads = bool(flags[0] & apsw.SQLITE_OPEN_READONLY)

    def xLock(self, level: int) -> None:  # noqa: N802
        if not self.reads or level <= apsw.SQLITE_LOCK_SHARED:  # SQLite asks for more at the close, and takes a no
            super().xLock(level)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self.disk.refuse_sqlite("write", self.path)
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self.disk.refuse_sqlite("truncate", self.path)
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self.disk.refuse_sqlite("sync", self.path)
        super().xSync(flags)


def quiet(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A second error inside of SQLite is the shim's alone; a real disk's has no traceback that could be printed."""
    if not issubclass(kind, apsw.Error):
        sys.__excepthook__(kind, error, trace)


if __name__ == "__main__":
    sys.excepthook = quiet
    disk = Disk()
    shim = Shim(disk)
    patch(disk)
    from tidegate.__main__ import main

    main()
