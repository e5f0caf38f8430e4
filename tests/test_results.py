"""The real error hides in a result file that a wrapper left behind."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from installed import Tidegate

from tidegate.agents.reading import results
from tidegate.model import Kind

NOW = datetime.now(UTC).replace(microsecond=0)
AGO = NOW - timedelta(minutes=1)
LIMIT = "Rate limit from agent: You've hit your limit · resets 4pm (America/Los_Angeles)"
DOCUMENTS: list[object] = [{"error": LIMIT}, {"runs": [{"exit": -1, "stderr": f"Traceback\n{LIMIT}\n"}]}, LIMIT]


def left(place: Path, document: object, name: str = "work/.failed/result.json") -> None:
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) and name.endswith(".txt") else json.dumps(document))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_limit_is_found_wherever_it_stands_in_the_file(tmp_path: Path, document: object) -> None:
    left(tmp_path, document)
    limit = results.refusal(tmp_path, ["**/.failed/result.json"], AGO, NOW, UTC)
    assert limit is not None
    assert (limit.kind, limit.sure) == (Kind.USAGE_LIMIT, False)
    assert limit.evidence.startswith("work/.failed/result.json: ")
    assert limit.resets_at is not None


@pytest.mark.parametrize("document", [{"result": "I wrote a test for 4pm"}, [], 7, {"error": "exit 1"}])
def test_a_file_that_tells_of_no_limit_says_nothing(tmp_path: Path, document: object) -> None:
    left(tmp_path, document)
    assert results.refusal(tmp_path, ["**/*.json"], AGO, NOW, UTC) is None


def test_an_older_file_and_one_that_is_no_json_say_nothing(tmp_path: Path) -> None:
    left(tmp_path, {"error": LIMIT}, "old.json")
    os.utime(tmp_path / "old.json", (time.time() - 3600, time.time() - 3600))
    left(tmp_path, LIMIT, "prose.txt")
    assert results.refusal(tmp_path, ["*"], AGO, NOW, UTC) is None


def test_a_job_whose_wrapper_hides_the_limit_in_a_file_waits_for_the_reset(tidegate: Tidegate) -> None:
    text = json.dumps({"error": "You've hit your limit · resets 11:59pm (UTC)"})
    job = {
        "id": "hidden",
        "command": [
            "sh",
            "-c",
            f"mkdir -p .failed; echo '{text.replace(chr(39), chr(92) + 'u0027')}' > .failed/r.json; exit 1",
        ],
        "result_files": ["**/.failed/*.json"],
    }
    batch = tidegate.batch(json.dumps(job) + "\n", "b.jsonl")
    done = tidegate("run", batch, "--on-limit", "exit")
    assert done.returncode == 75, done.stderr
    (shut,) = tidegate.events("gate shut")
    assert "You've hit your limit" in shut["data"]["evidence"]
