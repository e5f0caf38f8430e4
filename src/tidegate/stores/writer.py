"""Calls a store from a loop that must wait neither for the disk nor for other writers."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

import anyio

from tidegate.stores import Busy, Store, Turn

P = ParamSpec("P")
T = TypeVar("T")

MOST: Final = 64  # calls in one commit: the loop goes on after so many
SWITCH: Final = 0.0002  # seconds after which a busy loop gives way to the thread; the interpreter's own 5 ms, several
# times for each commit, cost nine tenths of the throughput where the loop was never idle


@dataclass(slots=True, eq=False)
class _Call:
    """One call on its way: what to do, whom to tell, what came of it."""

    do: Callable[[], Any]
    tell: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Calls a store from a loop: `job = await ask(store.finish, attempt, outcome, now)`.

    All calls that wait when their turn comes share one commit, and are answered together after it; a lone call waits
    for nobody, and one that only reads waits for no disk. A call that raises tells its own caller and leaves the
    others whole; a commit that fails tells all of its callers. A caller that is cancelled stops waiting, but its call
    is made all the same: where that matters (a claim and its hand-over), shielding is the caller's. Leaving makes
    every call that was asked for.

    The calls are made on the loop, for they are short; only what can wait is done in a thread: the commit, and the
    lock while another program has it. Each statement gives the interpreter's lock away for a moment, and a thread
    with two dozen statements for each job would get it back too late, and too often, from a busy loop.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._asked: deque[_Call] = deque()
        self._under_way = False
        self._left = False
        self._errands: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run_errands, name="store", daemon=True)

    async def __aenter__(self) -> Self:
        self._switch_before = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH)
        self._loop = asyncio.get_running_loop()
        self._idle = anyio.Event()
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        try:
            if self._under_way:
                with anyio.CancelScope(shield=True):  # what was asked for is made, whoever is cancelled
                    await self._idle.wait()
        finally:
            self._errands.put(None)
            self._thread.join()
            sys.setswitchinterval(self._switch_before)

    async def __call__(self, do: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Make the call; its result once it is on the disk."""
        if self._left:
            raise RuntimeError("the writer has been left")
        call = _Call(partial(do, *args, **kwargs), self._loop.create_future())
        self._asked.append(call)
        if not self._under_way:
            self._under_way = True
            self._loop.call_soon(self._next_turn)  # soon, not now: those that come at the same moment share the turn
        result: T = await call.tell
        return result

    # --- on the loop ---

    def _next_turn(self) -> None:
        if self._asked:
            self._make(self._store.turn())
            return
        self._under_way = False
        if self._left:
            self._idle.set()

    def _make(self, turn: Turn) -> None:
        """Make calls in their order until enough are made; where somebody else is writing, wait for that first."""
        made: list[_Call] = []
        while self._asked and len(made) < MOST:
            call = self._asked[0]
            try:
                call.result = call.do()
            except Busy:
                if made:
                    break  # those have only read: they need not wait
                self._send(turn.take, partial(self._taken, turn))
                return
            except BaseException as error:  # noqa: BLE001 - it is its caller's to know
                call.error = error
            made.append(self._asked.popleft())
        if turn.wrote():
            self._send(turn.close, partial(self._closed, made))
        else:
            self._closed(made, _error_of(turn.close))

    def _taken(self, turn: Turn, error: BaseException | None) -> None:
        if error is None:
            self._make(turn)
            return
        call = self._asked.popleft()
        call.error = error
        self._closed([call], _error_of(turn.close))

    def _closed(self, made: list[_Call], error: BaseException | None) -> None:
        for call in made:
            call.error = call.error or error
            if call.tell.done():
                continue  # its caller was cancelled
            if call.error is not None:
                call.tell.set_exception(call.error)
            else:
                call.tell.set_result(call.result)
        self._loop.call_soon(self._next_turn)

    # --- in the thread ---

    def _send(self, errand: Callable[[], None], then: Callable[[BaseException | None], None]) -> None:
        def go() -> None:
            self._loop.call_soon_threadsafe(then, _error_of(errand))

        self._errands.put(go)

    def _run_errands(self) -> None:
        while (errand := self._errands.get()) is not None:
            errand()


def _error_of(do: Callable[[], None]) -> BaseException | None:
    try:
        do()
    except BaseException as error:  # noqa: BLE001 - whatever it met is the callers' to know
        return error
    return None
