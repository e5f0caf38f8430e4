"""Runs tidegate so that the program which it is to become vanishes after its trial."""

from __future__ import annotations

from tidegate import __main__ as program
from tidegate import upgrade

own_trial = upgrade.trial


async def trial() -> upgrade.Trial:
    tried = await own_trial()
    upgrade.command = lambda: ["/no/such/python"]
    return tried


upgrade.trial = trial
program.main()
