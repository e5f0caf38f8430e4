"""Which groups of a batch wait for which, as a person wrote it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from tidegate import allowed
from tidegate.batch.tables import TIES, Table, checked
from tidegate.errors import BadInput
from tidegate.model import NewGroup, When


def ties(groups: object, place: str, others: Collection[str] = ()) -> tuple[NewGroup, ...]:
    """The groups that wait for others, in their order; `others` are groups without a table. Raises BadInput."""
    if not isinstance(groups, Mapping):
        raise BadInput(f"{place}: groups: must be tables, [groups.NAME], {allowed.but(groups)}")
    found = [_tie(name, table, place) for name, table in groups.items() if isinstance(table, Mapping)]
    waiting = [one for one in found if one.needs]
    names = [*groups, *(one for one in others if one not in groups)]
    for one in waiting:
        for need in one.needs:
            if need not in names:
                meant = allowed.meant(need, names) or f"; groups are {', '.join(names[:10])}"
                raise BadInput(f"{place}: {_at(one.name)} needs: no group is {allowed.shown(need)}{meant}")
    _no_circle({one.name: one.needs for one in waiting}, place)
    return tuple(waiting)


def _tie(name: str, table: Table, place: str) -> NewGroup:
    at = f"{place}: {_at(name)}"
    said = checked(at, {key: table[key] for key in TIES if key in table}, TIES)
    if "when" in said and "needs" not in said:
        raise BadInput(f"{at} when: says how what it needs must end: say needs, too")
    return NewGroup(name=name, needs=said.get("needs", ()), when=When(said.get("when", When.ALL_SUCCEEDED)))


def _at(name: str) -> str:
    return f"[groups.{allowed.shown_key(name)}]"


def _no_circle(needs: Mapping[str, Sequence[str]], place: str) -> None:
    for name in needs:
        if circle := next(_circles(name, needs), None):
            raise BadInput(f"{place}: {_at(name)} needs: a circle: {' needs '.join(circle)}")


def _circles(first: str, needs: Mapping[str, Sequence[str]]) -> Iterator[list[str]]:
    """Each way from a group back to itself, the shortest first; no group is gone through twice."""
    ways, met = [[first]], {first}
    for way in ways:
        for need in needs.get(way[-1], ()):
            if need == first:
                yield [*way, need]
            elif need not in met:
                met.add(need)
                ways.append([*way, need])
