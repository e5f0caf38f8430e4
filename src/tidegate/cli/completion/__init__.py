"""The verb `completion`: a script by which a shell completes what a person types."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator

from tidegate.cli.arguments import SHELLS
from tidegate.cli.completion import bash, fish, zsh
from tidegate.cli.completion.table import Taker, form, table, values
from tidegate.errors import BadInput
from tidegate.look import plain

SCRIPTS = {"bash": bash.script, "zsh": zsh.script, "fish": fish.script}


def completion(args: Namespace) -> int:
    """Print a shell's script, or the values that one of them asks for; 0. Raises BadInput where no shell is named."""
    for line in _told(args):
        print(line)
    return 0


def _told(args: Namespace) -> Iterator[str]:
    if args.values:
        yield from values(args.values, args)
        return
    known: list[Taker] = table()
    if args.json:
        yield from (plain.line(form(one)) for one in known)
        return
    if args.shell is None:
        raise BadInput(f"completion: name a shell, {', '.join(SHELLS[:-1])} or {SHELLS[-1]}")
    yield SCRIPTS[args.shell](known)
