"""Gathers what agents tell of their windows, and what they draw, so that it is written together now and then."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from msgspec.structs import replace

from tidegate import policy
from tidegate.clock import Clock
from tidegate.errors import StoreBlocked
from tidegate.model import Attempt, Drawn, Job, Reading, Warned, Window
from tidegate.stores import Store
from tidegate.stores.writer import Writer

SOON = 1.0  # seconds between two times at which news are written: agents beside one another tell the same
EVERY = 5.0  # seconds between two looks at what is drawn
NEWS = 0.01 - 1e-9  # of a window
FADES = 0.9  # what a past attempt tells of the next one counts so much less with each that ends
MOST = 2.0  # times what answers tell while they come: what they write is told at the end, and is a fifth or so
Gate = tuple[str, Window]


class Drawing(Protocol):
    """An attempt that runs; `drawn_told` is what is written of what it has drawn."""

    job: Job
    attempt: Attempt
    drawn_told: Drawn

    @property
    def draws(self) -> bool:
        """Whether it draws on an allowance."""

    @property
    def drawn(self) -> Drawn:
        """What it has drawn so far."""


class Gauge:
    """What was told and is not written yet; only the last reading of each window counts."""

    def __init__(self, store: Store, ask: Writer, clock: Clock) -> None:
        self._store = store
        self._ask = ask
        self._clock = clock
        self._unwritten: dict[Gate, Reading] = {}
        self._written: dict[Gate, Reading] = {}
        self._ends: dict[str, tuple[float, float]] = {}  # by account: what was told at the end, and until then
        self._is_new = False
        self._next_look = float("inf")  # of the monotonic clock; never, while nobody draws
        self._last = clock.monotonic()  # of what adopted agents have printed for hours the last word counts

    def follow(self) -> None:
        """Somebody draws from now on."""
        self._next_look = min(self._next_look, self._clock.monotonic() + EVERY)

    def hear(self, job: Job, warned: Warned) -> bool:
        """Take a reading; whether to write it at once."""
        reading = Reading(
            scope=policy.scope_of(warned, job.account, job.model),
            window=warned.window,
            used=warned.used,
            at=warned.at,
            resets_at=warned.resets_at,
        )
        gate = (reading.scope, reading.window)
        self._unwritten[gate] = reading
        self._is_new |= _is_news(reading, self._written.get(gate))
        return self.is_due

    def settle(self, job: Job, drawn: Drawn) -> None:
        """Learn from what an attempt has drawn that is over how much only the end tells."""
        before = drawn.tokens - drawn.late
        if drawn.late > 0 and before > 0:
            whole, until = self._ends.get(job.account, (0.0, 0.0))
            self._ends[job.account] = (FADES * whole + drawn.tokens, FADES * until + before)

    def _likely(self, running: Drawing) -> Drawn:
        """What an attempt has drawn so far, with what it is likely to tell only at its end."""
        drawn = running.drawn
        whole, until = self._ends.get(running.job.account, (1.0, 1.0))
        return drawn if drawn.late else replace(drawn, tokens=drawn.tokens * min(whole / until, MOST))

    @property
    def has_heard(self) -> bool:
        """Whether there is a reading to write."""
        return bool(self._unwritten)

    @property
    def is_due(self) -> bool:
        """Whether it is time to write."""
        if self._next_look == float("inf") and not self._unwritten:
            return False
        now = self._clock.monotonic()
        return now >= self._next_look or (self._is_new and now >= self._last + SOON)

    async def write(self, attempts: Iterable[Drawing]) -> None:
        """Write what was told, and what these attempts have drawn since they were asked last; later, where it cannot
        be written now.
        """
        drawing = [running for running in attempts if running.draws]
        drawn = [(running, running.drawn) for running in drawing if running.drawn != running.drawn_told]
        readings, self._unwritten = self._unwritten, {}
        self._is_new, self._last = False, self._clock.monotonic()
        self._next_look = self._last + EVERY if drawing else float("inf")
        if not drawn and not readings:
            return
        told = [(running.attempt, self._likely(running)) for running, _ in drawn]
        try:
            await self._ask.once(self._store.note_signals, told, list(readings.values()), self._clock.now())
        except StoreBlocked:  # the writer tells why
            self._unwritten = {**readings, **self._unwritten}
            return
        self._written |= readings
        for running, so_far in drawn:
            running.drawn_told = so_far


def _is_news(reading: Reading, written: Reading | None) -> bool:
    """Whether a reading tells more than a clock that ticks: a hundredth of the window, or another end of it."""
    if written is None or reading.resets_at != written.resets_at:
        return True
    return abs(reading.used - written.used) > NEWS
