"""What is known of a directory that was made for a job: where it lies, and what it is compared with at its end.

Below the root of them all each job has a directory of its id, and in it one for each time that a directory was made,
named by the number of the launch that it was made for:

    making.json   while it is made: what is to be cleared away, should that be cut short
    made.json     once it is whole
    used          once an agent may have worked in it
    NAME          the directory itself, named like what it is made of
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from tidegate.model import Workspace

MAKING, MADE, USED = "making.json", "made.json", "used"
NAME_MOST = 60


class Made(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A directory as it was made.

    `base` is the repository (its directory of git) that it is a worktree of, `branch` its own in there, `start` the
    commit that this began at. `digest` tells a copy's content. `puts` are what was put into it, by its digest.
    `gone`: it is not there any more, and nothing of it was lost; `old`: the job works in another one since.
    """

    workspace: Workspace
    path: str
    base: str = ""
    branch: str = ""
    start: str = ""
    digest: str = ""
    puts: dict[str, str] = {}
    gone: bool = False
    old: bool = False


def room(root: Path, job: int, n: int) -> Path:
    """Where the directory that was made for a launch lies, with what is known of it."""
    return Path(f"{root}/{job}/{n}")


def tree(place: Path, workspace: Workspace) -> Path:
    """The directory itself: agents and people see a name that says what it is."""
    last = workspace.source.rstrip("/").rpartition("/")[2].rpartition(":")[2].removesuffix(".git")
    name = re.sub(r"[^A-Za-z0-9._-]", "-", last)[:NAME_MOST].lstrip(".-")
    return place / (name if name and name not in {MAKING, MADE, USED} else "work")


def numbers(place: Path) -> list[int]:
    """The numbers that name what is in a directory, in order; none where it is not there."""
    try:
        names = os.listdir(place)  # noqa: PTH208 - there may be a hundred thousand
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(int(one) for one in names if one.isascii() and one.isdigit() and len(one) < 19 and one[0] != "0")


def read(place: Path, name: str = MADE) -> Made | None:
    """What is known; None where nothing is, or where it cannot be read."""
    try:
        return msgspec.json.decode((place / name).read_bytes(), type=Made)
    except (OSError, msgspec.DecodeError):
        return None


def write(place: Path, made: Made, name: str = MADE) -> None:
    """Write what is known, whole or not at all, also where the power fails."""
    new = place / f"{name}.new"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(msgspec.json.encode(made))
        file.flush()
        os.fsync(file.fileno())
    new.rename(place / name)


def is_half_made(place: Path) -> bool:
    """Whether it was never finished: no agent has ever worked in it."""
    return not (place / MADE).exists() and not (place / USED).exists()


def note_used(place: Path) -> None:
    """An agent may work in it from now on."""
    with suppress(FileExistsError):
        os.close(os.open(place / USED, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def is_used(place: Path) -> bool:
    """Whether an agent may have worked in it."""
    return (place / USED).exists()


def latest(root: Path, job: int) -> Made | None:
    """What is known of a job's last directory, which is not there any more."""
    known = [made for n in numbers(root / str(job)) if (made := read(room(root, job, n))) is not None]
    return known[-1] if known and known[-1].gone and known[-1].branch else None


def current(root: Path, job: int) -> tuple[Path, Made] | None:
    """The directory of a job that was made last, as long as it is there."""
    for n in reversed(numbers(root / str(job))):
        place = room(root, job, n)
        if (made := read(place)) is not None:
            return None if made.gone or made.old else (place, made)
    return None
