"""A cgroup that is delegated to this process, as systemd would, for a while."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tidegate.launch import cgroup


@contextmanager
def delegated() -> Iterator[Path]:
    """Live in a new cgroup of one's own; skips the test where none can be made. All in it dies at the end."""
    home = cgroup._own()
    if home is None:
        pytest.skip("no cgroup v2 is mounted here")
    place = home / f"tidegate-test-{os.getpid()}-{time.monotonic_ns()}"
    try:
        place.mkdir()
        mark(place)
    except OSError as error:
        with suppress(OSError):
            place.rmdir()
        pytest.skip(f"no cgroup can be made in {home}: {error.strerror}")
    try:
        move_to(place)
        yield place
    finally:
        move_to(home)
        (place / "cgroup.kill").write_text("1")
        remove(place)


@contextmanager
def bounding() -> Iterator[Path]:
    """The same beside what is made there, as with DelegateSubgroup= of systemd 254, with the controllers for bounds;
    skips the test where this machine has none for cgroups of version 2.
    """
    with delegated() as place:
        home = place.parent
        for name in ("memory", "pids", "cpu"):
            try:
                (home / "cgroup.subtree_control").write_text(f"+{name}")
            except OSError as error:
                have = (home / "cgroup.controllers").read_text().split() or ["none"]
                pytest.skip(f"no {name} controller can be had in {home}: {error.strerror} (there: {', '.join(have)})")
        (place / "supervisor").mkdir()
        move_to(place / "supervisor")
        yield place


def mark(place: Path) -> None:
    """Say what systemd says of a unit with Delegate=."""
    os.setxattr(place, "user.delegate", b"1")


def move_to(place: Path) -> None:
    """Let this process live there, and see what is delegated to it anew."""
    (place / "cgroup.procs").write_text("0")
    cgroup.cgroup_root.cache_clear()
    cgroup._clear.cache_clear()


def remove(place: Path, within: float = 10.0) -> None:
    """Remove a cgroup and those below it once all in it is dead."""
    deadline = time.monotonic() + within
    while not cgroup._remove(place):
        assert time.monotonic() < deadline, f"something lives in {place}"
        time.sleep(0.005)
