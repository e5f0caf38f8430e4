"""The report as rows: results.jsonl has one object for each job, attempts.csv one row for each attempt."""

from __future__ import annotations

import csv
from io import StringIO

from tidegate import stages
from tidegate.look import plain
from tidegate.look.places import Spot, spots
from tidegate.look.words import shown
from tidegate.model import Attempt, Job, Usage
from tidegate.night.ends import NEVER_BEGUN
from tidegate.report.told import Told

COLUMNS = (
    *("batch", "group", "job", "number", "account", "agent", "model", "stage", "attempt", "started_at", "ended_at"),
    "seconds",
    *("outcome", "exit", "canary", "session", "cost_usd", "input_tokens", "output_tokens", "resumes", "interrupted"),
    *("uninterrupted", "detail"),
)
FORMULA = ("=", "+", "-", "@", "\t", "\r", "|", "%")  # how what a spreadsheet would run begins


def jsonl(told: Told) -> str:
    """A line for each job: as `tidegate list --json`, with its attempts and whether it was ever interrupted."""
    attempts = told.attempts()
    return "".join(f"{plain.line(_result(told, job, attempts[job.id]))}\n" for job in told.jobs)


def _result(told: Told, job: Job, attempts: list[Attempt]) -> plain.Form:
    begun = [one for one in attempts if one.outcome != NEVER_BEGUN]
    forms = [plain.attempt(one) for one in begun]
    ran = [form["seconds"] for form in forms]
    known = [one.usage.cost_usd for one in begun if one.usage is not None and one.usage.cost_usd is not None]
    return {
        **plain.job(job),
        **plain.interruptions(attempts),
        "score": next((form["score"] for form in reversed(forms) if form["score"] is not None), None),
        "seconds": round(sum(ran), 3) if ran and None not in ran else None,
        "cost_usd": sum(known) if known and len(known) == len(begun) else None,
        "directories": [directory(spot) for spot in spots(told.state, job, attempts)],
        "tries": forms,
    }


def directory(spot: Spot) -> plain.Form:
    """A directory that was made for a job, and where its commits are."""
    return {"path": spot.path, "here": spot.here, "branch": spot.branch or None, "repository": spot.repository or None}


def csv_text(told: Told) -> str:
    """A row for each attempt; a cell that is empty is unknown, and none is a formula."""
    attempts = told.attempts()
    into = StringIO()
    rows = csv.writer(into, lineterminator="\n")
    rows.writerow(COLUMNS)
    for job in told.jobs:
        cut = plain.interruptions(attempts[job.id])
        rows.writerows(_row(told.batch, job, one, cut) for one in attempts[job.id])
    return into.getvalue()


def _row(batch: str, job: Job, one: Attempt, cut: plain.Form) -> list[str]:
    form, usage = plain.attempt(one), one.usage or Usage()
    then, what = stages.seen_in(job, one.stage), stages.of(job.spec, one.stage) or job.spec
    names = (batch, job.group, job.name, job.id, then.account, what.agent, then.model, form["stage"])
    times = (one.n, form["started_at"], form["ended_at"], form["seconds"], one.outcome, one.exit, one.canary)
    spent = (one.session, usage.cost_usd, usage.input_tokens, usage.output_tokens, one.resumes)
    return [cell(said) for said in (*names, *times, *spent, *cut.values(), one.detail)]


def cell(said: object) -> str:
    """A value as a cell; a text that a spreadsheet would take for a formula begins with an apostrophe."""
    if said is None:
        return ""
    if not isinstance(said, str):
        return str(said).lower() if isinstance(said, bool) else str(said)
    text = shown(said)
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text
