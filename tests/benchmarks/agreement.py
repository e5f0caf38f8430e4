"""Benchmark: does the simulator agree with the real program?

    python tests/benchmarks/agreement.py [--jobs 40] [--slots 8] [--step 1.0] [--allowance 80] [--reset-after 30]

The same batch for the shipped demo agent, whose account runs out and says its exact reset: once through `tidegate run`
with real processes and real time, and through the simulator some times, which differ in what is chance. Hours
are seconds here; steps are long beside what a launch takes, which is measured first, with jobs that do nothing, and
told to the simulator. Compared are the makespan, from the first claim to the last end, the launches, the cut-offs and
the closings. It exits with 1 where a makespan is more than 5 % off the other.
"""

import argparse
import sys
from dataclasses import asdict, fields
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parents[1]))

from simulated.agreement import agreement
from simulated.demo import Came, Night, drawn

AGREES = 0.05


def mean(all_of_them: list[Came]) -> Came:
    return Came(**{one.name: fmean(getattr(came, one.name) for came in all_of_them) for one in fields(Came)})


def main() -> int:
    made = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    made.add_argument("--jobs", type=int, default=40)
    made.add_argument("--slots", type=int, default=8)
    made.add_argument("--step", type=float, default=1.0, help="seconds")
    made.add_argument("--allowance", type=int, default=80, help="steps in each window")
    made.add_argument("--reset-after", type=float, default=30.0, help="seconds")
    made.add_argument("--seed", type=int, default=1, help="of the jobs")
    made.add_argument("--runs", type=int, default=10, help="of the simulator")
    args = made.parse_args()
    night = Night(
        steps=drawn(args.seed, args.jobs, 30),
        seconds=args.step,
        allowance=args.allowance,
        reset_after=args.reset_after,
        slots=args.slots,
    )
    program, runs = agreement(night, args.runs)
    simulator = mean(runs)
    off = simulator.makespan / program.makespan - 1
    print("| | " + " | ".join(asdict(program)) + " |", "|---" * 6 + "|", sep="\n")
    for name, came in (("the program", program), ("the simulator", simulator)):
        print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in asdict(came).values()) + " |")
    print(f"the simulator's makespan is {off:+.1%} off")
    return 0 if abs(off) <= AGREES else 1


if __name__ == "__main__":
    sys.exit(main())
