"""Groups of a batch that wait for other groups."""

from __future__ import annotations

import pytest
from installed import Tidegate
from test_batch import AROUND, PIPE

from tidegate import batch
from tidegate.model import NewGroup, When

TIERS = """
[groups.T0]
command = ["x"]
[groups.T1]
command = ["x"]
needs = "free"
[groups.T5]
command = ["x"]
needs = ["T0", "T1"]
when = "any_succeeded"
[[job]]
group = "free"
command = ["x"]
"""


def test_a_group_waits_for_others_by_name() -> None:
    read = batch.from_toml(TIERS, AROUND)
    assert read.groups == (
        NewGroup(name="T1", needs=("free",)),
        NewGroup(name="T5", needs=("T0", "T1"), when=When.ANY_SUCCEEDED),
    )
    assert batch.from_toml('[groups.T0]\ncommand = ["x"]', AROUND).groups == ()


def test_several_ways_to_one_group_are_no_circle() -> None:
    text = "".join(f'[groups.{name}]\ncommand = ["x"]\n{needs}\n' for name, needs in {
        "a": "", "b": 'needs = ["a"]', "c": 'needs = ["a"]', "d": 'needs = ["b", "c", "a"]',
    }.items())  # fmt: skip
    assert [one.name for one in batch.from_toml(text, AROUND).groups] == ["b", "c", "d"]


def test_the_expanded_form_says_the_same_again() -> None:
    read = batch.from_toml(TIERS, AROUND)
    again = batch.from_jsonl(batch.head_as_jsonl(read) + batch.as_jsonl(read.jobs), PIPE)
    assert (again.groups, again.jobs) == (read.groups, read.jobs)


def test_a_part_in_the_expanded_form_names_groups_whose_jobs_are_elsewhere() -> None:
    read = batch.from_toml(TIERS, AROUND)
    part = [job for job in read.jobs if job.group == "T5"]
    assert batch.from_jsonl(batch.head_as_jsonl(read) + batch.as_jsonl(part), PIPE).groups == read.groups


@pytest.mark.slow
def test_plan_tells_what_waits_for_what_and_what_would_start(tidegate: Tidegate) -> None:
    told = tidegate("plan", tidegate.batch(TIERS + '[groups.T6]\nneeds = "T5"\nexpand = ["x"]\n'), "--summary").stdout
    assert "T5: 1 job: 1 of command, after groups T0 and T1 (any succeeded)" in told
    assert "T6: 1 job: 1 of command, after group T5 (all succeeded), and what it prints then" in told
    assert "1 job kept back: waits for groups T0 and T1 (2 of 2 jobs left)" in told
    assert "would start at once: at most 2; ready are 2 of command" in told
