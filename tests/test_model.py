"""The nouns: which holds bind a job, and which lane a model is in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from tidegate.errors import NotLaunched, NoWorkspace
from tidegate.model import Attempt, Job, Spec, State, family, scopes

JOB = Job(
    id=7,
    batch=1,
    batch_name="b",
    name="j",
    account="claude",
    model="claude-opus-4",
    spec=Spec(prompt="p"),
    state=State.QUEUED,
    created_at=datetime(2026, 1, 9, tzinfo=UTC),
)


def test_a_job_is_bound_by_everything_its_host_its_batch_itself_its_account_and_its_model() -> None:
    assert scopes(JOB, "here") == ("*", "host:here", "batch:b", "job:7", "claude", "claude/opus")
    assert scopes(replace(JOB, model=None), "here")[-1] == "claude/default"


def test_no_attempt_lasts_less_than_no_time() -> None:
    attempt = Attempt(job=7, n=1, supervisor="me", epoch=1, started_at=JOB.created_at)
    assert attempt.seconds is None
    assert replace(attempt, ended_at=JOB.created_at + timedelta(seconds=90)).seconds == 90.0
    assert replace(attempt, ended_at=JOB.created_at - timedelta(hours=3)).seconds == 0.0, "the clock was set back"


@pytest.mark.parametrize(
    ("model", "lane"),
    [
        (None, "default"),
        ("", "default"),
        ("opus", "opus"),
        ("claude-Opus-4-5", "opus"),
        ("us.anthropic.claude-haiku-4-5", "haiku"),
        ("gpt-5.2", "gpt-5.2"),
    ],
)
def test_models_of_one_family_share_a_lane(model: str | None, lane: str) -> None:
    assert family(model) == lane


def test_a_directory_that_cannot_be_made_says_whether_trying_again_can_help() -> None:
    away = NoWorkspace("no room", retry=True)
    assert (str(away), away.retry, NoWorkspace("no such repository").retry) == ("no room", True, False)
    assert isinstance(away, NotLaunched)
