"""Takes up attempts that a store has forgotten, as one that was restored from a backup has."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from tidegate import policy
from tidegate.model import Attempt, Forgotten, Job, State
from tidegate.stores import ends
from tidegate.stores.rows import Rows

OVER = "its end is not in the database, which is older"


def take_up(rows: Rows, job: Job, found: Forgotten, now: datetime) -> None:
    """See the port Store; to be called inside a transaction."""
    if found.adopts and job.state.is_final:
        rows.event(now, "job retried", job=job.id, data={"by": "restore"})
        before, job = job, policy.retried(job)
        ends.put(rows, before, job)
    last = max(found.numbers)
    for n in range(job.launches + 1, last + 1):
        _end_open(rows, job, now)
        job = replace(job, launches=n)
        rows.add_attempt(_claimed(rows, job, found, found.began if n == last else now, now))
    if found.adopts:
        rows.put_job(policy.claimed(replace(job, launches=last - 1)))
    else:
        _end_open(rows, job, now)
        rows.put_job(policy.released(job, OVER) if job.state is State.RUNNING else job)
    if job.spec.publish is not None and job.spec.publish.once and not job.state.is_final:
        ends.stick(rows, job, policy.doubt_hold(job, OVER, now), now)  # one of these may have been that


def _claimed(rows: Rows, job: Job, found: Forgotten, began: datetime, now: datetime) -> Attempt:
    told = {"n": job.launches, "canary": False, "resumes": False, "account": job.account, "found": True}
    seq = rows.event(now, "attempt claimed", job=job.id, attempt=job.launches, data=told)
    return Attempt(
        job=job.id,
        n=job.launches,
        supervisor=found.supervisor.uuid,
        epoch=seq,
        started_at=began,
        stage=job.stage,
    )


def _end_open(rows: Rows, job: Job, now: datetime) -> None:
    """Whatever the job's last attempt came to: a later one has been launched since."""
    last = rows.attempt(job.id, job.launches) if job.launches else None
    if last is None or last.ended_at is not None:
        return
    rows.put_attempt(replace(last, ended_at=now, outcome="interrupted", detail=OVER))
    told = {"outcome": "interrupted", "exit": None, "reason": OVER, "charged": False, "next": job.state.value}
    rows.event(now, "attempt ended", job=job.id, attempt=last.n, data=told)
