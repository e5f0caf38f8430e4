"""A cgroup for each attempt: whatever its agent forks is in it, whatever that does to hide.

Cgroups are made where one is delegated to this process (`Delegate=` of its systemd unit), beside the processes of the
unit; what their processes may use is bound where the kernel's controllers can be had (`bounds`). The agent joins, not
its shim: so the whole cgroup may be frozen and killed, and the shim still records.

Linux 5.2 has all that is needed (`cgroup.freeze`). Before 5.14 there is no `cgroup.kill`: the cgroup is frozen
instead, so that nothing forks any more, and its processes are killed one by one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import anyio
import structlog

from tidegate.clock import SystemClock
from tidegate.errors import NotLaunched
from tidegate.launch.bounds import UNBOUND, Bounds, bind, lacking, shortage, untold
from tidegate.launch.processes import Process, process_of, read, tag_for, write
from tidegate.model import Shortage

log = structlog.get_logger()

PREFIX = "attempt-"
FREEZE_BOUND = 1.0  # seconds that processes get to stand still: one that waits for a dead disk never does
REMOVE_TRIES = 20  # some kernels count a dead process for an instant
YOUNG = 60.0  # seconds for which an empty cgroup may be one whose agent is about to join
UNITS = (".service", ".scope", ".slice", ".socket", ".mount", ".swap")
DELEGATED = ("user.delegate", "trusted.delegate")  # systemd marks so what is delegated; the second is for root's eyes


class Cgroup:
    """The cgroup of one attempt's agent."""

    def __init__(self, path: Path, bounds: Bounds = UNBOUND) -> None:
        self.path = path
        self.bounds = bounds

    def __repr__(self) -> str:
        return f"<Cgroup {self.path}>"

    def is_in(self, told: bytes) -> bool:
        """Whether a process is in it, or was as it died, of which /proc/PID/cgroup tells this."""
        return f"/{self.path.name}".encode() in told

    @property
    def door(self) -> str:
        """Who writes 0 here is in it."""
        return f"{self.path}/cgroup.procs"

    def is_populated(self) -> bool:
        """Whether any process lives in it, or below it."""
        return self._events().get("populated") == "1"

    def members(self) -> list[Process]:
        """The living processes in it and below it: an agent may make cgroups of its own."""
        pids = [int(pid) for path in _tree(self.path) for pid in (read(f"{path}/cgroup.procs") or b"").split()]
        found = (process_of(pid) for pid in pids if pid)  # 0 stands for one outside this process's view
        return [process for process in found if process is not None and process.is_alive]

    def cpu(self) -> float:
        """Seconds of processor time that its processes have used, the dead ones too."""
        return int(_values(f"{self.path}/cpu.stat").get("usage_usec", 0)) / 1e6

    def shortage(self) -> Shortage | None:
        """What its processes have run out of; None for nothing."""
        return shortage(self.path, self.bounds)

    async def freeze(self) -> bool:
        """Stop everything in it, and whoever joins later; whether it holds processes, and they stand still."""
        if not self._write("cgroup.freeze", "1"):
            return False
        with anyio.move_on_after(FREEZE_BOUND):
            while (events := self._events()).get("frozen") == "0":  # noqa: ASYNC110 - microseconds, as a rule
                await anyio.sleep(0.002)
        return events.get("frozen") == events.get("populated") == "1"

    def thaw(self) -> None:
        """Let everything in it go on."""
        self._write("cgroup.freeze", "0")

    def kill(self) -> None:
        """Kill everything in it, or at least keep it from forking."""
        if not self._write("cgroup.kill", "1"):
            self._write("cgroup.freeze", "1")

    async def remove(self) -> None:
        """Take the empty cgroup away; one that is not empty stays."""
        for _ in range(REMOVE_TRIES):
            if _remove(self.path) or self.is_populated():
                return
            await anyio.sleep(0.005)

    def _events(self) -> dict[str, str]:
        return _values(f"{self.path}/cgroup.events")

    def _write(self, name: str, value: str) -> bool:
        return write(f"{self.path}/{name}", value)


# --- making and finding ---


@contextmanager
def made(
    place: Path, marker: str, *, wanted: bool, bounds: Bounds = UNBOUND, must: bool = True
) -> Iterator[Cgroup | None]:
    """A new cgroup for the attempt of a directory, where that is wanted and possible; a failed launch leaves none.

    Where it cannot have these bounds it has none; if it `must` have them: raises NotLaunched.
    """
    root = cgroup_root() if wanted else None
    cgroup = _made(root, place, marker) if root is not None else None
    try:
        if bounds != UNBOUND:
            _bind(cgroup, bounds, must=must)
        yield cgroup
    except BaseException:
        if cgroup is not None:
            _remove(cgroup.path)
        raise


