"""Tells which agents run whose work a backup would begin anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from tidegate import launch, places
from tidegate.audit import running
from tidegate.launch.traces import intent_of
from tidegate.stores import Store
from tidegate.stores.books import Books


class Carried(Struct, frozen=True):
    """The jobs whose output lies in the state directory and goes on to be theirs, and those of others there."""

    kept: frozenset[int]
    others: frozenset[int]


def carried(state: Path, store: Store) -> Carried:
    """Whose output lies here: a job of the backup goes on with its own."""
    kept: set[int] = set()
    others: set[int] = set()
    for place in places.attempts(state).glob("[1-9]*"):
        if place.name.isdecimal() and place.is_dir():
            (kept if _is_of(place, store) else others).add(int(place.name))
    return Carried(frozenset(kept), frozenset(others))


def _is_of(place: Path, store: Store) -> bool:
    """Whether the last attempt there says that it is of the job with this number."""
    job = store.job(int(place.name))
    last = max(
        (one for one in place.glob("[1-9]*") if one.name.isdecimal()), key=lambda one: int(one.name), default=None
    )
    if job is None or last is None:
        return False
    intent = intent_of(last)
    return not intent or (intent.get("name"), intent.get("batch")) == (job.name, job.batch_name)


def unheeded(state: Path, books: Books, whose: Carried) -> Iterator[str]:
    """Each agent that runs and that nobody would follow, in words: what it does would be done twice."""
    for job in sorted(whose.others):
        for place in places.attempts(state).glob(f"{job}/*"):
            match launch.found(place):
                case launch.Alive(pid):
                    yield f"an agent that the backup does not know runs in {place} (pid {pid})"
                case _:
                    pass
    for process, marker in running.marked(state).items():
        supervisor, job, n = running.parts(marker)
        place = places.attempt(state, job, n)
        if supervisor in books.supervisors and not (job in whose.kept and place.is_dir()):
            yield f"process {process.pid} is of attempt {n} of job {job}, as another state directory has it"
