"""One state directory with its jobs, the processes that work on it, and what is done to them."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from faults import invariants
from faults.invariants import Books, GateWatch, Stamp, Violation
from faults.workload import AGENT, CONFIG, FAKE, HASTY, Work
from tidegate import doorbell, places
from tidegate.audit import audit
from tidegate.model import Account, Admission, Batch
from tidegate.stores import sqlite

PROGRAM = Path(__file__).with_name("program.py")
BATCH = "w"
SLOTS = 8
PATIENCE = 60.0  # seconds for what must come, on a loaded machine
LOOK = 0.005
ACCOUNTS = (
    Account(name=FAKE, max_running=6, cautious=True),
    Account(name=HASTY, max_running=6, cautious=True, admission=Admission.OFF),
)


@dataclass(slots=True)
class Born:
    """A process that the nursery has brought into the world; `status` is None while it lives."""

    pid: int
    argv: tuple[str, ...]
    status: int | None = None

    def send(self, number: int) -> None:
        """Signal it, where it is not known to be dead."""
        if self.status is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Nursery:
    """Starts processes of tidegate in a few milliseconds each, and tells their ends."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), "nursery"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        assert self._process.stdout is not None
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        self._told = b""
        self._orders = 0
        self._living: dict[int, Born] = {}
        self._born: dict[int, int] = {}
        self._early: dict[int, int] = {}

    def close(self) -> None:
        """Bear no more; what lives is killed."""
        for born in list(self._living.values()):
            born.send(signal.SIGKILL)
            self.wait(born, 10)
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._selector.close()

    def bear(self, argv: tuple[str, ...], env: Mapping[str, str], log: Path, cwd: Path) -> Born:
        """Start `tidegate ARGV`."""
        self._orders += 1
        order = {"order": self._orders, "argv": argv, "env": dict(env), "log": str(log), "cwd": str(cwd)}
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps(order)}\n".encode())
        deadline = time.monotonic() + PATIENCE
        while self._orders not in self._born:
            assert time.monotonic() < deadline, "the nursery does not answer"
            self._hear(0.5)
        born = Born(self._born.pop(self._orders), argv)
        if born.pid in self._early:
            born.status = self._early.pop(born.pid)
        else:
            self._living[born.pid] = born
        return born

    def wait(self, born: Born, seconds: float) -> bool:
        """Wait for the end of a process for so long; whether it has come."""
        deadline = time.monotonic() + seconds
        while born.status is None and (left := deadline - time.monotonic()) > 0:
            self._hear(left)
        self._hear(0)
        return born.status is not None

    def _hear(self, seconds: float) -> None:
        if not self._selector.select(seconds):
            return
        assert self._process.stdout is not None
        data = os.read(self._process.stdout.fileno(), 65536)
        assert data, "the nursery has died"
        *lines, self._told = (self._told + data).split(b"\n")
        for line in lines:
            self._note(json.loads(line))

    def _note(self, told: dict[str, Any]) -> None:
        if "born" in told:
            self._born[told["order"]] = told["born"]
        elif (born := self._living.pop(told["pid"], None)) is not None:
            born.status = told["status"]
        elif told["pid"] in self._born.values():
            self._early[told["pid"]] = told["status"]  # else an orphan


