"""Where tidegate keeps things: names of directories and files, none of them opened here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

MACHINE_CONFIG = Path("/etc/tidegate/config.toml")


def state_dir(flag: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Path:
    """The state directory, absolute: the flag's, else `$TIDEGATE_STATE_DIR`, else systemd's `$STATE_DIRECTORY`,
    else `${XDG_STATE_HOME:-~/.local/state}/tidegate`.

    Of several directories in `$STATE_DIRECTORY` (systemd.exec(5): separated by colons) it is the first.
    """
    systemd = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    said = (os.fspath(flag) if flag is not None else "") or environ.get("TIDEGATE_STATE_DIR") or systemd
    return _expanded(said, environ).absolute() if said else _xdg("XDG_STATE_HOME", ".local/state", environ) / "tidegate"


def database(state: Path) -> Path:
    """The store's file."""
    return state / "tidegate.db"


def lock(state: Path) -> Path:
    """The file that the supervisor of a state directory holds a lock on."""
    return state / "lock"


def secrets(state: Path) -> Path:
    """The directory of the values that are not in the database."""
    return state / "secrets"


def backups(state: Path) -> Path:
    """The directory of backups that are not told to lie elsewhere."""
    return state / "backups"


def workspaces(state: Path) -> Path:
    """The directory of the directories that are made for jobs and are not told to lie elsewhere."""
    return state / "work"


def attempts(state: Path) -> Path:
    """The directory of every attempt's files."""
    return state / "attempts"


def attempt(state: Path, job: int, n: int) -> Path:
    """The directory of one attempt: named by internal ids, for a user's id may hold a slash."""
    return Path(f"{state}/attempts/{job}/{n}")


def config_files(flag: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The configuration files to read, the strongest first.

    A file that is named (by the flag, else by `$TIDEGATE_CONFIG`) is the only one and must exist. Otherwise the
    person's own, then the machine's; either may be missing.
    """
    said = (os.fspath(flag) if flag is not None else "") or environ.get("TIDEGATE_CONFIG", "")
    if said:
        return (_expanded(said, environ),)
    return (_xdg("XDG_CONFIG_HOME", ".config", environ) / "tidegate" / "config.toml", MACHINE_CONFIG)


def home(environ: Mapping[str, str]) -> Path:
    """The home directory: `$HOME`, else that of the user database."""
    return Path(environ.get("HOME") or Path("~").expanduser())


def _xdg(variable: str, fallback: str, environ: Mapping[str, str]) -> Path:
    said = Path(environ.get(variable, ""))
    return said if said.is_absolute() else home(environ) / fallback  # the XDG specification: ignore relative ones


def named(said: str, environ: Mapping[str, str], beside: Path) -> Path:
    """A path that a person has written, absolute: one that is relative lies beside something."""
    return beside / _expanded(said, environ)


def _expanded(said: str, environ: Mapping[str, str]) -> Path:
    return home(environ) / said[2:] if said == "~" or said.startswith("~/") else Path(said)
