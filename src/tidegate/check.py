"""The verb `check`: asks each account the cheapest question there is, and says whether its provider answers.

One question is one model request of an agent's own CLI. What it costs: claude about 500 input tokens (haiku, no tools,
no session kept; measured on 2.1.330), codex about 13,000 (0.169.0 sends its whole prompt with every request), any other
agent one answer to its own system prompt.
"""

from __future__ import annotations

import os
import tempfile
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import structlog
from msgspec.structs import replace

from tidegate import agents, codes, policy, settings
from tidegate.agents import Agent, Known
from tidegate.attempt import Ended, Means, Running
from tidegate.batch import Declared, Expanded
from tidegate.cli.config import loaded
from tidegate.clock import SystemClock
from tidegate.errors import BadInput, NotNow
from tidegate.look import plain
from tidegate.look.words import page, shown
from tidegate.model import Attempt, Exit, Failed, Job, Limit, Limited, Sighting, Spec, Succeeded, TimedOut
from tidegate.settings import Settings
from tidegate.stores import Store
from tidegate.watch import Watcher

log = structlog.get_logger()

ASKED = "Reply with the word ok."
CLAUDE = (
    *("--model", "haiku", "--max-turns", "1", "--tools", "", "--system-prompt", "Reply ok.", "--strict-mcp-config"),
    "--no-session-persistence",
)
ARGS = {"claude": CLAUDE, "codex": ("--skip-git-repo-check",)}
SECONDS = 60.0  # that a question may take
CODES = {
    "open": codes.OK,
    "limited": codes.LIMITED,
    "busy": codes.LIMITED,
    "needs a person": codes.NEEDS_HUMAN,
    "unknown": codes.INFRASTRUCTURE,
}
WORST = (codes.NEEDS_HUMAN, codes.LIMITED, codes.INFRASTRUCTURE)  # of several answers, the one that counts comes first


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an account said: `word` is one of CODES; "unknown" is whatever does not tell. `limit` where there is one."""

    account: str
    agent: str
    word: str
    detail: str = ""
    limit: Limit | None = None


def check(args: Namespace) -> int:
    """Ask, and print each answer; 0 where all are open, else 6, 75 or 5 as for `run`. Raises BadInput."""
    said = loaded(args).settings
    known = agents.known(settings.agents(said))
    asked = _asked(args.accounts, settings.accounts(said), known)
    answers = anyio.run(ask, asked, said, known)
    for answer in answers:
        print(plain.line(_form(answer)) if args.json else _line(answer))
    found = {CODES[answer.word] for answer in answers}
    return next((code for code in WORST if code in found), codes.OK)


def _asked(named: Sequence[str], declared: Mapping[str, Declared], known: Known) -> dict[str, str]:
    """The agent of each account to ask: the declared ones, or those that are named."""
    listed = {name: one.agent or name for name, one in declared.items()}
    if named:
        listed = {account: listed.get(account, account) for account in named}
    if not listed:
        raise BadInput("no account is configured: name an agent, as in `tidegate check claude`")
    for name, agent in listed.items():
        if agent not in known.names or not known.has_limits(agent):
            allowed = ", ".join(one for one in known.names if known.has_limits(one))
            raise BadInput(f"account {name!r}: no agent to ask; name an account of the configuration, or {allowed}")
    return listed


async def ask(accounts: Mapping[str, str], said: Settings, known: Known) -> list[Answer]:
    """Ask each account (name -> agent), one after the other."""
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="tidegate-check-") as place:
        async with Watcher(clock) as watcher:
            means = Means(
                clock=clock,
                watcher=watcher,
                environment=settings.environment(said, os.environ),
                credentials=settings.granted(said, known.variables, os.environ),
                grace=2.0,
            )
            return [
                await _answer(name, known.agents[agent], means, Path(place) / str(number))
                for number, (name, agent) in enumerate(accounts.items())
            ]


async def _answer(account: str, agent: Agent, means: Means, place: Path) -> Answer:
    running = _question(account, agent, means, place)
    async with anyio.create_task_group() as asking:
        asking.start_soon(_out_of_time, running)
        ended = await _ended(running)
        asking.cancel_scope.cancel()
    return _judged(account, agent.name, ended)


async def _ended(running: Running) -> Ended:
    try:
        return await running.run()
    except NotNow as error:
        return Ended(outcome=Failed(reason=str(error), valid=False))


def _question(account: str, agent: Agent, means: Means, place: Path) -> Running:
    """The question as a job that no store knows, in an empty directory of its own."""
    place.mkdir(0o700)
    now = means.clock.now()
    spec = Spec(agent=agent.name, args=ARGS.get(agent.name, ()), prompt=ASKED, cwd=str(place))
    job = Job(id=0, batch=0, batch_name="check", name="check", account=account, spec=spec, created_at=now)
    attempt = Attempt(job=0, n=1, supervisor=f"check-{os.getpid()}-{place}", epoch=0, started_at=now)
    return Running(job, attempt, agent=agent, directory=place / "attempt", means=means, tell=_nobody)


async def _out_of_time(running: Running) -> None:
    await anyio.sleep(SECONDS)
    await running.end(TimedOut(after=SECONDS))


async def _nobody(_sighting: Sighting) -> None:
    """Sightings are judged at the end."""


def _judged(account: str, agent: str, ended: Ended) -> Answer:
    """The answer that an end is: only a proven one is "open", and what does not tell is "unknown"."""
    match ended.outcome:
        case Succeeded():
            return Answer(account=account, agent=agent, word="open")
        case Limited(limit):
            word = {"hold": "limited", "backoff": "busy"}.get(policy.action(limit), "needs a person")
            return Answer(account=account, agent=agent, word=word, detail=limit.evidence, limit=limit)
        case TimedOut(after=after):
            return Answer(account=account, agent=agent, word="unknown", detail=f"no answer within {after:.0f} s")
        case Failed(reason=reason):
            return Answer(account=account, agent=agent, word="unknown", detail=reason)
        case _:
            return Answer(account=account, agent=agent, word="unknown", detail=str(Exit(ended.exit)))


# --- before a batch ----------------------------------------------------------------------------


def preflight(batch: Expanded, said: Settings, known: Known, store: Store) -> Expanded:
    """Ask the accounts that a batch wants asked first; the batch as it then begins.

    A refusal becomes the hold that a job's would have been; an open account needs no canary; "unknown" changes nothing.
    """
    if not batch.probes:
        return batch
    answers = anyio.run(ask, batch.probes, said, known)
    now, rules = SystemClock().now(), settings.rules(said)
    for answer in answers:
        log.info("account asked", scope=answer.account, answer=answer.word, detail=answer.detail)
        scope = policy.scope_of(answer.limit, answer.account) if answer.limit else ""
        hold = policy.hold_for(answer.limit, scope, now, rules=rules) if answer.limit else None
        if hold is not None:
            store.hold(hold, now)
    is_open = {answer.account for answer in answers if answer.word == "open"}
    accounts = (replace(one, cautious=one.cautious and one.name not in is_open) for one in batch.accounts)
    return replace(batch, accounts=tuple(accounts))


# --- in words ----------------------------------------------------------------------------------


def _form(answer: Answer) -> plain.Form:
    reset = answer.limit.resets_at if answer.limit else None
    said = {"account": answer.account, "agent": answer.agent, "answer": answer.word, "detail": shown(answer.detail)}
    return {**said, "resets_at": plain.iso(reset)}


def _line(answer: Answer) -> str:
    reset = answer.limit.resets_at if answer.limit else None
    until = f" until {page().until(reset)}" if reset else ""
    return f"{answer.account}: {answer.word}{until}" + (f': "{shown(answer.detail)}"' if answer.detail else "")
