"""The verbs by which a person steers: `pause`, `resume` and `drain`."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from datetime import datetime

from msgspec.structs import replace

from tidegate import allowed, doorbell, handover, places, when
from tidegate.errors import BadInput
from tidegate.look import find, plain
from tidegate.look.desk import Desk, at_work, opened, person
from tidegate.look.why import hold_words, scope_words
from tidegate.look.words import counted
from tidegate.model import Ask, Halt, Hold, Origin, family

EVERYTHING = "*"
BY_HAND = (
    Origin.OPERATOR,
    Origin.HUMAN,
    Origin.BUDGET,
    Origin.RESERVE,
    Origin.BURST,
)  # what `resume` takes away; a limit it lets reopen
SETTING = "setting"  # what --now alone says
AGAIN = 0.1  # seconds between two looks whether a drain is over


def pause(args: Namespace) -> int:
    """Hold a scope until its end comes or a person resumes it; 0."""
    halt = _halt(args)
    with at_work(args) as desk:
        now, scope = desk.page.now, _scope(desk, args.scope)
        hold = Hold(
            scope=scope,
            origin=Origin.OPERATOR,
            since=now,
            until=_until(desk, args.until),
            reason=args.reason,
            by=person(),
            halt=halt,
        )
        desk.store.hold(hold, now)
        doorbell.ring(desk.state)
        running = len(desk.picture().epochs[scope])
        if args.json:
            print(plain.line(plain.hold(hold) | {"running": running}))
        else:
            becomes = _running(running, halt) + _when(desk, running, halt)
            print(f"{scope_words(scope)} {hold_words(hold, desk.page)}{becomes}")
    return 0


def _halt(args: Namespace) -> Halt:
    """What the pause does to attempts that run: nothing, what --now says, or what the setting says."""
    if args.now != SETTING:
        return Halt(args.now)
    from tidegate.cli.config import loaded  # noqa: PLC0415 - only --now alone asks the settings

    return Halt(loaded(args).settings.supervisor.pause)


def _until(desk: Desk, said: str | None) -> datetime | None:
    if said is None:
        return None
    try:
        until = when.instant(said, desk.page.now, desk.page.zone)
    except ValueError as error:
        raise BadInput(f"--until: {error}") from None
    if until <= desk.page.now:
        raise BadInput(f"--until: is over already, {allowed.but(said)}")
    return until


def _running(number: int, halt: Halt) -> str:
    if not number:
        return ""
    match halt:
        case Halt.FREEZE:
            return f"; {counted(number, 'running attempt stands still', 'running attempts stand still')}"
        case Halt.INTERRUPT:
            return f"; {counted(number, 'running attempt is', 'running attempts are')} ended and queued again"
        case _:
            return f"; {counted(number, 'running attempt goes', 'running attempts go')} on to the end"


def _when(desk: Desk, number: int, halt: Halt) -> str:
    """Nothing that runs is stopped before somebody works here."""
    waits = number and halt is not Halt.NONE and desk.works().pid is None
    return ", as soon as somebody works here: `tidegate serve`" if waits else ""


def resume(args: Namespace) -> int:
    """Take a person's holds off a scope, and end its wait for a reset; 0."""
    with at_work(args) as desk:
        scope = _scope(desk, args.scope)
        scopes = [scope, f"host:{desk.host}"] if scope == EVERYTHING else [scope]
        lifted = [hold for one in scopes for hold in _lifted(desk, one)]
        reopened = [hold for one in scopes for hold in _reopened(desk, one)]
        doorbell.ring(desk.state)
        left = [hold for hold in desk.store.holds() if _touches(hold, scope) and not _is_of(hold, reopened)]
        told = (
            _form(desk, scope, lifted, reopened, left) if args.json else _resumed(desk, scope, lifted, reopened, left)
        )
        for line in told:
            print(line)
    return 0


def _lifted(desk: Desk, scope: str) -> list[Hold]:
    return desk.store.lift(scope, desk.page.now, by=person(), origins=BY_HAND)


def _reopened(desk: Desk, scope: str) -> list[Hold]:
    """End each wait for a reset now: the next claim turns it into a ramp, so that one job goes first."""
    now, store = desk.page.now, desk.store
    with store.group():
        waiting = [hold for hold in store.holds() if hold.scope == scope and _waits_for_reset(hold, desk)]
        if waiting:
            store.lift(scope, now, by=person(), origins=[Origin.LIMIT])
        for hold in waiting:
            store.hold(replace(hold, until=now, by=person()), now)
    return waiting


