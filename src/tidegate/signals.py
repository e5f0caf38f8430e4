"""Keeps the signals of this process, from its first moment to its last, until somebody acts on them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue

_come: SimpleQueue[int] = SimpleQueue()  # its put is the handler: in C, so that no storm of signals nests
_kept: set[signal.Signals] = set()


def keep(*numbers: signal.Signals) -> None:
    """Keep these, and those that are kept already, from now on: none ends or stops the process any more by itself.

    Who listens later hears of those that came before; after the last listener they are kept for nobody, so that none
    takes the last words away.
    """
    for number in numbers:
        signal.signal(number, _come.put)  # type: ignore[arg-type]  # it takes the frame for `block`, and never blocks
        signal.siginterrupt(number, False)  # noqa: FBT003 - its only form
    _kept.update(numbers)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _kept)  # who replaced this program by itself held them back meanwhile


def named(name: str) -> signal.Signals:
    """A signal by its name, as "SIGTERM"."""
    return signal.Signals[name]


def hold_back() -> None:
    """Let what comes, and what nobody has acted on, wait in the kernel for the program that this process becomes."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _kept)
    while (number := take()) is not None:
        signal.pthread_kill(threading.get_ident(), number)


def take() -> signal.Signals | None:
    """The oldest signal that nobody has acted on; None where there is none."""
    with suppress(Empty):
        return signal.Signals(_come.get_nowait())
    return None


@contextmanager
def arriving() -> Iterator[int]:
    """A descriptor that can be read when a signal has come; `settled` reads it."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)


def settled(arrivals: int) -> None:
    """Let the descriptor tell of the next signal: to be called before all that have come are taken."""
    with suppress(BlockingIOError):
        while len(os.read(arrivals, 4096)) == 4096:
            pass
