"""What a job goes through behind its agent: what each stage launches, what a check's end says, and real judges."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from installed import Tidegate, end_what_is_left, until
from msgspec.structs import replace
from stores.world import START

from tidegate import answers, policy, stages
from tidegate.model import (
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
    Spec,
    Stage,
    State,
    Succeeded,
    TimedOut,
    Work,
)

JUDGE = Stage(command=("judge", "--strict"), agent="command", account="judges", timeout=5.0, attempts=2)
NO = Failed(reason="exit 1: 3 tests failed")
TALK = Limited(Limit(kind=Kind.USAGE_LIMIT, evidence="You've hit your limit", sure=False))
SURE = Limited(Limit(kind=Kind.USAGE_LIMIT, evidence="You've hit your limit"))
SCORE = '{"score": 0.25}'


def job(stage: str = "", **more: object) -> Job:
    spec = Spec(agent="claude", prompt="do it", args=("-x",), cwd="/repo", env={"A": "1"}, check=JUDGE)
    facts: dict[str, object] = {"id": 1, "batch": 1, "batch_name": "b", "name": "a", "account": "claude", "spec": spec}
    return Job(stage=stage, created_at=START, **{**facts, **more})  # type: ignore[arg-type]


def test_a_stage_launches_its_command_where_and_with_what_the_job_is() -> None:
    assert stages.spec_of(job()) == job().spec
    spec = stages.spec_of(job("check"))
    assert (spec.agent, spec.command, spec.args, spec.prompt) == ("command", ("judge", "--strict"), (), None)
    assert (spec.cwd, spec.env, spec.timeout, spec.max_attempts) == ("/repo", {"A": "1"}, 5.0, 2)


@pytest.mark.parametrize("code", [1, 2, 74, 76, 124])
def test_an_ordinary_exit_status_is_a_grade(code: int) -> None:
    assert stages.graded(NO, code, "", proof=False) == NO


@pytest.mark.parametrize("code", [75, 125, 126, 127, 128, 137, 255, None])
def test_any_other_exit_status_is_no_grade(code: int | None) -> None:
    outcome = stages.graded(NO, code, SCORE, proof=False)
    assert isinstance(outcome, Failed)
    assert not outcome.valid


@pytest.mark.parametrize(
    ("outcome", "code", "grade", "proof", "found"),
    [
        (NO, 1, SCORE, False, Failed(reason=f"exit 1: {SCORE}")),
        (NO, 1, "", True, Failed(reason=NO.reason, valid=False)),
        (Succeeded("yes"), 0, "", True, Succeeded("yes")),
        (Succeeded(), 0, SCORE, False, Succeeded(SCORE)),
        (TALK, 1, SCORE, False, Failed(reason=f"exit 1: {SCORE}")),
        (TALK, 1, "", False, TALK),
        (TALK, 75, SCORE, False, TALK),
        (SURE, 1, SCORE, False, SURE),
        (Interrupted(reason="drained"), 1, SCORE, False, Interrupted(reason="drained")),
    ],
)
def test_a_grade_outweighs_talk_of_a_limit_and_nothing_else(
    outcome: Outcome, code: int, grade: str, proof: bool, found: Outcome
) -> None:
    assert stages.graded(outcome, code, grade, proof=proof) == found


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ('{"score": 1}', 1.0),
        ('exit 1: {"score": 0.25, "why": "{"}', 0.25),
        ('{"score": true}', None),
        ('{"score": "9"}', None),
        ("[1]", None),
        ("{", None),
        ("{" * 100_000, None),
        ('{"points": 1}', None),
        ("", None),
    ],
)
def test_a_score_is_a_number_in_a_line_of_json(text: str, score: float | None) -> None:
    assert stages.score_of(text) == score


def test_a_grade_is_the_last_line_of_an_output(tmp_path: Path) -> None:
    assert answers.grade(tmp_path) == ""
    (tmp_path / "stdout.log").write_text(f"{{}}\nthinking\n{SCORE}\n\n")
    assert answers.grade(tmp_path) == SCORE
    (tmp_path / "stdout.log").write_text(f"{SCORE}\nbut wait\n")
    assert answers.grade(tmp_path) == ""


def test_a_stage_is_told_where_the_agents_answer_is(tmp_path: Path) -> None:
    assert answers.environment(job(), tmp_path / "1") == {}
    one = job("check", work=Work(attempt=3, account="claude", answered=True))
    told = answers.environment(one, tmp_path / "7")
    assert told["TIDEGATE_RESULT_FILE"] == str(tmp_path / "3" / "answer")
    assert answers.lacking(one, tmp_path / "7") == told["TIDEGATE_RESULT_FILE"]
    (tmp_path / "3").mkdir()
    answers.write(tmp_path / "3", "fine \ud83d")
    assert answers.lacking(one, tmp_path / "7") == ""
    assert (tmp_path / "3" / "answer").stat().st_mode & 0o777 == 0o600
    answers.write(tmp_path / "gone", "nothing happens")


def test_what_a_check_printed_is_given_back_from_the_end_of_both_its_streams(tmp_path: Path) -> None:
    one = job(work=Work(attempt=1, account="claude", fed=1, feedback=2))
    assert answers.feedback(job(), tmp_path / "3") == answers.feedback(one, tmp_path / "3") == ""
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "stdout.log").write_text("a" * 30_000 + "out")
    (tmp_path / "2" / "stderr.log").write_text("b" * 30_000 + "err")
    said = answers.feedback(one, tmp_path / "3")
    assert said.endswith("err")
    assert "aout\nb" in said
    assert len(said) < 20_010
    told = stages.with_feedback(one.spec, said)
    assert said in str(told.resume_prompt)
    assert str(told.prompt).startswith("do it\n\nA check")
    assert stages.with_feedback(Spec(command=("x",)), "").prompt == stages.FEEDBACK.format(output="(nothing)")


# --- the state machine, without a store ---

RULES = policy.Rules()
PUSH = Stage(command=("push",), account="forge", once=True)


def running(stage: str = "", **more: object) -> Job:
    """A job that runs in a stage; behind the agent's with what that has done."""
    what = stages.of(job().spec, stage)
    work = Work(attempt=1, account="claude", model="opus", session="s") if stage else None
    whose: dict[str, object] = {"account": what.account} if what else {"model": "opus", "session": "s"}
    return job(stage, **{"state": State.RUNNING, "launches": 2, "work": work, **whose, **more})


