"""Jobs become records again: the canonical form of a batch, line by line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tidegate import hints
from tidegate.batch import workspaces
from tidegate.batch.shapes import Expanded
from tidegate.batch.tables import LONGEST_FIRST
from tidegate.model import Allowance, Budget, NewJob, Stage, Workspace


def as_record(job: NewJob) -> dict[str, Any]:
    """A job as a line of a JSONL batch, with everything said."""
    spec = job.spec
    runs = {"command": list(spec.command)} if spec.command else {"agent": spec.agent, "args": list(spec.args)}
    record = {
        "id": job.name,
        "group": job.group or None,
        **runs,
        "model": job.model,
        "prompt": spec.prompt,
        **(where_as_record(spec.workspace) if spec.workspace else {"cwd": spec.cwd}),
        "env": dict(spec.env),
        "account": job.account,
        "priority": job.priority,
        "timeout": _short(spec.timeout),
        "silence": _short(spec.silence),
        "expect": hints.written(job.expect, job.share),
        "max_output": spec.max_output,
        "memory": spec.memory,
        "pids": spec.pids,
        "cpu_weight": spec.cpu_weight,
        "max_attempts": spec.max_attempts,
        "retries": dict(spec.retries),
        "on_cutoff": spec.on_cutoff,
        "on_failure": spec.on_failure,
        "resume_prompt": spec.resume_prompt,
        "result_files": list(spec.result_files),
        "labels": dict(spec.labels),
        "check": stage_as_record(spec.check),
        "publish": publishing_as_record(spec.publish),
        "feed_failure_back": spec.feed_failure_back or None,
        "max_interruptions": spec.max_interruptions,
        "valid_outcomes": list(spec.valid_outcomes),
    }
    said = {key: value for key, value in record.items() if value not in (None, {}, [])}
    return {**said, "expand": json.loads(spec.expand)} if spec.expand else said


def stage_as_record(stage: Stage | None) -> dict[str, Any] | None:
    """A stage as a line of a JSONL batch has it."""
    if stage is None:
        return None
    said = {
        "command": list(stage.command),
        "account": stage.account,
        "timeout": _short(stage.timeout),
        "attempts": None if stage.once else stage.attempts,
    }
    return {key: one for key, one in said.items() if one is not None}


def publishing_as_record(stage: Stage | None) -> dict[str, Any] | None:
    """The stage that publishes, likewise."""
    said = stage_as_record(stage)
    return None if stage is None or said is None else {**said, "once": stage.once}


def where_as_record(made: Workspace) -> dict[str, Any]:
    """The keys that ask for a directory of a job's own."""
    return {"cwd": workspaces.table(made), "files": workspaces.file_tables(made)}


def _short(seconds: float | None) -> float | None:
    return int(seconds) if seconds is not None and seconds.is_integer() else seconds


def head_as_jsonl(batch: Expanded) -> str:
    """The line before the jobs, in ASCII; none where it says nothing."""
    of_batch = f"batch:{batch.name}"
    tables: dict[str, dict[str, Any]] = {of_batch: {}}
    for scope, text in batch.hours.items():
        tables.setdefault(scope, {})["hours"] = text
    for scope, budget in batch.budgets.items():
        tables.setdefault(scope, {})["budget"] = as_budget(budget)
    for account, stops in batch.stops.items():
        tables.setdefault(account, {})["stop_at"] = {window.value: round(stop * 100) for window, stop in stops.items()}
    if batch.order == LONGEST_FIRST:  # what is known of earlier runs may move them yet
        tables[of_batch]["order"] = batch.order
    head = {"batch": tables.pop(of_batch), "accounts": tables, "groups": _ties(batch)}
    said = {key: table for key, table in head.items() if table}
    return json.dumps(said) + "\n" if said else ""


def _ties(batch: Expanded) -> dict[str, dict[str, Any]]:
    """Each group that waits, with what for, and each that one waits for: its jobs may be elsewhere."""
    needed: dict[str, dict[str, Any]] = {need: {} for one in batch.groups for need in one.needs}
    return {**needed, **{one.name: {"needs": list(one.needs), "when": one.when.value} for one in batch.groups}}


def as_budget(budget: Budget) -> dict[str, Any]:
    """A budget as a table says it."""
    day = _figures(budget.day)
    return {**_figures(budget.whole), **({"day": day} if day else {}), "on_exceed": budget.on_exceed.value}


def _figures(allowance: Allowance) -> dict[str, float]:
    figures = {"usd": _short(allowance.usd), "tokens": allowance.tokens, "wall": _short(allowance.wall)}
    return {key: value for key, value in figures.items() if value is not None}


def as_jsonl(jobs: Sequence[NewJob]) -> str:
    """Jobs as lines of a JSONL batch, in ASCII."""
    return "".join(json.dumps(as_record(job)) + "\n" for job in jobs)
