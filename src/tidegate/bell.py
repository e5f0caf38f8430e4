"""Says "look again": take the ticket before you look."""

from __future__ import annotations

from anyio import Event


class Bell:
    """Wakes whoever waits; a ring between the ticket and the wait is never missed."""

    def __init__(self) -> None:
        self._event: Event | None = None  # of those who hold a ticket

    def next(self) -> Event:
        """The ticket: an event that the next ring sets."""
        self._event = self._event or Event()
        return self._event

    def ring(self) -> None:
        """Wake every holder of a ticket."""
        rung, self._event = self._event, None
        if rung is not None:
            rung.set()
