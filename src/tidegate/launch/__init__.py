"""One child: its shim, its session and its files; adopting it after a restart; ending its whole tree.

An agent runs under a tiny `/bin/sh` that outlives this program: a crash, an upgrade or an ordinary exit of the
supervisor ends no agent and loses no exit status. An attempt's directory holds

    attempt.json   the intent, written before the launch: what the caller says, `boot_id`, `marker`, its `cgroup`,
                   the `bounds` of that
    lock           locked as long as the shim lives; its first line is the shim's pid, its second the exit status
    stdout.log     append-only, what the agent prints
    stderr.log     likewise; where a signal ends the agent, dash adds its word for it ("Killed")
    stdin          what the agent is fed, where there is something; else it reads an empty stdin

Every process of an attempt carries two marks from birth: `TIDEGATE_ATTEMPT` in its environment, and a soft limit of
file locks, which Linux has not looked at since 2.4: it survives `setsid`, a double fork and a cleared environment.
An agent that clears the one and resets the other can leave processes that no adopter finds. Where a cgroup is
delegated to the supervisor each attempt has one of its own, and nothing can leave it by forking.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import resource
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import anyio

from tidegate.errors import NotLaunched, NotNow
from tidegate.launch.bounds import UNBOUND, Bounds, lacking, told
from tidegate.launch.cgroup import Cgroup, cgroup_root, made
from tidegate.launch.child import Child, adopt, is_whole, put_down
from tidegate.launch.offspring import family
from tidegate.launch.order import Order, program_of
from tidegate.launch.processes import MARK, tag_for
from tidegate.launch.traces import (
    Alive,
    Ended,
    Found,
    Gone,
    Unstarted,
    absolute,
    boot_id,
    found,
    intent_of,
    was_started,
)

__all__ = [
    "MARK",
    "UNBOUND",
    "Alive",
    "Bounds",
    "Child",
    "Ended",
    "Found",
    "Gone",
    "Order",
    "Unstarted",
    "adopt",
    "boot_id",
    "cgroup_root",
    "found",
    "intent_of",
    "is_whole",
    "lacking",
    "launch",
    "put_down",
    "was_started",
]

# $1 is the agent's stdin, $2 the mark among the limits, $3 the soft limit of descriptors where it is not to be this
# process's own, the rest the agent's argv. The lock comes as stdin, because
# dash can close no descriptor above 9. A signal that the agent sends to its group must not end the shim. A full disk
# delays the status, it does not lose it. The agent is no subshell's child: dash can start it by vfork then, and
# no TERM is lost in between. Where it has a cgroup another shell joins that first and becomes the agent; where that
# fails, the marks are what the agent is known by.
SHIM = """\
exec 9<&0 8>&2 <"$1" 2>/dev/null
ulimit -Sw "$2" || ulimit -Sx "$2"
trap : HUP INT QUIT PIPE ALRM TERM USR1 USR2 TSTP
[ -z "$3" ] || ulimit -Sn "$3"
shift 3
echo $$ >&9 || exit 125
"$@" 2>&8 8>&- 9<&-
s=$? n=0
until echo $s >&9 || [ $n -ge 60 ]; do n=$((n + 1)); sleep 5; done
exit $s
"""
AGENT = '"$@"'
PASSING = (
    *(errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE),
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS),
)  # what the machine lacks, or has broken: no job is to blame
# The rest of the words begin with the cgroup's door then. There is a unit around it all: `systemctl kill -s USR1`, by
# which a person pauses this program, reaches every process of it, so the agent begins with both signals ignored.
JOINING = """\
trap "" USR1 USR2
/bin/sh -c 'echo 0 2>/dev/null >"$0"; exec "$@"' "$@"\
"""

LEFT = 'echo "tidegate: cannot join $0" >&2; exit 125'  # where it is to be bound, nothing may run outside


async def launch(order: Order, directory: Path, intent: Mapping[str, object]) -> Child:
    """Start the agent; its files are then in `directory`, made with mode 0700 as its missing parents are.

    Raises NotLaunched with the reason (NotNow where trying again can help); no process runs then. A directory that
    has seen a launch before is refused.
    """
    program = order.argv[0] if order.argv else ""
    place = absolute(directory)
    try:
        program = program_of(order)
        with _files(place) as files, _grouped(order, place) as cgroup:
            source = _write_down(order, place, {**intent, **_where(order, cgroup)})
            pid, shim = await _spawn(order, (*_shim(order, source, cgroup), program), files)
    except (OSError, ValueError) as error:
        raise _refusal(error, program) from error
    return Child(place, order.marker, pid, end=shim.gone, ours=family.are_ours, cgroup=cgroup)


def _grouped(order: Order, place: Path) -> AbstractContextManager[Cgroup | None]:
    return made(place, order.marker, wanted=order.cgroup, bounds=order.bounds, must=order.must)


def _where(order: Order, cgroup: Cgroup | None) -> dict[str, object]:
    """What the intent says of the cgroup, and of bounds."""
    bounds = cgroup.bounds if cgroup else UNBOUND
    where: dict[str, object] = {"cgroup": str(cgroup.path)} if cgroup else {}
    if bounds != UNBOUND:
        where["bounds"] = told(bounds)
    return where if bounds == order.bounds else {**where, "unbounded": str(order.bounds)}


def _make(place: str) -> None:
    """A directory, and its parent first: a job's first attempt has none."""
    parent = os.path.dirname(place)  # noqa: PTH120 - a Path costs more than the call
    try:
        os.mkdir(parent, 0o700)  # noqa: PTH102
    except FileNotFoundError:
        _make(parent)
    except FileExistsError:
        pass
    try:
        os.mkdir(place, 0o700)  # noqa: PTH102
    except FileExistsError:
        if not os.path.isdir(place):  # noqa: PTH112
            raise


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]
    finally:
        os.close(fd)


