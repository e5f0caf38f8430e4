"""Makes a job of what a command line says, by the rules of batch files."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from tidegate import allowed, batch, places
from tidegate.agents import names
from tidegate.allowed import Typed, Wrong
from tidegate.batch import Around
from tidegate.errors import BadInput
from tidegate.model import Account, NewJob

if TYPE_CHECKING:
    from tidegate.settings import Settings

ONE_BY_ONE = (  # each with a flag of its name
    *("id", "account", "agent", "cwd", "priority", "timeout", "max_output", "memory", "pids", "cpu_weight"),
    "max_attempts",
)
FLAGS = {"id": "--name"}


def table(args: Namespace) -> dict[str, Any]:
    """What the flags, the words and standard input say of a job, checked flag by flag. Raises BadInput."""
    said = {key: _checked(key, getattr(args, key)) for key in ONE_BY_ONE if getattr(args, key, None) is not None}
    if args.env:
        said["env"] = _pairs("--env", args.env, "env", os.environ)
    if args.label:
        said["labels"] = _pairs("--label", args.label, "labels", {})
    if args.command is not None:
        said["command"] = _value("-- COMMAND", batch.JOB["command"], args.command)
    if (prompt := _prompt(args)) is not None:
        said["prompt"] = prompt
    return said


def around(args: Namespace, accounts: Mapping[str, batch.Declared] | None = None) -> Around:
    """What a command line is read against; the settings are read only where they describe agents."""
    recognise, has_limits, known = names.recognise, names.has_limits, names.NAMES
    if _is_said(args, "agents"):
        from tidegate import agents, settings  # noqa: PLC0415 - most command lines do without

        every = agents.known(settings.agents(_settings(args)))
        recognise, has_limits, known = every.recognise, every.has_limits, every.names
    return Around(
        place=args.verb,
        directory=Path.cwd(),
        home=places.home(os.environ),
        name=None,
        agents=known,
        recognise=recognise,
        has_limits=has_limits,
        read_text=Path.read_text,  # no flag names a file
        accounts=accounts or {},
    )


def account(job: NewJob, args: Namespace, against: Around) -> Account:
    """The account of a job as the configuration declares it, for a store that does not know it yet."""
    if _is_said(args, "accounts"):
        from tidegate import settings  # noqa: PLC0415 - as above

        against = replace(against, accounts=settings.accounts(_settings(args)))
    return batch.account_of(job, against)


# --- flags ---


def _checked(key: str, said: str) -> object:
    return _value(FLAGS.get(key, f"--{key.replace('_', '-')}"), batch.JOB[key], Typed(said))


def _value(flag: str, check: allowed.Check[object], said: object) -> object:
    try:
        return check(said)
    except Wrong as wrong:
        raise BadInput(f"{flag}{wrong.inside}: {wrong}") from None


def _pairs(flag: str, said: list[str], key: str, environ: Mapping[str, str]) -> object:
    """KEY=VALUE by key; a key alone takes its value from `environ`."""
    pairs = {}
    for one in said:
        name, equals, value = one.partition("=")
        if not equals and name not in environ:
            raise BadInput(f"{flag}: must be NAME=VALUE, {allowed.but(one)}")
        pairs[name] = value if equals else environ[name]
    return _value(flag, batch.JOB[key], pairs)


def _prompt(args: Namespace) -> str | None:
    """The prompt: the word, or all of standard input."""
    if args.prompt is not None and args.stdin:
        raise BadInput("say a PROMPT or --stdin, not both")
    if args.prompt is not None:
        return allowed.text(_value("PROMPT", allowed.text, args.prompt))
    if not args.stdin:
        return None
    raw = sys.stdin.buffer.read(allowed.TEXT_MOST + 1)
    try:
        return allowed.text(_value("stdin", allowed.text, raw.decode()))
    except UnicodeDecodeError as error:
        raise BadInput(f"stdin: line {raw.count(10, 0, error.start) + 1}: not UTF-8 text") from None


# --- the configuration ---


def _is_said(args: Namespace, what: str) -> bool:
    """Whether the configuration says anything of "agents" or "accounts"; one that cannot be read counts as if."""
    if any(one.startswith(f"TIDEGATE_{what.upper()}__") for one in os.environ):
        return True
    must = bool(args.config or os.environ.get("TIDEGATE_CONFIG"))
    return any(_says(path, what, must=must) for path in places.config_files(args.config, os.environ))


def _says(path: Path, what: str, *, must: bool) -> bool:
    """Whether a configuration file says anything of it; what is wrong with the file is for the settings to say."""
    try:
        text = path.read_text(encoding="utf-8")
        if what not in text:
            return False
        return what in batch.toml(text.removeprefix("\ufeff"), str(path))
    except (FileNotFoundError, NotADirectoryError):
        return must
    except (OSError, ValueError, BadInput):
        return True


def _settings(args: Namespace) -> Settings:
    from tidegate.cli.config import loaded  # noqa: PLC0415 - as above

    return loaded(args).settings
