"""Benchmark (d): from the commit of a submitted job to its start, on an idle queue of a running supervisor.

    python tests/benchmarks/submit.py [--jobs 200] [--place DIR] [--json]

This process puts one job at a time into the batch of a running `tidegate run` and rings its doorbell; the job is
`date`, whose own word for the time is its start. What claims and submits cost with many queued is in store.py.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from figures import Place, at, parser, place, show

from tidegate import doorbell, places
from tidegate.model import Batch, NewJob, Spec, State
from tidegate.stores import Store, sqlite

BATCH = "submit"
PAUSE = 0.02  # seconds between an end and the next submit: the queue is idle


@contextmanager
def supervised(here: Place) -> Iterator[tuple[Path, Store]]:
    """The state directory and the store of a supervisor that waits for one long job."""
    lines = [{"batch": {"name": BATCH}}, {"id": "long", "command": ["sleep", "1000"]}]
    batch = here.write("batch.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    state = Path(here.env["TIDEGATE_STATE_DIR"])
    process = here.start("run", str(batch))
    try:
        _wait_for(lambda: places.database(state).exists() and doorbell.ring(state))
        store = sqlite.open(places.database(state))
        _wait_for(lambda: store.counts()[State.RUNNING])
        yield state, store
        store.close()
    finally:
        for _ in range(2):  # drain, then end the long job too
            process.terminate()
            time.sleep(0.2)
        process.wait()


def took(state: Path, store: Store, name: str) -> tuple[float, float]:
    """Seconds that a submit takes, and from its commit to the job's start."""
    job = NewJob(name=name, account="command", spec=Spec(command=("/bin/date", "+%s.%N"), cwd="/"))
    began = time.time()
    store.submit(Batch(BATCH), [job], datetime.now(UTC), whole=False)
    committed = time.time()
    doorbell.ring(state)
    _wait_for(lambda: store.jobs_named(name)[0].state.is_final)
    told = places.attempt(state, store.jobs_named(name)[0].id, 1) / "stdout.log"
    time.sleep(PAUSE)
    return committed - began, float(told.read_text()) - committed


def _wait_for(fact: Callable[[], object], bound: float = 20.0) -> None:
    end = time.monotonic() + bound
    while not fact():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)


def bare() -> float:
    """Seconds until `date` has started where nothing is between."""
    began = time.time()
    return float(subprocess.run(["/bin/date", "+%s.%N"], check=True, capture_output=True).stdout) - began


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--jobs", type=int, default=200)
    args = flags.parse_args()
    with place(args.place) as here, supervised(here) as (state, store):
        times = [took(state, store, f"j{n}") for n in range(args.jobs)]
    starts, submits = [start for _, start in times], [submit for submit, _ in times]
    plain = [bare() for _ in range(args.jobs)]
    figures = {
        "jobs": args.jobs,
        "submit, p50 ms": round(1000 * at(submits, 0.5), 2),
        "commit to start, p50 ms": round(1000 * at(starts, 0.5), 2),
        "commit to start, p99 ms": round(1000 * at(starts, 0.99), 2),
        "bare start of the same program, p50 ms": round(1000 * at(plain, 0.5), 2),
    }
    show(figures, as_json=args.json)


if __name__ == "__main__":
    main()
