"""Cuts the power: a disk that keeps what was not synced in memory, and what is left of a database on it.

    python tests/faults/power.py --seeds 0-99 --cuts 50      # 100 nights, 50 cuts each; a seed replays its night

A night is a random order of calls on one database, made by two stores at once. At random operations of the disk the
power is cut: what was synced is there, of the rest nothing, its beginning, or any sectors of it. From each such disk
the database must come back whole, as it was after the last call that was acknowledged, or after the one under way.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import apsw

sys.path.insert(0, str(Path(__file__).parents[1]))

from stores.world import World, incarnation, new

from tidegate.errors import BadInput, NotOwner
from tidegate.model import Account, Batch, Interrupted, Succeeded
from tidegate.stores.sqlite import SqliteStore

SECTOR = 512
CHECKPOINT = 12  # pages after which the log is written back: often
MANY = 60  # jobs of a large submit
WAYS = ("nothing", "beginning", "sectors")  # what is left of what was not synced


@dataclass(slots=True)
class Kept:
    """One file: what is surely on the disk (None: not even its name), and what was written to it since."""

    durable: bytes | None = None
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)  # a write, or with None a new length
    deleted: bool = False

    def sync(self) -> None:
        self.durable, self.pending = _applied(self.durable or b"", self.pending), []

    def after(self, way: str, chance: random.Random) -> bytes | None:
        """What a cut leaves of it."""
        if self.deleted and chance.random() < 0.5:
            return None
        if way == "nothing" or not self.pending:
            return self.durable
        if way == "beginning":
            left = self.pending[: chance.randrange(len(self.pending) + 1)]
        else:
            left = [part for one in self.pending for part in _sectors(one) if chance.random() < 0.5]
        return _applied(self.durable or b"", left) if left or self.durable is not None else None


def _applied(content: bytes, changes: Sequence[tuple[int, bytes | None]]) -> bytes:
    whole = bytearray(content)
    for at, data in changes:
        if data is None:
            del whole[at:]
            continue
        whole.extend(bytes(max(at + len(data) - len(whole), 0)))
        whole[at : at + len(data)] = data
    return bytes(whole)


def _sectors(change: tuple[int, bytes | None]) -> Iterator[tuple[int, bytes | None]]:
    at, data = change
    if data is None:
        yield change
        return
    start = 0
    while start < len(data):
        end = min(start + SECTOR - (at + start) % SECTOR, len(data))
        yield at + start, data[start:end]
        start = end


class Disk:
    """Every file that SQLite writes; `hear` is told of each operation before it is done."""

    def __init__(self, hear: Callable[[], None]) -> None:
        self.files: dict[str, Kept] = {}
        self.hear = hear

    def of(self, name: str) -> Kept:
        return self.files.setdefault(name, Kept())

    def forget_deleted(self) -> None:
        self.files = {name: kept for name, kept in self.files.items() if not kept.deleted}

    def left(self, way: str, chance: random.Random) -> dict[str, bytes]:
        found = {Path(name).name: kept.after(way, chance) for name, kept in self.files.items()}
        return {name: content for name, content in found.items() if content is not None}


class Shim(apsw.VFS):
    """SQLite's own way to files, with the disk beside it."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        super().__init__("power", "unix", makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return ShimFile(self.disk, name, flags)

    def xDelete(self, name: str, syncdir: bool) -> None:  # noqa: N802
        self.disk.hear()
        super().xDelete(name, syncdir)
        if syncdir:
            self.disk.files.pop(name, None)
        else:
            self.disk.of(name).deleted = True


