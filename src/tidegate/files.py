"""Reads batch files, standard input and prompt files for `batch`."""

from __future__ import annotations

import errno
import glob
import os
import stat
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from tidegate import allowed, batch, listing, places
from tidegate.errors import BadInput

STDIN = "-"
LARGEST = 512 * 1024 * 1024  # bytes of a batch
TABLES = ("csv", "lines")  # forms without a place for defaults
SUFFIXES = {
    ".toml": "toml",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
}
FOREIGN = (".tsv", ".xlsx", ".ods", ".xml", ".ini")


def read_batch(
    file: str,
    *,
    agents: Collection[str],
    recognise: Callable[[Sequence[str]], str],
    has_limits: Callable[[str], bool],
    accounts: Mapping[str, batch.Declared] | None = None,
    form: str | None = None,
    defaults: Sequence[str] = (),
) -> batch.Expanded:
    """The batch in a file, or on standard input for "-". Raises BadInput.

    Its form is one of those of --format, else told by the file's suffix; without a telling one, a text that begins with
    { is JSONL, and any other TOML. `defaults` are KEY=VALUE for the forms that say none themselves. What came through a
    pipe has neither a directory (relative paths start from the present one) nor a path that could name the batch.
    """
    place, path, raw = _input(file)
    directory = path.parent if path else Path.cwd()
    around = batch.Around(
        place=place,
        directory=directory,
        home=places.home(os.environ),
        name=str(path) if path else None,
        agents=agents,
        recognise=recognise,
        has_limits=has_limits,
        read_text=prompt,
        find=partial(_found, directory),
        run=partial(listing.printed, directory),
        accounts=accounts or {},
    )
    text = _decoded(raw, place)
    form = form or _form(file, text)
    if defaults and form not in TABLES:
        raise BadInput(f"--default: is for {' and '.join(TABLES)}; a batch in {form.upper()} says [defaults] itself")
    return _read(form, text, around, _pairs(defaults))


def _read(form: str, text: str, around: batch.Around, defaults: Mapping[str, str]) -> batch.Expanded:
    match form:
        case "csv":
            return batch.from_csv(text, around, defaults)
        case "lines":
            return batch.from_prompts(text, around, defaults)
        case "yaml":
            return batch.from_yaml(text, around)
        case "jsonl":
            return batch.from_jsonl(text, around)
        case _:
            return batch.from_toml(text, around)


def _pairs(said: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for one in said:
        key, equals, value = one.partition("=")
        if not equals or not value:
            raise BadInput(f"--default: must be KEY=VALUE, {allowed.but(one)}")
        pairs[key] = value
    return pairs


def _form(file: str, text: str) -> str:
    suffix = Path(file).suffix.lower()
    if suffix in FOREIGN:
        raise BadInput(f"{_shown(file)}: a batch is TOML, YAML, JSONL, CSV or lines, not {suffix} (or say --format)")
    return SUFFIXES.get(suffix) or ("jsonl" if text.lstrip().startswith("{") else "toml")


def _input(file: str) -> tuple[str, Path | None, bytes]:
    """How messages name the input, its absolute path if it is a regular file, and its bytes."""
    if file == STDIN:
        return "stdin", None, _bounded(sys.stdin.buffer, "stdin")
    place = _shown(file)
    try:
        with Path(file).open("rb") as opened:
            regular = stat.S_ISREG(os.fstat(opened.fileno()).st_mode)
            return place, Path(file).absolute() if regular else None, _bounded(opened, place)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise BadInput(f"{place}: cannot read it: {getattr(error, 'strerror', None) or error}") from None


def _bounded(opened: BinaryIO, place: str) -> bytes:
    raw = opened.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise BadInput(f"{place}: must be at most {LARGEST:,} bytes")
    return raw


def _decoded(raw: bytes, place: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{place}: line {line}: not UTF-8 text") from None


def _found(directory: Path, pattern: str) -> list[str]:
    """The paths below a directory that a pattern finds, in the order of their names."""
    return sorted(glob.glob(pattern, root_dir=directory, recursive=True))  # noqa: PTH207 - hides what a shell hides


def prompt(path: Path) -> str:
    """A prompt file's text. Raises OSError, or ValueError where it is too large or no text."""
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # NONBLOCK: a FIFO must not hang the reader
    with os.fdopen(opened, "rb") as prompt:
        mode = os.fstat(prompt.fileno()).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise ValueError("must be a regular file")
        raw = prompt.read(allowed.TEXT_MOST + 1)
    if len(raw) > allowed.TEXT_MOST:
        raise ValueError(f"must be at most {allowed.TEXT_MOST:,} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("must be UTF-8 text") from None


def _shown(file: str) -> str:
    return file if file.isprintable() and file else allowed.shown(file)
