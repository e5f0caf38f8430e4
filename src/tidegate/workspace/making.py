"""Makes the directory of a job, keeps it for the job, and takes it back; each step can be cut short and be repeated."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

import structlog
from msgspec.structs import replace

from tidegate.errors import NoWorkspace
from tidegate.model import AGENT, Job
from tidegate.workspace import clones, copies, record, worktrees
from tidegate.workspace.git import Stopped, Task
from tidegate.workspace.losses import losses
from tidegate.workspace.record import MAKING, Made
from tidegate.workspace.trees import remove_tree

log = structlog.get_logger()

LEAST = 1_000_000  # bytes: with less room than this a disk is full
CLEARING = 30.0  # seconds at most in which what was cut short is cleared away
OLD_MOST = 3  # directories of earlier attempts that are kept for one job, beside the one that it works in


def ready(
    task: Task, root: Path, job: Job, n: int, *, fresh: bool, fetched: MutableMapping[str, float]
) -> tuple[Path, Made]:
    """The directory for a launch of a job, and where it is noted: the one that it has, or a new one where it has none,
    or is to begin anew (`fresh`). Raises NoWorkspace.
    """
    home = root / str(job.id)
    with task.alone(home, make=True):
        clear_half_made(task, root, job.id)
        if (found := record.current(root, job.id)) is not None:
            place, made = found
            is_anew = made.workspace != job.spec.workspace or (fresh and record.is_used(place))
            if not is_anew and Path(made.path).is_dir():
                return found
            put_away(task, place, made)
            _keep_few(task, root, job.id)
        elif not fresh and (gone := record.latest(root, job.id)) is not None:
            return _again(task, home, gone)
        elif job.stage != AGENT:
            raise NoWorkspace("what the agent has worked in is not there any more: tidegate retry --clean")
        place = record.room(root, job.id, max([n, *(one + 1 for one in record.numbers(home))]))
        try:
            return place, _make(task, root, job, place, fetched)
        except (NoWorkspace, Stopped) as error:
            full = isinstance(error, NoWorkspace) and _is_full(home)
            clear_half_made(task.again(CLEARING), root, job.id)
            leave(home)
            if full:
                raise NoWorkspace(f"{error} (the disk is full)", retry=True) from error
            raise


def _is_full(place: Path) -> bool:
    """Whether there is no room left: git does not always say so."""
    room = os.statvfs(place)
    return room.f_bavail * room.f_frsize < LEAST


def _again(task: Task, home: Path, gone: Made) -> tuple[Path, Made]:
    """A worktree that was removed since all of it was committed, as it was then."""
    place = home / str(max(record.numbers(home), default=0) + 1)
    os.mkdir(place, 0o700)  # noqa: PTH102 - as short
    made = replace(gone, path=str(record.tree(place, gone.workspace)), gone=False)
    return place, worktrees.again(task, place, made)


def _make(task: Task, root: Path, job: Job, place: Path, fetched: MutableMapping[str, float]) -> Made:
    workspace = job.spec.workspace
    assert workspace is not None
    os.mkdir(place, 0o700)  # noqa: PTH102 - as short
    try:
        if workspace.kind == "copy":
            made = Made(workspace=workspace, path=str(record.tree(place, workspace)))
            record.write(place, made, MAKING)
            copies.copy_tree(task, Path(workspace.source), Path(made.path))
        elif workspace.kind == "clone":
            base = clones.base(task, root, workspace, fetched)
            made = worktrees.add(task, job, place, workspace, base)
        else:
            base = worktrees.repository(task, workspace.source)
            made = worktrees.add(task, job, place, workspace, base)
        made = replace(made, puts=copies.put(task, workspace.files, Path(made.path)))
        if workspace.kind == "copy":
            made = replace(made, digest=copies.listing(task, Path(made.path)))
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise NoWorkspace(f"{error.strerror or error}{where}", retry=True) from error
    record.write(place, made)
    (place / MAKING).unlink()
    return made


# --- taking it back ----------------------------------------------------------------------------


def clear_half_made(task: Task, root: Path, job: int) -> None:
    """Remove what was cut short while it was made: nobody has worked in it."""
    for n in record.numbers(root / str(job)):
        place = record.room(root, job, n)
        if record.is_half_made(place):
            clear(task, place)


def clear(task: Task, place: Path) -> list[str]:
    """Remove one that was cut short; what resists, in words."""
    if (made := record.read(place, MAKING)) is not None:
        remove_tree(Path(made.path))
        worktrees.drop(task, made)
    return remove_tree(place)


def leave(home: Path) -> None:
    """Remove the directory of a job's directories where none is left; to be called by who holds it."""
    with suppress(OSError):
        home.rmdir()


def put_away(task: Task, place: Path, made: Made) -> None:
    """Make room for a clean directory: what the old one holds is committed, or it stays where it is."""
    lost = losses(task, made) if record.is_used(place) else []
    if lost and made.workspace.kind != "copy":
        try:
            branch = worktrees.rescue(task, place, made)
        except NoWorkspace as error:
            lost = [*lost, str(error)]
        else:
            log.info("work kept", branch=branch, repository=made.base, directory=made.path, reason="; ".join(lost))
            lost = []
    if lost:
        log.info("directory kept", directory=made.path, reason="; ".join(lost))
        record.write(place, replace(made, old=True))
    else:
        discard(task, place, made)


def discard(task: Task, place: Path, made: Made) -> list[str]:
    """Remove a directory; where its branch holds work, that is still told. What resists, in words."""
    if resisted := remove_tree(Path(made.path)):
        return resisted
    worktrees.drop(task, made)
    if made.branch and worktrees.holds_work(task, made):
        record.write(place, replace(made, gone=True))
        return []
    return remove_tree(place)


def _keep_few(task: Task, root: Path, job: int) -> None:
    """Bound what a job that begins anew again and again leaves on the disk."""
    old = [record.room(root, job, n) for n in record.numbers(root / str(job))]
    kept = [(place, made) for place in old if (made := record.read(place)) is not None and made.old]
    for place, made in [one for one in kept if one[1].workspace.kind == "copy"][:-OLD_MOST]:
        log.warning("old directory removed", directory=made.path, reason=f"more than {OLD_MOST} of one job")
        discard(task, place, made)
