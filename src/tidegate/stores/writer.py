"""The one thread that speaks to the store, for a loop that must not wait for the disk."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar

import anyio

from tidegate.stores import Store

P = ParamSpec("P")
T = TypeVar("T")

MOST: Final = 256  # calls in one commit: nobody waits for an endless group


@dataclass(slots=True, eq=False)
class _Call:
    """One call on its way: what to do, whom to tell, what came of it."""

    do: Callable[[], Any]
    tell: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Calls a store from a loop: `job = await ask(store.finish, attempt, outcome, now)`.

    All calls that wait when the thread comes round share one commit, and are answered together after it; a lone call
    waits for nobody. A call that raises tells its own caller and leaves the others whole; a commit that fails tells
    all of its callers. A caller that is cancelled stops waiting, but its call is made all the same: where that
    matters (a claim and its hand-over), shielding is the caller's. Leaving makes every call that was asked for.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._left = False

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._over = anyio.Event()
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left = True
        self._calls.put(None)
        try:
            with anyio.CancelScope(shield=True):  # what was asked for is made, whoever is cancelled
                await self._over.wait()
        finally:
            self._thread.join()

    async def __call__(self, do: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Make the call in the store's thread; its result once it is on the disk."""
        if self._left:
            raise RuntimeError("the writer has been left")
        call = _Call(partial(do, *args, **kwargs), self._loop.create_future())
        self._calls.put(call)
        result: T = await call.tell
        return result

    # --- in the thread ---

    def _work(self) -> None:
        asked: list[_Call | None] = []
        while not asked or asked[-1] is not None:
            asked = self._wait()
            if calls := [call for call in asked if call is not None]:
                self._make(calls)
        self._loop.call_soon_threadsafe(self._over.set)

    def _wait(self) -> list[_Call | None]:
        """The next call, and those that wait behind it; None is the last that is ever asked."""
        asked = [self._calls.get()]
        while asked[-1] is not None and len(asked) < MOST:
            try:
                asked.append(self._calls.get_nowait())
            except Empty:
                break
        return asked

    def _make(self, calls: list[_Call]) -> None:
        try:
            with self._store.group():
                for call in calls:
                    _make_one(call)
        except BaseException as error:  # noqa: BLE001 - whatever the commit met is its callers' to know
            for call in calls:
                call.error = call.error or error
        self._loop.call_soon_threadsafe(_answer, calls)


def _make_one(call: _Call) -> None:
    try:
        call.result = call.do()
    except BaseException as error:  # noqa: BLE001 - it is its caller's to know
        call.error = error


def _answer(calls: list[_Call]) -> None:
    for call in calls:
        if call.tell.done():
            continue  # its caller was cancelled
        if call.error is not None:
            call.tell.set_exception(call.error)
        else:
            call.tell.set_result(call.result)
