"""What to launch, and the program that it names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tidegate.errors import NoDirectory, NotLaunched
from tidegate.launch.bounds import UNBOUND, Bounds
from tidegate.launch.traces import absolute


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to launch.

    `env` is the complete environment; `marker` is unique to the attempt and joins it as TIDEGATE_ATTEMPT. Names that
    `/bin/sh` cannot hold (other than letters, digits and `_`) do not reach the agent, and IFS, OPTIND and PPID
    are the shell's own. `cgroup`: in a cgroup of its own, where this process may make one. `descriptors`: its soft
    limit of them, None for this process's own. `bounds`: what it may use of the machine; it is not launched where it
    cannot have them and `must`.
    """

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    stdin: bytes | None = None
    marker: str
    cgroup: bool = False
    descriptors: int | None = None
    bounds: Bounds = UNBOUND
    must: bool = True


def program_of(order: Order) -> str:
    """The absolute path of what argv names, as the child would find it. Raises NotLaunched.

    The shim gets a path and never a bare name, which a shell could take for one of its own commands.
    """
    _check_directory(order.cwd)
    if not order.argv:
        raise NotLaunched("no command")
    path = _look_up(order.argv[0], order)
    _check_interpreter(path, order)
    return path


def _check_directory(cwd: Path) -> None:
    if os.access(f"{cwd}/.", os.X_OK):
        return
    if cwd.is_dir():
        raise NoDirectory(f"directory may not be entered: {cwd}")
    raise NoDirectory(f"not a directory: {cwd}" if cwd.exists() else f"no such directory: {cwd}")


def _look_up(name: str, order: Order) -> str:
    search = order.env.get("PATH", os.defpath)
    cwd = absolute(order.cwd)
    there = []
    for entry in ("",) if "/" in name else search.split(":"):
        path = name if name.startswith("/") else str(cwd.joinpath(entry, name))
        if name and os.path.isfile(path):  # noqa: PTH113 - unlike a Path's own, no error in a closed directory
            if os.access(path, os.X_OK):
                return path
            there.append(path)
    if there:
        raise NotLaunched(f"not executable: {there[0]}")
    if "/" in name:
        raise NotLaunched(f"{'not a' if os.access(cwd / name, os.F_OK) else 'no such'} program: {name}")
    raise NotLaunched(f"no such program: {name} (PATH is {search})")


def _check_interpreter(path: str, order: Order) -> None:
    """A script whose interpreter is missing would end with a riddle: "not found"."""
    words = _script_words(path)
    if not words:
        return
    if not os.access(order.cwd / words[0], os.F_OK):
        raise NotLaunched(f"bad interpreter: {words[0]!r} (named by {path})")
    rest = [word for word in words[1:] if word != "-S"]
    if Path(words[0]).name == "env" and rest and not rest[0].startswith("-") and "=" not in rest[0]:
        try:
            _look_up(rest[0], order)
        except NotLaunched as error:
            raise NotLaunched(f"bad interpreter: {error} (named by {path})") from None


def _script_words(path: str) -> tuple[str, ...]:
    """The words that follow `#!` in a script; none for anything else, and for what may be executed but not read."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path costs more than the call
    except OSError:
        return ()
    return _words_of(path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


@lru_cache(64)
def _words_of(path: str, *_version: int) -> tuple[str, ...]:
    """As above, of one version of the file: a batch starts the same program again and again."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ()
    try:
        head = os.read(fd, 256)
    finally:
        os.close(fd)
    line = os.fsdecode(head[2:].split(b"\n", 1)[0]) if head.startswith(b"#!") else ""
    return tuple(word for word in line.replace("\t", " ").split(" ") if word)
