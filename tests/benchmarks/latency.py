"""Benchmark (b1): from a limit line that an agent writes to the committed hold, in milliseconds.

    python tests/benchmarks/latency.py [--agents 100] [--slots 4] [--place DIR] [--json]

Each agent is a program named `claude` with an account of its own; it notes the time, prints the rejected event of
claude 2.1.330 and lives on for a second. The hold's time is that of its `gate shut` event.
"""

import json
import sys

from figures import Place, at, parser, place, seconds, show

AGENT = f"""#!{sys.executable}
import json, os, pathlib, sys, time
info = {{"status": "rejected", "resetsAt": int(time.time()) + 7200, "rateLimitType": "five_hour"}}
time.sleep(0.3)
pathlib.Path(os.environ["STAMPS"], os.environ["TIDEGATE_JOB"]).write_text(repr(time.time()))
print(json.dumps({{"type": "rate_limit_event", "rate_limit_info": info, "session_id": "s"}}), flush=True)
time.sleep(1)
sys.exit(1)
"""


def measured(here: Place, agents: int, slots: int) -> list[float]:
    stamps = here.folder / "stamps"
    stamps.mkdir()
    claude = here.write("claude", AGENT, 0o700)
    jobs = [
        {"id": f"j{n}", "command": [str(claude), "-p", "go"], "account": f"a{n}", "env": {"STAMPS": str(stamps)}}
        for n in range(agents)
    ]
    lines = [{"batch": {"name": "latency", "on_limit": "exit"}}, *jobs]
    batch = here.write("batch.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    here.start("run", str(batch), "--slots", str(slots)).wait()
    shut = {event["scope"].partition("/")[0]: seconds(event["at"]) for event in here.events("gate shut")}
    assert len(shut) == agents, (len(shut), (here.folder / "errors").read_text()[-2000:])
    return [1000 * (shut[f"a{n}"] - float((stamps / f"j{n}").read_text())) for n in range(agents)]


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--agents", type=int, default=100)
    flags.add_argument("--slots", type=int, default=4)
    args = flags.parse_args()
    with place(args.place) as here:
        took = measured(here, args.agents, args.slots)
    figures = {
        "limit line to hold, p50 ms": round(at(took, 0.5), 1),
        "limit line to hold, p99 ms": round(at(took, 0.99), 1),
    }
    show({"agents": args.agents, "slots": args.slots, **figures}, as_json=args.json)


if __name__ == "__main__":
    main()
