"""Budgets, as somebody who runs a batch meets them."""

from __future__ import annotations

import json
import os

import pytest
from installed import Tidegate, until

CLAUDE = """#!/bin/sh
cat > /dev/null
sleep "$NAP"
echo '{"type":"result","is_error":false,"result":"done","session_id":"s","total_cost_usd":1.5,"usage":{}}'
"""
BATCH = """
[batch]
name = "b"
budget = { usd = %s, on_exceed = "%s" }
[accounts.claude]
preflight = "off"
[defaults]
agent = "claude"
prompt = "do it"
[[job]]
id = "first"
env = { NAP = "0" }
[[job]]
id = "second"
env = { NAP = "%s" }
[[job]]
id = "third"
env = { NAP = "0" }
"""


@pytest.fixture
def paid(tidegate: Tidegate) -> Tidegate:
    """With an agent that costs 1.50 dollars each time."""
    (tidegate.place / "bin").mkdir()
    program = tidegate.place / "bin" / "claude"
    program.write_text(CLAUDE)
    program.chmod(0o755)
    tidegate.env["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    return tidegate


@pytest.mark.slow
def test_a_run_ends_where_its_budget_is_spent_and_goes_on_with_a_larger_one(paid: Tidegate) -> None:
    done = paid("run", paid.batch(BATCH % (3, "stop_launching", 0)), "--slots", "1", "--report", "out")
    assert done.returncode == 75, done.stderr
    assert "1 wait: its batch is shut: budget spent: $3.00 of $3.00" in done.stdout
    assert paid.states() == {"first": "succeeded", "second": "succeeded", "third": "queued"}
    told = json.loads((paid.place / "out" / "summary.json").read_text())
    assert (told["status"], told["rate_limit_until"]) == ("paused_budget", None)
    assert told["budgets"][0]["whole"]["spent"]["usd"] == 3.0
    again = paid("run", "batch.toml", "--slots", "1")
    assert again.returncode == 75, "the same budget is spent still"
    larger = paid("run", paid.batch(BATCH % (50, "stop_launching", 0)), "--slots", "1")
    assert larger.returncode == 0, larger.stderr


@pytest.mark.slow
def test_a_budget_may_cancel_what_is_left_also_what_runs(paid: Tidegate) -> None:
    done = paid("run", paid.batch(BATCH % (1, "cancel", 60)), "--slots", "2")
    assert done.returncode == 1, done.stderr
    assert paid.states() == {"first": "succeeded", "second": "cancelled", "third": "cancelled"} or paid.states() == {
        "first": "succeeded",
        "second": "cancelled",
        "third": "succeeded",  # it began before the first one's end was recorded
    }
    assert "cancelled by the budget of batch:b: $1.50 of $1.00" in paid("list").stdout


@pytest.mark.slow
def test_a_service_takes_another_budget_when_it_reads_its_configuration_again(paid: Tidegate) -> None:
    config = paid.place / "config.toml"
    config.write_text("[budget]\nusd = 1\n[accounts.claude]\npreflight = 'off'\n")
    paid.env["TIDEGATE_CONFIG"] = str(config)
    serving = paid.start("serve")
    paid("submit", "--agent", "claude", "--env", "NAP=0", "do it")
    until(lambda: "everything: $1.50 of $1.00: spent, nothing more is launched" in paid("status").stdout)
    paid("submit", "--agent", "claude", "--env", "NAP=0", "do it")
    config.write_text(config.read_text().replace("usd = 1", "usd = 100"))
    os.kill(serving.pid, 1)
    until(lambda: set(paid.states().values()) == {"succeeded"})
