"""A results directory of ProjectScylla, made of the files and fields that its own code writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Json = dict[str, Any]

FOUR_PM = "You've hit your limit · resets 4pm (America/Los_Angeles)"
RATE_LIMIT = f"Rate limit from agent: {FOUR_PM}"
POOL = "Error: A process in the process pool was terminated abruptly while the future was running or pending."
TOKENS = ("input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens")
SUBTESTS = {"T0": 3, "T1": 2, "T2": 2, "T3": 3, "T4": 2, "T5": 15}


def tokens(each: int) -> Json:
    return dict.fromkeys(TOKENS, each)


def run_result(number: int, **other: Any) -> Json:
    """run_result.json of a run that was judged."""
    judge = {"judge_score": 0.8, "judge_passed": True, "judge_grade": "B", "judge_reasoning": "It works.", "judges": []}
    return {"run_number": number, "exit_code": 0, "token_stats": tokens(100), "cost_usd": 0.1, **judge, **other}


def agent_result(**other: Any) -> Json:
    """agent/result.json."""
    return {"exit_code": 0, "stdout": "done", "stderr": "", "token_stats": tokens(100), "cost_usd": 0.1, **other}


def refused(stderr: str = RATE_LIMIT) -> Json:
    """agent/result.json of an agent that was refused, as the old runner left it."""
    return agent_result(exit_code=-1, stdout="", stderr=stderr, token_stats=tokens(0), cost_usd=0.0)


def write(path: Path, content: Json) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2))


def whole(run: Path, number: int, **result: Any) -> None:
    """A run that was judged."""
    write(run / "run_result.json", run_result(number, **result))
    write(run / "agent" / "result.json", agent_result())
    write(run / "judge" / "result.json", {"score": 0.8, "passed": True, "grade": "B", "reasoning": "It works."})


def tier_result(tier: str, subtests: Mapping[str, Sequence[Json]], reason: str = "") -> Json:
    results = {
        subtest: {"subtest_id": subtest, "tier_id": tier, "runs": list(runs), "selection_reason": reason}
        for subtest, runs in subtests.items()
    }
    return {"tier_id": tier, "subtest_results": results, "best_subtest": None}


def damaged(root: Path, runs: int = 1) -> Path:
    """T0 to T4 whole; each subtest of T5 went down with the process pool, the 4pm line in `.failed` of the first."""
    config = {"experiment_id": "test-001", "runs_per_subtest": runs, "tiers_to_run": list(SUBTESTS)}
    write(root / "config" / "experiment.json", config)
    done: dict[str, dict[str, dict[str, str]]] = {}
    for tier, many in SUBTESTS.items():
        names = [f"{number:02}" for number in range(1, many + 1)]
        if tier == "T5":
            write(root / tier / "result.json", tier_result(tier, {name: [] for name in names}, POOL))
            write(root / tier / "01" / ".failed" / "run_01_attempt_01" / "agent" / "result.json", refused())
            continue
        for name in names:
            for number in range(1, runs + 1):
                whole(root / tier / name / f"run_{number:02}", number)
        each = {name: [run_result(number) for number in range(1, runs + 1)] for name in names}
        write(root / tier / "result.json", tier_result(tier, each))
        done[tier] = {name: dict.fromkeys(map(str, range(1, runs + 1)), "passed") for name in names}
    paused = {"status": "paused_rate_limit", "rate_limit_until": "2026-01-10T00:00:00+00:00", "pause_count": 1}
    write(root / "checkpoint.json", {"version": "2.0", "experiment_id": "test-001", "completed_runs": done, **paused})
    return root


def prints(root: Path) -> dict[str, str]:
    """A digest of every file below, by its path."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
