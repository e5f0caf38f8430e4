"""What a command line asks of a part of a batch: these jobs alone, those that ended badly again, or all anew."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import structlog
from msgspec import Struct
from msgspec.structs import replace

from tidegate import allowed, selection
from tidegate.batch import Expanded
from tidegate.errors import BadInput
from tidegate.look.desk import person
from tidegate.look.words import counted
from tidegate.model import Job, NewJob, State
from tidegate.stores import Store

RETRIED = ("failed", "error", "cancelled", "skipped")  # ends that --retry may name
PAGE = 1000

log = structlog.get_logger()


class Again(Struct, frozen=True, kw_only=True):
    """Ends whose jobs are retried, names of jobs that are run anew (by `anew`), and by what (`only`) a part was picked.

    In the groups `printed` a job of the file prints further ones, which it does not name.
    """

    retry: Collection[State] = ()
    rerun: frozenset[str] = frozenset()
    anew: Sequence[str] = ()
    only: Sequence[str] = ()
    printed: Collection[str] = ()


NOTHING = Again()


def selected(batch: Expanded, patterns: Sequence[str], flag: str = "--only") -> Expanded:
    """The batch with the jobs of these groups, or whose names these patterns fit. Raises BadInput for one of none."""
    if not patterns:
        return batch
    names = {name for pattern in patterns for name in _named(batch, pattern, flag)}
    return replace(batch, jobs=tuple(job for job in batch.jobs if job.name in names))


def _named(batch: Expanded, pattern: str, flag: str) -> list[str]:
    found = [job.name for job in batch.jobs if fits(job, pattern)]
    if not found and not any(pattern.startswith(f"{group}/") for group in printing(batch)):
        groups = list(dict.fromkeys(job.group for job in batch.jobs if job.group))
        there = f"; groups are {', '.join(groups[:5])}{' and more' if groups[5:] else ''}" if groups else ""
        raise BadInput(
            f"{flag}: no group and no job is {allowed.shown(pattern)}{allowed.meant(pattern, groups) or there}"
        )
    return found


def fits(job: Job | NewJob, *patterns: str) -> bool:
    """Whether one of these patterns picks a job; none at all pick every job."""
    return selection.fits(job.name, job.group, patterns)


def printing(batch: Expanded) -> set[str]:
    """The groups to which a job adds others."""
    return {job.group for job in batch.jobs if job.spec.expand}


def asked(batch: Expanded, args: Namespace) -> tuple[Expanded, Again]:
    """The part of a batch that a command line is about, and what of it is to run again. Raises BadInput."""
    part = selected(batch, args.only)
    anew = selected(part, args.rerun, "--rerun").jobs if args.rerun else ()
    again = Again(
        retry=_ends(args.retry),
        rerun=frozenset(job.name for job in anew),
        anew=args.rerun or (),
        only=args.only or (),
        printed=printing(batch),
    )
    return part, again


def _ends(said: Sequence[str]) -> set[State]:
    ends = [one.strip() for text in said for one in text.split(",")]
    for one in ends:
        if one not in RETRIED:
            raise BadInput(f"--retry: must be {' or '.join(RETRIED)}, {allowed.but(one)}{allowed.meant(one, RETRIED)}")
    return {State(one) for one in ends}


def queue(store: Store, batch: Expanded, again: Again, now: datetime) -> None:
    """Queue the jobs of a batch anew that are to run again, and tell how many."""
    if again.only:
        log.info("jobs selected", jobs=len(batch.jobs), only=", ".join(again.only))
    if not again.retry and not again.anew:
        return
    known = stored(store, batch.name)
    mine = [known[job.name] for job in batch.jobs if job.name in known] + _printed(batch, again, known)
    anew = [job for job in mine if job.name in again.rerun or any(fits(job, pattern) for pattern in again.anew)]
    retried = [job for job in mine if job not in anew and job.state in again.retry]
    for jobs, clean in ((retried, False), (anew, True)):
        for start in range(0, len(jobs), PAGE):
            with store.group():
                for job in jobs[start : start + PAGE]:
                    store.retry(job.id, now, by=person(), clean=clean)
    runs = sum(job.state is State.RUNNING for job in anew)
    if again.retry:
        ends = ", ".join(sorted(again.retry))
        log.info("jobs retried", jobs=len(retried), ended=ends)
    if again.anew:
        log.info(
            "jobs run anew",
            jobs=sum(job.state.is_final for job in anew),
            of=len(again.rerun | {job.name for job in anew}),
        )
    if runs:
        log.warning("not run anew", jobs=runs, reason="running now: " + counted(runs, "job goes", "jobs go") + " on")


def _printed(batch: Expanded, again: Again, known: Mapping[str, Job]) -> list[Job]:
    """The jobs of the part that a job of the file has printed."""
    written = {job.name for job in batch.jobs}
    found = [job for job in known.values() if job.group in again.printed and job.name not in written]
    return [job for job in found if fits(job, *again.only)]


def stored(store: Store, name: str) -> dict[str, Job]:
    """The jobs that a batch has in a store, by name."""
    batch = next((one for one in store.batches() if one.name == name), None)
    found: dict[str, Job] = {}
    after = 0
    while batch is not None and (some := store.jobs(batch=batch.id, after=after, most=PAGE)):
        found |= {job.name: job for job in some}
        after = some[-1].id
    return found


def is_same(store: Store, job: Job, new: NewJob) -> bool:
    """Whether a job stands in the store as the file defines it; that a person has moved it up or down is no change."""
    if (job.account, job.model, job.group, job.spec) != (new.account, new.model, new.group, new.spec):
        return False
    return job.priority == new.priority or any("priority" in event.data for event in store.events(job=job.id))
