"""Port Rows: what the transitions read and write, one row at a time, whatever keeps the rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import asdict, astuple

from tidegate.model import (
    Account,
    Ask,
    Attempt,
    Budget,
    Cost,
    Group,
    Habit,
    Held,
    Hold,
    Job,
    Meter,
    NewJob,
    Origin,
    Past,
    Reading,
    Request,
    Reserve,
    Share,
    Spec,
    Spent,
    Stage,
    State,
    Supervisor,
    Tide,
    Usage,
    Window,
    Work,
    Workspace,
)
from tidegate.prospect import Forecast


class Lane(Struct, frozen=True):
    """The jobs of one batch, account and model: all that the same holds bind. `model` is the model's family.

    Those of a group that waits, or is waited for, are a lane of their own.
    """

    id: int
    batch: int
    batch_name: str
    account: str
    model: str

    def scopes(self, host: str) -> tuple[str, ...]:
        """Every scope whose holds bind this lane on a host; those of single jobs are apart."""
        return ("*", f"host:{host}", f"batch:{self.batch_name}", self.account, f"{self.account}/{self.model}")


class Candidate(NamedTuple):
    """A job that may be claimed; the least one goes first: priority, then resumed before fresh, then age."""

    less_priority: int
    fresh: int
    id: int


class Crowd(NamedTuple):
    """One running attempt: when it was claimed, in which lane, on which host."""

    epoch: int
    lane: Lane
    host: str


class Known(Struct, frozen=True):
    """An account and the latest proof that its provider answers.

    `at` and `job` tell the latest progress, `other_at` the latest by any job but that one. `blanks` counts the attempts
    since then that failed within seconds without an answer.
    """

    account: Account
    at: datetime | None = None
    job: int | None = None
    other_at: datetime | None = None
    blanks: int = 0

    def others_at(self, job: int) -> datetime | None:
        """The latest progress by another job than `job`."""
        return self.other_at if self.job == job else self.at

    def progressed(self, job: int, now: datetime) -> Known:
        """The account after one more proof."""
        return Known(self.account, now, job, self.others_at(job))


class Defined(Struct, frozen=True):
    """A job's definition as it is kept: its spec as JSON, and a digest of the whole."""

    new: NewJob
    spec: str
    digest: bytes


class Fresh(NamedTuple):
    """A new job: its id, its name, and how many of its needs are not met."""

    id: int
    name: str
    job: Defined
    unmet: int


class Standing(NamedTuple):
    """A job that a batch has already; what a person expects of it is no part of the digest."""

    id: int
    state: State
    digest: bytes
    expect: float | None = None
    share: Share | None = None


class Ties(NamedTuple):
    """What hangs on a job: somebody asks for its end, others wait for its success, or for the end of its group.

    `group` is the row of that, or of one that waits itself; 0 for any other. `budgeted`: there is a budget.
    """

    asked: bool
    needed: bool
    group: int
    budgeted: bool


class Draft(NamedTuple):
    """What admission asks of a job: its group "batch/name", its launches, whether it has a session, what is expected.

    Of one that runs, when its attempt began, and what that has drawn.
    """

    job: int
    group: str
    launches: int
    session: bool
    expect: float | None
    share: Share | None
    started_at: datetime | None = None
    drawn: float = 0.0


class Kept(NamedTuple):
    """A budget as a source has said it of a scope; whether it was found spent, and on which day that of the day was."""

    scope: str
    source: str
    budget: Budget
    reached: bool = False
    reached_on: str = ""


def about(hold: Hold) -> dict[str, str]:
    """Which of a scope's holds an event is about."""
    return {"origin": hold.origin.value, "window": hold.window.value}


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
        **({"halt": hold.halt.value} if hold.halt else {}),
        **({"early_at": iso(hold.early_at)} if hold.early_at else {}),
    }


