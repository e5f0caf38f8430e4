"""Why a queued job is not running: the holds that keep it back, its own time, the slots."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from msgspec import Struct, field

from tidegate import admission, needs, policy
from tidegate.look.words import Page, clean, counted, shown
from tidegate.model import Account, Attempt, Group, Halt, Held, Hold, Job, Origin, Stand, State, Window, scopes
from tidegate.selection import fits

if TYPE_CHECKING:
    from tidegate.stores import Store

Kind = Literal["needs", "group", "hold", "start", "retry", "account", "batch", "only", "supervisor", "window", "slot"]
TIMED = ("start", "retry")  # many jobs that wait for times of their own are one cause
NAMED = 3  # jobs that are named as what another waits for


class Wait(Struct, frozen=True, kw_only=True):
    """One reason why a queued job is not running; `until` is None where nobody knows.

    Jobs that it `needs`, by name; groups that its own needs, by name, with how many of their jobs are `left` of `all`
    (none is named where its batch is not whole yet); a hold, its own first or next try, its account's own limit,
    somebody who works on another batch alone, nobody who works here, what is left of a `window` of its account, or no
    free slot.
    """

    kind: Kind
    until: datetime | None = None
    hold: Hold | None = None
    needs: tuple[str, ...] = ()
    left: int = 0
    all: int = 0
    window: Held | None = None


class Picture(Struct, frozen=True, kw_only=True):
    """What decides, at one instant, which jobs may run on a host; `supervised`: somebody works here.

    `batch` is the only one that is worked on, None for all, and `only` what is started of that, by patterns.
    `epochs` are those of the running attempts, by scope; `needs` the names of what a job waits for, where `learn`
    was told of it; `groups` those that wait or are waited for, by batch and name; `held` what accounts hold back.
    """

    now: datetime
    host: str
    holds: Sequence[Hold]
    running: Sequence[tuple[Job, Attempt]]
    accounts: dict[str, Account]
    supervised: bool
    batch: int | None = None
    only: Sequence[str] = ()
    epochs: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    needs: dict[int, tuple[str, ...]] = field(default_factory=dict)
    groups: dict[tuple[int, str], Group] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)

    def blocking(self, job: Job) -> list[Hold]:
        """The holds that keep a queued job back now; the one that matters most comes first."""
        mine = set(scopes(job, self.host))
        return sorted((hold for hold in self.holds if hold.scope in mine and self.is_shut(hold)), key=_weight)

    def is_shut(self, hold: Hold) -> bool:
        """Whether no further attempt may start under a hold now."""
        alone = {hold.scope: [hold]}
        return policy.places([hold.scope], alone, self.epochs, self.now, most=None, account=hold.scope) == 0

    def is_frozen(self, job: Job) -> bool:
        """Whether a running job stands still."""
        mine = scopes(job, self.host)
        return any(hold.halt is Halt.FREEZE and hold.scope in mine for hold in self.holds)

    def most(self, account: str) -> int | None:
        """How many attempts an account may run by its own limit, None for no limit."""
        known = self.accounts.get(account)
        return known.max_running if known else None

    def is_full(self, account: str) -> bool:
        """Whether an account runs as many attempts as it may."""
        most = self.most(account)
        return most is not None and len(self.epochs[account]) >= most

    def ahead(self, job: Job) -> list[Wait]:
        """What the group of a queued job waits for; nothing where it does not wait."""
        group = self.groups.get((job.batch, job.group)) if job.group else None
        if group is None or group.stand is Stand.OPEN:
            return []
        if group.stand is Stand.FILLING:
            return [Wait(kind="group")]
        needed = {name: self.groups[job.batch, name].counts for name in group.needs}
        left = {name: number for name, counts in needed.items() if (number := needs.unfinished(counts))}
        every = sum(sum(needed[name].values()) for name in left)
        return [Wait(kind="group", needs=tuple(left) or group.needs, left=sum(left.values()), all=every)]


def picture(
    store: Store,
    now: datetime,
    host: str,
    *,
    supervised: bool,
    batch: int | None = None,
    only: Sequence[str] = (),
) -> Picture:
    """The picture as the store has it now; a pause whose end has come is none any more."""
    running = store.running()
    drawn = Picture(
        now=now,
        host=host,
        holds=[hold for hold in store.holds() if hold.origin is Origin.LIMIT or not policy.is_due(hold, now)],
        running=running,
        accounts={one.name: one for one in store.accounts()},
        supervised=supervised,
        batch=batch,
        only=only,
        groups={(one.batch, one.name): one for one in store.groups()},
        held={one.account: one for one in store.held() if not one.observed and (one.until is None or one.until > now)},
    )
    for job, attempt in running:
        for scope in scopes(job, host):
            drawn.epochs[scope].append(attempt.epoch)
    return drawn


def learn(seen: Picture, store: Store, jobs: Iterable[Job]) -> None:
    """Find out the names of what these jobs wait for; none of them asks the store where none waits for others."""
    waiting = [job.id for job in jobs if job.unmet and job.state is State.QUEUED]
    for need in store.needs(waiting) if waiting else ():
        if not need.met:
            seen.needs[need.job] = (*seen.needs.get(need.job, ()), need.name)


def _weight(hold: Hold) -> tuple[bool, bool, float]:
    """A person first, then what has no end, then the latest end."""
    return (hold.origin is not Origin.HUMAN, hold.until is not None, -hold.until.timestamp() if hold.until else 0.0)


def waits(job: Job, seen: Picture) -> list[Wait]:
    """Every reason why a queued job is not running, the one that matters most first; none for any other job."""
    if job.state is not State.QUEUED:
        return []
    found = [Wait(kind="needs", needs=seen.needs.get(job.id, ()))] if job.unmet else []
    found += seen.ahead(job)
    found += [Wait(kind="hold", until=hold.until, hold=hold) for hold in seen.blocking(job)]
    if job.not_before is not None and job.not_before > seen.now:
        found.append(Wait(kind="retry" if job.launches else "start", until=job.not_before))
    if seen.is_full(job.account):
        found.append(Wait(kind="account"))
    if not seen.supervised:
        found.append(Wait(kind="supervisor"))
    elif seen.batch not in (None, job.batch):
        found.append(Wait(kind="batch"))
    elif not fits(job.name, job.group, seen.only):
        found.append(Wait(kind="only"))
    if not found and (held := seen.held.get(job.account)) is not None:
        return [Wait(kind="window", until=held.until, window=held)]
    return found or [Wait(kind="slot")]


def by_cause(jobs: Iterable[Job], seen: Picture) -> dict[Wait, list[Job]]:
    """These queued jobs by what keeps each back most.

    All that wait for their own next try are one cause, and so are those that wait for their start, and those that wait
    for several others.
    """
    causes: dict[Wait, list[Job]] = defaultdict(list)
    for job in jobs:
        causes[waits(job, seen)[0]].append(job)
    for kind in (*TIMED, "needs"):
        _gather([one for one in causes if one.kind == kind], causes)
    return causes


def _gather(several: list[Wait], causes: dict[Wait, list[Job]]) -> None:
    """Make one cause of several of a kind: until the first of their times, for no job by name."""
    if len(several) > 1:
        first = min((one.until for one in several if one.until is not None), default=None)
        causes[Wait(kind=several[0].kind, until=first)] = [job for one in several for job in causes.pop(one)]


# --- in words ---


def words(wait: Wait, job: Job, seen: Picture, page: Page) -> str:
    """One reason of one job as a line."""
    match wait.kind:
        case "hold" if wait.hold is not None:
            return f"{scope_words(wait.hold.scope, job)} {hold_words(wait.hold, page)}"
        case "needs":
            return f"waits for {_named(wait.needs)}"
        case "group":
            return _group_words(wait)
        case "start" if wait.until is not None:
            return f"starts at {page.until(wait.until)}"
        case "retry" if wait.until is not None:
            return f"tries again at {page.until(wait.until)}" + (f" after {shown(job.reason)}" if job.reason else "")
        case "batch":
            return "another batch alone is worked on"
        case "only":
            return f"{clean(', '.join(seen.only))} alone is started"
        case "account":
            return f"{clean(job.account)} runs its {seen.most(job.account)} already"
        case "supervisor":
            return "nobody works here"
        case _:
            return window_words(wait.window, job, page) if wait.window else "waits for a free slot"


def window_words(held: Held, job: Job | None, page: Page) -> str:
    """Why an account starts nothing that would not fit its windows; told of a job behind another one, as that."""
    said = admission.words(held, page.until(held.until) if held.until else "")
    return said if job is None or job.id == held.job else f"is behind a job that {said}"


def _group_words(wait: Wait) -> str:
    """What a job's group waits for, in words."""
    if not wait.needs:
        return "waits until its batch is handed in whole"
    said = needs.named([shown(name) for name in wait.needs])
    if not wait.left:
        return f"can never begin: needs {said}"
    return f"waits for {said} ({wait.left} of {counted(wait.all, 'job')} left)"


