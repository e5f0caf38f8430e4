"""The installed program as the tests run it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mother import Process, cgroup, mother

Json = dict[str, Any]
Started = subprocess.Popen[str] | Process
OWN = [sys.executable, "-m", "tidegate"]  # in an interpreter of its own
HOME = cgroup()  # the one in which a mother lives
LOCALE = ("PYTHON", "LC_", "LANG")  # what an interpreter sees only as it starts


@dataclass(slots=True)
class Tidegate:
    """Runs `tidegate` as a user does; `env` is added to the environment of each command, `program` is what it runs.

    Without a `program` of its own it is borne by a mother who has imported it (see there), where that is the same.
    """

    place: Path
    env: dict[str, str] = field(default_factory=dict)
    program: list[str] = field(default_factory=list)
    started: list[Started] = field(default_factory=list)

    @property
    def state(self) -> Path:
        return self.place / "state"

    def environment(self) -> dict[str, str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEGATE_", "COLUMNS"))}
        return {**clean, "TIDEGATE_STATE_DIR": str(self.state), "TIDEGATE_CONFIG": "/dev/null", **self.env}

    def __call__(self, *args: str, stdin: str = "", timeout: float = 120) -> subprocess.CompletedProcess[str]:
        if not self._is_borne():
            return subprocess.run(
                [*(self.program or OWN), *args],
                cwd=self.place,
                env=self.environment(),
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout,
            )
        with (
            tempfile.TemporaryFile("w+") as given,
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
        ):
            given.write(stdin)
            given.seek(0)
            process = self._bear(args, [one.fileno() for one in (given, out, err)], alone=False)
            try:
                code = process.wait(timeout)
            finally:
                process.kill()
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(["tidegate", *args], code, out.read(), err.read())

    def start(self, *args: str) -> Started:
        """A command in a session of its own, its output in `place/started.N`; ended with the test."""
        with (self.place / f"started.{len(self.started)}").open("w") as output, Path(os.devnull).open() as nothing:
            if self._is_borne():
                streams = [nothing.fileno(), output.fileno(), output.fileno()]
                process: Started = self._bear(args, streams, alone=True)
            else:
                process = subprocess.Popen(
                    [*(self.program or OWN), *args],
                    cwd=self.place,
                    env=self.environment(),
                    stdin=nothing,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    text=True,
                    start_new_session=True,
                )
        self.started.append(process)
        return process

    def _is_borne(self) -> bool:
        """Whether a mother can bear it as it would be in an interpreter of its own."""
        special = self.program or any(name.startswith(LOCALE) for name in self.env)
        return not special and cgroup() == HOME

    def _bear(self, args: Sequence[str], streams: Sequence[int], *, alone: bool) -> Process:
        return mother().bear(args, self.environment(), self.place, streams, alone=alone)

    def batch(self, text: str, name: str = "batch.toml") -> str:
        (self.place / name).write_text(text)
        return name

    def lines(self, *args: str) -> list[Json]:
        """What a command prints with --json, line by line."""
        done = self(*args, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def events(self, name: str | None = None) -> list[Json]:
        return [event for event in self.lines("events") if name in (None, event["event"])]

    def states(self) -> dict[str, str]:
        """Each job's state by its name."""
        return {job["job"]: job["state"] for job in self.lines("list")}


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a refusal."""
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.rstrip("\n")


def end_what_is_left(state: Path) -> None:
    """Kill the session of every attempt in `state` that has not ended."""
    for lock in state.glob("**/attempts/*/*/lock"):  # its first line is the shim's pid, its second the exit status
        lines = lock.read_text().splitlines() if lock.is_file() else []
        with suppress(OSError, ValueError):  # which an agent may have written, too
            if len(lines) == 1 and b"TIDEGATE_ATTEMPT=" in Path(f"/proc/{lines[0]}/environ").read_bytes():
                os.killpg(int(lines[0]), signal.SIGKILL)


def until(fact: Callable[[], object], *, within: float = 30.0) -> None:
    """Wait for a fact, not for a time; a look that takes longer is taken less often."""
    deadline = time.monotonic() + within
    while began := time.monotonic():
        if fact():
            return
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(min(max(0.02, 2 * (time.monotonic() - began)), 0.3))
