"""The verb `logs`: what agents printed, byte for byte."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tidegate import places
from tidegate.clock import SystemClock
from tidegate.errors import BadInput
from tidegate.look import plain
from tidegate.look.desk import Desk, chosen, listened, note
from tidegate.look.find import called, quoted
from tidegate.look.why import Wait, stand, waits
from tidegate.look.words import Page, clean
from tidegate.model import Attempt, Cause, Job, Stream

BLOCK = 1 << 18  # bytes read at once
AGAIN = 0.1  # seconds between two looks at a file that grows
WAITING = 0.3  # and at a job that waits

Put = Callable[[bytes], None]


class Lined:
    """Writes what comes in as one JSON object for each line; `close` writes a last line that has no newline."""

    def __init__(self, job: Job, attempt: Attempt, stream: Stream) -> None:
        self._head = {"job": job.name, "number": job.id, "attempt": attempt.n, "stream": stream.value}
        self._rest: list[bytes] = []

    def put(self, block: bytes) -> None:
        """Take the next bytes."""
        *lines, rest = block.split(b"\n")
        for line in lines:
            self._write(b"".join([*self._rest, line]))
            self._rest = []
        self._rest.append(rest)

    def close(self) -> None:
        """Take the end."""
        if last := b"".join(self._rest):
            self._write(last)
        self._rest = []

    def _write(self, line: bytes) -> None:
        print(plain.line(self._head | {"text": line.decode(errors="replace")}))


class Raw:
    """Passes every byte on."""

    def put(self, block: bytes) -> None:
        """Take the next bytes."""
        sys.stdout.buffer.write(block)

    def close(self) -> None:
        """Take the end."""


def last_output(state: Path, attempt: Attempt, page: Page) -> str:
    """When an attempt printed last, as the end of a line; "" where it has printed nothing yet."""
    stats = [stat for stream in Stream if (stat := _stat(path(state, attempt, stream))) and stat.st_size]
    if not stats:
        return ", no output yet"
    return f", last output {page.since(datetime.fromtimestamp(max(stat.st_mtime for stat in stats), UTC))} ago"


def logs(args: Namespace) -> int:
    """Print what attempts printed, or follow each job's attempts to its end, job by job; 0, or 2 for what is none."""
    with chosen(args) as (desk, jobs, wrong):
        code = wrong
        for job in jobs:
            if len(jobs) > 1 and not args.json:
                note(f"--- {called(job)} ---")
            try:
                _print(desk, job, args)
            except BadInput as none:  # the other jobs may have such an attempt
                note(str(none))
                code = 2
    return code


def _print(desk: Desk, job: Job, args: Namespace) -> None:
    if args.follow:
        import anyio  # noqa: PLC0415 - only a follower pays for a loop

        anyio.run(_follow, desk, job, args)
    elif (attempt := _chosen(desk, job, args)) is None:
        note(f"{quoted(job.name)} has not started yet: {stand(job, desk.picture([job]), desk.page, {})}")
    else:
        _copy(desk, job, attempt, args)


def _chosen(desk: Desk, job: Job, args: Namespace) -> Attempt | None:
    attempts, n = desk.store.attempts(job.id), args.attempt
    if args.stage is not None:
        return _of_stage(job, attempts, args.stage)
    if n is None:
        return attempts[-1] if attempts else None
    for attempt in attempts:
        if attempt.n == n:
            return attempt
    there = f"1 to {attempts[-1].n}" if attempts else "none yet"
    raise BadInput(f"{quoted(job.name)} has no attempt {n}; there is {there}")


def _of_stage(job: Job, attempts: Sequence[Attempt], stage: str) -> Attempt:
    """The last attempt of a stage."""
    for attempt in reversed(attempts):
        if (attempt.stage or "agent") == stage:
            return attempt
    raise BadInput(f"{quoted(job.name)} has had no attempt of its stage {stage}")


def path(state: Path, attempt: Attempt, stream: Stream) -> Path:
    """The file of one stream of an attempt."""
    return places.attempt(state, attempt.job, attempt.n) / f"{stream.value}.log"


def _stream(args: Namespace) -> Stream:
    return Stream.STDERR if args.stderr else Stream.STDOUT


