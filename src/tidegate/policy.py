"""Every decision about jobs and holds, as pure functions of values.

`after` is the state machine for ends; `claimed`, `released`, `published`, `cancelled`, `retried`, `skipped` and
`left_out` are the other transitions. Nothing outside this room decides a `state`. Randomness comes in as `jitter`, a
number in [0, 1).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Literal, assert_never

from msgspec import Struct
from msgspec.structs import replace

from tidegate import retries, stages
from tidegate.allowed import shown_size
from tidegate.model import (
    AGENT,
    CHECK,
    PUBLISH,
    Cancelled,
    Cause,
    Ending,
    Exit,
    Failed,
    Hold,
    Interrupted,
    Job,
    Kind,
    Limit,
    Limited,
    Lost,
    NewJob,
    Origin,
    Outcome,
    Progress,
    Result,
    Seen,
    SessionGone,
    SessionSeen,
    Shortage,
    Sighting,
    State,
    Succeeded,
    TimedOut,
    Usage,
    Warned,
    Window,
    family,
)

if TYPE_CHECKING:
    from tidegate.hours import Hours

Action = Literal["hold", "backoff", "needs_human", "none"]

NEAR = timedelta(seconds=1)  # two ends closer than this are the same end
PRINTED = timedelta(seconds=120)  # a printed end of the same reset lies at most this far behind the exact one
PATIENCE = 0.1  # of the time that a scope was shut: it is tried ahead of its reset no sooner again
RAMP_END = 64  # a ramp this wide limits nothing any more
AMPLE = 1.25  # times the least room: with so much launching goes on that was shut for too little


class Rules(Struct, frozen=True, kw_only=True):
    """The numbers that decisions use; all durations in seconds.

    `margin_exact` and `margin_printed` are added to a reset before the canary goes: a printed minute is floored, so the
    reset may come up to 59 s later. `spread` is the most that jitter adds. A limit without a reset waits
    `unknown_first`, doubling up to `unknown_most`; a rate limit `rate_first` up to `rate_most`; a failed job
    `retry_first` up to `retry_most`. `recent`: progress younger than this is evidence that an account is open.
    `early`: an account that is shut for long is tried at most so often before its reset, None for never.
    `blank_most` attempts in a row that fail within `blank_seconds` without an answer stop an account.
    """

    margin_exact: float = 3.0
    margin_printed: float = 60.0
    spread: float = 2.0
    unknown_first: float = 300.0
    unknown_most: float = 3600.0
    rate_first: float = 15.0
    rate_most: float = 600.0
    retry_first: float = 5.0
    retry_most: float = 600.0
    max_limited: int = 8
    max_lost: int = 3
    recent: float = 3600.0
    blank_most: int = 3
    blank_seconds: float = 10.0
    early: float | None = 1800.0


# --- from sightings to an outcome --------------------------------------------------------------


def see(seen: Seen, sighting: Sighting) -> Seen:
    """What is known after one more sighting; the same value where it tells nothing new."""
    match sighting:
        case Limit():
            return _see_limit(seen, sighting)
        case SessionSeen(session):
            return seen if seen.session == session else replace(seen, session=session)
        case SessionGone():
            return replace(seen, session_gone=sighting)
        case Progress():
            return seen if seen.progress else replace(seen, progress=True)
        case Usage():
            return replace(seen, usage=sighting)
        case Result():
            return replace(seen, result=sighting)
        case Warned():
            return seen
        case _:
            assert_never(sighting)


def _see_limit(seen: Seen, limit: Limit) -> Seen:
    if limit.sure and limit.final:
        return replace(seen, sure=limit) if improves(seen.sure, limit) else seen
    old = seen.unsure
    ended = old is not None and limit.final and not old.final  # its last word outweighs what it said while it retried
    return replace(seen, unsure=limit) if ended or improves(old, limit) else seen


def improves(old: Limit | None, new: Limit) -> bool:
    """Whether `new` tells more than `old` about the same refusal: another kind or window, an exact or a known reset."""
    if old is None or old.kind != new.kind:
        return True
    if new.resets_at is None:
        return False
    if old.resets_at is None or (new.exact and not old.exact):
        return True
    return new.exact == old.exact and new.resets_at > old.resets_at


def verdict(seen: Seen, exit: Exit, short: Shortage | None = None) -> Outcome:
    """How an attempt ended that tidegate did not end itself; `short` is what the kernel says that it ran out of.

    A proven result outweighs any limit that was seen on the way; a sure limit outweighs the exit status; an unsure one
    counts only if the attempt also failed, as every one does that has not proven its success, and one that the agent
    retried only if it then said nothing of its own. What was killed for memory has not failed for a limit that was only
    spoken of.
    """
    if exit.code is None:
        return Lost("the exit status is unknown: its shim was killed")
    if exit.code == 0 and seen.result is not None and seen.result.ok and seen.result.text.strip():
        return Succeeded(seen.result.text)
    if (said := _said(seen)) is not None:
        return said
    if exit.code == 0 and seen.result is None and not seen.proof:
        return Succeeded()
    if short is not None and short.killed:
        return starved(short.memory)
    if seen.unsure is not None and (seen.unsure.final or seen.result is None or not seen.result.text.strip()):
        return Limited(seen.unsure)
    if exit.code == 0 and (seen.result is None or seen.result.ok):
        return _no_result("exit 0, but no result" if seen.result is None else "the result is empty")
    if _had_no_room(seen):
        return Failed(reason=_why(seen, exit.code), valid=False, own=True, cause=Cause.DISK)
    met = "" if short is None else f" (it met its bound of {short.pids} processes and threads)"
    return Failed(reason=_why(seen, exit.code) + met)


def _said(seen: Seen) -> Outcome | None:
    """The end that the agent itself has told as such, whatever its exit status."""
    if seen.sure is not None:
        return Limited(seen.sure)
    if seen.result is not None and seen.result.ending:
        return stopped(seen.result)
    if seen.session_gone is not None:
        return Interrupted(reason=seen.session_gone.evidence, session_gone=True)
    return None


def heard(seen: Seen, last_words: str, *, resumed: bool = True) -> Seen:
    """What is known at the end, with the line to show as the reason of a plain failure.

    That a session is gone counts only where tidegate `resumed` one: a session that the job's own command line names is
    not there the next time either.
    """
    if last_words == seen.last_words and (resumed or seen.session_gone is None):
        return seen
    return replace(seen, last_words=last_words, session_gone=seen.session_gone if resumed else None)


def judged(verdict: Outcome, asked: Outcome | None, *, proof: bool) -> Outcome:
    """How an attempt ended that tidegate may have ended itself (`asked`).

    A limit and a proven success outweigh what was asked for: they are true whoever ended the process.
    """
    if asked is None or isinstance(verdict, Limited) or (proof and isinstance(verdict, Succeeded)):
        return verdict
    return asked


def stopped(result: Result) -> Failed:
    """The end of an attempt whose model went no further."""
    words = f"{result.ending.value.replace('_', ' ')}: {result.text}" if result.text else result.ending.value
    return Failed(reason=words, ending=result.ending)


def _no_result(reason: str) -> Failed:
    return Failed(reason=reason, valid=False)


def _why(seen: Seen, code: int) -> str:
    words = (seen.result.text if seen.result else "") or seen.last_words
    return f"{ended(code)}: {words}" if words else ended(code)


FULL: Final = ("no space left on device", "disk quota exceeded", "enospc", "edquot")  # as C libraries and Node say it


def _had_no_room(seen: Seen) -> bool:
    """Whether a failed agent's last words are that a disk is full: no verdict of its, and no silent account."""
    said = seen.result.text if seen.result is not None and not seen.result.ok else seen.last_words
    return any(word in said.lower() for word in FULL)


