"""What the benchmarks share: a state directory of their own, percentiles, and figures as text or JSON."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tidegate import places


@dataclass(frozen=True, slots=True)
class Place:
    """A directory for one benchmark: batch files, programs and the state directory."""

    folder: Path
    env: Mapping[str, str]

    def tidegate(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "tidegate", *args]

    def room(self, name: str) -> Place:
        """A place within this one, with a state directory of its own."""
        folder = self.folder / name
        folder.mkdir()
        return Place(folder, {**self.env, "TIDEGATE_STATE_DIR": f"{folder}/state"})

    def start(self, *args: str) -> subprocess.Popen[bytes]:
        errors = (self.folder / "errors").open("wb")
        return subprocess.Popen(self.tidegate(*args), env=self.env, stdout=errors, stderr=errors)

    def events(self, name: str) -> list[dict[str, Any]]:
        told = subprocess.run(self.tidegate("events", "--json"), env=self.env, check=True, capture_output=True)
        return [event for event in map(json.loads, told.stdout.splitlines()) if event["event"] == name]

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)
        return path


@contextmanager
def place(beside: Path | None = None, **env: str) -> Iterator[Place]:
    """A place with no settings but `env`, in a new directory in `beside`; it is deleted at the end.

    Bytecode is kept there too, as an installed program has it beside its sources. Without `beside` it is where the
    default state directory would be made: on the disk that people work with, which /tmp may not be.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    clean.pop("PYTHONDONTWRITEBYTECODE", None)
    where = beside or places.state_dir(None, clean).parent
    where.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tidegate-benchmark-", dir=where) as folder:
        own = {"TIDEGATE_STATE_DIR": f"{folder}/state", "TIDEGATE_CONFIG": "/dev/null"}
        yield Place(Path(folder), {**clean, **own, "PYTHONPYCACHEPREFIX": f"{folder}/bytecode", **env})


def seconds(at: str) -> float:
    """An event's instant as epoch seconds."""
    return datetime.fromisoformat(at).timestamp()


def at(values: Sequence[float], share: float) -> float:
    """A percentile by nearest rank."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def parser(about: str | None) -> argparse.ArgumentParser:
    """A parser with the flags that every benchmark has."""
    made = argparse.ArgumentParser(description=(about or "").splitlines()[0])
    made.add_argument("--place", type=Path, help="make the state directory in here, not beside the default one")
    made.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    return made


def show(figures: Mapping[str, object], *, as_json: bool) -> None:
    """Print figures, one a line or as one object."""
    if as_json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:36} {value}")
