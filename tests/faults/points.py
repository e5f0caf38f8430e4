"""Names the moments at which a process of tidegate can be killed, and wraps them from outside.

FAULT_POINT names one of them, FAULT_AT the hit that counts (1, the first, where it is missing), FAULT_SIGNAL what the
process then sends to itself. FAULT_TRACE is a file to which each point is written the first time that it is hit.

Points of a transaction are `before` (nothing is written), `committing` (all is written, nothing is on the disk) and
`committed` (on the disk, and nobody has been told); those of what a transaction tells are `written` (in the middle of
it) and `committed`; those of any other step are `before` and `after`.
"""

from __future__ import annotations

import importlib
import inspect
import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Final, NamedTuple

from tidegate.stores.connection import Connection
from tidegate.stores.sqlite import SqliteStore, _Rows


class Point(NamedTuple):
    """A moment: `who` is killed at it ("supervisor", or a verb), once `by` is done where it does not come by itself."""

    name: str
    who: str = "supervisor"
    by: str = ""


SUPERVISOR: Final = "supervisor"
TRANSACTIONS: Final = {  # methods of the store, with who is killed and what provokes them
    "enter": (SUPERVISOR, ""),
    "adopt": (SUPERVISOR, "launch.spawn:after"),
    "set_accounts": (SUPERVISOR, ""),
    "keep_hours": (SUPERVISOR, ""),
    "claim": (SUPERVISOR, ""),
    "unclaim": (SUPERVISOR, "launch.intent:before"),
    "note_session": (SUPERVISOR, ""),
    "note_progress": (SUPERVISOR, ""),
    "note_rest": (SUPERVISOR, "freeze"),
    "note_signals": (SUPERVISOR, ""),
    "hold": (SUPERVISOR, ""),
    "lift": (SUPERVISOR, ""),
    "finish": (SUPERVISOR, ""),
    "answered": (SUPERVISOR, "drain"),
    "leave": (SUPERVISOR, "TERM"),
    "submit": ("submit", "submit"),
    "ask": ("drain", "drain"),
    "cancel": ("cancel", "cancel"),
    "retry": ("retry", "retry"),
    "edit": ("edit", "edit"),
    "set_priority": ("priority", "priority"),
}
TOLD: Final = {  # events that a transaction writes, and what provokes them
    "supervisor entered": "",
    "supervisor left": "TERM",
    "attempt claimed": "",
    "attempt unclaimed": "launch.intent:before",
    "attempt adopted": "launch.spawn:after",
    "attempt frozen": "freeze",
    "attempt thawed": "freeze",
    "attempt ended": "",
    "job ended": "",
    "gate shut": "",
    "gate moved": "refusals",
    "gate reopening": "",
    "gate ramped": "",
    "gate opened": "",
    "gate lifted": "brief",
}
STEPS: Final = {  # further steps: where they are, who is killed, what provokes them
    "lock": ("tidegate.daemon:incarnation", SUPERVISOR, ""),  # the state directory is owned, nobody is entered
    "hand_over": ("tidegate.supervisor:Supervisor._hand_over", SUPERVISOR, ""),
    "give_back": ("tidegate.supervisor:Supervisor._give_back", SUPERVISOR, "launch.intent:before"),
    "launch": ("tidegate.launch:launch", SUPERVISOR, ""),
    "launch.directory": ("tidegate.launch:_make", SUPERVISOR, ""),
    "launch.lock": ("tidegate.launch:_take", SUPERVISOR, ""),
    "launch.intent": ("tidegate.launch:_write_down", SUPERVISOR, ""),
    "launch.spawn": ("tidegate.launch:_spawn", SUPERVISOR, ""),
    "adopt.shim": ("tidegate.launch:adopt", SUPERVISOR, "launch.spawn:after"),
    "shut.here": ("tidegate.gate:Gate.shut", SUPERVISOR, ""),
    "shut": ("tidegate.supervisor:Supervisor.hold", SUPERVISOR, ""),
    "ended": ("tidegate.launch.child:Child.wait", SUPERVISOR, ""),
    "sweep": ("tidegate.launch.child:Child.sweep", SUPERVISOR, ""),
    "judge": ("tidegate.attempt:Running._judge", SUPERVISOR, ""),
    "record": ("tidegate.supervisor:Supervisor._record", SUPERVISOR, ""),
    "asked": ("tidegate.handover:write_asked", SUPERVISOR, "cancel"),
    "end": ("tidegate.launch.child:Child.end", SUPERVISOR, "cancel"),
    "rest": ("tidegate.handover:write_rest", SUPERVISOR, "freeze"),
    "freeze": ("tidegate.launch.child:Child.freeze", SUPERVISOR, "freeze"),
    "thaw": ("tidegate.launch.child:Child.thaw", SUPERVISOR, "freeze"),
    "reload": ("tidegate.serve:_reload", SUPERVISOR, "HUP"),
    "upgrade.trial": ("tidegate.upgrade:trial", SUPERVISOR, "upgrade"),
    "upgrade.become": ("tidegate.upgrade:become", SUPERVISOR, "upgrade"),
    "upgrade.handed_over": ("tidegate.upgrade:_bury", SUPERVISOR, "upgrade"),  # by the new program, which has the lock
    "acknowledge": ("tidegate.cli.submit:_kept", "submit", "submit"),
    "ring": ("tidegate.doorbell:ring", "submit", "submit"),
}
NEVER: Final = {"upgrade.become:after"}  # who has become another program does not return


