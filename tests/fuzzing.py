"""Runs many command lines in one process, each as the program would: its arguments, its environment, its streams.

As a program it reads cases as JSON from standard input and writes what came of each to standard output.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from io import TextIOWrapper
from pathlib import Path
from types import FrameType

from tidegate import __main__ as program

SECONDS = 10  # that a command line may take
PLAIN = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "COLUMNS": ""}


@dataclass(frozen=True, slots=True)
class Case:
    """One command line; `files` are written before it, `env` is on top of an environment without surprises."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    stdin: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        short = [word if len(word) < 60 else f"{word[:60]}... ({len(word)})" for word in self.argv]
        files = "".join(f"; {name}: {text[:300]!r}" for name, text in self.files.items())
        return f"{short} {dict(self.env) or ''}{f' < {self.stdin[:100]!r}' if self.stdin else ''}{files}"


@dataclass(frozen=True, slots=True)
class Told:
    """What a case came to: its exit code, what it printed, and what it made or changed outside of its state."""

    case: Case
    code: int
    stdout: str
    stderr: str
    outside: list[str]


def run(cases: Iterable[Case], place: Path) -> list[Told]:
    """Run the cases one after the other in `place`; their state is `place/home/state`."""
    asked = list(cases)
    done = subprocess.run(
        [sys.executable, __file__, str(place)],
        input=json.dumps([asdict(case) for case in asked]),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [Told(case, **one) for case, one in zip(asked, json.loads(done.stdout), strict=True)]


# --- inside --------------------------------------------------------------------------------------


def main() -> None:
    """Read the cases, run them, write what came of them."""
    cases = [Case(**one) for one in json.load(sys.stdin)]
    place, out = Path(sys.argv[1]), os.dup(1)
    home = place / "home" / "below"
    home.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGALRM, _too_late)
    results = [_run(case, place, home) for case in cases]
    with os.fdopen(out, "w") as opened:
        json.dump(results, opened)
        opened.flush()
    os._exit(0)  # whatever a command line left behind


class TooLateError(BaseException):
    """Raised when a command line takes longer than it may."""


def _too_late(_number: int, _frame: FrameType | None) -> None:
    raise TooLateError


def _run(case: Case, place: Path, home: Path) -> dict[str, object]:
    os.chdir(home)
    for name, text in case.files.items():
        Path(name).write_text(text, errors="surrogatepass")
    before = _seen(place)
    os.environ.clear()
    os.environ.update({**PLAIN, "HOME": str(home), "TIDEGATE_STATE_DIR": str(state(place)), **case.env})
    _streams(place, case.stdin)
    sys.argv = ["tidegate", *case.argv]
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.alarm(SECONDS)
    try:
        code = program.done()
        sys.stderr.flush()
    except TooLateError:
        code = -signal.SIGALRM
    signal.alarm(0)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    os.chdir(home)
    stdout, stderr = ((place / name).read_bytes().decode(errors="surrogateescape") for name in ("stdout", "stderr"))
    after = _seen(place)
    outside = sorted(os.fsencode(name).decode(errors="backslashreplace") for name in after - before)
    return {"code": code, "stdout": stdout, "stderr": stderr, "outside": outside}


def _streams(place: Path, stdin: str) -> None:
    """New standard streams, as an interpreter that starts makes them."""
    (place / "stdin").write_text(stdin, errors="surrogatepass")
    for number, (name, flags) in enumerate((("stdin", os.O_RDONLY), *((one, WRITE) for one in ("stdout", "stderr")))):
        fd = os.open(place / name, flags, 0o600)
        os.dup2(fd, number)
        os.close(fd)
    sys.stdin = TextIOWrapper(os.fdopen(0, "rb", closefd=False), encoding="utf-8", errors="surrogateescape")
    sys.stdout = TextIOWrapper(os.fdopen(1, "wb", closefd=False), encoding="utf-8", errors="surrogateescape")
    sys.stderr = TextIOWrapper(os.fdopen(2, "wb", closefd=False), encoding="utf-8", errors="backslashreplace")


WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def state(place: Path) -> Path:
    """Where the cases have their state."""
    return place / "home" / "state"


def _seen(place: Path) -> set[str]:
    """Every file below `place` but not of the state, with its size; not the streams."""
    found = set()
    for above, directories, files in os.walk(place):
        if Path(above) == place:
            files.clear()
        if Path(above) == place / "home":
            directories[:] = [name for name in directories if name != "state"]
        found |= {f"{above}/{name}" for name in directories}
        found |= {f"{above}/{name} {os.lstat(f'{above}/{name}').st_size}" for name in files}
    return found


if __name__ == "__main__":
    main()
