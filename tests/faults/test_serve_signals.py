"""Signals and requests that come to `serve` at the worst moment."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
from installed import Tidegate, until


def said(tidegate: Tidegate, number: int = 0) -> str:
    return (tidegate.place / f"started.{number}").read_text()


def blocked(pid: int) -> set[int]:
    """The signals that a process holds back."""
    (line,) = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("SigBlk")]
    return {number for number in range(1, 65) if int(line.split()[1], 16) >> (number - 1) & 1}


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_signal_that_asks_for_no_end_is_heard_however_early_it_comes(tidegate: Tidegate) -> None:
    tidegate.program = [sys.executable, str(Path(__file__).with_name("signalled_early.py"))]
    tidegate.env["EARLY"] = f"{signal.SIGHUP:d} {signal.SIGUSR1:d}"
    process = tidegate.start("--state-dir", str(tidegate.state), "serve")
    until(lambda: '"configuration read"' in said(tidegate))
    until(lambda: '"gate shut"' in said(tidegate))
    assert process.poll() is None
    assert blocked(process.pid) == set(), "its agents begin with none held back"


@pytest.mark.slow
def test_serve_goes_on_where_the_program_that_it_is_to_become_has_vanished(tidegate: Tidegate) -> None:
    script = f"touch {tidegate.place}/on; while [ ! -e {tidegate.place}/go ]; do sleep 0.05; done"
    tidegate.program = [sys.executable, str(Path(__file__).with_name("no_successor.py"))]
    process = tidegate.start("serve")
    until(lambda: '"serving"' in said(tidegate))
    assert tidegate("submit", "--name", "a", "--", "sh", "-c", script).returncode == 0
    until((tidegate.place / "on").exists)
    done = tidegate("upgrade")
    assert done.returncode == 5
    assert "the supervisor goes on as it was: cannot become /no/such/python: No such file or directory" in done.stderr
    until(lambda: said(tidegate).count('"serving"') == 2)
    (tidegate.place / "go").touch()
    until(lambda: tidegate.states() == {"a": "succeeded"})
    assert len(tidegate.events("attempt claimed")) == 1
    assert process.poll() is None
    process.terminate()
    assert process.wait(20) == 0


@pytest.mark.slow
def test_a_service_that_is_stopped_from_a_terminal_pauses_and_goes_on_with_it(tidegate: Tidegate) -> None:
    process = tidegate.start("serve")
    until(lambda: '"serving"' in said(tidegate))
    process.send_signal(signal.SIGTSTP)
    until(lambda: state(process.pid) == "T")
    assert [event["data"]["origin"] for event in tidegate.events("gate shut")] == ["host"]
    assert tidegate("submit", "--name", "a", "--", "true").returncode == 0
    process.send_signal(signal.SIGCONT)
    until(lambda: tidegate.states() == {"a": "succeeded"})
    assert len(tidegate.events("gate lifted")) == 1


@pytest.mark.slow
def test_a_drain_that_waits_for_a_frozen_agent_says_so(tidegate: Tidegate) -> None:
    process = tidegate.start("serve")
    until(lambda: '"serving"' in said(tidegate))
    script = f"touch {tidegate.place}/on; while [ ! -e {tidegate.place}/go ]; do sleep 0.05; done"
    assert tidegate("submit", "--name", "a", "--", "sh", "-c", script).returncode == 0
    until((tidegate.place / "on").exists)
    assert tidegate("pause", "--now=freeze").returncode == 0
    until(lambda: tidegate.events("attempt frozen"))
    assert tidegate("drain").returncode == 0
    until(lambda: '"draining"' in said(tidegate))
    (line,) = [json.loads(line) for line in said(tidegate).splitlines() if '"draining"' in line]
    assert (line["running"], line["frozen"]) == (1, 1)
    (tidegate.place / "go").touch()
    assert tidegate("resume").returncode == 0
    assert process.wait(20) == 0
    assert tidegate.states() == {"a": "succeeded"}
