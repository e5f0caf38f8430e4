"""Benchmark (a): jobs per second through the whole durable path, as a ratio to bare child processes in the same run.

    python tests/benchmarks/whole_path.py [--jobs 2000] [--slots 8] [--rounds 3] [--place DIR] [--json]

Each round runs the bare loop, tidegate and the bare loop again on the same number of `/bin/true`; the ratio is taken
round by round, so that a drift of the machine's speed does not matter. Nothing is deleted before the last round: on
ext4 a directory tree that has just lost thousands of files makes each new file cost a hundred times as much. How fast
the place makes files is told beside the figures; below some 20,000/s it is the file system that is measured.
"""

import asyncio
import json
import statistics
import subprocess
import time
from pathlib import Path

from figures import Place, parser, place, seconds, show

FILES = 500  # made to see how fast the place makes them


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


def whole(here: Place, jobs: int, slots: int) -> float:
    """Jobs per second of `tidegate run`, from its first claim to its last recorded end."""
    batch = "".join(json.dumps({"id": f"j{n}", "command": ["/bin/true"]}) + "\n" for n in range(jobs))
    path = here.write("batch.jsonl", batch)
    with (here.folder / "log").open("wb") as log:  # a pipe would have this program read each line, on the same cores
        command = here.tidegate("run", str(path), "--slots", str(slots))
        subprocess.run(command, env=here.env, check=True, stdout=log, stderr=log)
    claimed, ended = here.events("attempt claimed"), here.events("attempt ended")
    assert len(claimed) == len(ended) == jobs, (len(claimed), len(ended))
    took = max(seconds(event["at"]) for event in ended) - min(seconds(event["at"]) for event in claimed)
    return jobs / (took or 1e-9)


def files_a_second(folder: Path) -> float:
    """How many files a second this place makes, in directories of four as an attempt has them."""
    started = time.perf_counter()
    for n in range(FILES // 4):
        (folder / f"probe-{n}").mkdir()
        for m in range(4):
            (folder / f"probe-{n}" / str(m)).touch()
    return FILES / (time.perf_counter() - started)


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--jobs", type=int, default=2000)
    flags.add_argument("--slots", type=int, default=8)
    flags.add_argument("--rounds", type=int, default=3)
    flags.add_argument("--log-level", default="info")
    args = flags.parse_args()
    rounds, made = [], []
    with place(args.place, TIDEGATE_LOG__LEVEL=args.log_level) as here:
        for number in range(args.rounds):
            room = here.room(f"round-{number}")
            made.append(files_a_second(room.folder))
            before = asyncio.run(bare(args.jobs, args.slots))
            ours = whole(room, args.jobs, args.slots)
            rounds.append((statistics.harmonic_mean([before, asyncio.run(bare(args.jobs, args.slots))]), ours))
    figures: dict[str, object] = {
        "jobs": args.jobs,
        "slots": args.slots,
        "place": str(here.folder.parent),
        "files made/s there": [round(rate) for rate in made],
        "bare/s": [round(base) for base, _ in rounds],
        "tidegate/s": [round(ours) for _, ours in rounds],
        "ratio, each round": [round(ours / base, 3) for base, ours in rounds],
        "ratio (median)": round(statistics.median(ours / base for base, ours in rounds), 3),
    }
    show(figures, as_json=args.json)


if __name__ == "__main__":
    main()
