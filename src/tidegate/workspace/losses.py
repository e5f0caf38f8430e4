"""What would be lost if a job's directory was removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tidegate.errors import NoWorkspace
from tidegate.workspace import copies
from tidegate.workspace.git import Task
from tidegate.workspace.record import Made

UNDER_WAY = {
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase",
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "BISECT_LOG": "a bisect",
}
NAMED = 3  # files that are told by name


def losses(task: Task, made: Made) -> list[str]:
    """What lies in a directory and nowhere else, in words; none where it can go.

    What a repository ignores is no work: it is made anew from what is not.
    """
    if not Path(made.path).is_dir():
        return []
    try:
        if made.workspace.kind == "copy":
            return [] if copies.listing(task, Path(made.path)) == made.digest else ["changed since it was copied"]
        return list(_of_worktree(task, made))
    except (NoWorkspace, OSError) as error:
        return [f"nobody can tell what it holds: {error}"]


def _of_worktree(task: Task, made: Made) -> Iterator[str]:
    known = task.git("rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir", at=made.path)
    own, base = known.splitlines()
    if Path(base) != Path(made.base) or Path(own).parent != Path(base) / "worktrees":
        yield "it is not the worktree any more that it was"
        return
    for name, what in UNDER_WAY.items():
        if (Path(own) / name).exists():
            yield f"{what} is under way"
    if changed := _changed(task, made):
        more = ", ..." if len(changed) > NAMED else ""
        counted = f"{len(changed)} file{'s' if len(changed) > 1 else ''}"
        yield f"{counted} not committed ({', '.join(changed[:NAMED])}{more})"
    if task.tried("symbolic-ref", "--quiet", "HEAD", at=made.path)[0] and task.git(
        "rev-list", "--max-count=1", "HEAD", "--not", "--branches", "--tags", "--remotes", at=made.path
    ):
        yield "commits that are on no branch"


def _changed(task: Task, made: Made) -> list[str]:
    """The files that differ from what is committed, but for what was put there and left alone."""
    out = task.git("status", "--porcelain=v1", "-z", "--untracked-files=all", "--ignore-submodules=none", at=made.path)
    words, changed = iter(out.split("\0")), []
    for word in words:
        path = word[3:]
        if not word or (path in made.puts and copies.digest(Path(made.path) / path) == made.puts[path]):
            continue
        if word[0] in "RC":
            next(words, None)  # where it was before
        changed.append(path)
    return changed
