"""The verb `notify`: sends a sample, so that a person can try out the program that [notify] names."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import anyio

from tidegate import codes, places, settings
from tidegate.cli.config import loaded
from tidegate.clock import SystemClock, zone
from tidegate.errors import BadInput
from tidegate.look.desk import note
from tidegate.look.words import Page, shown
from tidegate.model import Event, Job, Spec, State
from tidegate.notice import Target
from tidegate.notify import NO_END, Notice, call, finished, message, notice


def notify(args: Namespace) -> int:
    """Send a sample, wait for the program, and tell how that went; 0, or 5 where it failed. Raises BadInput."""
    state = places.state_dir(args.state_dir, os.environ)
    target = settings.notifying(loaded(args).settings, os.environ, state)
    if target is None:
        raise BadInput('no program is configured: say [notify] command = ["program", "argument"]')
    told = message([sample(args.event)], {}, os.uname().nodename)
    why = anyio.run(_tried, target, told)
    if args.json:
        print(json.dumps(told))
    elif not why:
        print(f"told: {told['text']}")
    if why:
        note(f"not told: {shown(why)}")
    return codes.INFRASTRUCTURE if why else codes.OK


async def _tried(target: Target, told: Mapping[str, Any]) -> str:
    with anyio.move_on_after(target.timeout):
        return await call(target, told)
    return NO_END


def sample(kind: str) -> Notice:
    """A notice of a kind as it could be, for somebody who tries out how it looks."""
    now = SystemClock().now()
    page, later = Page(now=now, zone=zone()), (now + timedelta(hours=1)).isoformat()
    job = Job(id=1, batch=1, batch_name="sample", name="train/3", account="claude", spec=Spec(), created_at=now)
    limit = {"origin": "limit", "window": "5h", "reason": "usage_limit", "until": later, "resets_at": later}
    said = "You've hit your 5-hour limit"
    match kind:
        case "finished":
            return finished("sample", {State.SUCCEEDED: 38, State.FAILED: 2}, now)
        case "hold" | "opened":
            name, data = "gate shut", {**limit, "evidence": said}
        case "budget":
            name, data = "budget spent", {"reason": "budget spent: $50.10 of $50.00", "on_exceed": "stop_launching"}
        case "needs_human":
            name, data = "gate shut", {"origin": "human", "window": "unknown", "reason": "not logged in"}
        case _:
            name, data = "job ended", {"state": kind, "reason": "" if kind == "succeeded" else "a sample"}
    ended = name == "job ended"
    event = Event(seq=1, at=now, name=name, job=1 if ended else None, scope=None if ended else "claude", data=data)
    return notice(kind, event, job if ended else None, page)
