"""Benchmark: what is foretold of simulated batches on their way, beside how they end.

    python tests/benchmarks/foretold.py [--workload refactor ...] [--scenario plain ...] [--seeds 12] [--json]

When a tenth, a quarter and a half of the jobs have ended the end is foretold, as a supervisor does it. Half of the ends
should come by p50, and nine of ten by p90; "off" is the mean error of p50 as a share of the time that was left, "late"
the same with its sign (more than nothing: it came later than foretold).
"""

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from simulated.foreseen import SHARES, Fit, fit, foreseen
from simulated.scenario import SCENARIOS
from simulated.work import WORKLOADS

HEAD = "| workload | scenario | ended | known | unknown | by p50 | by p90 | off | late |"


def row(workload: str, scenario: str, share: str, one: Fit) -> str:
    """The figures as people read them."""
    shares = (f"{part:.0%}" for part in (one.by_p50, one.by_p90, one.off))
    return (
        f"| {workload} | {scenario} | {share} | {one.known} | {one.unknown} | {' | '.join(shares)} | {one.late:+.0%} |"
    )


def main() -> None:
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--workload", choices=WORKLOADS, action="append")
    made.add_argument("--scenario", choices=SCENARIOS, action="append")
    made.add_argument("--seeds", type=int, default=12)
    made.add_argument("--first", type=int, default=0, help="the first seed")
    made.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    args, began = made.parse_args(), time.process_time()
    rows, whole = [], []
    for scenario in args.scenario or ["plain"]:
        for workload in args.workload or ["refactor"]:
            seeds = range(args.first, args.first + args.seeds)
            told = [one for seed in seeds for one in foreseen(workload, SCENARIOS[scenario], seed)]
            whole += told
            rows += [
                (workload, scenario, f"{share:.0%}", fit(one for one in told if one.share == share)) for share in SHARES
            ]
    rows.append(("all", "all", "any", fit(whole)))
    if args.json:
        print(
            json.dumps(
                [
                    {"workload": name, "scenario": where, "ended": share, **asdict(one)}
                    for name, where, share, one in rows
                ]
            )
        )
        return
    print(HEAD, "|---" * 9 + "|", *(row(*one) for one in rows), sep="\n")
    print(f"{args.seeds} seeds, {time.process_time() - began:.0f} s of processor time")


if __name__ == "__main__":
    main()
