"""Real agents under real shims: what they get, how they end, what outlives whom."""

import asyncio
import contextlib
import dataclasses
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import anyio
import pytest
from delegated import delegated

import tidegate
from tidegate import handover, launch
from tidegate.errors import NotLaunched, NotNow
from tidegate.launch import Alive, Child, Ended, Gone, Order, Unstarted, adopt, found, offspring, processes
from tidegate.model import Exit, Interrupted

SRC = Path(tidegate.__file__).parents[1]
SH = "/bin/sh"
PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
ENDED = (Exit(128 + signal.SIGTERM), Exit(128 + signal.SIGKILL))  # without a grace either may come first
ALL_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGQUIT)


def order(*argv: str, cwd: Path = Path("/"), stdin: bytes | None = None, env: Mapping[str, str] = PATH) -> Order:
    marker = f"test/{os.getpid()}/{time.monotonic_ns()}"
    return Order(argv=argv, cwd=cwd, env=env, stdin=stdin, marker=marker, cgroup=True)


def shell(script: str) -> Order:
    return order(SH, "-c", script)


@pytest.fixture(params=["marks", "cgroup"])
def cgroup(request: pytest.FixtureRequest) -> Iterator[Path | None]:
    """Where attempts have cgroups of their own; None where their marks alone tell whose a process is."""
    with delegated() if request.param == "cgroup" else contextlib.nullcontext() as root:
        assert launch.cgroup_root() == root
        yield root


@pytest.fixture
async def place(tmp_path: Path, cgroup: Path | None) -> AsyncIterator[Path]:
    """An attempt's directory; whatever a failing test has left running is ended."""
    directory = tmp_path / "attempts" / "7" / "1"
    yield directory
    with contextlib.suppress(NotLaunched):
        child = await adopt(directory)
        await child.end(0)
        await child.sweep(0)


async def run(what: Order, place: Path) -> tuple[Exit, str]:
    """The agent's end and its standard output."""
    child = await launch.launch(what, place, {})
    exit = await child.wait()
    assert await child.sweep(1) == 0
    return exit, (place / "stdout.log").read_text()


async def until(fact: Callable[[], object], within: float = 10.0) -> None:
    with anyio.fail_after(within):
        while not fact():
            await anyio.sleep(0.005)


def is_running(pid: int) -> bool:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return fields[0] not in "ZX"


async def pid_in(path: Path) -> int:
    """The pid that a process has written about itself."""
    await until(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


# --- what an agent gets ---


async def test_an_attempt_has_its_files_and_nobody_else_may_read_them(place: Path) -> None:
    what = order("/bin/cat", stdin=b"question")
    exit, said = await run(what, place)
    assert (exit, said) == (Exit(0), "question")
    names = {"attempt.json", "lock", "stdin", "stdout.log", "stderr.log"}
    assert {path.name for path in place.iterdir()} == names
    assert {stat.S_IMODE((place / name).stat().st_mode) for name in names} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (place, place.parent, place.parent.parent)} == {0o700}


async def test_the_intent_is_written_with_the_boot_the_marker_and_the_cgroup(place: Path, cgroup: Path | None) -> None:
    what = order("/bin/true")
    child = await launch.launch(what, place, {"job": 7, "argv": ["/bin/true"]})
    intent = json.loads((place / "attempt.json").read_text())
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    made = [str(path) for path in cgroup.glob("attempt-7-1-*")] if cgroup else []
    where = {"cgroup": made[0]} if cgroup else {}
    assert intent == {"job": 7, "argv": ["/bin/true"], "boot_id": boot, "marker": what.marker, **where}
    assert await child.wait() == Exit(0)


@pytest.mark.parametrize("code", [0, 1, 3, 75, 126, 127, 128, 255])
async def test_exit_codes_are_told(place: Path, code: int) -> None:
    assert (await run(shell(f"exit {code}"), place))[0] == Exit(code)


@pytest.mark.parametrize("number", ALL_SIGNALS)
async def test_a_signal_is_told_as_a_shell_tells_it(place: Path, number: signal.Signals) -> None:
    assert (await run(shell(f"echo oh >&2; kill -{number.value} $$"), place))[0] == Exit(128 + number)
    word = f"{signal.strsignal(number)}\n"
    assert (place / "stderr.log").read_text().removesuffix(word) == "oh\n"


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
async def test_a_signal_to_a_whole_unit_is_not_for_the_agent(
    place: Path, cgroup: Path | None, number: signal.Signals
) -> None:
    exit = (await run(shell(f"kill -{number.value} $$"), place))[0]
    assert exit == Exit(0 if cgroup else 128 + number)


async def test_the_environment_is_what_was_ordered_and_the_marker(place: Path) -> None:
    env = {**PATH, "EMPTY": "", "LINES_": "a\nb", "PS1": "> ", "ENV": "/etc/profile"}
    what = Order(argv=("env", "-0"), cwd=Path("/"), env={**env, "BYTES": "\udcff", "LC_ALL": "C"}, marker="m/ä/1")
    got = dict(entry.split(b"=", 1) for entry in (await run_bytes(what, place)).split(b"\0")[:-1])
    got.pop(b"PWD", None)  # some shells add where they are
    expected = {**what.env, "TIDEGATE_ATTEMPT": "m/ä/1"}
    assert got == {os.fsencode(name): os.fsencode(value) for name, value in expected.items()}


