"""Becomes the program that is installed now, in place: same process, same children, same lock."""

from __future__ import annotations

import fcntl
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL

import anyio

from tidegate import signals

HANDED = "TIDEGATE_LOCK"  # the descriptor of the state directory's lock, for the program that follows
PATIENCE = 60.0  # seconds that the new program gets to read its configuration
SAID = 500  # characters of what it says


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How the installed program looks at what this one was started with: `refused` says why it would not start."""

    said: str = ""
    refused: str = ""


def command() -> list[str]:
    """How this process was started, to be started again."""
    return [sys.executable, *sys.orig_argv[1:]]


async def trial() -> Trial:
    """Let the installed program read its configuration and look at the database, in a process of its own."""
    with anyio.move_on_after(PATIENCE):
        try:
            done = await anyio.run_process([*command(), "--check"], stdin=DEVNULL, check=False)
        except OSError as error:
            return Trial(refused=f"cannot launch {sys.executable}: {error.strerror}")
        if done.returncode == 0:
            return Trial(said=_last_line(done.stdout))
        return Trial(refused=_last_line(done.stderr) or f"exit {done.returncode}")
    return Trial(refused=f"it has not read its configuration within {PATIENCE:.0f} s")


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1][:SAID] if lines else ""


def become(argv: list[str], lock: int) -> None:
    """Be another program from now on: it has this one's children, and owns the lock. Raises OSError.

    Signals that come meanwhile wait until it listens.
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os.set_inheritable(lock, True)  # noqa: FBT003 - its only form
    environment = {**os.environ, HANDED: str(lock)}
    signals.hold_back()  # last: only this thread holds back, and another may still take one
    try:
        os.execve(argv[0], argv, environment)  # noqa: S606 - no shell is wanted
    finally:
        os.set_inheritable(lock, False)  # noqa: FBT003
        signals.keep()


def handed_over(lock: Path) -> int | None:
    """The descriptor of the lock that this process owned before it became this program; None where it is a new one."""
    said = os.environ.pop(HANDED, "")
    if not (said.isascii() and said.isdigit()):
        return None
    fd = int(said)
    try:
        mine, there = os.fstat(fd), lock.stat()
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return None
    if (mine.st_dev, mine.st_ino) != (there.st_dev, there.st_ino):
        return None
    os.set_inheritable(fd, False)  # noqa: FBT003
    _bury()
    return fd


def _bury() -> None:
    """The children that died while nobody listened; what became of them stands in their files."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
