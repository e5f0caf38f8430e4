"""Where ProjectScylla puts things (`scylla/e2e` of 2026-01 to 2026-04 was read).

    checkpoint.json                    which runs have ended, and how; since version 2.0 by number, with a status
    config/experiment.json             tiers_to_run, runs_per_subtest, models
    T5/result.json                     subtest_results: of each subtest its runs, and why it has none (selection_reason)
    T5/03/run_02/run_result.json       a run that was judged: judge_score, judge_passed, judge_reasoning, judges
    T5/03/run_02/agent/result.json     what the agent printed: exit_code, stdout, stderr, token_stats
    T5/03/run_02/judge/result.json     score, passed, grade, reasoning
    T5/03/.failed/run_02_attempt_01/   a run that was moved aside, of the same files

Later versions keep the tiers in `completed/` and `in_progress/`.
"""

from __future__ import annotations

import re

PHASES = ("", "completed", "in_progress")
TIER = re.compile(r"T\d{1,2}", re.ASCII)
RUN = re.compile(r"run_(\d{1,4})", re.ASCII)
ATTEMPT = re.compile(r"run_(\d{1,4})(?:_(?:attempt|failed)_\d{1,4})?", re.ASCII)


def run_name(number: int) -> str:
    """What the directory of a run is called."""
    return f"run_{number:02}"
