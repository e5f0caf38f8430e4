"""A service that works for long: what it keeps of its past is bounded, on the disk and in the database."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from installed import Tidegate, until

from tidegate import doorbell, places
from tidegate.model import Batch, NewJob, Spec, State
from tidegate.stores import sqlite

HURRIED = """\
import sys
from tidegate import upkeep
upkeep.HOUR = 0.3
from tidegate.__main__ import main
sys.argv[0] = "tidegate"
sys.exit(main())
"""
ROUNDS, EACH, LOOSE = 4, 60, 15
GONE = ("job", "attempt", "definition", "batch", "lane", "output", "secrets")
PRINTS = "head -c 30000 /dev/zero"


def size(path: Path) -> int:
    """Bytes of a file, which may be gone."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def sizes(state: Path) -> dict[str, int]:
    """How much of everything there is."""
    with closing(sqlite3.connect(places.database(state), timeout=20)) as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        tables = ("job", "attempt", "event", "definition", "batch", "lane", "supervisor")
        rows = {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}
    output = sum(size(Path(place) / name) for place, _, names in os.walk(places.attempts(state)) for name in names)
    secrets = len(list((state / "secrets").glob("[!k.]*")))
    wal = size(state / "tidegate.db-wal")
    return {"pages": pages, **rows, "output": output, "secrets": secrets, "wal": wal}


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_long_churn_leaves_a_bounded_past(tidegate: Tidegate) -> None:
    """Each round is a batch with output and secrets, and jobs by number, all of which are there at once; what ended a
    second ago is forgotten. The rounds are alike, so what the first has needed is enough for all.
    """
    tidegate.env |= {
        "TIDEGATE_RETENTION__AGE": "0.5",
        "TIDEGATE_RETENTION__FORGET": "1",
        "TIDEGATE_SUPERVISOR__SLOTS": "8",
    }
    tidegate.state.mkdir(mode=0o700)
    with (tidegate.place / "serve.log").open("w") as log:
        serving = subprocess.Popen(
            [sys.executable, "-c", HURRIED, "serve", "--log-format", "json"],
            cwd=tidegate.place,
            env=tidegate.environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
    tidegate.started.append(serving)
    until(lambda: '"serving"' in (tidegate.place / "serve.log").read_text())
    seen = []
    with closing(sqlite.open(places.database(tidegate.state))) as store:
        for turn in range(ROUNDS):
            env = {"MY_TOKEN": f"secret-{turn}-" + "x" * 20, "PATH": os.environ["PATH"]}
            spec = Spec(command=("sh", "-c", PRINTS), env=env)
            for batch, names in ((f"b{turn}", [f"j{n}" for n in range(EACH)]), ("cli", [""] * LOOSE)):
                jobs = [NewJob(name=name, account="command", spec=spec) for name in names]
                store.submit(Batch(batch), jobs, datetime.now(UTC), whole=False)
            doorbell.ring(tidegate.state)
            until(lambda: not store.counts()[State.QUEUED], within=60)
            until(lambda: not any(sizes(tidegate.state)[what] for what in GONE), within=60)
            seen.append(sizes(tidegate.state))
    serving.terminate()
    assert serving.wait(30) == 0
    assert [one["pages"] <= seen[0]["pages"] * 1.2 + 8 for one in seen] == [True] * ROUNDS, seen
    assert [one["event"] <= 5 for one in seen] == [True] * ROUNDS, seen
    assert seen[-1]["wal"] < 20_000_000
    log_lines = (tidegate.place / "serve.log").read_text().splitlines()
    assert any('"past forgotten"' in line for line in log_lines)
    assert not [line for line in log_lines if '"error"' in line]
