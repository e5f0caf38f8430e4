"""What the processes of an attempt may use of the machine together, and what the kernel tells of that.

The kernel shares its controllers out among the cgroups below the delegated one, and does so only while that holds no
processes itself. With `DelegateSubgroup=` of systemd 254 the supervisor lives below it, beside the attempts. On older
ones it lives in it: the kernel refuses then, and rightly, for systemd could not start the unit again beside agents that
outlive it (EBUSY). A controller is enabled when the first order asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tidegate.allowed import shown_size
from tidegate.launch.processes import read, write
from tidegate.model import Shortage


class Bounds(NamedTuple):
    """The most memory (bytes; none of it may be swapped out), the most processes and threads, and the share of the
    processors beside others (1 to 10000, 100 is usual); None is no bound.
    """

    memory: int | None = None
    pids: int | None = None
    cpu_weight: int | None = None

    @property
    def controllers(self) -> tuple[str, ...]:
        """Those of the kernel that see to them."""
        needed = {"memory": self.memory, "pids": self.pids, "cpu": self.cpu_weight}
        return tuple(name for name, bound in needed.items() if bound is not None)

    def __str__(self) -> str:
        said = {"pids": self.pids, "cpu_weight": self.cpu_weight}
        memory = [f"memory {shown_size(self.memory)}"] if self.memory is not None else []
        return ", ".join([*memory, *(f"{name} {bound}" for name, bound in said.items() if bound is not None)])


UNBOUND = Bounds()


def lacking(root: Path | None, controllers: tuple[str, ...]) -> str:
    """Why such bounds cannot be had below a cgroup, in words; "" where they can."""
    if not controllers:
        return ""
    if root is None:
        return "no cgroup is delegated to this process"
    there, enabled = _words(root, "cgroup.controllers"), _words(root, "cgroup.subtree_control")
    if missing := [name for name in controllers if name not in there]:
        return f"{root} has no {' and no '.join(missing)} controller"
    if set(controllers) - set(enabled) and _words(root, "cgroup.procs"):
        return f"{root} holds processes itself (with DelegateSubgroup= of systemd 254 it would not)"
    return ""


def bind(path: Path, bounds: Bounds) -> str:
    """Tell the kernel the bounds of a cgroup, whose parent shares its controllers out then; what it refuses."""
    enabled = _words(path.parent, "cgroup.subtree_control")
    share = [("cgroup.subtree_control", f"+{name}") for name in bounds.controllers if name not in enabled]
    refused = [value for name, value in share if not write(f"{path.parent}/{name}", value)]
    refused += [name for name, value in _files(bounds) if not write(f"{path}/{name}", value)]
    if bounds.memory is not None:
        write(f"{path}/memory.swap.max", "0")  # not there where nothing counts what is swapped
    return ", ".join(refused)


def _files(bounds: Bounds) -> Iterator[tuple[str, str]]:
    if bounds.memory is not None:
        yield "memory.max", str(bounds.memory)
        yield "memory.oom.group", "1"  # half of an agent is no agent
    if bounds.pids is not None:
        yield "pids.max", str(bounds.pids)
    if bounds.cpu_weight is not None:
        yield "cpu.weight", str(bounds.cpu_weight)


def shortage(path: Path, bounds: Bounds) -> Shortage | None:
    """What a cgroup's processes have run out of; None for nothing, and where nobody counts it."""
    killed = _count(path, "memory.events", "oom_kill") > 0
    memory = bounds.memory if _count(path, "memory.events", "oom") else None  # else it was somebody else's bound
    pids = bounds.pids if _count(path, "pids.events", "max") else None
    return Shortage(killed=killed, memory=memory, pids=pids) if killed or pids is not None else None


def told(bounds: Bounds) -> dict[str, int]:
    """The bounds as an intent names them."""
    return {name: bound for name, bound in bounds._asdict().items() if bound is not None}


def untold(said: object) -> Bounds:
    """The bounds that an intent names."""
    if not isinstance(said, dict):
        return UNBOUND
    return Bounds(**{name: said[name] for name in Bounds._fields if isinstance(said.get(name), int)})


def _words(path: Path, name: str) -> list[str]:
    return (read(f"{path}/{name}") or b"").decode().split()


def _count(path: Path, name: str, key: str) -> int:
    words = _words(path, name)
    return int(words[words.index(key) + 1]) if key in words else 0
