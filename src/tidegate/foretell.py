"""Foretells the ends of batches while somebody works on them, and keeps what was foretold."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import anyio
import structlog
from anyio.to_thread import run_sync

from tidegate import hours, places
from tidegate.clock import zone
from tidegate.errors import StoreBlocked, StoreBroken
from tidegate.forecast import LOOK_LEAST, Scene, foresee, is_news, look_again
from tidegate.quotas import quotas
from tidegate.stores import sqlite

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from tidegate.ahead import Quota
    from tidegate.daemon import Duty
    from tidegate.model import Batch, Meter, Tide
    from tidegate.prospect import Forecast, Lap
    from tidegate.stores import Store

log = structlog.get_logger()

TIDES = 6  # windows that are over, of which is learned how much fits into one
ENDED = 400  # jobs that have ended last: of these it is learned how long one takes


async def keep(duty: Duty) -> None:
    """Look again and again at what is left, and keep each forecast that is news, until nothing new is started.

    Where only a part of a batch is started nobody knows its end.
    """
    pause = LOOK_LEAST
    while not duty.me.only and not duty.supervisor.draining.is_set():
        shift = duty.shift
        try:
            told, pause = await run_sync(_look, shift.state, duty.me.host, shift.slots, duty.batch, shift.clock.now())
            for batch, forecast in told:
                await duty.ask.once(shift.store.note_forecast, batch, forecast, shift.clock.now())
        except (StoreBlocked, StoreBroken) as error:
            log.warning("no forecast kept", error=str(error))
        await anyio.sleep(pause)


def _look(
    state: Path, host: str, slots: int, batch: int | None, now: datetime
) -> tuple[list[tuple[Batch, Forecast]], float]:
    """What is news, and the seconds after which to look again; by a connection of its own: others have to work."""
    with closing(sqlite.open(places.database(state))) as store:
        return news(store, scene(store, now, host=host, slots=slots, batch=batch))


def news(store: Store, known: Scene) -> tuple[list[tuple[Batch, Forecast]], float]:
    """The forecasts that are to be kept, and the seconds after which to look again."""
    told = foresee(known)
    by_id = {one.id: one for one in known.batches}
    fresh = [(by_id[one.batch], one) for one in told if is_news(store.last_forecast(one.batch), one)]
    return fresh, look_again(told)


def scene(store: Store, now: datetime, *, host: str, slots: int, batch: int | None = None) -> Scene:
    """What a store knows of what is left, of one batch or of all."""
    with store.moment():
        piles = [pile for pile in store.piles() if batch in (None, pile.batch)]
        open_, where = {pile.batch for pile in piles}, zone()
        laps = store.laps(now, most=ENDED)
        return Scene(
            now=now,
            host=host,
            slots=slots,
            batches=[one for one in store.batches() if one.id in open_],
            piles=piles,
            laps=laps,
            accounts={one.name: one for one in store.accounts()},
            holds=store.holds(),
            hours={scope: hours.parse(text, where) for scope, text in store.hours().items()},
            groups=[group for one in open_ for group in store.groups(one)],
            quotas={name: _quotas(store, name, laps, now) for name in sorted({pile.account for pile in piles})},
        )


def _quotas(store: Store, account: str, laps: Sequence[Lap], now: datetime) -> list[Quota]:
    """The windows of an account, by what its jobs have drawn of them."""
    meters = store.meters(account)
    past = [tide for meter in meters for tide in store.tides(account, meter.window, TIDES)]
    kept = [one for one in store.reserves() if one.account == account]
    readings = [told for meter in meters for told in store.readings(account, meter.window, _since(meter, past))]
    return quotas(meters, past, [lap for lap in laps if lap.account == account], now, kept=kept, readings=readings)


def _since(meter: Meter, past: Sequence[Tide]) -> datetime:
    """The begin of the first window of which is learned."""
    return min([meter.begins_at, *(tide.began_at for tide in past if tide.window is meter.window)])
