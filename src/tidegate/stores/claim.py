"""Takes the best queued jobs that no hold binds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from heapq import heapify, heappop, heapreplace

from msgspec import Struct
from msgspec.structs import replace

from tidegate import policy
from tidegate.model import Account, Attempt, Hold, Job, Origin, Supervisor
from tidegate.policy import Rules
from tidegate.stores import timetable
from tidegate.stores.admitting import Admitting
from tidegate.stores.rows import Candidate, Known, Lane, Rows, about


class Claimer(Struct, frozen=True, kw_only=True):
    """Who claims, when, and by which numbers."""

    me: Supervisor
    now: datetime
    rules: Rules


def claim(rows: Rows, who: Claimer, *, most: int, batch: int | None) -> list[tuple[Job, Attempt]]:
    """Take up to `most` jobs, 0 for none: the holds are turned all the same; to be called inside a transaction."""
    turn_due(rows, who.now)
    timetable.keep(rows, who.now)
    rows.promote(who.now)
    return _Taking(rows, who).take(most, batch) if most else []


def turn_due(rows: Rows, now: datetime) -> None:
    """Each limit whose end has come, or that is to be tried, turns into its ramp; each other such hold is lifted."""
    for hold in rows.due_holds(now):
        if hold.origin is Origin.LIMIT:
            name = "gate reopening" if policy.has_ended(hold, now) else "gate tried"
            seq = rows.event(now, name, scope=hold.scope, data={**about(hold), "allow": 1})
            rows.put_hold(policy.reopening(hold, now, seq))
            if not hold.ramp:  # else it was opened when it was tried
                rows.put_opening(hold.scope, seq, now)
        else:
            rows.drop_hold(hold)
            rows.event(now, "gate lifted", scope=hold.scope, data={**about(hold), "by": "time"})


class _Taking:
    """What one claim sees, and what it has taken so far."""

    def __init__(self, rows: Rows, who: Claimer) -> None:
        self._rows = rows
        self._who = who
        self._holds: dict[str, list[Hold]] = defaultdict(list)
        for hold in rows.wide_holds():
            self._holds[hold.scope].append(hold)
        self._known: dict[str, Known] = {}
        self._running: dict[str, Sequence[int]] | None = None
        self._admitting = Admitting(rows, who.now)

    def take(self, most: int, batch: int | None) -> list[tuple[Job, Attempt]]:
        """The best jobs of all open lanes, one after the other."""
        lanes = self._open(batch)
        heads = [(best, lane.id) for lane, best in self._heads(list(lanes.values())).items()]
        heapify(heads)
        taken: list[tuple[Job, Attempt]] = []
        while heads and len(taken) < most:
            best, lane = heads[0][0], lanes[heads[0][1]]
            behind: Sequence[Candidate] = ()
            may = not taken or self._places(lane) > 0  # at first each lane here has a place for one
            if may and (picked := self._picked(lane, best)) is not None:
                taken.append(self._claim(lane, picked.id))
                behind = self._rows.ready(lane, 1, self._who.me.only) if len(taken) < most else ()
            if behind:
                heapreplace(heads, (behind[0], lane.id))
            else:
                heappop(heads)  # empty, or full: places only become fewer within one claim
        return taken

    def _open(self, batch: int | None) -> dict[int, Lane]:
        """The lanes with queued jobs and a free place."""
        free: dict[Sequence[str], bool] = {}
        lanes = {}
        for lane in self._rows.waiting(batch):
            held = lane.batch_name if f"batch:{lane.batch_name}" in self._holds else ""
            kind = (lane.account, lane.model, held)
            if kind not in free:
                free[kind] = self._places(lane) > 0
            if free[kind]:
                lanes[lane.id] = lane
        return lanes

    def _heads(self, lanes: Sequence[Lane]) -> dict[Lane, Candidate]:
        """The best job of each lane that has a ready one; not the last canary where another can go."""
        heads = self._rows.heads(lanes, self._who.me.only)
        for account in {lane.account for lane in heads}:
            self._start_carefully(account)
        every = [hold for holds in self._holds.values() for hold in holds]
        if reopened := [hold for hold in every if _lets_one_go(hold) and hold.canary is not None]:
            self._prefer_others(heads, reopened)
        return heads

    def _prefer_others(self, heads: dict[Lane, Candidate], reopened: Sequence[Hold]) -> None:
        """No last canary goes where somebody who was none of late waits in the scope."""
        mine = {lane: [hold for hold in reopened if hold.scope in self._scopes(lane)] for lane in heads}
        only = self._who.me.only
        ready = {lane: self._rows.ready(lane, len(holds) + 1, only) for lane, holds in mine.items() if holds}
        waited_for: set[str] = set()
        for lane, candidates in ready.items():
            last = {hold.canary for hold in mine[lane]}
            if any(one.id not in last for one in candidates):
                waited_for.update(hold.scope for hold in mine[lane])
        for lane, candidates in ready.items():
            barred = {hold.canary for hold in mine[lane] if hold.scope in waited_for}
            best = next((one for one in candidates if one.id not in barred), None)
            if best is None:
                del heads[lane]
            else:
                heads[lane] = best

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

    def _picked(self, lane: Lane, best: Candidate) -> Candidate | None:
        """The best job of a lane that is expected to fit what is left; a canary finds out."""
        if any(map(_lets_one_go, self._binding(lane))):
            return best
        account = self._account(lane.account).account
        return self._admitting.picked(account, lane, best, self._who.me.only)

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
                **({"stage": job.stage} if job.stage else {}),
            },
        )
        attempt = Attempt(
            job=id,
            n=job.launches,
            supervisor=who.me.uuid,
            epoch=seq,
            started_at=who.now,
            canary=bool(ramps),
            stage=job.stage,
            resumes=job.session is not None,
        )
        self._rows.put_job(job)
        self._rows.add_attempt(attempt)
        self._admitting.started(self._account(lane.account).account, id)
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

    def _crowd(self) -> Mapping[str, Sequence[int]]:
        """The epochs of what runs, by scope; read once, and only where somebody counts."""
        if self._running is None:
            every = [hold for holds in self._holds.values() for hold in holds]
            exactly = any(hold.ramp or hold.scope.startswith("host:") for hold in every)
            self._running = self._epochs() if exactly else self._numbers()
        return self._running

    def _epochs(self) -> dict[str, Sequence[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for one in self._rows.crowd():
            for scope in one.lane.scopes(one.host):
                found[scope].append(one.epoch)
        return dict(found)

    def _numbers(self) -> dict[str, Sequence[int]]:
        """Where no ramp asks for the epochs and no host is counted, the lanes' own counts will do."""
        found: Counter[str] = Counter()
        for lane, running in self._rows.busy():
            found.update(dict.fromkeys(self._scopes(lane), running))
        return {scope: range(number) for scope, number in found.items()}

    def _add_to_crowd(self, lane: Lane, epoch: int) -> None:
        if self._running is not None:
            for scope in self._scopes(lane):
                self._running[scope] = [*self._running.get(scope, ()), epoch]


def _lets_one_go(hold: Hold) -> bool:
    """Whether a limit has just reopened: its next attempt is the canary."""
    return hold.origin is Origin.LIMIT and hold.ramp and hold.allow == 1