async def run_bytes(what: Order, place: Path) -> bytes:
    child = await launch.launch(what, place, {})
    assert await child.wait() == Exit(0)
    return (place / "stdout.log").read_bytes()


async def test_arguments_arrive_as_they_are(place: Path) -> None:
    given = ["", " ", "a b", "$HOME", "`id`", "$(id)", "'", '"', "\\", "\n", "*", "-n", "--", "ä", "\udcff", "!x"]
    said = await run_bytes(order(sys.executable, "-c", "import sys; print(ascii(sys.argv[1:]))", *given), place)
    assert said.decode().strip() == ascii(given)


@pytest.mark.parametrize("name", ["echo", "printf", "test", "kill"])
async def test_a_command_named_like_a_shell_builtin_is_the_program(place: Path, name: str, tmp_path: Path) -> None:
    program = tmp_path / name
    program.write_text("#!/bin/sh\necho program $0 $*\n")
    program.chmod(0o755)
    _, said = await run(order(name, "x", env={"PATH": f"{tmp_path}:/bin:/usr/bin"}), place)
    assert said == f"program {program} x\n"


@pytest.mark.parametrize("name", ["exit", "eval", ".", "exec", "for"])
async def test_the_shells_own_words_are_no_programs(place: Path, name: str) -> None:
    with pytest.raises(NotLaunched, match=r"no such program|not a program"):
        await launch.launch(order(name, "echo hello"), place, {})


async def test_without_input_the_agent_reads_the_end_at_once(place: Path) -> None:
    assert await run(order("/bin/cat"), place) == (Exit(0), "")


async def test_large_input_arrives_whole(place: Path) -> None:
    text = os.urandom(2_500_000).hex().encode()
    assert await run_bytes(order("/bin/cat", stdin=text), place) == text


async def test_the_agent_works_where_it_was_told(place: Path, tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\npwd -P\n")
    (tmp_path / "tool").chmod(0o755)
    assert (await run(order("./tool", cwd=tmp_path), place))[1] == f"{tmp_path.resolve()}\n"


async def test_programs_are_looked_up_as_the_child_would(place: Path, tmp_path: Path) -> None:
    for name, mode in (("a", 0o644), ("b", 0o755)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "agent").write_text(f"#!/bin/sh\necho {name}\n")
        (tmp_path / name / "agent").chmod(mode)
    (tmp_path / "c" / "agent").mkdir(parents=True)
    assert (await run(order("agent", cwd=tmp_path, env={"PATH": "nowhere:c:a:b"}), place))[1] == "b\n"


async def test_a_relative_directory_is_meant_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    child = await launch.launch(order("/bin/cat", stdin=b"x"), Path("here"), {})
    monkeypatch.chdir("/")
    assert await child.wait() == Exit(0)
    assert (tmp_path / "here" / "stdout.log").read_text() == "x"


async def test_the_agent_leads_no_session_of_ours_and_holds_no_file_of_ours(place: Path) -> None:
    code = "import os; print(os.getsid(0), sorted(map(int, os.listdir('/proc/self/fd')))[:-1])"
    child = await launch.launch(order(sys.executable, "-c", code), place, {})
    assert await child.wait() == Exit(0)
    assert (place / "stdout.log").read_text() == f"{child.pid} [0, 1, 2]\n"
    assert child.pid != os.getsid(0)


async def test_output_is_appended_also_where_two_write(place: Path) -> None:
    script = "for n in 1 2 3 4; do (for m in 1 2 3 4 5 6 7 8 9; do echo line; done) & done; wait"
    assert (await run(shell(script), place))[1] == "line\n" * 36


async def test_no_thread_is_started(place: Path) -> None:
    before = threading.active_count()
    child = await launch.launch(shell("sleep 0.1"), place, {})
    assert threading.active_count() == before
    assert await child.wait() == Exit(0)


# --- what cannot be launched ---


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    place = tmp_path / "programs"
    place.mkdir()
    texts = {"plain": "hello", "lost": "#!/no/such/python\n", "dos": "#!/bin/sh\r\n", "node": "#!/usr/bin/env nodeee\n"}
    for name, text in texts.items():
        (place / name).write_text(text)
        (place / name).chmod(0o644 if name == "plain" else 0o755)
    (place / "folder").mkdir()
    return place


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ((), "no command"),
        (("",), r"no such program:  \(PATH is HERE\)"),
        (("foo",), r"no such program: foo \(PATH is HERE\)"),
        (("./foo",), "no such program: ./foo"),
        (("/no/such/foo",), "no such program: /no/such/foo"),
        (("./plain",), "not executable: HERE/plain"),
        (("plain",), "not executable: HERE/plain"),
        (("./folder",), "not a program: ./folder"),
        (("folder",), r"no such program: folder \(PATH is HERE\)"),
        (("lost",), "bad interpreter: '/no/such/python' .named by HERE/lost."),
        (("dos",), r"bad interpreter: '/bin/sh\\r' .named by HERE/dos."),
        (("node",), r"bad interpreter: no such program: nodeee \(PATH is HERE\) \(named by HERE/node\)"),
        (("/bin/true", "x" * 140_000), "argument list too long"),
        (("/bin/true", "a\0b"), "cannot launch /bin/true: embedded null byte"),
        (("/bin/true", "\ud800"), "cannot launch /bin/true: .*surrogates not allowed"),
    ],
)
async def test_what_cannot_be_launched_is_named(
    place: Path, programs: Path, argv: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(NotLaunched, match=reason.replace("HERE", str(programs))):
        await launch.launch(order(*argv, cwd=programs, env={"PATH": str(programs)}), place, {})
    assert found(place) == Unstarted()


async def test_directories_that_cannot_be_worked_in_are_named(place: Path, programs: Path) -> None:
    for cwd, reason in ((programs / "nope", "no such directory"), (programs / "plain", "not a directory")):
        with pytest.raises(NotLaunched, match=f"{reason}: {cwd}"):
            await launch.launch(order("/bin/true", cwd=cwd), place, {})


async def test_a_variable_that_cannot_be_is_named(place: Path) -> None:
    with pytest.raises(NotLaunched, match="illegal environment variable name"):
        await launch.launch(order("/bin/true", env={"A=B": "c"}), place, {})


async def test_a_state_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotLaunched, match=r"cannot launch /bin/true: Not a directory \(.*file/1"):
        await launch.launch(order("/bin/true"), tmp_path / "file" / "1", {})


