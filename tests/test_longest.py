"""The longest jobs of a batch first."""

from __future__ import annotations

from test_batch import AROUND, PIPE

from tidegate import batch
from tidegate.batch.longest import longest_first
from tidegate.model import NewJob, Spec

FILE = """
[batch]
order = "longest_first"
[groups.g]
command = ["x"]
expect = "${{ m }}m"
matrix = { m = [2, 30, 7] }
[[job]]
id = "last"
command = ["x"]
"""


def jobs(**said: float | None) -> list[NewJob]:
    """Jobs with what each is expected to take; those of a group are named after it."""
    return [NewJob(name=name, account="a", spec=Spec(), group=name[:-1], expect=said[name]) for name in said]


def names(found: list[NewJob]) -> list[str]:
    return [job.name for job in found]


def test_what_takes_longest_goes_first_and_what_nobody_knows_last() -> None:
    read = batch.from_toml(FILE, AROUND)
    assert [(job.name, job.expect) for job in read.jobs] == [
        ("g/30", 1800.0), ("g/7", 420.0), ("g/2", 120.0), ("last", None)
    ]  # fmt: skip
    again = batch.from_jsonl(batch.head_as_jsonl(read) + batch.as_jsonl(read.jobs), PIPE)
    assert (again.jobs, again.order) == (read.jobs, "longest_first")
    assert batch.from_toml(FILE.replace("longest_first", "fifo"), AROUND).jobs[0].name == "last"


def test_what_was_said_outweighs_what_is_known_and_that_the_mean_of_the_group() -> None:
    made = jobs(a1=None, a2=10, b1=None, b2=None, b3=None, c1=None)
    assert names(longest_first(made, {"a2": 99, "b1": 60, "b2": 20, "c1": 30})) == ["b1", "b3", "c1", "b2", "a1", "a2"]
    assert names(longest_first(made[:1] + made[2:], {})) == ["a1", "b1", "b2", "b3", "c1"]


def test_jobs_without_a_group_have_no_mean() -> None:
    assert names(longest_first(jobs(y=None, x=5), {})) == ["x", "y"]
