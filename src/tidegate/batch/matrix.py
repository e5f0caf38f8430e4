"""The values that a group's jobs are made with: every combination of the axes of a matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from math import prod
from pathlib import PurePath
from typing import Any

from msgspec import Struct

from tidegate import allowed
from tidegate.allowed import Wrong
from tidegate.batch.tables import JOBS_MOST
from tidegate.batch.templates import NAME
from tidegate.errors import BadInput

RESERVED = ("group", "trial")  # names that every template of a group may use
BESIDE = ("include", "exclude")  # keys of a matrix that are no axes

Find = Callable[[str], Sequence[str]]
Values = dict[str, str]


class Row(Struct, frozen=True):
    """Values by name, what a job with them is called where it says no id ("" for nothing), where they were read."""

    values: Mapping[str, str]
    label: str = ""
    at: str = ""

    @property
    def shown(self) -> str:
        """Where they were read, or the values themselves, in a few words."""
        return self.at or ", ".join(f"{key} {allowed.shown(one)}" for key, one in self._own()[:3])

    def _own(self) -> list[tuple[str, str]]:
        return [(key, one) for key, one in self.values.items() if "." not in key]


def rows(matrix: object, place: str, find: Find) -> list[Row]:
    """Every combination of the axes, the last one fastest; without those of `exclude`, then those of `include`."""
    if not isinstance(matrix, Mapping):
        raise BadInput(f"{place}: must be a table of axes, {allowed.but(matrix)}")
    axes = {
        name: _axis(name, one, f"{place}.{allowed.shown_key(name)}", find)
        for name, one in matrix.items()
        if name not in BESIDE
    }
    if not axes and not matrix.get("include"):
        raise BadInput(f"{place}: has no axes: say NAME = [values]")
    if (number := prod(map(len, axes.values()))) > JOBS_MOST:
        raise BadInput(f"{place}: must be at most {JOBS_MOST:,} combinations, not {number:,}")
    without = list(_listed(matrix, "exclude", place, axes))
    made = [_row(one) for one in product(*axes.values())] if axes else []
    kept = [row for row in made if not any(one.items() <= row.values.items() for one in without)]
    return kept + [
        _included(one, axes, f"{place}.include[{at}]") for at, one in enumerate(_listed(matrix, "include", place, None))
    ]


def _row(values: Sequence[Values]) -> Row:
    return Row({key: one for each in values for key, one in each.items()}, "-".join(_label(each) for each in values))


def _label(values: Values) -> str:
    """What names one value: the last part of a path that was found, else the value itself."""
    first, *more = values.values()
    return more[0] if more else first


def _axis(name: str, said: object, place: str, find: Find) -> list[Values]:
    _name(name, place)
    if isinstance(said, Mapping):
        return [
            {name: one, f"{name}.name": PurePath(one).name, f"{name}.stem": PurePath(one).stem}
            for one in _found(said, place, find)
        ]
    if not isinstance(said, list):
        raise BadInput(f'{place}: must be a list of values or {{ glob = "pattern" }}, {allowed.but(said)}')
    if not said:
        raise BadInput(f"{place}: must not be empty")
    values = [scalar(one, f"{place}[{at}]") for at, one in enumerate(said)]
    if (
        twice := next((one for at, one in enumerate(values) if one in values[:at]), None)
        if len(values) < 1000
        else None
    ):
        raise BadInput(f"{place}: has {allowed.shown(twice)} twice")
    return [{name: one} for one in values]


def _found(said: Mapping[str, Any], place: str, find: Find) -> Sequence[str]:
    if set(said) != {"glob"}:
        raise BadInput(f'{place}: must be a list of values or {{ glob = "pattern" }}, not a table of other keys')
    try:
        pattern = _pattern(said["glob"])
    except Wrong as wrong:
        raise BadInput(f"{place}.glob: {wrong}") from None
    if not (found := find(pattern)):
        raise BadInput(f"{place}.glob: finds nothing: {allowed.shown(pattern)}")
    return found


def _pattern(value: object) -> str:
    pattern = allowed.path(value)
    if pattern.startswith(("/", "~")) or ".." in pattern.split("/"):
        raise Wrong(f"must be a pattern of paths below the batch's directory, {allowed.but(value)}")
    return pattern


def _name(name: str, place: str) -> None:
    if name in RESERVED or not NAME.fullmatch(name) or "." in name:
        raise BadInput(
            f"{place}: an axis is named with letters, digits, _ and - (no digit first), not {' or '.join(RESERVED)}"
        )


def scalar(value: object, place: str) -> str:
    """A text, a number, true or false as templates have it. Raises BadInput."""
    try:
        return allowed.any_text(value if isinstance(value, str) else _plain(value))
    except Wrong as wrong:
        raise BadInput(f"{place}: {wrong}") from None


def _plain(value: object) -> str:
    if isinstance(value, bool | int | float):
        return allowed.shown(value)
    raise Wrong(f"must be text, a number, true or false, {allowed.but(value)}")


def _listed(matrix: Mapping[str, Any], key: str, place: str, axes: Mapping[str, object] | None) -> Iterator[Values]:
    said = matrix.get(key, [])
    if not isinstance(said, list) or not all(isinstance(one, Mapping) and one for one in said):
        raise BadInput(f'{place}.{key}: must be a list of tables, such as [{{ NAME = "value" }}]')
    for at, one in enumerate(said):
        here = f"{place}.{key}[{at}]"
        for name in one:
            _name(name, f"{here}.{allowed.shown_key(name)}")
            if axes is not None and name not in axes:
                raise BadInput(f"{here}: {allowed.shown_key(name)} is no axis; axes are {', '.join(axes) or 'none'}")
        yield {name: scalar(value, f"{here}.{name}") for name, value in one.items()}


def _included(values: Values, axes: Mapping[str, object], place: str) -> Row:
    if missing := [name for name in axes if name not in values]:
        raise BadInput(f"{place}: must say each axis: {missing[0]} is missing")
    return Row(values, "-".join(values[name] for name in axes or values))
