"""The children of this process: the shims that it started, and the orphans that the kernel hands to it."""

from __future__ import annotations

import asyncio
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tidegate.launch.processes import PAGEFUL, process_of, read, tag_of

if TYPE_CHECKING:
    from tidegate.launch.child import Child

ORPHANS = 10.0  # seconds between two looks for dead orphans while children live
SIP = 65536  # bytes of a list read at once
BIRTH = 8  # turns of the loop that a launch takes at most from its fork to its return


class Offspring:
    """The shims that this process started, and the orphans that the kernel hands to it."""

    def __init__(self) -> None:
        self.are_ours = False  # orphans come to this process, not to init
        self._pid = 0
        self._children = -1  # the file in which the kernel tells this process's children, kept open
        self._births = 0
        self._shims: dict[int, Child] = {}  # by pid, from their launch until they are gone
        self._unswept: set[Child] = set()  # whose orphans may still come
        self._left: set[int] = set()  # the tags of those that were swept since the last look, and before it:
        self._left_before: set[int] = set()  # the last that was told to end may be dead only by now
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextmanager
    def birth(self) -> Iterator[None]:
        """Around a launch: there may be a shim that is not known yet."""
        if sys.version_info < (3, 12):
            _watch_without_threads()
        self.prepare()
        self._births += 1
        try:
            yield
        finally:
            self._births -= 1

    def prepare(self) -> None:
        """Become the parent of orphans, once for each process."""
        if self._pid == os.getpid():
            return
        import ctypes  # noqa: PLC0415 - only who launches pays for it

        self._pid = os.getpid()
        with suppress(OSError):  # a kernel without CONFIG_PROC_CHILDREN
            self._children = os.open(f"/proc/self/task/{self._pid}/children", os.O_RDONLY | os.O_CLOEXEC)
        pr_set_child_subreaper = 36
        self.are_ours = ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0) == 0

    def join(self, child: Child) -> None:
        """Know a shim that is a child of this process."""
        self._shims[child.pid] = child
        self._unswept.add(child)
        loop = asyncio.get_running_loop()
        if self._loop is not loop or self._timer is None:
            self._loop = loop
            self._timer = loop.call_later(ORPHANS, self._look)

    def bury(self, child: Child) -> None:
        """A shim is gone, and its pid is anybody's."""
        if self._shims.get(child.pid) is child:
            del self._shims[child.pid]

    def leave(self, child: Child) -> None:
        """Forget a shim that is gone and has left nothing."""
        self.bury(child)
        self._unswept.discard(child)
        self._left.add(child.tag)

    def _look(self) -> None:
        self._timer = None
        self.reap()
        self._left_before, self._left = self._left, set()
        if (self._unswept or self._left_before) and self._loop is not None:
            self._timer = self._loop.call_later(ORPHANS, self._look)

    async def strangers(self) -> list[int] | None:
        """The children that this process has just now and that are not shims; None where the kernel does not tell."""
        pids = self._unknown()
        for _ in range(BIRTH):
            if not pids or not self._births:
                break
            await asyncio.sleep(0)  # a shim is known as soon as its launch returns
            pids = self._unknown()  # anew: an orphan may have forked meanwhile, and be buried
        return pids

    def _unknown(self) -> list[int] | None:
        try:
            data = _whole(self._children)
        except OSError:
            return None
        return [pid for pid in map(int, data.split()) if pid not in self._shims]

    def reap(self) -> None:
        """Bury the dead orphans of the agents; other children are left to who started them."""
        tags = {child.tag for child in self._unswept} | self._left | self._left_before
        for pid in self._unknown() or ():
            if tag_of(pid) in tags or self._is_an_agents(pid):  # most have their tag, and there may be thousands
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)  # which leaves alone who lives

    def _is_an_agents(self, pid: int) -> bool:
        """Whether it comes from an agent that has taken its tag away."""
        process, cgroup = process_of(pid), read(f"/proc/{pid}/cgroup") or b""
        session = process.session if process is not None else None
        return any(child.pid == session or child.holds(cgroup) for child in self._unswept)


def _whole(fd: int) -> bytes:
    """A file of /proc that is kept open, as it is now."""
    data = chunk = os.pread(fd, SIP, 0)
    while len(chunk) > PAGEFUL:  # the kernel hands out lists by the page
        chunk = os.pread(fd, SIP, len(data))
        data += chunk
    return data


family = Offspring()

if sys.version_info < (3, 12):

    class _Watcher(asyncio.PidfdChildWatcher):
        """Python 3.11 starts a thread for each child unless told otherwise."""

        def attach_loop(self, loop: asyncio.AbstractEventLoop | None) -> None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # children that run on at the loop's end are meant to
                super().attach_loop(loop)

    def _watch_without_threads() -> None:
        watcher = asyncio.get_child_watcher()
        if not isinstance(watcher, asyncio.PidfdChildWatcher):
            watcher = _Watcher()
            asyncio.set_child_watcher(watcher)
        if not watcher.is_active():
            watcher.attach_loop(asyncio.get_running_loop())
