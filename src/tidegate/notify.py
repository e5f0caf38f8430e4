"""Tells a person outside of this machine: runs the program of [notify] for what happens, a burst in one call."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import anyio
import structlog

from tidegate.bell import Bell
from tidegate.clock import Clock, zone
from tidegate.look.why import hold_words, scope_words
from tidegate.look.words import Page, clean, fit, shown
from tidegate.model import Event, Exceed, Hold, Job, Origin, State, Window
from tidegate.notice import LEVELS, Target, Watch, Wish, heard
from tidegate.stores import Store
from tidegate.stores.writer import Writer

log = structlog.get_logger()

GATHER = 1.0  # seconds in which what comes together is gathered
KEPT = 200  # notices that one call tells one by one; the rest are counted
SAID = 5  # notices whose texts make up the text of several
LEAVING = 10.0  # seconds that the last call gets when this process leaves
KILLED = 1.0  # seconds that a killed program gets to be gone
WORDS = 500  # bytes of what a program that failed wrote
WIDTH = 400  # columns of a sentence
SEVERAL, NO_END = "several", "no end in time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to tell: a word for what it is, one sentence, and its facts, fit for JSON."""

    kind: str
    at: datetime
    text: str
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def level(self) -> str:
        """How loud it is: "info", "warning" or "error"."""
        return LEVELS.get(self.kind, "info")


# --- one call ----------------------------------------------------------------------------------


def message(notices: Sequence[Notice], uncounted: Mapping[str, int], host: str) -> dict[str, Any]:
    """What a call tells, as one object: the one notice, or several with how many there are of each kind.

    `uncounted` are those that there was no room for, by kind.
    """
    kinds = Counter(one.kind for one in notices)
    kinds.update(uncounted)
    told = [_form(one) for one in notices]
    if kinds.total() == 1:
        return {**told[0], "host": host, "count": 1}
    texts = [one.text for one in notices[:SAID]]
    more = [f"and {kinds.total() - len(texts)} more"] if kinds.total() > len(texts) else []
    loudest = max((one.level for one in notices), key=("info", "warning", "error").index)
    return {
        "event": SEVERAL,
        "at": notices[-1].at.isoformat(),
        "level": loudest,
        "text": "; ".join([f"{kinds.total()} notices: {texts[0]}", *texts[1:], *more]),
        "host": host,
        "count": kinds.total(),
        "kinds": dict(kinds),
        "events": told,
    }


def _form(notice: Notice) -> dict[str, Any]:
    first = {"event": notice.kind, "at": notice.at.isoformat(), "level": notice.level, "text": notice.text}
    return {**first, **{key: value for key, value in notice.facts.items() if value not in (None, "")}}


NAMES = ("event", "text", "level", "count", "host", "scope", "batch", "job", "until")  # told as TIDEGATE_* as well


def variables(told: Mapping[str, Any]) -> dict[str, str]:
    """The same for programs that read no JSON."""
    return {f"TIDEGATE_{name.upper()}": str(told[name]) for name in NAMES if name in told}


