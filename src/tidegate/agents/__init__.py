"""The port Agent: how one CLI is started, resumed and read."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Protocol

from msgspec import Struct, field

from tidegate.errors import BadInput
from tidegate.model import Drawn, Exit, Sighting, Spec, Stream, Variables


class Command(Struct, frozen=True, kw_only=True):
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
    def drawn(self) -> Drawn:
        """What the attempt has drawn by what was read so far; NOT_DRAWN where nothing tells."""

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

    @property
    def variables(self) -> Variables:
        """The variables in which the CLI takes a credential; none where that is not known."""

    def command(self, spec: Spec, *, session: str | None, new_session: str) -> Command:
        """The command that starts `spec`, or continues `session` where one is given and the agent can.

        `new_session` is a fresh UUID for agents that let the caller choose the conversation's id.
        """

    def reader(self, zone: tzinfo) -> Reader:
        """A reader for one attempt whose agent prints clock times in `zone`."""

    def aside(self, session: str, environment: Mapping[str, str]) -> Iterable[Sighting]:
        """What the CLI has told in files of its own about a session, by the end of an attempt in this environment."""


# --- who is who --------------------------------------------------------------------------------

COMMAND = "command"  # the agent of any program that is no known CLI
DEMO = "demo"  # the shipped one, which behaves like claude and asks nobody: for examples and for trying things out


class Known(Struct, frozen=True):
    """The agents that a supervisor knows, by name."""

    agents: Mapping[str, Agent]

    @property
    def names(self) -> tuple[str, ...]:
        """Their names, sorted."""
        return tuple(sorted(self.agents))

    @property
    def variables(self) -> Mapping[str, Variables]:
        """The variables in which each takes a credential."""
        return {name: agent.variables for name, agent in self.agents.items()}

    def recognise(self, argv: Sequence[str]) -> str:
        """The name of the agent whose program an argv runs, also behind `env`, `timeout`, `npx` and the like.

        A command that none of them is known for belongs to "command".
        """
        from tidegate.agents.reading.argv import program  # noqa: PLC0415 - most commands begin without an agent

        found = program(argv)
        names = (name for name, agent in self.agents.items() if found is not None and found.name in agent.programs)
        return next(names, COMMAND)

    def of(self, spec: Spec) -> Agent:
        """The agent of a job: the one that it names, else the one that its command is. Raises BadInput for none."""
        name = spec.agent
        if name == COMMAND and spec.command:
            name = self.recognise(spec.command)
        if name not in self.agents:
            raise BadInput(f"there is no agent {name!r}; known are {', '.join(self.names)}")
        return self.agents[name]

    def has_limits(self, name: str) -> bool:
        """Whether the provider of a named agent has usage limits; false for a name that is not known."""
        return name in self.agents and self.agents[name].has_limits

    def called(self, said: str) -> Agent:
        """The agent that people call so: "claude-code", "gemini-cli", "codex (exec)"; unknown names are programs."""
        word = said.partition("(")[0].strip().lower()
        tries = (word, word.replace(" ", "-"), word.replace("-", " ").partition(" ")[0])
        for attempt in tries:
            for name, agent in self.agents.items():
                if attempt and (attempt == name or attempt in agent.programs):
                    return agent
        return self.agents[COMMAND]


def known(tables: Iterable[Agent] = ()) -> Known:
    """The built-in agents and `tables`; one of these replaces a built-in one of the same name."""
    from tidegate.agents.claude import Claude  # noqa: PLC0415 - an agent imports its port from here
    from tidegate.agents.codex import Codex  # noqa: PLC0415
    from tidegate.agents.command import Program  # noqa: PLC0415
    from tidegate.agents.gemini import Gemini  # noqa: PLC0415
    from tidegate.agents.table import BUILT_IN  # noqa: PLC0415

    program = (sys.executable, "-P", "-m", "tidegate.examples.demo_agent")
    demo = Claude(name=DEMO, programs=(), variables=Variables(), program=program)
    agents: tuple[Agent, ...] = (Claude(), Codex(), Gemini(), Program(), demo, *BUILT_IN, *tables)
    return Known({agent.name: agent for agent in agents})


def recognise(spec: Spec, agents: Mapping[str, Agent]) -> Agent:
    """The agent of a job among `agents`, by name. Raises BadInput for none."""
    return Known(agents).of(spec)
