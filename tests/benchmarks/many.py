"""Benchmark: a thousand agents at once, half of them printing in bursts; what that costs, and whether all is right.

    python tests/benchmarks/many.py [--agents 1000] [--talkers 500] [--rate 1000] [--limits 40] [--seconds 24]
        [--burst 3] [--silence 3] [--place DIR] [--json]

All agents are launched before the first one goes on. Talkers print numbered lines to both streams, `rate` a second
each, for `burst` seconds, are silent for `silence`, and so on; the quiet ones sleep in a tiny sh. Meanwhile some
agents, each with an account of its own, are refused by their provider: from that line to the committed hold is the
latency. Every job ends with an exit status of its own; every line must be in its file once; the last one must be the
reason of a job that failed. `carried` is the share of the asked rate that the agents could print on this machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from figures import Place, at, parser, place, seconds, show
from load import resident, used

HERE = Path(__file__).parent
CODES = 5
Ends = dict[str, dict[str, Any]]  # the event of each job's end, by the job

QUIET = 'read x <"$GO"; sleep "$1"; exit "$2"'  # a fifo: all go on at once

TALK = """
import os, sys, time
number, rate, seconds, burst, silence, code = int(sys.argv[1]), *map(float, sys.argv[2:6]), int(sys.argv[6])
open(os.environ["GO"]).read()
began, count, turn = time.monotonic(), [0, 0], 0
while (now := time.monotonic() - began) < seconds:
    if now % (burst + silence) > burst:
        time.sleep(burst + silence - now % (burst + silence))
        continue
    place, turn = turn % 2, turn + 1
    lines = [b"%d %d the quick brown fox jumps over the lazy dog\\n" % (number, n)
             for n in range(count[place], count[place] + int(rate / 10))]
    count[place] += len(lines)
    left = b"".join(lines)
    while left:
        left = left[os.write(place + 1, left):]
    time.sleep(max(0.1 - (time.monotonic() - began - now), 0))
os.write(2, b"agent %d printed %d and %d lines\\n" % (number, *count))
with open(os.path.join(os.environ["STAMPS"], f"talk-{number}"), "w") as out:
    out.write(repr(time.time()))
sys.exit(code)
"""

REFUSED = f"""#!{sys.executable} -SE
import json, os, sys, time
open(os.environ["GO"]).read()
time.sleep(float(os.environ["WAIT"]))
info = {{"status": "rejected", "resetsAt": int(time.time()) + 7200, "rateLimitType": "five_hour"}}
line = json.dumps({{"type": "rate_limit_event", "rate_limit_info": info, "session_id": "s"}}) + "\\n"
stamp = repr(time.time())
os.write(1, line.encode())
with open(os.path.join(os.environ["STAMPS"], os.environ["TIDEGATE_JOB"]), "w") as out:
    out.write(stamp)
