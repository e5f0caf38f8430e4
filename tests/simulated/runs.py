"""A policy, a workload, a scenario and a seed: one run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace as with_rules

from simulated.agent import Tally
from simulated.allowance import Allowance
from simulated.baselines import BASELINES
from simulated.figures import Figures, figures
from simulated.scenario import Scenario
from simulated.service import Service
from simulated.work import Task, tasks
from tidegate import admission, costs, policy, reopening, windows
from tidegate.model import Admission, Hold, Meter
from tidegate.policy import RAMP_END, Rules
from tidegate.stores import Store, admitting, sqlite
from tidegate.stores.memory import MemoryStore
from tidegate.windows import Left

HORIZON = 21 * 24 * 3600.0
TIDEGATE = "tidegate"
GATE = f"{TIDEGATE}, gate alone"
NO_RESUME = f"{TIDEGATE}, no resume"
OBSERVING = f"{TIDEGATE}, observing"
TRIES = {GATE: Admission.OFF, OBSERVING: Admission.OBSERVE, NO_RESUME: Admission.ON, TIDEGATE: Admission.ON}


def run(
    who: str, workload: str, scenario: Scenario, seed: int, *, without: tuple[str, ...] = (), store: str = "memory"
) -> Figures:
    """What `who` makes of it; `without` are parts of tidegate that are switched off."""
    work = tasks(scenario.workload or workload, seed, scenario)
    names = sorted({task.account for task in work})
    allowances = {name: Allowance(scenario, Random(f"{name}-{seed}")) for name in names}
    tally = Tally()
    if who in BASELINES:
        BASELINES[who](work, allowances, scenario, tally, Random(seed)).run(HORIZON)
    else:
        does = replace(scenario, resumes=scenario.resumes and who != NO_RESUME)
        serve(work, allowances, does, tally, seed, admission=TRIES[who], without=without, store=store)
    return figures(work, allowances, scenario, tally)


def serve(
    work: list[Task],
    allowances: dict[str, Allowance],
    scenario: Scenario,
    tally: Tally,
    seed: int,
    *,
    admission: Admission = Admission.ON,
    without: tuple[str, ...] = (),
    store: str = "memory",
) -> Service:
    """The same through tidegate."""
    with opened(store) as where, lacking(without):
        service = Service(
            tasks=work,
            allowances=allowances,
            scenario=scenario,
            store=where,
            slots=scenario.slots,
            tally=tally,
            rules=rules(without),
            seed=seed,
            admission=Admission.OFF if "admission" in without else admission,
        )
        service.submit()
        service.run(HORIZON)
    return service


@contextmanager
def opened(store: str) -> Iterator[Store]:
    if store == "memory":
        yield MemoryStore()
        return
    with tempfile.TemporaryDirectory(prefix="tidegate-quota-") as folder:
        made = sqlite.open(Path(folder) / "store.sqlite3")
        yield made
        made.close()


# --- parts that can be switched off ---


def _at_once(real: Callable[..., Hold]) -> Callable[..., Hold]:
    return lambda *args: with_rules(real(*args), allow=RAMP_END)


def _uncensored(patch: pytest.MonkeyPatch) -> None:
    """As if those that are not done, or were cut off, told nothing of what jobs take."""
    real = costs.believed
    patch.setattr(costs, "believed", lambda known, group, unfinished=(): real(known, group))


def _as_if_it_began_anew(meter: Meter, draws: object, now: datetime, *, most: float = 1.0) -> Left | None:
    return windows.left(meter, (), now, most=most)


def _unlooked(patch: pytest.MonkeyPatch) -> None:
    for room in (admission, admitting):
        patch.setattr(room, "LOOK", 1)


PARTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "canary": lambda patch: patch.setattr(policy, "reopening", _at_once(policy.reopening)),
    "ramp": lambda patch: patch.setattr(policy, "widened", lambda hold, most: None),
    "start": lambda patch: patch.setattr(policy, "starting", _at_once(policy.starting)),
    "margin": lambda patch: None,
    "jitter": lambda patch: None,
    "early": lambda patch: None,
    "memory": lambda patch: patch.setattr(reopening, "looked_for", lambda habit, hold, now: hold),
    "bursts": lambda patch: patch.setattr(policy, "is_burst", lambda limit, now: False),
    "slides": lambda patch: patch.setattr(windows, "sliding", _as_if_it_began_anew),
    "rest": lambda patch: patch.setattr(reopening, "REST_MOST", 0.0),
    "admission": lambda patch: None,
    "backfill": _unlooked,
    "censoring": _uncensored,
    "caution": lambda patch: patch.setattr(admitting, "Outlook", partial(admission.Outlook, caution=0.0)),
}


@contextmanager
def lacking(parts: tuple[str, ...]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for part in parts:
            PARTS[part](patch)
        yield


def rules(without: tuple[str, ...]) -> Rules:
    made = Rules()
    if "margin" in without:
        made = with_rules(made, margin_exact=0.0, margin_printed=0.0)
    if "early" in without:
        made = with_rules(made, early=None)
    return with_rules(made, spread=0.0) if "jitter" in without else made
