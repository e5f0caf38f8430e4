"""What the store tells those who only look."""

from __future__ import annotations

from typing import Any

import pytest

from stores.world import World, new
from tidegate.errors import StoreBroken
from tidegate.model import Account, Batch, Cancelled, Interrupted, State
from tidegate.stores import Store


def test_counts_are_by_state_and_by_batch(world: World) -> None:
    one = world.submit(*"abcd", batch="one").batch.id
    two = world.submit("e", batch="two").batch.id
    claims = world.claim(3, batch=one)
    world.finish(claims[0])
    world.finish(claims[1], Interrupted(reason="drained"))
    nothing = dict.fromkeys(State, 0)
    assert world.store.counts(one) == {**nothing, State.QUEUED: 2, State.RUNNING: 1, State.SUCCEEDED: 1}
    assert world.store.counts(two) == {**nothing, State.QUEUED: 1}
    assert world.store.counts() == {**nothing, State.QUEUED: 3, State.RUNNING: 1, State.SUCCEEDED: 1}
    assert world.store.counts(99) == nothing


def test_counts_are_by_account_too(world: World) -> None:
    one = world.submit("a", "b", batch="one", account="mine").batch.id
    world.submit("c", batch="two", account="mine")
    world.submit("d", batch="one", account="other")
    assert world.store.counts(account="mine")[State.QUEUED] == 3
    assert world.store.counts(one, "mine")[State.QUEUED] == 2
    assert world.store.counts(account="nobody")[State.QUEUED] == 0


def test_the_latest_answer_of_each_account_is_told(world: World) -> None:
    world.submit("a", account="mine")
    world.submit("b", account="other")
    assert world.store.answered_at() == {}
    claim = next(one for one in world.claim(2) if one[0].account == "mine")
    world.store.note_progress(claim[1], world.now)
    assert world.store.answered_at() == {"mine": world.now}


def test_jobs_are_listed_by_id_whatever_is_asked_for(world: World) -> None:
    first = world.submit("a", "b", "c", batch="one").batch.id
    world.submit("d", "e", batch="two", account="other", model="opus")
    world.submit("f", batch="one", account="other")
    world.finish(world.take())

    def listed(**asked: object) -> str:
        return "".join(job.name for job in world.store.jobs(**asked))  # type: ignore[arg-type]

    assert listed() == "abcdef"
    assert listed(most=2) == "ab"
    assert listed(after=world.job("b").id, most=2) == "cd"
    assert listed(batch=first) == "abcf"
    assert listed(account="other") == "def"
    assert listed(batch=first, account="other") == "f"
    assert listed(states=[State.QUEUED]) == "bcdef"
    assert listed(states=[State.QUEUED, State.SUCCEEDED], most=3) == "abc"
    assert listed(states=[State.QUEUED], after=world.job("c").id, most=2) == "de"
    assert listed(batch=99) == listed(states=[State.FAILED]) == ""


def test_jobs_are_listed_from_the_newest(world: World) -> None:
    first = world.submit("a", "b", "c", batch="one").batch.id
    world.submit("d", "e", batch="two", account="other", model="opus")
    world.submit("f", batch="one", account="other")
    world.finish(world.take())

    def listed(**asked: object) -> str:
        return "".join(job.name for job in world.store.jobs(newest_first=True, **asked))  # type: ignore[arg-type]

    assert listed() == "fedcba"
    assert listed(most=2) == "fe"
    assert listed(after=world.job("e").id, most=2) == "dc"
    assert listed(after=world.job("a").id) == ""
    assert listed(batch=first) == "fcba"
    assert listed(states=[State.QUEUED, State.SUCCEEDED], account="acct") == "cba"
    assert listed(states=[State.QUEUED], after=world.job("c").id) == "b"


LABELLED = {"train/0": {"tier": "1"}, "train/1": {"tier": "2", "x": ""}, "test/0": {"tier": "1"}, "TEST/1": {}}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"name": "train/*"}, ["train/0", "train/1"]),
        ({"name": "test/?"}, ["test/0"]),
        ({"name": "*/[01]", "label": ("tier", "1")}, ["train/0", "test/0"]),
        ({"name": "t*/[^0]"}, ["train/1"]),
        ({"name": "train/0"}, ["train/0"]),
        ({"name": ""}, []),
        ({"name": "train"}, []),
        ({"name": "\ud800*"}, []),
        ({"name": "*\0"}, []),
        ({"name": "*" * 20_000}, []),
        ({"label": ("tier", "1")}, ["train/0", "test/0"]),
        ({"label": ("tier", "3")}, []),
        ({"label": ("x", "")}, ["train/1"]),
        ({"label": ("$.tier", "1")}, []),
        ({"label": ("\ud800", "\udcff")}, []),
        ({"label": ("tier", "ü")}, ["odd"]),
        ({"label": ('a"b', "\\\n")}, ["odd"]),
        ({"label": ("tier", "1"), "states": [State.QUEUED], "most": 1}, ["train/0"]),
        ({"label": ("tier", "1"), "newest_first": True}, ["test/0", "train/0"]),
        ({"label": ("tier", "1"), "states": [State.FAILED]}, []),
    ],
    ids=range(20),
)
def test_jobs_are_found_by_the_pattern_of_their_name_and_by_label(
    world: World, asked: dict[str, Any], found: list[str]
) -> None:
    odd = {"tier": "ü", 'a"b': "\\\n"}
    jobs = [*(new(name, labels=labels) for name, labels in LABELLED.items()), new("odd", labels=odd, cwd="/\udcff")]
    world.store.submit(Batch("b"), jobs, world.now)
    assert [job.name for job in world.store.jobs(**asked)] == found
    assert [job.name for job in world.store.jobs(**{"batch": 1, "account": "acct", **asked})] == found


