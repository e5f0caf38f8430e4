"""The JSON forms of what the store knows: instants are ISO 8601 in UTC, durations are seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import asdict

from tidegate import runs, stages
from tidegate.look.why import Wait
from tidegate.model import CHECK, Attempt, Event, Held, Hold, Job, Need, Request, Share, Spec, Stage, Supervisor, Usage

Form = dict[str, Any]


def line(form: Mapping[str, Any]) -> str:
    """One line of JSON, in ASCII whatever the locale."""
    return json.dumps(form, default=str)


def _bare(said: Any) -> Any:  # noqa: ANN401 - whatever JSON can say
    """The same without what looks like a secret, for what people wrote; an agent's words come so from the store."""
    match said:
        case str() if said:
            from tidegate.redact import redacted  # noqa: PLC0415 - most jobs say nothing of the kind

            return redacted(said)
        case list() | tuple():
            return [_bare(one) for one in said]
        case Mapping():
            return {key: _bare(one) for key, one in said.items()}
        case _:
            return said


def iso(instant: datetime | None) -> str | None:
    """An instant as 2026-01-09T18:30:00.000Z."""
    if instant is None:
        return None
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def job(one: Job) -> Form:
    """A job without its definition."""
    return {
        "number": one.id,
        "batch": one.batch_name,
        "job": one.name,
        "state": one.state.value,
        "stage": one.stage or "agent",
        "account": one.account,
        "model": one.model,
        "agent": one.spec.agent,
        "group": one.group,
        "priority": one.priority,
        "expect": expectation(one.expect, one.share),
        "attempts": one.attempts,
        "max_attempts": stages.spec_of(one).max_attempts,
        "launches": one.launches,
        "fed_back": one.work.fed if one.work else 0,
        "lost": one.lost,
        "limited_in_a_row": one.limited_in_a_row,
        "not_before": iso(one.not_before),
        "unmet": one.unmet,
        "session": one.session,
        "reason": one.reason,
        "labels": _bare(one.spec.labels),
        "created_at": iso(one.created_at),
        "ended_at": iso(one.ended_at),
    }


def expectation(seconds: float | None, share: Share | None) -> Form | None:
    """What a person expects of jobs; a share of a window is 0..1."""
    if seconds is None and share is None:
        return None
    return {"seconds": seconds, "share": share and share.mean, "spread": share and share.spread}


def definition(spec: Spec, env: Mapping[str, str]) -> Form:
    """What a job does; `env` is its environment as it may be shown."""
    return {
        "agent": spec.agent,
        "command": _bare(spec.command),
        "args": _bare(spec.args),
        "prompt": _bare(spec.prompt),
        "cwd": None if spec.workspace else spec.cwd,
        "workspace": _bare(msgspec.to_builtins(spec.workspace)),
        "env": dict(env),
        "timeout": spec.timeout,
        "silence": spec.silence,
        "max_output": spec.max_output,
        "memory": spec.memory,
        "pids": spec.pids,
        "cpu_weight": spec.cpu_weight,
        "max_attempts": spec.max_attempts,
        "retries": dict(spec.retries),
        "on_cutoff": spec.on_cutoff,
        "on_failure": spec.on_failure,
        "resume_prompt": _bare(spec.resume_prompt),
        "labels": _bare(spec.labels),
        "check": _stage(spec.check),
        "expand": _bare(json.loads(spec.expand)) if spec.expand else None,
        "publish": _stage(spec.publish),
        "feed_failure_back": spec.feed_failure_back,
        "max_interruptions": spec.max_interruptions,
        "valid_outcomes": list(spec.valid_outcomes),
    }


def interruptions(attempts: Sequence[Attempt]) -> Form:
    """How often a job was ever cut off, and whether its result comes from a run that nothing interrupted."""
    return {"interrupted": runs.cut_off(attempts), "uninterrupted": runs.is_uninterrupted(attempts)}


def _stage(one: Stage | None) -> Form | None:
    return None if one is None else {**asdict(one), "command": _bare(one.command)}


def attempt(one: Attempt) -> Form:
    """An attempt; `seconds` is its length where it has ended."""
    return {
        "attempt": one.n,
        "stage": one.stage or "agent",
        "started_at": iso(one.started_at),
        "ended_at": iso(one.ended_at),
        "seconds": None if one.seconds is None else round(one.seconds, 3),
        "outcome": one.outcome,
        "exit": one.exit,
        "detail": one.detail,
        "score": stages.score_of(one.detail) if one.stage == CHECK else None,
        "session": one.session,
        "canary": one.canary,
        "resumes": one.resumes,
        "progressed": one.progressed,
        "usage": usage(one.usage) if one.usage else None,
        "drawn": round(one.drawn),
        "answers": one.answers,
        "supervisor": one.supervisor,
    }


def usage(one: Usage) -> Form:
    """Tokens and money; null is unknown."""
    return {"input_tokens": one.input_tokens, "output_tokens": one.output_tokens, "cost_usd": one.cost_usd}


def hold(one: Hold) -> Form:
    """A hold."""
    return {
        "scope": one.scope,
        "origin": one.origin.value,
        "window": one.window.value,
        "allow": one.allow,
        "ramp": one.ramp,
        "since": iso(one.since),
        "until": iso(one.until),
        "resets_at": iso(one.resets_at),
        "reason": _bare(one.reason),
        "evidence": one.evidence,
        "by": one.by,
        "halt": one.halt.value,
    }


def wait(one: Wait) -> Form:
    """One reason why a queued job is not running."""
    held = hold(one.hold) if one.hold else None
    said = {"for": one.kind, "until": iso(one.until), "hold": held, "needs": list(one.needs)}
    more = {"window": held_back(one.window)} if one.window else {}
    return said | more | ({"left": one.left, "of": one.all} if one.kind == "group" else {})


def held_back(one: Held) -> Form:
    """What an account holds back, as shares of a window."""
    return {
        "window": one.window.value,
        "left": one.left,
        "needed": one.needed,
        "spread": one.spread,
        "until": iso(one.until),
        "since": iso(one.since),
        "number": one.job,
        "observed": one.observed,
    }


def need(one: Need) -> Form:
    """What a job needs; `met` once that has succeeded, for good."""
    return {"number": one.needs, "job": one.name, "state": one.state.value, "met": one.met}


def event(one: Event, name: str | None) -> Form:
    """An event; `name` is its job's id."""
    return {
        "seq": one.seq,
        "at": iso(one.at),
        "event": one.name,
        "job": name,
        "number": one.job,
        "attempt": one.attempt,
        "scope": one.scope,
        "data": _bare(one.data),
    }


def request(one: Request) -> Form:
    """What is asked of a supervisor and not answered yet; `job` is the number of a job that is to end."""
    return {"request": one.verb.value, "job": one.target, "at": iso(one.at), "by": one.by}


def supervisor(one: Supervisor) -> Form:
    """One incarnation of a supervisor."""
    return {
        "pid": one.pid,
        "host": one.host,
        "uuid": one.uuid,
        "started_at": iso(one.started_at),
        "batch": one.batch,
    }