def _named(several: Sequence[str]) -> str:
    """The jobs that another waits for, in words."""
    if not several:
        return "other jobs"
    names = [shown(name) for name in several[:NAMED]]
    names += [f"{len(several) - NAMED} more"] if len(several) > NAMED else []
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def stand(job: Job, seen: Picture, page: Page, running: dict[int, Attempt]) -> str:
    """One line on where a job stands: what it waits for, since when it runs, or how it ended."""
    stage = f"{job.stage}: " if job.stage else ""
    if job.state is State.QUEUED:
        return stage + words(waits(job, seen)[0], job, seen, page)
    if job.state is State.RUNNING and job.id in running:
        attempt = running[job.id]
        canary = "the canary, " if attempt.canary and not attempt.progressed else ""
        frozen = "frozen, " if seen.is_frozen(job) else ""
        return f"{stage}{canary}{frozen}for {page.since(attempt.started_at)}"
    return shown(job.reason)


def scope_words(scope: str, job: Job | None = None) -> str:
    """A scope as a person reads it; told of a job, its own scope is just the job, that of its batch just the batch."""
    if scope == "*":
        return "everything"
    if job is not None and scope == f"batch:{job.batch_name}":
        return "its batch"
    return "this job" if job is not None and scope == f"job:{job.id}" else clean(scope)