def test_jobs_that_ended_before_an_instant_are_told_by_id(world: World) -> None:
    world.submit("a", "b", "c", "d")
    claims = world.claim(4)
    for place in (2, 0):
        world.finish(claims[place])
        world.wait(60)
    world.finish(claims[1])

    def ended(seconds: float, **asked: int) -> str:
        return "".join(job.name for job in world.store.ended(world.ahead(seconds), **asked))

    assert (ended(1), ended(0), ended(-60), ended(-120)) == ("abc", "ac", "c", "")
    assert ended(1, most=2) == "ab"
    assert ended(1, after=claims[1][0].id) == "c"
    world.store.retry(claims[0][0].id, world.now, by="ann")
    assert ended(1) == "bc"


def test_events_are_told_in_order_and_by_job_or_batch(world: World) -> None:
    one = world.submit("a", batch="one").batch.id
    world.submit("b", batch="two")
    claims = world.claim(2)
    world.finish(claims[0])
    events = world.store.events()
    assert [event.seq for event in events] == list(range(1, world.store.last_seq() + 1))
    mine = ["job added", "attempt claimed", "attempt ended", "job ended"]
    assert [event.name for event in world.store.events(job=claims[0][0].id)] == mine
    assert [event.name for event in world.store.events(batch=one)] == mine
    assert world.store.events(after=events[2].seq, most=2) == events[3:5]
    assert [event.name for event in world.store.events(batch=one, after=events[1].seq, most=2)] == mine[1:3]


def test_accounts_keep_what_they_are_given(world: World) -> None:
    world.accounts(Account(name="b", max_running=2, cautious=True), Account(name="a"))
    world.accounts(Account(name="a", max_running=1))
    world.accounts(Account(name="a", max_running=1))
    assert world.store.accounts() == [Account(name="a", max_running=1), Account(name="b", max_running=2, cautious=True)]


def test_what_is_not_there_is_none_or_nothing(world: World) -> None:
    assert world.store.job(7) is None
    assert world.store.job_names([7]) == {}
    assert world.store.jobs_named("x") == []
    assert world.store.attempts(7) == []
    assert world.store.next_due(world.now) is None


def test_supervisors_are_those_that_have_not_left(world: World) -> None:
    world.enter("you", host="there")
    assert [one.uuid for one in world.store.supervisors()] == ["me", "you"]
    world.store.leave("me", world.now)
    assert [one.uuid for one in world.store.supervisors()] == ["you"]
    assert [event.data["host"] for event in world.events("supervisor entered")] == ["here", "there"]


def test_a_store_that_was_given_back_answers_nothing(store: Store) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreBroken):
        store.holds()


def test_names_are_told_of_the_jobs_that_there_are(world: World) -> None:
    world.submit("a", "b")
    a, b = world.job("a").id, world.job("b").id
    assert world.store.job_names([b, a, 77]) == {a: "a", b: "b"}


def test_reads_of_one_moment_see_one_state(world: World) -> None:
    world.submit("a", "b")
    with world.store.moment():
        before = world.store.counts()
        assert [job.state for job in world.store.jobs()] == [State.QUEUED, State.QUEUED]
        assert world.store.counts() == before
    world.take()
    assert world.store.counts()[State.RUNNING] == 1


def test_how_long_the_newest_success_of_a_name_took(world: World) -> None:
    for batch, seconds, ends in (("b", 5, True), ("c", 8, True), ("d", 3, False)):
        world.submit("a", "x", batch=batch)
        one, other = world.claim(2)
        world.wait(seconds)
        world.finish(one) if ends else world.fail(one)
        world.store.cancel(other[0].id, world.now, by="ann")
        world.finish(other, Cancelled())
    assert world.store.lengths(["a", "x", "nobody"]) == {"a": 8.0}
    assert world.store.lengths([]) == {}
