"""What every form of a report is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from tidegate.look.words import Page
from tidegate.model import Attempt, Job
from tidegate.night import Picture


class Told(Struct, frozen=True, kw_only=True):
    """A picture with where it lies and the page it is written for; `versions` are those of agents that are known."""

    picture: Picture
    state: Path
    page: Page
    versions: Mapping[str, Sequence[str]]

    def attempts(self) -> dict[int, list[Attempt]]:
        """The attempts of each job, first to last."""
        found: dict[int, list[Attempt]] = {job.id: [] for job in self.jobs}
        for attempt in self.picture.facts.attempts:
            found[attempt.job].append(attempt)
        return found

    @property
    def jobs(self) -> Sequence[Job]:
        """Every job of the batch."""
        return self.picture.facts.jobs

    @property
    def batch(self) -> str:
        """The batch's name."""
        return self.picture.facts.batch.name
