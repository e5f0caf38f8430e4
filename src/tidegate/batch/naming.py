"""What the jobs of a batch, and a batch, are called."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import PurePath

from tidegate import allowed
from tidegate.allowed import Wrong
from tidegate.batch.records import as_jsonl
from tidegate.batch.shapes import Around, Written
from tidegate.batch.tables import WORK, Table
from tidegate.batch.templates import names_trial
from tidegate.errors import BadInput
from tidegate.model import NewJob


def batch_name(said: str | None, jobs: Sequence[NewJob], around: Around) -> str:
    """The name that a batch says, else one of its path or its jobs."""
    if said is not None:
        if said.startswith("/"):
            raise BadInput(f"{around.place}: [batch] name: must not begin with /, as the names of unnamed batches do")
        return said
    if around.name is None:
        return f"stdin-{_digest(as_jsonl(jobs))[:12]}"
    try:
        return allowed.name(around.name)
    except Wrong:
        raise BadInput(f"{around.place}: its path cannot name the batch: say [batch] name") from None


def job_names(said: Sequence[Table], jobs: Sequence[Written], place: str) -> list[str]:
    """Each job's name: its id within its group, else one made from what its own table says is to be done."""
    taken: dict[str, str] = {}
    names = [_said_name(own, one, f"{place}: {one.where}") for own, one in zip(said, jobs, strict=True)]
    for name, one in zip(names, jobs, strict=True):
        if name and name in taken:
            raise BadInput(f"{place}: {one.where} id: is already that of {taken[name]}{_way_out(name, one)}")
        taken[name] = one.at
    taken.pop("", None)
    return [name or _default_name(own, one.group, taken) for name, own, one in zip(names, said, jobs, strict=True)]


def _way_out(name: str, one: Written) -> str:
    return f" ({json.dumps(name)}); say an id that differs" if one.label and "id" not in one.table else ""


def _said_name(own: Table, one: Written, place: str) -> str:
    """The name that a job's id or its values give it; "" for none."""
    id: str = own.get("id", one.label)
    if not one.group or not id:
        return id
    numbered = one.trial > 1 and not names_trial(one.table.get("id"))
    prefix = "" if id == one.group or id.startswith(f"{one.group}/") else f"{one.group}/"
    try:
        return allowed.name(f"{prefix}{id}" + (f"#{one.trial}" if numbered else ""))
    except Wrong as wrong:
        raise BadInput(f"{place} id: {wrong}") from None


def _default_name(own: Table, group: str, taken: dict[str, str]) -> str:
    work = {key: own[key] for key in WORK if key in own}
    label = own.get("agent") or (PurePath(own["command"][0]).name if "command" in own else "")
    label = re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-")[:40] or "job"
    within = f"{group}/" if group else ""
    stem = f"{within}{label}-{_digest(json.dumps(work, sort_keys=True))[:8]}"
    name, times = stem, int(taken.get(f"\n{stem}", "1"))  # no id holds a newline: how often this stem has come
    while name in taken:
        times += 1
        name = f"{stem}#{times}"
    taken[name], taken[f"\n{stem}"] = "", str(times)
    return name


def _digest(text: str) -> str:
    from hashlib import sha256  # noqa: PLC0415 - loads OpenSSL

    return sha256(text.encode()).hexdigest()