def ended(code: int) -> str:
    """An exit status in words: "exit 1", "killed by SIGKILL (exit 137)"."""
    import signal  # noqa: PLC0415 - makes classes of names as it is imported

    try:
        return f"killed by {signal.Signals(code - 128).name} (exit {code})"
    except ValueError:
        return f"exit {code}"


def action(limit: Limit) -> Action:
    """What a limit asks for: hold until a reset, back off for a moment, or wait for a person."""
    match limit.kind:
        case Kind.USAGE_LIMIT:
            return "hold"
        case Kind.RATE_LIMIT | Kind.OVERLOADED:
            return "backoff"
        case Kind.CREDIT | Kind.AUTH:
            return "needs_human"
        case Kind.NONE:
            return "none"
        case _:
            assert_never(limit.kind)


def is_burst(limit: Limit, now: datetime) -> bool:
    """Whether too many ask at once, so that it is enough if fewer do; a time that a provider names is waited for."""
    return limit.kind is Kind.RATE_LIMIT and (limit.resets_at is None or limit.resets_at <= now)


def waits_inside(limit: Limit) -> bool:
    """Whether the agent sits out a usage limit inside its own process: end the attempt, resume it after the reset."""
    return limit.sure and not limit.final and limit.kind is Kind.USAGE_LIMIT


