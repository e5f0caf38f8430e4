"""What is known of the work that is left, in counts and lengths, and what was foretold of its end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct


class Pile(Struct, frozen=True, kw_only=True):
    """Unfinished jobs of a batch that are alike: with one account and family of models, in one group.

    The last of them starts `due` at the earliest; `unmet` of them wait for other jobs. A person expects that one takes
    `expect` seconds, None where nobody says.
    """

    batch: int
    account: str
    model: str
    group: str
    queued: int
    running: int
    due: datetime | None = None
    unmet: int = 0
    expect: float | None = None


class Lap(Struct, frozen=True, kw_only=True):
    """How long a job that was begun has worked: in its last run, with what that resumed, and in all its attempts.

    `ended_at` is None for one that has not ended; that goes on with its run where it `stays` in it. `drawn` is what all
    its attempts have used.
    """

    batch: int
    account: str
    group: str
    seconds: float
    spent: float
    drawn: float = 0.0
    stays: bool = False
    ended_at: datetime | None = None


class Week(Struct, frozen=True, kw_only=True):
    """What is used of an account's week, 0..1: now, and when the batch is done, where it goes on so.

    It is used up at `full` before that, where that is more likely than not.
    """

    now: float
    then: float
    full: datetime | None = None


class Forecast(Struct, frozen=True, kw_only=True):
    """What was foretold at an instant of a batch's end: with even odds by `p50`, nine times in ten by `p90`.

    Both are None where nobody can know: `why` says so, or else what may come between. `left` jobs had not ended,
    `slots` could run at once; `windows` are those of the account with the most that begin until then, None where
    nothing is known of any.
    """

    batch: int
    at: datetime
    left: int
    slots: int
    p50: datetime | None = None
    p90: datetime | None = None
    windows: int | None = None
    weeks: Mapping[str, Week] = {}
    why: str = ""
