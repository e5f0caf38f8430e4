"""The transitions of jobs and holds, written once: read the rows, ask `policy`, write the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from tidegate import budget, policy, reopening, retries, runs
from tidegate.errors import BadInput, NotOwner
from tidegate.model import (
    Account,
    Ask,
    Attempt,
    Batch,
    Budget,
    Drawn,
    Failed,
    Forgotten,
    Habit,
    Hold,
    Interrupted,
    Job,
    Limited,
    NewGroup,
    NewJob,
    Origin,
    Outcome,
    Reading,
    Request,
    State,
    Submission,
    Succeeded,
    Supervisor,
    TimedOut,
    Usage,
    Window,
    family,
)
from tidegate.policy import Rules
from tidegate.prospect import Forecast
from tidegate.stores import ends, metering, reserves, spending, timetable
from tidegate.stores.claim import Claimer, claim, turn_due
from tidegate.stores.rows import Known, Rows, Ties, about, iso, iso_or_none, told
from tidegate.stores.submit import CHUNK, Submit, check
from tidegate.stores.takeup import take_up

IDLE: Final = 100  # batches and incarnations that are removed at once: each costs a look at all jobs
LONGEST: Final = 4000  # characters of an agent's words that a row keeps; the whole is in the attempt's files


class Ledger:
    """The half of the port Store that writes; what it looks like to read is each store's own."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    # --- who works ---

    def enter(self, supervisor: Supervisor) -> None:
        """Register this incarnation; its claims and finishes carry its uuid."""
        with self._rows.transaction():
            self._rows.add_supervisor(supervisor)
            self._rows.event(supervisor.started_at, "supervisor entered", data=_who(supervisor))

    def leave(self, supervisor: str, now: datetime) -> None:
        """That incarnation is done; what it still runs may be adopted."""
        with self._rows.transaction():
            if (found := self._rows.supervisor(supervisor)) is not None:
                self._left(found, now)

    def _left(self, supervisor: Supervisor, now: datetime) -> None:
        self._rows.end_supervisor(supervisor.uuid, now)
        self._rows.event(now, "supervisor left", data=_who(supervisor))

    def _registered(self, uuid: str) -> Supervisor:
        found = self._rows.supervisor(uuid)
        if found is None:
            raise NotOwner(f"supervisor {uuid} is not registered, or has left")
        return found

    # --- what to do ---

    def set_accounts(self, accounts: Sequence[Account], now: datetime) -> None:  # noqa: ARG002 - the port's
        """Make these accounts known with these limits of their own; others stay as they are."""
        with self._rows.transaction():
            self._put_accounts(accounts)

    def _put_accounts(self, accounts: Sequence[Account]) -> None:
        for account in accounts:
            known = self._rows.known(account.name)
            if known is None or known.account != account:
                self._rows.put_known(replace(known, account=account) if known else Known(account))
                if known is not None and self._rows.held(account.name) is not None:
                    self._rows.drop_held(account.name)  # by whatever is said now, the next claim finds out anew

    def configure(
        self,
        source: str,
        accounts: Sequence[Account],
        hours: Mapping[str, str],
        budgets: Mapping[str, Budget],
        now: datetime,
        *,
        stops: Mapping[str, Mapping[Window, float]],
    ) -> None:
        """Say all that a configuration says: all of it, or none. Raises BadInput."""
        said = timetable.read_all(hours)
        spending.check(budgets)
        reserves.check(stops)
        with self._rows.transaction():
            self._put_accounts(accounts)
            timetable.say_all(self._rows, source, said, now)
            spending.keep(self._rows, source, budgets, now)
            reserves.keep(self._rows, source, stops, now)

    def submit(
        self,
        batch: Batch,
        jobs: Sequence[NewJob],
        now: datetime,
        *,
        groups: Sequence[NewGroup] | None = None,
        update: bool = False,
        whole: bool = True,
    ) -> Submission:
        """Add a batch's jobs, by name; a known name keeps its state, and its definition unless `update`.

        Up to CHUNK jobs are one transaction. More are written chunk by chunk, so that others get their turn: what a
        crash leaves out is added when the same jobs are submitted again. `whole`: these are all of the batch's jobs,
        so tell which others it has. `groups`: as the port Store says. Raises BadInput for a name that no row can have,
        or that comes twice.
        """
        submit = Submit(self._rows, batch, jobs, now, update=update, said=groups)
        submit.write()
        return submit.told(whole=whole)

    def set_priority(self, job: int, priority: int, now: datetime) -> None:
        """Change a queued job's place in the queue."""
        with self._rows.transaction():
            found = self._rows.job(job)
            if found is not None and found.state is State.QUEUED and found.priority != priority:
                self._rows.put_priority(job, priority)
                self._rows.event(now, "job updated", job=job, data={"priority": priority})

    # --- what becomes of jobs ---

    def cancel(self, job: int, now: datetime, *, by: str) -> Job:
        """End a queued job; ask for the end of a running one; one that has ended stays. The job as it is now."""
        with self._rows.transaction():
            return ends.cancel(self._rows, self._job(job), now, _kept(by))

    def published(self, job: int, now: datetime, *, by: str) -> Job:
        """End a queued job, whose work is published, as succeeded. Raises BadInput where it does not wait for that."""
        with self._rows.transaction():
            found = self._job(job)
            ended = policy.published(found, now)
            if ended is found:
                raise BadInput(f"job {job} does not wait to be published")
            self._rows.event(now, "job published", job=job, data={"by": _kept(by)})
            return ends.end(self._rows, found, ended, now, _kept(by))

    def retry(self, job: int, now: datetime, *, by: str, clean: bool = False) -> Job:
        """Queue a job that has ended anew, with all of its attempts; any other stays as it is."""
        with self._rows.transaction():
            return ends.retry(self._rows, self._job(job), now, _kept(by), clean=clean)

    def edit(self, job: int, new: NewJob, now: datetime, *, by: str) -> Job:
        """A queued job's new definition, account, model, group and priority; its name, batch, needs and times stay.

        Raises BadInput where it is not queued.
        """
        with self._rows.transaction():
            found = self._job(job)
            check(Batch(found.batch_name), [new])
            if found.state is not State.QUEUED:
                raise BadInput(f"job {job} is {found.state}: only a queued job can be changed")
            changed = policy.edited(found, new)
            if changed != found:
                self._rows.redefine(job, found.batch, self._rows.define(new))
                self._rows.put_job(changed)
                if changed.work is not None or found.work is not None:
                    self._rows.move(changed)
                self._rows.event(now, "job updated", job=job, data={"by": _kept(by)})
            if changed.group != found.group:
                ends.settle(self._rows, [found.batch], now, by=_kept(by))
            return changed

    def forget(self, jobs: Sequence[int], now: datetime) -> int:
        """Remove jobs that have ended and that no unfinished job needs, and all that is known of them; how many.

        Up to CHUNK jobs are one transaction; more are removed in chunks.
        """
        forgotten, asked = 0, list(dict.fromkeys(jobs))
        for start in range(0, len(asked), CHUNK):
            with self._rows.transaction():
                if gone := self._rows.forgettable(asked[start : start + CHUNK]):
                    self._rows.event(now, "jobs forgotten", data={"jobs": len(gone)})  # first: the newest row must stay
                    tied = self._rows.tied_batches(gone)
                    self._rows.forget(gone)
                    ends.settle(self._rows, tied, now)
                    forgotten += len(gone)
        return forgotten

    def forget_past(self, before: datetime) -> int:
        """Remove what was told before an instant of no job in particular, and what is left without jobs; how many
        events.

        In chunks, so that others get their turn; at most IDLE batches and incarnations in a call.
        """
        past = self._rows.past_events(before)
        for start in range(0, len(past), CHUNK):
            with self._rows.transaction():
                self._rows.drop_events(past[start : start + CHUNK])
        with self._rows.transaction():
            self._rows.drop_idle(before, IDLE)
            self._rows.drop_tides(before)
            self._rows.drop_forecasts(before)
        return len(past)

    def _job(self, id: int) -> Job:
        found = self._rows.job(id) if 0 < id < 2**63 else None
        if found is None:
            raise BadInput(f"no job #{id} here")
        return found

    # --- what doors ask of a running supervisor ---

    def ask(self, verb: Ask, now: datetime, *, by: str, target: int | None = None) -> Request:
        """Ask for something; while it is pending, asking again changes nothing. Raises BadInput for a cancel of a job
        that does not run.
        """
        with self._rows.transaction():
            if verb is Ask.CANCEL and (target is None or self._job(target).state is not State.RUNNING):
                raise BadInput(f"job #{target} is not running")
            return ends.ask(self._rows, verb, now, by=_kept(by), target=target)

    def answered(self, request: int, now: datetime, *, refused: str = "", said: str = "") -> None:
        """A request was obeyed, or is `refused` for a reason: it is pending no more; `said` is for whoever asked."""
        with self._rows.transaction():
            if (found := self._rows.request(request)) is not None:
                self._rows.drop_request(request)
                told = {"by": found.by, "refused": _kept(refused), "said": _kept(said)}
                self._rows.event(now, f"{found.verb} answered", job=found.target, data=_without_blanks(told))

    # --- the work ---

    def claim(
        self, supervisor: str, now: datetime, *, most: int = 1, batch: int | None = None, rules: Rules | None = None
    ) -> list[tuple[Job, Attempt]]:
        """Take up to `most` queued jobs that no hold binds: the only way to `running`; 0 only turns what is due.

        Raises NotOwner where `supervisor` is not registered.
        """
        with self._rows.transaction():
            who = Claimer(me=self._registered(supervisor), now=now, rules=rules or Rules())
            return claim(self._rows, who, most=most, batch=batch)

    def unstrand(self, now: datetime, *, rules: Rules) -> None:
        """Let what waits for longer than any wait of ours lasts go on: the clock was set back meanwhile.

        What a provider or a person has said is an instant and stays.
        """
        with self._rows.transaction():
            self._rows.unstrand(now, now + timedelta(seconds=rules.retry_most))
            for hold in self._rows.wide_holds():
                if policy.is_stranded(hold, now, rules):
                    moved = replace(hold, until=now)
                    self._rows.put_hold(moved)
                    self._rows.event(now, "gate moved", scope=hold.scope, data=told(moved))

    def unclaim(self, attempt: Attempt, now: datetime, reason: str) -> None:
        """Give back an attempt that was never started: queued again, uncharged. Repeating it is a success."""
        with self._rows.transaction():
            job, mine = self._owned(attempt)
            reason = _kept(reason)
            ended = replace(mine, ended_at=now, outcome="unclaimed", detail=reason)
            if mine.ended_at is not None:
                _same_end(mine, ended)
                return
            ties = self._rows.ties(job.id)
            after = ends.obeyed(self._rows, policy.released(job, reason), ties, now)
            self._rows.put_attempt(ended)
            ends.put(self._rows, job, after)
            self._rows.event(now, "attempt unclaimed", job=job.id, attempt=mine.n, data={"reason": reason})
            if after.state.is_final:
                ends.close(self._rows, after, ties, now, attempt=mine.n)

    def note_session(self, attempt: Attempt, session: str, now: datetime) -> None:
        """Remember the conversation id while the attempt runs. Raises NotOwner."""
        with self._rows.transaction():
            job, mine = self._owned(attempt)
            if mine.ended_at is not None:
                raise _not_owner(attempt)
            session = _session_kept(session)
            if session != mine.session:
                self._rows.put_attempt(replace(mine, session=session))
                self._rows.event(now, "session seen", job=job.id, attempt=mine.n, data={"session": session})

    def note_progress(self, attempt: Attempt, now: datetime) -> list[Hold]:
        """The provider answered: widen each ramp that this attempt belongs to, once; the ramps as they are now.

        Of an attempt that has ended, or is another supervisor's now, it is told too late and changes nothing.
        """
        with self._rows.transaction():
            try:
                job, mine = self._owned(attempt)
            except NotOwner:
                return []
            if mine.ended_at is None and not mine.progressed:
                self._rows.put_attempt(replace(mine, progressed=True))
                self._rows.event(now, "progress", job=job.id, attempt=mine.n)
                self._progressed(job, mine, now)
            return [hold for hold in self._provider_holds(job) if hold.ramp]

    def note_rest(self, attempt: Attempt, now: datetime, *, rests: bool) -> None:
        """Tell that an attempt stands still from now on, or goes on; of one that has ended nothing is told."""
        with self._rows.transaction():
            try:
                job, mine = self._owned(attempt)
            except NotOwner:
                return
            if mine.ended_at is None:
                self._rows.event(now, "attempt frozen" if rests else "attempt thawed", job=job.id, attempt=mine.n)

    def note_signals(self, drawn: Sequence[tuple[Attempt, Drawn]], readings: Sequence[Reading], now: datetime) -> None:
        """Write down what running attempts have drawn so far, in all, and what was read of windows since.

        Of an attempt that has ended, or is another supervisor's now, it is told too late and changes nothing.
        """
        with self._rows.transaction():
            for attempt, so_far in drawn:
                try:
                    job, mine = self._owned(attempt)
                except NotOwner:
                    continue
                if mine.ended_at is None:
                    metering.draw(self._rows, job, mine, so_far, now)
            metering.read(self._rows, readings, now)

    def finish(
        self,
        attempt: Attempt,
        outcome: Outcome,
        now: datetime,
        *,
        exit: int | None = None,
        session: str | None = None,
        usage: Usage | None = None,
        drawn: Drawn | None = None,
        rules: Rules | None = None,
        jitter: float = 0.5,
    ) -> Job:
        """Record an attempt's end, and the job as `policy.after` says. Repeating it is a success.

        Raises NotOwner where (job, attempt, supervisor) is not the running attempt.
        """
        rules = rules or Rules()
        with self._rows.transaction():
            job, mine = self._owned(attempt)
            blank = self._is_blank(job, mine, outcome, now, rules)
            known = _session_kept(session) if session else mine.session
            ended = _ended(mine, outcome, answers=_answers(outcome) and not blank)
            ended = replace(ended, ended_at=now, exit=exit, session=known)
            if mine.ended_at is not None:
                _same_end(mine, ended)
                return job
            if usage is not None:
                ended = replace(ended, usage=self._own(usage, ended))
            if drawn is not None:
                ended = metering.draw(self._rows, job, ended, drawn, now)
            self._rows.put_attempt(ended)
            if ended.progressed and not mine.progressed:
                self._progressed(job, mine, now)
            running = replace(job, session=known) if known and known != job.session else job
            if ended.progressed and running.limited_in_a_row:  # it got on: not the same refusal again
                running = replace(running, limited_in_a_row=0, limited_since=None)
            ties = self._rows.ties(running.id)
            after = self._ended(running, ended, outcome, ties, now, rules=rules, jitter=jitter)
            if blank:
                self._count_blank(job, ended, now, rules)
            spending.count(self._rows, job, ended, ties, now)
            if ended.drawn or job.work is not None:
                metering.count(self._rows, after, now)
            return self._job(job.id) if ties.budgeted else after

    def _own(self, usage: Usage, attempt: Attempt) -> Usage:
        """What an attempt has used itself, of what its agent tells of the whole session."""
        resumes = usage.of_session and attempt.n > 1 and attempt.session
        return budget.own(usage, self._rows.spent_in(attempt.job, attempt.session or "") if resumes else ())

    def _ended(
        self,
        running: Job,
        attempt: Attempt,
        outcome: Outcome,
        ties: Ties,
        now: datetime,
        *,
        rules: Rules,
        jitter: float,
    ) -> Job:
        cuts = self._cuts(running) if running.spec.max_interruptions else 0
        tries = isinstance(outcome, Limited) and self._went_early(running, attempt)
        after = policy.after(running, outcome, now, rules=rules, jitter=jitter, cuts=cuts, tries=tries)
        job = ends.obeyed(self._rows, after, ties, now)
        if job.reason != (reason := _kept(job.reason)):
            job = replace(job, reason=reason)
        ends.put(self._rows, running, job)
        self._rows.event(
            now, "attempt ended", job=job.id, attempt=attempt.n, data=_told(running, attempt, outcome, job)
        )
        if job.stage != running.stage:
            self._rows.event(now, "job staged", job=job.id, attempt=attempt.n, data={"stage": job.stage})
        if job.state.is_final:
            ends.close(self._rows, job, ties, now, attempt=attempt.n)
        elif policy.is_in_doubt(running, outcome):
            ends.stick(self._rows, job, policy.doubt_hold(job, attempt.detail, now), now)
        elif policy.stuck(job, others_progressed=self._others_progressed(job), rules=rules):
            ends.stick(self._rows, job, policy.stuck_hold(job, now), now)
        return job

    def _cuts(self, job: Job) -> int:
        """How often the present run of a job was cut off; the end of its last attempt is written already."""
        return runs.cut_off(runs.last(self._rows.attempts_of(job.id)))

    def _went_early(self, job: Job, attempt: Attempt) -> bool:
        """Whether an attempt went ahead of a reset, and found what is shut still shut: not a closing of its own."""
        if not attempt.canary or attempt.progressed:
            return False
        holds = self._provider_holds(job)
        return any(hold.origin is Origin.LIMIT and not hold.ramp and hold.epoch < attempt.epoch for hold in holds)

    def _is_blank(self, job: Job, attempt: Attempt, outcome: Outcome, now: datetime, rules: Rules) -> bool:
        known = self._rows.known(job.account) if isinstance(outcome, Failed) else None
        cautious = known is not None and known.account.cautious
        lasted = (now - attempt.started_at).total_seconds()
        return policy.is_blank(outcome, cautious=cautious, answered=attempt.progressed, lasted=lasted, rules=rules)

    def _count_blank(self, job: Job, attempt: Attempt, now: datetime, rules: Rules) -> None:
        known = self._rows.known(job.account) or Known(Account(name=job.account))
        hold = policy.brake(job.account, known.blanks + 1, attempt.detail, now, rules=rules)
        self._rows.put_known(replace(known, blanks=0 if hold else known.blanks + 1))
        if hold is not None:
            self._write_hold(self._rows.hold(hold.scope, hold.origin, hold.window), hold, now, attempt)

    def _others_progressed(self, job: Job) -> bool:
        known = self._rows.known(job.account) if job.limited_since is not None else None
        latest = known.others_at(job.id) if known else None
        return latest is not None and job.limited_since is not None and latest >= job.limited_since

    def adopt(self, supervisor: str, host: str, now: datetime) -> list[tuple[Job, Attempt]]:
        """Take over every running attempt of other incarnations on `host`; the caller holds the state directory."""
        with self._rows.transaction():
            self._registered(supervisor)
            adopted = []
            for job, theirs in self._rows.running_on(host):
                if theirs.supervisor != supervisor:
                    mine = replace(theirs, supervisor=supervisor)
                    self._rows.put_attempt(mine)
                    self._rows.event(now, "attempt adopted", job=job.id, attempt=mine.n, data={"of": theirs.supervisor})
                    adopted.append((job, mine))
            for other in self._rows.supervisors_on(host):
                if other.uuid != supervisor:
                    self._left(other, now)
            return adopted

    def take_up(self, found: Forgotten, now: datetime) -> None:
        """Know attempts of a job that this store has forgotten, so that none of their numbers is given again.

        All but the last are over, and so is what the store believed to run. Where it `adopts` the last, that is the
        job's running attempt now, to be adopted as any other; a job that has ended by the store was retried then.
        """
        with self._rows.transaction():
            job = self._job(found.job)
            if max(found.numbers) > job.launches:
                self._know(found.supervisor, now)
                take_up(self._rows, job, found, now)
                if job.group:
                    ends.settle(self._rows, [job.batch], now, by="restore")

    def tell(self, name: str, now: datetime, data: Mapping[str, object]) -> None:
        """Write down what happened to the whole of it: that it was restored, or repaired."""
        with self._rows.transaction():
            self._rows.event(now, name, data=data)

    def note_forecast(self, batch: Batch, forecast: Forecast, now: datetime) -> None:
        """Keep what is foretold of a batch's end."""
        told = {"left": forecast.left, "windows": forecast.windows, "why": forecast.why}
        ends = {"p50": iso_or_none(forecast.p50), "p90": iso_or_none(forecast.p90)}
        with self._rows.transaction():
            self._rows.put_forecast(forecast)
            self._rows.event(now, "forecast made", scope=f"batch:{batch.name}", data={**told, **ends})

    def _know(self, supervisor: Supervisor, now: datetime) -> None:
        """An incarnation of which only what it launched tells has been here, and has left."""
        if not self._rows.is_known(supervisor.uuid):
            self._rows.add_supervisor(supervisor)
            self._rows.end_supervisor(supervisor.uuid, now)

    def _owned(self, attempt: Attempt) -> tuple[Job, Attempt]:
        """The job and the row of its latest attempt, which is `attempt`. Raises NotOwner."""
        job, mine = self._rows.job(attempt.job), self._rows.attempt(attempt.job, attempt.n)
        if job is None or mine is None or mine.supervisor != attempt.supervisor:
            raise _not_owner(attempt)
        if mine.ended_at is None and (job.state is not State.RUNNING or job.launches != mine.n):
            raise _not_owner(attempt)
        return job, mine

    # --- proof that the provider answers ---

    def _progressed(self, job: Job, attempt: Attempt, now: datetime) -> None:
        known = self._rows.known(job.account) or Known(Account(name=job.account))
        self._rows.put_known(known.progressed(job.id, now))
        for hold in self._provider_holds(job):
            if hold.origin is Origin.BURST and hold.epoch < attempt.epoch:
                self._relax(hold, known.account.max_running, now)
            if hold.ramp and hold.epoch < attempt.epoch:
                if hold.early_at is not None:
                    ahead = {"until": iso(now), "early": True} if policy.is_early(hold, now) else {}
                    data = {**about(hold), "allow": 1, **ahead}
                    self._rows.event(now, "gate reopening", scope=hold.scope, data=data)
                self._learn_opening(hold, attempt)
                self._widen(hold, known.account.max_running, now)

    def _learn_opening(self, hold: Hold, attempt: Attempt) -> None:
        """Remember since when a window is open, by the first attempt that is answered in it."""
        if hold.origin is Origin.START:
            self._rows.put_opening(hold.scope, hold.epoch, attempt.started_at)
        elif hold.allow == 1 and reopening.is_learned_from(hold):
            habit = self._rows.habit(hold.scope, hold.window) or Habit(scope=hold.scope, window=hold.window)
            self._rows.put_habit(reopening.opened(habit, attempt.started_at))

    def _provider_holds(self, job: Job) -> list[Hold]:
        lane = f"{job.account}/{family(job.model)}"
        return [*self._rows.holds_on(job.account), *self._rows.holds_on(lane)]

    def _widen(self, hold: Hold, most: int | None, now: datetime) -> None:
        wider = policy.widened(hold, most=most)
        if wider is None:
            self._rows.drop_hold(hold)
            self._rows.event(now, "gate opened", scope=hold.scope, data=about(hold))
        else:
            self._rows.put_hold(wider)
            self._rows.event(now, "gate ramped", scope=hold.scope, data={**about(hold), "allow": wider.allow})

    # --- the gate ---

    def hold(self, hold: Hold, now: datetime, *, attempt: Attempt | None = None, burst: bool = False) -> Hold | None:
        """Write a hold as `policy.merged` says; the row as it is now, or None where the evidence was stale.

        `burst`: too many ran in its scope at once. As long as it was more than one, fewer may run instead.

        What an attempt has said once changes nothing when it is said again: by the next incarnation, which reads all
        of its output anew, or at its end. A hold whose end has come has come, also where no claim has seen it yet.
        """
        new = replace(hold, reason=_kept(hold.reason), evidence=_kept(hold.evidence))
        with self._rows.transaction():
            turn_due(self._rows, now)
            prior = self._rows.hold(hold.scope, hold.origin, hold.window)
            if attempt is not None and self._rows.has_shut(attempt, new):
                return prior
            if burst and attempt is not None and (fewer := self._narrowed(new, attempt, now)) is not None:
                return fewer
            epoch = attempt.epoch if attempt else None
            opened = self._rows.opening(hold.scope)
            merged = policy.merged(prior, new, now, attempt_epoch=epoch, opened=opened)
            if merged is not None and reopening.is_learned_from(merged) and not _stands(prior, now):
                merged = self._learned(merged, opened, now)
            if merged is None or (prior is not None and _says_the_same(prior, merged)):
                return prior if merged is not None else None
            if attempt is not None:
                metering.refuse(self._rows, merged, now)
            return self._write_hold(prior, merged, now, attempt)

    def _narrowed(self, told: Hold, attempt: Attempt, now: datetime) -> Hold | None:
        prior = self._rows.hold(told.scope, Origin.BURST, Window.MINUTE)
        running = sum(told.scope in one.lane.scopes(one.host) for one in self._rows.crowd())
        hold = reopening.narrowed(prior, told, running, now)
        if hold is None or hold == prior or self._rows.has_shut(attempt, hold):
            return hold and (prior or hold)
        data = {**about(hold), "allow": hold.allow, "reason": hold.reason, "evidence": hold.evidence}
        seq = self._rows.event(now, "gate narrowed", job=attempt.job, attempt=attempt.n, scope=hold.scope, data=data)
        written = replace(hold, epoch=seq)
        self._rows.put_hold(written)
        return written

    def _relax(self, hold: Hold, most: int | None, now: datetime) -> None:
        wider = reopening.relaxed(hold, now, most=most)
        if wider is None:
            self._rows.drop_hold(hold)
            self._rows.event(now, "gate opened", scope=hold.scope, data=about(hold))
            return
        if wider.allow > hold.allow:
            seq = self._rows.event(now, "gate ramped", scope=hold.scope, data={**about(hold), "allow": wider.allow})
            wider = replace(wider, epoch=seq)
        self._rows.put_hold(wider)

    def _learned(self, hold: Hold, opened: tuple[int, datetime] | None, now: datetime) -> Hold:
        """A closing of a window as all that is known of its earlier ones would have it."""
        habit = self._rows.habit(hold.scope, hold.window) or Habit(scope=hold.scope, window=hold.window)
        told, known = reopening.shut(habit, hold, now, opened[1] if opened else None)
        if known != habit:
            self._rows.put_habit(known)
        return reopening.looked_for(known, told, now)

    def _write_hold(self, prior: Hold | None, hold: Hold, now: datetime, attempt: Attempt | None) -> Hold:
        moved = prior is not None and (_stands(prior, now) or policy.is_early(prior, now))
        seq = self._rows.event(
            now,
            "gate moved" if moved else "gate shut",
            job=attempt.job if attempt else None,
            attempt=attempt.n if attempt else None,
            scope=hold.scope,
            data=told(hold),
        )
        written = replace(hold, epoch=prior.epoch if moved and prior is not None else seq)
        self._rows.put_hold(written)
        return written

    def lift(self, scope: str | None, now: datetime, *, by: str, origins: Sequence[Origin] = ()) -> list[Hold]:
        """Remove the holds of a scope (None: every scope), of these origins (none named: all); what was removed."""
        with self._rows.transaction():
            found = self._rows.every_hold() if scope is None else self._rows.holds_on(scope)
            lifted = [hold for hold in found if not origins or hold.origin in origins]
            for hold in lifted:
                self._rows.drop_hold(hold)
                seq = self._rows.event(now, "gate lifted", scope=hold.scope, data={**about(hold), "by": by})
                if hold.origin is Origin.LIMIT:
                    self._rows.put_opening(hold.scope, seq, now)
            return lifted

    def set_hours(self, scope: str, hours: str, now: datetime, *, source: str = "") -> None:
        """Say when jobs of a scope may start; "" takes its hours away. The hold of the scope follows at once.

        Raises BadInput for text that is no hours.
        """
        when = timetable.read(scope, hours) if hours else None
        with self._rows.transaction():
            timetable.say(self._rows, scope, when, source, now)

    def keep_budgets(self, source: str, budgets: Mapping[str, Budget], now: datetime) -> None:
        """Say all that a source says of budgets, by scope; what it said before and says no more is taken away.

        Raises BadInput for what is no scope.
        """
        spending.check(budgets)
        with self._rows.transaction():
            spending.keep(self._rows, source, budgets, now)

    def keep_stops(self, source: str, stops: Mapping[str, Mapping[Window, float]], now: datetime) -> None:
        """Say all that a source says of how much of accounts' windows may be used; what it says no more is taken away.

        Raises BadInput for what is no account.
        """
        reserves.check(stops)
        with self._rows.transaction():
            reserves.keep(self._rows, source, stops, now)

    def keep_hours(self, source: str, hours: Mapping[str, str], now: datetime) -> None:
        """Say all that a source says of hours; what it said before and says no more is taken away. Raises BadInput."""
        said = timetable.read_all(hours)
        with self._rows.transaction():
            timetable.say_all(self._rows, source, said, now)


