"""An account's credential: read from its file at each launch, handed over in the variable that the agent's CLI wants.

It is read anew each time, so that a changed file counts from the next launch on, and kept nowhere: the text that this
program prints or stores is searched for it (`redact`).
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tidegate import redact
from tidegate.errors import NoCredential, NotNow
from tidegate.model import Variables

LARGEST = 64 * 1024  # bytes
SHORTEST = 8  # characters: what is shorter is no credential, and could not be told from words in a log
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # NONBLOCK: a FIFO must not hang
PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """Where an account's credential lies, and where it goes.

    `granted`: in $CREDENTIALS_DIRECTORY, where systemd gives the file to one service alone; its group bits are those of
    an access list. `variable` is the one that the configuration names; None for the agent's own choice. `variables` are
    those of the account's agent; None where the account has no agent of its own: those of the job's.
    """

    account: str
    path: Path
    granted: bool = False
    variable: str | None = None
    variables: Variables | None = None


def located(said: str, beside: Path, environ: Mapping[str, str], home: Path) -> tuple[Path, bool]:
    """The file that a credential's name stands for, and whether systemd granted it.

    With a slash it is a path, from the directory `beside` on; a bare name is a file of $CREDENTIALS_DIRECTORY where
    systemd gave one, else of the directory `credentials` in `beside`.
    """
    if said.startswith("~/"):
        return home / said[2:], False
    if "/" in said:
        return beside / said, False
    granted = Path(environ.get("CREDENTIALS_DIRECTORY", ""))
    return (granted / said, True) if granted.is_absolute() else (beside / "credentials" / said, False)


def environment(
    given: Credential | None, inherited: Mapping[str, str], own: Mapping[str, str], agent: Variables
) -> dict[str, str]:
    """What an agent gets: what it inherits, the credential of its account, and over both what its job says (`own`).

    No inherited variable of the same CLI wins over the credential. A job that brings a credential of its own keeps it.
    Raises NoCredential.
    """
    if given is None:
        return {**inherited, **own}
    variables = given.variables or agent
    names = {given.variable, *variables.rivals, *(name for _, name in variables.takes)}
    if names & own.keys():
        return {**inherited, **own}
    value = read(given)
    kept = {name: one for name, one in inherited.items() if name not in names}
    return {**kept, given.variable or _variable(given, value, variables): value, **own}


def _variable(given: Credential, value: str, variables: Variables) -> str:
    for start, name in variables.takes:
        if value.startswith(start):
            return name
    if not variables.takes:
        raise _refused(given, f"no variable is known for its agent: {_say(given)}")
    starts = " or ".join(f"{start}..." for start, _ in variables.takes)
    raise _refused(given, f"{given.path} does not begin with {starts}: {_say(given)}")


def _say(given: Credential) -> str:
    return f'say credential_variable = "NAME" in [accounts.{given.account}]'


def _refused(given: Credential, why: str) -> NoCredential:
    return NoCredential(f"credential of {given.account}: {why}")


def recall(given: Credential | None) -> None:
    """Know the credential of an agent that runs already, as far as its file still has it: it is not to be told."""
    if given is not None:
        with suppress(NoCredential, NotNow):
            read(given)


# --- reading -----------------------------------------------------------------------------------


def read(given: Credential) -> str:
    """The credential as its file has it now, without a newline at its end.

    Raises NoCredential, and NotNow where the machine lacks what reading takes.
    """
    try:
        value = _text(_bytes(given))
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in PASSING:
            raise NotNow(f"cannot read {given.path}: {_why(error)}") from None
        raise _refused(given, f"{given.path}: {_why(error)}") from None
    redact.learn(value)
    return value


def _why(error: OSError | ValueError) -> str:
    if not isinstance(error, OSError):
        return str(error)
    if error.errno == errno.ELOOP:
        return "must be a regular file, not a symbolic link"
    return (error.strerror or str(error)).lower()


def _bytes(given: Credential) -> bytes:
    fd = os.open(given.path, FLAGS)
    with os.fdopen(fd, "rb") as opened:
        _check(os.fstat(fd), granted=given.granted)
        return opened.read(LARGEST + 1)


def _check(found: os.stat_result, *, granted: bool) -> None:
    """Raises ValueError where others could have written the file, or could read it."""
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("must be a regular file")
    if found.st_uid not in {os.geteuid(), 0}:
        raise ValueError(f"must belong to this user or to root, not to uid {found.st_uid}")
    if found.st_mode & (0o027 if granted else 0o077):
        raise ValueError(f"must be for its owner alone (chmod 600), not mode {stat.S_IMODE(found.st_mode):04o}")


def _text(raw: bytes) -> str:
    if len(raw) > LARGEST:
        raise ValueError(f"must be at most {LARGEST:,} bytes")
    if b"\0" in raw:
        raise ValueError("must not hold a NUL character")
    try:
        value = raw.decode()
    except UnicodeDecodeError:
        raise ValueError("must be UTF-8 text") from None
    value = value.removesuffix("\n").removesuffix("\r")
    if not value.strip():
        raise ValueError("is empty")
    if len(value) < SHORTEST:
        raise ValueError(f"must be at least {SHORTEST} characters long")
    return value
