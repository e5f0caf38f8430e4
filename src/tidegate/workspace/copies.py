"""Copies of files and of whole trees; links are copied as links, and never followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from tidegate.errors import NoWorkspace
from tidegate.model import Put
from tidegate.workspace.git import Task

CHUNK = 4 * 1024 * 1024


def copy_tree(task: Task, source: Path, target: Path) -> None:
    """Copy a directory; what is no file, directory or link stays behind. Raises NoWorkspace, or OSError."""
    if not source.is_dir():
        raise NoWorkspace(f"{'not a' if source.exists() else 'no such'} directory: {source}")
    if target.resolve().is_relative_to(source.resolve()):
        raise NoWorkspace(f"cannot copy {source}: the directories that are made for jobs lie in it")
    target.mkdir(mode=0o700)
    modes = [(source, target)]
    for entry, to in _walk(source, target):
        task.heed()
        if entry.is_dir(follow_symlinks=False):
            to.mkdir(mode=0o700)
            modes.append((Path(entry.path), to))
        else:
            copy_file(task, Path(entry.path), to)
    for one, to in reversed(modes):  # from the inside: one that may not be written is shut last
        _take_after(one.lstat(), to)


def _walk(source: Path, target: Path) -> Iterator[tuple[os.DirEntry[str], Path]]:
    """Everything below a directory, and where it goes; a directory before what is in it."""
    above = [(source, target)]
    while above:
        directory, into = above.pop()
        with os.scandir(directory) as entries:
            for entry in entries:
                yield entry, into / entry.name
                if entry.is_dir(follow_symlinks=False):
                    above.append((Path(entry.path), into / entry.name))


def copy_file(task: Task, source: Path, target: Path) -> None:
    """Copy a file or a link, with its mode and its time; nothing else is copied."""
    found = source.lstat()
    if stat.S_ISLNK(found.st_mode):
        target.symlink_to(source.readlink())
    elif stat.S_ISREG(found.st_mode):
        with source.open("rb") as read, target.open("xb") as write:
            while chunk := read.read(CHUNK):
                task.heed()
                write.write(chunk)
        _take_after(found, target)


def _take_after(found: os.stat_result, target: Path) -> None:
    target.chmod(stat.S_IMODE(found.st_mode) & 0o777 | 0o600)
    os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))


# --- what is put into a directory --------------------------------------------------------------


def put(task: Task, files: tuple[Put, ...], tree: Path) -> dict[str, str]:
    """Put files into a directory, over what is there; the digest of each by its path. Raises NoWorkspace."""
    puts = {}
    for one in files:
        source = Path(one.source)
        if source.is_dir():
            within = [(Path(entry.path), to) for entry, to in _walk(source, Path(one.to)) if _is_leaf(entry)]
        elif source.exists():
            within = [(source.resolve(), Path(one.to))]
        else:
            raise NoWorkspace(f"no such file to put into the directory: {source}")
        for path, to in within:
            task.heed()
            _make_way(tree, to)
            copy_file(task, path, tree / to)
            puts[str(to)] = digest(tree / to)
    return puts


def _is_leaf(entry: os.DirEntry[str]) -> bool:
    return not entry.is_dir(follow_symlinks=False)


def _make_way(tree: Path, to: Path) -> None:
    """The directories on the way to a file, of which none may be a link: it could lead anywhere."""
    at = tree
    for part in to.parts[:-1]:
        at /= part
        if at.is_symlink():
            raise NoWorkspace(f"cannot put {to} into the directory: {at.relative_to(tree)} is a link")
        if not at.is_dir():
            at.mkdir(mode=0o700)
    target = tree / to
    if target.is_dir() and not target.is_symlink():
        raise NoWorkspace(f"cannot put {to} into the directory: there is a directory of that name")
    target.unlink(missing_ok=True)


def digest(path: Path) -> str:
    """What tells one content of a file from another; "" for what is none."""
    try:
        if path.is_symlink():
            return sha256(os.fsencode(path.readlink())).hexdigest()
        with path.open("rb") as file:
            made = sha256()
            while chunk := file.read(CHUNK):
                made.update(chunk)
            return made.hexdigest()
    except OSError:
        return ""


def listing(task: Task, tree: Path) -> str:
    """What tells one state of a tree from another: names, kinds, modes, sizes and times, but no directory's."""
    lines = []
    for entry, at in _walk(tree, Path()):
        task.heed()
        found = entry.stat(follow_symlinks=False)
        times = "" if entry.is_dir(follow_symlinks=False) else f"{found.st_size} {found.st_mtime_ns}"
        lines.append(f"{os.fsencode(at)!r} {found.st_mode:o} {times}")
    return sha256("\n".join(sorted(lines)).encode()).hexdigest()