def ended(one: Job, outcome: Outcome) -> Job:
    return policy.after(one, outcome, START, rules=RULES)


def test_a_job_goes_through_its_stages_and_is_its_agents_again_at_the_end() -> None:
    both = replace(job().spec, publish=PUSH)
    checked = ended(running(spec=both), Succeeded("answer"))
    assert (checked.state, checked.stage, checked.account, checked.model) == (State.QUEUED, "check", "judges", None)
    assert checked.work == Work(attempt=2, account="claude", model="opus", session="s", answered=True)
    published = ended(checked, Succeeded())
    assert (published.stage, published.account, published.work) == ("publish", "forge", checked.work)
    done = ended(published, Succeeded())
    assert (done.state, done.account, done.model, done.session) == (State.SUCCEEDED, "claude", "opus", "s")
    assert [name for name, _ in stages.named(both)] == ["check", "publish"]
    assert stages.every(both) == (JUDGE, PUSH)
    assert stages.every(Spec()) == ()
    assert ended(running(spec=replace(both, check=None)), Succeeded()).stage == "publish"


def test_a_grade_is_the_end_unless_it_is_given_back() -> None:
    failed = ended(running("check"), NO)
    assert (failed.state, failed.reason, failed.ended_at) == (State.FAILED, "check: exit 1: 3 tests failed", START)
    feeds = replace(job().spec, feed_failure_back=1)
    fed = ended(running("check", spec=feeds), NO)
    assert (fed.state, fed.stage, fed.account, fed.session) == (State.QUEUED, "", "claude", "s")
    assert fed.reason == failed.reason
    again = ended(replace(fed, launches=3), Succeeded("better"))
    assert again.work == Work(attempt=3, account="claude", model="opus", session="s", answered=True, fed=1)
    assert ended(again, NO).state is State.FAILED
    assert ended(running("check"), TimedOut(after=1)).reason == "check: no end after 1 s"


