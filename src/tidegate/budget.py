"""Decides what an attempt has cost, and what may still be spent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tidegate.model import Usage

FIGURES: Final = ("input_tokens", "output_tokens", "cost_usd")
EXACT: Final = 9  # digits after the point to which money is added up


def own(usage: Usage, before: Iterable[Usage]) -> Usage:
    """What an attempt has used itself; `before` is what earlier attempts have used in the same session.

    A figure of the whole session that is less than what came before it is no such figure: the session has forgotten
    them, as it does where its agent was killed.
    """
    said = list(before)
    known = {name: getattr(usage, name) for name in FIGURES}
    for name in usage.of_session:
        spent = sum(getattr(one, name) or 0 for one in said)
        if known[name] is not None and known[name] >= spent:
            known[name] = round(known[name] - spent, EXACT)
    return Usage(**known)
