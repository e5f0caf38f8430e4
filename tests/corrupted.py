"""A real state directory, and ways to break it by hand."""

from __future__ import annotations

import shutil
import signal
import subprocess
from contextlib import closing
from pathlib import Path

import apsw
from installed import Tidegate

from tidegate import places


def real(place: Path) -> Tidegate:
    """Jobs that a service has worked on: two have succeeded, one has failed twice, and a fourth is skipped for that.

    By number: 1 well (it has a secret), 2 after, 3 bad, 4 vain, 5 paused, 6 later (for the day after tomorrow).
    """
    program = Tidegate(place, env={"TIDEGATE_RETRY__FIRST": "0s"})
    for job in (
        "--name well --env API_KEY=hush-hush-hush --env PLAIN=yes -- sh -c echo",
        "--name after --after well -- true",
        "--name bad --max-attempts 2 -- false",
        "--name vain --after bad -- true",
        "--name paused --batch other --in 1s -- true",
        "--name later --batch other --in 48h --env A_TOKEN=quiet -- true",
    ):
        done = program("submit", *job.split())
        assert done.returncode == 0, done.stderr
    assert program("pause", "job:5", "--reason", "lunch").returncode == 0
    serving = program.start("serve")
    assert program("wait", "1-4").returncode == 1
    serving.send_signal(signal.SIGINT)
    assert serving.wait() == 0
    return program


def copied(made: Tidegate, place: Path) -> Tidegate:
    """The same elsewhere, to be broken."""
    shutil.copytree(made.state, place / "state", ignore=shutil.ignore_patterns("bell"))
    return Tidegate(place, env=dict(made.env))


def sql(state: Path, statement: str, *, careless: bool = True) -> None:
    """Change a database by hand; `careless`: without its own checks of values and references."""
    with closing(apsw.Connection(str(places.database(state)))) as db:
        if careless:
            db.execute("PRAGMA ignore_check_constraints = ON")
        else:
            db.execute("PRAGMA foreign_keys = ON")
        db.execute(statement)


def asked(state: Path, question: str) -> list[tuple[object, ...]]:
    with closing(apsw.Connection(str(places.database(state)))) as db:
        return list(db.execute(question))


def sleeper(mark: str, place: Path) -> subprocess.Popen[bytes]:
    """A process that carries the mark of an attempt."""
    env = {"TIDEGATE_ATTEMPT": mark, "PATH": "/usr/bin:/bin"}
    return subprocess.Popen(["sleep", "60"], env=env, cwd=place, start_new_session=True)


