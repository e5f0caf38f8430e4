#!/usr/bin/env python3
"""odd.py MODE [EXIT [PIDFILE]]: an agent with odd habits that exits EXIT (0); MODE is one of the functions below.

`server` and `server_setsid` leave a process behind that holds stdout and stderr for a minute, its pid in PIDFILE;
`ignores_term` writes its own pid there and sleeps for a minute, whatever TERM says.
"""

import os
import signal
import sys
import time
from pathlib import Path

LONG = 3_000_000


def long_line(_pidfile: str) -> None:
    """A line of 3 MB, then a short one."""
    write(b"x" * LONG + b"\ndone\n")


def long_json(_pidfile: str) -> None:
    """A stream-json line of 3 MB, as after a tool that read a large file."""
    text = b"y" * LONG
    write(b'{"type":"user","message":{"role":"user","content":[{"type":"tool_result","content":"' + text + b'"}]}}\n')


def invalid_utf8(_pidfile: str) -> None:
    write(b"before \xff\xfe\x80 after\n\xc3\n")


def no_newline(_pidfile: str) -> None:
    write(b"done, without an end of line")


def nothing(_pidfile: str) -> None:
    """Not a byte."""


def server(pidfile: str) -> None:
    """A server stays behind in the agent's own session."""
    leave(pidfile, own_session=False)


def server_setsid(pidfile: str) -> None:
    """A server stays behind in a session of its own, where killpg does not reach it."""
    leave(pidfile, own_session=True)


def ignores_term(pidfile: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(pidfile)
    write(b"deaf\n")
    time.sleep(60)


def leave(pidfile: str, *, own_session: bool) -> None:
    ready, told = os.pipe()
    if os.fork() == 0:
        if own_session:
            os.setsid()
        note(pidfile)
        os.write(told, b".")
        time.sleep(60)
        os._exit(0)
    os.read(ready, 1)  # the server runs before the agent ends
    write(b"done, a server stays\n")


def note(pidfile: str) -> None:
    if pidfile:
        draft = Path(f"{pidfile}.draft")
        draft.write_text(str(os.getpid()))
        draft.rename(pidfile)


def write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


MODES = {
    mode.__name__: mode
    for mode in (long_line, long_json, invalid_utf8, no_newline, nothing, server, server_setsid, ignores_term)
}

if __name__ == "__main__":
    MODES[sys.argv[1]](sys.argv[3] if len(sys.argv) > 3 else "")
    sys.exit(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