async def test_out_of_descriptors_can_pass(place: Path) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)  # the lowest number that is free: one more can be opened, and no second
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, most[1]))
    try:
        with pytest.raises(NotNow, match="out of file descriptors"):
            await launch.launch(order("/bin/true"), place, {})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, most)
    assert (await run(order("/bin/true"), place))[0] == Exit(0)  # the directory can be used for the next try


AS_SOMEBODY = """
import anyio, asyncio, ctypes, os, resource, sys
from pathlib import Path
from tidegate import launch
from tidegate.errors import NotLaunched, NotNow

async def main():
    await anyio.sleep(0)
    await (await asyncio.create_subprocess_exec('/bin/true')).wait()
    {limit}
    if os.geteuid() == 0: os.setresuid(54321, 54321, 54321)
    what = launch.Order(argv=('{program}',), cwd=Path('/'), env={{'PATH': sys.argv[1] + '/closed:/bin'}}, marker='m')
    try: child = await launch.launch(what, Path(sys.argv[1]) / '1', {{}})
    except NotLaunched as error: print(type(error).__name__, error)
    else: print(await child.wait(), await child.sweep(1))

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("program", "limit", "said"),
    [
        (
            "/bin/true",
            "resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))",
            "NotNow cannot launch /bin/true: out of proc",
        ),
        ("true", "", "Exit(code=0) 0"),
        ("nope", "", "NotLaunched no such program: nope (PATH is "),
        ("CLOSED/x", "", "NotLaunched no such program: "),
    ],
)
def test_an_ordinary_user_meets_limits_and_closed_directories(program: str, limit: str, said: str) -> None:
    place = Path(tempfile.mkdtemp())  # where another user may go too
    place.chmod(0o777)
    (place / "closed").mkdir(0o000)
    try:
        code = AS_SOMEBODY.format(limit=limit, program=program.replace("CLOSED", f"{place}/closed"))
        done = python(code, str(place))
    finally:
        shutil.rmtree(place)
    assert done.stdout.startswith(said), done.stdout + done.stderr


def python(code: str, *args: str) -> "subprocess.CompletedProcess[str]":
    argv = [sys.executable, "-W", "error", "-c", code, *args]
    return subprocess.run(argv, env={**os.environ, "PYTHONPATH": str(SRC)}, capture_output=True, text=True, timeout=30)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system may not be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


async def test_a_full_disk_can_pass(small_disk: Path) -> None:
    (small_disk / "filling").write_bytes(b"x" * 65_536)
    with pytest.raises(NotNow, match="No space left on device"):
        await launch.launch(order("/bin/true"), small_disk / "1", {})
    assert found(small_disk / "1") == Unstarted()


async def test_an_agent_that_fills_the_disk_keeps_its_exit_status(small_disk: Path) -> None:
    child = await launch.launch(shell("head -c 1000000 /dev/zero; exit 7"), small_disk / "1", {})
    assert await child.wait() == Exit(7)


async def test_nothing_is_written_where_a_link_leads(place: Path, tmp_path: Path) -> None:
    """An agent may have put it there for its job's next attempt."""
    (tmp_path / "precious").write_text("kept")
    place.mkdir(parents=True)
    for name in ("stdout.log", "attempt.json"):
        (place / name).symlink_to(tmp_path / "precious")
        with pytest.raises(NotLaunched, match="symbolic links"):
            await run(shell("echo gone"), place)
        (place / name).unlink()
    for name in ("asked", "rest"):
        (place / name).symlink_to(tmp_path / "precious")
    handover.write_asked(place, Interrupted(reason="gone"))
    handover.write_rest(place, handover.Rest())
    assert (tmp_path / "precious").read_text() == "kept"


