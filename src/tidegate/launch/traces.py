"""How far the attempt of a directory has got, told by its files."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tidegate.model import Exit

PIDS = range(2, 1 << 22)  # more the kernel does not give; 1 is nobody's child
STATUSES = range(256)


@dataclass(frozen=True, slots=True)
class Alive:
    """The shim lives; `pid` is None in the instant before it has written it."""

    pid: int | None


@dataclass(frozen=True, slots=True)
class Ended:
    """The agent ended and its status is recorded."""

    exit: Exit


@dataclass(frozen=True, slots=True)
class Gone:
    """It started, and its end is not known: the shim was killed, or the machine restarted."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unstarted:
    """The agent never ran: safe to start."""


Found = Alive | Ended | Gone | Unstarted


def found(directory: Path) -> Found:
    """How far the attempt of a directory has got."""
    held, pid, code = state_of(directory)
    if held:
        return Alive(pid)
    if pid is None:
        return Unstarted()
    if intent_of(directory).get("boot_id") != boot_id():
        return Gone("the machine was restarted")
    return Gone("the shim was killed") if code is None else Ended(Exit(code))


def was_started(directory: Path) -> bool:
    """Whether the agent of a directory runs or ever ran."""
    return found(directory) != Unstarted()


class State(NamedTuple):
    """What a lock file tells: whether its shim lives, the shim's pid, the agent's exit status."""

    held: bool
    pid: int | None
    code: int | None


def state_of(directory: Path) -> State:
    """What the lock file tells: whether it is held, and its two lines where they are complete."""
    fd = _opened(directory, "lock")
    if fd is None:
        return State(held=False, pid=None, code=None)
    try:
        held = _is_held(fd)  # before the lines: a shim writes its last one while it holds the lock
        return State(held, *lines(os.read(fd, 64)))
    finally:
        os.close(fd)


def _opened(directory: Path, name: str) -> int | None:
    """A file that nothing is to keep from being read: an agent may have put anything in its place."""
    path, how = f"{directory}/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
    fd: int | None
    try:
        fd = os.open(path, how)
    except PermissionError:
        fd = _taken_back(directory, path, how)
    except OSError:
        return None
    if fd is not None and not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    return fd


def _taken_back(directory: Path, path: str, how: int) -> int | None:
    """The same after an agent has locked its supervisor out of its own directory."""
    try:
        directory.chmod(0o700)
        os.chmod(path, 0o600)  # noqa: PTH101 - a text
        return os.open(path, how)
    except OSError:
        return None


def record_of(directory: Path) -> bytes | None:
    """What stands in the lock file; None where there is no such file any more."""
    fd = _opened(directory, "lock")
    if fd is None:
        return None
    try:
        return os.read(fd, 64)
    finally:
        os.close(fd)


def lines(data: bytes) -> tuple[int | None, int | None]:
    """The shim's pid and the exit status, where their lines are complete."""
    pid, code, *_ = [*data.split(b"\n")[:-1], b"", b""]
    return _number(pid, PIDS), _number(code, STATUSES)


def _number(line: bytes, allowed: range) -> int | None:
    number = int(line) if line.isdigit() and len(line) < 10 else -1
    return number if number in allowed else None


def _is_held(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who look do not see one another
    except BlockingIOError:
        return True
    return False


def intent_of(directory: Path) -> Mapping[str, object]:
    """What was written down before the launch; nothing where that cannot be read."""
    fd = _opened(directory, "attempt.json")
    if fd is None:
        return {}
    try:
        with os.fdopen(fd, "rb") as file:
            intent = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return intent if isinstance(intent, dict) else {}


@cache
def boot_id() -> str:
    """The kernel's name for this run of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def absolute(directory: Path) -> Path:
    """The same directory for whoever works elsewhere, as the shim does."""
    return directory if directory.is_absolute() else directory.absolute()
