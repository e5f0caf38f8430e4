"""The verb `clean`: removes the output of ended jobs, and the directories that were made for them."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from functools import partial

from tidegate import codes, settings
from tidegate.cli.config import loaded
from tidegate.clock import SystemClock
from tidegate.errors import BadInput
from tidegate.leftovers import Tidied, tidy
from tidegate.look import plain
from tidegate.look.desk import Desk, note, opened
from tidegate.look.words import amount, counted, shown
from tidegate.retention import Keep, Swept, forgettable, sweep
from tidegate.workspace.git import Task

PATIENCE = 60.0  # seconds for the directories of one job
SHOWN = 20  # directories that are told one by one


def clean(args: Namespace) -> int:
    """Remove what need not stay, and say how much that was; 0, or 5 where something could not be removed."""
    keep, swept, forgotten = _keep(args), Swept(), None
    if args.forget and keep.age is None:
        raise BadInput("--forget: needs --older AGE: only what ended long ago is forgotten")
    tidied = Tidied()
    with opened(args) as desk:
        if desk is not None:
            *_, swept = swept, *sweep(desk.state, desk.store, desk.page.now, keep, dry=args.dry_run)
            forgotten = _forgotten(desk, keep.age or 0, dry=args.dry_run) if args.forget else None
            tidied = _tidied(desk, keep.age, args)
    for line in [plain.line(_form(swept, forgotten, tidied))] if args.json else _lines(swept, forgotten, tidied, args):
        print(line)
    resisted = [*swept.resisted, *tidied.resisted]
    for one in resisted:
        note(f"cannot be removed: {shown(one)}")
    return codes.INFRASTRUCTURE if resisted else codes.OK


def _tidied(desk: Desk, age: float | None, args: Namespace) -> Tidied:
    """Remove the directories that were made for jobs, where that is safe."""
    said, tidied = loaded(args).settings, Tidied()
    root, clock = settings.workspaces(said, os.environ, desk.state), SystemClock()
    if root.is_dir():
        environment = settings.environment(said, os.environ)
        begin = partial(Task, environment, PATIENCE, clock.monotonic)
        *_, tidied = tidied, *tidy(root, desk.store, desk.page.now, age, begin, dry=args.dry_run)
    return tidied


def _keep(args: Namespace) -> Keep:
    """What the flags say; without any, the settings."""
    if args.older is None and args.larger is None:
        said = loaded(args).settings.retention
        return Keep(age=said.age, size=said.size)
    return Keep(age=args.older, size=args.larger)


def _forgotten(desk: Desk, age: float, *, dry: bool) -> int:
    """Remove jobs that ended longer ago from the store; how many."""
    jobs = forgettable(desk.store, desk.page.now - timedelta(seconds=age))
    return len(jobs) if dry else desk.store.forget(jobs, desk.page.now)


def _form(swept: Swept, forgotten: int | None, tidied: Tidied) -> plain.Form:
    told = {"jobs": swept.jobs, "attempts": swept.attempts, "bytes": swept.size, "bytes_left": swept.left}
    told["forgotten"] = forgotten or 0
    directories = {
        "removed": tidied.directories,
        "bytes": tidied.size,
        "bytes_left": tidied.left,
        "stayed": [asdict(one) for one in tidied.stayed],
    }
    resisted = [shown(one) for one in (*swept.resisted, *tidied.resisted)]
    return {**told, "directories": directories, "resisted": resisted}


def _lines(swept: Swept, forgotten: int | None, tidied: Tidied, args: Namespace) -> Iterator[str]:
    dry = args.dry_run
    what = f"the output of {counted(swept.jobs, 'job')} ({counted(swept.attempts, 'attempt')}, {amount(swept.size)})"
    yield f"{'would remove' if dry else 'removed'} {what}; {amount(swept.left)} left"
    if forgotten is not None:
        yield f"{'would forget' if dry else 'forgot'} {counted(forgotten, 'job')}"
    if tidied.directories or tidied.left:
        what = f"{counted(tidied.directories, 'directory', 'directories')} of jobs ({amount(tidied.size)})"
        yield f"{'would remove' if dry else 'removed'} {what}; {amount(tidied.left)} left"
    for one in tidied.stayed[:SHOWN]:
        yield f"  {shown(one.name)} keeps {shown(one.path)}, {amount(one.size)}: {shown(one.why)}"
    if len(tidied.stayed) > SHOWN:
        yield f"  and {len(tidied.stayed) - SHOWN} more (--json names all)"
