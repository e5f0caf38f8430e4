"""Removes the directories that were made for jobs which have ended, where nothing would be lost with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from tidegate.errors import NoWorkspace
from tidegate.model import Job, State
from tidegate.stores import Store
from tidegate.workspace import clones, making, record
from tidegate.workspace.git import Task
from tidegate.workspace.losses import losses
from tidegate.workspace.record import Made
from tidegate.workspace.trees import remove_tree, size_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Stayed:
    """A directory of a job that has ended, which is still there, and why."""

    job: int
    name: str
    path: str
    size: int
    why: str


@dataclass(slots=True)
class Tidied:
    """What was removed so far: directories, and bytes; the bytes that are left, what stayed, and what resisted."""

    directories: int = 0
    size: int = 0
    left: int = 0
    stayed: list[Stayed] = field(default_factory=list)
    resisted: list[str] = field(default_factory=list)


def why_stays(job: Job | None, lost: list[str], before: datetime | None) -> str:
    """Why the directory of a job is not to be removed; "" where it may go.

    `lost` is what would go with it. That of one that has not succeeded is kept to be looked at, unless the job ended
    `before`.
    """
    if job is not None and not job.state.is_final:
        return f"its job is {job.state}"
    if lost:
        return "; ".join(lost)
    if job is None or job.state is State.SUCCEEDED:
        return ""
    is_old = before is not None and (job.ended_at is None or job.ended_at <= before)
    return "" if is_old else f"its job has ended as {job.state}, and not long ago"


def tidy(
    root: Path, store: Store, now: datetime, age: float | None, begin: Callable[[], Task], *, dry: bool = False
) -> Iterator[Tidied]:
    """Look at the directories of each job, and remove what may go; after each job tell how far it has got.

    `age` is the seconds for which those of jobs that have not succeeded stay, None for ever. `begin` begins a
    task for each job.
    """
    before = now - timedelta(seconds=age) if age is not None else None
    looking = _Round(root, store, before, dry=dry)
    for job in record.numbers(root):
        try:
            looking.look(begin(), job)
        except FileNotFoundError:
            continue  # somebody else tidies
        except (NoWorkspace, OSError) as error:
            looking.told.resisted.append(f"{root / str(job)}: {error}")
        yield looking.told
    for base in clones.bases(root):
        looking.look_at_clone(begin(), base)
        yield looking.told


class _Round:
    """One look at all of them."""

    def __init__(self, root: Path, store: Store, before: datetime | None, *, dry: bool) -> None:
        self.told = Tidied()
        self._root = root
        self._store = store
        self._before = before
        self._dry = dry

    def look(self, task: Task, number: int) -> None:
        """The directories of one job, which nobody makes or takes back meanwhile."""
        home = self._root / str(number)
        with task.alone(home):
            job = self._store.job(number)  # by now: it may have been queued again
            if job is not None and not job.state.is_final:
                self.told.left += size_of(home)
                return
            name = job.name if job is not None else f"job {number}"
            for n in record.numbers(home):
                self._settle(task, home / str(n), job, name)
            if not self._dry:
                making.leave(home)

    def look_at_clone(self, task: Task, base: Path) -> None:
        """A clone that jobs share goes once nothing of it is in use, nothing but what was fetched is in it, and nobody
        has fetched for long.
        """
        size = size_of(base)
        try:
            with task.alone(base):
                if not clones.is_idle(task, base, self._before):
                    self.told.left += size
                    return
                self.told.resisted += [] if self._dry else remove_tree(base)
        except (NoWorkspace, OSError) as error:
            self.told.resisted.append(f"{base}: {error}")
        self.told.size += size

    def _settle(self, task: Task, place: Path, job: Job | None, name: str) -> None:
        made = record.read(place)
        if made is not None and made.gone:
            if job is None and not self._dry:
                remove_tree(place)  # nobody can ask any more which branch it was
            return
        path = Path(made.path) if made is not None else place
        size, why = size_of(path), self._why(task, place, made, job)
        if not why and not self._dry:
            resisted = making.discard(task, place, made) if made is not None else making.clear(task, place)
            self.told.resisted += resisted
            why = "".join(resisted)
        if why:
            self.told.left += size
            self.told.stayed.append(Stayed(job=int(place.parent.name), name=name, path=str(path), size=size, why=why))
        else:
            self.told.directories += 1
            self.told.size += size

    def _why(self, task: Task, place: Path, made: Made | None, job: Job | None) -> str:
        if made is None:
            return "" if record.is_half_made(place) else "its record cannot be read"
        return why_stays(job, losses(task, made) if record.is_used(place) else [], self._before)
