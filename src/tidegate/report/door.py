"""The verb `report`: what happened to a batch, for people and for programs."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from tidegate.errors import BadInput
from tidegate.look import find
from tidegate.look.desk import nothing, opened, state_of
from tidegate.look.words import clean
from tidegate.report import files, gather, history


def report(args: Namespace) -> int:
    """Print a batch's report, or write its files into a directory, or tell the history of all; 0. Raises BadInput."""
    _check(args)
    with opened(args) as desk:
        if args.history:
            for line in history.tell(desk, args):
                print(line)
            return 0
        if desk is None:
            raise BadInput(f"no batch {find.quoted(args.batch)}: {nothing(state_of(args))}")
        told = gather.told(desk, find.batch(desk.store, args.batch))
    if args.into is None:
        sys.stdout.write(files.FORMATS[args.format or "md"][1](told))
        return 0
    formats = [args.format] if args.format else list(files.FORMATS)
    for path in files.write(told, Path(args.into), formats):
        print(clean(str(path)))
    return 0


def _check(args: Namespace) -> None:
    """Refuse what does not go together."""
    if not args.history and args.batch is None:
        raise BadInput("say which BATCH, or --history for all of them")
    if args.history and (args.batch is not None or args.into or args.format not in (None, "html")):
        raise BadInput("--history is of all batches: it takes no BATCH, no --into, and no --format but html")
    if not args.history and (args.json or args.since is not None):
        raise BadInput("--json and --since go with --history; a batch has --format summary")
