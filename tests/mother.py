"""A mother of programs: it has imported all of tidegate, and bears each in a few milliseconds.

A new interpreter takes half a second of a processor to import what `serve` needs. A child of the mother is the program
from its `main` on: with the arguments, environment, directory, streams and file mask that it is given, and no other
descriptor. As a program this is the mother; it reads its orders from the socket that is its standard input.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

DEATH_SIGNAL = 1
ROOMS = ("serve", "run", "doctor", "settings", "report")


class Process:
    """A child of the mother; as a subprocess.Popen to whoever started it."""

    def __init__(self, args: Sequence[str], told: int) -> None:
        self.args = args
        self.pid: int = struct.unpack("i", os.read(told, 4))[0]
        self.returncode: int | None = None
        self._told = told

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired where it has not ended after so many seconds."""
        if self.returncode is None:
            wait = select.poll()
            wait.register(self._told, select.POLLIN)
            if not wait.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired(list(self.args), timeout or 0)
            self.returncode = os.waitstatus_to_exitcode(struct.unpack("i", os.read(self._told, 4))[0])
            os.close(self._told)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Mother:
    """Bears programs for one test process."""

    def __init__(self) -> None:
        mine, hers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._orders = mine
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=hers.fileno(), stdout=subprocess.DEVNULL, start_new_session=True
        )
        hers.close()

    def close(self) -> None:
        self._orders.close()
        self._process.wait(10)

    def bear(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, streams: Sequence[int], *, alone: bool
    ) -> Process:
        """Start `tidegate ARGV`; `alone` is in a session of its own."""
        order = os.memfd_create("order")
        heard, told = os.pipe()
        mask = int(Path("/proc/self/status").read_text().partition("Umask:")[2].split()[0], 8)
        what = {"argv": argv, "env": dict(env), "cwd": str(cwd), "alone": alone, "umask": mask}
        os.write(order, json.dumps(what).encode())
        socket.send_fds(self._orders, [b"."], [order, told, *streams])
        for fd in (order, told):
            os.close(fd)
        return Process(["tidegate", *argv], heard)


def cgroup() -> str:
    """The cgroup of this process, in which its children begin."""
    return Path("/proc/self/cgroup").read_text()


@cache
def mother() -> Mother:
    """The one of this test process."""
    return Mother()


# --- inside --------------------------------------------------------------------------------------


def main() -> NoReturn:
    """Answer each order with a pid and, later, a status, until nobody asks any more."""
    for name in (*ROOMS, *(f"cli.{path.stem}" for path in (_home() / "cli").glob("[!_]*.py"))):
        importlib.import_module(f"tidegate.{name}")
    importlib.import_module("anyio._backends._asyncio")
    gc.freeze()
    orders = socket.socket(fileno=os.dup(0))
    waking, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    poll = select.poll()
    for fd in (orders.fileno(), waking):
        poll.register(fd, select.POLLIN)
    children: dict[int, int] = {}
    while True:
        _bury(children)
        ready = {fd for fd, _ in poll.poll()}
        if waking in ready:
            with suppress(BlockingIOError):
                os.read(waking, 4096)
        if orders.fileno() in ready:
            said, fds, _, _ = socket.recv_fds(orders, 1, 5)
            if not said:
                os._exit(0)
            _bear(children, *fds)


def _home() -> Path:
    return Path(importlib.import_module("tidegate").__path__[0])


def _bury(children: dict[int, int]) -> None:
    """Tell of each child that has ended."""
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            told = children.pop(pid)
            with suppress(BrokenPipeError):
                os.write(told, struct.pack("i", status))
            os.close(told)


def _bear(children: dict[int, int], order: int, told: int, *streams: int) -> None:
    pid = os.fork()
    if not pid:
        with open(order, "rb") as opened:
            opened.seek(0)
            _live(json.load(opened), streams)
    children[pid] = told
    with suppress(BrokenPipeError):
        os.write(told, struct.pack("i", pid))
    for fd in (order, *streams):
        os.close(fd)


def _live(order: dict[str, Any], streams: Sequence[int]) -> NoReturn:
    """Be the program; nobody outlives a mother who dies."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if order["alone"]:
        os.setsid()
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.umask(order["umask"])
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    time.tzset()
    main = str(_home() / "__main__.py")
    sys.path[0] = order["cwd"]
    sys.argv = [main, *order["argv"]]
    sys.orig_argv = [sys.executable, "-m", "tidegate", *order["argv"]]
    sys.stdin, sys.stdout, sys.stderr = (
        TextIOWrapper(
            os.fdopen(number, mode, closefd=False), encoding="utf-8", errors=errors, line_buffering=number == 2
        )
        for number, mode, errors in ((0, "rb", "strict"), (1, "wb", "strict"), (2, "wb", "backslashreplace"))
    )
    importlib.import_module("tidegate.__main__").main()
    raise AssertionError("main ends the process")


if __name__ == "__main__":
    main()
