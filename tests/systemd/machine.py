"""A machine of its own for tests: a real systemd in namespaces, on a throw-away copy of this machine's root."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from installed import until

INIT = Path(__file__).with_name("init.sh")
SYSTEMD = Path("/lib/systemd/systemd")
PROGRAMS = ("bash", "setpriv", "unshare", "nsenter", "mount", "pivot_root", "runuser", "systemctl", "dbus-daemon")
NAMESPACES = ("--cgroup", "--pid", "--mount", "--uts", "--ipc", "--net")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NAME = "tidegate-test."
OLD = 3600.0  # seconds after which no test run is under way any more
TRIAL = """
mount -t tmpfs tmpfs "$0"
mkdir "$0/upper" "$0/work" "$0/tree"
mount -t overlay overlay -o "lowerdir=/,upperdir=$0/upper,workdir=$0/work" "$0/tree"
mount -t proc proc "$0/tree/proc"
mount -t sysfs sysfs "$0/tree/sys"
mount -t cgroup2 cgroup2 "$0/tree/sys/fs/cgroup"
"""


def lacking() -> str:
    """Why no machine can be booted here; "" where one can."""
    if os.geteuid() != 0:
        return "booting systemd in namespaces needs root"
    if not SYSTEMD.exists():
        return f"no systemd here ({SYSTEMD})"
    if missing := [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]:
        return f"not installed: {', '.join(missing)}"
    if cgroup_of_this_process() is None:
        return "no cgroup2 hierarchy is mounted writable"
    with tempfile.TemporaryDirectory() as place:
        tried = subprocess.run(
            ["unshare", *NAMESPACES, "--fork", "sh", "-euc", TRIAL, place], capture_output=True, text=True
        )
    return f"namespaces are not allowed here: {tried.stderr.strip()}" if tried.returncode else ""


def cgroup_of_this_process() -> Path | None:
    """Where new groups can be made: the group of this process in the cgroup2 hierarchy."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    roots = [where for _, where, kind, *_ in mounts if kind == "cgroup2"]
    mine = [
        line.removeprefix("0::")
        for line in Path("/proc/self/cgroup").read_text().splitlines()
        if line.startswith("0::")
    ]
    if not roots or not mine:
        return None
    group = Path(roots[0] + mine[0].rstrip("/"))
    return group if os.access(group / "cgroup.procs", os.W_OK) and not _is_read_only(group) else None


def _is_read_only(path: Path) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


@dataclass(frozen=True, slots=True)
class Machine:
    """A booted machine; `init` is its pid 1 as this machine counts, `root` its file system as seen from here."""

    init: int
    group: Path

    @property
    def root(self) -> Path:
        return Path(f"/proc/{self.init}/root")

    def __call__(
        self,
        *argv: str,
        user: str = "",
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        stdin: str = "",
        timeout: float = 60,
        check: bool = True,
    ) -> str:
        """Run a command in the machine; what it prints. With `check` an exit code other than 0 is an AssertionError."""
        done = self.run(*argv, user=user, env=env, cwd=cwd, stdin=stdin, timeout=timeout)
        assert done.returncode == 0 or not check, f"{' '.join(argv)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def run(
        self,
        *argv: str,
        user: str = "",
        env: Mapping[str, str] | None = None,
        cwd: str = "/",
        stdin: str = "",
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine, in a group of its own there."""
        return subprocess.run(
            self.argv(*argv, user=user, cwd=cwd),
            env={"PATH": PATH, "LANG": "C.UTF-8", **(env or {})},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def argv(self, *argv: str, user: str = "", cwd: str = "/") -> list[str]:
        """The same command as this machine can start it."""
        enter = [
            "nsenter",
            "-t",
            str(self.init),
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--cgroup",
            f"--wdns={cwd}",
        ]
        become = ["runuser", "-u", user, "--"] if user else []
        return ["sh", "-c", f'echo $$ >{self.group}/outside/cgroup.procs; exec "$@"', "sh", *enter, *become, *argv]

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file of the machine, as root, with its missing directories."""
        inside = self.root / path.lstrip("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        inside.write_text(text)
        inside.chmod(mode)

    def read(self, path: str) -> str:
        """A file of the machine; "" where there is none."""
        try:
            return (self.root / path.lstrip("/")).read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def show(self, unit: str, what: str) -> str:
        """One property of a unit."""
        return self("systemctl", "show", "-P", what, unit).strip()


@contextmanager
def booted(binds: Mapping[Path, str]) -> Iterator[Machine]:
    """Boot a machine with directories of this one in it, read-only; nothing of it is left afterwards."""
    above = cgroup_of_this_process()
    assert above is not None
    _sweep(above)
    place = Path(tempfile.mkdtemp(prefix=NAME))
    group = above / place.name
    (group / "outside").mkdir(parents=True)
    told = (place.parent / f"{place.name}.log").open("w+")
    unshare = subprocess.Popen(
        _boot(place, group, [f"{source}:{target}" for source, target in binds.items()]),
        stdin=subprocess.DEVNULL,
        stdout=told,
        stderr=subprocess.STDOUT,
    )
    try:
        yield _ready(unshare, group, Path(told.name))
    finally:
        unshare.kill()
        unshare.wait()
        told.close()
        (group / "cgroup.kill").write_text("1")
        until(lambda: not _is_populated(group))
        _remove(group)
        place.rmdir()
        Path(told.name).unlink()


def _boot(place: Path, group: Path, binds: Sequence[str]) -> list[str]:
    """Everything ends with this process, however that ends: unshare by the death signal, its child by --kill-child."""
    join = f'echo $$ >{group}/cgroup.procs; exec setpriv --pdeathsig KILL "$@"'
    namespaces = ["unshare", *NAMESPACES, "--fork", "--kill-child"]
    return ["sh", "-c", join, "sh", *namespaces, "bash", str(INIT), str(place), *binds]


def _ready(unshare: subprocess.Popen[bytes], group: Path, told: Path) -> Machine:
    """The machine, when its target is reached."""
    children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")

    def init() -> int:
        assert unshare.poll() is None, told.read_text()
        pids = [int(pid) for pid in children.read_text().split()]
        return next((pid for pid in pids if _program(pid).name == "systemd"), 0)

    until(init)
    machine = Machine(init(), group)
    until(lambda: machine.run("systemctl", "is-active", "test.target").stdout.strip() == "active")
    return machine


def _program(pid: int) -> Path:
    with suppress(OSError):
        return Path(f"/proc/{pid}/exe").readlink()
    return Path()


def _sweep(above: Path) -> None:
    """Remove what test runs that were killed have left; what is young may be another's who is just about to boot."""
    now = time.time()
    for left in (*above.glob(f"{NAME}*"), *Path(tempfile.gettempdir()).glob(f"{NAME}*")):
        with suppress(OSError):
            if now - left.stat().st_mtime < OLD:
                continue
            if left.is_file():
                left.unlink()
            elif left.parent != above:
                left.rmdir()
            elif not _is_populated(left):
                _remove(left)


def _is_populated(group: Path) -> bool:
    return "populated 1" in (group / "cgroup.events").read_text()


def _remove(group: Path) -> None:
    for inner, _, _ in os.walk(group, topdown=False):
        with suppress(OSError):
            Path(inner).rmdir()
