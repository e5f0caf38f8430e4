"""The keys that a batch may say and what each may be; every door's checks of them are made of these tables."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC
from typing import Any

from tidegate import allowed, hints
from tidegate.allowed import Check, Wrong
from tidegate.batch import workspaces
from tidegate.errors import BadInput
from tidegate.model import Admission, Exceed, Stage, When, Window
from tidegate.retries import KINDS

Table = Mapping[str, Any]

JOBS_MOST = 1_000_000
COMMAND = "command"  # the agent, and the account, of a command that is no known agent's


def hours(value: object) -> str:
    """Office hours, as they are written: "20:00-07:00 Europe/Berlin"."""
    from tidegate.hours import parse  # noqa: PLC0415 - only who has hours pays for them

    said = allowed.name(value)
    parse(said, UTC)  # with any zone: whether a text is good does not hang on it
    return said


allowed.says(hours, {"type": "string", "minLength": 1})


def stage(checks: Mapping[str, Check[object]], *, once: bool = False) -> Check[Stage]:
    """A command that runs after the agent, with what may be said of it; `once` where it does not say."""

    def check(value: object) -> Stage:
        said = allowed.table(value, checks)
        if "command" not in said:
            raise Wrong('must say command = ["program", "argument"]')
        made = Stage(**{"once": once, **said})
        if made.once and "attempts" in said:
            raise Wrong("counts with once = false alone", ".attempts")
        return made

    properties = {key: allowed.schema(one) for key, one in checks.items()}
    schema = {"type": "object", "properties": properties, "required": ["command"], "additionalProperties": False}
    return allowed.says(check, schema)


ALLOWANCE: Mapping[str, Check[object]] = {
    "usd": allowed.money,
    "tokens": allowed.whole(1, 10**15),
    "wall": allowed.seconds(),
}
EXCEED = tuple(one.value for one in Exceed)


def _with_one_of(keys: Sequence[str], check: Check[dict[str, object]]) -> Check[dict[str, object]]:
    """A table that says at least one of these."""

    def each(value: object) -> dict[str, object]:
        said = check(value)
        if not said.keys() & {*keys}:
            raise Wrong(f"must say one of {', '.join(keys)}")
        return said

    some = [{"required": [key]} for key in keys]
    return allowed.says(each, {**allowed.schema(check), "anyOf": some})


day = _with_one_of(tuple(ALLOWANCE), allowed.table_of(ALLOWANCE))
budget = _with_one_of(
    (*ALLOWANCE, "day"), allowed.table_of({**ALLOWANCE, "day": day, "on_exceed": allowed.one_of(*EXCEED)})
)
STOPPED = (Window.FIVE_HOURS, Window.DAY, Window.WEEK, Window.MONTH)  # the windows of which use is told
stop_at = _with_one_of(
    [one.value for one in STOPPED], allowed.table_of({one.value: allowed.whole(1, 100) for one in STOPPED})
)
LONGEST_FIRST = "longest_first"
BATCH: Mapping[str, Check[object]] = {
    "name": allowed.name,
    "on_limit": allowed.one_of("wait", "exit"),
    "hours": hours,
    "budget": budget,
    "order": allowed.one_of("fifo", "blocked", "shuffle", LONGEST_FIRST),
    "seed": allowed.whole(0, 2**31),
}
ADMISSION = tuple(one.value for one in Admission)  # what would not fit a window is held back, told of, or neither
PREFLIGHT = ("canary", "probe", "off")  # one job goes first, a question is asked first, or nothing of the kind
ACCOUNT: Mapping[str, Check[object]] = {
    "agent": allowed.word,
    "concurrency": allowed.whole(1, 10_000),
    "preflight": allowed.one_of(*PREFLIGHT),
    "admission": allowed.one_of(*ADMISSION),
    "hours": hours,
    "budget": budget,
    "stop_at": stop_at,
}
STAGE: Mapping[str, Check[object]] = {
    "command": allowed.argv,
    "account": allowed.word,
    "timeout": allowed.seconds(),
    "attempts": allowed.whole(1, 1000),
}
CHECK: Check[Stage] = stage(STAGE)
PUBLISH: Check[Stage] = stage({**STAGE, "once": allowed.truth}, once=True)
PIDS, WEIGHT = allowed.whole(1, 4_194_304), allowed.whole(1, 10_000)  # what the kernel takes
DEFAULTS: Mapping[str, Check[object]] = {
    "agent": allowed.word,
    "command": allowed.argv,
    "args": allowed.args,
    "model": allowed.name,
    "prompt": allowed.text,
    "prompt_file": allowed.path,
    "cwd": workspaces.cwd,
    "files": workspaces.files,
    "env": allowed.variables,
    "account": allowed.word,
    "priority": allowed.whole(-1_000_000, 1_000_000),
    "timeout": allowed.seconds(),
    "silence": allowed.seconds(),
    "expect": hints.hint,
    "max_output": allowed.some_size,
    "memory": allowed.some_size,
    "pids": PIDS,
    "cpu_weight": WEIGHT,
    "max_attempts": allowed.whole(1, 1000),
    "retries": allowed.table_of(dict.fromkeys(KINDS, allowed.whole(0, 1000))),
    "on_cutoff": allowed.one_of("resume", "restart"),
    "on_failure": allowed.one_of("restart", "resume"),
    "resume_prompt": allowed.text,
    "result_files": allowed.tuple_of(allowed.pattern),
    "labels": allowed.mapping_of(allowed.name, allowed.any_text),
    "check": CHECK,
    "feed_failure_back": allowed.whole(0, 100),
    "publish": PUBLISH,
    "max_interruptions": allowed.whole(0, 1000),
    "valid_outcomes": allowed.tuple_of(allowed.one_of("timeout", "refusal", "context_too_long")),
}


def expansion(value: object) -> Table:
    """The defaults of the jobs that a job prints; their environment is its own."""
    if not isinstance(value, Mapping):
        raise Wrong(f"must be a table, the defaults of the jobs that it prints, {allowed.but(value)}")
    allowed.known(value, [key for key in DEFAULTS if key != "env"])
    said = {key: one for key, one in value.items() if one is not None}
    return {key: allowed.inside(f".{key}", DEFAULTS[key], one) for key, one in said.items()}


allowed.says(
    expansion,
    {
        "type": "object",
        "properties": {key: allowed.schema(check) for key, check in DEFAULTS.items() if key != "env"},
        "additionalProperties": False,
    },
)

JOB: Mapping[str, Check[object]] = {"id": allowed.name, "group": allowed.word, **DEFAULTS, "expand": expansion}
OF_GROUP: Mapping[str, Check[object]] = {"id": allowed.name, **DEFAULTS}  # what a group, or a job in it, may say
SHAPES = ("matrix", "foreach", "trials", "job")  # what makes several jobs of a group
EXPAND: Mapping[str, Check[object]] = {"expand": allowed.argv}  # a program that prints more jobs of a group
TIES: Mapping[str, Check[object]] = {  # what a group waits for
    "needs": allowed.one_or_several(allowed.word),
    "when": allowed.one_of(*When),
}
HEAD = ("batch", "defaults", "accounts", "groups")  # what stands before the jobs in JSONL
TOP = (*HEAD, "job")

WORK = (
    "agent",
    "command",
    "args",
    "model",
    "prompt",
    "prompt_file",
    "cwd",
    "files",
    "env",
    "labels",
)  # what makes a default id
PAIRS = (("agent", "command"), ("prompt", "prompt_file"))  # one of each, not both
# no text stands for one of these
LISTS = ("command", "args", "result_files", "valid_outcomes", "files", "env", "labels", "retries")
MERGED = ("env", "labels")  # a job adds to these of [defaults]; every other key replaces


def one_of_each(place: str, said: Table) -> None:
    """Refuse a table that says both of a pair."""
    for pair in PAIRS:
        if set(pair) <= said.keys():
            raise BadInput(f"{place}: must say {pair[0]} or {pair[1]}, not both")


def agent_known(place: str, said: str, agents: Collection[str]) -> None:
    """Refuse an agent that nobody knows."""
    if said not in agents:
        known = sorted(set(agents) - {COMMAND})
        rest = allowed.meant(said, known) or f"; known are {', '.join(known)}"
        raise BadInput(f"{place}: unknown agent {json.dumps(said)}{rest}")


def checked(place: str, table: object, checks: Mapping[str, Check[object]]) -> dict[str, Any]:
    """The table's values as the checks give them. Raises BadInput with the key."""
    if not isinstance(table, Mapping):
        raise BadInput(f"{place}: must be a table, {allowed.but(table)}")
    known(place, table, checks)
    said = {}
    for key, value in table.items():
        try:
            if value is not None:
                said[key] = checks[key](value)
        except Wrong as wrong:
            raise BadInput(f"{place} {key}{wrong.inside}: {wrong}") from None
    return said


def known(place: str, table: Table, keys: Collection[str]) -> None:
    """Refuse a key that is none of these."""
    try:
        allowed.known(table, keys)
    except Wrong as wrong:
        raise BadInput(f"{place} {wrong.inside.removeprefix('.')}: {wrong}") from None
