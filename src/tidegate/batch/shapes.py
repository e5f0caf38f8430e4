"""What a batch is read against, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from msgspec import Struct, field

from tidegate.batch.tables import Table
from tidegate.model import Account, Budget, NewGroup, NewJob, Window


def _nothing(_: Sequence[str]) -> str:
    return ""


def _none(_: str) -> Sequence[str]:
    return ()


class Declared(Struct, frozen=True, kw_only=True):
    """What a file says of an account: whose limits it has, how many may run at once (None: as many as like), and how
    it begins where nobody knows whether it is open (one of PREFLIGHT, None for the default, "canary"). `admission` is
    whether it holds back what would not fit its windows; None for the default, "on".
    """

    agent: str | None = None
    concurrency: int | None = None
    preflight: str | None = None
    admission: str | None = None


class Around(Struct, frozen=True, kw_only=True):
    """What a batch is read against.

    `place` names the input in messages. `directory` (absolute) is what relative paths start from, `home` is `~`.
    `name` is that of a batch that says none, None for one made from its jobs. `recognise` gives the agent that a
    command belongs to, "command" for none. `read_text` gives a prompt file's text; it raises OSError or ValueError.
    `find` gives the paths that a pattern below the directory finds, in order; `run` what a program prints there; it
    raises OSError or ValueError.
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
    find: Callable[[str], Sequence[str]] = _none
    run: Callable[[Sequence[str]], str] = _nothing
    accounts: Mapping[str, Declared] = field(default_factory=dict)


class Expanded(Struct, frozen=True, kw_only=True):
    """A batch, ready to be submitted; `accounts` are all that are declared or used. `on_limit` is "wait" or "exit".

    `probes` are the accounts that are to be asked first, with their agents. `hours` and `budgets` are those that
    the batch itself says, by scope: of the whole batch, and of accounts. `groups` are those that wait for others.
    `order` is that in which the jobs are already, as far as the batch alone tells. `stops` say how much of the windows
    of accounts (0..1) may be used.
    """

    name: str
    jobs: tuple[NewJob, ...]
    accounts: tuple[Account, ...]
    on_limit: str = "wait"
    probes: Mapping[str, str] = field(default_factory=dict)
    hours: Mapping[str, str] = field(default_factory=dict)
    groups: tuple[NewGroup, ...] = ()
    order: str = "fifo"
    budgets: Mapping[str, Budget] = field(default_factory=dict)
    stops: Mapping[str, Mapping[Window, float]] = field(default_factory=dict)


class Written(Struct, frozen=True):
    """One job's own table, checked, and where it stands: "[[job]] 3", "line 3".

    It stands over `over`, the defaults. `values` are what its templates may name, None where nothing is a template.
    `label` names it within its `group` where its table has no id; `trial` numbers the jobs of one table from 1.
    """

    table: Table
    at: str
    over: Table = {}
    group: str = ""
    values: Mapping[str, str] | None = None
    label: str = ""
    trial: int = 1

    @property
    def where(self) -> str:
        """Where it stands, with its id if it has one that can be shown."""
        id = self.table.get("id")
        return f"{self.at} ({json.dumps(id)})" if isinstance(id, str) and id.isprintable() and len(id) < 80 else self.at