async def test_a_directory_launches_once(place: Path) -> None:
    child = await launch.launch(shell("sleep 60"), place, {})
    before = (place / "attempt.json").read_text()
    with pytest.raises(NotLaunched, match=f"an agent is running in {place}"):
        await launch.launch(order("/bin/true"), place, {})
    assert (place / "attempt.json").read_text() == before
    await child.end(0)
    assert await child.wait() in ENDED
    with pytest.raises(NotLaunched, match=f"an agent has run in {place}"):
        await launch.launch(order("/bin/true"), place, {})


def slow(monkeypatch: pytest.MonkeyPatch, *, before: str) -> None:
    """Let shims think for a while before they do this."""
    thinking = "n=0; while [ $n -lt 60000 ]; do n=$((n + 1)); done\n"
    assert before in launch.SHIM
    monkeypatch.setattr(launch, "SHIM", launch.SHIM.replace(before, thinking + before))


async def test_an_agent_that_is_ended_before_it_began_is_ended(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(monkeypatch, before='"$@" 2>&8')
    child = await launch.launch(shell("sleep 60"), place, {})
    await child.end(5)
    assert await child.wait() == Exit(143)


async def test_a_shim_is_adopted_before_it_has_written_its_pid(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow(monkeypatch, before="echo $$ >&9")
    child = await launch.launch(shell("sleep 0.1; exit 3"), place, {})
    assert found(place) == Alive(None)
    again = await adopt(place)
    assert again.pid == child.pid
    assert {await again.wait(), await child.wait()} == {Exit(3)}


async def test_a_launch_is_not_cancelled_in_its_middle(place: Path) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        child = await launch.launch(shell("sleep 60"), place, {})
    await until(lambda: found(place) == Alive(child.pid))
    await child.end(0)


# --- how it ends ---


async def test_several_may_wait_and_a_cancelled_wait_ends_nothing(place: Path) -> None:
    child = await launch.launch(shell("sleep 0.3; exit 5"), place, {})
    with anyio.move_on_after(0.01) as cancelled:
        await child.wait()
    assert cancelled.cancelled_caught
    assert set(await asyncio.gather(child.wait(), child.wait())) == {Exit(5)}
    assert await child.wait() == Exit(5)


async def test_what_does_not_hear_term_because_it_is_not_yet_the_agent_is_told_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = launch.SHIM.replace('"$@" 2>', '(trap "" TERM; sleep 0.3; trap - TERM; "$@") 2>')
    assert late != launch.SHIM
    monkeypatch.setattr(launch, "SHIM", late)
    child = await launch.launch(shell("exec sleep 60"), place, {})
    await until(lambda: len(processes_of(child)) >= 1)
    with anyio.fail_after(15):
        await child.end(60)
        assert await child.wait() == Exit(143)


async def test_term_lets_the_agent_end_in_its_own_way(place: Path) -> None:
    child = await launch.launch(shell("trap 'echo bye; exit 9' TERM; echo up; while :; do sleep 0.01; done"), place, {})
    await until((place / "stdout.log").read_text)
    await child.end(10)
    assert await child.wait() == Exit(9)
    assert (place / "stdout.log").read_text() == "up\nbye\n"
    assert await child.sweep(1) == 0


async def test_an_agent_that_ignores_term_is_killed_after_the_grace(place: Path) -> None:
    child = await launch.launch(shell("trap '' TERM; echo up; while :; do sleep 0.05; done"), place, {})
    await until((place / "stdout.log").read_text)
    began = time.monotonic()
    await child.end(0.3)
    assert time.monotonic() - began >= 0.3
    assert await child.wait() == Exit(137)
    assert await child.sweep(1) == 0


async def test_a_stopped_agent_is_ended(place: Path) -> None:
    child = await launch.launch(shell("echo $$; kill -STOP $$"), place, {})
    pid = await pid_in(place / "stdout.log")
    await until(lambda: processes.process_of(pid) is not None and processes.process_of(pid).state == "T")  # type: ignore[union-attr]
    await child.end(10)
    assert await child.wait() == Exit(143)


async def test_what_is_forked_while_the_agent_is_ended_is_ended_too(place: Path) -> None:
    pidfile = place / "late"
    script = f"trap 'setsid sh -c \"trap : TERM; echo \\$\\$ >{pidfile}; while :; do sleep 1; done\" & exit 1' TERM; "
    child = await launch.launch(shell(script + "echo up; while :; do sleep 0.01; done"), place, {})
    await until((place / "stdout.log").read_text)
    await child.end(0.5)
    assert await child.wait() == Exit(1)
    await child.sweep(0)
    assert not pidfile.exists() or not is_running(int(pidfile.read_text() or "0"))


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "PIPE", "ALRM", "TERM", "USR1", "USR2"])
async def test_an_agent_that_signals_its_whole_group_keeps_its_status(place: Path, name: str) -> None:
    child = await launch.launch(shell(f"trap : {name}; kill -{name} 0; sleep 0.05; exit 6"), place, {})
    assert await child.wait() == Exit(6)


