"""Following a batch that another process works on."""

from __future__ import annotations

import os
from pathlib import Path

from filled import Night, job

from tidegate import follow
from tidegate.clock import SystemClock
from tidegate.gate import Gate
from tidegate.narrate import Narrator
from tidegate.over import View
from tidegate.stores.sqlite import SqliteStore
from tidegate.stores.writer import Writer


async def test_what_changes_during_the_look_is_not_over(tmp_path: Path) -> None:
    made = Night(tmp_path / "state")
    made.enter()
    made.submit("mine", job("a"))
    mine = SqliteStore(tmp_path / "state" / "tidegate.db")
    looks: list[View] = []

    async def over(view: View) -> bool:
        if not looks:
            made.claim(1)  # by the service, between two reads of this process
        looks.append(view)
        return True

    async def none() -> None:
        return

    async with Writer(mine) as ask:
        gate, host = Gate(os.uname().nodename), os.uname().nodename
        view = View(store=mine, ask=ask, clock=SystemClock(), host=host, batch=1, gate=gate, see_holds=none)
        narrator = Narrator(mine, ask, mine.last_seq(), lambda _event: None)
        following = follow.Following(shift=None, view=view, narrator=narrator)  # type: ignore[arg-type]
        assert not await following._is_over(over)
        assert not await following._is_over(over)  # it runs now
        assert len(looks) == 1
        assert not await following._is_over(over)  # and nothing has changed
    mine.close()
