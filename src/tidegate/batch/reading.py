"""Texts become tables: a TOML or YAML document, the objects of JSONL."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
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


# --- YAML ---


def yaml(text: str, place: str) -> dict[str, Any]:
    """A parsed YAML document, by its safe loader. Raises BadInput with the line and the column of a mistake."""
    try:
        library: Any = import_module("yaml")
    except ImportError:
        raise BadInput(f"{place}: YAML needs PyYAML: pip install 'tidegate[yaml]', or write TOML") from None
    try:
        document = _document(library, text)
    except library.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "somewhere"
        raise BadInput(f"{place}: {at}: not YAML: {_one_line(error.problem or error.context)}") from None
    except library.YAMLError as error:
        raise BadInput(f"{place}: not YAML: {_one_line(str(error))}") from None
    except RecursionError:
        raise BadInput(f"{place}: not read: nested too deeply") from None
    except (ValueError, OverflowError) as error:  # a date that is none, a number of thousands of digits
        raise BadInput(f"{place}: not YAML: {_one_line(str(error))}") from None
    if document is not None and not isinstance(document, dict):
        raise BadInput(f"{place}: must be tables, such as batch, defaults and job, {allowed.but(document)}")
    return document or {}


def _document(library: Any, text: str) -> object:  # noqa: ANN401 - PyYAML may be missing, and so are its types
    loader = getattr(library, "CSafeLoader", library.SafeLoader)(text)
    try:
        root = loader.get_single_node()
        _each_key_once(root, library)
        return None if root is None else loader.construct_document(root)
    finally:
        loader.dispose()


def _each_key_once(root: Any, library: Any) -> None:  # noqa: ANN401 - as above
    """Refuse equal keys, of which PyYAML would take the last, and those that are no text."""
    nodes, met = [root], set()
    while nodes:
        node = nodes.pop()
        if node is None or id(node) in met or isinstance(node, library.ScalarNode):
            continue
        met.add(id(node))
        if not isinstance(node, library.MappingNode):
            nodes += node.value
            continue
        seen: set[str] = set()
        for key, value in node.value:
            nodes.append(value)
            if said := _wrong_key(key, seen):
                raise library.MarkedYAMLError(problem=said, problem_mark=key.start_mark)
            seen.add(str(key.value))


def _wrong_key(key: Any, seen: set[str]) -> str:  # noqa: ANN401 - as above
    if key.tag.endswith(":merge"):
        return ""
    if not key.tag.endswith(":str"):
        return "a key must be text: quote it"
    return f"the key {allowed.shown_key(key.value)} is there twice" if key.value in seen else ""


def _one_line(said: str | None) -> str:
    text = " ".join((said or "no reason told").split())[:120]
    return text if text.isprintable() else allowed.shown(text)
