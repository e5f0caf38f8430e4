"""The verb `backup`: writes what a state directory holds into one file."""

from __future__ import annotations

import sys
from argparse import Namespace
from datetime import datetime
from pathlib import Path

from tidegate import codes, places
from tidegate.backup import Manifest, Wanted, default, name, save, write
from tidegate.clock import SystemClock
from tidegate.errors import BadInput
from tidegate.look import plain
from tidegate.look.desk import nothing, state_of
from tidegate.look.words import amount, clean, counted

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


def _path(said: str | None, state: Path, now: datetime) -> Path:
    if said is None:
        return default(state, now)
    path = Path(said)
    return path / name(now) if path.is_dir() else path


def _form(path: Path, manifest: Manifest) -> plain.Form:
    size = path.stat().st_size
    said = {"file": str(path.absolute()), "bytes": size, "files": len(manifest.files), "schema": manifest.schema}
    return {**said, "secrets": manifest.secrets, "output": manifest.output}


def _line(path: Path, manifest: Manifest) -> str:
    secrets = "with" if manifest.secrets else "without"
    output = "with" if manifest.output else "without"
    held = f"{amount(path.stat().st_size)}, {counted(len(manifest.files), 'file')}"
    return f"{clean(str(path))}: {held}, {secrets} secrets, {output} output"
