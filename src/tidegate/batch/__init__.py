"""A batch as it is written becomes the expanded jobs, and a job becomes a record again.

A document, TOML or YAML, holds `[batch]`, `[defaults]`, `[accounts.NAME]`, `[groups.NAME]` and one `[[job]]` for each
job. A group has defaults of its own over `[defaults]`, and its jobs from `[[groups.NAME.job]]`, or from its own table
as the template of one job for each row of a `foreach` and combination of a `matrix`; `trials` makes each of them
several times; `needs` names the groups whose jobs must have ended before its own begin, and what the program of
`expand` prints then, lines of JSONL, are more jobs of the group. `${{ name }}` in a text
stands for a value; `group` and `trial` are always defined in a group. An id is one within its group: `03` in T5 is
`T5/03`, and its second trial `T5/03#2`.

In JSONL, the expanded form, each line is an object: a job, or, before the first job, one that carries any of the tables
`batch`, `defaults`, `accounts` and `groups`, which tells what each waits for; null says nothing, and nothing is a
template. A CSV table is the same with a column for each key, plain lines with the prompt alone.

A job without an id is known by what its own table says is to be done (not by its place, so that a job put before it
changes nothing; not by `[defaults]`, a priority or a time-out): `make-1b9d0f3a`, and `make-1b9d0f3a#2` for the second
job that says the same. A batch without a name is known by its file's absolute path; one that came through a pipe by its
expanded jobs, so that the same input from the same directory continues, and any other is another batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from tidegate import allowed
from tidegate.batch import reading
from tidegate.batch.accounts import (
    accounts_of,
    budget_of,
    budgets_by,
    declared_by,
    hours_by,
    probes_of,
    stops_by,
    stops_of,
)
from tidegate.batch.jobs import Expand
from tidegate.batch.naming import batch_name, job_names
from tidegate.batch.reading import toml
from tidegate.batch.records import as_jsonl, as_record, head_as_jsonl
from tidegate.batch.shapes import Around, Declared, Expanded, Written
from tidegate.batch.tables import (
    ACCOUNT,
    ADMISSION,
    ALLOWANCE,
    BATCH,
    COMMAND,
    DEFAULTS,
    EXCEED,
    HEAD,
    JOB,
    JOBS_MOST,
    MERGED,
    OF_GROUP,
    PIDS,
    PREFLIGHT,
    TIES,
    TOP,
    WEIGHT,
    Table,
    budget,
    checked,
    day,
    expansion,
    hours,
    known,
    one_of_each,
    stop_at,
)
from tidegate.batch.templates import filled, layer
from tidegate.errors import BadInput
from tidegate.model import Account, NewGroup, NewJob

__all__ = [
    "ACCOUNT",
    "ADMISSION",
    "ALLOWANCE",
    "BATCH",
    "COMMAND",
    "DEFAULTS",
    "EXCEED",
    "HEAD",
    "JOB",
    "PIDS",
    "PREFLIGHT",
    "WEIGHT",
    "Around",
    "Declared",
    "Expanded",
    "Table",
    "Written",
    "account_of",
    "as_jsonl",
    "as_record",
    "budget",
    "budget_of",
    "day",
    "expansion",
    "follow_ups",
    "from_csv",
    "from_jsonl",
    "from_prompts",
    "from_toml",
    "from_yaml",
    "head_as_jsonl",
    "hours",
    "single",
    "stop_at",
    "stops_of",
    "toml",
]


class Head(Struct, frozen=True, kw_only=True):
    """The tables before the jobs, checked."""

    options: Table
    accounts: Table
    declared: dict[str, Declared]


def from_toml(text: str, around: Around) -> Expanded:
    """The batch in a TOML document. Raises BadInput."""
    return _from_document(toml(text, around.place), around)


def from_yaml(text: str, around: Around) -> Expanded:
    """The batch in a YAML document, of the same tables. Raises BadInput."""
    document = reading.yaml(text, around.place)
    groups = document.get("groups")
    within = {f"groups.{name}.job": one for name, one in groups.items()} if isinstance(groups, dict) else {}
    for key, table in {"job": document, **within}.items():
        if isinstance(table, dict) and isinstance(table.get("job"), dict):
            raise BadInput(f"{around.place}: {key}: must be a list of tables, not a table")
    return _from_document(document, around)


def from_csv(text: str, around: Around, defaults: Table) -> Expanded:
    """The batch in a table with a column for each key ("labels.tier" is one of labels). Raises BadInput."""
    from tidegate.batch import foreach  # noqa: PLC0415 - only a table needs it

    rows = [(cells, f"line {number}") for number, cells in foreach.records(text, around.place)]
    for column in rows[0][0] if rows else ():
        known(f"{around.place}: line 1", {_key(column): None}, JOB)
    return _from_lines({"defaults": _typed(defaults)}, [(_typed(cells), at) for cells, at in rows], around)


def from_prompts(text: str, around: Around, defaults: Table) -> Expanded:
    """The batch of one job for each line that is not blank: its prompt. Raises BadInput."""
    said = [({"prompt": line.strip()}, f"line {at}") for at, line in enumerate(text.splitlines(), 1) if line.strip()]
    return _from_lines({"defaults": _typed(defaults)}, said, around)


def _key(column: str) -> str:
    """The key that a column belongs to."""
    key, dot, _ = column.partition(".")
    return key if dot and key in MERGED else column


def _typed(cells: Mapping[str, str]) -> Table:
    """A table of cells; an empty one says nothing."""
    said: dict[str, Any] = {}
    for column, cell in cells.items():
        key = _key(column)
        if key != column and cell:
            said.setdefault(key, {})[column.removeprefix(f"{key}.")] = cell
        elif cell:
            said[key] = allowed.Typed(cell)
    return said


def _from_document(document: Table, around: Around) -> Expanded:
    from tidegate.batch import groups  # noqa: PLC0415 - most jobs come without a document

    place = around.place
    known(f"{place}:", document, TOP)
    head = _head(document, around)
    defaults = layer(f"{place}: [defaults]", document.get("defaults", {}), DEFAULTS, of="[defaults]")
    one_of_each(f"{place}: [defaults]", defaults)
    jobs = groups.tables(document.get("job", []), "job", place)
    _few(jobs, place)
    single = [_of_top(one, f"[[job]] {number}", defaults, document, around) for number, one in enumerate(jobs, 1)]
    said = [*single, *groups.written(document.get("groups", {}), defaults, around)]
    return _expanded(head, said, around, _ties(document, said, place))


def _ties(document: Table, jobs: Sequence[Written], place: str) -> tuple[NewGroup, ...]:
    """The groups that wait for others."""
    if not document.get("groups"):
        return ()
    from tidegate.batch import ties  # noqa: PLC0415 - most batches have none

    others = [one.table.get("group") for one in jobs if not one.group]
    return ties.ties(document["groups"], place, dict.fromkeys(name for name in others if isinstance(name, str)))


def _of_top(table: Table, at: str, defaults: Table, document: Table, around: Around) -> Written:
    """A [[job]]; one that belongs to a group of the document has to stand there."""
    place = f"{around.place}: {Written(table, at).where}"
    said = layer(place, table, JOB)
    if said.get("group") in document.get("groups", {}):
        raise BadInput(f"{place} group: has a table of its own: write [[groups.{said['group']}.job]]")
    return Written(said, at, defaults, values={})


def from_jsonl(text: str, around: Around) -> Expanded:
    """The batch in lines of JSON. Raises BadInput."""
    head: dict[str, Any] = {}
    jobs: list[tuple[Table, str]] = []
    for number, table in reading.objects(text, around.place):
        at = f"line {number}"
        if not table.keys() & set(HEAD):
            jobs.append((table, at))
            continue
        known(f"{around.place}: {at}", table, HEAD)
        if jobs:
            raise BadInput(f"{around.place}: {at} {next(iter(table))}: must come before the first job")
        if twice := sorted(table.keys() & head.keys()):
            raise BadInput(f"{around.place}: {at} {twice[0]}: is said twice")
        head |= table
    return _from_lines(head, jobs, around)


def _from_lines(head: Table, jobs: Sequence[tuple[Table, str]], around: Around) -> Expanded:
    """The batch of jobs in which nothing is a template."""
    place = around.place
    checked_head = _head(head, around)
    defaults = checked(f"{place}: [defaults]", head.get("defaults", {}), DEFAULTS)
    one_of_each(f"{place}: [defaults]", defaults)
    _few(jobs, place)
    said = [Written(checked(f"{place}: {Written(table, at).where}", table, JOB), at, defaults) for table, at in jobs]
    for name, table in head["groups"].items() if isinstance(head.get("groups"), Mapping) else ():
        checked(f"{place}: [groups.{allowed.shown_key(name)}]", table, TIES)  # its jobs come in lines of their own
    return _expanded(checked_head, said, around, _ties(head, said, place))


def follow_ups(text: str, group: str, defaults: Table, around: Around) -> Expanded | None:
    """The jobs in lines of JSON that a job of a group has printed, over these defaults; None for none.

    Raises BadInput.
    """
    jobs = []
    for number, table in reading.objects(text, around.place):
        at = f"line {number}"
        place = f"{around.place}: {Written(table, at).where}"
        if table.get("group") not in (None, group):
            raise BadInput(f"{place} group: must be {allowed.shown(group)} or nothing, {allowed.but(table['group'])}")
        own = {key: one for key, one in table.items() if key != "group"}
        jobs.append(Written(checked(place, own, OF_GROUP), at, defaults, group))
    head = Head(options={}, accounts={}, declared=declared_by({}, around))
    return _expanded(head, jobs, around, ()) if jobs else None


def single(own: Table, around: Around, *, over: Table | None = None) -> NewJob:
    """The job in a table of its own, over another job's table; its name is "" without an id. Raises BadInput."""
    said, defaults = (checked(around.place, table, JOB) for table in (own, over or {}))
    return Expand(around).job(said, said.get("id", ""), Written({}, "job", defaults))


