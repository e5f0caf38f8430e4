"""Which versions of the agents really ran, as far as their own output says."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tidegate import places
from tidegate.look.words import clean
from tidegate.model import Attempt, Job

HEAD = 16 * 1024  # bytes of each output
LOOKED = 5  # attempts of each agent: the first ones
SAID = re.compile(rb'"claude_code_version"\s*:\s*"([\w.+-]{1,40})"|OpenAI Codex v([\w.+-]{1,40})')  # 2.1.330, 0.169.0


def read(state: Path, jobs: Iterable[Job], attempts: Iterable[Attempt]) -> dict[str, list[str]]:
    """The versions by agent; none where its output names none, or is gone."""
    agents = {job.id: clean(job.spec.agent) for job in jobs}
    found: dict[str, list[str]] = {}
    looked: Counter[str] = Counter()
    for attempt in attempts:
        agent = agents[attempt.job]
        known = found.setdefault(agent, [])
        if looked[agent] < LOOKED:
            looked[agent] += 1
            known += [one for one in _said(places.attempt(state, attempt.job, attempt.n)) if one not in known]
    return found


def _said(place: Path) -> Sequence[str]:
    heads = [_head(place / name) for name in ("stdout.log", "stderr.log")]
    return [(one[1] or one[2]).decode() for head in heads for one in SAID.finditer(head)]


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as opened:
            return opened.read(HEAD)
    except OSError:
        return b""
