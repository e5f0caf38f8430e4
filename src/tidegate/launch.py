"""One child: its shim, its session and its files; adopting it after a restart; ending its whole tree.

An agent runs under a tiny `/bin/sh` that outlives this program: a crash, an upgrade or an ordinary exit of the
supervisor ends no agent and loses no exit status. An attempt's directory holds

    attempt.json   the intent, written before the launch: what the caller says, `boot_id`, `marker`
    lock           locked as long as the shim lives; its first line is the shim's pid, its second the exit status
    stdout.log     append-only, what the agent prints
    stderr.log     likewise; where a signal ends the agent, dash adds its word for it ("Killed")
    stdin          what the agent is fed, where there is something; else it reads an empty stdin

Every process of an attempt carries two marks from birth: `TIDEGATE_ATTEMPT` in its environment, and a soft limit of
file locks, which Linux has not looked at since 2.4: it survives `setsid`, a double fork and a cleared environment.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import signal
import sys
import warnings
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import anyio
import structlog

from tidegate.errors import NotLaunched, NotNow
from tidegate.model import Exit

log = structlog.get_logger()

MARK = "TIDEGATE_ATTEMPT"
ENTRY = f"\0{MARK}=".encode()
KILL_BOUND = 5.0  # seconds that killed processes get to be gone: one in a dead file system never is
SHIM_BOUND = 2.0  # seconds that a shim gets to write its pid, and to record its agent's status
SHIM_LOOK = 0.05  # seconds until a shim without an agent is looked at again
ORPHANS = 10.0  # seconds between two looks for dead orphans while children live
PAGEFUL = 2048  # bytes: what is shorter was all
BIRTH = 8  # turns of the loop that a launch takes at most from its fork to its return
REMEMBERED = 20_000  # processes whose marks are kept in mind
SLICE = 100  # processes looked at before others get a turn

# $1 is the agent's stdin, $2 the mark among the limits, the rest the agent's argv. The lock comes as stdin, because
# dash can close no descriptor above 9. A signal that the agent sends to its group must not end the shim. A full disk
# delays the status, it does not lose it. The agent is no subshell's child: dash can start it by vfork then.
SHIM = """\
exec 9<&0 8>&2 <"$1" 2>/dev/null
ulimit -Sw "$2" || ulimit -Sx "$2"
trap : HUP INT QUIT PIPE ALRM TERM USR1 USR2 TSTP
shift 2
echo $$ >&9 || exit 125
"$@" 2>&8 8>&- 9<&-
s=$? n=0
until echo $s >&9 || [ $n -ge 60 ]; do n=$((n + 1)); sleep 5; done
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to launch.

    `env` is the complete environment; `marker` is unique to the attempt and joins it as TIDEGATE_ATTEMPT. Names that
    `/bin/sh` cannot hold (other than letters, digits and `_`) do not reach the agent, and IFS, OPTIND and PPID
    are the shell's own.
    """

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    stdin: bytes | None = None
    marker: str


# --- launching ---------------------------------------------------------------------------------


async def launch(order: Order, directory: Path, intent: Mapping[str, object]) -> Child:
    """Start the agent; its files are then in `directory`, made with mode 0700 as its missing parents are.

    Raises NotLaunched with the reason (NotNow where trying again can help); no process runs then. A directory that
    has seen a launch before is refused.
    """
    program = order.argv[0] if order.argv else ""
    place = _absolute(directory)
    try:
        program = _program(order)
        with _files(place) as files:
            source = _write_down(order, place, intent)
            process = await _spawn(order, program, source, files)
    except (OSError, ValueError) as error:
        raise _refusal(error, program) from error
    return Child(place, order.marker, process.pid, gone=process.wait, ours=_offspring.are_ours)


def _absolute(directory: Path) -> Path:
    """The same directory for whoever works elsewhere, as the shim does."""
    return directory if directory.is_absolute() else directory.absolute()


def _make(place: Path) -> None:
    try:
        place.mkdir(0o700)
    except FileNotFoundError:
        _make(place.parent)
        _make(place)
    except FileExistsError:
        if not place.is_dir():
            raise


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]
    finally:
        os.close(fd)


@contextmanager
def _files(place: Path) -> Iterator[tuple[int, int, int]]:
    """The lock, taken, and the two output files, in a directory made for them; the child keeps them open."""
    _make(place)
    opened: list[int] = []
    try:
        for name in ("lock", "stdout.log", "stderr.log"):
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            opened.append(os.open(f"{place}/{name}", flags, 0o600))
        _take(opened[0], place)
        yield opened[0], opened[1], opened[2]
    finally:
        for fd in opened:
            os.close(fd)


def _take(lock: int, place: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise NotLaunched(f"an agent is running in {place}") from None
    if os.fstat(lock).st_size:
        raise NotLaunched(f"an agent has run in {place}")


def _write_down(order: Order, place: Path, intent: Mapping[str, object]) -> str:
    """Write the intent, and the input where there is one; the path of the agent's stdin."""
    name = f"{place}/attempt.json"
    text = json.dumps({**intent, "boot_id": boot_id(), "marker": order.marker}) + "\n"
    _write(f"{name}.new", text.encode())
    os.rename(f"{name}.new", name)  # noqa: PTH104 - a Path costs more than the call
    if order.stdin is None:
        return os.devnull
    _write(f"{place}/stdin", order.stdin)
    return f"{place}/stdin"


