"""Defects that are planted from outside, to prove that the invariants can see: FAULT_PLANT names one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from tidegate import launch, policy
from tidegate.launch.child import Child
from tidegate.model import Exit, Interrupted, Limited, Origin
from tidegate.stores.sqlite import SqliteStore
from tidegate.supervisor import Supervisor


def plant(environ: Mapping[str, str]) -> None:
    """Plant the defect that FAULT_PLANT names; none where it is missing."""
    if name := environ.get("FAULT_PLANT", ""):
        PLANTS[name]()


def _put(owner: object, name: str, what: Callable[..., Any]) -> None:
    setattr(owner, name, what)


def forget_to_adopt() -> None:
    """Whatever ran is taken for never started."""

    async def give_back(self: Supervisor, attempts: object, job: object, attempt: Any) -> None:
        await self._give_back(attempt, "never started")

    _put(Supervisor, "_take_over", give_back)


def charge_a_limit() -> None:
    """A limit, and an interruption, cost the job an attempt."""
    real = policy.after

    def after(job: Any, outcome: Any, *args: Any, **more: Any) -> Any:
        job = real(job, outcome, *args, **more)
        return replace(job, attempts=job.attempts + 1) if isinstance(outcome, Limited | Interrupted) else job

    _put(policy, "after", after)


def move_the_gate() -> None:
    """Whoever starts waits a second more for each limit."""
    real = SqliteStore.enter

    def enter(self: SqliteStore, *args: Any, **more: Any) -> None:
        real(self, *args, **more)
        with self._looks.transaction():
            for hold in self._looks.every_hold():
                if hold.origin is Origin.LIMIT and hold.until is not None and not hold.ramp:
                    self._looks.put_hold(replace(hold, until=hold.until + timedelta(seconds=1)))

    _put(SqliteStore, "enter", enter)


def ignore_the_gate() -> None:
    """A claim does not look at the holds."""
    _put(policy, "places", lambda *args, most=None, **more: 1000)


def guess_the_exit() -> None:
    """The end of an agent that was adopted is taken for a success."""
    real = launch.adopt

    async def adopt(directory: Any) -> Child:
        child = await real(directory)

        async def wait() -> Exit:
            await Child.wait(child)
            return Exit(0)

        _put(child, "wait", wait)
        return child

    _put(launch, "adopt", adopt)


def leave_the_leftovers() -> None:
    """What an agent leaves behind is left alone."""

    async def sweep(self: Child, grace: float) -> int:
        return 0

    _put(Child, "sweep", sweep)


def begin_the_output_anew() -> None:
    """Whoever adopts an agent empties its output."""
    real = launch.adopt

    async def adopt(directory: Any) -> Child:
        (directory / "stdout.log").write_bytes(b"")
        return await real(directory)

    _put(launch, "adopt", adopt)


def forget_a_job() -> None:
    """Whoever finishes a job removes another one that waits."""
    real = SqliteStore.finish

    def finish(self: SqliteStore, *args: Any, **more: Any) -> Any:
        job = real(self, *args, **more)
        with self._looks.transaction():
            for table, column in (("definition", "job"), ("job", "id")):
                waits = "(SELECT state FROM job WHERE id = 12) = 'queued'"
                self._file._db.execute(f"DELETE FROM {table} WHERE {column} = 12 AND {waits}")
        return job

    _put(SqliteStore, "finish", finish)


PLANTS: dict[str, Callable[[], None]] = {
    one.__name__: one
    for one in (
        forget_to_adopt,
        charge_a_limit,
        move_the_gate,
        ignore_the_gate,
        guess_the_exit,
        leave_the_leftovers,
        begin_the_output_anew,
        forget_a_job,
    )
}
