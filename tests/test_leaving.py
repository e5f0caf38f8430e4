"""What is left of a window to its owner, as somebody who runs a batch meets it."""

from __future__ import annotations

import json
import os
import time

import pytest
from installed import Tidegate

CLAUDE = """#!/bin/sh
cat > /dev/null
windows='{"five_hour":{"utilization":%s,"resetsAt":%d}}'
echo '{"type":"rate_limit_event","rate_limit_info":{"status":"allowed_warning","unifiedWindows":'"$windows"'}}'
echo '{"type":"result","subtype":"success","is_error":false,"result":"done","session_id":"s","usage":{}}'
"""
BATCH = """
[batch]
name = "b"
on_limit = "exit"
[accounts.claude]
preflight = "off"
stop_at = { "5h" = %d }
[defaults]
agent = "claude"
prompt = "do it"
[[job]]
id = "first"
[[job]]
id = "second"
"""


@pytest.mark.slow
def test_a_run_leaves_the_rest_of_a_window_until_a_person_takes_it(tidegate: Tidegate) -> None:
    program = tidegate.place / "bin" / "claude"
    program.parent.mkdir()
    program.write_text(CLAUDE % (0.91, time.time() + 7200))
    program.chmod(0o755)
    tidegate.env["PATH"] = f"{program.parent}:{os.environ['PATH']}"
    done = tidegate("run", tidegate.batch(BATCH % 90), "--slots", "1", "--report", "out")
    assert done.returncode == 75, done.stderr
    assert "1 wait: claude is shut until" in done.stdout
    assert "5h: 91 % used, the rest is left (stop_at 90)" in done.stdout
    assert tidegate.states() == {"first": "succeeded", "second": "queued"}
    summary = json.loads((tidegate.place / "out" / "summary.json").read_text())
    assert (summary["status"], summary["rate_limit_until"]) == ("paused_reserve", None)
    assert "stop_at 5h 90%" in tidegate("accounts").stdout
    assert "resumed: claude (is shut until" in tidegate("resume", "claude").stdout
    again = tidegate("run", "batch.toml", "--slots", "1")
    assert again.returncode == 0, again.stderr
    assert tidegate.states() == {"first": "succeeded", "second": "succeeded"}
