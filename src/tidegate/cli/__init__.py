"""The command line: finds the verb, reads its arguments, and calls the room that does what it says."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from tidegate.cli.parser import parse

# The signals that must not end a process that has not come to listen yet: a working program is long to import.
EARLY = {
    "tidegate.run": ("SIGUSR1", "SIGUSR2"),
    "tidegate.demo": ("SIGUSR1", "SIGUSR2"),
    "tidegate.serve": ("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGTERM"),
}


def main(argv: Sequence[str]) -> int:
    """Do what a command line says; the exit code. Raises TidegateError for one clear line, SystemExit for usage.

    The room of a verb is imported only when it is asked for: `status` pays for no event loop.
    """
    args = parse(argv)
    room, _, door = args.door.partition(":")
    if room in EARLY:
        from tidegate import signals  # noqa: PLC0415 - few verbs take signals

        signals.keep(*map(signals.named, EARLY[room]))
    code: int = getattr(import_module(room), door)(args)
    return code
