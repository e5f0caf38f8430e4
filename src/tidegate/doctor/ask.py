"""Starts programs that tell something about themselves, as agents are started, and takes what they print."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from tidegate import launch
from tidegate.errors import NotLaunched

SECONDS = 15.0  # that an answer may take
GRACE = 1.0
MOST = 64 * 1024  # bytes of an answer that are read


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a program ended, and what it printed; `exit` None where it did not end in time or could not be started."""

    exit: int | None = None
    stdout: str = ""
    stderr: str = ""
    refused: str = ""


def ask(commands: Sequence[Sequence[str]], environ: Mapping[str, str], *, seconds: float = SECONDS) -> list[Answer]:
    """The answers of programs that run side by side, in the order of their commands; each gets `seconds`."""
    return anyio.run(_ask, commands, environ, seconds) if commands else []


async def _ask(commands: Sequence[Sequence[str]], environ: Mapping[str, str], seconds: float) -> list[Answer]:
    answers = [Answer() for _ in commands]

    async def one(number: int, place: Path) -> None:
        answers[number] = await _answer(tuple(commands[number]), environ, place, seconds)

    with tempfile.TemporaryDirectory(prefix="tidegate-doctor-") as place:
        async with anyio.create_task_group() as asking:
            for number in range(len(commands)):
                asking.start_soon(one, number, Path(place) / str(number))
    return answers


async def _answer(argv: tuple[str, ...], environ: Mapping[str, str], place: Path, seconds: float) -> Answer:
    order = launch.Order(argv=argv, cwd=Path("/"), env=environ, marker=f"doctor-{os.getpid()}-{place}")
    try:
        child = await launch.launch(order, place, {})
    except NotLaunched as error:
        return Answer(refused=str(error))
    ended = None
    with anyio.move_on_after(seconds):
        ended = await child.wait()
    if ended is None:
        with anyio.CancelScope(shield=True):
            await child.end(GRACE)
        await child.wait()
    await child.sweep(GRACE)
    stdout, stderr = (_read(place / f"{stream}.log") for stream in ("stdout", "stderr"))
    return Answer(exit=ended.code if ended else None, stdout=stdout, stderr=stderr)


def _read(path: Path) -> str:
    with path.open("rb") as opened:
        return opened.read(MOST).decode(errors="replace")
