"""Changes the store's SQL here and there, and lists what no test of the stores notices.

`python tests/faults/sql_mutants.py [STATEMENT ...]`: names of statements in sqlite.sql, or `all`; without any it takes
those that decide what is claimed. Each mutant lives in a process of its own that has read the package before; no file
is changed. It takes some minutes.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import apsw
import pytest

TESTS = Path(__file__).parents[1]
FILES = ("claims", "gates", "needs", "finishes", "groups", "steering", "hours", "submits", "looking", "forgetting")
CLAIM = (  # who decides what is claimed
    *("due_holds", "next_end", "wide_holds", "put_hold", "drop_hold", "opening", "put_opening", "has_shut"),
    *("promote", "next_job", "waiting", "waiting_of", "ready", "heads", "busy", "crowd", "account", "put_account"),
    *("put_job", "put_attempt", "count_met", "meet"),
)
QUICK = [
    "-x",
    "--basetemp",
    f"/dev/shm/tidegate-mutants-{os.getpid()}",
    "-q",
    "-n0",
    "-p",
    "no:cacheprovider",
    "-m",
    "not slow and not hypothesis",
]
LONGEST = 120  # seconds that the tests get to notice
FIRST = 25  # tests that are asked first: most mutants go no further
SLOW = 1.5  # seconds: no test that takes longer is asked
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
        for version in ("migration_1", "migration_2"):
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
    """The statements, and which of them were looked for since the last look."""

    used: set[str]

    def __getitem__(self, name: str) -> str:
        self.used.add(name)
        return super().__getitem__(name)


class Watch:
    """A plugin: which statements each test uses, and how long it takes."""

    def __init__(self, statements: Recorder) -> None:
        self._statements = statements
        self.used: dict[str, set[str]] = {}
        self.seconds: dict[str, float] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._statements.used, began = set(), time.perf_counter()
        result = yield
        self.used[item.nodeid], self.seconds[item.nodeid] = self._statements.used, time.perf_counter() - began
        return result


def load() -> Recorder:
    """The statements of the package, in the one place where all of its rooms look for them."""
    from tidegate.stores import connection  # noqa: PLC0415 - before any room that looks for them

    recorder = Recorder(connection.SQL)
    recorder.used = set()
    connection.SQL = recorder  # type: ignore[misc]
    return recorder


def tests_of(statements: Recorder) -> Mapping[str, list[str]]:
    """The tests that use each statement, in the order of the files; all of them must pass."""
    watch = Watch(statements)
    files = [str(TESTS / "stores" / f"test_{one}.py") for one in FILES]
    if pytest.main([*QUICK, "-k", "sqlite", *files], plugins=[watch]):
        sys.exit("the tests fail as it is")
    quick = [test for test, seconds in watch.seconds.items() if seconds < SLOW]
    return {name: [test for test in quick if name in watch.used[test]] for name in statements}


def is_noticed(statements: Recorder, mutant: Mutant, tests: Sequence[str]) -> bool:
    """Whether any of the tests fails."""
    return any(_fails(statements, mutant, some) for some in (tests[:FIRST], tests[FIRST:]) if some)


def _fails(statements: Recorder, mutant: Mutant, tests: Sequence[str]) -> bool:
    """Whether a test fails, in a process of its own."""
    child = os.fork()
    if not child:
        signal.alarm(LONGEST)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        statements[mutant.name] = mutant.sql
        os._exit(pytest.main([*QUICK, *tests]))
    return os.waitpid(child, 0)[1] != 0


def main(names: Sequence[str]) -> int:
    """Make the mutants of these statements, and list the survivors; how many there are."""
    os.chdir(TESTS.parent)
    statements = load()
    tests = tests_of(statements)
    chosen = CLAIM if not names else list(statements) if list(names) == ["all"] else names
    made = survivors = 0
    for name in chosen:
        if statements[name].startswith(SETTINGS):
            continue
        every = [mutant for mutant in mutants(name, statements[name]) if valid(statements, mutant)]
        alive = [mutant for mutant in every if not is_noticed(statements, mutant, tests[name])]
        made, survivors = made + len(every), survivors + len(alive)
        print(f"{name}: {len(every)} mutants, {len(tests[name])} tests, {len(alive)} survive", flush=True)
        for mutant in alive:
            print(f"    {mutant.said}", flush=True)
    print(f"{made} mutants, {survivors} survive")
    return min(survivors, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
