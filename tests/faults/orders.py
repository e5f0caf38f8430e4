"""Millions of orders of events through store and policy beside the model, or around a real supervisor.

    python tests/faults/orders.py --events 1000000 --seed 1
    python tests/faults/orders.py --events 1000000 --seed 1 --through supervisor
    python tests/faults/orders.py --replay 1-4711 --through sqlite

An order is a hundred events and its end, in which every job that can run must have run. Its seed is "SEED-NUMBER"; what
fails is made as short as it gets, and printed. `memory` and `sqlite` are the two stores beside the model.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pool
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults import machine, service
from faults.machine import Event, Step, order
from tidegate.stores.books import books
from tidegate.stores.memory import MemoryStore
from tidegate.stores.sqlite import SqliteStore

LENGTH = 100  # events of an order, before its end
GULP = 25  # orders that a process plays before it tells


def beside(steps: Iterable[Step], kind: str) -> Counter[str]:
    """Let it happen to a store of a kind and to the model."""
    if kind == "memory":
        return machine.play(steps, MemoryStore()).counts
    place = tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    store = SqliteStore(Path(place) / "tidegate.db")
    try:
        done = machine.play(steps, store)
        wrong = [fault for fault in books(Path(place) / "tidegate.db", done.now).faults if not fault.doubtful]
        assert not wrong, wrong[0].said
        return done.counts
    finally:
        store.close()
        shutil.rmtree(place)


class Way(NamedTuple):
    """What orders go through, and what they consist of."""

    events: Mapping[str, Event]
    play: Callable[[Iterable[Step]], Counter[str]]


WAYS = {
    "memory": Way(machine.EVENTS, lambda steps: beside(steps, "memory")),
    "sqlite": Way(machine.EVENTS, lambda steps: beside(steps, "sqlite")),
    "supervisor": Way(service.EVENTS, lambda steps: service.play(steps).counts),
}


def played(name: str, way: Way) -> Counter[str]:
    """Play the order of a seed."""
    return way.play(order(name, LENGTH, way.events))


@dataclass(slots=True)
class Told:
    """What some orders came to."""

    orders: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def add(self, other: Told) -> None:
        self.orders += other.orders
        self.counts += other.counts
        self.failed += other.failed


def gulp(what: tuple[str, int, str]) -> Told:
    """Play some orders, from a number on."""
    seed, first, through = what
    told = Told()
    for number in range(first, first + GULP):
        name = f"{seed}-{number}"
        try:
            told.counts += played(name, WAYS[through])
        except Exception:  # noqa: BLE001 - whatever it is, it is a finding
            told.failed.append(name)
        told.orders += 1
    return told


# --- what failed, as short as it gets ---


def fault(steps: Sequence[Step], way: Way) -> str:
    """Where an order fails, and what it says; "" where it does not."""
    try:
        way.play(steps)
    except Exception as error:  # noqa: BLE001
        last = traceback.extract_tb(error.__traceback__)[-1]
        return f"{Path(last.filename).name}:{last.lineno}: {type(error).__name__}: {error}"
    return ""


def shortened(steps: list[Step], fails: Callable[[list[Step]], bool]) -> list[Step]:
    """An order that still fails, and from which nothing can be left out."""
    size = len(steps) // 2
    while size:
        at, before = 0, len(steps)
        while at < len(steps):
            less = steps[:at] + steps[at + size :]
            if fails(less):
                steps = less
            else:
                at += size
        size = size if len(steps) < before and size == 1 else size // 2
    return steps


def explain(seed: str, way: Way) -> None:
    """Print how a seed fails, if it does."""
    steps = order(seed, LENGTH, way.events)
    wanted = fault(steps, way)
    if not wanted:
        print(f"{seed}: holds")
        return
    place = wanted.partition(" ")[0]
    short = shortened(steps, lambda some: fault(some, way).startswith(place))
    print(f"{seed}: {fault(short, way)}")
    for name, drawn in short:
        print(f"  {name}({', '.join(f'{key}={value!s}' for key, value in drawn.items())})")


# --- the command ---


def campaign(seed: str, events: int, through: str, jobs: int, seconds: float) -> Told:
    """Play orders until so many events have happened, or so much time has passed."""
    told, begun = Told(), time.monotonic()
    with Pool(jobs) as pool:
        numbers = ((seed, first, through) for first in range(0, events // 20, GULP))
        for some in pool.imap_unordered(gulp, numbers):
            told.add(some)
            if told.counts.total() >= events or time.monotonic() - begun > seconds:
                break
        pool.terminate()
    took = time.monotonic() - begun
    done = told.counts.total()
    rate = f"{done / took:.0f} a second"
    print(f"{done} events in {told.orders} orders through {through}, {rate}, {len(told.failed)} violations")
    print("  " + ", ".join(f"{name} {number}" for name, number in told.counts.most_common()))
    return told


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--through", choices=tuple(WAYS), default="memory")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end by then")
    parser.add_argument("--replay", metavar="SEED-NUMBER")
    said = parser.parse_args()
    if said.replay:
        explain(said.replay, WAYS[said.through])
        return 0
    told = campaign(said.seed, said.events, said.through, said.jobs, said.seconds)
    for seed in told.failed[:5]:
        explain(seed, WAYS[said.through])
    return 1 if told.failed else 0


if __name__ == "__main__":
    sys.exit(main())
