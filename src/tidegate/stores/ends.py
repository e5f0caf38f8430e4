"""What a job's end means for what hangs on it: requests to end it, jobs that need it, groups that need its group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec.structs import replace

from tidegate import policy
from tidegate.model import Ask, Hold, Job, Origin, Request, Stand, State
from tidegate.stores import groups
from tidegate.stores.rows import Rows, Ties, about, told


def cancel(rows: Rows, job: Job, now: datetime, by: str) -> Job:
    """End a queued job; ask for the end of a running one. To be called, as the others, inside a transaction."""
    if job.state is State.RUNNING:
        ask(rows, Ask.CANCEL, now, by=by, target=job.id)
        return job
    return end(rows, job, policy.cancelled(job, by, now), now, by)


def end(rows: Rows, job: Job, ended: Job, now: datetime, by: str) -> Job:
    """Write what somebody has made of a job: where that is no other, nothing."""
    if ended is not job:
        put(rows, job, ended)
        _unstick(rows, job, now, by)
        close(rows, ended, rows.ties(job.id), now)
    return ended


def cancel_all(rows: Rows, jobs: Sequence[int], now: datetime, by: str) -> None:
    """The same for many: costs what their rows cost, and one look at the groups of each of their batches."""
    cancelled = dict(rows.cancel(jobs, by, now))
    end = {"state": State.CANCELLED.value, "reason": policy.why_cancelled(by)}
    rows.same_event(now, "job ended", list(cancelled), end)
    scopes = {f"job:{id}" for id in cancelled}
    for hold in rows.every_hold():
        if hold.origin is Origin.HUMAN and hold.scope in scopes:
            rows.drop_hold(hold)
            rows.event(now, "gate lifted", scope=hold.scope, data={**about(hold), "by": by})
    others = [rows.job(id) for id in sorted(set(jobs) - cancelled.keys())]  # they run, or are in a later stage
    for job in others:
        if job is not None:
            cancel(rows, job, now, by)
    _skip(rows, [(id, cancelled[id], State.CANCELLED) for id in rows.needed(list(cancelled))], now)
    settle(rows, rows.tied_batches(list(cancelled)), now)


def stick(rows: Rows, job: Job, hold: Hold, now: datetime) -> None:
    """Keep a job back until a person has looked at it."""
    seq = rows.event(now, "job stuck", job=job.id, scope=hold.scope, data=told(hold))
    rows.put_hold(replace(hold, epoch=seq))


def _unstick(rows: Rows, job: Job, now: datetime, by: str) -> None:
    """Nobody needs to look at a job any more that somebody has ended."""
    for hold in rows.holds_on(f"job:{job.id}"):
        if hold.origin is Origin.HUMAN:
            rows.drop_hold(hold)
            rows.event(now, "gate lifted", scope=hold.scope, data={**about(hold), "by": by})


def retry(rows: Rows, job: Job, now: datetime, by: str, *, clean: bool) -> Job:
    """Queue a job that has ended anew; where what it needs has ended without success it is skipped again.

    Jobs that were skipped because a group can never begin are queued anew where now it may.
    """
    again = policy.retried(job, clean=clean)
    dead, hopeless = dead_need(rows, job.id), _hopeless(rows, job)
    if again is job or ((dead is not None or hopeless) and job.state is State.SKIPPED):
        return job
    how = {"by": by, **({"clean": True} if clean else {}), **({"stage": again.stage} if again.stage else {})}
    rows.event(now, "job retried", job=job.id, data=how)
    if dead is not None or hopeless:
        again = policy.skipped(again, dead, now) if dead is not None else policy.left_out(again, hopeless, now)
        _tell(rows, again, now, None)
    put(rows, job, again)
    if job.group:
        settle(rows, rows.tied_batches([job.id]), now, by=by)
    return again


def put(rows: Rows, before: Job, after: Job) -> None:
    """Write a job; most never leave the stage in which they are."""
    rows.put_job(after)
    if (before.stage, before.work, before.account) != (after.stage, after.work, after.account):
        rows.move(after)
    if before.charges != after.charges:
        rows.put_charges(after)


def _hopeless(rows: Rows, job: Job) -> str:
    """Why the group of a job can never begin; "" where it can, or waits for none."""
    if not job.group or not rows.tied_batches([job.id]):
        return ""
    return next(
        (one.reason for one in rows.groups(job.batch) if one.name == job.group and one.stand is Stand.HOPELESS), ""
    )


def skip_where_hopeless(rows: Rows, id: int, now: datetime) -> None:
    """A new job is skipped at once where one that it needs has ended without success."""
    job = rows.job(id)
    if job is not None and job.state is State.QUEUED and job.unmet and (dead := dead_need(rows, id)) is not None:
        skipped = policy.skipped(job, dead, now)
        rows.put_job(skipped)
        _tell(rows, skipped, now, None)


def dead_need(rows: Rows, job: int) -> Job | None:
    """The first of the jobs that a job needs which has ended without success."""
    found = (rows.job(id) for id in rows.unmet(job))
    return next((needed for needed in found if needed is not None and needed.state.is_final), None)


def ask(rows: Rows, verb: Ask, now: datetime, *, by: str, target: int | None) -> Request:
    """The pending request for this, made if there is none."""
    pending = rows.pending(verb, target)
    if pending is None:
        pending = rows.add_request(now, verb, by, target)
        rows.event(now, f"{verb} asked", job=target, data={"by": by})
    return pending


def obeyed(rows: Rows, job: Job, ties: Ties, now: datetime) -> Job:
    """A job that was requeued while somebody asked for its end has ended; any other stays as it is."""
    asked = rows.pending(Ask.CANCEL, job.id) if ties.asked else None
    return policy.cancelled(job, asked.by, now) if asked else job


def close(rows: Rows, job: Job, ties: Ties, now: datetime, *, attempt: int | None = None) -> None:
    """Tell that a job has ended, take away the request for that, and settle with what needs it, or its group."""
    _tell(rows, job, now, attempt)
    if ties.asked and (asked := rows.pending(Ask.CANCEL, job.id)) is not None:
        rows.drop_request(asked.id)
    if ties.needed and job.state is State.SUCCEEDED:
        rows.meet(job.id)
    elif ties.needed:
        _skip(rows, [(job.id, job.name, job.state)], now)
    if ties.group and (job.state is not State.SUCCEEDED or not rows.is_unfinished(ties.group)):
        settle(rows, [job.batch], now)


def _skip(rows: Rows, dead: Iterable[tuple[int, str, State]], now: datetime) -> None:
    """Every queued job that needs one that ended without success, and those that need it, and so on."""
    ended, gone = list(dead), list[int]()
    while ended:
        needed, name, state = ended.pop()
        reason = policy.why_skipped(name, state)
        skipped = dict(rows.skip(needed, reason, now))
        rows.same_event(now, "job ended", list(skipped), {"state": State.SKIPPED.value, "reason": reason})
        ended += [(id, skipped[id], State.SKIPPED) for id in rows.needed(list(skipped))]
        gone += skipped
    if gone:
        settle(rows, rows.tied_batches(gone), now)


def settle(rows: Rows, batches: Sequence[int], now: datetime, *, by: str = "") -> None:
    """Let the groups of these batches follow what has changed, and whatever hangs on their jobs; as groups.settle."""
    for batch in batches:
        while (settled := groups.settle(rows, batch, now, by=by)) is not None:
            names = dict(settled.skipped)
            _skip(rows, [(id, names[id], State.SKIPPED) for id in rows.needed(list(names))], now)
            for id in (id for id, unmet in settled.back if unmet):
                skip_where_hopeless(rows, id, now)


def _tell(rows: Rows, job: Job, now: datetime, attempt: int | None) -> None:
    data = {"state": job.state.value, "reason": job.reason}
    rows.event(now, "job ended", job=job.id, attempt=attempt, data=data)
