"""The script for fish."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tidegate.cli.completion.table import Taken, Taker

HEAD = """\
# tidegate in fish: put this into ~/.config/fish/completions/tidegate.fish

function __tidegate_verb # the verb that stands there already
    set -l words (commandline -opc)
    set -e words[1]
    while set -q words[1]
        switch $words[1]
            case --state-dir
                set -e words[1]
            case '-*'
            case '*'
                echo $words[1]
                return
        end
        set -e words[1]
    end
    return 1
end

complete -c tidegate -f
complete -c tidegate -n 'contains -- -- (commandline -opc)' -F
complete -c tidegate -n 'string match -q -- -- (commandline -opc)[-1]' -a '(__fish_complete_command)'
complete -c tidegate -l state-dir -x -a '(__fish_complete_directories)' \
-d 'where the database and the output of agents are'
complete -c tidegate -n 'not __tidegate_verb' -l version -d 'show the version'"""


def script(known: Sequence[Taker]) -> str:
    """The whole script."""
    return "\n".join([HEAD, *(line for one in known for line in _lines(one))])


def _lines(one: Taker) -> Iterator[str]:
    yield f"complete -c tidegate -n 'not __tidegate_verb' -a {one.name} -d {_quoted(one.does)}"
    there = f"complete -c tidegate -n 'string match -q -- {one.name} (__tidegate_verb)'"
    for option in one.options:
        if "--state-dir" not in option.flags:
            yield f"{there} {_flags(option.flags)}{_value(option)} -d {_quoted(option.does)}"
    for argument in one.arguments:
        if value := _words(argument):
            yield f"{there}{value}"


def _flags(flags: Iterable[str]) -> str:
    return " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in flags)


def _value(option: Taken) -> str:
    if not option.value:
        return ""
    return _words(option) or " -x"


def _words(taken: Taken) -> str:
    """How a value is completed, "" where nobody knows."""
    if taken.choices:
        return f" -x -a {_quoted(' '.join(taken.choices))}"
    if "files" in taken.kinds:
        return " -r -F"
    found = "; ".join(_source(kind) for kind in taken.kinds)
    return f" -x -a {_quoted(f'({found})')}" if found else ""


def _source(kind: str) -> str:
    return (
        "__fish_complete_directories" if kind == "directories" else f"tidegate completion --values {kind} 2>/dev/null"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", " ") + "'"
