"""What became of a directory that was made for a job, as its attempts and its record tell."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from tidegate import places
from tidegate.look.words import amount, clean
from tidegate.model import Attempt, Job, Spec


class Spot(Struct, frozen=True, kw_only=True):
    """A job's own directory, whether it is there, how many bytes it takes on the disk (None: nobody has looked), and
    its branch, in which repository.
    """

    path: str
    here: bool
    size: int | None
    branch: str = ""
    repository: str = ""


def spots(state: Path, job: Job, attempts: Sequence[Attempt], *, sized: bool = False) -> list[Spot]:
    """The directories that the attempts of a job worked in, the last one first; to be `sized` they are walked."""
    if job.spec.workspace is None:
        return []
    from tidegate.workspace import record, trees  # noqa: PLC0415 - most jobs have none

    paths = [str(intent(places.attempt(state, job.id, one.n)).get("cwd", "")) for one in reversed(attempts)]
    home = places.workspaces(state) / str(job.id)  # where the output of its attempts is gone
    noted = [record.read(home / str(n)) for n in reversed(record.numbers(home))]
    found = []
    for path in dict.fromkeys(path for path in (*paths, *(one.path for one in noted if one)) if path):
        known = record.read(Path(path).parent)
        here = Path(path).is_dir()
        size = trees.size_of(Path(path)) if sized and here else None
        if here or known is not None:
            branch, repository = (known.branch, known.base) if known is not None else ("", "")
            found.append(Spot(path=path, here=here, size=size, branch=branch, repository=repository))
    return found


def intent(place: Path) -> dict[str, Any]:
    """What an attempt was launched with; nothing where it cannot be read."""
    try:
        with open(place / "attempt.json", "rb", opener=_opened) as file:
            said = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _opened(path: str, how: int) -> int:
    return os.open(path, how | os.O_NOFOLLOW | os.O_NONBLOCK)  # an agent may have put a link or a FIFO there


def asked(spec: Spec) -> Iterator[tuple[str, str]]:
    """Where a job is to work, in words."""
    workspace = spec.workspace
    if workspace is None:
        yield "directory", clean(spec.cwd)
        return
    start = f", commit {workspace.commit}" if workspace.commit else ""
    start = f", branch {workspace.branch}" if workspace.branch else start
    yield "directory", f"a {workspace.kind} of {clean(workspace.source)}{clean(start)}"
    for put in workspace.files:
        yield "file", f"{clean(put.to)}, from {clean(put.source)}"


def lines(found: Sequence[Spot]) -> Iterator[tuple[str, str]]:
    """Where a job works or has worked, and where its commits are."""
    for place, spot in enumerate(found):
        if spot.here:
            yield ("works in" if not place else "and"), f"{clean(spot.path)}, {amount(spot.size or 0)}"
        if spot.branch:
            yield "branch", f"{clean(spot.branch)} in {clean(spot.repository)}"
