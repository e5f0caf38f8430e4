"""One connection to an SQLite file: statements by name, transactions, and what is wrong in one clear line."""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from json import JSONDecodeError
from pathlib import Path
from typing import Any, Final

import apsw

from tidegate import places
from tidegate.clock import SystemClock
from tidegate.errors import BadInput, StoreBlocked, StoreBroken
from tidegate.stores import Busy
from tidegate.stores.vault import private

SCHEMA: Final = 17  # the newest migration that this program knows
BUSY: Final = 10.0  # seconds to wait for other writers
LONG: Final = 16  # digits that no number of a job has
LONG_LOG: Final = 16 * 1024 * 1024  # bytes of the log, four times of what SQLite itself lets it grow to
READING: Final = 0.5  # seconds that those who read get to come to an end where the log is to begin anew
MOMENT: Final = 0.001  # seconds between two looks whether they are done

HELP: Final = "`tidegate doctor --deep` tells what is left, `tidegate restore` takes up a backup"
DAMAGED: Final = "the database is damaged ({}): " + HELP
EMPTIED: Final = "is empty, and there is output of jobs"
TRIES: Final = 500  # looks at a file that is empty
SAID: Final = 200  # characters of what does not fit
PASSING: Final = (
    *(apsw.FullError, apsw.IOError, apsw.BusyError, apsw.LockedError),
    *(apsw.ReadOnlyError, apsw.CantOpenError, apsw.NoMemError),
)  # what a person, or time, can end while this program goes on
FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)

Row = tuple[Any, ...]
Value = str | int | float | bytes | None


