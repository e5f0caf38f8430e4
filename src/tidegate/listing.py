"""Runs the program whose lines a batch's `foreach` is made of."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Timer

from tidegate import allowed

MOST = 300.0  # seconds


def printed(directory: Path, argv: Sequence[str]) -> str:
    """What a program prints in a directory; its stderr is this process's. Raises OSError or ValueError."""
    with subprocess.Popen(
        argv, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None, "it is a pipe"
        bound = Timer(MOST, _end, [process])
        bound.start()
        try:
            raw = process.stdout.read(allowed.TEXT_MOST + 1)
            if len(raw) > allowed.TEXT_MOST:
                raise ValueError(f"prints more than {allowed.TEXT_MOST:,} bytes")
            code = process.wait()
        finally:
            bound.cancel()
            _end(process)
    if code:
        how = f"was ended by signal {-code} (it may take {MOST:.0f} s)" if code < 0 else f"exited with {code}"
        raise ValueError(how)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("prints what is not UTF-8 text") from None


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
