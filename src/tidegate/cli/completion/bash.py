"""The script for bash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from string import Template

from tidegate.cli.completion.table import Taken, Taker

SCRIPT = Template("""\
# tidegate in bash: put this into ~/.bashrc, or into ~/.local/share/bash-completion/completions/tidegate

_tidegate_of() { # the words of these kinds, and these words
    local kind words=
    for kind in $$1; do
        case $$kind in
            files) COMPREPLY+=($$(compgen -f -- "$$word")); compopt -o filenames ;;
            commands) COMPREPLY+=($$(compgen -c -- "$$word")) ;;
            directories) COMPREPLY+=($$(compgen -d -- "$$word")); compopt -o filenames ;;
            *) words+=" $$(tidegate completion --values "$$kind" 2>/dev/null)" ;;
        esac
    done
    COMPREPLY+=($$(compgen -W "$$words $$2" -- "$$word"))
}

_tidegate() {
    local IFS=$$' \\t\\n' word=$${COMP_WORDS[COMP_CWORD]} before=$${COMP_WORDS[COMP_CWORD-1]} verb= command= i
    COMPREPLY=()
    [[ $$word == = ]] && word=
    [[ $$before == = ]] && before=$${COMP_WORDS[COMP_CWORD-2]}
    for ((i = 1; i < COMP_CWORD; i++)); do
        case $${COMP_WORDS[i]} in
            --) command=1; break ;;
            --state-dir) [[ -n $$verb ]] || ((i++)) ;;
            -*) ;;
            *) [[ -n $$verb ]] || verb=$${COMP_WORDS[i]} ;;
        esac
    done
    if [[ -n $$command ]]; then
        [[ $$before == -- ]] && _tidegate_of commands "" || _tidegate_of files ""
        return
    fi
    case $$verb,$$before in
        ,--state-dir) _tidegate_of directories ""; return ;;
$values
    esac
    case $$verb,$$word in
        ,-*) _tidegate_of "" "--help --state-dir --version" ;;
        ,*) _tidegate_of "" "$verbs" ;;
$rest
    esac
}

complete -F _tidegate tidegate
""")


def script(known: Sequence[Taker]) -> str:
    """The whole script."""
    rest = (line for one in known for line in _rest(one))
    return SCRIPT.substitute(
        values="\n".join(line for one in known for line in _values(one)),
        verbs=" ".join(one.name for one in known),
        rest="\n".join(rest),
    ).rstrip()


def _values(one: Taker) -> Iterator[str]:
    """What may follow each flag that takes a value."""
    for option in one.options:
        if option.value:
            patterns = "|".join(f"{one.name},{flag}" for flag in option.flags)
            yield f'        {patterns}) _tidegate_of "{_kinds([option])}" "{_choices([option])}"; return ;;'


def _rest(one: Taker) -> Iterator[str]:
    flags = " ".join(flag for option in one.options for flag in option.flags)
    yield f'        {one.name},-*) _tidegate_of "" "{flags}" ;;'
    yield f'        {one.name},*) _tidegate_of "{_kinds(one.arguments)}" "{_choices(one.arguments)}" ;;'


def _kinds(taken: Iterable[Taken]) -> str:
    return " ".join(dict.fromkeys(kind for one in taken for kind in one.kinds))


def _choices(taken: Iterable[Taken]) -> str:
    return " ".join(dict.fromkeys(choice for one in taken for choice in one.choices))