async def test_a_killed_shim_takes_the_agent_along(place: Path) -> None:
    child = await launch.launch(shell("echo $$; setsid sleep 60 & exec sleep 60"), place, {})
    agent = await pid_in(place / "stdout.log")
    os.kill(child.pid, signal.SIGKILL)
    assert await child.wait() == Exit(None)
    assert not is_running(agent)
    assert found(place) == Gone("the shim was killed")
    assert processes_of(child) == []


async def test_an_agent_that_kills_its_shim_is_ended(place: Path) -> None:
    child = await launch.launch(shell("kill -9 $PPID; echo $$; exec sleep 60"), place, {})
    agent = await pid_in(place / "stdout.log")
    assert await child.wait() == Exit(None)
    assert not is_running(agent)


async def test_an_agent_that_kills_its_whole_group_is_over(place: Path) -> None:
    child = await launch.launch(shell("kill -9 0"), place, {})
    assert await child.wait() == Exit(None)
    assert await child.sweep(1) == 0


def processes_of(child: Child) -> list[int]:
    """Living processes that carry the attempt's mark, the shim too."""
    entry = f"{processes.MARK}={child.marker}".encode()
    pids = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry in (path / "environ").read_bytes()) or processes.tag_of(int(path.name)) == child.tag:
                    pids.append(int(path.name))
    return [pid for pid in pids if is_running(pid)]


# --- what it leaves behind ---

STAYS = "echo $$ >{file}.new; mv {file}.new {file}; while :; do sleep 1; done"
LEFTOVERS = {
    "plain": "sh -c '{stays}' &",
    "session": "setsid sh -c '{stays}' &",
    "double fork": "(setsid sh -c 'sh -c \"$0\" & exit' '{stays}' &)",
    "clean environment": "(env -i setsid sh -c 'sh -c \"$0\" & exit' '{stays}' &)",
    "deaf": "(setsid sh -c 'trap \"\" TERM HUP; {stays}' &)",
    "closed descriptors": "(setsid sh -c '{stays}' <&- >&- 2>&- &)",
    "in another place": "(cd / && exec setsid sh -c '{stays}' &)",
}


def leaving(kind: str, file: Path, then: str = "exit 3") -> Order:
    stays = STAYS.format(file=file)
    return shell(LEFTOVERS[kind].format(stays=stays) + f"\nwhile ! [ -e {file} ]; do sleep 0.01; done; {then}")


@pytest.mark.parametrize("kind", LEFTOVERS)
async def test_what_an_agent_leaves_behind_is_ended(place: Path, tmp_path: Path, kind: str) -> None:
    child = await launch.launch(leaving(kind, tmp_path / "pid"), place, {})
    assert await child.wait() == Exit(3)
    left = int((tmp_path / "pid").read_text())
    assert is_running(left)
    assert found(place) == Ended(Exit(3))  # it does not hold the lock
    assert await child.sweep(0.5) >= 1
    assert not is_running(left)
    assert processes_of(child) == []


@pytest.mark.parametrize("kind", LEFTOVERS)
async def test_an_agent_is_ended_with_all_that_it_has_started(place: Path, tmp_path: Path, kind: str) -> None:
    child = await launch.launch(leaving(kind, tmp_path / "pid", "sleep 60"), place, {})
    left = await pid_in(tmp_path / "pid")
    await child.end(0.5)
    assert not is_running(left)
    assert await child.wait() == Exit(143)
    assert processes_of(child) == []


@pytest.mark.parametrize("kind", ["plain", "session", "double fork"])
async def test_where_the_shell_knows_no_such_limit_the_environment_tells(
    place: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "SHIM", launch.SHIM.replace("ulimit", "no-such-command"))
    child = await launch.launch(leaving(kind, tmp_path / "pid"), place, {})
    assert await child.wait() == Exit(3)
    left = int((tmp_path / "pid").read_text())
    assert processes.tag_of(left) is None
    assert await child.sweep(0.5) >= 1
    assert not is_running(left)


