"""The groups of a batch become jobs: from a list of their own, or from one template and its values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tidegate import allowed
from tidegate.allowed import Wrong
from tidegate.batch import foreach, matrix
from tidegate.batch.jobs import merged
from tidegate.batch.matrix import Row
from tidegate.batch.shapes import Around, Written
from tidegate.batch.tables import (
    DEFAULTS,
    EXPAND,
    JOBS_MOST,
    OF_GROUP,
    SHAPES,
    TIES,
    Table,
    checked,
    known,
    one_of_each,
)
from tidegate.batch.templates import filled, layer
from tidegate.errors import BadInput

OWN = ("cwd", "env", "labels", "priority", "max_attempts")  # what a group says of the job that prints more jobs, too
TRIALS = allowed.whole(1, 10_000)


def written(groups: object, defaults: Table, around: Around) -> Iterator[Written]:
    """The jobs of every group, in their order. Raises BadInput."""
    if not isinstance(groups, Mapping):
        raise BadInput(f"{around.place}: groups: must be tables, [groups.NAME], {allowed.but(groups)}")
    for name, table in groups.items():
        at = f"[groups.{allowed.shown_key(name)}]"
        try:
            allowed.word(name)
        except Wrong as wrong:
            raise BadInput(f"{around.place}: {at}: its name {wrong}") from None
        yield from _group(name, table, at, defaults, around)


def _group(name: str, table: object, at: str, defaults: Table, around: Around) -> Iterator[Written]:
    place = f"{around.place}: {at}"
    if not isinstance(table, Mapping):
        raise BadInput(f"{place}: must be a table, {allowed.but(table)}")
    known(place, table, (*OF_GROUP, *SHAPES, *TIES, *EXPAND))
    trials = _trials(table.get("trials", 1), place)
    if "expand" in table:
        yield _expanding(name, table, at, defaults, around)
        if "job" not in table:
            return
    if "job" in table:
        yield from _listed(name, table, trials, defaults, around)
        return
    said = layer(place, _own(table), OF_GROUP)
    rows = _rows(table, place, around)
    _few(len(rows) * trials, place)
    for row in rows:
        where = f"{at} ({row.shown})" if row.values else at
        label = row.label if row.values else name
        for trial in range(1, trials + 1):
            yield Written(said, where, defaults, name, _values(name, trial, row), label, trial)


def _expanding(name: str, table: Table, at: str, defaults: Table, around: Around) -> Written:
    """The job that prints more jobs of its group: what the group says are the defaults of these."""
    place = f"{around.place}: {at}"
    for key in ("matrix", "foreach", "trials", "id"):
        if key in table:
            raise BadInput(f"{place}: must say {key} or expand, not both")
    argv = checked(place, {"expand": table["expand"]}, EXPAND)["expand"]
    group = layer(place, _own(table), DEFAULTS, of=at)
    one_of_each(place, group)
    said = filled(merged(defaults, group), _values(name, 1, Row({})), place)
    printed = {key: one for key, one in said.items() if key != "env"}  # which may hold secrets: it is the job's own
    own = {"id": "expand", "command": argv, "expand": printed, **{key: said[key] for key in OWN if key in said}}
    if isinstance(own.get("cwd"), dict):  # directories that are made are for what it prints
        del own["cwd"]
    return Written(own, at, group=name, values={})


def _own(table: Table) -> Table:
    return {key: value for key, value in table.items() if key in OF_GROUP}


def _rows(table: Table, place: str, around: Around) -> Sequence[Row]:
    """The rows of `foreach`, each with every combination of the matrix."""
    each = foreach.rows(table["foreach"], f"{place} foreach", around) if "foreach" in table else [Row({})]
    if "matrix" not in table:
        return each
    axes = matrix.rows(table["matrix"], f"{place} matrix", around.find)
    _few(len(each) * len(axes), place)
    return [_both(one, axis, place) for one in each for axis in axes] if "foreach" in table else axes


def _both(row: Row, axis: Row, place: str) -> Row:
    if twice := sorted(row.values.keys() & axis.values.keys()):
        raise BadInput(f"{place}: {allowed.shown_key(twice[0])} is an axis of matrix and a name in foreach: rename one")
    label = f"{row.label}-{axis.label}" if row.label else ""
    return Row({**row.values, **axis.values}, label, f"{row.at}, {axis.shown}")


def _listed(name: str, table: Table, trials: int, defaults: Table, around: Around) -> Iterator[Written]:
    """The jobs of [[groups.NAME.job]], over what the group says."""
    at = f"[groups.{name}]"
    place = f"{around.place}: {at}"
    for key in ("matrix", "foreach", "id"):
        if key in table:
            raise BadInput(f"{place}: must say {key} or job, not both")
    jobs = tables(table["job"], f"groups.{name}.job", around.place)
    _few(len(jobs) * trials, place)
    group = layer(place, _own(table), DEFAULTS, of=at)
    one_of_each(place, group)
    over = merged(defaults, group)
    for number, job in enumerate(jobs, 1):
        here = f"[[groups.{name}.job]] {number}"
        said = layer(f"{around.place}: {Written(job, here).where}", job, OF_GROUP)
        for trial in range(1, trials + 1):
            yield Written(said, here, over, name, _values(name, trial, Row({})), "", trial)


def tables(jobs: object, key: str, place: str) -> list[Mapping[str, Any]]:
    """The tables of an array of them. Raises BadInput."""
    if isinstance(jobs, Mapping):
        raise BadInput(f"{place}: [{key}]: write [[{key}]], with two brackets on each side")
    if not isinstance(jobs, list) or not all(isinstance(one, Mapping) for one in jobs):
        raise BadInput(f"{place}: {key}: must be tables, [[{key}]], {allowed.but(jobs)}")
    return jobs


def _values(group: str, trial: int, row: Row) -> Mapping[str, str]:
    return {**row.values, "group": group, "trial": str(trial)}


def _trials(said: object, place: str) -> int:
    try:
        return TRIALS(said)
    except Wrong as wrong:
        raise BadInput(f"{place} trials: {wrong}") from None


def _few(number: int, place: str) -> None:
    if number > JOBS_MOST:
        raise BadInput(f"{place}: must be at most {JOBS_MOST:,} jobs, not {number:,}")
