"""The verbs by which a person steers: what each does, its arguments and an example."""

from __future__ import annotations

from argparse import ArgumentParser

from tidegate.cli.arguments import Verb, json_flag, scope_argument, text


def _pause(parser: ArgumentParser) -> None:
    scope_argument(parser, "pause")
    parser.add_argument("--reason", type=text, default="", metavar="TEXT", help="why, for whoever looks")


def _resume(parser: ArgumentParser) -> None:
    scope_argument(parser, "resume")


def _upgrade(parser: ArgumentParser) -> None:
    json_flag(parser, "one object")


VERBS = {
    "pause": Verb(
        "Start nothing more in a scope; what runs goes on to its end",
        "tidegate.cli.steer:pause",
        _pause,
        'tidegate pause claude-max --reason "I need it myself"',
        "The pause outlives a reset, a restart and a reboot: only `tidegate resume` of the same scope ends it.",
    ),
    "resume": Verb(
        "End a pause, or a wait for a person, of a scope; of an account also its wait for a reset",
        "tidegate.cli.steer:resume",
        _resume,
        "tidegate resume claude-max",
        "Without SCOPE it ends a pause of everything or of this host; pauses of single scopes stay, and are listed.\n"
        "After a usage limit one job goes first, then 2, 4 and so on; a new refusal shuts the account again.",
    ),
    "upgrade": Verb(
        "Let the supervisor become the version that is installed now; its agents run on",
        "tidegate.cli.upgrade:upgrade",
        _upgrade,
        "tidegate upgrade",
        "The new version reads the configuration first: where it refuses, the old one goes on. Exit codes: 0, or 5.",
    ),
}
