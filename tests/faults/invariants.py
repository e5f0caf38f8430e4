"""What must hold in a world whatever was killed, checked from outside: by the agents' stamps, files and plain SQL."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import apsw

Row = dict[str, Any]


class Violation(NamedTuple):
    """What does not hold: its kind in one word, and the facts."""

    kind: str
    facts: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.facts}"


class Stamp(NamedTuple):
    """What an agent wrote of itself: `word` is start, end, refuse, or what must never be (twice, again, stranger)."""

    word: str
    name: str
    job: int
    n: int
    pid: int
    rest: tuple[str, ...]


def stamps(place: Path) -> list[Stamp]:
    """Everything that the agents of a world wrote, in order."""
    found = []
    for line in (place / "stamps").read_text().splitlines():
        word, name, marker, pid, *rest = line.split(" ")
        _, job, n = marker.split("/")
        found.append(Stamp(word, name, int(job), int(n), int(pid), tuple(rest)))
    return found


TABLES = ("job", "attempt", "event", "hold", "lane", "request")


@dataclass(slots=True)
class Books:
    """The tables of a store as they are, by plain SQL."""

    jobs: list[Row]
    attempts: list[Row]
    events: list[Row]
    holds: list[Row]
    lanes: list[Row]
    requests: list[Row]
    faults: list[str] = field(default_factory=list)
    drawn: float = 0.0

    @property
    def names(self) -> dict[int, str]:
        return {job["id"]: job["name"] for job in self.jobs}


def _opened(database: Path) -> apsw.Connection:
    """A connection that only reads, unless what a killed writer left has to be put together first."""
    for flags in (apsw.SQLITE_OPEN_READONLY, apsw.SQLITE_OPEN_READWRITE):
        db = apsw.Connection(str(database), flags=flags)
        db.set_busy_timeout(20_000)
        with suppress(apsw.ReadOnlyError):
            db.execute("SELECT 1 FROM sqlite_schema").fetchall()
            return db
        db.close()
    raise AssertionError("whoever may write can read")


def read(database: Path, *, whole: bool = True) -> Books:
    """The tables of a database; `whole`: with its own check of itself."""
    with closing(_opened(database)) as db:
        db.execute("BEGIN")
        if not list(db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'event'")):
            return Books([], [], [], [], [], [])  # whoever was to make the tables was killed before
        jobs, attempts, events, holds, lanes, requests = (_rows(db, f'SELECT * FROM "{name}"') for name in TABLES)
        drawn = float(next(db.execute("SELECT total(tokens) FROM draw"))[0])
        faults = [str(row[0]) for row in db.execute("PRAGMA integrity_check")] if whole else ["ok"]
        faults += [f"foreign key of {row[0]}" for row in db.execute("PRAGMA foreign_key_check")] if whole else []
        db.execute("COMMIT")
    faults = [fault for fault in faults if fault != "ok"]
    return Books(jobs, attempts, events, holds, lanes, requests, faults=faults, drawn=drawn)


def _rows(db: apsw.Connection, sql: str) -> list[Row]:
    cursor = db.execute(sql)
    rows = list(cursor)
    if not rows:
        return []
    names = [column[0] for column in db.execute(f"{sql} LIMIT 1").get_description()]
    found = [dict(zip(names, row, strict=True)) for row in rows]
    for row in found:
        if "data" in row:
            row["data"] = json.loads(row["data"])
    return found


# --- the agents' word --------------------------------------------------------------------------------------------


def of_agents(books: Books, said: Sequence[Stamp]) -> Iterator[Violation]:
    """No two attempts of a job at once, none launched twice or unrecorded, every status right."""
    for stamp in said:
        if stamp.word in ("twice", "again", "stranger"):
            yield Violation(stamp.word, f"{stamp.name} attempt {stamp.n} (pid {stamp.pid}): {' '.join(stamp.rest)}")
    yield from _overlaps(said)
    starts = Counter((stamp.job, stamp.n) for stamp in said if stamp.word == "start")
    ends = {(stamp.job, stamp.n): stamp.rest[0] for stamp in said if stamp.word == "end"}
    rows = {(row["job"], row["n"]): row for row in books.attempts}
    for key, number in starts.items():
        if key not in rows:
            yield Violation("unrecorded", f"job {key[0]} attempt {key[1]} ran, and the store knows nothing of it")
        if number > 1:
            yield Violation("twice", f"job {key[0]} attempt {key[1]} was launched {number} times")
    for key, row in rows.items():
        yield from _attempt(books.names[key[0]], row, starts[key], ends.get(key))


def _overlaps(said: Sequence[Stamp]) -> Iterator[Violation]:
    """An attempt that writes after a later one of its job has begun was alive beside it."""
    latest: dict[int, int] = {}
    for stamp in said:
        if stamp.n < latest.get(stamp.job, 0):
            facts = f"{stamp.name} attempt {stamp.n} wrote {stamp.word} while {latest[stamp.job]} ran"
            yield Violation("twice", facts)
        latest[stamp.job] = max(stamp.n, latest.get(stamp.job, 0))


def _attempt(name: str, row: Row, starts: int, end: str | None) -> Iterator[Violation]:
    what = f"{name} attempt {row['n']} ({row['outcome']}, exit {row['exit']}, {row['detail']!r})"
    if row["outcome"] == "unclaimed" and starts:
        yield Violation("unrecorded", f"{what} was given back as never started, and ran")
    if row["outcome"] in ("succeeded", "failed", "limited") and (starts != 1 or end is None):
        yield Violation("exit", f"{what}: its agent has {starts} starts and the end {end}")
    if end is not None and end != "TERM" and row["ended_at"] is not None and str(row["exit"]) != end:
        yield Violation("exit", f"{what}: its agent ended with {end}")
    if row["outcome"] == "lost":
        yield Violation("lost", f"{what}: nobody killed its shim")
    if row["outcome"] == "failed" and end in ("0", "TERM", None):
        yield Violation("exit", f"{what}: its agent ended with {end}")


def of_output(attempts: Path, said: Sequence[Stamp]) -> Iterator[Violation]:
    """Every line that an agent has printed is in its file, once and in order."""
    for stamp in said:
        if stamp.word == "end":
            place = attempts / str(stamp.job) / str(stamp.n)
            printed, told = _numbers(place / "stdout.log"), int(stamp.rest[1])
            first = printed[0] if printed else 1
            whole = list(range(first, first + told))
            # TERM may come between the number and its line
            if printed != whole and not (stamp.rest[0] == "TERM" and printed == whole[:-1]):
                facts = f"{stamp.name} attempt {stamp.n} printed {told} lines: {printed}"
                yield Violation("lines", facts)


def of_draws(books: Books, attempts: Path) -> Iterator[Violation]:
    """What an agent has told that it draws is counted once, whoever has read it, and how often."""
    for row in books.attempts:
        out = _lines(attempts / f"{row['job']}/{row['n']}/stdout.log")
        told = 10.0 * sum('"input_tokens":10' in line for line in out)
        known = row["outcome"] in ("succeeded", "limited")
        if row["drawn"] > told or (known and row["drawn"] != told):
            yield Violation("draws", f"job {row['job']} attempt {row['n']} told of {told}, counted are {row['drawn']}")
    if (whole := sum(row["drawn"] for row in books.attempts)) != books.drawn:
        yield Violation("draws", f"attempts have drawn {whole}, accounts {books.drawn}")


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def _numbers(file: Path) -> list[int]:
    numbers = []
    for line in _lines(file):
        if line.startswith("line "):
            numbers.append(int(line[5:]))
        elif '"text":"line ' in line:
            numbers.append(int(line.partition('"text":"line ')[2].partition('"')[0]))
    return numbers


# --- the books -------------------------------------------------------------------------------------------------------

CHARGED = {"failed", "timedout"}
FINAL = {"succeeded", "failed", "error", "cancelled", "skipped"}


def of_books(books: Books) -> Iterator[Violation]:
    """States, attempts and counts say what the events say, and the file is whole."""
    yield from (Violation("database", fault) for fault in books.faults)
    attempts: dict[int, list[Row]] = defaultdict(list)
    for row in books.attempts:
        attempts[row["job"]].append(row)
    told: dict[int, list[Row]] = defaultdict(list)
    for event in books.events:
        if event["job"] is not None:
            told[event["job"]].append(event)
    for job in books.jobs:
        yield from _job(job, attempts[job["id"]], told[job["id"]])
    for lane in books.lanes:
        counted = Counter(job["state"] for job in books.jobs if job["lane"] == lane["id"])
        wrong = {state: lane[state] for state in ("queued", "running", *FINAL) if lane[state] != counted[state]}
        if wrong:
            yield Violation("books", f"lane {lane['id']} counts {wrong}, and there are {dict(counted)}")
    running = {job["id"] for job in books.jobs if job["state"] == "running"}
    for request in books.requests:
        if request["verb"] == "cancel" and request["target"] not in running:
            yield Violation("books", f"job {request['target']} does not run, and its cancel is pending")


def _job(job: Row, attempts: list[Row], told: list[Row]) -> Iterator[Violation]:
    name = job["name"]
    count = Counter(event["name"] for event in told)
    if [row["n"] for row in attempts] != list(range(1, job["launches"] + 1)):
        yield Violation("books", f"{name} has {job['launches']} launches and attempts {[row['n'] for row in attempts]}")
    if count["attempt claimed"] != len(attempts):
        yield Violation("books", f"{name} has {len(attempts)} attempts and {count['attempt claimed']} claims")
    over = sum(row["ended_at"] is not None for row in attempts)
    if count["attempt ended"] + count["attempt unclaimed"] != over:
        yield Violation("books", f"{name} has {over} ended attempts, and the events tell of {dict(count)}")
    if count["job added"] != 1 or count["job ended"] - count["job retried"] != (job["state"] in FINAL):
        yield Violation("books", f"{name} is {job['state']}, and the events tell of {dict(count)}")
    if (job["state"] == "running") != (over != len(attempts)):
        yield Violation("books", f"{name} is {job['state']} with {len(attempts) - over} attempts under way")
    anew = max((event["seq"] for event in told if event["name"] == "job retried"), default=0)
    ends = [event for event in told if event["name"] == "attempt ended"]
    for event in ends:
        if event["data"]["charged"] and event["data"]["outcome"] not in CHARGED:
            yield Violation("charged", f"{name} attempt {event['attempt']} as {event['data']['outcome']}")
    charged = sum(event["data"]["outcome"] in CHARGED for event in ends if event["seq"] > anew)
    if job["attempts"] != charged or job["lost"]:
        yield Violation("charged", f"{name} has {job['attempts']} attempts and {job['lost']} losses, {charged} failed")


# --- the gate --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class GateWatch:
    """Follows the holds through the events of one store, from look to look."""

    seq: int = 0
    ends: dict[tuple[str, str, str], Row] = field(default_factory=dict)  # what was last told of each hold
    shuts: Counter[tuple[int, int, str]] = field(default_factory=Counter)

    def look(self, books: Books, said: Sequence[Stamp], host: str) -> list[Violation]:
        """What does not hold of the events since the last look, and of the rows that stand now."""
        refusals = {(stamp.job, stamp.n): int(stamp.rest[0]) for stamp in said if stamp.word == "refuse"}
        accounts = {job["id"]: job["account"] for job in books.jobs}
        found: list[Violation] = []
        for event in books.events:
            if event["seq"] > self.seq:
                found += self._event(event, refusals, accounts, host)
                self.seq = event["seq"]
        return [*found, *self._rows(books)]

    def _event(
        self, event: Row, refusals: dict[tuple[int, int], int], accounts: dict[int, str], host: str
    ) -> Iterator[Violation]:
        data = event["data"]
        key = (event["scope"], data.get("origin", ""), data.get("window", ""))
        match event["name"]:
            case "gate shut" | "gate moved":
                if data["origin"] == "limit" and event["job"] is not None:  # else a person has ended the wait
                    yield from self._refused(event, refusals)
                self.ends[key] = data
            case "gate reopening" | "gate tried" | "gate opened" | "gate lifted":
                self.ends.pop(key, None)
            case "attempt claimed" if not data.get("found"):  # else it was taken up, and ran already
                scopes = ("*", f"host:{host}", f"job:{event['job']}", accounts.get(event["job"], ""))
                shut = [key for key, data in self.ends.items() if key[0] in scopes and data["allow"] == 0]
                if shut:
                    yield Violation("gate", f"job {event['job']} was claimed while {shut[0]} was shut")
            case _:
                pass

    def _refused(self, event: Row, refusals: dict[tuple[int, int], int]) -> Iterator[Violation]:
        """A limit's end is what a provider said, and one refusal shuts a gate once."""
        data, who = event["data"], (event["job"], event["attempt"])
        said = refusals.get(who)
        if data["resets_at"] is None or said is None or datetime.fromisoformat(data["resets_at"]).timestamp() != said:
            yield Violation("gate", f"{event['name']} by {who} until {data['resets_at']}; its agent said {said}")
        rests = "rests" in data["reason"] and data["until"] > data["resets_at"]
        if data["until"] != data["resets_at"] > event["at"] and not rests:
            yield Violation("gate", f"{event['name']} by {who} until {data['until']}, not {data['resets_at']}")
        self.shuts[*who, data["resets_at"]] += 1
        if self.shuts[*who, data["resets_at"]] > 1:
            yield Violation("gate", f"{who} said no once, and shut the gate again at {event['at']}: {data['until']}")

    def _rows(self, books: Books) -> Iterator[Violation]:
        """The rows of limits are what the events tell."""
        for hold in books.holds:
            told = self.ends.get((hold["scope"], hold["origin"], hold["window"]))
            if hold["origin"] == "limit" and not hold["ramp"] and (told is None or told["until"] != hold["until"]):
                yield Violation("gate", f"{hold['scope']} is held until {hold['until']}, and the events tell {told}")


# --- what is left ----------------------------------------------------------------------------------------------------


def orphans(place: Path) -> list[Violation]:
    """The processes of a world's agents that live on, where none may."""
    mark = f"WORLD={place}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                marked = mark in (entry / "environ").read_bytes().split(b"\0")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0] if marked else "Z"
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if marked and state not in "ZX":
                found.append(Violation("orphan", f"pid {entry.name}: {words}"))
    return found
