"""The verb doctor: it finds what is wrong, says what to do, and goes on whatever it meets."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from filled import Night, job
from installed import OWN, Json, Tidegate, until

from tidegate import places, settings
from tidegate.doctor import place
from tidegate.doctor.ask import ask
from tidegate.errors import BadSetting
from tidegate.lock import owner

SLEEPS = """
[[job]]
id = "sleeps"
command = ["sleep", "60"]
"""


def findings(tidegate: Tidegate, *args: str, code: int = 0) -> dict[str, Json]:
    """What doctor finds, by check."""
    done = tidegate("doctor", "--json", *args)
    assert done.stderr == ""
    assert done.returncode == code, done.stdout
    return {one["check"]: one for one in map(json.loads, done.stdout.splitlines())}


def program(place: Path, name: str, script: str) -> Path:
    """An executable script in a directory of its own."""
    place.mkdir(exist_ok=True)
    path = place / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_in_an_empty_place_nothing_is_wrong_and_nothing_is_made(tidegate: Tidegate) -> None:
    found = findings(tidegate)
    assert "not there yet" in found["state directory"]["said"]
    assert found["database"]["verdict"] == "ok"
    assert not tidegate.state.exists()
    assert {one["verdict"] for one in found.values()} <= {"ok", "warning"}


def test_a_person_gets_one_line_for_each_check(tidegate: Tidegate) -> None:
    Night(tidegate.state).submit("b", job("a"))
    tidegate.env["COLUMNS"] = ""
    done = tidegate("doctor")
    assert done.returncode == 0
    assert all(line.split()[0] in ("ok", "warning", "wrong") for line in done.stdout.splitlines())
    assert "ok       database         whole" in done.stdout


def test_a_damaged_database_is_told_and_everything_else_is_looked_at(tidegate: Tidegate) -> None:
    made = Night(tidegate.state)
    made.submit("b", *[job(f"a{n}") for n in range(200)])
    made.store.close()  # now it is all in the one file
    path = places.database(tidegate.state)
    raw = bytearray(path.read_bytes())
    raw[8192 : len(raw) - 4096] = b"\xa5" * (len(raw) - 12288)
    path.write_bytes(raw)
    found = findings(tidegate, code=5)
    assert found["database"]["verdict"] == "wrong"
    assert "backup" in found["database"]["do"]
    assert found["zone data"]["verdict"] == "ok"


def test_a_file_that_is_no_database_is_told_and_left_as_it_is(tidegate: Tidegate) -> None:
    tidegate.state.mkdir(mode=0o700)
    path = places.database(tidegate.state)
    path.write_text("no database " * 1000)
    path.chmod(0o600)
    found = findings(tidegate, code=5)
    assert "NotADB" in found["database"]["said"]
    assert path.read_text() == "no database " * 1000
    assert list(tidegate.state.iterdir()) == [path]


def test_what_vanishes_while_it_is_looked_at_is_no_finding(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "attempts" / name).mkdir(parents=True)
        (tmp_path / "attempts" / name / "stdout.log").touch()
    seen = place.inside(tmp_path)
    next(seen)
    (tmp_path / "attempts" / "b" / "stdout.log").unlink()
    (tmp_path / "attempts" / "b").rmdir()
    assert {path.parent.name for path, _ in seen if path.name == "stdout.log"} == {"a", "c"}


def test_a_state_directory_that_others_may_enter_is_wrong_and_so_are_its_files(tidegate: Tidegate) -> None:
    Night(tidegate.state).submit("b", job("a"))
    tidegate.state.chmod(0o755)
    places.database(tidegate.state).chmod(0o644)
    found = findings(tidegate, code=5)
    assert found["state directory"]["do"] == f"chmod 700 {tidegate.state}"
    assert "tidegate.db is open to others" in found["permissions"]["said"]
    for one in found.values():
        if one["verdict"] == "wrong":
            subprocess.run(one["do"], shell=True, check=True)
    assert findings(tidegate)["permissions"]["verdict"] == "ok"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_state_directory_that_cannot_be_made_is_wrong(tidegate: Tidegate) -> None:
    tidegate.env["TIDEGATE_STATE_DIR"] = "/proc/tidegate"
    assert "cannot be made" in findings(tidegate, code=5)["state directory"]["said"]


def test_a_file_in_the_place_of_the_state_directory_is_wrong(tidegate: Tidegate) -> None:
    tidegate.state.touch()
    assert "is no directory" in findings(tidegate, code=5)["state directory"]["said"]


def test_each_problem_of_a_configuration_is_one_line(tidegate: Tidegate) -> None:
    (tidegate.place / "bad.toml").write_text('[supervisor]\nslots = 0\ngrave = 1\n[log]\nlevel = "loud"\n')
    tidegate.env |= {"TIDEGATE_CONFIG": "bad.toml", "TIDEGATE_RETRY__FIRST": "-1", "TIDEGATE_SLOTS": "8"}
    done = tidegate("doctor", "--json")
    told = [one for one in map(json.loads, done.stdout.splitlines()) if one["check"] in ("configuration", "variables")]
    assert [one["verdict"] for one in told] == ["wrong"] * 4 + ["warning"]
    assert [one["said"].split(":")[0] for one in told[:4]] == ["TIDEGATE_RETRY__FIRST", *["bad.toml"] * 3]
    assert "did you mean TIDEGATE_SUPERVISOR__SLOTS" in told[4]["said"]
    assert done.returncode == 5


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[agents.x]\nstart = []\n", "[agents.x] start"),
        ("[agents.x]\nstart = ['{what}']\n[agents.y]\n", "[agents.x] start"),
        ("nonsense", "bad.toml"),
    ],
)
def test_what_doctor_finds_wrong_is_what_others_refuse_to_start_with(
    tidegate: Tidegate, text: str, problem: str
) -> None:
    (tidegate.place / "bad.toml").write_text(text)
    path = str(tidegate.place / "bad.toml")
    with pytest.raises(BadSetting) as refused:
        settings.load(path, {})
    problems = settings.problems(path, {})
    assert problems[0] == str(refused.value)
    assert problem in problems[0]


def test_a_configuration_that_is_not_there_is_wrong_only_where_it_was_named(tmp_path: Path) -> None:
    assert settings.problems(str(tmp_path / "none"), {}) == (f"{tmp_path}/none: no such file",)
    assert settings.problems(None, {"HOME": str(tmp_path)}) == ()


def test_agents_are_told_with_their_versions_and_a_missing_one_that_is_needed_is_wrong(tidegate: Tidegate) -> None:
    here = tidegate.place / "bin"
    program(here, "claude", 'echo "9.8.7 (Claude Code)"')
    program(here, "codex", "echo broken >&2; exit 3")
    (tidegate.place / "c.toml").write_text('[accounts.max]\nagent = "claude"\n[accounts.gemini]\nconcurrency = 1\n')
    tidegate.env |= {"PATH": f"{here}:/usr/bin:/bin", "TIDEGATE_CONFIG": "c.toml"}
    found = findings(tidegate, code=5)
    assert found["agent claude"]["said"] == f"9.8.7 (Claude Code) ({here}/claude)"
    assert found["agent codex"]["verdict"] == "warning"
    assert "ends with 3: broken" in found["agent codex"]["said"]
    assert found["agent gemini"]["verdict"] == "wrong"


def test_a_credential_that_others_may_read_is_wrong_and_its_value_is_never_told(tidegate: Tidegate) -> None:
    token = "sk-ant-oat01-" + "a1" * 20
    (tidegate.place / "c.toml").write_text('[accounts.max]\nagent = "claude"\ncredential = "max"\n')
    tidegate.env["TIDEGATE_CONFIG"] = "c.toml"
    assert "no such file" in findings(tidegate, code=5)["credentials"]["said"]
    (tidegate.place / "credentials").mkdir(mode=0o700)
    path = tidegate.place / "credentials" / "max"
    path.write_text(token)
    path.chmod(0o644)
    told = tidegate("doctor")
    assert "chmod 600" in told.stdout
    assert token not in told.stdout + told.stderr
    path.chmod(0o600)
    assert findings(tidegate, code=5)["credentials"]["verdict"] == "ok"  # claude itself is not there


def test_a_program_that_never_answers_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    mute = program(tmp_path / "bin", "mute", f"sleep 333 & echo $! > {pids}; echo $$ >> {pids}; wait")
    answers = ask([(str(mute),), ("/no/such",), ("echo", "hello")], {"PATH": "/usr/bin:/bin"}, seconds=1)
    assert (answers[0].exit, answers[0].refused) == (None, "")
    assert "no such program" in answers[1].refused
    assert answers[2].stdout == "hello\n"
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids.read_text().split())


def test_who_works_here_is_told(tidegate: Tidegate) -> None:
    tidegate.program = OWN  # its command line is looked at
    running = tidegate.start("run", tidegate.batch(SLEEPS))
    until(lambda: owner(places.lock(tidegate.state)) == running.pid)
    said = findings(tidegate)["supervisor"]["said"]
    assert f"pid {running.pid} works here" in said
    assert "batch.toml" in said


def test_what_others_wrote_cannot_forge_a_line(tidegate: Tidegate) -> None:
    program(tidegate.place / "bin", "claude", r'printf "1\033[31m\007wrong  all\n"')
    tidegate.env |= {"PATH": f"{tidegate.place}/bin:/usr/bin:/bin", "TIDEGATE_X\nwrong": "1\n2"}
    for args in ([], ["--json"]):
        told = tidegate("doctor", *args).stdout
        assert all(one == "\n" or one.isprintable() for one in told)
        assert not any(line.startswith("wrong") for line in told.splitlines())
