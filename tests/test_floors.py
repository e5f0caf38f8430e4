"""The architecture document: imports go down the floors, and each power has one room."""

import ast
from pathlib import Path

import pytest

import tidegate

SRC = Path(tidegate.__file__).parent
FLOORS = {
    -1: "values",  # what nouns are made of
    0: "model errors __init__",
    1: "policy budget hours resets when batch allowed redact clock bell doorbell places signals notice codes lock"
    " reopening night needs hints reserve retries selection scylla stages runs tides"
    " admission costs windows prospect lengths ahead forecast quotas",
    2: "answers capacity credentials gate launch watch workspace agents stores systemd handover upgrade",
    3: "attempt gauge explain retention audit backup forgotten leftovers",
    4: "supervisor restore repair",
    5: "settings logs files expand listing look narrate notify bottom standing headroom over follow run serve reap"
    " foretell check demo daemon again report doctor upkeep cli __main__ examples",
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms.split()}
FILES = sorted(SRC.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(SRC).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_imports_only_go_down(path: Path) -> None:
    here = FLOOR[room(path)]
    below = {name.split(".")[1] for name in imported(path) if name.startswith("tidegate.")} & FLOOR.keys()
    upward = {name for name in below if FLOOR[name] > here or (FLOOR[name] == here < 5 and name != room(path))}
    if here == 1:
        upward -= set(FLOORS[1].split())  # decisions may speak of one another
    assert not upward, f"{path.name} (floor {here}) imports {upward}"


@pytest.mark.parametrize("folder", ["agents", "stores"])
def test_implementations_of_a_port_never_import_each_other(folder: str) -> None:
    names = {path.stem for path in (SRC / folder).glob("*.py")} - {"__init__"}
    ports = {
        "reading",
        "writer",
        "rows",
        "ledger",
        "claim",
        "ends",
        "groups",
        "submit",
        "timetable",
        "spending",
        "metering",
        "admitting",
        "reserves",
        "vault",
        "connection",
        "health",
        "books",
        "snapshot",
        "exchange",
        "takeup",
        "mending",
        "salvage",
        "prospects",
    }  # what implementations stand on
    for path in (SRC / folder).glob("*.py"):
        if path.stem not in {"__init__", *ports}:
            others = {f"tidegate.{folder}.{name}" for name in names - {path.stem} - ports}
            assert not imported(path) & others, path.name


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))
def test_each_power_has_one_room(path: Path) -> None:
    text, name = path.read_text(), str(path.relative_to(SRC))
    if name != "clock.py" and not name.startswith("examples/"):
        for reading in ("datetime.now(", "time.time(", "time.monotonic(", ".utcnow(", "perf_counter("):
            assert reading not in text, f"only clock.py reads the time: {reading}"
    if name not in {
        "launch/__init__.py",
        "notify.py",
        "upgrade.py",
        "listing.py",
        "workspace/git.py",
        "examples/scylla/judge.py",  # a person's, once `init` has written it
    }:  # nobody adopts what these start
        for starting in ("create_subprocess", "subprocess.", "os.exec", "posix_spawn", "os.system", "os.fork"):
            assert starting not in text, f"agents are started in launch/ alone: {starting}"
    if not name.startswith("workspace/"):
        assert '["git"' not in text, "only workspace/ runs git"
    if not name.startswith("stores/"):
        for sql in ("SELECT ", "INSERT INTO", "import apsw", "import sqlite3"):
            assert sql not in text, f"only stores/ holds SQL: {sql}"
