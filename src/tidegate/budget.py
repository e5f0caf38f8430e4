"""Decides what an attempt has cost, and whether a budget is spent."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo
from typing import Final

from msgspec.structs import astuple

from tidegate.model import Allowance, Attempt, Hold, Origin, Spent, Usage, Window

FIGURES: Final = ("input_tokens", "output_tokens", "cost_usd")
MICRO: Final = 1_000_000
EXACT: Final = 9  # digits after the point to which money is added up
SPENT: Final = "budget spent: "  # how the reason of a hold begins
ANY: Final = Allowance()
COMMAND: Final = "command"  # an agent of which nobody expects that it tells what it costs


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


# --- what was spent ---


def is_counted(usage: Usage | None, agent: str) -> bool:
    """Whether an attempt belongs in the books of money where nobody has said a budget."""
    return usage is not None or agent != COMMAND


def spent_by(attempt: Attempt, agent: str) -> Spent:
    """What an attempt that has ended has used; one that is not expected to tell of money is none that has not told."""
    usage = attempt.usage or Usage()
    tokens = [one for one in (usage.input_tokens, usage.output_tokens) if one is not None]
    lasted = (attempt.ended_at or attempt.started_at) - attempt.started_at
    return Spent(
        attempts=int(is_counted(attempt.usage, agent)),
        usd_told=int(usage.cost_usd is not None),
        microdollars=max(round((usage.cost_usd or 0.0) * MICRO), 0),
        tokens_told=int(bool(tokens)),
        tokens=sum(tokens),
        milliseconds=max(lasted // timedelta(milliseconds=1), 0),  # less than nothing: the clock was set back
    )


def added(some: Iterable[Spent]) -> Spent:
    """Several as one."""
    columns = list(zip(*map(astuple, some), strict=True))
    names = Spent.__struct_fields__
    return Spent(**dict(zip(names, map(sum, columns), strict=True))) if columns else Spent()


def day(now: datetime, zone: tzinfo) -> str:
    """The calendar day of an instant: 2026-01-09."""
    return now.astimezone(zone).date().isoformat()


def next_day(now: datetime, zone: tzinfo) -> datetime:
    """When the next calendar day begins."""
    midnight = now.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    return (midnight + timedelta(days=1)).replace(tzinfo=zone).astimezone(now.tzinfo)


# --- what may be spent ---


def reached(allowance: Allowance, spent: Spent) -> str:
    """What is spent of an allowance, in words; "" where there is still some of everything."""
    found = []
    if allowance.usd is not None and spent.microdollars >= round(allowance.usd * MICRO):
        found.append(f"{money(spent)} of {dollars(allowance.usd)}")
    if allowance.tokens is not None and spent.tokens >= allowance.tokens:
        found.append(f"{tokens(spent)} of {allowance.tokens:,} tokens")
    if allowance.wall is not None and spent.milliseconds >= allowance.wall * 1000:
        found.append(f"{length(spent.milliseconds / 1000)} of {length(allowance.wall)}")
    return ", ".join(found)


def hold_for(scope: str, words: str, now: datetime, until: datetime | None) -> Hold:
    """The hold of a scope whose budget is spent; `until` is the end of the day where it is that of a day."""
    window, of_day = (Window.SPEND, "") if until is None else (Window.DAY, " today")
    reason = f"{SPENT}{words}{of_day}"
    return Hold(scope=scope, origin=Origin.BUDGET, window=window, since=now, until=until, reason=reason, by="tidegate")


# --- in words ---


def dollars(usd: float) -> str:
    """An amount of money: "$12.40", "$0.0004"."""
    return f"${usd:,.2f}" if usd >= 0.01 or usd == 0 else f"${usd:.6f}".rstrip("0")


def length(seconds: float) -> str:
    """A length of time: "8 h", "1 h 30 min", "45 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (0 if hours else rest, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"


def money(spent: Spent) -> str:
    """What is known to be spent; "≥" where some attempts have not told."""
    sure = "" if spent.usd_told == spent.attempts else "≥ "
    return f"{sure}{dollars(spent.microdollars / MICRO)}"


def tokens(spent: Spent) -> str:
    """The tokens that are known to be spent."""
    return f"{'' if spent.tokens_told == spent.attempts else '≥ '}{spent.tokens:,}"


def unknown(spent: Spent) -> str:
    """How many attempts have not told what they cost: " (3 attempts unknown)", "" where all have."""
    silent = spent.attempts - spent.usd_told
    return f" ({silent} attempt{'s' if silent != 1 else ''} unknown)" if silent else ""
