"""`doctor --deep` and `doctor --repair`: what is wrong is told in a line each, and mended where that can be."""

from __future__ import annotations

import json
import os
import stat
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from corrupted import BOOKS, asked, copied, real, sleeper, sql
from filled import Night, job
from installed import Tidegate, until

from tidegate import places
from tidegate.audit import Finding, audit
from tidegate.repair import repair
from tidegate.stores.vault import private


@pytest.mark.slow
def test_a_deep_look_says_what_is_wrong_and_what_a_repair_would_do(tidegate: Tidegate) -> None:
    Night(tidegate.state).submit("b", job("a"), job("b"))
    whole = tidegate("doctor", "--deep")
    assert whole.returncode == 0
    assert whole.stdout.splitlines()[-1].endswith("the database, its files and its processes fit together")
    sql(tidegate.state, "UPDATE job SET lost = 7 WHERE name = 'b'")
    done = tidegate("doctor", "--deep")
    assert done.returncode == 5
    last = done.stdout.splitlines()[-1]
    assert last.split()[:2] == ["wrong", "state"]
    assert "job 2 counts 7 lost attempts, but its events say 0: tidegate doctor --repair" in last
    told = json.loads(tidegate("doctor", "--deep", "--json").stdout.splitlines()[-1])
    assert (told["kind"], told["verdict"], told["repair"]) == ("job_lost", "wrong", "they are counted again")


# --- repairs ---

