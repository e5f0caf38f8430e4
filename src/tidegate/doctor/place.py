"""Looks at the state directory: whose it is, who may read it, what it lies on, and what is in it."""

from __future__ import annotations

import os
import pwd
import re
import shlex
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path

from tidegate import headroom, places
from tidegate.doctor.finding import Case, Finding, ok, warning, wrong
from tidegate.look.words import amount
from tidegate.stores import health

MOUNTS = Path("/proc/self/mountinfo")
SHARED = ("nfs", "cifs", "smb", "9p", "afs", "ceph", "gfs", "glusterfs", "lustre", "beegfs", "ocfs", "virtiofs")
PASSING = ("tmpfs", "ramfs")
LOOKED_AT = 20_000  # files whose modes are looked at
LITTLE, SCANT = 100 * 10**6, 10**9  # bytes that are free
INODES = 1000


def directory(check: str, case: Case) -> Iterator[Finding]:
    """Whether it is there, or can be made, and who may enter it."""
    state = case.state
    if not os.path.lexists(state):
        yield _to_be_made(check, state)
        return
    if not state.is_dir():
        yield wrong(check, f"{state} is no directory", "move it away, or name another by --state-dir")
        return
    found = state.stat()
    if found.st_uid != os.geteuid():
        owner, me = _name(found.st_uid), _name(os.geteuid())
        told = wrong if os.geteuid() else warning
        yield told(check, f"{state} belongs to {owner}, and this is {me}", f"work as {owner}")
    elif found.st_mode & 0o077:
        yield wrong(check, f"{state} is open to others ({_mode(found)})", f"chmod 700 {_quoted(state)}")
    elif not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        yield wrong(check, f"{state} cannot be written to ({_mode(found)})", f"chmod 700 {_quoted(state)}")
    else:
        yield ok(check, f"{state} ({_mode(found)}, {_name(found.st_uid)})")


def _to_be_made(check: str, state: Path) -> Finding:
    above = _nearest(state)
    if above.is_dir() and os.access(above, os.W_OK | os.X_OK):
        return ok(check, f"{state} is not there yet; the first command that writes makes it")
    why = f"{above} may not be written by {_name(os.geteuid())}" if above.is_dir() else f"{above} is no directory"
    return wrong(check, f"{state} cannot be made: {why}", "make it, or name another by TIDEGATE_STATE_DIR")


def permissions(check: str, case: Case) -> Iterator[Finding]:
    """Whether what is inside belongs to the same user, and to nobody else."""
    if not case.state.is_dir():
        return
    mine, open_to_others, foreign = case.state.stat().st_uid, [], []
    for path, found in islice(inside(case.state), LOOKED_AT):
        if found.st_mode & 0o077 and not stat.S_ISLNK(found.st_mode):
            open_to_others.append(path)
        if found.st_uid != mine:
            foreign.append(path)
    place = _quoted(case.state)
    if foreign:
        do = f"chown -R {_name(mine)} {place}"
        yield wrong(check, f"{_some(foreign)} not of {_name(mine)}", do)
    if open_to_others:
        yield wrong(check, f"{_some(open_to_others)} open to others", f"chmod -R go= {place}")
    if not foreign and not open_to_others:
        yield ok(check, "everything inside is for its owner alone")


def inside(state: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The files that this program makes, and the directories they are in; not the demonstration's."""
    kept = [path for path in sorted(state.iterdir()) if path.name != "demo"]
    for path in kept:
        walked = os.walk(path) if path.is_dir() and not path.is_symlink() else ()
        below = (Path(above, name) for above, _, files in walked for name in ("", *files))
        for one in chain([path], islice(below, 1, None)):  # the first is the place itself
            with suppress(FileNotFoundError):  # gone since it was listed: somebody works here
                yield one, one.lstat()


def _some(paths: list[Path]) -> str:
    return f"{paths[0]}" + (f" and {len(paths) - 1} more are" if len(paths) > 1 else " is")


# --- what it lies on ---


def file_system(check: str, case: Case) -> Iterator[Finding]:
    """Whether SQLite's WAL works there: it needs memory that all its users share, so no network."""
    kind = _kind(_nearest(case.state))
    elsewhere = "put the state directory on a local disk"
    if kind.startswith(SHARED) or kind in ("fuse.sshfs", "fuse.glusterfs", "fuse.rclone"):
        yield wrong(check, f"{kind} is shared by machines: the database can break there", elsewhere)
    elif kind in PASSING:
        yield warning(check, f"{kind} forgets everything at a reboot", elsewhere)
    elif kind.startswith("fuse"):
        yield warning(check, f"{kind} may lack the shared memory that the database needs", elsewhere)
    else:
        yield ok(check, kind)


def _kind(place: Path) -> str:
    """The type of the file system that a place is on: that of the longest mount point above it, the last of equals."""
    real, best, kind = os.path.realpath(place), "", "unknown"
    for line in MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        mount, _, source = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), mount.split(" ")[4])
        if len(point) >= len(best) and (real == point or real.startswith(f"{point.rstrip('/')}/")):
            best, kind = point, source.split(" ")[0]
    return kind


def free_disk(check: str, case: Case) -> Iterator[Finding]:
    """Whether there is room for output and for the database."""
    found = os.statvfs(_nearest(case.state))
    room = found.f_bavail * found.f_frsize
    if scarce := headroom.scarce(_nearest(case.state), case.settings.supervisor.min_free_disk, held=False):
        yield wrong(check, f"{scarce}: nothing is launched", "tidegate clean, or make room")
    elif room < LITTLE:
        yield wrong(check, f"only {amount(room)}", "tidegate clean, or make room")
    elif found.f_files and found.f_favail < INODES:
        yield wrong(check, f"only {found.f_favail} further files fit", "tidegate clean, or make room")
    elif room < SCANT:
        yield warning(check, f"only {amount(room)}", "tidegate clean, or make room")
    else:
        yield ok(check, amount(room))


# --- the database ---


def database(check: str, case: Case) -> Iterator[Finding]:
    """Whether it opens and is whole."""
    path = places.database(case.state)
    if not os.path.lexists(path):
        yield ok(check, "none yet; the first command that writes makes it")
        return
    faults = health.faults(path)
    for fault in faults:
        yield wrong(
            check,
            f"{path}: {fault}",
            "stop the supervisor; tidegate doctor --repair saves what can be read, or restore a backup",
        )
    if not faults:
        size = sum(one.stat().st_size for one in (path, path.with_name(f"{path.name}-wal")) if one.exists())
        yield ok(check, f"whole, {amount(size)}")


# --- words ---


def _nearest(place: Path) -> Path:
    """The place itself, or the nearest above it that is there."""
    return next((one for one in (place, *place.parents) if one.exists()), Path("/"))


def _mode(found: os.stat_result) -> str:
    return f"{stat.S_IMODE(found.st_mode):04o}"


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
