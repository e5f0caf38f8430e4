"""What of all that happens is worth a notice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tidegate import notice
from tidegate.allowed import Wrong
from tidegate.model import Event
from tidegate.notice import Watch, Wish, heard, wish

NOW = datetime(2026, 1, 9, 18, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("finished", Wish("finished")),
        ("hold", Wish("hold")),
        ("hold>30m", Wish("hold", 1800)),
        ("hold > 1h30m", Wish("hold", 5400)),
    ],
)
def test_a_wish_is_a_kind_and_of_holds_a_length(said: str, meant: Wish) -> None:
    assert wish(said) == meant
    assert wish(str(meant)) == meant


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("finish", "is nothing to be told, not 'finish'; did you mean finished?"),
        ("hold>", "must be seconds or text like"),
        ("hold>soon", "must be seconds or text like"),
        ("failed>3m", "only a hold has a length"),
        ("", "must not be empty"),
        ("a\nb", "must be one line"),
        (7, "must be text"),
    ],
)
def test_a_wish_that_is_none_says_what_is_allowed(said: object, why: str) -> None:
    with pytest.raises(Wrong) as bad:
        wish(said)
    assert why in str(bad.value)


def event(name: str, minutes: int = 0, *, until: int | None = None, **data: object) -> Event:
    ends = None if until is None else (NOW + timedelta(minutes=until)).isoformat()
    said = {"origin": "limit", "window": "5h", "until": ends, **data}
    return Event(seq=1, at=NOW + timedelta(minutes=minutes), name=name, scope="claude", data=said)


def kinds(events: list[Event], *wishes: str) -> list[str | None]:
    watch, told = Watch(), []
    for one in events:
        watch, kind = heard(one, watch, [wish(said) for said in wishes])
        told.append(kind)
    return told


LONG = event("gate shut", until=31)


@pytest.mark.parametrize(
    ("events", "told"),
    [
        ([event("gate shut", until=30)], [None]),
        ([LONG], ["hold"]),
        ([event("gate shut", until=None)], ["hold"]),
        ([event("gate shut", until=5), event("gate moved", 1, until=40)], [None, "hold"]),
        ([LONG, event("gate moved", 1, until=90)], ["hold", None]),
        ([LONG, event("gate reopening", 31), event("gate shut", 32, until=90)], ["hold", None, None]),
        ([LONG, event("gate lifted", 2), event("gate shut", 3, until=90)], ["hold", None, "hold"]),
        ([LONG, event("gate ramped", 32), event("gate shut", 40, until=90)], ["hold", None, "hold"]),
        ([LONG, event("gate shut", until=31, window="week")], ["hold", "hold"]),
        ([event("gate shut", until=5), event("gate shut", 20, until=35)], [None, "hold"]),  # refused again and again
        ([event("gate shut", until=90, origin=origin) for origin in ("operator", "hours", "host")], [None] * 3),
        ([event("gate shut", origin="human")], [None]),
        ([event("gate shut", origin="budget")], [None]),
    ],
)
def test_a_hold_is_told_once_when_it_is_long_enough(events: list[Event], told: list[str | None]) -> None:
    assert kinds(events, "hold>30m") == told


def test_each_kind_is_told_where_it_is_wanted() -> None:
    happened = {
        "needs_human": event("gate shut", origin="human"),
        "hold": LONG,
        "budget": Event(seq=1, at=NOW, name="budget spent", scope="batch:b", data={"on_exceed": "warn"}),
        **{state: Event(seq=1, at=NOW, name="job ended", job=1, data={"state": state}) for state in notice.ENDS},
    }
    for wanted in happened:
        assert [kind for one in happened.values() for kind in kinds([one], wanted) if kind] == [wanted]
    assert kinds([event("job stuck", origin="human")], "needs_human") == ["needs_human"]
    assert kinds([LONG, event("gate ramped", 40), event("gate ramped", 41)], "opened") == [None, "opened", None]


def test_who_wants_to_know_of_long_holds_is_told_when_those_open_and_not_when_others_do() -> None:
    told = [LONG, event("gate ramped", 40), event("gate shut", 50, until=51), event("gate ramped", 52)]
    assert kinds(told, "opened", "hold>30m") == ["hold", "opened", None, None]


def test_what_was_not_told_as_shut_is_not_told_as_open() -> None:
    assert kinds([event("gate ramped", 1)], "opened", "hold") == [None]


def test_other_events_are_nothing_to_tell() -> None:
    assert kinds([event("attempt claimed"), event("job submitted")], *notice.KINDS) == [None, None]
