"""The verb `list`: one line for each job, with where it stands and why."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING

from msgspec import Struct

from tidegate import stages
from tidegate.look import find, plain
from tidegate.look.desk import Desk, note, opened, refuse_named
from tidegate.look.why import Picture, learn, stand, waits
from tidegate.look.words import Page, cells, clean, fit, sizes
from tidegate.model import Job, State

if TYPE_CHECKING:
    from tidegate.stores import Store

CHUNK = 1000  # jobs read at once; the first chunk decides the columns
SHOWN = 100  # jobs that are listed unless all are asked for
ENDED = [state for state in State if state.is_final]
PARTS = (([State.RUNNING], False), ([State.QUEUED], False), (ENDED, True))  # of a list: the newest ended come first
HEADINGS = ("NO", "JOB", "BATCH", "STATE", "ACCOUNT", "ATTEMPTS", "WHY")
NAMES = (1, 2, 4)  # the columns that shrink where the page is narrow

Row = tuple[str, ...]


def listing(args: Namespace) -> int:
    """Print the jobs; 0, or 2 where one that is named is none."""
    with opened(args) as desk:
        if desk is None:
            refuse_named(args, job=args.jobs[:1], batch=[args.batch], account=[args.account])
            return 0
        most = args.limit or (None if args.json or args.all else SHOWN)
        asked, wrong = _asked(desk, args, most)
        for line in wrong:
            note(line)
        seen = desk.picture()
        jobs = _known(_chosen(asked, most), seen, desk.store)
        for line in _forms(jobs, seen, desk.store) if args.json else _lines(jobs, seen, desk.page):
            print(line)
        if not args.json and most is not None and (more := _more(asked, most)):
            note(f"{more} not shown; --all shows every one")
    return 2 if wrong else 0


# --- which jobs ---


class Asked(Struct, frozen=True, kw_only=True):
    """Which jobs are asked for; `named` are those that were named, None where none was. `chunk` are read at once."""

    store: Store
    batch: int | None
    account: str | None
    label: tuple[str, str | None] | None
    states: Sequence[State]
    named: Sequence[Job] | None
    chunk: int

    def ordered(self) -> Iterator[Job]:
        """What runs, then what is queued, then what has ended, the newest first."""
        for states, newest_first in PARTS:
            yield from self.among([state for state in states if state in self.states], newest_first=newest_first)

    def among(self, states: Sequence[State], *, newest_first: bool = False) -> Iterator[Job]:
        """Those in some states, by number."""
        if self.named is not None:
            named = sorted(self.named, key=lambda job: job.id, reverse=newest_first)
            yield from (job for job in named if job.state in states and self._fits(job))
        elif states:
            yield from (job for job in self._read(states, newest_first=newest_first) if self._fits(job))

    def _read(self, states: Sequence[State], *, newest_first: bool) -> Iterator[Job]:
        last = 0
        while found := self.store.jobs(
            batch=self.batch,
            states=() if len(states) == len(State) else states,
            account=self.account,
            label=self._exact(),
            after=last,
            most=self.chunk,
            newest_first=newest_first,
        ):
            yield from found
            last = found[-1].id

    def _exact(self) -> tuple[str, str] | None:
        """The label with its value, as the store can be asked for it."""
        return None if self.label is None or self.label[1] is None else (self.label[0], self.label[1])

    def _fits(self, job: Job) -> bool:
        if self.label is not None:
            name, value = self.label
            if name not in job.spec.labels or value not in (None, job.spec.labels[name]):
                return False
        return self.named is None or (self.batch in (None, job.batch) and self.account in (None, job.account))

    def number(self) -> int | None:
        """How many there are, None where that would have to be counted one by one."""
        if self.named is not None or self.account is not None or self.label is not None:
            return None
        counts = self.store.counts(self.batch)
        return sum(counts.get(state, 0) for state in self.states)


def _asked(desk: Desk, args: Namespace, most: int | None) -> tuple[Asked, list[str]]:
    """What the command line asks for, and what is wrong with what it names."""
    store = desk.store
    named, wrong = find.several(store, args.jobs) if args.jobs else (None, [])
    label, equals, value = (args.label or "").partition("=")
    asked = Asked(
        store=store,
        batch=None if args.batch is None else find.batch(store, args.batch).id,
        account=None if args.account is None else find.account(store, args.account),
        label=(label, value if equals else None) if args.label is not None else None,
        states=[state for state in State if not args.state or state.value in args.state],
        named=named,
        chunk=min(most + 1 if most is not None else CHUNK, CHUNK),
    )
    return asked, wrong


def _chosen(asked: Asked, most: int | None) -> Iterator[Job]:
    """Every job in the order of the numbers, or the most that matter."""
    return asked.among(asked.states) if most is None else islice(asked.ordered(), most)


def _known(jobs: Iterator[Job], seen: Picture, store: Store) -> Iterator[Job]:
    """The same jobs, with what they wait for found out chunk by chunk."""
    while some := list(islice(jobs, CHUNK)):
        learn(seen, store, some)
        yield from some


def _more(asked: Asked, most: int) -> str:
    """How many jobs are not among the most that matter, in words; "" for none."""
    number = asked.number()
    if number is None:
        return "more" if next(islice(asked.ordered(), most, None), None) is not None else ""
    return f"{number - most:,} more" if number > most else ""


# --- how they are told ---


def _forms(jobs: Iterator[Job], seen: Picture, store: Store) -> Iterator[str]:
    for job in jobs:
        simple = not job.launches or (job.launches == 1 and job.state in (State.SUCCEEDED, State.FAILED))
        cut = plain.interruptions(() if simple else store.attempts(job.id))
        yield plain.line(plain.job(job) | cut | {"waits_for": [plain.wait(one) for one in waits(job, seen)]})


def _lines(jobs: Iterator[Job], seen: Picture, page: Page) -> Iterator[str]:
    running = {job.id: attempt for job, attempt in seen.running}
    rows = (_row(job, stand(job, seen, page, running), page) for job in jobs)
    first = list(islice(rows, CHUNK))
    if not first:
        return
    columns = sizes([HEADINGS, *first], page.width, NAMES)
    for row in chain([HEADINGS], first, rows):
        yield fit(cells(row, columns, page.width), page.width)


def _row(job: Job, why: str, page: Page) -> Row:
    batch = job.batch_name if page.width is None else job.batch_name.rstrip("/").rpartition("/")[2]
    account, charged = clean(job.account), f"{job.attempts}/{stages.spec_of(job).max_attempts}"
    return (
        str(job.id),
        clean(job.name),
        clean(batch),
        job.state.value,
        account,
        charged,
        why.removeprefix(f"{account} "),
    )
