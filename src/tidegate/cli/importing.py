"""The verb `import`: what is left of an experiment that limits damaged, and the batch that runs the rest again."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tidegate import allowed, codes, scylla
from tidegate.cli import results
from tidegate.cli.results import Results
from tidegate.errors import BadInput
from tidegate.look import plain
from tidegate.look.desk import note
from tidegate.look.words import Page, clean, counted, page, shown
from tidegate.scylla import Rerun, Run, Verdict
from tidegate.scylla.rerun import where

SCRIPT = Path("scripts") / "rerun_agents.py"
STDOUT = "-"
NAMED = 12  # runs of one kind that are listed by name
WORDS = {
    Verdict.VALID: "valid",
    Verdict.LIMITED: "limits in disguise",
    Verdict.BROKEN: "without a valid result",
    Verdict.MISSING: "missing",
}


def door(args: Namespace) -> int:
    """Tell what a results directory holds, and write the batch; 0. Raises BadInput."""
    file = None if args.output in (None, STDOUT) else Path(args.output)
    if file is not None and os.path.lexists(file) and not args.force:
        raise BadInput(f"{args.output} is there already: nothing was written (--force overwrites it)")
    read = results.read(args.results)
    apart = file is None and not args.json  # the batch has standard output for itself
    batch = _batch(read, args) if apart or file is not None else ""
    if batch and file is not None:
        _write(file, batch)
    written = str(file) if batch and file is not None else ""
    for line in map(plain.line, _forms(read)) if args.json else _lines(read, page(), written):
        print(line, file=sys.stderr if apart else sys.stdout)
    if batch and apart:
        sys.stdout.write(batch)
    return codes.OK


# --- the batch ---


def _batch(read: Results, args: Namespace) -> str:
    """The batch that runs again what is not valid; "" where all is."""
    if all(run.verdict is Verdict.VALID for run in read.runs):
        return ""
    root = read.root.absolute()
    checkout = None if args.command else _checkout(root)
    cwd = checkout or Path.cwd()
    command = tuple(args.command or ("pixi", "run", "python", str(SCRIPT), *_arguments(root)))
    if not args.command and checkout is None:
        note(f"no {SCRIPT} of ProjectScylla is above {read.root}: change cwd in the batch, or say -- COMMAND")
    try:
        name = allowed.name(f"scylla-{root.resolve().name}")
        for one in (str(root), str(cwd), *command):
            allowed.any_text(one)
    except allowed.Wrong as wrong:
        raise BadInput(f"{read.root}: {wrong}") from None
    below = str(root.relative_to(cwd)) if root.is_relative_to(cwd) and root != cwd else ""
    files = "." if root == cwd else below
    how = Rerun(
        name=name, results=str(root), command=command, cwd=str(cwd), files=_as_pattern(files), own=bool(args.command)
    )
    return scylla.rerun(read.runs, how)


def _checkout(root: Path) -> Path | None:
    """The checkout of ProjectScylla that a results directory lies in."""
    return next((one for one in root.parents if (one / SCRIPT).is_file()), None)


def _arguments(root: Path) -> Sequence[str]:
    run = ("--tier", "${{ group }}", "--subtest", "${{ subtest }}", "--runs", "${{ run }}")
    return (str(root).replace("${{", "$${{"), *run, "--skip-regenerate")


def _as_pattern(path: str) -> str:
    """A path as a pattern that finds it alone."""
    return "".join(f"[{one}]" if one in "*?[" else one for one in path)


def _write(file: Path, text: str) -> None:
    """Write a file as a whole or not at all, for its owner alone."""
    new = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
            out.write(text)
        new.replace(file)
    except OSError as error:
        raise BadInput(f"{file}: cannot write it: {error.strerror or error}") from None
    finally:
        new.unlink(missing_ok=True)


# --- in words ---


def _forms(read: Results) -> Iterator[plain.Form]:
    """A line for each run, one for each file that could not be read."""
    for run in read.runs:
        refused = run.refused
        yield {
            "run": where(run),
            "tier": run.tier,
            "subtest": run.subtest,
            "number": run.number,
            "verdict": run.verdict.value,
            "why": shown(run.why) or None,
            "evidence": refused.evidence if refused else None,
            "file": refused.path if refused else None,
            "resets_at": refused.resets_at.isoformat() if refused and refused.resets_at else None,
        }
    for place, why in read.unreadable:
        yield {"unreadable": place, "why": why}


def _lines(read: Results, on: Page, file: str) -> Iterator[str]:
    runs = read.runs
    again = [run for run in runs if run.verdict is not Verdict.VALID]
    called = f"{clean(read.expected.name)}, " if read.expected.name else ""
    told = f"{len(again)} to be run again" if again else "all valid: nothing to run again"
    yield f"{clean(str(read.root))}: {called}{counted(len(runs), 'run')}, {told}"
    yield from _tiers(runs)
    yield from _limited([run for run in runs if run.verdict is Verdict.LIMITED], on)
    for verdict in (Verdict.BROKEN, Verdict.MISSING):
        yield from _others(WORDS[verdict], [run for run in runs if run.verdict is verdict], on)
    if read.unreadable:
        yield "unreadable"
        for place, why in read.unreadable:
            yield from on.wrap(f"{shown(place)}: {shown(why)}", indent=2)
    for tier in read.expected.unknown:
        yield f"{tier} was to run and left nothing, not even the names of its subtests: ProjectScylla has to run it"
    yield from _aside([run for run in again if run.looks_complete])
    if file:
        yield f"wrote {clean(file)}: {counted(len(again), 'job')}"
        yield "next:"
        yield f"  tidegate plan {clean(file)}  what it means, job by job; runs nothing"
        yield f"  tidegate run {clean(file)}   runs it to its end"


def _tiers(runs: Sequence[Run]) -> Iterator[str]:
    for tier in dict.fromkeys(run.tier for run in runs):
        counts = Counter(run.verdict for run in runs if run.tier == tier)
        said = ", ".join(f"{counts[verdict]} {words}" for verdict, words in WORDS.items() if counts[verdict])
        yield f"  {tier:<4}{said}"


def _limited(runs: Sequence[Run], on: Page) -> Iterator[str]:
    """The limits, each with whom it stopped and where it stands."""
    if runs:
        yield "limits in disguise"
    kinds = dict.fromkeys((run.refused.evidence if run.refused else "", run.why) for run in runs)
    for evidence in dict.fromkeys(evidence for evidence, _ in kinds):
        first = next(run.refused for run in runs if run.refused and run.refused.evidence == evidence)
        reset = f", reset {on.stamp(first.resets_at)}" if first.resets_at else ""
        yield from on.wrap(f'"{evidence}"{reset}', indent=2)
        yield from on.wrap(f"first in {shown(first.path)}", indent=4)
        for one, why in kinds:
            if one == evidence:
                there = [run for run in runs if run.refused and run.refused.evidence == one and run.why == why]
                yield from on.wrap(f"{shown(why)}: {_named(there)}", indent=4)


def _others(words: str, runs: Sequence[Run], on: Page) -> Iterator[str]:
    if runs:
        yield words
    for why in dict.fromkeys(run.why for run in runs):
        there = [run for run in runs if run.why == why]
        yield from on.wrap(f"{shown(why)}: {_named(there)}" if why else _named(there), indent=2)


def _named(runs: Sequence[Run]) -> str:
    more = f" and {len(runs) - NAMED} more" if len(runs) > NAMED else ""
    return ", ".join(clean(where(run)) for run in runs[:NAMED]) + more


def _aside(runs: Sequence[Run]) -> Iterator[str]:
    """What a person has to move, since ProjectScylla itself would take it for a result."""
    if runs:
        yield "to ProjectScylla these look like results: move them into .failed of their subtest first"
        yield f"  {_named(runs)}"
