"""Benchmark: what reading costs, as ratios to `grep -c` on the same file in the same run.

    python tests/benchmarks/reading.py [--lines 10000] [--megabytes 200] [--json]

`explain --jsonl` on many short texts, and the reading path of a live attempt (follow, split, read) on a large
stream-json log of answers, tool results and usage, as claude 2.1.330 writes them.
"""

import asyncio
import json
import subprocess
import time
from datetime import UTC
from pathlib import Path

from figures import Place, parser, place, show

from tidegate import agents
from tidegate.clock import SystemClock
from tidegate.watch import Watcher

TEXTS = (
    "You've hit your 5-hour limit · resets 5:16pm (UTC)",
    "Done. I added a test for HTTP 429 rate_limit_error.",
    "API Error: 529 Overloaded. This is a server-side issue, usually temporary",
    "the quick brown fox jumps over the lazy dog",
)


def grep(path: Path) -> float:
    """Seconds that `grep -c limit` takes on a file, in the cache."""
    subprocess.run(["grep", "-c", "limit", str(path)], capture_output=True)
    began = time.perf_counter()
    subprocess.run(["grep", "-c", "limit", str(path)], capture_output=True)
    return time.perf_counter() - began


def explained(here: Place, lines: int) -> dict[str, object]:
    asked = [json.dumps({"text": TEXTS[n % len(TEXTS)], "agent": "claude", "exit": n % 2}) for n in range(lines)]
    path = here.write("asked.jsonl", "\n".join(asked) + "\n")
    began = time.perf_counter()
    with path.open("rb") as stdin:
        subprocess.run(
            here.tidegate("explain", "--jsonl"), stdin=stdin, env=here.env, check=True, stdout=subprocess.DEVNULL
        )
    took, bare = time.perf_counter() - began, grep(path)
    return {"explain, lines": lines, "explain, s": round(took, 2), "explain, times grep -c": round(took / bare)}


def log(here: Place, megabytes: int) -> Path:
    """A log of turns: an answer, a tool result of 8 KB, an answer; rarely a large result."""
    init = {"type": "system", "subtype": "init", "session_id": "s"}
    said = {"type": "assistant", "message": {"model": "m", "content": [{"type": "text", "text": "x" * 400}]}}
    result = {"type": "user", "message": {"content": [{"type": "tool_result", "content": "limit reached\n" * 600}]}}
    turn = "".join(json.dumps(frame) + "\n" for frame in (said, result, said))
    path = here.write("stdout.log", json.dumps(init) + "\n")
    with path.open("a") as out:
        for _ in range(megabytes * 1_000_000 // len(turn)):
            out.write(turn)
        out.write(json.dumps({"type": "result", "is_error": False, "result": "done", "session_id": "s"}) + "\n")
    return path


async def followed(directory: Path) -> float:
    """Seconds that the reading path takes on what stands in a directory."""
    (directory / "stderr.log").touch()
    reader = agents.known().agents["claude"].reader(UTC)
    began = time.perf_counter()
    async with Watcher(SystemClock()) as watcher, watcher.follow(directory, reader.read) as follow:
        follow.finish()
        async for _ in follow:
            pass
    return time.perf_counter() - began


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--lines", type=int, default=10_000)
    flags.add_argument("--megabytes", type=int, default=200)
    args = flags.parse_args()
    with place() as here:
        figures = explained(here, args.lines)
        path = log(here, args.megabytes)
        bare, took = grep(path), asyncio.run(followed(here.folder))
        size = path.stat().st_size / 1e6
        figures |= {
            "log, MB": round(size),
            "reading, MB/s": round(size / took),
            "grep -c, MB/s": round(size / bare),
            "reading, times grep -c": round(took / bare, 1),
        }
    show(figures, as_json=args.json)


if __name__ == "__main__":
    main()
