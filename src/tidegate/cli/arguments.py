"""What the arguments of several verbs have in common, and what their values may be."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from typing import NamedTuple, TypeVar

T = TypeVar("T")

FORMS = ("toml", "yaml", "jsonl", "csv", "lines")  # of batch files, as `files` reads them
SHELLS = ("bash", "zsh", "fish")
TEMPLATES = ("night", "overnight", "compare", "scylla", "config")  # what `init` can write; the first is its default

KINDS = (  # what a person can be told of, as `on` of [notify] says it
    *("needs_human", "hold", "opened", "finished", "budget"),
    *("succeeded", "failed", "error", "cancelled", "skipped"),
)


class Verb(NamedTuple):
    """One verb: what it does in a line, the door "module:function" behind it, its arguments, an example, more words.

    `command`: it takes a whole command behind "--".
    """

    does: str
    door: str
    takes: Callable[[ArgumentParser], None]
    example: str
    more: str = ""
    command: bool = False


def json_flag(parser: ArgumentParser, what: str) -> None:
    """Add --json."""
    parser.add_argument("--json", action="store_true", help=what)


def config_flag(parser: ArgumentParser) -> None:
    """Add --config."""
    parser.add_argument("--config", metavar="FILE", help="read this configuration instead of the usual places")


def log_format_flag(parser: ArgumentParser) -> None:
    """Add --log-format."""
    parser.add_argument(
        "--log-format", choices=("console", "json"), help="how events are logged (default: console on a terminal)"
    )


def job_argument(parser: ArgumentParser) -> None:
    """Add the one job that a verb is about."""
    parser.add_argument("job", type=text, metavar="JOB", help="a job's number, its name, or BATCH:NAME")


def jobs_argument(parser: ArgumentParser, *, nargs: str = "+", more: str = "") -> None:
    """Add the jobs that a verb is about."""
    parser.add_argument(
        "jobs",
        type=text,
        nargs=nargs,
        metavar="JOB",
        help=f"numbers (17), ranges (17-20), names, BATCH:NAME, or patterns in quotes ('train/*'){more}",
    )


def scope_argument(parser: ArgumentParser, what: str) -> None:
    """Add what a hold is to bind, or bound, and --json."""
    parser.add_argument(
        "scope",
        type=text,
        nargs="?",
        default="*",
        metavar="SCOPE",
        help=f"what to {what}: an account, ACCOUNT/MODEL, batch:NAME, job:ID, host:NAME, or everything (the default)",
    )
    json_flag(parser, "one object")


def batch_arguments(parser: ArgumentParser) -> None:
    """Add the batch file, how it is to be read, and what part of it is meant."""
    parser.add_argument("file", metavar="FILE", help="a batch; - is standard input")
    parser.add_argument(
        "--format",
        choices=FORMS,
        help="what the file is (default: as its name ends; else JSONL where it begins with {, or TOML)",
    )
    parser.add_argument(
        "--default",
        action="append",
        default=[],
        type=text,
        metavar="KEY=VALUE",
        help="what each job of a CSV table or of lines is that does not say it itself, as agent=claude",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        type=text,
        metavar="GROUP",
        help="only the jobs of this group, or whose ids fit a pattern in quotes ('T5/*'); may be said several times",
    )


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


def age(said: str) -> float:
    """A length of time as `allowed.seconds` reads it. Raises ArgumentTypeError."""
    from tidegate import allowed  # noqa: PLC0415 - most verbs take none

    return _allowed(allowed.seconds(zero=True), said)


def size(said: str) -> int:
    """A number of bytes as `allowed.size` reads it. Raises ArgumentTypeError."""
    from tidegate import allowed  # noqa: PLC0415

    return _allowed(allowed.size, said)


def _allowed(check: Callable[[object], T], said: str) -> T:
    from tidegate.allowed import Typed, Wrong  # noqa: PLC0415

    try:
        return check(Typed(said))
    except Wrong as wrong:
        raise ArgumentTypeError(str(wrong)) from None
