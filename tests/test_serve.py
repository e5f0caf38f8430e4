"""The verb `serve`: until told to stop, signals, another configuration, the service manager."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import resource
import shutil
import signal
import socket
import sqlite3
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from installed import Json, Started, Tidegate, until
from msgspec.structs import replace

from tidegate import doorbell, places
from tidegate.model import Ask, Batch, Halt, Hold, NewJob, Origin, Spec
from tidegate.stores import sqlite
from tidegate.stores.sqlite import SqliteStore

Serve = Callable[..., Started]


def shell(name: str, script: str, **more: object) -> NewJob:
    return NewJob(name=name, account="command", spec=Spec(command=("sh", "-c", script), **more))  # type: ignore[arg-type]


def submit(tidegate: Tidegate, *jobs: NewJob, batch: str = "b") -> None:
    """Hand jobs in as any other process does."""
    store = sqlite.open(places.database(tidegate.state))
    store.submit(Batch(batch), jobs, datetime.now(UTC), whole=False)
    store.close()
    doorbell.ring(tidegate.state)


def told(tidegate: Tidegate, number: int = 0) -> list[Json]:
    """What a started program has logged so far."""
    lines = (tidegate.place / f"started.{number}").read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def has_told(tidegate: Tidegate, event: str, number: int = 0) -> list[Json]:
    return [line for line in told(tidegate, number) if line["event"] == event]


@pytest.fixture
def serve(tidegate: Tidegate) -> Serve:
    """Starts `tidegate serve` and waits until it works."""

    def start(*args: str) -> Started:
        number = len(tidegate.started)
        process = tidegate.start("serve", *args)
        until(lambda: has_told(tidegate, "serving", number) or process.poll() is not None)
        return process

    return start


def waits_for(path: Path, then: str = "true") -> str:
    return f"while [ ! -e {path} ]; do sleep 0.05; done; {then}"


def running(tidegate: Tidegate) -> int:
    return list(tidegate.states().values()).count("running")


# --- working -----------------------------------------------------------------------------------


def test_it_works_on_every_batch_until_it_is_told_to_stop(tidegate: Tidegate, serve: Serve) -> None:
    process = serve()
    submit(tidegate, shell("a", "true"), batch="one")
    submit(tidegate, shell("b", "true"), batch="two")
    until(lambda: tidegate.states() == {"a": "succeeded", "b": "succeeded"})
    assert process.poll() is None, "it serves on"
    process.terminate()
    assert process.wait(10) == 0


def test_a_second_one_is_refused_by_name(tidegate: Tidegate, serve: Serve) -> None:
    process = serve()
    done = tidegate("serve")
    assert done.returncode == 5
    assert f"pid {process.pid}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_state_directory_that_is_removed_ends_it_rather_than_let_it_work_unseen(
    tidegate: Tidegate, serve: Serve
) -> None:
    process = serve()
    shutil.rmtree(tidegate.state)
    assert process.wait(20) == 5
    last = (tidegate.place / "started.0").read_text().splitlines()[-1]
    assert last == f"tidegate: {places.database(tidegate.state)}: was removed or replaced while it was open"


def test_a_database_that_was_moved_away_begins_anew_beside_the_output_that_is_left(
    tidegate: Tidegate, serve: Serve
) -> None:
    first = serve()
    submit(tidegate, shell("a", "true"))
    until(lambda: tidegate.states() == {"a": "succeeded"})
    first.terminate()
    first.wait()
    places.database(tidegate.state).rename(tidegate.state / "damaged.db")
    serve()
    submit(tidegate, shell("b", "true"))
    until(lambda: tidegate.states() == {"b": "succeeded"})


@pytest.mark.slow
def test_a_database_that_is_locked_for_a_while_does_not_end_it(tidegate: Tidegate, serve: Serve) -> None:
    process = serve()
    submit(tidegate, shell("a", "sleep 1"))
    until(lambda: running(tidegate) == 1)
    with closing(sqlite3.connect(places.database(tidegate.state), isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN IMMEDIATE")
        time.sleep(15)  # longer than any verb waits
        other.execute("ROLLBACK")
    until(lambda: tidegate.states() == {"a": "succeeded"})
    assert process.poll() is None


def test_a_bad_configuration_at_the_start_is_exit_code_2(tidegate: Tidegate) -> None:
    (tidegate.place / "c.toml").write_text("[supervisor]\nslots = 0\n")
    done = tidegate("serve", "--config", "c.toml")
    assert done.returncode == 2
    assert done.stderr.startswith("tidegate: c.toml: [supervisor] slots: ")
    assert done.stderr.count("\n") == 1
    assert not tidegate.state.exists(), "nothing half-done is left behind"


# --- signals -----------------------------------------------------------------------------------


def test_term_leaves_the_agents_running_and_the_next_start_adopts_them(
    tidegate: Tidegate, serve: Serve, tmp_path: Path
) -> None:
    first = serve("--slots", "3")
    submit(tidegate, *(shell(f"j{n}", f"echo one; {waits_for(tmp_path / 'go')}; echo two; exit {n}") for n in range(3)))
    until(lambda: running(tidegate) == 3)
    first.terminate()
    assert first.wait(10) == 0
    assert running(tidegate) == 3
    serve("--slots", "3")
    (tmp_path / "go").touch()
    until(lambda: "running" not in tidegate.states().values())
    ends = {event["job"]: event["data"]["exit"] for event in tidegate.events("attempt ended")}
    assert ends == {"j0": 0, "j1": 1, "j2": 2}
    assert tidegate("logs", "j1", "--attempt", "1").stdout == "one\ntwo\n"
    assert len(tidegate.events("attempt adopted")) == 3


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_int_drains_and_a_second_signal_requeues_what_runs(tidegate: Tidegate, serve: Serve, second: int) -> None:
    process = serve("--slots", "1")
    submit(tidegate, shell("a", "sleep 60"), shell("b", "true"))
    until(lambda: running(tidegate) == 1)
    process.send_signal(signal.SIGINT)
    until(lambda: has_told(tidegate, "draining"))
    assert process.poll() is None, "it waits for what runs"
    process.send_signal(second)
    assert process.wait(20) == 0
    jobs = {job["job"]: (job["state"], job["attempts"]) for job in tidegate.lines("list")}
    assert jobs == {"a": ("queued", 0), "b": ("queued", 0)}


def test_int_lets_what_runs_end_and_starts_nothing_new(tidegate: Tidegate, serve: Serve, tmp_path: Path) -> None:
    process = serve("--slots", "1")
    submit(tidegate, shell("a", waits_for(tmp_path / "go")), shell("b", "true"))
    until(lambda: running(tidegate) == 1)
    process.send_signal(signal.SIGINT)
    until(lambda: has_told(tidegate, "draining"))
    (tmp_path / "go").touch()
    assert process.wait(20) == 0
    assert tidegate.states() == {"a": "succeeded", "b": "queued"}


@pytest.mark.slow
def test_usr1_pauses_this_host_over_a_restart_until_usr2(tidegate: Tidegate, serve: Serve) -> None:
    process = serve()
    process.send_signal(signal.SIGUSR1)
    until(lambda: tidegate.events("gate shut"))
    process.terminate()
    assert process.wait(10) == 0
    again = serve()
    submit(tidegate, shell("a", "true"))
    time.sleep(1.5)  # a tick, in which it could have started
    assert tidegate.states() == {"a": "queued"}
    again.send_signal(signal.SIGUSR2)
    until(lambda: tidegate.states() == {"a": "succeeded"})


@pytest.mark.parametrize("verb", ["run", "serve"])
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_before_it_listens_does_not_end_it(tidegate: Tidegate, verb: str, number: int) -> None:
    args = ["serve"] if verb == "serve" else ["run", tidegate.batch('{"command": ["true"]}\n', "b.jsonl")]
    process = tidegate.start(*args)
    signals = Path(f"/proc/{process.pid}/status")
    until(lambda: int(signals.read_text().partition("SigCgt:")[2].split()[0], 16) & 1 << (number - 1))
    process.send_signal(number)
    if number == signal.SIGUSR1:
        until(lambda: places.database(tidegate.state).exists() and tidegate.events("gate shut"))
        process.send_signal(signal.SIGUSR2)
    if verb == "serve":
        until(lambda: has_told(tidegate, "serving"))
        process.terminate()
    assert process.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_serve_heeds_a_signal_that_came_before_it_listened(tidegate: Tidegate, number: int) -> None:
    process = tidegate.start("serve")
    signals = Path(f"/proc/{process.pid}/status")
    until(lambda: int(signals.read_text().partition("SigCgt:")[2].split()[0], 16) & 1 << (number - 1))
    process.send_signal(number)
    if number == signal.SIGHUP:
        until(lambda: has_told(tidegate, "configuration read"))
        process.terminate()
    assert process.wait(20) == 0
    assert tidegate("status").stdout.count("nobody works here") == 1


def test_a_closed_terminal_leaves_the_agents_to_the_next_start(tidegate: Tidegate) -> None:
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(tidegate.place)
        os.execve(sys.executable, [sys.executable, "-m", "tidegate", "serve"], tidegate.environment())
    screen = b""
    while b"serving" not in screen:
        screen += os.read(fd, 4096)
    assert b"{" not in screen, "a person reads it"
    submit(tidegate, shell("a", "sleep 60"))
    until(lambda: running(tidegate) == 1)
    while b"1 running" not in screen:
        screen += os.read(fd, 4096)
    os.close(fd)
    until(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid)
    assert tidegate.states() == {"a": "running"}


# --- another configuration ---------------------------------------------------------------------


def test_hup_takes_a_good_configuration_and_keeps_the_old_one_where_it_is_bad(
    tidegate: Tidegate, serve: Serve, tmp_path: Path
) -> None:
    config = tmp_path / "c.toml"
    config.write_text("[supervisor]\nslots = 1\n")
    process = serve("--config", str(config))
    waiting = waits_for(tmp_path / "go")
    submit(tidegate, *(shell(f"j{n}", waiting) for n in range(4)))
    until(lambda: running(tidegate) == 1)
    config.write_text("[supervisor]\nslots = many\n")
    process.send_signal(signal.SIGHUP)
    until(lambda: has_told(tidegate, "configuration refused"))
    (refused,) = has_told(tidegate, "configuration refused")
    assert refused["level"] == "error"
    assert str(config) in refused["reason"]
    assert running(tidegate) == 1
    config.write_text('[supervisor]\nslots = 3\n[accounts.command]\nconcurrency = 2\n[environment.set]\nNEW = "new"\n')
    process.send_signal(signal.SIGHUP)
    until(lambda: running(tidegate) == 2)
    config.write_text("[supervisor]\nslots = 3\n")
    process.send_signal(signal.SIGHUP)
    until(lambda: running(tidegate) == 3)
    assert len(tidegate.events("attempt ended")) == 0, "what runs goes on"


def test_what_is_launched_after_hup_has_the_new_environment(tidegate: Tidegate, serve: Serve, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("")
    process = serve("--config", str(config))
    config.write_text('[environment.set]\nNEW = "new"\n')
    process.send_signal(signal.SIGHUP)
    until(lambda: has_told(tidegate, "configuration read"))
    submit(tidegate, shell("a", "echo $NEW"))
    until(lambda: tidegate.states() == {"a": "succeeded"})
    assert tidegate("logs", "a").stdout == "new\n"


# --- the service manager -----------------------------------------------------------------------


class Manager:
    """A socket as a service manager listens on, and all that it was told."""

    def __init__(self, address: str) -> None:
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(f"\0{address[1:]}" if address.startswith("@") else address)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        with suppress(OSError):
            while told := self._socket.recv(65536):
                self.heard += told.decode().splitlines()

    def status(self) -> str:
        return next((line for line in reversed(self.heard) if line.startswith("STATUS=")), "")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tidegate: Tidegate, tmp_path: Path) -> Iterator[Manager]:
    address = f"@tidegate-test-{uuid.uuid4()}" if request.param == "abstract" else str(tmp_path / "notify")
    tidegate.env["NOTIFY_SOCKET"] = address
    manager = Manager(address)
    yield manager
    manager.close()


def test_the_service_manager_hears_when_it_is_ready_and_how_it_stands(
    tidegate: Tidegate, serve: Serve, manager: Manager, tmp_path: Path
) -> None:
    process = serve("--slots", "1")
    until(lambda: "READY=1" in manager.heard)
    until(lambda: manager.status() == "STATUS=nothing to do")
    submit(tidegate, shell("a", waits_for(tmp_path / "go")), shell("b", "true"))
    until(lambda: manager.status() == "STATUS=1 running, 1 queued")
    tidegate("pause", "command", "--reason", "lunch")
    until(lambda: "command paused by" in manager.status() and "lunch" in manager.status())
    (tmp_path / "c.toml").write_text("")
    manager.heard.clear()
    process.send_signal(signal.SIGHUP)
    until(lambda: "READY=1" in manager.heard)
    assert manager.heard[0] == "RELOADING=1"
    assert manager.heard[1].startswith("MONOTONIC_USEC=")
    process.send_signal(signal.SIGINT)
    until(lambda: "STOPPING=1" in manager.heard and any("EXTEND_TIMEOUT_USEC=" in line for line in manager.heard))
    until(lambda: manager.status().startswith("STATUS=draining: 1 running"))
    (tmp_path / "go").touch()
    assert process.wait(20) == 0


@pytest.mark.slow
def test_the_watchdog_is_fed_only_while_the_process_runs(tidegate: Tidegate, serve: Serve, manager: Manager) -> None:
    tidegate.env["WATCHDOG_USEC"] = "400000"
    process = serve()
    until(lambda: manager.heard.count("WATCHDOG=1") > 3)
    process.send_signal(signal.SIGSTOP)
    until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    fed = manager.heard.count("WATCHDOG=1")
    time.sleep(1)
    assert manager.heard.count("WATCHDOG=1") == fed
    process.send_signal(signal.SIGCONT)
    until(lambda: manager.heard.count("WATCHDOG=1") > fed)


@pytest.mark.slow
def test_the_watchdog_is_not_fed_while_the_store_is_stuck(tidegate: Tidegate, serve: Serve, manager: Manager) -> None:
    tidegate.env["WATCHDOG_USEC"] = "400000"
    process = serve()
    until(lambda: manager.heard.count("WATCHDOG=1") > 1)
    with closing(sqlite3.connect(places.database(tidegate.state), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        process.send_signal(signal.SIGUSR1)  # something to write
        time.sleep(1)
        fed = manager.heard.count("WATCHDOG=1")
        time.sleep(2)
        assert manager.heard.count("WATCHDOG=1") == fed
        other.execute("ROLLBACK")
    until(lambda: manager.heard.count("WATCHDOG=1") > fed)


# --- where the machine lacks something ---------------------------------------------------------


@pytest.mark.slow
def test_a_launch_that_lacks_descriptors_waits_and_costs_the_job_nothing(tidegate: Tidegate, serve: Serve) -> None:
    process = serve()
    used = max(int(fd.name) for fd in Path(f"/proc/{process.pid}/fd").iterdir())
    soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (used + 1, hard))
    submit(tidegate, *(shell(f"j{n}", "true", max_attempts=1) for n in range(3)))
    until(lambda: len(tidegate.events("attempt unclaimed")) > 3)
    assert set(tidegate.states().values()) <= {"queued", "running"}
    (status,) = tidegate.lines("status")
    assert all("out of file descriptors" in hold["reason"] for hold in status["holds"])
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (soft, hard))
    until(lambda: set(tidegate.states().values()) == {"succeeded"})
    assert {job["attempts"] for job in tidegate.lines("list")} == {0}


# --- what others ask for -----------------------------------------------------------------------


def steer(tidegate: Tidegate, do: Callable[[SqliteStore, datetime], object]) -> None:
    """Write to the store as a verb does, and ring."""
    with closing(sqlite.open(places.database(tidegate.state))) as store:
        do(store, datetime.now(UTC))
    doorbell.ring(tidegate.state)


def number(tidegate: Tidegate, name: str) -> int:
    return next(int(job["number"]) for job in tidegate.lines("list") if job["job"] == name)


def pause(tidegate: Tidegate, scope: str, halt: Halt, until: datetime | None = None) -> None:
    def hold(store: SqliteStore, now: datetime) -> None:
        told = Hold(scope=scope, origin=Origin.OPERATOR, since=now, until=until, by="me", reason="lunch", halt=halt)
        store.hold(told, now)

    steer(tidegate, hold)


def resume(tidegate: Tidegate, scope: str) -> None:
    steer(tidegate, lambda store, now: store.lift(scope, now, by="me", origins=[Origin.OPERATOR]))


def process_states(tidegate: Tidegate, name: str) -> set[str]:
    """The states of the living processes of a running job's session, the shim's left out."""
    (lock,) = tidegate.state.glob(f"attempts/{number(tidegate, name)}/*/lock")
    leader = lock.read_text().split()[0]
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            pid, _, rest = stat.read_text().partition(" ")
            fields = rest.rpartition(")")[2].split()
            if fields[3] == leader and pid != leader and fields[0] != "Z":
                found.add(fields[0])
    return found


def test_a_running_job_that_is_cancelled_ends_as_cancelled(tidegate: Tidegate, serve: Serve) -> None:
    serve()
    submit(tidegate, shell("a", "sleep 60"), shell("b", "sleep 60"))
    until(lambda: running(tidegate) == 2)
    steer(tidegate, lambda store, now: store.cancel(number(tidegate, "a"), now, by="me"))
    until(lambda: tidegate.states() == {"a": "cancelled", "b": "running"})
    (job, _) = tidegate.lines("list")
    assert (job["reason"], job["attempts"]) == ("cancelled by me", 0)


def test_a_cancel_survives_a_supervisor_that_is_killed_on_the_way(
    tidegate: Tidegate, serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "stay").touch()
    slow = f"trap 'touch {tmp_path}/told; while [ -e {tmp_path}/stay ]; do sleep 0.05; done; exit 143' TERM"
    first = serve()
    submit(tidegate, shell("a", f"{slow}; sleep 60 & wait"))
    until(lambda: running(tidegate) == 1)
    steer(tidegate, lambda store, now: store.cancel(number(tidegate, "a"), now, by="me"))
    until((tmp_path / "told").exists)
    first.kill()
    first.wait()
    (tmp_path / "stay").unlink()
    until(lambda: [lock for lock in tidegate.state.glob("attempts/*/*/lock") if lock.read_text().count("\n") == 2])
    serve()
    until(lambda: tidegate.states() == {"a": "cancelled"})


def test_a_drain_that_is_asked_for_lets_what_runs_end(tidegate: Tidegate, serve: Serve, tmp_path: Path) -> None:
    process = serve("--slots", "1")
    submit(tidegate, shell("a", waits_for(tmp_path / "go")), shell("b", "true"))
    until(lambda: running(tidegate) == 1)
    steer(tidegate, lambda store, now: store.ask(Ask.DRAIN, now, by="me"))
    until(lambda: has_told(tidegate, "draining"))
    (tmp_path / "go").touch()
    assert process.wait(20) == 0
    assert tidegate.states() == {"a": "succeeded", "b": "queued"}


def test_a_drain_that_nobody_heard_is_let_go_by_the_next_start(tidegate: Tidegate, serve: Serve) -> None:
    serve().terminate()
    tidegate.started[0].wait()
    steer(tidegate, lambda store, now: store.ask(Ask.DRAIN, now, by="me"))
    process = serve()
    until(lambda: has_told(tidegate, "drain refused", 1))
    submit(tidegate, shell("a", "true"))
    until(lambda: tidegate.states() == {"a": "succeeded"})
    assert process.poll() is None


def test_an_attempt_that_nobody_could_read_is_taken_up_when_its_agent_is_known_again(
    tidegate: Tidegate, serve: Serve, tmp_path: Path
) -> None:
    script = waits_for(tmp_path / "go", "echo ok")
    known = f"[agents.mine]\nstart = ['sh', '-c', '{script}']\nprograms = ['mine']\n"
    (tidegate.place / "c.toml").write_text(known)
    tidegate.env |= {"TIDEGATE_CONFIG": "c.toml"}
    first = serve()
    tidegate("submit", "--agent", "mine", "do it")
    until(lambda: running(tidegate) == 1)
    first.kill()
    first.wait()
    (tidegate.place / "c.toml").write_text("")
    second = serve()
    until(lambda: has_told(tidegate, "attempt left alone", 1))
    (tmp_path / "go").touch()
    (tidegate.place / "c.toml").write_text(known)
    second.send_signal(signal.SIGHUP)
    until(lambda: tidegate.states() == {"1": "succeeded"})
    assert len(tidegate.events("attempt claimed")) == 1


# --- pausing what runs -------------------------------------------------------------------------


@pytest.mark.slow
def test_a_pause_that_freezes_makes_what_runs_in_its_scope_stand_still_until_it_is_lifted(
    tidegate: Tidegate, serve: Serve, tmp_path: Path
) -> None:
    serve()
    ticks = f"while [ ! -e {tmp_path}/go ]; do echo tick; sleep 0.05; done"
    other = replace(shell("b", ticks), account="other")
    submit(tidegate, shell("a", ticks), other)
    until(lambda: running(tidegate) == 2)
    pause(tidegate, "command", Halt.FREEZE)
    until(lambda: process_states(tidegate, "a") == {"T"})
    assert process_states(tidegate, "b") != {"T"}, "another account's"
    until(lambda: [event["job"] for event in tidegate.events("attempt frozen")] == ["a"])
    assert tidegate.states() == {"a": "running", "b": "running"}
    resume(tidegate, "command")
    until(lambda: "T" not in process_states(tidegate, "a"))
    until(lambda: [event["job"] for event in tidegate.events("attempt thawed")] == ["a"])
    (tmp_path / "go").touch()
    until(lambda: tidegate.states() == {"a": "succeeded", "b": "succeeded"})


@pytest.mark.slow
def test_what_is_frozen_stays_so_over_a_restart_and_is_thawed_by_whoever_finds_no_hold(
    tidegate: Tidegate, serve: Serve, tmp_path: Path
) -> None:
    first = serve()
    submit(tidegate, shell("a", waits_for(tmp_path / "go")))
    until(lambda: running(tidegate) == 1)
    pause(tidegate, "*", Halt.FREEZE)
    until(lambda: process_states(tidegate, "a") == {"T"})
    first.kill()
    first.wait()
    second = serve()
    until(lambda: tidegate.events("attempt adopted"))
    assert process_states(tidegate, "a") == {"T"}
    second.terminate()
    second.wait()
    assert "; until then 1 attempt stands still\n" in tidegate("resume").stdout
    (told,) = tidegate.lines("resume")
    assert told["left_frozen"] == 1
    assert process_states(tidegate, "a") == {"T"}, "nobody is there to thaw it"
    serve()
    (tmp_path / "go").touch()
    until(lambda: tidegate.states() == {"a": "succeeded"})


@pytest.mark.slow
def test_frozen_time_is_no_working_time_even_over_a_restart(tidegate: Tidegate, serve: Serve, tmp_path: Path) -> None:
    first = serve()
    submit(tidegate, shell("a", waits_for(tmp_path / "go"), timeout=6.0, max_attempts=1))
    until(lambda: running(tidegate) == 1)
    pause(tidegate, "*", Halt.FREEZE)
    until(lambda: process_states(tidegate, "a") == {"T"})
    time.sleep(3)
    first.kill()
    first.wait()
    serve()
    time.sleep(4)  # eight seconds since its launch, of which it has worked two at most
    resume(tidegate, "*")
    until(lambda: "T" not in process_states(tidegate, "a"))
    time.sleep(1.5)  # a look at time-outs
    (tmp_path / "go").touch()
    until(lambda: tidegate.states() == {"a": "succeeded"})


@pytest.mark.slow
def test_a_freeze_with_an_end_is_over_by_itself_even_where_it_takes_every_slot(
    tidegate: Tidegate, serve: Serve, tmp_path: Path
) -> None:
    serve("--slots", "1")
    submit(tidegate, shell("a", waits_for(tmp_path / "go")))
    until(lambda: running(tidegate) == 1)
    pause(tidegate, "*", Halt.FREEZE, until=datetime.now(UTC) + timedelta(seconds=3))
    until(lambda: process_states(tidegate, "a") == {"T"})
    until(lambda: [event["data"]["by"] for event in tidegate.events("gate lifted")] == ["time"])
    assert tidegate.states() == {"a": "running"}, "no claim had to come for that"
    (tmp_path / "go").touch()
    until(lambda: tidegate.states() == {"a": "succeeded"})


@pytest.mark.slow
def test_what_is_frozen_can_be_ended(tidegate: Tidegate, serve: Serve) -> None:
    process = serve()
    submit(tidegate, shell("a", "sleep 60"), shell("b", "sleep 60"))
    until(lambda: running(tidegate) == 2)
    pause(tidegate, "*", Halt.FREEZE)
    until(lambda: process_states(tidegate, "a") == process_states(tidegate, "b") == {"T"})
    steer(tidegate, lambda store, now: store.cancel(number(tidegate, "a"), now, by="me"))
    until(lambda: tidegate.states() == {"a": "cancelled", "b": "running"})
    process.send_signal(signal.SIGINT)
    until(lambda: has_told(tidegate, "draining"))
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert tidegate.states() == {"a": "cancelled", "b": "queued"}


def test_a_pause_that_interrupts_ends_what_runs_and_queues_it_again(
    tidegate: Tidegate, serve: Serve, tmp_path: Path
) -> None:
    serve()
    submit(tidegate, shell("a", f"[ -e {tmp_path}/go ] || exec sleep 60"))
    until(lambda: running(tidegate) == 1)
    pause(tidegate, "batch:b", Halt.INTERRUPT)
    until(lambda: tidegate.states() == {"a": "queued"})
    (job,) = tidegate.lines("list")
    assert job["attempts"] == 0
    assert [event["data"]["reason"] for event in tidegate.events("attempt ended")] == ["paused by me: lunch"]
    (tmp_path / "go").touch()
    resume(tidegate, "batch:b")
    until(lambda: tidegate.states() == {"a": "succeeded"})


# --- another version ---------------------------------------------------------------------------


def install(tidegate: Tidegate, version: str) -> None:
    """Another version in the place, which `python -m tidegate` finds first from now on."""
    copy = tidegate.place / "tidegate"
    shutil.copytree(Path(places.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "__init__.py").write_text(f'"""Another version."""\n\n__version__ = "{version}"\n')


def counting(tmp_path: Path, code: int) -> str:
    """Prints numbered lines until it may go, then the last one, and exits with a code of its own."""
    line = 'n=$((n + 1)); echo "line $n"; echo "error $n" >&2'
    return f"n=0; while [ ! -e {tmp_path}/go ]; do {line}; sleep 0.2; done; echo end; exit {code}"


def agents_alive(tidegate: Tidegate) -> int:
    """How many shims hold their locks."""
    alive = 0
    for lock in tidegate.state.glob("attempts/*/*/lock"):
        with lock.open() as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                alive += bool(opened.read())  # its pid: it has begun
    return alive


def assert_all_is_kept(tidegate: Tidegate, jobs: int) -> None:
    """Each status is the agent's, each launched once, no line is lost or doubled."""
    until(lambda: "running" not in tidegate.states().values())
    ends = {event["job"]: event["data"]["exit"] for event in tidegate.events("attempt ended")}
    assert ends == {f"j{n}": n for n in range(jobs)}
    assert {job["launches"] for job in tidegate.lines("list")} == {1}
    for n in range(jobs):
        *lines, last = tidegate("logs", f"j{n}").stdout.splitlines()
        assert last == "end"
        assert lines == [f"line {k + 1}" for k in range(len(lines))]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_an_upgrade_keeps_every_agent_its_output_and_its_status(
    tidegate: Tidegate, serve: Serve, tmp_path: Path
) -> None:
    process = serve("--slots", "20")
    submit(tidegate, *(shell(f"j{n}", counting(tmp_path, n), max_attempts=1) for n in range(20)))
    until(lambda: agents_alive(tidegate) == 20)
    install(tidegate, "9.9.9")
    done = tidegate("upgrade")
    assert (done.returncode, done.stdout) == (0, f"pid {process.pid} goes on as tidegate 9.9.9\n"), done.stderr
    until(lambda: len(tidegate.events("attempt adopted")) == 20)
    assert has_told(tidegate, "serving")[-1]["version"] == "9.9.9"
    assert process.poll() is None
    assert agents_alive(tidegate) == 20
    assert tidegate("upgrade").returncode == 0, "and once more"
    until(lambda: len(tidegate.events("attempt adopted")) == 40)
    refused = tidegate("serve")
    assert f"pid {process.pid}" in refused.stderr, "its lock was never free"
    (tmp_path / "go").touch()
    assert_all_is_kept(tidegate, 20)
    submit(tidegate, shell("late", "true"))
    until(lambda: tidegate.states()["late"] == "succeeded")
    process.terminate()
    assert process.wait(10) == 0


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_keeps_every_agent_its_output_and_its_status(
    tidegate: Tidegate, serve: Serve, tmp_path: Path, how: int
) -> None:
    first = serve("--slots", "20")
    submit(tidegate, *(shell(f"j{n}", counting(tmp_path, n), max_attempts=1) for n in range(20)))
    until(lambda: agents_alive(tidegate) == 20)
    first.send_signal(how)
    first.wait(10)
    assert agents_alive(tidegate) == 20
    serve("--slots", "20")
    until(lambda: len(tidegate.events("attempt adopted")) == 20)
    (tmp_path / "go").touch()
    assert_all_is_kept(tidegate, 20)


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["configuration", "program"])
def test_an_upgrade_that_would_not_start_leaves_the_old_one_running(
    tidegate: Tidegate, serve: Serve, broken: str
) -> None:
    config = tidegate.place / "c.toml"
    config.write_text("")
    process = serve("--config", str(config))
    if broken == "configuration":
        config.write_text("[supervisor]\nslots = 0\n")
    else:
        (tidegate.place / "tidegate").mkdir()
        (tidegate.place / "tidegate" / "__init__.py").touch()
        (tidegate.place / "tidegate" / "__main__.py").write_text("raise SystemExit('will not start')\n")
    steer(tidegate, lambda store, now: store.ask(Ask.UPGRADE, now, by="me"))
    until(lambda: has_told(tidegate, "upgrade refused"))
    steer(tidegate, lambda store, now: store.ask(Ask.UPGRADE, now, by="me"))
    until(lambda: len(has_told(tidegate, "upgrade refused")) == 2)
    line, _ = has_told(tidegate, "upgrade refused")
    assert ("[supervisor] slots" if broken == "configuration" else "will not start") in line["reason"]
    submit(tidegate, shell("a", "true"))
    until(lambda: any('"attempt ended"' in json.dumps(line) for line in told(tidegate)))
    assert process.poll() is None


