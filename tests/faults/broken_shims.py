"""Runs tidegate with shims that do something to themselves at a named stage.

A job called STAGE-SIGNAL has a shim that sends itself this signal when it comes there, once: `start` before it has
written its pid, `recorded` after that and before its agent, `ended` after its agent's end. With $ASLEEP set each of
them only stops, and the supervisor does not look.
"""

from __future__ import annotations

import os
from pathlib import Path

from tidegate import __main__ as program
from tidegate import launch
from tidegate.attempt import Running

ASLEEP = bool(os.environ.get("ASLEEP"))
STAGES = {  # the line that a deed comes before, and the lines that then take its place
    "start": ("echo $$ >&9", "{deed}\necho $$ >&9"),
    "recorded": ('"$@"', '{deed}\n"$@"'),
    "ended": ("s=$? n=0", "s=$?\n{deed}\nn=0"),
}
DEED = "case $TIDEGATE_JOB in {stage}-*) [ -e {once} ] || {{ : >{once}; kill -{number} $$; }} ;; esac"


def main() -> None:
    for stage, (line, lines) in STAGES.items():
        number = "STOP" if ASLEEP else "${TIDEGATE_JOB#*-}"
        deed = DEED.format(stage=stage, number=number, once=f"{Path.cwd()}/$TIDEGATE_JOB.once")
        assert launch.SHIM.count(f"\n{line}") == 1, line
        launch.SHIM = launch.SHIM.replace(f"\n{line}", f"\n{lines.format(deed=deed)}")
    if ASLEEP:
        Running.wake_shim = lambda running: None  # type: ignore[method-assign, assignment]
    program.main()


main()