# --- from an outcome to the job ----------------------------------------------------------------


def claimed(job: Job) -> Job:
    """The job as a claim leaves it."""
    return replace(job, state=State.RUNNING, launches=job.launches + 1, not_before=None)


def begins_anew(job: Job) -> bool:
    """Whether the next attempt of a job is to find a clean directory: it goes on with nothing of the one before.

    A stage behind the agent's works where the agent has worked, and so does an agent that answers to a check's no.
    """
    if job.session is not None or job.stage != AGENT or job.work is not None:
        return False
    if job.resumed:
        return job.spec.on_cutoff != "resume" or job.spec.max_interruptions is not None
    return not job.attempts or job.spec.on_failure != "resume"


def released(job: Job, reason: str) -> Job:
    """A claimed job whose attempt never started: queued again, ahead of fresh work, uncharged."""
    return replace(job, state=State.QUEUED, resumed=True, reason=reason)


def published(job: Job, now: datetime) -> Job:
    """A queued job of which a person knows that its work is published; any other as it is."""
    return _stopped(job, State.SUCCEEDED, "", now) if job.stage == PUBLISH else job


def cancelled(job: Job, by: str, now: datetime) -> Job:
    """A queued job whose end somebody asked for; any other as it is."""
    return _stopped(job, State.CANCELLED, why_cancelled(by), now)


def why_cancelled(by: str) -> str:
    """The reason of a job whose end somebody asked for."""
    return f"cancelled by {by}"


def skipped(job: Job, needed: Job, now: datetime) -> Job:
    """A queued job after one that it needs has ended without success; any other as it is."""
    return _stopped(job, State.SKIPPED, why_skipped(needed.name, needed.state), now)


def why_skipped(needed: str, state: State) -> str:
    """The reason of a job that is skipped because of one that it needs, by the name and the end of that."""
    return f"needs {needed}, which {came_to(state)}"


def left_out(job: Job, reason: str, now: datetime) -> Job:
    """A queued job of a group that can never begin; any other as it is."""
    return _stopped(job, State.SKIPPED, reason, now)


def came_to(state: State) -> str:
    """How a job ended, in words that follow its name."""
    return "ended in an error" if state is State.ERROR else f"{_WAS.get(state, '')}{state}"


_WAS: Final[Mapping[State, str]] = {State.CANCELLED: "was ", State.SKIPPED: "was "}


def _stopped(job: Job, state: State, reason: str, now: datetime) -> Job:
    return replace(_ended(job, state, reason, now), not_before=None) if job.state is State.QUEUED else job


def retried(job: Job, *, clean: bool = False) -> Job:
    """A job that has ended, queued anew with all of its attempts; any other as it is. `clean`: without its session.

    Where the agent's work is done and a stage behind it came to no result, or was cancelled, that stage begins anew;
    otherwise the agent does. `clean`: in any case.
    """
    if not job.state.is_final:
        return job
    undone = job.state in (State.ERROR, State.CANCELLED, State.SKIPPED)
    if job.stage == AGENT and not clean:
        again = job
    elif stages.of(job.spec, job.stage) is not None and undone and not clean:
        again = stages.entered(job, job.stage)
    else:
        again = stages.restarted(job)
    return replace(
        again,
        state=State.QUEUED,
        not_before=None,
        attempts=0,
        charges={},
        lost=0,
        limited_in_a_row=0,
        limited_since=None,
        resumed=False,
        session=None if clean else again.session,
        reason="",
        ended_at=None,
    )


