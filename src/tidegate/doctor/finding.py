"""What a look finds, and what it may know beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tidegate import settings
from tidegate.errors import BadSetting
from tidegate.settings import Settings


class Verdict(StrEnum):
    """How it is: a warning where tidegate works but may surprise, wrong where it cannot work or must not."""

    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: which check, how it is, in words, and what to do where it is not ok.

    A deep look also names the `kind` of what it found, and what a repair would do about it (`mend`).
    """

    check: str
    verdict: Verdict
    said: str
    do: str = ""
    kind: str = ""
    mend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is looked at. `settings` are those in force, the defaults where the configuration is wrong."""

    state: Path
    config: str | None
    environ: Mapping[str, str]
    settings: Settings

    @classmethod
    def of(cls, state: Path, config: str | None, environ: Mapping[str, str]) -> Case:
        """The case of this process."""
        try:
            said = settings.load(config, environ).settings
        except BadSetting:  # a look of its own tells
            said = Settings()
        return cls(state=state, config=config, environ=environ, settings=said)


Look = Callable[[str, Case], Iterable[Finding]]


def ok(check: str, said: str) -> Finding:
    """As it should be."""
    return Finding(check=check, verdict=Verdict.OK, said=said)


def warning(check: str, said: str, do: str = "") -> Finding:
    """Works, but may surprise."""
    return Finding(check=check, verdict=Verdict.WARNING, said=said, do=do)


def wrong(check: str, said: str, do: str) -> Finding:
    """Does not work, or must not stay so."""
    return Finding(check=check, verdict=Verdict.WRONG, said=said, do=do)
