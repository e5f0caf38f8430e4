"""What a job's stages leave for one another: files in the directories of their attempts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import structlog

from tidegate import redact, stages
from tidegate.model import Job

log = structlog.get_logger()

ANSWER = "answer"  # what the agent answered, in the directory of its attempt
MOST = 16 * 1024 * 1024  # bytes of an answer that is what the agent printed
FED = 20_000  # bytes of what a check printed that are given back
LAST = 64 * 1024  # bytes at the end of an output in which its last line is looked for


def write(directory: Path, text: str) -> None:
    """Leave an agent's answer; where that cannot be written, the stage that wants it will say so.

    Where the answer is what the agent printed, and `text` the end of that, it is all of it.
    """
    path, said = directory / ANSWER, text.encode(errors="replace")
    try:
        printed = _end_of(directory / "stdout.log", MOST)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(printed if printed.rstrip().endswith(said) else said)
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        log.warning("answer not written", path=str(path), reason=str(error))


def _end_of(path: Path, most: int) -> bytes:
    """The last bytes of a file; none where there is no such file."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - most, 0))
            return file.read(most)
    except OSError:
        return b""


def environment(job: Job, directory: Path) -> Mapping[str, str]:
    """The variables of a stage behind the agent's; `directory` is that of its own attempt."""
    if job.work is None or not job.stage:
        return {}
    agent = directory.parent / str(job.work.attempt)
    answer = agent / (ANSWER if job.work.answered else "stdout.log")
    return {"TIDEGATE_STAGE": job.stage, "TIDEGATE_RESULT_FILE": str(answer), "TIDEGATE_AGENT_DIR": str(agent)}


def lacking(job: Job, directory: Path) -> str:
    """The file without which a stage cannot begin, "" for none."""
    wanted = environment(job, directory).get("TIDEGATE_RESULT_FILE", "")
    return wanted if wanted and not Path(wanted).is_file() else ""


def feedback(job: Job, directory: Path) -> str:
    """The end of what a check printed to which the agent is to answer, without secrets."""
    if job.work is None:
        return ""
    check = directory.parent / str(job.work.feedback)
    errors = _end_of(check / "stderr.log", FED // 2)
    printed = _end_of(check / "stdout.log", FED - len(errors))
    return redact.redacted("\n".join(part.decode(errors="replace").strip() for part in (printed, errors) if part))


def grade(directory: Path) -> str:
    """The last line that an attempt printed, where it is JSON with a score; else ""."""
    lines = _end_of(directory / "stdout.log", LAST).decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return last if last.startswith("{") and stages.score_of(last) is not None else ""