def account_of(job: NewJob, around: Around) -> Account:
    """The account of a job, as it is declared or as its agent makes it."""
    declared = {name: one for name, one in around.accounts.items() if name == job.account}
    return accounts_of(declared, [job], around.has_limits)[0]


# --- from tables to jobs -----------------------------------------------------------------------


def _head(document: Table, around: Around) -> Head:
    options = checked(f"{around.place}: [batch]", document.get("batch", {}), BATCH)
    if "seed" in options and options.get("order") != "shuffle":
        raise BadInput(f'{around.place}: [batch] seed: counts with order = "shuffle" alone')
    accounts = document.get("accounts", {})
    return Head(options=options, accounts=accounts, declared=declared_by(accounts, around))


def _few(jobs: Sequence[object], place: str) -> None:
    if len(jobs) > JOBS_MOST:
        raise BadInput(f"{place}: must be at most {JOBS_MOST:,} jobs, not {len(jobs):,}")


def _expanded(head: Head, jobs: Sequence[Written], around: Around, ties: tuple[NewGroup, ...]) -> Expanded:
    place = around.place
    if not jobs:
        raise BadInput(f"{place}: no jobs: nothing to do")
    _few(jobs, place)
    said = [one.table if one.values is None else filled(one.table, one.values, f"{place}: {one.where}") for one in jobs]
    names = job_names(said, jobs, place)
    expand = Expand(around)
    each = ((expand.job(own, name, one), one.trial) for own, name, one in zip(said, names, jobs, strict=True))
    made = tuple(_ordered(each, head.options))
    name = batch_name(head.options.get("name"), made, around)
    return Expanded(
        name=name,
        jobs=made,
        accounts=accounts_of(head.declared, made, around.has_limits),
        on_limit=head.options.get("on_limit", "wait"),
        probes=probes_of(head.declared, made, around.has_limits),
        hours=hours_by(name, head.options, head.accounts),
        groups=ties,
        order=head.options.get("order", "fifo"),
        budgets=budgets_by(name, head.options, head.accounts),
        stops=stops_by(head.accounts),
    )


def _ordered(jobs: Iterable[tuple[NewJob, int]], options: Table) -> list[NewJob]:
    """The jobs in the order in which those of one priority are to start."""
    from hashlib import sha256  # noqa: PLC0415 - loads OpenSSL

    match options.get("order", "fifo"):
        case "longest_first":
            from tidegate.batch.longest import longest_first  # noqa: PLC0415 - most batches are as they are

            return longest_first([job for job, _ in jobs], {})
        case "blocked":  # every job once before any a second time
            return [job for job, _ in sorted(jobs, key=lambda one: one[1])]
        case "shuffle":  # by name: what is added later moves nothing else
            seed = options.get("seed", 0)
            return sorted((job for job, _ in jobs), key=lambda job: sha256(f"{seed}\n{job.name}".encode()).digest())
        case _:
            return [job for job, _ in jobs]
