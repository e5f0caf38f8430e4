"""Compares the files of a state directory with what its database says of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from tidegate import places
from tidegate.audit.finding import Finding
from tidegate.launch import traces
from tidegate.stores.books import Books
from tidegate.stores.vault import KEY

YOUNG = 60.0  # seconds for which a secret may be waiting for the commit of its job
OURS = ("tidegate.db", "tidegate.db-wal", "tidegate.db-shm", "lock", "bell", "attempts", "secrets", "backups")


class Listing(Struct, frozen=True, kw_only=True):
    """What lay there before the database was looked at: what is made meanwhile is not missing in it."""

    attempts: Mapping[tuple[int, int], Path]
    secrets: Mapping[str, Path]
    workspaces: Mapping[int, Path]


def listed(state: Path) -> Listing:
    """The directories of attempts and the files of secrets."""
    return Listing(
        attempts={
            (int(job.name), int(n.name)): n
            for job in _below(places.attempts(state))
            for n in (_below(job) if _is_number(job.name) else ())
            if _is_number(n.name)
        },
        secrets={one.name: one for one in _below(places.secrets(state))},
        workspaces={int(one.name): one for one in _below(places.workspaces(state)) if _is_number(one.name)},
    )


def findings(state: Path, before: Listing, books: Books, now: float) -> Iterator[Finding]:
    """Everything about files: modes first, and, where the books can be read, what they say is there."""
    yield from _modes(state)
    if books.is_readable:
        yield from _secrets(state, before, books, now)
        yield from _outputs(state, before, books)
        yield from _workspaces(state, before, books)


# --- whose the files are, and who may read them ---


def _modes(state: Path) -> Iterator[Finding]:
    owner = state.stat().st_uid
    for path, found in _everything(state):
        if found.st_mode & 0o077:
            mode = stat.S_IMODE(found.st_mode)
            said = f"{path} is open to others ({mode:04o})"
            yield Finding(kind="mode", said=said, mend="it is closed to them", place=path)
        if found.st_uid != owner:
            said = f"{path} belongs to uid {found.st_uid}, not to {owner} as its directory does"
            yield Finding(kind="owner", said=said, do=f"chown {owner} {path}", place=path)


def _everything(state: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """The directory and what this program makes in it, without links and without what vanishes meanwhile.

    Others may keep more there: the unit for a whole machine has the home of its agents in it.
    """
    above = [state]
    while above:
        directory = above.pop()
        yield from _seen(directory)
        for entry in _entries(directory):
            if entry.is_symlink() or (directory == state and entry.name not in OURS):
                continue
            if entry.is_dir(follow_symlinks=False):
                above.append(Path(entry.path))
            else:
                yield from _seen(Path(entry.path))


def _seen(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        yield path, path.lstat()
    except FileNotFoundError:
        return


# --- secrets ---


def _secrets(state: Path, before: Listing, books: Books, now: float) -> Iterator[Finding]:
    directory = places.secrets(state)
    for name, job in books.secrets.items():
        place = directory / name
        if not place.is_file():
            said = f"a secret of job {job} is missing ({place}): it cannot be launched"
            yield Finding(kind="secret_missing", said=said, do=f"tidegate edit {job} --env NAME=VALUE", place=place)
    for name, place in before.secrets.items():
        if name != KEY and name not in books.secrets and _age(place, now) > YOUNG:
            yield Finding(kind="secret_orphan", said=f"{place} is of no job", mend="it is removed", place=place)


def _age(place: Path, now: float) -> float:
    """Seconds since a file was written; 0 for one that is gone."""
    try:
        return now - place.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


# --- output ---


def _outputs(state: Path, before: Listing, books: Books) -> Iterator[Finding]:
    for (job, n), place in before.attempts.items():
        if (job, n) in books.attempts:
            yield from _traces(place, job, n, books.attempts[job, n])
        elif place.is_dir():
            yield _unknown(place, job, n, books)
    for job, n in sorted(books.kept - before.attempts.keys()):
        place = places.attempt(state, job, n)
        if not place.is_dir():
            said = f"the output of attempt {n} of job {job} is missing ({place}), and the job has not ended"
            yield Finding(kind="output_missing", said=said, is_wrong=False, job=job, attempt=n, place=place)


def _unknown(place: Path, job: int, n: int, books: Books) -> Finding:
    """Output of an attempt that the database does not know."""
    said = f"{place} is of no attempt that the database knows"
    if n > books.launches.get(job, n):
        said, do = f"{said}: it is an older one", "the next start takes it up"
        return Finding(kind="output_ahead", said=said, do=do, is_wrong=False, job=job, attempt=n, place=place)
    held = traces.state_of(place).held
    mend, do = ("", "an agent runs in it: end it with `tidegate reap`") if held else ("it is removed", "")
    return Finding(kind="output_orphan", said=said, mend=mend, do=do, job=job, attempt=n, place=place)


def _traces(place: Path, job: int, n: int, exit: int | None) -> Iterator[Finding]:
    """What an attempt's directory tells of its launch and of its end."""
    lock = traces.state_of(place)
    intent = traces.intent_of(place)
    about = f"attempt {n} of job {job}"
    if not place.is_dir() or lock.held:
        return
    if lock.pid is not None and (intent.get("job"), intent.get("attempt")) != (job, n):
        said = f"{place}/attempt.json does not tell that it is {about}"
        yield Finding(kind="intent", said=said, do="its output may be another's", job=job, attempt=n, place=place)
    if exit is not None and lock.code != exit:
        told = "none" if lock.code is None else str(lock.code)
        said = f"{about} ended with exit status {exit}, but {place}/lock tells {told}"
        yield Finding(kind="exit", said=said, do="see its output", job=job, attempt=n, place=place)


# --- directories that were made for jobs ---


def _workspaces(state: Path, before: Listing, books: Books) -> Iterator[Finding]:
    """One whose job is gone, and one that is gone itself though its job goes on with it."""
    for job, place in before.workspaces.items():
        if job not in books.launches and place.is_dir():
            said = f"{place} was made for a job that the database does not know"
            yield Finding(kind="workspace_orphan", said=said, do="tidegate clean", is_wrong=False, job=job, place=place)
    latest = dict(sorted(books.kept))
    for job, n in latest.items():
        cwd = str(traces.intent_of(places.attempt(state, job, n)).get("cwd", ""))
        if cwd.startswith(f"{places.workspaces(state)}/{job}/") and not Path(cwd).is_dir():
            said = f"the directory in which job {job} works is missing ({cwd})"
            do = f"it begins in a new one: tidegate retry {job} --clean, where that is not enough"
            yield Finding(kind="workspace_missing", said=said, do=do, is_wrong=False, job=job, place=Path(cwd))


# --- directories ---


def _below(directory: Path) -> list[Path]:
    return [Path(entry.path) for entry in _entries(directory)]


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    """What is in a directory; nothing where it is gone, or is none."""
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 19 and not name.startswith("0")
