"""`doctor --deep` and `doctor --repair`: what is wrong is told in a line each, and mended where that can be."""

from __future__ import annotations

import json

from corrupted import sql
from filled import Night, job
from installed import Tidegate


def test_a_deep_look_says_what_is_wrong_and_what_a_repair_would_do(tidegate: Tidegate) -> None:
    Night(tidegate.state).submit("b", job("a"), job("b"))
    whole = tidegate("doctor", "--deep")
    assert whole.returncode == 0
    assert whole.stdout.splitlines()[-1].endswith("the database, its files and its processes fit together")
    sql(tidegate.state, "UPDATE job SET lost = 7 WHERE name = 'b'")
    done = tidegate("doctor", "--deep")
    assert done.returncode == 5
    last = done.stdout.splitlines()[-1]
    assert last.split()[:2] == ["wrong", "state"]
    assert "job 2 counts 7 lost attempts, but its events say 0: tidegate doctor --repair" in last
    told = json.loads(tidegate("doctor", "--deep", "--json").stdout.splitlines()[-1])
    assert (told["kind"], told["verdict"], told["repair"]) == ("job_lost", "wrong", "they are counted again")
