"""Writes reports: each file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tidegate.errors import BadInput
from tidegate.report import junit, markdown, page, summary, tables
from tidegate.report.told import Told

SUMMARY = "summary.json"
FORMATS: Mapping[str, tuple[str, Callable[[Told], str]]] = {
    "md": ("report.md", markdown.text),
    "html": ("report.html", page.text),
    "jsonl": ("results.jsonl", tables.jsonl),
    "csv": ("attempts.csv", tables.csv_text),
    "junit": ("junit.xml", junit.text),
    "summary": (SUMMARY, summary.text),
}


def write(told: Told, into: Path, formats: Sequence[str] = tuple(FORMATS)) -> list[Path]:
    """Write these forms of a report into a directory, which is made where it is not there. Raises BadInput."""
    ready(into)
    return [put(into / FORMATS[form][0], FORMATS[form][1](told)) for form in formats]


def ready(into: Path) -> None:
    """Make the directory. Raises BadInput where that cannot be, or nothing can be written there."""
    try:
        into.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{into}: cannot make this directory: {error.strerror}") from None
    if not os.access(into, os.W_OK | os.X_OK):
        raise BadInput(f"{into}: cannot write into this directory")


def put(path: Path, text: str) -> Path:
    """Put a text in the place of a file at once. Raises BadInput."""
    kept = ""
    try:
        fd, kept = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # 0600
        with os.fdopen(fd, "w", encoding="utf-8", errors="replace", newline="") as file:
            file.write(text)
        Path(kept).replace(path)
    except OSError as error:
        if kept:
            with suppress(OSError):
                Path(kept).unlink()
        raise BadInput(f"{path}: cannot write it: {error.strerror}") from None
    return path
