"""The installed service in a machine: one unit with a state of its own, and what can be asked of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from installed import until

from systemd.machine import Machine

# An agent that prints numbered lines until it is let go: counter.sh NAME EXIT
COUNTER = """\
#!/bin/sh
n=0
until [ -e "$HOME/go" ]; do n=$((n + 1)); echo "$1 $n"; sleep 0.2; done
echo "$1 ends after $n"
exit "$2"
"""
SUBMIT = """\
import sys
from tidegate import agents, clock, doorbell, files, places, settings
from tidegate.model import Batch
from tidegate.stores import sqlite
known = agents.known({})
batch = files.read_batch("-", agents=known.names, recognise=known.recognise, has_limits=known.has_limits)
state = places.state_dir(None, __import__("os").environ)
sqlite.open(places.database(state)).submit(Batch(batch.name), batch.jobs, clock.SystemClock().now())
doorbell.ring(state)
"""


@dataclass(slots=True)
class Service:
    """A unit; `run` is how its user runs tidegate."""

    machine: Machine
    unit: str = "tidegate.service"
    state: str = "/var/lib/tidegate"
    home: str = "/var/lib/tidegate/home"
    config: str = "/etc/tidegate/config.toml"
    user: str = "tidegate"
    submitted: int = field(default=0)

    # --- its life ---

    def configure(self, text: str) -> None:
        self.machine.write(self.config, text)

    def drop_in(self, text: str) -> None:
        self.machine.write(f"/run/systemd/system/{self.unit}.d/test.conf", text)
        self.machine("systemctl", "daemon-reload")

    def systemctl(self, verb: str, *more: str, check: bool = True) -> str:
        return self.machine("systemctl", verb, *more, self.unit, check=check)

    def show(self, what: str) -> str:
        return self.machine.show(self.unit, what)

    @property
    def pid(self) -> int:
        return int(self.show("MainPID"))

    def is_up(self) -> bool:
        return self.show("ActiveState") == "active"

    def clear(self) -> None:
        """Stop it, and forget all that it has done and been told."""
        self.systemctl("stop")
        self.systemctl("reset-failed", check=False)
        self.machine("pkill", "-KILL", "-u", self.user, check=False)  # what a failed test has left
        until(lambda: self.machine.run("rm", "-rf", self.state, f"/run/systemd/system/{self.unit}.d").returncode == 0)
        self.machine("systemctl", "daemon-reload")

    # --- its work ---

    def tidegate(self, *args: str, stdin: str = "") -> str:
        return self.machine("tidegate", *args, stdin=stdin)

    def submit(self, *commands: list[str], **more: object) -> None:
        """Hand in one job for each command, named j1, j2, ..."""
        jobs = [{"id": f"j{n}", "command": one, "cwd": self.home, **more} for n, one in enumerate(commands, 1)]
        env = {"HOME": self.home, "TIDEGATE_STATE_DIR": self.state}
        batch = "".join(json.dumps(job) + "\n" for job in jobs)
        self.machine("/opt/tidegate/bin/python", "-c", SUBMIT, user=self.user, env=env, stdin=batch)

    def counters(self, number: int) -> None:
        """Hand in agents that count until they are let go; every third then fails."""
        self.machine.write("/usr/local/bin/counter.sh", COUNTER, 0o755)
        self.submit(
            *(["/usr/local/bin/counter.sh", f"agent{n}", "0" if n % 3 else "7"] for n in range(1, number + 1)),
            max_attempts=1,
        )
        until(lambda: len(self.agents()) == number)

    def let_go(self) -> None:
        self.machine("touch", f"{self.home}/go", user=self.user)

    def lines(self, *args: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.tidegate(*args, "--json").splitlines()]

    def states(self) -> dict[str, str]:
        return {job["job"]: job["state"] for job in self.lines("list")}

    def agents(self) -> set[int]:
        """The shims that have been started and have not ended, by what their files say."""
        locks = [lock.read_text().splitlines() for lock in self._attempts("lock")]
        return {int(lines[0]) for lines in locks if len(lines) == 1}

    def lives(self, pid: int) -> bool:
        return self.machine.read(f"/proc/{pid}/stat").partition(") ")[2][:1] not in ("", "Z", "X")

    def outputs(self) -> dict[str, list[str]]:
        """What the agents printed, by the number of their job and attempt."""
        return {"/".join(file.parts[-3:-1]): file.read_text().splitlines() for file in self._attempts("stdout.log")}

    def _attempts(self, name: str) -> Iterator[Path]:
        return (self.machine.root / f"{self.state}/attempts".lstrip("/")).glob(f"*/*/{name}")

    # --- what is left of it, what it says ---

    def processes(self) -> list[str]:
        """Everything that runs as its user."""
        return self.machine("ps", "-o", "pid,args", "--no-headers", "-u", self.user, check=False).splitlines()

    def journal(self) -> list[dict[str, Any]]:
        """What it has told since it was started last."""
        invocation = f"_SYSTEMD_INVOCATION_ID={self.show('InvocationID')}"
        told = self.machine("journalctl", "-o", "json", "--no-pager", invocation)
        return [json.loads(line) for line in told.splitlines()]


def disturbed(service: Service, disturb: Callable[[], object]) -> None:
    """Do something that ends the main process, and wait until another one works."""
    before = service.pid
    disturb()
    until(lambda: service.pid not in (0, before) and service.is_up())