def _made(root: Path, place: Path, marker: str) -> Cgroup | None:
    _clear(root)
    cgroup = Cgroup(root / _name(place, marker))
    try:
        cgroup.path.mkdir(exist_ok=True)
    except OSError as error:
        log.warning("no cgroup", path=str(cgroup.path), reason=error.strerror)
        return None
    return cgroup


def _bind(cgroup: Cgroup | None, bounds: Bounds, *, must: bool) -> None:
    why = lacking(cgroup.path.parent if cgroup else None, bounds.controllers)
    if cgroup is not None and not why:
        refused = bind(cgroup.path, bounds)
        why = f"the kernel refuses {refused}" if refused else ""
    if cgroup is not None and not why:
        cgroup.bounds = bounds
    if why and must:
        raise NotLaunched(f"{bounds} cannot be had here: {why}; `tidegate doctor` says more")
    if why:
        _warn(", ".join(bounds.controllers), why)


@cache
def _warn(what: str, why: str) -> None:
    """Once is enough."""
    log.warning("attempts run without bounds", of=what, reason=why)


def found_again(place: Path, marker: str, said: object, bounds: object = None) -> Cgroup | None:
    """The cgroup that an earlier incarnation has written down, wherever this process works itself."""
    if not isinstance(said, str) or Path(said).name != _name(place, marker) or not os.access(said, os.W_OK):
        return None
    return Cgroup(Path(said), untold(bounds))


def _name(place: Path, marker: str) -> str:
    """Readable in `systemd-cgls`: the directories are named by job and attempt."""
    return f"{PREFIX}{place.parent.name[:80]}-{place.name[:80]}-{tag_for(marker):x}"


@cache
def _clear(root: Path) -> None:
    """Remove, once, the empty cgroups that earlier incarnations have left."""
    now = SystemClock().now().timestamp()
    for path in root.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if now - path.stat().st_mtime > YOUNG:
                _remove(path)


# --- where ---


@cache
def cgroup_root(pid: int | None = None) -> Path | None:
    """The cgroup that a process, by default this one, may make others in; None where none is delegated to it."""
    own = _own("self" if pid is None else pid)
    if own is None:
        return None
    is_below = not own.name.endswith(UNITS) and not own.name.startswith(PREFIX)  # DelegateSubgroup= of systemd >= 254
    for path in (own, own.parent) if is_below else (own,):
        if _is_delegated(path) and _is_usable(path):
            return path
    return None


def _own(pid: int | str = "self") -> Path | None:
    """The directory of a process's cgroup v2, as it is mounted here."""
    lines = os.fsdecode(read(f"/proc/{pid}/cgroup") or b"").splitlines()
    own = next((line[3:] for line in lines if line.startswith("0::")), None)
    if own is None or ".." in own.split("/"):  # outside this process's view
        return None
    for line in os.fsdecode(read("/proc/self/mountinfo") or b"").splitlines():
        before, _, after = line.partition(" - ")
        root, mounted = (_unescaped(field) for field in before.split()[3:5])
        if after.startswith("cgroup2 ") and Path(own).is_relative_to(root):
            return Path(mounted) / Path(own).relative_to(root)
    return None


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)


def _is_delegated(path: Path) -> bool:
    for name in DELEGATED:
        with suppress(OSError):
            if os.getxattr(path, name) == b"1":
                return True
    return False


def _is_usable(path: Path) -> bool:
    """Whether the kernel has what is needed, and lets this process make cgroups and move its children into them."""
    writable = os.access(path, os.W_OK) and os.access(path / "cgroup.procs", os.W_OK)
    return writable and os.access(path / "cgroup.freeze", os.F_OK)


# --- files of the kernel ---


def _tree(path: Path) -> Iterator[Path]:
    """A cgroup and those below it, each before those below it."""
    yield path
    try:
        with os.scandir(path) as entries:  # which may vanish on the way
            below = [Path(entry) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for one in below:
        yield from _tree(one)


def _remove(path: Path) -> bool:
    """Whether an empty cgroup is gone, with those below it."""
    return _remove_one(path) or all(_remove_one(one) for one in reversed(list(_tree(path))))


def _remove_one(path: Path) -> bool:
    try:
        path.rmdir()
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return True


def _values(path: str) -> dict[str, str]:
    lines = (read(path) or b"").decode().splitlines()
    return dict(line.split(" ", 1) for line in lines)
