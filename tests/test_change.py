"""The verbs that change several jobs at once: how jobs are named, and what becomes of each."""

from __future__ import annotations

import os
import re

import pytest
from filled import RULES, Night, job
from installed import Tidegate, said, until

from tidegate import doorbell
from tidegate.model import Failed, Outcome, Succeeded


@pytest.fixture
def made(tidegate: Tidegate) -> Night:
    """Five jobs of one batch (1-5: train/0 .. train/4), two of another (6: 3, 7: a[b])."""
    made = Night(tidegate.state)
    made.submit("nightly", *[job(f"train/{n}") for n in range(5)])
    made.submit("other", job("3"), job("a[b]"))
    made.enter()
    return made


def numbers(tidegate: Tidegate, *named: str) -> list[int]:
    return [one["number"] for one in tidegate.lines("list", *named)]


# --- how jobs are named ---


@pytest.mark.parametrize(
    ("named", "found"),
    [
        (["2"], [2]),
        (["#2"], [2]),
        (["2-4"], [2, 3, 4]),
        (["#2-#3"], [2, 3]),
        (["4-4", "2", "2-2"], [2, 4]),
        (["6-999999999999999999"], [6, 7]),
        (["train/1"], [2]),
        (["train/*"], [1, 2, 3, 4, 5]),
        (["nightly:*"], [1, 2, 3, 4, 5]),
        (["other:*"], [6, 7]),
        (["*"], [1, 2, 3, 4, 5, 6, 7]),
        (["train/[13]"], [2, 4]),
        (["train/?"], [1, 2, 3, 4, 5]),
        (["a[b]"], [7]),
        (["other:3"], [6]),
        (["#3"], [3]),
    ],
)
def test_jobs_are_named_by_numbers_ranges_names_and_patterns(
    tidegate: Tidegate, made: Night, named: list[str], found: list[int]
) -> None:
    assert numbers(tidegate, *named) == found


@pytest.mark.parametrize(
    ("named", "line"),
    [
        ("3", "tidegate: job 3 means several: nightly:train/2, other:3"),
        ("99", "tidegate: no job 99 here"),
        ("8-20", "tidegate: no job 8-20 here"),
        ("4-2", "tidegate: 4-2: a range begins with the smaller number"),
        ("nope*", "tidegate: no job 'nope*' here"),
        ("[", "tidegate: no job '[' here"),
        ("9" * 900, "tidegate: no job 999"),
        ("../../etc/passwd", "tidegate: no job ../../etc/passwd here"),
        ("x\n\x1b[2Jtidegate: all is well", "tidegate: no job 'x\\ntidegate: all is well' here"),
    ],
)
@pytest.mark.parametrize("verb", ["cancel", "retry", "show", "list", "wait"])
def test_what_is_unknown_is_told_and_the_others_are_done(
    tidegate: Tidegate, made: Night, verb: str, named: str, line: str
) -> None:
    if verb == "wait":
        made.store.cancel(2, made.now, by="me")
    done = tidegate(verb, named, "2")
    assert done.returncode == 2
    told = done.stderr.splitlines()
    assert told[0].startswith(line.replace("no job", "no job or batch", 1) if verb == "wait" else line)
    assert len(told) == 1
    assert ("train/1" in done.stdout) == (verb != "wait")


def test_a_name_that_comes_with_a_newline_forges_no_line(tidegate: Tidegate) -> None:
    made = Night(tidegate.state)
    made.submit("b\nb", job("evil\n#9 b: cancelled\x1b[2J"))
    for verb in (["cancel", "1"], ["retry", "1"], ["priority", "1", "5"], ["list"], ["show", "1"]):
        lines = tidegate(*verb).stdout.split("\n")
        assert all(line.isprintable() for line in lines), verb
        assert not any(line.startswith("#9") for line in lines)


# --- cancel ---


