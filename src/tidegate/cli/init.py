"""The verb `init`: writes a first batch file, or the configuration, into the present directory."""

from __future__ import annotations

import os
import tomllib
from argparse import Namespace
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from tidegate.cli.arguments import TEMPLATES
from tidegate.errors import BadInput
from tidegate.look import plain


class Template(NamedTuple):
    """The files of one template, the first one being it, and what to do with it: commands and what each is for."""

    files: tuple[str, ...]
    then: tuple[tuple[str, str], ...]


def _batch(name: str, *beside: str) -> Template:
    file = f"{name}.toml"
    plan = (f"tidegate plan {file}", "what it means, job by job; runs nothing")
    return Template((file, *beside), (plan, (f"tidegate run {file}", "runs it to its end")))


CONFIG = Template(
    ("config.toml",),
    (
        ("tidegate config --config config.toml", "each setting that is then in force"),
        ("install -D -m 600 config.toml ~/.config/tidegate/config.toml", "then every command reads it"),
    ),
)
KNOWN = {"night": _batch("night"), "compare": _batch("compare", "task.md"), "config": CONFIG}


def init(args: Namespace) -> int:
    """Write a template's files and say what to run next; 0. Raises BadInput where one of them is there already."""
    chosen = KNOWN[args.template]
    texts = {file: resources.files("tidegate.examples").joinpath(file).read_bytes() for file in chosen.files}
    if not args.force:
        _refuse(texts)
    places = [*_directories(texts[chosen.files[0]].decode())]
    for place in places:
        Path(place).mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        _write(Path(file), text)
    made = [*texts, *(f"{place}/" for place in places)]
    told = [plain.line(_form(args.template, chosen, made))] if args.json else _lines(args.template, chosen, made)
    for line in told:
        print(line)
    return 0


def _refuse(files: Mapping[str, bytes]) -> None:
    there = [file for file in files if os.path.lexists(file)]
    if there:
        raise BadInput(f"{there[0]} is there already: nothing was written (--force overwrites it)")


def _directories(text: str) -> Iterator[str]:
    """The directories below the present one in which a template's jobs work."""
    for job in tomllib.loads(text).get("job", ()):
        if not job.get("cwd", "~").startswith(("~", "/")):
            yield job["cwd"]


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
    yield f"wrote {', '.join(made)}"
    yield f"next: edit {chosen.files[0]}, then"
    width = max(len(command) for command, _ in chosen.then)
    for command, purpose in chosen.then:
        yield f"  {command:<{width}}  {purpose}"
    others = ", ".join(f"`tidegate init {one}`" for one in TEMPLATES if one != name)
    yield f"also: {others}"
