"""A service that works for long: what it keeps of its past is bounded, on the disk and in the database."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
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
ROUNDS, EACH = 12, 25
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
    """300 jobs with output and secrets, in batches of their own and by number; what ended 1 s ago is forgotten."""
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
            env = {"MY_TOKEN": f"secret-{turn}-" + "x" * 20}
            spec = Spec(command=("sh", "-c", PRINTS), env={**env, "PATH": os.environ["PATH"]})
            jobs = [NewJob(name=f"j{n}" if turn % 2 else "", account="command", spec=spec) for n in range(EACH)]
            batch = Batch(f"b{turn}") if turn % 2 else Batch("cli")
            store.submit(batch, jobs, datetime.now(UTC), whole=False)
            doorbell.ring(tidegate.state)
            until(lambda: not store.counts()[State.QUEUED])
            seen.append(sizes(tidegate.state))
            time.sleep(0.2)
        until(lambda: sizes(tidegate.state)["job"] == 0, within=60)
        until(lambda: not list(places.attempts(tidegate.state).glob("*")), within=60)
        last = sizes(tidegate.state)
    serving.terminate()
    assert serving.wait(30) == 0
    half = len(seen) // 2
    for what in ("pages", "job", "attempt", "event", "batch", "output", "secrets"):
        early, late = (max(one[what] for one in part) for part in (seen[:half], seen[half:]))
        assert late <= early * 1.6 + 40, (what, json.dumps(seen))
    assert last["secrets"] == last["output"] == last["attempt"] == last["definition"] == 0, last
    assert last["batch"] <= 1, last
    assert last["wal"] < 20_000_000
    log_lines = (tidegate.place / "serve.log").read_text().splitlines()
    assert any('"past forgotten"' in line for line in log_lines)
    assert not [line for line in log_lines if '"error"' in line]
