"""What is removed of the directories that were made for jobs which have ended, and what never is."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from filled import RULES, Night
from installed import Tidegate
from msgspec.structs import replace
from repositories import ENVIRONMENT, commit, git, repository

from tidegate import places
from tidegate.audit import audit
from tidegate.leftovers import Tidied, tidy, why_stays
from tidegate.model import Failed, Job, NewJob, Outcome, Spec, State, Succeeded, Workspace
from tidegate.workspace import making, record
from tidegate.workspace.git import Task

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
JOB = Job(id=1, batch=1, batch_name="b", name="j", account="a", spec=Spec(command=("x",)), created_at=NOW, ended_at=NOW)
TASK = partial(Task, ENVIRONMENT, 60.0, time.monotonic)


@pytest.mark.parametrize(
    ("state", "lost", "before", "why"),
    [
        (State.QUEUED, [], NOW, "its job is queued"),
        (State.RUNNING, ["x"], NOW, "its job is running"),
        (State.SUCCEEDED, ["1 file", "a rebase"], NOW, "1 file; a rebase"),
        (State.SUCCEEDED, [], None, ""),
        (State.FAILED, [], None, "its job has ended as failed, and not long ago"),
        (State.FAILED, [], NOW - timedelta(seconds=1), "its job has ended as failed, and not long ago"),
        (State.FAILED, [], NOW, ""),
        (State.FAILED, ["1 file"], NOW, "1 file"),
        (None, [], None, ""),
        (None, ["1 file"], NOW, "1 file"),
    ],
)
def test_only_what_is_done_with_and_holds_nothing_goes(
    state: State | None, lost: list[str], before: datetime | None, why: str
) -> None:
    assert why_stays(replace(JOB, state=state) if state else None, lost, before) == why


ENDS: dict[str, Outcome] = {
    "clean": Failed(reason="no", retry=False),
    "dirty": Failed(reason="no", retry=False),
    "done": Succeeded(),
}


def filled(tmp_path: Path) -> Night:
    """Three jobs that have ended, each with a worktree: one clean, one dirty, one with a commit; and one that waits."""
    repo = repository(tmp_path / "repo")
    night = Night(tmp_path / "state")
    spec = Spec(command=("true",), workspace=Workspace(kind="worktree", source=str(repo)))
    night.submit("b", *[NewJob(name=name, account="command", spec=spec) for name in (*ENDS, "waits")])
    night.enter()
    for _ in range(4):
        ((job, attempt),) = night.claim()
        root = places.workspaces(night.state)
        place, made = making.ready(TASK(), root, job, attempt.n, fresh=True, fetched={})
        record.note_used(place)
        if job.name == "dirty":
            (Path(made.path) / "new").write_text("x")
        if job.name == "done":
            commit(Path(made.path), "b")
        if job.name in ENDS:
            night.store.finish(attempt, ENDS[job.name], night.now, exit=0, rules=RULES)
        else:
            night.store.unclaim(attempt, night.now, "later")
    return night


def done(night: Night, age: float | None = 0.0, *, dry: bool = False) -> Tidied:
    told = Tidied()
    for told in tidy(places.workspaces(night.state), night.store, night.now, age, TASK, dry=dry):  # noqa: B007
        pass
    return told


def there(night: Night) -> set[str]:
    return {one.parts[-3] for one in places.workspaces(night.state).glob("*/*/repo")}


@pytest.mark.slow
def test_what_holds_uncommitted_work_or_belongs_to_a_job_that_goes_on_stays(tmp_path: Path) -> None:
    night = filled(tmp_path)
    dry = done(night, dry=True)
    assert (dry.directories, there(night)) == (2, {"1", "2", "3", "4"})
    kept = done(night, None)
    assert (kept.directories, there(night)) == (1, {"1", "2", "4"})
    told = done(night)
    assert (told.directories, there(night), told.resisted) == (1, {"2", "4"}, [])
    assert [(one.name, one.why) for one in told.stayed] == [("dirty", "1 file not committed (new)")]
    assert told.left > told.stayed[0].size > 0
    branches = git(tmp_path / "repo", "branch", "--format=%(refname:short)").split()
    assert branches == ["main", "tidegate/b/dirty", "tidegate/b/done", "tidegate/b/waits"]
    night.store.forget([1, 2, 3], night.now)
    assert not done(night).directories
    assert {one.name for one in places.workspaces(night.state).iterdir()} == {"2", "4"}


@pytest.mark.slow
def test_what_was_cut_short_goes_and_what_nobody_knows_stays(tmp_path: Path) -> None:
    night = filled(tmp_path)
    root = places.workspaces(night.state)
    for job in (1, 3):
        place = record.room(root, job, 1)
        (place / record.MADE).rename(place / record.MAKING)
    (record.room(root, 1, 1) / record.USED).unlink()
    told = done(night)
    assert there(night) == {"2", "3", "4"}
    assert [one.why for one in told.stayed] == ["1 file not committed (new)", "its record cannot be read"]


@pytest.mark.slow
def test_a_clone_goes_when_nothing_of_it_is_needed(tmp_path: Path) -> None:
    night, repo = Night(tmp_path / "state"), repository(tmp_path / "repo")
    root = places.workspaces(night.state)
    job = replace(JOB, spec=Spec(command=("x",), workspace=Workspace(kind="clone", source=str(repo))))
    making.ready(TASK(), root, job, 1, fresh=True, fetched={})
    later = datetime.now(UTC) + timedelta(hours=1)
    assert [told.directories for told in tidy(root, night.store, later, 7200.0, TASK)] == [1, 1]
    assert list((root / "bases").iterdir()), "it was fetched lately"
    for _ in tidy(root, night.store, later, 60.0, TASK):
        pass
    assert not list((root / "bases").iterdir())


@pytest.mark.slow
def test_the_doctor_notices_a_directory_without_a_job(tmp_path: Path) -> None:
    night = filled(tmp_path)
    night.store.forget([2], night.now)
    (found,) = [one for one in audit(night.state) if one.kind == "workspace_orphan"]
    assert (found.job, found.is_wrong, found.do) == (2, False, "tidegate clean")


BATCH = """
[batch]
name = "b"
[[job]]
id = "done"
cwd = { worktree = "repo" }
command = ["sh", "-c", "echo x > b; git add b; git commit -qm b"]
[[job]]
id = "left"
cwd = { worktree = "repo" }
command = ["touch", "new"]
"""


@pytest.mark.slow
def test_show_clean_and_the_report_tell_where_the_work_is(tmp_path: Path) -> None:
    tidegate, repo = Tidegate(tmp_path, env=ENVIRONMENT), repository(tmp_path / "repo")
    tidegate("run", tidegate.batch(BATCH), "--report", "r")
    left = str(tidegate.state.joinpath("work", "2", "1", "repo"))
    assert "- done: branch tidegate/b/done in " in (tmp_path / "r" / "report.md").read_text()
    assert (
        f"left: branch tidegate/b/left in {repo}/.git, kept in {left}" in (tmp_path / "r" / "report.html").read_text()
    )
    assert "branch    tidegate/b/done in" in tidegate("show", "done").stdout
    (shown,) = tidegate.lines("show", "left")
    assert [(one["path"], one["here"]) for one in shown["directories"]] == [(left, True)]
    said = tidegate("clean", "--older", "0").stdout
    assert "removed 0 directories of jobs" in said
    assert f"left keeps {left}" in said
    assert "1 file not committed (new)" in said
