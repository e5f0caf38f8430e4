"""Judges one run: its last line is {"score": 0.8}; exit 0 for a pass, 1 for none, 125 where there is no grade."""

import json
import os
import sys
import zlib
from pathlib import Path

JUDGE: list[str] = []  # real: ["claude", "-p", "--model", "opus"]; without one the score is pretended
QUESTION = """\
Judge whether this answer solves the task. Say first why, then, on a line of its own, {"score": N}, N from 0 to 1.
"""
PASSES = 0.5
NO_GRADE = 125


def main() -> int:
    """Ask the judge about the answer of the agent."""
    answer = Path(os.environ["TIDEGATE_RESULT_FILE"]).read_text(errors="replace")
    score = asked(answer) if JUDGE else pretended(answer)
    if score is None:
        return NO_GRADE
    print(json.dumps({"score": round(score, 2)}))
    return 0 if score >= PASSES else 1


def asked(answer: str) -> float | None:
    """The score that the judge gives; None for none. What refuses it is passed on, so that it is seen."""
    import subprocess  # noqa: PLC0415 - a pretended judge needs none

    question = f"{QUESTION}\nThe task:\n{Path('task.md').read_text()}\nThe answer:\n{answer}"
    done = subprocess.run(JUDGE, input=question, capture_output=True, text=True, check=False)
    print(done.stdout)
    print(done.stderr, file=sys.stderr)
    begin = done.stdout.rfind('{"score"')
    if done.returncode or begin < 0:
        print(done.stdout if done.returncode else "the judge gave no score", file=sys.stderr)
        return None
    try:
        score = float(json.JSONDecoder().raw_decode(done.stdout[begin:])[0]["score"])
    except (ValueError, TypeError):
        return None
    return score if 0 <= score <= 1 else None


def pretended(answer: str) -> float:
    """A score from 0.5 to 1, always the same for the same job and answer."""
    return 0.5 + zlib.crc32(f"{os.environ['TIDEGATE_JOB']} {answer}".encode()) % 51 / 100


if __name__ == "__main__":
    sys.exit(main())
