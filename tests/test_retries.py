"""How often a job is tried again after failures of each kind."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from tidegate import policy, retries
from tidegate.model import Cause, Failed, Job, Outcome, Spec, Stage, State, Succeeded, TimedOut
from tidegate.policy import Rules

NOW = datetime(2026, 1, 9, 18, 30, tzinfo=UTC)
NO, NOTHING, SLOW = Failed(reason="no"), Failed(reason="nothing", valid=False), TimedOut(after=60)
FLOOD = Failed(reason="flood", valid=False, cause=Cause.OUTPUT)


def job(**spec: object) -> Job:
    made = Spec(**spec)  # type: ignore[arg-type]
    return Job(
        id=1, batch=1, batch_name="b", name="a", account="x", spec=made, state=State.RUNNING, created_at=NOW
    )  # fmt: skip


def lived(one: Job, *outcomes: Outcome) -> Job:
    """A job after attempts that ended so."""
    for outcome in outcomes:
        assert one.state is State.RUNNING, "it is not tried again"
        one = policy.after(one, outcome, NOW, rules=Rules())
        one = policy.claimed(one) if one.state is State.QUEUED else one
    return one


@pytest.mark.parametrize(
    ("named", "outcome", "kind"),
    [
        ({}, NO, "failed"),
        ({}, NOTHING, "error"),
        ({}, SLOW, "timeout"),
        ({}, TimedOut(after=60, silent=True), "timeout"),
        ({}, FLOOD, "error"),
        ({"output": 1}, FLOOD, "output"),
        ({"output": 1}, NOTHING, "error"),
        ({"memory": 1}, policy.starved(None), "memory"),
    ],
)
def test_each_end_is_of_one_kind(named: dict[str, int], outcome: Outcome, kind: str) -> None:
    assert retries.kind_of(outcome, Spec(retries=named)) == kind


def test_a_kind_that_is_named_has_a_number_of_its_own() -> None:
    named = {"timeout": 1, "error": 3, "failed": 0}
    assert lived(job(retries=named), NO).state is State.FAILED
    assert lived(job(retries=named), SLOW, SLOW).state is State.FAILED
    assert lived(job(retries=named), SLOW, NOTHING, NOTHING, NOTHING).state is State.RUNNING
    ended = lived(job(retries=named), SLOW, NOTHING, NOTHING, NOTHING, NOTHING)
    assert (ended.state, ended.attempts, ended.charges) == (State.ERROR, 5, {"timeout": 1, "error": 4})


def test_all_other_kinds_together_have_max_attempts() -> None:
    one = job(retries={"error": 9}, max_attempts=2)
    assert lived(one, NOTHING, NOTHING, NO, NOTHING, SLOW).state is State.FAILED
    assert lived(one, NOTHING, NOTHING, NO, NOTHING, Succeeded("x")).state is State.SUCCEEDED


def test_without_names_nothing_is_counted_by_kind() -> None:
    assert lived(job(max_attempts=3), NO, NOTHING).charges == {}
    assert lived(job(max_attempts=2), NO, NOTHING).state is State.ERROR


def test_what_cannot_be_helped_is_not_tried_again() -> None:
    assert lived(job(retries={"error": 9}), replace(NOTHING, retry=False)).state is State.ERROR


def test_a_retry_counts_anew_and_so_does_a_check() -> None:
    ended = lived(job(retries={"failed": 0}), NO)
    assert policy.retried(ended).charges == {}
    one = job(retries={"failed": 1}, check=Stage(command=("true",), account="x"))
    assert lived(one, NO, Succeeded("x")).charges == {}
    assert lived(one, NO, Succeeded("x"), NOTHING, NOTHING).charges == {}
