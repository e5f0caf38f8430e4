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

from tidegate.errors import StoreBlocked
from tidegate.stores import Busy, Store, Turn

P = ParamSpec("P")
T = TypeVar("T")

MOST: Final = 64  # calls in one commit: the loop goes on after so many
AGAIN: Final = 1.0  # seconds between two tries while the store cannot be written
STILL: Final = 5.0  # seconds without a try that failed, after which it is believed that it can
SWITCH: Final = 0.0002  # seconds after which a busy loop gives way to the thread; the interpreter's own 5 ms, several
# times for each commit, cost nine tenths of the throughput where the loop was never idle


@dataclass(slots=True, eq=False)
class _Call:
    """One call on its way: what to do, whom to tell, what came of it.

    `once`: its caller would rather know that it cannot be made now; `writes`: it was seen to.
    """

    do: Callable[[], Any]
    tell: asyncio.Future[Any]
    once: bool = False
    writes: bool = False
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Calls a store from a loop: `job = await ask(store.finish, attempt, outcome, now)`.

    All calls that wait when their turn comes share one commit, and are answered together after it; a lone call waits
    for nobody, and one that only reads waits for no disk. A call that raises tells its own caller and leaves the
    others whole; a commit that fails tells all of its callers. A caller that is cancelled stops waiting, but its call
    is made all the same: where that matters (a claim and its hand-over), shielding is the caller's. Leaving makes
    every call that was asked for.

    Where the store is blocked (a full disk, a lock that another program keeps) callers are told, unless the writer is
    `patient`: then their calls wait until it goes on, and are made in their order; calls that only read go on.

    The calls are made on the loop, for they are short; only what can wait is done in a thread: the commit, and the
    lock while another program has it. Each statement gives the interpreter's lock away for a moment, and a thread
    with two dozen statements for each job would get it back too late, and too often, from a busy loop.
    """

    def __init__(self, store: Store, told: Callable[[str], None] = lambda _why: None) -> None:
        """`told` hears why the store is blocked, and "" when it goes on."""
        self.trouble = ""
        self._told = told
        self._is_patient = False
        self._pause: asyncio.Handle | None = None
        self._failed_at = 0.0
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
        self.hurry()
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
        call = _Call(partial(do, *args, **kwargs), self._loop.create_future())
        result: T = await self._ask(call)
        return result

    async def once(self, do: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for whoever can do without: raises StoreBlocked where it cannot be made now."""
        call = _Call(partial(do, *args, **kwargs), self._loop.create_future(), once=True)
        result: T = await self._ask(call)
        return result

    def endure(self) -> None:
        """Be patient from now on."""
        self._is_patient = True

    def hurry(self) -> None:
        """Be patient no more: what waits is tried once again, and its callers are told."""
        self._is_patient = False
        if self._pause is not None:
            self._pause.cancel()
            self._pause = self._loop.call_soon(self._try_again)

    # --- on the loop ---

    def _ask(self, call: _Call) -> asyncio.Future[Any]:
        if self._left:
            raise RuntimeError("the writer has been left")
        self._asked.append(call)
        if not self._under_way:
            self._under_way = True
            self._loop.call_soon(self._next_turn)  # soon, not now: those that come at the same moment share the turn
        elif self._pause is not None:
            self._loop.call_soon(self._read)
        return call.tell

    def _next_turn(self) -> None:
        if self._asked:
            self._make(self._store.turn())
            return
        if self._is_recent():
            self._rest()
            return
        if self._is_patient:
            self._set_trouble("")
        self._under_way = False
        if self._left:
            self._idle.set()

    def _make(self, turn: Turn) -> None:
        """Make calls in their order until enough are made; where somebody else is writing, wait for that first."""
        made: list[_Call] = []
        blocked: StoreBlocked | None = None
        while self._asked and len(made) < MOST:
            call = self._asked[0]
            try:
                call.result = call.do()
            except Busy:
                if made:
                    break  # those have only read: they need not wait
                self._send(turn.take, partial(self._taken, turn))
                return
            except StoreBlocked as error:
                blocked = error  # with what was made before it, the store may have undone
                break
            except BaseException as error:  # noqa: BLE001 - it is its caller's to know
                call.error = error
            made.append(self._asked.popleft())
        if turn.wrote():
            self._send(turn.close, partial(self._closed, made, blocked))
        else:
            self._closed(made, blocked, _error_of(turn.close), wrote=False)

    def _taken(self, turn: Turn, error: BaseException | None) -> None:
        if error is None:
            self._make(turn)
            return
        call = self._asked.popleft()
        closing = _error_of(turn.close)
        if isinstance(error, StoreBlocked):
            self._block(error, [call])
        else:
            call.error = error
            self._closed([call], None, closing, wrote=False)

    def _closed(
        self, made: list[_Call], blocked: StoreBlocked | None, error: BaseException | None, *, wrote: bool = True
    ) -> None:
        if isinstance(error, StoreBlocked):
            self._block(error, made)  # none of it has happened
            return
        for call in made:
            _tell(call, call.error or error)
        if blocked is not None:
            self._block(blocked, [self._asked.popleft()])
            return
        if wrote and error is None:
            self._set_trouble("")
        self._loop.call_soon(self._next_turn)

    # --- while the store is blocked ---

    def _block(self, error: StoreBlocked, failed: list[_Call]) -> None:
        """Tell those that do not wait, and try again after a while."""
        self._failed_at = self._loop.time()
        for call in reversed(failed):
            if call.once or not self._is_patient:
                _tell(call, call.error or error)
            else:
                call.error = None
                self._asked.appendleft(call)
        if not self._is_patient:
            self._loop.call_soon(self._next_turn)
            return
        self._set_trouble(str(error))
        self._rest()
        self._read()
        for call in [one for one in self._asked if one.once and one.writes]:
            self._asked.remove(call)
            _tell(call, error)

    def _set_trouble(self, why: str) -> None:
        if why != self.trouble:
            self.trouble = why
            self._told(why)

    def _rest(self) -> None:
        self._pause = self._loop.call_later(AGAIN, self._try_again)

    def _try_again(self) -> None:
        self._pause = None
        self._next_turn()

    def _is_recent(self) -> bool:
        """Whether a try has failed just now: nobody who asks for nothing has proven that the next would not."""
        return self._is_patient and bool(self.trouble) and self._loop.time() - self._failed_at < STILL

    def _read(self) -> None:
        """Make the calls that only read; those that write are left where they are."""
        if self._pause is None:
            return
        turn, waits = self._store.reading(), deque[_Call]()
        while self._asked:
            call = self._asked.popleft()
            if call.writes or not self._has_read(call):
                waits.append(call)
        self._asked = waits
        _error_of(turn.close)

    def _has_read(self, call: _Call) -> bool:
        """Whether a call was made, and its caller told, in a turn that does not write."""
        try:
            call.result = call.do()
        except Busy:
            call.writes = True
            return False
        except StoreBlocked:
            return False
        except BaseException as error:  # noqa: BLE001 - it is its caller's to know
            _tell(call, error)
        else:
            _tell(call, None)
        return True

    # --- in the thread ---

    def _send(self, errand: Callable[[], None], then: Callable[[BaseException | None], None]) -> None:
        def go() -> None:
            self._loop.call_soon_threadsafe(then, _error_of(errand))

        self._errands.put(go)

    def _run_errands(self) -> None:
        while (errand := self._errands.get()) is not None:
            errand()


def _tell(call: _Call, error: BaseException | None) -> None:
    if call.tell.done():
        return  # its caller was cancelled
    if error is not None:
        call.tell.set_exception(error)
    else:
        call.tell.set_result(call.result)


def _error_of(do: Callable[[], None]) -> BaseException | None:
    try:
        do()
    except BaseException as error:  # noqa: BLE001 - whatever it met is the callers' to know
        return error
    return None
