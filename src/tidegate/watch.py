"""Follows an attempt's two output files: bytes become lines, however long.

One inotify instance serves all attempts of a supervisor. The first event after a calm is answered at once, later ones
are gathered, because reading costs by the wake-up and not by the byte. A follow is watched when it is a moment old: to
take a watch away waits for the kernel, and an attempt that ends at once is read at its end.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import stat
import struct
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from tidegate.clock import Clock
from tidegate.model import Stream

T = TypeVar("T")
Read = Callable[[Stream, bytes, datetime], Iterable[T]]  # what a line without its end says, and when it was printed

GATHER = 0.09  # seconds between two wake-ups while output comes: a line waits for less than a tenth
YOUNG = 0.05  # seconds in which a follow is not watched yet
DRAIN = 2.0  # seconds that a reader gets after the agent's end before somebody hears that it is late
SOME = 16  # attempts that are read before anything else gets a turn: a millisecond or two where all talk
TURNS = 4  # slices of agents that flood, and ends of agents, before anything else gets a turn
SLICE = 256 * 1024  # bytes read from one stream before others get a turn
SIP = 16 * 1024  # bytes: what a talking agent prints between two wake-ups is less
MAX_LINE = 32 * 1024 * 1024  # bytes kept of one line
LATE = 1.0  # seconds: what is read later than this is dated by its file
POLL = 0.5  # seconds between two looks where the kernel has no watch to give
FILES = ((Stream.STDOUT, "stdout.log"), (Stream.STDERR, "stderr.log"))
PLACES = {name.encode(): place for place, (_, name) in enumerate(FILES)}


class Watcher:
    """Wakes the follows of a supervisor; an async context manager on the running loop."""

    def __init__(self, clock: Clock, *, gather: float = GATHER) -> None:
        self.clock = clock
        self._gather = gather
        self._inotify: _Inotify | None = None
        self._follows: dict[int, set[Follow[Any]]] = {}  # by watch
        self._woken: dict[Follow[Any], None] = {}  # in their order
        self._turnless: deque[asyncio.Future[None]] = deque()
        self._taken = 0  # turns, of this one of the loop
        self._unwatched: set[Follow[Any]] = set()
        self._young: deque[tuple[float, Follow[Any]]] = deque()  # with the loop's time of their birth
        self._ending: deque[tuple[float, Follow[Any], Callable[[], None]]] = deque()  # and of their end
        self._growing: asyncio.TimerHandle | None = None
        self._draining: asyncio.TimerHandle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._poll: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        try:
            self._inotify = _Inotify()
        except OSError:  # no instance left for this user: look now and then
            return self
        self._loop.add_reader(self._inotify.fd, self._calm_is_over)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for timer in (self._timer, self._poll, self._growing, self._draining):
            if timer is not None:
                timer.cancel()
        self._woken.clear()
        self._ending.clear()
        young = {follow for _, follow in self._young}
        for follow in young | self._unwatched | {follow for follows in self._follows.values() for follow in follows}:
            follow.close()
        if self._inotify is not None:
            self._loop.remove_reader(self._inotify.fd)
            self._inotify.close()

    def follow(
        self,
        directory: Path,
        read: Read[T],
        *,
        max_line: int = MAX_LINE,
        offsets: Mapping[Stream, int] | None = None,
        sized: Callable[[int], None] | None = None,
    ) -> Follow[T]:
        """Follow the files of an attempt, from their start or from `offsets` (bytes, at the start of a line).

        `read` is called with each line, in the order of each stream; of a line longer than `max_line` bytes the rest
        is dropped. `sized` hears, whenever something was read, how many bytes both files have by then.
        """
        return Follow(self, directory, read, max_line=max_line, offsets=offsets or {}, sized=sized)

    # --- who is watched ---

    def add(self, follow: Follow[Any]) -> None:
        """Wake this follow from now on; it has not looked yet."""
        self._young.append((self._loop.time(), follow))
        if self._growing is None:
            self._growing = self._loop.call_later(YOUNG, self._grow_up)

    def _grow_up(self) -> None:
        """Watch those that are old enough now; most of those that came with them may be over already."""
        young, old = self._young, self._loop.time() - YOUNG
        while young and (young[0][1].is_over or young[0][0] <= old):
            _, follow = young.popleft()
            if not follow.is_over:
                self._watch(follow)
                follow.grow_up()
        self._growing = self._loop.call_later(young[0][0] - old, self._grow_up) if young else None

    def expect_end(self, follow: Follow[Any], late: Callable[[], None]) -> None:
        """Call `late` DRAIN seconds from now, unless the follow is over by then: nearly all are, in a moment.

        One timer for all of them: one of its own costs each more than the look at whether it is over.
        """
        self._ending.append((self._loop.time(), follow, late))
        if self._draining is None:
            self._draining = self._loop.call_later(DRAIN, self._tell_late)
        else:
            self._forget_over()

    def _forget_over(self) -> None:
        while self._ending and self._ending[0][1].is_over:
            self._ending.popleft()

    def _tell_late(self) -> None:
        old = self._loop.time() - DRAIN
        self._forget_over()
        while self._ending and self._ending[0][0] <= old:
            _, _, late = self._ending.popleft()
            late()
            self._forget_over()
        first = self._ending[0][0] - old if self._ending else 0.0
        self._draining = self._loop.call_later(first, self._tell_late) if self._ending else None

    def _watch(self, follow: Follow[Any]) -> None:
        """Have the kernel wake a follow, or else a timer."""
        follow.watch = self._inotify.add(follow.directory) if self._inotify is not None else None
        if follow.watch is not None:
            self._follows.setdefault(follow.watch, set()).add(follow)
            return
        self._unwatched.add(follow)
        if self._poll is None:
            self._poll = self._loop.call_later(POLL, self._poll_unwatched)

    def remove(self, follow: Follow[Any]) -> None:
        """Wake this follow no more."""
        self._unwatched.discard(follow)
        if follow.watch is None or self._inotify is None:
            return
        follows = self._follows.get(follow.watch, set())
        follows.discard(follow)
        if not follows and self._follows.pop(follow.watch, None) is not None:
            self._inotify.remove(follow.watch)

    # --- waking ---

    def _calm_is_over(self) -> None:
        assert self._inotify is not None
        self._loop.remove_reader(self._inotify.fd)
        self._wake()
        self._timer = self._loop.call_later(self._gather, self._gathered)

    def _gathered(self) -> None:
        assert self._inotify is not None
        if self._wake():
            self._timer = self._loop.call_later(self._gather, self._gathered)
        else:
            self._timer = None
            self._loop.add_reader(self._inotify.fd, self._calm_is_over)

    def _wake(self) -> bool:
        """See who has something to read, and begin with it; whether there was any event."""
        assert self._inotify is not None
        changes = self._inotify.changes()
        are_looking = bool(self._woken)
        for watch, name in changes:
            if watch == OVERFLOW:
                self._wake_all()
            elif name in PLACES:
                for follow in self._follows.get(watch, ()):
                    follow.mark(PLACES[name])
                    self._woken[follow] = None
        if not are_looking:
            self._look_at_some()
        return bool(changes)

    def _look_at_some(self) -> None:
        """Read what has come for some of those that were woken, those that wait longest first."""
        for follow in list(islice(self._woken, SOME)):
            del self._woken[follow]
            follow.look()
        if self._woken:
            self._loop.call_soon(self._look_at_some)

    # --- turns ---

    async def turn(self) -> None:
        """Wait until what takes some milliseconds may be done: a few such things in each turn of the loop, in order."""
        if not self._taken:
            self._loop.call_soon(self._next_turn)
        if self._taken < TURNS and not self._turnless:
            self._taken += 1
            return
        waiter = self._loop.create_future()
        self._turnless.append(waiter)
        await waiter

    def _next_turn(self) -> None:
        self._taken = 0
        while self._turnless and self._taken < TURNS:
            waiter = self._turnless.popleft()
            if not waiter.done():  # by a cancel
                waiter.set_result(None)
                self._taken += 1
        if self._taken:
            self._loop.call_soon(self._next_turn)

    def _wake_all(self) -> None:
        for follows in self._follows.values():
            for follow in follows:
                follow.wake_all()

    def _poll_unwatched(self) -> None:
        for follow in self._unwatched:
            follow.wake_all()
        self._poll = self._loop.call_later(POLL, self._poll_unwatched) if self._unwatched else None


class Follow(Generic[T]):
    """One attempt's output: `async for found in follow` gives what `read` finds in the lines, some lines at a time.

    A line in which it finds nothing wakes nobody. A slice is read at a time, and no further one before what was found
    is fetched: who reads slowly is not flooded. One reader at a time. `last_output` is when output was last read, in
    the clock's monotonic seconds (at first: when the follow began).
    """

    def __init__(
        self,
        watcher: Watcher,
        directory: Path,
        read: Read[T],
        *,
        max_line: int,
        offsets: Mapping[Stream, int],
        sized: Callable[[int], None] | None = None,
    ) -> None:
        self.last_output = watcher.clock.monotonic()
        self.directory = directory
        self.watch: int | None = None  # the watcher's own
        self.is_over = False
        self._watcher = watcher
        self._tell = read
        self._sized = sized
        self._tails = [_Tail(stream, f"{directory}/{name}", max_line, offsets.get(stream, 0)) for stream, name in FILES]
        self._unread = True
        self._floods = False  # the last read was a whole slice
        self._youth: asyncio.Future[None] | None = None
        self._waiter: asyncio.Future[list[T]] | None = None
        self._loop = asyncio.get_running_loop()
        self._finishing = False
        self._drained: asyncio.Future[None] | None = None
        watcher.add(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def youth(self) -> asyncio.Future[None]:
        """Is done when the follow is watched, or when somebody has done it: until then nobody need read."""
        self._youth = self._youth or self._loop.create_future()
        return self._youth

    def grow_up(self) -> None:
        """It is watched from now on: read what was said in its youth."""
        self.look_at_both()
        if self._youth is not None and not self._youth.done():
            self._youth.set_result(None)

    @property
    def bytes(self) -> dict[Stream, int]:
        """How many bytes of each file have been read, what was before `offsets` included."""
        return {tail.stream: tail.count for tail in self._tails}

    @property
    def offsets(self) -> dict[Stream, int]:
        """Where a later follow goes on so that it sees each line once: after the last line handed over."""
        return {tail.stream: tail.line_start for tail in self._tails}

    # --- reading ---

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[T]:
        if self._unread:
            await self._turn()
        while not self.is_over:
            if self._unread and (found := self._read()):
                return found
            if self._unread:
                await self._turn()
            elif self._finishing:
                return self._end()
            else:
                self._waiter = self._loop.create_future()
                if found := await self._waiter:
                    return found
        raise StopAsyncIteration

    async def _turn(self) -> None:
        """A flooding agent takes turns with the others, and with those that flood too."""
        if self._floods:
            await self._watcher.turn()
        else:
            await asyncio.sleep(0)

    def _read(self) -> list[T]:
        """What there is in a slice of each stream that may have more."""
        found: list[T] = []
        clock = self._watcher.clock
        now = clock.now()
        self._unread = False
        for tail in self._tails:
            if not tail.unread:
                continue
            before = tail.count
            for line in tail.read(now.timestamp()):
                found += self._tell(tail.stream, line, _date(now, tail.printed))
            if tail.count != before:
                self.last_output = clock.monotonic()
            self._unread |= tail.unread
        self._floods = self._unread
        if self._sized is not None:
            self._sized(self._tails[0].size + self._tails[1].size)
        return found

    def _end(self) -> list[T]:
        """What stands without an end of line at the end of a file. Raises StopAsyncIteration where nothing does."""
        now = self._watcher.clock.now()
        found: list[T] = []
        for tail in self._tails:
            if (line := tail.rest()) is not None:
                found += self._tell(tail.stream, line, _date(now, tail.printed))
        self.close()
        if found:
            return found
        raise StopAsyncIteration

    def measure(self) -> None:
        """Tell how large the files are where they may have grown beyond what is read."""
        if self._sized is not None and self._unread and not self.is_over:
            self._sized(sum(tail.measured() for tail in self._tails))

    @property
    def unread(self) -> int:
        """How many bytes there are that were not read yet."""
        return sum(tail.measured() - tail.count for tail in self._tails)

    def skip(self, most: int) -> int:
        """Go on with the last `most` bytes of each file; how many are never read for that."""
        return sum(tail.skip(most) for tail in self._tails)

    def look(self) -> None:
        """Read what has come, where somebody waits for it; wake them if that says anything."""
        if self._waiter is None or self._waiter.done():
            return  # they will look themselves
        try:
            found = self._read()
        except Exception as error:  # noqa: BLE001 - the reader's, to be met where the attempt ends
            self._waiter.set_exception(error)
            return
        if found or self._unread:
            self._waiter.set_result(found)

    def mark(self, place: int) -> None:
        """There may be more to read in the file of this place in FILES."""
        self._tails[place].unread = self._unread = True

    def look_at_both(self) -> None:
        """Read what has come in either file, where somebody waits for it."""
        self._mark_both()
        self.look()

    def wake_all(self) -> None:
        """There may be more to read in either file: whoever waits shall look."""
        self._mark_both()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result([])

    def _mark_both(self) -> None:
        for place in range(len(FILES)):
            self.mark(place)

    # --- ending ---

    def finish(self, late: Callable[[], None] | None = None) -> None:
        """The agent has ended: the reader gets what is written by now, a last line without its end too, and stops.

        `late` hears if that is not done within DRAIN seconds.
        """
        if not self._finishing and not self.is_over:
            self._finishing = True
            if late is not None:
                self._watcher.expect_end(self, late)
            for tail in self._tails:
                tail.stop_here()
            self.wake_all()

    async def drain(self) -> None:
        """`finish()`, and wait until the reader has got everything."""
        self.finish()
        if not self.is_over:
            self._drained = self._drained or self._loop.create_future()
            await asyncio.shield(self._drained)

    def close(self) -> None:
        """Follow no more; what was not read yet stays in the files."""
        if not self.is_over:
            self.is_over = True
            if self._drained is not None:
                self._drained.set_result(None)
            self._watcher.remove(self)
            for tail in self._tails:
                tail.close()
            self.wake_all()


class _Tail:
    """One file that grows: its next slice, cut into lines."""

    def __init__(self, stream: Stream, path: str, max_line: int, offset: int) -> None:
        self.stream = stream
        self.unread = True  # there may be more to read
        self.count = offset
        self.size = offset  # of the file, as far as it is known
        self.line_start = offset
        self.printed = 0.0  # when the file was last written, as a timestamp
        self._path = path
        self._max_line = max_line
        self._offset = offset
        self._ended_at = 0.0  # when the end of the file was last seen, as a timestamp; 0: it has more
        self._end: int | None = None  # read no further
        self._fd: int | None = None
        self._kept = bytearray()  # of a line whose end has not come

    def read(self, now: float) -> list[bytes]:
        """The whole lines of the next slice; `unread` tells of a further one. `now` is a timestamp."""
        data = self._sip(now)
        self.unread = len(data) == SIP
        if not data:
            data = self._slice()
        self._ended_at = 0.0 if self.unread else now
        self._offset += len(data)
        self.count += len(data)
        self.size = max(self.size, self._offset)
        return self._lines(data) if data else []

    def _sip(self, now: float) -> bytes:
        """A little of a file that was read to its end a moment ago: what has come since needs no date of the file's."""
        if self._fd is None or self._end is not None or not 0 <= now - self._ended_at < LATE:
            return b""
        self.printed = now
        return os.pread(self._fd, SIP, self._offset)

    def _slice(self) -> bytes:
        end = self._size() if self._end is None else self._end
        if end < self._offset:
            self._start_over()
        wanted = min(end - self._offset, SLICE)
        if wanted <= 0 or self._fd is None:
            return b""
        data = os.pread(self._fd, wanted, self._offset)
        self.unread = self._offset + len(data) < end and bool(data)
        return data

    def _size(self) -> int:
        """The file's size; it is opened as soon as there is something in it."""
        try:
            status = os.stat(self._path if self._fd is None else self._fd)  # noqa: PTH116 - of a descriptor, mostly
            if self._fd is None and status.st_size:
                self._fd = _regular(self._path)
        except OSError:
            return self._offset  # not there yet, or not any more: an agent may do to its files what it likes
        self.printed, self.size = status.st_mtime, status.st_size
        return status.st_size

    def _start_over(self) -> None:
        """The file has shrunk: somebody emptied it, and what is in it now is new."""
        self._offset = self.line_start = 0
        self._kept.clear()

    def _lines(self, data: bytes) -> list[bytes]:
        lines = data.split(b"\n")
        last = lines.pop()
        if lines:
            lines[0] = self._finished(lines[0])
            self.line_start = self._offset - len(last)
        if last:
            self._keep(last)
        if len(data) > self._max_line:
            lines = [line[: self._max_line] for line in lines]
        if b"\r" in data or (lines and lines[0].endswith(b"\r")):
            return [line.removesuffix(b"\r") for line in lines]
        return lines

    def _keep(self, piece: bytes) -> None:
        self._kept += piece[: self._max_line - len(self._kept)]

    def _finished(self, piece: bytes) -> bytes:
        """A line whose end has come, with what was kept of it before."""
        if not self._kept:
            return piece
        self._keep(piece)
        line, self._kept = bytes(self._kept), bytearray()
        return line

    def rest(self) -> bytes | None:
        """The last line, where its end is missing; only once."""
        if self._offset == self.line_start:
            return None
        self.line_start = self._offset
        return self._finished(b"").removesuffix(b"\r")

    def measured(self) -> int:
        """The file's size now."""
        self._size()
        return self.size

    def skip(self, most: int) -> int:
        """Go on at the first line that begins in the last `most` bytes; how many bytes are left out."""
        end = self._size() if self._end is None else self._end
        begin = end - most
        if self._fd is None or begin <= self._offset:
            return 0
        begin += os.pread(self._fd, most, begin).find(b"\n") + 1
        left_out, self._offset, self.line_start = begin - self._offset, begin, begin
        self._kept.clear()
        return left_out

    def stop_here(self) -> None:
        """What is written from now on is not the agent's."""
        self._end = self._size()

    def close(self) -> None:
        """Let the file go."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _regular(path: str) -> int | None:
    """A file opened to be read; None for anything else that an agent has put in its place."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


