"""Rings the bell of the supervisor that owns a state directory, from another process."""

from __future__ import annotations

import errno
import os
from pathlib import Path

NAME = "bell"  # a FIFO: no path-length limit as a socket has, and its mode says who may ring


def ring(state_dir: Path) -> bool:
    """Wake the supervisor of `state_dir`; False where none listens. A lost ring only delays."""
    try:
        fd = os.open(state_dir / NAME, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENXIO, errno.EACCES):
            return False
        raise
    try:
        os.write(fd, b"!")
    except BlockingIOError:
        pass  # full of rings: it will wake up
    finally:
        os.close(fd)
    return True


def listen(state_dir: Path) -> int:
    """Open the FIFO for listening (made with mode 0600) and return its non-blocking descriptor."""
    path = state_dir / NAME
    if not path.is_fifo():
        path.unlink(missing_ok=True)
        os.mkfifo(path, 0o600)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)  # RDWR: never an end of file when a ringer leaves


def answer(fd: int) -> bool:
    """Swallow the rings that have come; whether there was one."""
    try:
        return bool(os.read(fd, 65536))
    except BlockingIOError:
        return False
