"""Tells the service manager how this process is, as sd_notify(3) describes it."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

PATIENCE = 1.0  # seconds that a manager with a full queue gets before a message is lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """The service manager; where none started this process, what it is told is lost.

    `address` is its socket, abstract where it begins with @. `watchdog` is how many seconds it waits for a WATCHDOG=1
    before it ends this process, None for ever.
    """

    address: str = ""
    watchdog: float | None = None

    def tell(self, *assignments: str) -> None:
        """Send assignments, as "READY=1", in one message."""
        if not self.address:
            return
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as to:
            to.settimeout(PATIENCE)
            to.sendto("\n".join(assignments).encode(errors="replace"), address)


def manager(environ: Mapping[str, str], pid: int) -> Manager:
    """The manager that an environment names; its watchdog counts where it is meant for this process, `pid`."""
    usec = environ.get("WATCHDOG_USEC", "")
    meant = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
    watched = meant and usec.isascii() and usec.isdigit() and int(usec) > 0
    return Manager(address=environ.get("NOTIFY_SOCKET", ""), watchdog=int(usec) / 1e6 if watched else None)