def _date(now: datetime, printed: float) -> datetime:
    """Now, unless the file was last written earlier: read after a restart, or by a busy loop."""
    return datetime.fromtimestamp(printed, UTC) if now.timestamp() - printed > LATE else now


# --- inotify -----------------------------------------------------------------------------------

IN_MODIFY = 0x2
IN_ONLYDIR = 0x01000000
OVERFLOW = -1  # the watch that the kernel names when it has dropped events
EVENT = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows
SHORT = struct.Struct("iIII16s")  # with a name of up to 15 bytes
BUFFER = 64 * 1024


class _Inotify:
    """The kernel's change notices for directories. Raises OSError where this user has no instance left."""

    def __init__(self) -> None:
        self._libc = ctypes.PyDLL(None, use_errno=True)  # short calls: to give the interpreter away costs more
        self._libc.inotify_add_watch.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
        self.fd = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1")

    def add(self, directory: Path) -> int | None:
        """The number of a watch; None where there is no directory or no watch left."""
        watch: int = self._libc.inotify_add_watch(self.fd, os.fsencode(directory), IN_MODIFY | IN_ONLYDIR)
        return watch if watch >= 0 else None

    def remove(self, watch: int) -> None:
        """Give a watch back; a directory that is gone has taken its own along."""
        self._libc.inotify_rm_watch(self.fd, watch)

    def changes(self) -> set[tuple[int, bytes]]:
        """Which files have been written to since the last call, as (watch, name)."""
        changed: set[tuple[int, bytes]] = set()
        while data := self._next():
            changed |= _alike(data) or _one_by_one(data)
            if len(data) < BUFFER // 2:
                break
        return changed

    def _next(self) -> bytes:
        try:
            return os.read(self.fd, BUFFER)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Let all watches go."""
        os.close(self.fd)


def _alike(data: bytes) -> set[tuple[int, bytes]]:
    """The changes, where all events have names as short as those of the two files; else none."""
    if len(data) % SHORT.size:
        return set()
    events = set(SHORT.iter_unpack(data))  # equal ones fall together before they cost anything
    if any(length != SHORT.size - EVENT.size for _, _, _, length, _ in events):
        return set()
    return {(watch, name.rstrip(b"\0")) for watch, _, _, _, name in events}


def _one_by_one(data: bytes) -> set[tuple[int, bytes]]:
    changed = set()
    at = 0
    while at < len(data):
        watch, _, _, length = EVENT.unpack_from(data, at)
        at += EVENT.size + length
        changed.add((watch, data[at - length : at].rstrip(b"\0")))
    return changed
