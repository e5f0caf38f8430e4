"""The verbs with their arguments, as argparse reads them; only the verb that is asked for is built."""

from __future__ import annotations

import os
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

from tidegate import __version__

STATES = ("queued", "running", "succeeded", "failed", "error", "cancelled", "skipped")
SAID = 300  # characters of a usage error that are shown


class Verb(NamedTuple):
    """One verb: what it does in a line, the door "module:function" behind it, its arguments, an example, more words."""

    does: str
    door: str
    takes: Callable[[ArgumentParser], None]
    example: str
    more: str = ""


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


def parse(argv: Sequence[str]) -> Namespace:
    """A command line as the values that its door works with: `door` and `state_dir` besides the verb's own."""
    first = _root().parse_args(argv)
    if first.verb is None:
        _root().print_help()
        raise SystemExit(0)
    if first.verb not in VERBS:
        _root().error(f"no verb {first.verb!r}{_meant(first.verb)}")
    verb = VERBS[first.verb]
    given = Namespace(door=verb.door, state_dir=first.state_dir)
    return _parser_of(first.verb, verb).parse_args(first.rest, given)


def _root() -> Parser:
    from argparse import REMAINDER  # noqa: PLC0415 - needed here alone

    listed = "\n".join(f"  {name:<9} {verb.does}" for name, verb in VERBS.items())
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


def _parser_of(name: str, verb: Verb) -> Parser:
    parser = Parser(
        prog=f"tidegate {name}",
        description=f"{verb.does}.\n{verb.more}".rstrip(),
        epilog=f"example: {verb.example}",
        formatter_class=Help,
        allow_abbrev=False,
    )
    verb.takes(parser)
    _state_dir(parser, default=SUPPRESS)
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


# --- the arguments of each verb ---


def whole(said: str) -> int:
    """A whole number, 1 or more. Raises ArgumentTypeError."""
    if said.isascii() and said.isdigit() and 0 < len(said) < 7 and int(said) > 0:
        return int(said)
    raise ArgumentTypeError(f"{said!r} is no whole number from 1 to 999999")


def text(said: str) -> str:
    """Text that the store can be asked for, at most 1,000 characters. Raises ArgumentTypeError."""
    if len(said) > 1000:
        raise ArgumentTypeError(f"{len(said)} characters are too many (at most 1000)")
    try:
        said.encode()
    except UnicodeEncodeError:
        raise ArgumentTypeError(f"{said!r} is not UTF-8") from None
    return said


def _json(parser: ArgumentParser, what: str) -> None:
    parser.add_argument("--json", action="store_true", help=what)


def _config(parser: ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="read this configuration instead of the usual places")


def _log_format(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--log-format", choices=("console", "json"), help="how events are logged (default: console on a terminal)"
    )