class Rows(Protocol):
    """Port: reads see what the same transaction has written; writes outside of one are not allowed."""

    def transaction(self) -> AbstractContextManager[None]:
        """One call: all of it or none of it; part of the group's commit where there is a group."""

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
        """Append what happened; its seq, greater than every one before."""

    def same_event(self, at: datetime, name: str, jobs: Sequence[int], data: Mapping[str, object]) -> None:
        """Append the same of each of many jobs."""

    # --- who works ---

    def supervisor(self, uuid: str) -> Supervisor | None:
        """An incarnation that has not left."""

    def is_known(self, uuid: str) -> bool:
        """Whether an incarnation has entered, and maybe left."""

    def add_supervisor(self, supervisor: Supervisor) -> None:
        """A new incarnation."""

    def end_supervisor(self, uuid: str, now: datetime) -> None:
        """That incarnation has left."""

    def supervisors_on(self, host: str) -> Sequence[Supervisor]:
        """The incarnations on a host that have not left."""

    # --- accounts ---

    def known(self, account: str) -> Known | None:
        """An account, None where nobody has named it."""

    def put_known(self, known: Known) -> None:
        """Write an account."""

    # --- holds ---

    def hold(self, scope: str, origin: Origin, window: Window) -> Hold | None:
        """One hold."""

    def holds_on(self, scope: str) -> Sequence[Hold]:
        """The holds of one scope."""

    def wide_holds(self) -> Sequence[Hold]:
        """Every hold but those of single jobs."""

    def every_hold(self) -> Sequence[Hold]:
        """Every hold, by scope."""

    def due_holds(self, now: datetime) -> Sequence[Hold]:
        """The holds that do not ramp and whose end has come, then those that are to be tried ahead of it."""

    def put_hold(self, hold: Hold) -> None:
        """Write a hold; one of a `job:ID` that allows none hides that job from `ready`."""

    def drop_hold(self, hold: Hold) -> None:
        """Remove a hold."""

    def hours(self) -> Sequence[tuple[str, str]]:
        """The hours of each scope that has some, by scope."""

    def hours_by(self, source: str) -> Sequence[tuple[str, str]]:
        """The hours that one source says, by scope."""

    def put_hours(self, scope: str, source: str, hours: str) -> None:
        """Write the hours that a source says of a scope; of several sources the last one counts."""

    def drop_hours(self, scope: str, source: str) -> None:
        """Take away what a source says of a scope's hours."""

    def opening(self, scope: str) -> tuple[int, datetime] | None:
        """The epoch and the instant at which a scope was last reopened."""

    def put_opening(self, scope: str, epoch: int, at: datetime) -> None:
        """Remember an opening."""

    def habit(self, scope: str, window: Window) -> Habit | None:
        """How a window of a scope has behaved, None where it was never shut."""

    def put_habit(self, habit: Habit) -> None:
        """Remember how a window has behaved."""

    def has_shut(self, attempt: Attempt, hold: Hold) -> bool:
        """Whether an attempt has made such a hold of the same evidence before, or moved its end."""

    # --- batches ---

    def batch(self, name: str) -> int:
        """The id of a batch, made if it is new."""

    def batch_named(self, name: str) -> int | None:
        """The id of a batch, None where there is none."""

    def define(self, new: NewJob) -> Defined:
        """A definition as this store keeps it."""

    def standing(self, batch: int, names: Sequence[str]) -> Mapping[str, Standing]:
        """Those of these names that a batch has."""

    def first_free(self) -> int:
        """The first id that no job has ever had."""

    def states(self, jobs: Sequence[int]) -> Mapping[int, State]:
        """Where those of these jobs are that exist."""

    def add_jobs(self, batch: int, jobs: Sequence[Fresh], now: datetime) -> None:
        """New jobs, each with its event; their ids follow one another from `first_free` on."""

    def add_needs(self, needs: Sequence[tuple[int, int, bool]]) -> None:
        """That new jobs need others, and whether each is met."""

    def redefine(self, id: int, batch: int, job: Defined) -> None:
        """Give a queued job another definition."""

    def put_hint(self, id: int, expect: float | None, share: Share | None) -> None:
        """Write what a person expects of a job."""

    def size(self, batch: int) -> int:
        """How many jobs a batch has."""

    def names(self, batch: int) -> Sequence[str]:
        """The name of every job of a batch, oldest first."""

    # --- jobs ---

    def promote(self, now: datetime) -> None:
        """Clear the `not_before` of every queued job that is due."""

    def unstrand(self, now: datetime, horizon: datetime) -> None:
        """Make each queued job that was started before, and is to wait until after `horizon`, due now."""

    def waiting(self, batch: int | None) -> Sequence[Lane]:
        """The lanes with queued jobs whose group does not wait, of one batch or of all."""

    def heads(self, lanes: Sequence[Lane], only: Sequence[str]) -> dict[Lane, Candidate]:
        """The first of `ready` for each of these lanes that has one."""

    def ready(self, lane: Lane, most: int, only: Sequence[str]) -> Sequence[Candidate]:
        """The first `most` jobs of a lane that are queued, due and under no hold of their own, best first.

        `only` those that these patterns pick, as `selection.fits` says.
        """

    def busy(self) -> Sequence[tuple[Lane, int]]:
        """The lanes with running jobs, and how many run."""

    def crowd(self) -> Iterable[Crowd]:
        """Every running attempt."""

    def job(self, id: int) -> Job | None:
        """One job."""

    def put_job(self, job: Job) -> None:
        """Write a job's state and what goes with it, not its definition, nor what `move` writes."""

    def move(self, job: Job) -> None:
        """Write a job's stage, what its agent has done, and the account and model of the stage."""

    def put_charges(self, job: Job) -> None:
        """Write what a job was charged for."""

    def put_priority(self, job: int, priority: int) -> None:
        """Move a job in its lane."""

    # --- what hangs on a job ---

    def ties(self, job: int) -> Ties:
        """What hangs on a job."""

    def cancel(self, jobs: Sequence[int], by: str, now: datetime) -> Sequence[tuple[int, str]]:
        """Make every queued one of these jobs that is in its agent's stage what `policy.cancelled` says; those, by id,
        with names.
        """

    def skip(self, needed: int, reason: str, now: datetime) -> Sequence[tuple[int, str]]:
        """Make every queued job that waits for a job's success what `policy.skipped` says; those, by id, with names."""

    def needed(self, jobs: Sequence[int]) -> Sequence[int]:
        """Those of these jobs for whose success others wait, in their order."""

    def unmet(self, job: int) -> Sequence[int]:
        """The jobs that a job needs and that have never succeeded, by id."""

    def meet(self, job: int) -> None:
        """A job has succeeded: those that waited for it wait for one less, for good."""

    # --- groups that wait, or are waited for ---

    def groups(self, batch: int | None) -> Sequence[Group]:
        """Those of a batch, or of all, in the order in which they came."""

    def tie(self, batch: int, name: str) -> int:
        """The row of a group, made if it is new; its jobs are in lanes of its own from now on."""

    def put_group(self, group: Group) -> None:
        """Write when a group may begin, and where it stands; its lanes are shut unless it is open."""

    def put_group_needs(self, group: int, needs: Sequence[int]) -> None:
        """Write what a group needs."""

    def is_unfinished(self, group: int) -> bool:
        """Whether a group has jobs that have not ended."""

    def has_begun(self, group: int) -> bool:
        """Whether any job of a group runs, has run to its end, or waits to go on."""

    def first_bad(self, group: int) -> tuple[str, State] | None:
        """The oldest job of the groups that a group needs which has ended without success."""

    def leave_out(self, group: int, reason: str, now: datetime) -> Sequence[tuple[int, str]]:
        """Make every queued job of a group what `policy.left_out` says; those, by id, with names."""

    def bring_back(self, group: int, reason: str) -> Sequence[tuple[int, int]]:
        """Make every job of a group that was skipped for this reason what `policy.retried` says.

        Those, by id, with how many jobs each waits for.
        """

    def tied_batches(self, jobs: Sequence[int]) -> Sequence[int]:
        """The batches of those of these jobs whose groups wait or are waited for."""

    def forgettable(self, jobs: Sequence[int]) -> Sequence[int]:
        """Those of these jobs that have ended and that no unfinished job needs, by itself or by its group."""

    def forget(self, jobs: Sequence[int]) -> None:
        """Remove all that is known of these jobs; those that waited for one of them wait for one less."""

    def put_forecast(self, forecast: Forecast) -> None:
        """Write what is foretold of a batch."""

    def drop_forecasts(self, before: datetime) -> None:
        """Remove what was foretold before an instant, or of batches that are gone."""

    def past_events(self, before: datetime) -> Sequence[int]:
        """The events of no job from before an instant, without the newest of all; also outside of a transaction."""

    def drop_events(self, events: Sequence[int]) -> None:
        """Remove these events."""

    def drop_idle(self, before: datetime, most: int) -> None:
        """Remove batches that have no job and that nobody works on, and incarnations without attempts that left before
        an instant; up to `most` of each.
        """

    def requests(self) -> Sequence[Request]:
        """What is asked for and not answered yet, oldest first."""

    def request(self, id: int) -> Request | None:
        """One request."""

    def pending(self, verb: Ask, target: int | None) -> Request | None:
        """The request for this."""

    def add_request(self, at: datetime, verb: Ask, by: str, target: int | None) -> Request:
        """A new request."""

    def drop_request(self, id: int) -> None:
        """A request is answered."""

    # --- attempts ---

    def attempt(self, job: int, n: int) -> Attempt | None:
        """One attempt."""

    def attempts_of(self, job: int) -> Sequence[Attempt]:
        """A job's attempts, first to last."""

    def add_attempt(self, attempt: Attempt) -> None:
        """A new attempt."""

    def put_attempt(self, attempt: Attempt) -> None:
        """Write what an attempt has come to, and whose it is."""

    def spent_in(self, job: int, session: str) -> Sequence[Usage]:
        """What the attempts of a job that have ended told of their part of a session."""

    # --- windows ---

    def drafts(self, jobs: Sequence[int]) -> Mapping[int, Draft]:
        """What admission asks of these jobs, by id."""

    def underway(self, account: str) -> Sequence[Draft]:
        """The same of every job that runs with an account, in the order of their ids."""

    def tides_of(self, scope: str, window: Window, most: int) -> Sequence[Tide]:
        """The windows of a scope and a kind that are over, the newest first."""

    def readings_of(self, scope: str, window: Window, since: datetime) -> Sequence[Reading]:
        """What was read of the windows of a scope and a kind from an instant on, in order."""

    def first_reading(self, scope: str, window: Window, since: datetime, until: datetime) -> Reading | None:
        """What was told first of a window between two instants, both included."""

    def costs_of(self, account: str) -> Sequence[Cost]:
        """What jobs that have succeeded with an account have drawn, by group."""

    def held(self, account: str) -> Held | None:
        """Why nothing of an account may start."""

    def put_held(self, held: Held) -> None:
        """Write why nothing of an account may start."""

    def drop_held(self, account: str) -> None:
        """Something of an account may start."""

    def put_drawn(self, attempt: Attempt) -> None:
        """Write what an attempt has drawn."""

    def add_draw(self, account: str, model: str, at: datetime, tokens: float) -> None:
        """Add to what was drawn of an account in a piece of time, by jobs of a family of models."""

    def draws(self, account: str, model: str | None, since: datetime) -> Sequence[tuple[datetime, float]]:
        """What was drawn of an account (by jobs of a family of models, None: of any) from an instant on, in order."""

    def meter(self, scope: str, window: Window) -> Meter | None:
        """One meter."""

    def meters_on(self, scope: str) -> Sequence[Meter]:
        """The meters of a scope, by window."""

    def put_meter(self, meter: Meter) -> None:
        """Write a meter."""

    def put_tide(self, tide: Tide) -> None:
        """A window has ended; what was thought to be one and ended after this began is part of it."""

    def add_reading(self, reading: Reading) -> None:
        """Write down what was read of a window."""

    def drop_draws(self, account: str, before: datetime) -> None:
        """Remove what was drawn of an account before an instant."""

    def drop_readings(self, scope: str, window: Window, before: datetime) -> None:
        """Remove what was read of a window before an instant."""

    def cost(self, account: str, group: str) -> Cost | None:
        """What the jobs of a group have cost."""

    def put_cost(self, cost: Cost, at: datetime) -> None:
        """Write that down."""

    def drop_tides(self, before: datetime) -> None:
        """Remove what ended before an instant: windows, and costs of groups of which no job has succeeded since."""

    # --- money ---

    def add_spent(self, day: str, batch: int, account: str, part: Spent) -> None:
        """Add to what a batch has spent on a day with an account."""

    def spent(self, *, day: str | None, batch: int | None, account: str | None) -> Spent:
        """What was spent on a day, in a batch, with an account; None for any."""

    def budgets(self) -> Sequence[Kept]:
        """Every budget, by scope and source."""

    def put_budget(self, kept: Kept) -> None:
        """Write a budget."""

    def drop_budget(self, scope: str, source: str) -> None:
        """A source says no budget of a scope any more."""

    # --- what is left to people ---

    def reserves(self, account: str | None = None) -> Sequence[Reserve]:
        """What may be used of the windows of an account, or of all, by account, window and source."""

    def put_reserve(self, one: Reserve) -> None:
        """Write what a source says of a window."""

    def drop_reserve(self, one: Reserve) -> None:
        """A source says nothing of a window any more."""

    def unfinished(self, *, batch: int | None, account: str | None) -> Sequence[int]:
        """The jobs of a batch and an account (None: any) that have not ended, by id."""

    def running_on(self, host: str) -> Sequence[tuple[Job, Attempt]]:
        """The running attempts of incarnations on a host, left or not."""


