"""The verb `doctor`: looks at everything that tidegate needs, and says what is wrong and what to do about it."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from tidegate import codes
from tidegate.doctor import configured, deep, machine, place, programs, service
from tidegate.doctor.finding import Case, Finding, Look, Verdict, wrong
from tidegate.errors import TidegateError
from tidegate.look import plain
from tidegate.look.desk import state_of
from tidegate.look.words import Page, page, shown

SHADES = {Verdict.OK: "green", Verdict.WARNING: "yellow", Verdict.WRONG: "red"}
WORD, NAME = 7, 15  # columns of a verdict and of a check's name; a longer one pushes what follows to the right

LOOKS: Sequence[tuple[str, Look]] = (
    ("configuration", configured.configuration),
    ("variables", configured.variables),
    ("credentials", configured.credentials),
    ("state directory", place.directory),
    ("permissions", place.permissions),
    ("file system", place.file_system),
    ("free disk", place.free_disk),
    ("database", place.database),
    ("supervisor", service.supervisor),
    ("systemd", service.systemd),
    ("cgroups", machine.cgroups),
    ("bounds", machine.bounds),
    ("descriptors", machine.descriptors),
    ("processes", machine.processes),
    ("inotify", machine.inotify),
    ("clock", machine.clock),
    ("zone data", machine.zones),
    ("agents", programs.agents),
)
DEEP: Sequence[tuple[str, Look]] = (("state", deep.state),)


def doctor(args: Namespace) -> int:
    """Print one line for each check, and for each repair before; 0, or 5 where something is wrong.

    Raises AlreadyRunning where something is to be repaired while a supervisor works.
    """
    case = Case.of(state_of(args), args.config, os.environ)
    findings, on = [], page()
    mended = deep.repaired(case.state) if args.repair else ()
    looks = (*LOOKS, *(DEEP if args.deep or args.repair else ()))
    for finding in chain(mended, _findings(case, looks)):
        findings.append(finding)
        for line in [plain.line(_form(finding))] if args.json else _lines(finding, on):
            print(line, flush=True)
    is_wrong = any(finding.verdict is Verdict.WRONG for finding in findings)
    return codes.INFRASTRUCTURE if is_wrong else codes.OK


def _findings(case: Case, looks: Sequence[tuple[str, Look]]) -> Iterator[Finding]:
    """What each look finds; one that cannot look is a finding, and the next goes on."""
    for check, look in looks:
        try:
            yield from look(check, case)
        except (TidegateError, OSError, ValueError) as error:
            yield wrong(check, f"cannot be looked at: {error}", "mend this first")


def _form(finding: Finding) -> plain.Form:
    said = {"check": finding.check, "verdict": finding.verdict.value, "said": shown(finding.said)}
    more = {"kind": finding.kind, "repair": shown(finding.mend)} if finding.kind else {}
    return {**said, "do": shown(finding.do), **more}


def _lines(finding: Finding, on: Page) -> Iterable[str]:
    verdict, check = finding.verdict.value.ljust(WORD), finding.check.ljust(NAME)
    do = f": {shown(finding.do)}" if finding.do else ""
    line, *further = on.wrap(f"{verdict}  {check}  {shown(finding.said)}{do}", hang=WORD + NAME + 4)
    return [on.paint(verdict, SHADES[finding.verdict]) + line[WORD:], *further]
