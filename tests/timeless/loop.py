"""A clock and a loop that jumps from one timer to the next."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

from tidegate.clock import SystemClock


class Time(SystemClock):
    """The wall's clock and the loop's, which stands still while the machine sleeps."""

    def __init__(self, start: datetime) -> None:
        self.at = 0.0
        self._start = start

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.at)

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        """The machine is suspended."""
        self._start += timedelta(seconds=seconds)


class _Selector:
    """Waits for nothing but time, and that passes at once."""

    def __init__(self, time: Time) -> None:
        self._time = time

    def select(self, timeout: float | None) -> list[object]:
        assert timeout is not None, "nobody wakes this loop any more"
        self._time.at += max(timeout, 0.0)
        return []

    def close(self) -> None: ...

    def get_map(self) -> dict[int, object]:
        return {}


class Loop(asyncio.SelectorEventLoop):
    """A loop in the time of a Time."""

    def __init__(self, time: Time) -> None:
        self._at = time
        super().__init__(_Selector(time))  # type: ignore[arg-type]

    def _make_self_pipe(self) -> None: ...

    def _close_self_pipe(self) -> None: ...

    def _write_to_self(self) -> None: ...

    def time(self) -> float:
        return self._at.at

    def create_task(self, coro: Any, **more: Any) -> asyncio.Task[Any]:
        """A task that is cancelled before its first step leaves no coroutine behind that nobody awaits."""
        task: asyncio.Task[Any] = super().create_task(coro, **more)
        inner = getattr(coro.cr_frame.f_locals.get("self"), "_coro", None)  # of an anyio task
        if inner is not None:
            task.add_done_callback(lambda _: inner.close())
        return task

    def turns(self, number: int) -> None:
        """So many turns and no more."""
        for _ in range(number):
            self.call_soon(self.stop)
            self.run_forever()

    def pass_time(self, seconds: float) -> None:
        """All that happens within so many seconds."""
        self.call_at(self.time() + seconds, self.stop)
        self.run_forever()
