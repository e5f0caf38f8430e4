"""What codex writes of its account's windows into the file of a session, `sessions/Y/M/D/rollout-TIME-THREAD.jsonl`.

After each answer it adds a line of the type `token_count` whose `rate_limits` are the windows, `primary` and
`secondary`, or null (0.169.0).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from tidegate import resets
from tidegate.agents.reading import frames
from tidegate.agents.reading.frames import Json
from tidegate.model import LENGTHS, Warned, Window

DEEP = 256 * 1024  # bytes at the end of the file in which the last answer is told of
CLOSE = 0.02  # by which a window's length may differ from that of its kind: 299 minutes are five hours
SLOTS = ("primary", "secondary")


def warnings(thread: str, environment: Mapping[str, str]) -> Iterator[Warned]:
    """How much of each window was used when a thread was answered last; nothing where its file does not tell."""
    try:
        place = _place(UUID(thread), environment)
        lines = _end(place).splitlines() if place is not None else []
    except (OSError, ValueError):
        return
    for line in reversed(lines):
        limits = _limits(line) if b'"rate_limits"' in line else {}
        if limits:
            yield from _told(limits, _written(line))
            return


def _place(thread: UUID, environment: Mapping[str, str]) -> Path | None:
    """The file of a thread: a directory has the name of the day on which it began, which its id (version 7) says."""
    home = environment.get("CODEX_HOME") or f"{environment.get('HOME') or '~'}/.codex"
    began = datetime.fromtimestamp((thread.int >> 80) / 1000, UTC)
    for days in (0, -1, 1):  # of local time
        folder = Path(home).expanduser() / "sessions" / f"{began + timedelta(days=days):%Y/%m/%d}"
        found = next(iter(folder.glob(f"rollout-*-{thread}.jsonl")), None)
        if found is not None:
            return found
    return None


def _end(place: Path) -> bytes:
    """The end of a file; an agent may have put something else in its place."""
    fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        status = os.fstat(fd)
        return os.pread(fd, DEEP, max(status.st_size - DEEP, 0)) if stat.S_ISREG(status.st_mode) else b""
    finally:
        os.close(fd)


def _limits(line: bytes) -> Json:
    frame = frames.parsed(line) or {}
    is_count = frames.text(frame, "payload", "type") == "token_count"
    return frames.table(frame, "payload", "rate_limits") if is_count else {}


def _written(line: bytes) -> datetime | None:
    try:
        written = datetime.fromisoformat(frames.text(frames.parsed(line) or {}, "timestamp"))
    except ValueError:
        return None
    return written.astimezone(UTC) if written.tzinfo is not None else None


def _told(limits: Json, at: datetime | None) -> Iterator[Warned]:
    for slot in SLOTS:
        told = frames.table(limits, slot)
        used, window = told.get("used_percent"), _window(told.get("window_minutes"))
        if at is not None and window is not None and isinstance(used, int | float) and not isinstance(used, bool):
            reset = resets.epoch(told.get("resets_at"))
            yield Warned(window=window, used=used / 100, at=at, resets_at=reset.at if reset else None)


def _window(minutes: object) -> Window | None:
    """The kind of a window by its length; which of the two slots it is in says nothing."""
    if not isinstance(minutes, int | float):
        return None
    lengths = ((window, length.total_seconds() / 60) for window, length in LENGTHS.items())
    return next((window for window, length in lengths if abs(minutes - length) <= CLOSE * length), None)
