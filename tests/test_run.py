"""The verb `run`: continuing, exit codes, signals, time-outs."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from installed import Started, Tidegate, until

from tidegate import places
from tidegate.model import Batch, NewJob, Spec
from tidegate.stores import sqlite

PROGRAMS = Path(__file__).parent / "programs"
CREDIT = "echo 'Credit balance is too low' >&2; exit 1"
LIMIT = 'echo "You\'ve hit your limit · resets 11:59pm (UTC)" >&2; exit 1'


def shell(id: str, script: str, **more: object) -> str:
    return json.dumps({"id": id, "command": ["sh", "-c", script], **more}) + "\n"


def named(batch: str) -> str:
    return json.dumps({"batch": {"name": batch}}) + "\n"


def cpu(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_batch_that_succeeds_exits_0_and_says_where_its_state_is(tidegate: Tidegate) -> None:
    done = tidegate("run", tidegate.batch(shell("a", "true") + shell("b/1#2", "echo hi"), "b.jsonl"))
    assert (done.returncode, tidegate.states()) == (0, {"a": "succeeded", "b/1#2": "succeeded"}), done.stderr
    assert "2 jobs: 2 succeeded" in done.stdout
    assert "2 launches = 2 succeeded" in done.stdout
    assert str(tidegate.state) in done.stdout


def test_a_failed_job_is_tried_again_and_then_failed_and_the_exit_code_is_1(tidegate: Tidegate) -> None:
    batch = tidegate.batch(shell("bad", "echo no such luck >&2; exit 7", max_attempts=2), "b.jsonl")
    tidegate.env["TIDEGATE_RETRY__FIRST"] = "0.1"
    done = tidegate("run", batch)
    assert done.returncode == 1, done.stderr
    (job,) = tidegate.lines("list")
    assert (job["state"], job["attempts"]) == ("failed", 2)
    assert job["reason"] == "exit 7: no such luck"


def test_jobs_without_their_directory_stop_no_account(tidegate: Tidegate) -> None:
    jobs = [{"id": f"j{n}", "agent": "claude", "prompt": "hi", "cwd": "/no/such/place"} for n in range(5)]
    done = tidegate("run", tidegate.batch("\n".join(map(json.dumps, jobs)), "b.jsonl"))
    assert done.returncode == 5, done.stderr
    assert set(tidegate.states().values()) == {"error"}
    assert [hold for hold in tidegate.lines("status")[0]["holds"] if hold["origin"] == "human"] == []


def test_the_summary_of_a_run_is_one_object_where_that_is_asked_for(tidegate: Tidegate) -> None:
    batch = tidegate.batch(named("own") + shell("a", "true") + shell("bad", "exit 3", max_attempts=1), "b.jsonl")
    done = tidegate("run", batch, "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["code"], told["batch"], told["left"]) == (1, 1, "own", [])
    assert (told["jobs"]["succeeded"], told["jobs"]["failed"], told["launches"]) == (1, 1, 2)
    assert told["outcomes"] == {"succeeded": 1, "failed": 1}
    assert [one["id"] for one in map(json.loads, tidegate("plan", batch, "--json").stdout.splitlines())] == ["a", "bad"]


def test_running_a_file_again_continues_it(tidegate: Tidegate, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    first = shell("a", f"echo a >> {marks}") + shell("b", f"echo b >> {marks}")
    assert tidegate("run", tidegate.batch(first, "b.jsonl")).returncode == 0
    more = shell("a", f"echo a >> {marks}") + shell("b", f"echo B >> {marks}") + shell("c", f"echo c >> {marks}")
    done = tidegate("run", tidegate.batch(more, "b.jsonl"))
    assert done.returncode == 0, done.stderr
    assert sorted(marks.read_text().split()) == ["a", "b", "c"], "finished jobs stay finished, new ones are added"
    assert "definitions changed" in done.stderr
    assert "3 jobs: 3 succeeded" in done.stdout


@pytest.mark.slow
def test_a_changed_job_that_waits_takes_its_new_definition_only_with_update(tidegate: Tidegate, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    tidegate("pause", "command")
    old = tidegate.start("run", tidegate.batch(shell("a", f"echo old >> {marks}"), "b.jsonl"))
    until(lambda: (tidegate.state / "tidegate.db").exists() and tidegate.events("supervisor entered"))
    old.send_signal(signal.SIGINT)
    assert old.wait(20) == 130
    tidegate("resume", "command")
    done = tidegate("run", tidegate.batch(shell("a", f"echo new >> {marks}"), "b.jsonl"), "--update")
    assert done.returncode == 0, done.stderr
    assert marks.read_text() == "new\n"


def test_a_batch_that_waits_for_a_limit_exits_75_when_it_says_so(tidegate: Tidegate) -> None:
    done = tidegate("run", tidegate.batch(shell("a", LIMIT), "b.jsonl"), "--on-limit", "exit")
    assert done.returncode == 75, done.stderr
    assert "the gate of command shut once, still shut" in done.stdout
    (job,) = tidegate.lines("list")
    assert (job["state"], job["attempts"]) == ("queued", 0)


@pytest.mark.slow
def test_a_moments_back_off_is_waited_out_even_by_a_batch_that_leaves_at_a_limit(
    tidegate: Tidegate, tmp_path: Path
) -> None:
    tidegate.env |= {"TIDEGATE_LIMITS__RATE_FIRST": "1", "TIDEGATE_LIMITS__JITTER": "0"}
    busy = "echo 'API Error: Repeated 529 Overloaded errors' >&2; exit 1"
    once = f"[ -e {tmp_path}/once ] && exit 0; touch {tmp_path}/once; {busy}"
    done = tidegate("run", tidegate.batch(shell("a", once), "b.jsonl"), "--on-limit", "exit")
    assert done.returncode == 0, done.stderr
    assert [event["data"]["outcome"] for event in tidegate.events("attempt ended")] == ["limited", "succeeded"]


@pytest.mark.slow
def test_a_batch_that_can_start_nothing_says_what_it_waits_for(tidegate: Tidegate) -> None:
    tidegate("pause", "command", "--reason", "lunch")
    process = tidegate.start("run", tidegate.batch(shell("a", "true") + shell("b", "true"), "b.jsonl"))
    log = tidegate.place / "started.0"
    until(lambda: "waiting" in log.read_text())
    (line,) = [json.loads(line) for line in log.read_text().splitlines() if '"waiting"' in line]
    assert line["jobs"] == 2
    assert "lunch" in line["reason"]
    used = cpu(process.pid)
    time.sleep(3)
    assert cpu(process.pid) - used < 0.6, "to wait is no work"
    tidegate("resume", "command")
    assert process.wait(20) == 0


def test_a_batch_that_waits_for_a_person_exits_6_and_says_so(tidegate: Tidegate) -> None:
    done = tidegate("run", tidegate.batch(shell("a", CREDIT) + shell("b", "true", account="other"), "b.jsonl"))
    assert done.returncode == 6, done.stderr
    assert tidegate.states() == {"a": "queued", "b": "succeeded"}
    assert "Credit balance is too low" in done.stdout + done.stderr
    assert "Credit balance is too low" in tidegate("status").stdout


def test_a_batch_whose_rest_needs_a_job_that_waits_for_a_person_ends_too(tidegate: Tidegate) -> None:
    file = tidegate.batch(shell("a", CREDIT), "b.jsonl")
    assert tidegate("run", file).returncode == 6
    store = sqlite.open(places.database(tidegate.state))
    (a,) = store.jobs()
    b = NewJob(name="b", account="other", spec=Spec(command=("true",), cwd="/"), needs=(a.id,))
    store.submit(Batch(a.batch_name), [b], a.created_at, whole=False)
    store.close()
    done = tidegate("run", file, timeout=30)
    assert done.returncode == 6, done.stderr
    assert tidegate.states() == {"a": "queued", "b": "queued"}
    assert "1 wait: waits for other jobs" in done.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_drains_and_a_second_one_requeues_what_runs(tidegate: Tidegate, number: int, code: int) -> None:
    batch = tidegate.batch(shell("a", "sleep 60") + shell("b", "true"), "b.jsonl")
    process = tidegate.start("run", batch, "--slots", "1")
    until(lambda: (tidegate.state / "tidegate.db").exists() and tidegate.events("attempt claimed"))
    process.send_signal(number)
    until(lambda: "draining" in (tidegate.place / "started.0").read_text())
    assert process.poll() is None, "it waits for what runs"
    process.send_signal(number)
    assert process.wait(20) == code
    assert tidegate.states() == {"a": "queued", "b": "queued"}
    assert "2 wait: the next `tidegate run` of this file goes on" in (tidegate.place / "started.0").read_text()
    (job, _) = tidegate.lines("list")
    assert job["attempts"] == 0, "an interruption is not charged"


def test_usr1_pauses_and_usr2_resumes(tidegate: Tidegate, tmp_path: Path) -> None:
    jobs = "".join(shell(f"j{n}", f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done") for n in range(2))
    process = tidegate.start("run", tidegate.batch(jobs, "b.jsonl"), "--slots", "1")
    until(lambda: (tidegate.state / "tidegate.db").exists() and tidegate.events("attempt claimed"))
    process.send_signal(signal.SIGUSR1)
    until(lambda: tidegate.events("gate shut"))
    (tmp_path / "go").touch()
    until(lambda: tidegate.events("attempt ended"))
    until(lambda: list(tidegate.states().values()) == ["succeeded", "queued"])
    assert process.poll() is None
    process.send_signal(signal.SIGUSR2)
    assert process.wait(20) == 0
    assert list(tidegate.states().values()) == ["succeeded"] * 2


def test_a_stopped_terminal_pauses_and_its_return_lifts_that_hold(tidegate: Tidegate, tmp_path: Path) -> None:
    jobs = "".join(shell(f"j{n}", f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done") for n in range(2))
    process = tidegate.start("run", tidegate.batch(jobs, "b.jsonl"), "--slots", "1")
    until(lambda: (tidegate.state / "tidegate.db").exists() and tidegate.events("attempt claimed"))
    process.send_signal(signal.SIGTSTP)
    until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    assert [event["data"]["origin"] for event in tidegate.events("gate shut")] == ["host"]
    (tmp_path / "go").touch()
    process.send_signal(signal.SIGCONT)
    assert process.wait(20) == 0
    assert len(tidegate.events("gate lifted")) == 1


@pytest.mark.slow
def test_an_attempt_that_works_too_long_is_ended(tidegate: Tidegate) -> None:
    done = tidegate("run", tidegate.batch(shell("a", "sleep 60", timeout=1, max_attempts=1), "b.jsonl"))
    assert done.returncode == 1, done.stderr
    assert tidegate.lines("list")[0]["reason"] == "no end after 1 s"


@pytest.mark.slow
def test_an_attempt_that_sleeps_in_silence_is_ended_but_not_one_that_computes(tidegate: Tidegate) -> None:
    busy = f"{sys.executable} -c 'import time\nwhile time.process_time() < 5: pass'"
    jobs = shell("asleep", "sleep 60", silence=2, max_attempts=1) + shell("busy", busy, silence=2, max_attempts=1)
    done = tidegate("run", tidegate.batch(jobs, "b.jsonl"))
    assert done.returncode == 1, done.stderr
    reasons = {job["job"]: job["reason"] for job in tidegate.lines("list")}
    assert reasons == {"asleep": "no output for 2 s", "busy": ""}


def test_a_second_supervisor_is_refused_by_name(tidegate: Tidegate) -> None:
    process = tidegate.start("run", tidegate.batch(shell("a", "sleep 60"), "b.jsonl"))
    until(lambda: (tidegate.state / "tidegate.db").exists() and tidegate.events("attempt claimed"))
    done = tidegate("run", tidegate.batch(shell("b", "true"), "c.jsonl"))
    assert done.returncode == 5
    assert f"pid {process.pid}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_account_runs_as_many_as_its_concurrency(tidegate: Tidegate, tmp_path: Path) -> None:
    head = json.dumps({"accounts": {"slow": {"concurrency": 2}}}) + "\n"
    count = f"ls {tmp_path}/run | wc -l >> {tmp_path}/most; sleep 0.2; rm {tmp_path}/run/$TIDEGATE_JOB"
    (tmp_path / "run").mkdir()
    jobs = "".join(shell(f"j{n}", f"touch {tmp_path}/run/$TIDEGATE_JOB; {count}", account="slow") for n in range(8))
    done = tidegate("run", tidegate.batch(head + jobs, "b.jsonl"), "--slots", "8")
    assert done.returncode == 0, done.stderr
    assert max(map(int, (tmp_path / "most").read_text().split())) <= 2


def test_the_agent_sees_the_allowed_part_of_the_environment(tidegate: Tidegate) -> None:
    tidegate.env |= {"ANTHROPIC_API_KEY": "k", "MY_OWN_SECRET": "s"}
    job = shell(
        "a", 'echo "$TIDEGATE_JOB $TIDEGATE_BATCH ${ANTHROPIC_API_KEY-no} ${MY_OWN_SECRET-no} $MORE"', env={"MORE": "m"}
    )
    batch = tidegate.batch(json.dumps({"batch": {"name": "env"}}) + "\n" + job, "b.jsonl")
    assert tidegate("run", batch).returncode == 0
    assert tidegate("logs", "a").stdout == "a env k no m\n"


def test_every_file_of_the_state_belongs_to_its_owner_alone(tidegate: Tidegate) -> None:
    os.umask(0o002)
    assert tidegate("run", tidegate.batch(shell("a", "echo hi"), "b.jsonl")).returncode == 0
    for path in [tidegate.state, *tidegate.state.rglob("*")]:
        mode = path.stat().st_mode & 0o777
        assert mode == (0o700 if path.is_dir() else 0o600), (path, oct(mode))


def test_a_drain_that_is_asked_for_ends_run_as_a_signal_does(tidegate: Tidegate, tmp_path: Path) -> None:
    waiting = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    process = tidegate.start("run", tidegate.batch(shell("a", waiting) + shell("b", "true"), "b.jsonl"), "--slots", "1")
    until(lambda: (tidegate.state / "tidegate.db").exists() and tidegate.events("attempt claimed"))
    tidegate.start("drain")
    until(lambda: "draining" in (tmp_path / "started.0").read_text())
    (tmp_path / "go").touch()
    assert process.wait(20) == 143
    assert tidegate.states() == {"a": "succeeded", "b": "queued"}


# --- beside a service --------------------------------------------------------------------------


def serving(tidegate: Tidegate) -> Started:
    number = len(tidegate.started)
    process = tidegate.start("serve", "--slots", "2")
    until(lambda: '"serving"' in (tidegate.place / f"started.{number}").read_text())
    return process


def test_run_beside_a_service_submits_to_it_and_follows_its_own_batch_alone(tidegate: Tidegate) -> None:
    service = serving(tidegate)
    other = tidegate.start("run", tidegate.batch(shell("other", "sleep 1"), "a.jsonl"))
    done = tidegate("run", tidegate.batch(shell("a", "true") + shell("b", "exit 3", max_attempts=1), "b.jsonl"))
    assert done.returncode == 1, done.stderr
    assert "2 jobs: 1 succeeded, 1 failed" in done.stdout
    assert "2 launches = " in done.stdout
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert {line["job"] for line in told if "job" in line} == {"a", "b"}
    assert [line["event"] for line in told].count("attempt ended") == 2
    assert other.wait(20) == 0
    assert service.poll() is None, "it serves on"


@pytest.mark.slow
def test_run_beside_a_service_counts_each_launch_once_whoever_began_it_and_whoever_adopts_it(
    tidegate: Tidegate, tmp_path: Path
) -> None:
    service = serving(tidegate)
    batch = tidegate.batch(shell("a", f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"), "b.jsonl")
    first = tidegate.start("run", batch)
    until(lambda: list(tidegate.states().values()) == ["running"])
    second = tidegate.start("run", batch)
    until(lambda: '"batch submitted"' in (tidegate.place / "started.2").read_text())
    service.kill()
    service.wait()
    serving(tidegate)
    until(lambda: tidegate.events("attempt adopted"))
    (tmp_path / "go").touch()
    assert first.wait(20) == second.wait(20) == 0
    assert "  1 launch = 1 succeeded\n" in (tidegate.place / "started.1").read_text()
    assert "  1 launch, 1 of them adopted = 1 succeeded\n" in (tidegate.place / "started.2").read_text()


@pytest.mark.slow
def test_run_beside_a_service_tells_what_was_running_before_it_came(tidegate: Tidegate, tmp_path: Path) -> None:
    serving(tidegate)
    batch = tidegate.batch(shell("a", f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"), "b.jsonl")
    first = tidegate.start("run", batch)
    until(lambda: list(tidegate.states().values()) == ["running"])
    second = tidegate.start("run", batch)
    until(lambda: '"batch submitted"' in (tidegate.place / "started.2").read_text())
    (tmp_path / "go").touch()
    assert first.wait(20) == second.wait(20) == 0
    assert "  1 launch, 1 of them adopted = 1 succeeded\n" in (tidegate.place / "started.2").read_text()


@pytest.mark.slow
def test_run_beside_a_service_says_that_its_slots_are_not_heeded(tidegate: Tidegate) -> None:
    service = serving(tidegate)
    batch = tidegate.batch('{"id": "a", "command": ["true"]}\n', "b.jsonl")
    done = tidegate("run", batch, "--slots", "9", "--log-format", "console")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "slots not heeded" in line]
    assert f"pid {service.pid} serves with its own" in line
    assert "slots not heeded" not in tidegate("run", batch).stderr, "nobody asked for any"


@pytest.mark.slow
def test_run_beside_a_service_leaves_its_batch_to_it_when_interrupted(tidegate: Tidegate, tmp_path: Path) -> None:
    service = serving(tidegate)
    waiting = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    process = tidegate.start("run", tidegate.batch(shell("a", waiting), "b.jsonl"))
    until(lambda: tidegate.events("attempt claimed"))
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    assert f"left to the service, which goes on with it: pid {service.pid}" in (tmp_path / "started.1").read_text()
    (tmp_path / "go").touch()
    until(lambda: tidegate.states() == {"a": "succeeded"})


@pytest.mark.slow
def test_run_says_that_nobody_works_while_the_service_is_away_and_goes_on_with_the_next(
    tidegate: Tidegate, tmp_path: Path
) -> None:
    first = serving(tidegate)
    waiting = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    process = tidegate.start("run", tidegate.batch(shell("a", waiting), "b.jsonl"))
    until(lambda: tidegate.events("attempt claimed"))
    first.kill()
    first.wait()
    log = tmp_path / "started.1"
    until(lambda: "nobody works on it" in log.read_text())
    serving(tidegate)
    until(lambda: "worked on again" in log.read_text())
    (tmp_path / "go").touch()
    assert process.wait(20) == 0
    assert "1 jobs: 1 succeeded" in log.read_text() or "1 job: 1 succeeded" in log.read_text()


@pytest.mark.slow
def test_run_beside_a_service_takes_new_definitions_with_update(tidegate: Tidegate, tmp_path: Path) -> None:
    serving(tidegate)
    tidegate("pause", "command")
    old = tidegate.start("run", tidegate.batch(shell("a", f"echo old > {tmp_path}/mark"), "b.jsonl"))
    until(lambda: "waiting" in (tmp_path / "started.1").read_text())
    old.send_signal(signal.SIGINT)
    assert old.wait(10) == 130
    new = tidegate.start("run", tidegate.batch(shell("a", f"echo new > {tmp_path}/mark"), "b.jsonl"), "--update")
    until(lambda: "definitions updated" in (tmp_path / "started.2").read_text())
    tidegate("resume", "command")
    assert new.wait(20) == 0
    assert (tmp_path / "mark").read_text() == "new\n"


def test_run_beside_a_service_exits_at_a_limit_and_for_a_person_as_alone(tidegate: Tidegate) -> None:
    serving(tidegate)
    limited = tidegate("run", tidegate.batch(shell("a", LIMIT), "a.jsonl"), "--on-limit", "exit")
    assert limited.returncode == 75, limited.stderr
    tidegate("resume", "command")
    credit = tidegate("run", tidegate.batch(shell("b", CREDIT, account="other"), "b.jsonl"))
    assert credit.returncode == 6, credit.stderr
    assert "Credit balance is too low" in credit.stdout


def test_a_signal_at_the_end_does_not_take_the_summary_away(tidegate: Tidegate, tmp_path: Path) -> None:
    process = tidegate.start("run", tidegate.batch(shell("a", f"touch {tmp_path}/ran; sleep 0.3"), "b.jsonl"))
    until((tmp_path / "ran").exists)
    while process.poll() is None:
        process.terminate()  # again and again: some come after the work and before the summary
        time.sleep(0.002)
    assert "1 job: 1 " in (tmp_path / "started.0").read_text()
