"""Looks which agents are installed, and which versions they are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from itertools import chain

from tidegate import agents as known_agents
from tidegate import settings
from tidegate.agents import COMMAND, DEMO, Agent
from tidegate.doctor.ask import SECONDS, Answer, ask
from tidegate.doctor.finding import Case, Finding, ok, warning, wrong
from tidegate.errors import TidegateError
from tidegate.model import Spec
from tidegate.settings import Settings


def agents(check: str, case: Case) -> Iterator[Finding]:
    """Each agent that is on the PATH that agents get; the ones that an account needs must be there."""
    env = settings.environment(case.settings, case.environ)
    known = known_agents.known(_described(case.settings)).agents
    programs = {name: _program(agent) for name, agent in known.items() if name not in (COMMAND, DEMO)}
    there = {name: path for name, one in programs.items() if (path := shutil.which(one, path=env.get("PATH")))}
    asked = [
        name for name in there if name not in case.settings.agents
    ]  # what another one does with --version: who knows
    answers = dict(zip(asked, ask([(there[name], "--version") for name in asked], env), strict=True))
    for name, path in there.items():
        yield _told(f"agent {name}", path, answers.get(name))
    needed = {one.agent or account for account, one in case.settings.accounts.items()}
    absent = [name for name in programs if name not in there]
    for name in sorted(needed & {*absent}):
        do = f"install {programs[name]}, or extend PATH; agents get {env.get('PATH', 'none')}"
        yield wrong(f"agent {name}", "an account needs it, and it is not on PATH", do)
    others = ", ".join(sorted({*absent} - needed))
    if not there:
        yield warning(check, f"none is on PATH: {others}", "install one; any command can be a job all the same")
    elif others:
        yield ok(check, f"not on PATH, and not needed: {others}")


def _described(said: Settings) -> Sequence[Agent]:
    try:
        return settings.agents(said)
    except TidegateError:  # the configuration's own look tells
        return ()


def _program(agent: Agent) -> str:
    """The program that a job of this agent starts."""
    return agent.command(Spec(agent=agent.name, prompt="-"), session=None, new_session="-").argv[0]


def _told(check: str, path: str, answer: Answer | None) -> Finding:
    if answer is None:
        return ok(check, path)
    line = next((line for line in chain(answer.stdout.splitlines(), answer.stderr.splitlines()) if line.strip()), "")
    if answer.refused:
        return wrong(check, answer.refused, "install it anew")
    if answer.exit is None:
        return warning(check, f"{path} --version says nothing within {SECONDS:.0f} s", "try it by hand")
    if answer.exit != 0:
        return warning(check, f"{path} --version ends with {answer.exit}: {line[:200]}", "try it by hand")
    return ok(check, f"{line.strip()[:100]} ({path})")
