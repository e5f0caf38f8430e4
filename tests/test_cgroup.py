"""Agents in cgroups of their own, on a real cgroup v2: nothing can leave by forking, and nothing is left."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import anyio
import pytest
from delegated import delegated, mark, move_to, remove
from installed import Tidegate

import tidegate
from tidegate import launch
from tidegate.errors import NotLaunched
from tidegate.launch import Child, Order, adopt, cgroup
from tidegate.model import Exit

SRC = Path(tidegate.__file__).parents[1]
PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
STAYS = "echo $$ >{file}.new; mv {file}.new {file}; while :; do sleep 1; done"
LEFTOVERS = {
    "plain": "sh -c '{stays}' &",
    "session": "setsid sh -c '{stays}' &",
    "double fork": "(setsid sh -c 'sh -c \"$0\" & exit' '{stays}' &)",
    "clean environment and reset limit": (
        "(env -i setsid sh -c 'ulimit -Sw unlimited || ulimit -Sx unlimited; sh -c \"$0\" & exit' '{stays}' &)"
    ),
}
# Each process forks the next and is gone: whoever kills what a list names is always too late. It ends by itself.
STORM = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range(6):
    if not os.fork():
        end = time.monotonic() + 30
        os.setsid()
        while time.monotonic() < end:
            if os.fork():
                os._exit(0)
        os._exit(0)
print("up", flush=True)
time.sleep(60)
"""


@pytest.fixture
def root() -> Iterator[Path]:
    """The cgroup that is delegated to this process."""
    with delegated() as place:
        yield place


@pytest.fixture
async def place(tmp_path: Path, root: Path) -> AsyncIterator[Path]:
    """An attempt's directory."""
    yield tmp_path / "attempts" / "7" / "1"
    remove_populated(root)


def remove_populated(root: Path) -> None:
    """Whatever a failing test has left running is ended."""
    for path in root.glob("attempt-*"):
        (path / "cgroup.kill").write_text("1")
        remove(path)


def order(*argv: str) -> Order:
    marker = f"test/{os.getpid()}/{time.monotonic_ns()}"
    return Order(argv=argv, cwd=Path("/"), env=PATH, marker=marker, cgroup=True)


def shell(script: str) -> Order:
    return order("/bin/sh", "-c", script)


def leaving(kind: str, file: Path, then: str) -> Order:
    stays = STAYS.format(file=file)
    return shell(LEFTOVERS[kind].format(stays=stays) + f"\nwhile ! [ -e {file} ]; do sleep 0.01; done; {then}")


async def until(fact: Callable[[], object], within: float = 10.0) -> None:
    with anyio.fail_after(within):
        while not fact():
            await anyio.sleep(0.005)