async def _spawn(order: Order, program: str, source: str, files: tuple[int, int, int]) -> asyncio.subprocess.Process:
    with _offspring.birth(), anyio.CancelScope(shield=True):  # a cancel in here would kill the shim and leave the agent
        process = await asyncio.create_subprocess_exec(
            *("/bin/sh", "-c", SHIM, "tidegate-shim", source, str(_tag_of(order.marker))),
            *(program, *order.argv[1:]),
            stdin=files[0],
            stdout=files[1],
            stderr=files[2],
            cwd=order.cwd,
            env={**order.env, MARK: order.marker},
            start_new_session=True,
        )
    _disarm(process)
    return process


def _disarm(process: asyncio.subprocess.Process) -> None:
    """Let the child outlive this process.

    A transport that is collected kills its child, which an ordinary exit of Python 3.12 and 3.13 does. One that
    believes its child dead closes without a kill; the child watcher still reaps the child and wakes `wait()`.
    """
    transport: asyncio.SubprocessTransport = process._transport  # type: ignore[attr-defined]  # noqa: SLF001 - no other way
    popen = transport.get_extra_info("subprocess")
    popen.returncode = 0
    transport.close()


def _refusal(error: OSError | ValueError, program: str) -> NotLaunched:
    """The launch error for what the system said."""
    if not isinstance(error, OSError):
        return NotLaunched(f"cannot launch {program}: {error}")  # a NUL byte, a `=` in a variable's name
    what = {
        errno.E2BIG: "argument list too long (one argument may have 128 KiB; stdin has no bound)",
        errno.EAGAIN: "out of processes",
        errno.ENOMEM: "out of memory",
        errno.EMFILE: "out of file descriptors",
        errno.ENFILE: "out of file descriptors on this machine",
    }.get(error.errno or 0, error.strerror or str(error))
    where = f" ({error.filename})" if error.filename not in (None, "/bin/sh", program) else ""
    passing = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT)
    kind = NotNow if error.errno in passing else NotLaunched
    return kind(f"cannot launch {program}: {what}{where}")


# --- what to execute ---------------------------------------------------------------------------


def _program(order: Order) -> str:
    """The absolute path of what argv names, as the child would find it. Raises NotLaunched.

    The shim gets a path and never a bare name, which a shell could take for one of its own commands.
    """
    _check_directory(order.cwd)
    if not order.argv:
        raise NotLaunched("no command")
    path = _look_up(order.argv[0], order)
    _check_interpreter(path, order)
    return path


def _check_directory(cwd: Path) -> None:
    if os.access(f"{cwd}/.", os.X_OK):
        return
    if cwd.is_dir():
        raise NotLaunched(f"directory may not be entered: {cwd}")
    raise NotLaunched(f"not a directory: {cwd}" if cwd.exists() else f"no such directory: {cwd}")


def _look_up(name: str, order: Order) -> str:
    search = order.env.get("PATH", os.defpath)
    cwd = _absolute(order.cwd)
    there = []
    for entry in ("",) if "/" in name else search.split(":"):
        path = cwd / entry / name
        if name and os.access(path, os.F_OK) and path.is_file():  # asked first: a closed directory is no error
            if os.access(path, os.X_OK):
                return str(path)
            there.append(path)
    if there:
        raise NotLaunched(f"not executable: {there[0]}")
    if "/" in name:
        raise NotLaunched(f"{'not a' if os.access(cwd / name, os.F_OK) else 'no such'} program: {name}")
    raise NotLaunched(f"no such program: {name} (PATH is {search})")


