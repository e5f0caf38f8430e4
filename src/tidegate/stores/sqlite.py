"""Keeps the store in one SQLite file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime
from functools import lru_cache, wraps
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Final, TypeVar

from msgspec import Struct
from msgspec.structs import asdict

from tidegate import places, policy
from tidegate.budget import FIGURES
from tidegate.errors import StoreBroken
from tidegate.model import (
    Account,
    Admission,
    Allowance,
    Ask,
    Attempt,
    Balance,
    Batch,
    Budget,
    Cost,
    Event,
    Exceed,
    Group,
    Habit,
    Halt,
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
    Spec,
    Spent,
    Stand,
    State,
    Supervisor,
    Tide,
    Usage,
    When,
    Window,
    family,
)
from tidegate.prospect import Forecast, Lap, Pile
from tidegate.selection import as_glob
from tidegate.stores import Turn, prospects, spending, timetable
from tidegate.stores.connection import BUSY, Connection, Garbled, Row, Value
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
    iso,
    iso_or_none,
    json_text,
    spec_of,
    together,
    work_of,
)
from tidegate.stores.vault import Vault, is_gone, is_secret

T = TypeVar("T")
LARGEST: Final = 2**63 - 1  # an id
KEPT: Final = 64  # definitions that were read last: a claim and a finish read the same,
SHORT: Final = 4096  # of so many characters at most


class _Rows:
    """The rows of a file; see the port Rows for what each promises."""

    def __init__(self, file: Connection, vault: Vault) -> None:
        self._file = file
        self._vault = vault
        self._read_again = lru_cache(KEPT)(self._read_spec)

    def transaction(self) -> AbstractContextManager[None]:
        return self._file.transaction()

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
        text = json_text(data) if data else "{}"
        self._file.run("add_event", at=iso(at), name=name, job=job, attempt=attempt, scope=scope, data=text)
        return self._file.last_id()

    def same_event(self, at: datetime, name: str, jobs: Sequence[int], data: Mapping[str, object]) -> None:
        self._file.run("add_events", at=iso(at), name=name, jobs=json_text(list(jobs)), data=json_text(data))

    # --- who works ---

    def supervisor(self, uuid: str) -> Supervisor | None:
        row = self._file.row("supervisor", uuid=uuid)
        return _supervisor(row) if row else None

    def is_known(self, uuid: str) -> bool:
        return self._file.row("is_known", uuid=uuid) is not None

    def add_supervisor(self, supervisor: Supervisor) -> None:
        self._file.run("add_supervisor", **_of_supervisor(supervisor))

    def end_supervisor(self, uuid: str, now: datetime) -> None:
        self._file.run("end_supervisor", uuid=uuid, now=iso(now))

    def supervisors_on(self, host: str) -> list[Supervisor]:
        return [one for one in map(_supervisor, self._file.rows("supervisors")) if one.host == host]

    # --- accounts ---

    def known(self, account: str) -> Known | None:
        row = self._file.row("account", name=account)
        if row is None:
            return None
        name, most, cautious, admission, at, job, other_at, blanks = row
        who = _account(name, most, cautious, admission)
        return Known(who, _at(at), job, _at(other_at), blanks)

    def put_known(self, known: Known) -> None:
        account = known.account
        self._file.run(
            "put_account",
            name=account.name,
            max_running=account.max_running,
            cautious=account.cautious,
            admission=account.admission.value,
            at=iso_or_none(known.at),
            job=known.job,
            other_at=iso_or_none(known.other_at),
            blanks=known.blanks,
        )

    # --- holds ---

    def hold(self, scope: str, origin: Origin, window: Window) -> Hold | None:
        row = self._file.row("hold", scope=scope, origin=origin.value, window=window.value)
        return _hold(row) if row else None

    def holds_on(self, scope: str) -> list[Hold]:
        return [_hold(row) for row in self._file.rows("holds_on", scope=scope)]

    def wide_holds(self) -> list[Hold]:
        return [_hold(row) for row in self._file.rows("wide_holds")]

    def every_hold(self) -> list[Hold]:
        return [_hold(row) for row in self._file.rows("holds")]

    def due_holds(self, now: datetime) -> list[Hold]:
        found = [self._file.rows(name, now=iso(now)) for name in ("due_holds", "early_holds")]
        return [_hold(row) for rows in found for row in rows]

    def put_hold(self, hold: Hold) -> None:
        self._file.run(
            "put_hold",
            scope=hold.scope,
            origin=hold.origin.value,
            window=hold.window.value,
            allow=hold.allow,
            since=iso(hold.since),
            until=iso_or_none(hold.until),
            reason=hold.reason,
            evidence=hold.evidence,
            by=hold.by,
            epoch=hold.epoch,
            resets_at=iso_or_none(hold.resets_at),
            exact=hold.exact,
            ramp=hold.ramp,
            misses=hold.misses,
            canary=hold.canary,
            halt=hold.halt.value,
            early_at=iso_or_none(hold.early_at),
        )

    def drop_hold(self, hold: Hold) -> None:
        self._file.run("drop_hold", scope=hold.scope, origin=hold.origin.value, window=hold.window.value)

    def hours(self) -> list[tuple[str, str]]:
        return [(scope, text) for scope, text in self._file.rows("hours")]

    def hours_by(self, source: str) -> list[tuple[str, str]]:
        return [(scope, text) for scope, text in self._file.rows("hours_by", source=source)]

    def put_hours(self, scope: str, source: str, hours: str) -> None:
        self._file.run("put_hours", scope=scope, source=source, hours=hours)

    def drop_hours(self, scope: str, source: str) -> None:
        self._file.run("drop_hours", scope=scope, source=source)

    def opening(self, scope: str) -> tuple[int, datetime] | None:
        row = self._file.row("opening", scope=scope)
        return (row[0], _instant(row[1])) if row else None

    def put_opening(self, scope: str, epoch: int, at: datetime) -> None:
        self._file.run("put_opening", scope=scope, epoch=epoch, at=iso(at))

    def habit(self, scope: str, window: Window) -> Habit | None:
        row = self._file.row("habit", scope=scope, window=window.value)
        return _habit(row) if row else None

    def put_habit(self, habit: Habit) -> None:
        instants = {name: iso_or_none(getattr(habit, name)) for name in ("opened_at", "began", "cut_at")}
        self._file.run("put_habit", **{**asdict(habit), "window": habit.window.value, **instants})

    def has_shut(self, attempt: Attempt, hold: Hold) -> bool:
        told = self._file.number(
            "has_shut",
            job=attempt.job,
            attempt=attempt.n,
            scope=hold.scope,
            origin=hold.origin.value,
            window=hold.window.value,
            evidence=hold.evidence,
        )
        return bool(told)

    # --- batches ---

    def batch(self, name: str) -> int:
        row = self._file.row("batch", name=name)
        if row is None:
            self._file.run("add_batch", name=name)
            return self._file.last_id()
        return int(row[0])

    def batch_named(self, name: str) -> int | None:
        row = self._file.row("batch", name=name)
        return None if row is None else int(row[0])

    def define(self, new: NewJob) -> Defined:
        return define(new, self._hide)

    def standing(self, batch: int, names: Sequence[str]) -> dict[str, Standing]:
        found = self._file.rows("known_names", batch=batch, names=json_text(names))
        return {
            name: Standing(id, _state(state), digest, expect, _share(mean, spread))
            for name, id, state, digest, expect, mean, spread in found
        }

    def first_free(self) -> int:
        return self._file.number("newest_job") + 1

    def states(self, jobs: Sequence[int]) -> dict[int, State]:
        found = self._file.rows("states", jobs=json_text(list(jobs)))
        return {id: _state(state) for id, state in found}

    def add_jobs(self, batch: int, jobs: Sequence[Fresh], now: datetime) -> None:
        lanes: dict[tuple[str, str, str], int] = {}
        binds = [
            {
                "id": id,
                "batch": batch,
                "lane": self._lane(batch, job.new, lanes),
                "name": name,
                "account": job.new.account,
                "model": job.new.model,
                "group": job.new.group,
                "priority": job.new.priority,
                "not_before": iso_or_none(job.new.not_before),
                "unmet": unmet,
                **_hint(job.new.expect, job.new.share),
                "now": iso(now),
                "digest": job.digest,
                "spec": job.spec,
            }
            for id, name, job, unmet in jobs
        ]
        for name in ("add_job", "add_definition", "add_job_event"):
            self._file.run_each(name, binds)

    def add_needs(self, needs: Sequence[tuple[int, int, bool]]) -> None:
        self._file.run_each("add_need", [{"job": job, "needs": id, "met": met} for job, id, met in needs])

    def redefine(self, id: int, batch: int, job: Defined) -> None:
        new = job.new
        self._file.run(
            "change_job",
            id=id,
            lane=self._lane(batch, new, {}),
            account=new.account,
            model=new.model,
            group=new.group,
            priority=new.priority,
        )
        self._file.run("change_definition", id=id, digest=job.digest, spec=job.spec)

    def put_hint(self, id: int, expect: float | None, share: Share | None) -> None:
        self._file.run("put_hint", id=id, **_hint(expect, share))

    def size(self, batch: int) -> int:
        return self._file.number("size", batch=batch)

    def names(self, batch: int) -> list[str]:
        return [name for (name,) in self._file.rows("names", batch=batch)]

    def _lane(self, batch: int, new: NewJob | Job, found: dict[tuple[str, str, str], int]) -> int:
        """The id of a job's lane, made if it is new; `found` remembers those of this transaction."""
        key = (new.account, family(new.model), new.group)
        if key not in found:
            group = self._tied(batch, new.group)
            what: dict[str, Value] = {"batch": batch, "account": key[0], "model": key[1], "group": group}
            row = self._file.row("lane", **what)
            if row is None:
                self._file.run("add_lane", **what)
                row = (self._file.last_id(),)
            found[key] = row[0]
        return found[key]

    def _tied(self, batch: int, group: str) -> int:
        row = self._file.row("group", batch=batch, name=group) if group else None
        return int(row[0]) if row else 0

    # --- jobs ---

    def promote(self, now: datetime) -> None:
        self._file.run("promote", now=iso(now))

    def unstrand(self, now: datetime, horizon: datetime) -> None:
        self._file.run("unstrand", now=iso(now), horizon=iso(horizon))

    def waiting(self, batch: int | None) -> list[Lane]:
        found = self._file.rows("waiting") if batch is None else self._file.rows("waiting_of", batch=batch)
        return [Lane(*row) for row in found]

    def heads(self, lanes: Sequence[Lane], only: Sequence[str]) -> dict[Lane, Candidate]:
        if only or len(lanes) == 1:
            return {lane: best for lane in lanes for best in self.ready(lane, 1, only)}
        by_id = {lane.id: lane for lane in lanes}
        found = self._file.rows("heads", lanes=json_text(list(by_id)))
        return {by_id[lane]: _candidate(best) for lane, *best in found}

    def ready(self, lane: Lane, most: int, only: Sequence[str]) -> list[Candidate]:
        if only:
            globs = json_text(list(map(as_glob, only)))
            return [_candidate(row) for row in self._file.rows("ready_only", lane=lane.id, most=most, only=globs)]
        return [_candidate(row) for row in self._file.rows("ready", lane=lane.id, most=most)]

    def busy(self) -> list[tuple[Lane, int]]:
        return [(Lane(*row[1:]), row[0]) for row in self._file.rows("busy")]

    def crowd(self) -> list[Crowd]:
        return [Crowd(row[0], Lane(*row[2:]), row[1]) for row in self._file.rows("crowd")]

    def job(self, id: int) -> Job | None:
        row = self._file.row("job", id=id)
        return self.read_job(row) if row else None

    def put_job(self, job: Job) -> None:
        self._file.run(
            "put_job",
            id=job.id,
            state=job.state.value,
            not_before=iso_or_none(job.not_before),
            attempts=job.attempts,
            launches=job.launches,
            limited_in_a_row=job.limited_in_a_row,
            limited_since=iso_or_none(job.limited_since),
            lost=job.lost,
            session=job.session,
            resumed=job.resumed,
            reason=job.reason,
            ended_at=iso_or_none(job.ended_at),
        )

    def move(self, job: Job) -> None:
        self._file.run(
            "move_job",
            id=job.id,
            stage=job.stage,
            work=json_text(asdict(job.work)) if job.work is not None else None,
            lane=self._lane(job.batch, job, {}),
            account=job.account,
            model=job.model,
        )

    def put_charges(self, job: Job) -> None:
        self._file.run("put_charges", id=job.id, charges=json_text(job.charges) if job.charges else None)

    def put_priority(self, job: int, priority: int) -> None:
        self._file.run("put_priority", id=job, priority=priority)

    # --- what hangs on a job ---

    def ties(self, job: int) -> Ties:
        asked, needed, group, budgeted = self._file.row("ties", job=job) or (0, 0, 0, 0)
        return Ties(bool(asked), bool(needed), group or 0, bool(budgeted))

    def cancel(self, jobs: Sequence[int], by: str, now: datetime) -> list[tuple[int, str]]:
        reason = policy.why_cancelled(by)
        return sorted(self._file.rows("cancel", jobs=json_text(list(jobs)), reason=reason, now=iso(now)))

    def skip(self, needed: int, reason: str, now: datetime) -> list[tuple[int, str]]:
        return sorted(self._file.rows("skip", job=needed, reason=reason, now=iso(now)))

    def needed(self, jobs: Sequence[int]) -> list[int]:
        return [id for (id,) in self._file.rows("needed", jobs=json_text(list(jobs)))]

    def unmet(self, job: int) -> list[int]:
        return [id for (id,) in self._file.rows("unmet", job=job)]

    def meet(self, job: int) -> None:
        self._file.run("count_met", job=job)
        self._file.run("meet", job=job)

    # --- groups ---

    def groups(self, batch: int | None) -> list[Group]:
        found = self._file.rows("groups") if batch is None else self._file.rows("groups_of", batch=batch)
        return [_group(row) for row in found]

    def tie(self, batch: int, name: str) -> int:
        if not (group := self._tied(batch, name)):
            self._file.run("add_group", batch=batch, name=name)
            group = self._file.last_id()
            self._file.run("lanes_of_group", batch=batch, name=name, group=group)
            self._file.run("into_group", batch=batch, name=name, group=group)
        return group

    def put_group(self, group: Group) -> None:
        stand, when = group.stand.value, group.when.value
        self._file.run("put_group", group=group.id, when=when, stand=stand, reason=group.reason)

    def put_group_needs(self, group: int, needs: Sequence[int]) -> None:
        self._file.run("drop_group_needs", group=group)
        self._file.run("add_group_needs", group=group, needs=json_text(list(needs)))

    def is_unfinished(self, group: int) -> bool:
        return bool(self._file.number("is_unfinished", group=group))

    def has_begun(self, group: int) -> bool:
        return bool(self._file.number("has_begun", group=group))

    def first_bad(self, group: int) -> tuple[str, State] | None:
        row = self._file.row("first_bad", group=group)
        return (row[0], _state(row[1])) if row else None

    def leave_out(self, group: int, reason: str, now: datetime) -> list[tuple[int, str]]:
        return sorted(self._file.rows("leave_out", group=group, reason=reason, now=iso(now)))

    def bring_back(self, group: int, reason: str) -> list[tuple[int, int]]:
        return sorted(self._file.rows("bring_back", group=group, reason=reason))

    def tied_batches(self, jobs: Sequence[int]) -> list[int]:
        return [batch for (batch,) in self._file.rows("tied_batches", jobs=json_text(list(jobs)))]

    def forgettable(self, jobs: Sequence[int]) -> list[int]:
        return [id for (id,) in self._file.rows("forgettable", jobs=json_text(list(jobs)))]

    def forget(self, jobs: Sequence[int]) -> None:
        text = json_text(list(jobs))
        if self._file.number("keeps_secrets", jobs=text):
            self._file.afterwards(self.sweep)  # not before these jobs are gone for good
        for past in self.past(text):
            self._file.run("add_history", **asdict(past))
        for shut in self.shuts(text) if self._file.number("told_shuts", jobs=text) else ():
            since, until = iso(shut.since), iso_or_none(shut.until)
            self._file.run("add_shut", scope=shut.scope, window=shut.window, since=since, until=until)
        self._file.run("forget_needs", jobs=text)
        self._file.run("forget", jobs=text)

    def past(self, jobs: str | None) -> list[Past]:
        """What became of these jobs, as JSON; None: of all that are here."""
        return [_past(row) for row in self._file.rows("history_of", jobs=jobs)]

    def shuts(self, jobs: str | None) -> list[Shut]:
        """The closings that these jobs told, as JSON; None: all that are told here."""
        return [_shut(row) for row in self._file.rows("shuts_of", jobs=jobs)]

    def put_forecast(self, forecast: Forecast) -> None:
        self._file.run("add_forecast", **prospects.columns(forecast))

    def drop_forecasts(self, before: datetime) -> None:
        self._file.run("drop_forecasts", before=iso(before))

    def past_events(self, before: datetime) -> list[int]:
        return [seq for (seq,) in self._file.rows("past", before=iso(before))]

    def drop_events(self, events: Sequence[int]) -> None:
        self._file.run("drop_events", events=json_text(list(events)))

    def drop_idle(self, before: datetime, most: int) -> None:
        self._file.run("drop_idle", before=iso(before), most=most)

    def sweep(self) -> None:
        """Remove the secrets that no job has; in a transaction, for a submit writes its own inside of one."""
        with suppress(StoreBroken), self.transaction():  # else the next time
            self._vault.keep_only({reference for (reference,) in self._file.rows("secrets")})

    def requests(self) -> list[Request]:
        return [_request(row) for row in self._file.rows("requests")]

    def request(self, id: int) -> Request | None:
        row = self._file.row("request", id=id)
        return _request(row) if row else None

    def pending(self, verb: Ask, target: int | None) -> Request | None:
        row = self._file.row("pending", verb=verb.value, target=target)
        return _request(row) if row else None

    def add_request(self, at: datetime, verb: Ask, by: str, target: int | None) -> Request:
        self._file.run("add_request", at=iso(at), verb=verb.value, by=by, target=target)
        return Request(id=self._file.last_id(), at=at, verb=verb, by=by, target=target)

    def drop_request(self, id: int) -> None:
        self._file.run("drop_request", id=id)

    # --- attempts ---

    def attempt(self, job: int, n: int) -> Attempt | None:
        row = self._file.row("attempt", job=job, n=n)
        return _attempt(row) if row else None

    def attempts_of(self, job: int) -> list[Attempt]:
        return [_attempt(row) for row in self._file.rows("attempts", job=job)]

    def add_attempt(self, attempt: Attempt) -> None:
        self._file.run(
            "add_attempt",
            job=attempt.job,
            n=attempt.n,
            supervisor=attempt.supervisor,
            epoch=attempt.epoch,
            started_at=iso(attempt.started_at),
            canary=attempt.canary,
            stage=attempt.stage,
            resumes=attempt.resumes,
        )

    def put_attempt(self, attempt: Attempt) -> None:
        self._file.run(
            "put_attempt",
            job=attempt.job,
            n=attempt.n,
            supervisor=attempt.supervisor,
            progressed=attempt.progressed,
            ended_at=iso_or_none(attempt.ended_at),
            outcome=attempt.outcome,
            exit=attempt.exit,
            session=attempt.session,
            usage=json_text(_said_of(attempt.usage)) if attempt.usage else None,
            detail=attempt.detail,
        )

    def spent_in(self, job: int, session: str) -> list[Usage]:
        found = self._file.rows("spent_in", job=job, session=session)
        return [usage for (text,) in found if (usage := _usage(text)) is not None]

    # --- windows ---

    def drafts(self, jobs: Sequence[int]) -> dict[int, Draft]:
        return {row[0]: _draft(row) for row in self._file.rows("drafts", jobs=json_text(list(jobs)))}

    def underway(self, account: str) -> list[Draft]:
        return [_draft(row) for row in self._file.rows("underway", account=account)]

    def tides_of(self, scope: str, window: Window, most: int) -> list[Tide]:
        return [_tide(row) for row in self._file.rows("tides", scope=scope, window=window.value, most=most)]

    def readings_of(self, scope: str, window: Window, since: datetime) -> list[Reading]:
        found = self._file.rows("readings", scope=scope, window=window.value, since=iso(since))
        return [_reading(row) for row in found]

    def first_reading(self, scope: str, window: Window, since: datetime, until: datetime) -> Reading | None:
        row = self._file.row("first_reading", scope=scope, window=window.value, since=iso(since), until=iso(until))
        return _reading(row) if row else None

    def costs_of(self, account: str) -> list[Cost]:
        return [_cost(row) for row in self._file.rows("costs", account=account)]

    def held(self, account: str) -> Held | None:
        row = self._file.row("held", account=account)
        return _held(row) if row else None

    def put_held(self, held: Held) -> None:
        self._file.run(
            "put_held",
            account=held.account,
            since=iso(held.since),
            again=iso(held.again),
            job=held.job,
            window=held.window.value,
            left=held.left,
            needed=held.needed,
            spread=held.spread,
            until=iso_or_none(held.until),
            observed=held.observed,
        )

    def drop_held(self, account: str) -> None:
        self._file.run("drop_held", account=account)

    def put_drawn(self, attempt: Attempt) -> None:
        self._file.run("put_drawn", job=attempt.job, n=attempt.n, drawn=attempt.drawn, answers=attempt.answers)

    def add_draw(self, account: str, model: str, at: datetime, tokens: float) -> None:
        self._file.run("add_draw", account=account, model=model, at=iso(at), tokens=tokens)

    def draws(self, account: str, model: str | None, since: datetime) -> list[tuple[datetime, float]]:
        found = self._file.rows("draws", account=account, model=model, since=iso(since))
        return [(_instant(at), tokens) for at, tokens in found]

    def meter(self, scope: str, window: Window) -> Meter | None:
        row = self._file.row("meter", scope=scope, window=window.value)
        return _meter(row) if row else None

    def meters_on(self, scope: str) -> list[Meter]:
        return [_meter(row) for row in self._file.rows("meters_on", scope=scope)]

    def put_meter(self, meter: Meter) -> None:
        self._file.run(
            "put_meter",
            scope=meter.scope,
            window=meter.window.value,
            begins_at=iso(meter.begins_at),
            resets_at=iso_or_none(meter.resets_at),
            used=meter.used,
            read_at=iso_or_none(meter.read_at),
            drawn=meter.drawn,
            drawn_at_reading=meter.drawn_at_reading,
            refused_at=iso_or_none(meter.refused_at),
        )

    def put_tide(self, tide: Tide) -> None:
        self._file.run("drop_tides_from", scope=tide.scope, window=tide.window.value, began_at=iso(tide.began_at))
        self._file.run(
            "add_tide",
            scope=tide.scope,
            window=tide.window.value,
            began_at=iso(tide.began_at),
            ended_at=iso(tide.ended_at),
            used=tide.used,
            drawn=tide.drawn,
            drawn_at_reading=tide.drawn_at_reading,
            refused=tide.refused,
        )

    def add_reading(self, reading: Reading) -> None:
        self._file.run(
            "add_reading",
            scope=reading.scope,
            window=reading.window.value,
            at=iso(reading.at),
            used=reading.used,
            resets_at=iso_or_none(reading.resets_at),
            drawn=reading.drawn,
        )

    def drop_draws(self, account: str, before: datetime) -> None:
        self._file.run("drop_draws", account=account, before=iso(before))

    def drop_readings(self, scope: str, window: Window, before: datetime) -> None:
        self._file.run("drop_readings", scope=scope, window=window.value, before=iso(before))

    def cost(self, account: str, group: str) -> Cost | None:
        row = self._file.row("cost", account=account, group=group)
        return _cost(row) if row else None

    def put_cost(self, cost: Cost, at: datetime) -> None:
        self._file.run("put_cost", at=iso(at), **asdict(cost))

    def drop_tides(self, before: datetime) -> None:
        self._file.run("drop_tides", before=iso(before))

    # --- money ---

    def add_spent(self, day: str, batch: int, account: str, part: Spent) -> None:
        self._file.run("add_spent", day=day, batch=batch, account=account, **asdict(part))

    def spent(self, *, day: str | None, batch: int | None, account: str | None) -> Spent:
        if day is not None:
            row = self._file.row("spent_on_day", day=day, batch=batch, account=account)
        elif batch is not None:
            row = self._file.row("spent_of_batch", batch=batch, account=account)
        else:
            row = self._file.row("spent_of_account" if account else "spent_ever", account=account)
        return _spent(row or ())

    def budgets(self) -> list[Kept]:
        return [_kept(row) for row in self._file.rows("budgets")]

    def put_budget(self, kept: Kept) -> None:
        whole, day = kept.budget.whole, kept.budget.day
        self._file.run(
            "put_budget",
            scope=kept.scope,
            source=kept.source,
            usd=whole.usd,
            tokens=whole.tokens,
            wall=whole.wall,
            day_usd=day.usd,
            day_tokens=day.tokens,
            day_wall=day.wall,
            on_exceed=kept.budget.on_exceed.value,
            reached=kept.reached,
            reached_on=kept.reached_on,
        )

    def drop_budget(self, scope: str, source: str) -> None:
        self._file.run("drop_budget", scope=scope, source=source)

    def reserves(self, account: str | None = None) -> list[Reserve]:
        found = self._file.rows("reserves") if account is None else self._file.rows("reserves_of", account=account)
        return [_reserve(row) for row in found]

    def put_reserve(self, one: Reserve) -> None:
        self._file.run(
            "put_reserve",
            account=one.account,
            window=one.window.value,
            source=one.source,
            stop_at=one.stop_at,
            heeded=iso_or_none(one.heeded),
        )

    def drop_reserve(self, one: Reserve) -> None:
        self._file.run("drop_reserve", account=one.account, window=one.window.value, source=one.source)

    def unfinished(self, *, batch: int | None, account: str | None) -> list[int]:
        return [id for (id,) in self._file.rows("unfinished", batch=batch, account=account)]

    def running_on(self, host: str | None) -> list[tuple[Job, Attempt]]:
        """As the port says; with None, on every host."""
        found = [(job, n) for job, n, where in self._file.rows("running") if host in (None, where)]
        pairs = [(self.job(job), self.attempt(job, n)) for job, n in found]
        return [(job, attempt) for job, attempt in pairs if job is not None and attempt is not None]

    # --- from a row to a job ---

    def _read_spec(self, text: str) -> Spec:
        return spec_of(text, self._show)

    def read_job(self, row: Row) -> Job:
        """A job from its batch's name, its spec and the columns of `job`."""
        try:
            spec = (self._read_again if len(row[1]) <= SHORT else self._read_spec)(row[1])
            if any(map(is_gone, spec.env.values())):  # its file may be there again
                spec = self._read_spec(row[1])
        except (TypeError, ValueError) as error:
            raise StoreBroken(f"{self._file.path}: the definition of job {row[2]} cannot be read: {error}") from error
        return _job(row, spec)

    def _hide(self, name: str, value: str) -> object:
        return {"secret": self._vault.put(value)} if is_secret(name) else value

    def _show(self, kept: object) -> str:
        return self._vault.get(kept["secret"]) if isinstance(kept, dict) else str(kept)


