"""The files of deploy/, as far as they can be judged without a service manager."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[1] / "deploy"
UNITS = ("tidegate.service", "tidegate@.service", "user/tidegate.service")
README = (DEPLOY / "README.md").read_text()
SAME = """
    Type NotifyAccess ExecReload KillMode TimeoutStartSec TimeoutStopSec WatchdogSec Restart RestartSec
    RestartPreventExitStatus OOMPolicy Delegate UMask StartLimitIntervalSec
"""  # what makes agents outlive the program, and end with the unit


def settings(unit: str) -> dict[str, list[str]]:
    said: dict[str, list[str]] = {}
    for line in (DEPLOY / unit).read_text().splitlines():
        if re.match(r"[A-Z]\w+=", line):
            name, _, value = line.partition("=")
            said.setdefault(name, []).append(value)
    return said


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_nothing_wrong_with_a_unit(unit: str, tmp_path: Path) -> None:
    copy = tmp_path / Path(unit).name.replace("@", "@someone")
    program = re.compile(r"(?<=^ExecStart=)\S+", re.MULTILINE)  # it need not be installed here
    copy.write_text(program.sub("/bin/true", (DEPLOY / unit).read_text()))
    whose = ["--user"] if unit.startswith("user/") else []
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *whose, str(copy)],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS)
def test_units_agree_on_what_lets_agents_outlive_the_program(unit: str) -> None:
    first, said = settings(UNITS[0]), settings(unit)
    assert {name: said.get(name) for name in SAME.split()} == {name: first.get(name) for name in SAME.split()}
    assert said["KillMode"] == ["process"]
    assert "PrivateTmp" not in said


def test_each_unit_lacks_what_would_end_agents_or_their_tools() -> None:
    for unit in UNITS:
        said = settings(unit)
        breakers = "MemoryDenyWriteExecute RestrictNamespaces ProcSubset ProtectControlGroups PrivateUsers RemoveIPC"
        assert not said.keys() & set(breakers.split()), unit


def test_no_unit_shows_a_token_to_everybody() -> None:
    for unit in UNITS:
        for value in settings(unit).get("Environment", []):
            assert not re.search(r"KEY|TOKEN|SECRET|PASSWORD", value), unit


def test_the_readme_speaks_of_every_file_and_only_of_files_that_are_there() -> None:
    named = {name.rstrip(".") for name in re.findall(r"deploy/([\w./@-]+)", README)} - {"README.md"}
    there = {str(path.relative_to(DEPLOY)) for path in DEPLOY.rglob("*") if path.is_file()} - {"README.md"}
    assert named <= there
    assert {name for name in there - named if not name.startswith("notify/")} == set()


def test_the_user_of_the_service_lives_where_the_unit_says() -> None:
    said = settings("tidegate.service")
    home = f"/var/lib/{said['StateDirectory'][0].split()[1]}"
    assert said["User"] == ["tidegate"]
    assert f'u tidegate - "tidegate" {home}\n' in (DEPLOY / "sysusers.d/tidegate.conf").read_text()
    assert f"HOME={home}" in (DEPLOY / "bin/tidegate").read_text()
    assert f"HOME={home.replace('/var/lib', '%S')} " in said["Environment"][0]


PERSONAL = ("root", "home", "work", "tmp")  # where somebody's own things lie


def test_no_file_names_a_place_of_somebodys_machine() -> None:
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            assert not re.search(rf"/({'|'.join(PERSONAL)})/\w", path.read_text()), path
