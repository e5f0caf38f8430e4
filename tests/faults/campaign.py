"""The fault campaign: kills tidegate again and again, restarts it, and checks what must hold.

    python tests/faults/campaign.py --kills 5000 --seed 1 --jobs 2
    python tests/faults/campaign.py --replay 1-17

A seed decides about the jobs, the points, the moments and what else is done meanwhile, not about the machine's timing:
a replay does the same again, and may have to be repeated. A world is one state directory with its 24 jobs and more; its
seed is "SEED-NUMBER".
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.invariants import Violation
from faults.points import POINTS, SUPERVISOR, Point
from faults.workload import HASTY, Work, some
from faults.world import SLOTS, Born, Nursery, World
from tidegate import codes

JOBS = 24
FEW = 4  # queued jobs
LIVES = 40  # kills in one world
FAILING = 5  # worlds after which a campaign has seen enough
MOST = 400  # characters of a violation that are printed
PATIENCE = 0.5  # seconds until a point that does not come is given up, and the kill is one at a random time
DOINGS = (
    *("HUP", "freeze", "pause", "interrupt", "brief", "drain", "second", "follow"),
    *("cancel", "retry", "edit", "priority", "submit", "refusals"),
)
FITTING = {"cancel": ("running",), "edit": ("queued",), "retry": ("failed", "cancelled", "succeeded")}
RARE = ("TERM", "upgrade", "INT", "stop")
NAMED = sorted(POINTS)
ONLY_SERVED = {"HUP", "upgrade", "TERM", "INT", "follow"}
NOTHING: Mapping[str, str] = {}
EARLY = (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP)  # before it listened: nothing had begun
ENDS = (0, 1, codes.LIMITED, 130, 143, *EARLY)


@dataclass(slots=True)
class Figures:
    """What a campaign did and found; to be added up."""

    kills: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    sums: Counter[str] = field(default_factory=Counter)
    violations: dict[str, list[Violation]] = field(default_factory=dict)

    def add(self, other: Figures) -> None:
        self.kills += other.kills
        self.done += other.done
        self.sums += other.sums
        self.violations |= other.violations


class Lives:
    """The lives of the supervisors of one world: each begins, is disturbed, and is ended by force."""

    def __init__(self, world: World, rng: Random, door: str) -> None:
        self.world = world
        self.figures = Figures()
        self._rng = rng
        self._door = door
        self._argv: tuple[str, ...] = ("serve",)
        self._run: tuple[str, ...] = ()
        self._more = JOBS

    def begin(self, work: Sequence[Work]) -> None:
        """Hand the jobs in, by the door that this world has."""
        self._run = ("run", str(self.world.batch_file(list(work))), "--slots", str(SLOTS))
        if self._door == "run":
            self._argv = self._run
            self.world.know(list(work))
        else:
            self.world.submit(list(work))

    def live(self, most: int, patience: float = 60.0) -> None:
        """Up to so many lives, while there is work; then the last one, to the end."""
        for _ in range(most):
            self._one()
            self.world.look()
            if self.world.found:
                break
            self.go_on()
        self.world.finish(*(self._run if self._door == "run" else ("serve",)), within=patience)
        self._count()

    def go_on(self) -> None:
        """See that there is work."""
        if self.world.count("queued") < FEW:
            work = some(self._rng, 8, first=self._more + 1)
            self._more += 8
            self.world.submit(work, self._rng.choice(["v", "w"]) if self._door == "mixed" else "w")

    def undisturbed(self, seconds: float, doing: str = "") -> None:
        """A life of so many seconds that nobody ends, but for what is done meanwhile; then it is killed."""
        born = self.world.start(*self._argv)
        self.world.nursery.wait(born, 0.5)
        self._disturb(born, doing)
        self.world.nursery.wait(born, seconds)
        self._end(born, "")

    def _one(self) -> None:
        """One life: with a point or without one, with something done meanwhile or nothing, ended by force."""
        rng = self._rng
        point = POINTS[rng.choice(NAMED)] if rng.random() < 0.6 else None
        if self._door == "mixed":
            self._argv = rng.choice([("serve",), self._run, ("reap",)] if rng.random() < 0.5 else [("serve",)])
        if point is None or (self._argv[0] != "serve" and point.by in ONLY_SERVED):
            self.at_random()
        else:
            self.at(point, _at(rng))

    def at_random(self) -> None:
        """A life that is ended at a random time."""
        born = self.world.start(*self._argv)
        self._disturb(born, self._any())
        self.world.nursery.wait(born, self._rng.uniform(0.0, 0.4))
        self._end(born, "")

    def at(self, point: Point, hit: int, *, patience: float = PATIENCE) -> bool:
        """A life that is ended at a named point, where that comes; whether it came."""
        if point.by in POINTS:
            self.at(POINTS[point.by], 1, patience=patience)
        fault = {"FAULT_POINT": point.name, "FAULT_AT": str(hit)}
        before = self.figures.kills[point.name]
        if point.who == SUPERVISOR:
            born = self.world.start(*self._argv, **fault)
            self._disturb(born, point.by if point.by not in POINTS else self._any())
            self._see_it_work(born)
            self.world.nursery.wait(born, patience)
            self._end(born, point.name)
        else:
            born = self.world.start(*self._argv)
            self._disturb(born, point.by, fault)
            self._end(born, "")
        return self.figures.kills[point.name] > before

    def _any(self) -> str:
        """What is done meanwhile, mostly nothing."""
        rng = self._rng
        if rng.random() > 0.35:
            return ""
        doing = rng.choice(RARE if rng.random() < 0.15 else DOINGS)
        return "" if self._argv[0] != "serve" and doing in ONLY_SERVED else doing

    def _end(self, born: Born, point: str) -> None:
        """Kill what is not dead by its point, and count it."""
        if born.status is None:
            self.world.kill(born)
            point = ""
        if born.status == -signal.SIGKILL:
            self.figures.kills[point or "at a random time"] += 1
        elif born.status not in ENDS:
            self.world.wrong("program", f"{born.argv} ended with {born.status}")

    # --- what is done meanwhile ---

    def _disturb(self, born: Born, doing: str, fault: Mapping[str, str] = NOTHING) -> None:
        if doing and self._rng.random() < 0.8:
            self._see_it_work(born)
        if doing:
            self.world.nursery.wait(born, self._rng.uniform(0.02, 0.2))
        if doing and self.world.database.exists():
            self.figures.done[doing] += 1
            self._do(doing, born, fault)

    def _see_it_work(self, born: Born) -> None:
        lock, deadline = self.world.state / "lock", time.monotonic() + 5
        while time.monotonic() < deadline and not self.world.nursery.wait(born, 0.02):
            if lock.exists() and lock.read_text() == f"{born.pid}\n":
                return

    def _do(self, doing: str, born: Born, fault: Mapping[str, str]) -> None:
        world, rng = self.world, self._rng
        match doing:
            case "HUP" | "TERM" | "INT":
                born.send(signal.Signals[f"SIG{doing}"])
            case "stop":
                born.send(signal.SIGSTOP)
                world.nursery.wait(born, rng.uniform(0.1, 1.5))
                born.send(signal.SIGCONT)
            case "freeze" | "interrupt" | "pause":
                self._pause(doing, born)
            case "brief":
                self._verb({}, "pause", "fake", "--until", "1s")
                world.nursery.wait(born, 1.0)
            case "upgrade" if rng.random() < 0.5:
                world.start("upgrade")
                world.nursery.wait(born, rng.uniform(0.2, 2.0))
            case "upgrade":
                self._verb({}, "upgrade")
            case "second" | "follow":
                self._second(self._argv if doing == "second" else self._run)
            case _:
                self._steer(doing, fault)

    def _steer(self, doing: str, fault: Mapping[str, str]) -> None:
        states = FITTING.get(doing, ())
        fitting = [job["name"] for job in self.world.books().jobs if job["state"] in states]
        if fitting and self._rng.random() < 0.5:
            fitting = [max(fitting, key=lambda name: self.world.work[name].lines * self.world.work[name].pause)]
        name = self._rng.choice(fitting if fitting and self._rng.random() < 0.9 else list(self.world.work))
        match doing:
            case "submit":
                self._submit(fault)
            case "refusals":
                self._refusals()
            case "cancel":
                self.world.cancelled.add(name)
                self._verb(fault, "cancel", name)
            case "priority":
                self._verb(fault, "priority", name, str(self._rng.randint(-5, 5)))
            case "edit":
                self._verb(fault, "edit", name, "--priority", "3")
            case "drain":
                self._verb(fault, "drain")
            case "retry":
                self._verb(fault, "retry", name)
            case _:
                pass

    def _pause(self, how: str, born: Born) -> None:
        now = () if how == "pause" else (f"--now={how}",)
        self._verb({}, "pause", *now, "--", self._rng.choice(["*", "*", "*", "fake", "batch:w"]))
        self.world.nursery.wait(born, self._rng.uniform(0.05, 0.4))
        for scope in ("*", "fake", "batch:w"):
            self._verb({}, "resume", scope)

    def _submit(self, fault: Mapping[str, str]) -> None:
        """A job from the command line; whose submit was killed is handed in again, and is the same job."""
        self._more += 1
        one = Work(f"j{self._more}", "plain", self._rng.randint(1, 5), 0.05)
        self.world.work[one.name] = one
        words = ("submit", "--name", one.name, "--batch", "w", "--max-attempts", "1", "--", *one.command)
        if self._verb(fault, *words) == 0 or (self._rng.random() < 0.7 and self._verb({}, *words) == 0):
            self.world.spoken.add(one.name)

    def _refusals(self) -> None:
        """Several jobs that are refused at about the same time, each with a later reset; two others open the way."""
        work = [Work(f"j{self._more + n}", HASTY, 4, 0.1, limits=int(n > 2)) for n in range(1, 7)]
        self._more += len(work)
        self.world.submit(work)

    def _second(self, argv: tuple[str, ...]) -> None:
        """A second supervisor: refused, or, where it follows, it may leave at any time."""
        second = self.world.start(*argv)
        self.world.nursery.wait(second, 0.3)
        if second.status is None:
            self.world.kill(second)
        if second.status not in (5, -signal.SIGKILL, 0, 1):
            self.world.wrong("program", f"a second {second.argv} ended with {second.status}")

    def _verb(self, fault: Mapping[str, str], *argv: str) -> int | None:
        status = self.world.do(*argv, **fault)
        if status == -signal.SIGKILL:
            self.figures.kills[fault["FAULT_POINT"]] += 1
        elif status not in (0, 2, 5):
            self.world.wrong("program", f"{argv} ended with {status}")
        return status

    # --- figures ---

    def _count(self) -> None:
        books = self.world.books()
        events = Counter(event["name"] for event in books.events)
        self.figures.sums.update(
            {
                "worlds": 1,
                "jobs": len(books.jobs),
                "attempts": len(books.attempts),
                "launches": sum(stamp.word == "start" for stamp in self.world.stamps()),
                "adoptions": events["attempt adopted"],
                "given back": events["attempt unclaimed"],
                "refusals": sum(stamp.word == "refuse" for stamp in self.world.stamps()),
                "gates shut": events["gate shut"],
                "interrupted": sum(row["outcome"] == "interrupted" for row in books.attempts),
                "lost": sum(row["outcome"] == "lost" for row in books.attempts),
            }
        )


def _at(rng: Random) -> int:
    """Which hit of a point counts: mostly one of the first."""
    at = 1
    while rng.random() < 0.3:
        at += 1
    return at


# --- worlds ----------------------------------------------------------------------------------------------------------


@contextmanager
def settled(nursery: Nursery, *, plant: str = "", trace: bool = False) -> Iterator[World]:
    """A world in a place of its own, which is gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix="tidegate-faults-"))
    world = World(place, nursery, plant=plant, trace=trace)
    try:
        yield world
    finally:
        world.end()
        shutil.rmtree(place, ignore_errors=True)


