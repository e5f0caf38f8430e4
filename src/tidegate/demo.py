"""The verb `demo`: twelve jobs on a small agent whose shared account runs out and resets 15 seconds later."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from pathlib import Path

from tidegate import agents, places, settings
from tidegate.agents import DEMO
from tidegate.batch import Expanded
from tidegate.clock import SystemClock
from tidegate.model import Account, NewJob, Spec
from tidegate.run import work
from tidegate.settings import Flag

JOBS = 12
INTRODUCTION = """\
Twelve jobs for an agent that behaves like a real one, four at a time. Their shared account runs out on the way and
resets 15 seconds later: the gate shuts, nothing is launched into the limit, then one canary goes first, then the rest,
and the jobs that were cut off go on in their own sessions.
"""


def run_demo(args: Namespace) -> int:
    """Run the demonstration on embedded defaults, in a state directory of its own; 0 when all has gone well."""
    flags = [Flag("--log-format", "log.format", args.log_format or "console")]
    said = settings.load(os.devnull, {}, flags).settings
    now = SystemClock().now()
    state = places.state_dir(args.state_dir, os.environ) / "demo" / f"{now:%Y%m%dT%H%M%S}-{os.getpid()}"
    print(INTRODUCTION, flush=True)
    code = work(batch(state), said, agents.known(), state)
    print(f"  look:  tidegate --state-dir {state} list")
    print(f"  read:  tidegate --state-dir {state} report demo")
    return code


def batch(state: Path) -> Expanded:
    """The demonstration's jobs; their account and their work live below `state`."""
    env = {"DEMO_ACCOUNT": str(state / "account"), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    jobs = tuple(
        NewJob(
            name=f"chapter-{number:02}",
            account=DEMO,
            spec=Spec(agent=DEMO, prompt=f"Write chapter {number}.", cwd=str(Path.cwd()), env=env),
        )
        for number in range(1, JOBS + 1)
    )
    return Expanded(name="demo", jobs=jobs, accounts=(Account(name=DEMO, cautious=True),))
