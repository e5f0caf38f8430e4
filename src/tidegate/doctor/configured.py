"""Looks at what people have set: configuration files, variables, and the accounts' credentials."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate import settings
from tidegate.doctor.finding import Case, Finding, ok, warning, wrong


def configuration(check: str, case: Case) -> Iterator[Finding]:
    """Each thing that is wrong with the files, the variables and their values."""
    problems = settings.problems(case.config, case.environ)
    for problem in problems:
        yield wrong(check, problem, "correct it; `tidegate init config` writes one with every key")
    if not problems:
        files = [layer.label for layer in settings.load(case.config, case.environ).layers if layer.file]
        yield ok(check, f"good: {', '.join(files)}" if files else "no file; the defaults are in force")


def variables(check: str, case: Case) -> Iterator[Finding]:
    """Each variable that looks like a setting and is none."""
    unknown = settings.unknown_variables(case.config, case.environ)
    for told in unknown:
        yield warning(check, told, "unset it, or correct its name")
    if not unknown:
        yield ok(check, "no unknown TIDEGATE_ ones")
