"""Keeps the store in plain dicts: for tests and models, gone with the process."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from heapq import nsmallest
from itertools import islice
from threading import RLock
from typing import Any

from msgspec.structs import replace

from tidegate import budget, policy
from tidegate.errors import StoreBroken
from tidegate.model import (
    AGENT,
    Account,
    Ask,
    Attempt,
    Balance,
    Batch,
    Cost,
    Event,
    Group,
    Habit,
    Held,
    Hold,
    Job,
    Meter,
    Need,
    NewJob,
    Origin,
    Past,
    Reading,
    Request,
    Reserve,
    Share,
    Shut,
    Spent,
    Stand,
    State,
    Supervisor,
    Tide,
    Usage,
    Window,
    family,
)
from tidegate.prospect import Forecast, Lap, Pile
from tidegate.selection import fits
from tidegate.stores import Turn, prospects, spending, timetable
from tidegate.stores.ledger import Ledger
from tidegate.stores.rows import (
    Candidate,
    Crowd,
    Defined,
    Draft,
    Fresh,
    Kept,
    Known,
    Lane,
    Standing,
    Ties,
    Wanted,
    define,
    together,
)

Key = tuple[str, Origin, Window]
Old = tuple[dict[Any, Any], Hashable, Any]
_NOTHING: Any = object()


class _Rows:
    """The rows as dicts, and how to undo what a transaction wrote; see the port Rows for what each promises."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.events: dict[int, Event] = {}
        self.supervisors: dict[str, tuple[Supervisor, datetime | None]] = {}
        self.accounts: dict[str, Known] = {}
        self.holds: dict[Key, Hold] = {}
        self.openings: dict[str, tuple[int, datetime]] = {}
        self.habits: dict[tuple[str, Window], Habit] = {}
        self.batches: dict[str, int] = {}
        self.ids: dict[tuple[int, str], int] = {}
        self.jobs: dict[int, Job] = {}
        self.digests: dict[int, bytes] = {}
        self.attempts: dict[tuple[int, int], Attempt] = {}
        self.times: dict[tuple[str, str], tuple[int, str]] = {}
        self.requested: dict[int, Request] = {}
        self.met: dict[tuple[int, int], bool] = {}
        self.tied: dict[tuple[int, str], Group] = {}
        self.ledgers: dict[tuple[str, int, str], Spent] = {}
        self.kept: dict[tuple[str, str], Kept] = {}
        self.drawn: dict[tuple[str, str, datetime], float] = {}
        self.gauges: dict[tuple[str, str], Meter] = {}
        self.over: dict[tuple[str, Window, datetime], Tide] = {}
        self.heard: dict[tuple[str, Window, datetime], Reading] = {}
        self.prices: dict[tuple[str, str], tuple[Cost, datetime]] = {}
        self.withheld: dict[str, Held] = {}
        self.left: dict[tuple[str, str, str], Reserve] = {}
        self.history: dict[tuple[str, str], Past] = {}
        self.closings: dict[tuple[str, str, datetime], Shut] = {}
        self.forecasts: dict[tuple[int, datetime], Forecast] = {}
        self.last: dict[str, int] = {}
        self.is_open = True
        self._lanes: dict[tuple[int, str, str | None, int], int] = {}
        self._written: list[Old] = []
        self._depth = 0

    @contextmanager
    def look(self) -> Iterator[None]:
        """Several reads of one moment."""
        with self.lock:
            if not self.is_open:
                raise StoreBroken("the store is closed")
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self.look():
            self._depth += 1
            mark = len(self._written)
            try:
                yield
            except BaseException:
                self._undo(mark)
                raise
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._written.clear()

    def _undo(self, mark: int) -> None:
        while len(self._written) > mark:
            table, key, old = self._written.pop()
            if old is _NOTHING:
                table.pop(key, None)
            else:
                table[key] = old

    def _put(self, table: dict[Any, Any], key: Hashable, value: object) -> None:
        assert self._depth, "writes outside of a transaction are not allowed"
        self._written.append((table, key, table.get(key, _NOTHING)))
        table[key] = value

    def _drop(self, table: dict[Any, Any], key: Hashable) -> None:
        self._put(table, key, table.get(key))
        del table[key]

    def _next(self, what: str) -> int:
        """The next number of a kind; none is given twice, whatever is forgotten meanwhile."""
        self._put(self.last, what, self.last.get(what, 0) + 1)
        return self.last[what]

    def event(
        self,
        at: datetime,
        name: str,
        *,
        job: int | None = None,
        attempt: int | None = None,
        scope: str | None = None,
        data: Mapping[str, object] | None = None,
    ) -> int:
        seq = self._next("event")
        event = Event(seq=seq, at=at, name=name, job=job, attempt=attempt, scope=scope, data=dict(data or {}))
        self._put(self.events, seq, event)
        return seq

    def same_event(self, at: datetime, name: str, jobs: Sequence[int], data: Mapping[str, object]) -> None:
        for job in jobs:
            self.event(at, name, job=job, data=data)

    # --- who works ---

    def supervisor(self, uuid: str) -> Supervisor | None:
        found, left = self.supervisors.get(uuid, (None, None))
        return None if left else found

    def is_known(self, uuid: str) -> bool:
        return uuid in self.supervisors

    def add_supervisor(self, supervisor: Supervisor) -> None:
        self._put(self.supervisors, supervisor.uuid, (supervisor, None))

    def end_supervisor(self, uuid: str, now: datetime) -> None:
        self._put(self.supervisors, uuid, (self.supervisors[uuid][0], now))

    def supervisors_on(self, host: str | None) -> list[Supervisor]:
        """As the port says; with None, on every host."""
        found = [one for one, left in self.supervisors.values() if left is None and host in (None, one.host)]
        return sorted(found, key=lambda one: (one.started_at, one.uuid))

    # --- accounts ---

    def known(self, account: str) -> Known | None:
        return self.accounts.get(account)

    def put_known(self, known: Known) -> None:
        self._put(self.accounts, known.account.name, known)

    # --- holds ---

    def hold(self, scope: str, origin: Origin, window: Window) -> Hold | None:
        return self.holds.get((scope, origin, window))

    def holds_on(self, scope: str) -> list[Hold]:
        return [hold for hold in self.every_hold() if hold.scope == scope]

    def wide_holds(self) -> list[Hold]:
        return [hold for hold in self.every_hold() if not hold.scope.startswith("job:")]

    def every_hold(self) -> list[Hold]:
        return [self.holds[key] for key in sorted(self.holds)]

    def due_holds(self, now: datetime) -> list[Hold]:
        due = [hold for hold in self.every_hold() if policy.is_due(hold, now)]
        ended = [hold for hold in due if policy.has_ended(hold, now) and not hold.ramp]
        early = [hold for hold in due if hold.ramp or not policy.has_ended(hold, now)]
        first = sorted(ended, key=lambda hold: hold.until or now)
        return [*first, *sorted(early, key=lambda hold: hold.early_at or now)]

    def put_hold(self, hold: Hold) -> None:
        self._put(self.holds, (hold.scope, hold.origin, hold.window), hold)

    def drop_hold(self, hold: Hold) -> None:
        self._drop(self.holds, (hold.scope, hold.origin, hold.window))

    def hours(self) -> list[tuple[str, str]]:
        last = sorted(self.times.items(), key=lambda one: one[1])  # by when it was said
        return sorted({scope: text for (scope, _), (_, text) in last}.items())

    def hours_by(self, source: str) -> list[tuple[str, str]]:
        return sorted((scope, text) for (scope, said_by), (_, text) in self.times.items() if said_by == source)

    def put_hours(self, scope: str, source: str, hours: str) -> None:
        at = max((at for at, _ in self.times.values()), default=0) + 1
        self._put(self.times, (scope, source), (at, hours))

    def drop_hours(self, scope: str, source: str) -> None:
        if (scope, source) in self.times:
            self._drop(self.times, (scope, source))

    def opening(self, scope: str) -> tuple[int, datetime] | None:
        return self.openings.get(scope)

    def put_opening(self, scope: str, epoch: int, at: datetime) -> None:
        self._put(self.openings, scope, (epoch, at))

    def habit(self, scope: str, window: Window) -> Habit | None:
        return self.habits.get((scope, window))

    def put_habit(self, habit: Habit) -> None:
        self._put(self.habits, (habit.scope, habit.window), habit)

    def has_shut(self, attempt: Attempt, hold: Hold) -> bool:
        said = {"origin": hold.origin.value, "window": hold.window.value, "evidence": hold.evidence}
        return any(
            event.name in ("gate shut", "gate moved", "gate narrowed") and said.items() <= event.data.items()
            for event in self.events.values()
            if (event.job, event.attempt, event.scope) == (attempt.job, attempt.n, hold.scope)
        )

    # --- batches ---

    def batch(self, name: str) -> int:
        if name not in self.batches:
            self._put(self.batches, name, self._next("batch"))
        return self.batches[name]

    def batch_named(self, name: str) -> int | None:
        return self.batches.get(name)

    def define(self, new: NewJob) -> Defined:
        return define(new, lambda _, value: value)

    def standing(self, batch: int, names: Sequence[str]) -> dict[str, Standing]:
        ids = {name: self.ids[batch, name] for name in names if (batch, name) in self.ids}
        rows = {name: self.jobs[id] for name, id in ids.items()}
        return {
            name: Standing(job.id, job.state, self.digests[job.id], job.expect, job.share) for name, job in rows.items()
        }

    def first_free(self) -> int:
        return self.last.get("job", 0) + 1

    def states(self, jobs: Sequence[int]) -> dict[int, State]:
        return {id: self.jobs[id].state for id in jobs if id in self.jobs}

    def add_jobs(self, batch: int, jobs: Sequence[Fresh], now: datetime) -> None:
        names = {id: name for name, id in self.batches.items()}
        for id, name, job, unmet in jobs:
            assert id == self._next("job")
            new = job.new
            row = Job(
                id=id,
                batch=batch,
                batch_name=names[batch],
                name=name,
                account=new.account,
                spec=new.spec,
                model=new.model,
                group=new.group,
                priority=new.priority,
                not_before=new.not_before,
                unmet=unmet,
                created_at=now,
                expect=new.expect,
                share=new.share,
            )
            self._put(self.jobs, id, row)
            self._put(self.ids, (batch, name), id)
            self._put(self.digests, id, job.digest)
            self.event(now, "job added", job=id)

    def add_needs(self, needs: Sequence[tuple[int, int, bool]]) -> None:
        for job, id, met in needs:
            self._put(self.met, (job, id), met)

    def redefine(self, id: int, batch: int, job: Defined) -> None:  # noqa: ARG002 - a lane is computed here
        new = job.new
        changed = replace(
            self.jobs[id],
            spec=new.spec,
            account=new.account,
            model=new.model,
            group=new.group,
            priority=new.priority,
        )
        self._put(self.jobs, id, changed)
        self._put(self.digests, id, job.digest)

    def put_hint(self, id: int, expect: float | None, share: Share | None) -> None:
        self._put(self.jobs, id, replace(self.jobs[id], expect=expect, share=share))

    def by_id(self, *, newest_first: bool = False) -> list[Job]:
        """Every job; a row that an undo has brought back is the last of its table."""
        return sorted(self.jobs.values(), key=lambda job: job.id, reverse=newest_first)

    def size(self, batch: int) -> int:
        return len(self.names(batch))

    def names(self, batch: int) -> list[str]:
        return [job.name for job in self.by_id() if job.batch == batch]

    # --- jobs ---

    def promote(self, now: datetime) -> None:
        for job in list(self.jobs.values()):
            if job.state is State.QUEUED and job.not_before is not None and job.not_before <= now:
                self._put(self.jobs, job.id, replace(job, not_before=None))

    def unstrand(self, now: datetime, horizon: datetime) -> None:
        for job in list(self.jobs.values()):
            if job.state is State.QUEUED and job.launches and job.not_before is not None and job.not_before > horizon:
                self._put(self.jobs, job.id, replace(job, not_before=now))

    def waiting(self, batch: int | None) -> list[Lane]:
        queued = [job for job in self.jobs.values() if job.state is State.QUEUED and batch in (None, job.batch)]
        firsts: dict[int, Job] = {}
        for job in queued:
            if self._is_open(job):
                firsts.setdefault(self._lane_id(job), job)
        return list(map(self._lane, firsts.values()))

    def _is_open(self, job: Job) -> bool:
        group = self.tied.get((job.batch, job.group))
        return group is None or group.stand is Stand.OPEN

    def heads(self, lanes: Sequence[Lane], only: Sequence[str]) -> dict[Lane, Candidate]:
        return {lane: best for lane in lanes for best in self.ready(lane, 1, only)}

    def ready(self, lane: Lane, most: int, only: Sequence[str]) -> list[Candidate]:
        held = {hold.scope for hold in self.holds.values() if hold.allow == 0}
        found = [
            Candidate(-job.priority, 1 - job.resumed, job.id)
            for job in self.jobs.values()
            if job.state is State.QUEUED and self._lane_id(job) == lane.id
            if self._is_ready(job) and f"job:{job.id}" not in held
            if fits(job.name, job.group, only)
        ]
        return nsmallest(most, found)

    def _is_ready(self, job: Job) -> bool:
        return job.not_before is None and not job.unmet

    def _lane(self, job: Job) -> Lane:
        return Lane(self._lane_id(job), job.batch, job.batch_name, job.account, family(job.model))

    def _lane_id(self, job: Job) -> int:
        what = (job.batch, job.account, job.model and family(job.model), self._tied(job))
        return self._lanes.setdefault(what, len(self._lanes) + 1)

    def _tied(self, job: Job) -> int:
        group = self.tied.get((job.batch, job.group))
        return group.id if group else 0

    def busy(self) -> list[tuple[Lane, int]]:
        lanes = [self._lane(job) for job in self.jobs.values() if job.state is State.RUNNING]
        return [(lane, lanes.count(lane)) for lane in set(lanes)]

    def crowd(self) -> list[Crowd]:
        return [
            Crowd(one.epoch, self._lane(self.jobs[one.job]), self.supervisors[one.supervisor][0].host)
            for one in self.attempts.values()
            if one.ended_at is None
        ]

    def job(self, id: int) -> Job | None:
        return self.jobs.get(id)

    def put_job(self, job: Job) -> None:
        self._put(self.jobs, job.id, job)

    def move(self, job: Job) -> None:
        """A row is whole here."""

    def put_charges(self, job: Job) -> None:
        """They are a part of the job here."""

    def put_priority(self, job: int, priority: int) -> None:
        self._put(self.jobs, job, replace(self.jobs[job], priority=priority))

    # --- what hangs on a job ---

    def ties(self, job: int) -> Ties:
        asked = self.pending(Ask.CANCEL, job) is not None
        return Ties(asked, bool(self._waiting_for(job)), self._tied(self.jobs[job]), bool(self.kept))

    def cancel(self, jobs: Sequence[int], by: str, now: datetime) -> list[tuple[int, str]]:
        mine = [self.jobs[id] for id in sorted(jobs) if self.jobs[id].stage == AGENT]
        found = [(job, policy.cancelled(job, by, now)) for job in mine]
        cancelled = [after for job, after in found if after is not job]
        for job in cancelled:
            self.put_job(job)
        return [(job.id, job.name) for job in cancelled]

    def skip(self, needed: int, reason: str, now: datetime) -> list[tuple[int, str]]:
        waiting = [self.jobs[id] for id in self._waiting_for(needed)]
        found = [(job, policy.skipped(job, self.jobs[needed], now)) for job in waiting]
        skipped = [after for job, after in found if after is not job]
        assert all(job.reason == reason for job in skipped)
        for job in skipped:
            self.put_job(job)
        return [(job.id, job.name) for job in skipped]

    def needed(self, jobs: Sequence[int]) -> list[int]:
        waited_for = {needs for (_, needs), met in self.met.items() if not met}
        return [id for id in jobs if id in waited_for]

    def _waiting_for(self, job: int) -> list[int]:
        return sorted(one for (one, needs), met in self.met.items() if needs == job and not met)

    def unmet(self, job: int) -> list[int]:
        return sorted(needs for (one, needs), met in self.met.items() if one == job and not met)

    def meet(self, job: int) -> None:
        for one in self._waiting_for(job):
            self._put(self.met, (one, job), value=True)
            self._put(self.jobs, one, replace(self.jobs[one], unmet=self.jobs[one].unmet - 1))

    # --- groups ---

    def groups(self, batch: int | None) -> list[Group]:
        own = sorted((one for one in self.tied.values() if batch in (None, one.batch)), key=lambda one: one.id)
        return [replace(one, counts=self._counts(one.id)) for one in own]

    def _counts(self, group: int) -> dict[State, int]:
        states = [job.state for job in self._in(group)]
        return {state: states.count(state) for state in State}

    def _in(self, group: int) -> list[Job]:
        return [job for job in self.by_id() if self._tied(job) == group]

    def tie(self, batch: int, name: str) -> int:
        if (batch, name) not in self.tied:
            batch_name = next(name for name, id in self.batches.items() if id == batch)
            group = Group(id=self._next("group"), batch=batch, batch_name=batch_name, name=name)
            self._put(self.tied, (batch, name), group)
        return self.tied[batch, name].id

    def put_group(self, group: Group) -> None:
        before = self.tied[group.batch, group.name]
        after = replace(before, when=group.when, stand=group.stand, reason=group.reason)
        self._put(self.tied, (group.batch, group.name), after)

    def put_group_needs(self, group: int, needs: Sequence[int]) -> None:
        names = {one.id: one.name for one in self.tied.values()}
        before = next(one for one in self.tied.values() if one.id == group)
        after = replace(before, needs=tuple(names[id] for id in sorted(needs)))
        self._put(self.tied, (before.batch, before.name), after)

    def is_unfinished(self, group: int) -> bool:
        return not all(job.state.is_final for job in self._in(group))

    def has_begun(self, group: int) -> bool:
        ran = (State.RUNNING, State.SUCCEEDED, State.FAILED, State.ERROR)
        return any(
            job.state in ran or (job.state is State.QUEUED and (job.resumed or job.attempts or job.stage))
            for job in self._in(group)
        )

    def first_bad(self, group: int) -> tuple[str, State] | None:
        waits = next(one for one in self.tied.values() if one.id == group)
        needed = [job for job in self.by_id() if job.batch == waits.batch and job.group in waits.needs]
        bad = [job for job in needed if job.state.is_final and job.state is not State.SUCCEEDED]
        return (bad[0].name, bad[0].state) if bad else None

    def leave_out(self, group: int, reason: str, now: datetime) -> list[tuple[int, str]]:
        queued = [job for job in self._in(group) if job.state is State.QUEUED]
        for job in queued:
            self.put_job(policy.left_out(job, reason, now))
        return [(job.id, job.name) for job in queued]

    def bring_back(self, group: int, reason: str) -> list[tuple[int, int]]:
        skipped = [job for job in self._in(group) if job.state is State.SKIPPED and job.reason == reason]
        for job in skipped:
            self.put_job(policy.retried(job))
        return [(job.id, job.unmet) for job in skipped]

    def tied_batches(self, jobs: Sequence[int]) -> list[int]:
        return sorted({self.jobs[id].batch for id in jobs if self._tied(self.jobs[id])})

    def forgettable(self, jobs: Sequence[int]) -> list[int]:
        needed = {needs for (one, needs) in self.met if not self.jobs[one].state.is_final}
        needed |= {job.id for one in self.groups(None) if self.is_unfinished(one.id) for job in self._needed_by(one)}
        return [id for id in jobs if id in self.jobs and self.jobs[id].state.is_final and id not in needed]

    def _needed_by(self, group: Group) -> list[Job]:
        return [job for job in self.jobs.values() if job.batch == group.batch and job.group in group.needs]

    def forget(self, jobs: Sequence[int]) -> None:
        for past in together(self.past(jobs)):
            key = (past.day, past.account)
            (whole,) = together([past, *([self.history[key]] if key in self.history else [])])
            self._put(self.history, key, whole)
        for shut in self.shuts(jobs):
            self._put(self.closings, (shut.scope, shut.window, shut.since), shut)
        for id in jobs:
            for one in self._waiting_for(id):
                self._put(self.jobs, one, replace(self.jobs[one], unmet=self.jobs[one].unmet - 1))
            scope = f"job:{id}"
            self._drop_all(self.met, [key for key in self.met if id in key])
            self._drop_all(self.attempts, [key for key in self.attempts if key[0] == id])
            self._drop_all(self.holds, [key for key in self.holds if key[0] == scope])
            self._drop_all(self.openings, [key for key in self.openings if key == scope])
            self._drop_all(self.times, [key for key in self.times if key[0] == scope])
            self._drop_all(self.events, [seq for seq, event in self.events.items() if event.job == id])
            self._drop(self.ids, (self.jobs[id].batch, self.jobs[id].name))
            self._drop(self.digests, id)
            self._drop(self.jobs, id)

    def past(self, jobs: Collection[int]) -> list[Past]:
        """What became of these jobs."""
        found = [self._past_of(one) for one in self.attempts.values() if one.job in jobs]
        for job in map(self.jobs.__getitem__, jobs):
            if job.ended_at is not None:
                day = job.ended_at.astimezone(UTC).date().isoformat()
                found.append(Past(day=day, account=job.account, **{job.state.value: 1}))
        return found

    def _past_of(self, one: Attempt) -> Past:
        job, after = self.jobs[one.job], self.attempts.get((one.job, one.n + 1))
        cut = one.outcome in ("limited", "interrupted", "lost")
        claim = self.events.get(one.epoch)
        return Past(
            day=one.started_at.astimezone(UTC).date().isoformat(),
            account=claim.data.get("account", job.account) if claim else job.account,
            launches=int(one.outcome != "unclaimed"),
            limited=int(one.outcome == "limited"),
            cut_off=int(cut),
            recovered=int(cut and job.state is State.SUCCEEDED),
            resumed=int(cut and after is not None and after.resumes),
            retries=int(one.outcome in ("failed", "timedout") and after is not None),
        )

    def shuts(self, jobs: Collection[int] | None) -> list[Shut]:
        """The closings that these jobs told; None: all that are told here."""
        found: list[Shut] = []
        last: dict[tuple[str, str], tuple[int | None, datetime]] = {}
        names = ("gate shut", "gate reopening", "gate lifted")
        told = [one for _, one in sorted(self.events.items()) if one.name in names and one.data["origin"] == "limit"]
        for one in [*told, None]:
            gates = [(one.scope or "", one.data["window"])] if one else list(last)
            for gate in gates:
                job, since = last.pop(gate, (None, None))
                if since is not None and (jobs is None or job in jobs):
                    found.append(Shut(scope=gate[0], window=gate[1], since=since, until=one.at if one else None))
            if one is not None and one.name == "gate shut":
                last[gates[0]] = (one.job, one.at)
        return found

    def put_forecast(self, forecast: Forecast) -> None:
        self._put(self.forecasts, (forecast.batch, forecast.at), forecast)

    def drop_forecasts(self, before: datetime) -> None:
        there = set(self.batches.values())
        for key in [key for key in self.forecasts if key[1] < before or key[0] not in there]:
            self._drop(self.forecasts, key)

    def past_events(self, before: datetime) -> list[int]:
        newest = max(self.events, default=0)
        return [seq for seq, one in self.events.items() if one.job is None and one.at < before and seq != newest]

    def drop_events(self, events: Sequence[int]) -> None:
        self._drop_all(self.events, events)

    def drop_idle(self, before: datetime, most: int) -> None:
        here = [one.batch for one, left in self.supervisors.values() if left is None]
        used = {*here, *(job.batch for job in self.jobs.values())}
        self._drop_all(self.tied, [key for key in self.tied if key[0] not in used])
        gone = [name for name, id in self.batches.items() if id not in used][:most]
        self._drop_all(self.batches, gone)
        self._drop_all(self.kept, [key for key in self.kept if {f"batch:{name}" for name in gone} & {*key}])
        mine = [key for key in self.left if key[2].startswith("batch:") and key[2][6:] not in self.batches]
        self._drop_all(self.left, [key for key in mine if (key[0], Origin.RESERVE, Window(key[1])) not in self.holds])
        for (day, batch, account), part in list(self.ledgers.items()):
            if batch and batch not in self.batches.values():
                self.add_spent(day, 0, account, part)
                self._drop(self.ledgers, (day, batch, account))
        busy = {one.supervisor for one in self.attempts.values()}
        over = [uuid for uuid, (_, left) in self.supervisors.items() if left and left < before and uuid not in busy]
        self._drop_all(self.supervisors, over[:most])

    def _drop_all(self, table: dict[Any, Any], keys: Sequence[Hashable]) -> None:
        for key in keys:
            self._drop(table, key)

    def requests(self) -> list[Request]:
        return [self.requested[id] for id in sorted(self.requested)]

    def request(self, id: int) -> Request | None:
        return self.requested.get(id)

    def pending(self, verb: Ask, target: int | None) -> Request | None:
        return next((one for one in self.requested.values() if (one.verb, one.target) == (verb, target)), None)

    def add_request(self, at: datetime, verb: Ask, by: str, target: int | None) -> Request:
        made = Request(id=self._next("request"), at=at, verb=verb, by=by, target=target)
        self._put(self.requested, made.id, made)
        return made

    def drop_request(self, id: int) -> None:
        self._drop(self.requested, id)

    # --- attempts ---

    def attempt(self, job: int, n: int) -> Attempt | None:
        return self.attempts.get((job, n))

    def attempts_of(self, job: int) -> list[Attempt]:
        return [self.attempts[key] for key in sorted(self.attempts) if key[0] == job]

    def add_attempt(self, attempt: Attempt) -> None:
        self._put(self.attempts, (attempt.job, attempt.n), attempt)

    def put_attempt(self, attempt: Attempt) -> None:
        self._put(self.attempts, (attempt.job, attempt.n), attempt)

    def spent_in(self, job: int, session: str) -> list[Usage]:
        mine = [one for one in self.attempts.values() if one.job == job and one.session == session and one.ended_at]
        return [one.usage for one in mine if one.usage is not None]

    # --- windows ---

    def drafts(self, jobs: Sequence[int]) -> dict[int, Draft]:
        return {id: self._draft(self.jobs[id]) for id in jobs}

    def underway(self, account: str) -> list[Draft]:
        mine = [job for job in self.by_id() if job.account == account and job.state is State.RUNNING]
        return [self._draft(job, self.attempts[job.id, job.launches]) for job in mine]

    def _draft(self, job: Job, attempt: Attempt | None = None) -> Draft:
        group = f"{job.batch_name}/{job.group}"
        draft = Draft(job.id, group, job.launches, job.session is not None, job.expect, job.share)
        return draft._replace(started_at=attempt.started_at, drawn=attempt.drawn) if attempt else draft

    def tides_of(self, scope: str, window: Window, most: int) -> list[Tide]:
        mine = [tide for key, tide in self.over.items() if key[:2] == (scope, window)]
        return sorted(mine, key=lambda tide: tide.began_at, reverse=True)[:most]

    def readings_of(self, scope: str, window: Window, since: datetime) -> list[Reading]:
        mine = [one for key, one in self.heard.items() if key[:2] == (scope, window) and one.at >= since]
        return sorted(mine, key=lambda one: one.at)

    def first_reading(self, scope: str, window: Window, since: datetime, until: datetime) -> Reading | None:
        return next((one for one in self.readings_of(scope, window, since) if one.at <= until), None)

    def costs_of(self, account: str) -> list[Cost]:
        return [self.prices[key][0] for key in sorted(self.prices) if key[0] == account]

    def held(self, account: str) -> Held | None:
        return self.withheld.get(account)

    def put_held(self, held: Held) -> None:
        self._put(self.withheld, held.account, held)

    def drop_held(self, account: str) -> None:
        self._drop_all(self.withheld, [account] if account in self.withheld else [])

    def put_drawn(self, attempt: Attempt) -> None:
        before = self.attempts[attempt.job, attempt.n]
        after = replace(before, drawn=attempt.drawn, answers=attempt.answers)
        self._put(self.attempts, (attempt.job, attempt.n), after)

    def add_draw(self, account: str, model: str, at: datetime, tokens: float) -> None:
        self._put(self.drawn, (account, model, at), self.drawn.get((account, model, at), 0.0) + tokens)

    def draws(self, account: str, model: str | None, since: datetime) -> list[tuple[datetime, float]]:
        mine = (
            (at, lane, tokens)
            for (one, lane, at), tokens in self.drawn.items()
            if one == account and model in (None, lane) and at >= since
        )
        return [(at, tokens) for at, _, tokens in sorted(mine)]

    def meter(self, scope: str, window: Window) -> Meter | None:
        return self.gauges.get((scope, window))

    def meters_on(self, scope: str | None) -> list[Meter]:
        """As the port says; with None, of every scope."""
        return [self.gauges[key] for key in sorted(self.gauges) if scope in (None, key[0])]

    def put_meter(self, meter: Meter) -> None:
        self._put(self.gauges, (meter.scope, meter.window.value), meter)

    def put_tide(self, tide: Tide) -> None:
        mine = (key for key in self.over if key[:2] == (tide.scope, tide.window))
        self._drop_all(self.over, [key for key in mine if self.over[key].ended_at > tide.began_at])
        self._put(self.over, (tide.scope, tide.window, tide.began_at), tide)

    def add_reading(self, reading: Reading) -> None:
        self._put(self.heard, (reading.scope, reading.window, reading.at), reading)

    def drop_draws(self, account: str, before: datetime) -> None:
        self._drop_all(self.drawn, [key for key in self.drawn if key[0] == account and key[2] < before])

    def drop_readings(self, scope: str, window: Window, before: datetime) -> None:
        self._drop_all(self.heard, [key for key in self.heard if key[:2] == (scope, window) and key[2] < before])

    def cost(self, account: str, group: str) -> Cost | None:
        return self.prices[account, group][0] if (account, group) in self.prices else None

    def put_cost(self, cost: Cost, at: datetime) -> None:
        self._put(self.prices, (cost.account, cost.group), (cost, at))

    def drop_tides(self, before: datetime) -> None:
        self._drop_all(self.over, [key for key, tide in self.over.items() if tide.ended_at < before])
        self._drop_all(self.prices, [key for key, (_, at) in self.prices.items() if at < before])

    # --- money ---

    def add_spent(self, day: str, batch: int, account: str, part: Spent) -> None:
        before = self.ledgers.get((day, batch, account), Spent())
        self._put(self.ledgers, (day, batch, account), budget.added([before, part]))

    def spent(self, *, day: str | None, batch: int | None, account: str | None) -> Spent:
        asked = (day, batch, account)
        found = (
            one for key, one in self.ledgers.items() if all(a in (None, b) for a, b in zip(asked, key, strict=True))
        )
        return budget.added(found)

    def budgets(self) -> list[Kept]:
        return [self.kept[key] for key in sorted(self.kept)]

    def put_budget(self, kept: Kept) -> None:
        self._put(self.kept, (kept.scope, kept.source), kept)

    def drop_budget(self, scope: str, source: str) -> None:
        self._drop(self.kept, (scope, source))

    def reserves(self, account: str | None = None) -> list[Reserve]:
        return [self.left[key] for key in sorted(self.left) if account in (None, key[0])]

    def put_reserve(self, one: Reserve) -> None:
        self._put(self.left, (one.account, one.window.value, one.source), one)

    def drop_reserve(self, one: Reserve) -> None:
        self._drop(self.left, (one.account, one.window.value, one.source))

    def unfinished(self, *, batch: int | None, account: str | None) -> list[int]:
        some = (one for one in self.by_id() if batch in (None, one.batch) and account in (None, one.account))
        return [job.id for job in some if not job.state.is_final]

    def running_on(self, host: str | None) -> list[tuple[Job, Attempt]]:
        """As the port says; with None, on every host."""
        running = [self.attempts[key] for key in sorted(self.attempts) if self.attempts[key].ended_at is None]
        mine = [one for one in running if host in (None, self.supervisors[one.supervisor][0].host)]
        return [(self.jobs[one.job], one) for one in mine]


