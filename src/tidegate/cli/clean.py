"""The verb `clean`: removes the output of ended jobs."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from datetime import timedelta

from tidegate import codes
from tidegate.cli.config import loaded
from tidegate.errors import BadInput
from tidegate.look import plain
from tidegate.look.desk import Desk, note, opened
from tidegate.look.words import amount, counted, shown
from tidegate.retention import Keep, Swept, forgettable, sweep


def clean(args: Namespace) -> int:
    """Remove what need not stay, and say how much that was; 0, or 5 where something could not be removed."""
    keep, swept, forgotten = _keep(args), Swept(), None
    if args.forget and keep.age is None:
        raise BadInput("--forget: needs --older AGE: only what ended long ago is forgotten")
    with opened(args) as desk:
        if desk is not None:
            *_, swept = swept, *sweep(desk.state, desk.store, desk.page.now, keep, dry=args.dry_run)
            forgotten = _forgotten(desk, keep.age or 0, dry=args.dry_run) if args.forget else None
    for line in [plain.line(_form(swept, forgotten))] if args.json else _lines(swept, forgotten, dry=args.dry_run):
        print(line)
    for one in swept.resisted:
        note(f"cannot be removed: {shown(one)}")
    return codes.INFRASTRUCTURE if swept.resisted else codes.OK


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


def _form(swept: Swept, forgotten: int | None) -> plain.Form:
    told = {"jobs": swept.jobs, "attempts": swept.attempts, "bytes": swept.size, "bytes_left": swept.left}
    told["forgotten"] = forgotten or 0
    return {**told, "resisted": [shown(one) for one in swept.resisted]}


def _lines(swept: Swept, forgotten: int | None, *, dry: bool) -> Iterator[str]:
    what = f"the output of {counted(swept.jobs, 'job')} ({counted(swept.attempts, 'attempt')}, {amount(swept.size)})"
    yield f"{'would remove' if dry else 'removed'} {what}; {amount(swept.left)} left"
    if forgotten is not None:
        yield f"{'would forget' if dry else 'forgot'} {counted(forgotten, 'job')}"
