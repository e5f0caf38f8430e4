"""Says "look again": take the ticket before you look."""

from __future__ import annotations

from anyio import Event


class Bell:
    """Wakes whoever waits; a ring between the ticket and the wait is never missed."""

    def __init__(self) -> None:
        self._event = Event()

    def next(self) -> Event:
        """The ticket: an event that the next ring sets."""
        return self._event

    def ring(self) -> None:
        """Wake every holder of a ticket."""
        rung, self._event = self._event, Event()
        rung.set()
