"""One attempt's agent under its shim: its end, its pauses, its whole tree."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import anyio
import structlog

from tidegate.errors import NotLaunched
from tidegate.launch.cgroup import Cgroup, found_again
from tidegate.launch.offspring import family
from tidegate.launch.processes import (
    Look,
    Process,
    all_gone,
    all_pids,
    census,
    marker_of,
    process_of,
    read,
    send,
    tag_for,
    tag_of,
)
from tidegate.launch.traces import STATUSES, absolute, boot_id, intent_of, lines, record_of, state_of
from tidegate.model import Exit, Shortage

log = structlog.get_logger()

KILL_BOUND = 5.0  # seconds that killed processes get to be gone: one in a dead file system never is
SHIM_BOUND = 2.0  # seconds that a shim gets to write its pid, and to record its agent's status
UNKNOWN = 255  # what asyncio tells of a child whose status another has taken
UNBORN_LOOK = 0.02  # seconds until a process that was not yet the agent is told again
LOOKS = 3  # at all processes before nothing is taken for gone
SHIM_LOOK = 0.05  # seconds until a shim without an agent is looked at again


async def adopt(directory: Path) -> Child:
    """Take over the attempt of a directory, wherever it has got to: `wait()` then tells its end.

    Raises NotLaunched where it never started, or where its files do not tell any more who it is.
    """
    place = absolute(directory)
    intent = intent_of(place)
    marker = str(intent.get("marker", ""))
    pid = await _recorded_pid(place, marker)
    if pid is None:
        raise NotLaunched(f"never started: {place}")
    held = state_of(place).held
    family.prepare()
    over = not held and intent.get("boot_id") != boot_id()
    cgroup = None if over else found_again(place, marker, intent.get("cgroup"), intent.get("bounds"))
    child = Child(place, marker, pid, over=over, cgroup=cgroup)
    if held:
        child.take_up()
    child.note_shortage()  # before anybody clears away what seems to be left over
    return child


async def is_whole(directory: Path) -> bool:
    """Whether the files of an attempt that has started tell who it is: `adopt` can take it over."""
    place = absolute(directory)
    marker = str(intent_of(place).get("marker", ""))
    return bool(marker) and await _recorded_pid(place, marker) is not None


async def put_down(directory: Path, marker: str) -> int:
    """Kill whatever runs of an attempt whose files do not tell, the shim too; how many processes that were."""
    place = absolute(directory)
    family.prepare()
    child = Child(place, marker, 0, cgroup=found_again(place, marker, intent_of(place).get("cgroup")))
    return await child.sweep(0)


async def _recorded_pid(place: Path, marker: str) -> int | None:
    """The shim's pid; waits for a shim that holds its lock and is about to write it.

    One that lives without the marks of the attempt is somebody else: the agent has spoilt its lock.
    """
    with anyio.move_on_after(SHIM_BOUND):
        while (state := state_of(place)).held and state.pid is None:  # noqa: ASYNC110
            await anyio.sleep(0.002)  # - a shim that writes its pid rings no bell
    if state.held and state.pid is not None and not _may_be_shim(state.pid, marker):
        return None
    return state.pid


def _may_be_shim(pid: int, marker: str) -> bool:
    """Whether a process carries the marks of an attempt, or hides them from this one."""
    tag, told = tag_of(pid), marker_of(pid)
    return (tag is None and told is None and process_of(pid) is None) or tag == tag_for(marker) or told == marker


class Child:
    """One attempt's agent under its shim, launched or adopted.

    `pid` is the shim's, and the id of the agent's session and process group.
    """

    def __init__(
        self,
        directory: Path,
        marker: str,
        pid: int,
        *,
        end: asyncio.Future[object] | None = None,
        ours: bool = False,
        over: bool = False,
        cgroup: Cgroup | None = None,
    ) -> None:
        self.directory = directory
        self.marker = marker
        self.pid = pid
        self._tag = tag_for(marker)
        self._end = end  # is done when the shim that this process has launched is gone and reaped
        self._gone: Callable[[], Awaitable[object]] | None = self._reaped if end is not None else None  # None: it is
        self._status: object = None  # what the shim ended with, where it was this process's child
        self._pidfd: int | None = None
        self._ours = ours  # its orphans come to this process
        self._over = over  # another run of the machine: no process of it can be left
        self.shortage: Shortage | None = None  # what it has run out of, once it has ended
        self._cgroup = cgroup  # where there is none, or nothing has joined it, the marks tell whose a process is
        if ours:
            family.join(self)

    @property
    def is_gone(self) -> bool:
        """Whether the shim has ended, and so the agent."""
        return self._gone is None

    @property
    def tag(self) -> int:
        """The mark among the limits of every process of this attempt."""
        return self._tag

    def holds(self, told: bytes) -> bool:
        """Whether a process is in the cgroup of this attempt, of which /proc/PID/cgroup tells this."""
        return self._cgroup is not None and self._cgroup.is_in(told)

    def __repr__(self) -> str:
        return f"<Child pid={self.pid} marker={self.marker!r} {'ended' if self._gone is None else 'running'}>"

    # --- its end ---

    async def ends_before(self, other: asyncio.Future[None]) -> bool:
        """Wait for something else, whose end this one makes come; whether the shim is gone by then."""
        end = self._end
        if end is None:
            return False

        def come(_: object) -> None:
            if not other.done():
                other.set_result(None)

        end.add_done_callback(come)
        try:
            await other
        finally:
            end.remove_done_callback(come)
        return end.done()

    async def _reaped(self) -> object:
        """What the shim has ended with, when it has; several may wait."""
        assert self._end is not None, "this process has launched it"
        return self._end.result() if self._end.done() else await asyncio.shield(self._end)

    async def wait(self) -> Exit:
        """Wait for the agent's end. Where the shim was killed, everything of the agent is ended too: code None."""
        if self._gone is not None:
            self._status = await self._gone()
            self._gone = None
            family.bury(self)
        self.let_go()
        code = None if self._over else self._recorded()
        if code != 0:
            self.note_shortage()
        if code is None:
            await self._put_down(KILL_BOUND)
        return Exit(code)

    def _recorded(self) -> int | None:
        """The agent's exit status; the shim ends with it too, which counts where the agent has spoilt the record."""
        if self._status == 0:  # a shim that had no agent, or was ended itself, ends otherwise
            return 0
        data = record_of(self.directory)
        pid, code = lines(data or b"")
        if pid == self.pid or data == b"":  # empty: the shim has ended before it had an agent
            return code
        status = self._status if isinstance(self._status, int) else UNKNOWN
        return status if status in STATUSES and status != UNKNOWN else None

    def wake(self) -> None:
        """Let the shim go on where somebody has stopped it: the agent's end would never be known."""
        shim = process_of(self.pid) if self._gone is not None else None
        if shim is not None and shim.state == "T":
            log.warning("shim was stopped", marker=self.marker, pid=self.pid)
            send(shim, signal.SIGCONT)

    def note_shortage(self) -> None:
        """Ask the kernel what it has run out of, as long as it can tell."""
        if self._cgroup is not None:
            self.shortage = self._cgroup.shortage() or self.shortage

    async def end(self, grace: float) -> None:
        """End the agent and all its processes: TERM, `grace` seconds, KILL; the shim last, so that it can record.

        To be shielded by the caller; takes at most `grace` and some seconds. The end is then told by `wait()`.
        """
        with anyio.move_on_after(grace + KILL_BOUND + SHIM_BOUND):
            while True:  # a shim that was only just launched has no agent yet
                await self._put_down(grace)
                if self._gone is None:
                    return
                with anyio.move_on_after(SHIM_LOOK):
                    await self._gone()
                    return
        shim = process_of(self.pid)
        if shim is not None:
            send(shim, signal.SIGKILL)

    async def sweep(self, grace: float) -> int:
        """End what the agent left behind: TERM, `grace` seconds, KILL; how many processes that were."""
        count = 0 if await self._is_clean() else await self._put_down(grace)
        family.leave(self)
        if self._cgroup is not None:
            await self._cgroup.remove()
        return count

    def let_go(self) -> None:
        """Stop following the shim; it and the agent run on, to be adopted."""
        if self._pidfd is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    # --- while it runs ---

    def cpu(self) -> float:
        """Seconds of processor time used so far by what runs of the agent, and by its dead.

        Without a cgroup, of its session and its descendants; falls then where an orphan ends, whose time nobody
        inherits.
        """
        if self._cgroup is not None and self._is_grouped():
            return self._cgroup.cpu()
        look = Look()
        for pid in all_pids():
            look.add(process_of(pid))
        return sum(process.cpu for process in look.trees(look.sessions.get(self.pid, ())))

    async def freeze(self) -> None:
        """Stop every process of the agent where it is, until `thaw()` or `end()`."""
        if self._cgroup is not None and await self._cgroup.freeze():
            return
        for _ in range(20):  # what was forked meanwhile is caught in the next round
            running = [process for process in await self._members() if process.state != "T"]
            if not running:
                return
            for process in running:
                send(process, signal.SIGSTOP)
            await anyio.sleep(0.002)

    async def thaw(self) -> None:
        """Let the agent's processes go on."""
        if self._cgroup is not None:
            self._cgroup.thaw()
        for process in await self._members():
            send(process, signal.SIGCONT)

    # --- an adopted shim ---

    def take_up(self) -> None:
        """Notice the end of a shim that another incarnation started."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        shim = process_of(self.pid)  # None where this process may not see it (hidepid, other user namespaces): it lives
        if not state_of(self.directory).held:  # a held lock after the opening: the pid is the shim's
            os.close(pidfd)
            return
        gone = anyio.Event()
        self._pidfd, self._gone = pidfd, partial(self._told, gone)
        self._ours = shim is not None and shim.parent == os.getpid()  # after a re-execution in place
        if self._ours:
            family.join(self)
        asyncio.get_running_loop().add_reader(pidfd, self._on_end, gone)

    async def _told(self, gone: anyio.Event) -> object:
        await gone.wait()
        return self._status

    def _on_end(self, gone: anyio.Event) -> None:
        self.let_go()
        with suppress(ChildProcessError):
            _, status = os.waitpid(self.pid, os.WNOHANG)
            self._status = os.waitstatus_to_exitcode(status)
        gone.set()

    # --- its processes ---

    async def _put_down(self, grace: float) -> int:
        """TERM, then KILL to everything but the shim; how many processes were told."""
        told: set[tuple[int, int]] = set()
        with anyio.move_on_after(grace):
            await self._tell_until_gone(signal.SIGTERM, told)
            return len(told)
        killed: set[tuple[int, int]] = set()
        with anyio.move_on_after(KILL_BOUND):
            await self._tell_until_gone(signal.SIGKILL, killed)
            return len(told | killed)
        left = [process.pid for process in await self._members()]
        log.warning("processes cannot be ended", marker=self.marker, pids=left)
        return len(told | killed)

    async def _tell_until_gone(self, number: signal.Signals, told: set[tuple[int, int]]) -> None:
        """Send the signal once to each process of the agent, also to those that it still forks, and see all go."""
        heard: set[tuple[int, int]] = set()
        while members := await self._members():
            unborn = False
            for process in members:
                if (key := (process.pid, process.started)) in heard:
                    continue
                told.add(key)
                if self._is_unborn(process.pid):
                    unborn = True  # what it hears now may be lost: it is told until it is the agent
                else:
                    heard.add(key)
                send(process, number)
                send(process, signal.SIGCONT)  # a stopped process hears TERM only when it goes on
            self._let_the_cgroup_hear(number)
            with anyio.move_on_after(UNBORN_LOOK if unborn else None):
                await all_gone(members)

    def _is_unborn(self, pid: int) -> bool:
        """Whether a process is still what its shim has forked, and not yet the agent: it shares the shim's handlers."""
        words = (read(f"/proc/{pid}/cmdline") or b"").split(b"\0")
        return b"tidegate-shim" in words and str(self._tag).encode() in words

    def _let_the_cgroup_hear(self, number: signal.Signals) -> None:
        if self._cgroup is not None and number == signal.SIGKILL:
            self._cgroup.kill()  # also what was forked since the look
        elif self._cgroup is not None:
            self._cgroup.thaw()

    def _is_grouped(self) -> bool:
        """Whether anything lives in the agent's cgroup."""
        return self._cgroup is not None and self._cgroup.is_populated()

    async def _members(self) -> list[Process]:
        """The living processes of the agent, without the shim."""
        family.reap()
        if self._cgroup is not None and (grouped := self._cgroup.members()):
            return grouped
        return await self._marked()  # also what has left its cgroup, as a scope of systemd does

    async def _marked(self) -> list[Process]:
        """Those that carry its marks, or descend from one that does.

        The list of processes is older than the look at each: one that has died since may have left a child that is not
        in it, so where nothing lives that is looked at again, a few times at most.
        """
        living: list[Process] = []
        for _ in range(0 if self._over else LOOKS):
            look = await census.take()
            tree = self._tree(look)
            living = [one for one in tree if one.is_alive and (one.pid != self.pid or self._gone is None)]
            if living or (look.is_whole and all(one.is_alive for one in tree)):
                break
            family.reap()
        return living

    def _tree(self, look: Look) -> list[Process]:
        roots = [*look.marked.get(self._tag, ()), *look.marked.get(self.marker, ())]
        if self._gone is not None:  # the session's number is surely the shim's only while the shim holds it
            roots += look.sessions.get(self.pid, ())
        return look.trees(roots)

    async def _is_clean(self) -> bool:
        """Whether surely nothing is left, told without a look at every process of the machine.

        Orphans of a launched agent are handed to this process: nothing unknown among its children, and no member
        in the process group, is nothing.
        """
        if self._over:
            return True
        if not self._ours or self._gone is not None or self._is_grouped():
            return False
        strangers = await family.strangers()
        if strangers is None or any(self._is_mine(pid) for pid in strangers):
            return False
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False

    def _is_mine(self, pid: int) -> bool:
        marker = marker_of(pid)  # first: a shim that is just being launched is told by one look
        if marker is not None:
            return marker == self.marker
        return tag_of(pid) == self._tag