async def pid_in(path: Path) -> int:
    await until(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def own(child: Child) -> cgroup.Cgroup:
    """The cgroup of a child, which must have one."""
    assert child._cgroup is not None
    return child._cgroup


def groups(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("attempt-*"))


# --- where ---


def test_cgroups_are_made_only_where_they_are_delegated(root: Path) -> None:
    assert launch.cgroup_root() == root
    for name, marked in {"unit.service": False, "app.scope": False, "unit2.service": True}.items():
        (root / name).mkdir()
        if marked:
            mark(root / name)
        move_to(root / name)
        assert launch.cgroup_root() == (root / name if marked else None)
    move_to(root)


def test_below_a_delegated_unit_they_are_made_beside_the_supervisor_of_it(root: Path) -> None:
    """As with DelegateSubgroup= of systemd 254."""
    (root / "supervisor").mkdir()
    move_to(root / "supervisor")
    assert launch.cgroup_root() == root
    move_to(root)


async def test_a_supervisor_inside_an_attempt_makes_none_beside_that(place: Path, root: Path) -> None:
    code = "from tidegate import launch; print(launch.cgroup_root())"
    what = order("env", f"PYTHONPATH={SRC}", sys.executable, "-c", code)
    child = await launch.launch(what, place, {})
    assert await child.wait() == Exit(0)
    assert (place / "stdout.log").read_text() == "None\n"
    assert await child.sweep(1) == 0


async def test_an_order_that_asks_for_none_gets_none(place: Path, root: Path) -> None:
    child = await launch.launch(Order(argv=("/bin/true",), cwd=Path("/"), env={}, marker="m"), place, {})
    assert groups(root) == []
    assert await child.wait() == Exit(0)


# --- who is in it ---


async def test_the_agent_is_in_the_cgroup_from_its_first_instruction_and_its_shim_is_not(
    place: Path, root: Path
) -> None:
    child = await launch.launch(shell("cat /proc/self/cgroup; sleep 60"), place, {})
    await until(lambda: len(own(child).members()) == 2 and (place / "stdout.log").read_text())
    name = own(child).path.name
    assert name.startswith("attempt-7-1-")
    assert f"/{root.name}/{name}\n" in (place / "stdout.log").read_text()
    assert child.pid not in {process.pid for process in own(child).members()}
    assert Path(f"/proc/{child.pid}/cgroup").read_text().rstrip().endswith(root.name)
    assert (root / "cgroup.subtree_control").read_text().strip() == ""  # no controllers
    await child.end(5)
    assert await child.wait() == Exit(143)
    assert await child.sweep(1) == 0
    assert groups(root) == []


async def test_an_agent_that_cannot_join_runs_and_is_known_by_its_marks(
    place: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroup.Cgroup, "door", "/dev/full")
    child = await launch.launch(leaving("double fork", tmp_path / "pid", "exit 3"), place, {})
    left = await pid_in(tmp_path / "pid")
    assert await child.wait() == Exit(3)
    assert is_running(left)
    assert await child.sweep(0.5) >= 1
    assert not is_running(left)
    assert (place / "stderr.log").read_text() == ""
    assert groups(root) == []


async def test_a_failed_launch_leaves_no_cgroup(place: Path, root: Path) -> None:
    with pytest.raises(NotLaunched, match="argument list too long"):
        await launch.launch(order("/bin/true", "x" * 140_000), place, {})
    assert groups(root) == []


async def test_what_has_left_the_cgroup_is_found_by_its_marks(place: Path, root: Path, tmp_path: Path) -> None:
    """As `systemd-run --scope` does it."""
    (root / "elsewhere").mkdir()
    moves = f"echo $$ >{root}/elsewhere/cgroup.procs; "
    script = f"(setsid sh -c '{moves}{STAYS.format(file=tmp_path / 'pid')}' &); sleep 60"
    child = await launch.launch(shell(script), place, {})
    left = await pid_in(tmp_path / "pid")
    await child.end(0.5)
    assert await child.wait() == Exit(143)
    await child.sweep(0.5)
    assert not is_running(left)


# --- its end ---


@pytest.mark.parametrize("adopted", [False, True], ids=["launched", "adopted"])
@pytest.mark.parametrize("kind", LEFTOVERS)
async def test_no_kind_of_leftover_outlives_the_end_of_its_agent(
    place: Path, root: Path, tmp_path: Path, kind: str, adopted: bool
) -> None:
    child = await launched(leaving(kind, tmp_path / "pid", "sleep 60"), place, adopted=adopted)
    left = await pid_in(tmp_path / "pid")
    await child.end(0.5)
    assert await child.wait() == Exit(143)
    assert not is_running(left)
    await child.sweep(0.5)
    assert groups(root) == []


@pytest.mark.parametrize("adopted", [False, True], ids=["launched", "adopted"])
@pytest.mark.parametrize("kind", LEFTOVERS)
async def test_no_kind_of_leftover_outlives_the_sweep(
    place: Path, root: Path, tmp_path: Path, kind: str, adopted: bool
) -> None:
    child = await launched(leaving(kind, tmp_path / "pid", "exit 3"), place, adopted=adopted)
    assert await child.wait() == Exit(3)
    left = await pid_in(tmp_path / "pid")
    assert is_running(left)
    assert await child.sweep(0.5) >= 1
    assert groups(root) == []
    assert adopted or not Path(f"/proc/{left}").exists()  # a dead orphan of this process is buried
    assert not is_running(left)


async def launched(what: Order, place: Path, *, adopted: bool) -> Child:
    """A child of this process, or one that a killed supervisor has left."""
    return await orphaned(what, place) if adopted else await launch.launch(what, place, {})


SUPERVISOR = """
import asyncio, json, sys
from pathlib import Path
from tidegate import launch

async def main():
    argv, env, marker = json.loads(sys.argv[2])
    what = launch.Order(argv=tuple(argv), cwd=Path("/"), env=env, marker=marker, cgroup=True)
    await launch.launch(what, Path(sys.argv[1]), {})
    print("up", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def orphaned(what: Order, place: Path) -> Child:
    """The child of a supervisor that was killed, adopted."""
    said = json.dumps([what.argv, dict(what.env), what.marker])
    argv = [sys.executable, "-W", "error", "-c", SUPERVISOR, str(place), said]
    env = {**os.environ, "PYTHONPATH": str(SRC)}
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE) as supervisor:
        assert supervisor.stdout is not None
        await anyio.to_thread.run_sync(supervisor.stdout.readline)
        supervisor.kill()
    return await adopt(place)


async def test_an_agent_that_leaves_nothing_is_swept_without_a_look_at_every_process(
    place: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch.child, "census", None)
    child = await launch.launch(shell("exit 3"), place, {})
    assert await child.wait() == Exit(3)
    assert await child.sweep(1) == 0
    assert groups(root) == []


@pytest.mark.parametrize("kernel", ["5.14", "5.2"])
async def test_a_storm_of_forks_is_ended_whole(
    place: Path, root: Path, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernel == "5.2":
        without_kill(monkeypatch)
    child = await launch.launch(order(sys.executable, "-S", "-c", STORM), place, {})
    await until((place / "stdout.log").read_text)
    before = forks()
    await until(lambda: forks() - before > 1000, within=30)
    await child.end(0.2)
    assert await child.wait() == Exit(137)
    assert own(child).members() == []
    assert not own(child).is_populated()
    await child.sweep(0)
    assert groups(root) == []


def forks() -> int:
    """How many processes and threads the machine has made."""
    return int(Path("/proc/stat").read_text().partition("\nprocesses ")[2].split()[0])


def without_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    write = cgroup.Cgroup._write
    monkeypatch.setattr(cgroup.Cgroup, "_write", lambda self, n, v: n != "cgroup.kill" and write(self, n, v))


async def test_cgroups_that_an_agent_has_made_go_with_it(place: Path, root: Path) -> None:
    script = "cd {0}; mkdir a a/b; sh -c 'echo 0 >a/b/cgroup.procs; exec sleep 60' & echo $!; wait"
    child = await launch.launch(shell(f"d={root}/attempt-7-1-*; {script.format('$d')}"), place, {})
    inner = await pid_in(place / "stdout.log")
    await until(lambda: "/b\n" in Path(f"/proc/{inner}/cgroup").read_text())
    assert inner in {process.pid for process in own(child).members()}
    await child.end(5)
    assert await child.wait() == Exit(143)
    assert not is_running(inner)
    await child.sweep(0)
    assert groups(root) == []


# --- standing still ---

BURNS = "sh -c 'while :; do :; done' & setsid sh -c 'while :; do :; done' & wait"


@pytest.mark.parametrize("agent", [shell(BURNS), order(sys.executable, "-S", "-c", STORM)], ids=["burns", "forks"])
async def test_a_frozen_agent_uses_no_processor_until_it_thaws(place: Path, root: Path, agent: Order) -> None:
    child = await launch.launch(agent, place, {})
    await until(lambda: child.cpu() > 0.05)
    await child.freeze()
    used = child.cpu()
    await anyio.sleep(0.3)
    assert child.cpu() - used < 0.001
    await child.thaw()
    await until(lambda: child.cpu() > used + 0.05)
    await child.freeze()
    await child.end(0)
    assert await child.wait() in (Exit(143), Exit(137))


async def test_an_agent_that_is_frozen_before_it_began_stands_still_as_it_begins(
    place: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thinking = "n=0; while [ $n -lt 60000 ]; do n=$((n + 1)); done\n"
    monkeypatch.setattr(launch, "SHIM", launch.SHIM.replace('"$@" 2>', thinking + '"$@" 2>'))
    child = await launch.launch(shell("echo up; exit 4"), place, {})
    await child.freeze()
    await until(own(child).is_populated)
    await anyio.sleep(0.1)
    assert (place / "stdout.log").read_text() == ""
    await child.thaw()
    assert await child.wait() == Exit(4)


async def test_the_status_of_a_frozen_agent_that_is_killed_is_recorded(place: Path, root: Path) -> None:
    child = await launch.launch(shell("echo up; trap '' TERM; while :; do sleep 0.01; done"), place, {})
    await until((place / "stdout.log").read_text)
    await child.freeze()
    await child.end(0)
    assert await child.wait() == Exit(137)


async def test_a_frozen_agent_is_adopted_and_goes_on(place: Path, root: Path) -> None:
    child = await orphaned(shell("while :; do echo x; sleep 0.01; done"), place)
    log = place / "stdout.log"
    await until(log.read_text)
    await child.freeze()
    child.let_go()
    again = await adopt(place)
    size = log.stat().st_size
    await anyio.sleep(0.1)
    assert log.stat().st_size == size
    await again.thaw()
    await until(lambda: log.stat().st_size > size)
    await again.freeze()
    await again.end(5)
    assert await again.wait() == Exit(143)


# --- after a restart ---


async def test_a_supervisor_that_lives_elsewhere_finds_the_cgroup_again(
    place: Path, root: Path, tmp_path: Path
) -> None:
    kind = "clean environment and reset limit"
    child = await orphaned(leaving(kind, tmp_path / "pid", "exit 3"), place)
    left = await pid_in(tmp_path / "pid")
    child.let_go()
    move_to(root.parent)
    try:
        assert launch.cgroup_root() is None
        again = await adopt(place)
        assert await again.wait() == Exit(3)
        assert await again.sweep(0.5) >= 1
        assert not is_running(left)
    finally:
        move_to(root)
    assert groups(root) == []


async def test_a_record_that_names_somebody_elses_cgroup_is_not_believed(place: Path, root: Path) -> None:
    (root / "innocent").mkdir()
    child = await orphaned(shell("sleep 60"), place)
    child.let_go()
    intent = json.loads((place / "attempt.json").read_text())
    (place / "attempt.json").write_text(json.dumps({**intent, "cgroup": str(root / "innocent")}))
    again = await adopt(place)
    assert again._cgroup is None
    await again.end(5)
    assert await again.wait() in (Exit(143), Exit(137))  # TERM may come before the agent is there


async def test_empty_cgroups_of_earlier_incarnations_are_removed(place: Path, root: Path) -> None:
    for name, age in {"attempt-1-1-a": 1000, "attempt-1-2-b": 1000, "attempt-1-3-c": 0, "other": 1000}.items():
        (root / name).mkdir()
        os.utime(root / name, (time.time() - age, time.time() - age))
    with subprocess.Popen(["/bin/sleep", "60"]) as lives:
        (root / "attempt-1-2-b" / "cgroup.procs").write_text(str(lives.pid))
        child = await launch.launch(shell("exit 0"), place, {})
        assert await child.wait() == Exit(0)
        assert await child.sweep(0) == 0
        assert groups(root) == ["attempt-1-2-b", "attempt-1-3-c"]
        assert (root / "other").exists()
        lives.kill()


# --- the whole program ---

SHOWS = """
[[job]]
id = "shows"
command = ["cat", "/proc/self/cgroup"]
"""


def test_a_run_gives_each_attempt_a_cgroup_and_takes_it_away(tidegate: Tidegate, root: Path) -> None:
    done = tidegate("run", tidegate.batch(SHOWS))
    assert done.returncode == 0, done.stderr
    assert f"/{root.name}/attempt-1-1-" in tidegate("logs", "shows").stdout
    assert groups(root) == []


def test_cgroups_can_be_turned_off(tidegate: Tidegate, root: Path) -> None:
    tidegate.env["TIDEGATE_SUPERVISOR__CGROUPS"] = "off"
    assert tidegate("run", tidegate.batch(SHOWS)).returncode == 0
    assert f"/{root.name}\n" in tidegate("logs", "shows").stdout
    assert diagnosis(tidegate) == "off ([supervisor] cgroups): attempts are followed by session and marks"


def test_the_doctor_tells_where_they_are_made(tidegate: Tidegate, root: Path) -> None:
    assert diagnosis(tidegate) == f"each attempt gets one of its own in {root}"


def diagnosis(tidegate: Tidegate) -> object:
    """What the doctor says of cgroups."""
    return next(found["said"] for found in tidegate.lines("doctor") if found["check"] == "cgroups")


# --- an ordinary user ---

AS_SOMEBODY = """
import anyio, asyncio, ctypes, os, sys
from pathlib import Path
from tidegate import launch

async def main():
    await anyio.sleep(0)
    await (await asyncio.create_subprocess_exec("/bin/true")).wait()  # what is imported late is root's to read
    os.setresuid(54321, 54321, 54321)
    what = launch.Order(argv=("/bin/sh", "-c", sys.argv[2]), cwd=Path("/"), env={"PATH": "/bin:/usr/bin"}, marker="m",
                        cgroup=True)
    child = await launch.launch(what, Path(sys.argv[1]) / "1", {})
    print(launch.cgroup_root(), await child.wait(), await child.sweep(0.2))
    print(open(sys.argv[1] + "/1/stdout.log").read())

asyncio.run(main())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_has_them_where_systemd_has_delegated_one(root: Path) -> None:
    place = Path(tempfile.mkdtemp())  # where another user may go too
    place.chmod(0o777)
    for path in (root, root / "cgroup.procs", root / "cgroup.subtree_control", root / "cgroup.threads"):
        os.chown(path, 54321, 54321)
    script = "(env -i setsid sh -c 'ulimit -Sw unlimited; cat /proc/self/cgroup; sleep 60 & exit' &); sleep 0.2"
    argv = [sys.executable, "-c", AS_SOMEBODY, str(place), script]
    try:
        done = subprocess.run(argv, env={**os.environ, "PYTHONPATH": str(SRC)}, capture_output=True, text=True)
    finally:
        shutil.rmtree(place)
    assert done.stdout.startswith(f"{root} Exit(code=0) 1\n"), done.stdout + done.stderr
    assert f"/{root.name}/attempt-" in done.stdout
    assert groups(root) == []
