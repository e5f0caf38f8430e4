"""The file itself: who may read it, what is in it, and one clear line for whatever is wrong with it."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace

from stores.world import World, new
from tidegate.errors import StoreBroken
from tidegate.model import Batch, Failed, State
from tidegate.stores import connection, exchange, health, salvage, sqlite
from tidegate.stores.connection import SCHEMA, SQL
from tidegate.stores.sqlite import SqliteStore
from tidegate.stores.vault import is_gone, is_secret


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
def test_the_file_and_its_directories_are_for_this_user_alone_whatever_the_umask(
    tmp_path: Path, umask: Callable[[int], int], mask: int
) -> None:
    umask(mask)
    database = tmp_path / "deep" / "state" / "tidegate.db"
    store = SqliteStore(database)
    store.submit(Batch("b"), [new("a", env={"API_KEY": "k"})], World(store).now)
    assert mode(database.parent) == mode(database.parent.parent) == 0o700
    for file in database.parent.iterdir():
        assert mode(file) == (0o700 if file.is_dir() else 0o600), file.name
    for file in (database.parent / "secrets").iterdir():
        assert mode(file) == 0o600, file.name
    store.close()


def test_a_directory_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    SqliteStore(tmp_path / "t.db").close()
    assert mode(tmp_path) == 0o750


def test_a_closed_store_leaves_one_file(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    World(store).submit("a")
    store.close()
    assert [path.name for path in tmp_path.iterdir()] == ["t.db"]


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    first = World(SqliteStore(tmp_path / "t.db"))
    first.enter()
    first.submit("a", "b")
    first.pause("batch:b")
    before = (first.store.jobs(), first.store.events(), first.store.holds(), first.store.supervisors())
    first.store.close()
    again = SqliteStore(tmp_path / "t.db")
    assert (again.jobs(), again.events(), again.holds(), again.supervisors()) == before
    again.close()


def test_a_new_database_gives_no_number_again_that_has_output_already(tmp_path: Path) -> None:
    for name in ("3", "12", "notes", "9" * 30):
        (tmp_path / "attempts" / name / "1").mkdir(parents=True)
    world = World(SqliteStore(tmp_path / "t.db"))
    assert world.submit("a", "b").jobs == (13, 14)
    world.store.close()
    again = World(SqliteStore(tmp_path / "t.db"))
    assert again.submit("c").jobs == (15,)
    again.store.close()


def test_a_database_that_is_older_than_the_output_gives_none_of_its_numbers_to_new_jobs(tmp_path: Path) -> None:
    world = World(SqliteStore(tmp_path / "t.db"))
    world.submit("a")
    (tmp_path / "attempts" / "7" / "1").mkdir(parents=True)
    world.enter()
    assert world.submit("b").jobs == (8,)
    (tmp_path / "attempts" / "8" / "1").mkdir(parents=True)
    world.enter("next")
    assert world.submit("c").jobs == (9,), "what it knows itself changes nothing"
    world.store.close()


# --- settings that durability hangs on ---


def test_commits_are_durable_and_readers_do_not_wait(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    db = store._file._db
    assert db.pragma("journal_mode") == "wal"
    assert db.pragma("synchronous") == 2
    assert db.pragma("foreign_keys") == 1
    assert int(apsw.sqlite_lib_version().replace(".", "")[:3]) >= 351, "older ones may lose commits at a checkpoint"
    store.close()


def test_every_table_is_strict(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    tables = list(store._file._db.execute("SELECT name, strict FROM pragma_table_list WHERE name NOT GLOB 'sqlite_*'"))
    assert len(tables) > 8
    assert [name for name, strict in tables if not strict] == []
    store.close()


def test_every_statement_is_one_that_this_schema_knows(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    for name, text in SQL.items():
        if text.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
            binds = dict.fromkeys(re.findall(r":(\w+)", text), 1)
            list(store._file._db.execute(f"EXPLAIN {text}", binds)), name
    store.close()


def test_every_statement_is_used_and_none_is_built_from_strings() -> None:
    rooms = (sqlite.__file__, connection.__file__, health.__file__, exchange.__file__)
    code = "".join(Path(room).read_text() for room in rooms)
    saving = Path(salvage.__file__).read_text()  # of any table that is left, by its name
    unused = {name for name in SQL if f'"{name}"' not in code + saving and not name.startswith("migration_")}
    assert unused == set()
    assert not re.search(r"\b(SELECT|INSERT|UPDATE|DELETE|PRAGMA)\b", code)


SCANS_ALLOWED = {
    "accounts", "batches", "supervisors", "holds", "wide_holds", "crowd", "running",  # few rows, and all are wanted
    "requests", "hours", "hours_by", "meters", "drop_tides", "underway", "drop_forecasts", "every_held", "answered_at",
    "groups", "budgets", "spent_ever", "reserves",
    "counts", "filled", "waiting", "waiting_of", "busy", "heads", "is_empty", "is_ours",  # lanes are few
    "schema_version", "known_names", "newest_job",
}  # fmt: skip


def test_no_statement_reads_through_all_jobs_attempts_or_events(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    scanning = set()
    for name, text in SQL.items():
        if text.startswith(("SELECT", "UPDATE", "DELETE")):
            binds = dict.fromkeys(re.findall(r":(\w+)", text), 1)
            plan = [row[3] for row in store._file._db.execute(f"EXPLAIN QUERY PLAN {text}", binds)]
            plan = [line for line in plan if line != "SCAN CONSTANT ROW" and "VIRTUAL TABLE" not in line]
            if any(line.startswith("SCAN") or "TEMP B-TREE" in line for line in plan):
                scanning.add(name)
    sorting = {
        "names",
        "jobs_named",
        "needs",
        "ended",
        "groups_of",
        "tied_batches",
        "lengths",
        "unfinished",
    }  # what is wanted, and nothing besides
    rare = {"secrets", "drop_idle", "salvaged", "history", "history_of", "shuts", "shuts_of", "spent_by_day"} | {
        "piles"
    }
    assert scanning <= SCANS_ALLOWED | sorting | rare, "secrets are looked for where a job with one is forgotten"
    store.close()


def test_what_runs_with_an_account_is_found_among_what_runs(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    plan = [row[3] for row in store._file._db.execute(f"EXPLAIN QUERY PLAN {SQL['underway']}", {"account": "a"})]
    assert [line for line in plan if line.startswith("SCAN")] == ["SCAN attempt USING INDEX attempt_running"]
    store.close()


# --- what is wrong with a file, in one line ---


def broken(path: Path, words: str, use: Callable[[SqliteStore], object] = lambda store: store.holds()) -> None:
    """Opening or using it raises one line that names the file and says what is the matter."""
    with pytest.raises(StoreBroken) as raised:
        open_and(path, use)
    line = str(raised.value)
    assert line.startswith(str(path)), line
    assert "\n" not in line
    assert re.search(words, line), line


def open_and(path: Path, use: Callable[[SqliteStore], object]) -> None:
    store = SqliteStore(path, busy=0.2)
    try:
        use(store)
    finally:
        store.close()


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "t.db").write_text("not a database, but long enough to be looked at\n" * 100)
    broken(tmp_path / "t.db", "is not a tidegate database")


def test_a_database_of_somebody_else(tmp_path: Path) -> None:
    other = apsw.Connection(str(tmp_path / "t.db"))
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    broken(tmp_path / "t.db", "is not a tidegate database")


def test_a_database_of_a_newer_program(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    store._file._db.execute("INSERT INTO migration VALUES (999, '2030')")
    store.close()
    broken(tmp_path / "t.db", rf"made by a newer tidegate \(schema 999; this one knows {SCHEMA}\)")


def test_a_damaged_database(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    World(store).submit(*(f"j{number}" for number in range(500)))
    store.close()
    size = (tmp_path / "t.db").stat().st_size
    with (tmp_path / "t.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    broken(tmp_path / "t.db", "is damaged", lambda store: store.jobs())


def test_a_directory_in_the_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "t.db").mkdir()
    broken(tmp_path / "t.db", "cannot be opened|irectory")


def test_a_file_in_the_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StoreBroken, match=r"state: Not a directory|state/t\.db: Not a directory|File exists"):
        SqliteStore(tmp_path / "state" / "t.db")


@pytest.mark.parametrize("then", ["removed", "replaced"])
def test_a_database_that_is_not_at_its_place_any_more_is_noticed(tmp_path: Path, then: str) -> None:
    store = SqliteStore(tmp_path / "t.db")
    store.version()
    (tmp_path / "t.db").rename(tmp_path / "old.db")
    if then == "replaced":
        SqliteStore(tmp_path / "t.db").close()
    with pytest.raises(StoreBroken, match=r"t\.db: was removed or replaced while it was open"):
        store.version()
    store.close()


def test_a_database_that_another_program_keeps_locked(tmp_path: Path) -> None:
    other = SqliteStore(tmp_path / "t.db")
    with other.group():
        World(other).submit("a")
        broken(tmp_path / "t.db", "another program has kept the database locked for more than 0.2 s", _submit)
    broken_not(tmp_path / "t.db")
    other.close()


def _submit(store: SqliteStore) -> None:
    World(store).submit("b")


def broken_not(path: Path) -> None:
    store = SqliteStore(path)
    World(store).submit("b")
    store.close()


NOBODY = 65534
AS_NOBODY = """
import os, sys
from pathlib import Path
sys.path[:0] = {path!r}
from tidegate.errors import StoreBroken
from tidegate.stores.sqlite import SqliteStore
import world
os.setuid({nobody})
try:
    world.World(SqliteStore(Path({database!r}))).submit("b")
