"""Takes the best queued jobs that no hold binds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import heapify, heappop, heapreplace

from tidegate import policy
from tidegate.model import Account, Attempt, Hold, Job, Origin, Supervisor
from tidegate.policy import Rules
from tidegate.stores.rows import Candidate, Known, Lane, Rows, iso_or_none

Queue = dict[Lane, list[Candidate]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimer:
    """Who claims, when, and by which numbers."""

    me: Supervisor
    now: datetime
    rules: Rules


def claim(rows: Rows, who: Claimer, *, most: int, batch: int | None) -> list[tuple[Job, Attempt]]:
    """Take up to `most` jobs; to be called inside a transaction."""
    turn_due(rows, who.now)
    rows.promote(who.now)
    return _Taking(rows, who).take(most, batch)


def turn_due(rows: Rows, now: datetime) -> None:
    """Each limit whose end has come turns into its ramp; each other such hold is lifted."""
    for hold in rows.due_holds(now):
        if hold.origin is Origin.LIMIT:
            seq = rows.event(now, "gate reopening", scope=hold.scope, data={**about(hold), "allow": 1})
            rows.put_hold(policy.reopening(hold, now, seq))
            rows.put_opening(hold.scope, seq, now)
        else:
            rows.drop_hold(hold)
            rows.event(now, "gate lifted", scope=hold.scope, data={**about(hold), "by": "time"})


def about(hold: Hold) -> dict[str, str]:
    """Which of a scope's holds an event is about."""
    return {"origin": hold.origin.value, "window": hold.window.value}


class _Taking:
    """What one claim sees, and what it has taken so far."""

    def __init__(self, rows: Rows, who: Claimer) -> None:
        self._rows = rows
        self._who = who
        self._holds: dict[str, list[Hold]] = defaultdict(list)
        for hold in rows.wide_holds():
            self._holds[hold.scope].append(hold)
        self._known: dict[str, Known] = {}
        self._running: dict[str, list[int]] | None = None

    def take(self, most: int, batch: int | None) -> list[tuple[Job, Attempt]]:
        """The best jobs of all open lanes, one after the other."""
        queue = self._queue(most, batch)
        heads = [(found[0], lane.id) for lane, found in queue.items()]
        lanes = {lane.id: lane for lane in queue}
        heapify(heads)
        taken: list[tuple[Job, Attempt]] = []
        while heads and len(taken) < most:
            best, lane = heads[0][0], lanes[heads[0][1]]
            if not taken or self._places(lane) > 0:  # the queue holds only lanes with a place for one
                taken.append(self._claim(lane, best.id))
                queue[lane].pop(0)
            else:
                queue[lane].clear()  # places only become fewer within one claim
            if queue[lane]:
                heapreplace(heads, (queue[lane][0], lane.id))
            else:
                heappop(heads)
        return taken

    def _queue(self, most: int, batch: int | None) -> Queue:
        queue: Queue = {}
        for lane in self._rows.waiting(batch):
            if self._places(lane) > 0:
                found = list(self._rows.ready(lane, most + 1))  # one more: somebody else than the last canary
                if found:
                    self._start_carefully(lane.account)
                    queue[lane] = found
        for hold in [hold for holds in self._holds.values() for hold in holds]:
            if _lets_one_go(hold) and hold.canary is not None:
                _prefer_another(queue, [lane for lane in queue if hold.scope in self._scopes(lane)], hold.canary)
        return queue

    def _start_carefully(self, account: str) -> None:
        """Where nobody knows whether a cautious account is open, one attempt goes first."""
        known, who = self._account(account), self._who
        recent = known.at is not None and (who.now - known.at).total_seconds() <= who.rules.recent
        if not known.account.cautious or recent or self._crowd().get(account):
            return
        if any(hold.origin in (Origin.LIMIT, Origin.START) for hold in self._holds[account]):
            return
        hold = policy.starting(account, who.now, 0)
        seq = self._rows.event(
            who.now, "gate ramped", scope=account, data={**about(hold), "allow": 1, "reason": hold.reason}
        )
        hold = replace(hold, epoch=seq)
        self._rows.put_hold(hold)
        self._holds[account].append(hold)

    def _claim(self, lane: Lane, id: int) -> tuple[Job, Attempt]:
        found = self._rows.job(id)
        assert found is not None, "a candidate is a row of this transaction"
        job, who = policy.claimed(found), self._who
        ramps = [hold for hold in self._binding(lane) if _lets_one_go(hold)]
        seq = self._rows.event(
            who.now,
            "attempt claimed",
            job=id,
            attempt=job.launches,
            scope=ramps[0].scope if ramps else None,
            data={
                "n": job.launches,
                "canary": bool(ramps),
                "resumes": job.session is not None,
                "account": job.account,
            },
        )
        attempt = Attempt(
            job=id, n=job.launches, supervisor=who.me.uuid, epoch=seq, started_at=who.now, canary=bool(ramps)
        )
        self._rows.put_job(job)
        self._rows.add_attempt(attempt)
        for hold in ramps:
            self._rows.put_hold(replace(hold, canary=id))
        self._add_to_crowd(lane, seq)
        return job, attempt

    # --- what binds ---

    def _scopes(self, lane: Lane) -> Sequence[str]:
        return lane.scopes(self._who.me.host)

    def _binding(self, lane: Lane) -> list[Hold]:
        return [hold for scope in self._scopes(lane) for hold in self._holds.get(scope, ())]

    def _account(self, name: str) -> Known:
        if name not in self._known:
            self._known[name] = self._rows.known(name) or Known(Account(name=name))
        return self._known[name]

    def _places(self, lane: Lane) -> int:
        most = self._account(lane.account).account.max_running
        counts = most is not None or any(hold.allow for hold in self._binding(lane))
        running = self._crowd() if counts else {}
        return policy.places(self._scopes(lane), self._holds, running, self._who.now, most=most, account=lane.account)

    def _crowd(self) -> Mapping[str, list[int]]:
        """The epochs of what runs, by scope; read once, and only where somebody counts."""
        if self._running is None:
            self._running = defaultdict(list)
            for one in self._rows.crowd():
                for scope in one.lane.scopes(one.host):
                    self._running[scope].append(one.epoch)
        return self._running

    def _add_to_crowd(self, lane: Lane, epoch: int) -> None:
        if self._running is not None:
            for scope in self._scopes(lane):
                self._running[scope].append(epoch)


def _lets_one_go(hold: Hold) -> bool:
    """Whether a limit has just reopened: its next attempt is the canary."""
    return hold.origin is Origin.LIMIT and hold.ramp and hold.allow == 1


def _prefer_another(queue: Queue, lanes: Sequence[Lane], canary: int) -> None:
    """Leave the last canary out where another job waits in the same scope."""
    if any(one.id != canary for lane in lanes for one in queue[lane]):
        for lane in lanes:
            queue[lane] = [one for one in queue[lane] if one.id != canary]
            if not queue[lane]:
                del queue[lane]


def told(hold: Hold) -> dict[str, object]:
    """What an event tells about a hold that was made or moved."""
    return {
        **about(hold),
        "allow": hold.allow,
        "until": iso_or_none(hold.until),
        "resets_at": iso_or_none(hold.resets_at),
        "exact": hold.exact,
        "reason": hold.reason,
        "evidence": hold.evidence,
        "by": hold.by,
    }
