"""Looks who supervises the state directory, and what systemd knows of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from tidegate import places
from tidegate.doctor.ask import Answer, ask
from tidegate.doctor.finding import Case, Finding, ok, warning, wrong
from tidegate.lock import owner, trouble

BOOTED = Path("/run/systemd/system")  # sd_booted(3)
UNIT, USER = "tidegate.service", ("--user",)
SHOWN = ("LoadState", "ActiveState", "SubState", "MainPID", "Result")


def supervisor(check: str, case: Case) -> Iterator[Finding]:
    """Who owns the lock."""
    pid = owner(places.lock(case.state))
    if pid is None:
        yield ok(check, "nobody works here: `tidegate serve`, or `tidegate run FILE`")
    elif _is_stopped(pid):
        yield warning(check, f"pid {pid} works here, but it is stopped", f"kill -CONT {pid}")
    else:
        yield ok(check, f"pid {pid} works here{_command(pid)}")
        if why := trouble(places.lock(case.state)):
            yield warning(check, f"pid {pid} can record nothing: {why}", "it goes on by itself when that is over")


def _is_stopped(pid: int) -> bool:
    """Whether a process is suspended, say by Ctrl-Z."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except (OSError, IndexError):
        return False


def _command(pid: int) -> str:
    try:
        words = os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).rstrip("\0").split("\0")
    except OSError:
        return ""
    return f" ({' '.join(words)[:200]})" if words != [""] else ""


def systemd(check: str, case: Case) -> Iterator[Finding]:
    """Whether it is there, and how the unit is."""
    if not BOOTED.is_dir():
        yield ok(check, "not the init of this machine: `tidegate serve` runs in a terminal, or under another one")
        return
    if case.environ.get("NOTIFY_SOCKET"):
        yield ok(check, "started this process")
        return
    unit = _unit(case)
    commands = {scope: ("systemctl", *scope, "show", unit, f"--property={','.join(SHOWN)}") for scope in ((), USER)}
    answers = ask(list(commands.values()), case.environ)
    for scope, answer in zip(commands, answers, strict=True):
        if told := _told(check, unit, " ".join(scope), answer):
            yield told
            return
    yield ok(check, f"booted; there is no {unit}: deploy/README.md tells how to install it")


def _unit(case: Case) -> str:
    """The unit of the supervisor that works here, an instance's maybe; else the usual one."""
    try:
        groups = Path(f"/proc/{owner(places.lock(case.state))}/cgroup").read_text()
    except OSError:
        groups = ""
    return next(iter(re.findall(r"/(tidegate[^/\s]*\.service)", groups)[-1:]), UNIT)


def _told(check: str, unit: str, scope: str, answer: Answer) -> Finding | None:
    """How the unit of one manager is; None where it knows none."""
    known = _properties(answer.stdout) if answer.exit == 0 else {}
    if known.get("LoadState") in (None, "not-found"):
        return None
    state = f"{unit}{f' ({scope})' if scope else ''} is {known.get('ActiveState')} ({known.get('SubState')})"
    look = f"systemctl {scope} status {unit}".replace("  ", " ")
    if known.get("ActiveState") == "failed":
        return wrong(check, f"{state}: {known.get('Result')}", look)
    if known.get("LoadState") != "loaded":
        return wrong(check, f"{unit} is {known.get('LoadState')}", look)
    pid = f", pid {known['MainPID']}" if known.get("MainPID", "0") != "0" else ""
    return ok(check, f"{state}{pid}")


def _properties(text: str) -> Mapping[str, str]:
    return {key: value for key, _, value in (line.partition("=") for line in text.splitlines())}
