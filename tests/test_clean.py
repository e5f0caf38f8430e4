"""The repository keeps its own rules: lint, types, short functions, the layout of the top level."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
ALLOWED = {"pyproject.toml", "src", "tests", "deploy", "config.toml", "README.md", "LICENSE", "CHANGELOG.md"}


def tool(*args: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", *args], cwd=TOP, capture_output=True, text=True)


def test_ruff_finds_nothing() -> None:
    done = tool("ruff", "check", "src", "tests")
    assert done.returncode == 0, done.stdout


def test_the_code_is_formatted() -> None:
    done = tool("ruff", "format", "--check", "src", "tests")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_mypy_is_satisfied_in_strict_mode() -> None:
    done = tool("mypy")
    assert done.returncode == 0, done.stdout


def test_no_function_is_longer_than_40_lines() -> None:
    long = []
    for path in (TOP / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                size = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                if size > 40:
                    long.append(f"{path.name}:{node.lineno} {node.name} ({size} lines)")
    assert not long


def test_the_top_level_is_the_agreed_one() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=TOP, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in listed.stdout.splitlines()}
    assert {name for name in top if not name.startswith(".")} <= ALLOWED
