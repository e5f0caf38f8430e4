#!/usr/bin/env python3
"""struck_once.py DIR HOW [FILE]: its first launch for a job dies, later ones print "done" and exit 0.

HOW is HUP, KILL, TERM (kills itself so) or an exit code. With FILE it waits, 30 s at most, until that file is there:
the `launches` of limited_wrapper.py makes it die in the same second as the limit. DIR keeps `struck-JOB`.
"""

import os
import signal
import sys
import time
from pathlib import Path
from urllib.parse import quote


def main(folder: Path, how: str, awaited: Path | None) -> int:
    try:
        (folder / f"struck-{quote(os.environ.get('TIDEGATE_JOB', '?'), safe='')}").touch(exist_ok=False)
    except FileExistsError:
        print("done")
        return 0
    deadline = time.monotonic() + 30
    while awaited is not None and not awaited.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    if how.isdigit():
        return int(how)
    os.kill(os.getpid(), signal.Signals[f"SIG{how}"])
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else None))
