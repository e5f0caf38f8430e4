"""Every exception that tidegate raises for a reason a person should read."""


class TidegateError(Exception):
    """Raised when something a person can act on went wrong; its text is the one clear line."""


class BadInput(TidegateError):
    """Raised when a batch file, a configuration, a flag or an id is not what is allowed; names the place."""


class BadSetting(BadInput):
    """Raised when a configuration key is unknown or its value is not allowed; names where it came from."""


class NotLaunched(TidegateError):
    """Raised when an agent cannot be started: no such program, not executable, no such directory."""


class NoDirectory(NotLaunched):
    """Raised when the directory that a job names is not there, is none, or may not be entered."""


class NoWorkspace(NotLaunched):
    """Raised when the directory that is to be made for a job cannot be; `retry`: trying again can help."""

    def __init__(self, said: str, *, retry: bool = False) -> None:
        super().__init__(said)
        self.retry = retry


class NotNow(NotLaunched):
    """Raised when the machine lacks what a launch needs (processes, descriptors, disk): trying again can help."""


class NoCredential(TidegateError):
    """Raised when an account's credential cannot be read or handed over; names the account, and its file or key."""


class NotOwner(TidegateError):
    """Raised when a finish or a session comes for an attempt that this supervisor does not own any more."""


class StoreBroken(TidegateError):
    """Raised when the database cannot be used: corrupt, newer than this program, read-only, full."""


class StoreBlocked(StoreBroken):
    """Raised when the database cannot be used for now: the disk is full, broken or read-only, another has it locked."""


class AlreadyRunning(TidegateError):
    """Raised when another supervisor owns the state directory; names its pid."""
