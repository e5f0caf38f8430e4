"""What a person expects of a job, as text: how long it takes, which share of a window it uses, or both."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import log, sqrt
from typing import Final

from msgspec import Struct

from tidegate import allowed
from tidegate.allowed import LENGTH, Wrong
from tidegate.budget import length
from tidegate.model import NewJob, Share

MOST: Final = 1000  # percent of a window
STEP: Final = 1.5  # by which shares differ that are not about the same
DIGITS: Final = 6  # behind the point, in what is read again
PERCENT: Final = r"(\d{1,4}(?:\.\d{1,6})?)\s*%"
SHARE: Final = re.compile(rf"{PERCENT}(?:\s*(?:±|\+-|\+/-)\s*{PERCENT})?", re.ASCII)
TEXT: Final = rf"^\s*(?:[^,%]+,\s*)?{SHARE.pattern}\s*(?:,[^,%]+)?$"
WANTED: Final = (
    'must be a length of time ("10m", or seconds), a share of the 5-hour window ("2%", "2% ± 1%"), or both: "10m, 2%"'
)


class Hint(Struct, frozen=True):
    """How many seconds a job is expected to take, and which share of a window it is to use; None: nobody says."""

    seconds: float | None = None
    share: Share | None = None


def hint(value: object) -> Hint:
    """A length of time as `allowed.seconds` has it, a share in percent, maybe with its spread, or both."""
    if not isinstance(value, str) or "%" not in value:
        return Hint(_seconds(value))
    parts = [part.strip() for part in value.split(",")]
    shares = [part for part in parts if "%" in part]
    if len(parts) > 2 or len(shares) > 1:
        raise Wrong(f"{WANTED}, {allowed.but(value)}")
    lengths = [part for part in parts if "%" not in part]
    return Hint(_seconds(lengths[0]) if lengths else None, _share(shares[0], value))


def _seconds(value: object) -> float:
    try:
        return allowed.seconds()(value)
    except Wrong as wrong:
        raise Wrong(f"{WANTED}, {allowed.but(value)}" if "must be seconds" in str(wrong) else str(wrong)) from None


def _share(said: str, whole: str) -> Share:
    found = SHARE.fullmatch(said)
    if found is None:
        raise Wrong(f"{WANTED}, {allowed.but(whole)}")
    mean, spread = float(found[1]), float(found[2] or 0)
    if not 0 < mean <= MOST or spread > MOST:
        raise Wrong(f"must be more than 0 % and at most {MOST} % of a window, {allowed.but(whole)}")
    return Share(mean / 100, spread / 100 if found[2] is not None else None)


_NUMBER = {"type": "number", "minimum": 0, "maximum": allowed.DAYS_MOST * 86400}
allowed.says(hint, {"anyOf": [_NUMBER, {"type": "string", "pattern": LENGTH}, {"type": "string", "pattern": TEXT}]})


# --- and back ---


def words(share: Share, digits: int = DIGITS) -> str:
    """A share as people write it: "2%", "2% ± 1%"."""
    spread = "" if share.spread is None else f" ± {_plain(share.spread * 100, digits)}%"
    return f"{_plain(share.mean * 100, digits)}%{spread}"


def written(seconds: float | None, share: Share | None) -> float | str | None:
    """What `hint` reads as the same: a number where it is of time alone; None where nothing is said."""
    if share is None:
        return int(seconds) if seconds is not None and seconds.is_integer() else seconds
    length = "" if seconds is None else f"{_plain(seconds)}s, "
    return length + words(share)


def said(seconds: float | None, share: Share | None) -> str:
    """The same in a sentence: "10 min, 2% ± 1% of a 5-hour window"; "" where nothing is said."""
    parts = (length(seconds) if seconds is not None else "", f"{words(share, 2)} of a 5-hour window" if share else "")
    return ", ".join(part for part in parts if part)


def kind(group: str, expect: float | None, share: Share | None) -> str:
    """A name for the jobs of a group of which about as much is expected: what these have cost tells of one another."""
    if share is not None:
        return f"{group} ~{_about(share.mean * 100)}%"
    return group if expect is None else f"{group} ~{_about(expect)}s"


def _about(number: float) -> str:
    return f"{STEP ** round(log(number, STEP)):.2g}"


def total(jobs: Iterable[NewJob]) -> tuple[Hint, int]:
    """What is expected of several jobs together, and of how many of them anything is."""
    told = [job for job in jobs if job.expect is not None or job.share is not None]
    lengths = [job.expect for job in told if job.expect is not None]
    shares = [job.share for job in told if job.share is not None]
    spread = sqrt(sum((one.spread or 0.0) ** 2 for one in shares)) if any(one.spread for one in shares) else None
    share = Share(sum(one.mean for one in shares), spread) if shares else None
    return Hint(sum(lengths) if lengths else None, share), len(told)


def _plain(number: float, digits: int = DIGITS) -> str:
    return f"{number:.{digits}f}".rstrip("0").rstrip(".")
