"""Tries mutants: each in a process of its own that has collected the tests before, and runs those that it concerns."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from enum import Enum
from math import ceil

import pytest


class End(Enum):
    """What came of a mutant. One that never comes to an end is noticed too."""

    KILLED = "killed"
    SURVIVED = "survived"
    TIMED_OUT = "timed out"
    UNTRIED = "no test"


class Trials:
    """The tests that each changed thing concerns, the quickest first."""

    def __init__(self) -> None:
        self._concerned: dict[str, list[tuple[float, pytest.Item]]] = {}

    def note(self, item: pytest.Item, uses: Callable[[], set[str]], *, slow: float = float("inf")) -> None:
        """Run a test as it is, for what it uses; one that takes longer than `slow` seconds is not asked."""
        began = time.process_time()
        run([item])
        took = time.process_time() - began
        for thing in uses() if took < slow else ():
            self._concerned.setdefault(thing, []).append((took, item))

    def of(self, thing: str) -> list[pytest.Item]:
        return [item for _, item in sorted(self._concerned.get(thing, ()), key=lambda one: one[0])]

    def end(self, thing: str, change: Callable[[], None]) -> End:
        """What comes of a change of a thing."""
        items = self.of(thing)
        if not items:
            return End.UNTRIED
        child = os.fork()
        if not child:
            _bounded(2 + 10 * sum(took for took, _ in self._concerned[thing]))
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            items[0].config.pluginmanager.register(_FirstFailure())
            change()
            run(items)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
            return End.TIMED_OUT
        return End.KILLED if status else End.SURVIVED


class Quiet:
    """A plugin that prints no letter for each test."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str]:
        return report.outcome, "", ""


class _FirstFailure:
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os._exit(1)


def _bounded(seconds: float) -> None:
    """Bound this process's time on a processor: a loaded machine is no reason to end it."""
    most = ceil(time.process_time() + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(items: Sequence[pytest.Item]) -> None:
    """Run tests in this order."""
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def forget() -> None:
    """Empty the package's caches: what was found before a change hides it."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "tidegate":
            for value in list(vars(module).values()):
                if clear := getattr(value, "cache_clear", None):
                    clear()
