"""The verbs that change several jobs at once: `cancel`, `published`, `retry` and `priority`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable

from tidegate import allowed, batch, doorbell
from tidegate.errors import BadInput
from tidegate.look import find, plain
from tidegate.look.desk import Desk, chosen, person
from tidegate.look.words import counted
from tidegate.model import Job, State

CHUNK = 500  # jobs that are changed in one commit; others get their turn between two

Change = Callable[[Desk, Job], tuple[Job, str]]  # the job after it, and what became of it in words


def cancel(args: Namespace) -> int:
    """End jobs, queued or running; 0, or 2 where one is unknown."""
    return _each(args, _cancel)


def published(args: Namespace) -> int:
    """Say of jobs that wait for a person that their work is published; 0, or 2 where one is unknown."""
    return _each(args, _published)


def retry(args: Namespace) -> int:
    """Queue ended jobs again; 0, or 2 where one is unknown."""
    return _each(args, lambda desk, job: _retry(desk, job, again=args.again, clean=args.clean))


def priority(args: Namespace) -> int:
    """Move queued jobs in the queue; 0, or 2 where one is unknown."""
    try:
        number = int(str(batch.JOB["priority"](allowed.Typed(args.priority))))
    except allowed.Wrong as wrong:
        raise BadInput(f"N: {wrong}") from None
    return _each(args, lambda desk, job: _move(desk, job, number))


def _each(args: Namespace, change: Change) -> int:
    """Change every job that is named, and tell what became of each."""
    with chosen(args) as (desk, jobs, code):
        for start in range(0, len(jobs), CHUNK):
            some = jobs[start : start + CHUNK]
            with desk.store.group():
                changed = [_changed(desk, job, change) for job in some]
            doorbell.ring(desk.state)
            for before, (job, words) in zip(some, changed, strict=True):
                form = plain.job(job) | {"was": before.state.value, "outcome": words}
                print(plain.line(form) if args.json else f"{find.called(job)}: {words}")
        return code


def _changed(desk: Desk, job: Job, change: Change) -> tuple[Job, str]:
    try:
        return change(desk, job)
    except BadInput as gone:  # somebody has removed it since it was looked up
        return job, str(gone)


def _cancel(desk: Desk, job: Job) -> tuple[Job, str]:
    now = desk.store.cancel(job.id, desk.page.now, by=person())
    if now.state is State.RUNNING:
        nobody = "" if desk.works().pid is not None else "; nobody works here who could end it"
        return now, f"is running, its end is asked for{nobody}"
    return now, "cancelled" if not job.state.is_final else f"has ended already, {now.state}"


def _published(desk: Desk, job: Job) -> tuple[Job, str]:
    return desk.store.published(job.id, desk.page.now, by=person()), "succeeded"


def _retry(desk: Desk, job: Job, *, again: bool, clean: bool) -> tuple[Job, str]:
    if job.state is State.SUCCEEDED and not again:
        return job, "has succeeded; --again runs it once more"
    now = desk.store.retry(job.id, desk.page.now, by=person(), clean=clean)
    if not job.state.is_final:
        return now, f"is {now.state} already"
    waits = f", after {counted(now.unmet, 'other job')}" if now.unmet else ""
    return now, f"queued again{waits}" if now.state is State.QUEUED else f"is {now.state}"


def _move(desk: Desk, job: Job, number: int) -> tuple[Job, str]:
    desk.store.set_priority(job.id, number, desk.page.now)
    now = desk.store.job(job.id) or job
    if now.state is not State.QUEUED:
        return now, f"is {now.state}, its priority stays {now.priority}"
    return now, f"priority {now.priority}"
