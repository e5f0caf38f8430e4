"""Whether one run of an experiment is valid, and if not, what was in its way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from tidegate.scylla.found import Found, Table, inside, number, text

POOL = "process pool was terminated abruptly"
TOKENS = ("input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens")
WHY_MOST = 200  # characters


class Verdict(StrEnum):
    """What a run is worth. BROKEN: something is there, but no valid result, and no limit says why."""

    VALID = "valid"
    LIMITED = "limited"
    BROKEN = "broken"
    MISSING = "missing"


class Refused(Struct, frozen=True):
    """What a provider said no with, the file in which it stands, and the reset that it named (aware UTC)."""

    evidence: str
    path: str
    resets_at: datetime | None = None


class Run(Struct, frozen=True, kw_only=True):
    """One run and its verdict; `why` in a few words for what is not valid.

    `refused` is the limit that stopped it, which may stand in a neighbour's files. `looks_complete`: ProjectScylla
    itself would take it for a result.
    """

    tier: str
    subtest: str
    number: int
    verdict: Verdict
    why: str = ""
    refused: Refused | None = None
    looks_complete: bool = False


class RunFiles(Struct, frozen=True, kw_only=True):
    """What is left of one run: its own files, those of the attempts that were moved aside (the last one last).

    `listed` is what its tier's result says of it, `subtest` what it says of its subtest. `mark` is the checkpoint's.
    """

    result: Found | None = None
    agent: Found | None = None
    judge: Found | None = None
    failed: Sequence[Found] = ()
    listed: Table = {}
    subtest: Table = {}
    tier_path: str = ""
    there: bool = False
    mark: str = ""


Agents = Callable[[str, str, int, datetime], Refused | None]  # stdout, stderr, exit code, when
Texts = Callable[[str, datetime], Refused | None]


class Reads(Struct, frozen=True):
    """How refusals are recognised: in what an agent printed, and at the end of any text."""

    agent: Agents
    text: Texts


def judged(tier: str, subtest: str, run: int, files: RunFiles, reads: Reads) -> Run:
    """The verdict on one run; one that went down with the process pool is BROKEN until `infected` has looked."""
    verdict, why, refused = _told(files, reads)
    complete = bool(files.result and files.agent and files.judge)
    return Run(
        tier=tier,
        subtest=subtest,
        number=run,
        verdict=verdict,
        why=why[:WHY_MOST],
        refused=refused,
        looks_complete=complete and verdict is not Verdict.VALID,
    )


def _told(files: RunFiles, reads: Reads) -> tuple[Verdict, str, Refused | None]:
    if own := _own_refusal(files, reads):
        return Verdict.LIMITED, *own
    wrong = _wrong(files)
    if wrong == "":
        return Verdict.VALID, "", None
    if refused := next((one for one in _moved_aside(files, reads)), None) or _of_subtest(files, reads):
        return Verdict.LIMITED, "the agent was refused", refused
    if POOL in text(files.subtest, "selection_reason"):
        return Verdict.BROKEN, POOL_BROKE, None
    if files.there or files.failed or wrong is not None:
        return Verdict.BROKEN, wrong or _last_words(files), None
    if said := text(files.subtest, "selection_reason").strip():
        return Verdict.BROKEN, said.split("\n")[0], None
    return Verdict.MISSING, f"the checkpoint says {files.mark}, but nothing is there" if files.mark else "", None


POOL_BROKE = "the process pool broke"


def infected(runs: Iterable[Run]) -> list[Run]:
    """The runs, where those that went down with their tier's process pool know the limit that took it down."""
    runs = list(runs)
    first: dict[str, Refused] = {}
    for run in runs:
        if run.refused is not None:
            first.setdefault(run.tier, run.refused)
    return [
        replace(run, verdict=Verdict.LIMITED, refused=first[run.tier])
        if run.why == POOL_BROKE and run.tier in first
        else run
        for run in runs
    ]


