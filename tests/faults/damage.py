"""Damages databases at random, and uses them as every verb and the supervisor do.

    python tests/faults/damage.py --seeds 0-999

Whatever is in the file, what comes of it is a value or one clear line; a seed damages the same bytes again.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from filled import night
from stores.world import incarnation, new

from tidegate import places
from tidegate.errors import TidegateError
from tidegate.look.why import learn, picture
from tidegate.model import Account, Ask, Batch, Drawn, Hold, Origin, Reading, State, Succeeded, Window
from tidegate.stores import sqlite
from tidegate.stores.sqlite import SqliteStore

NOW = datetime(2026, 6, 1, tzinfo=UTC)
PAGE = 4096
HOLD = Hold(scope="*", origin=Origin.OPERATOR, since=NOW)
READING = Reading(scope="codex", window=Window.WEEK, used=0.5, at=NOW)


def whole(place: Path) -> bytes:
    """The bytes of a database in the middle of a night, all in the one file."""
    made = night(place)
    made.store.close()
    return places.database(place).read_bytes()


def damaged(content: bytes, chance: random.Random) -> bytes:
    """The same with some bytes, texts, pages or its end changed."""
    raw = bytearray(content)
    match chance.randrange(6):
        case 0:
            for _ in range(chance.choice((1, 10, 100))):
                raw[chance.randrange(len(raw))] = chance.randrange(256)
        case 1:
            for _ in range(chance.choice((1, 3, 10))):
                at = chance.randrange(len(raw) // PAGE) * PAGE
                raw[at : at + PAGE] = chance.choice((bytes(PAGE), chance.randbytes(PAGE), b"\xa5" * PAGE))
        case 2:
            del raw[chance.randrange(len(raw)) :]
        case 3:
            texts = (
                b"2026-",
                b"queued",
                b"limit",
                b"operator",
                b'"agent"',
                b"claude",
                b"usage_limit",
                b"unknown",
                b"{",
            )
            _replace(raw, chance.choice(texts), chance)
        case 4:
            first, second = (chance.randrange(len(raw) // PAGE) * PAGE for _ in range(2))
            raw[first : first + PAGE], raw[second : second + PAGE] = (
                raw[second : second + PAGE],
                raw[first : first + PAGE],
            )
        case _:
            raw[: chance.choice((1, 16, 100))] = chance.randbytes(16)
    return bytes(raw)


def _replace(raw: bytearray, text: bytes, chance: random.Random) -> None:
    """Change a text wherever it stands, as a broken program might."""
    other = bytes(chance.choice((0xFF, 0x20, one ^ 1)) for one in text)
    at = raw.find(text)
    while at >= 0:
        if chance.random() < 0.7:
            raw[at : at + len(text)] = other
        at = raw.find(text, at + 1)


def uses(store: SqliteStore) -> Iterator[Callable[[], object]]:
    """What verbs and the supervisor ask, in the order of a night."""
    jobs = range(1, 34)
    yield from (
        store.holds,
        store.requests,
        store.batches,
        store.accounts,
        store.answered_at,
        store.counts,
        store.hours,
    )
    yield from (store.piles, lambda: store.laps(NOW, most=9), lambda: store.forecasts(1))
    yield from (store.meters, store.reserves, lambda: store.costs("codex"), lambda: store.tides("codex", Window.WEEK))
    yield lambda: store.readings("codex", Window.WEEK, NOW)
    yield from (store.jobs, store.running, store.supervisors, store.events, store.last_seq, store.version)
    yield lambda: store.jobs(states=[State.QUEUED], account="codex", newest_first=True)
    yield lambda: store.jobs(label=("a", "b"), name="train/*")
    yield lambda: store.next_due(NOW)
    yield lambda: store.ended(NOW)
    yield lambda: store.needs(list(jobs))
    yield lambda: store.job_names(list(jobs))
    yield lambda: store.jobs_named("train/0")
    yield lambda: learn(picture(store, NOW, "here", supervised=True), store, store.jobs())
    yield from (lambda job=job: (store.job(job), store.attempts(job), store.events(job=job)) for job in jobs)
    yield lambda: store.enter(incarnation())
    yield lambda: store.adopt("me", "here", NOW)
    yield lambda: store.set_accounts([Account(name="codex", max_running=2)], NOW)
    yield lambda: store.keep_hours("batch:b", {"codex": "20:00-07:00 UTC"}, NOW)
    yield lambda: store.keep_stops("batch:b", {"codex": {Window.WEEK: 0.1}}, NOW)
    yield lambda: store.submit(Batch("nightly"), [new("train/0"), new("fresh")], NOW, whole=False)
    yield lambda: store.hold(HOLD, NOW)
    yield lambda: store.lift(None, NOW, by="me")
    yield lambda: store.ask(Ask.DRAIN, NOW, by="me")
    yield lambda: _answer(store)
    yield lambda: _work(store)
    yield from (lambda job=job: store.cancel(job, NOW, by="me") for job in range(1, 9))
    yield from (lambda job=job: store.retry(job, NOW, by="me") for job in range(1, 9))
    yield lambda: store.edit(9, new("train/8"), NOW, by="me")
    yield lambda: store.set_priority(10, 3, NOW)
    yield lambda: store.forget(list(jobs), NOW)


def _work(store: SqliteStore) -> None:
    for _job, attempt in store.claim("me", NOW, most=20):
        store.note_session(attempt, "s", NOW)
        store.note_progress(attempt, NOW)
        store.note_rest(attempt, NOW, rests=True)
        store.note_signals([(attempt, Drawn(5.0, 1))], [READING], NOW)
        store.finish(attempt, Succeeded(), NOW, exit=0)


def _answer(store: SqliteStore) -> None:
    for request in store.requests():
        store.answered(request.id, NOW)


def surprises(content: bytes, place: Path) -> list[str]:
    """What is raised besides clear lines, with where."""
    found = []
    place.mkdir()
    path = place / "t.db"
    path.write_bytes(content)
    try:
        store = sqlite.open(path)
    except Exception as error:  # noqa: BLE001 - whatever it is
        return _surprise("open", error)
    for use in uses(store):
        try:
            use()
        except Exception as error:  # noqa: BLE001 - whatever it is
            found += _surprise("use", error)
    try:
        store.close()
    except Exception as error:  # noqa: BLE001
        found += _surprise("close", error)
    return found


def _surprise(what: str, error: Exception) -> list[str]:
    if isinstance(error, TidegateError) and "\n" not in str(error):
        return []
    where = traceback.extract_tb(error.__traceback__)[-1]
    return [f"{what}: {type(error).__name__}: {error} at {Path(where.filename).name}:{where.lineno}"]


def fly(seeds: range) -> list[str]:
    """Damage one database for each seed; a line for each surprise."""
    found = []
    with tempfile.TemporaryDirectory(prefix="tidegate-damage-") as place:
        content = whole(Path(place) / "whole")
        for seed in seeds:
            raw = damaged(content, random.Random(seed))
            found += [f"seed {seed}: {one}" for one in surprises(raw, Path(place) / str(seed))]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", default="0-199", help="which: 7, or 0-999")
    first, _, last = parser.parse_args().seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    found = fly(seeds)
    print("\n".join(found))
    print(f"{len(seeds)} damaged databases: {len({line.partition(':')[0] for line in found})} with surprises")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
