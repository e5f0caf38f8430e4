"""The verb `report`: what happened to a batch, for people and for programs."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from tidegate.errors import BadInput
from tidegate.look import find
from tidegate.look.desk import nothing, opened, state_of
from tidegate.look.words import clean
from tidegate.report import files, gather


def report(args: Namespace) -> int:
    """Print a batch's report, or write its files into a directory; 0. Raises BadInput for no such batch."""
    with opened(args) as desk:
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