@contextmanager
def _files(place: Path) -> Iterator[tuple[int, int, int]]:
    """The lock, taken, and the two output files, in a directory made for them; the child keeps them open."""
    _make(str(place))
    opened: list[int] = []
    try:
        for name in ("lock", "stdout.log", "stderr.log"):
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
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
    """Write the intent, and the input where there is one; the path of the agent's stdin.

    A half-written intent is that of an agent that never started: its lock names no pid.
    """
    text = json.dumps({**intent, "boot_id": boot_id(), "marker": order.marker}) + "\n"
    _write(f"{place}/attempt.json", text.encode())
    if order.stdin is None:
        return os.devnull
    _write(f"{place}/stdin", order.stdin)
    return f"{place}/stdin"


def _shim(order: Order, source: str, cgroup: Cgroup | None) -> tuple[str, ...]:
    """The words of the shim, before those of the agent."""
    descriptors = "" if order.descriptors is None else _limit(order.descriptors)
    words = ("tidegate-shim", source, str(tag_for(order.marker)), descriptors)
    if cgroup is None:
        return ("/bin/sh", "-c", SHIM, *words)
    joining = JOINING.replace("; exec", f" || {{ {LEFT}; }}; exec") if cgroup.bounds != UNBOUND else JOINING
    return ("/bin/sh", "-c", SHIM.replace(AGENT, joining), *words, cgroup.door)


def _limit(number: int) -> str:
    """A limit as the shell takes it."""
    return "unlimited" if number == resource.RLIM_INFINITY else str(number)


async def _spawn(order: Order, before: tuple[str, ...], files: tuple[int, int, int]) -> tuple[int, _Shim]:
    """The shim's pid, and who hears of its end."""
    with family.birth(), anyio.CancelScope(shield=True):  # a cancel in here would kill the shim and leave the agent
        transport, shim = await asyncio.get_running_loop().subprocess_exec(
            _Shim,
            *before,
            *order.argv[1:],
            stdin=files[0],
            stdout=files[1],
            stderr=files[2],
            cwd=order.cwd,
            env={**order.env, MARK: order.marker},
            start_new_session=True,
        )
    pid = transport.get_pid()
    assert pid is not None
    _disarm(transport)
    return pid, shim


class _Shim(asyncio.SubprocessProtocol):
    """Hears that a shim is gone and reaped; asyncio's own for a Process holds a kilobyte more for streams."""

    def __init__(self) -> None:
        self.gone: asyncio.Future[object] = asyncio.get_running_loop().create_future()  # what it ended with
        self._transport: asyncio.SubprocessTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio tells it."""
        assert isinstance(transport, asyncio.SubprocessTransport)
        self._transport = transport

    def process_exited(self) -> None:
        """As asyncio tells it."""
        transport, self._transport = self._transport, None
        self.gone.set_result(transport.get_returncode() if transport is not None else None)


def _disarm(transport: asyncio.SubprocessTransport) -> None:
    """Let the child outlive this process.

    A transport that is collected kills its child, which an ordinary exit of Python 3.12 and 3.13 does. One that
    believes its child dead closes without a kill; the child watcher still reaps the child and tells `_Shim`.
    """
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
    kind = NotNow if error.errno in PASSING else NotLaunched
    return kind(f"cannot launch {program}: {what}{where}")
