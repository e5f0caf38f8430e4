"""`${{ name }}` in the texts of a job: what waits for its values, and what becomes of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from tidegate import allowed
from tidegate.allowed import Check, Typed, Wrong
from tidegate.batch.tables import LISTS, Table, checked
from tidegate.errors import BadInput

OPENING = "${{"
PART = re.compile(r"\$\$\{\{|\$\{\{(.*?)(\}\}|$)", re.DOTALL)
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)

Values = Mapping[str, str]


class Template(Struct, frozen=True):
    """A value with a template in it, the check of what it becomes, and the table whose default it is ("": its own)."""

    raw: object
    check: Check[object]
    of: str = ""


def layer(place: str, table: object, checks: Mapping[str, Check[object]], *, of: str = "") -> dict[str, Any]:
    """The table's values as the checks give them; one that holds a template waits as a Template. Raises BadInput."""
    if not isinstance(table, Mapping):
        return checked(place, table, checks)
    waiting = {key for key, value in table.items() if key in checks and key not in LISTS and _has_template(value)}
    said = checked(place, {key: None if key in waiting else value for key, value in table.items()}, checks)
    made = {key: _layered(said[key], checks[key], of) for key in said}
    return {
        key: Template(table[key], checks[key], of) if key in waiting else made[key]
        for key in table
        if key in waiting or key in made
    }


def _layered(value: object, check: Check[object], of: str) -> object:
    if isinstance(value, dict):  # each value by itself: a job's own table may replace it
        return {name: Template(one, allowed.any_text, of) if _has_template(one) else one for name, one in value.items()}
    if isinstance(value, tuple) and value and isinstance(value[0], dict):
        return tuple(_layered(one, check, of) for one in value)
    return Template(value, check, of) if _holds(value) else value


def _holds(value: object) -> bool:
    return isinstance(value, tuple) and any(map(_has_template, value))


def _has_template(value: object) -> bool:
    if isinstance(value, Mapping):  # a stage, which waits as a whole
        return any(
            _has_template(one) or (isinstance(one, list) and any(map(_has_template, one))) for one in value.values()
        )
    return isinstance(value, str) and OPENING in value


def filled(said: Table, values: Values, place: str) -> dict[str, Any]:
    """The table with every template's text made of the values. Raises BadInput with the place and the key."""
    return {key: _filled(value, values, f"{place} {key}") for key, value in said.items()}


def _filled(value: object, values: Values, place: str) -> object:
    if isinstance(value, dict):
        return {key: _filled(one, values, f"{place}.{allowed.shown_key(key)}") for key, one in value.items()}
    if isinstance(value, tuple) and value and isinstance(value[0], dict):
        return tuple(_filled(one, values, f"{place}[{number}]") for number, one in enumerate(value))
    if not isinstance(value, Template):
        return value
    of = f" of {value.of}" if value.of else ""
    try:
        return value.check(_value(value.raw, values))
    except Wrong as wrong:
        raise BadInput(f"{place}{wrong.inside}{of}: {wrong}") from None


def _value(raw: object, values: Values) -> object:
    match raw:
        case str():
            return Scalar(text(raw, values))
        case tuple() | list():
            return [_inside(f"[{place}]", one, values) for place, one in enumerate(raw)]
        case Mapping():
            return {key: _inside(f".{allowed.shown_key(key)}", one, values, key) for key, one in raw.items()}
        case _:
            return raw


def _inside(place: str, one: object, values: Values, key: str = "") -> object:
    """A value within another; what is to be a list never comes out of a text."""
    try:
        value = _value(one, values)
    except Wrong as wrong:
        raise Wrong(str(wrong), place + wrong.inside) from None
    return str(value) if isinstance(value, Scalar) and (not key or key in LISTS) else value


class Scalar(Typed):
    """What a template became: where a number is wanted, its text is read as one; a list it is never."""

    __slots__ = ()


def text(template: str, values: Values) -> str:
    """The text of a template; `$${{` is `${{` itself. Raises Wrong for what is not defined."""
    return PART.sub(lambda part: _part(part, values), template)


def _part(part: re.Match[str], values: Values) -> str:
    if part[0] == "$" + OPENING:
        return OPENING
    if not part[2]:
        raise Wrong("${{ is not closed by }} (write $${{ for ${{ itself)")
    name = part[1].strip()
    if name in values:
        return values[name]
    if not NAME.fullmatch(name):
        raise Wrong(f"${{{{ {_shown(name)} }}}} must be one name (write $${{{{ for ${{{{ itself)")
    meant = allowed.meant(name, values) if values else "; nothing is defined here, write $${{ for ${{ itself"
    raise Wrong(f"${{{{ {_shown(name)} }}}} is not defined{meant or '; defined are ' + ', '.join(sorted(values))}")


def _shown(name: str) -> str:
    return name if name.isprintable() and len(name) <= allowed.SHOWN else allowed.shown(name)


def names_trial(value: object) -> bool:
    """Whether a template names the trial itself."""
    return isinstance(value, Template) and any(
        part[1] and part[1].strip() == "trial" for part in PART.finditer(str(value.raw))
    )
