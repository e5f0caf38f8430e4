"""Lets every single write fail, one after the other, and looks what has come of the jobs.

    python tests/faults/writes.py                                # every operation of every scene, with every error
    python tests/faults/writes.py --scene run --error EIO --at 17   # one of them again

A scene is a command on a fresh state directory. Its n-th operation that changes a file fails, alone or with those after
it. Then a run on a good disk goes on: each job has succeeded once, is charged nothing, and was said what it is.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from installed import Started, Tidegate, end_what_is_left

FAILING = [sys.executable, str(Path(__file__).with_name("failing.py"))]
ERRORS = ("ENOSPC", "EDQUOT", "EIO", "EROFS")
JOBS = ("a", "b", "c")
SCENES = ("run", "serve", "submit", "restore")
NEVER = 10**9


@dataclass(frozen=True, slots=True)
class Fault:
    """Which operations of which scene fail."""

    scene: str
    at: int = NEVER
    error: str = "ENOSPC"
    times: int = 1

    def __str__(self) -> str:
        return f"--scene {self.scene} --error {self.error} --at {self.at} --times {self.times}"


class World:
    """A state directory, and jobs that write down each of their starts."""

    def __init__(self, place: Path) -> None:
        self.good = Tidegate(place)
        self.marks = place / "marks"
        self.told = place / "told"
        self.script = f'echo "$TIDEGATE_JOB" >> {self.marks}'
        env = {"MY_TOKEN": "a-secret-of-the-jobs"}
        jobs = [{"id": name, "command": ["sh", "-c", self.script], "max_attempts": 1, "env": env} for name in JOBS]
        self.good.batch("".join(json.dumps(job) + "\n" for job in [{"batch": {"name": "w"}}, *jobs]), "b.jsonl")

    def play(self, fault: Fault) -> subprocess.CompletedProcess[str]:
        """The scene with its fault."""
        more = {"FAULT_AT": fault.at, "FAULT_FOR": fault.times, "FAULT_ERROR": fault.error}
        where = {"FAULT_BELOW": self.good.state, "FAULT_TOLD": self.told, "TIDEGATE_SUPERVISOR__MIN_FREE_DISK": "none"}
        bad = Tidegate(self.good.place, {name: str(value) for name, value in {**more, **where}.items()}, FAILING)
        match fault.scene:
            case "submit":
                return bad("submit", "--batch", "w", "--name", "a", "--env", "MY_TOKEN=x", "--", "true")
            case "run":
                return bad("run", "b.jsonl")
            case "restore":
                self._backed_up()
                return bad("restore", "--force", "backup")
            case _:
                return self._served(bad)

    def _backed_up(self) -> None:
        """The same jobs in a backup, and one more in the state directory."""
        for name in (*JOBS, "later"):
            submit = ("submit", "--batch", "w", "--name", name, "--env", "MY_TOKEN=a-secret-of-the-jobs", "--")
            assert self.good(*submit, "sh", "-c", self.script).returncode == 0
            if name == JOBS[-1]:
                assert self.good("backup", "backup").returncode == 0

    def _served(self, bad: Tidegate) -> subprocess.CompletedProcess[str]:
        """A service beside which jobs are handed in; told to leave when they have ended, or it has."""
        service = bad.start("serve")
        running = self.good.start("run", "b.jsonl") if self._listens(service) else None
        deadline = time.monotonic() + 30
        while service.poll() is None and time.monotonic() < deadline and (running is None or running.poll() is None):
            time.sleep(0.02)
        service.send_signal(signal.SIGTERM)
        try:
            code = service.wait(30)
        except subprocess.TimeoutExpired:
            service.kill()
            code = -9
        if running is not None and running.poll() is None:
            running.send_signal(signal.SIGTERM)
            running.wait(30)
        return subprocess.CompletedProcess([], code, "", (self.good.place / "started.0").read_text())

    def _listens(self, service: Started) -> bool:
        deadline = time.monotonic() + 30
        while service.poll() is None and time.monotonic() < deadline:
            if "serving" in (self.good.place / "started.0").read_text():
                return True
            time.sleep(0.02)
        return False

    def operations(self) -> int:
        return len(self.told.read_text().splitlines()) if self.told.exists() else 0


def wrong(fault: Fault, place: Path) -> Iterator[str]:
    """What is wrong after a fault."""
    world = World(place)
    try:
        yield from _wrong_with_end(world.play(fault))
        done = world.good("run", "b.jsonl")
        if done.returncode or "Traceback" in done.stderr:
            yield f"the run after it ends with {done.returncode}: {done.stderr[-300:]}"
        yield from _wrong_with_jobs(world, fault)
    except subprocess.TimeoutExpired as error:
        yield f"hangs: {error}"
    finally:
        end_what_is_left(world.good.state)


def _wrong_with_end(done: subprocess.CompletedProcess[str]) -> Iterator[str]:
    said = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    if "Traceback" in done.stderr:
        yield f"a traceback: {done.stderr[done.stderr.index('Traceback') :][:4000]}"
    if done.returncode not in (0, 5):
        yield f"ends with {done.returncode}: {done.stderr[-300:]}"
    if done.returncode == 5 and len(said) != 1:
        yield f"says {len(said)} lines: {said}"


def _wrong_with_jobs(world: World, fault: Fault) -> Iterator[str]:
    jobs = {job["job"]: job for job in world.good.lines("list", "--batch", "w")}
    starts = Counter(world.marks.read_text().split()) if world.marks.exists() else Counter()
    for name in JOBS:
        if name not in jobs:
            yield f"{name} is lost"
        elif jobs[name]["state"] != "succeeded" or jobs[name]["attempts"]:
            yield f"{name} is {jobs[name]['state']} with {jobs[name]['attempts']} attempts: {jobs[name]['reason']}"
        if starts[name] != 1 and not (fault.scene == "submit" and name == "a"):
            yield f"{name} was started {starts[name]} times"


def fly(faults: list[Fault]) -> list[str]:
    """Play each; a line for whatever is wrong."""
    found = []
    for fault in faults:
        with tempfile.TemporaryDirectory(prefix="tidegate-writes-") as place:
            found += [f"{fault}: {one}" for one in wrong(fault, Path(place))]
    return found


def operations(scene: str) -> int:
    """How many operations a scene has where none fails."""
    with tempfile.TemporaryDirectory(prefix="tidegate-writes-") as place:
        world = World(Path(place))
        done = world.play(Fault(scene))
        assert done.returncode == 0, done.stderr
        return world.operations()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scene", choices=SCENES, default=None)
    parser.add_argument("--error", choices=ERRORS, default=None)
    parser.add_argument("--at", type=int, default=None)
    parser.add_argument("--times", type=int, default=None)
    parser.add_argument("--step", type=int, default=1, help="every how manieth operation")
    args = parser.parse_args()
    wrongs = played = 0
    for scene in [args.scene] if args.scene else SCENES:
        numbers = [args.at] if args.at else range(1, operations(scene) + 1, args.step)
        for number in numbers:
            errors = [args.error] if args.error else [ERRORS[number % len(ERRORS)]]
            for error in errors:
                for times in [args.times] if args.times else [1, 40] if number % 2 else [3]:
                    played += 1
                    for line in fly([Fault(scene, number, error, times)]):
                        print(line, flush=True)
                        wrongs += 1
    print(f"{played} faults: {wrongs} wrong")
    return bool(wrongs)


if __name__ == "__main__":
    os.environ.pop("FAULT_AT", None)
    sys.exit(main())