async def test_a_child_that_is_forked_while_the_processes_are_looked_at_is_ended_too(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "go")
    forks = f"read _ <{tmp_path}/go; sleep 60 & echo $! >{tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid"
    marked = dataclasses.replace(shell(f"(setsid sh -c '{forks}' & echo $! >{tmp_path}/parent)"), cgroup=False)
    child = await launch.launch(marked, place, {})
    assert await child.wait() == Exit(0)
    parent = int((tmp_path / "parent").read_text())
    listed = processes.all_pids

    def while_it_forks() -> list[int]:
        pids = listed()
        if not (tmp_path / "pid").exists():
            (tmp_path / "go").write_text("\n")
            while not (tmp_path / "pid").exists() or is_running(parent):
                time.sleep(0.001)
        return pids

    monkeypatch.setattr(processes, "all_pids", while_it_forks)
    await child.sweep(0.5)
    assert not is_running(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize("program", [["sh"], ["bash"], ["busybox", "sh"]])  # mksh counts limits in 32 bits: no mark
def test_the_shim_is_the_same_in_every_shell(tmp_path: Path, program: list[str]) -> None:
    if not shutil.which(program[0]):
        pytest.skip(f"no {program[0]} here")
    script = "grep 'Max file locks' /proc/self/limits; ls /proc/self/fd; cat; echo oh >&2; kill -9 $$"
    (tmp_path / "in").write_text("input\n")
    with (
        (tmp_path / "lock").open("a+") as lock,
        (tmp_path / "out").open("a") as out,
        (tmp_path / "err").open("a") as err,
    ):
        argv = [*program, "-c", launch.SHIM, "shim", str(tmp_path / "in"), "281474976710657", "", SH, "-c", script]
        shim = subprocess.Popen(argv, stdin=lock, stdout=out, stderr=err)
        assert shim.wait(10) == 137, "which counts where an agent has spoilt the file"
    assert (tmp_path / "lock").read_text() == f"{shim.pid}\n137\n"
    said = "Max file locks 281474976710657 unlimited locks 0 1 2 3 input"
    assert (tmp_path / "out").read_text().split() == said.split()
    assert (tmp_path / "err").read_text().removesuffix("Killed\n") == "oh\n"


async def test_neighbours_and_other_children_are_left_alone(place: Path, tmp_path: Path) -> None:
    stranger = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
    dead = subprocess.Popen(["/bin/sh", "-c", "exit 5"])
    neighbour = await launch.launch(leaving("double fork", tmp_path / "pid", "sleep 60"), place.parent / "2", {})
    daemon = await pid_in(tmp_path / "pid")
    child = await launch.launch(leaving("clean environment", tmp_path / "pid2"), place, {})
    assert await child.wait() == Exit(3)
    assert await child.sweep(0.5) >= 1
    assert is_running(daemon)
    assert is_running(neighbour.pid)
    assert is_running(stranger.pid)
    assert dead.wait() == 5
    stranger.kill()
    assert stranger.wait() == -9
    await neighbour.end(0)
    assert not is_running(daemon)
    assert await neighbour.wait() in ENDED


async def test_dead_orphans_are_buried_while_the_agent_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offspring, "ORPHANS", 0.05)
    monkeypatch.setattr(offspring.family, "_timer", None)
    orphan = "(setsid sh -c 'sleep 0.05 & echo $!' &)"
    child = await launch.launch(shell(f"{orphan}; sleep 60"), place, {})
    pid = await pid_in(place / "stdout.log")
    await until(lambda: not Path(f"/proc/{pid}").exists())
    await child.end(0)
    await child.wait()


async def test_an_orphan_that_is_dead_only_after_its_attempt_was_left_is_buried_too(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offspring, "ORPHANS", 0.05)
    monkeypatch.setattr(offspring.family, "_timer", None)
    with monkeypatch.context() as early:
        early.setattr(offspring.family, "reap", lambda: None)  # all looks came a moment too early
        child = await launch.launch(shell("(setsid sh -c 'echo $$; exec sleep 60' &) ; sleep 0.2"), place, {})
        await child.wait()
        await child.sweep(1)
    pid = int((place / "stdout.log").read_text())
    await until(lambda: not Path(f"/proc/{pid}").exists())


def children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


async def test_many_at_once_leave_nothing(tmp_path: Path, cgroup: Path | None) -> None:
    codes: dict[int, Exit] = {}
    files, others = len(list(Path("/proc/self/fd").iterdir())), children()

    async def one(n: int) -> None:
        child = await launch.launch(shell(f"exit {n}"), tmp_path / str(n), {"n": n})
        codes[n] = await child.wait()
        assert await child.sweep(1) == 0

    async with anyio.create_task_group() as tasks:
        for n in range(120):
            tasks.start_soon(one, n)
    assert codes == {n: Exit(n) for n in range(120)}
    known = [*offspring.family._shims.values(), *offspring.family._unswept]
    assert not [child for child in known if child.directory.is_relative_to(tmp_path)]
    await until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= files + 3)
    assert not [pid for pid in children() - others if processes.tag_of(pid) is not None]
    assert not (cgroup and list(cgroup.glob("attempt-*")))


# --- while it runs ---


async def test_processor_time_tells_work_from_sleep(place: Path) -> None:
    busy = await launch.launch(shell("sh -c 'while :; do :; done'; :"), place, {})
    await until(lambda: busy.cpu() > 0.05)
    asleep = await launch.launch(shell("sleep 60; :"), place.parent / "2", {})
    await anyio.sleep(0.2)
    assert asleep.cpu() < 0.05
    for child in (busy, asleep):
        await child.end(0)
        assert await child.wait() in ENDED
    assert busy.cpu() == 0


