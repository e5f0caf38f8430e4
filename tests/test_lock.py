"""Who owns a lock file, told from the kernel's table, also while hundreds of other locks come and go."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidegate import lock
from tidegate.lock import owner

ME = os.getpid()


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Path]:
    """A lock file that this process holds, with its pid inside."""
    path = tmp_path / "lock"
    path.write_text(f"{ME}\n")
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield path


@pytest.fixture
def untold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose kernel shows no table of locks."""
    monkeypatch.setattr(lock, "LOCKS", tmp_path / "none")


def test_whoever_holds_a_lock_file_owns_it(held: Path) -> None:
    assert owner(held) == ME


def test_a_lock_file_alone_says_nothing(tmp_path: Path) -> None:
    assert owner(tmp_path / "lock") is None
    (tmp_path / "lock").write_text(f"{ME}\n")
    assert owner(tmp_path / "lock") is None


def table(path: Path, *, device: str, pid: int = ME, kind: str = "FLOCK", mode: str = "WRITE") -> str:
    return f"1: {kind}  ADVISORY  {mode} {pid} {device}:{path.stat().st_ino} 0 EOF\n"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ({"device": "ff:ff"}, ME),  # as btrfs and overlays do: the pid inside decides
        ({"device": "ff:ff", "pid": 1}, None),  # the same number on another device
        ({"device": "ff:ff", "kind": "POSIX"}, None),
        ({"device": "ff:ff", "mode": "READ"}, None),
    ],
    ids=["another name", "another file", "another kind of lock", "a lock to read"],
)
def test_a_device_of_another_name_counts_where_the_owner_wrote_its_pid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: dict[str, object], found: int | None
) -> None:
    path = tmp_path / "lock"
    path.write_text(f"{ME}\n")
    (tmp_path / "table").write_text("a line of some other kernel\n" + table(path, **line))  # type: ignore[arg-type]
    monkeypatch.setattr(lock, "LOCKS", tmp_path / "table")
    assert owner(path) == found


def test_without_a_table_the_lock_is_tried_and_the_pid_inside_is_told(held: Path, untold: None) -> None:
    assert owner(held) == ME
    held.write_text("")
    assert owner(held) == 0, "somebody"


def test_without_a_table_a_free_lock_has_no_owner(tmp_path: Path, untold: None) -> None:
    assert owner(tmp_path / "lock") is None
    (tmp_path / "lock").write_text(f"{ME}\n")
    assert owner(tmp_path / "lock") is None


def test_a_lock_file_that_may_not_be_read_names_nobody(tmp_path: Path) -> None:
    assert lock._written(tmp_path / "gone") == ""


# --- while others come and go ---


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


def test_the_owner_says_why_it_can_record_nothing_and_is_known_all_the_same(held: Path, tmp_path: Path) -> None:
    assert lock.trouble(held) == ""
    lock.say_trouble(held, "the disk\nis full")
    assert (lock.trouble(held), owner(held)) == ("the disk is full", ME)
    lock.say_trouble(held, "")
    assert (lock.trouble(held), held.read_text()) == ("", f"{ME}\n\n")
    lock.say_trouble(tmp_path / "gone" / "lock", "nobody hears it")
    assert lock.trouble(tmp_path / "gone" / "lock") == ""
