"""The verb completion: what the shells themselves make of its scripts."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filled import Night, job
from installed import Tidegate

from tidegate.cli.arguments import SHELLS
from tidegate.cli.verbs import VERBS
from tidegate.model import Account

BASH = """
source {script}
COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); _tidegate 2>/dev/null; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
FISH = "source {script}; complete -C (string join ' ' -- (string escape -- $argv[1..-2]) $argv[-1])"
ZSH = """\
PS1='> '; autoload -U compinit; compinit -u -D; bindkey '^I' complete-word; unsetopt LIST_AMBIGUOUS; setopt AUTO_LIST
mark() {{ print -r -- "MA""RK $BUFFER KRAM" }}; zle -N mark; bindkey '^G' mark
source {script}; cd {place}; echo REA''DY
"""


class Shell:
    """One of the shells, in a place where a few jobs are known."""

    def __init__(self, name: str, tidegate: Tidegate) -> None:
        self.name = name
        self.tidegate = tidegate
        self.script = tidegate.place / "script"
        self.script.write_text(tidegate("completion", name).stdout)
        here = tidegate.place / "bin"
        here.mkdir()
        (here / "tidegate").symlink_to(Path(sys.executable).with_name("tidegate"))
        self.env = {**tidegate.environment(), "PATH": f"{here}:{os.environ['PATH']}", "TERM": "dumb"}

    def offers(self, *words: str) -> set[str]:
        """What it offers for the last of the words, as they begin a line; zsh types an only choice at once."""
        if self.name == "zsh":
            return self._zsh(" ".join(words))
        argv = {
            "bash": ["bash", "--norc", "-c", BASH.format(script=self.script), "bash", *words],
            "fish": ["fish", "-N", "-c", FISH.format(script=self.script), *words],
        }[self.name]
        done = subprocess.run(argv, env=self.env, cwd=self.tidegate.place, capture_output=True, text=True, timeout=30)
        assert done.stderr == ""
        return {line.split("\t")[0] for line in done.stdout.splitlines()} - {""}

    def _zsh(self, line: str) -> set[str]:
        pid, fd = pty.fork()
        if pid == 0:
            os.execvpe("zsh", ["zsh", "-f", "-i"], self.env)
        try:
            os.write(fd, ZSH.format(script=self.script, place=self.tidegate.place).encode())
            _read(fd, b"READY\r\n")
            os.write(fd, line.encode() + b"\t\x07")  # the mark comes when the completion is done
            told = _read(fd, b" KRAM").decode(errors="replace")
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(fd)
        return set(re.findall(r"[^\s\x1b]+", told))


def _read(fd: int, end: bytes, within: float = 30) -> bytes:
    told, deadline = b"", time.monotonic() + within
    while end not in told:
        assert time.monotonic() < deadline, told
        if select.select([fd], [], [], 0.2)[0]:
            told += os.read(fd, 65536)
    return told


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tidegate: Tidegate) -> Shell:
    """Each shell that is installed."""
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed here")
    made = Night(tidegate.state)
    made.store.set_accounts([Account(name="claude-max")], made.now)
    made.submit("nightly", job("train/1", "claude-max"), job("train/$(touch pwned)"), job("a b"))
    return Shell(request.param, tidegate)


def test_a_shell_offers_every_verb(shell: Shell) -> None:
    assert set(VERBS) <= shell.offers("tidegate", "")
    assert "doctor" in shell.offers("tidegate", "doc")


@pytest.mark.slow
def test_a_shell_offers_flags_choices_and_files(shell: Shell) -> None:
    assert {"--state", "--json", "--help", "--state-dir"} <= shell.offers("tidegate", "list", "--")
    assert "queued" in shell.offers("tidegate", "list", "--state", "que")
    assert set(SHELLS) <= shell.offers("tidegate", "completion", "")
    for name in ("night.toml", "night2.toml"):
        (shell.tidegate.place / name).touch()
    assert {"night.toml", "night2.toml"} <= shell.offers("tidegate", "run", "ni")
    assert {"night.toml", "night2.toml"} <= shell.offers("tidegate", "submit", "--", "sh", "ni")
    assert "mkfifo" in shell.offers("tidegate", "submit", "--", "mkfif")
    assert "list" in shell.offers("tidegate", "--state-dir", "elsewhere", "lis")


def test_a_shell_offers_what_is_there_and_runs_none_of_it(shell: Shell) -> None:
    assert "train/1" in shell.offers("tidegate", "show", "tr")
    assert {"batch:nightly", "claude-max"} <= shell.offers("tidegate", "pause", "")
    assert "nightly" in shell.offers("tidegate", "list", "--batch", "ni")
    assert not list(shell.tidegate.place.rglob("pwned"))


def test_without_a_shell_completion_says_which_there_are(tidegate: Tidegate) -> None:
    done = tidegate("completion")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "tidegate: completion: name a shell, bash, zsh or fish\n"


def test_completion_tells_a_program_what_each_verb_takes(tidegate: Tidegate) -> None:
    told = {one["verb"]: one for one in tidegate.lines("completion")}
    assert set(told) == set(VERBS)
    assert ["--state-dir"] in [option["flags"] for option in told["run"]["options"]]


def test_completing_makes_no_state_directory(tidegate: Tidegate) -> None:
    for kind in ("jobs", "scopes", "agents"):
        assert tidegate("completion", "--values", kind).returncode == 0
    assert not tidegate.state.exists()
