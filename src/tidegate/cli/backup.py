"""The verb `backup`: writes what a state directory holds into one file."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from datetime import datetime
from pathlib import Path

from tidegate import codes, places
from tidegate.backup import Manifest, Wanted, write
from tidegate.clock import SystemClock
from tidegate.errors import BadInput
from tidegate.look import plain
from tidegate.look.desk import nothing, state_of
from tidegate.look.words import amount, counted
from tidegate.stores.vault import private

STDOUT = "-"


def backup(args: Namespace) -> int:
    """Write a backup, and say where; 0. Raises BadInput where there is nothing to save, or a file in its place."""
    state, now = state_of(args), SystemClock().now()
    if not places.database(state).exists():
        raise BadInput(nothing(state))
    wanted = Wanted(secrets=args.with_secrets, output=args.with_output)
    if args.file == STDOUT:
        if sys.stdout.isatty():
            raise BadInput("a backup is no text: name a file, or let a program read it")
        write(state, sys.stdout.buffer, now, wanted)
        return codes.OK
    path = _path(args.file, state, now)
    manifest = save(state, path, now, wanted)
    print(plain.line(_form(path, manifest)) if args.json else _line(path, manifest))
    return codes.OK


def save(state: Path, path: Path, now: datetime, wanted: Wanted) -> Manifest:
    """Write a backup into a new file, for this user alone: it is there as a whole, or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as opened:
            os.fchmod(fd, 0o600)
            manifest = write(state, opened, now, wanted)
            opened.flush()
            os.fsync(fd)
        os.link(part, path)  # which replaces nothing
    except FileExistsError:
        raise BadInput(f"{path}: is there already") from None
    finally:
        part.unlink(missing_ok=True)
    return manifest


def default(state: Path, now: datetime, what: str = "tidegate") -> Path:
    """Where a backup goes that is not said to go elsewhere; its directory is made."""
    directory = places.backups(state)
    private(directory)
    return directory / _name(now, what)


def _name(now: datetime, what: str = "tidegate") -> str:
    return f"{what}-{now:%Y%m%dT%H%M%S}Z.tar.gz"


def _path(said: str | None, state: Path, now: datetime) -> Path:
    if said is None:
        return default(state, now)
    path = Path(said)
    return path / _name(now) if path.is_dir() else path


def _form(path: Path, manifest: Manifest) -> plain.Form:
    size = path.stat().st_size
    said = {"file": str(path.absolute()), "bytes": size, "files": len(manifest.files), "schema": manifest.schema}
    return {**said, "secrets": manifest.secrets, "output": manifest.output}


def _line(path: Path, manifest: Manifest) -> str:
    secrets = "with" if manifest.secrets else "without"
    output = "with" if manifest.output else "without"
    held = f"{amount(path.stat().st_size)}, {counted(len(manifest.files), 'file')}"
    return f"{path}: {held}, {secrets} secrets, {output} output"