async def call(target: Target, told: Mapping[str, Any]) -> str:
    """Run the program with the message on its stdin and in its environment; "", or why that failed.

    With its end, or where this is cancelled, what it has started is killed.
    """
    with _file(json.dumps(told).encode() + b"\n") as stdin, _file() as stderr:
        try:
            process = await asyncio.create_subprocess_exec(
                *target.command,
                stdin=stdin,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=stderr,
                env={**target.environment, **variables(told)},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return f"{target.command[0]}: {getattr(error, 'strerror', None) or error}"
        code = await _end_of(process)
        words = os.pread(stderr, WORDS, 0).decode(errors="replace").strip()
        return f"exit {code}: {words}" if code and words else f"exit {code}" if code else ""


async def _end_of(process: asyncio.subprocess.Process) -> int:
    try:
        return await process.wait()
    finally:
        with suppress(ProcessLookupError), anyio.move_on_after(KILLED, shield=True):
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            await _bury(process.pid)


async def _bury(group: int) -> None:
    """Wait for the orphans of a group: they are children of this process, which takes up those of agents."""
    with suppress(ChildProcessError):
        while True:
            if os.waitpid(-group, os.WNOHANG) == (0, 0):  # noqa: ASYNC222 - it does not wait
                await anyio.sleep(0.01)


@contextmanager
def _file(text: bytes = b"") -> Iterator[int]:
    """A file in memory, at its beginning: a pipe would make the wait for the program a wait for all who hold it."""
    fd = os.memfd_create("tidegate-notice", os.MFD_CLOEXEC)
    try:
        os.write(fd, text)
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


# --- what is told while supervising ------------------------------------------------------------


class Notifier:
    """Hears every event, and tells what a person wants to be told; nobody ever waits for it."""

    def __init__(self, target: Target | None, store: Store, ask: Writer, clock: Clock, host: str) -> None:
        self._target = target
        self._store, self._ask, self._clock, self._host = store, ask, clock, host
        self._watch = Watch()
        self._bell = Bell()
        self._heard: list[tuple[str, Event]] = []
        self._ended: dict[int, int] = {}  # job -> seq, where a batch may have finished
        self._finished: dict[int, int] = {}  # batch -> the last seq when it was told
        self._notices: list[Notice] = []
        self._uncounted: Counter[str] = Counter()
        self._call: anyio.CancelScope | None = None
        self._next_at = 0.0

    def take(self, target: Target | None) -> None:
        """Tell whom another configuration says, from now on."""
        self._target = target

    def hear(self, event: Event) -> None:
        """Take note of an event."""
        if self._target is None:
            return
        self._watch, kind = heard(event, self._watch, self._target.on)
        if kind is not None:
            self._note(kind, event)
        if event.name == "job ended" and event.job is not None and Wish("finished") in self._target.on:
            self._ended[event.job] = event.seq
        if kind is not None or self._ended:
            self._bell.ring()

    def _note(self, kind: str, event: Event) -> None:
        if len(self._heard) + len(self._notices) < KEPT:
            self._heard.append((kind, event))
        else:
            self._uncounted[kind] += 1

    async def work(self) -> None:
        """Tell, again and again, until cancelled."""
        while True:
            rung = self._bell.next()
            await anyio.sleep(GATHER)
            with _contained():
                await self._gather()
            if not self._notices:
                await rung.wait()
                continue
            await anyio.sleep(max(self._next_at - anyio.current_time(), 0.0))
            with _contained():
                await self._gather()
                await self._tell(float("inf"))

    def hurry(self) -> None:
        """Let what is under way have LEAVING seconds at most: this process leaves."""
        if self._call is not None:
            self._call.deadline = min(self._call.deadline, anyio.current_time() + LEAVING)

    async def finish(self) -> None:
        """Tell what has not been told yet, in one call."""
        with _contained():
            await self._gather()
            if self._notices:
                await self._tell(LEAVING)

    async def _tell(self, most: float) -> None:
        (notices, self._notices), (uncounted, self._uncounted) = (self._notices, []), (self._uncounted, Counter())
        if self._target is None:
            return
        self._next_at = anyio.current_time() + self._target.every
        told, why = message(notices, uncounted, self._host), NO_END
        with anyio.move_on_after(min(self._target.timeout, most), shield=True) as self._call:
            why = await call(self._target, told)
        self._call = None
        if why:
            log.warning("notification failed", reason=why, told=told["text"])

    # --- from events to notices ---

    async def _gather(self) -> None:
        """Make notices of what was heard: this looks into the store, so that to hear costs nothing."""
        (new, self._heard), (ended, self._ended) = (self._heard, []), (self._ended, {})
        if not new and not ended:
            return
        with anyio.CancelScope(shield=True):  # or what was heard is lost
            jobs = await self._ask(self._jobs, {event.job for _, event in new if event.job is not None} | ended.keys())
            page = Page(now=self._clock.now(), zone=zone())
            self._notices += [notice(kind, event, jobs.get(event.job or 0), page) for kind, event in new]
            latest = {jobs[id].batch: (jobs[id], seq) for id, seq in sorted(ended.items(), key=_seq) if id in jobs}
            for job, seq in latest.values():
                if seq > self._finished.get(job.batch, 0):
                    await self._look_at(job, page)

    def _jobs(self, ids: set[int]) -> dict[int, Job]:
        found = ((id, self._store.job(id)) for id in ids)
        return {id: job for id, job in found if job is not None}

    async def _look_at(self, job: Job, page: Page) -> None:
        """Tell that a job's batch has finished where nothing of it is queued or running any more."""
        counts = await self._ask(self._store.counts, job.batch)
        if not counts[State.QUEUED] and not counts[State.RUNNING]:
            self._finished[job.batch] = await self._ask(self._store.last_seq)
            self._notices.append(finished(job.batch_name, counts, page.now))


@contextmanager
def _contained() -> Iterator[None]:
    """Whatever is wrong with a notice, no supervisor and no agent ends of it."""
    try:
        yield
    except Exception:
        log.exception("notification failed")


def _seq(ended: tuple[int, int]) -> int:
    return ended[1]


def finished(batch: str, counts: Mapping[State, int], now: datetime) -> Notice:
    """The notice that a batch has finished."""
    said = {state.value: number for state, number in counts.items() if number}
    how = ", ".join(f"{number} {state}" for state, number in said.items())
    facts = {"batch": clean(batch), "jobs": said}
    return Notice(kind="finished", at=now, text=f"batch {clean(batch)} has finished: {how}", facts=facts)


def notice(kind: str, event: Event, job: Job | None, page: Page) -> Notice:
    """The notice that an event is worth; `job` is the one that it is told of."""
    facts: dict[str, object] = {"scope": event.scope and clean(event.scope)}
    if job is not None:
        facts |= {"batch": clean(job.batch_name), "job": clean(job.name), "attempt": event.attempt}
    said = {key: event.data.get(key) for key in ("state", "origin", "window", "until", "reason", "evidence")}
    facts |= {key: shown(value) if isinstance(value, str) else value for key, value in said.items()}
    return Notice(kind=kind, at=event.at, text=fit(_sentence(kind, event, job, page), WIDTH), facts=facts)


def _sentence(kind: str, event: Event, job: Job | None, page: Page) -> str:
    named = f"job {clean(job.batch_name)}:{clean(job.name)}" if job is not None else f"job {event.job}"
    if event.name == "job ended":
        reason = shown(str(event.data.get("reason") or ""))
        how = "ended without a result" if kind == "error" else f"{'was ' if kind in WAS else ''}{kind}"
        return f"{named} {how}" + (f": {reason}" if reason else "")
    scope = event.scope or ""
    who = named if scope.startswith("job:") else scope_words(scope)
    if kind == "opened":
        return f"{who} is open again"
    if kind == "budget":
        then = BECOMES[Exceed(event.data["on_exceed"])]
        return f"{who}: {shown(str(event.data['reason']))}" + (f"; {then}" if then else "")
    evidence = shown(str(event.data.get("evidence") or ""))
    return f"{who} {hold_words(_hold(event), page)}" + (f' ("{evidence}")' if evidence else "")


BECOMES = {
    Exceed.WARN: "",
    Exceed.STOP: "nothing new is launched",
    Exceed.CANCEL: "what is queued and runs is cancelled",
}
WAS = ("cancelled", "skipped")


def _hold(event: Event) -> Hold:
    """The hold that an event tells of, as far as words need it."""
    until = event.data.get("until")
    resets_at = event.data.get("resets_at")
    return Hold(
        scope=event.scope or "",
        origin=Origin(event.data["origin"]),
        window=Window(event.data["window"]),
        since=event.at,
        until=datetime.fromisoformat(until) if until else None,
        resets_at=datetime.fromisoformat(resets_at) if resets_at else None,
        reason=str(event.data.get("reason") or ""),
        by=str(event.data.get("by") or ""),
    )
