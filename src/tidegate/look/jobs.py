"""The verb `list`: one line for each job, with where it stands and why."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from itertools import chain, islice

from tidegate.look import find, plain
from tidegate.look.desk import Desk, opened
from tidegate.look.why import Picture, learn, stand, waits
from tidegate.look.words import Page, clean, columns_of, fit, pad
from tidegate.model import Job, State

CHUNK = 1000  # jobs read at once; the first chunk decides the columns
HEADINGS = ("JOB", "BATCH", "STATE", "ACCOUNT", "ATTEMPTS", "WHY")
NAMES = (0, 1, 3)  # the columns that shrink where the page is narrow
LEAST = 8  # columns of a name, however narrow the page
WHY = 24  # columns that the last one gets at the cost of names

Row = tuple[str, ...]


def listing(args: Namespace) -> int:
    """Print the jobs; 0."""
    with opened(args) as desk:
        if desk is not None:
            seen = desk.picture()
            jobs = _chosen(desk, args, seen)
            for line in _forms(jobs, seen) if args.json else _lines(jobs, seen, desk.page):
                print(line)
    return 0


def _chosen(desk: Desk, args: Namespace, seen: Picture) -> Iterator[Job]:
    batch = None if args.batch is None else find.batch(desk.store, args.batch).id
    account = None if args.account is None else find.account(desk.store, args.account)
    states, last = [State(state) for state in args.state], 0
    while found := desk.store.jobs(batch=batch, states=states, account=account, after=last, most=CHUNK):
        learn(seen, desk.store, found)
        yield from found
        last = found[-1].id


def _forms(jobs: Iterator[Job], seen: Picture) -> Iterator[str]:
    for job in jobs:
        yield plain.line(plain.job(job) | {"waits_for": [plain.wait(one) for one in waits(job, seen)]})


def _lines(jobs: Iterator[Job], seen: Picture, page: Page) -> Iterator[str]:
    running = {job.id: attempt for job, attempt in seen.running}
    rows = (_row(job, stand(job, seen, page, running), page) for job in jobs)
    first = list(islice(rows, CHUNK))
    if not first:
        return
    sizes = _sizes([HEADINGS, *first], page.width)
    for row in chain([HEADINGS], first, rows):
        cells = [pad(fit(cell, size), size) for cell, size in zip(row[:-1], sizes, strict=True)]
        yield fit("  ".join([*cells, row[-1]]).rstrip(), page.width)


def _row(job: Job, why: str, page: Page) -> Row:
    batch = job.batch_name if page.width is None else job.batch_name.rstrip("/").rpartition("/")[2]
    account, charged = clean(job.account), f"{job.attempts}/{job.spec.max_attempts}"
    return (clean(job.name), clean(batch), job.state.value, account, charged, why.removeprefix(f"{account} "))


def _sizes(rows: list[Row], width: int | None) -> list[int]:
    """The columns of each cell but the last; names give way to the reason where the page is narrow."""
    sizes = [max(columns_of(row[place]) for row in rows) for place in range(len(HEADINGS) - 1)]
    while width is not None and sum(sizes) + 2 * len(sizes) + WHY > width:
        widest = max(NAMES, key=lambda place: sizes[place])
        if sizes[widest] <= LEAST:
            break
        sizes[widest] -= 1
    return sizes
