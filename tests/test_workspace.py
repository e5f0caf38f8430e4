"""Directories that are made for jobs: whole or not at all, clean or kept, and never a lost commit."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from installed import Tidegate, until
from msgspec.structs import replace
from repositories import ENVIRONMENT, commit, git, repository

from tidegate.errors import NoWorkspace
from tidegate.model import AGENT, CHECK, Job, Put, Spec, Workspace
from tidegate.workspace import _tidied, making, record
from tidegate.workspace.git import Stop, Stopped, Task
from tidegate.workspace.losses import losses
from tidegate.workspace.record import MAKING, Made
from tidegate.workspace.worktrees import branch_of


def task(patience: float = 60.0, stop: Stop | None = None) -> Task:
    return Task(ENVIRONMENT, patience, time.monotonic, stop)


def made_for(workspace: Workspace, id: int = 1, name: str = "T5/03#2") -> Job:
    spec = Spec(command=("true",), workspace=workspace)
    now = datetime(2026, 1, 9, tzinfo=UTC)
    return Job(id=id, batch=1, batch_name="demo", name=name, account="a", spec=spec, created_at=now)


@dataclass(slots=True)
class Shop:
    """A repository, and the directories that are made of it."""

    root: Path
    repo: Path
    fetched: dict[str, float] = field(default_factory=dict)

    def worktree(self, **more: Any) -> Workspace:
        return Workspace(kind="worktree", source=str(self.repo), **more)

    def ready(self, job: Job, n: int = 1, *, fresh: bool = True, stop: Stop | None = None) -> Path:
        """As an attempt asks for it."""
        place, made = making.ready(task(stop=stop), self.root, job, n, fresh=fresh, fetched=self.fetched)
        record.note_used(place)
        return Path(made.path)

    def refused(self, workspace: Workspace) -> NoWorkspace:
        with pytest.raises(NoWorkspace) as refused:
            self.ready(made_for(workspace))
        assert not (self.root / "1").exists(), "nothing is left behind"
        return refused.value

    def known(self, job: int = 1) -> Made:
        found = record.current(self.root, job)
        assert found is not None
        return found[1]

    def lost(self, job: int = 1) -> list[str]:
        return losses(task(), self.known(job))

    def branches(self) -> list[str]:
        return git(self.repo, "branch", "--format=%(refname:short)").split()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "work", repository(tmp_path / "repo"))


# --- a worktree --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_worktree_has_a_branch_of_its_own_at_the_commit_that_was_asked_for(shop: Shop) -> None:
    first = git(shop.repo, "rev-parse", "HEAD")
    second = commit(shop.repo, "b")
    git(shop.repo, "branch", "old", first)
    starts = {first[:8]: first, "HEAD": second}
    for number, (said, start) in enumerate(starts.items(), 1):
        tree = shop.ready(made_for(shop.worktree(commit=said), number, f"j{number}"))
        assert (git(tree, "rev-parse", "HEAD"), git(tree, "status", "--porcelain")) == (start, "")
        assert git(tree, "branch", "--show-current") == f"tidegate/demo/j{number}"
    tree = shop.ready(made_for(shop.worktree(branch="old"), 3))
    assert (git(tree, "rev-parse", "HEAD"), tree.name) == (first, "repo")
    assert (git(shop.repo, "branch", "--show-current"), tree.parent.stat().st_mode & 0o777) == ("main", 0o700)


def test_a_resumed_launch_finds_what_the_one_before_it_left(shop: Shop) -> None:
    job = made_for(shop.worktree())
    tree = shop.ready(job)
    (tree / "new").write_text("half")
    assert shop.ready(job, 2, fresh=False) == tree
    assert (tree / "new").read_text() == "half"


def test_a_launch_anew_finds_a_clean_one_and_what_was_not_committed_is_on_a_branch(shop: Shop) -> None:
    job = made_for(shop.worktree())
    tree = shop.ready(job)
    commit(tree, "done")
    (tree / "new").write_text("half")
    again = shop.ready(job, 2)
    assert (again != tree, tree.exists(), sorted(one.name for one in again.iterdir())) == (
        True,
        False,
        [".git", ".gitignore", "a"],
    )
    assert shop.branches() == ["main", "tidegate/demo/T5-03#2", "tidegate/demo/T5-03#2-2"]
    assert git(shop.repo, "show", "tidegate/demo/T5-03#2:new") == "half"
    assert git(shop.repo, "log", "-1", "--format=%s", "tidegate/demo/T5-03#2~1") == "done"


@pytest.mark.slow
def test_a_launch_anew_of_what_did_nothing_leaves_nothing_behind(shop: Shop) -> None:
    job = made_for(shop.worktree())
    for n in (1, 2, 3):
        shop.ready(job, n)
    assert shop.branches() == ["main", "tidegate/demo/T5-03#2"]
    assert len(git(shop.repo, "worktree", "list").splitlines()) == 2


@pytest.mark.slow
def test_a_repository_within_what_is_to_be_cleaned_keeps_the_directory(shop: Shop) -> None:
    job = made_for(shop.worktree())
    tree = shop.ready(job)
    repository(tree / "inner")
    again = shop.ready(job, 2)
    assert (tree / "inner" / "a").exists()
    assert not (again / "inner").exists()


@pytest.mark.slow
def test_what_is_on_no_branch_is_on_one_before_it_is_cleaned_away(shop: Shop) -> None:
    job = made_for(shop.worktree())
    tree = shop.ready(job)
    git(tree, "checkout", "--quiet", "--detach")
    lost = commit(tree, "lost")
    assert shop.lost() == ["commits that are on no branch"]
    shop.ready(job, 2)
    assert git(shop.repo, "rev-parse", "tidegate/demo/T5-03#2-left~1") == lost


@pytest.mark.slow
def test_a_branch_that_is_somebody_elses_is_left_alone(shop: Shop) -> None:
    git(shop.repo, "branch", "tidegate/demo/T5-03#2")
    tree = shop.ready(made_for(shop.worktree()))
    assert git(tree, "branch", "--show-current") == "tidegate/demo/T5-03#2-2"


@pytest.mark.parametrize(
    ("batch", "name", "branch"),
    [
        ("/home/me/b.toml", "a b~c:d", "tidegate/b.toml/a-b-c-d"),
        ("x.lock", "..a..b..", "tidegate/x/a-b"),
        ("-", "\u00e9", "tidegate/job/job"),
    ],
)
def test_a_branch_is_named_as_git_takes_it(batch: str, name: str, branch: str) -> None:
    job = replace(made_for(Workspace(kind="worktree", source="/r")), name=name, batch_name=batch)
    assert branch_of(job) == branch


# --- what goes, and what stays -----------------------------------------------------------------


@pytest.mark.slow
def test_a_stage_finds_what_was_committed_again_and_never_a_directory_in_which_nobody_has_worked(shop: Shop) -> None:
    job = replace(made_for(shop.worktree()), stage=CHECK)
    with pytest.raises(NoWorkspace, match="what the agent has worked in is not there any more"):
        shop.ready(job, fresh=False)
    tree = shop.ready(replace(job, stage=AGENT))
    commit(tree, "b")
    _tidied(task(), shop.root, 1)
    again = shop.ready(job, 2, fresh=False)
    assert (again / "b").exists()
    assert git(again, "branch", "--show-current") == "tidegate/demo/T5-03#2"


@pytest.mark.slow
def test_what_succeeded_and_is_committed_goes_and_its_branch_stays(shop: Shop) -> None:
    tree = shop.ready(made_for(shop.worktree(files=(Put(source=__file__, to="task/x.py"),))))
    (tree / "made.log").write_text("ignored")
    (tree / "readonly").mkdir()
    commit(tree, "readonly/b")
    git(tree, "rm", "--cached", "--quiet", "task/x.py")
    git(tree, "commit", "--quiet", "--amend", "-m", "b")
    _tidied(task(), shop.root, 1)
    assert not tree.exists()
    assert shop.branches() == ["main", "tidegate/demo/T5-03#2"]
    assert len(git(shop.repo, "worktree", "list").splitlines()) == 1
    kept = record.read(record.room(shop.root, 1, 1))
    assert kept is not None
    assert (kept.gone, kept.branch) == (True, "tidegate/demo/T5-03#2")


def test_what_succeeded_without_a_commit_leaves_no_branch(shop: Shop) -> None:
    shop.ready(made_for(shop.worktree()))
    _tidied(task(), shop.root, 1)
    assert (shop.branches(), list(shop.root.iterdir())) == (["main"], [])


def _write(tree: Path) -> None:
    (tree / "new file").write_text("x")


def _change(tree: Path) -> None:
    (tree / "a").write_text("changed")


def _stage(tree: Path) -> None:
    git(tree, "mv", "a", "b")


def _change_put(tree: Path) -> None:
    (tree / "task.md").write_text("changed")


def _stop_halfway(tree: Path) -> None:
    git(tree, "bisect", "start")


def _leave(tree: Path) -> None:
    (tree / ".git").unlink()


def _be_another(tree: Path) -> None:
    (tree / ".git").unlink()
    git(tree, "init", "--quiet")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("do", "said"),
    [
        (_write, "1 file not committed (new file)"),
        (_change, "1 file not committed (a)"),
        (_stage, "1 file not committed (b)"),
        (_change_put, "1 file not committed (task.md)"),
        (_stop_halfway, "a bisect is under way"),
        (_leave, "nobody can tell what it holds: not a git repository (or any of the parent directories): .git"),
        (_be_another, "it is not the worktree any more that it was"),
    ],
)
def test_what_is_nowhere_else_stays(shop: Shop, do: Any, said: str) -> None:
    tree = shop.ready(made_for(shop.worktree(files=(Put(source=__file__, to="task.md"),))))
    assert shop.lost() == []
    do(tree)
    assert shop.lost() == [said]
    _tidied(task(), shop.root, 1)
    assert tree.exists()


# --- what cannot be made -----------------------------------------------------------------------


@pytest.mark.slow
def test_what_is_no_repository_or_no_commit_is_said_in_one_line(shop: Shop, tmp_path: Path) -> None:
    told = {
        "no such repository: /none": Workspace(kind="worktree", source="/none"),
        f"not a git repository: {tmp_path}": Workspace(kind="worktree", source=str(tmp_path)),
        f"no commit abc in {shop.repo}": shop.worktree(commit="abc"),
        f"no branch gone in {shop.repo}": shop.worktree(branch="gone"),
        "no such directory: /none": Workspace(kind="copy", source="/none"),
        f"cannot copy {tmp_path}: the directories that are made for jobs lie in it": Workspace(
            kind="copy", source=str(tmp_path)
        ),
        "no such file to put into the directory: /none": shop.worktree(files=(Put(source="/none", to="x"),)),
    }
    for said, workspace in told.items():
        refused = shop.refused(workspace)
        assert (str(refused), refused.retry) == (said, False)
    assert shop.branches() == ["main"]


def test_without_git_one_line_says_so(shop: Shop) -> None:
    without = Task({**ENVIRONMENT, "PATH": "/none"}, 60.0, time.monotonic)
    with pytest.raises(NoWorkspace, match="git is not installed, or not on the PATH"):
        making.ready(without, shop.root, made_for(shop.worktree()), 1, fresh=True, fetched={})


@pytest.mark.slow
def test_what_takes_too_long_is_ended(shop: Shop) -> None:
    git(shop.repo, "config", "filter.slow.smudge", "sleep 100")
    (shop.repo / ".gitattributes").write_text("a filter=slow\n")
    commit(shop.repo, "b")
    with pytest.raises(NoWorkspace, match=r"took longer than 0 s") as late:
        making.ready(task(0.3), shop.root, made_for(shop.worktree()), 1, fresh=True, fetched={})
    assert late.value.retry
    git(shop.repo, "config", "filter.slow.smudge", "cat")
    assert (shop.ready(made_for(shop.worktree())) / "b").exists()


@pytest.mark.slow
def test_a_task_ends_at_once_with_the_git_that_it_runs(shop: Shop, tmp_path: Path) -> None:
    git(shop.repo, "config", "filter.slow.smudge", f"touch {tmp_path}/begun; exec sleep 100")
    (shop.repo / ".gitattributes").write_text("a filter=slow\n")
    commit(shop.repo, "b")
    stop = Stop()
    ended: list[bool] = []

    def do() -> None:
        with pytest.raises(Stopped):
            shop.ready(made_for(shop.worktree()), stop=stop)
        ended.append(True)

    thread = threading.Thread(target=do)
    thread.start()
    until((tmp_path / "begun").exists)
    stop.ask()
    thread.join(30)
    assert ended == [True]
    git(shop.repo, "config", "filter.slow.smudge", "cat")
    assert (shop.ready(made_for(shop.worktree())) / "b").exists()
    assert shop.branches() == ["main", "tidegate/demo/T5-03#2"]


@pytest.mark.slow
def test_what_was_cut_short_is_made_anew(shop: Shop) -> None:
    job = made_for(shop.worktree())
    tree = shop.ready(job)
    place = tree.parent
    (place / "made.json").rename(place / MAKING)  # as if it had been cut short just before it was whole
    (place / "used").unlink()
    shutil.rmtree(tree)
    (shop.repo / ".git" / "refs" / "heads" / "tidegate" / "demo" / "T5-03#2-2.lock").write_text("")
    assert (shop.ready(job, 1) / "a").exists()
    assert shop.branches() == ["main", "tidegate/demo/T5-03#2"]
    commit(shop.ready(job, 2, fresh=False), "c")
    assert git(shop.ready(job, 3), "branch", "--show-current") == "tidegate/demo/T5-03#2-3"


# --- copies and files --------------------------------------------------------------------------


@pytest.mark.slow
def test_a_copy_has_modes_times_and_links_and_no_special_files(shop: Shop, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "in" / "deep").mkdir(parents=True)
    (source / "in" / "run").write_text("x")
    (source / "in" / "run").chmod(0o755)
    (source / "link").symlink_to("/etc")
    os.mkfifo(source / "pipe")
    (source / "in").chmod(0o555)
    os.utime(source / "in" / "run", ns=(10**18, 10**18))
    tree = shop.ready(made_for(Workspace(kind="copy", source=str(source))))
    assert (tree / "in" / "run").stat().st_mode & 0o777 == 0o755
    assert (tree / "in" / "run").stat().st_mtime_ns == 10**18
    assert ((tree / "link").readlink(), (tree / "pipe").exists()) == (Path("/etc"), False)
    assert shop.lost() == []
    (tree / "in" / "run").write_text("y")
    assert shop.lost() == ["changed since it was copied"]


@pytest.mark.slow
def test_of_copies_that_are_made_anew_the_last_ones_stay(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    job = made_for(Workspace(kind="copy", source=str(tmp_path / "source")))
    trees = []
    for n in range(1, 7):
        trees.append(shop.ready(job, n))
        (trees[-1] / "work").write_text(str(n))
    assert [tree.exists() for tree in trees] == [False, False, True, True, True, True]
    assert shop.ready(job, 7, fresh=False) == trees[-1]


@pytest.mark.slow
def test_files_are_put_over_what_is_there_and_never_through_a_link(shop: Shop, tmp_path: Path) -> None:
    (shop.repo / "out").symlink_to(tmp_path)
    (shop.repo / "linked").symlink_to(tmp_path / "outside")
    commit(shop.repo, "b")
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "x").write_text("x")
    puts = (Put(source=str(tmp_path / "in"), to="d"), Put(source=__file__, to="linked"), Put(source=__file__, to="a"))
    tree = shop.ready(made_for(shop.worktree(files=puts)))
    assert (tree / "d" / "deep" / "x").read_text() == "x"
    assert (tree / "linked").is_symlink() is (tmp_path / "outside").exists() is False
    assert ((tree / "a").read_text(), shop.lost()) == (Path(__file__).read_text(), [])
    refused = {"out/x": "out is a link", "d": "there is a directory of that name"}
    (shop.repo / "d").mkdir()
    commit(shop.repo, "d/e")
    for number, (to, why) in enumerate(refused.items(), 2):
        with pytest.raises(NoWorkspace, match=f"cannot put {to} into the directory: {why}"):
            shop.ready(made_for(shop.worktree(files=(Put(source=__file__, to=to),)), number))


# --- clones ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_clone_is_shared_and_brought_up_to_date(shop: Shop, tmp_path: Path) -> None:
    git(shop.repo, "branch", "side")
    said = Workspace(kind="clone", source=f"file://{shop.repo}")
    first = shop.ready(made_for(said, 1, "one"))
    assert git(first, "rev-parse", "HEAD") == git(shop.repo, "rev-parse", "main")
    newer = commit(shop.repo, "b")
    assert git(shop.ready(made_for(said, 2, "two")), "rev-parse", "HEAD") != newer, "it was fetched just now"
    shop.fetched.clear()
    assert git(shop.ready(made_for(said, 3, "three")), "rev-parse", "HEAD") == newer
    side = shop.ready(made_for(replace(said, branch="side"), 4, "four"))
    assert git(side, "rev-parse", "HEAD") == git(shop.repo, "rev-parse", "side")
    shutil.move(shop.repo, tmp_path / "gone")
    assert git(shop.ready(made_for(replace(said, commit=newer), 5, "five")), "rev-parse", "HEAD") == newer
    assert len(list((shop.root / "bases").iterdir())) == 1
    assert git(first, "remote", "get-url", "origin") == said.source


@pytest.mark.slow
def test_what_cannot_be_cloned_says_why_and_whether_it_may_pass(shop: Shop) -> None:
    gone = shop.refused(Workspace(kind="clone", source="/none/r"))
    assert (str(gone), gone.retry) == ("'/none/r' does not appear to be a git repository", False)
    away = shop.refused(Workspace(kind="clone", source="http://127.0.0.1:1/r"))
    assert "unable to access 'http://127.0.0.1:1/r/'" in str(away)
    assert away.retry


@pytest.mark.slow
def test_who_is_asked_for_a_password_ends_at_once(shop: Shop) -> None:
    class Asks(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Asks) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        refused = shop.refused(Workspace(kind="clone", source=f"{url}/r"))
        server.shutdown()
        thread.join()
    assert str(refused) == f"could not read Username for '{url}': terminal prompts disabled"
    assert not refused.retry


# --- with the whole program --------------------------------------------------------------------


BATCH = """
[batch]
name = "demo"
[defaults]
max_attempts = 2
[[job]]
id = "fine"
cwd = { worktree = "repo" }
command = ["sh", "-c", "pwd; echo x > b; git add b; git commit -qm b"]
[[job]]
id = "bad"
cwd = { worktree = "repo" }
command = ["sh", "-c", "ls; echo x > left; exit 3"]
[[job]]
id = "none"
cwd = { worktree = "nowhere" }
command = ["true"]
"""


def ours(place: Path) -> Tidegate:
    return Tidegate(place, env={**ENVIRONMENT, "TIDEGATE_RETRY__FIRST": "0.01"})


@pytest.mark.slow
def test_jobs_work_in_worktrees_that_go_where_they_are_done_with(tmp_path: Path) -> None:
    tidegate, repo = ours(tmp_path), repository(tmp_path / "repo")
    done = tidegate("run", tidegate.batch(BATCH))
    assert tidegate.states() == {"fine": "succeeded", "bad": "failed", "none": "error"}, done.stderr
    assert git(repo, "show", "tidegate/demo/fine:b") == "x"
    assert git(repo, "show", "tidegate/demo/bad:left") == "x"
    assert (tmp_path / "state" / "work" / "2" / "2" / "repo" / "left").exists(), "a failed one is kept"
    (first, second) = sorted((tmp_path / "state" / "attempts" / "2").glob("*/stdout.log"))
    assert (first.read_text(), second.read_text()) == ("a\n", "a\n"), "each attempt begins clean"
    assert tidegate.lines("show", "none")[0]["reason"] == f"no worktree: no such repository: {tmp_path}/nowhere"


SLOW = """
[batch]
name = "demo"
[[job]]
id = "slow"
cwd = { worktree = "repo" }
command = ["cat", "b"]
"""


@pytest.mark.slow
def test_a_supervisor_that_is_killed_while_a_directory_is_made_makes_it_anew(tmp_path: Path) -> None:
    tidegate, repo = ours(tmp_path), repository(tmp_path / "repo")
    (tmp_path / "slow").touch()
    wait = f"touch {tmp_path}/begun; while [ -e {tmp_path}/slow ]; do sleep 0.05; done; cat"
    git(repo, "config", "filter.slow.smudge", wait)
    (repo / ".gitattributes").write_text("b filter=slow\n")
    commit(repo, "b")
    process = tidegate.start("run", tidegate.batch(SLOW))
    until((tmp_path / "begun").exists)
    process.kill()
    process.wait()
    (tmp_path / "slow").unlink()
    done = tidegate("run", "batch.toml")
    assert tidegate.states() == {"slow": "succeeded"}, done.stderr
    assert git(repo, "branch", "--format=%(refname:short)") == "main"
    assert len(git(repo, "worktree", "list").splitlines()) == 1


@pytest.mark.slow
def test_a_cancel_and_a_pause_work_at_once_while_a_directory_is_made(tmp_path: Path) -> None:
    tidegate, repo = ours(tmp_path), repository(tmp_path / "repo")
    git(repo, "config", "filter.slow.smudge", f"touch {tmp_path}/begun; exec sleep 600")
    (repo / ".gitattributes").write_text("b filter=slow\n")
    commit(repo, "b")
    service = tidegate.start("serve")
    where = json.dumps({"worktree": str(repo)})
    tidegate("submit", "--name", "one", "--cwd", where, "--", "true")
    until((tmp_path / "begun").exists)
    tidegate("cancel", "one")
    until(lambda: tidegate.states() == {"one": "cancelled"})
    (tmp_path / "begun").unlink()
    tidegate("submit", "--name", "two", "--cwd", where, "--", "true")
    until((tmp_path / "begun").exists)
    tidegate("pause", "--now")
    until(lambda: tidegate.states()["two"] == "queued")
    (tmp_path / "begun").unlink()
    tidegate("resume")
    until((tmp_path / "begun").exists)
    service.terminate()
    assert service.wait(30) == 0, "it waits for no git"
    git(repo, "config", "filter.slow.smudge", "cat")
    second = tidegate.start("serve")
    until(lambda: tidegate.states() == {"one": "cancelled", "two": "succeeded"})
    until(lambda: git(repo, "branch", "--format=%(refname:short)") == "main")
    second.terminate()
    assert second.wait(30) == 0


CHECKED = """
[batch]
name = "demo"
[[job]]
id = "judged"
cwd = { copy = "dir" }
max_attempts = 1
command = ["sh", "-c", "pwd > where"]
check = { command = ["sh", "-c", "cat where; test $(cat where) = $(pwd)"] }
[[job]]
id = "two"
cwd = { worktree = "repo" }
command = ["sh", "-c", "echo x > b; git add b; git commit -qm b"]
check = { command = ["sh", "-c", "echo y > graded; test -e b"] }
"""


@pytest.mark.slow
def test_a_check_works_where_the_agent_has_worked(tmp_path: Path) -> None:
    tidegate, repo = ours(tmp_path), repository(tmp_path / "repo")
    (tmp_path / "dir").mkdir()
    done = tidegate("run", tidegate.batch(CHECKED))
    assert tidegate.states() == {"judged": "succeeded", "two": "succeeded"}, done.stderr
    assert len(git(repo, "worktree", "list").splitlines()) == 2, "what the check left behind is kept"
    assert (tmp_path / "state" / "work" / "2" / "1" / "repo" / "graded").exists()


@pytest.mark.slow
def test_a_drain_waits_for_no_directory(tmp_path: Path) -> None:
    tidegate, repo = ours(tmp_path), repository(tmp_path / "repo")
    git(repo, "config", "filter.slow.smudge", f"touch {tmp_path}/begun; exec sleep 600")
    (repo / ".gitattributes").write_text("b filter=slow\n")
    commit(repo, "b")
    process = tidegate.start("run", tidegate.batch(SLOW))
    until((tmp_path / "begun").exists)
    process.terminate()
    assert process.wait(30) == 143
    assert tidegate.states() == {"slow": "queued"}
    git(repo, "config", "filter.slow.smudge", "cat")
    tidegate("run", "batch.toml")
    assert tidegate.states() == {"slow": "succeeded"}
    assert git(repo, "branch", "--format=%(refname:short)") == "main"
