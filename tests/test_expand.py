"""Jobs that add others to their group: what they are told, and what they print."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from installed import Tidegate
from msgspec.structs import replace
from test_batch import AROUND, PIPE

from tidegate import batch
from tidegate.errors import BadInput
from tidegate.model import Spec

TIERS = """
[defaults]
env = { KEY = "k" }
[groups.T5]
expand = ["pick", "--best"]
agent = "claude"
prompt_file = "p.md"
timeout = "2m"
cwd = "work"
labels = { tier = "${{ group }}" }
max_attempts = 5
"""
PRINTED = replace(AROUND, place="its output", name="b", read_text=lambda path: f"read {path}")
WRONG = [
    ('{"id": "a"}\n{"id": ', "its output: line 2, column 8: not JSON: Expecting value"),
    ("hello", "its output: line 1, column 1: not JSON: Expecting value"),
    ('{"id": "a", "group": "T6"}', "its output: line 1 (\"a\") group: must be 'T5' or nothing, not 'T6'"),
    ('{"id": "a", "timeout": -1}', 'its output: line 1 ("a") timeout: must be more than 0 seconds, not -1'),
    ('{"id": "a"}\n{"id": "T5/a"}', 'its output: line 2 ("T5/a") id: is already that of line 1'),
    ('{"id": "a", "agent": "cloude"}', 'its output: line 1 ("a") agent: unknown agent "cloude"; did you mean claude?'),
]


def test_a_group_with_a_program_has_one_job_that_tells_the_defaults_of_the_others() -> None:
    (job,) = batch.from_toml(TIERS, AROUND).jobs
    assert (job.name, job.group, job.account) == ("T5/expand", "T5", "command")
    spec = Spec(command=("pick", "--best"), cwd="/batches/work", env={"KEY": "k"}, max_attempts=5)
    assert job.spec == replace(spec, labels={"tier": "T5"}, expand=job.spec.expand)
    assert json.loads(job.spec.expand) == {
        "agent": "claude",
        "cwd": "/batches/work",
        "labels": {"tier": "T5"},
        "max_attempts": 5,
        "prompt_file": "/batches/p.md",
        "timeout": 120.0,
    }


def test_a_directory_that_is_made_for_each_job_is_none_of_its_own() -> None:
    (job,) = batch.from_toml(TIERS.replace('cwd = "work"', 'cwd = { copy = "work" }'), AROUND).jobs
    assert (job.spec.cwd, job.spec.workspace) == ("/batches", None)
    assert json.loads(job.spec.expand)["cwd"] == {"copy": "/batches/work"}


def test_it_may_have_jobs_of_its_own_besides() -> None:
    read = batch.from_toml(TIERS + '[[groups.T5.job]]\nid = "a"\nprompt = "x"', AROUND)
    assert [(job.name, job.spec.agent) for job in read.jobs] == [("T5/expand", "command"), ("T5/a", "claude")]


def test_the_expanded_form_says_it_again() -> None:
    read = batch.from_toml(TIERS + 'check = { command = ["make", "test"] }', AROUND)
    assert json.loads(read.jobs[0].spec.expand)["check"]["command"] == ["make", "test"]
    assert batch.from_jsonl(batch.as_jsonl(read.jobs), PIPE).jobs == read.jobs


def test_what_is_printed_are_jobs_of_the_group_over_its_defaults() -> None:
    defaults = {"agent": "claude", "prompt": "do", "timeout": 60.0, "labels": {"tier": "5"}}
    text = '{"id": "a", "labels": {"x": "y"}}\n\n{"prompt": "other ${{ x }}", "group": "T5"}\n'
    read = batch.follow_ups(text, "T5", defaults, PRINTED)
    assert read is not None
    first, second = read.jobs
    assert (first.name, first.group, first.spec.prompt, first.spec.timeout) == ("T5/a", "T5", "do", 60.0)
    assert first.spec.labels == {"tier": "5", "x": "y"}
    assert second.name.startswith("T5/job-")
    assert second.spec.prompt == "other ${{ x }}"
    assert [one.name for one in read.accounts] == ["claude"]


def test_nothing_printed_is_no_job() -> None:
    assert batch.follow_ups("\n \n", "T5", {}, PRINTED) is None


@pytest.mark.parametrize(("text", "line"), WRONG)
def test_a_line_that_is_no_job_is_named(text: str, line: str) -> None:
    with pytest.raises(BadInput) as bad:
        batch.follow_ups(text, "T5", {"agent": "claude", "prompt": "do"}, PRINTED)
    assert str(bad.value) == line


# --- as it runs --------------------------------------------------------------------------------

PICK = """
import json, os, sys
said = json.load(sys.stdin)
said |= {"state": os.environ["TIDEGATE_STATE_DIR"], "of": os.environ["TIDEGATE_GROUP"]}
with open("told", "a") as told:
    told.write(json.dumps(said) + "\\n")
