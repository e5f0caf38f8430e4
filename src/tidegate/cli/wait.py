"""The verb `wait`: until jobs and batches have ended."""

from __future__ import annotations

import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from tidegate import allowed, codes
from tidegate.clock import SystemClock
from tidegate.errors import BadInput
from tidegate.look import find, plain
from tidegate.look.desk import Desk, note, nothing, opened, state_of
from tidegate.look.why import waits
from tidegate.model import Batch, Hold, Job, Origin, State

AGAIN = 0.05  # seconds between two looks whether anything was written
CHUNK = 500  # queued jobs that are read at once
ANYWAY = 1.0  # and between two looks at who works and at the time, which nobody writes


def wait(args: Namespace) -> int:
    """Wait for the end of what is named; 0 all succeeded, 1, 5, 6, 124 as the README says, 2 for what is unknown."""
    timeout = _timeout(args.timeout)
    with opened(args) as desk:
        if desk is None:
            raise BadInput(f"no job or batch {find.quoted(args.jobs[0])}: {nothing(state_of(args))}")
        jobs, batches, wrong = _named(desk, args.jobs)
        for line in wrong:
            note(line)
        code = until_ended(desk, jobs, batches, timeout=timeout, as_json=args.json) if jobs or batches else codes.OK
        return 2 if wrong else code


def _timeout(said: str | None) -> float | None:
    try:
        return None if said is None else allowed.seconds(zero=True)(said)
    except allowed.Wrong as wrong:
        raise BadInput(f"--timeout: {wrong}") from None


def _named(desk: Desk, texts: Sequence[str]) -> tuple[list[int], list[Batch], list[str]]:
    """The ids of the jobs, the batches, and what is wrong with those that are neither."""
    jobs: dict[int, None] = {}
    batches: list[Batch] = []
    wrong = []
    for text in texts:
        try:
            jobs |= {one.id: None for one in find.jobs(desk.store, text)}
        except BadInput as no_job:
            try:
                batches.append(find.batch(desk.store, text))
            except BadInput:
                wrong.append(str(no_job).replace("no job", "no job or batch", 1))
    return list(jobs), batches, wrong


@dataclass(slots=True)
class Awaited:
    """What is waited for, and how it stands."""

    desk: Desk
    jobs: list[int]
    batches: Sequence[Batch]
    ended: Counter[State] = field(default_factory=Counter)
    told: bool = False

    def look(self) -> int | None:
        """The exit code where the wait is over."""
        self.desk = self.desk.at(SystemClock().now())
        open_jobs = self._open_jobs()
        counts = Counter(self.ended)
        for batch in self.batches:
            counts += Counter(self.desk.store.counts(batch.id))
        if not open_jobs and not counts[State.QUEUED] and not counts[State.RUNNING]:
            return codes.ended(counts)
        self._tell_idle()
        running = counts[State.RUNNING] or any(job.state is State.RUNNING for job in open_jobs)
        return None if running else self._kept_for_good(open_jobs)

    def _open_jobs(self) -> list[Job]:
        """The jobs that have not ended; the others are counted and not looked at again."""
        found = {id: self.desk.store.job(id) for id in self.jobs}
        left = [job for job in found.values() if job is not None and not job.state.is_final]
        self.ended.update(job.state for job in found.values() if job is not None and job.state.is_final)
        self.jobs = [job.id for job in left]
        return left

    def _kept_for_good(self, jobs: Sequence[Job]) -> int | None:
        """The exit code where each queued job waits for a person, for a larger budget, or for others that do."""
        seen, found = self.desk.picture(), set[Origin]()
        for job in chain(jobs, self._queued()):
            held = [one.hold for one in waits(job, seen) if one.hold is not None]
            origins = {hold.origin for hold in held if _is_for_good(hold)}
            if not origins and not job.unmet:
                return None
            found |= origins
        if not found:
            return None
        return codes.NEEDS_HUMAN if Origin.HUMAN in found else codes.LIMITED

    def _queued(self) -> Iterator[Job]:
        for batch in self.batches:
            after = 0
            while some := self.desk.store.jobs(batch=batch.id, states=[State.QUEUED], after=after, most=CHUNK):
                yield from some
                after = some[-1].id

    def _tell_idle(self) -> None:
        if not self.told and self.desk.works().pid is None:
            note("nobody works here: the wait goes on until somebody does (`tidegate serve`)")
            self.told = True


def _is_for_good(hold: Hold) -> bool:
    """Whether no time lifts a hold that nobody has made by hand."""
    return hold.origin is Origin.HUMAN or (hold.origin is Origin.BUDGET and hold.until is None)


def until_ended(
    desk: Desk, jobs: Sequence[int], batches: Sequence[Batch], *, timeout: float | None, as_json: bool = False
) -> int:
    """Wait for the end of jobs and batches, at most `timeout` seconds; the exit code."""
    clock, awaited = SystemClock(), Awaited(desk, list(jobs), batches)
    end = None if timeout is None else clock.monotonic() + timeout
    version, next_look = -1, 0.0
    while True:
        now = clock.monotonic()
        if (seen := desk.store.version()) != version or now >= next_look:
            version, next_look = seen, now + ANYWAY
            if (code := awaited.look()) is not None:
                break
        if end is not None and now >= end:
            note("not all have ended in time")
            code = codes.TIMED_OUT
            break
        time.sleep(AGAIN if end is None else min(AGAIN, max(end - now, 0.0)))
    if as_json:
        _print_all(awaited.desk, jobs, batches, code)
    return code


def _print_all(desk: Desk, jobs: Sequence[int], batches: Sequence[Batch], code: int) -> None:
    found = [job for id in jobs if (job := desk.store.job(id)) is not None]
    counts = {batch.name: {state.value: n for state, n in desk.store.counts(batch.id).items()} for batch in batches}
    print(plain.line({"code": code, "jobs": [plain.job(job) for job in found], "batches": counts}))