@pytest.mark.parametrize("outcome", [Interrupted(reason="x"), Lost("x")])
def test_what_is_published_once_waits_for_a_person_where_its_end_is_not_known(outcome: Outcome) -> None:
    one = running("publish", account="forge", session="an answer's", spec=replace(job().spec, publish=PUSH))
    after = ended(one, outcome)
    assert (after.state, after.stage, after.lost) == (State.QUEUED, "publish", int(isinstance(outcome, Lost)))
    assert (after.reason, after.resumed, after.session) == ("publish: x", True, None)
    assert policy.is_in_doubt(one, outcome)
    assert not policy.is_in_doubt(running("check"), outcome)
    assert policy.doubt_hold(after, "x", START) == Hold(
        scope="job:1",
        origin=Origin.HUMAN,
        since=START,
        reason="it may be published already: look, then say published 1, or resume job:1 to publish it",
        evidence="x",
        by="tidegate",
    )


@pytest.mark.parametrize(
    ("outcome", "words", "charged"),
    [
        (NO, "exit 1: 3 tests failed", 1),
        (TALK, "You've hit your limit", 0),
        (TimedOut(after=1), "no end after 1 s", 1),
    ],
)
def test_what_is_published_once_and_has_failed_is_an_error(outcome: Outcome, words: str, charged: int) -> None:
    one = running("publish", account="forge", spec=replace(job().spec, publish=PUSH))
    after = ended(one, outcome)
    assert (after.state, after.account, after.attempts, after.ended_at) == (State.ERROR, "claude", charged, START)
    assert after.reason == f"publish: {words} (the work is done, and is not published a second time by itself)"
    again = policy.retried(after)
    assert (again.state, again.stage, again.account) == (State.QUEUED, "publish", "forge")
    assert policy.retried(after, clean=True).stage == ""


def test_a_retry_after_a_grade_begins_with_the_agent_and_one_of_a_turn_goes_on_with_it() -> None:
    failed = ended(running("check"), NO)
    again = policy.retried(failed)
    assert (again.stage, again.work, again.session, again.account) == ("", None, None, "claude")
    turn = ended(
        running(work=Work(attempt=1, account="claude", fed=1, feedback=2), attempts=2), Failed(reason="exit 1")
    )
    assert turn.state is State.FAILED
    assert policy.retried(turn).work == turn.work
    assert policy.retried(turn, clean=True).work is None
    assert policy.retried(replace(running(), state=State.FAILED), clean=True).session is None


def test_an_agent_that_answers_to_a_no_is_told_of_it_again_after_a_cut_unless_its_run_must_be_whole() -> None:
    work = Work(attempt=1, account="claude", fed=1, feedback=2)
    anew = replace(job().spec, on_cutoff="restart")
    for spec, kept in [(anew, work), (replace(anew, max_interruptions=1), None)]:
        assert ended(running(work=work, spec=spec), Interrupted(reason="x")).work == kept


def test_another_definition_keeps_the_stage_that_it_still_has() -> None:
    queued = replace(running("check"), state=State.QUEUED)

    def edited(**more: object) -> Job:
        spec = replace(job().spec, **more)
        return policy.edited(queued, NewJob(name="a", account="other", model="haiku", spec=spec))

    other = edited(check=replace(JUDGE, account="others"))
    assert (other.stage, other.account, other.model) == ("check", "others", None)
    assert other.work == Work(attempt=1, account="other", model="haiku", session="s")
    assert edited(agent="codex").work == Work(attempt=1, account="other", model="haiku")
    assert (edited(check=None).stage, edited(check=None).account) == ("", "claude")
    assert (
        policy.edited(replace(running(), state=State.QUEUED), NewJob(name="a", account="x", spec=job().spec)).work
        is None
    )


def test_a_job_is_told_of_for_the_account_of_each_stage() -> None:
    one = running("check")
    assert (stages.seen_in(one, "check").account, stages.seen_in(one, "check").model) == ("judges", None)
    assert (stages.seen_in(one, "").account, stages.seen_in(one, "").model) == ("claude", "opus")
    assert stages.told(one, "x") == "check: x"
    assert stages.told(running(), "x") == "x"


