"""Any argv: a job's own program, judged by its exit code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from tidegate.agents import Command, Reader
from tidegate.agents.reading.tail import Tails
from tidegate.errors import BadInput
from tidegate.model import NOT_DRAWN, Drawn, Exit, Sighting, Spec, Stream, Variables


@dataclass(frozen=True, slots=True)
class Program:
    """The agent `command`: no session, no proof but exit 0, no limits of its own.

    A program that fails may have passed on what an agent's provider told it ("Rate limit from agent: You've hit your
    limit ..."): then its account is limited.
    """

    name: str = "command"
    has_limits: bool = False
    proof: bool = False
    programs: tuple[str, ...] = ()
    variables: Variables = field(default_factory=Variables)

    def command(self, spec: Spec, *, session: str | None, new_session: str) -> Command:  # noqa: ARG002 - the port's
        """The job's command as it is, its prompt (if it has one) on stdin. Raises BadInput where it has no command."""
        if not spec.command:
            raise BadInput('a job without an agent needs command = ["program", "argument"]')
        stdin = None if spec.prompt is None else spec.prompt.encode(errors="surrogateescape")
        return Command(argv=spec.command, stdin=stdin)

    def reader(self, zone: tzinfo) -> Reader:
        """A reader of both streams' ends."""
        return ProgramReader(zone)

    def aside(self, session: str, environment: Mapping[str, str]) -> Iterable[Sighting]:  # noqa: ARG002 - the port's
        """Nothing: all that it tells is in its output."""
        return ()


class ProgramReader:
    """Keeps the last lines; the end says whether they matter."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone
        self._tails = Tails()

    def read(self, stream: Stream, line: bytes, at: datetime) -> Iterable[Sighting]:
        """Nothing yet: whatever a line says counts only if the attempt fails."""
        self._tails.keep(stream, line, at)
        return ()

    def end(self, exit: Exit, at: datetime) -> Iterator[Sighting]:  # noqa: ARG002 - the port's
        """What the last lines of a program that failed say no about; not sure."""
        limit = self._tails.refusal(self._zone) if exit.code else None
        if limit is not None:
            yield limit

    @property
    def drawn(self) -> Drawn:
        """Nothing: programs draw on no allowance."""
        return NOT_DRAWN

    @property
    def last_words(self) -> str:
        """The last line of stderr, else of stdout."""
        return self._tails.last_words
