"""Clones that jobs share: one bare repository for each source, brought up to date when a job begins."""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from tidegate.errors import NoWorkspace
from tidegate.model import Workspace
from tidegate.workspace.git import Stopped, Task
from tidegate.workspace.trees import remove_tree

FRESH = 60.0  # seconds for which what was fetched counts as what is there: many jobs begin at once
HASH = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


def base(task: Task, root: Path, workspace: Workspace, fetched: MutableMapping[str, float]) -> Path:
    """The clone of a source, with what the job is to begin at. Raises NoWorkspace.

    `fetched` tells when each source was fetched last.
    """
    place = root / "bases" / sha256(workspace.source.encode()).hexdigest()[:16]
    repository = place / "repo.git"
    with task.alone(place, make=True), _undone(place):
        if not repository.is_dir():
            _begin(task, workspace.source, place, repository)
        elif not _has(task, repository, workspace) and not _is_fresh(task, workspace, fetched):
            _fetch(task, repository)
        else:
            return repository
        fetched[workspace.source] = task.now
        if workspace.commit and HASH.fullmatch(workspace.commit) and not _has(task, repository, workspace):
            task.tried("fetch", "--quiet", "origin", workspace.commit, at=repository)  # on no branch, but there
    return repository


@contextmanager
def _undone(place: Path) -> Iterator[None]:
    """Leave nothing of what was fetched in part: it may be all that the disk can hold."""
    try:
        yield
    except (NoWorkspace, Stopped):
        if (place / "new.git").exists():
            remove_tree(place / "new.git")
        for part in (place / "repo.git" / "objects").glob("*/tmp_*"):
            part.unlink(missing_ok=True)
        raise


def _begin(task: Task, source: str, place: Path, repository: Path) -> None:
    """Clone under another name: what is cut short is begun anew."""
    new = place / "new.git"
    if new.exists():
        remove_tree(new)
    task.git("init", "--quiet", "--bare", str(new), at=place)
    task.git("remote", "add", "origin", source, at=new)
    task.git("config", "--add", "remote.origin.fetch", "+HEAD:refs/remotes/origin/HEAD", at=new)
    _fetch(task, new)
    new.rename(repository)


def _fetch(task: Task, repository: Path) -> None:
    task.git("fetch", "--quiet", "--no-recurse-submodules", "origin", at=repository)


def bases(root: Path) -> list[Path]:
    """Where each clone lies."""
    try:
        return sorted((root / "bases").iterdir())
    except FileNotFoundError:
        return []


def is_idle(task: Task, base: Path, before: datetime | None) -> bool:
    """Whether a clone has no worktree and no branch of a job, and was fetched last before an instant."""
    repository = base / "repo.git"
    if not repository.is_dir():
        return True
    if any((repository / "worktrees").glob("*")) or task.git("for-each-ref", "--count=1", "refs/heads", at=repository):
        return False
    fetched = datetime.fromtimestamp((repository / "FETCH_HEAD").stat().st_mtime, UTC)
    return before is not None and fetched <= before


def _has(task: Task, repository: Path, workspace: Workspace) -> bool:
    """Whether it holds a commit that is said by its hash, which nothing can move."""
    if not workspace.commit or not HASH.fullmatch(workspace.commit):
        return False
    return not task.tried("cat-file", "-e", f"{workspace.commit}^{{commit}}", at=repository)[0]


def _is_fresh(task: Task, workspace: Workspace, fetched: MutableMapping[str, float]) -> bool:
    at = fetched.get(workspace.source)
    return at is not None and task.now - at < FRESH
