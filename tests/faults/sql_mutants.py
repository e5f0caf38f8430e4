"""Changes the store's SQL here and there, and lists what no test of the stores notices.

`python tests/faults/sql_mutants.py [STATEMENT ...]`: names of statements in sqlite.sql, or `all`; without any it takes
those that decide what is claimed. Each mutant lives in a process of its own that has read the package before; no file
is changed. It takes some minutes.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.trials import End, Quiet, Trials

TESTS = Path(__file__).parents[1]
FILES = (
    *("claims", "gates", "needs", "finishes", "groups", "steering", "hours", "submits", "looking", "forgetting"),
    *("reopenings", "admitting", "metering", "reserves"),
)
CLAIM = (  # who decides what is claimed
    *("due_holds", "early_holds", "next_end", "next_early", "wide_holds", "put_hold", "drop_hold"),
    *("opening", "put_opening", "has_shut", "habit", "put_habit"),
    *("promote", "next_job", "waiting", "waiting_of", "ready", "ready_only", "heads", "busy", "crowd"),
    *("account", "put_account", "put_job", "put_attempt", "count_met", "meet"),
    *("meters_on", "tides", "costs", "drafts", "underway", "held", "put_held", "drop_held"),
)
OPTIONS = ["-qqs", "-n0", "--timeout=60", "-p", "no:cacheprovider", "-m", "not slow and not hypothesis", "-k", "sqlite"]
SLOW = 0.5  # seconds on a processor: a test that takes longer is not asked
MEMORY = Path("/dev/shm")
SETTINGS = ("PRAGMA", "SAVEPOINT", "RELEASE", "ROLLBACK", "BEGIN", "COMMIT")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A statement with one change, and the change in words."""

    name: str
    sql: str
    said: str


# --- changes -----------------------------------------------------------------------------------

TOKEN = re.compile(r"--[^\n]*|'[^']*'|\"[^\"]*\"|:\w+|\w+|->>|<=|>=|<>|\|\||[^\w\s]")
OTHER = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "=": "<>", "<>": "=", "+": "-", "-": "+", "AND": "OR", "OR": "AND"}
OTHER |= {"min": "max", "max": "min", "DESC": "ASC"}
STOPS = {"AND", "OR", "ORDER", "LIMIT", "GROUP", "UNION", "WHERE", "JOIN", "CROSS", "BEGIN", "END", "THEN", "DO", "SET"}
CLAUSES = {"SELECT", "SET", "BY", "FROM", "WHERE", "INTO", "VALUES", "BEGIN", "TRIGGER"}
VALUE = re.compile(r"\d+|'[^']*'")


def mutants(name: str, sql: str) -> Iterator[Mutant]:
    """Every mutant of a statement that SQLite takes for one."""
    seen = {sql}
    for start, end, new in changes(sql):
        changed = sql[:start] + new + sql[end:]
        if changed not in seen:
            seen.add(changed)
            line = sql.count("\n", 0, start)
            here = " ".join(sql.splitlines()[line].split())
            yield Mutant(name, changed, f"line {line + 1}: {here}: {' '.join(sql[start:end].split())!r} -> {new!r}")


Change = tuple[int, int, str]  # from where, to where, and what to put there


def changes(sql: str) -> Iterator[Change]:
    """Every change; what makes a table is left alone, for a table is what it is."""
    tokens = [one for one in TOKEN.finditer(sql) if not one[0].startswith("--")]
    clause, trigger = "", False
    for place, token in enumerate(tokens):
        word, (start, end) = token[0], token.span()
        before = tokens[place - 1][0] if place else ""
        clause = word if word in CLAUSES else clause
        trigger = word == "TRIGGER" or (trigger and word != "END")
        if sql.startswith("CREATE") and not trigger:  # a table is what it is
            continue
        if (word, clause) != ("=", "SET") and not (word in "+-" and before in {"(", ",", "SELECT"}):
            yield from _another_word(word, before, start, end)
        yield from _without(tokens, place, clause)


def _another_word(word: str, before: str, start: int, end: int) -> Iterator[Change]:
    if word in OTHER:
        yield start, end, OTHER[word]
    if VALUE.fullmatch(word):
        yield start, end, str(int(word) + 1) if word.isdigit() else "'other'"
    if word == "NOT":
        yield start, end, ""
    if word == "EXISTS" and before != "NOT":
        yield start, start, "NOT "
    if word == "NULL" and before == "IS":
        yield start, start, "NOT "


def _without(tokens: Sequence[re.Match[str]], place: int, clause: str) -> Iterator[Change]:
    word = tokens[place][0]
    if word in {"AND", "OR", "WHERE", "ON", "WHEN"}:
        yield from _without_condition(tokens, place)
    if word in {"SET", "BY"} or (word == "," and clause in {"SET", "BY"}):
        yield from _without_item(tokens, place)
    if word == "LIMIT":
        yield tokens[place].start(), tokens[place + 1].end(), ""


