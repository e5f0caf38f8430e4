"""Signals: each is kept from the first moment on, in its order, until somebody acts on it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tidegate import signals

ONE, TWO = signal.SIGUSR1, signal.SIGUSR2


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """This process as it was before."""
    handlers = {number: signal.getsignal(number) for number in (ONE, TWO)}
    yield
    signals.keep()
    while signals.take() is not None:
        pass
    for number, handler in handlers.items():
        signal.signal(number, handler)
    signals._kept.clear()


def send(*numbers: signal.Signals) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def is_readable(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def test_what_came_before_anybody_listened_is_heard_in_its_order() -> None:
    signals.keep(ONE, signals.named("SIGUSR2"))
    send(TWO, ONE, TWO)
    assert [signals.take() for _ in range(4)] == [TWO, ONE, TWO, None]


def test_what_is_held_back_is_heard_where_the_change_of_programs_failed() -> None:
    signals.keep(ONE)
    signals.keep(TWO)
    send(ONE)
    signals.hold_back()
    signal.pthread_kill(threading.get_ident(), TWO)
    assert signals.take() is None
    assert {ONE, TWO} <= signal.sigpending()
    signals.keep()
    assert {signals.take(), signals.take()} == {ONE, TWO}


BEFORE = """if True:
    import os, signal, sys
    from tidegate import signals, upgrade
    signals.keep(signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)
    upgrade.become([sys.executable, "-c", sys.argv[1]], os.open(os.devnull, os.O_RDONLY))
"""
AFTER = """if True:
    import signal
    from tidegate import signals
    signals.keep(signal.SIGTERM)
    print(signals.take())
"""


def test_a_signal_that_nobody_acted_on_is_heard_by_the_program_that_follows() -> None:
    done = subprocess.run([sys.executable, "-c", BEFORE, AFTER], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{signal.SIGTERM}\n", "")


def test_an_arrival_wakes_until_it_is_settled() -> None:
    signals.keep(ONE)
    with signals.arriving() as arrivals:
        assert not is_readable(arrivals)
        send(ONE)
        assert is_readable(arrivals)
        signals.settled(arrivals)
        assert not is_readable(arrivals)
        assert signals.take() == ONE
        send(ONE)
        assert is_readable(arrivals)


def test_a_storm_of_signals_is_settled_at_once_and_none_is_lost() -> None:
    signals.keep(ONE)
    with signals.arriving() as arrivals:
        send(*[ONE] * 5000)
        signals.settled(arrivals)
        assert not is_readable(arrivals)
    assert [signals.take() for _ in range(5001)] == [*[ONE] * 5000, None]


def test_a_listener_that_leaves_gives_its_descriptor_back() -> None:
    signals.keep(ONE)
    before = set(Path("/proc/self/fd").iterdir())
    with signals.arriving() as outer:
        with signals.arriving():
            pass
        send(ONE)
        assert is_readable(outer), "the one that was there before hears again"
    assert set(Path("/proc/self/fd").iterdir()) == before
