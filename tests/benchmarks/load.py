"""Benchmarks (b2) and (c): the supervisor's processor time and memory, idle and with agents that print.

python tests/benchmarks/load.py [--agents 100] [--rate 20] [--seconds 20] [--place DIR] [--json]
"""

import json
import os
import sys
import time
from pathlib import Path

from figures import Place, parser, place, show

AGENT = """
import sys, time
rate, seconds = float(sys.argv[1]), float(sys.argv[2])
for n in range(int(rate * seconds)):
    print(f"line {n}: the quick brown fox jumps over the lazy dog", flush=True)
    time.sleep(1 / rate)
"""


def used(pid: int) -> float:
    """Seconds of processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Kilobytes of memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def measured(here: Place, agents: int, rate: float, seconds: float) -> dict[str, object]:
    agent = here.write("agent.py", AGENT)
    talk = [sys.executable, "-S", "-E", str(agent), str(rate), str(seconds + 30)]
    jobs = [{"id": "idle", "command": ["sleep", "1000"]}]
    jobs += [{"id": f"j{n}", "command": talk, "account": "talk"} for n in range(agents)]
    first = here.write("first.jsonl", '{"id": "first", "command": ["true"]}\n')
    here.start("run", str(first)).wait()  # for the bytecode
    batch = here.write("idle.jsonl", json.dumps(jobs[0]) + "\n")
    process = here.start("run", str(batch), "--slots", str(agents + 1))
    time.sleep(3)
    idle, idle_cpu = resident(process.pid), used(process.pid)
    time.sleep(5)
    idle_share = (used(process.pid) - idle_cpu) / 5
    process.kill()
    process.wait()
    batch = here.write("talk.jsonl", "".join(json.dumps(job) + "\n" for job in jobs[1:]))
    process = here.start("run", str(batch), "--slots", str(agents + 1))
    while len(list(here.folder.glob("state/attempts/*/*/lock"))) < agents + 1:
        time.sleep(0.2)
    time.sleep(3)
    before, began = used(process.pid), time.monotonic()
    time.sleep(seconds)
    share = (used(process.pid) - before) / (time.monotonic() - began)
    busy = resident(process.pid)
    process.kill()
    process.wait()
    return {
        "agents": agents,
        "lines a second each": rate,
        "supervisor, idle, MB": round(idle / 1024, 1),
        "supervisor, idle, % of a core": round(100 * idle_share, 2),
        "supervisor, busy, % of a core": round(100 * share, 2),
        "memory per running agent, KB": round((busy - idle) / agents, 1),
    }


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--agents", type=int, default=100)
    flags.add_argument("--rate", type=float, default=20)
    flags.add_argument("--seconds", type=float, default=20)
    args = flags.parse_args()
    with place(args.place) as here:
        try:
            figures = measured(here, args.agents, args.rate, args.seconds)
        finally:
            for lock in here.folder.glob("state/attempts/*/*/lock"):
                _end(lock)
    show(figures, as_json=args.json)


def _end(lock: Path) -> None:
    """Kill the session whose shim's pid is the first line of an attempt's lock."""
    try:
        os.killpg(int(lock.read_text().split()[0]), 9)
    except (OSError, ValueError, IndexError):
        return


if __name__ == "__main__":
    main()
