"""Whole trees of files: how large they are, and their removal. No link is followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

BLOCK = 512  # bytes in which st_blocks counts


def size_of(place: Path) -> int:
    """Bytes on the disk of a directory and all in it; what vanishes meanwhile, or hides, counts nothing."""
    try:
        found = place.lstat()
    except OSError:
        return 0
    total, above = found.st_blocks * BLOCK, [os.fspath(place)] if stat.S_ISDIR(found.st_mode) else []
    while above:
        with suppress(OSError), os.scandir(above.pop()) as entries:
            for entry in entries:
                total += _blocks(entry) * BLOCK
                if entry.is_dir(follow_symlinks=False):
                    above.append(entry.path)
    return total


def _blocks(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks
    except OSError:
        return 0


def remove_tree(place: Path) -> list[str]:
    """Remove a directory and all that is in it; what resists, in words, at most one line. No link is followed."""
    errors: list[OSError] = []
    try:
        if place.is_symlink():
            place.unlink()
        else:
            for directory in reversed(_emptied(str(place), errors)):
                _attempted(errors, os.rmdir, directory)
    except OSError as error:
        errors.append(error)
    return [f"{place}: {error.strerror or error}" for error in errors[:1]]


def _emptied(place: str, errors: list[OSError]) -> list[str]:
    """Remove every file below a directory; the directories, each before those in it.

    Not by shutil.rmtree: before Python 3.13 that gives up a thousand directories deep, and leaves them.
    """
    directories, above = [], [place]
    while above:
        directory = above.pop()
        directories.append(directory)
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            errors.append(error)
            continue
        with suppress(OSError):
            os.fchmod(fd, 0o700)  # tools leave directories behind that may not be written
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        above.append(f"{directory}/{entry.name}")
                    else:
                        _attempted(errors, os.unlink, entry.name, dir_fd=fd)
        finally:
            os.close(fd)
    return directories


def _attempted(errors: list[OSError], do: Callable[..., None], name: str, **where: int) -> None:
    try:
        do(name, **where)
    except FileNotFoundError:
        return
    except OSError as error:
        errors.append(error)