def edited(job: Job, new: NewJob) -> Job:
    """A queued job with another definition; a session is one agent's own."""
    changed = replace(job, spec=new.spec, account=new.account, model=new.model, group=new.group, priority=new.priority)
    if new.spec.agent != job.spec.agent:
        changed = replace(changed, session=None, resumed=False)
        if changed.work is not None:
            changed = replace(changed, work=replace(changed.work, session=None))
    return stages.redefined(changed)


def after(
    job: Job, outcome: Outcome, now: datetime, *, rules: Rules, jitter: float = 0.5, cuts: int = 0, tries: bool = False
) -> Job:
    """The job after an attempt ended so; `job` is running and already knows its session.

    `cuts` is how often its present run was cut off, this time included; it counts where a job allows only so many.
    `tries`: it only went first, to find out whether its account is open: a refusal says nothing of the job.
    """
    match outcome:
        case Succeeded(text):
            return _done(job, text, now)
        case Cancelled(reason):
            return _ended(job, State.CANCELLED, reason, now)
        case _ if stages.is_once(job):
            return _started_once(job, outcome, now)
        case Failed() | TimedOut():
            return _failed(job, outcome, now, rules, jitter)
        case Limited(limit):
            since = job.limited_since or now
            queued = _requeued(job, limit.evidence, cuts)
            if tries:
                return queued
            return replace(queued, limited_in_a_row=job.limited_in_a_row + 1, limited_since=since)
        case Interrupted(reason=reason, session_gone=gone):
            queued = _requeued(job, reason, cuts)
            return replace(queued, session=None) if gone else queued
        case Lost(reason):
            return _lost(job, reason, now, rules, cuts)
        case _:
            assert_never(outcome)


def _done(job: Job, answer: str, now: datetime) -> Job:
    """The job after its stage has succeeded: the next one waits for its turn, or the job is done."""
    following = stages.following(job.spec, job.stage)
    if following is None:
        return _ended(job, State.SUCCEEDED, "", now)
    return replace(stages.entered(job, following, answered=bool(answer)), state=State.QUEUED)


def _started_once(job: Job, outcome: Failed | TimedOut | Limited | Interrupted | Lost, now: datetime) -> Job:
    """The job after what may be started once only: it waits for a person where nobody knows what came of it."""
    match outcome:
        case Interrupted(reason=reason):
            return replace(job, state=State.QUEUED, reason=stages.told(job, reason), resumed=True, session=None)
        case Lost(reason):
            queued = replace(job, state=State.QUEUED, reason=stages.told(job, reason), resumed=True, session=None)
            return replace(queued, lost=job.lost + 1)
        case Limited(limit):
            tried, words = job, limit.evidence
        case Failed() | TimedOut():
            tried = _tried(job, outcome)
            words = timed_out(outcome) if isinstance(outcome, TimedOut) else outcome.reason
        case _:
            assert_never(outcome)
    said = f"{stages.told(job, words)} (the work is done, and is not published a second time by itself)"
    return _ended(tried, State.ERROR, said, now)


def is_in_doubt(job: Job, outcome: Outcome) -> bool:
    """Whether nobody knows what came of a stage that may be started once only; `job` is as it was."""
    return stages.is_once(job) and isinstance(outcome, Interrupted | Lost)


def doubt_hold(job: Job, evidence: str, now: datetime) -> Hold:
    """The hold that keeps back a job which may have published its work already."""
    reason = f"it may be published already: look, then say published {job.id}, or resume job:{job.id} to publish it"
    return Hold(scope=f"job:{job.id}", origin=Origin.HUMAN, since=now, reason=reason, evidence=evidence, by="tidegate")