def statements(file: str) -> dict[str, str]:
    """The statements of a file beside this one by name."""
    text = Path(__file__).with_name(file).read_text(encoding="utf-8")
    parts = re.split(r"^-- (\w+): .*\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (body.strip() for body in parts[2::2]), strict=True))


SQL: Final = statements("sqlite.sql")


class Garbled(ValueError):
    """Raised when a row holds what this program never writes."""


class Connection:
    """A connection that makes its file, waits up to `busy` seconds for other writers, and raises only StoreBroken."""

    def __init__(self, path: Path, busy: float) -> None:
        self.path = path
        self._busy = busy
        self._grouped = False  # calls are parts of one transaction,
        self._hurried = False  # do not wait for other writers,
        self._reading = False  # or may not write at all,
        self._began = False  # and one of them has taken the lock
        self._mark = 0
        self._afterwards: list[Callable[[], None]] = []
        self._clock = SystemClock()
        self._waiting_since = 0.0
        self._log = f"{path}-wal"
        self._long = LONG_LOG
        _check_name(path)
        with self.clearly():
            self._touch()
            self._place = _place_of(path)
            self._db = apsw.Connection(str(path), statementcachesize=256)
            self._db.set_busy_handler(self._is_patient)
            self._set_up()

    def close(self) -> None:
        """Close the connection; closing it twice is no error, nor is a disk that takes no more: all is committed."""
        with self.clearly(), suppress(*PASSING):
            self._db.close()

    def check_place(self) -> None:
        """Raises StoreBroken where this is not the file at its path any more: nobody else sees what is written."""
        if _place_of(self.path) != self._place:
            raise StoreBroken(f"{self.path}: was removed or replaced while it was open")

    def pass_output(self) -> None:
        """Give new jobs greater numbers than those of which there is output; to be called inside a transaction.

        What this database does not know can be there: one was moved away, or replaced by an older copy.
        """
        if newest := _newest_output(self.path.parent):
            self.run("begin_after", job=newest)

    # --- statements ---

    def run(self, name: str, /, **bind: Value) -> None:
        """Run a statement that returns nothing."""
        self._db.execute(SQL[name], bind)

    def run_each(self, name: str, binds: Iterable[Mapping[str, Value]]) -> None:
        """Run a statement once for each of many."""
        self._db.executemany(SQL[name], binds)

    def rows(self, name: str, /, **bind: Value) -> Iterator[Row]:
        """What a statement returns."""
        return self._db.execute(SQL[name], bind)

    def row(self, name: str, /, **bind: Value) -> Row | None:
        """The first row that a statement returns."""
        return next(self._db.execute(SQL[name], bind), None)

    def number(self, name: str, /, **bind: Value) -> int:
        """The only value that a statement returns, a number."""
        return int(next(self._db.execute(SQL[name], bind))[0])

    def last_id(self) -> int:
        """The id of the row that was added last."""
        return self._db.last_insert_rowid()

    # --- transactions ---

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One call that writes: a transaction of its own, or a part of the group's."""
        undo = ""
        try:
            begin, end, undo = self._steps()
            self.run(begin)
            yield
            self.run(end)
        except BaseException as error:
            with self.clearly():
                if undo != "undo_call":
                    self._afterwards.clear()
                if undo and self._db.in_transaction:  # SQLite itself may have undone it all, on a full disk say
                    self.run(undo)
            if (clear := self._in_one_line(error)) is not None:
                raise clear from error
            raise
        if not self._grouped:
            self._run_afterwards(committed=True)
            self._shorten_log()

    def afterwards(self, do: Callable[[], None]) -> None:
        """Do something after the commit of this transaction, or of its group; never where that fails."""
        if do not in self._afterwards:
            self._afterwards.append(do)

    def _run_afterwards(self, *, committed: bool) -> None:
        waiting, self._afterwards = self._afterwards, []
        for do in waiting if committed else ():
            do()

    def _steps(self) -> tuple[str, str, str]:
        if not self._grouped:
            self.check_place()  # what is written into a file that is gone is lost, and nobody is told
            return "begin", "commit", "rollback"
        if not self._began:
            self._begin_at_once() if self._hurried else self.begin()
        self._still_whole()
        return "begin_call", "end_call", "undo_call"

    def begin(self) -> None:
        """Take the lock of the group's transaction, which its calls share; waits for other writers."""
        with self.clearly():
            self._begin()

    def _begin(self) -> None:
        self.check_place()
        self.run("begin")
        self._began, self._mark = True, self._db.total_changes()

    def _begin_at_once(self) -> None:
        if self._reading:
            raise Busy
        self._db.set_busy_handler(None)
        try:
            self._begin()
        except apsw.BusyError:
            raise Busy from None
        finally:
            self._db.set_busy_handler(self._is_patient)

    def _is_patient(self, tries: int, most: float | None = None) -> bool:
        """Wait a moment for another writer: SQLite's own waits grow to 100 ms, and miss a busy neighbour's pauses."""
        if tries == 0:
            self._waiting_since = self._clock.monotonic()
        time.sleep(MOMENT)
        return self._clock.monotonic() - self._waiting_since < (self._busy if most is None else most)

    @contextmanager
    def group(self) -> Iterator[None]:
        """Several calls, one commit; the lock is taken with the first that writes. Inside a group: part of it."""
        if self._grouped:
            yield
            return
        self.open_group(hurried=False)
        try:
            yield
        except BaseException:
            self._end_group("rollback")
            raise
        self.close_group()

    def open_group(self, *, hurried: bool, reading: bool = False) -> None:
        """From now on calls are parts of one transaction; `hurried` ones raise Busy rather than wait, or write."""
        self._grouped, self._hurried, self._reading, self._began = True, hurried, reading, False

    def wrote(self) -> bool:
        """Whether a commit has something to bring to the disk."""
        return self._began and self._db.total_changes() != self._mark

    def close_group(self) -> None:
        """Commit what the group wrote; whatever happens, the group is over."""
        try:
            if self._began:
                self._still_whole()
        except StoreBroken:
            self._end_group("rollback")
            raise
        wrote = self.wrote()
        self._end_group("commit")
        if wrote:
            self._shorten_log()

    def _shorten_log(self) -> None:
        """Begin the log anew where it is long: readers that overlap without a pause never let SQLite do that itself.

        Whoever reads is waited for, for a moment; where one takes longer, not again before the log is twice as long.
        """
        size = _size(self._log)
        if size < self._long:
            return
        self._db.set_busy_handler(lambda _tries: self._is_patient(_tries, READING))
        try:
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            self._long = LONG_LOG
        except apsw.Error:  # what is wrong with the disk the next commit tells
            self._long = 2 * size
        finally:
            self._db.set_busy_handler(self._is_patient)

    def _end_group(self, how: str) -> None:
        self._grouped = False
        with self.clearly():
            try:
                if self._db.in_transaction:
                    self.run(how)
            finally:
                if self._db.in_transaction:
                    self.run("rollback")
        self._run_afterwards(committed=how == "commit")

    def _still_whole(self) -> None:
        if not self._db.in_transaction:
            raise StoreBlocked(f"{self.path}: an error undid the whole transaction")

    @contextmanager
    def look(self) -> Iterator[None]:
        """Several reads of one moment."""
        with self.clearly():
            if self._db.in_transaction:
                yield
                return
            self.run("look")
            try:
                yield
            finally:
                if self._db.in_transaction:
                    self.run("commit")

    @contextmanager
    def clearly(self) -> Iterator[None]:
        """Say what is wrong with the file in one line."""
        try:
            yield
        except (apsw.Error, OSError, ValueError) as error:
            raise self._in_one_line(error) or error from error

    def _in_one_line(self, error: BaseException) -> StoreBroken | None:
        match error:
            case apsw.Error():
                kind = StoreBlocked if isinstance(error, PASSING) else StoreBroken
                return kind(f"{self.path}: {self._wrong(error)}")
            case UnicodeDecodeError() | JSONDecodeError() | Garbled():
                return StoreBroken(f"{self.path}: {_damaged(error)}")
            case OSError():
                kind = StoreBlocked if error.errno in FULL else StoreBroken
                return kind(f"{error.filename or self.path}: {error.strerror}")
            case _:
                return None

    def _wrong(self, error: apsw.Error) -> str:
        match error:
            case apsw.NotADBError():
                return "is not a tidegate database"
            case apsw.CorruptError():
                return _damaged(error)
            case apsw.ReadOnlyError():
                return "the database, or its directory, is read-only for this user"
            case apsw.FullError():
                return "the disk is full"
            case apsw.CantOpenError() if _is_mounted_read_only(self.path.parent):
                return "the disk is mounted read-only"
            case apsw.CantOpenError():
                return "cannot be opened: this user may not read and write the file and its directory"
            case apsw.BusyError() | apsw.LockedError():
                return f"another program has kept the database locked for more than {self._busy:g} s"
            case apsw.IOError():
                return f"cannot be read or written ({error}): is the disk, or a quota, full, or is it broken?"
            case _:
                return f"{type(error).__name__}: {error}"

    # --- the first look at a file ---

    def _touch(self) -> None:
        """Make the file where it is missing. Raises StoreBroken for one that was emptied: SQLite would begin anew."""
        if not _touch(self.path):
            return
        for _ in range(TRIES):
            if not is_emptied(self.path):
                return
            time.sleep(MOMENT)  # somebody else may be making it just now
        raise StoreBroken(f"{self.path}: {EMPTIED}: {HELP}, or remove it to begin anew")

    def _set_up(self) -> None:
        self._db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)  # else many a statement is planned anew for each value
        self.run("settings")
        self._until_free("wal")
        if not self._is_current():
            with self.transaction():  # whoever comes second finds the work done
                if not self._is_current():
                    self._migrate()

    def _until_free(self, name: str) -> None:
        """Several processes may make the file at once, and SQLite does not wait where that could be a deadlock."""
        tries = 0
        while True:
            try:
                return self.run(name)
            except apsw.BusyError:
                if not self._is_patient(tries):
                    raise
                tries += 1

    def _is_current(self) -> bool:
        if self.number("is_empty"):
            return False
        if not self.number("is_ours"):
            raise StoreBroken(f"{self.path}: is not a tidegate database")
        version = self.number("schema_version")
        if version > SCHEMA:
            raise StoreBroken(
                f"{self.path}: made by a newer tidegate (schema {version}; this one knows {SCHEMA}): upgrade tidegate"
            )
        return bool(version == SCHEMA)

    def _migrate(self) -> None:
        is_new = bool(self.number("is_empty"))
        done = 0 if is_new else self.number("schema_version")
        for version in range(done + 1, SCHEMA + 1):
            self.run(f"migration_{version}")
            self.run("migrated", version=version)
        if is_new:
            self.pass_output()


