"""Benchmark: hours of short jobs with limits, pauses, cancels, reloads and cleaning; does anything of `serve` grow?

    python tests/benchmarks/churn.py [--minutes 10] [--jobs 60] [--every 20] [--place DIR] [--json]

A round submits a batch, pauses and resumes everything, cancels some, has some refused for two seconds, reloads the
configuration, waits until all has ended, and then counts what the supervisor holds: memory, descriptors, threads,
inotify watches, tasks of its loop, children and zombies, and the size of the database and of its log. Every tenth round
older jobs are forgotten with their output. A line is fitted to what was counted after the first fifth of the time:
what it rises in an hour, and what that is of the first value. Each count goes to stderr too.
"""

import argparse
import json
import signal
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from figures import Place, parser, place, show
from load import resident, used

from tidegate import doorbell, places
from tidegate.model import Account, Batch, NewJob, Spec, State
from tidegate.stores import sqlite

HERE = Path(__file__).parent
FORGET = 10  # rounds
WARM = 0.2  # the share of the time after which the line is fitted

REFUSED = """#!/bin/sh
if [ -e "$SEEN" ]; then echo '{"type":"result","subtype":"success","is_error":false,"result":"ok"}'; exit 0; fi
: >"$SEEN"
at=$(($(date +%s) + 2))
echo '{"type":"rate_limit_event","rate_limit_info":{"status":"rejected","resetsAt":'$at',"rateLimitType":"five_hour"}}'
exit 1
"""
TALKS = 'n=0; while [ $n -lt 100 ]; do echo "line $n"; echo "error $n" >&2; n=$((n + 1)); done; sleep 0.2'
Counts = dict[str, float]