def _run(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a batch as TOML or JSONL; - reads JSONL from standard input")
    _config(parser)
    parser.add_argument("--slots", type=whole, metavar="N", help="how many agents run at once on this host")
    parser.add_argument("--update", action="store_true", help="queued jobs take a definition that has changed")
    parser.add_argument(
        "--on-limit", choices=("wait", "exit"), help="wait for the reset, or leave with exit code 75 (default: wait)"
    )
    _log_format(parser)


def _demo(parser: ArgumentParser) -> None:
    _log_format(parser)


def _plan(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a batch as TOML or JSONL; - reads JSONL from standard input")
    _config(parser)


def _status(parser: ArgumentParser) -> None:
    _json(parser, "one object; times in UTC")


def _list(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--state", action="append", default=[], choices=STATES, metavar="STATE", help=f"one of {', '.join(STATES)}"
    )
    parser.add_argument("--batch", type=text, metavar="BATCH", help="only jobs of this batch")
    parser.add_argument("--account", type=text, metavar="ACCOUNT", help="only jobs of this account")
    _json(parser, "one object for each job, one a line; times in UTC")


def _job(parser: ArgumentParser) -> None:
    parser.add_argument("job", type=text, metavar="JOB", help="a job's id, BATCH:ID, or its number '#N'")


def _show(parser: ArgumentParser) -> None:
    _job(parser)
    _json(parser, "one object; times in UTC")


def _logs(parser: ArgumentParser) -> None:
    _job(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on across attempts until the job has ended")
    parser.add_argument("--attempt", type=whole, metavar="N", help="this attempt instead of the last")
    parser.add_argument("--stderr", action="store_true", help="what went to standard error")
    _json(parser, "one object for each line")


def _events(parser: ArgumentParser) -> None:
    parser.add_argument("--job", type=text, metavar="JOB", help="only what happened to this job")
    parser.add_argument("--batch", type=text, metavar="BATCH", help="only what happened to jobs of this batch")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until interrupted")
    _json(parser, "one object for each event, one a line; times in UTC")


def _scope(parser: ArgumentParser, what: str) -> None:
    parser.add_argument(
        "scope",
        type=text,
        nargs="?",
        default="*",
        metavar="SCOPE",
        help=f"what to {what}: an account, ACCOUNT/MODEL, batch:NAME, job:ID, host:NAME, or everything (the default)",
    )
    _json(parser, "one object")


def _pause(parser: ArgumentParser) -> None:
    _scope(parser, "pause")
    parser.add_argument("--reason", type=text, default="", metavar="TEXT", help="why, for whoever looks")


def _resume(parser: ArgumentParser) -> None:
    _scope(parser, "resume")


def _explain(parser: ArgumentParser) -> None:
    parser.add_argument("--agent", metavar="AGENT", default="claude", help="whose output it is (default: claude)")
    parser.add_argument(
        "--stream", choices=("stdout", "stderr"), default="stdout", help="which stream (default: stdout)"
    )
    parser.add_argument("--exit", metavar="N", default="1", help="the exit code of the agent (default: 1)")
    parser.add_argument("--now", metavar="TIME", help="when it was printed, as 2026-01-09T18:30:00Z (default: now)")
    parser.add_argument("--tz", metavar="ZONE", help="the zone of clock times that name none (default: this machine's)")
    _json(parser, "one object")
    parser.add_argument("--jsonl", action="store_true", help="input is lines of {text, agent, stream, exit, now, tz}")
    _config(parser)


def _check(parser: ArgumentParser) -> None:
    parser.add_argument(
        "account", nargs="?", metavar="ACCOUNT", help="this account alone (default: all configured ones)"
    )
    _config(parser)
    _json(parser, "one object for each account, one a line")


def _configuration(parser: ArgumentParser) -> None:
    _config(parser)
    _json(parser, "one object")


VERBS = {
    "run": Verb(
        "Supervise a batch of agents in the foreground to its end",
        "tidegate.run:run_file",
        _run,
        "tidegate run night.toml --slots 4",
        "The same file again goes on where it was: ended jobs stay ended, new ones are added.\n"
        "Exit codes: 0 all succeeded, 1 some failed, 2 bad file or usage, 5 errors of the infrastructure remain,\n"
        "6 needs a person, 75 incomplete because of a limit, 130 or 143 interrupted: run it again to go on.",
    ),
    "demo": Verb(
        "Show a batch of 12 jobs that meets a usage limit and gets through it, in under a minute",
        "tidegate.demo:run_demo",
        _demo,
        "tidegate demo",
    ),
    "plan": Verb(
        "Print the jobs that a batch file means, one JSON object a line, and run nothing",
        "tidegate.cli.plan:plan",
        _plan,
        "tidegate plan night.toml | head -3",
    ),
    "status": Verb(
        "Tell on one screen what works, what waits and why, and what needs a person",
        "tidegate.look.status:status",
        _status,
        "tidegate status",
    ),
    "list": Verb(
        "List jobs with where they stand and why",
        "tidegate.look.jobs:listing",
        _list,
        "tidegate list --state queued --account claude-max",
    ),
    "show": Verb(
        "Show one job: its definition, why it is not running, and its attempts",
        "tidegate.look.job:show",
        _show,
        "tidegate show nightly:train/3",
    ),
    "logs": Verb(
        "Print what a job's agent printed, byte for byte",
        "tidegate.look.output:logs",
        _logs,
        "tidegate logs -f train/3",
        "Without --attempt it is the last attempt.",
    ),
    "events": Verb(
        "Print what happened, in order",
        "tidegate.look.events:events",
        _events,
        "tidegate events --job train/3",
    ),
    "check": Verb(
        "Ask each configured account whether its provider answers; one small model request each",
        "tidegate.check:check",
        _check,
        "tidegate check claude-max",
        "Answers: open, limited, busy, needs a person, or unknown. Exit codes: 0 all open, 6, 75, 5 as for run.",
    ),
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
    "explain": Verb(
        "Tell what tidegate concludes from an agent's output on standard input",
        "tidegate.cli.explain:explain",
        _explain,
        "claude -p hello | tidegate explain --agent claude --exit 1",
    ),
    "config": Verb(
        "Print each setting, its value and where that came from",
        "tidegate.cli.config:config",
        _configuration,
        "tidegate config --config ./config.toml",
    ),
}