def _stands(hold: Hold | None, now: datetime) -> bool:
    """Whether a hold shuts its scope, whatever else is told of it."""
    return hold is not None and not hold.ramp and policy.prior_binds(hold, now)


def _who(supervisor: Supervisor) -> dict[str, str | int]:
    return {"uuid": supervisor.uuid, "host": supervisor.host, "pid": supervisor.pid}


def _not_owner(attempt: Attempt) -> NotOwner:
    return NotOwner(f"attempt {attempt.n} of job {attempt.job} is not run by {attempt.supervisor} any more")


def _ended(mine: Attempt, outcome: Outcome, *, answers: bool) -> Attempt:
    """The row of an attempt as its outcome tells; `answers`: that proves that the provider does."""
    return replace(
        mine,
        outcome=type(outcome).__name__.lower(),
        detail=_kept(_detail(outcome)),
        progressed=mine.progressed or answers,
    )


def _same_end(recorded: Attempt, told: Attempt) -> None:
    """An end that is recorded already may be told again, but not another one."""
    if (recorded.outcome, recorded.exit, recorded.detail) != (told.outcome, told.exit, told.detail):
        raise _not_owner(told)


def _says_the_same(prior: Hold, new: Hold) -> bool:
    return prior == replace(new, since=prior.since, epoch=prior.epoch)