def _touches(hold: Hold, scope: str) -> bool:
    """Whether a hold that is left still keeps something of a scope back."""
    return scope == EVERYTHING or hold.scope in (scope, EVERYTHING) or hold.scope.startswith(f"{scope}/")


def _is_of(hold: Hold, holds: Sequence[Hold]) -> bool:
    return (hold.scope, hold.origin, hold.window) in [(one.scope, one.origin, one.window) for one in holds]


def _waits_for_reset(hold: Hold, desk: Desk) -> bool:
    return hold.origin is Origin.LIMIT and not hold.ramp and hold.until is not None and hold.until > desk.page.now


def _left_frozen(desk: Desk) -> int:
    """How many attempts stand still because whoever froze them is gone."""
    if desk.works().pid is not None:
        return 0
    running = desk.store.running()
    rests = (handover.read_rest(places.attempt(desk.state, job.id, attempt.n)) for job, attempt in running)
    return sum(rest.since is not None for rest in rests)


def _form(
    desk: Desk, scope: str, lifted: Sequence[Hold], reopened: Sequence[Hold], left: Sequence[Hold]
) -> Iterator[str]:
    told = {"lifted": lifted, "reopened": reopened, "left": left}
    holds = {what: [plain.hold(hold) for hold in holds] for what, holds in told.items()}
    yield plain.line({"scope": scope} | holds | {"left_frozen": _left_frozen(desk)})


def _resumed(
    desk: Desk, scope: str, lifted: Sequence[Hold], reopened: Sequence[Hold], left: Sequence[Hold]
) -> Iterator[str]:
    page = desk.page
    for hold in lifted:
        yield f"resumed: {scope_words(hold.scope)} ({hold_words(hold, page)})"
    for hold in reopened:
        yield f"reopened, one job goes first: {scope_words(hold.scope)} ({hold_words(hold, page)})"
    if not lifted and not reopened:
        yield f"nothing held {scope_words(scope)} that a person can take away"
    for hold in left:
        yield f"still there: {scope_words(hold.scope)} {hold_words(hold, page)}"
    if desk.works().pid is None:
        frozen = _left_frozen(desk)
        still = f"; until then {counted(frozen, 'attempt stands', 'attempts stand')} still" if frozen else ""
        yield f"nobody works here: `tidegate serve` goes on, or `tidegate run FILE` with its batch{still}"


def drain(args: Namespace) -> int:
    """Ask the supervisor to start nothing more and to leave when what runs has ended; 0."""
    with opened(args) as desk:
        works = desk.works() if desk is not None else None
        if desk is None or works is None or works.pid is None:  # a request that is left would end the next one
            print(plain.line({"draining": None, "running": 0}) if args.json else "nobody works here: nothing to drain")
            return 0
        desk.store.ask(Ask.DRAIN, desk.page.now, by=person())
        doorbell.ring(desk.state)
        running = len(desk.store.running())
        left = f", {counted(running, 'running attempt goes', 'running attempts go')} on to the end" if running else ""
        form = {"draining": works.pid, "running": running}
        print(plain.line(form) if args.json else f"pid {works.pid} drains{left}", flush=True)
        while args.wait and desk.works().pid == works.pid:
            time.sleep(AGAIN)
    return 0


# --- what a scope means ---


def _scope(desk: Desk, text: str) -> str:
    """A scope as the store knows it. Raises BadInput."""
    kind, colon, name = text.partition(":")
    if text == EVERYTHING or any(text == hold.scope for hold in desk.store.holds()):
        return text
    match kind if colon else "":
        case "host" if name:
            return f"host:{_checked('host:', allowed.name, name)}"
        case "host":
            raise BadInput("host: names no host")
        case "batch":
            return f"batch:{find.batch(desk.store, name).name}"
        case "job":
            return f"job:{find.job(desk.store, name).id}"
        case _:
            account, slash, model = text.partition("/")
            if slash and not model:
                raise BadInput(f"{find.quoted(text)} names no model")
            return _account(desk, account) + (f"/{family(model)}" if slash else "")


def _account(desk: Desk, name: str) -> str:
    """An account that the store knows; before the first batch any that could be one. Raises BadInput."""
    if find.accounts(desk.store):
        return find.account(desk.store, name)
    return _checked("SCOPE: an account", allowed.word, name)


def _checked(place: str, check: allowed.Check[str], said: str) -> str:
    try:
        return check(said)
    except allowed.Wrong as wrong:
        raise BadInput(f"{place} {wrong}") from None
