"""Looks at what the machine gives: cgroups, descriptors, processes, file notices, the time and its zones."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import tidegate
from tidegate import capacity, places, settings
from tidegate import clock as clocks
from tidegate.doctor.finding import Case, Finding, ok, warning, wrong
from tidegate.lock import owner

V2 = Path("/sys/fs/cgroup/cgroup.controllers")
ZONES = ("Europe/Berlin", "America/Los_Angeles", "UTC")  # a few that providers print
SLACK = timedelta(minutes=5)  # that clocks of file servers may differ


def cgroups(check: str, case: Case) -> Iterator[Finding]:
    """Whether each attempt can have one: nothing of an agent escapes its own."""
    from tidegate.launch import cgroup_root  # noqa: PLC0415 - it brings a loop along

    pid = owner(places.lock(case.state))  # else the next one to work here, begun as this process was
    if case.settings.supervisor.cgroups == "off":
        yield ok(check, "off ([supervisor] cgroups): attempts are followed by session and marks")
    elif root := cgroup_root(pid):
        yield ok(check, f"each attempt gets one of its own in {root}")
    elif V2.exists():
        yield ok(
            check,
            f"not delegated to {f'pid {pid}' if pid else 'this process'}: attempts are followed by session and marks",
        )
    else:
        yield ok(check, "no version 2 here: attempts are followed by session and marks")


def bounds(check: str, case: Case) -> Iterator[Finding]:
    """Whether attempts can have bounds on what they use; wrong where every one is to have some that it cannot have."""
    from tidegate.launch import cgroup_root, lacking  # noqa: PLC0415 - as above

    attempt, off = case.settings.attempt, case.settings.supervisor.cgroups == "off"
    usual = settings.bounds(case.settings)
    root = None if off else cgroup_root(owner(places.lock(case.state)))
    if (why := lacking(root, usual.controllers)) and attempt.unbounded == "refuse":
        do = 'leave them out of [attempt], or say unbounded = "run"; deploy/README.md tells how they can be had'
        yield wrong(check, f"{usual} of [attempt] cannot be had: {why}: nothing is launched", do)
    elif why := lacking(root, ("memory", "pids", "cpu")):
        yield ok(check, f"memory, pids and cpu_weight cannot be had: {why}")
    else:
        yield ok(check, "jobs can have memory, pids and cpu_weight")


def descriptors(check: str, case: Case) -> Iterator[Finding]:
    """Whether there are enough for the slots, with the soft limit raised as `run` and `serve` do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    slots = case.settings.supervisor.slots
    needed = capacity.descriptors_for(slots)
    if hard != resource.RLIM_INFINITY and hard < needed:
        yield wrong(check, capacity.too_few(slots, hard), capacity.what_to_do(slots, hard))
    elif soft != resource.RLIM_INFINITY and soft < needed:
        yield ok(check, f"{soft} are raised to {needed} for {slots} slots; agents keep {soft}")
    else:
        yield ok(check, f"{'any number' if soft == resource.RLIM_INFINITY else soft} for {slots} slots")


def processes(check: str, case: Case) -> Iterator[Finding]:
    """Whether the slots can have as many as agents start."""
    slots, bound = case.settings.supervisor.slots, capacity.processes()
    yield from _doubtful(check, capacity.process_doubts(slots, bound), f"{bound.most} ({bound.by}) for {slots} slots")


def inotify(check: str, case: Case) -> Iterator[Finding]:
    """Whether output can be followed without polling."""
    watches, instances = capacity.watches(), capacity.instances()
    enough = f"{instances.most} instances, {watches.most} watches for each user"
    yield from _doubtful(check, capacity.notice_doubts(case.settings.supervisor.slots, watches, instances), enough)


def _doubtful(check: str, doubts: Iterator[str], enough: str) -> Iterator[Finding]:
    found = [warning(check, doubt) for doubt in doubts]
    yield from found or [ok(check, enough)]


def clock(check: str, case: Case) -> Iterator[Finding]:
    """Whether the clock is sane: resets are instants."""
    now = clocks.SystemClock().now()
    for path in (Path(tidegate.__file__), places.database(case.state)):
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC) if path.exists() else now
        if written - now > SLACK:
            yield wrong(check, f"it is {now:%Y-%m-%d %H:%M} UTC by it, but {path} was written later", "set the clock")
            return
    yield ok(check, f"{now.astimezone(clocks.zone()):%Y-%m-%d %H:%M:%S %Z}")


def zones(check: str, case: Case) -> Iterator[Finding]:
    """Whether the times that providers print can be read."""
    for name in ZONES:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError
            yield wrong(check, f"{name} is not known", "install tzdata: pip install tzdata, or apt install tzdata")
            return
    asked = case.environ.get("TZ", "").removeprefix(":")
    if asked and str(clocks.zone()) != asked:
        yield warning(check, f"TZ={asked} is no zone's name: times are told in {clocks.zone()}", "TZ=Europe/Berlin")
    else:
        yield ok(check, f"there; times are told in {clocks.zone()}")
