"""`backup` and `restore`: one file, beside whoever works; what comes back is whole, and nothing of it runs twice."""

from __future__ import annotations

import gzip
import io
import json
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from filled import Night, job, night
from installed import Tidegate, said, until

from tidegate import places
from tidegate.backup import unpack
from tidegate.errors import BadInput


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
    assert {one.name for one in tidegate.state.iterdir()} >= {"tidegate.db", "attempts", "secrets"}
    assert not list(tidegate.state.glob(".backup-*"))


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
        packed(("tidegate-backup", b"1\n"), ("manifest.json", b"{}")): "its manifest is damaged",
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
