"""The report as one JSON object: how a batch stands, for scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from tidegate import __version__, codes
from tidegate.look import budgets, foretold, plain
from tidegate.model import Batch, Hold, Origin, State
from tidegate.night.cost import Known
from tidegate.night.hindsight import Hindsight
from tidegate.night.status import Standing
from tidegate.report import words
from tidegate.report.told import Told


def text(told: Told) -> str:
    """The object, on several lines."""
    return as_text(form(told))


def as_text(said: plain.Form) -> str:
    """An object on several lines."""
    return json.dumps(said, indent=2, default=str) + "\n"


def form(told: Told) -> plain.Form:
    """The whole summary; every key of `standing`, and what the whole night adds up to."""
    picture = told.picture
    limits = [one for one in picture.closings if one.origin is Origin.LIMIT]
    ends, cost = picture.ends, picture.cost
    return {
        **standing(picture.facts.batch, picture.facts.now, picture.counts, picture.standing, len(limits)),
        "began_at": plain.iso(picture.begin),
        "ended_at": plain.iso(picture.end) if _is_over(picture.counts) else None,
        "seconds": round((picture.end - picture.begin).total_seconds(), 3),
        "attempts": {
            "begun": ends.begun,
            "returned": ends.returned,
            "resumed": ends.resumed,
            "running": ends.running,
            "outcomes": dict(ends.outcomes),
        },
        "delayed_by_limits": len({job for one in limits for job in one.delayed}),
        "reconciles": not picture.doubts,
        "doubts": list(picture.doubts),
        "spent": {words.cause(cause): round(seconds, 3) for cause, seconds in picture.spent.items()},
        "cost": {
            "usd": _known(cost.usd),
            "input_tokens": _known(cost.input_tokens),
            "output_tokens": _known(cost.output_tokens),
        },
        "foretold": _foretold(picture.hindsight),
        "budgets": budgets.forms(picture.facts.balances),
        "versions": {name: list(some) or None for name, some in told.versions.items()},
        "state_dir": str(told.state),
    }


def standing(batch: Batch, now: datetime, counts: Mapping[State, int], stands: Standing, pauses: int) -> plain.Form:
    """How a batch stands now; `code` is the exit code of a run that ends so, null where it has not ended."""
    jobs = {state.value: counts.get(state, 0) for state in State}
    return {
        "batch": batch.name,
        "number": batch.id,
        "tidegate": __version__,
        "at": plain.iso(now),
        "status": stands.status,
        "rate_limit_until": plain.iso(stands.limit.until) if stands.limit else None,
        "rate_limit_info": _limit(stands.limit) if stands.limit else None,
        "pause_count": pauses,
        "code": codes.ended(counts) if _is_over(counts) else None,
        "jobs": {"total": sum(jobs.values()), **jobs},
    }


def _foretold(found: Hindsight | None) -> plain.Form | None:
    """What was foretold on the way; how good that was is null until the batch is over."""
    if found is None:
        return None
    return {
        "forecasts": [foretold.form(one) for one in found.forecasts],
        "mean_error_seconds": None if found.error is None else round(found.error, 3),
        "ended_by_p50": found.by_p50,
        "ended_by_p90": found.by_p90,
    }


def _is_over(counts: Mapping[State, int]) -> bool:
    return not counts.get(State.QUEUED) and not counts.get(State.RUNNING)


def _limit(hold: Hold) -> plain.Form:
    said = plain.hold(hold)
    return {key: said[key] for key in ("scope", "window", "reason", "evidence", "since", "until", "resets_at")}


def _known(one: Known) -> plain.Form:
    """A sum; null is unknown."""
    return {"known": one.total, "attempts": one.told, "unknown_of": one.silent}