def _check_interpreter(path: str, order: Order) -> None:
    """A script whose interpreter is missing would end with a riddle: "not found"."""
    words = [word for word in _script_line(path).replace("\t", " ").split(" ") if word]
    if not words:
        return
    if not os.access(order.cwd / words[0], os.F_OK):
        raise NotLaunched(f"bad interpreter: {words[0]!r} (named by {path})")
    rest = [word for word in words[1:] if word != "-S"]
    if Path(words[0]).name == "env" and rest and not rest[0].startswith("-") and "=" not in rest[0]:
        try:
            _look_up(rest[0], order)
        except NotLaunched as error:
            raise NotLaunched(f"bad interpreter: {error} (named by {path})") from None


def _script_line(path: str) -> str:
    """What follows `#!` in a script; "" for anything else, and for what may be executed but not read."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        head = os.read(fd, 256)
    finally:
        os.close(fd)
    return os.fsdecode(head[2:].split(b"\n", 1)[0]) if head.startswith(b"#!") else ""


# --- finding after a restart -------------------------------------------------------------------


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
    held, pid, code = _state(directory)
    if held:
        return Alive(pid)
    if pid is None:
        return Unstarted()
    if _intent(directory).get("boot_id") != boot_id():
        return Gone("the machine was restarted")
    return Gone("the shim was killed") if code is None else Ended(Exit(code))


def was_started(directory: Path) -> bool:
    """Whether the agent of a directory runs or ever ran."""
    return found(directory) != Unstarted()


async def adopt(directory: Path) -> Child:
    """Take over the attempt of a directory, wherever it has got to: `wait()` then tells its end.

    Raises NotLaunched where it never started.
    """
    place = _absolute(directory)
    pid = await _recorded_pid(place)
    if pid is None:
        raise NotLaunched(f"never started: {place}")
    intent = _intent(place)
    held = _state(place).held
    _offspring.prepare()
    child = Child(place, str(intent.get("marker", "")), pid, over=not held and intent.get("boot_id") != boot_id())
    if held:
        child.take_up()
    return child


async def _recorded_pid(place: Path) -> int | None:
    """The shim's pid; waits for a shim that holds its lock and is about to write it."""
    with anyio.move_on_after(SHIM_BOUND):
        while (state := _state(place)).held and state.pid is None:  # noqa: ASYNC110
            await anyio.sleep(0.002)  # - a shim that writes its pid rings no bell
    return state.pid


class _State(NamedTuple):
    held: bool
    pid: int | None
    code: int | None


