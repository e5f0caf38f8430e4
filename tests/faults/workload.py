"""The jobs of a world, as small agents that tell themselves when they run."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import NamedTuple

from tidegate.model import NewJob, Spec

AGENT = Path(__file__).with_name("agent.sh")
FAKE = "fake"  # the agent that has a provider, and its account
HASTY = "hasty"  # an account of the same that launches all it may, and so meets several refusals at once
CONFIG = """\
[supervisor]
slots = {slots}
grace = 2
max_limited = 1000
cgroups = "off"
[limits]
margin_exact = 0
margin_printed = 0
jitter = 0
rate_first = 0.2
recent = 2
[retry]
first = 0.1
most = 0.2
[environment]
set = {{ WORLD = "{place}" }}
[accounts.fake]
agent = "fake"
concurrency = 6
[accounts.hasty]
agent = "fake"
concurrency = 6
admission = "off"
[agents.fake]
start = ["/bin/sh", "{agent}", "fresh", "{{session}}", "{{prompt}}"]
resume = ["/bin/sh", "{agent}", "resumed", "{{session}}", "{{prompt}}"]
output = "stream-json"
"""


class Work(NamedTuple):
    """One job: `code` is what its agent exits with in the end."""

    name: str
    kind: str
    lines: int
    pause: float
    code: int = 0
    attempts: int = 1
    limits: int = 0

    @property
    def is_fake(self) -> bool:
        return self.kind in (FAKE, HASTY)

    @property
    def command(self) -> tuple[str, ...]:
        """The argv of a job that has no provider."""
        return ("/bin/sh", str(AGENT), self.kind, str(self.lines), f"{self.pause:.2f}", str(self.code))

    @property
    def prompt(self) -> str:
        """What an agent with a provider is told."""
        return f"{self.lines} {self.pause:.2f} {self.limits}"

    def job(self, place: Path) -> NewJob:
        """The job as a door hands it in."""
        if self.is_fake:
            spec = Spec(agent=FAKE, prompt=self.prompt, cwd=str(place), max_attempts=self.attempts)
            return NewJob(name=self.name, account=self.kind, spec=spec)
        spec = Spec(command=self.command, cwd=str(place), max_attempts=self.attempts)
        return NewJob(name=self.name, account="command", spec=spec)

    def table(self, place: Path) -> str:
        """The job in a batch file."""
        agent = f'agent = "fake"\naccount = "{self.kind}"\nprompt = "{self.prompt}"'
        what = agent if self.is_fake else f"command = {list(self.command)}"
        lines = ("[[job]]", f'id = "{self.name}"', f'cwd = "{place}"', f"max_attempts = {self.attempts}", what)
        return "\n".join(lines) + "\n"

    @property
    def ends(self) -> set[str]:
        """The states that it may end in, where nobody cancels it."""
        return {"failed"} if self.code and self.kind != "flaky" else {"succeeded"}


def some(rng: Random, number: int, *, first: int = 1) -> list[Work]:
    """So many jobs of every kind."""
    return [_one(rng, f"j{first + n}", (first + n) % 9) for n in range(number)]


def _one(rng: Random, name: str, kind: int) -> Work:
    lines, pause = rng.randint(2, 8), rng.uniform(0.02, 0.15)
    match kind:
        case 0 | 1:
            return Work(name, "plain", lines, pause)
        case 2:
            return Work(name, "plain", lines, pause, code=rng.choice([1, 2, 77, 125, 130, 143, 255]))
        case 3:
            return Work(name, "plain", lines, pause, code=9, attempts=2)
        case 4:
            return Work(name, "flaky", lines, pause, code=3, attempts=3)
        case 5:
            return Work(name, "messy", lines, pause, code=rng.choice([0, 5]))
        case 6:
            return Work(name, FAKE, lines, pause)
        case 7:
            return Work(name, "plain", 8, 0.4)  # one that is there for a while
        case _:
            return Work(name, FAKE, lines, pause, limits=rng.choice([1, 1, 2]))