def _without_condition(tokens: Sequence[re.Match[str]], place: int) -> Iterator[Change]:
    word, start = tokens[place][0], tokens[place].start()
    last = _reach(tokens, place + 1, STOPS | {";", ","})
    end = tokens[last].end()
    if word in {"AND", "OR"}:
        yield start, end, ""
    elif last + 1 < len(tokens) and tokens[last + 1][0] == "AND":
        yield start, tokens[last + 1].end(), word
    elif last > place:
        yield tokens[place + 1].start(), end, "1"


def _without_item(tokens: Sequence[re.Match[str]], place: int) -> Iterator[Change]:
    last = _reach(tokens, place + 1, STOPS | {",", ";"})
    follows = tokens[last + 1][0] if last + 1 < len(tokens) else ""
    if tokens[place][0] == ",":
        yield tokens[place].start(), tokens[last].end(), ""
    elif follows == ",":
        yield tokens[place + 1].start(), tokens[last + 1].end(), ""


def _reach(tokens: Sequence[re.Match[str]], place: int, stops: set[str]) -> int:
    """The last token of what begins at a place: before one of the stops, or the end of the parentheses around it."""
    depth = 0
    for here in range(place, len(tokens)):
        word = tokens[here][0]
        depth += (word == "(") - (word == ")")
        if depth < 0 or (depth == 0 and word in stops):
            return here - 1
    return len(tokens) - 1


def valid(statements: Mapping[str, str], mutant: Mutant) -> bool:
    """Whether SQLite takes it: anything else would be noticed by whoever starts the program."""
    db = apsw.Connection(":memory:")
    every = {**statements, mutant.name: mutant.sql}
    try:
        for version in (name for name in every if name.startswith("migration_")):
            db.execute(every[version])
        if not mutant.name.startswith("migration"):
            binds = dict.fromkeys(re.findall(r":(\w+)", mutant.sql))
            for part in filter(str.strip, mutant.sql.split(";")):
                db.execute(f"EXPLAIN {part}", binds)
    except apsw.Error:
        return False
    finally:
        db.close()
    return True


# --- tests -------------------------------------------------------------------------------------


class Recorder(dict[str, str]):
    """The statements, and which of them were looked for since `used` was emptied."""

    used: set[str]

    def __getitem__(self, name: str) -> str:
        self.used.add(name)
        return super().__getitem__(name)


def load() -> Recorder:
    """The statements of the package, in the one place where all of its rooms look for them."""
    from tidegate.stores import connection  # noqa: PLC0415 - before any room that looks for them

    recorder = Recorder(connection.SQL)
    recorder.used = set()
    connection.SQL = recorder  # type: ignore[misc]
    return recorder


class Campaign(Quiet):
    """A plugin that runs the tests once as they are, and then those that a mutant concerns in a process of its own."""

    def __init__(self, statements: Recorder, names: Sequence[str]) -> None:
        self._statements = statements
        self._names = names
        self._trials = Trials()
        self.made = self.survived = 0

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        for item in session.items:
            self._statements.used = set()
            self._trials.note(item, lambda: self._statements.used, slow=SLOW)
        if session.testsfailed:
            raise session.Failed("the tests fail as it is")
        for name in self._names:
            self._try(name)
        return True

    def _try(self, name: str) -> None:
        every = [mutant for mutant in mutants(name, self._statements[name]) if valid(self._statements, mutant)]
        alive = [mutant for mutant in every if not self._is_noticed(mutant)]
        self.made, self.survived = self.made + len(every), self.survived + len(alive)
        print(f"{name}: {len(every)} mutants, {len(self._trials.of(name))} tests, {len(alive)} survive", flush=True)
        for mutant in alive:
            print(f"    {mutant.said}", flush=True)

    def _is_noticed(self, mutant: Mutant) -> bool:
        def change() -> None:
            self._statements[mutant.name] = mutant.sql

        return self._trials.end(mutant.name, change) in (End.KILLED, End.TIMED_OUT)


def main(names: Sequence[str]) -> int:
    """Make the mutants of these statements, and list the survivors; 1 where there are any."""
    os.chdir(TESTS.parent)
    statements = load()
    chosen = CLAIM if not names else tuple(statements) if list(names) == ["all"] else names
    campaign = Campaign(statements, [name for name in chosen if not statements[name].startswith(SETTINGS)])
    files = [str(TESTS / "stores" / f"test_{one}.py") for one in FILES]
    with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as place:  # none of it need survive a power cut
        code = pytest.main([*OPTIONS, f"--basetemp={place}/tests", *files], plugins=[campaign])
    print(f"{campaign.made} mutants, {campaign.survived} survive")
    return code or min(campaign.survived, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
