"""What the store costs: durable claims and finishes, and the same with ten and with 100,000 queued jobs.

    python tests/benchmarks/store.py [--jobs 2000] [--callers 8] [--queued 100000] [--rounds 3] [--place DIR]
        [--json]

The bare loop is BEGIN IMMEDIATE, one INSERT, COMMIT on a file of the same kind (WAL, synchronous FULL) in the same run:
what the disk gives to one writer without group commit. Costs in µs are medians; "in a group" leaves the disk out.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import apsw
from figures import parser, place, show

from tidegate.model import Attempt, Batch, Hold, Job, NewJob, Origin, Spec, Succeeded, Supervisor
from tidegate.stores.sqlite import SqliteStore
from tidegate.stores.writer import Writer

FEW = 10


def now() -> datetime:
    return datetime.now(UTC)


def jobs(number: int, prefix: str = "j") -> list[NewJob]:
    return [
        NewJob(name=f"{prefix}{n}", account="command", spec=Spec(command=("/bin/true",), cwd="/tmp"))
        for n in range(number)
    ]


@contextmanager
def store(queued: int) -> Iterator[SqliteStore]:
    with tempfile.TemporaryDirectory() as place:
        made = SqliteStore(Path(place) / "tidegate.db")
        made.enter(Supervisor(uuid="me", host="here", pid=1, boot_id="boot", started_at=now()))
        made.submit(Batch("queued"), jobs(queued), now())
        yield made
        made.close()


# --- against the disk ---


def bare(commits: int) -> float:
    """Commits per second of a bare loop."""
    with tempfile.TemporaryDirectory() as place:
        db = apsw.Connection(f"{place}/bare.db")
        db.pragma("journal_mode", "wal")
        db.pragma("synchronous", "full")
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT, what TEXT) STRICT")
        started = time.perf_counter()
        for number in range(commits):
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO t (at, what) VALUES (?, ?)", (now().isoformat(), f"job {number}"))
            db.execute("COMMIT")
        took = time.perf_counter() - started
        db.close()
    return commits / took


def written(number: int, callers: int) -> float:
    """Jobs per second that are claimed and finished through the Writer, each in two commits that it shares."""

    async def one(ask: Writer, made: SqliteStore) -> None:
        while claims := await ask(made.claim, "me", now()):
            await ask(made.finish, claims[0][1], Succeeded(), now(), exit=0)

    async def all_of_them(made: SqliteStore) -> float:
        async with Writer(made) as ask:
            started = time.perf_counter()
            await asyncio.gather(*(one(ask, made) for _ in range(callers)))
            return number / (time.perf_counter() - started)

    with store(number) as made:
        return asyncio.run(all_of_them(made))


# --- against the number of queued jobs ---


def calls(made: SqliteStore) -> dict[str, Callable[[], object]]:
    """What is measured, in the order in which it leaves the store as it was."""
    taken: list[tuple[Job, Attempt]] = []
    names = iter(range(10**9))

    def pause() -> object:
        hold = Hold(scope="command", origin=Origin.OPERATOR, since=now(), by=str(next(names)))
        return made.hold(hold, now())

    return {
        "claim": lambda: taken.extend(made.claim("me", now())),
        "finish": lambda: made.finish(taken.pop()[1], Succeeded(), now(), exit=0),
        "submit": lambda: made.submit(Batch("queued"), jobs(1, f"r{next(names)}-"), now(), whole=False),
        "hold": pause,
        "claim, all held": lambda: made.claim("me", now()),
        "counts": made.counts,
    }


def spent(call: Callable[[], object]) -> float:
    """What one call takes, in µs."""
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e6


def side_by_side(few: SqliteStore, many: SqliteStore, times: int) -> tuple[dict[str, float], dict[str, float]]:
    """The median cost of each call with few queued jobs, and its ratio with many; the two take turns."""
    costs, ratios = {}, {}
    mine, theirs = calls(few), calls(many)
    for name in mine:
        pairs = [(spent(mine[name]), spent(theirs[name])) for _ in range(times)]
        costs[name] = statistics.median(small for small, _ in pairs)
        ratios[name] = statistics.median(large for _, large in pairs) / costs[name]
    for made in (few, many):
        made.lift(None, now(), by="benchmark")
    return costs, ratios


def compared(queued: int, times: int) -> dict[str, float]:
    """Costs and ratios, first within one group (no disk), then committed one by one."""
    figures: dict[str, float] = {}
    with store(times + FEW) as few, store(queued) as many:
        with few.group(), many.group():
            costs, in_group = side_by_side(few, many, times)
        _, committed = side_by_side(few, many, times)
    figures |= {f"{name}, µs in a group": round(cost) for name, cost in costs.items()}
    figures |= {f"{name}, {queued} / {FEW} queued, in a group": round(ratio, 2) for name, ratio in in_group.items()}
    figures |= {f"{name}, {queued} / {FEW} queued, committed": round(ratio, 2) for name, ratio in committed.items()}
    return figures


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--jobs", type=int, default=2000)
    arguments.add_argument("--callers", type=int, default=8)
    arguments.add_argument("--queued", type=int, default=100_000)
    arguments.add_argument("--times", type=int, default=200)
    arguments.add_argument("--rounds", type=int, default=3)
    args = arguments.parse_args()
    with place(args.place) as here:
        tempfile.tempdir = str(here.folder)
        show(figures(args), as_json=args.json)


def figures(args: argparse.Namespace) -> dict[str, object]:
    rounds = [(bare(args.jobs), written(args.jobs, args.callers)) for _ in range(args.rounds)]
    found: dict[str, object] = {
        "bare commits/s": [round(commits) for commits, _ in rounds],
        "claim+finish/s": [round(pairs) for _, pairs in rounds],
        "ratio (median)": round(statistics.median(pairs / commits for commits, pairs in rounds), 3),
    }
    started = time.perf_counter()
    with store(args.queued):
        found[f"submit of {args.queued}, s"] = round(time.perf_counter() - started, 2)
    found |= compared(args.queued, args.times)
    return found


if __name__ == "__main__":
    main()
