"""What becomes of the groups that wait for others, as the jobs of those end, are added, or are run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from tidegate import needs
from tidegate.model import Group, NewGroup, Stand, State
from tidegate.stores.rows import Rows


class Settled(Struct, frozen=True):
    """What one look at a batch's groups has changed: jobs that are skipped, with their names, and jobs brought back,
    with how many jobs each waits for.
    """

    skipped: Sequence[tuple[int, str]] = ()
    back: Sequence[tuple[int, int]] = ()


def declare(rows: Rows, batch: int, said: Sequence[NewGroup], *, fills: bool) -> None:
    """Write which groups of a batch wait for which; `fills`: their jobs come in several transactions."""
    known = {group.name: group for group in rows.groups(batch)}
    wanted = {group.name: group for group in said if group.needs}
    ids = {name: rows.tie(batch, name) for one in wanted.values() for name in (*one.needs, one.name)}
    made = {group.name: group for group in rows.groups(batch)} if ids.keys() - known.keys() else known
    for name, group in made.items():
        new = wanted.get(name, NewGroup(name=name))
        if set(group.needs) != set(new.needs):
            rows.put_group_needs(group.id, [ids[one] for one in new.needs])
        stand = group.stand if name in known or not new.needs else Stand.WAITING
        stand = Stand.FILLING if fills and stand is Stand.WAITING else stand
        if (stand, new.when) != (group.stand, group.when):
            rows.put_group(replace(group, when=new.when, stand=stand))


def filled(rows: Rows, batch: int) -> None:
    """All the jobs of a batch are here."""
    for group in rows.groups(batch):
        if group.stand is Stand.FILLING:
            rows.put_group(replace(group, stand=Stand.WAITING))


def settle(rows: Rows, batch: int, now: datetime, *, by: str) -> Settled | None:
    """Let the first group that stands otherwise than what it needs does follow; None where there is none.

    What is hopeless stays so, unless somebody (`by`) has changed what it needs. To be called until it gives None.
    """
    groups = {group.name: group for group in rows.groups(batch)}
    for group in groups.values():
        if group.stand is Stand.FILLING or (group.stand is Stand.HOPELESS and not by and not _queued(group)):
            continue
        stand = group.stand if group.stand is Stand.HOPELESS and not by else _stand(rows, group, groups)
        if stand is not group.stand or (stand is Stand.HOPELESS and _queued(group)):
            return _move(rows, group, stand, now, by)
    return None


def _queued(group: Group) -> int:
    return group.counts[State.QUEUED]


def _stand(rows: Rows, group: Group, groups: Mapping[str, Group]) -> Stand:
    needed = [groups[name].counts for name in group.needs]
    stand = needs.stand(group.when, needed, started=False)
    if group.stand is Stand.OPEN and stand is not Stand.OPEN:
        return needs.stand(group.when, needed, started=rows.has_begun(group.id))
    return stand


def _move(rows: Rows, group: Group, stand: Stand, now: datetime, by: str) -> Settled:
    if stand is not Stand.HOPELESS:
        rows.put_group(replace(group, stand=stand, reason=""))
        if stand is Stand.OPEN or group.stand is not Stand.WAITING:
            _tell(rows, group, "group opened" if stand is Stand.OPEN else "group waits", now)
        return Settled(back=_brought_back(rows, group, now, by))
    reason = group.reason or needs.why_hopeless(group, rows.first_bad(group.id))
    if group.stand is not Stand.HOPELESS:
        rows.put_group(replace(group, stand=stand, reason=reason))
        _tell(rows, group, "group skipped", now, reason)
    skipped = rows.leave_out(group.id, reason, now)
    told = {"state": State.SKIPPED.value, "reason": reason}
    rows.same_event(now, "job ended", [id for id, _ in skipped], told)
    return Settled(skipped=skipped)


def _brought_back(rows: Rows, group: Group, now: datetime, by: str) -> Sequence[tuple[int, int]]:
    """The jobs that were skipped because their group was hopeless, which it is no more."""
    back = rows.bring_back(group.id, group.reason) if group.reason else ()
    rows.same_event(now, "job retried", [id for id, _ in back], {"by": by, "group": group.name})
    return back


def _tell(rows: Rows, group: Group, name: str, now: datetime, reason: str = "") -> None:
    told = {"group": group.name, **({"reason": reason} if reason else {})}
    rows.event(now, name, scope=f"batch:{group.batch_name}", data=told)
