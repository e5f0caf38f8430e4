"""One possible course of all that is left to do: jobs that take slots, accounts that are used up and open again.

Times are seconds from now.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Final

from msgspec import Struct

from tidegate.lengths import Drawn, Length

HORIZON: Final = 60 * 86400.0
REOPENS: Final = 120.0  # seconds that a canary and the ramp after it take
LAST: Final = 4  # jobs for each slot that are drawn one by one; those before them are as good as a fluid
STEPS: Final = 4000
NEAR: Final = 1e-6


class Quota(Struct, frozen=True, kw_only=True):
    """One window of an account: how much is `used` of it, 0..1, when it `ends` (None: it has not begun), its length.

    A job that runs uses `rate` of it in a second; `doubt` is the spread of that, as a share of it. Once `most` of it is
    used nothing is launched.
    """

    name: str
    used: float
    ends: float | None
    length: float
    rate: float
    doubt: float = 0.0
    most: float = 1.0


class Flow(Struct, frozen=True, kw_only=True):
    """One account: how many jobs it may run, when it `opens`, when nothing may start (`closed`), and its windows."""

    most: int | None = None
    opens: float = 0.0
    closed: Sequence[tuple[float, float]] = ()
    quotas: Sequence[Quota] = ()


class Load(Struct, frozen=True, kw_only=True):
    """Jobs of one batch with one account that are alike.

    `begun` are the seconds that some of them have worked already, the others are `fresh`. They wait for those of their
    batch that are of an earlier `wave`, and the last of them until `due`. All that they do takes `waste` as long.
    """

    batch: int
    account: str
    length: Length
    fresh: int
    begun: Sequence[float] = ()
    wave: int = 0
    due: float = 0.0
    waste: float = 1.0


class End(Struct, frozen=True):
    """When a batch is done, how many windows began until then, and what is used then of each account's windows.

    `full`: when each of these was used up for the first time.
    """

    at: float
    windows: int
    used: Mapping[tuple[str, str], float]
    full: Mapping[tuple[str, str], float]


@dataclass(slots=True)
class _Part:
    """Work of a wave of a batch: one job, or many that are worked on by all who are free."""

    wave: tuple[int, int]
    seconds: float
    due: float = 0.0
    many: bool = False


@dataclass(slots=True)
class _Window:
    """A quota under way."""

    quota: Quota
    rate: float
    used: float
    ends: float | None
    begun: int = 0
    full: float | None = None


@dataclass(slots=True)
class _Stream:
    """An account under way; its jobs end by a `clock` of their own, which stands still while it is shut."""

    flow: Flow
    windows: list[_Window]
    queue: list[_Part] = field(default_factory=list)
    ends: list[tuple[float, tuple[int, int]]] = field(default_factory=list)
    clock: float = 0.0
    opens: float = 0.0
    fluid: _Part | None = None
    share: float = 0.0

    @property
    def busy(self) -> float:
        return len(self.ends) + self.share

    def room(self) -> float:
        return math.inf if self.flow.most is None else self.flow.most - len(self.ends)

    def may_start(self, now: float) -> bool:
        return self.opens <= now + NEAR and not any(begin <= now + NEAR < end for begin, end in self.flow.closed)


class Course:
    """What may come of these loads; everything that is not known is drawn."""

    def __init__(self, loads: Sequence[Load], flows: Mapping[str, Flow], slots: int, rng: Random) -> None:
        self._rng, self._slots, self._now = rng, slots, 0.0
        self._streams = {name: _stream(flow, rng) for name, flow in flows.items()}
        self._left: dict[tuple[int, int], int] = {}
        self.ends: dict[int, End] = {}
        worlds = {length: length.drawn(rng) for length in dict.fromkeys(load.length for load in loads)}
        drawn = [(load, worlds[load.length]) for load in loads]
        for load, length in drawn:
            for gone in load.begun:
                self._add(load, length.rest(gone, rng) * load.waste)
        kinds: dict[tuple[int, str, int], list[tuple[Load, Drawn]]] = {}
        for load, length in drawn:
            kinds.setdefault((load.batch, load.account, load.wave), []).append((load, length))
        for some in kinds.values():
            self._spread(some)

    def _add(self, load: Load, seconds: float, *, many: bool = False, due: float = 0.0) -> None:
        wave = (load.batch, load.wave)
        self._left[wave] = self._left.get(wave, 0) + 1
        self._streams[load.account].queue.append(_Part(wave, seconds, due, many))

    def _spread(self, some: Sequence[tuple[Load, Drawn]]) -> None:
        """The fresh jobs of loads that take turns: most of each together, the last of all of them one by one."""
        whole = sum(load.fresh for load, _ in some)
        last, ones = min(whole, LAST * self._slots), []
        for load, length in some:
            own = -(-load.fresh * last // max(whole, 1))
            if load.fresh > own:
                self._add(load, length.sum(load.fresh - own, self._rng) * load.waste, many=True)
            ones += [(load, length.one(self._rng), load.due if place == 0 else 0.0) for place in range(own)]
        self._rng.shuffle(ones)
        for load, seconds, due in ones:
            self._add(load, seconds * load.waste, due=due)

    def run(self) -> Mapping[int, End]:
        """Each batch's end; one that never comes is not among them."""
        for _ in range(STEPS):
            if not self._left or self._now > HORIZON:
                break
            self._start()
            passed = min((self._next(one) for one in self._streams.values()), default=math.inf)
            if passed == math.inf:
                break
            self._now += passed
            for one in self._streams.values():
                self._advance(one, passed)
        return self.ends

    # --- starting ---

    def _start(self) -> None:
        able = [one for one in self._streams.values() if one.queue and one.may_start(self._now)]
        for one in self._streams.values():
            one.fluid, one.share = None, 0.0
        free = float(self._slots - sum(len(one.ends) for one in self._streams.values()))
        while free > 0 and able:
            one = min(able, key=lambda one: len(one.ends))
            place = self._ready(one)
            if place is None or one.room() <= 0:
                able.remove(one)
            elif one.queue[place].many:
                one.fluid = one.queue[place]
                able.remove(one)
            else:
                part = one.queue.pop(place)
                heappush(one.ends, (one.clock + part.seconds, part.wave))
                free -= 1
        self._flood(free)

    def _flood(self, free: float) -> None:
        """What is free is for those who can take any of it, in equal shares."""
        taking = sorted((one for one in self._streams.values() if one.fluid is not None), key=_Stream.room)
        for place, one in enumerate(taking):
            one.share = min(max(free, 0.0) / (len(taking) - place), one.room())
            free -= one.share
        for one in self._streams.values():
            for window in one.windows if one.busy and one.opens <= self._now + NEAR else ():
                if window.ends is None:
                    window.ends, window.begun = self._now + window.quota.length, window.begun + 1

    def _ready(self, one: _Stream) -> int | None:
        """The place of the first part that waits for nothing."""
        blocked: set[tuple[int, int]] = set()
        for place, part in enumerate(one.queue):
            if part.wave in blocked or part.due > self._now + NEAR:
                continue
            if any((part.wave[0], before) in self._left for before in range(part.wave[1])):
                blocked.add(part.wave)
                continue
            return place
        return None

    # --- going on ---

    def _next(self, one: _Stream) -> float:
        """The seconds until something changes for an account."""
        at = [window.ends - self._now for window in one.windows if window.ends is not None]
        at += [part.due - self._now for part in one.queue if part.due > self._now + NEAR]
        at += [edge - self._now for span in one.flow.closed for edge in span if edge > self._now + NEAR]
        if one.opens > self._now + NEAR:
            at.append(one.opens - self._now)
        elif one.busy:
            at += [(window.quota.most - window.used) / (window.rate * one.busy) for window in one.windows]
            if one.ends:
                at.append(one.ends[0][0] - one.clock)
            if one.fluid is not None and one.share:
                at.append(one.fluid.seconds / one.share)
        return max(min(at, default=math.inf), 0.0)

    def _advance(self, one: _Stream, passed: float) -> None:
        worked = passed if one.opens <= self._now - passed + NEAR else 0.0
        one.clock += worked
        for window in one.windows:
            self._use(one, window, worked * one.busy)
        if one.fluid is not None:
            one.fluid.seconds -= worked * one.share
            if one.fluid.seconds <= NEAR:
                one.queue.remove(one.fluid)
                self._done(one.fluid.wave)
                one.fluid = None
        while one.ends and one.ends[0][0] <= one.clock + NEAR:
            self._done(heappop(one.ends)[1])

    def _use(self, one: _Stream, window: _Window, work: float) -> None:
        window.used += work * window.rate
        if window.used >= window.quota.most - NEAR and window.ends is not None:
            window.full = self._now if window.full is None else window.full
            one.opens = max(one.opens, window.ends + REOPENS)
        if window.ends is not None and window.ends <= self._now + NEAR:
            window.used, window.ends = 0.0, None

    def _done(self, wave: tuple[int, int]) -> None:
        self._left[wave] -= 1
        if self._left[wave]:
            return
        del self._left[wave]
        batch = wave[0]
        if not any(other == batch for other, _ in self._left):
            self.ends[batch] = self._end()

    def _end(self) -> End:
        known = [(name, window) for name, one in self._streams.items() for window in one.windows]
        used = {(name, window.quota.name): min(window.used, 1.0) for name, window in known}
        full = {(name, window.quota.name): window.full for name, window in known if window.full is not None}
        shortest = [
            min(one.windows, key=lambda window: window.quota.length) for one in self._streams.values() if one.windows
        ]
        return End(self._now, max((window.begun for window in shortest), default=0), used, full)


def _stream(flow: Flow, rng: Random) -> _Stream:
    windows = [_Window(one, one.rate * math.exp(rng.gauss(0.0, one.doubt)), one.used, one.ends) for one in flow.quotas]
    return _Stream(flow, windows, opens=flow.opens)
