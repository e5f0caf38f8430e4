"""Claims jobs of a database until none is left; prints one line for each claim and each finish.

    python claimer.py DATABASE UUID [--hold SECONDS]

With --hold it ends its jobs only after that time: somebody can kill it while it runs some.
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from tidegate.errors import NotOwner
from tidegate.model import State, Succeeded, Supervisor
from tidegate.stores.sqlite import SqliteStore


def now() -> datetime:
    return datetime.now(UTC)


def main(database: str, uuid: str, hold: float) -> None:
    store = SqliteStore(Path(database))
    store.enter(Supervisor(uuid=uuid, host="here", pid=1, boot_id="boot", started_at=now()))
    while store.counts()[State.QUEUED]:
        for job, attempt in store.claim(uuid, now(), most=2):
            print("claimed", job.name, attempt.n, flush=True)
            time.sleep(hold)
            try:
                store.finish(attempt, Succeeded(), now(), exit=0)
            except NotOwner:
                print("refused", job.name, attempt.n, flush=True)
            else:
                print("finished", job.name, attempt.n, flush=True)
    store.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[4]) if "--hold" in sys.argv else 0.0)
