"""How a batch stands in one word, and which limit keeps it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from tidegate import policy
from tidegate.model import Hold, Job, Origin, State, scopes

PAUSED: Final[Mapping[Origin, str]] = {
    Origin.LIMIT: "paused_rate_limit",
    Origin.OPERATOR: "paused_operator",
    Origin.HOST: "paused_operator",
    Origin.HUMAN: "needs_human",
    Origin.DISK: "paused_disk",
    Origin.HOURS: "paused_hours",
    Origin.BUDGET: "paused_budget",
    Origin.RESERVE: "paused_reserve",
}
GRAVEST: Final = (
    *(Origin.HUMAN, Origin.OPERATOR, Origin.HOST, Origin.BUDGET, Origin.DISK, Origin.HOURS, Origin.RESERVE),
    Origin.LIMIT,
)


class Standing(Struct, frozen=True, kw_only=True):
    """`status` is one word; `limit` the hold of a provider's limit that keeps queued jobs back, if any does.

    With several it is the one that ends first: then something may run again.
    """

    status: str
    limit: Hold | None = None


def of(
    counts: Mapping[State, int], queued: Sequence[Job], holds: Sequence[Hold], now: datetime, host: str, *, works: bool
) -> Standing:
    """How a batch stands; `queued` are its queued jobs, or the first of many."""
    if not counts.get(State.QUEUED) and not counts.get(State.RUNNING):
        return Standing(status=_ended(counts))
    shut = [hold for hold in holds if hold.allow == 0 and policy.prior_binds(hold, now)]
    binding = [_binding(job, shut, host) for job in queued if not job.unmet] if shut else []
    limits = [hold for some in binding for hold in some if hold.origin is Origin.LIMIT]
    limit = min(limits, key=lambda hold: hold.until or now, default=None)
    return Standing(status=_open(counts, queued, binding, limit, works=works), limit=limit)


def _binding(job: Job, shut: Sequence[Hold], host: str) -> list[Hold]:
    mine = scopes(job, host)
    return [hold for hold in shut if hold.scope in mine]


def _open(
    counts: Mapping[State, int],
    queued: Sequence[Job],
    binding: Sequence[list[Hold]],
    limit: Hold | None,
    *,
    works: bool,
) -> str:
    """The word for a batch with jobs that have not ended."""
    if counts.get(State.RUNNING):
        return "running" if works else "interrupted"
    if queued and binding and all(binding):
        if limit is not None and any(all(hold.origin is Origin.LIMIT for hold in some) for some in binding):
            return PAUSED[Origin.LIMIT]  # some wait for nothing but the reset
        found = {hold.origin for some in binding for hold in some}
        return next(PAUSED[origin] for origin in GRAVEST if origin in found)
    return "waiting" if works else "interrupted"


def _ended(counts: Mapping[State, int]) -> str:
    if counts.get(State.ERROR) or counts.get(State.SKIPPED):
        return "failed"
    return "cancelled" if counts.get(State.CANCELLED) else "completed"
