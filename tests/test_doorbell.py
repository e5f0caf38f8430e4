"""The bell between processes: it tells whether somebody hears it, and never holds anybody up."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidegate import doorbell


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[int]:
    fd = doorbell.listen(tmp_path)
    yield fd
    os.close(fd)


def test_a_ring_is_answered_once(tmp_path: Path, listening: int) -> None:
    assert not doorbell.answer(listening)
    assert doorbell.ring(tmp_path)
    assert doorbell.ring(tmp_path)
    assert doorbell.answer(listening)
    assert not doorbell.answer(listening)


def test_only_its_owner_may_ring(tmp_path: Path, listening: int) -> None:
    assert (tmp_path / doorbell.NAME).stat().st_mode & 0o777 == 0o600


def test_more_rings_than_the_bell_can_hold_stop_nobody(tmp_path: Path, listening: int) -> None:
    fcntl.fcntl(listening, fcntl.F_SETPIPE_SZ, 4096)
    rings = [doorbell.ring(tmp_path) for _ in range(5000)]
    assert all(rings)
    assert doorbell.answer(listening)
    assert not doorbell.answer(listening)


def test_a_ring_leaves_no_descriptor_open(tmp_path: Path, listening: int) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    doorbell.ring(tmp_path)
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_whoever_takes_over_hears_by_the_same_bell(tmp_path: Path, listening: int) -> None:
    doorbell.ring(tmp_path)
    later = doorbell.listen(tmp_path)
    assert doorbell.answer(later), "what was rung while the program changed"
    os.close(later)


def test_where_nobody_listens_a_ring_says_so(tmp_path: Path) -> None:
    assert not doorbell.ring(tmp_path / "nowhere")
    os.close(doorbell.listen(tmp_path))
    assert not doorbell.ring(tmp_path)


def test_a_state_directory_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory") as raised:
        doorbell.ring(tmp_path / "file")
    assert raised.value.errno == errno.ENOTDIR


def test_what_stands_in_the_bells_place_makes_way_for_it(tmp_path: Path) -> None:
    (tmp_path / doorbell.NAME).write_text("a backup put a file here")
    fd = doorbell.listen(tmp_path)
    assert doorbell.ring(tmp_path)
    assert doorbell.answer(fd)
    os.close(fd)