# --- a limit ---


def _own_refusal(files: RunFiles, reads: Reads) -> tuple[str, Refused] | None:
    """The refusal in the run's own files: of its agent, or of the judge of one that did not pass."""
    if files.agent and (refused := _of_agent(files.agent, reads)):
        return "the agent was refused", refused
    for found in (files.result, files.judge):
        passed = found is not None and (found.table.get("judge_passed") or found.table.get("passed"))
        if found and not passed and (refused := _of_judge(found, reads)):
            return "the judge was refused", refused
    return None


def _of_agent(found: Found, reads: Reads) -> Refused | None:
    code = number(found.table.get("exit_code"))
    told = reads.agent(text(found.table, "stdout"), text(found.table, "stderr"), _code(code), found.written)
    return replace(told, path=found.path) if told else None


def _code(code: float | None) -> int:
    """An exit code as a shell tells it: anything that is none, as -1, is a failure."""
    return int(code) if code is not None and 0 <= code <= 255 else 1


def _of_judge(found: Found, reads: Reads) -> Refused | None:
    """What the reasoning says, else what every single judge says."""
    said = [text(found.table, key) for key in ("judge_reasoning", "reasoning")]
    told = next((one for words in said if words and (one := reads.text(words, found.written))), None)
    judges = found.table.get("judges")
    if told is None and isinstance(judges, list) and judges:
        each = [reads.text(text(inside(one), "reasoning"), found.written) for one in judges]
        told = each[0] if all(each) else None
    return replace(told, path=found.path) if told else None


def _moved_aside(files: RunFiles, reads: Reads) -> Iterable[Refused]:
    """The refusals of the attempts that were moved aside, the last one first."""
    return (refused for found in reversed(files.failed) if (refused := _of_agent(found, reads)))


def _of_subtest(files: RunFiles, reads: Reads) -> Refused | None:
    """What the tier's result says why the subtest has no runs."""
    info = inside(files.subtest, "rate_limit_info")
    words = text(info, "error_message") or text(files.subtest, "selection_reason")
    if not words or POOL in words:
        return None
    told = reads.text(words, _detected(info))
    if told is None and (info or words.startswith(("RateLimitError:", "Rate limit"))):
        told = Refused(words.split("\n")[0][:WHY_MOST], "")  # its own words for what it did not keep
    return replace(told, path=files.tier_path) if told else None


EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _detected(info: Table) -> datetime:
    try:
        at = datetime.fromisoformat(text(info, "detected_at"))
    except ValueError:
        return EPOCH
    return at if at.tzinfo else EPOCH


# --- a result ---


def _wrong(files: RunFiles) -> str | None:
    """What is wrong with the result of a run: "" for nothing, None where there is none."""
    if files.result is None:
        return _invalid(files.listed, f"{files.tier_path}: ") if files.listed else None
    if files.result.wrong:
        return f"{files.result.path}: {files.result.wrong}"
    return _invalid(files.result.table, f"{files.result.path}: ")


def _invalid(result: Mapping[str, object], where: str) -> str:
    """What makes a run's result invalid."""
    if number(result.get("judge_score")) is None:
        return f"{where}has no judge_score"
    if not isinstance(result.get("judge_passed"), bool):
        return f"{where}has no judge_passed"
    if number(result.get("exit_code")) == -1 and not any(number(inside(result, "token_stats").get(k)) for k in TOKENS):
        return f"{where}the agent never ran (exit code -1, no tokens)"
    return ""


def _last_words(files: RunFiles) -> str:
    """Why an attempt without a result is none."""
    for found in (files.agent, *reversed(files.failed)):
        if found and found.wrong:
            return f"{found.path}: {found.wrong}"
        lines = text(found.table, "stderr").strip().splitlines() if found else []
        if found and lines:
            return f"{found.path}: {lines[-1].strip()}"
    return "it was begun and left no result"
