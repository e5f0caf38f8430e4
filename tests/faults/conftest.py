"""Places that break on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.small_disk import SmallDisk, small_disk


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallDisk]:
    """The program on a disk of 24 MB."""
    with small_disk(tmp_path) as made:
        yield made