async def test_a_frozen_agent_stands_still_until_it_thaws(place: Path) -> None:
    script = "setsid sh -c 'while :; do echo x; sleep 0.01; done' & while :; do echo y; sleep 0.01; done"
    child = await launch.launch(shell(script), place, {})
    log = place / "stdout.log"
    await until(lambda: set(log.read_text()) >= {"x", "y"})
    await child.freeze()
    size = log.stat().st_size
    await anyio.sleep(0.1)
    assert log.stat().st_size == size
    await child.thaw()
    await until(lambda: log.stat().st_size > size)
    await child.freeze()
    await child.end(10)
    assert await child.wait() == Exit(143)


# --- after a restart ---

SUPERVISOR = """
import asyncio, os, sys
from pathlib import Path
from tidegate import launch

async def main():
    argv, env = ("/bin/sh", "-c", sys.argv[2]), {"PATH": os.environ["PATH"]}
    what = launch.Order(argv=argv, cwd=Path("/"), env=env, marker=sys.argv[3], cgroup=True)
    child = await launch.launch(what, Path(sys.argv[1]), {})
    print(child.pid, flush=True)
    THEN

asyncio.run(main())
AFTER
"""


async def supervised(
    place: Path, script: str, *, then: str = "await child.wait()", after: str = ""
) -> "tuple[subprocess.Popen[str], int]":
    """A supervisor of its own process that has launched an agent, and the shim's pid."""
    code = SUPERVISOR.replace("THEN", then).replace("AFTER", after)
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, str(place), script, f"{place}/{time.monotonic_ns()}"],
        env={**os.environ, "PYTHONPATH": str(SRC)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    shim = int(await anyio.to_thread.run_sync(process.stdout.readline))
    return process, shim


def kill(process: "subprocess.Popen[str]") -> str:
    """Kill a supervisor as a crash does; what it said on stderr."""
    process.kill()
    return process.communicate()[1]


def to_go(place: Path) -> str:
    """The words of an agent that works until it may go."""
    return f"while [ ! -e {place}/go ]; do sleep 0.02; done"


async def test_an_agent_outlives_a_killed_supervisor_and_is_adopted(place: Path) -> None:
    script = f"n=0; while [ $n -lt 60 ]; do echo line $n; n=$((n + 1)); sleep 0.01; done; {to_go(place)}; exit 42"
    process, shim = await supervised(place, script)
    kill(process)
    await until(lambda: found(place) == Alive(shim))
    child = await adopt(place)
    (place / "go").touch()
    assert child.pid == shim
    assert await child.wait() == Exit(42)
    assert await child.sweep(1) == 0
    assert (place / "stdout.log").read_text().split("\n")[:-1] == [f"line {n}" for n in range(60)]
    assert found(place) == Ended(Exit(42))


@pytest.mark.parametrize(
    ("then", "after"),
    [
        ("return", ""),
        ("return", "sys.exit(0)"),
        ("raise SystemExit(0)", ""),
        ("asyncio.get_running_loop().call_later(0.05, lambda: os.kill(os.getpid(), 2)); await child.wait()", ""),
        ("return", "import gc; gc.collect(); os.execv('/bin/true', ['true'])"),
        ("os._exit(0)", ""),
    ],
)
async def test_an_agent_outlives_an_ordinary_exit_of_its_supervisor(place: Path, then: str, after: str) -> None:
    process, shim = await supervised(place, f"{to_go(place)}; exit 42", then=then, after=after)
    said = await anyio.to_thread.run_sync(lambda: process.communicate()[1])
    assert "Warning" not in said
    await until(lambda: found(place) == Alive(shim))
    child = await adopt(place)
    (place / "go").touch()
    assert await child.wait() == Exit(42)


async def test_an_agent_that_ended_in_between_is_found_with_its_status(place: Path) -> None:
    process, shim = await supervised(place, "sleep 0.1; exit 9")
    kill(process)
    await until(lambda: found(place) == Ended(Exit(9)))
    child = await adopt(place)
    assert (child.pid, await child.wait()) == (shim, Exit(9))
    assert await child.sweep(1) == 0


@pytest.mark.slow
async def test_adopting_in_the_instant_of_the_end_never_misses_it(place: Path) -> None:
    for n in range(12):
        process, _ = await supervised(place / str(n), f"sleep 0.{n:02}; exit {n}")
        kill(process)
        child = await adopt(place / str(n))
        with anyio.fail_after(10):
            assert await child.wait() == Exit(n)


async def test_an_agent_whose_shim_died_in_between_is_ended_before_it_is_called_gone(place: Path) -> None:
    process, shim = await supervised(place, "echo $$; exec setsid sleep 60")
    agent = await pid_in(place / "stdout.log")
    kill(process)
    os.kill(shim, signal.SIGKILL)
    await until(lambda: found(place) == Gone("the shim was killed"))
    assert is_running(agent)
    child = await adopt(place)
    assert await child.wait() == Exit(None)
    assert not is_running(agent)


@pytest.mark.parametrize("kind", LEFTOVERS)
async def test_what_an_adopted_agent_leaves_behind_is_ended(place: Path, tmp_path: Path, kind: str) -> None:
    script = leaving(kind, tmp_path / "pid", "sleep 0.3; exit 3").argv[2]
    process, _ = await supervised(place, script)
    left = await pid_in(tmp_path / "pid")
    kill(process)
    child = await adopt(place)
    assert await child.wait() == Exit(3)
    assert is_running(left)
    assert await child.sweep(0.5) >= 1
    assert not is_running(left)
    assert processes_of(child) == []


@pytest.mark.parametrize("kind", LEFTOVERS)
async def test_what_was_left_behind_while_nobody_supervised_is_ended(place: Path, tmp_path: Path, kind: str) -> None:
    process, _ = await supervised(place, leaving(kind, tmp_path / "pid", "sleep 0.1").argv[2])
    left = await pid_in(tmp_path / "pid")
    kill(process)
    await until(lambda: found(place) == Ended(Exit(0)))
    child = await adopt(place)
    assert await child.wait() == Exit(0)
    assert await child.sweep(0.5) >= 1
    assert not is_running(left)


async def test_an_adopted_agent_is_ended_with_its_tree(place: Path, tmp_path: Path) -> None:
    process, shim = await supervised(place, leaving("clean environment", tmp_path / "pid", "sleep 60").argv[2])
    left = await pid_in(tmp_path / "pid")
    kill(process)
    child = await adopt(place)
    await child.end(2)
    assert not is_running(left)
    assert not is_running(shim)
    assert await child.wait() == Exit(143)


async def test_an_adopted_agent_that_is_let_go_runs_on(place: Path) -> None:
    process, shim = await supervised(place, "sleep 0.5; exit 8")
    kill(process)
    files = len(list(Path("/proc/self/fd").iterdir()))
    child = await adopt(place)
    child.let_go()
    assert len(list(Path("/proc/self/fd").iterdir())) == files
    again = await adopt(place)
    assert again.pid == shim
    assert await again.wait() == Exit(8)


async def test_a_program_that_replaces_itself_adopts_its_own_children(place: Path, tmp_path: Path) -> None:
    second = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from tidegate import launch\n"
        "async def main():\n"
        "    child = await launch.adopt(Path(sys.argv[1]))\n"
        "    print((await child.wait()).code, await child.sweep(0.5), flush=True)\n"
        "asyncio.run(main())\n"
    )
    after = f"os.execv(sys.executable, [sys.executable, '-W', 'error', '-c', {second!r}, sys.argv[1]])"
    script = leaving("clean environment", tmp_path / "pid", "sleep 0.4; exit 11").argv[2]
    process, _ = await supervised(place, script, then="return", after=after)
    said, wrong = await anyio.to_thread.run_sync(process.communicate)
    assert said.split()[0] == "11", wrong
    assert int(said.split()[1]) >= 1
    assert not is_running(await pid_in(tmp_path / "pid"))


