"""The small programs do what their first lines say."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def run(name: str, *args: object, job: str = "a/1") -> "subprocess.CompletedProcess[bytes]":
    argv = [sys.executable, str(HERE / name), *map(str, args)]
    return subprocess.run(argv, capture_output=True, env={**os.environ, "TIDEGATE_JOB": job}, timeout=50)


def stamps(file: Path) -> list[str]:
    return [json.loads(line)["event"] for line in file.read_text().splitlines()]


def test_the_wrapper_tells_a_full_minute_ahead_and_succeeds_from_then_on(tmp_path: Path) -> None:
    limited = run("limited_wrapper.py", tmp_path)
    assert (limited.returncode, limited.stdout) == (255, b"")
    line = r"Rate limit from agent: You've hit your limit · resets 1?\d(:\d\d)?[ap]m \(America/Los_Angeles\)\n"
    assert re.fullmatch(line, limited.stderr.decode())
    resets_at = int((tmp_path / "resets_at").read_text())
    assert resets_at % 60 == 0
    assert 55 < resets_at - time.time() <= 120
    assert run("limited_wrapper.py", tmp_path).returncode == 255
    (tmp_path / "resets_at").write_text(str(int(time.time())))
    assert run("limited_wrapper.py", tmp_path).returncode == 0
    launches = (tmp_path / "launches").read_text().split()
    assert launches[1::2] == ["255", "255", "0"]


def test_the_stamper_tells_when_two_attempts_of_a_job_overlap(tmp_path: Path) -> None:
    file = tmp_path / "stamps"
    assert run("stamper.py", file, 0).returncode == 0
    argv = [sys.executable, str(HERE / "stamper.py"), str(file), "20"]
    with subprocess.Popen(argv, env={**os.environ, "TIDEGATE_JOB": "a/1"}) as first:
        while stamps(file) != ["start", "end", "start"]:
            time.sleep(0.02)
        run("stamper.py", file, 0, job="a/2")
        run("stamper.py", file, 0, job="a/1")
        first.kill()
    run("stamper.py", file, 0, 3)
    assert stamps(file) == ["start", "end", "start", "start", "end", "overlap", "end", "start", "end"]


def test_the_stamper_tells_when_it_was_asked_to_end(tmp_path: Path) -> None:
    file = tmp_path / "stamps"
    with subprocess.Popen([sys.executable, str(HERE / "stamper.py"), str(file), "20"]) as agent:
        while not file.exists() or stamps(file) != ["start"]:
            time.sleep(0.02)
        agent.terminate()
    assert agent.returncode == 143
    assert stamps(file) == ["start", "term"]


@pytest.mark.parametrize(
    ("mode", "printed"),
    [
        ("long_line", b"x" * 3_000_000 + b"\ndone\n"),
        ("invalid_utf8", b"before \xff\xfe\x80 after\n\xc3\n"),
        ("no_newline", b"done, without an end of line"),
        ("nothing", b""),
    ],
)
def test_odd_output_comes_whole(mode: str, printed: bytes) -> None:
    done = run("odd.py", mode, 7)
    assert done.returncode == 7
    assert done.stdout == printed


def test_a_long_stream_json_line_is_one_line_of_valid_json() -> None:
    (line,) = run("odd.py", "long_json").stdout.splitlines()
    assert len(line) > 3_000_000
    assert json.loads(line)["type"] == "user"


@pytest.mark.parametrize(("mode", "same_session"), [("server", True), ("server_setsid", False)])
def test_a_server_stays_behind(mode: str, same_session: bool, tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    argv = [sys.executable, str(HERE / "odd.py"), mode, "0", str(pidfile)]
    with (tmp_path / "out").open("w") as out, subprocess.Popen(argv, stdout=out, start_new_session=True) as agent:
        agent.wait(timeout=10)
    server = int(pidfile.read_text())
    assert (os.getsid(server) == agent.pid) == same_session
    os.kill(server, signal.SIGKILL)


def test_a_deaf_agent_ends_only_by_kill(tmp_path: Path) -> None:
    argv = [sys.executable, str(HERE / "odd.py"), "ignores_term", "0", str(tmp_path / "pid")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == b"deaf\n"
        agent.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            agent.wait(timeout=0.3)
        agent.kill()
    assert agent.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("how", "code"), [("HUP", -signal.SIGHUP), ("KILL", -signal.SIGKILL), ("1", 1)])
def test_a_struck_agent_dies_once(how: str, code: int, tmp_path: Path) -> None:
    awaited = tmp_path / "launches"
    argv = [sys.executable, str(HERE / "struck_once.py"), str(tmp_path), how, str(awaited)]
    with subprocess.Popen(argv) as agent:
        with pytest.raises(subprocess.TimeoutExpired):
            agent.wait(timeout=0.2)
        awaited.touch()
    assert agent.returncode == code
    assert subprocess.run(argv, capture_output=True).stdout == b"done\n"


def test_the_sleeper_sleeps_and_exits_as_told() -> None:
    done = subprocess.run([HERE / "sleeper.sh", "0", "4"], capture_output=True, timeout=10)
    assert (done.returncode, done.stdout) == (4, b"sleeping\nawake\n")
