"""The verb `submit`: one job, handed in from the command line."""

from __future__ import annotations

from argparse import Namespace
from datetime import datetime

from msgspec.structs import replace

from tidegate import allowed, batch, doorbell, when
from tidegate.cli import define
from tidegate.errors import BadInput
from tidegate.look import find, plain
from tidegate.look.desk import Desk, at_work, note
from tidegate.model import Batch, Job, NewJob, Submission


def submit(args: Namespace) -> int:
    """Queue a job and print its number; 0, or what `wait` says of it. Raises BadInput."""
    against = define.around(args)
    new = _named(batch.single(_whole(args), against), args)
    into = _batch(args.batch)
    with at_work(args) as desk:
        new = replace(new, not_before=_start(args, desk), needs=_needs(args, desk))
        with desk.store.group():
            if new.account not in find.accounts(desk.store):
                desk.store.set_accounts([define.account(new, args, against)], desk.page.now)
            told = desk.store.submit(into, [new], desk.page.now, update=args.update, whole=False)
        job = _kept(desk, told)
        doorbell.ring(desk.state)
        print(plain.line(plain.job(job) | {"was": _was(told)}) if args.json else job.id, flush=True)
        _warn(desk, job)
        if not args.wait:
            return 0
        from tidegate.cli.wait import until_ended  # noqa: PLC0415 - only who waits pays for it

        return until_ended(desk, [job.id], [], timeout=None)


def _whole(args: Namespace) -> dict[str, object]:
    """All that a new job says. Raises BadInput where that is not enough, or too much."""
    said = define.table(args)
    if args.id is not None and args.id.strip().isdigit():
        raise BadInput(f"--name: digits alone are the numbers of jobs, {allowed.but(args.id)}")
    if "command" in said and ("agent" in said or args.prompt is not None):
        raise BadInput("say --agent AGENT with a PROMPT, or -- COMMAND, not both")
    if "command" not in said and "agent" not in said:
        raise BadInput("say what to do: -- COMMAND ..., or --agent AGENT with a PROMPT")
    return said


def _named(new: NewJob, args: Namespace) -> NewJob:
    if args.group is None:
        return new
    try:
        return replace(new, group=allowed.name(args.group))
    except allowed.Wrong as wrong:
        raise BadInput(f"--group: {wrong}") from None


def _batch(name: str) -> Batch:
    try:
        said = allowed.name(name)
    except allowed.Wrong as wrong:
        raise BadInput(f"--batch: {wrong}") from None
    if said.startswith("/"):
        raise BadInput(f"--batch: must not begin with /, as the batches of files do, {allowed.but(said)}")
    return Batch(said)


def _start(args: Namespace, desk: Desk) -> datetime | None:
    """When it may start; a length is for --in alone."""
    if args.at is not None and args.delay is not None:
        raise BadInput("say --at or --in, not both")
    flag, said = ("--at", args.at) if args.at is not None else ("--in", args.delay)
    if said is None:
        return None
    try:
        if flag == "--in":
            allowed.seconds()(said)
            said = f"{said}s" if allowed.PLAIN.fullmatch(said) else said
        return when.instant(said, desk.page.now, desk.page.zone)
    except ValueError as error:
        raise BadInput(f"{flag}: {error}") from None


def _needs(args: Namespace, desk: Desk) -> tuple[int, ...]:
    """The jobs that must succeed first. Raises BadInput where one is unknown."""
    return tuple({job.id: None for text in args.after for job in find.jobs(desk.store, text)})


# --- what became of it ---


def _kept(desk: Desk, told: Submission) -> Job:
    """The job as it is now. Raises BadInput where it is there already and is to do something else."""
    job = desk.store.job(told.jobs[0])
    if job is None:
        raise BadInput("it was removed at once by somebody else")
    if told.changed:
        ended = job.state.is_final or job.state == "running"
        how = f"is {job.state}" if ended else "--update gives it the new definition"
        raise BadInput(f"job {find.called(job)} is there with another definition: {how}")
    return job


def _was(told: Submission) -> str:
    return "added" if told.added else "updated" if told.updated else "unchanged"


def _warn(desk: Desk, job: Job) -> None:
    """Say so where nobody here will start it."""
    works = desk.works()
    if job.state.is_final:
        return
    if works.pid is None:
        note("nobody works here: `tidegate serve` starts what is queued")
    elif works.known is not None and works.known.batch not in (None, job.batch):
        note(f"pid {works.pid} works on another batch alone: the job waits for `tidegate serve`")
