"""The nouns of tidegate: frozen values that every room speaks of.

Every datetime is aware and in UTC; every duration is in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from msgspec import Struct, field


class State(StrEnum):
    """Where a job is; "limited" and "paused" are not states but holds on a queued job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"  # a valid bad end: the agent or its check said no
    ERROR = "error"  # no valid result: not launched, lost three times, no result line
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def is_final(self) -> bool:
        """Whether a job in this state has ended."""
        return self not in (State.QUEUED, State.RUNNING)


class Window(StrEnum):
    """Which allowance ran out, by its duration."""

    MINUTE = "minute"
    FIVE_HOURS = "5h"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    SPEND = "spend"
    UNKNOWN = "unknown"


LENGTHS = {
    Window.FIVE_HOURS: timedelta(hours=5),
    Window.DAY: timedelta(days=1),
    Window.WEEK: timedelta(days=7),
    Window.MONTH: timedelta(days=30),
}  # of the windows whose use is kept; from the first use after the last one ended, where nobody says otherwise


class Kind(StrEnum):
    """What a provider said no about."""

    USAGE_LIMIT = "usage_limit"  # an allowance is used up until a reset
    RATE_LIMIT = "rate_limit"  # too many requests just now
    OVERLOADED = "overloaded"  # the provider is busy for everybody
    CREDIT = "credit"  # money or a spend cap: a person must act
    AUTH = "auth"  # not logged in, key or token refused: a person must act
    NONE = "none"


class Origin(StrEnum):
    """Who made a hold; holds of different origin on one scope lift independently."""

    LIMIT = "limit"
    START = "start"  # no recent evidence that the account is open: one goes first
    OPERATOR = "operator"
    HOST = "host"
    HUMAN = "human"  # waits for a person
    DISK = "disk"
    HOURS = "hours"
    BUDGET = "budget"
    RESERVE = "reserve"  # of a window of the account so much is used that the rest is left to a person
    BURST = "burst"  # too many requests at once: fewer run


class Halt(StrEnum):
    """What a hold does to the attempts in its scope that run already."""

    NONE = ""  # they go on to their ends
    FREEZE = "freeze"  # they stand still until the hold is lifted
    INTERRUPT = "interrupt"  # they are ended and queued again, with their sessions


class Ask(StrEnum):
    """What a door may ask of a running supervisor."""

    CANCEL = "cancel"  # end a running job
    DRAIN = "drain"
    UPGRADE = "upgrade"


class Stream(StrEnum):
    """Which of an agent's two output files a line came from."""

    STDOUT = "stdout"
    STDERR = "stderr"


# --- sightings: what one line of an agent's output tells ---------------------------------------


class Limit(Struct, frozen=True, kw_only=True):
    """A provider said no.

    `resets_at` is None where the text names no time. `exact` is true for an instant given to the second
    (`resetsAt`, `|EPOCH`) and false for a clock time printed to the minute, which is floored.
    `sure` is true for a structured event or an anchored provider template on an error frame: it shuts the gate at once.
    `final` is false where the agent says that it retries or waits by itself.
    `model` names the one model that the limit binds, or None for the whole account.
    """

    kind: Kind
    evidence: str
    window: Window = Window.UNKNOWN
    resets_at: datetime | None = None
    exact: bool = False
    sure: bool = True
    final: bool = True
    model: str | None = None
    stream: Stream = Stream.STDOUT


class SessionSeen(Struct, frozen=True):
    """The agent named its conversation id."""

    session: str


class SessionGone(Struct, frozen=True):
    """The agent says that the session it was to resume does not exist."""

    evidence: str


class Progress(Struct, frozen=True):
    """Proof that the provider answers: the first model answer or usage line of an attempt."""