def one_world(
    nursery: Nursery, seed: str, *, kills: int = LIVES, plant: str = "", keep: bool = True, patience: float = 60.0
) -> Figures:
    """The lives of one world; a seed decides. `keep`: where anything does not hold, all files of it are kept.

    `patience`: seconds that the last life gets to end all jobs.
    """
    rng = Random(seed)
    with settled(nursery, plant=plant) as world:
        lives = Lives(world, rng, rng.choice(["serve", "mixed", "mixed", "run"]))
        lives.begin(some(rng, JOBS))
        lives.live(kills, patience)
        if world.found:
            lives.figures.violations[seed] = world.found
            if keep:
                _keep(world.place, seed)
        return lives.figures


def _keep(place: Path, seed: str) -> None:
    kept = Path(tempfile.gettempdir()) / f"tidegate-fault-{seed}"
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(place, kept, ignore=shutil.ignore_patterns("bell"))


def worlds(seed: str, kills: int, *, seconds: float = 0.0, first: int = 1, step: int = 1, plant: str = "") -> Figures:
    """One world after another until there were so many kills, or no time is left."""
    figures, number, began = Figures(), first, time.monotonic()
    nursery = Nursery()
    try:
        while (
            figures.kills.total() < kills
            and len(figures.violations) < FAILING
            and (not seconds or time.monotonic() - began < seconds)
        ):
            most = min(LIVES, kills - figures.kills.total())
            figures.add(one_world(nursery, f"{seed}-{number}", kills=most, plant=plant))
            number += step
    finally:
        nursery.close()
    return figures


