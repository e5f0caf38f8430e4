"""`backup` and `restore`: one file, beside whoever works; what comes back is whole, and nothing of it runs twice."""

from __future__ import annotations

import gzip
import io
import json
import re
import resource
import shutil
import stat
import subprocess
import sys
import tarfile
from hashlib import sha256
from pathlib import Path

import apsw
import pytest
from corrupted import sql
from filled import Night, job, night
from installed import Json, Tidegate, end_what_is_left, said, until
from stores.test_migrations import FILLED
from stores.world import START

from tidegate import places
from tidegate.audit import audit
from tidegate.backup import Wanted, unpack, write
from tidegate.backup.writing import Hashed
from tidegate.errors import BadInput, StoreBlocked
from tidegate.launch import boot_id
from tidegate.model import Lost
from tidegate.restore import is_empty, restore
from tidegate.stores import sqlite
from tidegate.stores.connection import SQL
from tidegate.stores.exchange import exchange
from tidegate.stores.rows import iso


def names(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        return archive.getnames()


def packed(*members: tuple[str, bytes]) -> bytes:
    """An archive of these files."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


def filled(tidegate: Tidegate) -> Tidegate:
    made = night(tidegate.state)
    made.store.close()
    return tidegate


def test_a_backup_is_one_file_for_its_owner_alone(tidegate: Tidegate) -> None:
    filled(tidegate)
    told = json.loads(tidegate("backup", "here.tar.gz", "--json").stdout)
    path = tidegate.place / "here.tar.gz"
    assert told["file"] == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names(path) == ["tidegate-backup", "tidegate.db", "manifest.json"]
    assert b"hush-hush" not in gzip.decompress(path.read_bytes())
    assert "is there already" in said(tidegate("backup", "here.tar.gz"))
    assert said(tidegate("backup", "none/b.gz")) == "tidegate: none/b.gz: cannot write it: No such file or directory"
    assert {one.name for one in tidegate.state.iterdir()} >= {"tidegate.db", "attempts", "secrets"}
    assert not list(tidegate.state.glob(".backup-*"))


@pytest.mark.slow
def test_secrets_and_output_are_in_it_where_they_are_asked_for(tidegate: Tidegate) -> None:
    filled(tidegate)
    done = tidegate("backup", "--with-secrets", "--with-output")
    (path,) = places.backups(tidegate.state).iterdir()
    assert done.stdout.startswith(f"{path}: ")
    assert "with secrets, with output" in done.stdout
    assert "attempts/1/1/stdout.log" in names(path)
    assert any(name.startswith("secrets/") for name in names(path))
    (tidegate.place / "out").mkdir()
    with path.open("rb") as opened:
        manifest = unpack(opened, "it", tidegate.place / "out")
    assert set(manifest.files) == set(names(path)) - {"tidegate-backup", "manifest.json"}
    assert (tidegate.place / "out/attempts/1/1/stdout.log").read_bytes() == b"one line\n"


@pytest.mark.slow
def test_what_does_not_belong_there_is_left_out_and_keeps_no_backup_from_being_restored(tidegate: Tidegate) -> None:
    filled(tidegate)
    for odd in ("attempts/1/1/two words", "attempts/1/1/.hidden", "attempts/lost/found/x", "secrets/key.bak"):
        (tidegate.state / odd).parent.mkdir(parents=True, exist_ok=True)
        (tidegate.state / odd).write_text("x")
    assert tidegate("backup", "b.tar.gz", "--with-secrets", "--with-output").returncode == 0
    there = set(names(tidegate.place / "b.tar.gz"))
    assert {"attempts/1/1/two words", "attempts/1/1/.hidden"} <= there, "an agent may have put it there"
    assert not {"attempts/lost/found/x", "secrets/key.bak"} & there
    assert restored(tidegate, "--into", "new/state")["jobs"] == 31


def test_where_nothing_was_submitted_there_is_nothing_to_save(tidegate: Tidegate) -> None:
    assert "nothing has been submitted" in said(tidegate("backup"))
    assert not tidegate.state.exists()


def test_what_is_no_whole_backup_is_refused_in_one_line(tmp_path: Path) -> None:
    state = tmp_path / "state"
    Night(state).submit("b", job("a"))
    program = Tidegate(tmp_path)
    assert program("backup", "b.tar.gz").returncode == 0
    good = (tmp_path / "b.tar.gz").read_bytes()
    plain = gzip.decompress(good)
    at = plain.index(b"CREATE TABLE job")
    changed = gzip.compress(plain[:at] + b"create" + plain[at + 6 :])
    bad = {
        b"": "damaged: empty file",
        b"no backup at all": "is no backup of tidegate",
        packed(("tidegate.db", b"x")): "is no backup of tidegate",
        good[: len(good) // 2]: "cut short|damaged",
        good[:-20]: "cut short|damaged",
        good[:400] + b"\x00" * 50 + good[450:]: "damaged|cut short",
        gzip.compress(plain[: plain.index(b"manifest.json")]): "cut short",
        changed: "tidegate.db is not as it was",
        packed(("tidegate-backup", b"1\n"), ("../evil", b"x")): "'../evil' in it, which no backup has",
        packed(("tidegate-backup", b"1\n"), ("attempts/1/1/../lock", b"x")): "which no backup has",
        packed(("tidegate-backup", b"1\n"), ("attempts/1/1/..", b"x")): "which no backup has",
        packed(("tidegate-backup", b"1\n"), ("attempts/1/1/a/../../../../../b", b"x")): "which no backup has",
        packed(("tidegate-backup", b"1\n"), ("manifest.json", b"{}")): "its manifest is damaged",
        packed(("tidegate-backup", b"1\n"), ("manifest.json", b"[" * 100_000)): "damaged",
        gzip.compress(plain[:512] + b"9" + plain[513:]): "made by a newer tidegate",
    }
    for number, (data, words) in enumerate(bad.items()):
        into = tmp_path / f"into{number}"
        into.mkdir()
        with pytest.raises(BadInput, match=words) as refused:
            unpack(io.BytesIO(data), "it", into)
        assert "\n" not in str(refused.value)
    assert not (tmp_path / "evil").exists()


@pytest.mark.slow
def test_a_backup_goes_through_a_pipe_beside_a_supervisor(tidegate: Tidegate) -> None:
    tidegate("submit", "--", "sleep", "60")
    tidegate.start("serve")
    until(lambda: tidegate.states() == {"1": "running"})
    piped = subprocess.run(
        [sys.executable, "-m", "tidegate", "backup", "-", "--with-output"],
        env=tidegate.environment(),
        capture_output=True,
    )
    assert (piped.returncode, piped.stderr) == (0, b"")
    manifest = unpack(io.BytesIO(piped.stdout), "it", tidegate.place / "out")
    assert "attempts/1/1/lock" in manifest.files


# --- restore ---


def restored(tidegate: Tidegate, *args: str) -> Json:
    """What a restore says that it has done."""
    done = tidegate("restore", "b.tar.gz", *args, "--json")
    assert done.returncode == 0, done.stderr
    told: Json = json.loads(done.stdout)
    return told


@pytest.mark.slow
def test_a_backup_comes_back_elsewhere_with_everything(tidegate: Tidegate) -> None:
    filled(tidegate)
    tidegate("backup", "b.tar.gz", "--with-secrets", "--with-output")
    before = tidegate.states()
    told = restored(tidegate, "--into", "new/state")
    assert (told["jobs"], told["lost"], told["waiting"], told["aside"]) == (31, 1, 0, None)
    there = Tidegate(tidegate.place / "new")
    assert there.states() == {**before, "train/4": "queued"}
    assert stat.S_IMODE((there.state / "secrets").stat().st_mode) == 0o700
    assert not list(there.state.glob(".restoring*"))
    (event,) = there.events("state restored")
    assert event["data"]["lost"] == 1
    assert "is not empty" in said(tidegate("restore", "b.tar.gz"))
    assert "is not empty" in said(tidegate("restore", "b.tar.gz", "--into", "new/state"))


@pytest.mark.slow
def test_without_its_secrets_a_batch_waits_for_a_person(tidegate: Tidegate) -> None:
    filled(tidegate)
    tidegate("resume", "batch:other")
    tidegate("backup", "b.tar.gz")
    assert restored(tidegate, "--into", "new/state")["waiting"] == 1
    there = Tidegate(tidegate.place / "new")
    (shown,) = there.lines("show", "31")
    assert shown["state"] == "queued"
    assert "API_KEY" in json.dumps(there.lines("status"))
    assert there("edit", "31", "--env", "API_KEY=hush-again").returncode == 0
    assert there("resume", "batch:other").returncode == 0
    assert audit(there.state) == []


@pytest.mark.slow
def test_in_its_own_place_a_backup_finds_its_secrets_and_its_output_again(tidegate: Tidegate) -> None:
    filled(tidegate)
    tidegate("backup", "b.tar.gz")
    tidegate("submit", "--", "true")
    assert "is not empty" in said(tidegate("restore", "b.tar.gz"))
    told = restored(tidegate, "--force")
    assert (told["jobs"], told["waiting"]) == (31, 0)
    assert (Path(told["aside"]) / "tidegate.db").exists()
    assert (tidegate.state / "attempts/1/1/stdout.log").read_bytes() == b"one line\n"
    assert len(tidegate.states()) == 30


def with_other_jobs(tidegate: Tidegate) -> Tidegate:
    """A state with other jobs of the same numbers than the backup `b.tar.gz` has."""
    here, there = (Tidegate(tidegate.place / name) for name in ("here", "there"))
    for program, word in ((here, "ours"), (there, "theirs")):
        program.place.mkdir()
        (program.place / "b.toml").write_text(f'[[job]]\nid = "{word}"\ncommand = ["echo", "{word}"]\n')
        assert program("run", "b.toml").returncode == 0
    assert here("backup", str(tidegate.place / "b.tar.gz"), "--with-output").returncode == 0
    return there


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2], ids=["before their output is moved", "before ours is"])
@pytest.mark.parametrize("by", ["restore", "serve"])
def test_what_a_killed_restore_has_not_moved_is_moved_by_the_next_one_or_by_the_next_start(
    tidegate: Tidegate, number: int, by: str
) -> None:
    there, backup = with_other_jobs(tidegate), str(tidegate.place / "b.tar.gz")
    moves = number + 1  # the first one is of the plan
    assert killed(there, "rename", moves, "restore", "--force", backup) == -9
    assert there.states() == {"ours": "succeeded"}
    if by == "restore":
        assert there("restore", "--force", backup).returncode == 0
    else:
        there.start("serve")
        until(lambda: "serving" in (there.place / "started.0").read_text())
    assert (there.state / "attempts/1/1/stdout.log").read_bytes() == b"ours\n"
    kept = next(there.state.glob("before-restore-*/attempts/1/1/stdout.log"))
    assert kept.read_bytes() == b"theirs\n"
    assert not list(there.state.glob(".restoring-*"))
    assert [one for one in audit(there.state) if one.is_wrong] == []
    for process in there.started:
        process.kill()
        process.wait()


def test_two_restores_in_one_second_keep_what_lay_there_apart(tmp_path: Path) -> None:
    state, packed = tmp_path / "state", tmp_path / "b.tar.gz"
    made = Night(state)
    made.submit("b", job("a"))
    made.store.close()
    assert Tidegate(tmp_path)("backup", str(packed)).returncode == 0
    asides = []
    for _ in range(3):
        with packed.open("rb") as opened:
            asides.append(restore(opened, "it", state, START).aside)
    assert [one.name for one in asides if one] == [
        f"before-restore-{START:%Y%m%dT%H%M%S}Z{end}" for end in ("", "-2", "-3")
    ]
    assert all((one / "tidegate.db").exists() for one in asides if one)


@pytest.mark.slow
def test_output_from_a_backup_comes_back_where_other_jobs_had_the_numbers(tidegate: Tidegate) -> None:
    there = with_other_jobs(tidegate)
    done = there("restore", "--force", "--json", str(tidegate.place / "b.tar.gz"))
    assert done.returncode == 0, done.stderr
    assert (there.state / "attempts/1/1/stdout.log").read_bytes() == b"ours\n"
    aside = Path(json.loads(done.stdout)["aside"])
    assert (aside / "attempts/1/1/stdout.log").read_bytes() == b"theirs\n"
    assert audit(there.state) == []


@pytest.mark.slow
def test_a_refused_restore_leaves_everything_as_it_was(tidegate: Tidegate) -> None:
    filled(tidegate)
    tidegate("backup", "b.tar.gz")
    (tidegate.place / "cut.tar.gz").write_bytes((tidegate.place / "b.tar.gz").read_bytes()[:-100])
    before = sorted(one.name for one in tidegate.state.iterdir() if one.name != "lock")
    assert "cut short" in said(tidegate("restore", "--force", "cut.tar.gz"))
    assert "No such file" in said(tidegate("restore", "--force", "none.tar.gz"))
    assert "cut short" in said(tidegate("restore", "--into", "made/for/it", "cut.tar.gz"))
    assert not (tidegate.place / "made").exists()
    assert sorted(one.name for one in tidegate.state.iterdir() if one.name != "lock") == before
    assert len(tidegate.states()) == 30


@pytest.mark.slow
def test_under_a_supervisor_nothing_is_restored(tidegate: Tidegate) -> None:
    tidegate("submit", "--", "sleep", "60")
    tidegate.start("serve")
    until(lambda: tidegate.states() == {"1": "running"})
    tidegate("backup", "b.tar.gz")
    assert "another tidegate supervises" in said(tidegate("restore", "--force", "b.tar.gz"))
    assert tidegate.states() == {"1": "running"}


@pytest.mark.slow
def test_agents_that_nobody_would_follow_keep_a_backup_out(tidegate: Tidegate) -> None:
    tidegate("submit", "--", "sleep", "60")
    serving = tidegate.start("serve")
    until(lambda: tidegate.states() == {"1": "running"})
    tidegate("backup", "b.tar.gz")
    assert "of attempt 1 of job 1" in said(tidegate("restore", "b.tar.gz", "--into", "new/state"))
    tidegate("submit", "--", "sleep", "60")
    until(lambda: tidegate.states() == {"1": "running", "2": "running"})
    serving.kill()
    serving.wait()
    assert "an agent that the backup does not know runs" in said(tidegate("restore", "--force", "b.tar.gz"))


@pytest.mark.slow
def test_what_ran_when_a_backup_was_made_is_followed_where_it_still_runs(tidegate: Tidegate) -> None:
    (tidegate.place / "jobs.jsonl").write_text(
        "\n".join(
            json.dumps(
                {"id": name, "command": ["sh", "-c", f"echo {name} >> ran; while ! test -e go; do sleep 0.02; done"]}
            )
            for name in ("a", "b", "c")
        )
    )
    tidegate.start("run", "jobs.jsonl", "--slots", "1")
    until(lambda: "running" in tidegate.states().values())
    tidegate("backup", "b.tar.gz")
    tidegate.started[0].kill()
    tidegate.started[0].wait()
    places.database(tidegate.state).write_bytes(b"rubbish" * 1000)
    told = restored(tidegate, "--force")
    assert (told["lost"], told["followed"]) == (0, 1)
    (tidegate.place / "go").touch()
    assert tidegate("run", "jobs.jsonl", "--slots", "1").returncode == 0
    assert sorted((tidegate.place / "ran").read_text().split()) == ["a", "b", "c"]
    assert audit(tidegate.state) == []


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_batch_under_load_is_finished_from_a_backup_elsewhere(tidegate: Tidegate) -> None:
    count = 60
    (tidegate.place / "jobs.jsonl").write_text(
        "\n".join(
            json.dumps({"id": f"{n}", "command": ["sh", "-c", f"echo {n} >> ran; sleep 0.05; echo {n} >> ended"]})
            for n in range(count)
        )
    )
    running = tidegate.start("run", "jobs.jsonl", "--slots", "4")
    until(lambda: list(tidegate.states().values()).count("succeeded") > 15)
    made = tidegate("backup", "b.tar.gz", "--with-output")
    assert made.returncode == 0, made.stderr
    running.kill()  # the machine is lost with all that ran on it
    running.wait()
    end_what_is_left(tidegate.state)
    until(lambda: not [one for one in audit(tidegate.state) if one.kind == "leftover"])
    told = restored(tidegate, "--into", "new/state")
    there = Tidegate(tidegate.place / "new")
    shutil.copy(tidegate.place / "jobs.jsonl", there.place)
    known = {name for name, state in there.states().items() if state == "succeeded"}
    assert told["jobs"] == count
    env = {"TIDEGATE_STATE_DIR": str(there.state)}
    assert Tidegate(tidegate.place, env=env)("run", "jobs.jsonl", "--slots", "4").returncode == 0
    assert set(there.states().values()) == {"succeeded"}
    ended = (tidegate.place / "ended").read_text().split()
    assert set(ended) == {str(n) for n in range(count)}, "no job is lost"
    assert all(ended.count(name) == 1 for name in known), "none that the backup knows as done runs again"
    assert audit(there.state) == []


@pytest.mark.slow
def test_a_backup_of_an_older_tidegate_is_brought_up_to_date_and_a_newer_one_is_refused(tidegate: Tidegate) -> None:
    older, newer = tidegate.place / "older", tidegate.place / "newer"
    older.mkdir(mode=0o700)
    file = apsw.Connection(str(places.database(older)))
    file.execute(SQL["wal"])
    file.execute(SQL["migration_1"])
    file.execute(SQL["migrated"], {"version": 1})
    file.execute(FILLED, {"now": iso(START)})
    file.close()
    filled(tidegate)
    shutil.copytree(tidegate.state, newer)
    sql(newer, "UPDATE migration SET version = version + 100")
    for state in (older, newer):
        with (tidegate.place / f"{state.name}.tar.gz").open("wb") as opened:
            write(state, opened, START, Wanted())
    done = tidegate("restore", "older.tar.gz", "--into", "new/state")
    assert done.returncode == 0, done.stderr
    assert Tidegate(tidegate.place / "new").states() == {"a": "queued", "b": "queued", "c": "failed"}
    line = said(tidegate("restore", "newer.tar.gz", "--into", "another/state"))
    assert "made by a newer tidegate" in line
    assert is_empty(tidegate.place / "another/state")


@pytest.mark.slow
def test_a_restore_is_no_reason_to_give_a_job_up(tidegate: Tidegate) -> None:
    made = Night(tidegate.state)
    made.submit("b", job("a"))
    made.enter()
    for _ in range(2):
        ((_, attempt),) = made.claim()
        made.store.finish(attempt, Lost("the machine was restarted"), made.now)
    made.claim()
    made.store.close()
    for n, lock in ((4, "17\n"), (5, "17\n0\n")):  # launched while the backup was made
        place = places.attempt(tidegate.state, 1, n)
        place.mkdir(parents=True, mode=0o700)
        (place / "lock").write_text(lock)
        (place / "attempt.json").write_text(json.dumps({"boot_id": boot_id() if n == 5 else "another"}))
    tidegate("backup", "b.tar.gz", "--with-output")
    assert restored(tidegate, "--into", "new/state")["lost"] == 1
    there = Tidegate(tidegate.place / "new")
    assert there.states() == {"a": "queued"}
    assert [one.name for one in places.attempts(there.state).glob("1/*")] == ["5"]


@pytest.mark.slow
def test_a_job_whose_secret_is_gone_harms_no_other(tidegate: Tidegate) -> None:
    """Until now every command that read it, and the service, ended with an error."""
    tidegate("submit", "--name", "poor", "--env", "API_KEY=hush-hush", "--", "sh", "-c", 'test "$API_KEY" = anew')
    tidegate("submit", "--name", "other", "--after", "poor", "--", "true")
    tidegate("submit", "--name", "third", "--", "true")
    for path in places.secrets(tidegate.state).iterdir():
        path.unlink()
    assert tidegate.states() == dict.fromkeys(("poor", "other", "third"), "queued")
    serving = tidegate.start("serve")
    until(lambda: tidegate.states() == {"poor": "error", "other": "skipped", "third": "succeeded"})
    (shown,) = tidegate.lines("show", "poor")
    assert shown["reason"].endswith("tidegate retry 1, then edit 1 --env API_KEY=VALUE")
    serving.terminate()
    serving.wait()
    assert tidegate("retry", "poor", "other").returncode == 0
    assert tidegate("edit", "poor", "--env", "API_KEY=anew").returncode == 0
    tidegate.start("serve")
    until(lambda: tidegate.states()["poor"] == "succeeded")


KILLED = """
import os, signal, sys
place, point, number = sys.argv.pop(), sys.argv.pop(1), int(sys.argv.pop(1))
before, done = getattr(os, point), 0
def dies(*args, **more):
    global done
    done += str(args[0]).startswith(place)
    if done == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return before(*args, **more)
setattr(os, point, dies)
from tidegate import cli
sys.exit(cli.main(sys.argv[1:]))
"""


def killed(tidegate: Tidegate, point: str, number: int, *verb: str) -> int:
    """Run a verb, killed before its so manieth call of a function of `os` for something in the state directory."""
    script = [sys.executable, "-c", KILLED, point, str(number), *verb, str(tidegate.state)]
    return subprocess.run(script, cwd=tidegate.place, env=tidegate.environment()).returncode


@pytest.mark.slow
def test_a_restore_that_is_killed_leaves_the_old_database_and_is_done_by_the_next(tidegate: Tidegate) -> None:
    filled(tidegate)
    tidegate("backup", "b.tar.gz", "--with-output", "--with-secrets")
    tidegate("submit", "--name", "since", "--", "true")
    assert killed(tidegate, "replace", 1, "restore", "--force", "b.tar.gz") == -9
    assert "since" in tidegate.states()
    assert "secret_missing" not in {one.kind for one in audit(tidegate.state)}
    assert list(tidegate.state.glob(".restoring-*"))
    restored(tidegate, "--force")
    assert "since" not in tidegate.states()
    assert not list(tidegate.state.glob(".restoring-*"))


LINKLESS = """
import os
def link(*args, **more):
    raise PermissionError(1, "Operation not permitted", *args)
os.link = link
from tidegate.__main__ import main
main()
"""


@pytest.mark.slow
def test_where_no_file_can_have_two_names_everything_is_done_all_the_same(tidegate: Tidegate) -> None:
    """As on FAT."""
    filled(tidegate)
    tidegate.program = [sys.executable, "-c", LINKLESS]
    assert tidegate("backup", "b.tar.gz", "--with-secrets").returncode == 0
    assert "is there already" in said(tidegate("backup", "b.tar.gz"))
    assert sorted(one.name for one in tidegate.place.iterdir()) == ["b.tar.gz", "state"]
    assert restored(tidegate, "--into", "new")["jobs"] == 31
    assert tidegate("submit", "--name", "more", "--env", "A_TOKEN=secret-of-it", "--", "true").returncode == 0


def test_what_an_agent_cuts_off_its_output_meanwhile_is_zeros_in_a_backup(tmp_path: Path) -> None:
    path = tmp_path / "stdout.log"
    path.write_bytes(b"x" * 100_000)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w|") as archive, path.open("rb") as opened:
        info = tarfile.TarInfo("stdout.log")
        info.size = 100_000
        read = Hashed(opened)
        path.write_bytes(b"short")
        archive.addfile(info, read)
    made.seek(0)
    with tarfile.open(fileobj=made) as archive:
        back = archive.extractfile("stdout.log")
        assert back is not None
        data = back.read()
    assert data == b"short".ljust(100_000, b"\0")
    assert read.digest.hexdigest() == sha256(data).hexdigest()


@pytest.mark.slow
def test_whoever_reads_and_submits_during_a_restore_harms_nothing(tidegate: Tidegate) -> None:
    filled(tidegate)
    tidegate("backup", "b.tar.gz")
    busy = [tidegate.start("submit", "--name", f"n{n}", "--", "true") for n in range(6)]
    done = tidegate("restore", "--force", "b.tar.gz")
    assert done.returncode in (0, 2), done.stderr
    for process in busy:
        process.wait()
    wrong = {one.kind for one in audit(tidegate.state)} - {"exit", "mode"}
    assert wrong == set(), "the rest is what the fixture lacks"
    assert len(tidegate.states()) >= 30


def test_a_disk_that_takes_nothing_is_no_damage_and_keeps_the_old_database(tmp_path: Path) -> None:
    for name in ("old", "new"):
        made = Night(tmp_path / name)
        made.submit(name, job("a"))
        made.store.close()
    (tmp_path / "aside").mkdir()
    old, new = (places.database(tmp_path / name) for name in ("old", "new"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # a write beyond it fails, as on a full disk
    try:
        with pytest.raises(StoreBlocked, match=re.escape(str(old))):
            exchange(old, new, tmp_path / "aside")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store = sqlite.open(old)
    assert [batch.name for batch in store.batches()] == ["old"]
    store.close()