def together(some: Iterable[Past]) -> list[Past]:
    """The counts of each day and account as one, by day and account."""
    found: dict[tuple[str, str], Past] = {}
    for one in some:
        key = (one.day, one.account)
        before = astuple(found.get(key, Past(day=one.day, account=one.account)))[2:]
        counts = (old + new for old, new in zip(before, astuple(one)[2:], strict=True))
        found[key] = Past(**dict(zip(Past.__struct_fields__, (*key, *counts), strict=True)))
    return [found[key] for key in sorted(found)]


class Wanted(NamedTuple):
    """Which jobs are asked for: a label's name and value, a GLOB pattern of names; None for any."""

    label: tuple[str, str] | None
    name: str | None

    @property
    def is_nonsense(self) -> bool:
        """Whether no job can be so: what is no text, or longer than any name, names none."""
        texts = [*(self.label or ()), self.name or ""]
        return not all(map(is_text, texts)) or any("\0" in text or len(text) > LONG for text in texts)


LONG: Final = 10_000  # characters of a pattern, or of a label

# --- definitions as text ---

STAGES: Final = ("check", "publish")  # fields of a spec that are stages
_DEFAULTS: Final[Mapping[str, object]] = asdict(Spec())
_STAGE: Final[Mapping[str, object]] = asdict(Stage(command=()))
_SORTED: Final = msgspec.json.Encoder(order="sorted").encode
_READABLE: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
_ESCAPED: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def json_text(value: object) -> str:
    """JSON that people can read, or all in escapes where it holds what is no valid text (a file name may)."""
    try:
        return _SORTED(value).decode()
    except UnicodeEncodeError:
        return _ESCAPED(value)


