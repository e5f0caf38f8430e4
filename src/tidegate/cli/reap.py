"""The verb `reap`: lets agents run on where their unit starts again, or else has them ended."""

from __future__ import annotations

import os
import sys
from argparse import Namespace


def reap(args: Namespace) -> int:
    """End what a supervisor left running; 0. With `unit` only where that unit is not about to start again.

    Raises AlreadyRunning where a supervisor works, StoreBroken after all has been ended unrecorded.
    """
    result = os.environ.get("SERVICE_RESULT", "")
    if args.unit and goes_on(args.job, result):
        from tidegate.look.words import clean  # noqa: PLC0415 - only this remark pays for it

        print(f"tidegate: agents run on: {clean(args.unit)} {clean(_why(args.job, result))}", file=sys.stderr)
        return 0
    from tidegate import places, reap  # noqa: PLC0415 - a restart waits for what is above

    reap.end_all(places.state_dir(args.state_dir, os.environ), args.config)
    return 0


def goes_on(job: str, result: str) -> bool:
    """Whether a unit that has ended starts again, or may.

    `job` is the manager's for the unit, as `systemctl list-jobs` has it (number, unit, type, state): "" for none, and
    other words where the manager could not be asked. `result` is systemd's word for how the unit ended.
    """
    match job.split():
        case [_, _, kind, _]:
            return kind != "stop"
        case []:
            return result != "success"  # what fails is started again, by systemd or by a person who mends it
        case _:
            return result not in {"success", "timeout"}


def _why(job: str, result: str) -> str:
    match job.split():
        case [_, _, kind, _]:
            return f"has a {kind} job"
        case _:
            return f"ended with {result or 'no result'}"