except StoreBroken as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(("directory", "file", "words"), [(0o755, 0o644, "read-only"), (0o700, 0o600, "Permission")])
def test_a_database_that_this_user_may_not_write(directory: int, file: int, words: str) -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own places are closed to others further up
        SqliteStore(Path(place) / "t.db").close()
        Path(place).chmod(directory)
        (Path(place) / "t.db").chmod(file)
        script = AS_NOBODY.format(path=[*sys.path, str(Path(__file__).parent)], nobody=NOBODY, database=f"{place}/t.db")
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
    assert words in done.stdout


def test_a_full_disk_is_told_and_nothing_half_done_is_left(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    world = World(store)
    world.submit("a")
    db = store._file._db
    db.pragma("max_page_count", db.pragma("page_count") + 3)
    with pytest.raises(StoreBroken, match=r"t\.db: the disk is full$"):
        world.submit(*(f"j{number}" for number in range(900)))
    db.pragma("max_page_count", 100_000)
    assert world.states() == {"a": State.QUEUED}
    world.submit("b")
    assert world.store.counts()[State.QUEUED] == 2
    store.close()


def test_a_group_that_sqlite_itself_has_undone_says_so(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    world = World(store)
    with pytest.raises(StoreBroken, match="an error undid the whole transaction"), store.group():  # noqa: PT012
        world.submit("a")
        store._file._db.execute("ROLLBACK")
        with pytest.raises(StoreBroken, match="an error undid the whole transaction"):
            world.submit("b")
    assert world.states() == {}
    world.submit("c")
    assert set(world.states()) == {"c"}
    store.close()


FILLING = """
import resource, sys
from pathlib import Path
sys.path[:0] = {path!r}
from tidegate.errors import StoreBroken
from tidegate.stores.sqlite import SqliteStore
import world
here = world.World(SqliteStore(Path({database!r})))
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
acknowledged, told = 0, []
for number in range(300):
    try:
        with here.store.group():
            here.submit(f"{{number}}a", f"{{number}}b")
            here.submit(*(f"{{number}}c{{n}}" for n in range(20)))
        acknowledged += 22
    except StoreBroken as error:
        told.append(str(error))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
here.submit("last")
counted = len(here.states())
print(acknowledged + 1 == counted, 0 < len(told) < 300, set(told))
"""


def test_writes_that_fail_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    script = FILLING.format(path=[*sys.path, str(Path(__file__).parent)], database=f"{tmp_path}/t.db")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.startswith("True True {"), done.stdout
    assert "t.db: " in done.stdout
    assert "or a quota, full, or is it broken?" in done.stdout


def test_eight_programs_may_make_the_file_at_once(tmp_path: Path) -> None:
    failed: list[BaseException] = []

    def make() -> None:
        try:
            SqliteStore(tmp_path / "state" / "t.db").close()
        except StoreBroken as error:
            failed.append(error)

    for _ in range(5):
        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        for file in (tmp_path / "state").iterdir():
            file.unlink()


def test_a_definition_that_this_program_does_not_understand(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    World(store).submit("a")
    store._file._db.execute("""UPDATE definition SET spec = '{"sandbox": true}'""")
    store.close()
    broken(tmp_path / "t.db", "the definition of job 1 cannot be read: .*sandbox", lambda store: store.jobs())


def test_the_room_opens_a_store_by_its_path(tmp_path: Path) -> None:
    store = sqlite.open(tmp_path / "t.db")
    assert store.jobs() == []
    store.close()


# --- secrets ---


def test_no_secret_is_in_the_database(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    env = {
        "ANTHROPIC_API_KEY": "sk-one-9d1f",
        "db_password": "hunter2-77",
        "MyToken": "tok-31aa",
        "KEYBOARD": "qwertz-5",
    }
    store.submit(Batch("b"), [new("a", env=env)], World(store).now)
    world = World(store)
    world.enter()
    assert world.take()[0].spec.env == env
    store.close()
    everything = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    for value in ("sk-one-9d1f", "hunter2-77", "tok-31aa"):
        assert value.encode() not in everything
    assert b"qwertz-5" in everything
    again = SqliteStore(tmp_path / "t.db")
    assert again.jobs()[0].spec.env == env
    again.close()


def test_many_jobs_with_one_secret_share_one_file(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "t.db")
    jobs = [new(f"j{number}", env={"TOKEN": "same"}) for number in range(50)]
    store.submit(Batch("b"), jobs, World(store).now)
    assert len([path for path in (tmp_path / "secrets").iterdir() if path.name != "key"]) == 1
    store.close()


def test_a_secret_whose_file_is_gone_keeps_nobody_from_looking_and_submitting_again_mends_it(tmp_path: Path) -> None:
    jobs = [new("a", env={"TOKEN": "one"})]
    store = SqliteStore(tmp_path / "t.db")
    store.submit(Batch("b"), jobs, World(store).now)
    store.close()
    for path in (tmp_path / "secrets").iterdir():
        if path.name != "key":
            path.unlink()
    store = SqliteStore(tmp_path / "t.db")
    assert is_gone(store.jobs()[0].spec.env["TOKEN"])
    assert store.submit(Batch("b"), jobs, World(store).now).unchanged == ("a",)
    assert store.jobs()[0].spec.env == {"TOKEN": "one"}
    store.close()


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("API_KEY", True), ("OPENAI_APIKEY", True), ("KEY", True), ("ssh-key", True), ("SSH_KEYS", True),
        ("GITHUB_TOKEN", True), ("AUTHTOKEN", True), ("PGPASSWORD", True), ("MYSQL_PASSWD", True),
        ("CLIENT_SECRET", True), ("AWS_CREDENTIALS", True), ("credential", True),
        ("KEYBOARD", False), ("MONKEY", False), ("PATH", False), ("HOME", False), ("KEYMAP_FILE", False),
    ],
)  # fmt: skip
def test_the_name_of_a_variable_tells_whether_it_is_a_secret(name: str, secret: bool) -> None:
    assert is_secret(name) == secret


def test_what_thousands_need_fails_at_the_cost_of_what_few_need(tmp_path: Path) -> None:
    def statements(dependents: int) -> int:
        world = World(SqliteStore(tmp_path / f"{dependents}.db"))
        world.enter()
        world.submit("first")
        first = world.job("first").id
        world.store.submit(
            Batch("b"), [replace(new(f"j{n}"), needs=(first,)) for n in range(dependents)], world.now, whole=False
        )
        ran: list[str] = []
        db = world.store._file._db  # type: ignore[attr-defined]
        db.exec_trace = lambda *told: (ran.append(told[1]), True)[1]  # type: ignore[func-returns-value]
        world.finish(world.take(), Failed(reason="no", retry=False))
        assert world.store.counts()[State.SKIPPED] == dependents
        world.store.close()
        return len(ran)

    assert statements(3000) == statements(3)


@pytest.fixture
def short_log(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(connection, "LONG_LOG", 256 * 1024)
    return 256 * 1024


@pytest.mark.slow
def test_readers_that_overlap_without_a_pause_let_the_log_begin_anew(tmp_path: Path, short_log: int) -> None:
    world = World(SqliteStore(tmp_path / "t.db"))
    world.enter()
    world.submit(*(f"j{n}" for n in range(150)))
    over = threading.Event()

    def read() -> None:
        with closing(SqliteStore(tmp_path / "t.db")) as store:
            while not over.is_set():
                with store._file.look():
                    store.last_seq()
                    over.wait(0.01)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    longest = 0
    for _ in range(150):  # each end and each claim adds 50 KB
        world.finish(world.take())
        longest = max(longest, (tmp_path / "t.db-wal").stat().st_size)
    over.set()
    for reader in readers:
        reader.join()
    assert longest < 12 * short_log


def test_a_reader_that_never_ends_delays_few_commits(
    tmp_path: Path, short_log: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = []
    monkeypatch.setattr(connection, "READING", 0.01)
    world = World(SqliteStore(tmp_path / "t.db"))
    world.enter()
    world.submit(*(f"j{n}" for n in range(60)))
    file = world.store._file  # type: ignore[attr-defined]
    patient = file._is_patient
    monkeypatch.setattr(file, "_is_patient", lambda tries, *most: (waits.append(tries), patient(tries, *most))[1])  # type: ignore[func-returns-value]
    with closing(SqliteStore(tmp_path / "t.db")) as other, other._file.look():
        other.last_seq()
        for _ in range(60):
            world.finish(world.take())
    assert world.store.counts()[State.SUCCEEDED] == 60
    assert 0 < waits.count(0) < 8  # once for each doubling of the log


def test_what_others_write_during_a_moment_is_seen_after_it(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "t.db")) as reader, closing(SqliteStore(tmp_path / "t.db")) as writer:
        with reader.moment():
            assert reader.jobs() == []
            World(writer).submit("a")
            assert reader.jobs() == []
        assert [job.name for job in reader.jobs()] == ["a"]
