"""Benchmark (e): cold start of the commands, as ratios to `python3 -c pass` in the same run.

python tests/benchmarks/cold.py [--rounds 15] [--place DIR] [--json]
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from figures import parser, place, show

VERBS = {
    "--version": ["--version"],
    "status": ["status"],
    "list": ["list"],
    "submit": ["submit", "--", "true"],
    "cancel": ["cancel", "1"],
}


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--rounds", type=int, default=15)
    args = flags.parse_args()
    with place(args.place) as here:
        batch = here.write("batch.jsonl", '{"id": "one", "command": ["true"]}\n')
        subprocess.run(here.tidegate("run", str(batch)), env=here.env, check=True, capture_output=True)
        commands = {"pass": [sys.executable, "-c", "pass"]}
        program = str(Path(sys.executable).with_name("tidegate"))  # as people start it, beside its Python
        commands |= {name: [program, *verb] for name, verb in VERBS.items()}
        took: dict[str, list[float]] = {name: [] for name in commands}
        for command in commands.values():  # once unmeasured, for the bytecode
            subprocess.run(command, env=here.env, check=True, capture_output=True)
        for _ in range(args.rounds):
            for name, command in commands.items():
                began = time.perf_counter()
                subprocess.run(command, env=here.env, check=True, capture_output=True)
                took[name].append(time.perf_counter() - began)
    base = statistics.median(took["pass"])
    figures: dict[str, object] = {"python3 -c pass, ms": round(1000 * base, 1)}
    for name in VERBS:
        ratio = statistics.median(ours / bare for ours, bare in zip(took[name], took["pass"], strict=True))
        figures[f"{name}, ms"] = round(1000 * statistics.median(took[name]), 1)
        figures[f"{name}, ratio"] = round(ratio, 2)
    show(figures, as_json=args.json)


if __name__ == "__main__":
    main()