def is_text(text: str) -> bool:
    """Whether a string can be written as UTF-8: it holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def define(new: NewJob, hide: Callable[[str, str], object]) -> Defined:
    """A definition as text, and its digest; `hide(name, value)` is what stands for a variable's value.

    What a spec leaves at its default is left out, so that a field that is added later changes no digest.
    """
    import hashlib  # noqa: PLC0415 - loads OpenSSL, and only a submit asks

    said = {name: value for name, default in _DEFAULTS.items() if (value := getattr(new.spec, name)) != default}
    if "retries" in said:
        said["retries"] = dict(new.spec.retries)
    if "env" in said:
        said["env"] = {name: hide(name, value) for name, value in new.spec.env.items()}
    if "labels" in said:
        said["labels"] = dict(new.spec.labels)
    for name in STAGES:
        if name in said:
            said[name] = {key: one for key, one in asdict(said[name]).items() if one != _STAGE[key]}
    if "workspace" in said:
        said["workspace"] = msgspec.to_builtins(said["workspace"])
    spec = _definition(said)
    whole = _definition([spec, new.account, new.model, new.priority, new.group])
    return Defined(new, spec, hashlib.blake2b(whole.encode(), digest_size=16).digest())


def _definition(value: object) -> str:
    """As `json_text`, to the letter as every version has written it: digests are of this."""
    text = _READABLE(value)
    return text if text.isascii() or is_text(text) else _ESCAPED(value)


def spec_of(text: str, show: Callable[[object], str]) -> Spec:
    """The spec of a definition's text; `show(kept)` is a variable's value again.

    Raises TypeError where the text says what this program does not know.
    """
    said = json.loads(text)
    for name in ("command", "args", "result_files", "valid_outcomes"):
        if name in said:
            said[name] = tuple(said[name])
    if "env" in said:
        said["env"] = {name: show(kept) for name, kept in said["env"].items()}
    for name in STAGES:
        if name in said:
            said[name] = Stage(**{**said[name], "command": tuple(said[name]["command"])})
    if "workspace" in said:
        said["workspace"] = _workspace(said["workspace"])
    return Spec(**said)


def _workspace(said: object) -> Workspace:
    try:
        return msgspec.convert(said, Workspace)
    except msgspec.ValidationError as error:
        raise TypeError(str(error)) from None


def work_of(text: str | None) -> Work | None:
    """What a job's agent has done, of a column's text."""
    return None if text is None else Work(**json.loads(text))


# --- instants as text ---


@lru_cache(16)  # one call writes the same instant into several rows
def iso(at: datetime) -> str:
    """An instant as text that people read and that sorts: 2026-01-09T18:30:00.000000Z."""
    return (at if at.tzinfo is UTC else at.astimezone(UTC)).isoformat(timespec="microseconds")[:26] + "Z"


def iso_or_none(at: datetime | None) -> str | None:
    """As `iso`, for an instant that may be unknown."""
    return None if at is None else iso(at)
