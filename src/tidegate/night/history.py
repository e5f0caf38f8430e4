"""What limits have done over many nights: how often they struck, what they cut off, and what came of that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from statistics import median

from msgspec import Struct

from tidegate import budget
from tidegate.model import Past, Shut, Spent

ENDS = ("succeeded", "failed", "error", "cancelled", "skipped")


class Striking(Struct, frozen=True, kw_only=True):
    """How often a window of an account (or of one model of it) shut its gate, and for how many seconds in the middle.

    `per_day` is for each day with launches, `per_100` for each hundred launches of the account; None: there were none.
    """

    scope: str
    window: str
    closings: int
    per_day: float | None
    per_100: float | None
    median_wait: float | None


class Record(Struct, frozen=True, kw_only=True):
    """What became of what was launched with an account; `days` are those with launches."""

    account: str
    days: int
    launches: int
    limited: int
    cut_off: int
    recovered: int
    resumed: int
    retries: int
    jobs: Mapping[str, int]
    spent: Spent

    @property
    def recovery(self) -> float | None:
        """The share of what was cut off whose jobs have succeeded since."""
        return self.recovered / self.cut_off if self.cut_off else None


class History(Struct, frozen=True, kw_only=True):
    """All accounts, and each window that has struck; `since` is the first day that counts, "" for all."""

    since: str
    records: Sequence[Record]
    strikings: Sequence[Striking]


def of(
    past: Iterable[Past], shuts: Iterable[Shut], spent: Mapping[tuple[str, str], Spent], now: datetime, since: str
) -> History:
    """The history from a day on."""
    mine = [one for one in past if one.day >= since]
    money = {key: one for key, one in spent.items() if key[0] >= since}
    accounts = sorted({one.account for one in mine} | {account for _, account in money})
    records = [_record(name, [one for one in mine if one.account == name], money) for name in accounts]
    closed = [one for one in shuts if one.since.date().isoformat() >= since]
    by_name = {one.account: one for one in records}
    gates = Counter((one.scope, one.window) for one in closed)
    strikings = [
        _striking(gate, [one for one in closed if (one.scope, one.window) == gate], by_name, now)
        for gate, _ in sorted(gates.items(), key=lambda item: (-item[1], item[0]))
    ]
    return History(since=since, records=records, strikings=strikings)


def _record(account: str, some: Sequence[Past], spent: Mapping[tuple[str, str], Spent]) -> Record:
    return Record(
        account=account,
        days=sum(one.launches > 0 for one in some),
        launches=sum(one.launches for one in some),
        limited=sum(one.limited for one in some),
        cut_off=sum(one.cut_off for one in some),
        recovered=sum(one.recovered for one in some),
        resumed=sum(one.resumed for one in some),
        retries=sum(one.retries for one in some),
        jobs={state: sum(getattr(one, state) for one in some) for state in ENDS},
        spent=budget.added(one for (_, name), one in spent.items() if name == account),
    )


def _striking(gate: tuple[str, str], some: Sequence[Shut], records: Mapping[str, Record], now: datetime) -> Striking:
    record = records.get(gate[0].partition("/")[0])
    waits = [max(((one.until or now) - one.since).total_seconds(), 0.0) for one in some]
    return Striking(
        scope=gate[0],
        window=gate[1],
        closings=len(some),
        per_day=len(some) / record.days if record and record.days else None,
        per_100=len(some) * 100 / record.launches if record and record.launches else None,
        median_wait=median(waits),
    )
