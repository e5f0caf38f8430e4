"""A real state directory, and ways to break it by hand."""

from __future__ import annotations

import shutil
import signal
import subprocess
from contextlib import closing
from pathlib import Path

import apsw
from installed import Tidegate

from tidegate import places


def real(place: Path) -> Tidegate:
    """Jobs that a service has worked on: two have succeeded, one has failed twice, and a fourth is skipped for that.

    By number: 1 well (it has a secret), 2 after, 3 bad, 4 vain, 5 paused, 6 later (for the day after tomorrow).
    """
    program = Tidegate(place, env={"TIDEGATE_RETRY__FIRST": "0s"})
    for job in (
        "--name well --env API_KEY=hush-hush-hush --env PLAIN=yes -- sh -c echo",
        "--name after --after well -- true",
        "--name bad --max-attempts 2 -- false",
        "--name vain --after bad -- true",
        "--name paused --batch other --in 1s -- true",
        "--name later --batch other --in 48h --env A_TOKEN=quiet -- true",
    ):
        done = program("submit", *job.split())
        assert done.returncode == 0, done.stderr
    assert program("pause", "job:5", "--reason", "lunch").returncode == 0
    serving = program.start("serve")
    assert program("wait", "1-4").returncode == 1
    serving.send_signal(signal.SIGINT)
    assert serving.wait() == 0
    return program


def copied(made: Tidegate, place: Path) -> Tidegate:
    """The same elsewhere, to be broken."""
    shutil.copytree(made.state, place / "state", ignore=shutil.ignore_patterns("bell"))
    return Tidegate(place, env=dict(made.env))


def sql(state: Path, statement: str, *, careless: bool = True) -> None:
    """Change a database by hand; `careless`: without its own checks of values and references."""
    with closing(apsw.Connection(str(places.database(state)))) as db:
        if careless:
            db.execute("PRAGMA ignore_check_constraints = ON")
        else:
            db.execute("PRAGMA foreign_keys = ON")
        db.execute(statement)


def asked(state: Path, question: str) -> list[tuple[object, ...]]:
    with closing(apsw.Connection(str(places.database(state)))) as db:
        return list(db.execute(question))


def sleeper(mark: str, place: Path) -> subprocess.Popen[bytes]:
    """A process that carries the mark of an attempt."""
    env = {"TIDEGATE_ATTEMPT": mark, "PATH": "/usr/bin:/bin"}
    return subprocess.Popen(["sleep", "60"], env=env, cwd=place, start_new_session=True)
