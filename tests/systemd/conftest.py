"""A machine with tidegate installed as deploy/README.md says."""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import tidegate as package
from systemd.machine import Machine, booted, lacking

TOP = Path(__file__).parents[2]
SOURCE = "/usr/src/tidegate"
LIBRARIES = "/usr/src/libraries"
PYTHON = "/usr/local/python"  # this Python, where it lives in a directory that services may not enter
VENV = "/opt/tidegate"


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """The machine; the test is skipped, with the reason, where none can be booted."""
    with bare() as machine:
        follow(machine, blocks("Install")[0].replace(" --now", ""))
        yield machine


@contextmanager
def bare() -> Iterator[Machine]:
    """A machine without tidegate."""
    if why_not := lacking():
        pytest.skip(why_not)
    binds = {TOP: SOURCE, Path(sysconfig.get_paths()["purelib"]): LIBRARIES}
    if not sys.base_prefix.startswith("/usr"):
        binds[Path(sys.base_prefix)] = PYTHON
    with booted(binds) as machine:
        if PYTHON in binds.values():
            machine.write("/etc/ld.so.conf.d/python.conf", f"{PYTHON}/lib\n")
            machine("ldconfig")
        yield machine


def blocks(heading: str) -> list[str]:
    """The blocks of commands that deploy/README.md has below a heading."""
    text = (TOP / "deploy/README.md").read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found, f"deploy/README.md: no commands below {heading!r}"
    return found


def follow(machine: Machine, script: str) -> str:
    """Run a block of commands as root; for pip, which would need the network, put in place what it would."""
    python = PYTHON if machine.read("/etc/ld.so.conf.d/python.conf") else sys.base_prefix
    script = re.sub(r"^python3 -m venv", f"{python}/bin/python3 -m venv --without-pip", script)
    before, *after = re.split(r"^.*/pip install .*\n", script, flags=re.MULTILINE)
    told = machine("sh", "-euxc", before, cwd=SOURCE)
    for rest in after:
        put_in_place(machine)
        told += machine("sh", "-euxc", rest, cwd=SOURCE)
    return told


def put_in_place(machine: Machine) -> None:
    """The package, its program and the libraries of this Python."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = machine.root / f"{VENV}/lib/{version}/site-packages".lstrip("/")
    leave_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(package.__file__).parent, packages / "tidegate", ignore=leave_out, dirs_exist_ok=True)
    (packages / "libraries.pth").write_text(f"{LIBRARIES}\n")
    program = f"#!{VENV}/bin/python\nimport sys\nfrom tidegate.__main__ import main\nsys.exit(main())\n"
    machine.write(f"{VENV}/bin/tidegate", program, 0o755)
    machine(f"{VENV}/bin/python", "-m", "compileall", "-q", f"{VENV}/lib")
