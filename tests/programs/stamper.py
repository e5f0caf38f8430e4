#!/usr/bin/env python3
"""stamper.py FILE SECONDS [EXIT]: works for SECONDS, then exits EXIT (0); TERM ends it with 143.

Appends JSON lines to FILE: `event` start, end, term or overlap (another attempt of the job lives: a lock that the
kernel drops at any death, KILL too, says so), `job` (TIDEGATE_JOB), `pid`, `monotonic` and `wall` in seconds.
"""

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path
from urllib.parse import quote

JOB = os.environ.get("TIDEGATE_JOB", "?")


def main(file: Path, seconds: float, code: int) -> int:
    signal.signal(signal.SIGTERM, lambda *_: ended(file))
    with file.with_name(f"{file.name}.{quote(JOB, safe='')}.lock").open("w") as lock:
        stamp(file, "start" if alone(lock.fileno()) else "overlap")
        time.sleep(seconds)
        stamp(file, "end")
    print("done")
    return code


def alone(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def stamp(file: Path, event: str) -> None:
    facts = {"event": event, "job": JOB, "pid": os.getpid(), "monotonic": time.monotonic(), "wall": time.time()}
    out = os.open(file, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
    os.write(out, f"{json.dumps(facts)}\n".encode())
    os.close(out)


def ended(file: Path) -> None:
    stamp(file, "term")
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0))