class ShimFile(apsw.VFSFile):
    """One open file."""

    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self.disk = disk
        self.kept = Kept()
        if name is not None:
            path = name.filename() if isinstance(name, apsw.URIFilename) else name
            if (known := disk.files.get(path)) is not None and known.deleted:
                del disk.files[path]
            self.kept = disk.of(path)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self.disk.hear()
        self.kept.pending.append((offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self.disk.hear()
        self.kept.pending.append((size, None))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self.disk.hear()
        super().xSync(flags)
        if self.kept.durable is None:  # with a new file SQLite syncs its directory, and so what was deleted from it
            self.disk.forget_deleted()
        self.kept.sync()


@contextmanager
def power(hear: Callable[[], None]) -> Iterator[Disk]:
    """Every database that is opened meanwhile lies on this disk."""
    disk = Disk(hear)
    shim = Shim(disk)
    try:
        yield disk
    finally:
        apsw.set_default_vfs("unix")
        shim.unregister()


# --- a night ---


@dataclass(frozen=True, slots=True)
class Cut:
    """What was left on the disk when `acknowledged` calls had returned."""

    acknowledged: int
    way: str
    files: dict[str, bytes]


def digest(store: SqliteStore) -> str:
    """All that a database says."""
    db = store._file._db
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]
    said = blake2b(digest_size=12)
    for table in tables:
        for row in db.execute(f'SELECT * FROM "{table}"'):
            said.update(repr(row).encode())
    return said.hexdigest()


class Night:
    """Random calls on a database in `place`; `cuts` are the disks after cuts at random operations."""

    def __init__(self, place: Path, seed: int, cuts: int) -> None:
        self.chance = random.Random(seed)
        self.database = place / "t.db"
        self.states: list[str] = []
        self.cuts: list[Cut] = []
        self._wanted = cuts
        self._numbers = iter(range(10**6))

    def work(self, calls: int) -> None:
        with power(self._hear) as self.disk:
            self.stores = [self._opened(), self._opened()]
            self.now = World(self.stores[0])
            self.now.enter()
            self.states.append(digest(self.stores[0]))
            for _ in range(calls):
                self._call()
                self.states.append(digest(self.stores[0]))
            for store in self.stores:
                store.close()

    def _opened(self) -> SqliteStore:
        store = SqliteStore(self.database)
        store._file._db.wal_autocheckpoint(CHECKPOINT)
        return store

    def _hear(self) -> None:
        """Cut now and then; the night goes on, for one night serves many cuts."""
        if self.states and len(self.cuts) < self._wanted and self.chance.random() < 0.2:
            way = self.chance.choice(WAYS)
            self.cuts.append(Cut(len(self.states) - 1, way, self.disk.left(way, self.chance)))

    # --- the calls ---

    def _call(self) -> None:
        self.now.wait(self.chance.random() * 60)
        self.now.store = self.chance.choice(self.stores)
        if self.chance.random() < 0.03:
            self._reopen()
            return
        calls = [self.chance.choice(self.CALLS) for _ in range(self.chance.choice((1, 1, 1, 3)))]
        with self.now.store.group():
            for call in calls:
                with suppress(BadInput, NotOwner):
                    call(self)

    def _reopen(self) -> None:
        for store in self.stores:
            store.close()
        self.stores[:] = [self._opened(), self._opened()]
        self.now.store = self.stores[0]

    def _submit(self) -> None:
        names = [f"j{next(self._numbers)}" for _ in range(self.chance.choice((1, 2, 3, MANY)))]
        jobs = [new(name, self.chance.choice(("a", "b"))) for name in names]
        self.now.store.submit(Batch("night"), jobs, self.now.now, whole=False)

    def _claim(self) -> None:
        self.now.store.claim("me", self.now.now, most=self.chance.randrange(1, 5))

    def _finish(self) -> None:
        running = self.now.store.running()
        if running:
            claim = self.chance.choice(running)
            end = self.chance.randrange(4)
            if end == 0:
                self.now.limited(claim, self.now.ahead(600))
            elif end == 1:
                self.now.fail(claim, "no " * self.chance.randrange(300))
            else:
                self.now.finish(claim, Succeeded("y" * 500) if end == 2 else Interrupted(reason="stopped"))

    def _progress(self) -> None:
        for claim in self.now.store.running()[:1]:
            self.now.progress(claim)
            self.now.store.note_session(claim[1], f"s{next(self._numbers)}", self.now.now)

    def _hold(self) -> None:
        self.now.pause(self.chance.choice(("a", "b", "*")), self.now.ahead(self.chance.randrange(1, 300)))

    def _lift(self) -> None:
        self.now.store.lift(None, self.now.now, by="ann")

    def _accounts(self) -> None:
        self.now.accounts(Account(name="a", max_running=self.chance.randrange(1, 9)))

    def _steer(self) -> None:
        jobs = self.now.store.jobs(most=10_000)
        if jobs:
            job = self.chance.choice(jobs).id
            do = self.chance.choice((self.now.store.cancel, self.now.store.retry))
            do(job, self.now.now, by="ann")

    def _forget(self) -> None:
        ended = [job.id for job in self.now.store.jobs(most=10_000) if job.state.is_final]
        self.now.store.forget(ended[: self.chance.randrange(5)], self.now.now)

    CALLS = (
        *(_submit, _submit, _claim, _claim, _finish, _finish, _finish, _progress),
        *(_hold, _lift, _accounts, _steer, _forget),
    )


# --- what must hold ---


def wrong(night: Night, cut: Cut, place: Path) -> str:
    """What is wrong with the database that a cut has left; "" for nothing."""
    place.mkdir()
    for name, content in cut.files.items():
        (place / name).write_bytes(content)
    try:
        store = SqliteStore(place / night.database.name)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        return f"cannot be opened: {error}"
    try:
        return _wrong(store, night, cut)
    finally:
        store.close()


def _wrong(store: SqliteStore, night: Night, cut: Cut) -> str:
    db = store._file._db
    if (said := db.pragma("integrity_check")) != "ok":
        return f"damaged: {said}"
    if broken := list(db.execute("PRAGMA foreign_key_check")):
        return f"rows without those that they name: {broken[:3]}"
    allowed = night.states[cut.acknowledged : cut.acknowledged + 2]
    if digest(store) not in allowed:
        known = digest(store) in night.states
        return "acknowledged calls are lost" if known else "half of a call is there"
    store.enter(incarnation("next"))
    store.adopt("next", "here", night.now.now)
    return ""


def fly(seed: int, *, cuts: int, calls: int = 60) -> list[str]:
    """One night; a line for each cut that lost or broke something."""
    found = []
    with tempfile.TemporaryDirectory(prefix="tidegate-power-") as place:
        night = Night(Path(place), seed, cuts)
        night.work(calls)
        for number, cut in enumerate(night.cuts):
            if said := wrong(night, cut, Path(place) / f"cut{number}"):
                found.append(f"seed {seed}, cut {number} ({cut.way} left, {cut.acknowledged} acknowledged): {said}")
        assert len(night.cuts) >= cuts * 0.9, f"only {len(night.cuts)} cuts in night {seed}"
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", default="0-9", help="which nights: 7, or 0-99")
    parser.add_argument("--cuts", type=int, default=50, help="how many cuts in each")
    args = parser.parse_args()
    first, _, last = args.seeds.partition("-")
    seeds, lines = range(int(first), int(last or first) + 1), 0
    for seed in seeds:
        for line in fly(seed, cuts=args.cuts):
            print(line, flush=True)
            lines += 1
    print(f"{len(seeds)} nights, {len(seeds) * args.cuts} cuts: {lines} wrong")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