def test_an_upgrade_where_nobody_works_says_so(tidegate: Tidegate) -> None:
    done = tidegate("upgrade")
    assert done.returncode == 5
    assert "nobody works here" in done.stderr


def test_a_check_says_whether_it_would_start_and_starts_nothing(tidegate: Tidegate, serve: Serve) -> None:
    serve()
    done = tidegate("serve", "--check")
    assert done.returncode == 0
    assert done.stdout.startswith("tidegate ")


# --- noticing ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_another_process_submits_is_noticed_within_a_tenth_of_a_second(tidegate: Tidegate, serve: Serve) -> None:
    serve()
    for n in range(20):
        submit(tidegate, shell(f"j{n}", "true"))
        time.sleep(0.07 + 0.01 * n)  # not in step with the looks that it takes by itself
    until(lambda: set(tidegate.states().values()) == {"succeeded"})
    at = {(event["event"], event["job"]): datetime.fromisoformat(event["at"]) for event in tidegate.events()}
    took = [(at["attempt claimed", f"j{n}"] - at["job added", f"j{n}"]).total_seconds() for n in range(20)]
    assert statistics.median(took) < 0.1, took


def test_what_another_process_pauses_is_noticed_at_once(tidegate: Tidegate, serve: Serve, tmp_path: Path) -> None:
    serve("--slots", "1")
    submit(tidegate, shell("a", waits_for(tmp_path / "go")), shell("b", "true"))
    until(lambda: running(tidegate) == 1)
    pause(tidegate, "command", Halt.NONE)
    (tmp_path / "go").touch()
    until(lambda: tidegate.states() == {"a": "succeeded", "b": "queued"})
    steer(tidegate, lambda store, now: store.cancel(number(tidegate, "b"), now, by="me"))
    resume(tidegate, "command")
    until(lambda: tidegate.states() == {"a": "succeeded", "b": "cancelled"})
    assert [event["job"] for event in tidegate.events("attempt claimed")] == ["a"]
