"""What each verb takes, as its parser says, and what is there to complete it with."""

from __future__ import annotations

import re
from argparse import SUPPRESS, Action, Namespace
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from tidegate.cli.parser import parser_of
from tidegate.cli.verbs import VERBS
from tidegate.look import find, plain
from tidegate.look.desk import Desk, opened

# What a placeholder in the help stands for; "files" and "directories" are the shell's to know, the rest is `values`.
KINDS = {
    "FILE": "files",
    "DIR": "directories",
    "JOB": "jobs",
    "BATCH": "batches",
    "ACCOUNT": "accounts",
    "AGENT": "agents",
    "SCOPE": "scopes",
}
MOST = 500  # the newest jobs that are offered
SIMPLE = re.compile(r"[A-Za-z0-9_/][A-Za-z0-9_./@%+,-]*", re.ASCII)  # what no shell takes for something else


class Taken(NamedTuple):
    """One flag, or one positional argument (no flags): its value's placeholder ("" for none), kinds and choices."""

    flags: tuple[str, ...]
    does: str
    value: str
    kinds: tuple[str, ...]
    choices: tuple[str, ...]


class Taker(NamedTuple):
    """One verb and what it takes."""

    name: str
    does: str
    options: tuple[Taken, ...]
    arguments: tuple[Taken, ...]


def table() -> list[Taker]:
    """Every verb."""
    return [_taker(name) for name in VERBS]


def _taker(name: str) -> Taker:
    actions = parser_of(name, VERBS[name])._actions  # noqa: SLF001 - argparse has no other list of them
    taken = [_taken(one) for one in actions if one.help != SUPPRESS]
    options = tuple(one for one in taken if one.flags)
    return Taker(name, VERBS[name].does, options, tuple(one for one in taken if not one.flags))


def _taken(action: Action) -> Taken:
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    value = metavar if action.nargs != 0 else ""
    kinds = tuple(kind for name, kind in KINDS.items() if name in re.split(r"\W+", value))
    choices = tuple(str(one) for one in action.choices or ())
    return Taken(tuple(action.option_strings), action.help or "", value, kinds, choices)


def form(one: Taker) -> plain.Form:
    """A verb and what it takes, as JSON says it."""
    return {
        "verb": one.name,
        "does": one.does,
        "options": [option._asdict() for option in one.options],
        "arguments": [argument._asdict() for argument in one.arguments],
    }


# --- what is there -----------------------------------------------------------------------------


def values(kind: str, args: Namespace) -> Iterable[str]:
    """The words of a kind, as far as they need no quotes."""
    with opened(args) as desk:
        found = {one: None for one in _values(kind, desk) if SIMPLE.fullmatch(one.removeprefix("batch:"))}
    return list(found)


def _values(kind: str, desk: Desk | None) -> Iterator[str]:
    if kind == "agents":
        from tidegate import agents  # noqa: PLC0415 - the others do without

        yield from agents.known().names
    if desk is None:
        return
    match kind:
        case "jobs":
            yield from (job.name for job in desk.store.jobs(most=MOST))
        case "batches":
            yield from (batch.name for batch in desk.store.batches())
        case "accounts":
            yield from find.accounts(desk.store)
        case "scopes":
            yield from find.accounts(desk.store)
            yield from (f"batch:{batch.name}" for batch in desk.store.batches())
        case _:
            pass