def _state(directory: Path) -> _State:
    """What the lock file tells: whether it is held, and its two lines where they are complete."""
    try:
        fd = os.open(f"{directory}/lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return _State(held=False, pid=None, code=None)
    try:
        held = _is_held(fd)  # before the lines: a shim writes its last one while it holds the lock
        return _State(held, *_lines(os.read(fd, 64)))
    finally:
        os.close(fd)


def _lines(data: bytes) -> tuple[int | None, int | None]:
    """The shim's pid and the exit status, where their lines are complete."""
    numbers = [int(line) if line.isdigit() else None for line in data.split(b"\n")[:-1]]
    pid, code, *_ = [*numbers, None, None]
    return pid, code


def _is_held(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who look do not see one another
    except BlockingIOError:
        return True
    return False


def _intent(directory: Path) -> Mapping[str, object]:
    try:
        intent = json.loads(Path(f"{directory}/attempt.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return intent if isinstance(intent, dict) else {}


@cache
def boot_id() -> str:
    """The kernel's name for this run of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


# --- the child ---------------------------------------------------------------------------------


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
        gone: Callable[[], Awaitable[object]] | None = None,
        ours: bool = False,
        over: bool = False,
    ) -> None:
        self.directory = directory
        self.marker = marker
        self.pid = pid
        self._tag = _tag_of(marker)
        self._gone = gone  # returns when the shim is gone and reaped; None: it is
        self._pidfd: int | None = None
        self._ours = ours  # its orphans come to this process
        self._over = over  # another run of the machine: no process of it can be left
        if ours:
            _offspring.join(self)

    @property
    def tag(self) -> int:
        """The mark among the limits of every process of this attempt."""
        return self._tag

    def __repr__(self) -> str:
        return f"<Child pid={self.pid} marker={self.marker!r} {'ended' if self._gone is None else 'running'}>"

    # --- its end ---

    async def wait(self) -> Exit:
        """Wait for the agent's end. Where the shim was killed, everything of the agent is ended too: code None."""
        if self._gone is not None:
            await self._gone()
            self._gone = None
            _offspring.bury(self)
        self.let_go()
        _, code = (None, None) if self._over else _lines(_read(f"{self.directory}/lock") or b"")
        if code is None:
            await self._put_down(KILL_BOUND)
        return Exit(code)

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
        shim = _process(self.pid)
        if shim is not None:
            _send(shim, signal.SIGKILL)

    async def sweep(self, grace: float) -> int:
        """End what the agent left behind: TERM, `grace` seconds, KILL; how many processes that were."""
        count = 0 if await self._is_clean() else await self._put_down(grace)
        _offspring.leave(self)
        return count

    def let_go(self) -> None:
        """Stop following the shim; it and the agent run on, to be adopted."""
        if self._pidfd is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None

    # --- while it runs ---

    def cpu(self) -> float:
        """Seconds of processor time used so far by the agent's session and descendants.

        Falls where an orphan ends, whose time nobody inherits.
        """
        look = _Look()
        for pid in _pids():
            look.add(_process(pid))
        return sum(process.cpu for process in look.trees(look.sessions.get(self.pid, ())))

    async def freeze(self) -> None:
        """Stop every process of the agent where it is, until `thaw()` or `end()`."""
        for _ in range(20):  # what was forked meanwhile is caught in the next round
            running = [process for process in await self._members() if process.state != "T"]
            if not running:
                return
            for process in running:
                _send(process, signal.SIGSTOP)
            await anyio.sleep(0.002)

    async def thaw(self) -> None:
        """Let the agent's processes go on."""
        for process in await self._members():
            _send(process, signal.SIGCONT)

    # --- an adopted shim ---

    def take_up(self) -> None:
        """Notice the end of a shim that another incarnation started."""
        try:
            pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        shim = _process(self.pid)
        if shim is None or not _state(self.directory).held:  # a held lock after the opening: the pid is the shim's
            os.close(pidfd)
            return
        gone = anyio.Event()
        self._pidfd, self._gone = pidfd, gone.wait
        self._ours = shim.parent == os.getpid()  # after a re-execution in place
        if self._ours:
            _offspring.join(self)
        asyncio.get_running_loop().add_reader(pidfd, self._on_end, gone)

    def _on_end(self, gone: anyio.Event) -> None:
        self.let_go()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
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
        while members := await self._members():
            for process in members:
                if (process.pid, process.started) not in told:
                    told.add((process.pid, process.started))
                    _send(process, number)
                    _send(process, signal.SIGCONT)  # a stopped process hears TERM only when it goes on
            await _all_gone(members)

    async def _members(self) -> list[Process]:
        """The living processes of the agent, without the shim."""
        _offspring.reap()
        if self._over:
            return []
        look = await _census.take()
        roots = [*look.marked.get(self._tag, ()), *look.marked.get(self.marker, ())]
        if self._gone is not None:  # the session's number is surely the shim's only while the shim holds it
            roots += look.sessions.get(self.pid, ())
        return [
            process
            for process in look.trees(roots)
            if process.is_alive and (process.pid != self.pid or self._gone is None)
        ]

    async def _is_clean(self) -> bool:
        """Whether surely nothing is left, told without a look at every process of the machine.

        Orphans of a launched agent are handed to this process: nothing unknown among its children, and no member
        in the group, is nothing.
        """
        if self._over:
            return True
        if not self._ours or self._gone is not None:
            return False
        strangers = await _offspring.strangers()
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
        marker = _marker(pid)  # first: a shim that is just being launched is told by one look
        if marker is not None:
            return marker == self.marker
        return _tag(pid) == self._tag


# --- this process's own children ---------------------------------------------------------------


class _Offspring:
    """The shims that this process started, and the orphans that the kernel hands to it."""

    def __init__(self) -> None:
        self.are_ours = False  # orphans come to this process, not to init
        self._pid = 0
        self._births = 0
        self._shims: dict[int, Child] = {}  # by pid, from their launch until they are gone
        self._unswept: set[Child] = set()  # whose orphans may still come
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

    def _look(self) -> None:
        self._timer = None
        self.reap()
        if self._unswept and self._loop is not None:
            self._timer = self._loop.call_later(ORPHANS, self._look)

    async def strangers(self) -> list[int] | None:
        """The children that this process has just now and that are not shims; None where the kernel does not tell."""
        pids = self._unknown()
        for _ in range(BIRTH):
            if not pids or not self._births:
                break
            await asyncio.sleep(0)  # a shim is known as soon as its launch returns
            pids = [pid for pid in pids if pid not in self._shims]
        return pids

    def _unknown(self) -> list[int] | None:
        data = _read(f"/proc/self/task/{self._pid}/children")
        return None if data is None else [pid for pid in map(int, data.split()) if pid not in self._shims]

    def reap(self) -> None:
        """Bury the dead orphans of the agents; other children are left to who started them."""
        for pid in self._unknown() or ():
            process = _process(pid)
            if process is not None and not process.is_alive and self._comes_from_an_agent(process):
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)

    def _comes_from_an_agent(self, process: Process) -> bool:
        tag = _tag(process.pid)
        return any(child.tag == tag or child.pid == process.session for child in self._unswept)


_offspring = _Offspring()

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


# --- processes as the kernel shows them --------------------------------------------------------


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


def _process(pid: int) -> Process | None:
    data = _read(f"/proc/{pid}/stat")
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


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - thousands of names


class _Look:
    """Every process at about one moment, to be found by what it carries and by whose it is."""

    def __init__(self) -> None:
        self.marked: dict[int | str, list[Process]] = {}  # by tag and by marker
        self.sessions: dict[int, list[Process]] = {}
        self._children: dict[int, list[Process]] = {}

    def add(self, process: Process | None, *, marks: bool = False) -> None:
        """Note a process, with its marks where they are asked for."""
        if process is None:
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


class _Census:
    """Looks at all processes of the machine for whoever asks; who asks at the same time shares a look."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._under_way: asyncio.Task[_Look] | None = None
        self._next: asyncio.Task[_Look] | None = None

    async def take(self) -> _Look:
        """A look that begins after this call."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._under_way, self._next = loop, None, None
        if self._next is None:
            self._next = loop.create_task(self._look(self._under_way))
        return await asyncio.shield(self._next)

    async def _look(self, before: asyncio.Task[_Look] | None) -> _Look:
        if before is not None:
            await asyncio.wait({before})
        self._under_way, self._next = self._next, None
        look = _Look()
        for n, pid in enumerate(_pids(), 1):
            look.add(_process(pid), marks=True)
            if n % SLICE == 0:
                await asyncio.sleep(0)
        return look


_census = _Census()


def _tag_of(marker: str) -> int:
    """The number among the limits that stands for a marker: 48 bits, above any limit somebody means."""
    return (1 << 48) + int.from_bytes(blake2b(marker.encode(errors="surrogateescape"), digest_size=6).digest())


def _tag(pid: int) -> int | None:
    """The soft limit of file locks of a process, dead ones too; None where it has none."""
    data = _read(f"/proc/{pid}/limits") or b""
    _, _, line = data.partition(b"Max file locks")
    words = line[:40].split()
    return int(words[0]) if words and words[0].isdigit() else None


def _marker(pid: int) -> str | None:
    """The attempt that a process's environment names; None where it names none or has changed it."""
    _, found, rest = (b"\0" + (_read(f"/proc/{pid}/environ") or b"")).partition(ENTRY)
    return os.fsdecode(rest.partition(b"\0")[0]) if found else None


def _marks(process: Process) -> tuple[int | None, str | None]:
    """Both marks of a process, remembered: it is born with what it has."""
    key = (process.pid, process.started)
    if key not in _remembered:
        if len(_remembered) > REMEMBERED:
            _remembered.clear()
        _remembered[key] = (_tag(process.pid), _marker(process.pid))
    return _remembered[key]


_remembered: dict[tuple[int, int], tuple[int | None, str | None]] = {}


def _read(path: str) -> bytes | None:
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


def _send(process: Process, number: signal.Signals) -> None:
    """Signal this very process, never another that has got its pid."""
    try:
        fd = os.pidfd_open(process.pid)
    except OSError:
        return
    try:
        if _is_still(process):
            signal.pidfd_send_signal(fd, number)
    except (ProcessLookupError, PermissionError):
        pass
    finally:
        os.close(fd)


def _is_still(process: Process) -> bool:
    now = _process(process.pid)
    return now is not None and now.started == process.started


async def _all_gone(processes: list[Process]) -> None:
    """Wait until each has ended."""
    for process in processes:
        with suppress(OSError):
            fd = os.pidfd_open(process.pid)
            try:
                if _is_still(process):
                    await anyio.wait_readable(fd)
            finally:
                os.close(fd)
