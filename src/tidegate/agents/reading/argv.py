"""Command lines: where the CLI stands behind its launchers, and what its arguments are: flags, values, prompts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath

from msgspec import Struct, field

# The packages under which CLIs are published, and the program in each (npm; node_modules/PACKAGE/ in a path).
PACKAGES = {
    "@anthropic-ai/claude-code": "claude",
    "@openai/codex": "codex",
    "@google/gemini-cli": "gemini",
    "@qwen-code/qwen-code": "qwen",
    "@github/copilot": "copilot",
    "@sourcegraph/amp": "amp",
    "opencode-ai": "opencode",
}


class Program(Struct, frozen=True):
    """A program inside an argv: its name, all up to and with it, and its own arguments."""

    name: str
    before: tuple[str, ...]
    args: tuple[str, ...]


def program(argv: Sequence[str]) -> Program | None:
    """The program that an argv runs, looked for behind common launchers; None for an empty argv.

    Launchers are `env`, `timeout`, `nice`, `ionice`, `nohup`, `setsid`, `stdbuf`, `npx`, `bunx`, `uvx`, and `node` or
    `bun` with the script of a known package. Anything else, a shell or a wrapper script, is taken for the program.
    """
    place = 0
    for _ in range(8):
        if place >= len(argv):
            return None
        name = argv[place].rpartition("/")[2]
        if name not in LAUNCHERS:
            return _at(argv, place, name)
        place = LAUNCHERS[name](argv, place + 1)
        if name in FETCHERS and place < len(argv):
            return _at(argv, place, _package(argv[place]))
    return None


def _at(argv: Sequence[str], place: int, name: str) -> Program:
    return Program(name, tuple(argv[: place + 1]), tuple(argv[place + 1 :]))


def _package(said: str) -> str:
    """The program of a package or of a script inside of one: "@openai/codex@0.169.0" is "codex"."""
    known = next((name for package, name in PACKAGES.items() if f"/{package}/" in f"/{said}/"), None)
    plain = re.sub(r"(?<=.)@[^/@]*$", "", said)
    return known or PACKAGES.get(plain) or PurePosixPath(plain).name


def _skip(*valued: str, also: str = "", then: int = 0) -> Callable[[Sequence[str], int], int]:
    """Passes over a launcher's own flags, those of `valued` with their value, what `also` matches, and `then` more."""
    pattern = re.compile(also) if also else None

    def skip(argv: Sequence[str], place: int) -> int:
        while place < len(argv) and argv[place] != "--":
            if argv[place] in valued:
                place += 2
            elif argv[place].startswith("-") or (pattern and pattern.fullmatch(argv[place])):
                place += 1
            else:
                return place + then
        return place + 1 + then

    return skip


LAUNCHERS: dict[str, Callable[[Sequence[str], int], int]] = {
    "env": _skip("-u", "--unset", "-C", "--chdir", also=r"[A-Za-z_][A-Za-z0-9_]*=[\s\S]*"),
    "timeout": _skip("-k", "--kill-after", "-s", "--signal", then=1),
    "nice": _skip("-n", "--adjustment"),
    "ionice": _skip("-c", "--class", "-n", "--classdata"),
    "nohup": _skip(),
    "setsid": _skip(),
    "stdbuf": _skip("-i", "-o", "-e", "--input", "--output", "--error"),
    "npx": _skip("-p", "--package"),
    "bunx": _skip("-p", "--package"),
    "uvx": _skip("--from", "--with", "-p", "--python"),
    "node": _skip("-r", "--require", "--import"),
    "bun": _skip(also="run"),
}
FETCHERS = frozenset({"npx", "bunx", "uvx", "node", "bun"})


# --- a program's own arguments -----------------------------------------------------------------


def flags(words: str) -> frozenset[str]:
    """A set of flags, written with blanks between them."""
    return frozenset(words.split())


