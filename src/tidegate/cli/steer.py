"""The verbs by which a person steers: `pause` and `resume`."""

from __future__ import annotations

import os
import pwd
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tidegate import allowed, doorbell
from tidegate.errors import BadInput
from tidegate.look import find, plain
from tidegate.look.desk import Desk, at_work
from tidegate.look.why import hold_words, scope_words
from tidegate.look.words import counted
from tidegate.model import Hold, Origin, family

EVERYTHING = "*"
BY_HAND = (Origin.OPERATOR, Origin.HUMAN)  # what `resume` takes away; a limit it lets reopen


def pause(args: Namespace) -> int:
    """Hold a scope until a person resumes it; 0."""
    with at_work(args) as desk:
        now, scope = desk.page.now, _scope(desk, args.scope)
        hold = Hold(scope=scope, origin=Origin.OPERATOR, since=now, reason=args.reason, by=_person())
        desk.store.hold(hold, now)
        doorbell.ring(desk.state)
        running = len(desk.picture().epochs[scope])
        if args.json:
            print(plain.line(plain.hold(hold) | {"running": running}))
        else:
            print(f"{scope_words(scope)} {hold_words(hold, desk.page)}{_running(running)}")
    return 0


def _running(number: int) -> str:
    return f"; {counted(number, 'running attempt goes', 'running attempts go')} on to the end" if number else ""


def resume(args: Namespace) -> int:
    """Take a person's holds off a scope, and end its wait for a reset; 0."""
    with at_work(args) as desk:
        scope = _scope(desk, args.scope)
        scopes = [scope, f"host:{desk.host}"] if scope == EVERYTHING else [scope]
        lifted = [hold for one in scopes for hold in _lifted(desk, one)]
        reopened = [hold for one in scopes for hold in _reopened(desk, one)]
        doorbell.ring(desk.state)
        left = [hold for hold in desk.store.holds() if _touches(hold, scope) and not _is_of(hold, reopened)]
        told = _form(scope, lifted, reopened, left) if args.json else _resumed(desk, scope, lifted, reopened, left)
        for line in told:
            print(line)
    return 0


def _lifted(desk: Desk, scope: str) -> list[Hold]:
    return desk.store.lift(scope, desk.page.now, by=_person(), origins=BY_HAND)


def _reopened(desk: Desk, scope: str) -> list[Hold]:
    """End each wait for a reset now: the next claim turns it into a ramp, so that one job goes first."""
    now, store = desk.page.now, desk.store
    waiting = [hold for hold in store.holds() if hold.scope == scope and _waits_for_reset(hold, desk)]
    with store.group():
        if waiting:
            store.lift(scope, now, by=_person(), origins=[Origin.LIMIT])
        for hold in waiting:
            store.hold(replace(hold, until=now, by=_person()), now)
    return waiting


def _touches(hold: Hold, scope: str) -> bool:
    """Whether a hold that is left still keeps something of a scope back."""
    return scope == EVERYTHING or hold.scope in (scope, EVERYTHING) or hold.scope.startswith(f"{scope}/")


def _is_of(hold: Hold, holds: Sequence[Hold]) -> bool:
    return (hold.scope, hold.origin, hold.window) in [(one.scope, one.origin, one.window) for one in holds]


def _waits_for_reset(hold: Hold, desk: Desk) -> bool:
    return hold.origin is Origin.LIMIT and not hold.ramp and hold.until is not None and hold.until > desk.page.now


def _form(scope: str, lifted: Sequence[Hold], reopened: Sequence[Hold], left: Sequence[Hold]) -> Iterator[str]:
    told = {"lifted": lifted, "reopened": reopened, "left": left}
    yield plain.line({"scope": scope} | {what: [plain.hold(hold) for hold in holds] for what, holds in told.items()})


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
        yield "nobody works here: `tidegate run FILE` goes on"


# --- what a scope means ---


def _scope(desk: Desk, text: str) -> str:
    """A scope as the store knows it. Raises BadInput."""
    kind, colon, name = text.partition(":")
    if text == EVERYTHING or any(text == hold.scope for hold in desk.store.holds()):
        return text
    match kind if colon else "":
        case "host" if name:
            return text
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
    try:
        return allowed.word(name)
    except allowed.Wrong as wrong:
        raise BadInput(f"SCOPE: an account {wrong}") from None


def _person() -> str:
    """Who acts: the login name of this process's user."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
