"""A machine with tidegate installed as deploy/README.md says."""

from __future__ import annotations

import re
import shutil
import sys
import sysconfig
from collections.abc import Iterator
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
    if why_not := lacking():
        pytest.skip(why_not)
    binds = {TOP: SOURCE, Path(sysconfig.get_paths()["purelib"]): LIBRARIES}
    if not sys.base_prefix.startswith("/usr"):
        binds[Path(sys.base_prefix)] = PYTHON
    with booted(binds) as machine:
        if PYTHON in binds.values():
            machine.write("/etc/ld.so.conf.d/python.conf", f"{PYTHON}/lib\n")
            machine("ldconfig")
        install(machine)
        yield machine


def commands(heading: str) -> list[str]:
    """The commands that deploy/README.md has in the first block below a heading."""
    text = (TOP / "deploy/README.md").read_text()
    found = re.search(rf"^## {re.escape(heading)}$.*?^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert found is not None, f"deploy/README.md: no commands below {heading!r}"
    return found[1].splitlines()


def install(machine: Machine) -> None:
    """Run the install commands; for pip, which would need the network, put in place what it would."""
    for command in commands("Install"):
        if "pip install" in command:
            put_in_place(machine)
        elif command.startswith("python3 -m venv"):
            python = PYTHON if machine.read("/etc/ld.so.conf.d/python.conf") else sys.base_prefix
            machine("sh", "-c", f"{python}/bin/{command} --without-pip", cwd=SOURCE)
        else:
            machine("sh", "-c", command.replace(" --now", ""), cwd=SOURCE)


def put_in_place(machine: Machine) -> None:
    """The package, its program and the libraries of this Python."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = machine.root / f"{VENV}/lib/{version}/site-packages".lstrip("/")
    shutil.copytree(Path(package.__file__).parent, packages / "tidegate", ignore=shutil.ignore_patterns("__pycache__"))
    (packages / "libraries.pth").write_text(f"{LIBRARIES}\n")
    program = f"#!{VENV}/bin/python\nimport sys\nfrom tidegate.__main__ import main\nsys.exit(main())\n"
    machine.write(f"{VENV}/bin/tidegate", program, 0o755)
    machine(f"{VENV}/bin/python", "-m", "compileall", "-q", f"{VENV}/lib")
