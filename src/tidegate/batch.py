"""A batch as it is written, in TOML or JSONL, becomes the expanded jobs, and a job becomes a record again.

A TOML document holds `[batch]`, `[defaults]`, `[accounts.NAME]` and one `[[job]]` for each job. In JSONL each line is
an object: a job, or, before the first job, one that carries any of the tables `batch`, `defaults` and `accounts`; null
says nothing.

A job without an id is known by what its own table says is to be done (not by its place, so that a job put before it
changes nothing; not by `[defaults]`, a priority or a time-out): `make-1b9d0f3a`, and `make-1b9d0f3a#2` for the second
job that says the same. A batch without a name is known by its file's absolute path; one that came through a pipe by its
expanded jobs, so that the same input from the same directory continues, and any other is another batch.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any, NoReturn

from msgspec import Struct, field

from tidegate import allowed
from tidegate.allowed import Check, Wrong
from tidegate.errors import BadInput
from tidegate.model import Account, NewJob, Spec

Table = Mapping[str, Any]

JOBS_MOST = 1_000_000
COMMAND = "command"  # the agent, and the account, of a command that is no known agent's


def hours(value: object) -> str:
    """Office hours, as they are written: "20:00-07:00 Europe/Berlin"."""
    from tidegate.hours import parse  # noqa: PLC0415 - only who has hours pays for them

    said = allowed.name(value)
    parse(said, UTC)  # with any zone: whether a text is good does not hang on it
    return said


BATCH: Mapping[str, Check[object]] = {
    "name": allowed.name,
    "on_limit": allowed.one_of("wait", "exit"),
    "hours": hours,
}
PREFLIGHT = ("canary", "probe", "off")  # one job goes first, a question is asked first, or nothing of the kind
ACCOUNT: Mapping[str, Check[object]] = {
    "agent": allowed.word,
    "concurrency": allowed.whole(1, 10_000),
    "preflight": allowed.one_of(*PREFLIGHT),
    "hours": hours,
}
PIDS, WEIGHT = allowed.whole(1, 4_194_304), allowed.whole(1, 10_000)  # what the kernel takes
DEFAULTS: Mapping[str, Check[object]] = {
    "agent": allowed.word,
    "command": allowed.argv,
    "args": allowed.args,
    "model": allowed.name,
    "prompt": allowed.text,
    "prompt_file": allowed.path,
    "cwd": allowed.path,
    "env": allowed.variables,
    "account": allowed.word,
    "priority": allowed.whole(-1_000_000, 1_000_000),
    "timeout": allowed.seconds(),
    "silence": allowed.seconds(),
    "max_output": allowed.some_size,
    "memory": allowed.some_size,
    "pids": PIDS,
    "cpu_weight": WEIGHT,
    "max_attempts": allowed.whole(1, 1000),
    "on_cutoff": allowed.one_of("resume", "restart"),
    "on_failure": allowed.one_of("restart", "resume"),
    "resume_prompt": allowed.text,
    "result_files": allowed.tuple_of(allowed.pattern),
    "labels": allowed.mapping_of(allowed.name, allowed.any_text),
}
JOB: Mapping[str, Check[object]] = {"id": allowed.name, **DEFAULTS}
HEAD = ("batch", "defaults", "accounts")
TOP = (*HEAD, "job")

WORK = ("agent", "command", "args", "model", "prompt", "prompt_file", "cwd", "env", "labels")  # what makes a default id
PAIRS = (("agent", "command"), ("prompt", "prompt_file"))  # one of each, not both
MERGED = ("env", "labels")  # a job adds to these of [defaults]; every other key replaces


class Declared(Struct, frozen=True, kw_only=True):
    """What a file says of an account: whose limits it has, how many may run at once (None: as many as like), and how
    it begins where nobody knows whether it is open (one of PREFLIGHT, None for the default, "canary").
    """

    agent: str | None = None
    concurrency: int | None = None
    preflight: str | None = None


class Around(Struct, frozen=True, kw_only=True):
    """What a batch is read against.

    `place` names the input in messages. `directory` (absolute) is what relative paths start from, `home` is `~`.
    `name` is that of a batch that says none, None for one made from its jobs. `recognise` gives the agent that a
    command belongs to, "command" for none. `read_text` gives a prompt file's text; it raises OSError or ValueError.
    `accounts` are declared elsewhere; the batch's own say wins, key by key.
    """

    place: str
    directory: Path
    home: Path
    name: str | None
    agents: Collection[str]
    recognise: Callable[[Sequence[str]], str]
    has_limits: Callable[[str], bool]
    read_text: Callable[[Path], str]
    accounts: Mapping[str, Declared] = field(default_factory=dict)


class Expanded(Struct, frozen=True, kw_only=True):
    """A batch, ready to be submitted; `accounts` are all that are declared or used. `on_limit` is "wait" or "exit".

    `probes` are the accounts that are to be asked first, with their agents. `hours` are those that the batch itself
    says, by scope: of the whole batch, and of accounts.
    """

    name: str
    jobs: tuple[NewJob, ...]
    accounts: tuple[Account, ...]
    on_limit: str = "wait"
    probes: Mapping[str, str] = field(default_factory=dict)
    hours: Mapping[str, str] = field(default_factory=dict)


class Written(Struct, frozen=True):
    """One job's own table and where it stands: "[[job]] 3", "line 3"."""

    table: Table
    at: str

    @property
    def where(self) -> str:
        """Where it stands, with its id if it has one that can be shown."""
        id = self.table.get("id")
        return f"{self.at} ({json.dumps(id)})" if isinstance(id, str) and id.isprintable() and len(id) < 80 else self.at