time.sleep(1)
sys.exit(1)
"""


def batch(here: Place, args: argparse.Namespace) -> Path:
    """The jobs: talkers `t*`, those that are refused `r*`, quiet ones `q*`."""
    (here.folder / "stamps").mkdir()
    os.mkfifo(here.folder / "go")
    talk, claude = here.write("talk.py", TALK), here.write("claude", REFUSED, 0o700)
    env = {"GO": str(here.folder / "go"), "STAMPS": str(here.folder / "stamps")}
    jobs: list[dict[str, object]] = []
    for n in range(args.talkers):
        command = [sys.executable, "-S", "-E", str(talk), str(n), str(args.rate), str(args.seconds)]
        command += [str(args.burst), str(args.silence), str(n % CODES)]
        jobs.append({"id": f"t{n}", "command": command, "account": "talk", "max_attempts": 1, "env": env})
    for n in range(args.limits):
        wait = 1 + (args.seconds - 2) * n / max(args.limits, 1)
        told = {"id": f"r{n}", "command": [str(claude), "-p", "go"], "account": f"a{n}"}
        jobs.append({**told, "env": {**env, "WAIT": str(wait)}})
    for n in range(args.agents - args.talkers - args.limits):
        command = ["sh", "-c", QUIET, "sh", str(args.seconds + 1), str(n % CODES)]
        jobs.append({"id": f"q{n}", "command": command, "account": "quiet", "max_attempts": 1, "env": env})
    head = {"batch": {"name": "many", "on_limit": "exit"}}
    return here.write("many.jsonl", "".join(json.dumps(line) + "\n" for line in [head, *jobs]))


def idle_memory(here: Place) -> int:
    """Kilobytes of a supervisor with one agent."""
    room = here.room("idle")
    first = room.write("first.jsonl", '{"id": "first", "command": ["true"]}\n')
    room.start("run", str(first)).wait()  # for the bytecode
    one = room.write("one.jsonl", '{"id": "one", "command": ["sleep", "1000"]}\n')
    process = room.start("run", str(one))
    _until(lambda: _launched(room) == 2, process)
    time.sleep(2)
    found = resident(process.pid)
    process.kill()
    process.wait()
    end_left(room)
    return found


def _launched(here: Place) -> int:
    """How many shims have written their pid."""
    return sum(lock.stat().st_size > 0 for lock in here.folder.glob("state/attempts/*/*/lock"))


def _until(fact: object, process: subprocess.Popen[bytes]) -> None:
    assert callable(fact)
    while not fact():
        assert process.poll() is None, "the supervisor has ended"
        time.sleep(0.2)


def end_left(here: Place) -> None:
    """Kill the session of every attempt that has not ended."""
    for lock in here.folder.glob("**/attempts/*/*/lock"):
        lines = lock.read_text().splitlines()
        if len(lines) == 1:
            try:
                os.killpg(int(lines[0]), 9)
            except OSError:
                continue


def measured(here: Place, args: argparse.Namespace) -> dict[str, object]:
    idle = idle_memory(here)
    path, notes = batch(here, args), here.folder / "notes"
    errors = (here.folder / "errors").open("wb")
    command = [sys.executable, str(HERE / "lagged.py"), str(notes), "run", str(path), "--slots", str(args.agents)]
    began = time.monotonic()
    process = subprocess.Popen(command, env=here.env, stdout=errors, stderr=errors)
    _until(lambda: _launched(here) == args.agents, process)
    launched = time.monotonic() - began
    time.sleep(3)
    standing = resident(process.pid)
    before, started = used(process.pid), time.time()
    while time.time() - started < args.seconds:
        with suppress(OSError):  # nobody waits there just now
            os.close(os.open(here.folder / "go", os.O_WRONLY | os.O_NONBLOCK))  # who reads goes on
        time.sleep(0.5)
    share, talking = (used(process.pid) - before) / (time.time() - started), resident(process.pid)
    process.wait()
    ended = {event["job"]: event for event in here.events("attempt ended")}
    return {
        "agents": args.agents,
        "talkers": args.talkers,
        "launched and running, s": round(launched, 1),
        "supervisor, % of a core": round(100 * share, 1),
        "memory per quiet agent, KB": round((standing - idle) / args.agents, 1),
        "memory per agent under load, KB": round((talking - idle) / args.agents, 1),
        **_lateness(notes, started, started + args.seconds),
        **_latency(here, args),
        **_lines(here, args, ended),
        **_ends(here, args, ended),
    }


def _lateness(notes: Path, since: float, until: float) -> dict[str, object]:
    told = [json.loads(line) for line in notes.read_text().splitlines()]
    every = [late for one in told for late in one["late"]]
    load = [late for one in told if since < one["at"] < until + 1 for late in one["late"]]
    return {
        "loop late under load, p50 ms": round(at(load, 0.5), 1),
        "loop late under load, p99 ms": round(at(load, 0.99), 1),
        "loop late, worst ms (launch to end)": round(max(every), 1),
        "loop busy at once, worst ms": round(max(one["busy"] for one in told), 1),
    }


def _latency(here: Place, args: argparse.Namespace) -> dict[str, object]:
    if not args.limits:
        return {}
    shut = {event["scope"].partition("/")[0]: seconds(event["at"]) for event in here.events("gate shut")}
    stamps = here.folder / "stamps"
    took = [1000 * (shut[f"a{n}"] - float((stamps / f"r{n}").read_text())) for n in range(args.limits)]
    return {
        "limit line to hold, p50 ms": round(statistics.median(took), 1),
        "limit line to hold, p99 ms": round(at(took, 0.99), 1),
    }


def _lines(here: Place, args: argparse.Namespace, ended: Ends) -> dict[str, object]:
    """Every line once, in its order; the agents' own rate, and how far behind their end the record was."""
    total, wrong, behind = 0, [], []
    for n in range(args.talkers):
        (folder,) = here.folder.glob(f"state/attempts/{_number(ended, f't{n}')}/*")
        out = (folder / "stdout.log").read_bytes().splitlines()
        *err, last = (folder / "stderr.log").read_bytes().splitlines()
        told = b"agent %d printed %d and %d lines" % (n, len(out), len(err))
        if last != told or not _in_order(n, out) or not _in_order(n, err):
            wrong.append(n)
        total += len(out) + len(err)
        stamp = float((here.folder / "stamps" / f"talk-{n}").read_text())
        behind.append(seconds(str(ended[f"t{n}"]["at"])) - stamp)
    assert not wrong, f"lines are missing or there twice: {wrong}"
    talk = args.seconds * args.burst / (args.burst + args.silence)
    asked = args.talkers * args.rate * talk
    return {
        "lines": total,
        "lines a second, all talkers in a burst": round(total / talk),
        "carried, % of the asked rate": round(100 * total / asked, 1),
        "end to its record, p50 s": round(at(behind, 0.5), 2),
        "end to its record, worst s": round(max(behind), 2),
    }


def _in_order(number: int, lines: list[bytes]) -> bool:
    return all(line.startswith(b"%d %d the" % (number, n)) for n, line in enumerate(lines))


def _number(ended: Ends, name: str) -> object:
    return ended[name]["number"]


def _ends(here: Place, args: argparse.Namespace, ended: Ends) -> dict[str, object]:
    wrong = []
    for name, event in ended.items():
        n, kind, told = int(name[1:]), name[0], event["data"]
        if kind == "r":
            right = told["outcome"] == "limited"
        else:
            right = told["exit"] == n % CODES and told["outcome"] == ("failed" if n % CODES else "succeeded")
        if kind == "t" and n % CODES:
            right = right and f"agent {n} printed" in told["reason"]
        if not right:
            wrong.append(name)
    assert len(ended) == args.agents, (len(ended), (here.folder / "errors").read_text()[-2000:])
    assert not wrong, wrong
    return {"ends, all right": len(ended)}


def main() -> None:
    flags = parser(__doc__)
    for name, number in {"agents": 1000, "talkers": 500, "rate": 1000, "limits": 40}.items():
        flags.add_argument(f"--{name}", type=int, default=number)
    for name, number in {"seconds": 24, "burst": 3, "silence": 3}.items():
        flags.add_argument(f"--{name}", type=float, default=number)
    args = flags.parse_args()
    with place(args.place) as here:
        try:
            figures = measured(here, args)
        finally:
            end_left(here)
    show(figures, as_json=args.json)


if __name__ == "__main__":
    main()
