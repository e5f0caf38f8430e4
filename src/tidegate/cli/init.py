"""The verb `init`: writes a first batch file, or the configuration, into the present directory."""

from __future__ import annotations

import os
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path

from tidegate.cli import repository
from tidegate.cli.arguments import TEMPLATES
from tidegate.cli.templates import KNOWN, Template
from tidegate.errors import BadInput
from tidegate.look import plain


def init(args: Namespace) -> int:
    """Write a template's files and say what to run next; 0. Raises BadInput where one of them is there already."""
    chosen = KNOWN[args.template]
    shipped = resources.files("tidegate.examples")
    texts = {file: shipped.joinpath(text).read_bytes() for file, text in chosen.files.items()}
    texts |= {file: text.encode() for file, text in chosen.texts.items()}
    if not args.force:
        _refuse(texts)
    for place in chosen.directories:
        Path(place).mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        _write(Path(file), text)
    for place in chosen.repositories:
        if not os.path.lexists(place):  # a person's own is left alone, whatever --force says
            repository.make(Path(place), {"README.md": f"# {Path(place).name}\n\nWhat it does, and how to run it.\n"})
    made = [*texts, *(f"{place}/" for place in (*chosen.directories, *chosen.repositories))]
    told = [plain.line(_form(args.template, chosen, made))] if args.json else _lines(args.template, chosen, made)
    for line in told:
        print(line)
    return 0


def _refuse(files: Mapping[str, bytes]) -> None:
    there = [file for file in files if os.path.lexists(file)]
    if there:
        raise BadInput(f"{there[0]} is there already: nothing was written (--force overwrites it)")


def _write(file: Path, text: bytes) -> None:
    """Write a file as a whole or not at all; a link in its place is replaced, not followed."""
    new = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        new.write_bytes(text)
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)


# --- in words ---


def _form(name: str, chosen: Template, made: list[str]) -> plain.Form:
    here = Path.cwd()
    return {
        "template": name,
        "wrote": [f"{here / one}" for one in made],
        "next": [command for command, _ in chosen.then],
    }


def _lines(name: str, chosen: Template, made: list[str]) -> Iterator[str]:
    yield f"wrote {_folded(made)}"
    yield f"next: edit {chosen.edit}, then"
    width = max(len(command) for command, _ in chosen.then)
    for command, purpose in chosen.then:
        yield f"  {command:<{width}}  {purpose}"
    others = ", ".join(f"`tidegate init {one}`" for one in TEMPLATES if one != name)
    yield f"also: {others}"


def _folded(made: Sequence[str]) -> str:
    """What was written; a directory below the present one stands for all that is in it."""
    tops = Counter(one.partition("/")[0] for one in made if "/" in one)
    alone = [one for one in made if "/" not in one]
    return ", ".join([*alone, *(f"{top}/ ({number})" for top, number in tops.items())])
