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
COVERAGE = [sys.executable, "-m", "coverage"]


def files() -> list[str]:
    """The tests of these rooms, each named like its room."""
    return [str(path) for room in ROOMS if (path := TESTS / f"test_{room}.py").exists()]


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
    missing = {}
    for room in ROOMS:
        (found,) = [one for path, one in measured.items() if Path(path).resolve() == SRC / f"{room}.py"]
        missing[room] = found["missing_lines"] + found["missing_branches"]
    assert not {room: lines for room, lines in missing.items() if lines}
