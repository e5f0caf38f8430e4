"""The bottom line of a terminal: one line that stays true while the log scrolls above it."""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TextIO

ERASE = "\r\x1b[K"


class Bottom:
    """Stands in for a terminal's stream: what is written scrolls above the line that `show` keeps.

    What a terminal that has hung up cannot show is lost: it must not end the supervisor that drains because of it.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line = ""

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write above the line; at the end of a line of text the bottom line is drawn again."""
        again = self._line if text.endswith("\n") else ""
        self._write(f"{ERASE if self._line else ''}{text}{again}")
        return len(text)

    def show(self, line: str) -> None:
        """Replace the bottom line; "" takes it away."""
        width = shutil.get_terminal_size().columns - 1
        self._line = line if len(line) <= width else f"{line[: width - 1]}…"
        self._write(f"{ERASE}{self._line}")

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()