class Usage(Struct, frozen=True, kw_only=True):
    """Tokens and money as the agent reports them for the attempt so far; None is "unknown", never 0.

    `of_session` names those of them that an agent counts from its session's begin, with the attempts before.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    of_session: tuple[str, ...] = ()


class Warned(Struct, frozen=True, kw_only=True):
    """The provider said at an instant how much of a window is used (0..1); kept for planning, shuts nothing.

    `model` names the one model that the window is of, or None for the whole account's.
    """

    window: Window
    used: float
    at: datetime
    resets_at: datetime | None = None
    model: str | None = None


class Drawn(Struct, frozen=True):
    """What an attempt has drawn of an allowance so far, in token equivalents, and by how many answers of a model.

    A token that is written counts WRITTEN, one that goes into a cache CACHED, one that comes out of it RECALLED. What
    is `of_session` counts from its session's begin, with the attempts before. `late` is what of it only the end told.
    """

    tokens: float = 0.0
    answers: int = 0
    of_session: bool = False
    late: float = 0.0


NOT_DRAWN = Drawn()
WRITTEN, CACHED, RECALLED = 5.0, 1.25, 0.1  # by what they cost beside a token of input (anthropic.com/pricing)


class Ending(StrEnum):
    """Why a model went no further, where its agent says so in as many words."""

    NONE = ""
    REFUSAL = "refusal"
    CONTEXT = "context_too_long"
    TIMEOUT = "timeout"  # which tidegate itself says


class Result(Struct, frozen=True, kw_only=True):
    """The agent's own final word: `ok` with the text of its answer, or not ok with the error text, and its `ending`."""

    ok: bool
    text: str = ""
    ending: Ending = Ending.NONE


Sighting = Limit | SessionSeen | SessionGone | Progress | Usage | Warned | Result


class Seen(Struct, frozen=True, kw_only=True):
    """All that an attempt's output has told so far.

    `proof` says whether the agent's success must be proven by a Result (true), or exit 0 is enough (false).
    `last_words` is the last line of stderr (else of stdout) that is not blank: the reason shown for a plain failure.
    """

    proof: bool = False
    session: str | None = None
    session_gone: SessionGone | None = None
    sure: Limit | None = None
    unsure: Limit | None = None
    progress: bool = False
    usage: Usage | None = None
    result: Result | None = None
    last_words: str = ""


# --- outcomes: how one attempt ended -----------------------------------------------------------


class Succeeded(Struct, frozen=True):
    """The work is done, and the agent proved it."""

    text: str = ""


class Cause(StrEnum):
    """What an attempt failed for that is neither its agent's verdict nor its provider's."""

    NONE = ""  # the agent's own doing
    OUTPUT = "output"  # it printed more than it may
    MEMORY = "memory"  # it used more than it may, or than there was
    DISK = "disk"  # it had no room for what it wrote, by its own last words


class Failed(Struct, frozen=True, kw_only=True):
    """The attempt ended badly.

    `valid` is true where the agent itself said no (the job ends `failed`) and false where there is no valid result
    (the job ends `error`). `retry` is false where trying again cannot help (no such program). `own`: what is wrong is
    the job's alone (no such directory), and says nothing of its account. `cause` is what it was ended for, `ending` why
    the model went no further.
    """

    reason: str
    valid: bool = True
    retry: bool = True
    own: bool = False
    cause: Cause = Cause.NONE
    ending: Ending = Ending.NONE


class TimedOut(Struct, frozen=True, kw_only=True):
    """The attempt was ended after `after` seconds of working time, or of silence where `silent`."""

    after: float
    silent: bool = False


class Limited(Struct, frozen=True):
    """The provider said no; the attempt is not charged."""

    limit: Limit


class Interrupted(Struct, frozen=True, kw_only=True):
    """tidegate ended the attempt itself, or its session was gone; not charged."""

    reason: str
    session_gone: bool = False


class Lost(Struct, frozen=True):
    """The supervisor or the host died and the attempt's end is not known."""

    reason: str


class Cancelled(Struct, frozen=True):
    """Somebody asked for the job's end."""

    reason: str = "cancelled"


Outcome = Succeeded | Failed | TimedOut | Limited | Interrupted | Lost | Cancelled


