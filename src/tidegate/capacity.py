"""What the machine grants to the slots: descriptors, which are raised as far as needed, processes and file notices."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from msgspec import Struct

from tidegate.errors import BadSetting

SPARE, EACH = 64, 4  # descriptors of a supervisor, and of each attempt: three, and a third more to spare
SHIM_AND_AGENT = 2  # processes of an attempt at least
TYPICAL = 32  # threads and processes of one with tool servers: claude and codex have about twenty
WATCHES_OF_OTHERS = 100
KERNEL, INOTIFY = Path("/proc/sys/kernel"), Path("/proc/sys/fs/inotify")
CGROUPS = Path("/sys/fs/cgroup")


class Bound(Struct, frozen=True):
    """A number that the machine grants, and what grants it."""

    most: int
    by: str


# --- descriptors ---


def descriptors_for(slots: int) -> int:
    """How many descriptors a supervisor with so many slots needs."""
    return SPARE + EACH * slots


def slots_for(descriptors: int) -> int:
    """How many slots so many descriptors carry."""
    return max(descriptors - SPARE, 0) // EACH


@cache
def begun_with() -> int:
    """The soft limit of descriptors before this process raised it: agents get it back."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def make_room(slots: int, running: int = 0) -> None:
    """Raise the soft limit of descriptors to what the slots, and what runs already, need.

    Raises BadSetting where the hard limit is too low for the slots.
    """
    begun_with()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = descriptors_for(slots)
    if needed > (most := sys.maxsize if hard == resource.RLIM_INFINITY else hard):
        raise BadSetting(f"{too_few(slots, hard)}: {what_to_do(slots, hard)}")
    wanted = min(descriptors_for(max(slots, running)), most)
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def give_back() -> None:
    """Have the soft limit again that this process was started with, for the program that it becomes."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (begun_with(), hard))


def too_few(slots: int, hard: int) -> str:
    """What is wrong with so many slots under a hard limit."""
    return (
        f"{slots} slots need {descriptors_for(slots)} file descriptors, and this process may have {hard} (ulimit -Hn)"
    )


def what_to_do(slots: int, hard: int) -> str:
    """What a person can do about it."""
    raised = f"raise that limit (LimitNOFILE={descriptors_for(slots)} in a unit)"
    return f"{raised}, or set at most {fit} slots" if (fit := slots_for(hard)) else raised


# --- processes ---


def processes() -> Bound:
    """The least of the bounds on processes and threads that this process is under."""
    return min(_bounds_on_processes(), key=lambda bound: bound.most)


def _bounds_on_processes() -> Iterator[Bound]:
    for name in ("pid_max", "threads-max"):
        yield Bound(int((KERNEL / name).read_text()), f"kernel.{name}")
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if soft != resource.RLIM_INFINITY and os.geteuid():
        yield Bound(soft, "ulimit -u")
    yield from bounds_of_cgroups(_own_cgroup(), CGROUPS)


def _own_cgroup() -> str:
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    return next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")


def bounds_of_cgroups(own: str, root: Path) -> Iterator[Bound]:
    """What a cgroup below `root`, and each above it, may hold; TasksMax= of a unit is one of them."""
    place = Path(own.lstrip("/"))
    for above in (place, *place.parents):
        try:
            said = (root / above / "pids.max").read_text().strip()
        except OSError:
            continue  # no controller there
        if said != "max":
            yield Bound(int(said), f"TasksMax of /{above}")


# --- file notices ---


def watches() -> Bound:
    """How many directories this user may be told of: each attempt takes one."""
    return Bound(int((INOTIFY / "max_user_watches").read_text()), "fs.inotify.max_user_watches")


def instances() -> Bound:
    """How many programs of this user may be told of anything: a supervisor is one."""
    return Bound(int((INOTIFY / "max_user_instances").read_text()), "fs.inotify.max_user_instances")


# --- in words ---


def doubts(slots: int) -> Iterator[str]:
    """One line for each bound under which so many slots cannot all work as they should."""
    yield from process_doubts(slots, processes())
    yield from notice_doubts(slots, watches(), instances())


def process_doubts(slots: int, bound: Bound) -> Iterator[str]:
    """Whether all slots can have their processes; where a launch finds none left it is tried again later."""
    if bound.most < SHIM_AND_AGENT * slots:
        yield f"{bound.by} = {bound.most} leaves {slots} slots no processes: raise it, or set fewer slots"
    elif bound.most < TYPICAL * slots:
        needed = f"{slots} slots may need {TYPICAL * slots}"
        yield f"{bound.by} = {bound.most}: {needed} processes and threads where agents start tool servers"


def notice_doubts(slots: int, watches: Bound, instances: Bound) -> Iterator[str]:
    """Whether output is told of at once; else it is looked for twice a second."""
    if watches.most < WATCHES_OF_OTHERS + slots:
        yield f"{watches.by} = {watches.most} for {slots} slots: output may be polled for; sysctl {watches.by}=65536"
    if instances.most < 8:
        yield f"{instances.by} = {instances.most}: output may be polled for; sysctl {instances.by}=128"
