"""Keeps what is said of how much of accounts' windows may be used, and shuts an account where so much is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec.structs import replace

from tidegate import reserve
from tidegate.errors import BadInput
from tidegate.model import Hold, Origin, Reserve, Window
from tidegate.stores.rows import Rows, about, is_text, told

Stops = Mapping[str, Mapping[Window, float]]  # parts of the windows of accounts


def keep(rows: Rows, source: str, said: Stops, now: datetime) -> None:
    """Write down all that a source says; what it says as before changes nothing, the rest is decided anew."""
    before = {(one.account, one.window): one for one in rows.reserves() if one.source == source}
    new = {(account, window): stop for account, stops in said.items() for window, stop in stops.items()}
    changed = {key for key in before.keys() | new.keys() if key not in before or before[key].stop_at != new.get(key)}
    for account, window in sorted(changed):
        stop = new.get((account, window))
        if stop is None:
            rows.drop_reserve(before[account, window])
        else:
            rows.put_reserve(Reserve(account=account, source=source, window=window, stop_at=stop))
        heed(rows, account, window, now)


def check(said: Stops) -> None:
    """Raises BadInput for what is no account."""
    for account in said:
        if not account or "\0" in account or not is_text(account):
            raise BadInput(f"stop_at: {account!r} is no account")


def heed(rows: Rows, account: str, window: Window, now: datetime) -> None:
    """Shut an account, or open it, as what is known of a window asks for; inside a transaction."""
    mine = [one for one in rows.reserves(account) if one.window is window]
    prior = rows.hold(account, Origin.RESERVE, window)
    if not mine:
        _stand(rows, prior, None, now)
        return
    meter = rows.meter(account, window)
    if meter is None or meter.used is None or meter.ends_at is None or meter.is_over(now):
        return
    hold, after = reserve.decided(mine, prior, meter.used, meter.ends_at, now)
    for one in after:
        if one not in mine:
            rows.put_reserve(one)
    _stand(rows, prior, hold, now)


def _stand(rows: Rows, prior: Hold | None, hold: Hold | None, now: datetime) -> None:
    if hold is prior:
        return
    if hold is not None:
        seq = rows.event(now, "gate moved" if prior else "gate shut", scope=hold.scope, data=told(hold))
        rows.put_hold(replace(hold, epoch=seq))
    elif prior is not None:
        rows.drop_hold(prior)
        rows.event(now, "gate lifted", scope=prior.scope, data={**about(prior), "by": "stop_at"})
