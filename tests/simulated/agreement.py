"""The same night for the shipped demo agent, through the installed program and through the simulator."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from installed import OWN, Tidegate
from timeless.ground import LAUNCH, READ

from simulated.demo import Came, Night, came_to, simulated

NOTHING_TO_DO = 5  # jobs


def real(night: Night, place: Path) -> Came:
    """Through the program itself."""
    tidegate = Tidegate(place, program=OWN)
    env = {
        "DEMO_ACCOUNT": str(place / "account"),
        "DEMO_STEP_SECONDS": str(night.seconds),
        "DEMO_ALLOWANCE": str(night.allowance),
        "DEMO_RESET_AFTER": str(night.reset_after),
    }
    jobs = [
        {"id": f"{n:03}", "agent": "demo", "prompt": "do it", "env": env | {"DEMO_STEPS": str(steps)}}
        for n, steps in enumerate(night.steps)
    ]
    lines = [json.dumps(line) for line in ({"batch": {"name": "night"}}, *jobs)]
    batch = tidegate.batch("\n".join(lines) + "\n", "night.jsonl")
    done = tidegate("run", batch, "--slots", str(night.slots), timeout=3600)
    assert done.returncode == 0, done.stderr
    return came_to((one["event"], datetime.fromisoformat(one["at"]), one["data"]) for one in tidegate.events())


def launching(place: Path) -> float:
    """Seconds that an attempt takes beside its steps, on this machine as busy as it is."""
    idle = Night(steps=(1,) * NOTHING_TO_DO, seconds=0.0, allowance=100, reset_after=1.0, slots=1)
    return real(idle, place).makespan / NOTHING_TO_DO


def agreement(night: Night, seeds: int) -> tuple[Came, list[Came]]:
    """What the program came to, and what the simulator by each seed."""
    with tempfile.TemporaryDirectory(prefix="tidegate-agreement-") as folder:
        for name in ("idle", "night"):
            (Path(folder) / name).mkdir()
        took = launching(Path(folder) / "idle")
        one = real(night, Path(folder) / "night")
    beside = replace(night, starts=max(took - LAUNCH - READ, 0.0), ends=0.0)
    return one, [simulated(beside, seed) for seed in range(seeds)]