class Grammar(Struct, frozen=True, kw_only=True):
    """Which flags of a CLI take a value, take one unless another flag follows, take several, or take none.

    Other flags are unknown: what follows one may be its value.
    """

    valued: frozenset[str] = field(default_factory=frozenset)
    optional: frozenset[str] = field(default_factory=frozenset)
    listed: frozenset[str] = field(default_factory=frozenset)
    switches: frozenset[str] = field(default_factory=frozenset)


class Part(Struct, frozen=True):
    """A flag with its values, or (`flag` "") a positional argument; `doubtful` where an unknown flag is before it."""

    flag: str
    tokens: tuple[str, ...]
    doubtful: bool = False

    @property
    def value(self) -> str | None:
        """A flag's value, None where it has none."""
        if len(self.tokens) > 1:
            return self.tokens[1]
        return self.tokens[0].partition("=")[2] if "=" in self.tokens[0] and self.flag.startswith("--") else None


def parts(args: Sequence[str], grammar: Grammar) -> list[Part]:
    """The arguments, each flag together with what belongs to it; all of them, in their order."""
    found: list[Part] = []
    place = 0
    while place < len(args):
        if args[place] == "--":
            found.append(Part("--", ("--",)))
            found += [Part("", (token,)) for token in args[place + 1 :]]
            break
        doubtful = bool(found) and _is_unknown(found[-1], grammar)
        size = _size(args, place, grammar)
        flag = _flag(args[place], grammar)
        found.append(Part(flag, tuple(args[place : place + size]), doubtful=doubtful and not flag))
        place += size
    return found


def _flag(word: str, grammar: Grammar) -> str:
    """The name of the flag that a word is or begins with, "" for a positional argument ("-" is one)."""
    if not word.startswith("-") or word == "-":
        return ""
    if word.startswith("--"):
        return word.partition("=")[0]
    return word[:2] if word[:2] in grammar.valued else word


def _size(args: Sequence[str], place: int, grammar: Grammar) -> int:
    """How many tokens the flag at a place takes, itself included."""
    word, follows = args[place], place + 1 < len(args)
    if word in grammar.valued:
        return 2 if follows else 1
    if word in grammar.optional:
        return 2 if follows and not args[place + 1].startswith("-") else 1
    if word in grammar.listed:
        rest = (n for n, other in enumerate(args[place + 1 :], 1) if other.startswith("-"))
        return next(rest, len(args) - place)
    return 1


def _is_unknown(part: Part, grammar: Grammar) -> bool:
    """Whether a part is a flag of which nobody knows whether it takes the next word."""
    known = grammar.valued | grammar.optional | grammar.listed | grammar.switches | {"--", ""}
    return part.flag not in known and part.tokens == (part.flag,)


def value(found: Iterable[Part], *flags: str) -> str | None:
    """The value of the last of these flags, None where none has one."""
    values = [part.value for part in found if part.flag in flags]
    return next((one for one in reversed(values) if one is not None), None)


def has(found: Iterable[Part], *flags: str) -> bool:
    """Whether one of these flags is there."""
    return any(part.flag in flags for part in found)


def without(found: Iterable[Part], *flags: str) -> list[Part]:
    """The parts but for these flags and their values."""
    return [part for part in found if part.flag not in flags]


def without_prompt(found: Sequence[Part]) -> list[Part]:
    """The parts but for the prompt: each positional argument.

    One behind an unknown flag may be that flag's value and stays, unless it is the only one and stands last.
    """
    positional = [part for part in found if not part.flag]
    sure = [part for part in positional if not part.doubtful]
    if not sure and len(positional) == 1 and found[-1] is positional[0]:
        sure = positional
    kept = [part for part in found if not any(part is one for one in sure)]
    return kept[:-1] if kept and kept[-1].flag == "--" else kept


def tokens(found: Iterable[Part]) -> tuple[str, ...]:
    """The arguments that the parts stand for."""
    return tuple(token for part in found for token in part.tokens)
