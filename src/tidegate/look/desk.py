"""What every look begins with: the state directory, its store, the page to write on."""

from __future__ import annotations

import os
import select
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from tidegate import places
from tidegate.errors import BadInput
from tidegate.look import find
from tidegate.look.who import Works, works
from tidegate.look.why import Picture, learn, picture
from tidegate.look.words import Page, clean, page
from tidegate.model import Job
from tidegate.stores import Store


class Desk(Struct, frozen=True, kw_only=True):
    """An open store with where it lies, and the page to write on."""

    state: Path
    store: Store
    page: Page
    host: str

    def works(self) -> Works:
        """Who works here now."""
        return works(self.state, self.store.supervisors(), self.host)

    def picture(self, jobs: Iterable[Job] = ()) -> Picture:
        """What decides now which jobs may run; with the names of what these jobs wait for."""
        works = self.works()
        batch = works.known.batch if works.known is not None else None
        only = works.known.only if works.known is not None else ()
        seen = picture(self.store, self.page.now, self.host, supervised=works.pid is not None, batch=batch, only=only)
        learn(seen, self.store, jobs)
        return seen

    def at(self, now: datetime) -> Desk:
        """The same desk at a later instant."""
        return replace(self, page=replace(self.page, now=now))


def state_of(args: Namespace) -> Path:
    """The state directory that the flag or the environment names."""
    return places.state_dir(args.state_dir, os.environ)


@contextmanager
def opened(args: Namespace) -> Iterator[Desk | None]:
    """The desk of the state directory that the flag or the environment names; None where there is no store yet."""
    state = state_of(args)
    if not places.database(state).exists():
        yield None
        return
    with _desk(state) as desk:
        yield desk


@contextmanager
def found(args: Namespace) -> Iterator[tuple[Desk, Job]]:
    """The desk, and the job that the command line names. Raises BadInput where there is none."""
    with opened(args) as desk:
        if desk is None:
            raise BadInput(f"no job {find.quoted(args.job)}: {nothing(state_of(args))}")
        yield desk, find.job(desk.store, args.job)


@contextmanager
def chosen(args: Namespace) -> Iterator[tuple[Desk, list[Job], int]]:
    """The desk, the jobs that the command line names, and the exit code: 2 where something that it names is none.

    What is wrong is told first; the others are still there. Raises BadInput where nothing was ever submitted.
    """
    with opened(args) as desk:
        if desk is None:
            raise BadInput(f"no job {find.quoted(args.jobs[0])}: {nothing(state_of(args))}")
        jobs, wrong = find.several(desk.store, args.jobs)
        for line in wrong:
            note(line)
        yield desk, jobs, 2 if wrong else 0


def nothing(state: Path) -> str:
    """The words for a state directory without a store."""
    return f"nothing has been submitted to {clean(str(state))} yet"


def refuse_named(args: Namespace, **named: Iterable[str | None]) -> None:
    """Raises BadInput where the command line names something, by its kind, though there is no store that has it."""
    for kind, texts in named.items():
        for text in texts:
            if text is not None:
                raise BadInput(f"no {kind} {find.quoted(text)}: {nothing(state_of(args))}")


@contextmanager
def at_work(args: Namespace) -> Iterator[Desk]:
    """The desk for a person who steers: an empty state directory gets its store."""
    with _desk(state_of(args)) as desk:
        yield desk


@contextmanager
def _desk(state: Path) -> Iterator[Desk]:
    from tidegate.stores import sqlite  # noqa: PLC0415 - an empty place needs no database

    with closing(sqlite.open(places.database(state))) as store:
        yield Desk(state=state, store=store, page=page(), host=os.uname().nodename)


def hidden(env: Mapping[str, str]) -> dict[str, str]:
    """A job's environment as it may be shown."""
    from tidegate.redact import redacted_variable  # noqa: PLC0415 - only `show` needs it

    return {name: redacted_variable(name, value) for name, value in env.items()}


def person() -> str:
    """Who acts: the login name of this process's user."""
    import pwd  # noqa: PLC0415 - only who acts is named

    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def note(text: str) -> None:
    """A remark beside what is printed, on one line whatever others wrote into it."""
    sys.stdout.flush()
    print(f"tidegate: {clean(text)}", file=sys.stderr)


def listened() -> None:
    """Raises BrokenPipeError where nobody reads standard output any more; a follower asks while it is quiet."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if any(happened & (select.POLLERR | select.POLLHUP) for _, happened in poll.poll(0)):
        raise BrokenPipeError
