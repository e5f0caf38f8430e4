"""Processes as the kernel shows them, and the marks that tell whose they are."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from hashlib import blake2b
from typing import NamedTuple

import anyio

MARK = "TIDEGATE_ATTEMPT"
ENTRY = f"\0{MARK}=".encode()
PAGEFUL = 2048  # bytes: what is shorter was all
REMEMBERED = 20_000  # processes whose marks are kept in mind
SLICE = 100  # processes looked at before others get a turn


class Process(NamedTuple):
    """One line of `/proc/PID/stat`: `started` in clock ticks since boot, `cpu` in seconds with its reaped children."""

    pid: int
    state: str
    parent: int
    session: int
    started: int
    cpu: float
    threads: int

    @property
    def is_alive(self) -> bool:
        """Whether any of its threads still runs."""
        return self.state not in "ZX" or self.threads > 1


TICKS = os.sysconf("SC_CLK_TCK")


def process_of(pid: int) -> Process | None:
    """What the kernel shows of a process; None where there is none."""
    data = read(f"/proc/{pid}/stat")
    if not data:
        return None
    fields = data[data.rindex(b")") + 2 :].split()  # a program's name may hold blanks and brackets
    return Process(
        pid,
        fields[0].decode(),
        int(fields[1]),
        int(fields[3]),
        int(fields[19]),
        sum(map(int, fields[11:15])) / TICKS,
        int(fields[17]),
    )


def all_pids() -> list[int]:
    """Every process of the machine."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - thousands of names


class Look:
    """Every process at about one moment, to be found by what it carries and by whose it is."""

    def __init__(self) -> None:
        self.marked: dict[int | str, list[Process]] = {}  # by tag and by marker
        self.is_whole = True  # no process went before it was looked at: it may have left a child that is not seen
        self.sessions: dict[int, list[Process]] = {}
        self._children: dict[int, list[Process]] = {}

    def add(self, process: Process | None, *, marks: bool = False) -> None:
        """Note a process, with its marks where they are asked for."""
        if process is None:
            self.is_whole = False
            return
        self.sessions.setdefault(process.session, []).append(process)
        self._children.setdefault(process.parent, []).append(process)
        for mark in _marks(process) if marks else ():
            if mark is not None:
                self.marked.setdefault(mark, []).append(process)

    def trees(self, roots: Iterable[Process]) -> list[Process]:
        """These processes and their descendants, each once."""
        found = {process.pid: process for process in roots}
        todo = list(found)
        while todo:
            for process in self._children.get(todo.pop(), ()):
                if process.pid not in found:
                    found[process.pid] = process
                    todo.append(process.pid)
        return list(found.values())


class Census:
    """Looks at all processes of the machine for whoever asks; who asks at the same time shares a look."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._under_way: asyncio.Task[Look] | None = None
        self._next: asyncio.Task[Look] | None = None

    async def take(self) -> Look:
        """A look that begins after this call."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._under_way, self._next = loop, None, None
        if self._next is None:
            self._next = loop.create_task(self._look(self._under_way))
        return await asyncio.shield(self._next)

    async def _look(self, before: asyncio.Task[Look] | None) -> Look:
        if before is not None:
            await asyncio.wait({before})
        self._under_way, self._next = self._next, None
        look = Look()
        for n, pid in enumerate(all_pids(), 1):
            look.add(process_of(pid), marks=True)
            if n % SLICE == 0:
                await asyncio.sleep(0)
        return look


census = Census()


def tag_for(marker: str) -> int:
    """The number among the limits that stands for a marker: 48 bits, above any limit somebody means."""
    return (1 << 48) + int.from_bytes(blake2b(marker.encode(errors="surrogateescape"), digest_size=6).digest())


def tag_of(pid: int) -> int | None:
    """The soft limit of file locks of a process, dead ones too; None where it has none."""
    data = read(f"/proc/{pid}/limits") or b""
    _, _, line = data.partition(b"Max file locks")
    words = line[:40].split()
    return int(words[0]) if words and words[0].isdigit() else None


def marker_of(pid: int) -> str | None:
    """The attempt that a process's environment names; None where it names none or has changed it."""
    _, found, rest = (b"\0" + (read(f"/proc/{pid}/environ") or b"")).partition(ENTRY)
    return os.fsdecode(rest.partition(b"\0")[0]) if found else None


def _marks(process: Process) -> tuple[int | None, str | None]:
    """Both marks of a process, remembered: it is born with what it has."""
    key = (process.pid, process.started)
    if key not in _remembered:
        if len(_remembered) > REMEMBERED:
            _remembered.clear()
        _remembered[key] = (tag_of(process.pid), marker_of(process.pid))
    return _remembered[key]


_remembered: dict[tuple[int, int], tuple[int | None, str | None]] = {}


def read(path: str) -> bytes | None:
    """A small file of /proc; None where the process is gone or another's."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        data = chunk = os.read(fd, 65536)
        while len(chunk) > PAGEFUL:  # the kernel hands out lists by the page
            chunk = os.read(fd, 1 << 20)
            data += chunk
    except OSError:
        return None
    finally:
        os.close(fd)
    return data


def write(path: str, value: str) -> bool:
    """Write to a small file of the kernel's; whether that took it."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        os.write(fd, value.encode())
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def send(process: Process, number: signal.Signals) -> None:
    """Signal this very process, never another that has got its pid."""
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        if is_still(process):
            signal.pidfd_send_signal(fd, number)
    except (ProcessLookupError, PermissionError):
        pass
    finally:
        os.close(fd)


def is_still(process: Process) -> bool:
    """Whether its pid is still its own."""
    now = process_of(process.pid)
    return now is not None and now.started == process.started


async def all_gone(processes: list[Process]) -> None:
    """Wait until each has ended."""
    for process in processes:
        with suppress(OSError):
            fd = os.pidfd_open(process.pid)
            try:
                if is_still(process):
                    await anyio.wait_readable(fd)
            finally:
                os.close(fd)
