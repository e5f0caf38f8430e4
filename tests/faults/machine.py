"""Any order of events: a store and its policy do each, the model too, and both must say the same.

The events are a table, so that hypothesis (which finds a short way to a fault) and a bare random generator (which tries
millions) draw from the same.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from msgspec.structs import replace
from stores.reconciling import reconcile
from stores.world import START, incarnation, said

from faults.model import BLANKS, MAX_LIMITED, MAX_LOST, Key, Model, Piece, Shut, Try
from tidegate import policy
from tidegate.errors import BadInput, NotOwner
from tidegate.model import (
    Account,
    Attempt,
    Batch,
    Cancelled,
    Failed,
    Hold,
    Interrupted,
    Job,
    Kind,
    Limited,
    Lost,
    NewJob,
    Origin,
    Outcome,
    Spec,
    State,
    Succeeded,
    TimedOut,
    Window,
)
from tidegate.policy import Rules
from tidegate.stores import Store

RULES = Rules(
    margin_exact=0.0, margin_printed=0.0, spread=0.0, max_limited=MAX_LIMITED, max_lost=MAX_LOST, blank_most=BLANKS
)
SECONDS = (0, 0.5, 1, 10, 60, 300, 3600, 5 * 3600, 86_400, 4 * 86_400)
SCOPES = ("*", "host:here", "batch:one", "claude", "claude/opus", "claude/default", "codex", "job:1", "job:2", "job:5")
OUTCOMES: dict[str, Outcome] = {
    "succeeded": Succeeded("fine"),
    "failed": Failed(reason="exit 1"),
    "no result": Failed(reason="no result", valid=False),
    "no program": Failed(reason="no such program", valid=False, retry=False),
    "no directory": Failed(reason="no such directory", valid=False, retry=False, own=True),
    "timed out": TimedOut(after=5),
    "interrupted": Interrupted(reason="drained"),
    "gone": Interrupted(reason="gone", session_gone=True),
    "lost": Lost("killed"),
    "cancelled": Cancelled("ann"),
}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "once": {"max_attempts": 1},
    "afresh": {"on_cutoff": "restart"},
    "carries on": {"on_failure": "resume"},
    "other": {"agent": "codex", "max_attempts": 2},
}
HOURS: dict[str, Callable[[datetime], bool]] = {
    "18:00-21:00 UTC": lambda at: 18 <= at.hour < 21,
    "19:00-18:45 UTC": lambda at: not (at.hour == 18 and at.minute >= 45),
    "fri 20:00-22:00 UTC": lambda at: at.weekday() == 4 and 20 <= at.hour < 22,
}
JOBS = tuple(range(1, 11))
ANY = tuple(range(12))  # one of those that there are


class Event(NamedTuple):
    """One thing that can happen: how often, and what it draws."""

    weight: int
    draws: dict[str, Sequence[Any]]


WHAT: dict[str, Sequence[Any]] = {
    "account": ("claude", "claude", "codex"),
    "model": (None, "opus", "claude-sonnet-5"),
    "priority": (0, 0, -1, 1),
    "kind": tuple(KINDS),
}
BATCH: dict[str, Sequence[Any]] = {"batch": ("one", "two")}
EVENTS: dict[str, Event] = {
    "submit": Event(5, {"names": ("a", "bc", "def", "gh", "ij", "abcd"), **BATCH, **WHAT}),
    "submit_what_waits": Event(
        4,
        {
            "name": tuple("klmn"),
            "needs": ((), (1,), (2,), (1, 3), (4,), (6, 7)),
            "wait": (None, *SECONDS[:7]),
            **WHAT,
        },
    ),
    "update": Event(1, {"names": ("a", "bc", "def", "abcd"), **BATCH, **WHAT}),
    "claim": Event(
        16,
        {
            "most": (0, 1, 1, 2, 3, 4),
            "batch": (None, None, None, "one", "two"),
            "elsewhere": (False, False, False, False, False, True),
        },
    ),
    "finish": Event(12, {"one": ANY, "how": ("succeeded",) * 3 + tuple(OUTCOMES)}),
    "claim_and_end": Event(6, {"how": ("no result", "no result", "lost", "lost", "failed")}),
    "limit": Event(
        9,
        {
            "one": ANY,
            "ahead": (None, -60, 0, *SECONDS[1:8]),
            "exact": (True, False),
            "whole": (True, True, False),
            "kind": (*tuple(Kind)[:3], Kind.USAGE_LIMIT, Kind.USAGE_LIMIT, Kind.CREDIT),
            "window": (Window.FIVE_HOURS, Window.WEEK),
            "ends": (True, True, True, False),
        },
    ),
    "progress": Event(6, {"one": ANY}),
    "session": Event(3, {"one": ANY, "session": ("x", "y")}),
    "unclaim": Event(1, {"one": ANY}),
    "wait": Event(9, {"seconds": SECONDS}),
    "wait_till_due": Event(4, {"early": (0, 0, 0.5)}),
    "die": Event(2, {"elsewhere": (False, False, True)}),
    "speak_as_a_ghost": Event(2, {"one": ANY, "what": ("finish", "unclaim", "session", "progress", "claim")}),
    "say_again": Event(1, {"one": ANY, "same": (True, False)}),
    "cancel": Event(2, {"job": JOBS}),
    "retry": Event(3, {"job": JOBS}),
    "edit": Event(1, {"job": JOBS, **WHAT}),
    "prioritise": Event(1, {"job": JOBS, "priority": (-2, 0, 2)}),
    "forget": Event(1, {"jobs": ((1,), (2, 3), (4, 5, 6), tuple(JOBS))}),
    "account": Event(2, {"account": ("claude", "codex"), "most": (None, 1, 2, 3), "cautious": (False, True, True)}),
    "pause": Event(
        3,
        {
            "scope": SCOPES,
            "until": (None, *SECONDS),
            "allow": (0, 0, 1, 2),
            "origin": (Origin.OPERATOR, Origin.OPERATOR, Origin.HUMAN, Origin.HOST),
        },
    ),
    "lift": Event(
        3,
        {
            "scope": (None, *SCOPES),
            "origins": ((), (Origin.OPERATOR,), (Origin.OPERATOR,), (Origin.HUMAN,), (Origin.LIMIT, Origin.START)),
        },
    ),
    "hours": Event(
        1,
        {
            "scope": ("*", "claude", "codex/default", "batch:one", "job:1"),
            "text": ("", "", *HOURS),
            "source": ("x", "y"),
        },
    ),
}


@dataclass(slots=True)
class Orders:
    """A store and a model to which the same happens."""

    store: Store
    model: Model = field(default_factory=lambda: Model(START))
    me: dict[str, str] = field(default_factory=lambda: {"here": "here-0", "there": "there-0"})
    lives: int = 0
    attempts: dict[int, Attempt] = field(default_factory=dict)  # what runs, by job
    ghosts: list[Attempt] = field(default_factory=list)  # tickets of supervisors that died
    ended: list[tuple[Attempt, Outcome]] = field(default_factory=list)
    defined: dict[int, tuple[object, ...]] = field(default_factory=dict)
    named: dict[tuple[str, str], int] = field(default_factory=dict)
    batches: dict[str, int] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        for host, uuid in self.me.items():
            self.store.enter(incarnation(uuid, host))

    @property
    def now(self) -> datetime:
        return self.model.now

    def happen(self, event: str, **drawn: Any) -> None:
        """One event, and what must hold after it."""
        if getattr(self, f"_{event}")(**drawn) is not False:
            self.counts[event] += 1
            self.compare_holds()

    # --- what people do ---

    def _new(self, name: str, account: str, model: str | None, priority: int, kind: str) -> NewJob:
        spec = Spec(**{"agent": "claude", "prompt": "do it", **KINDS[kind]})
        return NewJob(name=name, account=account, model=model, priority=priority, spec=spec)

    def _submit(self, names: str, batch: str, **what: Any) -> None:
        self._hand_in(batch, [self._new(name, **what) for name in names], update=False)

    def _update(self, names: str, batch: str, **what: Any) -> None:
        self._hand_in(batch, [self._new(name, **what) for name in names], update=True)

    def _submit_what_waits(self, name: str, needs: tuple[int, ...], wait: float | None, **what: Any) -> None:
        at = None if wait is None else self.now + timedelta(seconds=wait)
        new = replace(self._new(name, **what), needs=needs, not_before=at)
        if set(needs) - self.model.jobs.keys():
            with refused(BadInput):
                self.store.submit(Batch("one"), [new], self.now)
        else:
            self._hand_in("one", [new], update=False)

    def _hand_in(self, batch: str, news: list[NewJob], *, update: bool) -> None:
        told = self.store.submit(Batch(batch), news, self.now, update=update, whole=False)
        self.batches[batch] = told.batch.id
        did: dict[str, list[str]] = {"added": [], "unchanged": [], "changed": [], "updated": []}
        for new, id in zip(news, told.jobs, strict=True):
            did[self._hand_in_one(batch, new, id, update=update)].append(new.name)
        assert did == {key: list(getattr(told, key)) for key in did}

    def _hand_in_one(self, batch: str, new: NewJob, id: int, *, update: bool) -> str:
        what = definition(new)
        known = self.named.get((batch, new.name))
        if known is None or known not in self.model.jobs:
            assert id not in self.model.jobs, "a new job takes the place of another"
            self.named[batch, new.name], self.defined[id] = id, what
            unmet = {one for one in new.needs if self.model.jobs[one].state != "succeeded"}
            made = self.model.jobs[id] = piece(id, batch, new, unmet)
            if any(self.model.jobs[one].has_ended for one in unmet):
                made.not_before = None
                self.model.close(made, "skipped")
            return "added"
        assert id == known
        if self.defined[id] == what:
            return "unchanged"
        if not update or self.model.jobs[id].state != "queued":
            return "changed"
        self.defined[id] = what
        redefine(self.model.jobs[id], new)
        return "updated"

    def _cancel(self, job: int) -> bool | None:
        if job not in self.model.jobs:
            return False
        self.store.cancel(job, self.now, by="ann")
        self.model.cancel(self.model.jobs[job])
        return None

    def _retry(self, job: int) -> bool | None:
        if job not in self.model.jobs or not self.model.jobs[job].has_ended:
            return False
        self.store.retry(job, self.now, by="ann")
        self.model.retry(self.model.jobs[job])
        self.compare_job(job)
        return None

    def _edit(self, job: int, **what: Any) -> bool | None:
        found, new = self.model.jobs.get(job), self._new("other", **what)
        if found is None:
            return False
        if found.state != "queued":
            with refused(BadInput):
                self.store.edit(job, new, self.now, by="ann")
            return False
        before = self.store.job(job)
        if self.store.edit(job, new, self.now, by="ann") != before:
            self.defined[job] = definition(new)
        redefine(found, new)
        self.compare_job(job)
        return None

    def _prioritise(self, job: int, priority: int) -> bool | None:
        if job not in self.model.jobs:
            return False
        self.store.set_priority(job, priority, self.now)
        if self.model.jobs[job].state == "queued":
            self.model.jobs[job].priority = priority
        return None

    def _forget(self, jobs: tuple[int, ...]) -> None:
        assert self.store.forget(jobs, self.now) == self.model.forget(jobs)
        self.ended = [one for one in self.ended if one[0].job in self.model.jobs]
        self.ghosts = [one for one in self.ghosts if one.job in self.model.jobs]

    def _account(self, account: str, most: int | None, cautious: bool) -> None:
        self.store.set_accounts([Account(name=account, max_running=most, cautious=cautious)], self.now)
        self.model.most[account] = most
        (self.model.cautious.add if cautious else self.model.cautious.discard)(account)

    def _pause(self, scope: str, until: float | None, allow: int, origin: Origin) -> None:
        end = None if until is None else self.now + timedelta(seconds=until)
        hold = Hold(scope=scope, origin=origin, since=self.now, until=end, allow=allow, by="ann")
        self.store.hold(hold, self.now)
        self.model.turn_due()
        self.model.holds[scope, origin, Window.UNKNOWN] = Shut(scope, origin, allow, end, self.model.turn())

    def _lift(self, scope: str | None, origins: tuple[Origin, ...]) -> None:
        self.store.lift(scope, self.now, by="ann", origins=origins)
        self.model.lift(scope, origins)

    def _hours(self, scope: str, text: str, source: str) -> None:
        self.store.set_hours(scope, text, self.now, source=source)
        self.model.say_hours(scope, source, text, HOURS.get(text))

    def _wait(self, seconds: float) -> None:
        self.model.now += timedelta(seconds=seconds)

    def _wait_till_due(self, early: float) -> bool | None:
        due = self.store.next_due(self.now)
        if due is None:
            return False
        self.model.now = max(due - timedelta(seconds=early), self.now)
        return None

    # --- what a supervisor does ---

    def _claim(self, most: int, batch: str | None, elsewhere: bool) -> None:
        host = "there" if elsewhere else "here"
        if batch is not None and batch not in self.batches:
            batch = None
        number = None if batch is None else self.batches[batch]
        claims = self.store.claim(self.me[host], self.now, most=most, batch=number, rules=RULES)
        self.model.claim(host, batch, most, [job.id for job, _ in claims])
        assert len(claims) <= most
        for job, attempt in claims:
            self.attempts[job.id] = attempt
            assert attempt.n == self.model.jobs[job.id].launches
            self.compare(job)

    def _one(self, choice: int) -> tuple[Try, Attempt] | None:
        if not self.attempts:
            return None
        job = sorted(self.attempts)[choice % len(self.attempts)]
        return self.model.running[job], self.attempts[job]

    def _finish(self, one: int, how: str) -> bool | None:
        if (found := self._one(one)) is None:
            return False
        self._end(found[1], OUTCOMES[how])
        return None

    def _claim_and_end(self, how: str) -> None:
        """What starts ends within its first second."""
        before = set(self.attempts)
        self._claim(2, None, False)
        for job in sorted(set(self.attempts) - before):
            self._end(self.attempts[job], OUTCOMES[how])

    def _end(self, attempt: Attempt, outcome: Outcome) -> None:
        del self.attempts[attempt.job]
        job = self.store.finish(attempt, outcome, self.now, exit=0, rules=RULES)
        self.model.end(attempt.job, outcome)
        self.ended = [*self.ended[-5:], (attempt, outcome)]
        self.compare(job)

    def _limit(
        self, one: int, ahead: float | None, exact: bool, whole: bool, kind: Kind, window: Window, ends: bool
    ) -> bool | None:
        if (found := self._one(one)) is None:
            return False
        trying, attempt = found
        piece = self.model.jobs[attempt.job]
        at = None if ahead is None else self.now + timedelta(seconds=ahead)
        limit = said(at, kind=kind, model=None if whole else piece.model or "opus", window=window)
        limit = replace(limit, exact=exact and at is not None)
        key = self._key_of(limit, piece)
        scope = policy.scope_of(limit, piece.account, piece.model)
        hold = policy.hold_for(limit, scope, self.now, rules=RULES, prior=self._held(key))
        assert hold is not None
        before = self.store.last_seq()
        self.store.hold(hold, self.now, attempt=attempt)
        self.model.turn_due()
        self.model.limit(key, limit, trying, self._shut(key))
        if any(event.job == attempt.job for event in self.store.events(after=before)):
            self.model.told.add((attempt.job, attempt.n, key))
        if ends:
            self._end(attempt, Limited(limit))
        return None

    def _key_of(self, limit: Any, piece: Piece) -> Key:
        person = limit.kind in (Kind.CREDIT, Kind.AUTH)
        brief = limit.kind in (Kind.RATE_LIMIT, Kind.OVERLOADED)
        window = Window.MINUTE if brief else limit.window
        return (self.model.scope_of(limit, piece), Origin.HUMAN if person else Origin.LIMIT, window)

    def _progress(self, one: int) -> bool | None:
        if (found := self._one(one)) is None:
            return False
        self.store.note_progress(found[1], self.now)
        self.model.progress(found[0])
        return None

    def _session(self, one: int, session: str) -> bool | None:
        if (found := self._one(one)) is None:
            return False
        self.store.note_session(found[1], session, self.now)
        found[0].session = session
        return None

    def _unclaim(self, one: int) -> bool | None:
        if (found := self._one(one)) is None:
            return False
        del self.attempts[found[1].job]
        self.store.unclaim(found[1], self.now, "the gate shut")
        self.model.unclaim(found[1].job)
        self.compare_job(found[1].job)
        return None

    def _die(self, elsewhere: bool) -> None:
        """The supervisor of a host is killed; another takes over all that it ran, and nothing else."""
        host, self.lives = "there" if elsewhere else "here", self.lives + 1
        self.me[host] = f"{host}-{self.lives}"
        self.store.enter(incarnation(self.me[host], host))
        adopted = self.store.adopt(self.me[host], host, self.now)
        mine = {job for job, one in self.model.running.items() if one.host == host}
        assert {job.id for job, _ in adopted} == mine, "not all is adopted, or too much"
        for job, attempt in adopted:
            self.ghosts = [*self.ghosts[-7:], self.attempts[job.id]]
            assert attempt.n == self.ghosts[-1].n
            self.attempts[job.id] = attempt

    def _speak_as_a_ghost(self, one: int, what: str) -> bool | None:
        """What a dead supervisor still wants to say changes nothing."""
        if not self.ghosts:
            return False
        ghost, before = self.ghosts[one % len(self.ghosts)], self.store.last_seq()
        if what == "progress":
            self.store.note_progress(ghost, self.now)
        else:
            with refused(NotOwner):
                self._speak(ghost, what)
        assert self.store.last_seq() == before
        return None

    def _speak(self, ghost: Attempt, what: str) -> None:
        match what:
            case "finish":
                self.store.finish(ghost, Succeeded("late"), self.now, exit=0, rules=RULES)
            case "unclaim":
                self.store.unclaim(ghost, self.now, "late")
            case "session":
                self.store.note_session(ghost, "late", self.now)
            case _:
                self.store.claim(ghost.supervisor, self.now, rules=RULES)

    def _say_again(self, one: int, same: bool) -> bool | None:
        """An end that is told again is no second end, and another one is refused."""
        if not self.ended:
            return False
        (attempt, outcome), before = self.ended[one % len(self.ended)], self.store.last_seq()
        adopted = attempt.supervisor not in self.me.values()
        if same:
            self.store.finish(attempt, outcome, self.now, exit=0, rules=RULES)
        elif not adopted:
            with refused(NotOwner):
                self.store.finish(attempt, Failed(reason="another"), self.now, exit=9, rules=RULES)
        assert self.store.last_seq() == before
        return None

    # --- what must hold ---

    def _shut(self, key: Key) -> Shut | None:
        hold = self._held(key)
        if hold is None:
            return None
        end, told = hold.until, hold.resets_at
        early = hold.early_at
        return Shut(
            hold.scope, hold.origin, hold.allow, end, 0, hold.ramp, resets_at=told, exact=hold.exact, early=early
        )

    def _held(self, key: Key) -> Hold | None:
        return next((hold for hold in self.store.holds() if (hold.scope, hold.origin, hold.window) == key), None)

    def compare_holds(self) -> None:
        """There are the holds that the model says, as wide as it says, and until when."""
        found = {
            (hold.scope, hold.origin, hold.window): (hold.allow, hold.until, hold.ramp)
            for hold in self.store.holds()
            if hold.origin is not Origin.HOURS
        }
        assert found == {key: (one.allow, one.until, one.ramp) for key, one in self.model.holds.items()}

    def compare_job(self, id: int) -> None:
        job = self.store.job(id)
        assert job is not None, f"job {id} is lost"
        self.compare(job)

    def compare(self, job: Job) -> None:
        one = self.model.jobs[job.id]
        found = (job.state.value, job.attempts, job.launches, job.lost, job.limited_in_a_row, job.unmet, job.session)
        wanted = (one.state, one.attempts, one.launches, one.lost, one.row, len(one.unmet), one.session)
        assert found == wanted, f"job {job.id}: {found} is not {wanted}"
        at = None if one.not_before is None or one.not_before <= self.now else one.not_before
        assert (job.resumed, job.priority) == (one.ahead, one.priority)
        assert at is None or job.not_before == at, "a delay is forgotten"

    def check(self) -> None:
        """Everything, which takes longer."""
        jobs = self.store.jobs(most=100_000)
        assert [job.id for job in jobs] == sorted(self.model.jobs), "a job is lost, or there twice"
        for job in jobs:
            self.compare(job)
        running = {job.id: attempt for job, attempt in self.store.running()}
        assert running.keys() == self.attempts.keys()
        assert all(
            (one.n, one.supervisor) == (self.attempts[id].n, self.attempts[id].supervisor)
            for id, one in running.items()
        )
        reconcile(self.store)

    def come_to_an_end(self) -> None:
        """With no person's hold left, and as time passes from one instant that is due to the next, every job ends."""
        self.happen("lift", scope=None, origins=(Origin.OPERATOR, Origin.HUMAN, Origin.HOST))
        for _ in range(1000):
            while (found := self._one(0)) is not None:
                self._end(found[1], OUTCOMES["succeeded"])
            self._claim(4, None, False)
            if not self.attempts:
                if self.store.counts()[State.QUEUED] == 0:
                    break
                due = self.store.next_due(self.now)
                assert due is not None, f"{self.stranded()} wait for nothing"
                assert due > self.now
                self.model.now = due
        assert not self.stranded(), f"{self.stranded()} never run"
        self.check()

    def stranded(self) -> list[int]:
        return [job.id for job in self.store.jobs(states=[State.QUEUED])]