def _points() -> dict[str, Point]:
    found = [
        Point(f"{name}:{moment}", who, by)
        for name, (who, by) in TRANSACTIONS.items()
        for moment in ("before", "committing", "committed")
    ]
    found += [Point(f"{name}:{moment}", SUPERVISOR, by) for name, by in TOLD.items() for moment in MOMENTS_TOLD]
    found += [
        Point(f"{name}:{moment}", who, by) for name, (_, who, by) in STEPS.items() for moment in ("before", "after")
    ]
    return {point.name: point for point in found if point.name not in NEVER}


MOMENTS_TOLD: Final = ("written", "committed")
POINTS: Final = _points()


def placed(place: str) -> tuple[Any, str]:
    """The owner of what a place names, and its attribute. Raises AttributeError where there is none any more."""
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *way, last = path.split(".")
    for name in way:
        owner = getattr(owner, name)
    getattr(owner, last)
    return owner, last


# --- arming ----------------------------------------------------------------------------------------------------------


class _Armed:
    """What has been hit so far, and the hit at which to die."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._point = environ.get("FAULT_POINT", "")
        self._left = int(environ.get("FAULT_AT", "1"))
        self._signal = signal.Signals[environ.get("FAULT_SIGNAL", "SIGKILL")]
        self._trace = environ.get("FAULT_TRACE", "")
        self._hits: Counter[str] = Counter()

    def hit(self, name: str) -> None:
        self._hits[name] += 1
        if self._trace and self._hits[name] == 1:
            _append(self._trace, name)
        if name == self._point and self._hits[name] == self._left:
            os.kill(os.getpid(), self._signal)


def _append(path: str, line: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, f"{line}\n".encode())
    os.close(fd)


def arm(environ: Mapping[str, str]) -> None:
    """Wrap every point of this process; without FAULT_POINT and FAULT_TRACE nothing."""
    if not environ.get("FAULT_POINT") and not environ.get("FAULT_TRACE"):
        return
    armed = _Armed(environ)
    for name, (place, _, _) in STEPS.items():
        owner, attribute = placed(place)
        setattr(owner, attribute, _step(getattr(owner, attribute), name, armed.hit))
    _Transactions(armed.hit).wrap()


def _step(real: Callable[..., Any], name: str, hit: Callable[[str], None]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(real):

        @wraps(real)
        async def waited(*args: Any, **kwargs: Any) -> Any:
            hit(f"{name}:before")
            result = await real(*args, **kwargs)
            hit(f"{name}:after")
            return result

        return waited

    @wraps(real)
    def called(*args: Any, **kwargs: Any) -> Any:
        hit(f"{name}:before")
        result = real(*args, **kwargs)
        hit(f"{name}:after")
        return result

    return called


class _Transactions:
    """Knows which calls, and which events, the commit that comes next brings to the disk."""

    def __init__(self, hit: Callable[[str], None]) -> None:
        self._hit = hit
        self._calls: list[str] = []
        self._told: list[str] = []

    def wrap(self) -> None:
        for name in TRANSACTIONS:
            setattr(SqliteStore, name, self._call(getattr(SqliteStore, name), name))
        setattr(_Rows, "event", self._event(_Rows.event))  # noqa: B010 - mypy knows it as a method
        setattr(Connection, "run", self._run(Connection.run))  # noqa: B010

    def _call(self, real: Callable[..., Any], name: str) -> Callable[..., Any]:
        @wraps(real)
        def called(*args: Any, **kwargs: Any) -> Any:
            self._hit(f"{name}:before")
            self._calls.append(name)
            try:
                return real(*args, **kwargs)
            except BaseException:
                if name in self._calls:  # it wrote nothing
                    self._calls.remove(name)
                raise

        return called

    def _event(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(real)
        def event(rows: Any, at: Any, name: str, **more: Any) -> Any:
            seq = real(rows, at, name, **more)
            if name in TOLD:
                self._told.append(name)
                self._hit(f"{name}:written")
            return seq

        return event

    def _run(self, real: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(real)
        def run(file: Any, statement: str, /, **bind: Any) -> Any:
            if statement != "commit":
                return real(file, statement, **bind)
            calls, told = self._calls, self._told
            self._calls, self._told = [], []
            for name in calls:
                self._hit(f"{name}:committing")
            result = real(file, statement, **bind)
            for name in (*calls, *told):
                self._hit(f"{name}:committed")
            return result

        return run