def _failed(job: Job, outcome: Failed | TimedOut, now: datetime, rules: Rules, jitter: float) -> Job:
    """The job after an attempt failed; a stage behind the agent's that does not come to an end has found nothing."""
    if no := _valid_no(job, outcome):  # asking again would not change it
        return _refused(job, stages.told(job, no), now)
    failed = Failed(reason=timed_out(outcome)) if isinstance(outcome, TimedOut) else outcome
    tried = _tried(job, outcome)
    again = failed.retry and not _is_spent(tried, outcome)
    valid = failed.valid and job.stage == AGENT
    return _charged(tried, failed.reason, now, valid=valid, again=again, rules=rules, jitter=jitter)


def _ended(job: Job, state: State, reason: str, now: datetime) -> Job:
    return replace(
        stages.at_home(job),
        state=state,
        reason=reason,
        ended_at=now,
        resumed=False,
        limited_in_a_row=0,
        limited_since=None,
    )


def _refused(job: Job, reason: str, now: datetime) -> Job:
    """The job after a valid no: its agent answers to it, or it has failed."""
    if stages.is_fed_back(job):
        return replace(stages.fed_back(job), state=State.QUEUED, reason=reason)
    return _ended(replace(job, attempts=job.attempts + 1), State.FAILED, reason, now)


def _valid_no(job: Job, outcome: Failed | TimedOut) -> str:
    """The words of a result that is a no for good: a check's grade, or an end that counts as a result; "" for none."""
    counts = stages.spec_of(job).valid_outcomes
    match outcome:
        case Failed(reason=reason, valid=True) if job.stage == CHECK:
            return reason
        case Failed(reason=reason, ending=ending) if ending in counts:
            return reason
        case TimedOut() if Ending.TIMEOUT in counts:
            return f"timeout: {timed_out(outcome)}"
        case _:
            return ""


def _requeued(job: Job, reason: str, cuts: int) -> Job:
    spec = stages.spec_of(job)
    most = spec.max_interruptions
    goes_on = spec.on_cutoff == "resume" and (most is None or (most > 0 and cuts <= most))
    if most is not None and not goes_on:
        job = replace(job, work=None)  # a clean run is told nothing of an earlier one
    session = job.session if goes_on else None
    return replace(job, state=State.QUEUED, reason=reason, resumed=True, session=session)


def _tried(job: Job, outcome: Failed | TimedOut) -> Job:
    """A job that is charged for an attempt."""
    spec = stages.spec_of(job)
    charges = retries.counted(job.charges, retries.kind_of(outcome, spec)) if spec.retries else job.charges
    return replace(job, attempts=job.attempts + 1, charges=charges)


def _is_spent(tried: Job, outcome: Failed | TimedOut) -> bool:
    """Whether an attempt that failed so was its job's last."""
    spec = stages.spec_of(tried)
    if spec.retries:
        return retries.are_spent(spec, tried.charges, retries.kind_of(outcome, spec))
    return tried.attempts >= spec.max_attempts


def _charged(tried: Job, reason: str, now: datetime, *, valid: bool, again: bool, rules: Rules, jitter: float) -> Job:
    reason = stages.told(tried, reason)
    if not again:
        return _ended(tried, State.FAILED if valid else State.ERROR, reason, now)
    wait = backoff(tried.attempts - 1, first=rules.retry_first, most=rules.retry_most) * jitter
    return replace(
        tried,
        state=State.QUEUED,
        reason=reason,
        resumed=False,
        session=tried.session if stages.spec_of(tried).on_failure == "resume" else None,
        not_before=now + timedelta(seconds=wait),
        limited_in_a_row=0,
        limited_since=None,
    )


def _lost(job: Job, reason: str, now: datetime, rules: Rules, cuts: int) -> Job:
    counted = replace(job, lost=job.lost + 1)
    if counted.lost >= rules.max_lost:
        return _ended(counted, State.ERROR, stages.told(job, f"lost {counted.lost} times: {reason}"), now)
    return _requeued(counted, reason, cuts)