def jobs(here: Place, number: int, turn: int) -> list[NewJob]:
    """A round's: most do nothing, some talk, fail, leave somebody behind, are refused, or sleep until cancelled."""

    def shell(name: str, script: str) -> NewJob:
        return NewJob(name=name, account="command", spec=Spec(command=("sh", "-c", script), cwd="/", max_attempts=1))

    found = [shell(f"plain-{n}", "true") for n in range(number // 2)]
    found += [shell(f"talks-{n}", TALKS) for n in range(number // 6)]
    found += [shell(f"fails-{n}", "echo no >&2; exit 3") for n in range(number // 6)]
    found += [shell(f"leaves-{n}", "(setsid sleep 600 &)") for n in range(number // 20)]
    found += [shell(f"sleeps-{n}", "sleep 600") for n in range(number // 20)]
    for n in range(2):
        env = {"SEEN": str(here.folder / "seen" / f"{turn}-{n}")}
        told = Spec(agent="claude", command=(str(here.folder / "claude"), "-p", "go"), cwd="/", env=env)
        found.append(NewJob(name=f"refused-{n}", account="claude", spec=told))
    return found


def one_round(here: Place, state: Path, process: subprocess.Popen[bytes], args: argparse.Namespace, turn: int) -> None:
    def do(*verb: str) -> None:
        subprocess.run(here.tidegate(*verb), env=here.env, check=True, stdout=subprocess.DEVNULL)

    with closing(sqlite.open(places.database(state))) as store:
        told = store.submit(Batch(f"round-{turn}"), jobs(here, args.jobs, turn), datetime.now(UTC))
        doorbell.ring(state)
        time.sleep(args.every / 10)
        do("pause", "--now=freeze", "--reason", "churn")
        process.send_signal(signal.SIGHUP)
        do("resume")
        do("cancel", f"round-{turn}:sleeps-*")
        _until(lambda: sum(store.counts(told.batch.id)[state] for state in (State.QUEUED, State.RUNNING)) == 0, process)
        counts = store.counts(told.batch.id)
        assert counts[State.CANCELLED] == args.jobs // 20, counts
        assert counts[State.FAILED] == args.jobs // 6, counts
        assert counts[State.SUCCEEDED] == told_size(args) - args.jobs // 20 - args.jobs // 6, counts
    if turn % FORGET == FORGET - 1:
        do("clean", "--older", f"{round(args.every * FORGET)}s", "--forget")


def told_size(args: argparse.Namespace) -> int:
    jobs: int = args.jobs
    return jobs // 2 + 2 * (jobs // 6) + 2 * (jobs // 20) + 2


def _until(fact: object, process: subprocess.Popen[bytes]) -> None:
    assert callable(fact)
    while not fact():
        assert process.poll() is None, "the supervisor has ended"
        time.sleep(0.25)


def counted(process: subprocess.Popen[bytes], state: Path, notes: Path) -> Counts:
    """What the supervisor holds now."""
    pid = process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    status = Path(f"/proc/{pid}/status").read_text()
    database = places.database(state)
    return {
        "memory, KB": resident(pid),
        "descriptors": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "threads": int(status.partition("Threads:")[2].split()[0]),
        "watches": _watches(pid),
        "tasks": json.loads(notes.read_text().splitlines()[-1])["tasks"],
        "children": len(children),
        "zombies": sum(_is_zombie(child) for child in children),
        "database, KB": database.stat().st_size / 1024,
        "log of the database, KB": database.with_name(f"{database.name}-wal").stat().st_size / 1024,
    }


def _watches(pid: int) -> int:
    found = 0
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            found += info.read_text().count("inotify wd:")
        except OSError:
            continue
    return found


def _is_zombie(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


def slope(points: list[tuple[float, float]]) -> float:
    """The rise of the line that fits best, by least squares."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def measured(here: Place, args: argparse.Namespace) -> dict[str, object]:
    (here.folder / "seen").mkdir()
    here.write("claude", REFUSED, 0o700)
    config = here.write("config.toml", "[limits]\nmargin_exact = 0\njitter = 0\n[log]\nlevel = 'warning'\n")
    state, notes = Path(here.env["TIDEGATE_STATE_DIR"]), here.folder / "notes"
    with closing(sqlite.open(places.database(state))) as store:
        store.set_accounts([Account(name="command"), Account(name="claude")], datetime.now(UTC))
    command = [sys.executable, str(HERE / "lagged.py"), str(notes), "serve", "--config", str(config), "--slots", "8"]
    errors = (here.folder / "errors").open("wb")
    process = subprocess.Popen(command, env={**here.env, "LAGGED_EVERY": "0.25"}, stdout=errors, stderr=errors)
    began = time.monotonic()
    found: list[tuple[float, Counts]] = []
    try:
        _until(notes.exists, process)
        while (now := time.monotonic() - began) < 60 * args.minutes:
            one_round(here, state, process, args, len(found))
            time.sleep(max(args.every - (time.monotonic() - began - now), 2))  # after the last note of its tasks
            found.append((time.monotonic() - began, counted(process, state, notes)))
            print(json.dumps({"minute": round(found[-1][0] / 60, 1), **found[-1][1]}), file=sys.stderr, flush=True)
        share = used(process.pid) / (time.monotonic() - began)
    except BaseException:
        sys.stderr.write((here.folder / "errors").read_text()[-2000:])
        raise
    finally:
        process.terminate()
        process.wait()
    return {"rounds": len(found), "jobs": len(found) * told_size(args), **_fitted(found, share)}


def _fitted(found: list[tuple[float, Counts]], share: float) -> dict[str, object]:
    kept = [one for one in found if one[0] >= WARM * found[-1][0]]
    figures: dict[str, object] = {"supervisor, % of a core": round(100 * share, 2)}
    for name in found[0][1]:
        hourly = 3600 * slope([(at, counts[name]) for at, counts in kept])
        ends = f"{kept[0][1][name]:.0f} to {kept[-1][1][name]:.0f}"
        figures[name] = f"{ends}, most {max(counts[name] for _, counts in kept):.0f}, {hourly:+.1f} an hour"
    return figures


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--minutes", type=float, default=10)
    flags.add_argument("--jobs", type=int, default=60)
    flags.add_argument("--every", type=float, default=20)
    args = flags.parse_args()
    with place(args.place) as here:
        figures = measured(here, args)
    show(figures, as_json=args.json)


if __name__ == "__main__":
    main()
