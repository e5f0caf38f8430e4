"""What one incarnation leaves in an attempt's directory for the next.

To the next one TERM alone looks like a failure, and a frozen agent like a silent one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec.structs import asdict

from tidegate.model import Cancelled, Cause, Failed, Interrupted, Outcome

FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK  # an agent may have put a link or a FIFO there


def write_asked(directory: Path, outcome: Outcome) -> None:
    """The end that was asked for, where it is one that an exit status does not tell."""
    if isinstance(outcome, Interrupted | Cancelled):
        _leave(directory / "asked", {"outcome": type(outcome).__name__.lower(), "reason": outcome.reason})
    elif isinstance(outcome, Failed) and outcome.cause:
        _leave(directory / "asked", {"outcome": "failed", **asdict(outcome)})


def read_asked(directory: Path) -> Outcome | None:
    """The end that another incarnation was about to bring about; on a full disk it left a file with nothing in it."""
    match _left(directory / "asked"):
        case None:
            return None
        case {"outcome": "cancelled", "reason": str(reason)}:
            return Cancelled(reason)
        case {"outcome": "failed", "cause": str(cause), "reason": str(reason)} if cause in {*Cause}:
            return Failed(reason=reason, valid=False, own=True, cause=Cause(cause))
        case {"outcome": "interrupted", "reason": str(reason)}:
            return Interrupted(reason=reason)
        case _:
            return Interrupted(reason="ended by an incarnation that could not say why")


@dataclass(frozen=True, slots=True)
class Rest:
    """How long an agent has stood still: `seconds` in all, and `since` when it does again (None: it goes).

    All instants are monotonic seconds, which no change of the clock reaches; a restart of the machine ends all agents.
    """

    seconds: float = 0.0
    since: float | None = None

    def until(self, now: float) -> float:
        """Seconds in all until now."""
        return self.seconds + (now - self.since if self.since is not None else 0.0)

    def begun(self, now: float) -> Rest:
        """It stands still from now on."""
        return replace(self, since=now if self.since is None else self.since)

    def ended(self, now: float) -> Rest:
        """It goes on now."""
        return Rest(seconds=self.until(now))


def write_rest(directory: Path, rest: Rest) -> None:
    """How long the agent has stood still, and whether it does."""
    _leave(directory / "rest", {"seconds": rest.seconds, "since": rest.since})


def read_rest(directory: Path) -> Rest:
    """The same as it was left."""
    match _left(directory / "rest"):
        case {"seconds": float(seconds), "since": float(since)}:
            return Rest(seconds, since)
        case {"seconds": float(seconds)}:
            return Rest(seconds)
        case _:
            return Rest()


def _leave(path: Path, facts: Mapping[str, object]) -> None:
    with suppress(OSError):  # no directory yet, or a full disk: nothing keeps an agent from being ended
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | FLAGS, 0o600)
        try:
            os.write(fd, json.dumps(facts).encode())
        finally:
            os.close(fd)


def _left(path: Path) -> object:
    """What was left; None for nothing, "" where it cannot be read."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | FLAGS), "rb") as file:
            return json.load(file)
    except OSError:
        return None
    except (ValueError, RecursionError):
        return ""
