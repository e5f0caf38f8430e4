"""What is removed of the output of ended jobs, and what never is."""

from __future__ import annotations

import fcntl
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from filled import RULES, Night, job
from installed import Tidegate, until

from tidegate import allowed, places
from tidegate.allowed import Typed, Wrong
from tidegate.model import Batch, Kind, Limit, Limited, Succeeded
from tidegate.retention import Keep, Output, Swept, forgettable, surplus, sweep

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
KB = 100_000  # bytes of one output
ALL = Keep(age=0, size=None)


def left(night: Night) -> set[str]:
    """The attempts that still have output: "JOB/N"."""
    root = places.attempts(night.state)
    return {str(path.parent.relative_to(root)) for path in root.glob("*/*/stdout.log")}


def done(night: Night, keep: Keep, now: datetime | None = None, *, dry: bool = False) -> Swept:
    swept = Swept()
    for swept in sweep(night.state, night.store, now or night.now, keep, dry=dry):  # noqa: B007
        pass
    return swept


@pytest.fixture
def night(tmp_path: Path) -> Night:
    """Jobs 1, 2 and 3 have ended, 10 minutes after one another; 4 failed once and is queued, 5 runs, 6 is queued."""
    made = Night(tmp_path / "state")
    made.submit("b", *[job(f"j{n}") for n in range(1, 7)])
    made.enter()
    for n in range(1, 6):
        ((_, attempt),) = made.claim()
        made.output(attempt, b"x" * KB)
        made.now += timedelta(minutes=10)
        if n < 4:
            made.store.finish(attempt, Succeeded("done"), made.now, exit=0, rules=RULES)
        elif n == 4:
            limit = Limited(Limit(kind=Kind.USAGE_LIMIT, evidence="no"))
            made.store.finish(attempt, limit, made.now, exit=1, rules=RULES)
            made.store.set_priority(4, -10, made.now)
    return made


def test_output_older_than_the_age_goes_and_the_jobs_stay(night: Night) -> None:
    swept = done(night, Keep(age=25 * 60, size=None))
    assert left(night) == {"3/1", "4/1", "5/1"}
    assert (swept.jobs, swept.attempts) == (2, 2)
    assert len(night.store.jobs()) == 6
    assert not (places.attempts(night.state) / "1").exists()


def test_the_oldest_output_goes_until_no_more_is_left_than_may_be(night: Night) -> None:
    swept = done(night, Keep(age=None, size=4 * KB + 60_000))
    assert left(night) == {"2/1", "3/1", "4/1", "5/1"}
    assert swept.size >= KB
    assert swept.left <= 4 * KB + 60_000


def test_output_of_queued_and_running_jobs_is_never_removed(night: Night) -> None:
    assert done(night, Keep(age=0, size=0)).jobs == 3
    assert done(night, Keep(age=0, size=0)).left < 3 * KB
    assert left(night) == {"4/1", "5/1"}


def test_a_dry_run_counts_the_same_and_removes_nothing(night: Night) -> None:
    told = done(night, ALL, dry=True)
    assert len(left(night)) == 5
    assert told == done(night, ALL)


def test_without_bounds_nothing_is_removed(night: Night) -> None:
    assert done(night, Keep(age=None, size=None), NOW + timedelta(days=9999)).jobs == 0


def test_an_attempt_that_is_still_held_stays(night: Night) -> None:
    lock = places.attempt(night.state, 2, 1) / "lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert done(night, ALL).jobs == 2
        assert "2/1" in left(night)
    assert done(night, ALL).jobs == 1


def test_an_attempt_that_a_job_began_since_it_was_seen_as_ended_stays(night: Night) -> None:
    steps = sweep(night.state, night.store, night.now, ALL)
    for _ in range(5):  # it has looked at all of them
        next(steps)
    later = places.attempt(night.state, 1, 2)
    later.mkdir()
    (later / "stdout.log").write_bytes(b"new")
    assert [*steps][-1].attempts == 3
    assert left(night) == {"1/2", "4/1", "5/1"}


