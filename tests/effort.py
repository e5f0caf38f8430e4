"""How much of what could be tried is tried: a part of it, or with CAMPAIGN=1 in the environment all of it."""

from __future__ import annotations

import os

WHOLE = bool(os.environ.get("CAMPAIGN"))


def of(part: int, whole: int) -> int:
    """How many: `part` in a usual run, `whole` in a campaign."""
    return whole if WHOLE else part
