"""Tells what happens: each row of the event table as one log event, and a tally of them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from structlog.typing import FilteringBoundLogger

from tidegate.model import Event
from tidegate.stores import Store
from tidegate.stores.writer import Writer

PAGE = 1000
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
QUIET = {"job added", "job updated", "session seen", "progress", "supervisor entered", "supervisor left"}


@dataclass(slots=True)
class Tally:
    """What has happened since the narrator began, counted; `outcomes` by name, `held` in seconds by scope.

    `adopted` are the attempts that ran before, `under_way` those that run now, by job and number. `shut_since` are the
    gates that are shut now, by scope, origin and window.
    """

    launches: int = 0
    resumes: int = 0
    returned: int = 0
    adopted: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    shuts: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    shut_since: dict[tuple[str, str, str], datetime] = field(default_factory=dict)
    under_way: set[tuple[int | None, int | None]] = field(default_factory=set)

    def count(self, event: Event) -> None:
        """Take one more event into account."""
        match event.name:
            case "attempt claimed":
                self.launches += 1
                self.under_way.add((event.job, event.attempt))
                self.resumes += bool(event.data.get("resumes"))
            case "attempt adopted":
                self._meet(event)
            case "attempt unclaimed":
                self._meet(event)
                self.under_way.discard((event.job, event.attempt))
                self.returned += 1
            case "attempt ended":
                self._meet(event)
                self.under_way.discard((event.job, event.attempt))
                self.outcomes[str(event.data.get("outcome"))] += 1
            case "gate shut" if event.scope:
                self.shuts[event.scope] += 1
                self.shut_since.setdefault(_gate(event), event.at)
            case "gate reopening" | "gate lifted" if event.scope and _gate(event) in self.shut_since:
                held = (event.at - self.shut_since.pop(_gate(event))).total_seconds()
                self.held[event.scope] += max(round(held), 0)  # less than nothing: the clock was set back
            case _:
                pass

    def _meet(self, event: Event) -> None:
        """An attempt of which this is the first that is heard was under way before."""
        if (attempt := (event.job, event.attempt)) not in self.under_way:
            self.under_way.add(attempt)
            self.adopted += 1

    def is_shut(self, scope: str) -> bool:
        """Whether a gate of a scope that was shut meanwhile still is."""
        return any(shut == scope for shut, *_ in self.shut_since)


def _gate(event: Event) -> tuple[str, str, str]:
    return (event.scope or "", str(event.data.get("origin")), str(event.data.get("window")))


class Narrator:
    """Follows the event table from `after` on; the log says what the table says, in its order.

    `hear` is told of each event as well. `mine` picks the events to tell, None for all.
    """

    def __init__(
        self,
        store: Store,
        ask: Writer,
        after: int,
        hear: Callable[[Event], None],
        mine: Callable[[Sequence[Event]], Awaitable[Sequence[Event]]] | None = None,
    ) -> None:
        self._mine = mine
        self._hear = hear
        self._store = store
        self._ask = ask
        self._after = after
        self._names: dict[int, str] = {}
        self.tally = Tally()

    async def catch_up(self) -> bool:
        """Tell everything that has happened since the last time; whether something has."""
        before = self._after
        while events := await self._ask(self._store.events, after=self._after, most=PAGE):
            log: FilteringBoundLogger = structlog.get_logger().bind()  # once: a lazy logger binds at each use
            told = await self._mine(events) if self._mine else events
            names = await self._names_in(told, log)
            self._after = events[-1].seq  # no wait from here on: a cancel must not tell one twice
            for event in told:
                self.tally.count(event)
                self._hear(event)
                _tell(log, event, names)
        return self._after != before

    async def _names_in(self, events: Sequence[Event], log: FilteringBoundLogger) -> Mapping[int, str]:
        """The names of the jobs that these events are told of; those of the last events are still known."""
        ids = {event.job for event in events if event.job is not None and _is_told(log, level_of(event))}
        unknown = sorted(ids - self._names.keys())
        read = await self._ask(self._store.job_names, unknown) if unknown else {}
        known = {**self._names, **read}
        self._names = {id: known.get(id, f"#{id}") for id in ids}
        return self._names


def _tell(log: FilteringBoundLogger, event: Event, names: Mapping[int, str]) -> None:
    level = level_of(event)
    if not _is_told(log, level):
        return
    facts = {key: value for key, value in event.data.items() if key != "n" and value not in (None, "", False)}
    if event.scope:
        facts = {"scope": event.scope, **facts}
    if event.job is not None:
        facts = {"job": names[event.job], **facts}
    if event.attempt is not None:
        facts["attempt"] = event.attempt
    getattr(log, level)(event.name, **facts)


def _is_told(log: FilteringBoundLogger, level: str) -> bool:
    return log.is_enabled_for(LEVELS[level])


def level_of(event: Event) -> str:
    """How loud an event is: what a person must see is an error, a shut gate a warning, bookkeeping is debug."""
    if event.name in QUIET:
        return "debug"
    if event.name == "job stuck" or (event.name == "gate shut" and event.data.get("origin") == "human"):
        return "error"
    if event.name == "budget spent":
        return "warning"
    if event.name == "gate shut":
        return "info" if event.data.get("origin") == "hours" else "warning"
    if event.name == "group skipped":
        return "warning"
    if event.name == "job ended":
        return "debug" if event.data.get("state") == "succeeded" else "warning"
    return "info"