for one in said["jobs"]:
    if one["state"] == "succeeded":
        print(json.dumps({"id": one["id"][3:], "command": ["sh", "-c", "echo " + one["id"] + " >> ran"]}))
"""
FILE = f"""
[batch]
name = "b"
[groups.T0]
matrix = {{ one = ["a", "b"] }}
command = ["sh", "-c", "exit 0"]
labels = {{ one = "${{{{ one }}}}" }}
[groups.T5]
needs = ["T0"]
expand = ["{sys.executable}", "pick.py"]
labels = {{ tier = "5" }}
[groups.T6]
needs = ["T5"]
command = ["sh", "-c", "echo T6 >> ran"]
"""


def written(tidegate: Tidegate) -> str:
    (tidegate.place / "pick.py").write_text(PICK)
    return tidegate.batch(FILE)


def ran(tidegate: Tidegate) -> list[str]:
    return (tidegate.place / "ran").read_text().split()


@pytest.mark.slow
def test_a_group_is_made_of_what_came_before(tidegate: Tidegate) -> None:
    done = tidegate("run", written(tidegate))
    assert done.returncode == 0, done.stderr
    (told,) = map(json.loads, (tidegate.place / "told").read_text().splitlines())
    assert (told["batch"], told["group"], told["of"], told["needs"]) == ("b", "T5", "T5", ["T0"])
    assert told["state"] == str(tidegate.state)
    assert [(one["id"], one["state"], one["labels"]) for one in told["jobs"]] == [
        ("T0/a", "succeeded", {"one": "a"}),
        ("T0/b", "succeeded", {"one": "b"}),
    ]
    assert all((Path(one["directory"]) / "stdout.log").exists() for one in told["jobs"])
    assert (sorted(ran(tidegate)[:2]), ran(tidegate)[2:]) == (["T0/a", "T0/b"], ["T6"])
    assert {one["job"]: one["labels"] for one in tidegate.lines("list")}["T5/a"] == {"tier": "5"}
    again = tidegate("run", "batch.toml")
    assert (again.returncode, "not in the file" in again.stderr) == (0, False)
    assert tidegate("run", "batch.toml", "--rerun", "T5/a").returncode == 0
    assert sorted(ran(tidegate)) == ["T0/a", "T0/a", "T0/b", "T6"], "T6 stands: something of it has run"
    assert len((tidegate.place / "told").read_text().splitlines()) == 1
    assert tidegate("run", "batch.toml", "--rerun", "T5/expand").returncode == 0
    assert len((tidegate.place / "told").read_text().splitlines()) == 2


@pytest.mark.slow
def test_a_line_that_is_no_job_ends_it_in_one_line_and_nothing_is_added(tidegate: Tidegate) -> None:
    name = written(tidegate)
    (tidegate.place / "pick.py").write_text('print(\'{"id": "a", "command": ["true"]}\\nhello\')')
    assert tidegate("run", name).returncode == 5
    jobs = {one["job"]: one for one in tidegate.lines("list")}
    assert jobs.keys() == {"T0/a", "T0/b", "T5/expand", "T6"}
    assert (jobs["T5/expand"]["state"], jobs["T5/expand"]["attempts"]) == ("error", 1)
    assert jobs["T5/expand"]["reason"] == "its output: line 2, column 1: not JSON: Expecting value"
    assert jobs["T6"]["reason"] == "needs group T5, where T5/expand ended in an error"


@pytest.mark.slow
@pytest.mark.parametrize("point", ["submit:committed", "finish:before"])
def test_a_crash_between_its_jobs_and_its_own_end_repeats_exactly_the_same(tidegate: Tidegate, point: str) -> None:
    name, at = written(tidegate), {"submit:committed": "2", "finish:before": "3"}[point]
    program = Path(__file__).parent / "faults" / "program.py"
    fault = {"FAULT_POINT": point, "FAULT_AT": at, "FAULT_SIGNAL": "SIGKILL"}
    faulty = Tidegate(tidegate.place, env={**tidegate.env, **fault}, program=[sys.executable, str(program)])
    assert faulty("run", name).returncode == -9
    states = tidegate.states()
    assert states["T5/expand"] == "running"
    assert {"T5/a", "T5/b"} <= states.keys()
    assert tidegate("run", name).returncode == 0
    assert sorted(ran(tidegate)) == ["T0/a", "T0/b", "T6"]
    assert len((tidegate.place / "told").read_text().splitlines()) == 1
