"""Keeps the files of a report while a batch is worked on, and writes them when that ends."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import structlog

from tidegate.errors import StoreBroken, TidegateError
from tidegate.look.desk import Desk
from tidegate.look.words import Page, page
from tidegate.model import Batch, Event, NewJob, Origin, State
from tidegate.night import closings, status
from tidegate.report import files, gather, summary

if TYPE_CHECKING:
    from tidegate.over import View
    from tidegate.stores import Store

log = structlog.get_logger()

EVERY = 2.0  # seconds between two looks at whether something has changed
CHUNK = 200  # events read at once: the loop has others to serve
FIRST = 100  # queued jobs that are looked at, for the same reason


async def keep(view: View, batch: Batch, jobs: Iterable[NewJob], into: Path) -> None:
    """Keep summary.json up to date until this is cancelled; what cannot be written is told, once."""
    keeping = _Keeping(view, batch, jobs, into)
    while True:
        await keeping.look()
        await anyio.sleep(EVERY)


class _Keeping:
    """What the file says by now, and how far the events were read."""

    def __init__(self, view: View, batch: Batch, jobs: Iterable[NewJob], into: Path) -> None:
        self._view, self._batch, self._into = view, batch, into
        self._reached = set[str]().union(*(closings.lane(job, batch.name) for job in jobs))
        self._gates: list[Event] = []
        self._after: int | None = None
        self._began = view.clock.now()
        self._trouble = ""

    async def look(self) -> None:
        """Write the file as the batch stands now; what ails the store is for the supervisor to say."""
        with suppress(StoreBroken):
            self._put(await self._text())

    async def _text(self) -> str:
        view, store, now = self._view, self._view.store, self._view.clock.now()
        await self._read()
        counts = await view.ask(store.counts, self._batch.id)
        queued = await view.ask(store.jobs, batch=self._batch.id, states=[State.QUEUED], most=FIRST)
        holds = await view.ask(store.holds)
        found = closings.binding(self._gates, holds, self._reached, self._began)
        pauses = sum(one.origin is Origin.LIMIT for one in found)
        stands = status.of(counts, queued, holds, now, view.host, works=True)
        return summary.as_text(summary.standing(self._batch, now, counts, stands, pauses))

    async def _read(self) -> None:
        """Read on in the events; the first is that of the batch's first job."""
        view, store = self._view, self._view.store
        if self._after is None:
            first = await view.ask(store.events, batch=self._batch.id, most=1)
            self._after, self._began = (first[0].seq - 1, first[0].at) if first else (0, self._began)
        while some := await view.ask(store.events, after=self._after, most=CHUNK):
            self._gates += [one for one in some if one.scope is not None and one.name.startswith("gate ")]
            self._after = some[-1].seq

    def _put(self, text: str) -> None:
        try:
            files.put(self._into / files.SUMMARY, text)
            self._trouble = ""
        except TidegateError as error:
            if str(error) != self._trouble:
                log.warning("report not written", reason=str(error))
            self._trouble = str(error)


def write(store: Store, state: Path, name: str, into: Path) -> bool:
    """Write every form of the report of a batch, by its name; whether that was done: the log says what went wrong."""
    try:
        batch = next((one for one in store.batches() if one.name == name), None)
        if batch is not None:
            files.write(gather.told(_desk(store, state, page().now), batch), into)
    except TidegateError as error:
        log.warning("report not written", reason=str(error))
        return False
    return batch is not None


def _desk(store: Store, state: Path, now: datetime) -> Desk:
    return Desk(state=state, store=store, page=Page(now=now, zone=page().zone), host=os.uname().nodename)
