"""The command line: finds the verb, reads its arguments, and calls the room that does what it says."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from tidegate.cli.parser import parse


def main(argv: Sequence[str]) -> int:
    """Do what a command line says; the exit code. Raises TidegateError for one clear line, SystemExit for usage.

    The room of a verb is imported only when it is asked for: `status` pays for no event loop.
    """
    args = parse(argv)
    room, _, door = args.door.partition(":")
    code: int = getattr(import_module(room), door)(args)
    return code
