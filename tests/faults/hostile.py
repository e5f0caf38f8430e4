"""An agent that misbehaves: `hostile.py DEED`, once; the next time it is started it does its work and ends well.

It stamps each start and each end into `stamps` of its working directory, and says there when it finds another of the
same job alive.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

JOB = os.environ.get("TIDEGATE_JOB", "nobody").replace("/", "_")
SHIM = os.getppid()
PLACE = Path("/proc/self/fd/1").readlink().parent
SERVER = "import time\nwhile True:\n print('still here', flush=True)\n time.sleep(0.01)"


def stamp(what: str) -> None:
    with Path("stamps").open("a") as stamps:
        stamps.write(f"{what} {JOB} {os.getpid()}\n")


def claim_to_be_alone() -> None:
    """Hold a lock as long as this process lives, or until it closes everything."""
    fd = os.open(f"{JOB}.alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stamp("beside-another")


def hold(seconds: float = 60.0) -> None:
    """Be busy until `go` appears, as an agent that works."""
    Path(f"{JOB}.ready").touch()
    end = time.monotonic() + seconds
    while not Path("go").exists() and time.monotonic() < end:
        time.sleep(0.01)


def server(*, clean: bool = False) -> None:
    """Leave a process behind that writes on."""
    environment = {} if clean else dict(os.environ)
    subprocess.Popen([sys.executable, "-c", SERVER], env=environment, start_new_session=True)


def twice_forked(work: Callable[[], object]) -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            work()
        os._exit(0)
    os.wait()


def doomed() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    hold()


def bomb() -> None:
    """Three hundred processes in sessions of their own that ignore TERM."""
    for _ in range(300):
        if os.fork() == 0:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            time.sleep(300)
            os._exit(0)


def comet() -> None:
    """A process that lives for a moment only, and leaves its successor in another session."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.003)
        if os.fork():
            os._exit(0)
        os.setsid()


def rename() -> None:
    ctypes.CDLL(None).prctl(15, b") R 1 (Z\n 1 1", 0, 0, 0)
    hold(0.3)


def close_all() -> None:
    os.closerange(0, 4096)
    time.sleep(0.2)


def shut_in(what: str) -> None:
    match what:
        case "pgid":
            if os.fork() == 0:
                os.setpgid(0, 0)
                time.sleep(300)
        case "setsid":
            server()
        case "double-fork":
            twice_forked(server)
        case "bomb":
            bomb()
        case "unmarked":
            twice_forked(lambda: server(clean=True))


def in_its_place(name: str, make: Callable[[Path], object]) -> None:
    (PLACE / name).unlink()
    make(PLACE / name)


def deleted_output() -> None:
    (PLACE / "stdout.log").unlink()
    (PLACE / "stderr.log").unlink()


def truncated_output() -> None:
    print("x" * 5000, flush=True)
    os.truncate(PLACE / "stdout.log", 0)
    print("after", flush=True)


def a_file_instead() -> None:
    shutil.rmtree(PLACE)
    PLACE.touch()


SPOILS: dict[str, Callable[[], object]] = {
    "delete": lambda: shutil.rmtree(PLACE),
    "delete-output": deleted_output,
    "truncate": truncated_output,
    "truncate-lock": lambda: os.truncate(PLACE / "lock", 0),
    "garbage-lock": lambda: (PLACE / "lock").write_text(f"{'9' * 60}\n{'9' * 60}\n"),
    "innocent-lock": lambda: (PLACE / "lock").write_text(f"{os.environ['INNOCENT']}\n"),
    "fifo-lock": lambda: in_its_place("lock", os.mkfifo),
    "fifo-output": lambda: in_its_place("stdout.log", os.mkfifo),
    "directory-output": lambda: in_its_place("stdout.log", Path.mkdir),
    "no-intent": lambda: (PLACE / "attempt.json").unlink(),
    "fifo-intent": lambda: in_its_place("attempt.json", os.mkfifo),
    "chmod": lambda: PLACE.chmod(0),
    "file": a_file_instead,
}


def spoil(what: str) -> None:
    """Break the files of the attempt, and go on working."""
    SPOILS[what]()
    hold()


def signal_shim(what: str) -> None:
    match what:
        case "kill":
            os.kill(SHIM, signal.SIGKILL)
        case "term":
            os.kill(SHIM, signal.SIGTERM)
        case "stop":
            os.kill(SHIM, signal.SIGSTOP)
        case "kill-all":
            os.killpg(SHIM, signal.SIGKILL)
        case "stop-all":
            os.killpg(SHIM, signal.SIGSTOP)
    hold(0.3)


def stay(what: str) -> None:
    shut_in(what)
    hold()


DEEDS: dict[str, Callable[[str], object]] = {
    "leave": shut_in,
    "stay": stay,
    "spoil": spoil,
    "shim": signal_shim,
    "bomb": lambda _: bomb(),
    "comet": lambda _: twice_forked(comet),
    "rename": lambda _: rename(),
    "close": lambda _: close_all(),
    "doomed": lambda _: doomed(),
    "exec": lambda _: os.execlp("sleep", "sleep", "0.2"),
    "well": lambda _: None,
}


def do(deed: str) -> None:
    kind, _, what = deed.partition(":")
    DEEDS[kind](what)


def main() -> None:
    claim_to_be_alone()
    stamp("start")
    print(f"output of {JOB}", flush=True)
    done = Path(f"{JOB}.done")
    if not done.exists():
        done.touch()
        do(sys.argv[1])
    stamp("end")
    os._exit(0)  # which lets go of the lock, too


main()