NOW = datetime.now(UTC)
GROUPS = 8
PEOPLES = {  # what takes a person, or harms nobody
    *("job_revived", "job_definition", "job_spec", "job_added", "attempt_claim", "need_circle", "event_job"),
    *("times", "schema", "newer", "need_early", "group_circle"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Tidegate:
    return real(tmp_path_factory.mktemp("made"))


@pytest.fixture
def broken(made: Tidegate, tmp_path: Path) -> Tidegate:
    return copied(made, tmp_path)


def mended(state: Path) -> list[Finding]:
    """What is left after a repair; a second one finds nothing to do and writes nothing."""
    places.lock(state).touch()
    first = repair(state, NOW, "ann")
    left = audit(state)
    for path in first.backups:
        assert asked(state, "SELECT count(*) FROM event WHERE name = 'repaired'") > [(0,)]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = asked(state, "SELECT count(*) FROM event")
    assert repair(state, NOW, "ann").backups == []
    assert asked(state, "SELECT count(*) FROM event") == before
    return left


@pytest.mark.slow
@pytest.mark.parametrize("group", range(GROUPS))
def test_what_is_wrong_in_the_books_is_mended_where_that_can_be(broken: Tidegate, group: int) -> None:
    """Several at once: a repair may uncover what the next one mends."""
    for statement in [statement for statement, expected, _ in BOOKS if not expected & PEOPLES][group::GROUPS]:
        sql(broken.state, statement)
    assert mended(broken.state) == []


@pytest.mark.slow
def test_what_takes_a_person_is_left_to_one(broken: Tidegate) -> None:
    sql(
        broken.state,
        "DELETE FROM definition WHERE job = 6; UPDATE job SET state = 'queued', ended_at = NULL WHERE id = 2",
    )
    assert {(one.kind, one.mend) for one in mended(broken.state)} == {("job_definition", ""), ("job_revived", "")}


@pytest.mark.slow
def test_where_nothing_is_wrong_a_repair_writes_nothing(broken: Tidegate) -> None:
    before = sorted(broken.state.rglob("*"))
    assert mended(broken.state) == []
    assert sorted(broken.state.rglob("*")) == [*sorted({*before, places.lock(broken.state)})]


@pytest.mark.slow
def test_files_and_processes_are_mended_after_a_backup(broken: Tidegate) -> None:
    state = broken.state
    secret = places.secrets(state) / ("f" * 40)
    orphan = places.attempts(state) / "77" / "1"
    orphan.mkdir(parents=True, mode=0o700)
    orphan.parent.chmod(0o700)
    (orphan / "deep").mkdir(mode=0o700)
    for path in (secret, orphan / "stdout.log", orphan / "deep" / "what an agent\nleft"):
        path.write_text("kept in the backup")
        path.chmod(0o600)
        os.utime(path, (0, 0))
    (state / "attempts/1/1/stdout.log").chmod(0o644)
    ((uuid,),) = asked(state, "SELECT uuid FROM supervisor")
    process = sleeper(f"{uuid}/1/1", broken.place)
    until(lambda: words(process.pid).startswith(b"sleep"))
    assert {one.kind for one in audit(state)} == {"mode", "secret_orphan", "output_orphan", "leftover"}
    assert mended(state) == []
    assert process.wait() == -15
    assert not orphan.exists()
    assert not secret.exists()
    (path,) = places.backups(state).iterdir()
    with tarfile.open(path) as archive:
        odd = "attempts/77/1/deep/what an agent\nleft"
        assert {"attempts/77/1/stdout.log", odd, f"secrets/{'f' * 40}"} <= set(archive.getnames())


def words(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.slow
def test_a_repair_ends_no_process_of_another_state_directory(broken: Tidegate) -> None:
    ((uuid,),) = asked(broken.state, "SELECT uuid FROM supervisor")
    ours, others = (sleeper(f"{by}/1/1", broken.place) for by in (uuid, "00000000-0000-4000-8000-00000000000b"))
    try:
        until(lambda: all(words(one.pid).startswith(b"sleep") for one in (ours, others)))
        assert mended(broken.state) == []
        assert ours.wait() == -15
        assert others.poll() is None
    finally:
        others.kill()
        others.wait()


@pytest.mark.slow
def test_what_is_no_instant_and_what_is_no_mark_stops_no_repair(broken: Tidegate) -> None:
    sql(broken.state, "UPDATE supervisor SET started_at = 'whenever'")
    sql(broken.state, "UPDATE job SET lost = 7 WHERE id = 5")
    process = sleeper("x/\N{SUPERSCRIPT TWO}/1", broken.place)
    try:
        until(lambda: words(process.pid).startswith(b"sleep"))
        places.lock(broken.state).touch()
        assert [one.kind for one in repair(broken.state, NOW, "ann").done] == ["job_lost"]
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_damaged_database_is_written_anew_and_the_damaged_one_is_kept(broken: Tidegate) -> None:
    state = broken.state
    path = places.database(state)
    ((page,),) = asked(state, "SELECT rootpage FROM sqlite_schema WHERE name = 'job_state'")
    damage(path, int(str(page)))
    told = {one.kind for one in audit(state)}
    assert told == {"damage"}, told
    assert mended(state) == []
    (kept,) = state.glob("tidegate.db.damaged-*Z")
    assert b"\xa5" * 4096 in kept.read_bytes()
    assert asked(state, "SELECT count(*) FROM job") == [(6,)]
    serving = broken.start("serve")
    try:
        assert broken("resume", "job:5").returncode == 0
        until(lambda: broken.states()["paused"] == "succeeded")
    finally:
        serving.kill()
        serving.wait()


@pytest.mark.slow
def test_of_a_table_with_a_damaged_page_the_rest_is_saved(tmp_path: Path) -> None:
    state = tmp_path / "state"
    filled = Night(state)
    filled.submit("b", *[job(f"a{n}", prompt="x" * 300) for n in range(400)])
    filled.store.close()
    path = places.database(state)
    raw = path.read_bytes()
    pages = [raw[at : at + 4096] for at in range(0, len(raw), 4096)]
    leaves = [number for number, page in enumerate(pages, 1) if page[0] == 0x0D and b"x" * 300 in page]
    damage(path, leaves[len(leaves) // 2])
    assert {one.kind for one in audit(state)} == {"damage"}
    places.lock(state).touch()
    done = repair(state, NOW, "ann")
    assert mended(state) == []
    ((saved,),) = asked(state, "SELECT count(*) FROM job")
    assert f"{saved} of definition," in str(asked(state, "SELECT data FROM event WHERE name = 'repaired'"))
    assert done.rows < 400 * 4  # each counts once, however often it was read
    assert 380 <= int(str(saved)) < 400
    assert asked(state, "SELECT seq FROM sqlite_sequence WHERE name = 'job'") == [(400,)]


@pytest.mark.slow
def test_output_of_jobs_that_a_damaged_database_has_lost_is_in_a_backup_before_it_goes(tmp_path: Path) -> None:
    state = tmp_path / "state"
    filled = Night(state)
    filled.submit("b", *[job(f"a{n}", prompt="x" * 300) for n in range(400)])
    filled.store.close()
    for number in range(1, 401):
        private(places.attempt(state, number, 1))
        (places.attempt(state, number, 1) / "stdout.log").touch(mode=0o600)
    places.lock(state).touch(mode=0o600)
    path = places.database(state)
    raw = path.read_bytes()
    leaves = [at for at in range(0, len(raw), 4096) if raw[at] == 0x0D and b"x" * 300 in raw[at : at + 4096]]
    damage(path, leaves[len(leaves) // 2] // 4096 + 1)
    done = repair(state, NOW, "ann")
    lost = set(range(1, 401)) - {int(str(number)) for (number,) in asked(state, "SELECT id FROM job")}
    assert lost
    assert not any(places.attempt(state, number, 1).exists() for number in lost)
    kept: set[str] = set()
    for one in done.backups:
        with tarfile.open(one) as archive:
            kept |= set(archive.getnames())
    assert {f"attempts/{number}/1/stdout.log" for number in lost} <= kept


def damage(path: Path, page: int) -> None:
    """Overwrite one page of a database, counted from 1."""
    with path.open("r+b") as opened:
        opened.seek(4096 * (page - 1))
        opened.write(b"\xa5" * 4096)


@pytest.mark.slow
def test_the_doctor_repairs_and_says_what_it_did_but_not_under_a_supervisor(tidegate: Tidegate) -> None:
    tidegate("submit", "--", "true")
    sql(tidegate.state, "UPDATE job SET lost = 7")
    serving = tidegate.start("serve")
    until(lambda: tidegate.states() == {"1": "succeeded"})
    refused = tidegate("doctor", "--repair")
    assert refused.returncode == 5
    assert "another tidegate supervises this directory" in refused.stderr
    serving.terminate()
    serving.wait()
    done = tidegate("doctor", "--repair")
    assert done.returncode == 0, done.stdout
    assert "before it, a backup:" in done.stdout
    assert "job 1 counts 7 lost attempts, but its events say 0: they are counted again" in done.stdout
    (event,) = tidegate.events("repaired")
    assert (event["job"], event["data"]["kind"]) == ("1", "job_lost")
    assert "there is nothing that it can mend" in tidegate("doctor", "--repair").stdout


@pytest.mark.slow
def test_what_a_repair_changed_comes_back_from_its_backup(broken: Tidegate) -> None:
    sql(broken.state, "UPDATE job SET lost = 7 WHERE id = 5")
    mended(broken.state)
    (path,) = places.backups(broken.state).iterdir()
    assert broken("restore", "--force", str(path)).returncode == 0
    assert [one.kind for one in audit(broken.state)] == ["job_lost"]
