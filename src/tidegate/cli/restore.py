"""The verb `restore`: puts a backup in the place of a state directory."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tidegate import audit, codes, places
from tidegate.clock import SystemClock
from tidegate.daemon import owning
from tidegate.errors import BadInput
from tidegate.look import plain
from tidegate.look.desk import note, state_of
from tidegate.look.words import counted
from tidegate.restore import Restored, is_empty, restore
from tidegate.stores.vault import private


def door(args: Namespace) -> int:
    """Restore a backup, and say what became of it; 0. Raises BadInput, AlreadyRunning; nothing has changed then."""
    state = Path(args.into).absolute() if args.into else state_of(args)
    if not is_empty(state) and not args.force:
        raise BadInput(f"{state}: is not empty: name another by --into, or move what is there aside by --force")
    with _opened(args.file) as packed, _begun(state), owning(state):
        done = restore(packed, args.file, state, SystemClock().now())
    print(plain.line(_form(state, done)) if args.json else _line(state, done))
    if found := [one for one in audit.audit(state) if one.is_wrong and one.kind != "secret_missing"]:
        note(f"an audit finds {counted(len(found), 'fault')} in it: tidegate doctor --deep")
    return codes.OK


@contextmanager
def _begun(state: Path) -> Iterator[None]:
    """Make a state directory, which goes again, as far as it is empty, where nothing is restored into it."""
    made = [one for one in (state, *state.parents) if not one.exists()]
    lock = places.lock(state)
    is_new = not lock.exists()
    private(state)
    try:
        yield
    except BaseException:
        if is_new and is_empty(state):
            lock.unlink(missing_ok=True)
        with suppress(OSError):  # somebody has begun to work there meanwhile
            for one in made:
                one.rmdir()
        raise


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(file).open("rb") as opened:
            yield opened
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        if error.filename != file:
            raise
        raise BadInput(f"{file}: cannot read it: {error.strerror}") from None


def _form(state: Path, done: Restored) -> plain.Form:
    told = {"state": str(state), "jobs": done.jobs, "lost": done.lost, "followed": done.followed}
    made = {"made_at": done.manifest.made_at.isoformat(), "host": done.manifest.host, "version": done.manifest.version}
    return {**told, "waiting": done.waiting, "aside": str(done.aside) if done.aside else None, **made}


def _line(state: Path, done: Restored) -> str:
    said = [f"{state}: {counted(done.jobs, 'job')} as of {done.manifest.made_at:%Y-%m-%d %H:%M:%S} UTC"]
    if done.lost:
        said.append(f"{done.lost} that ran then {'is' if done.lost == 1 else 'are'} queued again")
    if done.waiting:
        said.append(f"{done.waiting} wait for their secrets (tidegate status tells)")
    if done.aside:
        said.append(f"what was there lies in {done.aside}")
    return "; ".join(said)
