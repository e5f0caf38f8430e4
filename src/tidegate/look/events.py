"""The verb `events`: what happened, in order."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Collection
from datetime import datetime
from typing import Any

from tidegate.look import find, plain
from tidegate.look.desk import Desk, listened, opened, refuse_named
from tidegate.look.words import Page, clean, shown
from tidegate.model import Event

CHUNK = 1000
RECENT = 20  # events that a follower without a filter begins with
INSTANTS = ("until", "resets_at", "early_at", "not_before")  # facts that are told as local times
AGAIN = 0.2  # seconds between two looks


def events(args: Namespace) -> int:
    """Print the events, or go on printing them; 0."""
    with opened(args) as desk:
        if desk is None:
            refuse_named(args, job=args.job[:1], batch=[args.batch])
            return 0
        jobs = {job.id for text in args.job for job in find.jobs(desk.store, text)}
        batch = None if args.batch is None else find.batch(desk.store, args.batch).id
        told = Telling(desk, jobs, batch, as_json=args.json)
        last = told.print_after(_begin(desk, args))
        while args.follow:
            last = told.print_after(last)
            listened()
            time.sleep(AGAIN)
    return 0


def _begin(desk: Desk, args: Namespace) -> int:
    if not args.follow or args.job or args.batch is not None:
        return 0
    return max(desk.store.last_seq() - RECENT, 0)


class Telling:
    """Prints events, each with the id of its job; those of some jobs, or of all where none is named."""

    def __init__(self, desk: Desk, jobs: Collection[int], batch: int | None, *, as_json: bool) -> None:
        self._desk = desk
        self._jobs = jobs
        self._filter = {"job": next(iter(jobs)) if len(jobs) == 1 else None, "batch": batch}
        self._as_json = as_json
        self._names: dict[int, str] = {}

    def print_after(self, last: int) -> int:
        """Print all that happened after the seq `last`; the seq of the last one told."""
        while found := self._desk.store.events(after=last, most=CHUNK, **self._filter):
            for event in (one for one in found if not self._jobs or one.job in self._jobs):
                name = None if event.job is None else self._name(event.job)
                print(plain.line(plain.event(event, name)) if self._as_json else text(event, name, self._desk.page))
            last = found[-1].seq
        sys.stdout.flush()
        return last

    def _name(self, number: int) -> str:
        if number not in self._names:
            job = self._desk.store.job(number)
            self._names[number] = job.name if job else f"#{number}"
        return self._names[number]


def text(event: Event, name: str | None, page: Page) -> str:
    """An event as one line: when, what, and its facts as key=value."""
    facts: dict[str, Any] = {"job": name, "attempt": event.attempt, "scope": event.scope, **event.data}
    facts |= {key: page.stamp(datetime.fromisoformat(facts[key])) for key in INSTANTS if facts.get(key)}
    told = " ".join(f"{clean(key)}={_value(value)}" for key, value in facts.items() if value not in (None, "", False))
    return f"{page.stamp(event.at)}  {clean(event.name):<18}  {told}".rstrip()


def _value(value: object) -> str:
    """A value that ends where it seems to end: in quotes where it holds blanks, quotes or an equals sign."""
    told = shown(value) if isinstance(value, str) else json.dumps(value, default=str)
    plainly = told and not any(one in ' "=' for one in told)
    return told if plainly else '"' + told.replace('"', '\\"') + '"'
