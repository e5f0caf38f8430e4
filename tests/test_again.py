"""A part of a batch: handed in alone, retried, run anew; and what `plan` says of it before."""

from __future__ import annotations

import json
from argparse import Namespace

import pytest
from installed import Tidegate
from test_batch import AROUND

from tidegate import again
from tidegate.batch import from_toml
from tidegate.errors import BadInput

BATCH = """
[batch]
name = "n"
[defaults]
max_attempts = 1
[groups.T0]
matrix = {{ s = ["a", "b"] }}
command = ["sh", "-c", "echo ${{{{ s }}}} >> T0; {zero}"]
[groups.T1]
matrix = {{ s = ["a", "b"] }}
command = ["sh", "-c", "echo ${{{{ s }}}} >> T1; {one}"]
"""


def batch(tidegate: Tidegate, zero: str = "true", one: str = "true", more: str = "") -> str:
    return tidegate.batch(BATCH.format(zero=zero, one=one) + more)


def ran(tidegate: Tidegate, group: str) -> list[str]:
    path = tidegate.place / group
    return sorted(path.read_text().split()) if path.exists() else []


def test_only_a_group_or_what_a_pattern_fits_is_handed_in(tidegate: Tidegate) -> None:
    done = tidegate("run", batch(tidegate), "--only", "T1")
    assert done.returncode == 0, done.stderr
    assert tidegate.states() == {"T1/a": "succeeded", "T1/b": "succeeded"}
    assert "jobs selected" in done.stderr
    assert "not in the file" not in done.stderr


@pytest.mark.slow
def test_what_was_handed_in_before_stays_in_the_batch(tidegate: Tidegate) -> None:
    for only in ("T1", "*/a"):
        assert tidegate("run", batch(tidegate), "--only", only).returncode == 0
    assert (ran(tidegate, "T0"), ran(tidegate, "T1")) == (["a"], ["a", "b"])
    assert {job["group"] for job in tidegate.lines("list")} == {"T0", "T1"}


@pytest.mark.slow
def test_what_is_queued_besides_a_selection_is_not_started(tidegate: Tidegate) -> None:
    name = batch(tidegate, more='[groups.T2]\nneeds = ["T0"]\ncommand = ["true"]\n')
    assert tidegate("submit", "--batch", "n", "--group", "T0", "--name", "T0/x", "--", "true").returncode == 0
    done = tidegate("run", name, "--only", "T[!0]/b", "--only", "T2")
    assert (done.returncode, ran(tidegate, "T1"), ran(tidegate, "T0")) == (1, ["b"], []), done.stderr
    assert "1 wait: waits for group T0 (1 of 1 job left)" in done.stdout
    assert tidegate.states() == {"T0/x": "queued", "T1/b": "succeeded", "T2": "queued"}
    assert tidegate("run", name).returncode == 0


@pytest.mark.slow
def test_those_that_ended_badly_run_again_and_the_others_do_not(tidegate: Tidegate) -> None:
    assert tidegate("run", batch(tidegate, zero="[ -e good ]")).returncode == 1
    (tidegate.place / "good").touch()
    assert tidegate("run", batch(tidegate, zero="[ -e good ]")).returncode == 1, "ended jobs stay ended"
    done = tidegate("run", batch(tidegate, zero="[ -e good ]"), "--retry", "failed,error")
    assert done.returncode == 0, done.stderr
    assert (ran(tidegate, "T0"), ran(tidegate, "T1")) == (["a", "a", "b", "b"], ["a", "b"])
    assert "jobs retried" in done.stderr


@pytest.mark.slow
def test_a_group_is_run_anew_with_the_definition_that_the_file_has_now(tidegate: Tidegate) -> None:
    assert tidegate("run", batch(tidegate)).returncode == 0
    done = tidegate("run", batch(tidegate, one="echo new >> T1"), "--rerun", "T1/*", "--update")
    assert done.returncode == 0, done.stderr
    assert (ran(tidegate, "T0"), ran(tidegate, "T1")) == (["a", "b"], ["a", "a", "b", "b", "new", "new"])
    assert [event["data"]["clean"] for event in tidegate.events("job retried")] == [True, True]


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("--only", "T3"), "tidegate: --only: no group and no job is 'T3'; groups are T0, T1"),
        (("--rerun", "T2/*"), "tidegate: --rerun: no group and no job is 'T2/*'; groups are T0, T1"),
        (("--only", "T1", "--rerun", "T0"), "tidegate: --rerun: no group and no job is 'T0'; groups are T1"),
        (
            ("--retry", "fialed"),
            "tidegate: --retry: must be failed or error or cancelled or skipped, not 'fialed'; did you mean failed?",
        ),
    ],
)
def test_what_names_nothing_is_one_line(args: tuple[str, ...], line: str) -> None:
    given = Namespace(only=[], retry=[], rerun=[])
    for flag, value in zip(args[::2], args[1::2], strict=True):
        setattr(given, flag.removeprefix("--"), [value])
    with pytest.raises(BadInput) as bad:
        again.asked(from_toml(BATCH.format(zero="true", one="true"), AROUND), given)
    assert f"tidegate: {bad.value}" == line


def summary(tidegate: Tidegate, file: str, *args: str) -> dict[str, object]:
    done = tidegate("plan", file, "--summary", "--json", *args)
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told


@pytest.mark.slow
def test_plan_says_what_a_run_then_does(tidegate: Tidegate) -> None:
    file = batch(tidegate, more='env = { TOKEN = "sk-ant-api03-secret" }\n')
    first = summary(tidegate, file)
    assert (first["batch"], first["jobs"], first["now"]) == ("n", 4, 4)
    assert (len(first["new"]), first["unchanged"]) == (4, 0)  # type: ignore[arg-type]
    assert not tidegate.state.exists(), "a plan writes nothing"
    assert tidegate("run", file).returncode == 0
    later = summary(tidegate, file)
    assert (later["new"], later["unchanged"], later["states"], later["now"]) == ([], 4, {"succeeded": 4}, 0)

    edited = tidegate.batch(
        (tidegate.place / file)
        .read_text()
        .replace(
            '["a", "b"] }\ncommand = ["sh", "-c", "echo ${{ s }} >> T1',
            '["b", "c"] }\ncommand = ["sh", "-c", "echo ${{ s }} >>T1',
        )
    )
    told = summary(tidegate, edited)
    assert (told["new"], told["changed"], told["absent"], told["now"]) == (["T1/c"], ["T1/b"], ["T1/a"], 1)
    assert summary(tidegate, edited, "--only", "T0")["new"] == []
    done = tidegate("run", edited)
    assert "definitions changed" in done.stderr
    assert ran(tidegate, "T1") == ["a", "b", "c"]


@pytest.mark.slow
def test_the_summary_names_groups_accounts_and_what_keeps_jobs_back(tidegate: Tidegate) -> None:
    file = batch(tidegate, more="[accounts.command]\nconcurrency = 1\n")
    assert "would start at once: at most 1; ready are 4 of command" in tidegate("plan", file, "--summary").stdout
    assert tidegate("pause", "command").returncode == 0
    lines = tidegate("plan", file, "--summary").stdout.splitlines()
    assert lines[:3] == ["n: 4 jobs", "  T0: 2 jobs: 2 of command", "  T1: 2 jobs: 2 of command"]
    assert lines[3] == "  against what is there: 4 new, 0 known"
    assert lines[4].startswith("  4 jobs kept back: command is paused by ")
    assert lines[5] == "  would start at once: at most 0"
