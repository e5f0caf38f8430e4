"""The verb init: what it writes works as it is, and nothing of a person's is lost."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from installed import Tidegate

from tidegate import examples
from tidegate.cli.arguments import TEMPLATES

TOP = Path(__file__).parents[1]
BATCHES = [name for name in TEMPLATES if name != "config"]


@pytest.mark.parametrize("name", BATCHES)
def test_each_batch_that_init_writes_can_be_planned_as_it_is(tidegate: Tidegate, name: str) -> None:
    made = tidegate("init", name)
    assert made.returncode == 0, made.stderr
    assert f"tidegate plan {name}.toml" in made.stdout
    planned = tidegate("plan", f"{name}.toml")
    assert (planned.returncode, planned.stderr) == (0, "")
    jobs = [json.loads(line) for line in planned.stdout.splitlines()]
    below = [job["cwd"] for job in jobs if str(job.get("cwd")).startswith(str(tidegate.place))]
    assert all(Path(cwd).is_dir() for cwd in below)


def test_the_configuration_that_init_writes_says_what_is_the_default(tidegate: Tidegate) -> None:
    assert tidegate("init", "config").returncode == 0
    before, after = tidegate.lines("config"), tidegate.lines("config", "--config", "config.toml")
    assert {key: row["value"] for key, row in before[0].items()} == {key: row["value"] for key, row in after[0].items()}
    assert {row["origin"] for row in after[0].values()} <= {"config.toml", "default"}
    assert (tidegate.place / "config.toml").read_bytes() == (TOP / "config.toml").read_bytes()


def test_init_without_a_template_writes_the_first_and_names_the_others(tidegate: Tidegate) -> None:
    told = tidegate("init").stdout
    assert (tidegate.place / f"{TEMPLATES[0]}.toml").exists()
    assert all(f"tidegate init {name}" in told for name in TEMPLATES[1:])


def test_init_overwrites_nothing_unless_it_is_told_to(tidegate: Tidegate) -> None:
    (tidegate.place / "tasks").mkdir()
    (tidegate.place / "tasks" / "slow.md").write_text("mine")
    done = tidegate("init", "compare")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tidegate: tasks/slow.md is there already")
    assert done.stderr.count("\n") == 1
    assert not (tidegate.place / "compare.toml").exists()
    assert not (tidegate.place / "runs").exists()
    assert tidegate("init", "compare", "--force").returncode == 0
    assert (tidegate.place / "tasks" / "slow.md").read_text() != "mine"


def test_init_makes_repositories_that_git_finds_nothing_wrong_with(tidegate: Tidegate) -> None:
    (tidegate.place / "repos" / "anchor").mkdir(parents=True)
    assert tidegate("init", "overnight").returncode == 0
    assert not list((tidegate.place / "repos" / "anchor").iterdir()), "a person's own is left alone"
    git = ["git", "-C", str(tidegate.place / "repos" / "buoy"), "-c", "safe.directory=*"]
    assert subprocess.run([*git, "fsck", "--strict"], check=True, capture_output=True, text=True).stdout == ""
    told = subprocess.run([*git, "status", "--short", "--branch"], check=True, capture_output=True, text=True).stdout
    assert told == "## main\n"


def test_init_replaces_a_link_and_leaves_what_it_leads_to(tidegate: Tidegate) -> None:
    target = tidegate.place / "elsewhere"
    target.write_text("mine")
    (tidegate.place / "night.toml").symlink_to(target)
    assert tidegate("init").returncode == 2
    assert tidegate("init", "--force").returncode == 0
    assert target.read_text() == "mine"


def test_init_tells_a_program_what_it_wrote(tidegate: Tidegate) -> None:
    (told,) = tidegate.lines("init", "compare")
    assert all(Path(one).exists() for one in told["wrote"])
    assert f"{tidegate.place}/tasks/slow.md" in told["wrote"]
    assert told["next"] == ["tidegate plan compare.toml", "tidegate run compare.toml", "tidegate report compare"]


def test_every_shipped_example_is_a_template() -> None:
    shipped = {path.stem for path in Path(examples.__file__).parent.glob("*.toml")}
    assert shipped == set(TEMPLATES)
