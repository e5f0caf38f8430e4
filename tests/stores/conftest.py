"""Both stores, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stores.world import World
from tidegate.stores import Store
from tidegate.stores.memory import MemoryStore
from tidegate.stores.sqlite import SqliteStore


@pytest.fixture(params=["sqlite", "memory"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(_place(request) / "tidegate.db")
    yield made
    made.close()


def _place(request: pytest.FixtureRequest) -> Path:
    """A directory, only where it is needed: thousands of mutants, each tried in memory, fill a disk with empty ones."""
    made: Path = request.getfixturevalue("tmp_path")
    return made / "state"


@pytest.fixture
def world(store: Store) -> World:
    made = World(store)
    made.enter()
    return made