# --- from text to tables -----------------------------------------------------------------------


def from_toml(text: str, around: Around) -> Expanded:
    """The batch in a TOML document. Raises BadInput."""
    document = toml(text, around.place)
    _known(f"{around.place}:", document, TOP)
    jobs = document.get("job", [])
    if isinstance(jobs, Mapping):
        raise BadInput(f"{around.place}: [job]: write [[job]], with two brackets on each side")
    if not isinstance(jobs, list) or not all(isinstance(one, Mapping) for one in jobs):
        raise BadInput(f"{around.place}: job: must be tables, [[job]], {allowed.but(jobs)}")
    return _expanded(document, [Written(one, f"[[job]] {place}") for place, one in enumerate(jobs, 1)], around)


def toml(text: str, place: str) -> dict[str, Any]:
    """A parsed TOML document. Raises BadInput with the line and the column of a mistake."""
    import tomllib  # noqa: PLC0415 - most jobs come without a document

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said, line, column = _toml_mistake(str(error), text)
        raise BadInput(f"{place}: line {line}, column {column}: not TOML: {said}") from None
    except RecursionError:
        raise BadInput(f"{place}: not read: nested too deeply") from None
    except ValueError:  # int() refuses more than 4300
        raise BadInput(f"{place}: not TOML: a number of thousands of digits") from None


def _toml_mistake(said: str, text: str) -> tuple[str, int, int]:
    """What is wrong, and the line and column, which a mistake at the very end is told without."""
    if found := re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", said, re.DOTALL):
        return found[1], int(found[2]), int(found[3])
    lines = text.rstrip("\n").split("\n")
    return said.removesuffix(" (at end of document)"), len(lines), len(lines[-1]) + 1


def from_jsonl(text: str, around: Around) -> Expanded:
    """The batch in lines of JSON. Raises BadInput."""
    head: dict[str, Any] = {}
    jobs: list[Written] = []
    for number, table in _objects(text, around.place):
        at = f"line {number}"
        if not table.keys() & set(HEAD):
            jobs.append(Written(table, at))
            continue
        _known(f"{around.place}: {at}", table, HEAD)
        if jobs:
            raise BadInput(f"{around.place}: {at} {next(iter(table))}: must come before the first job")
        if twice := sorted(table.keys() & head.keys()):
            raise BadInput(f"{around.place}: {at} {twice[0]}: is said twice")
        head |= table
    return _expanded(head, jobs, around)


