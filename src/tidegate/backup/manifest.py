"""What is in a backup: which files, how long, with which checksums."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime

from msgspec import Struct, field
from msgspec.structs import asdict

FORMAT = 1
HEADER = "tidegate-backup"  # the first member: its text is the format's number
MANIFEST = "manifest.json"  # the last one: what is cut short has none
DATABASE, SECRETS, ATTEMPTS = "tidegate.db", "secrets", "attempts"
ALLOWED = re.compile(  # what else has a place in one
    r"tidegate\.db(-wal)?|secrets/\w{1,64}|attempts/[1-9]\d{0,17}/[1-9]\d{0,17}(/(?!\.\.?(/|$))[^/\0]{1,255}){1,9}",
    re.ASCII,
)


class Manifest(Struct, frozen=True, kw_only=True):
    """Where and when a backup was made, what it has, and (length, SHA-256) of each file by its name."""

    made_at: datetime
    host: str
    version: str
    schema: int
    secrets: bool
    output: bool
    files: dict[str, tuple[int, str]] = field(default_factory=dict)


def as_text(manifest: Manifest) -> bytes:
    """The manifest with a checksum of its own."""
    said = {**asdict(manifest), "made_at": manifest.made_at.isoformat()}
    return json.dumps({"sum": _sum(said), **said}, indent=1).encode() + b"\n"


def of_text(text: bytes) -> Manifest:
    """The manifest of a text. Raises ValueError where it is damaged."""
    said = json.loads(text)
    if not isinstance(said, dict) or said.pop("sum", "") != _sum(said):
        raise ValueError("its manifest is damaged")
    files = {name: (int(size), str(digest)) for name, (size, digest) in said["files"].items()}
    return Manifest(**{**said, "made_at": datetime.fromisoformat(said["made_at"]), "files": files})


def _sum(said: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
