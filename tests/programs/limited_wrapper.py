#!/usr/bin/env python3
"""limited_wrapper.py DIR [AHEAD]: a wrapper whose agent is limited until a full minute, AHEAD (60) s away or more.

Until that minute it tells so on stderr, in Los Angeles time, and exits 255; from then on it prints "done" and exits 0.
DIR keeps `resets_at` (epoch seconds) and `launches` (one line for each launch: epoch seconds and the exit code).
"""

import math
import os
import sys
import time
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

ZONE = "America/Los_Angeles"


def main(folder: Path, ahead: float) -> int:
    now = time.time()
    resets_at = remembered(folder / "resets_at", math.ceil((now + ahead) / 60) * 60)
    code = 255 if now < resets_at else 0
    if code:
        print(f"Rate limit from agent: You've hit your limit · resets {clock(resets_at)} ({ZONE})", file=sys.stderr)
    else:
        print("done")
    with (folder / "launches").open("a") as launches:
        launches.write(f"{now:.3f} {code}\n")
    return code


def remembered(file: Path, value: int) -> int:
    """What the file says; the first caller's value becomes that."""
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    draft.write_text(str(value))
    try:
        file.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return int(file.read_text())


def clock(epoch: int) -> str:
    at = datetime.fromtimestamp(epoch, ZoneInfo(ZONE))
    minutes = f":{at.minute:02}" if at.minute else ""
    return f"{at.hour % 12 or 12}{minutes}{'am' if at.hour < 12 else 'pm'}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 60))
