"""Which runs an experiment should have, by all that it left behind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct, field

from tidegate.scylla.found import Found, Table, inside, number, text
from tidegate.scylla.layout import TIER

RUNS_MOST = 1000  # of one subtest; more is a mistake in a file

Seen = Mapping[tuple[str, str], Sequence[int]]


class Expected(Struct, frozen=True, kw_only=True):
    """The experiment's own name, the runs that it should have by tier and subtest, in order, and what is not known.

    `marks` is how the checkpoint says that a run ended. `unknown` are tiers that were to run and left nothing.
    """

    name: str
    runs: Mapping[tuple[str, str], Sequence[int]]
    marks: Mapping[tuple[str, str, int], str] = field(default_factory=dict)
    unknown: Sequence[str] = ()


def expected(seen: Seen, tiers: Mapping[str, Found], checkpoint: Found | None, config: Found | None) -> Expected:
    """What should be there. `seen` are the runs on disk, `tiers` the `result.json` of each tier.

    Each subtest has as many runs as the configuration says; without it, as many as the one with the most.
    """
    marks = dict(_marks(checkpoint.table)) if checkpoint else {}
    told = {**marks, **{key: "" for tier, found in tiers.items() for key in _in_tier(tier, found)}}
    known: dict[tuple[str, str], set[int]] = {key: set(numbers) for key, numbers in seen.items()}
    for tier, subtest, run in told:
        known.setdefault((tier, subtest), set()).update({run} - {0})
    each = _runs_each(config) or max((run for numbers in known.values() for run in numbers), default=1)
    wanted = {key: sorted(numbers | set(range(1, each + 1))) for key, numbers in sorted(known.items(), key=_order)}
    here = {tier for tier, _ in wanted}
    return Expected(
        name=_name(checkpoint, config),
        runs=wanted,
        marks=marks,
        unknown=[tier for tier in _tiers(config) if tier not in here],
    )


def _order(one: tuple[tuple[str, str], object]) -> tuple[int, str]:
    (tier, subtest), _ = one
    return int(tier[1:]), subtest


def _in_tier(tier: str, found: Found) -> Iterator[tuple[str, str, int]]:
    """The subtests of a tier's result, and their runs; 0 for the subtest alone."""
    for subtest in found.at("subtest_results"):
        yield tier, subtest, 0
        for run in runs_of(found, subtest):
            yield tier, subtest, run


def runs_of(found: Found, subtest: str) -> dict[int, Table]:
    """The runs of a subtest in its tier's result, by number."""
    runs = found.at("subtest_results", subtest).get("runs")
    listed = runs if isinstance(runs, list) else []
    return {run: one for one in listed if isinstance(one, Mapping) and (run := _numbered(one.get("run_number")))}


def _marks(checkpoint: Table) -> Iterator[tuple[tuple[str, str, int], str]]:
    """What a checkpoint says of runs, of whichever version; 0 and "" for a subtest that it names alone."""
    for key in ("subtest_states", "run_states", "completed_runs"):  # the last one's words are the plainest
        for tier in inside(checkpoint, key):
            if TIER.fullmatch(tier):
                yield from _of_tier(tier, inside(checkpoint, key, tier))


def _of_tier(tier: str, subtests: Table) -> Iterator[tuple[tuple[str, str, int], str]]:
    for subtest, runs in subtests.items():
        said = {str(run): "completed" for run in runs} if isinstance(runs, list) else runs  # a list in version 1.0
        yield (tier, subtest, 0), ""
        for run, mark in said.items() if isinstance(said, Mapping) else ():
            if (numbered := _numbered(run)) and isinstance(mark, str):
                yield (tier, subtest, numbered), mark


def _numbered(said: object) -> int:
    """A run's number; 0 for what is none."""
    if isinstance(said, str):
        said = int(said) if said.isascii() and said.isdigit() and len(said) < 5 else None
    value = number(said)
    return int(value) if value is not None and 1 <= value <= RUNS_MOST else 0


def _runs_each(config: Found | None) -> int:
    return _numbered(config.table.get("runs_per_subtest")) if config else 0


def _tiers(config: Found | None) -> list[str]:
    said = config.table.get("tiers_to_run") if config else None
    return [one for one in said if isinstance(one, str) and TIER.fullmatch(one)] if isinstance(said, list) else []


def _name(checkpoint: Found | None, config: Found | None) -> str:
    return next((name for one in (config, checkpoint) if one and (name := text(one.table, "experiment_id"))), "")
