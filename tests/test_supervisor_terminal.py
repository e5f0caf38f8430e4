"""`run` on a real terminal: it hangs up, it stops the foreground, it is never in the way."""

from __future__ import annotations

import json
import os
import pty
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from installed import Tidegate, until


@dataclass(slots=True)
class Terminal:
    """A program on a terminal of its own; `hang_up` closes that terminal."""

    pid: int
    fd: int

    def hang_up(self) -> None:
        os.close(self.fd)

    def exit_code(self, *, within: float = 30.0) -> int:
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        raise AssertionError(f"still running after {within} s")


@pytest.fixture
def on_terminal(tidegate: Tidegate) -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        try:
            os.kill(terminal.pid, signal.SIGKILL)
            os.waitpid(terminal.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def start(tidegate: Tidegate, *args: str) -> Terminal:
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(tidegate.place)
        os.execve(sys.executable, [sys.executable, "-m", "tidegate", *args], tidegate.environment())
    return Terminal(pid, fd)


def shell(id: str, script: str) -> str:
    return json.dumps({"id": id, "command": ["sh", "-c", script]}) + "\n"


@pytest.mark.slow
def test_a_closed_terminal_lets_what_runs_end_and_starts_nothing_new(
    tidegate: Tidegate, tmp_path: Path, on_terminal: list[Terminal]
) -> None:
    wait = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    batch = tidegate.batch(shell("a", wait) + shell("b", "true"), "b.jsonl")
    terminal = start(tidegate, "run", batch, "--slots", "1")
    on_terminal.append(terminal)
    until(lambda: (tidegate.state / "tidegate.db").exists() and tidegate.events("attempt claimed"))
    terminal.hang_up()
    time.sleep(1.5)  # a look at the closed terminal or two
    assert os.waitpid(terminal.pid, os.WNOHANG) == (0, 0), "it waits for what runs"
    (tmp_path / "go").touch()
    assert terminal.exit_code() == 128 + signal.SIGHUP
    assert tidegate.states() == {"a": "succeeded", "b": "queued"}
