"""The accounts of a batch: declared by it or elsewhere, or only used."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from tidegate import allowed, stages
from tidegate.allowed import Wrong
from tidegate.batch.shapes import Around, Declared
from tidegate.batch.tables import ACCOUNT, COMMAND, Table, agent_known, budget, checked, stop_at
from tidegate.errors import BadInput
from tidegate.model import Account, Admission, Allowance, Budget, Exceed, NewJob, Window


def declared_by(said: object, around: Around) -> dict[str, Declared]:
    """The accounts of the batch over those declared elsewhere."""
    if not isinstance(said, Mapping):
        raise BadInput(f"{around.place}: accounts: must be tables, [accounts.NAME], {allowed.but(said)}")
    declared = dict(around.accounts)
    for name, account in declared.items():
        if account.agent not in {None, COMMAND}:
            agent_known(f"[accounts.{name}] agent of the configuration", str(account.agent), around.agents)
    for name, table in said.items():
        place = f"{around.place}: [accounts.{allowed.shown_key(name)}]"
        try:
            allowed.word(name)
        except Wrong as wrong:
            raise BadInput(f"{place}: its name {wrong}") from None
        own = checked(place, table, ACCOUNT)
        if "agent" in own and own["agent"] != COMMAND:
            agent_known(f"{place} agent", own["agent"], around.agents)
        before = declared.get(name, Declared())
        declared[name] = Declared(
            agent=own.get("agent", before.agent),
            concurrency=own.get("concurrency", before.concurrency),
            preflight=own.get("preflight", before.preflight),
            admission=own.get("admission", before.admission),
        )
    return declared


def hours_by(name: str, options: Table, accounts: Table) -> dict[str, str]:
    """The hours that a batch says, by scope; its tables have been checked."""
    said = {f"batch:{name}": options.get("hours"), **{one: table.get("hours") for one, table in accounts.items()}}
    return {scope: text for scope, text in said.items() if text is not None}


def budget_of(said: Table) -> Budget:
    """A budget as its checked table says it."""
    names = Allowance.__struct_fields__
    day = said.get("day") or {}
    return Budget(
        whole=Allowance(**{name: said.get(name) for name in names}),
        day=Allowance(**{name: day.get(name) for name in names}),
        on_exceed=Exceed(said.get("on_exceed") or Exceed.STOP),
    )


def budgets_by(name: str, options: Table, accounts: Table) -> dict[str, Budget]:
    """The budgets that a batch says, by scope."""
    said = {f"batch:{name}": options.get("budget"), **{one: own.get("budget") for one, own in accounts.items()}}
    return {scope: budget_of(budget(table)) for scope, table in said.items() if table is not None}


def stops_of(said: Table) -> dict[Window, float]:
    """What a checked table of percents says: how much of each window (0..1) may be used."""
    return {Window(window): percent / 100 for window, percent in said.items()}


def stops_by(accounts: Table) -> dict[str, dict[Window, float]]:
    """How much of the windows of accounts a batch says may be used, by account."""
    said = {name: own.get("stop_at") for name, own in accounts.items()}
    return {name: stops_of(stop_at(table)) for name, table in said.items() if table is not None}


def accounts_of(
    declared: Mapping[str, Declared], jobs: Sequence[NewJob], has_limits: Callable[[str], bool]
) -> tuple[Account, ...]:
    """Every account that is declared or used; one that says no agent has the limits of the agents that use it."""
    users: dict[str, set[str]] = {name: set() for name in declared}
    for account, agent in _uses(jobs):
        users.setdefault(account, set()).add(agent)
    return tuple(
        Account(
            name=name,
            max_running=declared.get(name, Declared()).concurrency,
            cautious=declared.get(name, Declared()).preflight != "off"
            and any(has_limits(agent) for agent in _whose(declared.get(name), agents)),
            admission=Admission(declared.get(name, Declared()).admission or Admission.ON),
        )
        for name, agents in users.items()
    )


def probes_of(
    declared: Mapping[str, Declared], jobs: Sequence[NewJob], has_limits: Callable[[str], bool]
) -> dict[str, str]:
    """The accounts of these jobs that say preflight = "probe", each with an agent that can be asked."""
    asked = {account: agent for account, agent in _uses(jobs) if has_limits(agent)}
    return {name: agent for name, agent in asked.items() if declared.get(name, Declared()).preflight == "probe"}


def _uses(jobs: Sequence[NewJob]) -> Iterator[tuple[str, str]]:
    """Every account that a stage of a job is for, with the agent of that."""
    for job in jobs:
        yield job.account, job.spec.agent
        for stage in stages.every(job.spec):
            yield stage.account, stage.agent


def _whose(declared: Declared | None, users: Collection[str]) -> Collection[str]:
    return users if declared is None or declared.agent is None else (declared.agent,)
