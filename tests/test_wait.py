"""The verb `wait`: what it waits for, and how it ends."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from filled import RULES, Night, job
from installed import Tidegate, said, until
from msgspec.structs import replace

from tidegate.model import Failed, Hold, Origin, Outcome, State, Succeeded


def ended(made: Night, *outcomes: Outcome) -> None:
    for (_, attempt), outcome in zip(made.claim(len(outcomes)), outcomes, strict=True):
        made.store.finish(attempt, outcome, made.now, exit=0, rules=RULES)


@pytest.fixture
def made(tidegate: Tidegate) -> Night:
    made = Night(tidegate.state)
    made.submit("b", *[job(f"j{n}") for n in range(4)])
    made.enter()
    return made


BAD, WRONG = Failed(reason="no", retry=False), Failed(reason="no result", valid=False, retry=False)


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([Succeeded(), Succeeded()], 0),
        ([Succeeded(), BAD], 1),
        ([BAD, WRONG], 5),
        ([Succeeded(), WRONG], 5),
    ],
)
def test_the_exit_code_says_how_all_ended(tidegate: Tidegate, made: Night, outcomes: list[Outcome], code: int) -> None:
    ended(made, *outcomes)
    assert tidegate("wait", "1-2").returncode == code
    made.store.cancel(3, made.now, by="me")
    made.store.cancel(4, made.now, by="me")
    assert tidegate("wait", "b").returncode == max(code, 1), "a batch with cancelled jobs"
    done = tidegate("wait", "1-2", "b", "--json")
    told = json.loads(done.stdout)
    assert [one["number"] for one in told["jobs"]] == [1, 2]
    assert (told["code"], told["batches"]["b"]["cancelled"]) == (max(code, 1), 2)


def test_a_wait_goes_on_to_the_end_and_says_once_that_nobody_works(tidegate: Tidegate, made: Night) -> None:
    waiting = tidegate.start("wait", "j0", "j1")
    heard = tidegate.place / "started.0"
    until(lambda: "nobody works here: the wait goes on" in heard.read_text())
    ended(made, Succeeded())
    time.sleep(0.3)
    assert waiting.poll() is None
    ended(made, Succeeded())
    assert waiting.wait(20) == 0
    assert heard.read_text().count("nobody works here") == 1


def test_a_wait_ends_soon_after_the_end(tidegate: Tidegate, made: Night) -> None:
    waiting = tidegate.start("wait", "b")
    until(lambda: "nobody works" in (tidegate.place / "started.0").read_text())
    ended(made, *[Succeeded()] * 4)
    assert waiting.wait(20) == 0


@pytest.mark.parametrize("length", ["0", "0.2s"])
def test_a_wait_has_an_end_of_its_own(tidegate: Tidegate, made: Night, length: str) -> None:
    done = tidegate("wait", "1", "--timeout", length)
    assert done.returncode == 124
    assert done.stderr.endswith("tidegate: not all have ended in time\n")


def test_a_wait_ends_where_only_a_person_can_go_on(tidegate: Tidegate, made: Night) -> None:
    ended(made, Succeeded(), Succeeded())
    human = Hold(scope="command", origin=Origin.HUMAN, since=made.now, reason="not logged in", by="tidegate")
    made.store.hold(human, made.now)
    assert tidegate("wait", "b").returncode == 6
    assert tidegate("wait", "3").returncode == 6
    assert tidegate("wait", "1").returncode == 0


def test_a_large_batch_that_only_a_person_can_go_on_with_is_not_waited_for(tidegate: Tidegate, made: Night) -> None:
    made.submit("large", *[job(f"l{n}") for n in range(1100)])
    made.store.hold(
        Hold(scope="command", origin=Origin.HUMAN, since=made.now, reason="log in", by="tidegate"), made.now
    )
    assert tidegate("wait", "large", "--timeout", "20s").returncode == 6
    made.submit("large", *[job(f"l{n}") for n in range(1100)], job("last", "other"))
    assert tidegate("wait", "large", "--timeout", "0.2s").returncode == 124


def test_a_wait_goes_on_while_something_runs_beside_a_wait_for_a_person(tidegate: Tidegate, made: Night) -> None:
    made.claim(1)
    human = Hold(scope="command", origin=Origin.HUMAN, since=made.now, reason="not logged in", by="tidegate")
    made.store.hold(human, made.now)
    assert tidegate("wait", "b", "--timeout", "0.3").returncode == 124


def test_a_pause_is_no_reason_to_give_up(tidegate: Tidegate, made: Night) -> None:
    pause = Hold(scope="*", origin=Origin.OPERATOR, since=made.now, until=made.now + timedelta(hours=9), by="me")
    made.store.hold(pause, made.now)
    assert tidegate("wait", "b", "--timeout", "0.3").returncode == 124


def test_who_names_a_batch_where_jobs_are_meant_learns_how(tidegate: Tidegate, made: Night) -> None:
    done = tidegate("cancel", "b")
    assert (done.returncode, said(done)) == (2, "tidegate: no job b here; 'b:*' are those of the batch")
    assert tidegate("cancel", "b:*").returncode == 0
    assert made.store.counts()[State.CANCELLED] == 4


def test_what_cannot_be_waited_for_is_refused(tidegate: Tidegate, made: Night) -> None:
    done = tidegate("wait", "nope")
    assert (done.returncode, said(done)) == (2, "tidegate: no job or batch nope here")
    done = tidegate("wait", "b", "--timeout", "soon")
    assert (done.returncode, said(done)[:30]) == (2, "tidegate: --timeout: must be s")
    empty = tidegate("--state-dir", str(tidegate.place / "new"), "wait", "b")
    assert (empty.returncode, said(empty)[:26]) == (2, "tidegate: no job or batch ")


@pytest.mark.slow
def test_a_batch_under_way_is_waited_for_beside_a_service(tidegate: Tidegate) -> None:
    tidegate.start("serve")
    for n in range(3):
        until(lambda: (tidegate.state / "tidegate.db").exists())
        tidegate("submit", "--batch", "three", "--name", f"j{n}", "--", "sleep", "0.2")
    assert tidegate("wait", "three").returncode == 0
    assert Night(tidegate.state).store.counts()[State.SUCCEEDED] == 3


def test_a_spent_budget_that_no_time_lifts_is_not_waited_for_and_one_of_a_day_is(
    tidegate: Tidegate, made: Night
) -> None:
    spent = Hold(scope="batch:b", origin=Origin.BUDGET, since=made.now, reason="budget spent", by="tidegate")
    made.store.hold(spent, made.now)
    assert tidegate("wait", "b").returncode == 75
    made.store.hold(replace(spent, until=datetime.now(UTC) + timedelta(hours=9)), made.now)
    assert tidegate("wait", "b", "--timeout", "0.3").returncode == 124
