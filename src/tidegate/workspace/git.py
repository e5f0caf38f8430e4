"""Runs git, and what else takes its time: bounded, stoppable at once, and never asking anybody anything."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock

from tidegate.errors import NoWorkspace
from tidegate.redact import redacted

GLANCE = 0.02  # seconds between two tries for a lock
SAID = 300  # characters of what git says
ELSEWHERE = (  # variables that point git to another repository than the one it is told
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE"),
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_PREFIX"),
)
SILENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "SSH_ASKPASS_REQUIRE": "never",
    "GCM_INTERACTIVE": "never",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
# No hook of a repository runs in here, as none was written for this; those of the agents' own git do. Nothing is left
# behind that works on in the background.
CONFIG = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0", "-c", "maintenance.auto=0")
HOPELESS = (
    *("authentication failed", "could not read username", "could not read password", "permission denied"),
    *("repository not found", "not appear to be a git repository", "does not exist", "host key verification failed"),
    *("dubious ownership", "unsupported protocol", "couldn't find remote ref"),
)


VAGUE = "fatal: Could not read from remote repository"


class Stopped(Exception):
    """Raised in the middle of a task whose end was asked for."""


class Stop:
    """Ends a task in another thread: at its next step, and the git that it runs at once."""

    def __init__(self) -> None:
        self._asked = Event()
        self._lock = Lock()
        self._group: int | None = None

    def ask(self) -> None:
        """End it now."""
        with self._lock:
            self._asked.set()
            if self._group is not None:
                _kill(self._group)

    def heed(self) -> None:
        """Raise Stopped where its end was asked for."""
        if self._asked.is_set():
            raise Stopped

    def wait(self, seconds: float) -> None:
        """Wait a moment. Raises Stopped."""
        self._asked.wait(seconds)
        self.heed()

    @contextmanager
    def running(self, start: Callable[[], subprocess.Popen[bytes]]) -> Iterator[subprocess.Popen[bytes]]:
        """A process, the leader of its group, that ends with the task."""
        with self._lock:
            self.heed()
            process = start()
            self._group = process.pid
        try:
            yield process
        finally:
            with self._lock:
                self._group = None
                if process.returncode is None:
                    _kill(process.pid)
            process.wait()
            with suppress(ChildProcessError):
                while os.waitpid(-process.pid, os.WNOHANG)[0]:  # what it left may have come to this process
                    pass


def _kill(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


class Task:
    """Making, or looking at, one directory: what git runs with, until when, and whose end can be asked for.

    `environment` is git's own; `patience` is the seconds that all of it may take, by `monotonic`.
    """

    def __init__(
        self, environment: Mapping[str, str], patience: float, monotonic: Callable[[], float], stop: Stop | None = None
    ) -> None:
        self.stop = stop or Stop()
        passed = {key: value for key, value in environment.items() if key not in ELSEWHERE}
        self._environment = {"GIT_ASKPASS": "", **passed, **SILENT}  # which is for whoever sets it on purpose
        self._patience = patience
        self._monotonic = monotonic
        self._end = monotonic() + patience

    def again(self, patience: float) -> Task:
        """Another one of the same, whose end nobody has asked for."""
        return Task(self._environment, patience, self._monotonic)

    @property
    def now(self) -> float:
        """Monotonic seconds."""
        return self._monotonic()

    def heed(self) -> None:
        """Between two steps. Raises Stopped, or NoWorkspace where it has taken too long."""
        self.stop.heed()
        if self._monotonic() > self._end:
            raise self._late("it")

    def git(self, *args: str, at: Path | str, more: Mapping[str, str] | None = None) -> str:
        """What git prints, without the last newline. Raises NoWorkspace with its last word."""
        code, out, err = self.tried(*args, at=at, more=more)
        if code:
            raise self.failed(err or f"exit {code}")
        return out

    def tried(self, *args: str, at: Path | str, more: Mapping[str, str] | None = None) -> tuple[int, str, str]:
        """How git ends, what it prints, and what it says. Raises NoWorkspace only where it cannot run, or not end."""
        self.stop.heed()
        with os.fdopen(os.memfd_create("out"), "w+b") as out, os.fdopen(os.memfd_create("err"), "w+b") as err:

            def start() -> subprocess.Popen[bytes]:
                return subprocess.Popen(
                    ["git", *CONFIG, "-C", os.fspath(at), *args],  # noqa: S607 - the one that agents find
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env={**self._environment, **(more or {})},
                    start_new_session=True,
                )

            try:
                with self.stop.running(start) as process:
                    code = process.wait(max(self._end - self._monotonic(), 0.0))
            except FileNotFoundError:
                raise NoWorkspace("git is not installed, or not on the PATH that agents get") from None
            except subprocess.TimeoutExpired:
                raise self._late(f"git {args[0]}") from None
            self.stop.heed()
            return code, _whole(out.fileno()).removesuffix("\n"), _whole(err.fileno())

    def failed(self, said: str) -> NoWorkspace:
        """What git said, as a reason."""
        lines = [line.strip() for line in said.splitlines() if line.strip()] or ["git failed"]
        fatal = [line for line in lines if line.startswith(("fatal:", "error:"))] or lines[-1:]
        if fatal[0].startswith(VAGUE):  # what ssh said before it tells more
            fatal = [line for line in lines[: lines.index(fatal[0])] if not line.startswith("hint:")][-1:] or fatal
        word = redacted(fatal[0]).partition(": ")
        text = word[2] if word[0] in {"fatal", "error"} else "".join(word)
        whole = said.lower()
        return NoWorkspace(text[:SAID], retry=not any(one in whole for one in HOPELESS))

    @contextmanager
    def alone(self, directory: Path | str, *, make: bool = False) -> Iterator[None]:
        """Hold a directory, to `make` where it is not there, against every other task, of other processes too.

        Raises NoWorkspace after a while.
        """
        while True:
            if make:
                Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                while not _locked(fd):
                    if self._monotonic() > self._end:
                        raise self._late(f"others that work on {directory}")
                    self.stop.wait(GLANCE)
                if make and not _is(fd, directory):
                    continue  # its holder has removed it
                yield
                return
            finally:
                os.close(fd)

    def _late(self, what: str) -> NoWorkspace:
        return NoWorkspace(f"{what} took longer than {self._patience:.0f} s", retry=True)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is(fd: int, directory: Path | str) -> bool:
    """Whether a directory is still the one that was opened."""
    try:
        return os.path.samestat(os.fstat(fd), os.stat(directory))  # noqa: PTH116 - of what may be a text
    except FileNotFoundError:
        return False


def _whole(fd: int) -> str:
    data = os.pread(fd, os.fstat(fd).st_size, 0)
    return data.decode("utf-8", "surrogateescape")
