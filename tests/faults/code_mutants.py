"""Tries what mutmut makes of the decisions, and lists what no test notices; needs the extra `mutation`.

    python tests/faults/code_mutants.py                       # all that pyproject.toml names
    python tests/faults/code_mutants.py 'tidegate.policy.*'   # some
    python tests/faults/code_mutants.py --again               # those that lived the last time

mutmut's own run starts pytest anew for each mutant, which takes hours where this takes minutes. The mutants and what
came of them are left where mutmut has them: `mutmut results` and `mutmut show NAME` go on from there.
"""

from __future__ import annotations

import argparse
import os
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from fnmatch import fnmatch
from functools import partial
from importlib import import_module
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.trials import End, Quiet, Trials, forget

ROOT = Path(__file__).parents[2]
CODES = {End.KILLED: 1, End.SURVIVED: 0, End.TIMED_OUT: 36, End.UNTRIED: 33}  # mutmut's own numbers
ALIVE = (None, CODES[End.SURVIVED], CODES[End.UNTRIED])


class Mutmut:
    """What of mutmut is used: it has no such doors of its own."""

    def __init__(self) -> None:
        self._main: Any = import_module("mutmut.__main__")

    def make(self) -> list[Any]:
        """Make the mutants, and give those of each file with what is known of them."""
        Path("mutants").mkdir(exist_ok=True)
        with redirect_stdout(StringIO()):
            for step in (self._main.copy_src_dir, self._main.copy_also_copy_files, self._main.setup_source_paths):
                step()
            self._main.create_mutants(1)
        files = [self._main.SourceFileMutationData(path=path) for path in self._main.walk_mutatable_files()]
        for file in files:
            file.load()
        return [file for file in files if file.exit_code_by_key]

    def put(self, mutant: str) -> None:
        self._main.set_mutant_under_test(mutant)

    def used(self) -> set[str]:
        """The functions that have been called since the last look."""
        seen = self._main.state()._stats
        found = set(seen)
        seen.clear()
        return found

    def function_of(self, mutant: str) -> str:
        return str(self._main.mangled_name_from_mutant_name(mutant))

    def said(self, mutant: str, path: Path) -> str:
        """The lines that a mutant changes."""
        diff = self._main.get_diff_for_mutant(mutant, path=path).splitlines()
        return "\n".join(f"    {line}" for line in diff if line[:1] in "+-" and line[:3] not in ("---", "+++"))


class Campaign(Quiet):
    """A plugin that runs each test once as it is, and then the mutants."""

    def __init__(self, mutmut: Mutmut, files: Sequence[Any], names: set[str]) -> None:
        self._mutmut, self._files, self._names = mutmut, files, names
        self._trials = Trials()
        self.alive = 0

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self._mutmut.put("stats")
        for item in session.items:
            forget()
            self._mutmut.used()
            self._trials.note(item, self._mutmut.used)
        if session.testsfailed:
            raise session.Failed("the tests fail as it is")
        os.chdir(ROOT)
        for file in self._files:
            self._try(file)
        return True

    def _try(self, file: Any) -> None:
        counts: Counter[End] = Counter()
        for name in [name for name in file.exit_code_by_key if name in self._names]:
            end = self._trials.end(self._mutmut.function_of(name), partial(self._change, name))
            file.exit_code_by_key[name] = CODES[end]
            file.save()
            counts[end] += 1
            if end in (End.SURVIVED, End.UNTRIED):
                print(f"{name}: {end.value}\n{self._mutmut.said(name, file.path)}", flush=True)
        self.alive += counts[End.SURVIVED] + counts[End.UNTRIED]
        told = ", ".join(f"{counts[end]} {end.value}" for end in End if counts[end])
        print(f"{file.path}: {counts.total()} mutants: {told}", flush=True)

    def _change(self, name: str) -> None:
        os.chdir(ROOT / "mutants")
        forget()
        self._mutmut.put(name)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("patterns", nargs="*", metavar="NAME", help="mutants, as mutmut calls them")
    parser.add_argument("--again", action="store_true", help="only those that lived the last time, or are new")
    said = parser.parse_args()
    os.chdir(ROOT)
    mutmut = Mutmut()
    files = mutmut.make()
    every = {name: code for file in files for name, code in file.exit_code_by_key.items()}
    wanted = {name for name in every if not said.patterns or any(fnmatch(name, one) for one in said.patterns)}
    names = {name for name in wanted if every[name] in ALIVE} if said.again else wanted
    options = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["mutmut"]
    tests = [*options["pytest_add_cli_args"], *options["pytest_add_cli_args_test_selection"]]
    campaign = Campaign(mutmut, files, names)
    os.chdir("mutants")
    with TemporaryDirectory() as place:
        quiet = ["--rootdir=.", "-qqs", "--tb=no", "--assert=plain", "--timeout=0", f"--basetemp={place}/tests"]
        code = pytest.main([*quiet, *tests], plugins=[campaign])
    return int(code) or min(campaign.alive, 1)


if __name__ == "__main__":
    sys.exit(main())
