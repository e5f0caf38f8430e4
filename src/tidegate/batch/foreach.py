"""The values that a group's jobs are made with, row by row: of a file, or of what a program prints."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tidegate import allowed
from tidegate.allowed import Wrong
from tidegate.batch import reading
from tidegate.batch.matrix import RESERVED, Row, scalar
from tidegate.batch.shapes import Around
from tidegate.errors import BadInput

SOURCES = ("csv", "jsonl", "lines", "command")
NAMING = ("id", "name")  # the first of these that a row has names its job
SHORT = 80  # characters of a line that may name its job; a longer one is a prompt
CELL = 1024 * 1024  # characters of one value in a CSV file


def rows(said: object, place: str, around: Around) -> list[Row]:
    """The rows of { csv | jsonl | lines = "FILE" } or { command = [argv] }. Raises BadInput."""
    if not isinstance(said, Mapping) or len(said) != 1:
        raise BadInput(f'{place}: must say one of {", ".join(SOURCES)}, such as {{ csv = "FILE" }}')
    ((kind, value),) = said.items()
    if kind not in SOURCES:
        raise BadInput(f"{place} {allowed.shown_key(kind)}: {allowed.unknown(kind, SOURCES)}")
    place = f"{place} {kind}"
    try:
        if kind == "command":
            return _run(allowed.argv(value), place, around)
        path = allowed.path(value)
    except Wrong as wrong:
        raise BadInput(f"{place}{wrong.inside}: {wrong}") from None
    text = _text(path, place, around)
    return list({"csv": table, "jsonl": objects, "lines": lines}[kind](text, f"{place}: {_shown(path)}"))


def _run(argv: Sequence[str], place: str, around: Around) -> list[Row]:
    program = allowed.shown(argv[0])
    try:
        text = around.run(argv)
    except OSError as error:
        raise BadInput(f"{place}: {program}: {error.strerror or error}") from None
    except ValueError as error:
        raise BadInput(f"{place}: {program} {error}") from None
    return list(
        objects(text, f"{place}: {program}") if text.lstrip().startswith("{") else lines(text, f"{place}: {program}")
    )


def _text(written: str, place: str, around: Around) -> str:
    path = around.home / written[2:] if written.startswith("~/") else around.directory / Path(written)
    try:
        return around.read_text(path)
    except OSError as error:
        raise BadInput(f"{place}: cannot read {allowed.shown(written)}: {error.strerror or error}") from None
    except ValueError as error:
        raise BadInput(f"{place}: {allowed.shown(written)}: {error}") from None


def _shown(path: str) -> str:
    return path if path.isprintable() else allowed.shown(path)


def lines(text: str, place: str) -> Iterator[Row]:
    """A row with `line` for each line that is not blank."""
    for number, line in enumerate(text.splitlines(), 1):
        if said := line.strip():
            row = _row({"line": said}, place, number)
            yield Row(row.values, said if said.isprintable() and len(said) <= SHORT else "", row.at)


def objects(text: str, place: str) -> Iterator[Row]:
    """A row for each object; a table's values within one have a dot in their names, null is none."""
    for number, value in reading.objects(text, place):
        yield _row(dict(_flat(value, f"{place}: line {number}", "")), place, number)


def _flat(value: Mapping[str, object], place: str, within: str) -> Iterator[tuple[str, str]]:
    for key, one in value.items():
        name = f"{within}{key}"
        if isinstance(one, Mapping):
            yield from _flat(one, place, f"{name}.")
        elif isinstance(one, list):
            yield name, json.dumps(one)
        elif one is not None:
            yield name, scalar(one, f"{place} {allowed.shown_key(name)}")


def table(text: str, place: str) -> Iterator[Row]:
    """A row for each line below the first, which names the columns."""
    for number, cells in records(text, place):
        yield _row(cells, place, number)


def records(text: str, place: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Each line of a CSV text below the first, by the names in the first, with its number. Raises BadInput."""
    csv.field_size_limit(CELL)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    columns: list[str] = []
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if not columns:
                columns = _columns(cells, place)
                continue
            if len(cells) != len(columns):
                raise BadInput(f"{place}: line {reader.line_num}: has {len(cells)} values for {len(columns)} columns")
            yield reader.line_num, dict(zip(columns, cells, strict=True))
    except csv.Error as error:
        raise BadInput(f"{place}: line {reader.line_num}: not CSV: {error}") from None
    if not columns:
        raise BadInput(f"{place}: must begin with a line that names the columns")


def _columns(cells: list[str], place: str) -> list[str]:
    names = [cell.strip() for cell in cells]
    for at, name in enumerate(names):
        if not name or not name.isprintable():
            raise BadInput(f"{place}: column {at + 1} has no name in the first line")
        if name in names[:at]:
            raise BadInput(f"{place}: two columns are named {allowed.shown(name)}")
    return names


def _row(values: Mapping[str, str], place: str, number: int) -> Row:
    for name in RESERVED:
        if name in values:
            raise BadInput(f"{place}: line {number}: {name} has a meaning of its own: name it otherwise")
    checked = {name: scalar(one, f"{place}: line {number} {allowed.shown_key(name)}") for name, one in values.items()}
    label = next((checked[name] for name in NAMING if checked.get(name)), "")
    return Row(checked, label, f"line {number}")
