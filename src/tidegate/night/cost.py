"""What a night cost, as the agents report it; what is missing is unknown, never nothing."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from tidegate.model import Attempt
from tidegate.night.ends import NEVER_BEGUN


class Known(Struct, frozen=True):
    """A sum of what `told` attempts said, None where none did; `silent` ones said nothing of it."""

    total: float | None
    told: int
    silent: int


class Cost(Struct, frozen=True, kw_only=True):
    """Money and tokens of attempts."""

    usd: Known
    input_tokens: Known
    output_tokens: Known


def total(attempts: Iterable[Attempt]) -> Cost:
    """What these attempts cost together."""
    begun = [one for one in attempts if one.outcome != NEVER_BEGUN]
    usages = [one.usage for one in begun]
    return Cost(
        usd=_known([usage.cost_usd if usage else None for usage in usages]),
        input_tokens=_known([usage.input_tokens if usage else None for usage in usages]),
        output_tokens=_known([usage.output_tokens if usage else None for usage in usages]),
    )


def _known(said: Iterable[float | None]) -> Known:
    numbers = list(said)
    told = [one for one in numbers if one is not None]
    return Known(sum(told) if told else None, len(told), len(numbers) - len(told))
