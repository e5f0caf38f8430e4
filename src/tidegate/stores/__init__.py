"""The port Store: one method, one transaction; nothing else writes a state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol

from tidegate.model import (
    Account,
    Ask,
    Attempt,
    Balance,
    Batch,
    Budget,
    Cost,
    Drawn,
    Event,
    Forgotten,
    Group,
    Held,
    Hold,
    Job,
    Meter,
    Need,
    NewGroup,
    NewJob,
    Origin,
    Outcome,
    Past,
    Reading,
    Request,
    Reserve,
    Shut,
    Spent,
    State,
    Submission,
    Supervisor,
    Tide,
    Usage,
    Window,
)
from tidegate.policy import Rules
from tidegate.prospect import Forecast, Lap, Pile


class Busy(Exception):
    """Raised inside a Turn when somebody else is writing just now, before anything of the call happened."""


class Turn(Protocol):
    """A group for a loop: calls never wait, neither for other writers nor for the disk.

    Between its making and its `close` every call of the store belongs to it. A call that writes raises Busy while
    somebody else does; `take` waits for that, `close` for the disk: both may be called from another thread.
    """

    def take(self) -> None:
        """Wait for other writers, as long as the store ever waits, and be the next."""

    def wrote(self) -> bool:
        """Whether there is anything that `close` must bring to the disk."""

    def close(self) -> None:
        """Commit; what was written is on the disk, or this raises and none of it happened. The turn is over."""


class Store(Protocol):
    """Port: the jobs, the attempts, the holds and what happened to them.

    Every method is one transaction (or none of it happened) and blocks; a loop calls it through a Writer.
    The claim, the finish, the hold and the progress read the rows they judge inside their own transaction and leave
    every decision to `policy`. `now` is aware UTC.
    """

    def close(self) -> None:
        """Give the database back; later calls fail."""

    def group(self) -> AbstractContextManager[None]:
        """Several calls, one commit; each call inside stays all-or-nothing of its own."""

    def turn(self) -> Turn:
        """The same for a loop that must not wait."""

    def reading(self) -> Turn:
        """A turn in which every call that writes raises Busy, at once."""

    def version(self) -> int:
        """A number that changes when another connection commits."""

    # --- who works ---

    def enter(self, supervisor: Supervisor) -> None:
        """Register this incarnation; its claims and finishes carry its uuid."""

    def leave(self, supervisor: str, now: datetime) -> None:
        """That incarnation is done; what it still runs may be adopted."""

    # --- what to do ---

    def set_accounts(self, accounts: Sequence[Account], now: datetime) -> None:
        """Make these accounts known with these limits of their own; others stay as they are."""

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

        `update` gives a queued job its new definition; a running or finished one keeps the old. `whole`: these are
        all of the batch's jobs, so tell which others it has; without it that costs nothing. Up to 1,000 jobs are one
        transaction; more are written in chunks, and what a crash leaves out is added by the same submit again.
        `groups` are all of the batch's groups that wait for others (None: as they are); none of them begins before
        the last chunk. Raises BadInput for a name that comes twice or is no text.
        """

    def set_priority(self, job: int, priority: int, now: datetime) -> None:
        """Change a queued job's place in the queue."""

    # --- what becomes of jobs ---

    def cancel(self, job: int, now: datetime, *, by: str) -> Job:
        """End a queued job; ask for the end of a running one; one that has ended stays. The job as it is now.

        A running job that is requeued while the request is pending ends as cancelled; an end of its own stands.
        Raises BadInput for an unknown id, as the two below.
        """

    def published(self, job: int, now: datetime, *, by: str) -> Job:
        """A queued job whose work a person knows to be published ends as succeeded. The job as it is now.

        Raises BadInput where it does not wait to be published.
        """

    def retry(self, job: int, now: datetime, *, by: str, clean: bool = False) -> Job:
        """Queue a job that has ended anew, with all of its attempts, and with its session unless `clean`.

        Any other stays as it is.

        One that needs a job which has ended without success is skipped again at once, and so is one whose group can
        never begin: retry first what it needs. That brings back all that was skipped for its group's sake.
        """

    def edit(self, job: int, new: NewJob, now: datetime, *, by: str) -> Job:
        """A queued job's new definition, account, model, group and priority; its name, batch, needs and times stay.

        Raises BadInput where it is not queued.
        """

    def forget(self, jobs: Sequence[int], now: datetime) -> int:
        """Remove jobs that have ended and that no unfinished job needs, and all that is known of them; how many.

        That is their attempts, events, needs and holds, and the secrets that no other job has; their files in the state
        directory are their caller's. Up to 1,000 are one transaction; more are removed in chunks.
        """

    def forget_past(self, before: datetime) -> int:
        """Remove what was told before an instant of no job in particular, windows that ended and costs that were not
        met since, batches without jobs that nobody works on, and incarnations without attempts that left before it; how
        many events that were.
        """

    # --- what doors ask of a running supervisor ---

    def ask(self, verb: Ask, now: datetime, *, by: str, target: int | None = None) -> Request:
        """Ask for something; while it is pending, asking again changes nothing. Raises BadInput for a cancel of a job
        that does not run.
        """

    def requests(self) -> list[Request]:
        """What is asked for and not answered yet, oldest first. A cancel goes by itself with its job's end."""

    def answered(self, request: int, now: datetime, *, refused: str = "", said: str = "") -> None:
        """A request was obeyed, or is `refused` for a reason: it is pending no more; `said` is for whoever asked."""

    # --- the work ---

    def claim(
        self, supervisor: str, now: datetime, *, most: int = 1, batch: int | None = None, rules: Rules | None = None
    ) -> list[tuple[Job, Attempt]]:
        """Take up to `most` queued jobs that no hold binds: the only way to `running`.

        Raises NotOwner where `supervisor` is not registered.
        """

    def unstrand(self, now: datetime, *, rules: Rules) -> None:
        """Let what waits for longer than any wait of ours lasts go on: the clock was set back meanwhile.

        What a provider or a person has said is an instant and stays.
        """

    def unclaim(self, attempt: Attempt, now: datetime, reason: str) -> None:
        """Give back an attempt that was never started: queued again, uncharged."""

    def note_session(self, attempt: Attempt, session: str, now: datetime) -> None:
        """Remember the conversation id while the attempt runs. Raises NotOwner."""

    def note_progress(self, attempt: Attempt, now: datetime) -> list[Hold]:
        """The provider answered: widen each ramp that this attempt belongs to, once; the ramps as they are now."""

    def note_rest(self, attempt: Attempt, now: datetime, *, rests: bool) -> None:
        """Tell that a running attempt stands still from now on, or goes on."""

    def note_signals(self, drawn: Sequence[tuple[Attempt, Drawn]], readings: Sequence[Reading], now: datetime) -> None:
        """Write down what running attempts have drawn so far, in all, and what was read of windows since.

        What an attempt has drawn counts for its account's meters, and once, however often it is told; of one that has
        ended, or is another supervisor's, it is told too late. A reading of a window that is over changes nothing.
        """

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

    def adopt(self, supervisor: str, host: str, now: datetime) -> list[tuple[Job, Attempt]]:
        """Take over every running attempt of other incarnations on `host`; the caller holds the state directory."""

    def take_up(self, found: Forgotten, now: datetime) -> None:
        """Know attempts of a job that this store has forgotten, so that none of their numbers is given again.

        All but the last are over, and so is what the store believed to run. Where it `adopts` the last, that is the
        job's running attempt now, to be adopted as any other; a job that has ended by the store was retried then.
        """

    def note_forecast(self, batch: Batch, forecast: Forecast, now: datetime) -> None:
        """Keep what is foretold of a batch's end."""

    def tell(self, name: str, now: datetime, data: Mapping[str, object]) -> None:
        """Write down what happened to the whole of it: that it was restored, or repaired."""

    # --- the gate ---

    def hold(self, hold: Hold, now: datetime, *, attempt: Attempt | None = None, burst: bool = False) -> Hold | None:
        """Write a hold as `policy.merged` says; the row as it is now, or None where the evidence was stale.

        `burst`: too many ran in its scope at once. As long as it was more than one, fewer may run instead.

        What an attempt has said once (the same evidence) changes nothing when it is said again.
        """

    def lift(self, scope: str | None, now: datetime, *, by: str, origins: Sequence[Origin] = ()) -> list[Hold]:
        """Remove the holds of a scope (None: every scope), of these origins (none named: all); what was removed."""

    def holds(self) -> list[Hold]:
        """Every hold."""

    def set_hours(self, scope: str, hours: str, now: datetime, *, source: str = "") -> None:
        """Say when jobs of a scope may start ("20:00-07:00 Europe/Berlin"); "" takes its hours away.

        Where several sources say something of a scope, what was said last counts.

        Outside of them a hold of origin HOURS keeps the scope shut until the next opening: claims write and remove it,
        and so does this at once. Raises BadInput for text that is no hours.
        """

    def keep_hours(self, source: str, hours: Mapping[str, str], now: datetime) -> None:
        """Say all that a source (a configuration, a batch's file) says of hours, by scope.

        What it said before and says no more is taken away; what it says as before changes nothing.
        """

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
        """Say all that a configuration says of accounts, hours, budgets and stops in one: all of it, or none of it."""

    def keep_budgets(self, source: str, budgets: Mapping[str, Budget], now: datetime) -> None:
        """Say all that a source says of what may be spent in a scope (a batch, an account, `*`); all sources count.

        Where a budget is found spent at an attempt's end, or here, that is told, and the scope is held, until the next
        day where it is that of a day; this is done once: a hold that a person lifts does not come back. A budget that
        is said as before changes nothing; one that is said otherwise is looked at anew.
        """

    def keep_stops(self, source: str, stops: Mapping[str, Mapping[Window, float]], now: datetime) -> None:
        """Say all that a source says of how much of accounts' windows (0..1) may be used; of several the least counts.

        Where a reading, or this, finds a window used so far, the account is held until that window ends, once in a
        window: a hold that a person lifts comes back in the next one. What is said as before changes nothing.
        """

    def reserves(self) -> list[Reserve]:
        """What every source says of how much of the windows of accounts may be used."""

    def balances(self, now: datetime) -> list[Balance]:
        """Every budget, and what was spent of it."""

    def spent(self, batch: int | None = None, account: str | None = None) -> Spent:
        """What the attempts of a batch, or with an account, have used that have ended; forgotten ones as well."""

    def past(self) -> list[Past]:
        """What became of attempts and jobs, by day and account; of forgotten ones as well."""

    def shuts(self) -> list[Shut]:
        """Every closing of a gate by a limit, the earliest first; those that forgotten jobs told as well."""

    def meters(self, scope: str | None = None) -> list[Meter]:
        """The meters of a scope (an account, or one model of it: `account/opus`), or of all, by scope and window.

        Those of an account are of its windows alone, not of those that one of its models has besides.
        """

    def tides(self, scope: str, window: Window, most: int = 100) -> list[Tide]:
        """The windows of a scope and a kind that are over, the newest first."""

    def readings(self, scope: str, window: Window, since: datetime) -> list[Reading]:
        """What was read of the windows of a scope and a kind, hundredth by hundredth, from an instant on, in order."""

    def costs(self, account: str) -> list[Cost]:
        """What jobs that have succeeded with an account have drawn, by group."""

    def held(self) -> list[Held]:
        """Why nothing of an account may start, by the last claim, for each of which that is so, by name."""

    def spent_by_day(self) -> dict[tuple[str, str], Spent]:
        """What was spent, by day and account."""

    def hours(self) -> dict[str, str]:
        """The hours of each scope that has some, with the name of their zone."""

    # --- looking ---

    def moment(self) -> AbstractContextManager[object]:
        """Several reads of one moment: what is written meanwhile they do not see."""

    def batches(self) -> list[Batch]:
        """Every batch, oldest first."""

    def accounts(self) -> list[Account]:
        """Every account that is known, by name."""

    def answered_at(self) -> dict[str, datetime]:
        """The latest proof that an account's provider answers, for each account that has one."""

    def counts(self, batch: int | None = None, account: str | None = None) -> dict[State, int]:
        """How many jobs, of a batch or of an account, are in each state; costs the same however many there are."""

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

    def groups(self, batch: int | None = None) -> list[Group]:
        """The groups of a batch, or of all, that wait or are waited for."""

    def needs(self, jobs: Sequence[int]) -> list[Need]:
        """What these jobs need, by job and by what it needs."""

    def ended(self, before: datetime, *, after: int = 0, most: int = 1000) -> list[Job]:
        """Jobs that ended before an instant, in the order of their ids, from the first id greater than `after`."""

    def job(self, id: int) -> Job | None:
        """One job by its internal id."""

    def job_names(self, ids: Sequence[int]) -> dict[int, str]:
        """The user's ids of those of these jobs that there are, by internal id."""

    def launches(self, ids: Sequence[int]) -> dict[int, tuple[State, int]]:
        """Where those of these jobs that there are stand, and how often they were launched, by internal id."""

    def lengths(self, names: Sequence[str]) -> dict[str, float]:
        """How many seconds the newest success of a job of each of these names took, in whatever batch."""

    def jobs_named(self, name: str, batch: int | None = None) -> list[Job]:
        """Jobs by the user's id; one for each batch that has it."""

    def attempts(self, job: int) -> list[Attempt]:
        """A job's attempts, first to last."""

    def running(self) -> list[tuple[Job, Attempt]]:
        """Every running attempt with its job."""

    def supervisors(self) -> list[Supervisor]:
        """The incarnations that have not left."""

    def events(
        self, *, after: int = 0, job: int | None = None, batch: int | None = None, most: int = 1000
    ) -> list[Event]:
        """Events in order, from the first seq greater than `after`."""

    def last_seq(self) -> int:
        """The seq of the newest event, 0 where there is none."""

    def next_due(self, now: datetime) -> datetime | None:
        """The first instant after `now` at which a claim could find more than now: a `not_before` or an `until`."""

    # --- what may come ---

    def piles(self) -> list[Pile]:
        """The unfinished jobs of every batch, counted; by batch, then by their first."""

    def laps(self, now: datetime, *, most: int) -> list[Lap]:
        """How long the unfinished jobs have worked that were begun, those that run first; then the same of the `most`
        that have ended last, the last one last.
        """

    def forecasts(self, batch: int) -> list[Forecast]:
        """What was foretold of a batch, the first first."""

    def last_forecast(self, batch: int) -> Forecast | None:
        """What was foretold of a batch last."""