def test_a_cancel_ends_what_is_queued_and_asks_for_the_end_of_what_runs(tidegate: Tidegate, made: Night) -> None:
    ((running, _),) = made.claim(1)
    bell = doorbell.listen(tidegate.state)
    done = tidegate("cancel", "train/*")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == (
        f"#{running.id} nightly:train/0: is running, its end is asked for; nobody works here who could end it"
    )
    assert lines[1:] == [f"#{n} nightly:train/{n - 1}: cancelled" for n in (2, 3, 4, 5)]
    assert doorbell.answer(bell)
    os.close(bell)
    assert [one.target for one in made.store.requests()] == [1]
    again = tidegate("cancel", "train/*")
    assert (again.returncode, again.stdout.splitlines()[1]) == (0, "#2 nightly:train/1: has ended already, cancelled")
    assert len(made.store.requests()) == 1
    assert re.search(r"train/0 .*, its end is asked for", tidegate("status").stdout)
    (told, *_) = tidegate.lines("cancel", "2")
    assert (told["number"], told["state"], told["was"]) == (2, "cancelled", "cancelled")


def test_a_running_job_is_ended_by_its_supervisor(tidegate: Tidegate) -> None:
    tidegate.start("serve")
    until(lambda: doorbell.ring(tidegate.state))
    tidegate("submit", "--", "sleep", "600")
    until(lambda: tidegate.states() == {"1": "running"})
    assert tidegate("cancel", "1").stdout == "#1 cli:1: is running, its end is asked for\n"
    assert tidegate("wait", "1").returncode == 1
    assert tidegate.states() == {"1": "cancelled"}


# --- retry ---


def test_a_retry_queues_again_what_ended_badly(tidegate: Tidegate, made: Night) -> None:
    ends: list[Outcome] = [Failed(reason="no", retry=False), Succeeded()]
    for (_, attempt), end in zip(made.claim(2), ends, strict=True):
        made.store.finish(attempt, end, made.now, exit=1, rules=RULES)
    made.store.cancel(3, made.now, by="me")
    lines = tidegate("retry", "1-4").stdout.splitlines()
    assert lines == [
        "#1 nightly:train/0: queued again",
        "#2 nightly:train/1: has succeeded; --again runs it once more",
        "#3 nightly:train/2: queued again",
        "#4 nightly:train/3: is queued already",
    ]
    assert tidegate("retry", "2", "--again").stdout == "#2 nightly:train/1: queued again\n"
    assert set(tidegate.states().values()) == {"queued"}
    assert tidegate.lines("show", "1")[0]["attempts"] == 0


@pytest.mark.parametrize(("more", "session"), [((), "s-1"), (("--clean",), None)])
def test_a_clean_retry_begins_without_the_session(
    tidegate: Tidegate, made: Night, more: tuple[str, ...], session: str | None
) -> None:
    ((_, attempt),) = made.claim(1)
    made.store.finish(attempt, Failed(reason="no", retry=False), made.now, exit=1, session="s-1", rules=RULES)
    tidegate("retry", "1", *more)
    assert (tidegate.states()["train/0"], tidegate.lines("show", "1")[0]["session"]) == ("queued", session)


# --- priority ---


def test_a_priority_moves_queued_jobs_alone(tidegate: Tidegate, made: Night) -> None:
    made.claim(1)
    done = tidegate("priority", "1-3", "-7")
    assert done.stdout.splitlines() == [
        "#1 nightly:train/0: is running, its priority stays 0",
        "#2 nightly:train/1: priority -7",
        "#3 nightly:train/2: priority -7",
    ]
    assert tidegate.lines("priority", "#3", "8")[0]["priority"] == 8
    assert [one.id for one, _ in made.claim(1)] == [3]


@pytest.mark.parametrize("number", ["x", "1.5", "9" * 500, "", "٣"])
def test_a_priority_that_is_no_number_is_refused(tidegate: Tidegate, made: Night, number: str) -> None:
    done = tidegate("priority", "1", number)
    assert done.returncode == 2
    assert said(done).startswith("tidegate: N: must be a whole number from -1000000 to 1000000, not ")


@pytest.mark.parametrize("verb", [["cancel", "a"], ["retry", "a"], ["priority", "a", "1"], ["edit", "a", "x"]])
def test_a_place_without_a_store_stays_empty(tidegate: Tidegate, verb: list[str]) -> None:
    done = tidegate(*verb)
    assert done.returncode == 2
    assert said(done).startswith("tidegate: no job a: nothing has been submitted to ")
    assert not tidegate.state.exists()
