"""How much room there is where the state directory lies, and whether that is enough to launch anything."""

from __future__ import annotations

import os
from pathlib import Path

from tidegate import policy
from tidegate.look.words import amount

FILES, SHARE = 1000, 20  # further files that must fit, at most one in so many of all that can ever be there


def scarce(state: Path, least: int | None, *, held: bool) -> str:
    """Why nothing may be launched, with the figures: fewer than `least` bytes, or no room for files; "" where it may.

    `held`: launching is shut for it already. Where nobody can tell there is enough; None for `least` is no bound.
    """
    if least is None:
        return ""
    try:
        found = os.statvfs(state)
    except OSError:  # gone, or not for this user: whoever writes there tells
        return ""
    free = found.f_bavail * found.f_frsize
    if policy.is_scarce(free, least, held=held):
        whole = amount(found.f_blocks * found.f_frsize)
        return f"only {amount(free)} of {whole} are free, min_free_disk is {amount(least)}"
    if policy.is_scarce(found.f_favail, min(FILES, found.f_files // SHARE), held=held):
        return f"only {found.f_favail} further files fit on the disk"
    return ""