# what breaks the books, which kinds of findings that is, and words of one of them
GROUPS = "INSERT INTO \"group\" (batch, name) VALUES (1, 'g'); "
BOOKS = [
    ("UPDATE job SET state = 'running', unmet = 0 WHERE id = 5", {"job_running"}, "job 5 runs, but has no open"),
    ("UPDATE attempt SET ended_at = NULL, outcome = NULL WHERE job = 1", {"attempt_open", "attempt_told"}, "succeeded"),
    ("UPDATE attempt SET outcome = NULL WHERE job = 1", {"attempt_end"}, "attempt 1 of job 1 has ended"),
    ("UPDATE job SET ended_at = NULL WHERE id = 1", {"job_end"}, "job 1 is succeeded, but has no end"),
    ("UPDATE job SET state = 'failed' WHERE id = 2", {"job_untold"}, "job 2 is failed"),
    ("DELETE FROM event WHERE name = 'job ended' AND job = 2", {"job_untold"}, "job 2 is succeeded"),
    ("UPDATE job SET state = 'queued', ended_at = NULL WHERE id = 2", {"job_revived"}, "last event says that it has"),
    ("DELETE FROM event WHERE name = 'job added' AND job = 2", {"job_added"}, "job 2 has no event that it was added"),
    ("DELETE FROM definition WHERE job = 5", {"job_definition"}, "job 5 has no definition"),
    ("UPDATE definition SET spec = '{' WHERE job = 5", {"job_spec"}, "no JSON"),
    ("UPDATE job SET launches = 3 WHERE id = 3", {"job_launches"}, "counts 3 launches, but has 2 attempts"),
    ("DELETE FROM attempt WHERE job = 3 AND n = 1", {"job_launches", "attempt_row", "output_orphan"}, "has no row"),
    ("UPDATE attempt SET epoch = 1 WHERE job = 3 AND n = 1", {"attempt_claim"}, "no event of its claim"),
    ("DELETE FROM event WHERE name = 'attempt ended' AND job = 2", {"attempt_told"}, "0 events say that it has"),
    ("UPDATE job SET attempts = 1 WHERE id = 3", {"job_charged"}, "counts 1 charged attempts, but its events say 2"),
    ("UPDATE job SET charges = '{\"error\":9}' WHERE id = 3", {"job_charges"}, "counts 9 charged attempts by kind"),
    ("UPDATE job SET stage = 'publish' WHERE id = 5", {"job_stage"}, "is in its stage 'publish', but nothing tells"),
    ("UPDATE job SET spread = 0.5 WHERE id = 5", {"job_hint"}, "job 5 is expected to take NULL seconds"),
    ("UPDATE job SET lost = 1 WHERE id = 5", {"job_lost"}, "counts 1 lost attempts, but its events say 0"),
    ("UPDATE job SET limited_in_a_row = 2 WHERE id = 5", {"job_limited"}, "counts 2 limits in a row"),
    ("UPDATE job SET unmet = 1 WHERE id = 5", {"job_unmet"}, "waits for 1 jobs, but has 0 needs"),
    ("UPDATE need SET met = 0 WHERE job = 2; UPDATE job SET unmet = 1 WHERE id = 2", {"need_met"}, "waits for job 1"),
    ("INSERT INTO need VALUES (5, 3, 0); UPDATE job SET unmet = 1 WHERE id = 5", {"need_hopeless"}, "job 3, which is"),
    ("INSERT INTO need VALUES (5, 6, 0), (6, 5, 0); UPDATE job SET unmet = 1 WHERE id > 4", {"need_circle"}, "itself"),
    ("UPDATE lane SET queued = 7", {"lane_counts"}, "counts its jobs wrongly"),
    ("UPDATE job SET account = 'claude' WHERE id = 5", {"job_lane"}, "job 5 is in the lane of batch"),
    (GROUPS + "UPDATE lane SET shut = 1 WHERE id = 1", {"lane_shut"}, "is shut, but its group is none"),
    (GROUPS + "UPDATE \"group\" SET stand = 'waiting'", {"group_stand"}, "group g of batch 1 is waiting"),
    (GROUPS + "INSERT INTO group_need VALUES (1, 1)", {"group_circle"}, "group 1 needs itself"),
    ("UPDATE job SET held = 0", {"job_held"}, "job 5 does not count as held"),
    ("UPDATE hold SET origin = 'nobody'", {"hold_origin"}, "'nobody'"),
    ("UPDATE hold SET allow = -1", {"hold_allow"}, "the hold of job:5 (operator) allows -1"),
    ("UPDATE hold SET ramp = 1", {"hold_allow"}, "allows 0 as a ramp"),
    ("UPDATE hold SET origin = 'limit'", {"hold_end"}, "the hold of job:5 (limit) has no end"),
    ("INSERT INTO reserve VALUES ('a', '5h', 'x', 90, NULL)", {"reserve_part"}, "x says to stop at 90 of"),
    ("UPDATE hold SET origin = 'reserve', until = since", {"reserve_hold"}, "of which nobody says"),
    ("UPDATE hold SET epoch = 99999", {"hold_epoch"}, "event 99999, which is not here yet"),
    ("INSERT INTO opening VALUES ('x', 99999, '2026-01-01T00:00:00.000000Z')", {"hold_epoch"}, "the opening of x"),
    ("INSERT INTO habit VALUES ('x', '5h', NULL, NULL, NULL, -1.0, 0, 0.0, 0)", {"habit"}, "the 5h window of x cannot"),
    ("UPDATE attempt SET usage = '{\"cost_usd\":1.5}' WHERE job = 1", {"money"}, "tell of $1.500000 and 0"),
    (
        "INSERT INTO meter VALUES ('acct', '5h', '2026-01-01T00:00:00.000000Z', NULL, 1.5, NULL, 0, 0, NULL)",
        {"windows"},
        "the 5h window of acct is used by 1.50",
    ),
    ("INSERT INTO cost VALUES ('acct', 'b/', 2, 9, 1, 9, 1, 1, '2026-01-01T00:00:00.000000Z')", {"costs"}, "2 jobs of"),
    (
        "INSERT INTO held SELECT 'acct', at, at, 1, '5h', -1, 0.2, 0.1, NULL, 0 FROM event LIMIT 1",
        {"held"},
        "acct holds back job 1, of whose window -1.00 are left",
    ),
    (
        "INSERT INTO forecast VALUES (1, '2026-01-01T00:00:00.000000Z', 3, 4, NULL, NULL, NULL, '{}', '')",
        {"forecast"},
        "batch 1 was foretold at 2026-01-01",
    ),
    ("UPDATE attempt SET drawn = -5 WHERE job = 1", {"draws"}, "attempt 1 of job 1 has drawn -5"),
    (
        "INSERT INTO request (at, verb, target, by) VALUES ('2026-01-01T00:00:00.000000Z', 'cancel', 5, 'ann')",
        {"request_cancel"},
        "job 5 is to be cancelled, but is queued",
    ),
    ("UPDATE event SET data = '{' WHERE name = 'job added' AND job = 5", {"event_data"}, "tells no JSON"),
    (
        "UPDATE event SET data = 'attempt' WHERE name = 'attempt ended' AND job = 3",
        {"event_data", "job_charged"},
        "counts 2 charged attempts, but its events say 0",
    ),
    ("UPDATE event SET data = '' WHERE name = 'job ended' AND job = 4", {"event_data", "job_untold"}, "tells no JSON"),
    ("UPDATE event SET job = 99 WHERE name = 'job added' AND job = 1", {"event_job", "job_added"}, "which is not here"),
    ("UPDATE supervisor SET started_at = '2026-01-09 18:30'", {"times"}, "'2026-01-09 18:30' is no instant"),
    ("DROP TRIGGER job_moved", {"schema_part"}, "trigger job_moved is missing"),
    ("DROP INDEX job_ready", {"schema_part"}, "index job_ready is missing"),
    ("CREATE TABLE mine (x)", {"schema"}, "table mine is not ours"),
    ("ALTER TABLE batch ADD COLUMN colour TEXT", {"schema"}, "table batch is not as a new database has it"),
    ("DELETE FROM batch WHERE id = 2", {"reference"}, "refers to a row of batch that is not there"),
    ("UPDATE migration SET version = version + 100", {"newer"}, "made by a newer tidegate"),
]  # fmt: skip