def _part(args: tuple[str, int, float, int, int]) -> Figures:
    seed, kills, seconds, first, step = args
    return worlds(seed, kills, seconds=seconds, first=first, step=step)


# --- the command -----------------------------------------------------------------------------------------------------


def main() -> int:
    """Run the campaign of this command line; 1 where anything did not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--jobs", type=int, default=1, help="campaigns side by side")
    parser.add_argument("--seconds", type=float, default=0.0, help="end after this time even with fewer kills")
    parser.add_argument("--replay", metavar="SEED", help="one world again, as it was printed")
    args = parser.parse_args()
    began = time.monotonic()
    if args.replay:
        nursery = Nursery()
        figures = one_world(nursery, args.replay)
        nursery.close()
    else:
        figures = Figures()
        parts = [(args.seed, -(-args.kills // args.jobs), args.seconds, 1 + n, args.jobs) for n in range(args.jobs)]
        with multiprocessing.get_context("spawn").Pool(args.jobs) as pool:
            for part in pool.imap_unordered(_part, parts):
                figures.add(part)
    print(table(figures, time.monotonic() - began))
    return 1 if figures.violations else 0


def table(figures: Figures, seconds: float) -> str:
    """The figures as lines."""
    total = figures.kills.total()
    lines = [f"{total} kills in {seconds:.0f} s ({seconds / max(total, 1):.2f} s each)", ""]
    lines += [f"{number:6}  {name}" for name, number in figures.kills.most_common()]
    never = sorted(POINTS.keys() - figures.kills.keys())
    lines += ["", f"points without a kill: {', '.join(never) or 'none'}", ""]
    lines += [f"{number:6}  {name} meanwhile" for name, number in figures.done.most_common()]
    lines += ["", *(f"{number:6}  {name}" for name, number in figures.sums.items())]
    lines += ["", f"violations: {sum(map(len, figures.violations.values()))}"]
    for seed, found in figures.violations.items():
        lines += [f"  --replay {seed}", *(f"    {violation}"[:MOST] for violation in found[:8])]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
