"""A git repository with one commit, made without git: the same bytes each time."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from hashlib import sha1
from pathlib import Path

WHO = "tidegate <tidegate@localhost> 1767225600 +0000"
CONFIG = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n"
FILE = 0o100644


def make(place: Path, files: Mapping[str, str]) -> None:
    """Make a repository of these files, which lie at its top, on the branch `main`, where nothing is yet."""
    git = place / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    tree = index = b""
    for name, text in sorted(files.items()):
        (place / name).write_text(text)
        blob = bytes.fromhex(_object(git, "blob", text.encode()))
        tree += b"%o %s\0" % (FILE, name.encode()) + blob
        index += _entry(name.encode(), blob)
    commit = f"tree {_object(git, 'tree', tree)}\nauthor {WHO}\ncommitter {WHO}\n\nBegin\n"
    (git / "refs" / "heads" / "main").write_text(f"{_object(git, 'commit', commit.encode())}\n")
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "config").write_text(CONFIG)
    whole = b"DIRC" + struct.pack(">2L", 2, len(files)) + index
    (git / "index").write_bytes(whole + sha1(whole, usedforsecurity=False).digest())


def _object(git: Path, kind: str, content: bytes) -> str:
    """Write one object; its name."""
    whole = b"%s %d\0" % (kind.encode(), len(content)) + content
    name = sha1(whole, usedforsecurity=False).hexdigest()
    file = git / "objects" / name[:2] / name[2:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(zlib.compress(whole))
    return name


def _entry(name: bytes, blob: bytes) -> bytes:
    """One line of the index, version 2, without the file's times: git looks at the file itself then."""
    entry = struct.pack(">10L20sH", 0, 0, 0, 0, 0, 0, FILE, 0, 0, 0, blob, len(name)) + name
    return entry + b"\0" * (8 - len(entry) % 8)
