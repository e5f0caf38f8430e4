"""A state directory on a disk of a few megabytes, mounted where nobody but the program sees it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from installed import Tidegate, end_what_is_left

MB = 10**6
HOLDS = 'mount -t tmpfs -o "size=$1,nr_inodes=$2,mode=700" none "$0" && echo mounted && exec cat'


@dataclass(slots=True)
class SmallDisk(Tidegate):
    """The program in a mount namespace of its own; `disk` is the small disk as a test sees it."""

    disk: Path = field(default_factory=Path)

    @property
    def state(self) -> Path:
        return self.disk / "state"

    @property
    def inside(self) -> Path:
        """The small disk as the program sees it."""
        return self.place / "disk"

    def environment(self) -> dict[str, str]:
        inherited = Tidegate.environment(self)
        return {**inherited, "TIDEGATE_STATE_DIR": str(self.inside / "state"), **self.env}

    def remount(self, how: str) -> None:
        """Make the disk "ro" or "rw"."""
        where = self.program[: self.program.index(sys.executable)]
        subprocess.run([*where, "mount", "-o", f"remount,{how}", str(self.inside)], check=True)

    def fill(self, leave: int = 0, name: str = "filler") -> Path:
        """Write a file that leaves so many bytes free, as good as it goes."""
        filler = self.disk / name
        free = self.free()
        with filler.open("wb", buffering=0) as file:
            try:
                while free > leave:
                    free -= file.write(bytes(min(free - leave, 65536)))
            except OSError:
                assert leave == 0
        return filler

    def free(self) -> int:
        found = os.statvfs(self.disk)
        return found.f_bavail * found.f_frsize


@contextmanager
def small_disk(place: Path, *, size: int = 24 * MB, inodes: int = 0) -> Iterator[SmallDisk]:
    """A disk of `size` bytes and `inodes` files (0: many); skips the test where none can be mounted."""
    (place / "disk").mkdir()
    holder = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", HOLDS, place / "disk", str(size), str(inodes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        if not holder.stdout.readline():
            assert holder.stderr is not None
            pytest.skip(f"no file system can be mounted here: {holder.stderr.read().strip()}")
        where = ["nsenter", "--mount", f"--target={holder.pid}", f"--wdns={place}"]
        program = SmallDisk(
            place,
            program=[*where, sys.executable, "-m", "tidegate"],
            disk=Path(f"/proc/{holder.pid}/root{place}/disk"),
        )
        yield program
        for process in program.started:
            if process.poll() is None:
                process.kill()
            process.wait()
        end_what_is_left(program.state)
    finally:
        holder.communicate()
