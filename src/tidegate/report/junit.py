"""The report as JUnit XML: a suite for each group, a case for each job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from tidegate.look import plain
from tidegate.look.words import shown
from tidegate.model import Attempt, Job, State
from tidegate.night.ends import NEVER_BEGUN
from tidegate.report.told import Told

KINDS = {State.FAILED: "failure", State.ERROR: "error"}


def text(told: Told) -> str:
    """The whole document; a job that has not ended, was cancelled or skipped is a skipped case."""
    groups: dict[str, list[Job]] = {}
    for job in told.jobs:
        groups.setdefault(job.group or told.batch, []).append(job)
    attempts = told.attempts()
    suites = "".join(line for name, jobs in groups.items() for line in _suite(told, name, jobs, attempts))
    head = f'<testsuites name="{_said(told.batch)}" {_numbers(told.jobs)}>'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}\n{suites}</testsuites>\n'


def _suite(told: Told, name: str, jobs: Sequence[Job], attempts: dict[int, list[Attempt]]) -> Iterator[str]:
    times = {job.id: _seconds(attempts[job.id]) for job in jobs}
    began = plain.iso(told.picture.begin)
    whole = f'time="{sum(times.values()):.3f}" timestamp="{began}"'
    yield f'<testsuite name="{_said(name)}" {_numbers(jobs)} {whole}>\n'
    for job in jobs:
        yield f'<testcase name="{_said(job.name)}" classname="{_said(name)}" time="{times[job.id]:.3f}"'
        inside = _inside(job)
        yield f">{inside}</testcase>\n" if inside else "/>\n"
    yield "</testsuite>\n"


def _numbers(jobs: Sequence[Job]) -> str:
    states = [job.state for job in jobs]
    failed, errors, good = (states.count(one) for one in (State.FAILED, State.ERROR, State.SUCCEEDED))
    skipped = len(jobs) - failed - errors - good
    return f'tests="{len(jobs)}" failures="{failed}" errors="{errors}" skipped="{skipped}"'


def _inside(job: Job) -> str:
    if job.state is State.SUCCEEDED:
        return ""
    why = _said(job.reason or job.state.value)
    if job.state in KINDS:
        return f'<{KINDS[job.state]} message="{why}"/>'
    return f'<skipped message="{job.state.value}{f": {_said(job.reason)}" if job.reason else ""}"/>'


def _seconds(attempts: Sequence[Attempt]) -> float:
    """How long a job's attempts ran together, those that have ended."""
    return sum(one.seconds or 0.0 for one in attempts if one.outcome != NEVER_BEGUN)


def _said(text: str) -> str:
    return escape(shown(text))
