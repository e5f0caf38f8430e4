"""Keeps the meters of windows: what attempts draw of them, what providers tell of them, and what jobs have cost."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime

from msgspec.structs import replace

from tidegate import hints, reopening, runs, tides
from tidegate.model import (
    LENGTHS,
    Attempt,
    Cost,
    Drawn,
    Hold,
    Job,
    Meter,
    Origin,
    Reading,
    State,
    Tide,
    family,
)
from tidegate.stores import reserves
from tidegate.stores.rows import Rows, iso
from tidegate.tides import BUCKET, Turned


def draw(rows: Rows, job: Job, attempt: Attempt, drawn: Drawn, now: datetime) -> Attempt:
    """Count what an attempt has drawn so far, in all; the attempt as it is now. Inside a transaction, as the others.

    A total that is told again, or is less than one that was told before, changes nothing.
    """
    total = drawn.tokens - (_before(rows, attempt) if drawn.of_session and attempt.resumes else 0.0)
    more, answers = total - attempt.drawn, max(drawn.answers, attempt.answers)
    if not (more > 0 and math.isfinite(more)) and answers == attempt.answers:
        return attempt
    more = more if more > 0 and math.isfinite(more) else 0.0
    after = replace(attempt, drawn=attempt.drawn + more, answers=answers)
    rows.put_drawn(after)
    if more:
        model, piece = family(job.model), tides.bucket(now)
        rows.add_draw(job.account, model, piece, more)
        if piece.minute == 0:  # now and then
            rows.drop_draws(job.account, now - tides.KEPT)
        for scope in (job.account, f"{job.account}/{model}"):
            for meter in rows.meters_on(scope):
                _put(rows, meter, tides.drew(meter, more, now, attempt.started_at), now)
    return after


def _before(rows: Rows, attempt: Attempt) -> float:
    """What the attempts before one have drawn in its session."""
    mine = [one for one in rows.attempts_of(attempt.job) if one.n < attempt.n and one.session == attempt.session]
    return math.fsum(one.drawn for one in mine)


def read(rows: Rows, readings: Iterable[Reading], now: datetime) -> None:
    """Write down what was read."""
    for reading in readings:
        if not math.isfinite(reading.used):
            continue
        before = rows.meter(reading.scope, reading.window)
        turned = tides.read(before, replace(reading, used=min(max(reading.used, 0.0), 1.0)), now)
        if turned is None:
            continue
        turned = _counted(rows, before, turned)
        _put(rows, before, turned, now)
        meter = turned.meter
        if tides.is_news(meter, before) and meter.used is not None:
            rows.add_reading(replace(reading, used=meter.used, drawn=meter.drawn))
            _learn(rows, reading)
        reserves.heed(rows, reading.scope, reading.window, now)


def _learn(rows: Rows, reading: Reading) -> None:
    """What was told soon after a window opened says whether it has begun anew."""
    habit = rows.habit(reading.scope, reading.window)
    if habit is not None and (known := reopening.read(habit, reading.used, reading.at)) != habit:
        rows.put_habit(known)


def refuse(rows: Rows, hold: Hold, now: datetime) -> None:
    """A refusal that shuts a gate has used up a window."""
    window = tides.window_for(hold.window, now, hold.resets_at)
    if hold.origin is not Origin.LIMIT or window not in LENGTHS:
        return
    before = rows.meter(hold.scope, window)
    turned = tides.refused(before, hold.scope, window, now, hold.resets_at)
    if before is None and turned.meter.resets_at is None:
        account, model = part(hold.scope)
        draws = [at for at, _ in rows.draws(account, model, now - 2 * LENGTHS[window])]
        turned = Turned(replace(turned.meter, begins_at=tides.begun(draws, window, now)))
    _put(rows, before, _counted(rows, before, turned), now)


def count(rows: Rows, job: Job, now: datetime) -> None:
    """Count what a job has cost that has succeeded."""
    if job.state is not State.SUCCEEDED:
        return
    run = [one for one in runs.last(rows.attempts_of(job.id)) if one.ended_at is not None]
    drawn = math.fsum(one.drawn for one in run)
    if drawn > 0:
        group = hints.kind(f"{job.batch_name}/{job.group}", job.expect, job.share)
        before = rows.cost(job.account, group) or Cost(account=job.account, group=group)
        rows.put_cost(tides.cost(before, drawn, math.fsum(one.seconds or 0.0 for one in run)), now)


def _counted(rows: Rows, before: Meter | None, turned: Turned) -> Turned:
    """A meter whose window begins elsewhere than was thought: with what was drawn since."""
    meter, tide = turned
    if before is not None and tide is None and abs(meter.begins_at - before.begins_at) < BUCKET:
        return turned
    last = tide or next(iter(rows.tides_of(meter.scope, meter.window, 1)), None)
    if last is not None and meter.begins_at < last.ended_at and abs(meter.begins_at - last.began_at) >= BUCKET:
        meter = replace(meter, begins_at=last.ended_at)  # no two windows overlap: it is as long as it is
        if before is not None and tide is None and before.begins_at >= last.ended_at:
            return Turned(meter)
    since = tides.bucket(meter.begins_at)
    if last is not None and tides.bucket(last.ended_at) == since:
        since += BUCKET  # of which the greater part may be the last window's
    account, model = part(meter.scope)
    drawn = math.fsum(tokens for _, tokens in rows.draws(account, model, since))
    is_read = before is None or meter.read_at != before.read_at or tide is not None
    reading = drawn if is_read else min(meter.drawn_at_reading, drawn)
    return Turned(replace(meter, drawn=drawn, drawn_at_reading=reading if meter.read_at else 0.0), tide)


def part(scope: str) -> tuple[str, str | None]:
    """The account and the model of a scope; None for all of its models."""
    account, slash, model = scope.partition("/")
    return account, model if slash else None


def _put(rows: Rows, before: Meter | None, turned: Turned, now: datetime) -> None:
    if turned.tide is not None:
        rows.put_tide(turned.tide)
        rows.drop_readings(turned.tide.scope, turned.tide.window, now - tides.KEPT)
        rows.event(now, "window ended", scope=turned.tide.scope, data=_told(turned.tide))
    if turned.meter != before:
        rows.put_meter(turned.meter)


def _told(tide: Tide) -> dict[str, object]:
    return {
        "window": tide.window.value,
        "began": iso(tide.began_at),
        "ended": iso(tide.ended_at),
        "used": tide.used,
        "drawn": round(tide.drawn),
        "refused": tide.refused,
    }
