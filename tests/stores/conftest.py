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
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = SqliteStore(tmp_path / "state" / "tidegate.db") if request.param == "sqlite" else MemoryStore()
    yield made
    made.close()


@pytest.fixture
def world(store: Store) -> World:
    made = World(store)
    made.enter()
    return made