CHECKED = """
[batch]
name = "night"
[accounts.judges]
concurrency = 1
[defaults]
max_attempts = 1
[groups.T]
matrix = { say = ["good", "bad", "odd"] }
command = ["sh", "-c", "echo $TIDEGATE_STAGE-${{ say }}"]
check = { command = ["sh", "judge.sh", "${{ say }}"], account = "judges", attempts = 1 }
[[job]]
id = "fed"
command = ["sh", "-c", "cat >> said"]
prompt = "do it"
check = { command = ["sh", "-c", "echo missing; echo sk-ant-api03-aaaaaaaaaaaaaaaaaaaaaaaa >&2; grep -q missing said"] }
feed_failure_back = 1
publish = { command = ["sh", "-c", "cat $TIDEGATE_RESULT_FILE; echo $TIDEGATE_STAGE > published"] }
"""
JUDGE_SH = """
test "$TIDEGATE_STAGE $TIDEGATE_BATCH $TIDEGATE_JOB" = "check night T/$1" || exit 125
test "$(cat "$TIDEGATE_RESULT_FILE")" = "-$1" && test -f "$TIDEGATE_AGENT_DIR/attempt.json" || exit 125
case $1 in good) echo '{"score": 1}';; bad) echo '{"score": 0.5}'; exit 2;; odd) kill -9 $$;; esac
"""


@pytest.mark.slow
def test_each_job_is_judged_by_its_check_and_a_record_says_how(tidegate: Tidegate) -> None:
    (tidegate.place / "judge.sh").write_text(JUDGE_SH)
    done = tidegate("run", tidegate.batch(CHECKED))
    assert done.returncode != 0
    assert tidegate.states() == {"fed": "succeeded", "T/good": "succeeded", "T/bad": "failed", "T/odd": "error"}
    given = (tidegate.place / "said").read_text()
    assert given.startswith("do itdo it\n\nA check of this work has failed.")
    assert "missing" in given
    assert "aaaa" not in given
    (fed,) = tidegate.lines("show", "fed")
    assert [(one["stage"], one["outcome"]) for one in fed["history"]] == [
        ("agent", "succeeded"),
        ("check", "failed"),
        ("agent", "succeeded"),
        ("check", "succeeded"),
        ("publish", "succeeded"),
    ]
    assert (tidegate.place / "published").read_text() == "publish\n"
    (bad,) = tidegate.lines("show", "T/bad")
    assert (bad["stage"], bad["account"], bad["reason"]) == ("check", "command", 'check: exit 2: {"score": 0.5}')
    assert [(one["stage"], one["outcome"], one["score"]) for one in bad["history"]] == [
        ("agent", "succeeded", None),
        ("check", "failed", 0.5),
    ]
    assert "check  succeeded" in tidegate("show", "T/good").stdout
    assert tidegate("logs", "T/bad", "--stage", "agent").stdout == "-bad\n"
    assert tidegate("logs", "T/bad", "--stage", "check").stdout == '{"score": 0.5}\n'
    assert tidegate("report", "night", "--into", "r").returncode == 0
    results = [json.loads(line) for line in (tidegate.place / "r" / "results.jsonl").read_text().splitlines()]
    assert {one["job"]: one["score"] for one in results} == {"fed": None, "T/good": 1.0, "T/bad": 0.5, "T/odd": None}
    again = tidegate("retry", "T/odd")
    assert again.returncode == 0, again.stderr
    assert [one["data"].get("stage") for one in tidegate.events("job retried")] == ["check"]


@pytest.mark.slow
def test_a_publish_whose_end_nobody_knows_waits_for_a_person_and_is_never_started_twice(tidegate: Tidegate) -> None:
    push = 'echo pushed >> marks; [ -e "$0" ] || exec sleep 600'
    job = {"id": "a", "command": ["true"], "publish": {"command": ["sh", "-c", push, str(tidegate.place / "quick")]}}
    batch, marks = tidegate.batch(json.dumps(job), "b.jsonl"), tidegate.place / "marks"
    first = tidegate.start("run", batch)
    until(marks.exists)
    first.kill()
    first.wait()
    end_what_is_left(tidegate.state)
    second = tidegate("run", batch)
    assert (second.returncode, "resume job:1" in second.stdout + second.stderr) == (6, True)
    (hold,) = tidegate.lines("status")[0]["holds"]
    assert (hold["scope"], hold["allow"]) == ("job:1", 0)
    assert "resume job:1" in hold["reason"]
    (shown,) = tidegate.lines("show", "a")
    assert (shown["state"], shown["stage"], shown["history"][-1]["outcome"]) == ("queued", "publish", "lost")
    assert marks.read_text() == "pushed\n"
    (tidegate.place / "quick").touch()
    assert tidegate("resume", "job:1").returncode == 0
    assert tidegate("run", batch).returncode == 0
    assert marks.read_text() == "pushed\npushed\n"
