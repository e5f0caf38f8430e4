"""The holds as one host pictures them: shut here first, then in the store."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tidegate import policy
from tidegate.model import Halt, Hold, Job, Origin, Window, scopes

Key = tuple[str, Origin, Window]


def key(hold: Hold) -> Key:
    """What a hold is known by."""
    return (hold.scope, hold.origin, hold.window)


class Gate:
    """The holds as the store last told them, and those that this process has just read off an agent's output.

    The claim asks the store itself. This picture only stops a launch between its claim and its start, and tells
    people what is going on.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._told: dict[Key, Hold] = {}
        self._fresh: dict[Key, Hold] = {}

    def __repr__(self) -> str:
        shut = [f"{hold.scope}({hold.allow})" for hold in self.holds()]
        return f"<Gate {' '.join(shut) or 'open'}>"

    def holds(self) -> list[Hold]:
        """Every hold that is known here."""
        return list({**self._told, **self._fresh}.values())

    def told(self, holds: Iterable[Hold]) -> None:
        """Take the store's word for what holds there are."""
        self._told = {key(hold): hold for hold in holds}

    def shut(self, hold: Hold) -> None:
        """Shut a scope here and now, before the store knows."""
        self._fresh[key(hold)] = hold

    def settled(self, hold: Hold) -> None:
        """The store has judged a fresh hold: from now on its own rows count."""
        self._fresh.pop(key(hold), None)

    def known(self, scope: str, window: Window) -> Hold | None:
        """The present limit hold of a scope and window."""
        return self._told.get((scope, Origin.LIMIT, window))

    def is_open(self, job: Job, now: datetime) -> bool:
        """Whether a job that was claimed a moment ago may still start."""
        holds = [hold for hold in self.holds() if not policy.is_due(hold, now)]  # the claim has turned what is
        shut = [hold for hold in holds if hold.allow == 0 and policy.prior_binds(hold, now)]
        mine = set(scopes(job, self._host)) if shut else ()
        return not any(hold.scope in mine for hold in shut)

    def binding(self, job: Job, now: datetime) -> list[Hold]:
        """The holds that keep a job back or limit its kind."""
        mine = set(scopes(job, self._host))
        return [hold for hold in self.holds() if hold.scope in mine and policy.prior_binds(hold, now)]

    def halting(self, job: Job, now: datetime) -> list[Hold]:
        """The holds that also bind a running attempt of a job."""
        halts = [hold for hold in self.holds() if hold.halt is not Halt.NONE]
        if not halts:
            return []
        mine = set(scopes(job, self._host))
        return [hold for hold in halts if hold.scope in mine and policy.prior_binds(hold, now)]
