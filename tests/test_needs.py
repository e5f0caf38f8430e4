"""When a group whose jobs wait for other groups may start."""

from __future__ import annotations

import pytest

from tidegate import needs
from tidegate.model import Group, Stand, State, When

FINISHED, ALL, ANY = When.FINISHED, When.ALL_SUCCEEDED, When.ANY_SUCCEEDED
OPEN, WAITING, HOPELESS = Stand.OPEN, Stand.WAITING, Stand.HOPELESS
QUEUED, RUNNING, GOOD, BAD = State.QUEUED, State.RUNNING, State.SUCCEEDED, State.FAILED

STANDS = [  # what is needed, group by group; by any end, by all successes, by any success
    ([{}], OPEN, OPEN, OPEN),
    ([{}, {GOOD: 0}], OPEN, OPEN, OPEN),
    ([{QUEUED: 1}], WAITING, WAITING, WAITING),
    ([{RUNNING: 1, GOOD: 3}], WAITING, WAITING, WAITING),
    ([{GOOD: 3}, {QUEUED: 1}], WAITING, WAITING, WAITING),
    ([{GOOD: 3}, {GOOD: 1}], OPEN, OPEN, OPEN),
    ([{QUEUED: 1, BAD: 1}], WAITING, HOPELESS, WAITING),
    ([{GOOD: 1, BAD: 1}], OPEN, HOPELESS, OPEN),
    ([{BAD: 2}, {}], OPEN, HOPELESS, HOPELESS),
    ([{State.ERROR: 1}], OPEN, HOPELESS, HOPELESS),
    ([{State.CANCELLED: 1}], OPEN, HOPELESS, HOPELESS),
    ([{State.SKIPPED: 1}], OPEN, HOPELESS, HOPELESS),
]


@pytest.mark.parametrize(("needed", "finished", "all_", "any_"), STANDS)
def test_where_a_group_stands(needed: list[dict[State, int]], finished: Stand, all_: Stand, any_: Stand) -> None:
    for when, stand in ((FINISHED, finished), (ALL, all_), (ANY, any_)):
        assert needs.stand(when, needed, started=False) is stand
        assert needs.stand(when, needed, started=True) is OPEN


def test_why_a_group_can_never_begin() -> None:
    group = Group(id=1, batch=1, batch_name="b", name="T5", needs=("T0",))
    assert needs.why_hopeless(group, ("T0/3", State.ERROR)) == "needs group T0, where T0/3 ended in an error"
    assert needs.why_hopeless(group, None) == "needs group T0, where no job succeeded"
    wants = Group(id=1, batch=1, batch_name="b", name="T5", needs=("T0", "T1", "T2"), when=ANY)
    assert needs.why_hopeless(wants, ("T0/3", BAD)) == "needs groups T0, T1 and T2, where no job succeeded"