def _objects(text: str, place: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):  # splitlines would split at U+2028 within a text
        if line.strip():
            yield number, _object(line, f"{place}: line {number}")


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = json.loads(line, object_pairs_hook=_without_twins, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        raise BadInput(f"{where}, column {error.colno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise BadInput(f"{where}: not read: nested too deeply") from None
    except Wrong as wrong:
        raise BadInput(f"{where}: not JSON: {wrong}") from None
    except ValueError:  # int() refuses more than 4300
        raise BadInput(f"{where}: not JSON: a number of thousands of digits") from None
    if not isinstance(value, dict):
        raise BadInput(f"{where}: must be an object, one for each line, {allowed.but(value)}")
    return value


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise Wrong(f"the key {allowed.shown_key(key)} is there twice")
        table[key] = value
    return table


def _no_number(said: str) -> NoReturn:
    raise Wrong(f"{said} is no number")


def single(own: Table, around: Around, *, over: Table | None = None) -> NewJob:
    """The job in a table of its own, over another job's table; its name is "" without an id. Raises BadInput."""
    said, defaults = (_checked(around.place, table, JOB) for table in (own, over or {}))
    return _Expand(around, defaults).job(said, said.get("id", ""), "job")


def account_of(job: NewJob, around: Around) -> Account:
    """The account of a job, as it is declared or as its agent makes it."""
    declared = {name: one for name, one in around.accounts.items() if name == job.account}
    return _accounts(declared, [job], around.has_limits)[0]


# --- from tables to jobs -----------------------------------------------------------------------


def _expanded(head: Table, jobs: Sequence[Written], around: Around) -> Expanded:
    options = _checked(f"{around.place}: [batch]", head.get("batch", {}), BATCH)
    defaults = _checked(f"{around.place}: [defaults]", head.get("defaults", {}), DEFAULTS)
    _one_of_each(f"{around.place}: [defaults]", defaults)
    declared = _declared(head.get("accounts", {}), around)
    if not jobs:
        raise BadInput(f"{around.place}: no jobs: nothing to do")
    if len(jobs) > JOBS_MOST:
        raise BadInput(f"{around.place}: must be at most {JOBS_MOST:,} jobs, not {len(jobs):,}")
    said = [_checked(f"{around.place}: {one.where}", one.table, JOB) for one in jobs]
    names = _names(said, jobs, around.place)
    expand = _Expand(around, defaults)
    made = tuple(expand.job(own, name, one.where) for own, name, one in zip(said, names, jobs, strict=True))
    name = _batch_name(options.get("name"), made, around)
    return Expanded(
        name=name,
        jobs=made,
        accounts=_accounts(declared, made, around.has_limits),
        on_limit=options.get("on_limit", "wait"),
        probes=_probes(declared, made, around.has_limits),
        hours=_hours(name, options, head.get("accounts", {})),
    )


def _batch_name(said: str | None, jobs: Sequence[NewJob], around: Around) -> str:
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


def _names(said: Sequence[Table], jobs: Sequence[Written], place: str) -> list[str]:
    """Each job's name: its id, else one made from what its own table says is to be done."""
    taken: dict[str, str] = {}
    for own, one in zip(said, jobs, strict=True):
        if "id" in own:
            if own["id"] in taken:
                raise BadInput(f"{place}: {one.where} id: is already that of {taken[own['id']]}")
            taken[own["id"]] = one.at
    return [own["id"] if "id" in own else _default_name(own, taken) for own in said]


def _default_name(own: Table, taken: dict[str, str]) -> str:
    work = {key: own[key] for key in WORK if key in own}
    label = own.get("agent") or (PurePath(own["command"][0]).name if "command" in own else "")
    label = re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-")[:40] or "job"
    stem = f"{label}-{_digest(json.dumps(work, sort_keys=True))[:8]}"
    name, times = stem, int(taken.get(f"\n{stem}", "1"))  # no id holds a newline: how often this stem has come
    while name in taken:
        times += 1
        name = f"{stem}#{times}"
    taken[name], taken[f"\n{stem}"] = "", str(times)
    return name


def _digest(text: str) -> str:
    from hashlib import sha256  # noqa: PLC0415 - loads OpenSSL

    return sha256(text.encode()).hexdigest()


class _Expand:
    """Makes jobs; remembers the prompt files that it has read."""

    def __init__(self, around: Around, defaults: Table) -> None:
        self._around = around
        self._defaults = defaults
        self._read: dict[str, str] = {}

    def job(self, own: Table, name: str, where: str) -> NewJob:
        """One job from its own table and the defaults."""
        place = f"{self._around.place}: {where}"
        _one_of_each(place, own)
        said = _merged(self._defaults, own)
        agent, command = self._runs(said, place)
        prompt = self._prompt(said, place)
        args = said.get("args", ())
        if not command and not prompt and not args:
            raise BadInput(f"{place}: agent {json.dumps(agent)} needs a prompt, a prompt_file or args")
        model, argv = said.get("model"), (*command, *args)
        if agent != COMMAND:
            model, argv = _with_model(argv, said, own, place)
        spec = Spec(
            agent=agent,
            command=argv if command else (),
            args=() if command else argv,
            prompt=prompt,
            cwd=str(self._path(said.get("cwd", "."), f"{place} cwd")),
            **{key: said[key] for key in AS_SAID if key in said},
        )
        account, priority = said.get("account", agent), said.get("priority", 0)
        return NewJob(name=name, account=account, spec=spec, model=model, priority=priority)

    def _runs(self, said: Table, place: str) -> tuple[str, tuple[str, ...]]:
        """The agent, and the command where the job says one."""
        if "command" in said:
            return self._around.recognise(said["command"]), said["command"]
        if "agent" not in said:
            raise BadInput(f"{place}: must say agent (with a prompt) or command")
        if said["agent"] == COMMAND:
            raise BadInput(f'{place} agent: "command" is no agent: say command = ["program", ...]')
        _agent(f"{place} agent", said["agent"], self._around.agents)
        return said["agent"], ()

    def _prompt(self, said: Table, place: str) -> str | None:
        if "prompt_file" not in said:
            return said.get("prompt")
        written: str = said["prompt_file"]
        if written not in self._read:
            self._read[written] = self._text(written, f"{place} prompt_file")
        return self._read[written]

    def _text(self, written: str, place: str) -> str:
        path = self._path(written, place)
        shown = allowed.shown(written) if str(path) == written else f"{allowed.shown(written)} ({path})"
        try:
            return allowed.text(self._around.read_text(path))
        except OSError as error:
            raise BadInput(f"{place}: cannot read {shown}: {error.strerror or error}") from None
        except ValueError as error:  # Wrong is one
            raise BadInput(f"{place}: {shown}: {error}") from None

    def _path(self, written: str, place: str) -> Path:
        if written == "~" or written.startswith("~/"):
            return self._around.home / written[2:]
        if written.startswith("~"):
            raise BadInput(f"{place}: only ~ and ~/... stand for a home directory, {allowed.but(written)}")
        return self._around.directory / written


def _with_model(argv: tuple[str, ...], said: Table, own: Table, place: str) -> tuple[str | None, tuple[str, ...]]:
    """A job's model, and the arguments that tell its agent: --model is what every agent known here calls it."""
    model, there = said.get("model"), _model_in(argv)
    if there is not None and own.get("model") not in {None, there}:
        raise BadInput(f"{place} model: is {json.dumps(model)}, but the arguments say {json.dumps(there)}")
    if there is not None or model is None:
        return there, argv
    end = argv.index("--") if "--" in argv else len(argv)
    return model, (*argv[:end], "--model", model, *argv[end:])


def _model_in(argv: Sequence[str]) -> str | None:
    """The model that arguments name; codex and gemini also take -m."""
    for arg, value in pairwise((*argv, "")):
        flag, equals, behind = arg.partition("=")
        if flag == "--model" or arg == "-m":
            model = behind if equals else value
            return model if model.isprintable() and 0 < len(model) <= allowed.NAME_MOST else None
    return None


AS_SAID = (
    *("env", "timeout", "silence", "max_output", "memory", "pids", "cpu_weight", "max_attempts", "on_cutoff"),
    *("on_failure", "resume_prompt", "result_files", "labels"),
)


def _merged(defaults: Table, own: Table) -> dict[str, Any]:
    """A job's own table over the defaults; what is meant for the agent that it replaces is not inherited."""
    dropped = {key for pair in PAIRS if own.keys() & set(pair) for key in pair}
    replaced = {key: defaults[key] for key in PAIRS[0] if key in defaults and dropped & set(PAIRS[0])}
    if replaced and replaced != {key: own[key] for key in PAIRS[0] if key in own}:
        dropped |= {"args", "model"}
    if "command" in own and "agent" in replaced:
        dropped |= {"prompt", "prompt_file"}
    said = {key: value for key, value in defaults.items() if key not in dropped}
    return {**said, **own, **{key: {**defaults.get(key, {}), **own.get(key, {})} for key in MERGED}}


def _one_of_each(place: str, said: Table) -> None:
    for pair in PAIRS:
        if set(pair) <= said.keys():
            raise BadInput(f"{place}: must say {pair[0]} or {pair[1]}, not both")


def _agent(place: str, said: str, agents: Collection[str]) -> None:
    if said not in agents:
        known = sorted(set(agents) - {COMMAND})
        rest = allowed.meant(said, known) or f"; known are {', '.join(known)}"
        raise BadInput(f"{place}: unknown agent {json.dumps(said)}{rest}")


# --- accounts ----------------------------------------------------------------------------------


def _declared(said: object, around: Around) -> dict[str, Declared]:
    """The accounts of the batch over those declared elsewhere."""
    if not isinstance(said, Mapping):
        raise BadInput(f"{around.place}: accounts: must be tables, [accounts.NAME], {allowed.but(said)}")
    declared = dict(around.accounts)
    for name, account in declared.items():
        if account.agent not in {None, COMMAND}:
            _agent(f"[accounts.{name}] agent of the configuration", str(account.agent), around.agents)
    for name, table in said.items():
        place = f"{around.place}: [accounts.{allowed.shown_key(name)}]"
        try:
            allowed.word(name)
        except Wrong as wrong:
            raise BadInput(f"{place}: its name {wrong}") from None
        own = _checked(place, table, ACCOUNT)
        if "agent" in own and own["agent"] != COMMAND:
            _agent(f"{place} agent", own["agent"], around.agents)
        before = declared.get(name, Declared())
        declared[name] = Declared(
            agent=own.get("agent", before.agent),
            concurrency=own.get("concurrency", before.concurrency),
            preflight=own.get("preflight", before.preflight),
        )
    return declared


def _hours(name: str, options: Table, accounts: Table) -> dict[str, str]:
    """The hours that a batch says, by scope; its tables have been checked."""
    said = {f"batch:{name}": options.get("hours"), **{one: table.get("hours") for one, table in accounts.items()}}
    return {scope: text for scope, text in said.items() if text is not None}


def _accounts(
    declared: Mapping[str, Declared], jobs: Sequence[NewJob], has_limits: Callable[[str], bool]
) -> tuple[Account, ...]:
    """Every account that is declared or used; one that says no agent has the limits of the agents that use it."""
    users: dict[str, set[str]] = {name: set() for name in declared}
    for job in jobs:
        users.setdefault(job.account, set()).add(job.spec.agent)
    return tuple(
        Account(
            name=name,
            max_running=declared.get(name, Declared()).concurrency,
            cautious=declared.get(name, Declared()).preflight != "off"
            and any(has_limits(agent) for agent in _whose(declared.get(name), agents)),
        )
        for name, agents in users.items()
    )


def _probes(
    declared: Mapping[str, Declared], jobs: Sequence[NewJob], has_limits: Callable[[str], bool]
) -> dict[str, str]:
    """The accounts of these jobs that say preflight = "probe", each with an agent that can be asked."""
    asked = {job.account: job.spec.agent for job in jobs if has_limits(job.spec.agent)}
    return {name: agent for name, agent in asked.items() if declared.get(name, Declared()).preflight == "probe"}


def _whose(declared: Declared | None, users: Collection[str]) -> Collection[str]:
    return users if declared is None or declared.agent is None else (declared.agent,)


# --- checks ------------------------------------------------------------------------------------


def _checked(place: str, table: object, checks: Mapping[str, Check[object]]) -> dict[str, Any]:
    """The table's values as the checks give them. Raises BadInput with the key."""
    if not isinstance(table, Mapping):
        raise BadInput(f"{place}: must be a table, {allowed.but(table)}")
    _known(place, table, checks)
    said = {}
    for key, value in table.items():
        try:
            if value is not None:
                said[key] = checks[key](value)
        except Wrong as wrong:
            raise BadInput(f"{place} {key}{wrong.inside}: {wrong}") from None
    return said


def _known(place: str, table: Table, keys: Collection[str]) -> None:
    try:
        allowed.known(table, keys)
    except Wrong as wrong:
        raise BadInput(f"{place} {wrong.inside.removeprefix('.')}: {wrong}") from None


# --- and back ----------------------------------------------------------------------------------


def as_record(job: NewJob) -> dict[str, Any]:
    """A job as a line of a JSONL batch, with everything said."""
    spec = job.spec
    runs = {"command": list(spec.command)} if spec.command else {"agent": spec.agent, "args": list(spec.args)}
    record = {
        "id": job.name,
        **runs,
        "model": job.model,
        "prompt": spec.prompt,
        "cwd": spec.cwd,
        "env": dict(spec.env),
        "account": job.account,
        "priority": job.priority,
        "timeout": _short(spec.timeout),
        "silence": _short(spec.silence),
        "max_output": spec.max_output,
        "memory": spec.memory,
        "pids": spec.pids,
        "cpu_weight": spec.cpu_weight,
        "max_attempts": spec.max_attempts,
        "on_cutoff": spec.on_cutoff,
        "on_failure": spec.on_failure,
        "resume_prompt": spec.resume_prompt,
        "result_files": list(spec.result_files),
        "labels": dict(spec.labels),
    }
    return {key: value for key, value in record.items() if value not in (None, {}, [])}


def _short(seconds: float | None) -> float | None:
    return int(seconds) if seconds is not None and seconds.is_integer() else seconds


def head_as_jsonl(batch: Expanded) -> str:
    """The line before the jobs, in ASCII; none where it says nothing."""
    own = batch.hours.get(f"batch:{batch.name}")
    accounts = {scope: {"hours": text} for scope, text in batch.hours.items() if scope != f"batch:{batch.name}"}
    head = {"batch": {"hours": own} if own else {}, "accounts": accounts}
    said = {key: table for key, table in head.items() if table}
    return json.dumps(said) + "\n" if said else ""


def as_jsonl(jobs: Sequence[NewJob]) -> str:
    """Jobs as lines of a JSONL batch, in ASCII."""
    return "".join(json.dumps(as_record(job)) + "\n" for job in jobs)