def timed_out(outcome: TimedOut) -> str:
    """A time-out in words."""
    return f"no output for {outcome.after:.0f} s" if outcome.silent else f"no end after {outcome.after:.0f} s"


def flooded(most: int) -> Failed:
    """The end of an attempt that printed more than `most` bytes: a failure without a result, of the job alone."""
    return Failed(reason=f"printed more than {shown_size(most)}", valid=False, own=True, cause=Cause.OUTPUT)


def starved(most: int | None) -> Failed:
    """The end of an attempt that was killed for memory, of which it might have `most` bytes (None: any)."""
    reason = "killed by the kernel for want of memory" if most is None else f"out of memory at {shown_size(most)}"
    return Failed(reason=reason, valid=False, own=True, cause=Cause.MEMORY)


def backoff(times: int, *, first: float, most: float) -> float:
    """Seconds: `first`, doubled `times` times, at most `most`."""
    return min(first * 2.0 ** min(times, 32), most)


def stuck(job: Job, *, others_progressed: bool, rules: Rules) -> bool:
    """Whether a queued job is limited again and again while its neighbours are not: a person must look."""
    return job.state is State.QUEUED and job.limited_in_a_row >= rules.max_limited and others_progressed


def stuck_hold(job: Job, now: datetime) -> Hold:
    """The hold that keeps a stuck job back."""
    return Hold(
        scope=f"job:{job.id}",
        origin=Origin.HUMAN,
        since=now,
        reason=f"limited {job.limited_in_a_row} times in a row while others of {job.account} go on",
        evidence=job.reason,
        by="tidegate",
    )


def is_blank(outcome: Outcome, *, cautious: bool, answered: bool, lasted: float, rules: Rules) -> bool:
    """Whether an attempt failed within seconds without an answer, as at a limit whose words nobody knows yet.

    Only where the provider has limits (`cautious`): any other program may fail as quickly as it likes. What is a job's
    own fault tells nothing of its account.
    """
    return (
        isinstance(outcome, Failed)
        and not outcome.own
        and cautious
        and not answered
        and 0 <= lasted < rules.blank_seconds  # less than nothing: the clock was set back
    )


def brake(account: str, blanks: int, evidence: str, now: datetime, *, rules: Rules) -> Hold | None:
    """The hold that stops an account after too many blank attempts in a row; a person must look at the output."""
    if blanks < rules.blank_most:
        return None
    reason = f"{blanks} attempts in a row failed within seconds without an answer"
    return Hold(scope=account, origin=Origin.HUMAN, since=now, reason=reason, evidence=evidence, by="tidegate")


# --- from a limit to a hold --------------------------------------------------------------------


def scope_of(limit: Limit | Warned, account: str, model: str | None = None) -> str:
    """The scope that a limit binds, or a warning is of, told by a job of `account` and `model`.

    A limit of one model told by a job that left the model to its agent binds the lane of such jobs.
    """
    if limit.model is None:
        return account
    return f"{account}/{family(limit.model if model else None)}"


def hold_for(
    limit: Limit, scope: str, now: datetime, *, rules: Rules, prior: Hold | None = None, jitter: float = 0.5
) -> Hold | None:
    """The hold that a limit asks for; None for no limit. `prior` is the present hold of the same scope and window."""
    match action(limit):
        case "needs_human":
            return _human_hold(limit, scope, now)
        case "hold" | "backoff":
            return _timed_hold(limit, scope, now, rules=rules, prior=prior, jitter=jitter)
        case "none":
            return None
        case never:
            assert_never(never)


def window_of(limit: Limit) -> Window:
    """The window under which a limit's hold is known."""
    return Window.MINUTE if action(limit) == "backoff" else limit.window


def _human_hold(limit: Limit, scope: str, now: datetime) -> Hold:
    reason = "not logged in" if limit.kind is Kind.AUTH else "out of credit"
    return Hold(
        scope=scope,
        origin=Origin.HUMAN,
        window=limit.window,
        since=now,
        reason=reason,
        evidence=limit.evidence,
        by="tidegate",
        resets_at=limit.resets_at,
    )


