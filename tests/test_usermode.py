"""The tests that need controllers of cgroups, under a kernel that has them: user-mode Linux, for machines without.

It is one program (package `user-mode-linux`), sees this machine's files and writes none of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INIT = """\
#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs -o mode=1777 tmpfs /mnt
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
export TMPDIR=/mnt PYTHONDONTWRITEBYTECODE=1 HOME=/mnt PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
cd {project}
{python} -m pytest -n0 -q -p no:cacheprovider -rs -m "slow or not slow" {tests} </dev/null 2>&1
echo "pytest ended with $?"
halt -f
"""


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_bounds_hold_under_a_kernel_that_has_the_controllers(tmp_path: Path) -> None:
    linux = shutil.which("linux.uml")
    if linux is None:
        pytest.skip("no linux.uml here (Debian: apt install user-mode-linux)")
    init = tmp_path / "init"
    init.write_text(INIT.format(project=HERE.parent, python=sys.executable, tests=HERE / "test_bounds.py"))
    init.chmod(0o755)
    words = ["rootfstype=hostfs", "rootflags=/", "ro", "mem=1000M", f"init={init}", "con=null", "con0=null,fd:1"]
    done = subprocess.run(
        [linux, f"uml_dir={tmp_path}", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "TMPDIR": str(tmp_path)},
        timeout=380,
    )
    assert "pytest ended with 0" in done.stdout, done.stdout[-8000:]
    assert "SKIPPED" not in done.stdout, done.stdout[-8000:]
