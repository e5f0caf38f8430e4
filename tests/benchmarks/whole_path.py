"""Benchmark (a): jobs per second through the whole durable path, as a ratio to bare child processes in the same run.

    python tests/benchmarks/whole_path.py [--jobs 2000] [--slots 8] [--rounds 3] [--json]

Each round runs the bare loop and then tidegate on the same number of `/bin/true`; the ratio is taken round by round, so
that a drift of the machine's speed does not matter.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path


async def bare(jobs: int, slots: int) -> float:
    """Jobs per second of bare `asyncio.create_subprocess_exec`, `slots` at once."""
    room = asyncio.Semaphore(slots)

    async def one() -> None:
        async with room:
            process = await asyncio.create_subprocess_exec(
                "/bin/true", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
            )
            await process.wait()

    started = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(jobs)))
    return jobs / (time.perf_counter() - started)


def whole(jobs: int, slots: int, log_level: str) -> float:
    """Jobs per second of `tidegate run`, from its first claim to its last recorded end."""
    with tempfile.TemporaryDirectory() as place:
        environment = {**os.environ, "TIDEGATE_STATE_DIR": f"{place}/state", "TIDEGATE_LOG__LEVEL": log_level}
        batch = "".join(json.dumps({"id": f"j{n}", "command": ["/bin/true"]}) + "\n" for n in range(jobs))
        (Path(place) / "batch.jsonl").write_text(batch)
        command = [sys.executable, "-m", "tidegate", "run", f"{place}/batch.jsonl", "--slots", str(slots)]
        subprocess.run(command, env=environment, check=True, capture_output=True)
        listed = [sys.executable, "-m", "tidegate", "events", "--json"]
        told = subprocess.run(listed, env=environment, check=True, capture_output=True, text=True).stdout
        return jobs / _span([json.loads(line) for line in told.splitlines()], jobs)


def _span(events: list[dict[str, str]], jobs: int) -> float:
    claimed = [event["at"] for event in events if event["event"] == "attempt claimed"]
    ended = [event["at"] for event in events if event["event"] == "attempt ended"]
    assert len(claimed) == len(ended) == jobs, (len(claimed), len(ended))
    return (_seconds(max(ended)) - _seconds(min(claimed))) or 1e-9


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rounds = []
    for _ in range(args.rounds):
        base = asyncio.run(bare(args.jobs, args.slots))
        ours = whole(args.jobs, args.slots, args.log_level)
        rounds.append({"bare_per_s": round(base), "tidegate_per_s": round(ours), "ratio": round(ours / base, 3)})
    figures = {
        "benchmark": "whole path",
        "jobs": args.jobs,
        "slots": args.slots,
        "rounds": rounds,
        "ratio": statistics.median(one["ratio"] for one in rounds),
    }
    if args.json:
        print(json.dumps(figures))
        return
    for one in rounds:
        print(f"bare {one['bare_per_s']}/s  tidegate {one['tidegate_per_s']}/s  ratio {one['ratio']}")
    print(f"median ratio {figures['ratio']}")


if __name__ == "__main__":
    main()
