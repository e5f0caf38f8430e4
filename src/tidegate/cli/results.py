"""Walks a results directory of ProjectScylla, and reads in it; nothing there is ever written."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct, field

from tidegate import allowed, clock, explain, scylla
from tidegate.agents.claude import Claude
from tidegate.agents.reading.tail import refusal_in
from tidegate.errors import BadInput
from tidegate.look.words import shown
from tidegate.model import Kind, Limit, Stream
from tidegate.scylla import Expected, Found, Refused, Run, RunFiles
from tidegate.scylla.expected import runs_of
from tidegate.scylla.found import inside
from tidegate.scylla.verdict import Reads

LARGEST = 256 * 1024 * 1024  # bytes of one file
PERSONS = (Kind.AUTH, Kind.NONE)  # no limit: waiting mends nothing
Key = tuple[str, str]


class Results(Struct, frozen=True, kw_only=True):
    """What stands in a results directory: its runs with their verdicts, and what could not be read (place, why)."""

    root: Path
    expected: Expected
    runs: Sequence[Run]
    unreadable: Sequence[tuple[str, str]]


class Walk(Struct, frozen=True, kw_only=True):
    """The directories of each run, where they are, and the files that could not be read so far."""

    root: Path
    subtests: Mapping[Key, Sequence[Path]]
    unreadable: dict[str, str] = field(default_factory=dict)

    def file(self, path: Path) -> Found | None:
        """A file as it was found; None for none."""
        place = str(path.relative_to(self.root))
        try:
            found = _found(path, place)
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            return None
        except OSError as error:
            found = Found(path=place, written=datetime.fromtimestamp(0, UTC), wrong=error.strerror or str(error))
        if found.wrong:
            self.unreadable[place] = found.wrong
        return found

    def places(self, key: Key) -> Sequence[Path]:
        """The directories of a subtest."""
        return self.subtests.get(key, ())


def read(said: str) -> Results:
    """All that a results directory tells. Raises BadInput where it is none, or holds no run that is known."""
    root = Path(said)
    try:
        if not root.is_dir():
            raise BadInput(f"{said}: is no directory" if root.exists() else f"{said}: there is no such directory")
        walk = Walk(root=root, subtests=_subtests(root))
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise BadInput(f"{said}: cannot read it: {getattr(error, 'strerror', None) or error}") from None
    tiers = {tier: found for tier in _tiers(root) if (found := _first(walk, tier))}
    config, checkpoint = walk.file(root / "config" / "experiment.json"), walk.file(root / "checkpoint.json")
    expected = scylla.expected({key: _numbers(walk, key) for key in walk.subtests}, tiers, checkpoint, config)
    runs = [run for key in expected.runs if _named(key, walk) for run in _judged(key, expected, tiers, walk)]
    if not runs:
        wrong = next((f": {place}: {why}" for place, why in walk.unreadable.items()), "")
        raise BadInput(f"{said}: holds no run of an experiment (T0/03/run_01, T0/result.json, checkpoint.json){wrong}")
    return Results(
        root=root, expected=expected, runs=scylla.infected(runs), unreadable=[*sorted(walk.unreadable.items())]
    )


# --- directories ---


def _tiers(root: Path) -> list[str]:
    names = {path.name for phase in scylla.PHASES for path in _listed(root / phase)}
    return sorted((name for name in names if scylla.TIER.fullmatch(name)), key=lambda name: int(name[1:]))


def _subtests(root: Path) -> dict[Key, list[Path]]:
    found: dict[Key, list[Path]] = {}
    for tier in _tiers(root):
        for phase in scylla.PHASES:
            for path in _listed(root / phase / tier):
                if not path.name.startswith("."):
                    found.setdefault((tier, path.name), []).append(path)
    return found


def _listed(path: Path) -> list[Path]:
    """The directories in a directory, in order; none where there is none."""
    try:
        return sorted(one for one in path.iterdir() if one.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _numbers(walk: Walk, key: Key) -> list[int]:
    """The numbers of the runs of a subtest that left anything."""
    paths = [path for place in walk.places(key) for path in (*_listed(place), *_listed(place / ".failed"))]
    return sorted({int(found[1]) for path in paths if (found := scylla.ATTEMPT.fullmatch(path.name))} - {0})


def _named(key: Key, walk: Walk) -> bool:
    """Whether a subtest's name can be a job's; one that cannot is told."""
    tier, subtest = key
    said = "must hold no / and no #" if "/" in subtest or "#" in subtest else ""
    try:
        allowed.name(f"{tier}/{allowed.name(subtest)}#1000")
    except allowed.Wrong as wrong:
        said = str(wrong)
    if said:
        walk.unreadable[f"{tier}/{subtest}"] = f"no job can be named so: {said}"
    return not said


# --- one run ---


def _judged(key: Key, expected: Expected, tiers: Mapping[str, Found], walk: Walk) -> Iterator[Run]:
    tier, subtest = key
    told = tiers.get(tier)
    listed = runs_of(told, subtest) if told else {}
    for number in expected.runs[key]:
        files = _files(key, number, walk)
        more = RunFiles(
            result=files.result,
            agent=files.agent,
            judge=files.judge,
            failed=files.failed,
            there=files.there,
            listed=listed.get(number, {}),
            subtest=inside(told.at("subtest_results"), subtest) if told else {},
            tier_path=told.path if told else "",
            mark=expected.marks.get((tier, subtest, number), ""),
        )
        yield scylla.judged(tier, subtest, number, more, READS)


def _files(key: Key, number: int, walk: Walk) -> RunFiles:
    """What is on disk of one run; of a run in two places the first that has a result."""
    made = [one / scylla.run_name(number) for one in walk.places(key)]
    there = [one for one in made if one.is_dir()]
    best = next((one for one in there if (one / "run_result.json").exists()), there[0] if there else None)
    failed = tuple(_failed(key, number, walk))
    if best is None:
        return RunFiles(failed=failed)
    result = walk.file(best / "run_result.json")
    agent = walk.file(best / "agent" / "result.json") or (_logs(best, walk) if result is None else None)
    judge = walk.file(best / "judge" / "result.json")
    return RunFiles(result=result, agent=agent, judge=judge, failed=failed, there=True)


def _failed(key: Key, number: int, walk: Walk) -> Iterator[Found]:
    """The results of the agents of the attempts that were moved aside, in order."""
    for place in walk.places(key):
        for path in _listed(place / ".failed"):
            named = scylla.ATTEMPT.fullmatch(path.name)
            if named and int(named[1]) == number and (found := walk.file(path / "agent" / "result.json")):
                yield found


def _logs(run: Path, walk: Walk) -> Found | None:
    """What an agent without a result printed."""
    logs = {key: run / "agent" / f"{key}.log" for key in ("stdout", "stderr")}
    table: dict[str, str] = {}
    for key, path in logs.items():
        try:
            raw, written = _bytes(path)
        except (OSError, ValueError):
            continue
        table[key], when = raw.decode(errors="replace"), written
    if not any(one.strip() for one in table.values()):
        return None
    return Found(path=str((run / "agent").relative_to(walk.root)), written=when, table=table)


def _first(walk: Walk, tier: str) -> Found | None:
    """The result of a tier, where it is."""
    found = [one for phase in scylla.PHASES if (one := walk.file(walk.root / phase / tier / "result.json"))]
    return next((one for one in found if not one.wrong), found[0] if found else None)


# --- one file ---


def _found(path: Path, place: str) -> Found:
    try:
        raw, written = _bytes(path)
    except ValueError as wrong:
        return Found(path=place, written=datetime.fromtimestamp(0, UTC), wrong=str(wrong))
    return scylla.read(place, raw, written)


def _bytes(path: Path) -> tuple[bytes, datetime]:
    """A file's bytes, and when they were written. Raises OSError, or ValueError where it is none or too large."""
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # NONBLOCK: a FIFO must not hang the reader
    with os.fdopen(opened, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is no regular file")
        if status.st_size > LARGEST:
            raise ValueError(f"is larger than {allowed.shown_size(LARGEST)}")
        return file.read(LARGEST), datetime.fromtimestamp(status.st_mtime, UTC)


# --- what an agent or a judge said, by the readers of a live attempt ---


def _refused(limit: Limit | explain.Explanation | None) -> Refused | None:
    if limit is None or limit.kind in PERSONS:
        return None
    return Refused(shown(limit.evidence), "", limit.resets_at)


def _of_agent(stdout: str, stderr: str, code: int, at: datetime) -> Refused | None:
    said = {Stream.STDOUT: stdout, Stream.STDERR: stderr}
    lines = {stream: text.encode(errors="replace").split(b"\n") for stream, text in said.items()}
    return _refused(explain.judged(lines, Claude(), exit=code, now=at, zone=clock.zone()))


def _of_text(text: str, at: datetime) -> Refused | None:
    return _refused(refusal_in(text, at, clock.zone()))


READS = Reads(_of_agent, _of_text)