def _told(running: Job, attempt: Attempt, outcome: Outcome, after: Job) -> dict[str, object]:
    """What the event of an attempt's end tells."""
    ended: dict[str, object] = {
        "outcome": attempt.outcome,
        "exit": attempt.exit,
        "reason": "" if isinstance(outcome, Succeeded) else attempt.detail,
        "charged": after.attempts > running.attempts,
        "next": after.state.value,
    }
    if attempt.stage:
        ended["stage"] = attempt.stage
    if isinstance(outcome, Failed) and outcome.cause:
        ended["cause"] = outcome.cause.value
    if ended["charged"] and after.charges != running.charges:
        ended["kind"] = retries.kind_of(outcome, running.spec)
    if after.not_before is not None:
        ended["not_before"] = iso(after.not_before)
    if isinstance(outcome, Interrupted) and outcome.session_gone:
        ended["session_gone"] = True
    return ended


def _answers(outcome: Outcome) -> bool:
    """Whether an end is itself proof that the provider answers."""
    return isinstance(outcome, Succeeded) or (isinstance(outcome, Failed) and outcome.valid)


def _detail(outcome: Outcome) -> str:
    match outcome:
        case Succeeded(text):
            return text
        case Limited(limit):
            return limit.evidence
        case _:
            return policy.timed_out(outcome) if isinstance(outcome, TimedOut) else outcome.reason


def _without_blanks(data: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in data.items() if value}


def _kept(text: str) -> str:
    """An agent's words as a row keeps them: without secrets, cut to LONGEST, and valid Unicode."""
    if not text:
        return text
    from tidegate.redact import redacted  # noqa: PLC0415 - whoever only submits pays for no patterns

    return _text(redacted(text[: 4 * LONGEST]))


def _session_kept(session: str) -> str:
    """A conversation's id as a row keeps it: what only looks like a secret stays, or nobody could resume it."""
    from tidegate.redact import without_known  # noqa: PLC0415

    return _text(without_known(session))


def _text(words: str) -> str:
    return words[:LONGEST].encode("utf-8", "replace").decode("utf-8")
