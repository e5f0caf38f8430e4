"""When a batch is over for whoever runs it, and what it waits for until then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import structlog
from msgspec.structs import replace

from tidegate.gate import Gate, Key, key
from tidegate.look import why
from tidegate.look.words import Page, page, shown
from tidegate.model import Hold, Job, Origin, Stand, State, Window
from tidegate.selection import fits

if TYPE_CHECKING:
    from tidegate.bottom import Bottom
    from tidegate.clock import Clock
    from tidegate.stores import Store
    from tidegate.stores.writer import Writer

log = structlog.get_logger()

PAGE = 500
GOES_ON = "the next `tidegate run` of this file goes on with them"


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A batch as it is seen, whoever works on it; `see_holds` brings `gate` up to date.

    `only` a part of it is looked at, by the patterns of `selection`; none are named where it is the whole.
    """

    store: Store
    ask: Writer
    clock: Clock
    host: str
    batch: int
    gate: Gate
    see_holds: Callable[[], Awaitable[None]]
    only: Sequence[str] = ()

    def picks(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """Those of these jobs that are looked at."""
        return [job for job in jobs if fits(job.name, job.group, self.only)] if self.only else jobs

    async def counts(self) -> Mapping[State, int]:
        """How many of the jobs that are looked at are in each state."""
        if not self.only:
            return await self.ask(self.store.counts, self.batch)
        counts, after = dict.fromkeys(State, 0), 0
        while jobs := await self.ask(self.store.jobs, batch=self.batch, after=after, most=PAGE):
            for job in self.picks(jobs):
                counts[job.state] += 1
            after = jobs[-1].id
        return counts


@dataclass(slots=True, kw_only=True)
class Over:
    """Nothing runs and nothing could start: over, unless time alone will change that."""

    on_limit: str
    _told: set[Key] = field(default_factory=set)

    async def __call__(self, view: View) -> bool:
        """Whether to end; where not, the log says what is waited for, once."""
        if await self.why_left(view) != "time":
            return True
        holds = {key(hold) for hold in view.gate.holds() if not hold.ramp}
        if holds - self._told:
            for words, number in (await _causes(view)).items():
                log.info("waiting", jobs=number, reason=words)
        self._told = holds
        return False

    async def why_left(self, view: View) -> str:
        """Why jobs are still queued: "" for none, "human" or "limit" where that ends the run, else "time".

        Of those that wait for others it is the reason of these.
        """
        store, after, reasons = view.store, 0, set()
        await view.see_holds()  # a look would ring the bell that asks whether it is over
        groups = await view.ask(store.groups, view.batch)
        later = {group.name for group in groups if group.stand is not Stand.OPEN}
        while jobs := await view.ask(store.jobs, batch=view.batch, states=[State.QUEUED], after=after, most=PAGE):
            reasons |= {self._reason(view, job) for job in view.picks(jobs) if not job.unmet and job.group not in later}
            if "time" in reasons:
                return "time"
            after = jobs[-1].id
        return next((reason for reason in ("limit", "human") if reason in reasons), "")

    def _reason(self, view: View, job: Job) -> str:
        holds = [hold for hold in view.gate.binding(job, view.clock.now()) if hold.allow == 0]
        if any(hold.origin is Origin.HUMAN for hold in holds):
            return "human"
        if any(hold.origin is Origin.BUDGET and hold.until is None for hold in holds):
            return "limit"  # no time lifts it
        limited = any(_is_of_hours(hold) for hold in holds)
        return "limit" if limited and self.on_limit == "exit" else "time"  # a moment's back-off is no reason to leave


def _is_of_hours(hold: Hold) -> bool:
    """Whether a provider's limit, what is left of a window, or a day's budget keeps back for longer than a moment."""
    return hold.origin in (Origin.BUDGET, Origin.RESERVE) or (
        hold.origin is Origin.LIMIT and hold.window is not Window.MINUTE
    )


# --- what a person sees ---


async def status_line(view: View, bottom: Bottom | None) -> None:
    """One line that is always true: what runs, what waits and until when."""
    if bottom is None:
        return
    try:
        while True:
            counts = await view.ask(view.store.counts, view.batch)
            words = ", ".join(f"{number} {state}" for state, number in counts.items() if number)
            bottom.show(" · ".join([words, *(await _waits(view) if counts[State.QUEUED] else [])]))
            await anyio.sleep(1)
    finally:
        bottom.show("")


async def _waits(view: View) -> list[str]:
    """The holds that keep a job of this batch back, in words."""
    now = view.clock.now()
    on = replace(page(), now=now)
    waiting = await view.ask(view.store.jobs, batch=view.batch, states=[State.QUEUED], most=1)
    holds = view.gate.binding(waiting[0], now) if waiting else []
    return [f"{hold.scope} {why.hold_words(hold, on)}" for hold in holds]


async def left_in_words(view: View) -> list[str]:
    """One line for each reason why jobs are still queued."""
    return [f"{number} wait: {words}" for words, number in (await _causes(view, leaving=True)).items()]


async def _causes(view: View, *, leaving: bool = False) -> Counter[str]:
    """The reasons why jobs are queued, in words, and how many wait for each."""
    store, now, after = view.store, view.clock.now(), 0
    seen = await view.ask(why.picture, store, now, view.host, supervised=not leaving)
    on = Page(now=now, zone=page().zone)
    causes: Counter[str] = Counter()
    while jobs := await view.ask(store.jobs, batch=view.batch, states=[State.QUEUED], after=after, most=PAGE):
        for cause, waiting in why.by_cause(view.picks(jobs), seen).items():
            words = why.words(cause, waiting[0], seen, on) if cause.kind != "supervisor" else GOES_ON
            causes[f"{words}{_evidence(cause)}"] += len(waiting)
        after = jobs[-1].id
    return causes


def _evidence(cause: why.Wait) -> str:
    return f' ("{shown(cause.hold.evidence)}")' if cause.hold and cause.hold.evidence else ""
