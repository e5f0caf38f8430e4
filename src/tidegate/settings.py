"""The settings in force: from flags, TIDEGATE_* variables, configuration files and the defaults written here.

The strongest source wins, key by key: a flag, a variable (`TIDEGATE_SUPERVISOR__SLOTS=8`; a list is JSON or has
commas), the person's file, the machine's file, the default. Variables that are empty say nothing. Further agents,
[agents.NAME], are described in files alone; what such a table may say is the business of `tidegate.agents.table`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from tidegate import allowed, batch, credentials, places
from tidegate.allowed import Check, Typed
from tidegate.credentials import Credential
from tidegate.errors import BadInput, BadSetting
from tidegate.model import Admission, Allowance, Budget, Exceed, Variables, Window
from tidegate.notice import Target, Wish, wish
from tidegate.policy import Rules
from tidegate.redact import redacted, redacted_variable

if TYPE_CHECKING:
    from tidegate.agents.table import Table as Described
    from tidegate.launch import Bounds

PREFIX = "TIDEGATE_"
NO_SETTINGS = (
    *("STATE_DIR", "CONFIG", "ATTEMPT", "JOB", "BATCH", "LOCK"),
    *("EVENT", "TEXT", "LEVEL", "COUNT", "HOST", "SCOPE", "UNTIL"),
)  # what is known besides the settings' variables
DEFAULT = "default"
LARGEST = 1024 * 1024  # bytes of a configuration file

# What agents see of the environment. Nothing here reaches an agent by accident: a name is on the list, or it stays out.
LISTED = """
    PATH HOME USER LOGNAME SHELL LANG LANGUAGE LC_* TZ TERM COLORTERM NO_COLOR TMPDIR XDG_* DBUS_SESSION_BUS_ADDRESS
    SSH_AUTH_SOCK SSH_AGENT_PID GIT_AUTHOR_* GIT_COMMITTER_*
    HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy
    SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE GIT_SSL_CAINFO NODE_EXTRA_CA_CERTS
    VIRTUAL_ENV PYENV_* NVM_* CARGO_HOME RUSTUP_* GOPATH GOROOT JAVA_HOME
    ANTHROPIC_* CLAUDE_* OPENAI_* CODEX_* GEMINI_* GOOGLE_* OPENROUTER_* XAI_* DEEPSEEK_* MISTRAL_* GROQ_*
    DASHSCOPE_* QWEN_* OPENCODE_* COPILOT_* MCP_* API_TIMEOUT_MS DISABLE_AUTOUPDATER DISABLE_TELEMETRY
    DISABLE_ERROR_REPORTING IS_SANDBOX MAX_THINKING_TOKENS BASH_DEFAULT_TIMEOUT_MS BASH_MAX_TIMEOUT_MS
    BASH_MAX_OUTPUT_LENGTH
"""
PASSED = tuple(LISTED.split())


def _is(check: Check[object]) -> BeforeValidator:
    return BeforeValidator(check)


@dataclass(frozen=True, slots=True)
class Named:
    """A credential as it is written, and the file that says so; None for a variable, where paths are those of cwd."""

    said: str
    file: str | None = None

    @property
    def beside(self) -> Path:
        """The directory that its path starts from."""
        return Path(self.file).absolute().parent if self.file else Path.cwd()


class _Written(str):
    """A credential's name, and the file that it was read from."""

    __slots__ = ("file",)
    file: str


def _credential(value: object) -> Named:
    """The name of a credential: a path where it has a slash, else a plain word."""
    if isinstance(value, Named):
        return value
    if isinstance(value, str) and redacted(value) != value:
        raise allowed.Wrong("must be the name of a file that holds the secret, not the secret itself")
    said = allowed.path(value)
    if "/" not in said:
        allowed.word(said)
    elif said.startswith("~") and not said.startswith("~/"):
        raise allowed.Wrong(f"only ~/... stands for a home directory, {allowed.but(said)}")
    return Named(str(said), getattr(value, "file", None))


def _wish(value: object) -> Wish:
    return value if isinstance(value, Wish) else wish(value)


Seconds = Annotated[float, _is(allowed.seconds(zero=True))]
SomeSeconds = Annotated[float, _is(allowed.seconds())]
SecondsOrNone = Annotated[float | None, _is(allowed.or_none(allowed.seconds()))]
Word = Annotated[str, _is(allowed.word)]
Names = Annotated[tuple[str, ...], _is(allowed.tuple_of(allowed.name))]


