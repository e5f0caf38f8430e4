"""Every branch of floors 0 and 1 is taken by a test of its own: nouns and decisions, without any process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_floors import FLOORS, SRC

TESTS = Path(__file__).parents[1]
ROOMS = f"{FLOORS[0]} {FLOORS[1]}".split()
BESIDE = {
    "batch": ("expand", "formats", "malformed")
}  # tests of a room that are named like what is read, not like its parts
COVERAGE = [sys.executable, "-m", "coverage"]


def files() -> list[str]:
    """The tests of these rooms and of their parts, each named like what it tests, and those beside them."""
    parts = [part.stem for room in ROOMS for part in sorted((SRC / room).glob("[!_]*.py"))]
    beside = [name for room in ROOMS for name in BESIDE.get(room, ())]
    names = dict.fromkeys((*ROOMS, *parts, *beside))  # two rooms may have parts of one name
    return [str(path) for name in names if (path := TESTS / f"test_{name}.py").exists()]


def is_of(room: str, path: Path) -> bool:
    """Whether a file is a room, or a part of it."""
    return path == SRC / f"{room}.py" or SRC / room in path.parents


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_branch_of_floors_0_and_1_is_taken(tmp_path: Path) -> None:
    run = ["-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider", "-m", "not slow and not hypothesis", *files()]
    env = os.environ | {"COVERAGE_FILE": str(tmp_path / "coverage")} | {"PYTEST_ADDOPTS": ""}
    config = f"--rcfile={TESTS.parent / 'pyproject.toml'}"
    done = subprocess.run([*COVERAGE, "run", config, *run], env=env, cwd=TESTS.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    told = [*COVERAGE, "json", config, "-q", "-o", str(tmp_path / "told.json")]
    subprocess.run(told, env=env, cwd=TESTS.parent, check=True)
    measured = json.loads((tmp_path / "told.json").read_text())["files"]
    missing: dict[str, list[object]] = {}
    for room in ROOMS:
        found = {path: one for path, one in measured.items() if is_of(room, Path(path).resolve())}
        assert found, room
        missing |= {path: one["missing_lines"] + one["missing_branches"] for path, one in found.items()}
    assert not {path: lines for path, lines in missing.items() if lines}
