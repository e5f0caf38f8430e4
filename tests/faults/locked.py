"""Lets another program keep the database for a minute, under a service whose agents end meanwhile.

    python tests/faults/locked.py                  # BEGIN EXCLUSIVE for 60 s
    python tests/faults/locked.py --how writing    # a transaction of 80 MB that is then rolled back

Each job must run once and end as it should, uncharged unless it failed itself; each command must end within its
patience with 0, or with 5 and one line; `status` must say that nothing can be recorded.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from installed import OWN, Tidegate, end_what_is_left, until

HOW = {
    "exclusive": "db.execute('BEGIN EXCLUSIVE')",
    "writing": "db.execute('BEGIN'); db.execute('CREATE TABLE long (x)');"
    "[db.execute('INSERT INTO long VALUES (zeroblob(4000))') for _ in range(20000)]",
}
LOCKS = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
{how}
print("locked", flush=True)
time.sleep({seconds})
db.execute("ROLLBACK")
"""
WORKS = 'echo "$TIDEGATE_JOB" >> {place}/marks; while [ ! -e {place}/go ]; do sleep 0.05; done; sleep 1; exit {code}'
JOBS = 10
FAILS = "j3"
PATIENCE = 30.0  # seconds that no command takes, on a machine with other work
VERBS = [
    ["status"],
    ["list"],
    ["submit", "--", "true"],
    ["pause"],
    ["cancel", "j6"],
    ["doctor", "--deep"],
    ["show", "j0"],
]


def fly(place: Path, how: str, seconds: float) -> Iterator[str]:
    """Whatever is wrong, in words."""
    tidegate = Tidegate(place, {"TIDEGATE_SUPERVISOR__SLOTS": "4"}, list(OWN))
    service = tidegate.start("serve")
    try:
        until(lambda: (tidegate.state / "bell").exists())
        for number in range(JOBS):
            script = WORKS.format(place=place, code=3 if f"j{number}" == FAILS else 0)
            tidegate("submit", "--name", f"j{number}", "--max-attempts", "1", "--", "sh", "-c", script)
        until(lambda: list(tidegate.states().values()).count("running") == 4)
        script = LOCKS.format(how=HOW[how], seconds=seconds)
        argv = [sys.executable, "-c", script, str(tidegate.state / "tidegate.db")]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as locking:
            assert locking.stdout is not None
            assert locking.stdout.readline() == "locked\n"
            (place / "go").touch()
            yield from _wrong_meanwhile(tidegate, locking)
        until(lambda: not {"queued", "running"} & set(tidegate.states().values()), within=90)
        yield from _wrong_afterwards(tidegate, place / "marks")
        service.terminate()
        if service.wait(30) or "Traceback" in (place / "started.0").read_text():
            yield f"the service ends with {service.returncode}"
    finally:
        if service.poll() is None:
            service.kill()
        service.wait()
        end_what_is_left(tidegate.state)


def _wrong_meanwhile(tidegate: Tidegate, locking: subprocess.Popen[str]) -> Iterator[str]:
    told = False
    for verb in VERBS:
        begun = time.monotonic()
        done = tidegate(*verb)
        took = time.monotonic() - begun
        if locking.poll() is not None:
            break
        print(f"  {' '.join(verb)}: {done.returncode} after {took:.1f} s {done.stderr.strip()}", flush=True)
        if done.returncode not in (0, 5) or took > PATIENCE or done.stderr.count("\n") != (done.returncode != 0):
            yield f"{verb}: ends with {done.returncode} after {took:.1f} s: {done.stderr}"
    while locking.poll() is None:
        told = told or "nothing can be recorded" in tidegate("status").stdout
        time.sleep(1.0)
    if not told:
        yield "status has never said that nothing can be recorded"


def _wrong_afterwards(tidegate: Tidegate, marks: Path) -> Iterator[str]:
    jobs = {job["job"]: job for job in tidegate.lines("list")}
    starts = Counter(marks.read_text().split())
    for number in range(JOBS):
        job = jobs.get(name := f"j{number}", {"state": "lost", "attempts": 0})
        wanted = ("failed", 1) if name == FAILS else ("succeeded", 0)
        if (job["state"], job["attempts"]) != wanted or starts[name] != 1:
            yield f"{name} is {job['state']}, charged {job['attempts']}, started {starts[name]} times"
    deep = tidegate("doctor", "--deep", "--json")
    wrong = [line for line in map(json.loads, deep.stdout.splitlines()) if line["verdict"] == "wrong"]
    if wrong:
        yield f"the doctor finds {wrong}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--how", choices=HOW, default="exclusive")
    parser.add_argument("--seconds", type=float, default=60.0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidegate-locked-") as place:
        found = list(fly(Path(place), args.how, args.seconds))
    for line in found:
        print(line)
    print(f"locked for {args.seconds:g} s: {len(found)} wrong")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
