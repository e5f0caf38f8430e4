"""The port Agent: how one CLI is started, resumed and read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Protocol

from tidegate.model import Exit, Sighting, Spec, Stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to execute: argv, what to feed to stdin (None: nothing), and environment on top of the job's own.

    `session` is the conversation id that this command starts or resumes, where it is known before the launch.
    `resumes` is true where the command continues that session.
    """

    argv: tuple[str, ...]
    stdin: bytes | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    session: str | None = None
    resumes: bool = False


class Reader(Protocol):
    """Reads one attempt's output, line by line; never raises, whatever the bytes."""

    def read(self, stream: Stream, line: bytes, at: datetime) -> Iterable[Sighting]:
        """What one line (without its newline) tells, printed at the instant `at`."""

    def end(self, exit: Exit, at: datetime) -> Iterable[Sighting]:
        """What can be told only once both streams have ended, with the exit status."""

    @property
    def last_words(self) -> str:
        """The line to show as the reason of a plain failure, at most 500 characters; "" where there is none."""


class Agent(Protocol):
    """Port: one coding-agent CLI."""

    @property
    def name(self) -> str:
        """The name that jobs use, also the name of its default account."""

    @property
    def has_limits(self) -> bool:
        """Whether its provider has usage limits: without recent evidence one attempt goes first."""

    @property
    def proof(self) -> bool:
        """Whether success must be proven by a Result; false: exit 0 is enough."""

    @property
    def programs(self) -> tuple[str, ...]:
        """File names of the CLI: a job's `command` that begins with one of them is recognised as this agent."""

    def command(self, spec: Spec, *, session: str | None, new_session: str) -> Command:
        """The command that starts `spec`, or continues `session` where one is given and the agent can.

        `new_session` is a fresh UUID for agents that let the caller choose the conversation's id.
        """

    def reader(self, zone: tzinfo) -> Reader:
        """A reader for one attempt whose agent prints clock times in `zone`."""