class Table(BaseModel):
    """One table of the configuration; durations are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SupervisorTable(Table):
    """How much runs at once on this host, and how often a job may be limited or lost before somebody must look.

    `cgroups`: whether each attempt gets one of its own, where one is delegated to the supervisor.
    `pause`: what `pause --now` does to attempts that run. `min_free_disk`: bytes below which nothing is launched.
    """

    slots: Annotated[int, _is(allowed.whole(1, 1000))] = 4
    grace: Seconds = 10.0
    max_limited: Annotated[int, _is(allowed.whole(1, 1000))] = 8
    max_lost: Annotated[int, _is(allowed.whole(1, 1000))] = 3
    cgroups: Annotated[str, _is(allowed.one_of("auto", "off"))] = "auto"
    pause: Annotated[str, _is(allowed.one_of("freeze", "interrupt"))] = "freeze"
    min_free_disk: Annotated[int | None, _is(allowed.or_none(allowed.size))] = 500 * 10**6


class LimitsTable(Table):
    """How long a gate stays shut."""

    margin_exact: Seconds = 3.0
    margin_printed: Seconds = 60.0
    jitter: Seconds = 2.0
    unknown_first: SomeSeconds = 300.0
    unknown_most: SomeSeconds = 3600.0
    rate_first: SomeSeconds = 15.0
    rate_most: SomeSeconds = 600.0
    recent: Seconds = 3600.0
    early_canary: Annotated[float | None, _is(allowed.or_none(allowed.seconds(), "off"))] = 1800.0


class RetryTable(Table):
    """How long a failed job waits before its next attempt."""

    first: Seconds = 5.0
    most: Seconds = 600.0


class AttemptTable(Table):
    """How long an attempt may take, how much it may print and use, where its job says nothing.

    `unbounded`: what becomes of one that is to have a bound on memory, pids or cpu_weight that cannot be had.
    """

    timeout: SecondsOrNone = None
    silence: SecondsOrNone = 1800.0
    max_output: Annotated[int | None, _is(allowed.or_none(allowed.some_size))] = 10**9
    memory: Annotated[int | None, _is(allowed.or_none(allowed.some_size))] = None
    pids: Annotated[int | None, _is(allowed.or_none(batch.PIDS))] = None
    cpu_weight: Annotated[int | None, _is(allowed.or_none(batch.WEIGHT))] = None
    unbounded: Annotated[str, _is(allowed.one_of("refuse", "run"))] = "refuse"


class EnvironmentTable(Table):
    """What agents see of the environment."""

    passed: Names = Field(default=PASSED, alias="pass")
    set: Annotated[dict[str, str], _is(allowed.variables)] = {}


class AccountTable(Table):
    """Whose limits an account has, how many of its jobs may run at once, and how much of its windows they may use."""

    agent: Annotated[str | None, _is(allowed.or_none(allowed.word))] = None
    concurrency: Annotated[int | None, _is(allowed.or_none(allowed.whole(1, 10_000)))] = None
    preflight: Annotated[str, _is(allowed.one_of(*batch.PREFLIGHT))] = "canary"
    admission: Annotated[str, _is(allowed.one_of(*batch.ADMISSION))] = Admission.ON.value
    hours: Annotated[str | None, _is(allowed.or_none(batch.hours))] = None
    budget: Annotated[dict[str, Any] | None, _is(allowed.or_none(batch.budget))] = None
    stop_at: Annotated[dict[str, int] | None, _is(allowed.or_none(batch.stop_at))] = None
    credential: Annotated[Named | None, _is(allowed.or_none(_credential))] = None
    credential_variable: Annotated[str | None, _is(allowed.or_none(allowed.variable))] = None


class BudgetTable(Table):
    """What may be spent by everything that works here; `wall` is the time of attempts added up."""

    usd: Annotated[float | None, _is(allowed.or_none(batch.ALLOWANCE["usd"]))] = None
    tokens: Annotated[int | None, _is(allowed.or_none(batch.ALLOWANCE["tokens"]))] = None
    wall: Annotated[float | None, _is(allowed.or_none(batch.ALLOWANCE["wall"]))] = None
    day: Annotated[dict[str, Any] | None, _is(allowed.or_none(batch.day))] = None
    on_exceed: Annotated[str, _is(allowed.one_of(*batch.EXCEED))] = Exceed.STOP.value


class RetentionTable(Table):
    """How long, and how much, the output of ended jobs is kept; and how long the jobs themselves."""

    age: SecondsOrNone = 30 * 86400.0
    size: Annotated[int | None, _is(allowed.or_none(allowed.size))] = 20 * 10**9
    forget: SecondsOrNone = None


class WorkspaceTable(Table):
    """Where the directories lie that are made for jobs, and how long it may take to make one."""

    directory: Annotated[str | None, _is(allowed.or_none(allowed.path))] = None
    timeout: SomeSeconds = 900.0


class LogTable(Table):
    """What is logged, and in which form."""

    level: Annotated[str, _is(allowed.one_of("debug", "info", "warning", "error"))] = "info"
    format: Annotated[str, _is(allowed.one_of("auto", "console", "json"))] = "auto"


class NotifyTable(Table):
    """Which program tells a person of what."""

    command: Annotated[tuple[str, ...] | None, _is(allowed.or_none(allowed.argv))] = None
    on: Annotated[tuple[Wish, ...], _is(allowed.tuple_of(_wish))] = (
        Wish("needs_human"),
        Wish("hold", 1800.0),
        Wish("budget"),
        Wish("finished"),
    )
    every: Seconds = 60.0
    timeout: SomeSeconds = 30.0


class Settings(BaseSettings):
    """Every setting. `load` reads the sources one by one, so that each value's origin is known."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    supervisor: SupervisorTable = SupervisorTable()
    limits: LimitsTable = LimitsTable()
    retry: RetryTable = RetryTable()
    attempt: AttemptTable = AttemptTable()
    environment: EnvironmentTable = EnvironmentTable()
    retention: RetentionTable = RetentionTable()
    budget: BudgetTable = BudgetTable()
    workspace: WorkspaceTable = WorkspaceTable()
    log: LogTable = LogTable()
    notify: NotifyTable = NotifyTable()
    accounts: dict[Word, AccountTable] = {}
    agents: dict[Word, dict[str, Any]] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is the library's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what it is called with: nothing is read behind the back of `load`."""
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class Flag:
    """A setting from the command line: "--slots", "supervisor.slots", "8"."""

    name: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Layer:
    """What one source says, as nested tables: one file, or one variable or flag."""

    label: str
    values: Mapping[str, Any]
    file: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One effective setting; `value` is fit for JSON and hides secrets, `origin` names its flag, variable or file."""

    key: str
    value: object
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The settings in force, the layers they came from (the strongest first), and one line for each doubtful thing."""

    settings: Settings
    layers: tuple[Layer, ...] = ()
    warnings: tuple[str, ...] = ()


