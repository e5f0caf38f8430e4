"""Result files that a wrapper left behind: where the real error hides when both streams say nothing of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from pathlib import Path

from msgspec.structs import replace

from tidegate.agents.reading.tail import refusal_in
from tidegate.model import Limit

FILES_MOST = 100  # files that are read of one attempt
BYTES_MOST = 1024 * 1024  # of one file
TEXTS_MOST = 200  # texts of one file


def refusal(directory: Path, patterns: Sequence[str], since: datetime, at: datetime, zone: tzinfo) -> Limit | None:
    """What the JSON files below `directory` that match a pattern and changed after `since` say no about; not sure.

    Every text in a file is read by the rules of a failed attempt's last lines. A file that cannot be read, is larger
    than BYTES_MOST or is no JSON says nothing.
    """
    for path in _changed(directory, patterns, since):
        for text in _texts(_read(path)):
            limit = refusal_in(text, at, zone)
            if limit is not None:
                return replace(limit, sure=False, evidence=f"{path.relative_to(directory)}: {limit.evidence}")
    return None


def _changed(directory: Path, patterns: Sequence[str], since: datetime) -> Iterator[Path]:
    seen: set[Path] = set()
    for pattern in patterns:
        for path in directory.glob(pattern):
            if len(seen) >= FILES_MOST:
                return
            if path not in seen and _is_fresh(path, since):
                seen.add(path)
                yield path


def _is_fresh(path: Path, since: datetime) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return path.is_file() and status.st_size <= BYTES_MOST and status.st_mtime >= since.timestamp()


def _read(path: Path) -> object:
    try:
        document: object = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return document


def _texts(document: object) -> Iterator[str]:
    """The texts of a document, outermost first; TEXTS_MOST at the most."""
    todo, told = [document], 0
    while todo and told < TEXTS_MOST:
        one = todo.pop(0)
        if isinstance(one, str):
            told += 1
            yield one
        elif isinstance(one, dict):
            todo += one.values()
        elif isinstance(one, list):
            todo += one
