"""Who holds a lock file is told from the kernel's table, also while hundreds of other locks come and go."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from tidegate import lock


class Flickering:
    """The kernel's table, in which the first looks miss what is there."""

    def __init__(self, missed: int) -> None:
        self.looks, self._missed = 0, missed

    def read_text(self) -> str:
        self.looks += 1
        return "" if self.looks <= self._missed else Path("/proc/locks").read_text()


def test_a_table_that_misses_the_lock_is_read_again_while_its_owner_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(f"{os.getpid()}\n")
        held.flush()
        monkeypatch.setattr(lock, "LOCKS", Flickering(3))
        assert lock.owner(path) == os.getpid()


@pytest.mark.parametrize("written", ["", "999999999", "nonsense"])
def test_a_lock_whose_writer_is_gone_is_looked_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
) -> None:
    (tmp_path / "lock").write_text(written)
    table = Flickering(99)
    monkeypatch.setattr(lock, "LOCKS", table)
    assert lock.owner(tmp_path / "lock") is None
    assert table.looks == 1
