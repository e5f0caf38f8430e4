"""The runs of a job: what cut it off, whether it went on, and whether its result is that of a run on its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest
from stores.reconciling import audited, reconcile
from stores.world import START, Claim, World, said

from tidegate import policy, runs
from tidegate.agents.reading.stream import StreamJson
from tidegate.model import (
    Attempt,
    Batch,
    Ending,
    Exit,
    Failed,
    Interrupted,
    Job,
    Limit,
    Limited,
    Lost,
    NewJob,
    Outcome,
    Result,
    Seen,
    Spec,
    State,
    TimedOut,
)
from tidegate.stores import Store
from tidegate.stores.memory import MemoryStore
from tidegate.stores.sqlite import SqliteStore


@pytest.fixture(params=["sqlite", "memory"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    store: Store = MemoryStore() if request.param == "memory" else SqliteStore(_place(request) / "tidegate.db")
    made = World(store)
    made.enter()
    yield made
    reconcile(store)
    audited(store)
    store.close()


def _place(request: pytest.FixtureRequest) -> Path:
    """A directory, only where it is needed."""
    made: Path = request.getfixturevalue("tmp_path")
    return made


def attempt(n: int, outcome: str, **more: object) -> Attempt:
    facts: dict[str, object] = {"job": 1, "n": n, "supervisor": "me", "epoch": n, "started_at": START}
    return Attempt(outcome=outcome, **{**facts, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "cut"),
    [
        (attempt(1, "interrupted"), True),
        (attempt(1, "lost"), True),
        (attempt(1, "limited", progressed=True, session="s"), True),
        (attempt(1, "limited", session="s"), False),
        (attempt(1, "limited"), True),
        (attempt(1, "failed"), False),
        (attempt(1, "unclaimed"), False),
        (attempt(1, "interrupted", stage="check"), False),
    ],
)
def test_what_cuts_an_attempt_off(one: Attempt, cut: bool) -> None:
    assert runs.was_cut_off(one) is cut


def test_a_result_is_interrupted_where_its_own_run_was() -> None:
    assert runs.is_uninterrupted([])
    cut = attempt(1, "interrupted", session="s")
    assert not runs.is_uninterrupted([cut, attempt(2, "succeeded", resumes=True)])
    anew = [cut, attempt(2, "unclaimed"), attempt(3, "succeeded"), attempt(4, "limited", stage="check")]
    assert runs.is_uninterrupted(anew)
    assert runs.cut_off(anew) == 1
    assert [one.n for one in runs.last([attempt(1, "limited", resumes=True), attempt(2, "failed", resumes=True)])] == [
        1,
        2,
    ]


def take(world: World) -> Claim:
    claim = world.take()
    world.store.note_session(claim[1], f"s-{claim[1].n}" if claim[0].session is None else claim[0].session, world.now)
    return claim


def cut(world: World, outcome: Outcome) -> Job:
    claim = take(world)
    world.progress(claim)
    return world.finish(claim, outcome, exit=None)


@pytest.mark.parametrize("outcome", [Limited(said()), Interrupted(reason="drained"), Lost("killed")], ids=type)
@pytest.mark.parametrize("most", [None, 0, 1, 2])
def test_an_agent_that_is_cut_off_goes_on_so_often_and_then_begins_anew(
    world: World, outcome: Outcome, most: int | None
) -> None:
    spec = Spec(agent="claude", prompt="do it", max_interruptions=most)
    world.store.submit(Batch("b"), [NewJob(name="a", account="claude", spec=spec)], world.now)
    sessions = [cut(world, outcome).session for _ in range(2)]
    assert (
        sessions
        == {
            None: ["s-1", "s-1"],
            0: [None, None],
            1: ["s-1", None],
            2: ["s-1", "s-1"],
        }[most]
    )
    job = world.finish(take(world))
    assert job.state is State.SUCCEEDED
    every = world.store.attempts(job.id)
    assert (runs.cut_off(every), len(every)) == (2, 3)
    assert runs.is_uninterrupted(every) is (most in (0, 1))


def test_a_trial_that_was_refused_before_it_began_begins_anew_where_no_interruption_is_allowed(world: World) -> None:
    spec = Spec(agent="claude", prompt="do it", max_interruptions=0)
    world.store.submit(Batch("b"), [NewJob(name="a", account="claude", spec=spec)], world.now)
    assert world.finish(take(world), Limited(said()), exit=1).session is None


def job(*counts: str, stage: str = "") -> Job:
    spec = Spec(agent="claude", prompt="do it", valid_outcomes=counts)
    return Job(id=1, batch=1, batch_name="b", name="a", account="claude", spec=spec, stage=stage, created_at=START)


REFUSED, FULL = (Result(ok=False, text="no", ending=ending) for ending in (Ending.REFUSAL, Ending.CONTEXT))


@pytest.mark.parametrize(
    ("outcome", "counts", "reason"),
    [
        (TimedOut(after=5), "timeout", "timeout: no end after 5 s"),
        (policy.stopped(REFUSED), "refusal", "refusal: no"),
        (policy.stopped(FULL), "context_too_long", "context too long: no"),
        (policy.stopped(Result(ok=False, ending=Ending.REFUSAL)), "refusal", "refusal"),
    ],
)
def test_an_outcome_that_counts_ends_the_job_at_once_and_any_other_is_tried_again(
    outcome: Outcome, counts: str, reason: str
) -> None:
    ended = policy.after(job(counts), outcome, START, rules=policy.Rules())
    assert (ended.state, ended.reason, ended.attempts) == (State.FAILED, reason, 1)
    for other in (job(), job(*{"timeout", "refusal", "context_too_long"} - {counts})):
        assert policy.after(other, outcome, START, rules=policy.Rules()).state is State.QUEUED
    assert policy.after(job(counts), Failed(reason="exit 1"), START, rules=policy.Rules()).state is State.QUEUED


@pytest.mark.parametrize("code", [0, 1])
def test_what_a_model_did_not_go_on_for_outweighs_talk_of_a_limit(code: int) -> None:
    seen = Seen(proof=True, result=REFUSED, unsure=said(sure=False))
    assert policy.verdict(seen, Exit(code)) == Failed(reason="refusal: no", ending=Ending.REFUSAL)
    sure = Seen(proof=True, result=REFUSED, sure=said())
    assert policy.verdict(sure, Exit(code)) == Limited(said())


@pytest.mark.parametrize(
    ("said", "ending"),
    [
        ('"stop_reason":"refusal"', Ending.REFUSAL),
        ('"stop_reason":"model_context_window_exceeded"', Ending.CONTEXT),
        ('"is_error":true,"terminal_reason":"prompt_too_long"', Ending.CONTEXT),
        ('"is_error":true,"terminal_reason":"blocking_limit"', Ending.CONTEXT),
        ('"stop_reason":"end_turn","terminal_reason":"completed"', Ending.NONE),
    ],
)
def test_claude_says_in_fields_of_its_result_why_the_model_went_no_further(said: str, ending: Ending) -> None:
    line = f'{{"type":"result","subtype":"success","is_error":false,{said},"result":"stop_reason: refusal"}}'
    told = list(StreamJson(UTC).read(line.encode(), START) or ())
    (result,) = [one for one in told if isinstance(one, Result)]
    assert (result.ending, result.ok) == (ending, not ending)
    assert not [one for one in told if isinstance(one, Limit)]
