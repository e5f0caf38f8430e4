"""Repositories for tests, made by the real git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

WHO = {f"GIT_{role}_{key}": "a@b" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
ENVIRONMENT = {**os.environ, **WHO, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}


def git(at: Path, *args: str) -> str:
    done = subprocess.run(["git", "-C", str(at), *args], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(at: Path, name: str, text: str = "text\n") -> str:
    (at / name).write_text(text)
    git(at, "add", "--all")
    git(at, "commit", "--quiet", "-m", name)
    return git(at, "rev-parse", "HEAD")


def repository(at: Path) -> Path:
    """One commit on main, of the file a; *.log is ignored."""
    at.mkdir()
    git(at, "init", "--quiet", "-b", "main")
    (at / ".gitignore").write_text("*.log\n")
    commit(at, "a")
    return at
