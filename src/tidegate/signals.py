"""Keeps the signals of this process, from its first moment to its last, until somebody acts on them."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class _Kept:
    """The signals that have come and not been acted on; `wake` is told of each."""

    def __init__(self) -> None:
        self.numbers: set[signal.Signals] = set()
        self.come: deque[signal.Signals] = deque()
        self.wake: Callable[[], object] | None = None
        self._is_waking = False

    def __call__(self, number: int, _frame: object) -> None:
        self.come.append(signal.Signals(number))
        if self.wake is None or self._is_waking:  # one that comes while another wakes is seen by whom that one wakes
            return
        self._is_waking = True
        try:
            self.wake()
        finally:
            self._is_waking = False


_kept = _Kept()


def keep(*numbers: signal.Signals) -> None:
    """Keep these, and those that are kept already, from now on: none ends or stops the process any more by itself.

    Who listens later hears of those that came before; after the last listener they are kept for nobody, so that none
    takes the last words away.
    """
    for number in numbers:
        signal.signal(number, _kept)
        signal.siginterrupt(number, False)  # noqa: FBT003 - its only form
    _kept.numbers.update(numbers)
    signal.pthread_sigmask(
        signal.SIG_UNBLOCK, _kept.numbers
    )  # who replaced this program by itself held them back meanwhile


def named(name: str) -> signal.Signals:
    """A signal by its name, as "SIGTERM"."""
    return signal.Signals[name]


def hold_back() -> None:
    """Let what is kept wait in the kernel: for the program that this process is going to become."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _kept.numbers)


def take() -> signal.Signals | None:
    """The oldest signal that nobody has acted on; None where there is none."""
    return _kept.come.popleft() if _kept.come else None


@contextmanager
def waking(wake: Callable[[], object]) -> Iterator[None]:
    """Call `wake` when a signal comes, between any two instructions of the main thread."""
    _kept.wake = wake
    try:
        yield
    finally:
        _kept.wake = None
