"""Benchmark (f): what the verbs cost beside 10,000 queued jobs, as ratios to the same beside 10.

    python tests/benchmarks/crowd.py [--jobs 10000] [--rounds 9] [--place DIR] [--json]

The two places take turns within a round, so that whatever else the machine does meets both alike.
"""

import statistics
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from figures import Place, parser, place, show

from tidegate import places
from tidegate.model import Account, Batch, NewJob, Spec
from tidegate.stores import sqlite

FEW = 10
SPEC = Spec(command=("true",), cwd="/")
VERBS = {
    "list": ["list"],
    "list --account": ["list", "--account", "command"],
    "status": ["status"],
    "show": ["show", "3"],
    "submit": ["submit", "--", "true"],
    "cancel": ["cancel", "{job}"],
    "retry": ["retry", "{job}"],
    "priority": ["priority", "4", "{round}"],
    "accounts": ["accounts"],
}


def filled(here: Place, jobs: int) -> Place:
    """A place with this many queued jobs in ten batches."""
    store = sqlite.open(places.database(Path(here.env["TIDEGATE_STATE_DIR"])))
    store.set_accounts([Account(name="command")], datetime.now(UTC))
    for batch in range(10):
        new = [NewJob(name=f"job-{n}", account="command", spec=SPEC) for n in range(jobs // 10)]
        store.submit(Batch(f"batch-{batch}"), new, datetime.now(UTC), whole=False)
    store.close()
    return here


def took(here: Place, verb: list[str], number: int) -> float:
    """Seconds that a command takes; cancel and retry meet another job in each round."""
    args = [part.format(job=5 + number % 5, round=number) for part in verb]
    began = time.perf_counter()
    subprocess.run(here.tidegate(*args), env=here.env, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--jobs", type=int, default=10_000)
    flags.add_argument("--rounds", type=int, default=9)
    args = flags.parse_args()
    figures: dict[str, object] = {}
    with place(args.place) as around:
        few, many = filled(around.room("few"), FEW), filled(around.room("many"), args.jobs)
        for name, verb in VERBS.items():
            for here in (few, many):
                took(here, verb, 0)  # once unmeasured, for the bytecode
            times = [(took(few, verb, number), took(many, verb, number)) for number in range(1, args.rounds + 1)]
            figures[f"{name}, ms beside {FEW}"] = round(1000 * statistics.median(a for a, _ in times), 1)
            figures[f"{name}, ratio"] = round(statistics.median(b / a for a, b in times), 2)
    show(figures, as_json=args.json)


if __name__ == "__main__":
    main()
