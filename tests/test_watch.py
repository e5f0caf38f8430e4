"""Following real files that are really written: every line once, however long, and soon."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from tidegate import watch
from tidegate.clock import SystemClock
from tidegate.model import Stream
from tidegate.watch import Follow, Watcher

Line = tuple[Stream, bytes, datetime]

OUT, ERR = Stream.STDOUT, Stream.STDERR
SEVERAL_BOUNDS = (1, 5, 1000, 64 * 1024)


@pytest.fixture
def attempt(tmp_path: Path) -> Path:
    for name in ("stdout.log", "stderr.log"):
        (tmp_path / name).touch()
    return tmp_path


def whole(stream: Stream, line: bytes, at: datetime) -> tuple[Line]:
    """The reader of these tests: every line says something, itself."""
    return ((stream, line, at),)


def append(directory: Path, data: bytes, name: str = "stdout.log") -> None:
    with (directory / name).open("ab", buffering=0) as file:
        file.write(data)


@dataclass
class Heard:
    """What a reader has got."""

    follow: Follow[Line]
    lines: list[Line] = field(default_factory=list)
    batches: int = 0

    def of(self, stream: Stream = OUT) -> list[bytes]:
        return [line for which, line, _ in self.lines if which is stream]


async def until(fact: Callable[[], object], within: float = 10.0) -> None:
    with anyio.fail_after(within):
        while not fact():
            await anyio.sleep(0.002)


@asynccontextmanager
async def reading(watcher: Watcher, directory: Path, **options: object) -> AsyncIterator[Heard]:
    async with watcher.follow(directory, whole, **options) as follow, anyio.create_task_group() as tasks:  # type: ignore[arg-type]
        heard = Heard(follow)

        async def read() -> None:
            async for lines in follow:
                heard.lines += lines
                heard.batches += 1

        tasks.start_soon(read)
        yield heard
        tasks.cancel_scope.cancel()


def open_files(kind: str = "") -> int:
    """How many descriptors of this process lead to such a thing."""
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            count += kind in str(link.readlink())
    return count


async def read_all(directory: Path, **options: object) -> Heard:
    """What a follow of finished files gives."""
    async with Watcher(SystemClock()) as watcher, reading(watcher, directory, **options) as heard:
        await heard.follow.drain()
    return heard


async def test_lines_of_both_streams_arrive_while_the_agent_runs(attempt: Path) -> None:
    async with Watcher(SystemClock()) as watcher, reading(watcher, attempt) as heard:
        append(attempt, b"one\ntwo\n")
        append(attempt, b"oops\n", "stderr.log")
        await until(lambda: len(heard.lines) == 3)
        append(attempt, b"three\n")
        await until(lambda: len(heard.lines) == 4)
    assert heard.of(OUT) == [b"one", b"two", b"three"]
    assert heard.of(ERR) == [b"oops"]


async def test_what_was_written_before_the_follow_is_read_first(attempt: Path) -> None:
    append(attempt, b"early\n")
    async with Watcher(SystemClock()) as watcher, reading(watcher, attempt) as heard:
        await until(lambda: heard.of() == [b"early"])


async def test_the_last_line_needs_no_newline(attempt: Path) -> None:
    append(attempt, b"whole\nlast words")
    append(attempt, b"error:", "stderr.log")
    heard = await read_all(attempt)
    assert heard.of(OUT) == [b"whole", b"last words"]
    assert heard.of(ERR) == [b"error:"]


async def test_a_line_is_held_back_until_its_end_comes(attempt: Path) -> None:
    async with Watcher(SystemClock(), gather=0.01) as watcher, reading(watcher, attempt) as heard:
        append(attempt, b"half a ")
        await until(lambda: heard.follow.bytes[OUT] == 7)
        assert heard.lines == []
        append(attempt, b"line\nand")
        await until(lambda: heard.lines)
        assert heard.of() == [b"half a line"]


async def test_carriage_returns_at_the_end_of_a_line_are_dropped_even_in_a_later_slice(attempt: Path) -> None:
    async with Watcher(SystemClock(), gather=0.01) as watcher, reading(watcher, attempt) as heard:
        append(attempt, b"dos\r\n10%\r20%\r\nsplit\r")
        await until(lambda: heard.follow.bytes[OUT] == 20)
        append(attempt, b"\nlast\r")
        await heard.follow.drain()
    assert heard.of() == [b"dos", b"10%\r20%", b"split", b"last"]


async def test_empty_lines_count(attempt: Path) -> None:
    append(attempt, b"\n\na\n\n")
    assert (await read_all(attempt)).of() == [b"", b"", b"a", b""]


async def test_a_3_mb_line_comes_whole_between_its_neighbours(attempt: Path) -> None:
    long = os.urandom(1_500_000).hex().encode()
    append(attempt, b"before\n" + long + b"\nafter\n")
    assert (await read_all(attempt)).of() == [b"before", long, b"after"]


async def test_bytes_that_are_no_utf_8_come_as_they_are(attempt: Path) -> None:
    append(attempt, b"\xff\xfe\x00\x80\n")
    assert (await read_all(attempt)).of() == [b"\xff\xfe\x00\x80"]


@pytest.mark.parametrize("bound", SEVERAL_BOUNDS)
async def test_a_line_over_the_bound_is_cut_there_and_its_neighbours_are_not(attempt: Path, bound: int) -> None:
    long = b"x" * (watch.SLICE * 2 + 7)
    append(attempt, b"a\n" + long + b"\nb\nlong end " + long)
    assert (await read_all(attempt, max_line=bound)).of() == [b"a", long[:bound], b"b", (b"long end " + long)[:bound]]


async def test_memory_stays_bounded_under_a_line_without_end(attempt: Path) -> None:
    async with Watcher(SystemClock()) as watcher, reading(watcher, attempt, max_line=10_000) as heard:
        for _ in range(40):
            append(attempt, b"x" * watch.SLICE)
        await until(lambda: heard.follow.bytes[OUT] == 40 * watch.SLICE)
        assert max(len(tail._kept) for tail in heard.follow._tails) == 10_000


async def test_a_flooding_agent_does_not_keep_others_from_their_turn(tmp_path: Path) -> None:
    flood, quiet = tmp_path / "flood", tmp_path / "quiet"
    for directory in (flood, quiet):
        directory.mkdir()
    append(flood, (b"y" * 99 + b"\n") * 200_000)  # 20 MB: about 80 slices
    append(quiet, b"limit reached\n")
    async with Watcher(SystemClock()) as watcher, reading(watcher, flood) as loud, reading(watcher, quiet) as soft:
        await until(lambda: soft.lines)
        assert len(loud.lines) < 100_000
        await until(lambda: len(loud.lines) == 200_000)
        assert loud.batches >= 70


async def test_those_that_flood_read_a_few_at_a_time_and_all_get_on(tmp_path: Path) -> None:
    turn, turns = 0, [list[int]() for _ in range(30)]

    def counting(place: int) -> Callable[[Stream, bytes, datetime], tuple[()]]:
        return lambda _stream, _line, _at: (turns[place].append(turn), ())[1]  # type: ignore[func-returns-value]

    def next_turn() -> None:
        nonlocal turn
        turn += 1
        asyncio.get_running_loop().call_soon(next_turn)

    async def read_to_the_end(follow: Follow[object]) -> None:
        follow.finish()
        async for _ in follow:
            pass

    async with (
        Watcher(SystemClock()) as watcher,
        contextlib.AsyncExitStack() as stack,
        anyio.create_task_group() as tasks,
    ):
        for n in range(30):
            (tmp_path / str(n)).mkdir()
            append(tmp_path / str(n), (b"y" * 999 + b"\n") * 1000)  # four slices
            follow: Follow[object] = watcher.follow(tmp_path / str(n), counting(n))
            tasks.start_soon(read_to_the_end, await stack.enter_async_context(follow))
        next_turn()
    most = watch.SLICE // 1000 + 1  # lines
    assert {len(lines) for lines in turns} == {1000}
    later = Counter(at for lines in turns for at in lines[most:])  # all begin at once
    assert max(later.values()) <= watch.TURNS * most


async def test_many_writers_lose_and_repeat_no_line(tmp_path: Path) -> None:
    script = "import os,sys\nfor n in range(3000): os.write(1, b'%d %s\\n' % (n, b'z' * (n % 700)))"
    async with Watcher(SystemClock(), gather=0.01) as watcher, anyio.create_task_group() as tasks:
        found: list[list[int]] = []

        async def one(directory: Path) -> None:
            directory.mkdir()
            with (directory / "stdout.log").open("ab") as out:
                process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=out)
            async with reading(watcher, directory) as heard:
                await process.wait()
                await heard.follow.drain()
            found.append([int(line.split()[0]) for line in heard.of()])

        for n in range(6):
            tasks.start_soon(one, tmp_path / str(n))
    assert found == [list(range(3000))] * 6


async def test_between_many_talkers_everything_else_gets_its_turns(tmp_path: Path) -> None:
    turn, read = 0, []

    def counted(stream: Stream, line: bytes, at: datetime) -> tuple[()]:
        read.append(turn)
        return ()

    def next_turn() -> None:
        nonlocal turn
        turn += 1
        asyncio.get_running_loop().call_soon(next_turn)

    async with (
        Watcher(SystemClock()) as watcher,
        contextlib.AsyncExitStack() as stack,
        anyio.create_task_group() as tasks,
    ):
        for n in range(100):
            (tmp_path / str(n)).mkdir()
            (tmp_path / str(n) / "stdout.log").touch()
            follow: Follow[object] = watcher.follow(tmp_path / str(n), counted)
            await stack.enter_async_context(follow)
            tasks.start_soon(anext, follow)
        await until(lambda: len(watcher._follows) == 100)  # all wait
        for n in range(100):
            append(tmp_path / str(n), b"line\n")
        next_turn()
        await until(lambda: len(read) == 100)
        tasks.cancel_scope.cancel()
    assert max(Counter(read).values()) <= watch.SOME


async def test_the_first_line_after_a_calm_is_told_at_once_and_later_ones_are_gathered(attempt: Path) -> None:
    async with Watcher(SystemClock(), gather=1.5) as watcher, reading(watcher, attempt) as heard:
        await anyio.sleep(0.05)
        written = time.perf_counter()
        append(attempt, b"first\n")
        await until(lambda: heard.lines)
        assert time.perf_counter() - written < 1.0
        batches = heard.batches
        for n in range(20):
            append(attempt, b"%d\n" % n)
            await anyio.sleep(0.005)
        assert heard.batches == batches  # they wait
        await until(lambda: len(heard.lines) == 21)
        assert heard.batches == batches + 1


async def test_a_line_waits_less_than_a_tenth_of_a_second_among_many_printers(tmp_path: Path) -> None:
    writer = (
        "import os, sys, time\n"
        "fds = [os.open(f'{sys.argv[1]}/{n}/stdout.log', os.O_WRONLY | os.O_APPEND) for n in range(30)]\n"
        "for n in range(1200):\n"
        "    os.write(fds[n % 30], b'%.6f\\n' % time.time())\n"
        "    time.sleep(0.001)\n"
    )
    waits: list[float] = []
    async with Watcher(SystemClock()) as watcher, anyio.create_task_group() as tasks:

        async def one(follow: Follow[Line]) -> None:
            async for lines in follow:
                waits.extend(time.time() - float(line) for _, line, _ in lines)

        follows = []
        for n in range(30):
            (tmp_path / str(n)).mkdir()
            (tmp_path / str(n) / "stdout.log").touch()
            follows.append(watcher.follow(tmp_path / str(n), whole))
            tasks.start_soon(one, follows[-1])
        process = await asyncio.create_subprocess_exec(sys.executable, "-c", writer, str(tmp_path))
        await process.wait()
        for follow in follows:
            await follow.drain()
    assert len(waits) == 1200
    assert sorted(waits)[600] < 0.1  # the median: the tail belongs to a benchmark on a quiet machine


@dataclass
class SetClock(SystemClock):
    """A clock that shows what it is told."""

    shown: datetime

    def now(self) -> datetime:
        return self.shown


async def test_live_lines_are_dated_now(attempt: Path) -> None:
    async with Watcher(SystemClock()) as watcher, reading(watcher, attempt) as heard:
        before = datetime.now(UTC)
        append(attempt, b"now\n")
        await until(lambda: heard.lines)
        assert before <= heard.lines[0][2] <= datetime.now(UTC)
        assert heard.lines[0][2].utcoffset() == timedelta(0)


async def test_lines_read_late_are_dated_by_their_file(attempt: Path) -> None:
    append(attempt, b"written in the night\nand no end")
    night = datetime(2026, 1, 9, 3, 4, 5, tzinfo=UTC)
    os.utime(attempt / "stdout.log", (night.timestamp(), night.timestamp()))
    heard = await read_all(attempt)
    assert [at for _, _, at in heard.lines] == [night, night]


async def test_a_file_from_the_future_is_dated_now(attempt: Path) -> None:
    append(attempt, b"x\n")
    shown = datetime(2026, 1, 1, tzinfo=UTC)
    async with Watcher(SetClock(shown)) as watcher, reading(watcher, attempt) as heard:
        await until(lambda: heard.lines)
    assert heard.lines[0][2] == shown


async def test_a_later_follow_goes_on_where_whole_lines_ended(attempt: Path) -> None:
    append(attempt, b"one\ntwo\nhal")
    async with Watcher(SystemClock()) as watcher, reading(watcher, attempt) as heard:
        await until(lambda: heard.follow.bytes[OUT] == 11)
        offsets = heard.follow.offsets
    assert offsets == {OUT: 8, ERR: 0}
    append(attempt, b"f\nthree")
    again = await read_all(attempt, offsets=offsets)
    assert again.of() == [b"half", b"three"]
    assert again.follow.offsets == {OUT: 18, ERR: 0}
    assert again.follow.bytes == {OUT: 18, ERR: 0}


async def test_the_time_of_the_last_output_moves_with_output_only(attempt: Path) -> None:
    clock = SystemClock()
    async with Watcher(clock) as watcher, reading(watcher, attempt) as heard:
        began = heard.follow.last_output
        assert began <= clock.monotonic()
        await anyio.sleep(0.02)
        assert heard.follow.last_output == began
        written = clock.monotonic()
        append(attempt, b"no end yet")
        await until(lambda: heard.follow.last_output >= written)


async def test_a_file_that_was_emptied_is_read_from_its_start(attempt: Path) -> None:
    async with Watcher(SystemClock(), gather=0.01) as watcher, reading(watcher, attempt) as heard:
        append(attempt, b"old line\nold half")
        await until(lambda: heard.follow.bytes[OUT] == 17)
        os.truncate(attempt / "stdout.log", 0)
        append(attempt, b"new\n")
        await until(lambda: len(heard.lines) == 2)
    assert heard.of() == [b"old line", b"new"]


async def test_a_file_that_is_deleted_is_read_to_its_end(attempt: Path) -> None:
    async with Watcher(SystemClock(), gather=0.01) as watcher, reading(watcher, attempt) as heard:
        with (attempt / "stdout.log").open("ab", buffering=0) as file:
            file.write(b"before\n")
            await until(lambda: heard.lines)
            (attempt / "stdout.log").unlink()
            file.write(b"after\n")
        await heard.follow.drain()
    assert heard.of() == [b"before", b"after"]


async def test_files_and_directories_that_never_were_give_no_lines(tmp_path: Path) -> None:
    assert (await read_all(tmp_path)).lines == []
    assert (await read_all(tmp_path / "nowhere")).lines == []


async def test_a_file_that_appears_later_is_followed(tmp_path: Path) -> None:
    async with Watcher(SystemClock()) as watcher, reading(watcher, tmp_path) as heard:
        append(tmp_path, b"here I am\n", "stderr.log")
        await until(lambda: heard.of(ERR) == [b"here I am"])


async def test_what_a_left_behind_process_writes_after_the_end_is_not_the_agents(attempt: Path) -> None:
    append(attempt, b"result\n")
    async with Watcher(SystemClock()) as watcher:
        follow = watcher.follow(attempt, whole)
        follow.finish()
        append(attempt, b"server still here\n")
        lines = [line async for batch in follow for _, line, _ in batch]
    assert lines == [b"result"]


async def test_a_follow_ends_once_and_for_all(attempt: Path) -> None:
    append(attempt, b"a")
    async with Watcher(SystemClock()) as watcher:
        follow = watcher.follow(attempt, whole)
        follow.finish()
        assert [len(batch) async for batch in follow] == [1]
        assert [batch async for batch in follow] == []
        follow.finish()
        follow.close()
        await follow.drain()


async def test_closing_the_watcher_ends_its_readers(attempt: Path) -> None:
    ended = anyio.Event()

    async def read(follow: Follow[Line]) -> None:
        async for _ in follow:
            pass
        ended.set()

    async with anyio.create_task_group() as tasks, Watcher(SystemClock()) as watcher:
        tasks.start_soon(read, watcher.follow(attempt, whole))
        await anyio.sleep(0.01)
        assert open_files("inotify") == 1
    assert ended.is_set()
    assert open_files("inotify") == 0


async def test_lines_that_say_nothing_wake_nobody(attempt: Path) -> None:
    def read(_stream: Stream, line: bytes, _at: datetime) -> list[bytes]:
        return [line] if line.startswith(b"!") else []

    async with Watcher(SystemClock(), gather=0.01) as watcher, anyio.create_task_group() as tasks:
        follow = watcher.follow(attempt, read)
        woken: list[list[bytes]] = []

        async def listen() -> None:
            woken.extend([found async for found in follow])

        tasks.start_soon(listen)
        for number in range(5):
            append(attempt, b"chatter\n")
            await until(lambda wanted=8 * (number + 1): follow.bytes[OUT] == wanted)  # type: ignore[misc]
        append(attempt, b"!\nchatter\n")
        await until(lambda: follow.bytes[OUT] == 50)
        await follow.drain()
    assert woken == [[b"!"]]


async def test_a_readers_error_meets_who_waits_for_its_words(attempt: Path) -> None:
    def read(_stream: Stream, line: bytes, _at: datetime) -> list[bytes]:
        raise ValueError(line)

    async with Watcher(SystemClock(), gather=0.01) as watcher:
        follow = watcher.follow(attempt, read)
        with anyio.move_on_after(0.05):
            await anext(follow)
        asyncio.get_running_loop().call_soon(append, attempt, b"odd\n")
        with pytest.raises(ValueError, match="odd"):
            await anext(follow)


async def test_a_reader_may_be_cancelled_and_another_go_on(attempt: Path) -> None:
    async with Watcher(SystemClock()) as watcher:
        follow = watcher.follow(attempt, whole)
        with anyio.move_on_after(0.05):
            await anext(follow)
        append(attempt, b"later\n")
        assert [line for _, line, _ in await anext(follow)] == [b"later"]


async def test_two_may_follow_one_attempt(attempt: Path) -> None:
    async with Watcher(SystemClock(), gather=0.01) as watcher, reading(watcher, attempt) as first:
        async with reading(watcher, attempt) as second:
            append(attempt, b"a\n")
            await until(lambda: first.lines and second.lines)
        append(attempt, b"b\n")
        await until(lambda: first.of() == [b"a", b"b"])


async def test_nothing_is_left_open(attempt: Path) -> None:
    before = open_files()
    async with Watcher(SystemClock()) as watcher:
        for _ in range(20):
            append(attempt, b"x\n")
            async with reading(watcher, attempt) as heard:
                await heard.follow.drain()
        assert watcher._follows == {}
    assert open_files() == before


async def test_dropped_events_lose_no_line(tmp_path: Path) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 50_000:
        pytest.skip(f"the kernel's queue holds {most} events")
    noisy, quiet = tmp_path / "noisy", tmp_path / "quiet"
    for directory in (noisy, quiet):
        directory.mkdir()
    watching = Watcher(SystemClock(), gather=0.01)
    async with watching as watcher, reading(watcher, noisy) as loud, reading(watcher, quiet) as soft:
        append(noisy, b"x\n")
        await until(lambda: loud.lines)
        for _ in range(most // 2 + 1):  # in turns, so that the kernel cannot merge them
            append(noisy, b"o\n")
            append(noisy, b"e\n", "stderr.log")
        append(quiet, b"dropped\n")
        await until(lambda: soft.lines)


async def test_without_a_watch_of_the_kernel_lines_still_come(attempt: Path) -> None:
    """An ordinary user may have 128 inotify instances: take them all, then follow."""
    code = (
        "import ctypes, sys, anyio\n"
        "from pathlib import Path\n"
        "from tidegate.clock import SystemClock\n"
        "from tidegate.watch import Watcher\n"
        "libc = ctypes.CDLL(None)\n"
        "def whole(*line): return (line,)\n"
        "async def main():\n"
        "    while libc.inotify_init1(0) >= 0: pass\n"
        "    async with Watcher(SystemClock()) as watcher, watcher.follow(Path(sys.argv[1]), whole) as follow:\n"
        "        if watcher._inotify is not None: return await main()  # somebody has given one back\n"
        "        print('following', flush=True)\n"
        "        async for lines in follow:\n"
        "            print(*(line.decode() for _, line, _ in lines), flush=True)\n"
        "            if lines[-1][1] == b'bye': return\n"
        "anyio.run(main)\n"
    )
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))\n{code}",
            attempt,
        ],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"following\n"
    append(attempt, b"hello\n")
    assert process.stdout.readline() == b"hello\n"
    append(attempt, b"bye\n")
    assert process.stdout.readline() == b"bye\n"
    process.stdout.close()
    assert process.wait(10) == 0
