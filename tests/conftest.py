"""The installed program, with a state directory of its own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import effort
import pytest
from hypothesis import HealthCheck, settings
from installed import Tidegate, end_what_is_left
from mother import mother

# Where nothing may be compiled ahead (containers are often told so), each start of the program and each worker compiles
# all of it again: half of the time of all tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

settings.register_profile(
    "noisy", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=effort.of(25, 100)
)  # shared machines
settings.load_profile("noisy")


@pytest.fixture
def tidegate(tmp_path: Path) -> Iterator[Tidegate]:
    """The program in an empty place; whatever it leaves running ends with the test."""
    program = Tidegate(tmp_path)
    yield program
    for process in program.started:
        if process.poll() is None:
            process.kill()
        process.wait()
    end_what_is_left(program.state)


def pytest_sessionfinish() -> None:
    if mother.cache_info().currsize:
        mother().close()


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[None]:
    """A machine whose own zone is none of those in the tests: it must not matter."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Pacific/Kiritimati"
    time.tzset()
    yield
    os.environ.pop("TZ")
    os.environ |= {} if before is None else {"TZ": before}
    time.tzset()
