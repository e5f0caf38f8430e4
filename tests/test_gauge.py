"""What agents tell of their windows is gathered, and written together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from stores.world import START, World
from timeless.loop import Time

from tidegate.errors import StoreBlocked
from tidegate.gauge import EVERY, SOON, Gauge
from tidegate.model import NOT_DRAWN, Attempt, Drawn, Job, Meter, Reading, Warned, Window
from tidegate.stores.memory import MemoryStore
from tidegate.stores.writer import Writer

FIVE = Window.FIVE_HOURS
RESET = START + timedelta(hours=4)


@dataclass
class Running:
    """An attempt as the gauge sees it."""

    job: Job
    attempt: Attempt
    draws: bool = True
    drawn: Drawn = NOT_DRAWN
    drawn_told: Drawn = NOT_DRAWN


class Counted(MemoryStore):
    """A store that counts how often it was told of signals, and can be blocked."""

    def __init__(self) -> None:
        super().__init__()
        self.told = 0
        self.is_blocked = False

    def note_signals(self, drawn: Sequence[Any], readings: Sequence[Reading], now: datetime) -> None:
        if self.is_blocked:
            raise StoreBlocked("the disk is full")
        self.told += 1
        super().note_signals(drawn, readings, now)


@dataclass
class Place:
    """A store, a gauge, and attempts of two jobs that run."""

    gauge: Gauge
    store: Counted
    clock: Time
    running: list[Running] = field(default_factory=list)

    async def write(self) -> None:
        await self.gauge.write(self.running)

    def hear(self, used: float, *, resets: datetime = RESET, model: str | None = None) -> bool:
        warned = Warned(window=FIVE, used=used, at=self.clock.now(), resets_at=resets, model=model)
        return self.gauge.hear(self.running[0].job, warned)

    def meter(self, scope: str = "acct") -> Meter:
        (found,) = self.store.meters(scope)
        return found


@asynccontextmanager
async def placed() -> AsyncIterator[Place]:
    store, clock = Counted(), Time(START)
    world = World(store)
    world.enter()
    world.submit("a", model="claude-opus-5-5")
    world.submit("b")
    async with Writer(store) as ask:
        place = Place(Gauge(store, ask, clock), store, clock)
        place.running = [Running(*world.take()), Running(*world.take())]
        yield place


async def test_news_is_due_at_once_and_the_same_again_is_not() -> None:
    async with placed() as place:
        assert not place.gauge.is_due
        assert not place.hear(0.3), "adopted agents tell first what they said first"
        place.clock.at += SOON
        assert place.hear(0.4)
        await place.write()
        assert (place.meter().used, place.store.told) == (0.4, 1)
        place.clock.at += SOON
        assert not place.hear(0.4)
        assert not place.hear(0.405)
        assert place.hear(0.41)
        assert place.gauge.has_heard


async def test_what_several_agents_tell_within_a_second_is_written_together() -> None:
    async with placed() as place:
        place.hear(0.4)
        await place.write()
        assert not place.hear(0.5)
        assert not place.hear(0.6)
        place.clock.at += SOON
        assert place.gauge.is_due
        await place.write()
        assert (place.meter().used, place.store.told) == (0.6, 2)
        assert not place.gauge.is_due


async def test_another_end_of_a_window_is_news() -> None:
    async with placed() as place:
        place.hear(0.4)
        await place.write()
        place.clock.at += SOON
        assert place.hear(0.4, resets=RESET + timedelta(hours=5))


async def test_what_is_drawn_is_asked_for_now_and_then_while_somebody_draws() -> None:
    async with placed() as place:
        place.clock.at += EVERY
        assert not place.gauge.is_due
        place.gauge.follow()
        assert not place.gauge.is_due
        place.clock.at += EVERY
        assert place.gauge.is_due
        place.running[0].drawn = Drawn(100.0, 3)
        await place.write()
        assert place.store.attempts(1)[0].drawn == 100.0
        place.clock.at += EVERY
        assert place.gauge.is_due
        await place.write()
        assert place.store.told == 1, "nothing more was drawn"
        place.running.clear()
        place.clock.at += EVERY
        await place.write()
        place.clock.at += EVERY
        assert not place.gauge.is_due, "nobody draws any more"


async def test_what_answers_tell_only_at_the_end_is_expected_of_those_that_run() -> None:
    async with placed() as place:
        one = place.running[0]
        place.gauge.settle(one.job, Drawn(100.0, 3))
        one.drawn = Drawn(100.0, 3)
        await place.write()
        assert place.store.attempts(1)[0].drawn == 100.0, "nobody has told anything late"
        place.gauge.settle(one.job, Drawn(125.0, 3, late=25.0))
        one.drawn = Drawn(200.0, 4)
        await place.write()
        assert place.store.attempts(1)[0].drawn == 250.0
        one.drawn = Drawn(280.0, 5, late=60.0)
        await place.write()
        assert place.store.attempts(1)[0].drawn == 280.0, "what is told is better than what is likely"
        place.gauge.settle(one.job, Drawn(9999.0, 3, late=9998.0))
        place.running[1].drawn = Drawn(100.0, 1)
        await place.write()
        assert place.store.attempts(2)[0].drawn == 200.0, "and twice as much is the most"


async def test_attempts_that_draw_on_no_allowance_are_not_asked() -> None:
    async with placed() as place:
        place.running[0].draws, place.running[0].drawn = False, Drawn(100.0, 3)
        await place.write()
        assert place.store.told == 0


async def test_what_cannot_be_written_now_is_written_later() -> None:
    async with placed() as place:
        place.store.is_blocked = True
        place.running[0].drawn = Drawn(100.0, 3)
        place.hear(0.4)
        await place.write()
        assert place.running[0].drawn_told == NOT_DRAWN
        place.store.is_blocked = False
        place.hear(0.5)
        await place.write()
        assert (place.meter().used, place.store.attempts(1)[0].drawn) == (0.5, 100.0)


async def test_a_window_of_one_model_is_told_of_its_lane() -> None:
    async with placed() as place:
        place.hear(0.4, model="opus")
        await place.write()
        assert place.store.meters("acct") == []
        assert place.meter("acct/opus").used == 0.4