class _Turn:
    """The port Turn where there is nothing to wait for."""

    def take(self) -> None:
        pass

    def wrote(self) -> bool:
        return False

    def close(self) -> None:
        pass


class MemoryStore(Ledger):
    """The store in this process's memory; several threads may use it."""

    def __init__(self) -> None:
        self._looks = _Rows()
        super().__init__(self._looks)

    def close(self) -> None:
        """Give the store back; later calls fail."""
        self._looks.is_open = False

    def group(self) -> AbstractContextManager[None]:
        """Several calls, one commit; each call inside stays all-or-nothing of its own."""
        return self._looks.transaction()

    @contextmanager
    def _look(self) -> Iterator[_Rows]:
        with self._looks.look():
            yield self._looks

    def turn(self) -> Turn:
        """The same for a loop that must not wait."""
        return _Turn()

    def reading(self) -> Turn:
        """The same: nothing ever keeps anybody from writing here."""
        return _Turn()

    def version(self) -> int:
        """A number that changes when another connection commits; there is none."""
        return 0

    def holds(self) -> list[Hold]:
        """Every hold."""
        with self._look() as rows:
            return rows.every_hold()

    def hours(self) -> dict[str, str]:
        """The hours of each scope that has some, with the name of their zone."""
        with self._look() as rows:
            return dict(rows.hours())

    def reserves(self) -> list[Reserve]:
        """What every source says of how much of the windows of accounts may be used."""
        with self._look() as rows:
            return rows.reserves()

    def balances(self, now: datetime) -> list[Balance]:
        """Every budget, and what was spent of it."""
        with self._look() as rows:
            return spending.balances(rows, now)

    def spent(self, batch: int | None = None, account: str | None = None) -> Spent:
        """What the attempts of a batch, or with an account, have used that have ended."""
        with self._look() as rows:
            return rows.spent(day=None, batch=batch, account=account)

    def past(self) -> list[Past]:
        """What became of attempts and jobs, by day and account; of forgotten ones as well."""
        with self._look() as rows:
            return together([*rows.history.values(), *rows.past(rows.jobs)])

    def shuts(self) -> list[Shut]:
        """Every closing of a gate by a limit, the earliest first; those that forgotten jobs told as well."""
        with self._look() as rows:
            found = [*rows.closings.values(), *rows.shuts(None)]
            return sorted(found, key=lambda one: (one.since, one.scope, one.window))

    def meters(self, scope: str | None = None) -> list[Meter]:
        """The meters of a scope, or of all, by scope and window."""
        with self._look() as rows:
            return rows.meters_on(scope)

    def tides(self, scope: str, window: Window, most: int = 100) -> list[Tide]:
        """The windows of a scope and a kind that are over, the newest first."""
        with self._look() as rows:
            return rows.tides_of(scope, window, most)

    def readings(self, scope: str, window: Window, since: datetime) -> list[Reading]:
        """What was read of the windows of a scope and a kind from an instant on, in order."""
        with self._look() as rows:
            return rows.readings_of(scope, window, since)

    def costs(self, account: str) -> list[Cost]:
        """What jobs that have succeeded with an account have drawn, by group."""
        with self._look() as rows:
            return rows.costs_of(account)

    def held(self) -> list[Held]:
        """Why nothing of an account may start, for each of which that is so, by name."""
        with self._look() as rows:
            return [rows.withheld[name] for name in sorted(rows.withheld)]

    def spent_by_day(self) -> dict[tuple[str, str], Spent]:
        """What was spent, by day and account."""
        with self._look() as rows:
            keys = {(day, account) for day, _, account in rows.ledgers}
            return {(day, account): rows.spent(day=day, batch=None, account=account) for day, account in keys}

    def requests(self) -> list[Request]:
        """What doors ask of a running supervisor and is not answered yet, oldest first."""
        with self._look() as rows:
            return rows.requests()

    def moment(self) -> AbstractContextManager[object]:
        """Several reads of one moment: who writes waits."""
        return self._look()

    def batches(self) -> list[Batch]:
        """Every batch, oldest first."""
        with self._look() as rows:
            return [Batch(name, id) for name, id in rows.batches.items()]

    def accounts(self) -> list[Account]:
        """Every account that is known, by name."""
        with self._look() as rows:
            return [rows.accounts[name].account for name in sorted(rows.accounts)]

    def answered_at(self) -> dict[str, datetime]:
        """The latest proof that an account's provider answers, for each account that has one."""
        with self._look() as rows:
            return {name: known.at for name, known in rows.accounts.items() if known.at is not None}

    def counts(self, batch: int | None = None, account: str | None = None) -> dict[State, int]:
        """How many jobs, of a batch or of an account, are in each state."""
        with self._look() as rows:
            among = [one for one in rows.jobs.values() if batch in (None, one.batch) and account in (None, one.account)]
            states = [job.state for job in among]
            return {state: states.count(state) for state in State}

    def jobs(
        self,
        *,
        batch: int | None = None,
        states: Sequence[State] = (),
        account: str | None = None,
        label: tuple[str, str] | None = None,
        name: str | None = None,
        newest_first: bool = False,
        after: int = 0,
        most: int = 1000,
    ) -> list[Job]:
        """Jobs in the order of their ids, from the first id greater than `after`; `name` is a GLOB pattern.

        With `newest_first` they come the other way round, from the first id less than `after` (0: from the newest).
        """
        if Wanted(label, name).is_nonsense:
            return []
        with self._look() as rows:
            found = (
                job
                for job in rows.by_id(newest_first=newest_first)
                if (not after or (job.id < after if newest_first else job.id > after))
                and batch in (None, job.batch)
                and account in (None, job.account)
                and (not states or job.state in states)
                and (label is None or label in job.spec.labels.items())
                and (name is None or fnmatchcase(job.name, name.replace("[^", "[!")))
            )
            return list(islice(found, most))

    def groups(self, batch: int | None = None) -> list[Group]:
        """The groups of a batch, or of all, that wait or are waited for."""
        with self._look() as rows:
            return rows.groups(batch)

    def needs(self, jobs: Sequence[int]) -> list[Need]:
        """What these jobs need, by job and by what it needs."""
        with self._look() as rows:
            found = [(job, rows.jobs[id], met) for (job, id), met in sorted(rows.met.items()) if job in jobs]
            return [Need(job=job, needs=one.id, name=one.name, state=one.state, met=met) for job, one, met in found]

    def ended(self, before: datetime, *, after: int = 0, most: int = 1000) -> list[Job]:
        """Jobs that ended before an instant, in the order of their ids, from the first id greater than `after`."""
        with self._look() as rows:
            ended = [job for job in rows.by_id() if job.ended_at is not None and job.ended_at < before]
            return [job for job in ended if job.id > after][:most]

    def job(self, id: int) -> Job | None:
        """One job by its internal id."""
        with self._look() as rows:
            return rows.job(id)

    def job_names(self, ids: Sequence[int]) -> dict[int, str]:
        """The user's ids of those of these jobs that there are, by internal id."""
        with self._look() as rows:
            return {id: job.name for id in ids if (job := rows.job(id)) is not None}

    def launches(self, ids: Sequence[int]) -> dict[int, tuple[State, int]]:
        """Where those of these jobs that there are stand, and how often they were launched, by internal id."""
        with self._look() as rows:
            return {id: (job.state, job.launches) for id in ids if (job := rows.job(id)) is not None}

    def lengths(self, names: Sequence[str]) -> dict[str, float]:
        """How many seconds the newest success of a job of each of these names took, in whatever batch."""
        with self._look() as rows:
            won = sorted(
                (one.epoch, one) for one in rows.attempts.values() if one.outcome == "succeeded" and not one.stage
            )
            found = {rows.jobs[one.job].name: one for _, one in won}
            spans = {name: (found[name].ended_at, found[name].started_at) for name in names if name in found}
            return {name: max((end - start).total_seconds(), 0.0) for name, (end, start) in spans.items() if end}

    def jobs_named(self, name: str, batch: int | None = None) -> list[Job]:
        """Jobs by the user's id; one for each batch that has it."""
        with self._look() as rows:
            return [job for job in rows.by_id() if job.name == name and batch in (None, job.batch)]

    def attempts(self, job: int) -> list[Attempt]:
        """A job's attempts, first to last."""
        with self._look() as rows:
            return rows.attempts_of(job)

    def running(self) -> list[tuple[Job, Attempt]]:
        """Every running attempt with its job."""
        with self._look() as rows:
            return rows.running_on(None)

    def supervisors(self) -> list[Supervisor]:
        """The incarnations that have not left."""
        with self._look() as rows:
            return rows.supervisors_on(None)

    def events(
        self, *, after: int = 0, job: int | None = None, batch: int | None = None, most: int = 1000
    ) -> list[Event]:
        """Events in order, from the first seq greater than `after`; of a job, or of the jobs of a batch."""
        with self._look() as rows:
            found = [
                event
                for _, event in sorted(rows.events.items())
                if event.seq > after
                and job in (None, event.job)
                and (batch is None or (event.job is not None and rows.jobs[event.job].batch == batch))
            ]
            return found[:most]

    def last_seq(self) -> int:
        """The seq of the newest event, 0 where there is none."""
        with self._look() as rows:
            return max(rows.events, default=0)

    def piles(self) -> list[Pile]:
        """The unfinished jobs of every batch, counted; by batch, then by their first."""
        with self._look() as rows:
            return prospects.piles(rows.by_id())

    def laps(self, now: datetime, *, most: int) -> list[Lap]:
        """How long the jobs have worked that were begun and have not ended, and the `most` that have ended last."""
        with self._look() as rows:
            return prospects.laps(rows.by_id(), rows.attempts.values(), now, most)

    def forecasts(self, batch: int) -> list[Forecast]:
        """What was foretold of a batch, the first first."""
        with self._look() as rows:
            return [one for (mine, _), one in sorted(rows.forecasts.items()) if mine == batch]

    def last_forecast(self, batch: int) -> Forecast | None:
        """What was foretold of a batch last."""
        return next(reversed(self.forecasts(batch)), None)

    def next_due(self, now: datetime) -> datetime | None:
        """The first instant after `now` at which a claim could find more than now: a `not_before` or an `until`."""
        with self._look() as rows:
            waits = [job.not_before for job in rows.jobs.values() if job.state is State.QUEUED]
            shut = [at for hold in rows.every_hold() if not hold.ramp for at in (hold.until, hold.early_at)]
            ends = [*shut, *(hold.until for hold in rows.every_hold() if hold.ramp and hold.early_at)]
            looks = [held.again for held in rows.withheld.values() if not held.observed]
            known = [*waits, *ends, *looks, *timetable.openings(rows, now)]
            return min((at for at in known if at is not None and at > now), default=None)
