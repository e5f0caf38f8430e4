"""Each closing of a gate: what shut it, when it opened again, and whom it kept back."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from tidegate import stages
from tidegate.model import AGENT, Event, Hold, Job, NewJob, Origin, Window, family
from tidegate.night.spells import Kind, Spell

Key = tuple[str, str, str]
SHUTS = ("gate shut", "gate moved", "job stuck")
ENDS = ("gate reopening", "gate opened", "gate lifted")


class Closing(Struct, frozen=True, kw_only=True):
    """A scope was shut from `shut_at` until `reopened_at`, when a first one might start, and wide open at `opened_at`.

    None is not yet. `stated` is the reset that the provider named, `until` the end that was waited for. `seqs` are the
    events between which it was shut. `launched` attempts began although it was shut; `refused` were taken back before
    they began. `cut_off` attempts ended for it, of which so many `resumed` their session; `delayed` jobs waited for it.
    """

    scope: str
    origin: Origin
    window: Window
    shut_at: datetime
    reason: str = ""
    evidence: str = ""
    by: str = ""
    stated: datetime | None = None
    until: datetime | None = None
    reopened_at: datetime | None = None
    opened_at: datetime | None = None
    ended_by: str = ""
    again: bool = False
    moved: int = 0
    seqs: tuple[int, int | None] = (0, None)
    launched: int = 0
    refused: int = 0
    cut_off: int = 0
    resumed: int = 0
    delayed: tuple[int, ...] = ()


def reach(job: Job, batch: str) -> set[str]:
    """Every scope that binds a job in one of its stages, hosts apart."""
    return {f"job:{job.id}", *lane(job, batch)}


def lane(job: Job | NewJob, batch: str) -> set[str]:
    """Every scope that binds a job and others like it in one of their stages, hosts apart."""
    mine = {"*", f"batch:{batch}", *_of_account(job.account, job.model)}
    return mine.union(*(_of_account(stage.account, None) for stage in stages.every(job.spec)))


def present(job: Job, batch: str) -> set[str]:
    """Every scope that binds a job in the stage in which it is, hosts apart."""
    return {"*", f"batch:{batch}", f"job:{job.id}", *_of_account(job.account, job.model)}


def _of_account(account: str, model: str | None) -> set[str]:
    return {account, f"{account}/{family(model)}"}


def binds(scope: str, reached: set[str]) -> bool:
    """Whether a scope is one of those reached; what holds a host holds whoever works on it."""
    return scope in reached or scope.startswith("host:")


def binding(events: Iterable[Event], holds: Iterable[Hold], reached: set[str], begin: datetime) -> list[Closing]:
    """The closings of these scopes and of hosts, in the order in which they began."""
    book = _Book(begin)
    for event in events:
        if event.scope is not None and binds(event.scope, reached):
            book.take(event)
    for hold in holds:
        if binds(hold.scope, reached):
            book.see(hold)
    return sorted(book.closings, key=lambda one: (one.shut_at, one.seqs[0]))


class _Book:
    """The closings so far; `_open` is the place of each that has not ended, by what its hold is known by."""

    def __init__(self, begin: datetime) -> None:
        self.closings: list[Closing] = []
        self._open: dict[Key, int] = {}
        self._begin = begin

    def take(self, event: Event) -> None:
        key = (event.scope or "", str(event.data.get("origin")), str(event.data.get("window")))
        if key[1] not in set(Origin) or key[1] == Origin.START:
            return
        if event.name in SHUTS:
            self._shut(key, event)
        elif event.name in ENDS:
            self._end(key, event)

    def see(self, hold: Hold) -> None:
        """A hold that stands now; one from before the batch began is known from this alone."""
        key = (hold.scope, hold.origin.value, hold.window.value)
        if hold.origin is Origin.START or key in self._open or (hold.allow and not hold.ramp):
            return
        seen = _made(key, max(hold.since, self._begin), _told(hold), 0)
        self._add(key, replace(seen, reopened_at=hold.since, seqs=(0, hold.epoch)) if hold.ramp else seen)

    def _add(self, key: Key, closing: Closing) -> None:
        self._open[key] = len(self.closings)
        self.closings.append(closing)

    def _shut(self, key: Key, event: Event) -> None:
        place = self._open.get(key)
        known = self.closings[place] if place is not None else None
        if event.data.get("allow"):  # it only limits how many run
            if place is not None:
                self._close(key, event)
            return
        if known is not None and place is not None and known.reopened_at is None:
            self.closings[place] = _moved(known, event)
            return
        if known is not None and place is not None:
            self.closings[place] = replace(known, opened_at=event.at, again=True)
        self._add(key, _made(key, event.at, event.data, event.seq))

    def _end(self, key: Key, event: Event) -> None:
        if key not in self._open:  # shut before the batch began
            self._add(key, _made(key, self._begin, {}, 0))
        place = self._open[key]
        if event.name == "gate reopening":
            self.closings[place] = _reopened(self.closings[place], event)
        else:
            self._close(key, event)

    def _close(self, key: Key, event: Event) -> None:
        place, by = self._open.pop(key), str(event.data.get("by") or "")
        self.closings[place] = replace(_reopened(self.closings[place], event), opened_at=event.at, ended_by=by)


def _reopened(closing: Closing, event: Event) -> Closing:
    if closing.reopened_at is not None:
        return closing
    return replace(closing, reopened_at=max(event.at, closing.shut_at), seqs=(closing.seqs[0], event.seq))


def _made(key: Key, at: datetime, data: Any, seq: int) -> Closing:  # noqa: ANN401 - an event's facts
    return Closing(
        scope=key[0],
        origin=Origin(key[1]),
        window=Window(key[2]),
        shut_at=at,
        reason=str(data.get("reason") or ""),
        evidence=str(data.get("evidence") or ""),
        by=str(data.get("by") or ""),
        stated=_instant(data.get("resets_at")),
        until=_instant(data.get("until")),
        seqs=(seq, None),
    )


def _moved(closing: Closing, event: Event) -> Closing:
    data = event.data
    return replace(
        closing,
        moved=closing.moved + 1,
        evidence=str(data.get("evidence") or closing.evidence),
        stated=_instant(data.get("resets_at")),
        until=_instant(data.get("until")),
    )


def _told(hold: Hold) -> dict[str, object]:
    return {
        "reason": hold.reason,
        "evidence": hold.evidence,
        "by": hold.by,
        "resets_at": hold.resets_at,
        "until": hold.until,
    }


def _instant(said: object) -> datetime | None:
    return said if isinstance(said, datetime) else datetime.fromisoformat(said) if isinstance(said, str) else None


# --- whom it kept back -------------------------------------------------------------------------


def with_effects(
    found: Sequence[Closing], jobs: Iterable[Job], spells: Iterable[Spell], events: Iterable[Event], batch: str
) -> list[Closing]:
    """The same closings, with what became of the jobs that they bind."""
    ready: dict[int, list[Spell]] = defaultdict(list)
    for spell in spells:
        if spell.kind is Kind.READY:
            ready[spell.job.id].append(spell)
    story: dict[int, list[Event]] = defaultdict(list)
    for event in events:
        if event.job is not None and event.name.startswith("attempt "):
            story[event.job].append(event)
    effects = [_Effects() for _ in found]
    for job in jobs:
        delayed: set[int] = set()
        for stage in (AGENT, *dict(stages.named(job.spec))):
            reached = present(stages.seen_in(job, stage), batch)
            mine = [place for place, one in enumerate(found) if binds(one.scope, reached)]
            told = [event for event in story[job.id] if event.data.get("stage", AGENT) == stage]
            waits = [spell for spell in ready[job.id] if present(spell.job, batch) == reached]
            cut = _cut_off(found, mine, told)
            for place in mine:
                struck = [resumed for where, resumed in cut if where == place] if cut else []
                effects[place].take(found[place], told, struck)
                if struck or any(_overlaps(spell, found[place]) for spell in waits):
                    delayed.add(place)
        for place in delayed:
            effects[place].delayed.append(job.id)
    return [effect.added_to(one) for effect, one in zip(effects, found, strict=True)]


@dataclass(slots=True)
class _Effects:
    """What one closing did, so far."""

    launched: int = 0
    refused: int = 0
    cut_off: int = 0
    resumed: int = 0
    delayed: list[int] = field(default_factory=list)

    def take(self, one: Closing, story: Sequence[Event], struck: Sequence[bool]) -> None:
        """Count what became of one job; `struck`: whether each attempt that was cut off was resumed."""
        first = bisect_right(story, one.seqs[0], key=_seq)
        after = len(story) if one.seqs[1] is None else bisect_left(story, one.seqs[1], first, key=_seq)
        claimed = {event.attempt for event in story[first:after] if event.name == "attempt claimed"}
        returned = {event.attempt for event in story[first:after] if event.name == "attempt unclaimed"}
        self.launched += len(claimed - returned)
        self.refused += len(returned)
        self.cut_off += len(struck)
        self.resumed += sum(struck)

    def added_to(self, one: Closing) -> Closing:
        return replace(
            one,
            launched=self.launched,
            refused=self.refused,
            cut_off=self.cut_off,
            resumed=self.resumed,
            delayed=tuple(self.delayed),
        )


def _seq(event: Event) -> int:
    return event.seq


def _is_inside(one: Closing, event: Event) -> bool:
    return one.seqs[0] < event.seq and (one.seqs[1] is None or event.seq < one.seqs[1])


def _overlaps(spell: Spell, one: Closing) -> bool:
    return spell.end > one.shut_at and (one.reopened_at is None or spell.begin < one.reopened_at)


def _cut_off(told: Sequence[Closing], mine: Sequence[int], story: Sequence[Event]) -> list[tuple[int, bool]]:
    """Each attempt that ended for a closing: the place of that, and whether the job went on in its session."""
    found = []
    for number, event in enumerate(story):
        if event.name != "attempt ended" or event.data.get("outcome") not in ("limited", "interrupted"):
            continue
        limited = event.data.get("outcome") == "limited"
        places = [place for place in mine if _ended_for(told[place], event, limited=limited)]
        if places:
            next_claim = next((one for one in story[number:] if one.name == "attempt claimed"), None)
            found.append((places[-1], bool(next_claim and next_claim.data.get("resumes"))))
    return found


def _ended_for(one: Closing, event: Event, *, limited: bool) -> bool:
    if limited:
        return one.origin in (Origin.LIMIT, Origin.HUMAN) and one.seqs[0] < event.seq
    return one.origin in (Origin.OPERATOR, Origin.HOST) and _is_inside(one, event)