def test_no_link_is_followed(night: Night, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "1").mkdir(parents=True)
    for path in (mine / "file", mine / "1" / "stdout.log"):
        path.write_text("mine" * 1_000_000)
    attempt = places.attempt(night.state, 1, 1)
    (attempt / "link").symlink_to(mine / "file")
    (attempt / "directory").symlink_to(mine)
    (attempt / "work" / "deep").mkdir(parents=True)
    (attempt / "work" / "deep" / "up").symlink_to("..")
    shutil.rmtree(places.attempts(night.state) / "2")
    (places.attempts(night.state) / "2").symlink_to(mine)
    shutil.rmtree(places.attempt(night.state, 3, 1))
    places.attempt(night.state, 3, 1).symlink_to(mine / "1")
    swept = done(night, ALL)
    assert not swept.resisted
    assert swept.size < 1_000_000
    assert not attempt.exists()
    assert {path.name for path in mine.rglob("*")} == {"1", "file", "stdout.log"}


def test_output_of_a_job_that_nobody_knows_is_as_old_as_its_directory(night: Night) -> None:
    stray = places.attempt(night.state, 77, 2)
    stray.mkdir(parents=True)
    (stray / "stdout.log").write_bytes(b"x")
    assert done(night, Keep(age=60, size=None), datetime.now(UTC)).jobs == 3
    assert "77/2" in left(night)
    assert done(night, Keep(age=60, size=None), datetime.now(UTC) + timedelta(minutes=2)).jobs == 1
    assert "77/2" not in left(night)


def test_what_is_none_of_ours_is_left_alone(night: Night) -> None:
    root = places.attempts(night.state)
    (root / "notes").mkdir()
    (root / "1" / "notes.txt").write_text("mine")
    done(night, ALL)
    assert (root / "notes").is_dir()
    assert (root / "1" / "notes.txt").read_text() == "mine"


def test_an_empty_place_has_nothing_to_clean(tmp_path: Path) -> None:
    night = Night(tmp_path / "state")
    assert done(night, ALL) == Swept()


