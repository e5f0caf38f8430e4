"""Prints the jobs of T5: every pair and every four of the winners of T0 to T4, each a file of what its winners say."""

import json
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

Job = dict[str, Any]


def main() -> None:
    """Read what has become of the tiers on stdin, write a file for each hybrid, and print a job for each."""
    best: dict[str, Job] = {}
    for job in json.load(sys.stdin)["jobs"]:
        if job["state"] == "succeeded" and score(job) > score(best.get(job["group"], {})):
            best[job["group"]] = job
    hybrids = [*combinations(best.values(), 2), *combinations(best.values(), 4)]
    for number, winners in enumerate(hybrids, 1):
        file = Path("tiers", "T5", f"{number:02}.md")
        file.parent.mkdir(exist_ok=True)
        file.write_text("\n".join(Path(one["labels"]["subtest"]).read_text() for one in winners))
        made_of = " ".join(one["id"] for one in winners)
        args = ["--append-system-prompt-file", str(file)]
        print(json.dumps({"id": file.stem, "args": args, "labels": {"subtest": str(file), "of": made_of}}))


def score(job: Job) -> float:
    """The score that the judge gave a job; -1 for none."""
    try:
        return float(json.loads(job["result"])["score"])
    except (KeyError, TypeError, ValueError):
        return -1.0


if __name__ == "__main__":
    main()