async def test_a_restart_of_the_machine_is_noticed(place: Path) -> None:
    child = await launch.launch(shell("exit 0"), place, {})
    await child.wait()
    rewrite(place, boot_id="another")
    assert found(place) == Gone("the machine was restarted")
    child = await adopt(place)
    assert await child.wait() == Exit(None)
    assert await child.sweep(1) == 0


def rewrite(place: Path, **changes: object) -> None:
    intent: Mapping[str, object] = json.loads((place / "attempt.json").read_text())
    (place / "attempt.json").write_text(json.dumps({**intent, **changes}))


async def test_a_pid_that_somebody_else_has_got_since_is_left_alone(place: Path) -> None:
    child = await launch.launch(order("/bin/true"), place, {})
    await child.wait()
    innocent = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True)
    (place / "lock").write_text(f"{innocent.pid}\n")  # as a killed shim leaves it
    assert found(place) == Gone("the shim was killed")
    again = await adopt(place)
    assert await again.wait() == Exit(None)
    await again.end(0)
    await again.sweep(0)
    assert innocent.poll() is None
    innocent.kill()
    innocent.wait()


async def test_what_never_started_can_be_started(place: Path) -> None:
    assert found(place) == Unstarted()
    assert not launch.was_started(place)
    place.mkdir(parents=True)
    (place / "attempt.json").write_text("{")
    (place / "lock").touch()
    assert found(place) == Unstarted()
    with pytest.raises(NotLaunched, match="never started"):
        await adopt(place)
    assert (await run(order("/bin/true"), place))[0] == Exit(0)
    assert launch.was_started(place)


async def test_looking_does_not_disturb(place: Path) -> None:
    child = await launch.launch(shell("sleep 0.2"), place, {})
    seen = {type(found(place)) for _ in range(200)}
    assert seen == {Alive}
    assert await child.wait() == Exit(0)


async def test_an_attempt_is_watched_by_one_process_at_a_time_and_told_to_none_twice(place: Path) -> None:
    """Two adopters both learn the same end: deciding who owns it is the store's business."""
    process, _ = await supervised(place, "sleep 0.3; exit 5")
    kill(process)
    first, second = await adopt(place), await adopt(place)
    assert set(await asyncio.gather(first.wait(), second.wait())) == {Exit(5)}
