"""The real claude, installed once from npm outside the repository, and a place for it to live in."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from provider import Provider

PACKAGE = "@anthropic-ai/claude-code"
PINNED = Path(__file__).with_name("package.json")
QUIET = (
    "DISABLE_AUTOUPDATER",
    "DISABLE_TELEMETRY",
    "DISABLE_ERROR_REPORTING",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
)


@dataclass(frozen=True, slots=True)
class Claude:
    """An installed CLI: `folder` holds the program `claude` and belongs in front of PATH."""

    version: str
    folder: Path

    @property
    def program(self) -> str:
        return str(self.folder / "claude")

    def env(self, home: Path, provider: Provider) -> dict[str, str]:
        """The whole environment of a subscriber's CLI that talks to `provider` alone and lives in `home`."""
        return {
            "HOME": str(home),
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "TZ": "UTC",
            "ANTHROPIC_BASE_URL": provider.url,
            "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-dummy",
            "CLAUDE_CODE_MAX_RETRIES": "2",
            **dict.fromkeys(QUIET, "1"),
        }


@pytest.fixture(scope="session")
def claude() -> Claude:
    """The pinned claude; the test is skipped, with the reason, where it cannot be had."""
    for needed in ("npm", "node"):
        if shutil.which(needed) is None:
            pytest.skip(f"the real claude comes from npm, and there is no {needed} here")
    version = json.loads(PINNED.read_text())["dependencies"][PACKAGE]
    folder = cache() / f"claude-{version}"
    with alone(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            install(folder)
    return Claude(version, folder / "node_modules" / ".bin")


def cache() -> Path:
    place = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tidegate-tests"
    place.mkdir(parents=True, exist_ok=True)
    return place


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """One process at a time: test workers share the cache."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def install(folder: Path) -> None:
    """Put the pinned package into `folder`, whole or not at all."""
    draft = folder.with_name(f"{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    shutil.copy(PINNED, draft)
    # The package's script links its native program into place. npm may be set to run no scripts: run it by hand.
    quiet = ("--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error", "--fetch-retries=1")
    step("npm", "install", "--ignore-scripts", *quiet, cwd=draft)
    step("node", f"node_modules/{PACKAGE}/install.cjs", cwd=draft)
    step("node_modules/.bin/claude", "--version", cwd=draft)
    draft.rename(folder)


def step(*argv: str, cwd: Path) -> None:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=240)
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing"]
        pytest.skip(f"{PACKAGE} cannot be installed: {' '.join(argv[:2])} exited {done.returncode}: {said[0]}")


@dataclass(frozen=True, slots=True)
class Ended:
    """A run of the CLI: its exit code, its stream-json lines and its stderr."""

    code: int
    lines: list[dict[str, Any]]
    stderr: str

    def only(self, kind: str) -> dict[str, Any]:
        """The last line of a type."""
        return [line for line in self.lines if line["type"] == kind][-1]


@dataclass(frozen=True, slots=True)
class Bare:
    """Runs the CLI alone, without tidegate, in a home and a work directory of its own."""

    claude: Claude
    home: Path
    work: Path

    def run(self, provider: Provider, *args: str) -> Ended:
        argv = [self.claude.program, "-p", *args, "--output-format", "stream-json", "--verbose"]
        env = self.claude.env(self.home, provider)
        done = subprocess.run(
            argv, cwd=self.work, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
        return Ended(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr)


@pytest.fixture
def bare(claude: Claude, tmp_path: Path) -> Bare:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    return Bare(claude, home, work)
