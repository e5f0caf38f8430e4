"""Decides what a person is told: which events, by what `on` of [notify] says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from tidegate import allowed
from tidegate.allowed import Wrong
from tidegate.model import Event, Origin

Gate = tuple[str, str, str]  # scope, origin, window

ENDS = ("succeeded", "failed", "error", "cancelled", "skipped")  # the states in which a job ends
KINDS = ("needs_human", "hold", "opened", "finished", "budget", *ENDS)
LOUD = dict.fromkeys(("needs_human", "error"), "error")
LEVELS = LOUD | dict.fromkeys(("hold", "failed", "budget"), "warning")  # the others are "info"
EXPECTED = (Origin.OPERATOR, Origin.HOURS, Origin.HOST, Origin.START)  # people know of these: they asked for them
TOLD_APART = Origin.BUDGET  # its event comes first
UNITS = (("h", 3600), ("m", 60))
WISH = re.compile(r"(\w+)\s*(?:>\s*(.*))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants to be told: one of KINDS, of holds only those that are longer than `longer` seconds."""

    kind: str
    longer: float = 0.0

    def __str__(self) -> str:
        unit, length = next((one for one in UNITS if self.longer % one[1] == 0), ("s", 1))
        return f"{self.kind}>{self.longer / length:g}{unit}" if self.longer else self.kind


def wish(value: object) -> Wish:
    """One value of `on`, as it is written: "finished", "hold>30m". Raises Wrong."""
    said = allowed.name(value)
    found = WISH.fullmatch(said)
    if found is None or found[1] not in KINDS:
        meant = allowed.meant(said.partition(">")[0], KINDS) or f"; allowed are {', '.join(KINDS)}, and hold>30m"
        raise Wrong(f"is nothing to be told, {allowed.but(said)}{meant}")
    if found[2] is None:
        return Wish(found[1])
    if found[1] != "hold":
        raise Wrong(f"only a hold has a length, {allowed.but(said)}")
    return Wish("hold", allowed.seconds(zero=True)(found[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whom to tell: a program and its arguments, what of (`on`), and its environment.

    Between the starts of two calls lie at least `every` seconds; a call may take `timeout` seconds.
    """

    command: tuple[str, ...]
    on: tuple[Wish, ...]
    every: float
    timeout: float
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Watch:
    """The gates that have been shut and have not opened since: when they shut, and which a person was told of."""

    since: Mapping[Gate, datetime] = field(default_factory=dict)
    told: frozenset[Gate] = frozenset()


def heard(event: Event, watch: Watch, wishes: Sequence[Wish]) -> tuple[Watch, str | None]:
    """The watch after one more event, and the kind of the notice that it is worth, None for none.

    Whether a batch has finished is not to be seen from one event: `job ended` only gives occasion to look.
    """
    match event.name:
        case "gate shut" | "gate moved":
            return _shut(event, watch, wishes)
        case "budget spent":
            return watch, _wanted("budget", wishes)
        case "job stuck":
            return watch, _wanted("needs_human", wishes)
        case "gate ramped" | "gate opened" | "gate lifted":
            return _opened(event, watch, wishes)
        case "job ended":
            return watch, _wanted(str(event.data.get("state")), wishes)
        case _:
            return watch, None


def _wanted(kind: str, wishes: Sequence[Wish]) -> str | None:
    return kind if any(one.kind == kind for one in wishes) else None


def _shut(event: Event, watch: Watch, wishes: Sequence[Wish]) -> tuple[Watch, str | None]:
    """A hold that goes on, also from refusal to refusal, is one hold: it is told once, when it is long enough."""
    origin = event.data.get("origin")
    if origin in (*EXPECTED, TOLD_APART):
        return watch, None
    gate = _gate(event)
    watch = replace(watch, since={gate: event.at, **watch.since})
    kind = "needs_human" if origin == Origin.HUMAN else "hold"
    if gate in watch.told or not any(one.kind == kind and _long(event, watch.since[gate], one) for one in wishes):
        return watch, None
    return replace(watch, told=watch.told | {gate}), kind


def _long(event: Event, since: datetime, wanted: Wish) -> bool:
    """Whether a hold is longer than wanted; one whose end nobody knows is."""
    until = event.data.get("until")
    return not until or datetime.fromisoformat(until) - since > timedelta(seconds=wanted.longer)


def _opened(event: Event, watch: Watch, wishes: Sequence[Wish]) -> tuple[Watch, str | None]:
    """Open again: somebody lifted the hold, or the provider has answered. Who was told of no hold need not know."""
    gate = _gate(event)
    if gate not in watch.since:
        return watch, None
    rest = {other: at for other, at in watch.since.items() if other != gate}
    silent = gate not in watch.told and _wanted("hold", wishes) is not None
    return Watch(rest, watch.told - {gate}), None if silent else _wanted("opened", wishes)


def _gate(event: Event) -> Gate:
    return (event.scope or "", str(event.data.get("origin")), str(event.data.get("window")))
