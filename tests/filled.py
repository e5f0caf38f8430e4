"""A state directory in the middle of a night: a limit, a canary, a wait for a person, a pause, 31 jobs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tidegate import places
from tidegate.model import (
    Account,
    Attempt,
    Batch,
    Drawn,
    Failed,
    Hold,
    Job,
    Kind,
    Limit,
    Limited,
    NewJob,
    Origin,
    Spec,
    Succeeded,
    Supervisor,
    Usage,
    Window,
)
from tidegate.policy import Rules
from tidegate.stores import sqlite

ME = "11111111-1111-4111-8111-111111111111"
EVIDENCE = "You've hit your limit · resets 5pm (America/Los_Angeles)"
TOKEN = "sk-ant-oat01-abcdefghijklmnopqrstuvwxyz0123456789"
HOSTILE = f"line\nfeed \x1b[31mred\x1b[0m \x1b]0;title\x07 {TOKEN} \u202eback \ufffd"
RULES = Rules(retry_first=7200, retry_most=7200)


class Night:
    """Fills a state directory through the port, as a supervisor of this host would."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.now = datetime.now(UTC) - timedelta(hours=1)
        self.store = sqlite.open(places.database(state))

    def enter(self) -> None:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        me = Supervisor(uuid=ME, host=os.uname().nodename, pid=os.getpid(), boot_id=boot, started_at=self.now)
        self.store.enter(me)

    def submit(self, batch: str, *jobs: NewJob) -> None:
        self.store.submit(Batch(batch), jobs, self.now)

    def claim(self, most: int = 1, batch: int | None = None) -> list[tuple[Job, Attempt]]:
        return self.store.claim(ME, self.now, most=most, batch=batch, rules=RULES)

    def output(self, attempt: Attempt, stdout: bytes = b"", stderr: bytes = b"") -> Path:
        """The attempt's directory, with these files."""
        place = places.attempt(self.state, attempt.job, attempt.n)
        place.mkdir(parents=True)
        (place / "stdout.log").write_bytes(stdout)
        (place / "stderr.log").write_bytes(stderr)
        return place

    def number(self, name: str) -> int:
        return self.store.jobs_named(name)[0].id


def job(
    name: str, account: str = "command", *, prompt: str | None = None, env: Mapping[str, str] | None = None
) -> NewJob:
    agent = {"claude-max": "claude"}.get(account, account)
    return NewJob(name=name, account=account, spec=Spec(agent=agent, prompt=prompt or f"Do {name}", env=env or {}))


def limit_hold(scope: str, since: datetime, until: datetime, **more: Any) -> Hold:
    told = {"window": Window.FIVE_HOURS, "reason": "usage_limit", "evidence": EVIDENCE, "by": "tidegate", **more}
    return Hold(scope=scope, origin=Origin.LIMIT, since=since, until=until, resets_at=until, **told)


def night(state: Path) -> Night:
    """The whole picture, see the module's first line.

    claude-max (train/0, 3, 6, ...) is shut for two more hours, after one attempt of train/0; codex (train/1, 4, ...)
    opens again, train/4 is its canary; gemini (train/2, 5, ...) waits for a person, after train/2 has failed once.
    The batch `other` is paused.
    """
    made = Night(state)
    accounts = [Account(name="claude-max", max_running=4), Account(name="codex"), Account(name="gemini")]
    made.store.set_accounts(accounts, made.now)
    made.submit("nightly", *[job(f"train/{n}", accounts[n % 3].name) for n in range(30)])
    made.submit("other", job("train/0", "gemini", env={"API_KEY": "hush-hush", "PLAIN": "yes"}))
    made.enter()
    for claimed, attempt in made.claim(3):
        made.output(attempt, b"one line\n", b"to stderr\n")
        _end(made, claimed, attempt)
    made.now += timedelta(minutes=58)
    _hold(made)
    ((_, canary),) = made.claim(9)
    made.output(canary, b"working on it\n")
    return made


def _end(made: Night, claimed: Job, attempt: Attempt) -> None:
    store, now = made.store, made.now + timedelta(minutes=4)
    match claimed.name:
        case "train/0":
            limit = Limit(kind=Kind.USAGE_LIMIT, evidence=EVIDENCE, window=Window.FIVE_HOURS)
            store.finish(attempt, Limited(limit), now, exit=1, session="0000-session", rules=RULES)
        case "train/1":
            usage = Usage(input_tokens=10, output_tokens=5, cost_usd=0.25)
            drawn = Drawn(35.0, 1)
            store.finish(attempt, Succeeded("done"), now, exit=0, usage=usage, drawn=drawn, rules=RULES)
        case _:
            store.finish(attempt, Failed(reason=f"exit 1: {HOSTILE}"), now, exit=1, rules=RULES)


def _hold(made: Night) -> None:
    store, now = made.store, made.now
    before, later = now - timedelta(hours=1), now + timedelta(hours=2)
    store.hold(limit_hold("claude-max", before, later), now)
    store.hold(limit_hold("codex", before, now - timedelta(seconds=1)), now)
    human = Hold(
        scope="gemini", origin=Origin.HUMAN, since=now, reason="not logged in", evidence=HOSTILE, by="tidegate"
    )
    store.hold(human, now)
    paused = Hold(scope="batch:other", origin=Origin.OPERATOR, since=now, reason="lunch", by="alice")
    store.hold(paused, now)
