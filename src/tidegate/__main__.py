"""The program `tidegate`: whatever goes wrong below meets a person here, as one clear line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

from tidegate.errors import BadInput, TidegateError

BAD_INPUT = 2
INFRASTRUCTURE = 5
BUG = 70  # sysexits.h: EX_SOFTWARE
INTERRUPTED = 130  # as a shell tells SIGINT
NOBODY_READS = 141  # as a shell tells SIGPIPE
SAID = 2000  # characters of one line


def main() -> NoReturn:
    """Run the command line of this process and end it.

    It ends at once: taking Python down in order costs a look a sixth of its time, and from 3.12 on it would also kill
    the shims of agents that are left to run.
    """
    _hold_back()
    code = done()
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(code)


def _hold_back() -> None:
    """Let what is no reason to end wait until `serve` and `run` listen: all that they are is still to be imported."""
    verb = _verb(iter(sys.argv[1:]))
    if verb in ("serve", "run", "demo"):
        import signal  # noqa: PLC0415 - makes classes of names as it is imported, which no look needs

        early = {signal.SIGUSR1, signal.SIGUSR2} | ({signal.SIGHUP} if verb == "serve" else set())
        signal.pthread_sigmask(signal.SIG_BLOCK, early)


def _verb(words: Iterator[str]) -> str:
    """The first word that is no flag, nor the value of one."""
    for word in words:
        if word == "--state-dir":
            next(words, "")
        elif not word.startswith("-"):
            return word
    return ""


def done() -> int:
    """Run the command line of this process; its exit code, with all that was printed written."""
    _ready_streams()
    try:
        code = _obeyed()
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - nothing is above this
        code = _met(error)
    _flush()
    return code


def _obeyed() -> int:
    from tidegate import cli  # noqa: PLC0415 - an interrupt during the import is met too

    try:
        return cli.main(sys.argv[1:])
    except SystemExit as leaving:  # argparse: --help, --version, a wrong command line
        return leaving.code if isinstance(leaving.code, int) else 0


def _met(error: BaseException) -> int:
    """Tell a person what happened; the exit code."""
    match _telling(error):
        case KeyboardInterrupt():
            return INTERRUPTED
        case BrokenPipeError():
            return NOBODY_READS
        case BadInput() as bad:
            return _say(str(bad), BAD_INPUT)
        case TidegateError() as known:
            return _say(str(known), INFRASTRUCTURE)
        case OSError() as refused:
            return _say(_words(refused), INFRASTRUCTURE)
        case bug:
            sys.excepthook(type(bug), bug, bug.__traceback__)
            return BUG


def _telling(error: BaseException) -> BaseException:
    """The one of several errors that tells a person most."""
    leaves = list(_leaves(error))
    for kind in (TidegateError, KeyboardInterrupt, OSError):
        for leaf in leaves:
            if isinstance(leaf, kind):
                return leaf
    return leaves[0]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _say(text: str, code: int) -> int:
    from tidegate.look.words import fit, shown  # noqa: PLC0415 - only an error pays for it

    with suppress(OSError):  # nobody is there to read it, and the code still tells
        print(f"tidegate: {fit(shown(text), SAID)}", file=sys.stderr)
    return code


def _words(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename is not None else ""
    return f"{place}{error.strerror or error}"


# --- the standard streams ---


def _ready_streams() -> None:
    """Make reading and printing safe: a closed stream is an empty one, a character that the locale lacks is escaped."""
    sys.stdin = sys.stdin or Path(os.devnull).open()  # noqa: SIM115 - stays open to the end, and so takes its number
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _flush() -> None:
    """Write what is left; where that fails let it go, or Python complains about it when it ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
