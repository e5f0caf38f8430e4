"""The verb `edit`: what a queued job is to do from now on."""

from __future__ import annotations

from argparse import Namespace

from msgspec.structs import replace

from tidegate import batch, doorbell
from tidegate.cli import define
from tidegate.errors import BadInput
from tidegate.look import find, plain
from tidegate.look.desk import found, person
from tidegate.model import Job, NewJob, State


def edit(args: Namespace) -> int:
    """Give a queued job a new definition; what is not said stays; 0. Raises BadInput where it is not queued."""
    said, against = define.table(args), define.around(args)
    if not said:
        raise BadInput("say what is to change: a flag, a PROMPT, or -- COMMAND ... (see tidegate edit --help)")
    with found(args) as (desk, job):
        if job.state is not State.QUEUED:
            raise BadInput(f"job {find.called(job)} is {job.state}: only a queued job can be changed")
        if args.prompt is not None and job.spec.command and "agent" not in said:
            raise BadInput(f"job {find.called(job)} is a command: say -- COMMAND ..., or --agent with a PROMPT")
        new = _new(job, batch.single(said, against, over=_record(job, said)))
        with desk.store.group():
            if new.account not in find.accounts(desk.store):
                desk.store.set_accounts([define.account(new, args, against)], desk.page.now)
            now = desk.store.edit(job.id, new, desk.page.now, by=person())
        doorbell.ring(desk.state)
        print(plain.line(plain.job(now)) if args.json else f"{find.called(now)}: changed")
    return 0


def _record(job: Job, said: dict[str, object]) -> dict[str, object]:
    """The job as a record of a batch; an account that only followed from its agent follows the new one."""
    new = NewJob(name=job.name, account=job.account, spec=job.spec, model=job.model, priority=job.priority)
    record = batch.as_record(new)
    del record["id"]
    follows = job.account == job.spec.agent and not {"agent", "command"}.isdisjoint(said)
    return {key: value for key, value in record.items() if not (follows and key == "account")}


def _new(job: Job, new: NewJob) -> NewJob:
    return replace(new, name=job.name, group=job.group)
