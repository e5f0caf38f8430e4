"""Benchmark: batches of days at accounts with usage limits, simulated in seconds; what is the quota used for?

    python tests/benchmarks/quota.py [--workload refactor] [--scenario plain] [--seeds 12] [--jobs 2] [--json]
    python tests/benchmarks/quota.py --acceptance
    python tests/benchmarks/quota.py --beside [--workload drift] [--scenario changing]
    python tests/benchmarks/quota.py --ablation [--scenario sliding]

tidegate's own supervisor, policy, admission, gate, ledger and reader of claude run on a clock that jumps; agents and
accounts are simulated. Beside it: what people do without tidegate, at the same accounts with the same jobs. The
makespan is a ratio to that of a fluid which nobody can undercut; "whole" are the jobs that no limit has interrupted;
"closed" launches met a limit that stood already, without the canaries among them. `--acceptance` judges each bound of
issue 7, beside the gate alone; `--beside` shows where prediction loses to that, at workloads and in scenarios that
nothing was tuned on, too. `--store sqlite` keeps the books in a file.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from simulated.acceptance import lines, told
from simulated.baselines import BASELINES
from simulated.figures import Figures
from simulated.many import Try, measured
from simulated.runs import GATE, PARTS, TIDEGATE, TRIES
from simulated.scenario import SCENARIOS
from simulated.work import WORKLOADS

COLUMNS = "policy", "done %", "ratio", "hours", "wasted %", "whole %", "closed", "canaries", "closings", "launches"
LOSES = 0.005  # of the ratio: by so much prediction may be behind the gate alone
Row = tuple[str, Figures]
Found = dict[Try, Figures]


def row(name: str, one: Figures) -> list[str]:
    """The figures as people read them."""
    counts = (one.closed, one.canaries, one.closings, one.launches)
    ratio = "-" if math.isnan(one.ratio) else f"{one.ratio:.3f}"
    shares = f"{one.wasted * 100:.1f}", f"{one.whole * 100:.1f}"
    return [name, f"{one.done * 100:.1f}", ratio, f"{one.hours:.1f}", *shares, *(f"{count:.1f}" for count in counts)]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Lines of Markdown."""
    yield f"| {' | '.join(columns)} |"
    yield "|---" * len(columns) + "|"
    yield from (f"| {' | '.join(cells)} |" for cells in rows)


# --- what is compared ---


def everybody(args: argparse.Namespace) -> dict[str, Try]:
    """All policies at one workload in one scenario."""
    made = Try(workload=args.workload or "refactor", scenario=args.scenario or "plain", store=args.store)
    resumes = SCENARIOS[made.scenario].resumes
    names = args.only or [*BASELINES, *(name for name in TRIES if resumes or name in (TIDEGATE, GATE))]
    return {name: replace(made, who=name, without=tuple(args.without)) for name in names}


def lacking(args: argparse.Namespace) -> dict[str, Try]:
    """tidegate as it is, and without each of its parts."""
    made = Try(workload=args.workload or "refactor", scenario=args.scenario or "plain", store=args.store)
    return {TIDEGATE: made} | {f"without {part}": replace(made, without=(part,)) for part in PARTS}


def accepted(args: argparse.Namespace) -> list[Try]:
    """What the bounds are about, and the same of the gate alone."""
    tries = [line.what for line in lines(args.workload or "refactor")]
    return [replace(one, who=who) for one in tries for who in (TIDEGATE, GATE)]


def beside(args: argparse.Namespace) -> list[Try]:
    """tidegate in each scenario with one workload, and with each workload in the plain one."""
    workload, scenario = args.workload or "refactor", args.scenario or "plain"
    pairs = [(workload, name) for name, one in SCENARIOS.items() if not one.workload and not args.scenario]
    pairs += [(name, scenario) for name in WORKLOADS if name not in ("days", "few") and not args.workload]
    tries = [Try(workload=work, scenario=where) for work, where in dict.fromkeys(pairs or [(workload, scenario)])]
    return [replace(one, who=who) for one in tries for who in (TIDEGATE, GATE)]


def loses(one: Figures, gate: Figures) -> str:
    """Whether prediction is worse than the gate alone."""
    behind = one.done < gate.done or one.ratio > gate.ratio + LOSES
    return "LOSES" if behind else "wins" if one.ratio < gate.ratio - LOSES else "same"


def compared(found: Found) -> Iterator[list[str]]:
    for what, one in found.items():
        if what.who == TIDEGATE:
            gate = found[replace(what, who=GATE)]
            cells = zip(row("", one)[1:], row("", gate)[1:], strict=True)
            pairs = [cells for n, cells in enumerate(cells) if COLUMNS[n + 1] in BOTH]
            yield [f"{what.workload}, {what.scenario}", loses(one, gate), *(f"{on} / {off}" for on, off in pairs)]


BOTH = "done %", "ratio", "wasted %", "whole %", "closed", "canaries"


def flags() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--workload", choices=WORKLOADS, help="refactor unless it is said")
    made.add_argument("--scenario", choices=SCENARIOS, help="plain unless it is said")
    made.add_argument("--seeds", type=int, default=12, help="how many; the figures are their mean")
    made.add_argument("--first", type=int, default=0, help="the first seed")
    made.add_argument("--only", action="append", choices=[*BASELINES, *TRIES], help="of these policies")
    made.add_argument("--without", action="append", choices=PARTS, default=[], help="switch a part of tidegate off")
    made.add_argument("--store", choices=("memory", "sqlite"), default="memory")
    made.add_argument("--jobs", type=int, default=1, help="processes that share the work")
    made.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    what = made.add_mutually_exclusive_group()
    what.add_argument("--ablation", action="store_true", help="tidegate without each of its parts")
    what.add_argument("--acceptance", action="store_true", help="each bound of issue 7, and whether it is kept")
    what.add_argument("--beside", action="store_true", help="prediction beside the gate alone, everywhere")
    return made.parse_args()


def shown(args: argparse.Namespace, named: dict[str, Try], found: Found) -> Iterator[str]:
    """What people read."""
    if args.acceptance:
        rows = [told(line, found, {GATE: replace(line.what, who=GATE)}) for line in lines(args.workload or "refactor")]
        return table(("of", "what", "bound", TIDEGATE, "", GATE), rows)
    if args.beside:
        return table(("of", "prediction", *(f"{name}, on / off" for name in BOTH)), list(compared(found)))
    return table(COLUMNS, [row(name, found[one]) for name, one in named.items()])


def wanted(args: argparse.Namespace) -> dict[str, Try]:
    """What is to be run, by its name."""
    if args.acceptance or args.beside:
        tries = accepted(args) if args.acceptance else beside(args)
        return {f"{one.workload}, {one.scenario}, {one.who}": one for one in tries}
    return lacking(args) if args.ablation else everybody(args)


def main() -> None:
    args, began = flags(), time.perf_counter()
    named = wanted(args)
    found = measured(list(named.values()), range(args.first, args.first + args.seeds), args.jobs)
    took = time.perf_counter() - began
    if args.json:
        rows = {name: asdict(found[one]) for name, one in named.items()}
        print(json.dumps({"seeds": args.seeds, "first": args.first, "seconds": took, "rows": rows}))
        return
    print(*shown(args, named, found), sep="\n")
    print(f"seeds {args.first} to {args.first + args.seeds - 1}, {took:.0f} s in {args.jobs} processes")


if __name__ == "__main__":
    main()
