"""What a job that adds more jobs to its group is told of those before it, and the jobs that it has printed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tidegate import batch, files, places
from tidegate.agents import Known
from tidegate.batch import Declared, Expanded
from tidegate.errors import BadInput
from tidegate.model import Attempt, Job
from tidegate.stores import Store
from tidegate.stores.writer import Writer

PAGE = 200
Form = dict[str, Any]
LARGEST = 64 * 1024 * 1024  # bytes of what it prints


def variables(state: Path, job: Job) -> dict[str, str]:
    """What its environment tells besides that of any job."""
    return {"TIDEGATE_STATE_DIR": str(state), "TIDEGATE_GROUP": job.group}


async def told(ask: Writer, store: Store, state: Path, job: Job) -> bytes:
    """What it reads on stdin: one JSON object with the jobs of the groups that its own needs."""
    needed = await ask(_needed, store, job)
    jobs: list[Form] = []
    after: int | None = 0 if needed else None
    while after is not None:  # page by page: the loop waits for none for long
        some, after = await ask(_page, store, state, job.batch, needed, after)
        jobs += some
    said = {"batch": job.batch_name, "group": job.group, "needs": list(needed), "jobs": jobs}
    return (json.dumps(said) + "\n").encode()


def _needed(store: Store, job: Job) -> tuple[str, ...]:
    return next((group.needs for group in store.groups(job.batch) if group.name == job.group), ())


def _page(
    store: Store, state: Path, batch_id: int, needed: tuple[str, ...], after: int
) -> tuple[list[Form], int | None]:
    """Some of the jobs, and where the next begin; None where these were the last."""
    some = store.jobs(batch=batch_id, after=after, most=PAGE)
    forms = [_form(job, store.attempts(job.id), state) for job in some if job.group in needed]
    return forms, some[-1].id if len(some) == PAGE else None


def _form(job: Job, attempts: list[Attempt], state: Path) -> Form:
    last = attempts[-1] if attempts else None
    return {
        "id": job.name,
        "group": job.group,
        "state": job.state.value,
        "reason": job.reason,
        "labels": dict(job.spec.labels),
        "result": last.detail if last is not None and last.outcome == "succeeded" else "",
        "attempts": job.attempts,
        "cwd": job.spec.cwd,
        "directory": str(places.attempt(state, job.id, last.n)) if last is not None else None,
    }


def printed(job: Job, directory: Path, known: Known, accounts: Mapping[str, Declared]) -> Expanded | None:
    """The jobs that its output names; None where it names none. Raises BadInput with the line."""
    around = batch.Around(
        place="its output",
        directory=Path(job.spec.cwd),
        home=places.home(os.environ),
        name=job.batch_name,
        agents=known.names,
        recognise=known.recognise,
        has_limits=known.has_limits,
        read_text=files.prompt,
        accounts=accounts,
    )
    defaults = batch.expansion({"cwd": job.spec.cwd, **json.loads(job.spec.expand)})
    return batch.follow_ups(_text(directory), job.group, {**defaults, "env": dict(job.spec.env)}, around)


def _text(directory: Path) -> str:
    with (directory / "stdout.log").open("rb") as file:
        raw = file.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise BadInput(f"its output: must be at most {LARGEST:,} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadInput(f"its output: line {line}: not UTF-8 text") from None
