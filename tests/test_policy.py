"""The decisions, as tables: one row for each case."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tidegate import policy
from tidegate.hours import parse
from tidegate.model import (
    CHECK,
    Cancelled,
    Cause,
    Ending,
    Exit,
    Failed,
    Hold,
    Interrupted,
    Job,
    Kind,
    Limit,
    Limited,
    Lost,
    NewJob,
    Origin,
    Outcome,
    Progress,
    Result,
    Seen,
    SessionGone,
    SessionSeen,
    Shortage,
    Sighting,
    Spec,
    State,
    Succeeded,
    TimedOut,
    Usage,
    Warned,
    Window,
    Work,
)
from tidegate.policy import Rules

NOW = datetime(2026, 1, 9, 18, 30, tzinfo=UTC)
RULES = Rules()
RUNNING = Job(
    id=7,
    batch=1,
    batch_name="b",
    name="j",
    account="claude",
    spec=Spec(prompt="p"),
    state=State.RUNNING,
    launches=1,
    session="s",
    created_at=NOW,
)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def limit(resets_at: datetime | None = None, kind: Kind = Kind.USAGE_LIMIT, **more: object) -> Limit:
    facts: dict[str, object] = {"window": Window.FIVE_HOURS, "evidence": "no more", "exact": resets_at is not None}
    return Limit(kind=kind, resets_at=resets_at, **{**facts, **more})  # type: ignore[arg-type]


def hold(until: datetime | None = None, **more: object) -> Hold:
    facts: dict[str, object] = {"origin": Origin.LIMIT, "window": Window.FIVE_HOURS, "since": NOW, "resets_at": until}
    return Hold(scope="claude", until=until, **{**facts, **more})  # type: ignore[arg-type]


# --- after: one row for each outcome ---

UNCHARGED = {"attempts": 0, "state": State.QUEUED, "resumed": True, "session": "s", "not_before": None}
ENDED = {"ended_at": NOW, "resumed": False, "limited_in_a_row": 0, "limited_since": None}
AGAIN = {"resumed": False, "session": None, "limited_in_a_row": 0, "limited_since": None}
CHARGED = {"attempts": 1, "state": State.QUEUED, **AGAIN}
AFTER: list[tuple[str, Outcome, dict[str, object]]] = [
    ("succeeded", Succeeded("text"), {**ENDED, "state": State.SUCCEEDED, "attempts": 0, "reason": ""}),
    ("failed", Failed(reason="exit 1"), {**CHARGED, "reason": "exit 1", "not_before": at(2.5)}),
    ("no result", Failed(reason="none", valid=False), {**CHARGED, "reason": "none", "not_before": at(2.5)}),
    (
        "not launched",
        Failed(reason="no", valid=False, retry=False),
        {**ENDED, "state": State.ERROR, "attempts": 1, "reason": "no"},
    ),
    (
        "said no for good",
        Failed(reason="no", retry=False),
        {**ENDED, "state": State.FAILED, "attempts": 1, "reason": "no"},
    ),
    ("timed out", TimedOut(after=60), {**CHARGED, "reason": "no end after 60 s", "not_before": at(2.5)}),
    ("silent", TimedOut(after=90, silent=True), {**CHARGED, "reason": "no output for 90 s"}),
    ("limited", Limited(limit()), {**UNCHARGED, "reason": "no more", "limited_in_a_row": 3, "limited_since": at(-9)}),
    ("interrupted", Interrupted(reason="drained"), {**UNCHARGED, "reason": "drained", "limited_in_a_row": 2}),
    ("session gone", Interrupted(reason="gone", session_gone=True), {**UNCHARGED, "session": None}),
    ("lost", Lost("killed"), {**UNCHARGED, "reason": "killed", "lost": 1}),
    ("cancelled", Cancelled("ann"), {**ENDED, "state": State.CANCELLED, "attempts": 0, "reason": "ann"}),
]


@pytest.mark.parametrize(("outcome", "expected"), [row[1:] for row in AFTER], ids=[row[0] for row in AFTER])
def test_after_each_outcome_the_job_is_as_the_table_says(outcome: Outcome, expected: dict[str, object]) -> None:
    job = replace(RUNNING, limited_in_a_row=2, limited_since=at(-9), resumed=True)
    after = policy.after(job, outcome, NOW, rules=RULES)
    assert {name: getattr(after, name) for name in expected} == expected
    assert after.launches == job.launches
    assert after.spec is job.spec


def test_the_first_limit_in_a_row_is_remembered() -> None:
    after = policy.after(RUNNING, Limited(limit()), NOW, rules=RULES)
    assert (after.limited_in_a_row, after.limited_since) == (1, NOW)


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Failed(reason="no"), State.FAILED),
        (Failed(reason="no", valid=False), State.ERROR),
        (TimedOut(after=1), State.FAILED),
        (Limited(limit()), State.QUEUED),
        (Interrupted(reason="drained"), State.QUEUED),
        (Lost("killed"), State.QUEUED),
    ],
)
def test_when_the_attempts_are_spent_only_a_charged_end_is_final(outcome: Outcome, state: State) -> None:
    assert policy.after(replace(RUNNING, attempts=2), outcome, NOW, rules=RULES).state is state
    assert policy.after(replace(RUNNING, attempts=1), outcome, NOW, rules=RULES).state is State.QUEUED


def test_a_job_that_is_lost_too_often_is_an_error() -> None:
    after = policy.after(replace(RUNNING, lost=2), Lost("killed"), NOW, rules=RULES)
    assert (after.state, after.reason, after.attempts) == (State.ERROR, "lost 3 times: killed", 0)
    assert after.ended_at == NOW


SESSIONS = [
    (Limited(limit()), "resume", "restart", "s"),
    (Limited(limit()), "restart", "resume", None),
    (Interrupted(reason="drained"), "restart", "resume", None),
    (Lost("killed"), "restart", "resume", None),
    (Failed(reason="no"), "resume", "restart", None),
    (Failed(reason="no"), "restart", "resume", "s"),
    (TimedOut(after=1), "restart", "resume", "s"),
]


@pytest.mark.parametrize(("outcome", "on_cutoff", "on_failure", "session"), SESSIONS)
def test_a_session_is_kept_as_the_spec_says(
    outcome: Outcome, on_cutoff: str, on_failure: str, session: str | None
) -> None:
    job = replace(RUNNING, spec=Spec(on_cutoff=on_cutoff, on_failure=on_failure))
    assert policy.after(job, outcome, NOW, rules=RULES).session == session


def test_retries_wait_longer_and_longer_with_full_jitter() -> None:
    def wait(attempts: int, jitter: float) -> float:
        job = replace(RUNNING, attempts=attempts, spec=Spec(max_attempts=99))
        after = policy.after(job, Failed(reason="no"), NOW, rules=RULES, jitter=jitter)
        assert after.not_before is not None
        return (after.not_before - NOW).total_seconds()

    assert [wait(attempts, 1.0) for attempts in range(9)] == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    assert wait(3, 0.0) == 0


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        ({}, True),
        ({"session": "s"}, False),
        ({"resumed": True}, False),
        ({"resumed": True, "on_cutoff": "restart"}, True),
        ({"attempts": 1}, True),
        ({"attempts": 1, "on_failure": "resume"}, False),
        ({"on_failure": "resume"}, True),
        ({"stage": CHECK}, False),
        ({"work": Work(attempt=1, account="claude", fed=1, feedback=2), "on_cutoff": "restart"}, False),
        ({"resumed": True, "max_interruptions": 0}, True),
    ],
)
def test_a_job_begins_anew_unless_it_goes_on_with_what_was_cut_off(change: dict[str, object], anew: bool) -> None:
    said = {key: change[key] for key in change if key.startswith(("on_", "max_"))}
    changed: dict[str, Any] = {key: change[key] for key in change if key not in said}
    spec = replace(RUNNING.spec, **said)
    assert policy.begins_anew(replace(RUNNING, **{"attempts": 0, "session": None, "spec": spec, **changed})) is anew


def test_a_claim_counts_a_launch_and_giving_it_back_does_not_charge() -> None:
    queued = replace(RUNNING, state=State.QUEUED, not_before=at(-1), launches=4)
    claimed = policy.claimed(queued)
    assert (claimed.state, claimed.launches, claimed.not_before) == (State.RUNNING, 5, None)
    released = policy.released(claimed, "the gate shut")
    assert (released.state, released.launches, released.attempts) == (State.QUEUED, 5, 0)
    assert (released.resumed, released.reason) == (True, "the gate shut")


# --- the transitions that somebody asks for ---

QUEUED = replace(
    RUNNING, state=State.QUEUED, not_before=at(60), attempts=2, lost=1, limited_in_a_row=3, limited_since=NOW
)


@pytest.mark.parametrize("stage", ["", "check", "publish"])
@pytest.mark.parametrize("state", State)
def test_only_a_queued_job_that_is_to_be_published_is_said_to_be(state: State, stage: str) -> None:
    job = replace(QUEUED, state=state, stage=stage)
    published = policy.published(job, NOW)
    if (state, stage) != (State.QUEUED, "publish"):
        assert published is job
        return
    assert (published.state, published.reason, published.ended_at) == (State.SUCCEEDED, "", NOW)


@pytest.mark.parametrize("state", State)
def test_only_a_queued_job_is_cancelled_or_skipped(state: State) -> None:
    job, dead = replace(QUEUED, state=state), replace(RUNNING, name="d", state=State.FAILED)
    cancelled, skipped = policy.cancelled(job, "ann", NOW), policy.skipped(job, dead, NOW)
    left_out = policy.left_out(job, "needs group T0, where no job succeeded", NOW)
    if state is not State.QUEUED:
        assert cancelled is skipped is left_out is job
        return
    assert (left_out.state, left_out.reason) == (State.SKIPPED, "needs group T0, where no job succeeded")
    assert (cancelled.state, cancelled.reason) == (State.CANCELLED, "cancelled by ann")
    assert (skipped.state, skipped.reason) == (State.SKIPPED, "needs d, which failed")
    for ended in (cancelled, skipped, left_out):
        assert (ended.ended_at, ended.not_before, ended.limited_in_a_row) == (NOW, None, 0)
        assert (ended.session, ended.attempts, ended.lost) == ("s", 2, 1), "a retry may want to know"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State.FAILED, "needs j, which failed"),
        (State.ERROR, "needs j, which ended in an error"),
        (State.CANCELLED, "needs j, which was cancelled"),
        (State.SKIPPED, "needs j, which was skipped"),
    ],
)
def test_a_skipped_job_says_what_became_of_what_it_needs(state: State, words: str) -> None:
    assert policy.skipped(QUEUED, replace(RUNNING, state=state), NOW).reason == words


@pytest.mark.parametrize("state", State)
def test_only_what_has_ended_is_retried_and_with_all_of_its_attempts(state: State) -> None:
    job = replace(QUEUED, state=state, ended_at=NOW, reason="exit 1", resumed=True, unmet=1)
    again = policy.retried(job)
    if not state.is_final:
        assert again is job
        return
    assert (again.state, again.attempts, again.lost, again.limited_in_a_row) == (State.QUEUED, 0, 0, 0)
    assert (again.not_before, again.ended_at, again.limited_since, again.reason) == (None, None, None, "")
    assert (again.session, again.launches, again.resumed, again.unmet) == ("s", 1, False, 1)


def test_an_edit_keeps_the_session_of_the_same_agent() -> None:
    new = NewJob(name="x", account="a", model="opus", priority=3, group="g", spec=Spec(prompt="q"))
    job = policy.edited(replace(QUEUED, resumed=True), new)
    assert job.resumed
    assert (job.name, job.session, job.not_before) == ("j", "s", at(60))
    assert (job.account, job.model, job.priority, job.group, job.spec) == ("a", "opus", 3, "g", new.spec)
    other = policy.edited(replace(QUEUED, resumed=True), replace(new, spec=Spec(agent="codex", prompt="q")))
    assert (other.session, other.resumed) == (None, False)


def test_a_scope_is_held_outside_its_hours_and_not_inside() -> None:
    hours = parse("20:00-07:00 UTC", UTC)
    hold = policy.outside("acct", hours, NOW)
    assert hold == Hold(
        scope="acct",
        origin=Origin.HOURS,
        since=NOW,
        until=at(90 * 60),
        reason="outside its hours (20:00-07:00 UTC)",
        by="tidegate",
    )
    assert policy.outside("acct", hours, at(90 * 60)) is None


STUCK = [(State.QUEUED, 8, True, True), (State.QUEUED, 7, True, False), (State.QUEUED, 8, False, False)]


@pytest.mark.parametrize(("state", "times", "others", "stuck"), [*STUCK, (State.FAILED, 8, True, False)])
def test_a_job_is_stuck_that_is_limited_often_while_others_go_on(
    state: State, times: int, others: bool, stuck: bool
) -> None:
    job = replace(RUNNING, state=state, limited_in_a_row=times)
    assert policy.stuck(job, others_progressed=others, rules=RULES) is stuck


def test_a_stuck_job_waits_for_a_person_with_the_evidence() -> None:
    assert policy.stuck_hold(replace(RUNNING, limited_in_a_row=8, reason="no more"), NOW) == Hold(
        scope="job:7",
        origin=Origin.HUMAN,
        since=NOW,
        reason="limited 8 times in a row while others of claude go on",
        evidence="no more",
        by="tidegate",
    )


BLANK = Failed(reason="exit 1")


@pytest.mark.parametrize(
    ("outcome", "cautious", "answered", "lasted", "blank"),
    [
        (BLANK, True, False, 9.9, True),
        (BLANK, True, False, RULES.blank_seconds, False),
        (BLANK, True, True, 1, False),
        (BLANK, False, False, 1, False),
        (replace(BLANK, own=True), True, False, 1, False),
        (Succeeded(), True, False, 1, False),
        (TimedOut(after=1), True, False, 1, False),
    ],
)
def test_only_a_quick_failure_without_an_answer_looks_like_a_limit_in_unknown_words(
    outcome: Outcome, cautious: bool, answered: bool, lasted: float, blank: bool
) -> None:
    assert policy.is_blank(outcome, cautious=cautious, answered=answered, lasted=lasted, rules=RULES) is blank


def test_too_many_blank_attempts_in_a_row_stop_the_account_for_a_person() -> None:
    assert policy.brake("claude", RULES.blank_most - 1, "boom", NOW, rules=RULES) is None
    assert policy.brake("claude", RULES.blank_most, "boom", NOW, rules=RULES) == Hold(
        scope="claude",
        origin=Origin.HUMAN,
        since=NOW,
        reason="3 attempts in a row failed within seconds without an answer",
        evidence="boom",
        by="tidegate",
    )


# --- from sightings to an outcome ---

NO = Result(ok=False, text="it said no")
YES = Result(ok=True, text="done")
VERDICTS: list[tuple[str, Seen, int | None, Outcome]] = [
    ("proven", Seen(proof=True, result=YES), 0, Succeeded("done")),
    ("proven, with a limit on the way", Seen(result=YES, sure=limit()), 0, Succeeded("done")),
    ("an empty result", Seen(result=Result(ok=True, text=" \n")), 0, Failed(reason="the result is empty", valid=False)),
    ("a sure limit", Seen(sure=limit()), 1, Limited(limit())),
    ("a sure limit and exit 0", Seen(proof=True, sure=limit()), 0, Limited(limit())),
    ("a sure limit and a bad result", Seen(sure=limit(), result=NO), 0, Limited(limit())),
    ("an unsure limit that failed", Seen(unsure=limit(sure=False)), 1, Limited(limit(sure=False))),
    ("an unsure limit, exit 0", Seen(unsure=limit(sure=False)), 0, Succeeded()),
    ("an unsure limit, exit 0, to be proven", Seen(proof=True, unsure=limit(sure=False)), 0,
     Limited(limit(sure=False))),
    ("a retried limit, exit 0, to be proven", Seen(proof=True, unsure=limit(final=False)), 0,
     Limited(limit(final=False))),
    ("an unsure limit and an empty result", Seen(unsure=limit(final=False), result=Result(ok=True, text=" ")), 0,
     Limited(limit(final=False))),
    ("a sure limit and an empty result", Seen(sure=limit(), result=Result(ok=True)), 0, Limited(limit())),
    ("an unsure limit and a result, exit 0", Seen(proof=True, unsure=limit(sure=False), result=YES), 0,
     Succeeded("done")),
    ("a retried limit, then an end without words", Seen(unsure=limit(final=False)), 1, Limited(limit(final=False))),
    ("a retried limit, then its own no", Seen(unsure=limit(final=False), result=NO), 1,
     Failed(reason="exit 1: it said no")),
    ("the session is gone", Seen(session_gone=SessionGone("gone")), 1, Interrupted(reason="gone", session_gone=True)),
    ("its model went no further", Seen(result=Result(ok=False, text="no", ending=Ending.CONTEXT)), 0,
     Failed(reason="context too long: no", ending=Ending.CONTEXT)),
    ("its model refused without a word", Seen(result=Result(ok=False, ending=Ending.REFUSAL)), 1,
     Failed(reason="refusal", ending=Ending.REFUSAL)),
    ("a limit outweighs a gone session", Seen(session_gone=SessionGone("gone"), sure=limit()), 1, Limited(limit())),
    ("exit 0, no proof asked for", Seen(), 0, Succeeded()),
    ("exit 0, proof asked for", Seen(proof=True), 0, Failed(reason="exit 0, but no result", valid=False)),
    ("exit 0, but the agent said no", Seen(result=NO), 0, Failed(reason="exit 0: it said no")),
    ("exit 3", Seen(), 3, Failed(reason="exit 3")),
    ("exit 3 with words", Seen(last_words="boom"), 3, Failed(reason="exit 3: boom")),
    ("its disk is full", Seen(last_words="[Errno 28] No space left on device"), 1,
     Failed(reason="exit 1: [Errno 28] No space left on device", valid=False, own=True, cause=Cause.DISK)),
    ("a good result that tells of a full disk, but a bad exit", Seen(result=Result(ok=True, text="ENOSPC")), 1,
     Failed(reason="exit 1: ENOSPC")),
    ("its disk is full, by its result", Seen(proof=True, result=Result(ok=False, text="ENOSPC: write")), 1,
     Failed(reason="exit 1: ENOSPC: write", valid=False, own=True, cause=Cause.DISK)),
    ("a limit, and its disk is full", Seen(unsure=limit(sure=False), last_words="ENOSPC"), 1,
     Limited(limit(sure=False))),
    ("killed", Seen(), 137, Failed(reason="killed by SIGKILL (exit 137)")),
    ("no such signal", Seen(), 255, Failed(reason="exit 255")),
    ("a good result, but a bad exit", Seen(result=YES), 1, Failed(reason="exit 1: done")),
    ("the status is unknown", Seen(result=YES), None, Lost("the exit status is unknown: its shim was killed")),
]  # fmt: skip


@pytest.mark.parametrize(("seen", "code", "expected"), [row[1:] for row in VERDICTS], ids=[row[0] for row in VERDICTS])
def test_the_verdict_follows_the_evidence(seen: Seen, code: int | None, expected: Outcome) -> None:
    assert policy.verdict(seen, Exit(code)) == expected


KILLED = Shortage(killed=True, memory=6 * 10**9)
STARVED = Failed(reason="out of memory at 6 GB", valid=False, own=True, cause=Cause.MEMORY)


@pytest.mark.parametrize(
    ("seen", "code", "short", "expected"),
    [
        (Seen(), 137, KILLED, STARVED),
        (Seen(), 137, Shortage(killed=True), replace(STARVED, reason="killed by the kernel for want of memory")),
        (Seen(sure=limit()), 137, KILLED, Limited(limit())),  # whatever came after it
        (Seen(unsure=limit(sure=False)), 137, KILLED, STARVED),  # it was only spoken of
        (Seen(result=YES, proof=True), 0, KILLED, Succeeded("done")),
        (Seen(), 1, Shortage(pids=20), Failed(reason="exit 1 (it met its bound of 20 processes and threads)")),
        (Seen(), 0, Shortage(pids=20), Succeeded()),
        (Seen(), None, KILLED, Lost("the exit status is unknown: its shim was killed")),
    ],
)
def test_what_ran_short_explains_a_failure_and_nothing_else(
    seen: Seen, code: int | None, short: Shortage, expected: Outcome
) -> None:
    assert policy.verdict(seen, Exit(code), short) == expected


def test_what_tidegate_or_the_kernel_ended_is_charged_and_ends_as_an_error_that_blames_no_account() -> None:
    for outcome in (policy.flooded(10**9), STARVED):
        job = policy.after(RUNNING, outcome, NOW, rules=RULES)
        assert (job.state, job.attempts, job.reason) == (State.QUEUED, 1, outcome.reason)
        last = policy.after(replace(RUNNING, attempts=2), outcome, NOW, rules=RULES)
        assert last.state is State.ERROR
        assert not policy.is_blank(outcome, cautious=True, answered=False, lasted=1, rules=RULES)
    assert policy.flooded(10**9) == replace(STARVED, reason="printed more than 1 GB", cause=Cause.OUTPUT)


SIGHTINGS: list[tuple[str, Sighting, dict[str, object]]] = [
    ("session", SessionSeen("s"), {"session": "s"}),
    ("gone", SessionGone("gone"), {"session_gone": SessionGone("gone")}),
    ("progress", Progress(), {"progress": True}),
    ("usage", Usage(input_tokens=1), {"usage": Usage(input_tokens=1)}),
    ("result", YES, {"result": YES}),
    ("warned", Warned(window=Window.WEEK, used=0.9, at=NOW), {}),
    ("a sure limit", limit(), {"sure": limit()}),
    ("an unsure limit", limit(sure=False), {"unsure": limit(sure=False)}),
    ("a limit that it retries", limit(final=False), {"unsure": limit(final=False)}),
]


@pytest.mark.parametrize(("sighting", "change"), [row[1:] for row in SIGHTINGS], ids=[row[0] for row in SIGHTINGS])
def test_each_sighting_adds_what_it_tells(sighting: Sighting, change: dict[str, object]) -> None:
    seen = policy.see(Seen(proof=True), sighting)
    assert seen == replace(Seen(proof=True), **change)
    assert policy.see(seen, sighting) == seen
    if not isinstance(sighting, Usage | Result | SessionGone):
        assert policy.see(seen, sighting) is seen, "what is told again tells nothing"


BETTER = [
    ("the first", None, limit(), True),
    ("a reset", limit(), limit(at(60)), True),
    ("no reset after one", limit(at(60)), limit(), False),
    ("an exact one after a printed one", limit(at(90), exact=False), limit(at(60)), True),
    ("a printed one after an exact one", limit(at(60)), limit(at(90), exact=False), False),
    ("a later one", limit(at(60)), limit(at(90)), True),
    ("an earlier one", limit(at(90)), limit(at(60)), False),
    ("the same again", limit(at(60)), limit(at(60)), False),
    ("another kind", limit(at(60)), limit(kind=Kind.AUTH), True),
]


@pytest.mark.parametrize(("old", "new", "better"), [row[1:] for row in BETTER], ids=[row[0] for row in BETTER])
def test_a_limit_replaces_one_that_tells_less(old: Limit | None, new: Limit, better: bool) -> None:
    assert policy.improves(old, new) is better
    assert policy.see(Seen(sure=old), new).sure == (new if better else old)
    before, told = (one and replace(one, sure=False) for one in (old, new))
    assert told is not None
    assert policy.see(Seen(unsure=before), told).unsure == (told if better else before)


def test_the_last_word_of_an_agent_outweighs_what_it_said_while_it_retried() -> None:
    retried, last = limit(at(60), sure=False, final=False), limit(sure=False)
    assert policy.see(Seen(unsure=retried), last).unsure == last
    assert policy.see(Seen(unsure=last), retried).unsure == retried


def test_last_words_are_kept_for_a_plain_failure() -> None:
    seen = policy.heard(Seen(), "boom")
    assert seen == Seen(last_words="boom")
    assert policy.heard(seen, "boom") is seen


def test_a_session_is_gone_only_where_one_was_resumed() -> None:
    seen = Seen(session_gone=SessionGone("gone"), last_words="gone")
    assert policy.heard(seen, "gone", resumed=True) is seen
    assert policy.heard(seen, "gone") is seen
    assert policy.heard(seen, "gone", resumed=False) == Seen(last_words="gone")
    assert policy.heard(seen, "bye", resumed=True) == replace(seen, last_words="bye")


ASKED = Interrupted(reason="drained")
JUDGED: list[tuple[Outcome, Outcome | None, bool, Outcome]] = [
    (Failed(reason="exit 1"), None, True, Failed(reason="exit 1")),
    (Failed(reason="exit 143"), ASKED, True, ASKED),
    (Limited(limit()), ASKED, True, Limited(limit())),
    (Limited(limit()), Cancelled(), False, Limited(limit())),
    (Succeeded("done"), ASKED, True, Succeeded("done")),
    (Succeeded(), ASKED, False, ASKED),
    (Lost("unknown"), TimedOut(after=5), True, TimedOut(after=5)),
]


@pytest.mark.parametrize(("verdict", "asked", "proof", "expected"), JUDGED)
def test_a_limit_and_a_proven_success_outweigh_what_was_asked_for(
    verdict: Outcome, asked: Outcome | None, proof: bool, expected: Outcome
) -> None:
    assert policy.judged(verdict, asked, proof=proof) == expected


# --- from a limit to a hold ---

ACTIONS = {
    Kind.USAGE_LIMIT: "hold",
    Kind.RATE_LIMIT: "backoff",
    Kind.OVERLOADED: "backoff",
    Kind.CREDIT: "needs_human",
    Kind.AUTH: "needs_human",
    Kind.NONE: "none",
}


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_asks_for_one_action(kind: Kind) -> None:
    assert policy.action(limit(kind=kind)) == ACTIONS[kind]
    window = Window.MINUTE if ACTIONS[kind] == "backoff" else Window.FIVE_HOURS
    assert policy.window_of(limit(kind=kind)) is window


@pytest.mark.parametrize(
    ("seen", "burst"),
    [
        (limit(kind=Kind.RATE_LIMIT), True),
        (limit(at(1), kind=Kind.RATE_LIMIT), False),
        (limit(NOW, kind=Kind.RATE_LIMIT), True),
        (limit(kind=Kind.OVERLOADED), False),
        (limit(), False),
    ],
)
def test_only_a_rate_limit_that_names_no_time_ahead_is_a_burst(seen: Limit, burst: bool) -> None:
    assert policy.is_burst(seen, NOW) is burst


@pytest.mark.parametrize(
    ("seen", "waits"),
    [
        (limit(final=False), True),
        (limit(), False),
        (limit(sure=False, final=False), False),
        (limit(kind=Kind.RATE_LIMIT, final=False), False),
    ],
)
def test_only_a_sure_usage_limit_that_the_agent_sits_out_is_waited_inside(seen: Limit, waits: bool) -> None:
    assert policy.waits_inside(seen) is waits


SCOPES = [
    (None, None, "claude"),
    (None, "opus", "claude"),
    ("opus", "claude-opus-4", "claude/opus"),
    ("claude-sonnet-5", "opus", "claude/sonnet"),
    ("opus", None, "claude/default"),
    ("odd", "odd", "claude/odd"),
]


@pytest.mark.parametrize(("limited", "model", "scope"), SCOPES)
def test_a_limit_binds_the_account_or_one_of_its_models(limited: str | None, model: str | None, scope: str) -> None:
    assert policy.scope_of(limit(model=limited), "claude", model) == scope


RAMP = hold(at(-60), ramp=True, allow=1, misses=1)
UNTIL = [
    ("exact", limit(at(3600)), None, 3600 + 3 + 1),
    ("printed", limit(at(3600), exact=False), None, 3600 + 60 + 1),
    ("unknown", limit(), None, 300),
    ("unknown, once more by the canary", limit(), RAMP, 1200),
    ("unknown, told twice by neighbours", limit(), hold(at(300), misses=0), 300),
    ("a moment ahead", limit(at(5)), None, 5 + 3 + 1),
    ("just now", limit(NOW), None, 15),
    ("just now, once more by the canary", limit(NOW), RAMP, 60),
    ("just past, exact", limit(at(-1)), None, 15),
    ("just past, printed", limit(at(-1), exact=False), None, 60),
    ("just past, once more by the canary", limit(at(-1)), RAMP, 60),
    ("a rate limit", limit(kind=Kind.RATE_LIMIT), None, 11.25),
    ("a rate limit, once more by the canary", limit(kind=Kind.RATE_LIMIT), RAMP, 45),
    ("a rate limit that names its end", limit(at(100), kind=Kind.OVERLOADED), None, 100),
]


@pytest.mark.parametrize(("told", "prior", "seconds"), [row[1:] for row in UNTIL], ids=[row[0] for row in UNTIL])
def test_a_hold_ends_when_the_limit_does_and_a_margin_later(told: Limit, prior: Hold | None, seconds: float) -> None:
    made = policy.hold_for(told, "claude", NOW, rules=RULES, prior=prior)
    assert made is not None
    assert made.until == at(seconds)
    assert replace(made, misses=0) == Hold(
        scope="claude",
        origin=Origin.LIMIT,
        window=policy.window_of(told),
        since=NOW,
        until=at(seconds),
        reason=told.kind.value,
        evidence="no more",
        by="tidegate",
        resets_at=told.resets_at,
        exact=told.exact,
        early_at=made.early_at,
    )


EARLY = [
    ("far", limit(at(7200)), None, RULES, 1800),
    ("not so far", limit(at(2700)), None, RULES, None),
    ("far enough", limit(at(2701)), None, RULES, 1800),
    ("unknown", limit(), None, RULES, None),
    ("for a moment", limit(at(7200), kind=Kind.RATE_LIMIT), None, RULES, None),
    ("never", limit(at(7200)), None, Rules(early=None), None),
    ("shut for days already", limit(at(90_000)), hold(at(90_000), since=at(-36_000)), RULES, 3600),
    ("shut for days before", limit(at(90_000)), hold(at(-1), since=at(-36_000)), RULES, 1800),
]


@pytest.mark.parametrize(
    ("told", "prior", "rules", "seconds"), [row[1:] for row in EARLY], ids=[row[0] for row in EARLY]
)
def test_one_goes_ahead_of_a_reset_that_is_far(
    told: Limit, prior: Hold | None, rules: Rules, seconds: float | None
) -> None:
    made = policy.hold_for(told, "claude", NOW, rules=rules, prior=prior)
    assert made is not None
    assert made.early_at == (None if seconds is None else at(seconds))


def test_what_is_tried_ahead_of_its_reset_has_been_shut_since_it_was_and_is_so_still_when_refused() -> None:
    shut = hold(at(7200), since=at(-3600), early_at=NOW)
    tried = policy.reopening(shut, NOW, 7)
    assert tried == replace(shut, ramp=True, allow=1, epoch=7)
    assert policy.is_early(tried, NOW)
    assert not policy.is_early(tried, at(7200))
    answered = policy.widened(tried, most=None)
    assert answered is not None
    assert not policy.is_early(answered, NOW)
    again = policy.merged(tried, hold(at(7200)), NOW, attempt_epoch=8, opened=(7, NOW))
    assert again == replace(shut, early_at=None)


def test_a_reset_ahead_ends_the_row_of_misses() -> None:
    made = policy.hold_for(limit(at(60)), "claude", NOW, rules=RULES, prior=RAMP)
    assert made is not None
    assert made.misses == 1


@pytest.mark.parametrize(("kind", "reason"), [(Kind.AUTH, "not logged in"), (Kind.CREDIT, "out of credit")])
def test_what_a_person_must_mend_has_no_end(kind: Kind, reason: str) -> None:
    assert policy.hold_for(limit(at(60), kind=kind), "claude", NOW, rules=RULES) == Hold(
        scope="claude",
        origin=Origin.HUMAN,
        window=Window.FIVE_HOURS,
        since=NOW,
        reason=reason,
        evidence="no more",
        by="tidegate",
        resets_at=at(60),
    )


def test_no_limit_makes_no_hold() -> None:
    assert policy.hold_for(limit(kind=Kind.NONE), "claude", NOW, rules=RULES) is None


# --- merging ---

EARLIER = hold(at(60), exact=True)
SAID = {"evidence": "no more, really", "reason": "usage_limit"}
MERGED: list[tuple[str, Hold | None, Hold, Hold]] = [
    ("nothing before", None, EARLIER, EARLIER),
    ("a later end wins", EARLIER, hold(at(90), exact=True), hold(at(90), exact=True)),
    ("and its words", EARLIER, hold(at(90), exact=True, **SAID), hold(at(90), exact=True, **SAID)),
    ("an earlier end loses", EARLIER, hold(at(30), exact=True), EARLIER),
    ("a near end is the same", EARLIER, hold(at(61), exact=True), EARLIER),
    ("not so near any more", EARLIER, hold(at(61.001), exact=True), hold(at(61.001), exact=True)),
    ("an unknown end loses", EARLIER, hold(at(300), resets_at=None), EARLIER),
    ("a known end beats a guess", hold(at(300), resets_at=None), EARLIER, EARLIER),
    ("an exact end beats a printed one", hold(at(90)), EARLIER, EARLIER),
    ("a printed end of the same reset loses", EARLIER, hold(at(180)), EARLIER),
    ("a printed end much later wins", EARLIER, hold(at(181)), hold(at(181))),
    (
        "a known reset does not shorten the wait after one that was past",
        hold(at(15), resets_at=at(-60), exact=True),
        hold(at(8), resets_at=at(5), exact=True),
        hold(at(15), resets_at=at(5), exact=True),
    ),
    ("a hold without end stays", hold(None), EARLIER, hold(None)),
    ("an end that has come is gone", hold(at(-1)), EARLIER, EARLIER),
    ("a ramp is shut", RAMP, EARLIER, EARLIER),
    ("the last canary is remembered", replace(RAMP, canary=7), EARLIER, replace(EARLIER, canary=7)),
]


@pytest.mark.parametrize(("prior", "new", "expected"), [row[1:] for row in MERGED], ids=[row[0] for row in MERGED])
def test_of_two_limits_on_one_scope_the_better_told_and_later_one_stands(
    prior: Hold | None, new: Hold, expected: Hold
) -> None:
    assert policy.merged(prior, new, NOW, attempt_epoch=5, opened=None) == expected


STALE = [
    ("no reset, from before", hold(at(300), resets_at=None), 4, (4, at(-60)), True),
    ("no reset, from after", hold(at(300), resets_at=None), 5, (4, at(-60)), False),
    ("a reset past, from before", hold(at(15), resets_at=at(-1)), 4, (4, at(-60)), True),
    ("a reset at the opening", hold(at(15), resets_at=NOW), 4, (4, NOW), True),
    ("a reset ahead, from before", hold(at(60)), 4, (4, at(-60)), False),
    ("a reset before the opening is old", hold(at(60)), 4, (4, at(90)), True),
    ("said by a person", hold(at(300), resets_at=None), None, (4, at(-60)), False),
    ("never opened", hold(at(300), resets_at=None), 4, None, False),
]


@pytest.mark.parametrize(("new", "epoch", "opened", "stale"), [row[1:] for row in STALE], ids=[row[0] for row in STALE])
def test_what_a_neighbour_from_before_the_opening_tells_counts_only_with_a_reset_ahead(
    new: Hold, epoch: int | None, opened: tuple[int, datetime] | None, stale: bool
) -> None:
    merged = policy.merged(RAMP, new, NOW, attempt_epoch=epoch, opened=opened)
    assert (merged is None) is stale


def test_a_person_may_shorten_a_hold_of_their_own() -> None:
    mine, shorter = hold(at(90), origin=Origin.OPERATOR), hold(at(30), origin=Origin.OPERATOR)
    assert policy.merged(mine, shorter, NOW, attempt_epoch=None, opened=(9, NOW)) == shorter


EXACT = st.integers(-600, 6000).map(lambda seconds: hold(at(seconds), exact=True))
PRINTED = st.integers(-600, 6000).map(lambda seconds: hold(at(seconds)))
GUESSED = st.just(hold(at(300), resets_at=None))
HOLDS = EXACT | PRINTED | GUESSED


@settings(deadline=None)
@given(prior=HOLDS, new=HOLDS)
def test_telling_the_same_limit_again_changes_nothing(prior: Hold, new: Hold) -> None:
    once = policy.merged(prior, new, NOW, attempt_epoch=5, opened=None)
    assert once is not None
    assert policy.merged(once, new, NOW, attempt_epoch=5, opened=None) == once or not policy.prior_binds(once, NOW)


@settings(deadline=None)
@given(told=st.lists(EXACT, min_size=1, max_size=6))
def test_exact_ends_give_the_latest_in_whatever_order_they_are_told(told: list[Hold]) -> None:
    standing: Hold | None = None
    for one in told:
        standing = policy.merged(standing, one, NOW, attempt_epoch=5, opened=None)
    ahead = [one.until for one in told if one.until and one.until > NOW]
    if ahead and standing and standing.until:
        assert max(ahead) - standing.until <= policy.NEAR


# --- the ramp ---


@pytest.mark.parametrize(
    ("of", "due"),
    [(hold(NOW), True), (hold(at(1)), False), (hold(None), False), (replace(RAMP, until=at(-5)), False)],
)
def test_a_hold_is_due_when_its_end_has_come_and_it_does_not_ramp_yet(of: Hold, due: bool) -> None:
    assert policy.is_due(of, NOW) is due


@pytest.mark.parametrize(("early", "due"), [(-1, True), (0, True), (1, False)])
def test_a_hold_is_due_when_it_is_to_be_tried_early(early: float, due: bool) -> None:
    assert policy.is_due(hold(at(90), early_at=at(early)), NOW) is due
    assert not policy.is_due(hold(at(90), early_at=at(early), ramp=True), NOW)


@pytest.mark.parametrize(("end", "early", "due"), [(1, -9, False), (0, -9, True), (0, None, False)])
def test_what_is_tried_early_is_due_at_its_end(end: float, early: float | None, due: bool) -> None:
    tried = hold(at(end), early_at=None if early is None else at(early), ramp=True)
    assert policy.is_due(tried, NOW) is due


@pytest.mark.parametrize(
    ("of", "stranded"),
    [
        (hold(at(3600), resets_at=None), False),
        (hold(at(3600.1), resets_at=None), True),
        (hold(at(600), resets_at=None, window=Window.MINUTE), False),
        (hold(at(600.1), resets_at=None, window=Window.MINUTE), True),
        (hold(at(3600.1), resets_at=None, origin=Origin.HOST), True),
        (hold(at(3600.1), resets_at=None, origin=Origin.OPERATOR), False),
        (hold(at(3600.1)), False),
        (hold(None), False),
        (replace(RAMP, until=at(3600.1), resets_at=None), False),
    ],
)
def test_only_our_own_wait_is_stranded_that_ends_later_than_it_ever_could(of: Hold, stranded: bool) -> None:
    assert policy.is_stranded(of, NOW, RULES) is stranded


def test_a_reopening_lets_one_go_and_keeps_what_was_known() -> None:
    shut = hold(NOW, misses=2, canary=7, since=at(-60))
    assert policy.reopening(shut, NOW, 40) == replace(shut, ramp=True, allow=1, since=NOW, epoch=40)


def test_one_that_went_ahead_is_the_canary_still_when_the_end_comes() -> None:
    tried = hold(NOW, early_at=at(-9), since=at(-60), ramp=True, allow=1, epoch=7, canary=3)
    assert policy.reopening(tried, NOW, 40) == replace(tried, since=NOW, early_at=None)


def test_a_gate_that_opened_at_its_end_was_not_tried_early_though_the_clock_is_set_back() -> None:
    opened = policy.reopening(hold(NOW, early_at=at(-9)), NOW, 40)
    assert not policy.is_early(opened, at(-3600))


def test_a_start_lets_one_go_first() -> None:
    ramp = policy.starting("claude", NOW, 40)
    assert ramp == Hold(
        scope="claude",
        origin=Origin.START,
        allow=1,
        since=NOW,
        ramp=True,
        epoch=40,
        reason="no recent evidence that it is open",
        by="tidegate",
    )
    assert policy.widened(ramp, most=None) is None


@pytest.mark.parametrize(
    ("allow", "most", "wider"), [(1, None, 2), (2, 4, 4), (4, 7, None), (16, None, 32), (32, None, None), (1, 1, None)]
)
def test_progress_doubles_a_ramp_until_it_limits_nothing(allow: int, most: int | None, wider: int | None) -> None:
    found = policy.widened(replace(RAMP, allow=allow), most=most)
    assert (found.allow if found else None) == wider


# --- the disk ---


@pytest.mark.parametrize(
    ("free", "held", "scarce"), [(99, False, True), (100, False, False), (124, True, True), (125, True, False)]
)
def test_a_disk_hold_opens_with_some_more_room_than_shut_it(free: float, held: bool, scarce: bool) -> None:
    assert policy.is_scarce(free, 100, held=held) is scarce


# --- places ---

LANE = ("*", "host:here", "batch:b", "claude", "claude/opus")
SHUT = hold(at(60))
PLACES: list[tuple[str, dict[str, list[Hold]], dict[str, list[int]], int | None, int]] = [
    ("nothing binds", {}, {}, None, 65536),
    ("the account's own limit", {}, {"claude": [1, 2]}, 5, 3),
    ("the account is full", {}, {"claude": [1, 2]}, 1, 0),
    ("shut", {"claude": [SHUT]}, {}, 5, 0),
    ("shut everywhere", {"*": [SHUT]}, {}, None, 0),
    ("shut for one model", {"claude/opus": [SHUT]}, {}, None, 0),
    ("another scope is shut", {"codex": [SHUT], "claude/sonnet": [SHUT]}, {}, None, 65536),
    ("its end has come", {"claude": [hold(NOW)]}, {}, None, 65536),
    ("a standing hold counts all", {"claude": [hold(None, allow=3, epoch=5)]}, {"claude": [1, 9]}, None, 1),
    ("a standing hold of a host", {"host:here": [hold(None, allow=3)]}, {"claude": [1, 9]}, None, 3),
    ("a ramp counts those from after", {"claude": [replace(RAMP, allow=2, epoch=5)]}, {"claude": [1, 5, 6]}, None, 1),
    ("a full ramp", {"claude": [replace(RAMP, epoch=5)]}, {"claude": [6]}, None, 0),
    ("the narrowest counts", {"*": [hold(None, allow=9)], "claude": [replace(RAMP, allow=4)]}, {}, 8, 4),
]


@pytest.mark.parametrize(
    ("holds", "running", "most", "free"), [row[1:] for row in PLACES], ids=[row[0] for row in PLACES]
)
def test_places_are_what_the_narrowest_hold_leaves(
    holds: dict[str, list[Hold]], running: dict[str, list[int]], most: int | None, free: int
) -> None:
    assert policy.places(LANE, holds, running, NOW, most=most, account="claude") == free


def test_a_refusal_of_one_that_went_ahead_of_a_reset_says_nothing_of_its_job() -> None:
    refused = Limited(limit(at(60)))
    tried = policy.after(RUNNING, refused, NOW, rules=RULES, tries=True)
    assert (tried.state, tried.limited_in_a_row, tried.limited_since) == (State.QUEUED, 0, None)
    assert policy.after(RUNNING, refused, NOW, rules=RULES).limited_in_a_row == 1
