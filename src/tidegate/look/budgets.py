"""Tells what may be spent, and how much of that is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tidegate import budget
from tidegate.look import plain
from tidegate.look.why import scope_words
from tidegate.model import Allowance, Balance, Exceed, Spent

AFTER = {
    Exceed.WARN: "only told",
    Exceed.STOP: "nothing more is launched",
    Exceed.CANCEL: "what is left is cancelled",
}


def line(one: Balance) -> str:
    """A budget in one line: "claude-max: ≥ $12.40 of $50.00 (3 attempts unknown), $2.00 of $20.00 today"."""
    parts = [*_parts(one.budget.whole, one.spent, ""), *_parts(one.budget.day, one.today, " today")]
    spent = any(is_spent for is_spent, _ in parts)
    then = f": spent, {AFTER[one.budget.on_exceed]}" if spent else ""
    return f"{scope_words(one.scope)}: {', '.join(words for _, words in parts)}{then}"


def _parts(allowance: Allowance, spent: Spent, when: str) -> Iterator[tuple[bool, str]]:
    """Each figure of an allowance, and whether it is spent."""
    if allowance.usd is not None:
        words = f"{budget.money(spent)} of {budget.dollars(allowance.usd)}{when}{budget.unknown(spent)}"
        yield bool(budget.reached(Allowance(usd=allowance.usd), spent)), words
    if allowance.tokens is not None:
        words = f"{budget.tokens(spent)} of {allowance.tokens:,} tokens{when}"
        yield bool(budget.reached(Allowance(tokens=allowance.tokens), spent)), words
    if allowance.wall is not None:
        words = f"{budget.length(spent.milliseconds / 1000)} of {budget.length(allowance.wall)} of work{when}"
        yield bool(budget.reached(Allowance(wall=allowance.wall), spent)), words


def form(one: Balance) -> plain.Form:
    """A budget as JSON says it."""
    whole, day = (
        {"spent": _spent(spent), "of": _of(allowance), "reached": bool(budget.reached(allowance, spent))}
        for allowance, spent in ((one.budget.whole, one.spent), (one.budget.day, one.today))
    )
    on_exceed = one.budget.on_exceed.value
    return {"scope": one.scope, "source": one.source, "on_exceed": on_exceed, "whole": whole, "day": day}


def forms(some: Iterable[Balance]) -> list[plain.Form]:
    """Several."""
    return [form(one) for one in some]


def _spent(spent: Spent) -> plain.Form:
    return {
        "usd": spent.microdollars / budget.MICRO if spent.usd_told else None,
        "usd_unknown_of": spent.attempts - spent.usd_told,
        "tokens": spent.tokens if spent.tokens_told else None,
        "tokens_unknown_of": spent.attempts - spent.tokens_told,
        "wall": spent.milliseconds / 1000,
        "attempts": spent.attempts,
    }


def _of(allowance: Allowance) -> plain.Form:
    return {"usd": allowance.usd, "tokens": allowance.tokens, "wall": allowance.wall}
