"""When batches will be done, by what is known of their jobs, their accounts and the slots."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Final

from msgspec import Struct

from tidegate import policy
from tidegate.ahead import HORIZON, Course, End, Flow, Load, Quota
from tidegate.hours import Hours
from tidegate.lengths import Length, learn
from tidegate.model import Account, Batch, Group, Hold, Origin, Stand
from tidegate.prospect import Forecast, Lap, Pile, Week

DRAWS: Final = 80
SEED: Final = 1  # the same chance at each look: only facts move an end
HOPED: Final = 0.6  # the spread of what people expect
SHORT: Final = 5.0  # seconds: of shorter jobs more than their own length counts
SLOWEST: Final = 20.0  # times the length of a job, for what is around it
AHEAD: Final = timedelta(days=14)  # for which hours are looked up
MOVED: Final = 0.1  # of what is left: by less an end has not moved
OLD: Final = timedelta(hours=1)
LOOKS, LOOK_LEAST, LOOK_MOST = 30, 30.0, 600.0  # looks on the way to an end, and the seconds between two
UNKNOWN: Final = "no job has ended yet"
ENDLESS: Final = f"not within {HORIZON / 86400:.0f} days"

Kind = tuple[int, str, str]  # batch, account, group


class Scene(Struct, frozen=True, kw_only=True):
    """What is known at an instant of all that is to be worked on: `batches` are in the order of their turns.

    `hours` are by scope, `quotas` by account.
    """

    now: datetime
    host: str
    slots: int
    batches: Sequence[Batch]
    piles: Sequence[Pile]
    laps: Sequence[Lap]
    accounts: Mapping[str, Account] = {}
    holds: Sequence[Hold] = ()
    hours: Mapping[str, Hours] = {}
    groups: Sequence[Group] = ()
    quotas: Mapping[str, Sequence[Quota]] = {}


def foresee(scene: Scene) -> list[Forecast]:
    """A forecast for each batch that has unfinished jobs; the same of the same facts."""
    loads = {batch.id: _loads(scene, batch) for batch in scene.batches}
    known = [batch for batch in scene.batches if loads[batch.id] is not None]
    stuck = {batch.id: held for batch in known if (held := _held(scene, batch))}
    going = [load for batch in known if batch.id not in stuck for load in loads[batch.id] or ()]
    courses = _courses(scene, going) if going else []
    return [
        _forecast(scene, batch, courses, UNKNOWN if batch not in known else stuck.get(batch.id, ""))
        for batch in scene.batches
    ]


def _courses(scene: Scene, loads: Sequence[Load]) -> list[Mapping[int, End]]:
    rng = Random(SEED)  # noqa: S311 - no secret
    flows = {name: _flow(scene, name) for name in sorted({load.account for load in loads})}
    return [Course(loads, flows, scene.slots, rng).run() for _ in range(DRAWS)]


def _forecast(scene: Scene, batch: Batch, courses: Sequence[Mapping[int, End]], why: str) -> Forecast:
    left = sum(pile.queued + pile.running for pile in scene.piles if pile.batch == batch.id)
    plain = Forecast(batch=batch.id, at=scene.now, left=left, slots=scene.slots, why=why)
    ends = sorted((one[batch.id] for one in courses if batch.id in one), key=lambda end: end.at)
    if why or len(ends) <= 0.9 * DRAWS:
        return plain if why else Forecast(batch=batch.id, at=scene.now, left=left, slots=scene.slots, why=ENDLESS)
    return Forecast(
        batch=batch.id,
        at=scene.now,
        left=left,
        slots=scene.slots,
        p50=scene.now + timedelta(seconds=ends[DRAWS // 2].at),
        p90=scene.now + timedelta(seconds=ends[DRAWS * 9 // 10].at),
        windows=sorted(end.windows for end in ends)[len(ends) // 2] if any(scene.quotas.values()) else None,
        weeks=dict(_weeks(scene, batch, ends)),
        why=_blind(scene, batch),
    )


def _blind(scene: Scene, batch: Batch) -> str:
    """What may come between of which nothing is known: limits of accounts that have some."""
    names = sorted({pile.account for pile in scene.piles if pile.batch == batch.id})
    limited = [name for name in names if name in scene.accounts and scene.accounts[name].cautious]
    unknown = [name for name in limited if not scene.quotas.get(name)]
    return f"nothing is known yet of the windows of {', '.join(unknown)}" if unknown else ""


def _weeks(scene: Scene, batch: Batch, ends: Sequence[End]) -> Iterator[tuple[str, Week]]:
    """The weeks of a batch's accounts."""
    for name in sorted({pile.account for pile in scene.piles if pile.batch == batch.id}):
        for quota in scene.quotas.get(name, ()):
            if quota.name == "week":
                key = (name, quota.name)
                used = sorted(end.used[key] for end in ends)
                full = sorted(end.full.get(key, math.inf) for end in ends)[len(ends) // 2]
                at = scene.now + timedelta(seconds=full) if full < math.inf else None
                yield name, Week(now=quota.used, then=used[len(used) // 2], full=at)


def is_news(before: Forecast | None, after: Forecast) -> bool:
    """Whether a forecast says something else than the one that was kept last, or that one is old."""
    if before is None or before.why != after.why:
        return True
    if before.p50 is None or after.p50 is None:
        return False
    moved, left = abs(after.p50 - before.p50), after.p50 - after.at
    return moved > MOVED * left or after.at - before.at >= OLD


def look_again(forecasts: Iterable[Forecast]) -> float:
    """The seconds after which to look again, by how near the next end is."""
    left = [(one.p50 - one.at).total_seconds() for one in forecasts if one.p50 is not None]
    return min(max(min(left, default=0.0) / LOOKS, LOOK_LEAST), LOOK_MOST)


# --- what there is to do ---


def _loads(scene: Scene, batch: Batch) -> list[Load] | None:
    """What is left of a batch; None where nobody knows how long any of its jobs takes."""
    piles = [pile for pile in scene.piles if pile.batch == batch.id]
    laps = [lap for lap in scene.laps if lap.batch == batch.id]
    whole = _learn(laps, None) or _expected(piles)
    if whole is None:
        return None
    waste = _waste([lap for lap in laps if lap.ended_at is not None], scene.slots)
    waves = _waves([group for group in scene.groups if group.batch == batch.id])
    kinds = dict.fromkeys((pile.account, pile.group) for pile in piles)
    of_group = {group: [lap for lap in laps if lap.group == group] for _, group in kinds}
    lengths = {group: whole if own == laps else _learn(own, whole) or whole for group, own in of_group.items()}
    found = []
    for account, group in kinds:
        begun = [lap.seconds for lap in of_group[group] if lap.stays and lap.account == account]
        mine = [pile for pile in piles if (pile.account, pile.group) == (account, group)]
        due = max((pile.due for pile in mine if pile.due is not None), default=scene.now)
        load = Load(
            batch=batch.id,
            account=account,
            length=lengths[group],
            fresh=max(sum(pile.queued + pile.running for pile in mine) - len(begun), 0),
            begun=begun,
            wave=waves.get(group, 0),
            due=max((due - scene.now).total_seconds(), 0.0),
            waste=waste,
        )
        found.append(load)
    return found


def _learn(laps: Sequence[Lap], above: Length | None) -> Length | None:
    ended = [lap.seconds for lap in laps if lap.ended_at is not None]
    return learn(ended, [lap.seconds for lap in laps if lap.ended_at is None], above)


def _expected(piles: Iterable[Pile]) -> Length | None:
    """What people expect, where nothing else is known: as good as one job that has ended."""
    said = [(pile.expect, pile.queued + pile.running) for pile in piles if pile.expect]
    if not said:
        return None
    mean = sum(seconds * jobs for seconds, jobs in said) / sum(jobs for _, jobs in said)
    return Length(math.log(mean) - HOPED**2 / 2, HOPED, 1.0)


def _waste(ended: Sequence[Lap], slots: int) -> float:
    """By how much more than their own length jobs have taken: what was cut off or failed, and what is around them."""
    if not (length := sum(lap.seconds for lap in ended)):
        return 1.0
    again = sum(lap.spent for lap in ended) / length
    if length / len(ended) >= SHORT:
        return again
    at = sorted(lap.ended_at for lap in ended if lap.ended_at is not None)
    gaps = sorted((after - before).total_seconds() for before, after in pairwise(at))
    some = gaps[: len(gaps) - len(gaps) // 20]  # not the longest: nobody may have worked
    pace = sum(some) / max(len(some), 1) * slots / (length / len(ended))
    return max(again, min(pace, SLOWEST))


def _waves(groups: Sequence[Group]) -> dict[str, int]:
    """How many others must be through before each group may begin, one after the other."""
    by_name, waves = {group.name: group for group in groups}, dict[str, int]()

    def wave(name: str) -> int:
        if name not in waves:
            group = by_name[name]
            waiting = group.stand in (Stand.WAITING, Stand.FILLING)
            waves[name] = 1 + max((wave(one) for one in group.needs), default=-1) if waiting else 0
        return waves[name]

    for name in by_name:
        wave(name)
    return waves


# --- what keeps it back ---


def _held(scene: Scene, batch: Batch) -> str:
    """Why a batch cannot go on however long one waits, "" where it can."""
    accounts = {pile.account for pile in scene.piles if pile.batch == batch.id}
    for hold in _shut(scene, ["*", f"host:{scene.host}", f"batch:{batch.name}", *sorted(accounts)]):
        if hold.until is None:
            return f"{'everything' if hold.scope == '*' else hold.scope} is held until somebody lifts it"
    return ""


def _shut(scene: Scene, scopes: Sequence[str]) -> list[Hold]:
    """The holds that let nothing start in any of these scopes."""
    holds = [hold for hold in scene.holds if hold.scope in scopes and hold.origin is not Origin.START]
    return [hold for hold in holds if hold.allow == 0 and not hold.ramp and policy.prior_binds(hold, scene.now)]


def _flow(scene: Scene, account: str) -> Flow:
    """What an account lets through."""
    models = {pile.model for pile in scene.piles if pile.account == account}
    scopes = ["*", f"host:{scene.host}", account, *(f"{account}/{model}" for model in models if len(models) == 1)]
    ends = [hold.until for hold in _shut(scene, scopes) if hold.until is not None and hold.origin is not Origin.HOURS]
    opens = max(((end - scene.now).total_seconds() for end in ends), default=0.0)
    known = scene.accounts.get(account)
    most = [hold.allow for hold in scene.holds if hold.scope == account and hold.allow and not hold.ramp]
    most += [known.max_running] if known is not None and known.max_running is not None else []
    closed = [span for scope in scopes if scope in scene.hours for span in _closed(scene, scene.hours[scope])]
    return Flow(most=min(most, default=None), opens=opens, closed=closed, quotas=scene.quotas.get(account, ()))


def _closed(scene: Scene, hours: Hours) -> Iterator[tuple[float, float]]:
    for begin, end in hours.closed(scene.now, scene.now + AHEAD):
        yield (begin - scene.now).total_seconds(), (end - scene.now).total_seconds()
