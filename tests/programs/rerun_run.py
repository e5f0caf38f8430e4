#!/usr/bin/env python3
"""rerun_run.py RESULTS TIER SUBTEST RUN: one run of an experiment anew, as ProjectScylla's own script does it.

The agent is the demonstration's, on the account of DEMO_ACCOUNT. A refusal is logged, the run moved into `.failed`.
"""

import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from scylla_tree import agent_result, run_result, tokens, write

AGENT = [sys.executable, "-m", "tidegate.examples.demo_agent", "-p", "--output-format", "stream-json", "--verbose"]


def main(results: str, tier: str, subtest: str, number: str) -> int:
    place, name = Path(results) / tier / subtest, f"run_{int(number):02}"
    if (place / name).exists():
        raise SystemExit(f"{place / name} is there already")
    done = subprocess.run([*AGENT, "the task"], capture_output=True, text=True)
    last = json.loads(done.stdout.splitlines()[-1])
    if done.returncode:
        aside = next(one for n in range(1, 100) if not (one := place / ".failed" / f"{name}_attempt_{n:02}").exists())
        words = f"Rate limit from agent: {last['result']}"
        told = agent_result(exit_code=-1, stdout="", stderr=words, token_stats=tokens(0))
        write(aside / "agent" / "result.json", told)
        print(f"2026-01-09 16:00:00 [ERROR] scylla.e2e.rerun: Failed to re-run: {words}", file=sys.stderr)
        return 1
    write(place / name / "agent" / "result.json", agent_result(stdout=last["result"]))
    write(
        place / name / "judge" / "result.json", {"score": 0.8, "passed": True, "grade": "B", "reasoning": "It works."}
    )
    write(place / name / "run_result.json", run_result(int(number)))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
