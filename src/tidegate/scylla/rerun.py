"""The batch that runs again what is not valid, as a file that a person reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from tidegate.scylla.layout import run_name
from tidegate.scylla.verdict import Run, Verdict

RESULTS = "${{ group }}/${{ subtest }}/**/agent/result.json"


class Rerun(Struct, frozen=True, kw_only=True):
    """How runs are run again: the batch's name, the command with templates in it, and the directory that it runs in.

    `results` is the results directory, absolute. `files` is it below `cwd`, "" where it is elsewhere; `own` is whether
    a person gave the command.
    """

    name: str
    results: str
    command: Sequence[str]
    cwd: str
    files: str = ""
    own: bool = False


def rerun(runs: Sequence[Run], how: Rerun) -> str:
    """The batch, in TOML: a group for each tier, a job for each run that is not valid, with the reason beside it."""
    again = [run for run in runs if run.verdict is not Verdict.VALID]
    lines = [*_head(how, len(again)), *_defaults(how)]
    tiers = dict.fromkeys(run.tier for run in again)
    for tier in tiers:
        lines += _group(tier, [run for run in again if run.tier == tier])
    return "\n".join(lines) + "\n"


def _head(how: Rerun, number: int) -> Iterator[str]:
    jobs = "1 run is" if number == 1 else f"{number} runs are"
    yield f"# {jobs} to be run again of {_comment(how.results)}; what is valid stays as it is."
    yield "#"
    yield "# Written by `tidegate import scylla`. The same command tells afterwards what is valid then."
    yield ""
    yield "[batch]"
    yield f"name = {quoted(how.name)}"
    yield ""
    yield "[accounts.claude] # whose limit it is"
    yield 'agent = "claude"'
    yield "concurrency = 1 " + (
        "# how many runs at once" if how.own else "# two at once would forget each other's marks in checkpoint.json"
    )
    yield ""


def _defaults(how: Rerun) -> Iterator[str]:
    yield "[defaults]"
    yield 'account = "claude"'
    yield f"cwd = {quoted(how.cwd)}" + ("" if how.own else " # the checkout of ProjectScylla")
    yield f"command = [{', '.join(map(quoted, how.command))}]"
    if how.files:
        below = how.files.replace("${{", "$${{")
        yield f"result_files = [{quoted(f'{below}/{RESULTS}')}] # where a limit hides"
    yield ""


def _group(tier: str, runs: Sequence[Run]) -> Iterator[str]:
    yield f"[groups.{tier}]"
    yield 'id = "${{ id }}"'
    yield f"[groups.{tier}.matrix]"
    yield "include = ["
    rows = [_row({"id": job_id(run), "subtest": run.subtest, "run": str(run.number)}) for run in runs]
    width = max(map(len, rows))
    for row, run in zip(rows, runs, strict=True):
        yield f"  {row:<{width}} # {_comment(reason(run))}"
    yield "]"
    yield ""


def _row(values: Mapping[str, str]) -> str:
    return f"{{ {', '.join(f'{key} = {quoted(value)}' for key, value in values.items())} }},"


def job_id(run: Run) -> str:
    """What a run is called within its tier, as trials are: "03", "03#2"."""
    return run.subtest + (f"#{run.number}" if run.number > 1 else "")


def reason(run: Run) -> str:
    """Why a run is run again, in a line."""
    evidence = f": {run.refused.evidence}" if run.refused else ""
    return f"{run.why or run.verdict.value}{evidence}"


def where(run: Run) -> str:
    """A run as its directory."""
    return f"{run.tier}/{run.subtest}/{run_name(run.number)}"


def quoted(text: str) -> str:
    """Text as TOML has it."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)  # in ASCII: half a surrogate pair cannot be written
