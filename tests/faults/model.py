"""What tidegate promises of jobs and holds, in plain lists and dicts; it knows nothing of `policy`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tidegate.model import (
    Cancelled,
    Failed,
    Interrupted,
    Limit,
    Limited,
    Lost,
    Outcome,
    Succeeded,
    TimedOut,
)

Key = tuple[str, str, str]  # scope, origin, window
Open = Callable[[datetime], bool]

FAMILY = {None: "default", "opus": "opus", "claude-sonnet-5": "sonnet"}
MAX_LIMITED, MAX_LOST, BLANKS = 3, 2, 2
WIDEST = 64
RECENT, BLANK = timedelta(hours=1), timedelta(seconds=10)
NEAR = {False: timedelta(seconds=1), True: timedelta(seconds=120)}  # two ends that are one: where only one is exact


@dataclass(slots=True)
class Piece:
    """One job."""

    id: int
    batch: str
    account: str
    model: str | None
    priority: int
    agent: str
    most: int  # attempts
    resumes: bool  # after a cut-off
    carries_on: bool  # after a failure
    needs: set[int]
    unmet: set[int]
    not_before: datetime | None
    state: str = "queued"
    attempts: int = 0
    launches: int = 0
    lost: int = 0
    row: int = 0  # limits in a row
    row_since: datetime | None = None
    session: str | None = None
    ahead: bool = False
    asked: bool = False  # somebody wants its end

    @property
    def has_ended(self) -> bool:
        return self.state not in ("queued", "running")

    @property
    def lane(self) -> str:
        return f"{self.account}/{FAMILY[self.model]}"

    @property
    def rank(self) -> tuple[int, bool, int]:
        return (-self.priority, not self.ahead, self.id)


@dataclass(slots=True)
class Try:
    """One attempt that runs."""

    job: int
    n: int
    host: str
    turn: int
    since: datetime
    session: str | None = None
    progressed: bool = False
    canary: bool = False


@dataclass(slots=True)
class Shut:
    """One hold."""

    scope: str
    origin: str
    allow: int
    until: datetime | None
    turn: int
    ramp: bool = False
    canary: int | None = None
    resets_at: datetime | None = None
    exact: bool = False
    early: datetime | None = None  # when it is tried ahead of its end


@dataclass(slots=True)
class Model:
    """All that there is; each method is one thing that happens."""

    now: datetime
    jobs: dict[int, Piece] = field(default_factory=dict)
    running: dict[int, Try] = field(default_factory=dict)
    holds: dict[Key, Shut] = field(default_factory=dict)
    hours: dict[str, dict[str, Open]] = field(default_factory=lambda: defaultdict(dict))  # by scope, then who said it
    most: dict[str, int | None] = field(default_factory=dict)
    cautious: set[str] = field(default_factory=set)
    proofs: dict[str, list[tuple[datetime, int]]] = field(default_factory=lambda: defaultdict(list))
    blanks: Counter[str] = field(default_factory=Counter)
    opened: dict[str, tuple[int, datetime]] = field(default_factory=dict)
    told: set[tuple[int, int, Key]] = field(default_factory=set)  # which refusals have shut or moved a hold
    turns: int = 0

    def turn(self) -> int:
        self.turns += 1
        return self.turns

    # --- which holds bind ---

    def scopes(self, piece: Piece, host: str) -> set[str]:
        return {"*", f"host:{host}", f"batch:{piece.batch}", f"job:{piece.id}", piece.account, piece.lane}

    def inside(self, scope: str) -> list[Try]:
        return [one for one in self.running.values() if scope in self.scopes(self.jobs[one.job], one.host)]

    def has_room(self, hold: Shut) -> bool:
        if hold.allow == 0:
            return False
        inside = self.inside(hold.scope)
        return sum(one.turn > hold.turn for one in inside) < hold.allow if hold.ramp else len(inside) < hold.allow

    def is_closed(self, scope: str) -> bool:
        said = list(self.hours.get(scope, {}).values())
        return bool(said) and not said[-1](self.now)

    def may_start(self, piece: Piece, host: str) -> bool:
        if piece.state != "queued" or piece.unmet or (piece.not_before is not None and piece.not_before > self.now):
            return False
        scopes, most = self.scopes(piece, host), self.most.get(piece.account)
        if (self.hours and any(map(self.is_closed, scopes))) or (
            most is not None and len(self.inside(piece.account)) >= most
        ):
            return False
        return all(self.has_room(hold) for hold in self.holds.values() if hold.scope in scopes)

    def free(self, host: str, batch: str | None) -> list[Piece]:
        """What may start, best first."""
        among = [one for one in self.jobs.values() if batch in (None, one.batch) and self.may_start(one, host)]
        return sorted(among, key=lambda one: one.rank)

    # --- the claim ---

    def claim(self, host: str, batch: str | None, most: int, taken: Iterable[int]) -> None:
        """What a claim has taken must be what may start, best first, and all of it that there is a place for."""
        self.turn_due()
        if most == 0:
            assert not list(taken)
            return
        self.start_carefully(host, batch)
        last, number = {hold.canary for hold in self.holds.values() if self.is_reopened(hold)}, 0
        for id in taken:
            free = self.free(host, batch)
            assert id in [one.id for one in free], f"job {id} is launched, and may not start"
            best = [one for one in free if not self.was_canary(one, free, host)]
            assert not best or best[0].id == id, f"job {id} is launched before job {best[0].id}"
            self.launch(self.jobs[id], host)
            number += 1
        if number < most:
            left = {one.id for one in self.free(host, batch)}
            assert left <= last, f"jobs {left} may start, and do not"

    def turn_due(self) -> None:
        due = [(key, hold) for key, hold in self.holds.items() if hold.until is not None and hold.until <= self.now]
        for key, hold in sorted(due, key=lambda one: (one[1].until, one[0])):
            if hold.ramp:
                hold.early = None
            elif hold.origin == "limit":
                self.open_one(hold)
            else:
                del self.holds[key]
        early = [one for one in self.holds.items() if one[1].early is not None and one[1].early <= self.now]
        for _, hold in sorted(early, key=lambda one: (one[1].early, one[0])):
            if not hold.ramp:
                self.open_one(hold)

    def open_one(self, hold: Shut) -> None:
        hold.ramp, hold.allow, hold.turn = True, 1, self.turn()
        hold.early = None if hold.until is not None and hold.until <= self.now else hold.early
        self.opened[hold.scope] = (hold.turn, self.now)

    def went_early(self, one: Try) -> bool:
        """Whether an attempt went ahead of a reset, and was refused: what it was to try is shut as it was before."""
        piece, shut = self.jobs[one.job], [hold for hold in self.holds.values() if not hold.ramp]
        mine = [hold for hold in shut if hold.origin == "limit" and hold.scope in (piece.account, piece.lane)]
        return one.canary and not one.progressed and any(hold.turn < one.turn for hold in mine)

    def start_carefully(self, host: str, batch: str | None) -> None:
        for account in {one.account for one in self.free(host, batch)} & self.cautious:
            proofs, holds = self.proofs[account], [one for one in self.holds.values() if one.scope == account]
            recent = bool(proofs) and self.now - proofs[-1][0] <= RECENT
            watched = any(one.origin in ("limit", "start") for one in holds)
            if not recent and not watched and not self.inside(account):
                key = (account, "start", "unknown")
                self.holds[key] = Shut(account, "start", 1, None, self.turn(), ramp=True)

    def is_reopened(self, hold: Shut) -> bool:
        return hold.origin == "limit" and hold.ramp and hold.allow == 1

    def was_canary(self, piece: Piece, free: list[Piece], host: str) -> bool:
        """Whether a job was the last canary of a scope in which others wait that were none: they go first."""
        mine = self.led(piece, host)
        fresh = [one for one in free if not self.led(one, host)] if mine else []
        return any(hold.scope in self.scopes(one, host) for hold in mine for one in fresh)

    def led(self, piece: Piece, host: str) -> list[Shut]:
        """The scopes that have just reopened and whose last canary a job was."""
        scopes = self.scopes(piece, host)
        mine = [one for one in self.holds.values() if one.canary == piece.id and self.is_reopened(one)]
        return [one for one in mine if one.scope in scopes]

    def launch(self, piece: Piece, host: str) -> None:
        piece.state, piece.not_before, piece.launches = "running", None, piece.launches + 1
        self.running[piece.id] = Try(piece.id, piece.launches, host, self.turn(), self.now)
        for hold in self.holds.values():
            if self.is_reopened(hold) and hold.scope in self.scopes(piece, host):
                hold.canary = piece.id
                self.running[piece.id].canary = True

    def unclaim(self, job: int) -> None:
        del self.running[job]
        piece = self.jobs[job]
        piece.state, piece.ahead = "queued", True
        self.obey(piece)

    # --- progress ---

    def progress(self, one: Try) -> None:
        if one.progressed:
            return
        one.progressed, piece = True, self.jobs[one.job]
        self.proofs[piece.account].append((self.now, one.job))
        self.blanks[piece.account] = 0
        most = self.most.get(piece.account)
        for key, hold in list(self.holds.items()):
            if hold.ramp and hold.scope in (piece.account, piece.lane) and hold.turn < one.turn:
                hold.allow, hold.early = hold.allow * 2, None
                if hold.origin == "start" or hold.allow >= WIDEST or (most is not None and hold.allow > most):
                    del self.holds[key]

    # --- the end of an attempt: the table of house.md ---

    def end(self, job: int, outcome: Outcome) -> None:
        one, piece = self.running.pop(job), self.jobs[job]
        blank = self.is_blank(one, piece, outcome)
        if isinstance(outcome, Succeeded) or (isinstance(outcome, Failed) and outcome.valid and not blank):
            self.progress(one)
        piece.session = one.session or piece.session
        if one.progressed:
            piece.row, piece.row_since = 0, None
        if isinstance(outcome, Limited) and self.went_early(one):
            self.requeue(piece)
        else:
            self.come_to(piece, outcome)
        self.obey(piece)
        if piece.state == "queued" and piece.row >= MAX_LIMITED and self.others_got_on(piece):
            self.holds[f"job:{job}", "human", "unknown"] = Shut(f"job:{job}", "human", 0, None, self.turn())
        if blank:
            self.count_blank(piece.account)

    def come_to(self, piece: Piece, outcome: Outcome) -> None:
        match outcome:
            case Succeeded():
                self.close(piece, "succeeded")
            case Failed() | TimedOut():
                self.charge(piece, outcome)
            case Limited():
                piece.row, piece.row_since = piece.row + 1, piece.row_since or self.now
                self.requeue(piece)
            case Interrupted(session_gone=gone):
                self.requeue(piece)
                piece.session = None if gone else piece.session
            case Lost():
                piece.lost += 1
                self.close(piece, "error") if piece.lost >= MAX_LOST else self.requeue(piece)
            case Cancelled():
                self.close(piece, "cancelled")

    def charge(self, piece: Piece, outcome: Failed | TimedOut) -> None:
        piece.attempts += 1
        hopeless, invalid = (not outcome.retry, not outcome.valid) if isinstance(outcome, Failed) else (False, False)
        if piece.attempts >= piece.most or hopeless:
            self.close(piece, "error" if invalid else "failed")
            return
        piece.state, piece.ahead, piece.row, piece.row_since = "queued", False, 0, None
        piece.not_before = self.now + timedelta(seconds=min(5.0 * 2 ** (piece.attempts - 1), 600.0) / 2)
        piece.session = piece.session if piece.carries_on else None

    def requeue(self, piece: Piece) -> None:
        piece.state, piece.ahead = "queued", True
        piece.session = piece.session if piece.resumes else None

    def obey(self, piece: Piece) -> None:
        """A job that goes back to the queue while somebody wants its end has ended."""
        if piece.asked and piece.state == "queued":
            self.close(piece, "cancelled")

    def close(self, piece: Piece, state: str) -> None:
        """A job has ended: those that need it are nearer to their start, or will never have one."""
        piece.state, piece.ahead, piece.asked, piece.not_before = state, False, False, None
        piece.row, piece.row_since = 0, None
        for other in self.jobs.values():
            if piece.id in other.unmet:
                if state == "succeeded":
                    other.unmet.remove(piece.id)
                elif other.state == "queued":
                    self.close(other, "skipped")

    def others_got_on(self, piece: Piece) -> bool:
        since = piece.row_since
        proofs = self.proofs[piece.account]
        return since is not None and any(at >= since and job != piece.id for at, job in proofs)

    def is_blank(self, one: Try, piece: Piece, outcome: Outcome) -> bool:
        quick = self.now - one.since < BLANK and not one.progressed and piece.account in self.cautious
        return isinstance(outcome, Failed) and not outcome.own and quick

    def count_blank(self, account: str) -> None:
        self.blanks[account] += 1
        if self.blanks[account] >= BLANKS:
            self.blanks[account] = 0
            self.holds[account, "human", "unknown"] = Shut(account, "human", 0, None, self.turn())

    # --- limits ---

    def scope_of(self, limit: Limit, piece: Piece) -> str:
        if limit.model is None:
            return piece.account
        return f"{piece.account}/{FAMILY[limit.model if piece.model else None]}"

    def limit(self, key: Key, limit: Limit, one: Try, found: Shut | None) -> None:
        """A provider said no; `found` is what stands now, which must be no less than what was said and what stood."""
        if (one.job, one.n, key) in self.told:
            return  # said once is said
        prior, opened = self.holds.get(key), self.opened.get(key[0])
        if key[1] == "human":
            assert found is not None
            assert found.allow == 0
            self.holds[key] = found
            return
        before = opened is not None and one.turn <= opened[0]
        if before and (limit.resets_at is None or limit.resets_at <= max(self.now, opened[1] if opened else self.now)):
            return  # a neighbour from before the opening tells what is over
        assert found is not None, "a limit leaves no hold"
        assert (found.allow, found.ramp) == (0, False), "a limit leaves its gate open"
        assert found.until is not None
        assert found.until > self.now, "a limit's end is past"
        stands = prior is not None and not prior.ramp and prior.until is not None and prior.until > self.now
        tried = prior is not None and self.is_reopened(prior) and prior.until is not None and prior.until > self.now
        slack = NEAR[stands and prior is not None and prior.exact and not limit.exact]
        assert limit.resets_at is None or found.until >= limit.resets_at - slack, "a limit's end is before its reset"
        if stands and prior is not None and prior.until is not None:
            better = (limit.exact and not prior.exact) or (prior.resets_at is None and limit.resets_at is not None)
            assert better or found.until >= prior.until, "a hold is shortened"
        found.turn = prior.turn if (stands or tried) and prior is not None else self.turn()
        found.canary = prior.canary if prior is not None else None
        self.holds[key] = found

    # --- what people do ---

    def cancel(self, piece: Piece) -> None:
        if piece.state == "running":
            piece.asked = True
        elif piece.state == "queued":
            for key in [key for key in self.holds if key[:2] == (f"job:{piece.id}", "human")]:
                del self.holds[key]
            self.close(piece, "cancelled")

    def retry(self, piece: Piece) -> None:
        hopeless = any(self.jobs[id].has_ended for id in piece.unmet)
        if not piece.has_ended or (hopeless and piece.state == "skipped"):
            return
        piece.state, piece.attempts, piece.lost, piece.not_before = "queued", 0, 0, None
        if hopeless:
            self.close(piece, "skipped")

    def forget(self, ids: Iterable[int]) -> int:
        needed = {id for one in self.jobs.values() if not one.has_ended for id in one.needs}
        gone = {id for id in ids if id in self.jobs and self.jobs[id].has_ended and id not in needed}
        for id in gone:
            del self.jobs[id]
            self.hours.pop(f"job:{id}", None)
            for key in [key for key in self.holds if key[0] == f"job:{id}"]:
                del self.holds[key]
        for one in self.jobs.values():
            one.needs -= gone
            one.unmet -= gone
        return len(gone)

    def lift(self, scope: str | None, origins: Iterable[str]) -> None:
        for key in [key for key in self.holds if scope in (None, key[0]) and (not origins or key[1] in origins)]:
            hold = self.holds.pop(key)
            if hold.origin == "limit":
                self.opened[hold.scope] = (self.turn(), self.now)

    def say_hours(self, scope: str, source: str, text: str, when: Open | None) -> None:
        """What was said last counts; saying it again is no news."""
        said = self.hours[scope]
        if when is None:
            said.pop(source, None)
        elif said.get(source) is not when:
            said.pop(source, None)
            said[source] = when
