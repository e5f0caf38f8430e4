"""The supervisor with parts that break: run inside the test, with real agents and a real database."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path

import anyio
import pytest

from tidegate import places
from tidegate.agents import Command, Known, Reader, known
from tidegate.batch import Expanded
from tidegate.clock import SystemClock
from tidegate.daemon import Shift
from tidegate.errors import NotNow
from tidegate.lock import trouble
from tidegate.model import (
    NOT_DRAWN,
    Ask,
    Drawn,
    Exit,
    Kind,
    Limit,
    NewJob,
    SessionSeen,
    Sighting,
    Spec,
    State,
    Stream,
    Succeeded,
    Usage,
    Variables,
)
from tidegate.policy import Rules
from tidegate.run import Report, supervise
from tidegate.stores import Store, sqlite


class Breaks(Exception):
    """Raised when this reader reads anything."""


@dataclass(frozen=True, slots=True)
class Odd:
    """An agent whose reader breaks, or tells what fits no row."""

    name: str
    has_limits: bool = False
    proof: bool = False
    programs: tuple[str, ...] = ()
    variables: Variables = field(default_factory=Variables)

    def command(self, spec: Spec, *, session: str | None, new_session: str) -> Command:
        return Command(argv=spec.command)

    def reader(self, zone: tzinfo) -> Reader:
        return OddReader(self.name)

    def aside(self, session: str, environment: Mapping[str, str]) -> Iterable[Sighting]:
        return ()


@dataclass(frozen=True, slots=True)
class OddReader:
    name: str
    last_words: str = ""
    drawn: Drawn = NOT_DRAWN

    def read(self, stream: Stream, line: bytes, at: datetime) -> Iterable[Sighting]:
        if self.name == "breaks":
            raise Breaks("while it read")
        if self.name == "flaps":
            return (SessionSeen(line.decode()),)
        if self.name == "slow":
            time.sleep(0.02)  # as a loop that has much else to do would
            return (Limit(kind=Kind.USAGE_LIMIT, evidence="no more"),) if line == b"no more" else ()
        return (Usage(input_tokens=object()),)  # type: ignore[arg-type] # as a mistake in a reader would

    def end(self, exit: Exit, at: datetime) -> Iterable[Sighting]:
        return ()


def job(name: str, agent: str, script: str) -> NewJob:
    return NewJob(name=name, account=agent, spec=Spec(agent=agent, command=("sh", "-c", script), max_attempts=1))


async def worked(store: Store, state: Path, *jobs: NewJob, odd: Iterable[Odd] = ()) -> Report:
    odd = [*odd, *map(Odd, ("breaks", "boasts", "slow", "flaps"))]
    agents = Known({**known().agents, **{one.name: one for one in odd}})
    shift = Shift(
        state=state,
        store=store,
        clock=SystemClock(),
        rules=Rules(),
        agents=agents.of,
        credentials={},
        stops={},
        hours={},
        budgets={},
        notify=None,
        environment={"PATH": os.environ["PATH"]},
        slots=4,
        grace=1.0,
        timeout=None,
        silence=None,
    )
    return await supervise(Expanded(name="b", jobs=jobs, accounts=()), shift)


@dataclass(frozen=True, slots=True)
class Robbed(Odd):
    """An agent whose attempt has ended by other hands just as the machine lacks what its launch needs."""

    database: Path = field(default_factory=Path)

    def command(self, spec: Spec, *, session: str | None, new_session: str) -> Command:
        with closing(sqlite.open(self.database)) as store:
            for _, attempt in store.running():
                store.finish(attempt, Succeeded("by another"), datetime.now(UTC), exit=0)
        raise NotNow("no descriptor is left")


async def test_an_attempt_that_cannot_be_given_back_any_more_ends_nobody_else(tmp_path: Path) -> None:
    with closing(sqlite.open(places.database(tmp_path))) as store, anyio.fail_after(30):
        robbed = Robbed("robbed", database=places.database(tmp_path))
        report = await worked(store, tmp_path, job("robbed", "robbed", "true"), odd=[robbed])
        assert report.counts[State.SUCCEEDED] == 1
        assert [attempt.detail for attempt in store.attempts(1)] == ["by another"]


@pytest.mark.slow
async def test_nothing_is_over_before_every_end_is_recorded(tmp_path: Path) -> None:
    """The disk takes no more when the last agent ends that a drain waits for; those who only read go on meanwhile."""
    go, limits = tmp_path / "go", resource.getrlimit(resource.RLIMIT_FSIZE)
    reports: list[Report] = []

    async def work() -> None:
        reports.append(await worked(store, tmp_path, job("a", "command", f"while [ ! -e {go} ]; do sleep 0.02; done")))

    database = places.database(tmp_path)
    with closing(sqlite.open(database)) as store, closing(sqlite.open(database)) as desk, anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work)
            while not (lock := tmp_path / "attempts/1/1/lock").exists() or not lock.read_bytes():
                await anyio.sleep(0.02)
            desk.ask(Ask.DRAIN, datetime.now(UTC), by="ann")
            while not any(event.name == "drain answered" for event in desk.events()):
                await anyio.sleep(0.02)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
            try:
                go.touch()
                while not trouble(places.lock(tmp_path)):
                    await anyio.sleep(0.02)
                await anyio.sleep(0.5)  # in which it would be over
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [one.counts[State.SUCCEEDED] for one in reports] == [1]


async def test_an_agent_that_tells_ever_new_sessions_does_not_fill_the_store(tmp_path: Path) -> None:
    with closing(sqlite.open(places.database(tmp_path))) as store:
        await worked(store, tmp_path, job("a", "flaps", "seq 5000"))
        told = [event for event in store.events(most=10_000) if event.name == "session seen"]
        assert 1 < len(told) <= 100
        assert store.attempts(1)[0].session == "5000"  # the last one counts


@pytest.mark.slow
async def test_a_limit_behind_more_output_than_the_readers_get_through_is_no_failure(tmp_path: Path) -> None:
    """It is read though its agent has ended long before the 400 lines of 200 kB before it are, which takes 8 s."""
    script = "head -c 80000000 /dev/zero | tr '\\0' x | fold -w 200000; echo; echo no more; exit 1"
    database = places.database(tmp_path)
    with closing(sqlite.open(database)) as store, closing(sqlite.open(database)) as look, anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(worked, store, tmp_path, job("a", "slow", script))
            while not any(event.name == "attempt ended" for event in look.events()):
                await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()
        (ended,) = [event for event in look.events() if event.name == "attempt ended"]
    assert (ended.data["outcome"], ended.data["charged"]) == ("limited", False)


def is_gone(pid: Path) -> bool:
    return not Path(f"/proc/{pid.read_text().strip()}").exists()


async def test_an_error_in_one_attempt_ends_its_agent_and_no_other(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    broken = job("broken", "breaks", f"echo $$ > {pid}; echo line; exec sleep 60")
    with closing(sqlite.open(places.database(tmp_path))) as store:
        report = await worked(store, tmp_path, broken, job("fine", "command", "sleep 1; echo hi"))
        reasons = {one.name: one.reason for one in store.jobs()}
    assert (report.counts[State.ERROR], report.counts[State.SUCCEEDED], report.code) == (1, 1, 5)
    assert reasons == {"broken": "Breaks: while it read", "fine": ""}
    assert is_gone(pid)


async def test_an_end_that_fits_no_row_is_an_error_of_its_job_alone(tmp_path: Path) -> None:
    boasting = job("boasting", "boasts", "echo line")
    with closing(sqlite.open(places.database(tmp_path))) as store:
        report = await worked(store, tmp_path, boasting, job("fine", "command", "sleep 1"))
        (reason, _) = (one.reason for one in store.jobs())
    assert (report.counts[State.ERROR], report.counts[State.SUCCEEDED]) == (1, 1)
    assert reason.startswith("TypeError: ")
