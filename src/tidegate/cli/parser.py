"""Reads a command line with argparse; only the verb that is asked for is built."""

from __future__ import annotations

import os
from argparse import SUPPRESS, Action, ArgumentError, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from typing import NoReturn

from tidegate import __version__
from tidegate.cli.arguments import Verb
from tidegate.cli.verbs import VERBS

SAID = 300  # characters of a usage error that are shown


class Help(RawDescriptionHelpFormatter):
    """Knows the width itself: argparse would import shutil, and with it every compressor, for each verb."""

    def __init__(self, prog: str) -> None:
        asked = os.environ.get("COLUMNS", "")
        try:
            width = int(asked) if asked.isdigit() and len(asked) < 6 else os.get_terminal_size(1).columns
        except OSError:
            width = 80
        super().__init__(prog, width=max(width - 2, 20))


class Parser(ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Leave with exit code 2."""
        from tidegate.look.words import clean, fit  # noqa: PLC0415 - only a mistake pays for it

        self.exit(2, f"{self.prog}: error: {fit(clean(message), SAID)} (see {self.prog} --help)\n")

    def _get_values(self, action: Action, arg_strings: list[str]) -> object:
        if action.option_strings and arg_strings == ["--"]:  # argparse before 3.13 would make it an empty list
            raise ArgumentError(action, "'--' is no value")
        return super()._get_values(action, arg_strings)


def parse(argv: Sequence[str]) -> Namespace:
    """A command line as the values that its door works with: `verb`, `door` and `state_dir` besides the verb's own.

    `command` is what stands behind "--" where the verb takes a command, None without one.
    """
    end = argv.index("--") if "--" in argv else len(argv)
    first = _root().parse_args(argv[:end])  # argparse itself would lose the "--"
    if first.verb is None:
        _root().print_help()
        raise SystemExit(0)
    if first.verb not in VERBS:
        _root().error(f"no verb {first.verb!r}{_meant(first.verb)}")
    verb = VERBS[first.verb]
    given = Namespace(verb=first.verb, door=verb.door, state_dir=first.state_dir)
    behind = list(argv[end:])
    if verb.command:
        given.command, behind = behind[1:] if behind else None, []
    parser = parser_of(first.verb, verb)
    read = parser.parse_args if behind else parser.parse_intermixed_args  # which would lose the "--" too
    return read(first.rest + behind, given)


def _root() -> Parser:
    from argparse import REMAINDER  # noqa: PLC0415 - needed here alone

    listed = "\n".join(f"  {name:<10} {verb.does}" for name, verb in VERBS.items())
    root = Parser(
        prog="tidegate",
        usage="tidegate [--state-dir DIR] VERB ...",
        description="Runs coding agents unattended and waits out their usage limits.",
        epilog=f"verbs:\n{listed}\n\ntidegate VERB --help tells more and has an example.",
        formatter_class=Help,
        allow_abbrev=False,
    )
    root.add_argument("--version", action="version", version=f"tidegate {__version__}")
    _state_dir(root, default=None)
    root.add_argument("verb", nargs="?", help=SUPPRESS)
    root.add_argument("rest", nargs=REMAINDER, help=SUPPRESS)
    return root


def parser_of(name: str, verb: Verb) -> Parser:
    """The parser of one verb's arguments."""
    parser = Parser(
        prog=f"tidegate {name}",
        description=f"{verb.does}.\n{verb.more}".rstrip(),
        epilog=f"example: {verb.example}",
        formatter_class=Help,
        allow_abbrev=False,
    )
    verb.takes(parser)
    _state_dir(parser, default=SUPPRESS)
    if verb.command:
        parser.usage = f"{parser.format_usage().removeprefix('usage: ').rstrip()} [-- COMMAND ...]"
    return parser


def _state_dir(parser: ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--state-dir",
        metavar="DIR",
        default=default,
        help="where the database and the output of agents are (default: $TIDEGATE_STATE_DIR, else the user's state)",
    )


def _meant(verb: str) -> str:
    from tidegate.allowed import meant  # noqa: PLC0415 - only a mistake pays for it

    return meant(verb, VERBS)
