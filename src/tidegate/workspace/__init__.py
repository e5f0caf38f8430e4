"""The directory that a job works in, where it has one of its own: a git worktree, a clone or a copy.

Only this room runs git. Nothing here blocks the loop: each directory is made in a thread, in a git that is ended with
the task. What has been committed is never lost, and what has not is never removed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TypeVar

import anyio
import structlog
from anyio.to_thread import run_sync

from tidegate.errors import NoWorkspace
from tidegate.model import Job
from tidegate.workspace import making, record
from tidegate.workspace.git import Stop, Stopped, Task
from tidegate.workspace.losses import losses

log = structlog.get_logger()
T = TypeVar("T")

TIDYING = 60.0  # seconds at most, for which the end of all work waits
AT_ONCE = 4  # directories that are made of one source at the same time


class Workshop:
    """Makes the directories of jobs below `root`; each may take `patience` seconds, by `monotonic`."""

    def __init__(self, root: Path, patience: float, monotonic: Callable[[], float]) -> None:
        self._root = root
        self._patience = patience
        self._monotonic = monotonic
        self._fetched: dict[str, float] = {}
        self._few: dict[str, anyio.CapacityLimiter] = {}  # by source: who waits for one keeps nobody else waiting

    async def directory(self, job: Job, n: int, environment: Mapping[str, str], *, fresh: bool) -> Path:
        """The directory for launch `n` of a job, for an agent to work in; a clean one where it is `fresh`.

        Raises NoWorkspace. A cancel ends it at once; what is half made is cleared away by the next one.
        """
        do = partial(making.ready, root=self._root, job=job, n=n, fresh=fresh, fetched=self._fetched)
        workspace = job.spec.workspace
        source = workspace.source if workspace is not None else ""
        async with self._few.setdefault(source, anyio.CapacityLimiter(AT_ONCE)):
            place, made = await self._done(do, environment)
        record.note_used(place)
        return Path(made.path)

    async def tidy(self, job: Job, environment: Mapping[str, str]) -> None:
        """Remove the directory of a job that has succeeded, unless something would be lost with it."""
        try:
            await self._done(partial(_tidied, root=self._root, job=job.id), environment, TIDYING)
        except (NoWorkspace, OSError) as error:
            log.warning("directory not removed", reason=str(error))

    async def _done(self, do: Callable[[Task], T], environment: Mapping[str, str], most: float = math.inf) -> T:
        """Do it in a thread; a cancel does not wait for that."""
        task = Task(environment, min(self._patience, most), self._monotonic, Stop())
        try:
            return await run_sync(do, task, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
        except Stopped:
            raise NoWorkspace("stopped", retry=True) from None
        finally:
            task.stop.ask()


def _tidied(task: Task, root: Path, job: int) -> None:
    with task.alone(root / str(job)):
        found = record.current(root, job)
        if found is None:
            return
        place, made = found
        if lost := losses(task, made):
            log.info("directory kept", directory=made.path, reason="; ".join(lost))
        elif resisted := making.discard(task, place, made):
            log.warning("directory not removed", reason=resisted[0])
            return
        elif made.branch and (after := record.read(place)) is not None and after.gone:
            log.info("work is on a branch", branch=made.branch, repository=made.base)
        making.leave(root / str(job))