class Exit(Struct, frozen=True):
    """A process's end: `code` 0..255 as a shell tells it (128 + n for signal n), None where it is not known."""

    code: int | None


class Shortage(Struct, frozen=True, kw_only=True):
    """What an attempt ran out of.

    `killed`: the kernel killed processes of it for memory, of which it may have `memory` bytes (None: the machine, or
    whatever it lives in, had no more). `pids` is how many processes and threads it may have, where it asked for more.
    """

    killed: bool = False
    memory: int | None = None
    pids: int | None = None


# --- credentials -------------------------------------------------------------------------------


class Variables(Struct, frozen=True, kw_only=True):
    """The variables in which an agent's CLI takes a credential.

    `takes` are pairs: how a credential begins ("" for any), and its variable; the first that fits counts. `rivals` are
    further variables that would win over these, or choose another provider.
    """

    takes: tuple[tuple[str, str], ...] = ()
    rivals: tuple[str, ...] = ()


# --- work --------------------------------------------------------------------------------------

AGENT, CHECK, PUBLISH = "", "check", "publish"  # the stages of a job, in their order


class Stage(Struct, frozen=True, kw_only=True):
    """A command that runs after a job's agent has succeeded, as a stage of the same job.

    `agent` reads what it prints, `account` is whom its limits bind. `timeout` is in seconds, None for the setting's.
    It is tried `attempts` times without a valid result. `once`: it is never started a second time by itself.
    """

    command: tuple[str, ...]
    agent: str = "command"
    account: str = ""
    timeout: float | None = None
    attempts: int = 3
    once: bool = False


class Put(Struct, frozen=True, kw_only=True):
    """A file or a directory that is copied into a job's own directory before its first launch; `to` is a path in it."""

    source: str
    to: str


