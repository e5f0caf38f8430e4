"""What a store tells of work that is left and of its end, as rows and from plain jobs and attempts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Final, TypeVar

import msgspec
from msgspec.structs import asdict

from tidegate.model import AGENT, Attempt, Job, State, family
from tidegate.prospect import Forecast, Lap, Pile, Week
from tidegate.stores.rows import iso, iso_or_none, json_text

WORKED: Final = (State.SUCCEEDED, State.FAILED, State.ERROR)
UNCLAIMED: Final = "unclaimed"

Row = Sequence[object]


T = TypeVar("T")


def _said(value: object, kind: type[T]) -> T:
    """A value of a kind. Raises ValueError where it is none."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from error


def pile(row: Row) -> Pile:
    """A pile from its columns. Raises ValueError where they make none, as the others."""
    return _said(dict(zip(Pile.__struct_fields__, row, strict=True)), Pile)


def lap(row: Row) -> Lap:
    """A lap from its columns; a clock that was set back makes none shorter than nothing."""
    batch, account, group, seconds, spent, drawn, stays, ended_at = row
    return Lap(
        batch=_said(batch, int),
        account=str(account),
        group=str(group),
        seconds=max(_said(seconds, float), 0.0),
        spent=max(_said(spent, float), 0.0),
        drawn=_said(drawn, float),
        stays=bool(stays),
        ended_at=None if ended_at is None else datetime.fromisoformat(str(ended_at)),
    )


def forecast(row: Row) -> Forecast:
    """A forecast from its columns."""
    said = dict(zip(COLUMNS, row, strict=True))
    return _said({**said, "weeks": json.loads(str(said["weeks"]))}, Forecast)


def columns(one: Forecast) -> dict[str, str | int | None]:
    """The columns of a forecast."""
    weeks = json_text({name: _week(week) for name, week in one.weeks.items()})
    return {
        "batch": one.batch,
        "at": iso(one.at),
        "left": one.left,
        "slots": one.slots,
        "p50": iso_or_none(one.p50),
        "p90": iso_or_none(one.p90),
        "windows": one.windows,
        "weeks": weeks,
        "why": one.why,
    }


def _week(week: Week) -> dict[str, object]:
    return {**asdict(week), "full": iso_or_none(week.full)}


COLUMNS: Final = ("batch", "at", "left", "slots", "p50", "p90", "windows", "weeks", "why")


# --- from jobs and attempts as they are ---


def piles(jobs: Iterable[Job]) -> list[Pile]:
    """The unfinished among these jobs, which come by their ids."""
    found: dict[tuple[int, str, str, str], list[Job]] = {}
    for job in jobs:
        if not job.state.is_final:
            found.setdefault((job.batch, job.account, family(job.model), job.group), []).append(job)
    firsts = sorted(found.items(), key=lambda one: (one[0][0], one[1][0].id))
    return [_pile(*key, some) for key, some in firsts]


def _pile(batch: int, account: str, model: str, group: str, jobs: Sequence[Job]) -> Pile:
    running = sum(job.state is State.RUNNING for job in jobs)
    expected = [job.expect for job in jobs if job.expect is not None]
    return Pile(
        batch=batch,
        account=account,
        model=model,
        group=group,
        queued=len(jobs) - running,
        running=running,
        due=max((job.not_before for job in jobs if job.not_before is not None), default=None),
        unmet=sum(job.unmet > 0 for job in jobs),
        expect=sum(expected) / len(expected) if expected else None,
    )


def laps(jobs: Iterable[Job], attempts: Iterable[Attempt], now: datetime, most: int) -> list[Lap]:
    """Of the unfinished ones that were begun, those that run first; then of the `most` that have ended last."""
    found = {
        id: list(some) for id, some in groupby(sorted(attempts, key=lambda one: (one.job, one.n)), lambda one: one.job)
    }
    listed = list(jobs)
    begun = [job for job in listed if not job.state.is_final and job.id in found]
    ended = sorted((job.ended_at, job.id, job) for job in listed if job.ended_at is not None)[-most:]
    worked = [job for _, _, job in ended if job.state in WORKED and job.id in found]
    running = sorted(begun, key=lambda job: (job.state is not State.RUNNING, job.id))
    return [_lap(job, found[job.id], now) for job in [*running, *worked]]


def _lap(job: Job, attempts: Sequence[Attempt], now: datetime) -> Lap:
    begins = [one.n for one in attempts if not one.resumes and one.stage == AGENT and one.outcome != UNCLAIMED]
    first = max(begins, default=1)
    lengths = [(one.n, ((one.ended_at or now) - one.started_at).total_seconds()) for one in attempts]
    resumes = job.resumed and (job.session is not None or job.stage != AGENT)
    return Lap(
        batch=job.batch,
        account=job.account,
        group=job.group,
        seconds=max(sum(length for n, length in lengths if n >= first), 0.0),
        spent=max(sum(length for _, length in lengths), 0.0),
        drawn=sum(one.drawn for one in attempts),
        stays=job.ended_at is None and (job.state is State.RUNNING or resumes),
        ended_at=job.ended_at,
    )