def _damaged(error: Exception) -> str:
    return DAMAGED.format(" ".join(str(error).split())[:SAID])


def _check_name(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise BadInput(f"{path}: must be UTF-8, as the names of databases are") from None


def _newest_output(state: Path) -> int:
    """The greatest number of a job that has left output here; 0 for none."""
    try:
        names = [there.name for there in places.attempts(state).iterdir()]
    except OSError:
        return 0
    return max((int(name) for name in names if name.isascii() and name.isdigit() and len(name) < LONG), default=0)


def _is_mounted_read_only(place: Path) -> bool:
    try:
        return bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def is_emptied(path: Path) -> bool:
    """Whether a file has no content, though jobs have run beside it or a log tells of some."""
    return path.stat().st_size == 0 and (_newest_output(path.parent) > 0 or _has_log(path))


def _has_log(path: Path) -> bool:
    return _size(f"{path}-wal") > 0


def _size(path: str) -> int:
    """The bytes of a file; 0 where there is none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116 - asked after each commit
    except OSError:
        return 0


def _place_of(path: Path) -> tuple[int, int] | None:
    """Which file lies at a path; None where none does."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return None
    return there.st_dev, there.st_ino


def _touch(path: Path) -> bool:
    """Make the file, and what is missing of its directories, for this user alone; whether it was there: it stays."""
    private(path.parent)
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return True
    os.fchmod(fd, 0o600)  # whatever the umask
    os.close(fd)
    return False