@contextmanager
def refused(kind: type[Exception]) -> Iterator[None]:
    """It must be refused so."""
    try:
        yield
    except kind:
        return
    raise AssertionError("it is not refused")


def definition(new: NewJob) -> tuple[object, ...]:
    return (new.spec, new.account, new.model, new.priority)


def piece(id: int, batch: str, new: NewJob, unmet: set[int]) -> Piece:
    made = Piece(
        id=id,
        batch=batch,
        account=new.account,
        model=new.model,
        priority=0,
        agent="",
        most=0,
        resumes=True,
        carries_on=False,
        needs=set(new.needs),
        unmet=unmet,
        not_before=new.not_before,
    )
    redefine(made, new)
    return made


def redefine(one: Piece, new: NewJob) -> None:
    """A queued job's other definition; a session is one agent's own."""
    if one.agent != new.spec.agent:
        one.session, one.ahead = None, False
    one.account, one.model, one.priority, one.agent = new.account, new.model, new.priority, new.spec.agent
    one.most, one.resumes = new.spec.max_attempts, new.spec.on_cutoff == "resume"
    one.carries_on = new.spec.on_failure == "resume"


# --- orders at random ---

Step = tuple[str, dict[str, Any]]


def order(seed: str, length: int, events: Mapping[str, Event] = EVENTS) -> list[Step]:
    """The order of a seed: the same each time."""
    chance = random.Random(seed)
    names = chance.choices(list(events), [event.weight for event in events.values()], k=length)
    draws = [(name, events[name].draws.items()) for name in names]
    return [(name, {key: chance.choice(domain) for key, domain in items}) for name, items in draws]


def play(steps: Iterable[Step], store: Store) -> Orders:
    """Let it all happen, and come to an end. Raises what it meets."""
    orders = Orders(store)
    for number, (name, drawn) in enumerate(steps):
        orders.happen(name, **drawn)
        if number % 32 == 31:
            orders.check()
    orders.come_to_an_end()
    return orders
