"""The script for zsh."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from string import Template

from tidegate.cli.completion.table import Taken, Taker

SCRIPT = Template("""\
#compdef tidegate
# tidegate in zsh: put this into a file _tidegate in a directory of $$fpath, or eval it behind compinit

_tidegate_of() { # the words of a kind
    local -a found
    found=($${(f)"$$(tidegate completion --values $$1 2>/dev/null)"})
    compadd -a found
}

_tidegate() {
    local curcontext=$$curcontext state line ret=1 dashes=$${words[(i)--]}
    if (( dashes < CURRENT )); then # inside of a whole command
        if (( dashes + 1 == CURRENT )); then _command_names -e; else _files; fi
        return
    fi
    typeset -A opt_args
    _arguments -C -s \\
        '(- *)--help[show what it can do]' \\
        '(- *)--version[show the version]' \\
        '--state-dir[where the database and the output of agents are]:DIR:_directories' \\
        '1:verb:->verb' \\
        '*::argument:->rest' && ret=0
    case $$state in
        verb)
            local -a verbs
            verbs=(
$verbs
            )
            _describe -t verbs verb verbs && ret=0 ;;
        rest)
            case $$line[1] in
$rest
            esac ;;
    esac
    return ret
}

if [[ $$zsh_eval_context[-1] == loadautofunc ]]; then
    _tidegate "$$@"
else
    compdef _tidegate tidegate
fi
""")


def script(known: Sequence[Taker]) -> str:
    """The whole script."""
    verbs = (f"                {_quoted(f'{one.name}:{one.does}')}" for one in known)
    return SCRIPT.substitute(verbs="\n".join(verbs), rest="\n".join(map(_rest, known))).rstrip()


def _rest(one: Taker) -> str:
    specs = [spec for option in one.options for spec in _options(option)]
    specs += [f"*:{_plain(argument.value)}:{_action(argument)}" for argument in one.arguments[-1:]]
    lines = " \\\n".join(f"                    {_quoted(spec)}" for spec in specs)
    return f"                {one.name})\n                    _arguments -s \\\n{lines} && ret=0 ;;"


def _options(option: Taken) -> Iterator[str]:
    """The specification of each spelling of a flag; `*` says that it may come again."""
    value = f":{_plain(option.value)}:{_action(option)}" if option.value else ""
    for flag in option.flags:
        yield f"*{flag}[{_plain(option.does)}]{value}"


def _action(taken: Taken) -> str:
    """How the value is completed."""
    match taken.kinds:
        case _ if taken.choices:
            return f"({' '.join(taken.choices)})"
        case ["files", *_]:
            return "_files"
        case ["directories", *_]:
            return "_directories"
        case [kind, *_]:
            return f" _tidegate_of {kind}"  # the blank keeps _arguments from putting options of its own before it
        case _:
            return " "


def _plain(text: str) -> str:
    return re.sub(r"([\\\[\]:])", r"\\\1", text.replace("\n", " "))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
