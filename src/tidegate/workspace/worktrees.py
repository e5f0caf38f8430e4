"""Git worktrees: one for each job, on a branch of its own, of a repository that they share."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from tidegate.errors import NoWorkspace
from tidegate.model import Job, Workspace
from tidegate.workspace import record
from tidegate.workspace.git import Task
from tidegate.workspace.record import MAKING, Made

PREFIX = "tidegate"
PART_MOST = 80  # characters of a branch's part
STALE = 5  # branches whose locks somebody has left behind, before that is told


def add(task: Task, job: Job, place: Path, workspace: Workspace, base: Path) -> Made:
    """A worktree of the repository whose git directory is `base`. Raises NoWorkspace."""
    start = _start(task, workspace, base)
    path = record.tree(place, workspace)
    made = Made(workspace=workspace, path=str(path), base=str(base), start=start)
    with task.alone(base):
        made = _added(task, job, place, made)
    task.git("reset", "--quiet", "--hard", at=path)  # not in the lock: it takes as long as the tree is large
    return made


def repository(task: Task, source: str) -> Path:
    """The git directory of a repository; for a worktree of it, that of the whole. Raises NoWorkspace."""
    if not Path(source).is_dir():
        raise NoWorkspace(f"no such repository: {source}")
    code, out, err = task.tried("rev-parse", "--path-format=absolute", "--git-common-dir", at=source)
    if code and "not a git repository" in err:
        raise NoWorkspace(f"not a git repository: {source}")
    if code:
        raise task.failed(err)
    return Path(out)


def _start(task: Task, workspace: Workspace, base: Path) -> str:
    """The commit to begin at."""
    heads = "refs/remotes/origin/" if workspace.kind == "clone" else "refs/heads/"
    here = "refs/remotes/origin/HEAD" if workspace.kind == "clone" else "HEAD"
    said = heads + workspace.branch if workspace.branch else workspace.commit or here
    at = workspace.source if workspace.kind == "worktree" else base
    code, out, _ = task.tried("rev-parse", "--verify", "--quiet", "--end-of-options", f"{said}^{{commit}}", at=at)
    if not code:
        return out
    what = f"branch {workspace.branch}" if workspace.branch else f"commit {workspace.commit or 'to begin at'}"
    raise NoWorkspace(f"no {what} in {workspace.source}")


def _added(task: Task, job: Job, place: Path, made: Made) -> Made:
    """Register the worktree, empty as yet, with the first branch that is free."""
    taken = _branches(task, job, made.base)
    stem, number, stale = branch_of(job), 1, 0
    while True:
        branch = stem if number == 1 else f"{stem}-{number}"
        number += 1
        if branch in taken:
            continue
        made = replace(made, branch=branch)
        record.write(place, made, MAKING)
        how = ("--quiet", "--no-checkout", "-b", branch, made.path, made.start)
        code, _, err = task.tried("worktree", "add", *how, at=made.base)
        if not code:
            return made
        stale += 1
        if f"{branch}.lock" not in err or stale > STALE:  # left behind by a git that was killed
            raise task.failed(err)


def again(task: Task, place: Path, made: Made) -> Made:
    """A worktree anew on the branch that it was on. Raises NoWorkspace."""
    record.write(place, replace(made, branch=""), MAKING)  # the branch is not to go, should this be cut short
    with task.alone(made.base):
        task.git("worktree", "add", "--quiet", made.path, made.branch, at=made.base)
    record.write(place, made)
    (place / MAKING).unlink()
    return made


def _branches(task: Task, job: Job, base: str) -> set[str]:
    prefix = f"refs/heads/{branch_of(job).rpartition('/')[0]}/"
    out = task.git("for-each-ref", "--format=%(refname)", prefix, at=base)
    return {line.removeprefix("refs/heads/") for line in out.splitlines()}


def branch_of(job: Job) -> str:
    """The name of a job's branch, where it is free: tidegate/BATCH/JOB, as git takes it."""
    return f"{PREFIX}/{_part(job.batch_name.rpartition('/')[2])}/{_part(job.name)}"


def _part(name: str) -> str:
    """A name as one part of a branch's."""
    part = re.sub(r"[^A-Za-z0-9._#@+=-]+|\.\.+", "-", name)[:PART_MOST].strip(".-/")
    return part.removesuffix(".lock") or "job"


# --- taking it back ----------------------------------------------------------------------------


def drop(task: Task, made: Made) -> None:
    """Let the repository forget a worktree whose directory is removed, and a branch that holds nothing of its own."""
    if not made.base or not Path(made.base).is_dir():
        return
    with task.alone(made.base):
        task.tried("worktree", "remove", "--force", "--force", made.path, at=made.base)
        if made.branch and made.start:
            task.tried("update-ref", "-d", f"refs/heads/{made.branch}", made.start, at=made.base)


def holds_work(task: Task, made: Made) -> bool:
    """Whether the branch holds commits of its own."""
    code, tip, _ = task.tried("rev-parse", "--verify", "--quiet", f"refs/heads/{made.branch}", at=made.base)
    return not code and tip != made.start


def rescue(task: Task, place: Path, made: Made) -> str:
    """Commit what a worktree holds beside its commits, without touching it; the branch that holds all of it then.

    Raises NoWorkspace where it holds what a commit cannot: another repository.
    """
    index = {"GIT_INDEX_FILE": str(place / "index"), **_author()}
    with suppress(FileNotFoundError):
        (place / "index").unlink()
    head = task.git("rev-parse", "HEAD", at=made.path)
    task.git("read-tree", head, at=made.path, more=index)
    task.git("add", "--all", at=made.path, more=index)
    for line in task.git("ls-files", "--stage", at=made.path, more=index).splitlines():
        if line.startswith("160000") and any((Path(made.path) / line.partition("\t")[2]).glob("*")):
            raise NoWorkspace(f"{line.partition(chr(9))[2]} is a repository of its own")
    tree = task.git("write-tree", at=made.path, more=index)
    said = f"Keep what was not committed in {made.path}\n"
    commit = task.git("commit-tree", tree, "-p", head, "-m", said, at=made.path, more=index)
    (place / "index").unlink(missing_ok=True)
    return _kept(task, made, head, commit)


def _author() -> dict[str, str]:
    who = {"NAME": "tidegate", "EMAIL": "tidegate@localhost"}
    return {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}


def _kept(task: Task, made: Made, head: str, commit: str) -> str:
    """Move the branch that is checked out to a commit; where none is, a new one."""
    code, ref, _ = task.tried("symbolic-ref", "--quiet", "HEAD", at=made.path)
    with task.alone(made.base):
        if not code:
            task.git("update-ref", "-m", "tidegate: kept", ref, commit, head, at=made.base)
            return ref.removeprefix("refs/heads/")
        for number in range(1, 100):
            branch = f"{made.branch}-left" + (f"-{number}" if number > 1 else "")
            if not task.tried("update-ref", f"refs/heads/{branch}", commit, "0" * len(commit), at=made.base)[0]:
                return branch
    raise NoWorkspace("its commits are on no branch")
