"""Holds a scope outside its hours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tidegate import clock, policy
from tidegate.errors import BadInput, StoreBroken
from tidegate.model import Origin, Window
from tidegate.stores.rows import Rows, about, is_text, told

if TYPE_CHECKING:
    from tidegate.hours import Hours


def keep(rows: Rows, now: datetime) -> None:
    """Every scope that has hours is held outside of them, and is not inside; to be called inside a transaction."""
    for scope, text in rows.hours():
        keep_one(rows, scope, _known(scope, text), now)


def say(rows: Rows, scope: str, when: Hours | None, source: str, now: datetime) -> None:
    """Take down what a source says of a scope's hours; what then counts is that of whoever spoke last."""
    before = dict(rows.hours()).get(scope)
    if when is None:
        rows.drop_hours(scope, source)
    elif dict(rows.hours_by(source)).get(scope) != when.text:
        rows.put_hours(scope, source, when.text)
    after = dict(rows.hours()).get(scope, "")
    if after != (before or ""):
        rows.event(now, "hours set", scope=scope, data={"hours": after})
    keep_one(rows, scope, _known(scope, after) if after else None, now)


def say_all(rows: Rows, source: str, said: Mapping[str, Hours], now: datetime) -> None:
    """Take down all that a source says; what it said before and says no more is taken away."""
    for scope in sorted({*said, *dict(rows.hours_by(source))}):
        say(rows, scope, said.get(scope), source, now)


def keep_one(rows: Rows, scope: str, when: Hours | None, now: datetime) -> None:
    """The hold of one scope as its hours say; no hours, no hold."""
    prior = rows.hold(scope, Origin.HOURS, Window.UNKNOWN)
    hold = None if when is None else policy.outside(scope, when, now)
    if hold is None:
        if prior is not None:
            rows.drop_hold(prior)
            rows.event(now, "gate lifted", scope=scope, data={**about(prior), "by": "hours"})
    elif prior is None or prior != replace(hold, since=prior.since, epoch=prior.epoch):
        seq = rows.event(now, "gate moved" if prior else "gate shut", scope=scope, data=told(hold))
        rows.put_hold(replace(hold, epoch=seq))


def openings(rows: Rows, now: datetime) -> Iterator[datetime]:
    """When the scopes open that are outside their hours."""
    for scope, text in rows.hours():
        if (opening := _known(scope, text).opens(now)) is not None:
            yield opening


def read_all(hours: Mapping[str, str]) -> dict[str, Hours]:
    """The hours of several scopes. Raises BadInput."""
    return {scope: read(scope, text) for scope, text in hours.items()}


def read(scope: str, text: str) -> Hours:
    """Hours that a scope may have; those that name no zone are told by this machine's. Raises BadInput."""
    if not scope or "\0" in scope or not is_text(scope):
        raise BadInput(f"hours: {scope!r} is no scope")
    try:
        return _parsed(text)
    except ValueError as error:
        raise BadInput(f"hours of {scope}: {error}") from None


def _known(scope: str, text: str) -> Hours:
    try:
        return _parsed(text)
    except ValueError as error:  # its zone has gone, or a newer program has set it
        raise StoreBroken(f"the hours of {scope} cannot be read: {error}") from None


def _parsed(text: str) -> Hours:
    from tidegate import hours  # noqa: PLC0415 - only who has hours pays for them

    return hours.parse(text, clock.zone())