class _Turn(Struct, frozen=True):
    """The port Turn on a file."""

    file: Connection

    def take(self) -> None:
        self.file.begin()

    def wrote(self) -> bool:
        return self.file.wrote()

    def close(self) -> None:
        self.file.close_group()


class SqliteStore(Ledger):
    """The store in the file `path`, made if it is missing; several processes may have it open.

    `busy` is how many seconds a call waits for other writers. Each error of the file is a StoreBroken with one line.
    """

    def __init__(self, path: Path, *, busy: float = BUSY) -> None:
        self._file = Connection(path, busy)
        self._looks = _Rows(self._file, Vault(places.secrets(path.parent)))
        super().__init__(self._looks)

    def close(self) -> None:
        """Give the database back; later calls fail."""
        self._file.close()

    def enter(self, supervisor: Supervisor) -> None:
        """Register this incarnation; output that the database does not know keeps its numbers to itself."""
        super().enter(supervisor)
        with self._looks.transaction():
            self._file.pass_output()

    def group(self) -> AbstractContextManager[None]:
        """Several calls, one commit; each call inside stays all-or-nothing of its own."""
        return self._file.group()

    def turn(self) -> Turn:
        """The same for a loop that must not wait."""
        self._file.open_group(hurried=True)
        return _Turn(self._file)

    def reading(self) -> Turn:
        """A turn in which every call that writes raises Busy, at once."""
        self._file.open_group(hurried=True, reading=True)
        return _Turn(self._file)

    def version(self) -> int:
        """A number that changes when another connection commits. Raises StoreBroken where the file is gone."""
        with self._file.clearly():
            self._file.check_place()
            return self._file.number("version")

    def holds(self) -> list[Hold]:
        """Every hold."""
        with self._file.look():
            return self._looks.every_hold()

    def hours(self) -> dict[str, str]:
        """The hours of each scope that has some, with the name of their zone."""
        with self._file.look():
            return dict(self._looks.hours())

    def reserves(self) -> list[Reserve]:
        """What every source says of how much of the windows of accounts may be used."""
        with self._file.look():
            return self._looks.reserves()

    def balances(self, now: datetime) -> list[Balance]:
        """Every budget, and what was spent of it."""
        with self._file.look():
            return spending.balances(self._looks, now)

    def spent(self, batch: int | None = None, account: str | None = None) -> Spent:
        """What the attempts of a batch, or with an account, have used that have ended."""
        with self._file.look():
            return self._looks.spent(day=None, batch=batch, account=account)

    def past(self) -> list[Past]:
        """What became of attempts and jobs, by day and account; of forgotten ones as well."""
        with self._file.look():
            return together([*map(_past, self._file.rows("history")), *self._looks.past(None)])

    def shuts(self) -> list[Shut]:
        """Every closing of a gate by a limit, the earliest first; those that forgotten jobs told as well."""
        with self._file.look():
            found = [*map(_shut, self._file.rows("shuts")), *self._looks.shuts(None)]
            return sorted(found, key=lambda one: (one.since, one.scope, one.window))

    def meters(self, scope: str | None = None) -> list[Meter]:
        """The meters of a scope, or of all, by scope and window."""
        with self._file.look():
            found = self._file.rows("meters") if scope is None else self._file.rows("meters_on", scope=scope)
            return [_meter(row) for row in found]

    def tides(self, scope: str, window: Window, most: int = 100) -> list[Tide]:
        """The windows of a scope and a kind that are over, the newest first."""
        with self._file.look():
            return self._looks.tides_of(scope, window, most)

    def readings(self, scope: str, window: Window, since: datetime) -> list[Reading]:
        """What was read of the windows of a scope and a kind from an instant on, in order."""
        with self._file.look():
            return self._looks.readings_of(scope, window, since)

    def costs(self, account: str) -> list[Cost]:
        """What jobs that have succeeded with an account have drawn, by group."""
        with self._file.look():
            return self._looks.costs_of(account)

    def held(self) -> list[Held]:
        """Why nothing of an account may start, for each of which that is so, by name."""
        with self._file.look():
            return [_held(row) for row in self._file.rows("every_held")]

    def spent_by_day(self) -> dict[tuple[str, str], Spent]:
        """What was spent, by day and account."""
        with self._file.look():
            return {(day, account): _spent(tuple(row)) for day, account, *row in self._file.rows("spent_by_day")}

    def requests(self) -> list[Request]:
        """What doors ask of a running supervisor and is not answered yet, oldest first."""
        with self._file.look():
            return self._looks.requests()

    def moment(self) -> AbstractContextManager[object]:
        """Several reads of one moment: what is written meanwhile they do not see."""
        return self._file.look()

    def batches(self) -> list[Batch]:
        """Every batch, oldest first."""
        with self._file.look():
            return [Batch(name, id) for name, id in self._file.rows("batches")]

    def accounts(self) -> list[Account]:
        """Every account that is known, by name."""
        with self._file.look():
            return [_account(*row) for row in self._file.rows("accounts")]

    def answered_at(self) -> dict[str, datetime]:
        """The latest proof that an account's provider answers, for each account that has one."""
        with self._file.look():
            return {name: _instant(at) for name, at in self._file.rows("answered_at")}

    def counts(self, batch: int | None = None, account: str | None = None) -> dict[State, int]:
        """How many jobs, of a batch or of an account, are in each state; costs the same however many there are."""
        with self._file.look():
            row = self._file.row("counts", batch=batch, account=account)
            return dict(zip(State, row or (), strict=True))

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
        wanted = Wanted(label, name)
        if wanted.is_nonsense:
            return []
        first = after or LARGEST if newest_first else after
        key, value = label or (None, None)
        asked: dict[str, Value] = {"name": name, "label": key, "value": value, "after": first, "most": most}
        with self._file.look():
            if batch is None and account is None and not states:
                found = self._file.rows("every_job_down" if newest_first else "every_job", **asked)
            else:
                some = "jobs_in_down" if newest_first else "jobs_in"
                wells = self._wells(batch, states or tuple(State), account)
                found = merge(
                    *(self._file.rows(some, lane=lane, state=state, **asked) for lane, state in wells),
                    key=itemgetter(2),
                    reverse=newest_first,
                )
            return [self._looks.read_job(row) for row, _ in zip(found, range(most), strict=False)]

    def _wells(self, batch: int | None, states: Sequence[State], account: str | None) -> list[tuple[int, str]]:
        """Every lane and state that has such jobs, to be read side by side: costs what is found, not what there is."""
        return [
            (lane, state.value)
            for lane, *counts in self._file.rows("filled", batch=batch, account=account)
            for state, number in zip(State, counts, strict=True)
            if number and state in states
        ]

    def groups(self, batch: int | None = None) -> list[Group]:
        """The groups of a batch, or of all, that wait or are waited for."""
        with self._file.look():
            return self._looks.groups(batch)

    def needs(self, jobs: Sequence[int]) -> list[Need]:
        """What these jobs need, by job and by what it needs."""
        with self._file.look():
            found = self._file.rows("needs", jobs=json_text(list(jobs)))
            return [
                Need(job=job, needs=needs, name=name, state=_state(state), met=bool(met))
                for job, needs, name, state, met in found
            ]

    def ended(self, before: datetime, *, after: int = 0, most: int = 1000) -> list[Job]:
        """Jobs that ended before an instant, in the order of their ids, from the first id greater than `after`."""
        with self._file.look():
            found = self._file.rows("ended", before=iso(before), after=after, most=most)
            return [self._looks.read_job(row) for row in found]

    def job(self, id: int) -> Job | None:
        """One job by its internal id."""
        with self._file.look():
            return self._looks.job(id)

    def job_names(self, ids: Sequence[int]) -> dict[int, str]:
        """The user's ids of those of these jobs that there are, by internal id."""
        with self._file.look():
            return dict(self._file.rows("job_names", ids=json_text(ids)))

    def sweep(self) -> None:
        """Remove the secrets that no job has."""
        self._looks.sweep()

    def launches(self, ids: Sequence[int]) -> dict[int, tuple[State, int]]:
        """Where those of these jobs that there are stand, and how often they were launched, by internal id."""
        with self._file.look():
            found = self._file.rows("launches", ids=json_text(list(ids)))
            return {id: (_state(state), launches) for id, state, launches in found}

    def lengths(self, names: Sequence[str]) -> dict[str, float]:
        """How many seconds the newest success of a job of each of these names took, in whatever batch."""
        with self._file.look():
            found = self._file.rows("lengths", names=json_text(list(names)))
            return {name: max(round(length, 3), 0.0) for name, length in found if length is not None}

    def jobs_named(self, name: str, batch: int | None = None) -> list[Job]:
        """Jobs by the user's id; one for each batch that has it."""
        with self._file.look():
            return [self._looks.read_job(row) for row in self._file.rows("jobs_named", name=name, batch=batch)]

    def attempts(self, job: int) -> list[Attempt]:
        """A job's attempts, first to last."""
        with self._file.look():
            return self._looks.attempts_of(job)

    def running(self) -> list[tuple[Job, Attempt]]:
        """Every running attempt with its job."""
        with self._file.look():
            return self._looks.running_on(None)

    def supervisors(self) -> list[Supervisor]:
        """The incarnations that have not left."""
        with self._file.look():
            return [_supervisor(row) for row in self._file.rows("supervisors")]

    def events(
        self, *, after: int = 0, job: int | None = None, batch: int | None = None, most: int = 1000
    ) -> list[Event]:
        """Events in order, from the first seq greater than `after`; of a job, or of the jobs of a batch."""
        with self._file.look():
            if job is not None:
                found = self._file.rows("events_of_job", job=job, after=after, most=most)
            elif batch is not None:
                found = self._file.rows("events_of_batch", batch=batch, after=after, most=most)
            else:
                found = self._file.rows("events", after=after, most=most)
            return [_event(row) for row in found]

    def last_seq(self) -> int:
        """The seq of the newest event, 0 where there is none."""
        with self._file.look():
            return self._file.number("last_seq")

    def piles(self) -> list[Pile]:
        """The unfinished jobs of every batch, counted; by batch, then by their first."""
        with self._file.look():
            return [_pile(row) for row in self._file.rows("piles")]

    def laps(self, now: datetime, *, most: int) -> list[Lap]:
        """How long the jobs have worked that were begun and have not ended, and the `most` that have ended last."""
        with self._file.look():
            open_ = [_lap(row) for row in self._file.rows("open_laps", now=iso(now))]
            return [*open_, *(_lap(row) for row in self._file.rows("ended_laps", most=most))]

    def forecasts(self, batch: int) -> list[Forecast]:
        """What was foretold of a batch, the first first."""
        with self._file.look():
            return [_forecast(row) for row in self._file.rows("forecasts", batch=batch)]

    def last_forecast(self, batch: int) -> Forecast | None:
        """What was foretold of a batch last."""
        with self._file.look():
            row = self._file.row("last_forecast", batch=batch)
            return _forecast(row) if row else None

    def next_due(self, now: datetime) -> datetime | None:
        """The first instant after `now` at which a claim could find more than now: a `not_before` or an `until`."""
        with self._file.look():
            found = [
                end for name in ("next_end", "next_early", "next_job") for (end,) in self._file.rows(name, now=iso(now))
            ]
            ends = [_instant(end) for end in found if end is not None]
            return min([*ends, *timetable.openings(self._looks, now)], default=None)