class Workspace(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A directory that is made for one job alone, and `files` that are put into it.

    `kind` is "worktree" (of the repository `source`), "clone" (of a URL or a path: a worktree of a clone that jobs
    share) or "copy" (of a directory). The first two have a branch of their own, which begins at `commit`, or where
    `branch` stands when the directory is made, or at what is checked out in `source`.
    """

    kind: str
    source: str
    commit: str | None = None
    branch: str | None = None
    files: tuple[Put, ...] = ()


class Spec(Struct, frozen=True, kw_only=True):
    """What a job does: an agent with a prompt, or a whole command; all that is needed to launch it again.

    `command` is a complete argv, or empty where `agent` and `prompt` say it all. `args` are further arguments
    for the agent. `timeout` and `silence` are seconds of working time; `max_output` and `memory` are bytes, `pids`
    processes and threads, `cpu_weight` a share beside others (100 is usual); None: the setting's.
    It works in `cwd` as that is, or in a `workspace` of its own. `result_files` are patterns below that of JSON files
    in which a wrapper may leave the real error. `check` judges what the agent has done; what it says no about is given
    back to the agent for another turn up to `feed_failure_back` times. `publish` runs after all that. `expand` is
    JSON: what it prints are further jobs of its group, with these defaults; "" for a job that adds none. `retries` are
    how often it is tried again after failures of a kind, over `max_attempts`. An agent that was cut off goes on up to
    `max_interruptions` times (None: always) and begins anew then; what ends as one of `valid_outcomes` has a result,
    and is not tried again.
    """

    agent: str = "command"
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    prompt: str | None = None
    cwd: str = "."
    workspace: Workspace | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = None
    silence: float | None = None
    max_output: int | None = None
    memory: int | None = None
    pids: int | None = None
    cpu_weight: int | None = None
    max_attempts: int = 3
    retries: Mapping[str, int] = field(default_factory=dict)
    on_cutoff: str = "resume"  # or "restart"
    on_failure: str = "restart"  # or "resume"
    resume_prompt: str | None = None
    result_files: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    expand: str = ""
    check: Stage | None = None
    max_interruptions: int | None = None
    valid_outcomes: tuple[str, ...] = ()
    feed_failure_back: int = 0
    publish: Stage | None = None


class Work(Struct, frozen=True, kw_only=True):
    """What a job's agent has done, for the stages behind it: which attempt succeeded, whose it was, in which session.

    `answered`: it gave an answer, which is a file in that attempt's directory. Its check's no was given back to it
    `fed` times; `feedback` is the number of the check's attempt to which it is to answer now, 0 for none.
    """

    attempt: int
    account: str
    model: str | None = None
    session: str | None = None
    answered: bool = False
    fed: int = 0
    feedback: int = 0


class Share(Struct, frozen=True):
    """A part of its account's 5-hour window that a job is expected to use: 0.02 is 2 %.

    `spread` is how far it may well be off (one standard deviation); None where nobody says.
    """

    mean: float
    spread: float | None = None


class NewJob(Struct, frozen=True, kw_only=True):
    """A job as a door hands it in: `name` is the user's id, unique within its batch; "" for its own id in decimal.

    It waits for `not_before`, and for the success of the jobs whose ids are in `needs`; it is expected to take `expect`
    seconds and to use a `share` of a window. None of these is a part of what it does, so the same job with others is
    the same job.
    """

    name: str
    account: str
    spec: Spec
    model: str | None = None
    priority: int = 0
    group: str = ""
    not_before: datetime | None = None
    needs: tuple[int, ...] = ()
    expect: float | None = None
    share: Share | None = None


class Job(Struct, frozen=True, kw_only=True):
    """One piece of work for one agent, as the store knows it.

    `attempts` counts the charged ones (`charges` by kind, where its definition names kinds); `launches` counts all.
    `resumed` puts a cut-off job ahead of fresh work of the same priority. `limited_in_a_row` and `limited_since`
    serve the guard against endless limits. `unmet` is how many of the jobs that it needs have not succeeded yet.
    `expect` and `share` are what a person expects of it, as NewJob's.

    While `stage` is one behind the agent's, `account`, `model`, `session`, `attempts` and `lost` are that stage's,
    and the agent's are in `work`; at the end they are the agent's again, but for the counts. While its check's no is
    given back to the agent, `stage` is the agent's, with `work`.
    """

    id: int
    batch: int
    batch_name: str
    name: str
    account: str
    spec: Spec
    model: str | None = None
    group: str = ""
    priority: int = 0
    state: State = State.QUEUED
    not_before: datetime | None = None
    attempts: int = 0
    charges: Mapping[str, int] = field(default_factory=dict)
    launches: int = 0
    limited_in_a_row: int = 0
    limited_since: datetime | None = None
    lost: int = 0
    session: str | None = None
    resumed: bool = False
    reason: str = ""
    created_at: datetime
    ended_at: datetime | None = None
    unmet: int = 0
    stage: str = AGENT
    work: Work | None = None
    expect: float | None = None
    share: Share | None = None


class Attempt(Struct, frozen=True, kw_only=True):
    """One launch of a job.

    `n` numbers a job's launches from 1. `epoch` is the store's logical time of the claim: greater than a hold's
    `epoch` exactly when the claim came after that hold's last turn. `resumes`: it went on in a session. `drawn` and
    `answers` are what it has drawn itself by now. (job, n, supervisor) is the fencing token.
    """

    job: int
    n: int
    supervisor: str
    epoch: int
    started_at: datetime
    canary: bool = False
    progressed: bool = False
    ended_at: datetime | None = None
    outcome: str | None = None
    exit: int | None = None
    session: str | None = None
    usage: Usage | None = None
    detail: str = ""
    stage: str = AGENT
    resumes: bool = False
    drawn: float = 0.0
    answers: int = 0

    @property
    def seconds(self) -> float | None:
        """How long it lasted; None while it runs, 0 where the clock was set back meanwhile."""
        return None if self.ended_at is None else max((self.ended_at - self.started_at).total_seconds(), 0.0)


class Forgotten(Struct, frozen=True, kw_only=True):
    """Attempts of a job of which the database knows nothing, as after a restore, though their output is there.

    `numbers` are theirs; the last was begun by `supervisor` at `began`. `adopts`: it is the job's own, and counts.
    """

    job: int
    numbers: tuple[int, ...]
    supervisor: Supervisor
    began: datetime
    adopts: bool


class Need(Struct, frozen=True, kw_only=True):
    """That a job needs another, whose name and state these are; `met` once that has succeeded, for good."""

    job: int
    needs: int
    name: str
    state: State
    met: bool


class When(StrEnum):
    """Which ends of all the jobs of the groups that it needs let a group begin; they all have ended by then."""

    FINISHED = "finished"  # any
    ALL_SUCCEEDED = "all_succeeded"
    ANY_SUCCEEDED = "any_succeeded"


class Stand(StrEnum):
    """Whether the jobs of a group may start."""

    FILLING = "filling"  # its batch is being handed in
    WAITING = "waiting"
    OPEN = "open"
    HOPELESS = "hopeless"  # what it waits for cannot come any more


class NewGroup(Struct, frozen=True, kw_only=True):
    """What a group of a batch waits for, as a door hands it in: the groups that it `needs`, by name."""

    name: str
    needs: tuple[str, ...] = ()
    when: When = When.ALL_SUCCEEDED


class Group(Struct, frozen=True, kw_only=True):
    """A group that waits for others, or for which others wait, as the store knows it.

    `reason` is that of its jobs that were skipped because it is hopeless; `counts` are its jobs by state.
    """

    id: int
    batch: int
    batch_name: str
    name: str
    needs: tuple[str, ...] = ()
    when: When = When.ALL_SUCCEEDED
    stand: Stand = Stand.OPEN
    reason: str = ""
    counts: Mapping[State, int] = field(default_factory=dict)


class Batch(Struct, frozen=True):
    """Jobs submitted together; `name` is what the file says, else the file's absolute path."""

    name: str
    id: int = 0


class Admission(StrEnum):
    """Whether jobs of an account start only where they are expected to fit what is left of its windows."""

    ON = "on"
    OBSERVE = "observe"  # it is told what would be held
    OFF = "off"


class Account(Struct, frozen=True, kw_only=True):
    """Whom a limit binds.

    `max_running` is None for no limit of its own. `cautious`: its provider has usage limits, so without recent
    evidence one attempt goes first, and `admission` counts.
    """

    name: str
    max_running: int | None = None
    cautious: bool = False
    admission: Admission = Admission.ON


class Exceed(StrEnum):
    """What becomes of a budget that is spent."""

    WARN = "warn"  # it is told
    STOP = "stop_launching"  # nothing new is launched in its scope
    CANCEL = "cancel"  # what is queued and runs in its scope is cancelled, too


class Allowance(Struct, frozen=True, kw_only=True):
    """How much may be spent, None for any; `wall` is the seconds that attempts have taken, added up."""

    usd: float | None = None
    tokens: int | None = None
    wall: float | None = None


class Budget(Struct, frozen=True, kw_only=True):
    """What a scope (a batch, an account, or `*`) may spend in all, and on each calendar day."""

    whole: Allowance = Allowance()
    day: Allowance = Allowance()
    on_exceed: Exceed = Exceed.STOP


class Spent(Struct, frozen=True, kw_only=True):
    """What attempts have used that have ended, added up.

    `attempts` are those that are expected to tell what they cost; only so many of them told of money and of tokens.

    `microdollars` are millionths of a dollar, `milliseconds` the wall time of the attempts.
    """

    attempts: int = 0
    usd_told: int = 0
    microdollars: int = 0
    tokens_told: int = 0
    tokens: int = 0
    milliseconds: int = 0


class Balance(Struct, frozen=True, kw_only=True):
    """A budget that `source` has said of a scope, and what was spent of it: in all, and on this day."""

    scope: str
    source: str
    budget: Budget
    spent: Spent
    today: Spent


class Reserve(Struct, frozen=True, kw_only=True):
    """That `source` wants an account shut once so much of a window is used (0..1), until that window ends.

    `heeded` is the end of the window in which this was done last: it is done once in a window.
    """

    account: str
    source: str
    window: Window
    stop_at: float
    heeded: datetime | None = None


class Past(Struct, frozen=True, kw_only=True):
    """What became of the attempts that were launched with an account on a day (of UTC), and of jobs that ended then.

    `cut_off` are those that ended limited, interrupted or lost: of these `recovered` have a job that has succeeded
    since, and `resumed` were followed by one in the same session. `retries` followed a failure or a time-out.
    """

    day: str
    account: str
    launches: int = 0
    limited: int = 0
    cut_off: int = 0
    recovered: int = 0
    resumed: int = 0
    retries: int = 0
    succeeded: int = 0
    failed: int = 0
    error: int = 0
    cancelled: int = 0
    skipped: int = 0


class Shut(Struct, frozen=True, kw_only=True):
    """A closing of a gate by a limit, from when to when; `until` None: it is shut still."""

    scope: str
    window: str
    since: datetime
    until: datetime | None = None


class Reading(Struct, frozen=True, kw_only=True):
    """What a provider told of a window at an instant: `used` of it (0..1), and when it ends.

    `scope` is an account, or one model of it (`account/opus`). `drawn` is what we had drawn of the window by then.
    """

    scope: str
    window: Window
    used: float
    at: datetime
    resets_at: datetime | None = None
    drawn: float = 0.0


class Meter(Struct, frozen=True, kw_only=True):
    """A scope's present window of a kind: what was told of it last, and what we have drawn of it.

    `resets_at` is what was told, None where nobody has; `used` (0..1) was told at `read_at`, when we had drawn
    `drawn_at_reading`. `refused_at`: it was used up then. It may be over: the next one begins with the next use.
    """

    scope: str
    window: Window
    begins_at: datetime
    resets_at: datetime | None = None
    used: float | None = None
    read_at: datetime | None = None
    drawn: float = 0.0
    drawn_at_reading: float = 0.0
    refused_at: datetime | None = None

    @property
    def ends_at(self) -> datetime | None:
        """When it ends: as told, else as long after its begin as windows of its kind last; None: nobody knows."""
        length = LENGTHS.get(self.window)
        return self.resets_at or (None if length is None else self.begins_at + length)

    def is_over(self, now: datetime) -> bool:
        """Whether its end has come."""
        return self.ends_at is not None and self.ends_at <= now


class Tide(Struct, frozen=True, kw_only=True):
    """A window that is over: what was told of it last (None: nothing), and what we have drawn of it.

    When `used` was told we had drawn `drawn_at_reading`. Where it was `refused`, `drawn` and what others drew was all.
    """

    scope: str
    window: Window
    began_at: datetime
    ended_at: datetime
    used: float | None = None
    drawn: float = 0.0
    drawn_at_reading: float = 0.0
    refused: bool = False


class Cost(Struct, frozen=True, kw_only=True):
    """What the jobs of a group (`batch/group`) that have succeeded with an account have drawn.

    `logs` and `squares` add up the natural logarithm of each one's draw and its square, `drawn` the draws, `seconds`
    how long they worked, `rates` each one's draw per second. Of each only its last run counts.
    """

    account: str
    group: str
    jobs: int = 0
    logs: float = 0.0
    squares: float = 0.0
    drawn: float = 0.0
    seconds: float = 0.0
    rates: float = 0.0


class Held(Struct, frozen=True, kw_only=True):
    """Why the best job of an account does not start now, as the last claim found: it would not fit a window.

    `needed` of the window (with what runs), give or take `spread`, and no more than `left` of it `until` its reset: all
    three are shares; `needed` None: nobody knows yet what such jobs take. It is looked at again at `again`. `observed`:
    nothing is held, it is told alone.
    """

    account: str
    since: datetime
    again: datetime
    job: int
    window: Window
    left: float
    needed: float | None = None
    spread: float = 0.0
    until: datetime | None = None
    observed: bool = False


class Hold(Struct, frozen=True, kw_only=True):
    """How many may run in a scope, why, until when, and who said so.

    Known by (scope, origin, window). `allow` 0 is shut. While `ramp` is false the hold stands until `until` (None:
    until somebody lifts it); a limit hold whose `until` has passed turns into a ramp at the next claim: `ramp` true,
    `allow` 1, then 2, 4, ..., counting only attempts whose epoch is greater than the hold's. `resets_at` is what the
    provider said, without the margin. `misses` counts refusals in a row that named no reset, and of a burst the answers
    since it allowed one more. `canary` is the last canary's job. `halt` is what the hold does to attempts that run
    already. At `early_at` one goes ahead of `until`, to find a reset that comes early; its ramp keeps that
    until it is answered, or `until` has come.
    """

    scope: str
    origin: Origin
    window: Window = Window.UNKNOWN
    allow: int = 0
    since: datetime
    until: datetime | None = None
    reason: str = ""
    evidence: str = ""
    by: str = ""
    epoch: int = 0
    resets_at: datetime | None = None
    exact: bool = False
    ramp: bool = False
    misses: int = 0
    canary: int | None = None
    halt: Halt = Halt.NONE
    early_at: datetime | None = None


class Habit(Struct, frozen=True, kw_only=True):
    """How a window of a scope has behaved, by its refusals and by what was answered after them.

    `cut_at` is when it was last found used up, `began` when the first attempt was launched that was answered in the
    window before that; `opened_at` is the same for the present one, None where nobody has been answered yet. `span` is
    the longest time, in seconds, from such a begin to the reset that was told: about as long as the window is. It was
    used up again soon after it had opened, though told to end soon, `cuts` times in a row, and rests `rest` seconds.
    It `slides` where it does not begin anew: what was used returns after the window's length, bit by bit.
    """

    scope: str
    window: Window
    opened_at: datetime | None = None
    began: datetime | None = None
    cut_at: datetime | None = None
    span: float = 0.0
    cuts: int = 0
    rest: float = 0.0
    slides: bool = False


class Request(Struct, frozen=True, kw_only=True):
    """What a door asks of a running supervisor, pending until it is answered; `target` is the job of a cancel."""

    id: int
    at: datetime
    verb: Ask
    by: str
    target: int | None = None


class Event(Struct, frozen=True, kw_only=True):
    """One thing that happened; `seq` orders all of them."""

    seq: int
    at: datetime
    name: str
    job: int | None = None
    attempt: int | None = None
    scope: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


class Supervisor(Struct, frozen=True, kw_only=True):
    """One incarnation of one supervisor process; `batch` is the one that it works on, None for all.

    It starts `only` the jobs of these groups, or whose names these patterns fit; none are named where it starts any.
    """

    uuid: str
    host: str
    pid: int
    boot_id: str
    started_at: datetime
    batch: int | None = None
    only: tuple[str, ...] = ()


class Submission(Struct, frozen=True, kw_only=True):
    """What a submit did with each job of a batch, by name; `jobs` are the ids of those handed in, in their order."""

    batch: Batch
    added: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()  # differ from the stored definition, which was kept
    updated: tuple[str, ...] = ()  # differ, and now have the new definition
    absent: tuple[str, ...] = ()  # stored in this batch but not handed in
    jobs: tuple[int, ...] = ()


FAMILIES = ("opus", "sonnet", "haiku", "fable")  # models that claude's providers limit one by one (2.1.330)
DEFAULT_MODEL = "default"  # the lane of jobs that leave the model to their agent


def family(model: str | None) -> str:
    """The lane of a model within its account: "opus" for any opus, the name itself, or "default" for none."""
    if not model:
        return DEFAULT_MODEL
    return next((name for name in FAMILIES if name in model.lower()), model)


def scopes(job: Job, host: str) -> tuple[str, ...]:
    """Every scope whose holds bind a job on a host."""
    lane = f"{job.account}/{family(job.model)}"
    return ("*", f"host:{host}", f"batch:{job.batch_name}", f"job:{job.id}", job.account, lane)
