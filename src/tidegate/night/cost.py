"""What a night cost, as the agents report it; what is missing is unknown, never nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from tidegate import budget, stages
from tidegate.model import Attempt, Job
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


def total(attempts: Iterable[Attempt], jobs: Iterable[Job]) -> Cost:
    """What these attempts of these jobs cost together; a plain command that says nothing of money has cost none."""
    agents = {(job.id, stage): agent for job in jobs for stage, agent in _agents(job)}
    begun = [one for one in attempts if one.outcome not in (None, NEVER_BEGUN)]
    begun = [one for one in begun if budget.is_counted(one.usage, agents[one.job, one.stage])]
    usages = [one.usage for one in begun]
    return Cost(
        usd=_known([usage.cost_usd if usage else None for usage in usages]),
        input_tokens=_known([usage.input_tokens if usage else None for usage in usages]),
        output_tokens=_known([usage.output_tokens if usage else None for usage in usages]),
    )


def _agents(job: Job) -> Iterator[tuple[str, str]]:
    """The agent of each stage of a job."""
    yield "", job.spec.agent
    for name, stage in stages.named(job.spec):
        yield name, stage.agent


def _known(said: Iterable[float | None]) -> Known:
    numbers = list(said)
    told = [one for one in numbers if one is not None]
    return Known(sum(told) if told else None, len(told), len(numbers) - len(told))
