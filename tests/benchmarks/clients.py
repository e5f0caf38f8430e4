"""Benchmark: many clients at once beside `serve`; is anything lost, refused, or slow?

    python tests/benchmarks/clients.py [--clients 50] [--each 10] [--place DIR] [--json]

Every client starts `tidegate` again and again, as scripts do: submit, list, submit, status. Meanwhile `serve` works on
what comes. Each command must end with 0 and nothing on stderr; each number that a submit printed must be a job that
succeeds, and there must be no other. Times are those of whole commands, beside the median of the same command alone.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from figures import Place, at, parser, place, show

from tidegate import places
from tidegate.model import State
from tidegate.stores import sqlite

VERBS: dict[str, list[str]] = {
    "submit": ["submit", "--", "true"],
    "list": ["list", "--json"],
    "status": ["status", "--json"],
}
ORDER = ("submit", "list", "submit", "status")


def client(here: Place, number: int, each: int) -> list[tuple[str, float, str]]:
    """What a client did: the verb, its seconds, and what it printed."""
    done = []
    for turn in range(each):
        verb = ORDER[(number + turn) % len(ORDER)]
        began = time.perf_counter()
        told = subprocess.run(here.tidegate(*VERBS[verb]), env=here.env, capture_output=True, text=True)
        done.append((verb, time.perf_counter() - began, told.stdout))
        assert (told.returncode, told.stderr) == (0, ""), (verb, told)
    return done


def measured(here: Place, args: argparse.Namespace) -> dict[str, object]:
    with (here.folder / "errors").open("wb") as errors:
        serve = subprocess.Popen(here.tidegate("serve", "--slots", "4"), env=here.env, stdout=errors, stderr=errors)
    store = None
    try:
        _until(lambda: b'"serving"' in (here.folder / "errors").read_bytes())
        alone = client(here, 0, 3 * len(ORDER))
        with ThreadPoolExecutor(args.clients) as clients:
            found = list(clients.map(lambda number: client(here, number, args.each), range(args.clients)))
        store = sqlite.open(places.database(Path(here.env["TIDEGATE_STATE_DIR"])))
        counts = store.counts
        _until(lambda: counts()[State.QUEUED] + counts()[State.RUNNING] == 0)
        asked = {int(out) for verb, _, out in (*alone, *chain(*found)) if verb == "submit"}
        ended = {job.id for job in store.jobs(states=[State.SUCCEEDED], most=10**6)}
        assert asked == ended, (asked - ended, ended - asked)
    finally:
        if store is not None:
            store.close()
        serve.terminate()
        serve.wait()
    figures: dict[str, object] = {"clients": args.clients, "commands": sum(map(len, found)), "jobs": len(ended)}
    for verb in VERBS:
        base = at([took for name, took, _ in alone if name == verb], 0.5)
        took = [took for one in found for name, took, _ in one if name == verb]
        figures[f"{verb} alone, p50 ms"] = round(1000 * base)
        figures[f"{verb}, p50 ms"] = round(1000 * at(took, 0.5))
        figures[f"{verb}, p99 ms"] = round(1000 * at(took, 0.99))
        figures[f"{verb}, p50 / alone / clients"] = round(at(took, 0.5) / base / args.clients, 2)
    return figures


def _until(fact: Callable[[], bool]) -> None:
    while not fact():
        time.sleep(0.1)


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--clients", type=int, default=50)
    flags.add_argument("--each", type=int, default=10)
    args = flags.parse_args()
    with place(args.place) as here:
        subprocess.run([sys.executable, "-m", "tidegate", "submit", "--", "true"], env=here.env, check=True)
        figures = measured(here.room("busy"), args)
    show(figures, as_json=args.json)


if __name__ == "__main__":
    main()