# --- from rows to values ---


def _whole(read: Callable[[Row], T]) -> Callable[[Row], T]:
    """Say so where a row makes no value."""

    @wraps(read)
    def reading(row: Row) -> T:
        try:
            return read(row)
        except (ValueError, TypeError) as error:
            raise Garbled(f"a row of {read.__name__.strip('_')}: {error}") from error

    return reading


def _at(text: str | None) -> datetime | None:
    return None if text is None else _instant(text)


def _candidate(row: Sequence[int]) -> Candidate:
    if None in row:
        raise Garbled("a row of job: no priority")
    return Candidate(*row)


def _instant(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except (ValueError, TypeError) as error:
        raise Garbled(str(error)) from error


def _state(text: str) -> State:
    try:
        return State(text)
    except ValueError as error:
        raise Garbled(str(error)) from error


def _job(row: Row, spec: Spec) -> Job:
    """A job from its batch's name, its spec's text, which is read already, and the columns of `job`."""
    try:
        return Job(
            id=row[2],
            batch=row[3],
            batch_name=row[0],
            name=row[5],
            account=row[6],
            model=row[7],
            group=row[8],
            priority=row[9],
            state=State(row[10]),
            not_before=_at(row[11]),
            attempts=row[12],
            launches=row[13],
            limited_in_a_row=row[14],
            limited_since=_at(row[15]),
            lost=row[16],
            session=row[17],
            resumed=bool(row[18]),
            reason=row[19],
            created_at=datetime.fromisoformat(row[20]),
            ended_at=_at(row[21]),
            unmet=row[23],
            stage=row[24],
            work=work_of(row[25]),
            charges=json.loads(row[26]) if row[26] else {},
            expect=row[27],
            share=_share(row[28], row[29]),
            spec=spec,
        )
    except (ValueError, TypeError) as error:
        raise Garbled(f"a row of job: {error}") from error


def _share(mean: float | None, spread: float | None) -> Share | None:
    return None if mean is None else Share(mean, spread)


def _hint(expect: float | None, share: Share | None) -> dict[str, Value]:
    """The columns of what a person expects of a job."""
    mean, spread = (None, None) if share is None else (share.mean, share.spread)
    return {"expect": expect, "share": mean, "spread": spread}


@_whole
def _group(row: Row) -> Group:
    id, batch, batch_name, name, when, stand, reason, needs, *counts = row
    return Group(
        id=id,
        batch=batch,
        batch_name=batch_name,
        name=name,
        needs=tuple(json.loads(needs)),
        when=When(when),
        stand=Stand(stand),
        reason=reason,
        counts=dict(zip(State, counts, strict=True)),
    )


@_whole
def _supervisor(row: Row) -> Supervisor:
    uuid, host, pid, boot_id, started_at, batch, only = row
    began, picked = datetime.fromisoformat(started_at), tuple(json.loads(only)) if only else ()
    return Supervisor(uuid=uuid, host=host, pid=pid, boot_id=boot_id, started_at=began, batch=batch, only=picked)


def _of_supervisor(one: Supervisor) -> dict[str, Value]:
    only = json_text(list(one.only)) if one.only else None
    return {**asdict(one), "started_at": iso(one.started_at), "only": only}


@_whole
def _request(row: Row) -> Request:
    id, at, verb, by, target = row
    return Request(id=id, at=datetime.fromisoformat(at), verb=Ask(verb), by=by, target=target)


@_whole
def _hold(row: Row) -> Hold:
    return Hold(
        scope=row[0],
        origin=Origin(row[1]),
        window=Window(row[2]),
        allow=row[3],
        since=datetime.fromisoformat(row[4]),
        until=_at(row[5]),
        reason=row[6],
        evidence=row[7],
        by=row[8],
        epoch=row[9],
        resets_at=_at(row[10]),
        exact=bool(row[11]),
        ramp=bool(row[12]),
        misses=row[13],
        canary=row[14],
        halt=Halt(row[15]),
        early_at=_at(row[16]),
    )


@_whole
def _habit(row: Row) -> Habit:
    return Habit(
        scope=row[0],
        window=Window(row[1]),
        opened_at=_at(row[2]),
        began=_at(row[3]),
        cut_at=_at(row[4]),
        span=row[5],
        cuts=row[6],
        rest=row[7],
        slides=bool(row[8]),
    )


def _usage(text: str | None) -> Usage | None:
    return Usage(**json.loads(text)) if text else None


def _said_of(usage: Usage) -> dict[str, float | None]:
    return {name: getattr(usage, name) for name in FIGURES}


@_whole
def _attempt(row: Row) -> Attempt:
    return Attempt(
        job=row[0],
        n=row[1],
        supervisor=row[2],
        epoch=row[3],
        started_at=datetime.fromisoformat(row[4]),
        canary=bool(row[5]),
        progressed=bool(row[6]),
        ended_at=_at(row[7]),
        outcome=row[8],
        exit=row[9],
        session=row[10],
        usage=_usage(row[11]),
        detail=row[12],
        stage=row[13],
        resumes=bool(row[14]),
        drawn=row[15],
        answers=row[16],
    )


def _account(name: str, most: int | None, cautious: int, admission: str) -> Account:
    return Account(name=name, max_running=most, cautious=bool(cautious), admission=Admission(admission))


@_whole
def _draft(row: Row) -> Draft:
    job, group, launches, session, expect, mean, spread, *running = row
    draft = Draft(job, group, launches, bool(session), expect, _share(mean, spread))
    return draft._replace(started_at=_instant(running[0]), drawn=running[1]) if running else draft


@_whole
def _held(row: Row) -> Held:
    return Held(
        account=row[0],
        since=_instant(row[1]),
        again=_instant(row[2]),
        job=row[3],
        window=Window(row[4]),
        left=row[5],
        needed=row[6],
        spread=row[7],
        until=_at(row[8]),
        observed=bool(row[9]),
    )


@_whole
def _meter(row: Row) -> Meter:
    return Meter(
        scope=row[0],
        window=Window(row[1]),
        begins_at=datetime.fromisoformat(row[2]),
        resets_at=_at(row[3]),
        used=row[4],
        read_at=_at(row[5]),
        drawn=row[6],
        drawn_at_reading=row[7],
        refused_at=_at(row[8]),
    )


@_whole
def _tide(row: Row) -> Tide:
    return Tide(
        scope=row[0],
        window=Window(row[1]),
        began_at=datetime.fromisoformat(row[2]),
        ended_at=datetime.fromisoformat(row[3]),
        used=row[4],
        drawn=row[5],
        drawn_at_reading=row[6],
        refused=bool(row[7]),
    )


@_whole
def _reading(row: Row) -> Reading:
    scope, window, at, used, resets_at, drawn = row
    when, reset = datetime.fromisoformat(at), _at(resets_at)
    return Reading(scope=scope, window=Window(window), at=when, used=used, resets_at=reset, drawn=drawn)


@_whole
def _cost(row: Row) -> Cost:
    return Cost(**dict(zip(Cost.__struct_fields__, row, strict=True)))


@_whole
def _spent(row: Row) -> Spent:
    return Spent(**dict(zip(Spent.__struct_fields__, row, strict=True)))


@_whole
def _past(row: Row) -> Past:
    return Past(**dict(zip(Past.__struct_fields__, row, strict=True)))


@_whole
def _shut(row: Row) -> Shut:
    return Shut(scope=row[0], window=row[1], since=_instant(row[2]), until=_at(row[3]))


@_whole
def _kept(row: Row) -> Kept:
    scope, source, usd, tokens, wall, day_usd, day_tokens, day_wall, on_exceed, reached, reached_on = row
    whole = Allowance(usd=usd, tokens=tokens, wall=wall)
    day = Allowance(usd=day_usd, tokens=day_tokens, wall=day_wall)
    return Kept(scope, source, Budget(whole=whole, day=day, on_exceed=Exceed(on_exceed)), bool(reached), reached_on)


@_whole
def _reserve(row: Row) -> Reserve:
    account, window, source, stop_at, heeded = row
    return Reserve(account=account, source=source, window=Window(window), stop_at=stop_at, heeded=_at(heeded))


@_whole
def _event(row: Row) -> Event:
    seq, at, name, job, attempt, scope, data = row
    return Event(
        seq=seq,
        at=datetime.fromisoformat(at),
        name=name,
        job=job,
        attempt=attempt,
        scope=scope,
        data=json.loads(data),
    )


_pile, _lap, _forecast = _whole(prospects.pile), _whole(prospects.lap), _whole(prospects.forecast)


def open(path: Path, *, busy: float = BUSY) -> SqliteStore:  # noqa: A001 - read as sqlite.open
    """The store in the file `path`, made if it is missing; `busy` as SqliteStore's."""
    return SqliteStore(path, busy=busy)
