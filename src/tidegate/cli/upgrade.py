"""The verb `upgrade`: asks the supervisor to become the program that is installed now."""

from __future__ import annotations

import time
from argparse import Namespace

from tidegate import doorbell
from tidegate.errors import TidegateError
from tidegate.look import plain
from tidegate.look.desk import Desk, at_work, person
from tidegate.model import Ask, Event

AGAIN = 0.05  # seconds between two looks
PATIENCE = 90.0  # seconds in which the supervisor must have answered


class NotUpgraded(TidegateError):
    """Raised when the supervisor goes on as it was, or is not there; its text says why."""


def upgrade(args: Namespace) -> int:
    """Ask, and tell what came of it; 0. Raises NotUpgraded."""
    with at_work(args) as desk:
        pid = desk.works().pid
        if pid is None:
            raise NotUpgraded("nobody works here: the next start is the new version's")
        after = desk.store.last_seq()
        desk.store.ask(Ask.UPGRADE, desk.page.now, by=person())
        doorbell.ring(desk.state)
        said = _answer(desk, after, pid)
    print(plain.line({"pid": pid, "said": said}) if args.json else f"pid {pid} goes on as {said}")
    return 0


def _answer(desk: Desk, after: int, pid: int) -> str:
    """What the new program says of itself, once it works. Raises NotUpgraded."""
    said = None
    for _ in range(round(PATIENCE / AGAIN)):
        while found := desk.store.events(after=after):
            after = found[-1].seq
            for event in found:
                if event.name == "upgrade answered":
                    said = _agreed(event)
                elif event.name == "supervisor entered" and said is not None and event.data.get("pid") == pid:
                    return said
        if desk.works().pid != pid:
            raise NotUpgraded(f"pid {pid} does not work here any more")
        time.sleep(AGAIN)
    raise NotUpgraded(f"pid {pid} has not become another program within {PATIENCE:.0f} s: look at its log")


def _agreed(event: Event) -> str:
    if event.data.get("refused"):
        raise NotUpgraded(f"the supervisor goes on as it was: {event.data['refused']}")
    return str(event.data.get("said"))
