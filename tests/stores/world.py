"""A small world around a store: a clock that is set by hand, supervisors, jobs by name."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tidegate.model import (
    Account,
    Attempt,
    Batch,
    Drawn,
    Event,
    Failed,
    Hold,
    Job,
    Kind,
    Limit,
    Limited,
    NewJob,
    Origin,
    Outcome,
    Spec,
    State,
    Submission,
    Succeeded,
    Supervisor,
    Window,
)
from tidegate.policy import Rules, hold_for, is_burst, scope_of, window_of
from tidegate.stores import Store

START = datetime(2026, 1, 9, 18, 30, tzinfo=UTC)
RULES = Rules(margin_exact=0.0, margin_printed=0.0, spread=0.0)
Claim = tuple[Job, Attempt]


def incarnation(uuid: str = "me", host: str = "here") -> Supervisor:
    return Supervisor(uuid=uuid, host=host, pid=1, boot_id="boot", started_at=START)


def new(name: str, account: str = "acct", model: str | None = None, priority: int = 0, **spec: object) -> NewJob:
    made = Spec(prompt=f"do {name}", **spec)  # type: ignore[arg-type]
    return NewJob(name=name, account=account, model=model, priority=priority, spec=made)


def said(resets_at: datetime | None = None, **more: object) -> Limit:
    """A provider's refusal, with an exact reset where there is one."""
    facts: dict[str, object] = {"kind": Kind.USAGE_LIMIT, "window": Window.FIVE_HOURS, "evidence": "no more"}
    return Limit(resets_at=resets_at, exact=resets_at is not None, **{**facts, **more})  # type: ignore[arg-type]


@dataclass(slots=True)
class World:
    store: Store
    now: datetime = START
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    # --- what people do ---

    def submit(
        self, *names: str, batch: str = "b", account: str = "acct", model: str | None = None, priority: int = 0
    ) -> Submission:
        jobs = [new(name, account, model, priority) for name in names]
        return self.store.submit(Batch(batch), jobs, self.now, whole=False)

    def accounts(self, *accounts: Account) -> None:
        self.store.set_accounts(accounts, self.now)

    def enter(self, uuid: str = "me", host: str = "here") -> None:
        self.store.enter(incarnation(uuid, host))

    def pause(self, scope: str, until: datetime | None = None, allow: int = 0) -> Hold | None:
        hold = Hold(scope=scope, origin=Origin.OPERATOR, since=self.now, until=until, allow=allow, by="ann")
        return self.store.hold(hold, self.now)

    def wait(self, seconds: float = 1.0) -> None:
        self.now += timedelta(seconds=seconds)

    def ahead(self, seconds: float) -> datetime:
        return self.now + timedelta(seconds=seconds)

    # --- what a supervisor does ---

    def claim(self, most: int = 1, by: str = "me", batch: int | None = None) -> list[Claim]:
        return self.store.claim(by, self.now, most=most, batch=batch, rules=RULES)

    def take(self, by: str = "me") -> Claim:
        """Claim exactly one."""
        (claim,) = self.claim(by=by)
        return claim

    def finish(
        self, claim: Claim, outcome: Outcome | None = None, exit: int | None = 0, drawn: float | None = None
    ) -> Job:
        so_far = None if drawn is None else Drawn(drawn, 1)
        return self.store.finish(claim[1], outcome or Succeeded("done"), self.now, exit=exit, drawn=so_far, rules=RULES)

    def fail(self, claim: Claim, reason: str = "exit 1") -> Job:
        return self.finish(claim, Failed(reason=reason), exit=1)

    def told(self, claim: Claim, limit: Limit) -> Hold | None:
        """The attempt's output told a limit: shut its gate."""
        job, attempt = claim
        scope, window = scope_of(limit, job.account, job.model), window_of(limit)
        prior = [hold for hold in self.store.holds() if (hold.scope, hold.window) == (scope, window)]
        hold = hold_for(limit, scope, self.now, rules=RULES, prior=prior[0] if prior else None)
        assert hold is not None
        return self.store.hold(hold, self.now, attempt=attempt, burst=is_burst(limit, self.now))

    def limited(self, claim: Claim, resets_at: datetime | None = None, **more: object) -> Job:
        """The attempt told a limit, and ended for it."""
        limit = said(resets_at, **more)
        self.told(claim, limit)
        return self.finish(claim, Limited(limit), exit=1)

    def progress(self, claim: Claim) -> list[Hold]:
        return self.store.note_progress(claim[1], self.now)

    # --- what there is ---

    def job(self, name: str) -> Job:
        (job,) = self.store.jobs_named(name)
        return job

    def hold(self, scope: str) -> Hold:
        (hold,) = [hold for hold in self.store.holds() if hold.scope == scope]
        return hold

    def events(self, *names: str) -> list[Event]:
        return [event for event in self.store.events(most=100_000) if not names or event.name in names]

    def states(self) -> dict[str, State]:
        return {job.name: job.state for job in self.store.jobs(most=100_000)}


def names(claims: Sequence[Claim]) -> list[str]:
    return [job.name for job, _ in claims]