# --- reading the sources -----------------------------------------------------------------------


def load(config: str | None, environ: Mapping[str, str], flags: Sequence[Flag] = ()) -> Loaded:
    """The settings in force; `config` is the flag that names a file. Raises BadSetting with one line."""
    files = _files(config, environ)
    variables, warnings = _variables(environ, [layer.values for layer in files])
    layers = (*(_flag(flag) for flag in flags), *variables, *files)
    for layer in layers:
        _valid(layer)
    merged: dict[str, Any] = {}
    for layer in reversed(layers):
        merged = _over(merged, layer.values)
    said = _valid(Layer("settings", merged))
    for name, table in said.agents.items():
        _described(name, table, files)
    return Loaded(settings=said, layers=layers, warnings=warnings)


def problems(config: str | None, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Everything that is wrong with the files and the variables, one line each; `load` raises the first it meets."""
    found, files = [], []
    for path in places.config_files(config, environ):
        try:
            files += _files(str(path), environ) if path.exists() or _named_file(config, environ) else []
        except BadSetting as bad:
            found.append(str(bad))
    layers = [*_variables(environ, [layer.values for layer in files])[0], *files]
    found += [fault for layer in layers for fault in _faults(layer)]
    if not found:
        found += _wrong_agents(files)
    if not found:
        try:
            load(config, environ)
        except BadSetting as bad:
            found.append(str(bad))
    return tuple(found)


def unknown_variables(config: str | None, environ: Mapping[str, str]) -> tuple[str, ...]:
    """One line for each TIDEGATE_ variable that is no setting."""
    try:
        files = _files(config, environ)
    except BadSetting:
        files = []
    return _variables(environ, [layer.values for layer in files])[1]


def _named_file(config: str | None, environ: Mapping[str, str]) -> bool:
    return bool(config or environ.get(f"{PREFIX}CONFIG"))


def _files(config: str | None, environ: Mapping[str, str]) -> list[Layer]:
    named = _named_file(config, environ)
    read = ((str(path), _text(path, must=named)) for path in places.config_files(config, environ))
    return [Layer(place, _placed(_toml(text, place), place), file=True) for place, text in read if text is not None]


def _placed(values: dict[str, Any], place: str) -> dict[str, Any]:
    """The values of a file, where each name of a credential knows which file that is."""
    accounts = values.get("accounts")
    for table in accounts.values() if isinstance(accounts, dict) else ():
        said = table.get("credential") if isinstance(table, dict) else None
        if isinstance(said, str):
            table["credential"] = _Written(said)
            table["credential"].file = place
    return values


def _text(path: Path, *, must: bool) -> str | None:
    try:
        with path.open("rb") as opened:
            raw = opened.read(LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        if not must:
            return None
        raise BadSetting(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise BadSetting(f"{path}: cannot read it: {getattr(error, 'strerror', None) or error}") from None
    if len(raw) > LARGEST:
        raise BadSetting(f"{path}: must be at most {LARGEST:,} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadSetting(f"{path}: line {raw.count(10, 0, error.start) + 1}: not UTF-8 text") from None


def _toml(text: str, place: str) -> dict[str, Any]:
    try:
        return batch.toml(text, place)
    except BadInput as bad:
        raise BadSetting(str(bad)) from None


def _flag(flag: Flag) -> Layer:
    return Layer(flag.name, _nested(flag.key.split("."), flag.value))


def _variables(environ: Mapping[str, str], files: Sequence[Mapping[str, Any]]) -> tuple[list[Layer], tuple[str, ...]]:
    """A layer for each variable that is a setting, and a warning for each that looks like one."""
    layers, warnings = [], []
    for name in sorted(environ):
        said = name.removeprefix(PREFIX)
        if said == name or said in NO_SETTINGS or not environ[name]:
            continue
        if keys := _keys(said.split("__"), files):
            layers.append(Layer(name, _nested(keys, environ[name])))
        else:
            warnings.append(f"{allowed.shown_key(name)} is no setting{_nearest(name)}")
    return layers, tuple(warnings)


def _keys(said: Sequence[str], files: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """The keys that a variable's name means: SUPERVISOR, SLOTS -> supervisor, slots; None for no setting."""
    match [part.lower() for part in said]:
        case ["environment", "set", _]:
            return ["environment", "set", said[2]]
        case [table, name, key] if table in NAMED and key in NAMED[table]:
            return [table, _named(table, name, files), key]
        case [table, key] if table in Settings.model_fields and table not in NAMED and key in _fields(_table(table)):
            return [table, key]
        case _:
            return None


def _named(table: str, name: str, files: Sequence[Mapping[str, Any]]) -> str:
    """The name in a file that a variable's part stands for: CLAUDE_MAX for claude-max; else the part itself."""
    tables = [values[table] for values in files if isinstance(values.get(table), Mapping)]
    known = (known for table in tables for known in table)
    return next((one for one in known if one.lower().replace("-", "_").replace(".", "_") == name), name)


def _nearest(name: str) -> str:
    known = [PREFIX + one for one in NO_SETTINGS]
    for table in Settings.model_fields.keys() - NAMED.keys():
        known += [f"{PREFIX}{table}__{key}".upper() for key in _fields(_table(table))]
    same_key = [one for one in known if one.endswith(f"__{name.removeprefix(PREFIX)}")]
    close = same_key or get_close_matches(name, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def _nested(keys: Sequence[str], value: str) -> dict[str, Any]:
    nested: Any = Typed(value)
    for key in reversed(keys):
        nested = {key: nested}
    return dict(nested)


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merged key by key; where both say something else than a table, `above` wins."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _over(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


# --- checking them -----------------------------------------------------------------------------


def _table(name: str) -> type[BaseModel]:
    table = Settings.model_fields[name].annotation
    assert isinstance(table, type)
    assert issubclass(table, BaseModel)
    return table


def _fields(table: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in table.model_fields.items())


# Tables of tables, each with a name of the user's; what the inner ones may say, as far as it is known here.
NAMED: Mapping[str, tuple[str, ...]] = {"accounts": _fields(AccountTable), "agents": ()}


def _valid(layer: Layer) -> Settings:
    try:
        return Settings(**layer.values)
    except ValidationError as error:
        raise BadSetting(f"{layer.label}: {_said(error.errors()[0], layer)}") from None


def _faults(layer: Layer) -> list[str]:
    """Each thing that is wrong in a layer."""
    try:
        Settings(**layer.values)
    except ValidationError as error:
        return [f"{layer.label}: {_said(one, layer)}" for one in error.errors()]
    return []


def _wrong_agents(files: Sequence[Layer]) -> list[str]:
    """What is wrong with each agent that the files describe."""
    merged: dict[str, Any] = {}
    for layer in reversed(files):
        merged = _over(merged, layer.values)
    found = []
    for name, table in merged.get("agents", {}).items():
        try:
            _described(name, table, files)
        except BadSetting as bad:
            found.append(str(bad))
    return found


def _described(name: str, table: Mapping[str, Any], files: Sequence[Layer]) -> Described:
    from tidegate.agents.table import described  # noqa: PLC0415 - few describe an agent, and its patterns cost

    try:
        return described(name, table)
    except BadSetting as bad:
        place = next(layer.label for layer in files if name in layer.values.get("agents", {}))
        raise BadSetting(f"{place}: {bad}") from None


def _said(error: ErrorDetails, layer: Layer) -> str:
    """The first thing that is wrong, after the table and the key where the layer is a file."""
    loc = [str(part) for part in error["loc"]]
    cause = error.get("ctx", {}).get("error")
    inside = cause.inside if isinstance(cause, allowed.Wrong) else ""
    match error["type"]:
        case "extra_forbidden":
            words = allowed.unknown(loc[-1], _choices(loc[:-1]))
        case "value_error":
            words = f"its name {cause}" if loc[-1] == "[key]" else str(cause)
        case "model_type" | "dict_type" | "model_attributes_type":
            words = f"must be a table, {allowed.but(error['input'])}"
        case _:
            words = error["msg"]
    return f"{_place(loc)}{inside}: {words}" if layer.file else f"{words}"


def _choices(loc: Sequence[str]) -> tuple[str, ...]:
    """The keys that a table may have."""
    if not loc:
        return _fields(Settings)
    return NAMED[loc[0]] if loc[0] in NAMED else _fields(_table(loc[0]))


def _place(loc: Sequence[str]) -> str:
    """How TOML writes a place: "[supervisor] slots", "[accounts.claude] agent", "nonsense"."""
    if loc[0] not in Settings.model_fields:
        return allowed.shown_key(loc[0])
    depth = 2 if loc[0] in NAMED and len(loc) > 1 else 1
    table = ".".join(allowed.shown_key(part) for part in loc[:depth])
    keys = ".".join(allowed.shown_key(part) for part in loc[depth:] if part != "[key]")
    return f"[{table}] {keys}".rstrip()


# --- what the rooms below get ------------------------------------------------------------------


def rules(settings: Settings) -> Rules:
    """The numbers that decisions use."""
    limits, retry, supervisor = settings.limits, settings.retry, settings.supervisor
    return Rules(
        margin_exact=limits.margin_exact,
        margin_printed=limits.margin_printed,
        spread=limits.jitter,
        unknown_first=limits.unknown_first,
        unknown_most=limits.unknown_most,
        rate_first=limits.rate_first,
        rate_most=limits.rate_most,
        recent=limits.recent,
        early=limits.early_canary,
        retry_first=retry.first,
        retry_most=retry.most,
        max_limited=supervisor.max_limited,
        max_lost=supervisor.max_lost,
    )


def bounds(settings: Settings) -> Bounds:
    """What attempts may use of the machine where their jobs say nothing."""
    from tidegate.launch import Bounds  # noqa: PLC0415 - it brings a loop along

    attempt = settings.attempt
    return Bounds(attempt.memory, attempt.pids, attempt.cpu_weight)


def environment(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """What agents see of the environment: the variables that are on the list, and those that are set."""
    listed = settings.environment.passed
    seen = {name: value for name, value in environ.items() if any(fnmatchcase(name, one) for one in listed)}
    return seen | settings.environment.set


def accounts(settings: Settings) -> dict[str, batch.Declared]:
    """The accounts that the configuration declares."""
    return {
        name: batch.Declared(
            agent=one.agent, concurrency=one.concurrency, preflight=one.preflight, admission=one.admission
        )
        for name, one in settings.accounts.items()
    }


def hours(settings: Settings) -> dict[str, str]:
    """When the jobs of accounts may start, for those of which the configuration says it."""
    return {name: account.hours for name, account in settings.accounts.items() if account.hours is not None}


def budgets(settings: Settings) -> dict[str, Budget]:
    """What may be spent, by everything (`*`) and with each account of which the configuration says it."""
    table = settings.budget
    whole = batch.budget_of(table.model_dump())
    said = {"*": whole} if whole.whole != Allowance() or whole.day != Allowance() else {}
    return said | {
        name: batch.budget_of(account.budget)
        for name, account in settings.accounts.items()
        if account.budget is not None
    }


def stops(settings: Settings) -> dict[str, dict[Window, float]]:
    """How much of the windows of accounts (0..1) may be used, for those of which the configuration says it."""
    said = {name: account.stop_at for name, account in settings.accounts.items()}
    return {name: batch.stops_of(table) for name, table in said.items() if table is not None}


def granted(settings: Settings, agents: Mapping[str, Variables], environ: Mapping[str, str]) -> dict[str, Credential]:
    """Each account's credential: where it lies, and in which variable it goes. `agents` are those of the known agents.

    Raises BadSetting where no variable is known for an account's agent, and none is named.
    """
    return {
        name: _granted(name, account, account.credential, agents, environ)
        for name, account in settings.accounts.items()
        if account.credential is not None
    }


def _granted(
    name: str, account: AccountTable, said: Named, agents: Mapping[str, Variables], environ: Mapping[str, str]
) -> Credential:
    agent = account.agent or name
    variables = agents.get(agent)  # None for an account that several agents may use: the job's agent tells
    if variables is not None and not variables.takes and account.credential_variable is None:
        where = f"{said.file}: " if said.file else ""
        needed = f'the variable in which {agent} takes it is not known: say credential_variable = "NAME"'
        raise BadSetting(f"{where}[accounts.{name}] credential: {needed}")
    path, by_systemd = credentials.located(said.said, said.beside, environ, places.home(environ))
    variable = account.credential_variable
    return Credential(account=name, path=path, granted=by_systemd, variable=variable, variables=variables)


def notifying(settings: Settings, environ: Mapping[str, str], state: Path) -> Target | None:
    """Whom to tell what happens in a state directory; None for nobody."""
    table = settings.notify
    if table.command is None:
        return None
    return Target(
        command=table.command,
        on=table.on,
        every=table.every,
        timeout=table.timeout,
        environment={**environment(settings, environ), f"{PREFIX}STATE_DIR": str(state)},
    )


def workspaces(settings: Settings, environ: Mapping[str, str], state: Path) -> Path:
    """Where the directories lie that are made for jobs."""
    said = settings.workspace.directory
    return places.workspaces(state) if said is None else places.named(said, environ, state)


def agents(settings: Settings) -> tuple[Described, ...]:
    """The agents that the configuration describes."""
    from tidegate.agents.table import described  # noqa: PLC0415

    return tuple(described(name, table) for name, table in settings.agents.items())


# --- telling -----------------------------------------------------------------------------------


def effective(loaded: Loaded) -> list[Row]:
    """Each setting in force and where it came from; secrets are hidden."""
    return [
        Row(".".join(allowed.toml_key(part) for part in keys), _shown(keys, value), _origin(loaded.layers, keys))
        for keys, value in _leaves(loaded.settings, ())
    ]


def _leaves(table: object, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], object]]:
    pairs = _pairs(table)
    if not pairs:
        yield above, table
    for key, value in pairs:
        yield from _leaves(value, (*above, key))


def _pairs(table: object) -> list[tuple[str, object]]:
    """The keys and values of a table; none for any other value."""
    if isinstance(table, BaseModel):
        return [(field.alias or name, getattr(table, name)) for name, field in type(table).model_fields.items()]
    return list(table.items()) if isinstance(table, Mapping) else []


def _shown(keys: Sequence[str], value: object) -> object:
    match value:
        case None:
            return "none"  # as it is written
        case Named(said):
            return said
        case Wish():
            return str(value)
        case str():
            return redacted_variable(keys[-1], value) if {"set", "env"} & {*keys[1:-1]} else redacted(value)
        case list() | tuple():
            return [_shown(keys, one) for one in value]
        case Mapping():
            return {key: _shown((*keys, key), one) for key, one in value.items()}
        case float() if value.is_integer():
            return int(value)
        case _:
            return value


def _origin(layers: Sequence[Layer], keys: Sequence[str]) -> str:
    return next((layer.label for layer in layers if _says(layer.values, keys)), DEFAULT)


def _says(values: Any, keys: Sequence[str]) -> bool:  # noqa: ANN401 - what a parser returned
    for key in keys:
        if not isinstance(values, Mapping):
            return True  # JSON for the whole table
        if key not in values:
            return False
        values = values[key]
    return True
