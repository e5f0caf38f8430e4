"""Texts become tables: a TOML document, the objects of JSONL."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from tidegate import allowed
from tidegate.allowed import Wrong
from tidegate.errors import BadInput


def toml(text: str, place: str) -> dict[str, Any]:
    """A parsed TOML document. Raises BadInput with the line and the column of a mistake."""
    import tomllib  # noqa: PLC0415 - most jobs come without a document

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said, line, column = _toml_mistake(str(error), text)
        raise BadInput(f"{place}: line {line}, column {column}: not TOML: {said}") from None
    except RecursionError:
        raise BadInput(f"{place}: not read: nested too deeply") from None
    except ValueError:  # int() refuses more than 4300
        raise BadInput(f"{place}: not TOML: a number of thousands of digits") from None


def _toml_mistake(said: str, text: str) -> tuple[str, int, int]:
    """What is wrong, and the line and column, which a mistake at the very end is told without."""
    if found := re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", said, re.DOTALL):
        return found[1], int(found[2]), int(found[3])
    lines = text.rstrip("\n").split("\n")
    return said.removesuffix(" (at end of document)"), len(lines), len(lines[-1]) + 1


def objects(text: str, place: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects in lines of JSON, with their line numbers. Raises BadInput."""
    for number, line in enumerate(text.split("\n"), 1):  # splitlines would split at U+2028 within a text
        if line.strip():
            yield number, _object(line, f"{place}: line {number}")


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line, object_pairs_hook=_without_twins, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise BadInput(f"{where}, column {error.colno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise BadInput(f"{where}: not read: nested too deeply") from None
    except Wrong as wrong:
        raise BadInput(f"{where}: not JSON: {wrong}") from None
    except ValueError:  # int() refuses more than 4300
        raise BadInput(f"{where}: not JSON: a number of thousands of digits") from None
    if not isinstance(value, dict):
        raise BadInput(f"{where}: must be an object, one for each line, {allowed.but(value)}")
    return value


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise Wrong(f"the key {allowed.shown_key(key)} is there twice")
        table[key] = value
    return table


def _no_number(said: str) -> NoReturn:
    raise Wrong(f"{said} is no number")