def _timed_hold(limit: Limit, scope: str, now: datetime, *, rules: Rules, prior: Hold | None, jitter: float) -> Hold:
    ahead = limit.resets_at is not None and limit.resets_at > now
    misses = 0 if prior is None else prior.misses + (prior.ramp and not ahead)
    return Hold(
        scope=scope,
        origin=Origin.LIMIT,
        window=window_of(limit),
        since=now,
        until=_until(limit, now, misses, rules, jitter),
        reason=limit.kind.value,
        evidence=limit.evidence,
        by="tidegate",
        resets_at=limit.resets_at,
        exact=limit.exact,
        misses=misses,
        early_at=_early(limit, now, prior, rules),
    )


def _early(limit: Limit, now: datetime, prior: Hold | None, rules: Rules) -> datetime | None:
    """When one is to go ahead of a reset that is far: after longer and longer waits, where it is shut for days."""
    if rules.early is None or limit.resets_at is None or action(limit) == "backoff":
        return None
    waited = 0.0 if prior is None or not prior_binds(prior, now) else (now - prior.since).total_seconds()
    wait = timedelta(seconds=max(rules.early, waited * PATIENCE))
    return now + wait if now + wait * 1.5 < limit.resets_at else None  # else the reset is near


def _until(limit: Limit, now: datetime, misses: int, rules: Rules, jitter: float) -> datetime:
    margin = rules.margin_exact if limit.exact else rules.margin_printed
    if action(limit) == "backoff":
        wait = backoff(misses, first=rules.rate_first, most=rules.rate_most) * (0.5 + jitter / 2)
        return max(limit.resets_at or now, now + timedelta(seconds=wait))
    if limit.resets_at is None:
        return now + timedelta(seconds=backoff(misses, first=rules.unknown_first, most=rules.unknown_most))
    soonest = now + timedelta(seconds=backoff(misses, first=rules.rate_first, most=rules.unknown_most))
    opening = limit.resets_at + timedelta(seconds=margin + rules.spread * jitter)
    return opening if limit.resets_at > now else max(opening, soonest)  # just past: now, but never in a hot loop


def merged(
    prior: Hold | None, new: Hold, now: datetime, *, attempt_epoch: int | None, opened: tuple[int, datetime] | None
) -> Hold | None:
    """The hold that stands after `new` was said beside `prior` (same scope, origin, window); None: stale, ignore it.

    `attempt_epoch` is that of the attempt whose output told it (None: a person or a door). `opened` is the epoch and
    the instant of the scope's last opening: what a neighbour from before it tells counts only with a reset ahead.
    """
    if new.origin is not Origin.LIMIT:
        return new
    if _is_stale(new, now, attempt_epoch, opened):
        return None
    if prior is None or prior.ramp or not prior_binds(prior, now):
        since = prior.since if prior is not None and is_early(prior, now) else new.since
        return replace(new, canary=prior.canary if prior else None, since=since)
    return _extended(prior, new)


def _is_stale(new: Hold, now: datetime, attempt_epoch: int | None, opened: tuple[int, datetime] | None) -> bool:
    if attempt_epoch is None or opened is None or attempt_epoch > opened[0]:
        return False
    return new.resets_at is None or new.resets_at <= max(now, opened[1])


def is_early(hold: Hold, now: datetime) -> bool:
    """Whether a shut scope is being tried ahead of its reset, and nobody has been answered yet.

    That it was turned ahead of it is remembered, not read off the clock, which may be set back.
    """
    return hold.ramp and hold.early_at is not None and not has_ended(hold, now)


def prior_binds(hold: Hold, now: datetime) -> bool:
    """Whether a hold stands: it ramps, has no end, or its end is ahead."""
    return hold.ramp or hold.until is None or hold.until > now


def _extended(prior: Hold, new: Hold) -> Hold:
    if prior.until is None or new.until is None or new.resets_at is None:
        return prior
    if prior.resets_at is None or (new.exact and not prior.exact):
        return _with_end(prior, new)
    slack = PRINTED if prior.exact and not new.exact else NEAR  # the jitter is no difference
    if new.resets_at <= prior.resets_at + slack:
        return prior
    return _with_end(prior, replace(new, until=max(prior.until, new.until)))  # an end that was a guess may be later


