"""Keeps the values of secret-looking environment variables out of the database, in files of their own."""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from pathlib import Path

from tidegate.errors import StoreBroken

GONE = "\ue0f9secret "  # begins what stands for a value whose file is not there
KEY = "key"  # of the keyed digests: a reference alone lets nobody try values
KEPT = 1000  # values kept in mind
LINKLESS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)  # on FAT, and where else no file has two names

_SECRET = re.compile(r"token|secret|passw|credential|(?:^|[^a-z])(?:api)?keys?(?:$|[^a-z])", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Whether the name of a variable says that its value is a secret: API_KEY, but not KEYBOARD."""
    return _SECRET.search(name) is not None


def is_gone(value: str) -> bool:
    """Whether this stands for a secret whose file is not there: nothing can be launched with it."""
    return value.startswith(GONE)


class Vault:
    """Values by reference: `DIRECTORY/REFERENCE`, mode 0600, written once.

    The reference is a keyed digest of the value, so equal values share a file, and a changed one has another.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = b""
        self._values: dict[str, str] = {}

    def put(self, value: str) -> str:
        """Keep a value; its reference. When it returns, the value is on the disk. What stands for one stays so."""
        if is_gone(value):
            return value.removeprefix(GONE)
        import hashlib  # noqa: PLC0415 - few jobs have a secret

        raw = value.encode("utf-8", "surrogateescape")
        reference = hashlib.blake2b(raw, key=self._my_key(), digest_size=20).hexdigest()
        if reference not in self._values or not (self._directory / reference).exists():  # another process may sweep
            self._write_once(reference, raw)
            self._keep(reference, value)
        return reference

    def keep_only(self, references: set[str]) -> None:
        """Remove every other value."""
        for path in self._directory.glob("[!.]*"):
            if path.name != KEY and path.name not in references:
                path.unlink(missing_ok=True)
                self._values.pop(path.name, None)

    def get(self, reference: str) -> str:
        """The value of a reference; what stands for it where its file is gone. Raises StoreBroken where it is closed.

        One job's missing secret must keep nobody from working on the others.
        """
        if reference not in self._values:
            path = self._directory / reference
            try:
                self._keep(reference, path.read_bytes().decode("utf-8", "surrogateescape"))
            except (FileNotFoundError, NotADirectoryError):
                return f"{GONE}{reference}"
            except OSError as error:
                raise StoreBroken(f"{path}: cannot be read ({error.strerror}): submit its job again") from error
        return self._values[reference]

    def _keep(self, reference: str, value: str) -> None:
        """In mind too, but not for ever: a service sees each secret of each job."""
        if len(self._values) >= KEPT:
            self._values.clear()
        self._values[reference] = value

    def _my_key(self) -> bytes:
        if not self._key:
            path = self._directory / KEY
            if not path.exists():
                self._write_once(KEY, os.urandom(32))
            self._key = path.read_bytes()
        return self._key

    def _write_once(self, name: str, raw: bytes) -> None:
        """Write a file that is either there as a whole or not at all; an existing one stays."""
        private(self._directory)
        if (self._directory / name).exists():
            return
        new = self._directory / f".{name}.{os.getpid()}.{os.urandom(4).hex()}"
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(fd, 0o600)
            _write_all(fd, raw)
            os.fsync(fd)
        finally:
            os.close(fd)
        with suppress(FileExistsError):  # another process was faster: its value is the one
            name_it(new, self._directory / name)
        new.unlink(missing_ok=True)
        sync(self._directory)


def private(directory: Path) -> None:
    """Make a directory and its missing parents, for this user alone whatever the umask; one that is there stays."""
    if directory.is_dir():
        return
    private(directory.parent)
    with suppress(FileExistsError):
        directory.mkdir(mode=0o700)
        directory.chmod(0o700)


def name_it(whole: Path, name: Path) -> None:
    """Give a finished file another name in its directory, which replaces nothing. Raises FileExistsError.

    Where no file can have two names it loses the one that it has.
    """
    try:
        os.link(whole, name)
    except OSError as error:
        if error.errno not in LINKLESS:
            raise
        os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        whole.replace(name)


def sync(directory: Path) -> None:
    """See that the names in a directory are on the disk, where its file system knows how to."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(fd)


def _write_all(fd: int, raw: bytes) -> None:
    while raw:
        raw = raw[os.write(fd, raw) :]
