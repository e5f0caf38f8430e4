"""The batches that `init` and `import` write, run as a user does, through limits and a supervisor that is killed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import scylla_tree as tree
from installed import Tidegate, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
PROGRAM = Path(__file__).parent / "programs" / "rerun_run.py"
LIMITS = "[limits]\nmargin_exact = 0\nmargin_printed = 0.5\njitter = 0\nrate_first = 1\n"


@pytest.fixture
def night(tidegate: Tidegate) -> Tidegate:
    """The program with a home of its own, where the demonstration's accounts are, and no margin behind a reset."""
    (tidegate.place / "c.toml").write_text(LIMITS)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # whose `python3` is one, and no script around it
    tidegate.env |= {"HOME": str(tidegate.place), "TIDEGATE_CONFIG": str(tidegate.place / "c.toml"), "PATH": path}
    return tidegate


def killed_in_the_first_limit(night: Tidegate, batch: str, *more: str) -> dict[str, Any]:
    """Run a batch to its end, through a kill -9 where the gate shuts for the first time; the summary of its report."""
    run = ("run", batch, "--report", "report", *more)
    first = night.start(*run)
    until(lambda: night.state.exists() and night.events("gate shut"))
    first.kill()
    first.wait()
    assert night.start(*run).wait(200) == 0, (night.place / "started.1").read_text()[-2000:]
    told: dict[str, Any] = json.loads((night.place / "report" / "summary.json").read_text())
    return told


@pytest.mark.parametrize(("name", "jobs"), [("overnight", 5), ("compare", 9), ("scylla", 121)])
def test_a_template_gets_through_two_limits_and_a_kill_to_a_whole_report(night: Tidegate, name: str, jobs: int) -> None:
    assert night("init", name).returncode == 0
    told = killed_in_the_first_limit(night, f"{name}.toml")
    assert (told["status"], told["reconciles"], told["jobs"]["succeeded"]) == ("completed", True, jobs)
    assert told["pause_count"] >= 2
    page = (night.place / "report" / "report.md").read_text()
    assert "5h limit of claude" in page


def test_a_damaged_experiment_is_run_again_where_it_was_damaged_and_nowhere_else(night: Tidegate) -> None:
    root = tree.damaged(night.place / "results" / "x")
    before = tree.prints(root)
    env = {"DEMO_ACCOUNT": "account", "DEMO_STEPS": "1", "DEMO_STEP_SECONDS": "0.01"}
    env |= {"DEMO_ALLOWANCE": "6", "DEMO_RESET_AFTER": "2"}
    words = [sys.executable, str(PROGRAM), str(root), "${{ group }}", "${{ subtest }}", "${{ run }}"]
    command = ["env", *(f"{key}={value}" for key, value in env.items()), *words]
    assert night("import", "scylla", "results/x", "-o", "rerun.toml", "--", *command).returncode == 0
    batch = night.place / "rerun.toml"
    batch.write_text(batch.read_text().replace("concurrency = 1", "concurrency = 4"))
    told = killed_in_the_first_limit(night, "rerun.toml")
    assert (told["status"], told["reconciles"], told["jobs"]) == ("completed", True, told["jobs"] | {"succeeded": 15})
    assert told["pause_count"] >= 2
    after = tree.prints(root)
    assert {path for path in after if before.get(path) != after[path]} == {
        path for path in after if path.startswith("T5/") and path not in before
    }
    assert before.items() <= after.items()
    assert "all valid" in night("import", "scylla", "results/x").stderr
