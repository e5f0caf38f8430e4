"""What a job goes through once its agent has succeeded: which stage follows, what it launches, what its end says.

A check says with its exit status what it finds, by the convention of `git bisect run`: 0 is yes, 1 to 124 are no, and
125 that it cannot tell. No grade at all is what a shell could not run (126, 127), what a signal has killed (above 127),
what wants to be asked later (75, EX_TEMPFAIL), and what an agent's CLI failed with: its exit status tells of itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from tidegate.model import AGENT, CHECK, PUBLISH, Failed, Job, Limited, Outcome, Spec, Stage, Succeeded, Work

BEHIND: Final = (CHECK, PUBLISH)  # the agent's, in their order
NO_GRADE: Final = frozenset({75, 125, 126, 127})
LAST_ORDINARY: Final = 127


def of(spec: Spec, stage: str) -> Stage | None:
    """What a job's definition says of a stage behind the agent's."""
    return spec.check if stage == CHECK else spec.publish if stage == PUBLISH else None


def named(spec: Spec) -> Iterator[tuple[str, Stage]]:
    """The stages behind the agent's that a job has, in their order, with their names."""
    for name in BEHIND:
        if (stage := of(spec, name)) is not None:
            yield name, stage


def every(spec: Spec) -> tuple[Stage, ...]:
    """The same without their names."""
    return () if spec.check is spec.publish is None else tuple(stage for _, stage in named(spec))


def following(spec: Spec, stage: str) -> str | None:
    """The stage that begins where this one has succeeded; None: the job is done."""
    behind = BEHIND if stage == AGENT else BEHIND[BEHIND.index(stage) + 1 :]
    return next((name for name in behind if of(spec, name) is not None), None)


def spec_of(job: Job) -> Spec:
    """What the present stage of a job launches.

    A stage is always begun anew: a judge that was cut off is asked again, and resumes no conversation.
    """
    stage = of(job.spec, job.stage)
    if stage is None:
        return job.spec
    return replace(
        job.spec,
        agent=stage.agent,
        command=stage.command,
        args=(),
        prompt=None,
        timeout=stage.timeout,
        max_attempts=stage.attempts,
        retries={},
        on_cutoff="restart",
        on_failure="restart",
        check=None,
        publish=None,
        max_interruptions=None,
        valid_outcomes=(),
    )


def entered(job: Job, stage: str, *, answered: bool = False) -> Job:
    """A job at the beginning of a stage behind the agent's, for the account of that."""
    what = of(job.spec, stage)
    assert what is not None, "a stage that a job has"
    work = job.work if job.stage else None
    if work is None:
        fed = job.work.fed if job.work is not None else 0
        work = Work(
            attempt=job.launches,
            account=job.account,
            model=job.model,
            session=job.session,
            answered=answered,
            fed=fed,
        )
    return replace(_afresh(job), stage=stage, work=work, account=what.account, model=None, session=None, resumed=True)


def at_home(job: Job) -> Job:
    """A job whose account, model and session are its agent's, whatever its stage."""
    if job.work is None or job.stage == AGENT:
        return job
    return replace(job, account=job.work.account, model=job.work.model, session=job.work.session)


def is_fed_back(job: Job) -> bool:
    """Whether its check's no goes to the agent once more."""
    return job.stage == CHECK and job.work is not None and job.work.fed < job.spec.feed_failure_back


def fed_back(job: Job) -> Job:
    """A job whose agent is to answer, in its session, to what its check has just said no about."""
    assert job.work is not None, "a check has something to judge"
    work = replace(job.work, fed=job.work.fed + 1, feedback=job.launches)
    return replace(_afresh(at_home(job)), stage=AGENT, work=work, resumed=True)


def with_feedback(spec: Spec, output: str) -> Spec:
    """What an agent is launched with that is to answer: as another turn where it can go on, else after its prompt.

    An agent that is cut off in that turn is told again: nobody knows whether it has heard.
    """
    told = FEEDBACK.format(output=output or "(nothing)")
    return replace(spec, resume_prompt=told, prompt=f"{spec.prompt}\n\n{told}" if spec.prompt else told)


FEEDBACK: Final = """\
A check of this work has failed. The end of what it printed:

{output}

Mend what it has found, then finish as before."""


def seen_in(job: Job, stage: str) -> Job:
    """A job as it is told of, for the account for which it was in a stage; what it has not is the agent's."""
    home, what = at_home(job), of(job.spec, stage)
    return home if what is None else replace(home, account=what.account, model=None)


def restarted(job: Job) -> Job:
    """A job at the beginning, where nothing has been done yet; a session that a check has judged is over."""
    if job.work is None:
        return job
    return replace(_afresh(at_home(job)), stage=AGENT, work=None, session=None)


def redefined(job: Job) -> Job:
    """A queued job whose definition is a new one: in the stage in which it is, or in none that there is no more."""
    if job.work is None or job.stage == AGENT:
        return job
    if (what := of(job.spec, job.stage)) is None:
        return restarted(job)
    return replace(job, work=replace(job.work, account=job.account, model=job.model), account=what.account, model=None)


def _afresh(job: Job) -> Job:
    return replace(
        job, attempts=0, charges={}, lost=0, limited_in_a_row=0, limited_since=None, not_before=None, reason=""
    )


def is_once(job: Job) -> bool:
    """Whether the present stage of a job is never started a second time by itself."""
    stage = of(job.spec, job.stage)
    return stage is not None and stage.once


def told(job: Job, reason: str) -> str:
    """A reason with the stage whose it is, where that is not the agent's."""
    return f"{job.stage}: {reason}" if job.stage else reason


# --- what a check says -------------------------------------------------------------------------


def graded(outcome: Outcome, code: int | None, grade: str, *, proof: bool) -> Outcome:
    """How a check ended that ended by itself with `code`; `grade` is the line of its own with a score, "" for none.

    `proof`: an agent's CLI was asked, whose success is proven by its answer and whose exit status grades nothing.
    """
    ordinary = code is not None and code <= LAST_ORDINARY and code not in NO_GRADE and not proof
    match outcome:
        case Succeeded(text):
            return Succeeded(grade or text)
        case Failed(valid=True) if not ordinary:
            return replace(outcome, valid=False)
        case Failed(valid=True) if grade:
            return replace(outcome, reason=f"exit {code}: {grade}")
        case Limited(limit) if grade and ordinary and not limit.sure:  # it only speaks of one, in what it judges
            return Failed(reason=f"exit {code}: {grade}")
        case _:
            return outcome


def score_of(text: str) -> float | None:
    """The score in a line of JSON, maybe behind "exit 1: "; None where there is none."""
    begin = text.find("{")
    try:
        said = json.loads(text[begin:]) if begin >= 0 else None
    except (ValueError, RecursionError):
        return None
    score = said.get("score") if isinstance(said, dict) else None
    return float(score) if isinstance(score, int | float) and not isinstance(score, bool) else None