@dataclass(slots=True)
class World:
    """A place with a state directory, agents, and a provider; `plant` is a defect of every process in it."""

    place: Path
    nursery: Nursery
    plant: str = ""
    trace: bool = False
    work: dict[str, Work] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    spoken: set[str] = field(default_factory=set)  # jobs that somebody was told are there
    found: list[Violation] = field(default_factory=list)
    gate: GateWatch = field(default_factory=GateWatch)

    def __post_init__(self) -> None:
        for name in ("alive", "failed", "limits", "plans", "sessions", "state"):
            (self.place / name).mkdir(mode=0o700)
        (self.place / "stamps").touch()
        (self.place / "provider").write_text("0\n")
        (self.place / "config.toml").write_text(CONFIG.format(slots=SLOTS, place=self.place, agent=AGENT))

    @property
    def state(self) -> Path:
        return self.place / "state"

    @property
    def database(self) -> Path:
        return places.database(self.state)

    def environment(self, **fault: str) -> dict[str, str]:
        """What a process of this world sees."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEGATE_", "FAULT_"))}
        own = {"TIDEGATE_STATE_DIR": str(self.state), "TIDEGATE_CONFIG": str(self.place / "config.toml")}
        own |= {"FAULT_PLANT": self.plant} if self.plant else {}
        own |= {"FAULT_TRACE": str(self.place / "trace")} if self.trace else {}
        return {**clean, **own, "TIDEGATE_LOG__FORMAT": "json", **fault}

    # --- jobs ---

    def submit(self, work: list[Work], batch: str = BATCH) -> None:
        """Hand jobs in as another process does."""
        with closing(sqlite.open(self.database)) as store:
            store.set_accounts(ACCOUNTS, datetime.now(UTC))
            store.submit(Batch(batch), [one.job(self.place) for one in work], datetime.now(UTC), whole=False)
        self.know(work)
        doorbell.ring(self.state)

    def know(self, work: list[Work]) -> None:
        """These jobs must be there from now on."""
        self.work |= {one.name: one for one in work}
        self.spoken |= {one.name for one in work}

    def batch_file(self, work: list[Work]) -> Path:
        """The same as a file for `run`."""
        file = self.place / "batch.toml"
        file.write_text(f'[batch]\nname = "{BATCH}"\n' + "".join(one.table(self.place) for one in work))
        return file

    # --- processes ---

    def start(self, *argv: str, **fault: str) -> Born:
        """Start `tidegate ARGV`, with a fault or without one."""
        log = self.place / (f"{argv[0]}.log" if argv[0] in ("serve", "run") else "verbs.log")
        return self.nursery.bear(argv, self.environment(**fault), log, self.place)

    def do(self, *argv: str, **fault: str) -> int | None:
        """A verb from its start to its end; its exit code."""
        born = self.start(*argv, **fault)
        assert self.nursery.wait(born, PATIENCE), f"{argv} does not end"
        return born.status

    def kill(self, born: Born, number: int = signal.SIGKILL) -> None:
        """Signal a process, and see its end."""
        born.send(number)
        if not self.nursery.wait(born, PATIENCE):
            self.wrong("program", f"{born.argv} does not end at signal {number}")
            born.send(signal.SIGKILL)
            self.nursery.wait(born, PATIENCE)

    def wrong(self, kind: str, facts: str) -> None:
        self.found.append(Violation(kind, facts))

    # --- looking ---

    def books(self, *, whole: bool = False) -> Books:
        return invariants.read(self.database, whole=whole)

    def stamps(self) -> list[Stamp]:
        return invariants.stamps(self.place)

    def count(self, *states: str) -> int:
        """How many jobs are in these states."""
        return sum(job["state"] in states for job in self.books().jobs) if self.database.exists() else 0

    def look(self) -> None:
        """What must hold at any moment at which nobody works."""
        if self.database.exists() and self.database.stat().st_size:
            books = self.books()
            said = self.stamps()  # later: who is told of in the books has written before
            self.found += self.gate.look(books, said, os.uname().nodename)

    def finish(self, *argv: str, within: float = PATIENCE) -> None:
        """Let what is left be done by a supervisor that nobody harms, and check all that must hold."""
        self.do("resume") if self.database.exists() else None
        born = self.start(*argv)
        deadline = time.monotonic() + within
        while born.status is None and self.count("queued", "running") and time.monotonic() < deadline:
            self.nursery.wait(born, 0.05)
        if left := self.count("queued", "running"):
            self.wrong("stuck", f"{left} jobs are not over within {within:.0f} s (exit {born.status})")
        if argv[0] == "serve":
            self.kill(born, signal.SIGTERM)
        elif not self.nursery.wait(born, PATIENCE):
            self.wrong("stuck", f"{argv} does not end though all jobs are over")
            self.kill(born)
        self.check()

    def check(self) -> None:
        """All that must hold when all jobs are over and nobody works."""
        self.look()
        books, said = self.books(whole=True), self.stamps()
        self.found += invariants.of_books(books)
        self.found += invariants.of_agents(books, said)
        self.found += invariants.of_output(places.attempts(self.state), said)
        self.found += invariants.of_draws(books, places.attempts(self.state))
        self.found += invariants.orphans(self.place)
        self.found += [Violation("audit", str(finding)) for finding in audit(self.state)]
        self._check_jobs(books)
        self._check_logs()

    def _check_jobs(self, books: Books) -> None:
        states = {job["name"]: (job["state"], job["reason"]) for job in books.jobs}
        for name in self.spoken - states.keys():
            self.wrong("lost", f"{name} was acknowledged, and is not there")
        for name, (state, reason) in states.items():
            allowed = self.work[name].ends | ({"cancelled"} if name in self.cancelled else set())
            if state not in allowed and state not in ("queued", "running"):
                self.wrong("state", f"{name} is {state} ({reason}), not {' or '.join(sorted(allowed))}")

    def _check_logs(self) -> None:
        for log in self.place.glob("*.log"):
            if "Traceback" in (text := log.read_text(errors="replace")):
                self.wrong("program", f"{log.name}: {text[text.index('Traceback') :][-600:]}")

    # --- its end ---

    def end(self) -> None:
        """Kill whatever of it lives; for a world that is given up."""
        for violation in invariants.orphans(self.place):
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(violation.facts.split()[1].rstrip(":")), signal.SIGKILL)