def test_a_deeply_nested_directory_is_removed_or_told_and_never_raises(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = places.attempt(night.state, 1, 1)
    monkeypatch.chdir(place)
    for _ in range(1500):
        Path("d").mkdir()
        os.chdir("d")
    os.chdir(night.state)
    swept = done(night, ALL)
    assert "2/1" not in left(night)
    if place.exists():
        assert any("nested" in line or "too long" in line for line in swept.resisted)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may remove everything")
def test_what_cannot_be_removed_is_told(night: Night) -> None:
    closed = places.attempt(night.state, 1, 1) / "closed"
    (closed / "in").mkdir(parents=True)
    closed.chmod(0o500)
    swept = done(night, ALL)
    closed.chmod(0o700)
    assert "denied" in swept.resisted[0]
    assert swept.jobs == 2


def test_the_longest_ended_come_first_and_of_equals_the_older_job() -> None:
    outputs = [
        Output(job=n, launches=1, size=10, ended_at=NOW - timedelta(hours=hours) if hours else None)
        for n, hours in ((5, 1), (4, 3), (3, 3), (2, None), (1, 2))
    ]
    assert [one.job for one in surplus(outputs, NOW, Keep(age=None, size=0))] == [3, 4, 1, 5]
    assert [one.job for one in surplus(outputs, NOW, Keep(age=7200, size=None))] == [3, 4, 1]
    assert [one.job for one in surplus(outputs, NOW, Keep(age=7200, size=15))] == [3, 4, 1, 5]
    assert [one.job for one in surplus(outputs, NOW, Keep(age=7200, size=45))] == [3, 4, 1]


# --- forgetting ---


def test_only_what_nobody_can_hand_in_again_is_forgotten(night: Night) -> None:
    """Batch b still has work; batch old ended wholly; of batch cli the first job was named by its number."""
    night.store.submit(Batch("old"), [job("x"), job("y")], night.now)
    cli = night.store.submit(Batch("cli"), [job(""), job("named"), job("")], night.now, whole=False).jobs
    for one in (*(found.id for found in night.store.jobs(batch=2)), *cli[:2]):
        night.store.cancel(one, night.now, by="me")
    later = night.now + timedelta(minutes=1)
    old = [found.id for found in night.store.jobs(batch=2)]
    assert forgettable(night.store, later) == [*old, cli[0]]
    assert forgettable(night.store, night.now - timedelta(days=1)) == []
    assert night.store.forget(forgettable(night.store, later), later) == 3
    assert {found.name for found in night.store.jobs()} >= {"j1", "named", "j6"}


@pytest.mark.slow
def test_clean_forgets_only_when_it_is_told_to_and_knows_an_age(tidegate: Tidegate) -> None:
    assert tidegate("run", tidegate.batch(BATCH)).returncode == 0
    refused = tidegate("clean", "--forget", "--larger", "0")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "would forget 2 jobs" in tidegate("clean", "--older", "0", "--forget", "--dry-run").stdout
    assert len(tidegate.states()) == 2
    (told,) = tidegate.lines("clean", "--older", "0", "--forget")
    assert (told["jobs"], told["forgotten"]) == (2, 2)
    assert tidegate.states() == {}
    assert "2 launches" in tidegate("run", "batch.toml").stdout


# --- while serving ---


def test_serve_removes_at_its_start_what_is_beyond_the_bounds(tidegate: Tidegate) -> None:
    assert tidegate("run", tidegate.batch(BATCH)).returncode == 0
    tidegate.env["TIDEGATE_RETENTION__SIZE"] = "0"
    process = tidegate.start("serve", "--log-format", "json")
    log = tidegate.place / "started.0"
    until(lambda: '"output removed"' in log.read_text())
    assert '"jobs": 2' in log.read_text()
    assert not list(places.attempts(tidegate.state).iterdir())
    process.terminate()
    assert process.wait(10) == 0


# --- sizes ---


@pytest.mark.parametrize(
    ("said", "size"),
    [("5GB", 5 * 10**9), ("500M", 5 * 10**8), ("1.5GiB", 3 * 2**29), ("20 kb", 20_000), ("7", 7), ("0", 0), ("9B", 9)],
)
def test_a_size_is_bytes_or_text_with_a_unit(said: str, size: int) -> None:
    assert allowed.size(said) == allowed.size(Typed(said)) == size


@pytest.mark.parametrize("said", ["", "5 GBs", "-1", "1e400", "nan", "inf", "M", "5G B", "9999TB", True, [], None])
def test_what_is_no_size_is_refused_in_words(said: object) -> None:
    with pytest.raises(Wrong, match=r"must be .*not "):
        allowed.size(Typed(said) if isinstance(said, str) else said)


# --- the verb ---


BATCH = """
[[job]]
id = "loud"
command = ["seq", "30000"]
[[job]]
id = "other"
command = ["true"]
"""


@pytest.mark.slow
def test_clean_removes_what_the_flags_say_and_a_finished_job_stays_finished(tidegate: Tidegate) -> None:
    assert tidegate("run", tidegate.batch(BATCH)).returncode == 0
    assert "removed the output of 0 jobs" in tidegate("clean").stdout
    told = tidegate("clean", "--older", "0", "--dry-run")
    assert told.stdout.startswith("would remove the output of 2 jobs (2 attempts, ")
    (told_json,) = tidegate.lines("clean", "--larger", "0")
    assert (told_json["jobs"], told_json["attempts"], told_json["resisted"]) == (2, 2, [])
    assert told_json["bytes"] > 100_000
    logs = tidegate("logs", "loud")
    assert (logs.returncode, logs.stdout) == (0, "")
    assert "was removed" in logs.stderr
    assert tidegate.states() == {"loud": "succeeded", "other": "succeeded"}
    again = tidegate("run", "batch.toml")
    assert "launch" not in again.stdout


@pytest.mark.slow
def test_clean_follows_the_configuration_where_no_flag_says_otherwise(tidegate: Tidegate) -> None:
    assert tidegate("run", tidegate.batch(BATCH)).returncode == 0
    tidegate.env["TIDEGATE_RETENTION__SIZE"] = "1kB"
    assert tidegate("clean", "--older", "1d").stdout.startswith("removed the output of 0 jobs")
    assert tidegate("clean").stdout.startswith("removed the output of 2 jobs")


def test_clean_makes_nothing_in_an_empty_place(tidegate: Tidegate) -> None:
    assert tidegate("clean").stdout == "removed the output of 0 jobs (0 attempts, 0 B); 0 B left\n"
    assert not tidegate.state.exists()


@pytest.mark.parametrize(
    ("flag", "said"), [("--older", "soon"), ("--older", "-1"), ("--larger", "5 boxes"), ("--larger", "nan")]
)
def test_a_bound_that_is_none_is_refused(tidegate: Tidegate, flag: str, said: str) -> None:
    refused = tidegate("clean", f"{flag}={said}")
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"tidegate clean: error: argument {flag}: must be")
    assert refused.stderr.count("\n") == 1