def _out(job: Job, attempt: Attempt, args: Namespace) -> Lined | Raw:
    return Lined(job, attempt, _stream(args)) if args.json else Raw()


def _copy(desk: Desk, job: Job, attempt: Attempt, args: Namespace) -> None:
    file, out = path(desk.state, attempt, _stream(args)), _out(job, attempt, args)
    try:
        with file.open("rb") as opened:
            while block := opened.read(BLOCK):
                out.put(block)
    except FileNotFoundError:
        was_there = attempt.exit is not None and not file.parent.exists()
        why = "was removed (tidegate clean, [retention])" if was_there else clean(attempt.detail)
        note(f"attempt {attempt.n} has no output" + (f": {why}" if why else ""))
    out.close()
    if _was_too_much(desk, attempt):
        sys.stdout.flush()
        note(f"attempt {attempt.n} was ended here: {attempt.detail}")


def _was_too_much(desk: Desk, attempt: Attempt) -> bool:
    """Whether an attempt was ended for its output, as the event of its end tells."""
    if attempt.outcome != "failed":
        return False
    after = attempt.epoch
    while events := desk.store.events(job=attempt.job, after=after):
        for event in events:
            if (event.name, event.attempt) == ("attempt ended", attempt.n):
                return event.data.get("cause") == Cause.OUTPUT
        after = events[-1].seq
    return False


# --- following ---


async def _follow(desk: Desk, job: Job, args: Namespace) -> None:
    first = _chosen(desk, job, args)
    n = first.n if first else 1
    while (attempt := await _started(desk, job, n)) is not None:
        if first is None or attempt.n != first.n:
            note(f"--- attempt {attempt.n} of {quoted(job.name)} ---")
        await _follow_one(desk, job, attempt, args)
        if args.attempt is not None or args.stage is not None:
            return
        n = attempt.n + 1


async def _started(desk: Desk, job: Job, n: int) -> Attempt | None:
    """Attempt `n` of a job once there is one; None where the job ended before."""
    from anyio import sleep  # noqa: PLC0415 - as above

    told: list[Wait] = []
    while True:
        now = desk.store.job(job.id) or job  # before the look at its attempts: a final job starts none
        later = [attempt for attempt in desk.store.attempts(job.id) if attempt.n >= n]
        if later or now.state.is_final:
            return later[0] if later else None
        told = _tell(desk, now, told)
        listened()
        await sleep(WAITING)


def _tell(desk: Desk, job: Job, told: list[Wait]) -> list[Wait]:
    """Say on stderr what the job waits for, whenever that changes."""
    desk = desk.at(SystemClock().now())
    seen = desk.picture([job])
    if (reasons := waits(job, seen)) and reasons != told:
        note(f"{quoted(job.name)} waits: {stand(job, seen, desk.page, {})}")
    return reasons


async def _follow_one(desk: Desk, job: Job, attempt: Attempt, args: Namespace) -> None:
    file, out = path(desk.state, attempt, _stream(args)), _out(job, attempt, args)
    await _grow(file, out.put, lambda: _has_ended(desk, attempt))
    out.close()
    sys.stdout.flush()


async def _grow(file: Path, put: Put, has_ended: Callable[[], bool]) -> None:
    """Pass on all that a file holds and gets until its attempt has ended; the file may come late, or never."""
    import aiofiles  # noqa: PLC0415 - as above
    from anyio import sleep  # noqa: PLC0415

    place, last = 0, False
    while not last:
        last = has_ended()  # before the read: what was printed until the end is read after it
        if _size(file) > place:
            async with aiofiles.open(file, "rb") as opened:
                await opened.seek(place)
                while block := await opened.read(BLOCK):
                    put(block)
                    place += len(block)
                sys.stdout.flush()
        if not last:
            listened()
            await sleep(AGAIN)


def _size(file: Path) -> int:
    found = _stat(file)
    return found.st_size if found else 0


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except FileNotFoundError:
        return None


def _has_ended(desk: Desk, attempt: Attempt) -> bool:
    return any(one.n == attempt.n and one.ended_at is not None for one in desk.store.attempts(attempt.job))
