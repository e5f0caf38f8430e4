"""Looks at what people have set: configuration files, variables, and the accounts' credentials."""

from __future__ import annotations

from collections.abc import Iterator

from tidegate import agents, settings
from tidegate import credentials as credential_files
from tidegate.doctor.finding import Case, Finding, ok, warning, wrong
from tidegate.errors import BadSetting, NoCredential


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


def credentials(check: str, case: Case) -> Iterator[Finding]:
    """Whether each account's credential can be read, by its owner alone, and handed to its agent."""
    try:
        known = agents.known(settings.agents(case.settings))
        given = settings.granted(case.settings, known.variables, case.environ)
    except BadSetting as bad:
        yield wrong(check, str(bad), "correct the configuration")
        return
    for one in given.values():
        try:
            if one.variables is None:
                credential_files.read(one)
            else:
                credential_files.environment(one, {}, {}, one.variables)
        except NoCredential as bad:
            yield wrong(check, str(bad), "mend the file, or name another one by `credential`")
        else:
            yield ok(check, f"of {one.account}: {one.path}")
