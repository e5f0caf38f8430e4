"""Whatever happens in whatever order: both stores say the same, and the promises hold."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Any

import effort
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from stores.reconciling import audited, reconcile
from stores.world import World, new, said
from tidegate.errors import BadInput, NotOwner
from tidegate.hours import parse
from tidegate.model import (
    Account,
    Ask,
    Batch,
    Cancelled,
    Drawn,
    Failed,
    Hold,
    Interrupted,
    Kind,
    Limited,
    Lost,
    NewGroup,
    Origin,
    Outcome,
    Reading,
    Stand,
    State,
    Succeeded,
    TimedOut,
    When,
    Window,
    family,
)
from tidegate.stores.memory import MemoryStore
from tidegate.stores.sqlite import SqliteStore

NAMES = st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=4, unique=True)
ACCOUNTS = st.sampled_from(["claude", "codex"])
MODELS = st.sampled_from([None, "opus", "claude-sonnet-5"])
SECONDS = st.sampled_from([0, 1, 10, 60, 300, 3600])
METERED = st.sampled_from(["claude", "claude/opus", "codex"])
SHARES = st.sampled_from([0.0, 0.1, 0.11, 0.5, 0.99, 1.0, 1.5])
SCOPES = st.sampled_from(
    ["*", "host:here", "batch:one", "claude", "claude/opus", "codex", "codex/default", "job:1", "job:2", "job:77"]
)
HOURLY = st.sampled_from(["*", "claude", "codex/default", "batch:one", "job:1"])
HOURS = st.sampled_from(["18:00-19:00 UTC", "19:00-18:45 UTC", "fri 20:00-22:00 UTC"])
JOBS = st.integers(1, 9)
WHENS = st.sampled_from(When)
TIES = st.sampled_from([None, (), ("G1<G0",), ("G1<G0", "G2<G1"), ("G2<G0 G1",), ("G0<G2",)])
ENDS: st.SearchStrategy[Outcome] = st.sampled_from(
    [
        Succeeded("fine"),
        Failed(reason="exit 1"),
        Failed(reason="no such program", valid=False, retry=False),
        TimedOut(after=5),
        Interrupted(reason="drained"),
        Interrupted(reason="gone", session_gone=True),
        Lost("killed"),
        Cancelled("ann"),
    ]
)


class Unlucky(Exception):
    """Raised in the middle of a group."""


class TwoStores(RuleBasedStateMachine):
    """Does everything to both."""

    def __init__(self) -> None:
        super().__init__()
        fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.place = tempfile.mkdtemp(dir=fast)
        self.worlds = [World(SqliteStore(Path(self.place) / "t.db")), World(MemoryStore())]
        self.me = 0
        self.finished: set[int] = set()

    def teardown(self) -> None:
        audited(self.first.store)
        for world in self.worlds:
            world.store.close()
        shutil.rmtree(self.place)

    def both(self, do: Callable[[World], Any]) -> Any:
        """Do it to both; what came of it, which must be the same."""
        results = []
        for world in self.worlds:
            try:
                results.append(do(world))
            except (BadInput, NotOwner) as error:
                results.append(str(error))
        assert results[0] == results[1]
        return results[0]

    @property
    def first(self) -> World:
        return self.worlds[0]

    @initialize()
    def enter(self) -> None:
        self.both(lambda world: world.enter("s0"))

    # --- what people do ---

    @rule(
        names=NAMES, account=ACCOUNTS, model=MODELS, priority=st.integers(-1, 1), batch=st.sampled_from(["one", "two"])
    )
    def submit(self, names: list[str], account: str, model: str | None, priority: int, batch: str) -> None:
        jobs = [new(name, account, model, priority) for name in names]
        self.both(lambda world: world.store.submit(Batch(batch), jobs, world.now))

    @rule(
        names=st.lists(st.sampled_from(["", "", "k", "l", "3", "3-2"]), min_size=1, max_size=3),
        needs=st.lists(JOBS, max_size=3),
        seconds=st.none() | SECONDS,
        account=ACCOUNTS,
    )
    def submit_what_waits(self, names: list[str], needs: list[int], seconds: int | None, account: str) -> None:
        at = None if seconds is None else self.first.ahead(seconds)
        jobs = [replace(new(name, account), needs=tuple(needs), not_before=at) for name in names]
        told = self.both(lambda world: world.store.submit(Batch("one"), jobs, world.now, whole=False))
        if not isinstance(told, str):
            assert [self.first.store.job(id) is not None for id in told.jobs] == [True] * len(names)

    @rule(
        names=st.lists(st.sampled_from("abcdefghi"), max_size=5, unique=True), ties=TIES, when=WHENS, account=ACCOUNTS
    )
    def submit_groups(self, names: list[str], ties: tuple[str, ...] | None, when: When, account: str) -> None:
        jobs = [replace(new(name, account, max_attempts=1), group=f"G{'abcdefghi'.index(name) // 3}") for name in names]
        pairs = [tie.split("<") for tie in ties or ()]
        groups = [NewGroup(name=name, needs=tuple(needs.split()), when=when) for name, needs in pairs]
        said = None if ties is None else groups
        self.both(lambda world: world.store.submit(Batch("one"), jobs, world.now, groups=said, update=True))

    @rule(job=JOBS)
    def cancel(self, job: int) -> None:
        before = self.first.store.job(job)
        after = self.both(lambda world: world.store.cancel(job, world.now, by="ann"))
        if before is not None and before.state is State.QUEUED:
            assert after.state is State.CANCELLED

    @rule(job=JOBS)
    def retry(self, job: int) -> None:
        self.finished.discard(job)
        self.both(lambda world: world.store.retry(job, world.now, by="ann"))

    @rule(job=JOBS, account=ACCOUNTS, model=MODELS, priority=st.integers(-1, 1))
    def edit(self, job: int, account: str, model: str | None, priority: int) -> None:
        what = new("other", account, model, priority)
        self.both(lambda world: world.store.edit(job, what, world.now, by="ann"))

    @rule(verb=st.sampled_from(Ask), job=st.none() | JOBS)
    def ask(self, verb: Ask, job: int | None) -> None:
        wanted = job if verb is Ask.CANCEL else None
        self.both(lambda world: world.store.ask(verb, world.now, by="bob", target=wanted))

    @rule(request=st.integers(1, 6))
    def answer(self, request: int) -> None:
        self.both(lambda world: world.store.answered(request, world.now))

    @rule(scope=HOURLY, hours=st.just("") | HOURS)
    def set_hours(self, scope: str, hours: str) -> None:
        self.both(lambda world: world.store.set_hours(scope, hours, world.now))

    @rule(source=st.sampled_from(["", "x"]), scopes=st.lists(HOURLY, max_size=2), hours=HOURS)
    def keep_hours(self, source: str, scopes: list[str], hours: str) -> None:
        self.both(lambda world: world.store.keep_hours(source, dict.fromkeys(scopes, hours), world.now))

    @rule(
        source=st.sampled_from(["x", "y"]),
        accounts=st.lists(ACCOUNTS, max_size=2),
        window=st.sampled_from([Window.FIVE_HOURS, Window.WEEK]),
        part=st.sampled_from([0.5, 0.9, 1.0]),
    )
    def keep_stops(self, source: str, accounts: list[str], window: Window, part: float) -> None:
        self.both(lambda world: world.store.keep_stops(source, {key: {window: part} for key in accounts}, world.now))

    @rule(jobs=st.lists(JOBS, max_size=4))
    def forget(self, jobs: list[int]) -> None:
        self.both(lambda world: world.store.forget(jobs, world.now))
        self.finished = {id for id in self.finished if self.first.store.job(id) is not None}

    @rule(names=NAMES, account=ACCOUNTS, priority=st.integers(-1, 1))
    def update(self, names: list[str], account: str, priority: int) -> None:
        jobs = [new(name, account, None, priority) for name in names]
        self.both(lambda world: world.store.submit(Batch("one"), jobs, world.now, update=True))

    @rule(account=ACCOUNTS, most=st.sampled_from([None, 1, 2, 3]), cautious=st.booleans())
    def set_account(self, account: str, most: int | None, cautious: bool) -> None:
        self.both(lambda world: world.accounts(Account(name=account, max_running=most, cautious=cautious)))

    @rule(job=st.integers(1, 8), priority=st.integers(-2, 2))
    def set_priority(self, job: int, priority: int) -> None:
        self.both(lambda world: world.store.set_priority(job, priority, world.now))

    @rule(
        scope=SCOPES,
        seconds=st.none() | SECONDS,
        allow=st.sampled_from([0, 0, 1, 2]),
        origin=st.sampled_from([Origin.OPERATOR, Origin.HUMAN]),
    )
    def pause(self, scope: str, seconds: int | None, allow: int, origin: Origin) -> None:
        def do(world: World) -> Hold | None:
            until = None if seconds is None else world.ahead(seconds)
            hold = Hold(scope=scope, origin=origin, since=world.now, until=until, allow=allow)
            return world.store.hold(hold, world.now)

        self.both(do)

    @rule(scope=st.none() | SCOPES, origins=st.sampled_from([(), (Origin.OPERATOR,), (Origin.LIMIT, Origin.START)]))
    def lift(self, scope: str | None, origins: tuple[Origin, ...]) -> None:
        self.both(lambda world: world.store.lift(scope, world.now, by="ann", origins=origins))

    @rule(seconds=SECONDS)
    def wait(self, seconds: int) -> None:
        for world in self.worlds:
            world.wait(seconds)

    # --- what a supervisor does ---

    @rule(most=st.integers(1, 4), batch=st.none() | st.integers(1, 2))
    def claim(self, most: int, batch: int | None) -> None:
        world = self.first
        shut = {one.scope for one in world.store.holds() if is_shut(one, world) and one.origin is not Origin.HOURS}
        shut |= {scope for scope, text in world.store.hours().items() if parse(text, UTC).opens(world.now)}
        queued = {job.id for job in self.first.store.jobs(states=[State.QUEUED])}
        waiting = {(one.batch, one.name) for one in world.store.groups() if one.stand is not Stand.OPEN}
        for job, attempt in self.both(lambda world: world.claim(most, by=f"s{self.me}", batch=batch)):
            lane = f"{job.account}/{family(job.model)}"
            mine = {"*", "host:here", f"batch:{job.batch_name}", f"job:{job.id}", job.account, lane}
            assert not mine & shut, "nothing is launched into a shut scope"
            assert job.id in queued
            assert not job.unmet
            assert (job.batch, job.group) not in waiting
            assert attempt.epoch == self.first.store.events(job=job.id)[-1].seq
            assert batch in (None, job.batch)

    @property
    def running(self) -> list[Any]:
        return self.first.store.running()

    def some_are_running(self) -> bool:
        return bool(self.running)

    def one(self, choice: int) -> Any:
        return self.running[choice % len(self.running)]

    @precondition(some_are_running)
    @rule(choice=st.integers(0, 9), outcome=ENDS, tokens=st.none() | st.floats(0, 1e9))
    def finish(self, choice: int, outcome: Outcome, tokens: float | None) -> None:
        claim = self.one(choice)
        asked = claim[0].id in [one.target for one in self.first.store.requests()]
        job = self.both(lambda world: world.finish(claim, outcome, drawn=tokens))
        assert job.state is not State.QUEUED or not asked, "somebody asked for its end"
        assert self.both(lambda world: world.finish(claim, outcome, drawn=tokens)) == job, "repeating it is a success"

    @precondition(some_are_running)
    @rule(
        choice=st.integers(0, 9), ahead=st.none() | SECONDS, whole=st.booleans(), kind=st.sampled_from(list(Kind)[:3])
    )
    def limit(self, choice: int, ahead: int | None, whole: bool, kind: Kind) -> None:
        claim = self.one(choice)
        resets_at = None if ahead is None else self.first.ahead(ahead)
        told = said(resets_at, kind=kind, model=None if whole else claim[0].model)
        self.both(lambda world: world.told(claim, told))
        job = self.both(lambda world: world.finish(claim, Limited(told), exit=1))
        assert job.state in (State.QUEUED, State.CANCELLED), "a limit is never a result"
        assert job.attempts == claim[0].attempts, "and never charged"

    @precondition(some_are_running)
    @rule(choice=st.integers(0, 9), tokens=st.floats(0, 1e9))
    def draw(self, choice: int, tokens: float) -> None:
        claim = self.one(choice)
        self.both(lambda world: world.store.note_signals([(claim[1], Drawn(tokens, 1))], [], world.now))

    @rule(
        scope=METERED, window=st.sampled_from([Window.FIVE_HOURS, Window.WEEK]), used=SHARES, ends=SECONDS | st.none()
    )
    def read(self, scope: str, window: Window, used: float, ends: int | None) -> None:
        until = None if ends is None else self.first.ahead(ends)
        one = Reading(scope=scope, window=window, used=used, at=self.first.now, resets_at=until)
        self.both(lambda world: world.store.note_signals([], [one], world.now))

    @precondition(some_are_running)
    @rule(choice=st.integers(0, 9))
    def progress(self, choice: int) -> None:
        claim = self.one(choice)
        self.both(lambda world: world.progress(claim))

    @precondition(some_are_running)
    @rule(choice=st.integers(0, 9), session=st.sampled_from("xy"))
    def session(self, choice: int, session: str) -> None:
        claim = self.one(choice)
        self.both(lambda world: world.store.note_session(claim[1], session, world.now))

    @precondition(some_are_running)
    @rule(choice=st.integers(0, 9))
    def unclaim(self, choice: int) -> None:
        claim = self.one(choice)
        self.both(lambda world: world.store.unclaim(claim[1], world.now, "the gate shut"))

    @rule()
    def die_and_be_adopted(self) -> None:
        self.me += 1
        self.both(lambda world: world.enter(f"s{self.me}"))
        self.both(lambda world: world.store.adopt(f"s{self.me}", "here", world.now))

    @rule(names=NAMES)
    def break_off_in_a_group(self, names: list[str]) -> None:
        for world in self.worlds:
            before = everything(world)
            with pytest.raises(Unlucky), world.store.group():  # noqa: PT012 - the group is what breaks off
                world.submit(*names)
                world.claim(2, by=f"s{self.me}")
                world.pause("claude")
                world.store.lift("codex", world.now, by="ann")
                world.store.set_hours("claude", "18:00-18:15 UTC", world.now)
                world.store.ask(Ask.DRAIN, world.now, by="ann")
                for job in world.store.jobs():
                    world.store.cancel(job.id, world.now, by="ann")
                world.store.forget([job.id for job in world.store.jobs()], world.now)
                raise Unlucky
            assert everything(world) == before

    # --- what holds whatever happened ---

    @invariant()
    def both_say_the_same(self) -> None:
        self.both(lambda world: world.store.jobs())
        self.both(lambda world: world.store.holds())
        self.both(lambda world: world.store.events())
        self.both(lambda world: world.store.counts())
        self.both(lambda world: world.store.running())
        self.both(lambda world: world.store.next_due(world.now))
        self.both(lambda world: world.store.requests())
        self.both(lambda world: world.store.hours())
        self.both(lambda world: world.store.meters())
        self.both(lambda world: world.store.reserves())
        self.both(lambda world: [world.store.costs(account) for account in ("claude", "codex")])
        self.both(lambda world: world.store.needs(range(1, 30)))
        self.both(lambda world: world.store.groups())
        self.both(lambda world: world.store.ended(world.now))
        self.both(lambda world: world.store.jobs(name="[a-e3]*", newest_first=True, after=7))
        self.both(lambda world: world.store.jobs(states=[State.QUEUED], account="claude"))

    @invariant()
    def the_books_balance(self) -> None:
        reconcile(self.first.store)

    @invariant()
    def what_has_ended_stays_ended(self) -> None:
        ended = {job.id for job in self.first.store.jobs() if job.state.is_final}
        back = {event.job for event in self.first.store.events(most=100_000) if "group" in event.data and event.job}
        self.finished -= back  # with what they wait for
        assert self.finished <= ended
        self.finished = ended

    @invariant()
    def no_ramp_lets_more_go_than_it_allows(self) -> None:
        for hold in self.first.store.holds():
            if hold.ramp:
                inside = [
                    one
                    for job, one in self.running
                    if hold.scope in (job.account, f"{job.account}/{family(job.model)}")
                ]
                assert sum(one.epoch > hold.epoch for one in inside) <= hold.allow

    @invariant()
    def only_a_limit_ramps_to_a_canary(self) -> None:
        for job, one in self.running:
            if one.canary:
                names = {event.name for event in self.first.store.events(job=job.id)}
                assert "attempt claimed" in names
                assert any(event.name == "gate reopening" for event in self.first.events())


def everything(world: World) -> tuple[object, ...]:
    store = world.store
    seen = (store.jobs(), store.holds(), store.events(), store.requests(), store.hours(), store.counts())
    return (*seen, store.needs(range(1, 30)), [store.attempts(job.id) for job in store.jobs()])


def is_shut(hold: Hold, world: World) -> bool:
    return hold.allow == 0 and (hold.until is None or hold.until > world.now)


quick = settings(max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
long = settings(
    max_examples=effort.of(100, 400), stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)


class TestAnyOrder(TwoStores.TestCase):  # type: ignore[misc,valid-type]
    settings = quick


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestAnyOrderForLong(TwoStores.TestCase):  # type: ignore[misc,valid-type]
    settings = long