def hold_words(hold: Hold, page: Page) -> str:
    """What a hold does, until when, and why: to follow its scope."""
    because = _because(hold, page)
    if hold.until is not None and hold.origin is Origin.LIMIT and policy.is_early(hold, page.now):
        return f"is shut until {page.until(hold.until)}: {because}; one goes ahead, as it may open early"
    is_due = hold.origin is Origin.LIMIT and policy.is_due(hold, page.now)  # the next claim turns it into its ramp
    if is_due or (hold.ramp and hold.origin is not Origin.START):
        after = f" ({because})" if because else ""
        return f"opens again{after}: " + (f"{hold.allow} at once" if hold.allow > 1 else "one goes first")
    return _does(hold, page) + (f": {because}" if because else "")


def _does(hold: Hold, page: Page) -> str:
    end = "" if hold.until is None else f" until {page.until(hold.until)}"
    if hold.origin is Origin.START:
        return "lets one go first"
    if hold.allow > 0:
        return f"runs at most {hold.allow} at once{end}"
    if hold.origin is Origin.HUMAN:
        return "needs a person"
    if hold.origin is Origin.HOURS:
        return f"is closed{end}"
    if hold.origin is Origin.OPERATOR:
        return (
            ("is frozen" if hold.halt is Halt.FREEZE else "is paused")
            + (f" by {clean(hold.by)}" if hold.by else "")
            + end
        )
    return f"is shut{end}"


def _because(hold: Hold, page: Page) -> str:
    reason = shown(hold.reason)
    if hold.origin is Origin.LIMIT:
        reason = reason.replace("_", " ")
        if hold.window not in (Window.UNKNOWN, Window.MINUTE):
            reason += f", {hold.window} window"
        if hold.resets_at is None and hold.window is not Window.MINUTE:
            reason += ", no reset named"
        if not hold.ramp and hold.early_at is not None and hold.until is not None and hold.early_at < hold.until:
            reason += f", tried early {page.until(hold.early_at)}"
    return reason
