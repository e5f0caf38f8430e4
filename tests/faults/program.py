"""Runs the real tidegate with its points wrapped (see `points`), or as the mother of many such processes.

    python tests/faults/program.py serve --slots 4      as `tidegate serve --slots 4`, once
    python tests/faults/program.py nursery              as often as it is asked to: a line of JSON for each process

A new interpreter takes half a second to import all of tidegate. The nursery has imported it, and forks: the child is
the program from its `main` on, in a session of its own. It is also the parent of whatever the dead leave behind.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults import plants, points

HERE = Path(__file__).resolve()
VERBS = ("submit", "edit", "cancel", "steer", "jobs", "upgrade", "wait", "define")
SUBREAPER, DEATH_SIGNAL = 36, 1


def main() -> NoReturn:
    """Be the program of this command line."""
    if sys.argv[1:] == ["nursery"]:
        _nurse()
    sys.argv[0] = "tidegate"
    _live()


def _live() -> NoReturn:
    from tidegate import __main__ as program  # noqa: PLC0415 - after a fork it is there

    points.arm(os.environ)
    plants.plant(os.environ)
    program.main()


# --- the nursery -----------------------------------------------------------------------------------------------------


def _nurse() -> NoReturn:
    """Answer each order with the pid of its process, and tell each end, until nobody asks any more."""
    _import_all()
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    waking, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    poll = select.poll()
    for fd in (0, waking):
        poll.register(fd, select.POLLIN)
    asked = b""
    while True:
        _bury()
        ready = {fd for fd, _ in poll.poll()}
        if waking in ready:
            with suppress(BlockingIOError):
                os.read(waking, 4096)
        if 0 in ready:
            if not (data := os.read(0, 65536)):
                os._exit(0)
            *orders, asked = (asked + data).split(b"\n")
            for order in orders:
                _bear(json.loads(order))


def _import_all() -> None:
    for name in ("serve", "run", "cli", "follow", "doctor", "check", "anyio_backend"):
        with suppress(ImportError):
            importlib.import_module(f"tidegate.{name}")
    for verb in VERBS:
        with suppress(ImportError):
            importlib.import_module(f"tidegate.cli.{verb}")
    importlib.import_module("anyio._backends._asyncio")


def _bury() -> None:
    """Tell of each process that has ended; also of the orphans, which nobody asks for."""
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            _tell({"pid": pid, "status": os.waitstatus_to_exitcode(status)})


def _tell(what: dict[str, int]) -> None:
    os.write(1, f"{json.dumps(what)}\n".encode())


def _bear(order: dict[str, Any]) -> None:
    pid = os.fork()
    if pid:
        _tell({"born": pid, "order": order["order"]})
        return
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)  # no supervisor outlives a campaign that is killed
    os.setsid()
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for fd, place in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(fd, place)
    os.closerange(3, 256)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = ["tidegate", *order["argv"]]
    sys.orig_argv = [sys.executable, str(HERE), *order["argv"]]
    _live()


if __name__ == "__main__":
    main()