def _with_end(prior: Hold, new: Hold) -> Hold:
    return replace(
        prior, until=new.until, resets_at=new.resets_at, exact=new.exact, evidence=new.evidence, reason=new.reason
    )


# --- the gate: the disk ------------------------------------------------------------------------


def is_scarce(free: float, least: float, *, held: bool) -> bool:
    """Whether so much room is too little to launch anything; what is held for it opens only with some more."""
    return free < least * (AMPLE if held else 1.0)


# --- the gate: how many may start --------------------------------------------------------------


def is_due(hold: Hold, now: datetime) -> bool:
    """Whether a limit is to turn into its ramp, at its end or ahead of that, or any other hold is to be lifted.

    What is tried ahead of its end, and not answered yet, reopens at its end as any other.
    """
    if hold.ramp:
        return hold.early_at is not None and has_ended(hold, now)
    return has_ended(hold, now) or (hold.early_at is not None and hold.early_at <= now)


def has_ended(hold: Hold, now: datetime) -> bool:
    """Whether the end of a hold has come."""
    return hold.until is not None and hold.until <= now


def is_stranded(hold: Hold, now: datetime, rules: Rules) -> bool:
    """Whether a wait that nobody but us has set ends later than it ever could: the clock was set back meanwhile."""
    if hold.ramp or hold.until is None or hold.resets_at is not None or hold.origin not in (Origin.LIMIT, Origin.HOST):
        return False
    most = rules.rate_most if hold.window is Window.MINUTE else rules.unknown_most
    return hold.until > now + timedelta(seconds=most)


def reopening(hold: Hold, now: datetime, epoch: int) -> Hold:
    """The ramp that a limit hold turns into at its end, or when it is tried ahead of that: one canary first.

    One that went ahead and is not answered yet is the canary still.
    """
    if not has_ended(hold, now):
        return replace(hold, ramp=True, allow=1, epoch=epoch)
    return replace(hold, ramp=True, allow=1, since=now, epoch=hold.epoch if hold.ramp else epoch, early_at=None)


def outside(scope: str, hours: Hours, now: datetime) -> Hold | None:
    """The hold that keeps a scope shut outside its hours; None inside of them."""
    opening = hours.opens(now)
    if opening is None:
        return None
    reason = f"outside its hours ({hours.text})"
    return Hold(scope=scope, origin=Origin.HOURS, since=now, until=opening, reason=reason, by="tidegate")


def starting(account: str, now: datetime, epoch: int) -> Hold:
    """The ramp of an account of which nobody knows whether it is open: one goes first."""
    return Hold(
        scope=account,
        origin=Origin.START,
        allow=1,
        since=now,
        ramp=True,
        epoch=epoch,
        reason="no recent evidence that it is open",
        by="tidegate",
    )


def widened(hold: Hold, *, most: int | None) -> Hold | None:
    """A ramp after one more of its attempts made progress; None: it limits nothing any more and goes."""
    allow = hold.allow * 2
    if hold.origin is Origin.START or allow >= RAMP_END or (most is not None and allow > most):
        return None
    return replace(hold, allow=allow, early_at=None)


def places(
    scopes: Sequence[str],
    holds: Mapping[str, Iterable[Hold]],
    running: Mapping[str, Sequence[int]],
    now: datetime,
    *,
    most: int | None,
    account: str,
) -> int:
    """How many more may start in the scopes that bind a lane; large where nothing binds.

    `holds` by scope; `running` gives the epochs of a scope's running attempts; `most` is the account's own limit.
    """
    free = RAMP_END * 1024 if most is None else most - len(running.get(account, ()))
    for scope in scopes:
        for hold in holds.get(scope, ()):
            if prior_binds(hold, now):
                free = min(free, hold.allow - _counted(hold, running.get(scope, ())))
    return max(free, 0)


def _counted(hold: Hold, epochs: Sequence[int]) -> int:
    return sum(epoch > hold.epoch for epoch in epochs) if hold.ramp else len(epochs)
