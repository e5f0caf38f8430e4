-- Every statement of the SQLite store, each after its name and its purpose.
-- Instants are text in UTC, always of one width (2026-01-09T18:30:00.000000Z): people read them, they sort, and
-- SQLite's own date functions take them. Flags are 0 or 1; data, spec and usage are JSON.

-- settings: how every connection works
PRAGMA foreign_keys = ON;
PRAGMA recursive_triggers = OFF;
PRAGMA temp_store = MEMORY;
PRAGMA synchronous = FULL;

-- wal: readers beside one writer; what is committed survives a power cut
PRAGMA journal_mode = WAL;

-- leave_wal: everything in the one file, as long as nobody else has it open
PRAGMA journal_mode = DELETE;

-- begin_alone: nobody reads or writes from now on
BEGIN EXCLUSIVE;

-- is_empty: whether nobody has made a table here yet
SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema);

-- is_ours: whether this is a tidegate database
SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'migration');

-- schema_version: the newest migration that was applied
SELECT coalesce(max(version), 0) FROM migration;

-- quick_check: "ok", or what is broken
PRAGMA quick_check(5);

-- migrated: remember a migration
INSERT INTO migration (version, at) VALUES (:version, strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'));

-- begin_after: the next job has a greater number than this
INSERT INTO sqlite_sequence (name, seq)
SELECT 'job', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'job');
UPDATE sqlite_sequence SET seq = :job WHERE name = 'job' AND seq < :job;

-- migration_1: the first tables
CREATE TABLE migration (
  version INTEGER PRIMARY KEY,
  at      TEXT NOT NULL
) STRICT;

CREATE TABLE supervisor (  -- one row for each incarnation of a supervising process
  uuid       TEXT PRIMARY KEY,
  host       TEXT NOT NULL,
  pid        INTEGER NOT NULL,
  boot_id    TEXT NOT NULL,
  started_at TEXT NOT NULL,
  left_at    TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE account (
  name              TEXT PRIMARY KEY,
  max_running       INTEGER,
  cautious          INTEGER NOT NULL DEFAULT 0,
  progress_at       TEXT,     -- the latest proof that its provider answers,
  progress_job      INTEGER,  -- by which job,
  other_progress_at TEXT,     -- and the latest by any other job
  blanks            INTEGER NOT NULL DEFAULT 0  -- attempts since then that failed within seconds without an answer
) STRICT, WITHOUT ROWID;

CREATE TABLE batch (
  id   INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE lane (  -- the jobs that the same holds bind, counted by state; triggers keep the counts
  id        INTEGER PRIMARY KEY,
  batch     INTEGER NOT NULL REFERENCES batch (id),
  account   TEXT NOT NULL,
  model     TEXT NOT NULL,  -- the family of the jobs' models
  queued    INTEGER NOT NULL DEFAULT 0,
  running   INTEGER NOT NULL DEFAULT 0,
  succeeded INTEGER NOT NULL DEFAULT 0,
  failed    INTEGER NOT NULL DEFAULT 0,
  error     INTEGER NOT NULL DEFAULT 0,
  cancelled INTEGER NOT NULL DEFAULT 0,
  skipped   INTEGER NOT NULL DEFAULT 0,
  UNIQUE (batch, account, model)
) STRICT;
CREATE INDEX lane_waiting ON lane (batch) WHERE queued > 0;
CREATE INDEX lane_busy ON lane (batch) WHERE running > 0;

CREATE TABLE job (
  id               INTEGER PRIMARY KEY AUTOINCREMENT,  -- names a directory: never used twice
  batch            INTEGER NOT NULL REFERENCES batch (id),
  lane             INTEGER NOT NULL REFERENCES lane (id),
  name             TEXT NOT NULL,
  account          TEXT NOT NULL,
  model            TEXT,
  "group"          TEXT NOT NULL,
  priority         INTEGER NOT NULL,
  state            TEXT NOT NULL DEFAULT 'queued'
                   CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'error', 'cancelled', 'skipped')),
  not_before       TEXT,
  attempts         INTEGER NOT NULL DEFAULT 0,  -- the charged ones
  launches         INTEGER NOT NULL DEFAULT 0,  -- all of them
  limited_in_a_row INTEGER NOT NULL DEFAULT 0,
  limited_since    TEXT,
  lost             INTEGER NOT NULL DEFAULT 0,
  session          TEXT,
  resumed          INTEGER NOT NULL DEFAULT 0,
  reason           TEXT NOT NULL DEFAULT '',
  created_at       TEXT NOT NULL,
  ended_at         TEXT,
  held             INTEGER NOT NULL DEFAULT 0,  -- a hold of its own keeps it back; triggers on hold keep this
  UNIQUE (name, batch)
) STRICT;
CREATE INDEX job_state ON job (lane, state);
CREATE INDEX job_ready ON job (lane, priority DESC, resumed DESC, id)
  WHERE state = 'queued' AND not_before IS NULL AND held = 0;
CREATE INDEX job_delayed ON job (not_before) WHERE state = 'queued' AND not_before IS NOT NULL;

CREATE TABLE definition (  -- what a job does; apart, so that a change of state does not write a long prompt again
  job    INTEGER PRIMARY KEY REFERENCES job (id),
  digest BLOB NOT NULL,  -- of the whole definition as it was handed in
  spec   TEXT NOT NULL   -- a secret value in env is {"secret": its file's name in secrets/}
) STRICT;

CREATE TABLE attempt (
  job        INTEGER NOT NULL REFERENCES job (id),
  n          INTEGER NOT NULL,
  supervisor TEXT NOT NULL REFERENCES supervisor (uuid),
  epoch      INTEGER NOT NULL,  -- the seq of its claim
  started_at TEXT NOT NULL,
  canary     INTEGER NOT NULL,
  progressed INTEGER NOT NULL DEFAULT 0,
  ended_at   TEXT,
  outcome    TEXT,
  exit       INTEGER,
  session    TEXT,
  usage      TEXT,
  detail     TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (job, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_running ON attempt (supervisor) WHERE ended_at IS NULL;

CREATE TABLE hold (
  scope     TEXT NOT NULL,
  origin    TEXT NOT NULL,
  "window"  TEXT NOT NULL,
  allow     INTEGER NOT NULL,
  since     TEXT NOT NULL,
  until     TEXT,
  reason    TEXT NOT NULL,
  evidence  TEXT NOT NULL,
  by        TEXT NOT NULL,
  epoch     INTEGER NOT NULL,
  resets_at TEXT,
  exact     INTEGER NOT NULL,
  ramp      INTEGER NOT NULL,
  misses    INTEGER NOT NULL,
  canary    INTEGER,
  PRIMARY KEY (scope, origin, "window")
) STRICT, WITHOUT ROWID;
CREATE INDEX hold_end ON hold (until) WHERE ramp = 0 AND until IS NOT NULL;

CREATE TABLE opening (  -- when a scope was last reopened: what attempts from before it tell is old news
  scope TEXT PRIMARY KEY,
  epoch INTEGER NOT NULL,
  at    TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE event (  -- append-only; seq is the store's logical time, so the newest row must never be deleted
  seq     INTEGER PRIMARY KEY,
  at      TEXT NOT NULL,
  name    TEXT NOT NULL,
  job     INTEGER,
  attempt INTEGER,
  scope   TEXT,
  data    TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX event_job ON event (job) WHERE job IS NOT NULL;

CREATE TRIGGER job_added AFTER INSERT ON job BEGIN
  UPDATE lane SET
    queued    = queued    + (new.state = 'queued'),
    running   = running   + (new.state = 'running'),
    succeeded = succeeded + (new.state = 'succeeded'),
    failed    = failed    + (new.state = 'failed'),
    error     = error     + (new.state = 'error'),
    cancelled = cancelled + (new.state = 'cancelled'),
    skipped   = skipped   + (new.state = 'skipped')
  WHERE id = new.lane;
END;

CREATE TRIGGER job_moved AFTER UPDATE OF state ON job WHEN new.lane = old.lane AND new.state <> old.state BEGIN
  UPDATE lane SET
    queued    = queued    + (new.state = 'queued')    - (old.state = 'queued'),
    running   = running   + (new.state = 'running')   - (old.state = 'running'),
    succeeded = succeeded + (new.state = 'succeeded') - (old.state = 'succeeded'),
    failed    = failed    + (new.state = 'failed')    - (old.state = 'failed'),
    error     = error     + (new.state = 'error')     - (old.state = 'error'),
    cancelled = cancelled + (new.state = 'cancelled') - (old.state = 'cancelled'),
    skipped   = skipped   + (new.state = 'skipped')   - (old.state = 'skipped')
  WHERE id = new.lane;
END;

CREATE TRIGGER job_changed_lane AFTER UPDATE OF lane ON job WHEN new.lane <> old.lane BEGIN
  UPDATE lane SET
    queued    = queued    + (new.state = 'queued'),
    running   = running   + (new.state = 'running'),
    succeeded = succeeded + (new.state = 'succeeded'),
    failed    = failed    + (new.state = 'failed'),
    error     = error     + (new.state = 'error'),
    cancelled = cancelled + (new.state = 'cancelled'),
    skipped   = skipped   + (new.state = 'skipped')
  WHERE id = new.lane;
  UPDATE lane SET
    queued    = queued    - (old.state = 'queued'),
    running   = running   - (old.state = 'running'),
    succeeded = succeeded - (old.state = 'succeeded'),
    failed    = failed    - (old.state = 'failed'),
    error     = error     - (old.state = 'error'),
    cancelled = cancelled - (old.state = 'cancelled'),
    skipped   = skipped   - (old.state = 'skipped')
  WHERE id = old.lane;
END;

CREATE TRIGGER job_removed AFTER DELETE ON job BEGIN
  UPDATE lane SET
    queued    = queued    - (old.state = 'queued'),
    running   = running   - (old.state = 'running'),
    succeeded = succeeded - (old.state = 'succeeded'),
    failed    = failed    - (old.state = 'failed'),
    error     = error     - (old.state = 'error'),
    cancelled = cancelled - (old.state = 'cancelled'),
    skipped   = skipped   - (old.state = 'skipped')
  WHERE id = old.lane;
END;

CREATE TRIGGER hold_made AFTER INSERT ON hold WHEN new.scope GLOB 'job:[0-9]*' BEGIN
  UPDATE job SET held = EXISTS (SELECT 1 FROM hold WHERE scope = new.scope AND allow = 0)
  WHERE id = CAST(substr(new.scope, 5) AS INTEGER);
END;

CREATE TRIGGER hold_moved AFTER UPDATE ON hold WHEN new.scope GLOB 'job:[0-9]*' BEGIN
  UPDATE job SET held = EXISTS (SELECT 1 FROM hold WHERE scope = new.scope AND allow = 0)
  WHERE id = CAST(substr(new.scope, 5) AS INTEGER);
END;

CREATE TRIGGER hold_lifted AFTER DELETE ON hold WHEN old.scope GLOB 'job:[0-9]*' BEGIN
  UPDATE job SET held = EXISTS (SELECT 1 FROM hold WHERE scope = old.scope AND allow = 0)
  WHERE id = CAST(substr(old.scope, 5) AS INTEGER);
END;

-- migration_2: needs, requests, hours, and what a hold does to what runs
ALTER TABLE hold ADD COLUMN halt TEXT NOT NULL DEFAULT '' CHECK (halt IN ('', 'freeze', 'interrupt'));
ALTER TABLE supervisor ADD COLUMN batch INTEGER;  -- the one that it works on; NULL: all
ALTER TABLE job ADD COLUMN unmet INTEGER NOT NULL DEFAULT 0;  -- how many of its needs are not met

CREATE TABLE need (  -- jobs that must succeed before a job may start
  job   INTEGER NOT NULL REFERENCES job (id),
  needs INTEGER NOT NULL REFERENCES job (id),
  met   INTEGER NOT NULL DEFAULT 0,  -- once it has succeeded, for good
  PRIMARY KEY (job, needs)
) STRICT, WITHOUT ROWID;
CREATE INDEX need_of ON need (needs, met);

CREATE TABLE request (  -- what doors ask of a running supervisor, until it is answered
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  at     TEXT NOT NULL,
  verb   TEXT NOT NULL CHECK (verb IN ('cancel', 'drain', 'upgrade')),
  target INTEGER,  -- the job of a cancel
  by     TEXT NOT NULL
) STRICT;
CREATE INDEX request_of ON request (verb, target);

CREATE TABLE hours (  -- when jobs of a scope may start; outside of them a claim holds the scope
  scope  TEXT NOT NULL,
  source TEXT NOT NULL,  -- who says so: "configuration", "batch:NAME"; of several the last one counts
  hours  TEXT NOT NULL,
  PRIMARY KEY (scope, source)
) STRICT;

DROP INDEX job_ready;
CREATE INDEX job_ready ON job (lane, priority DESC, resumed DESC, id)
  WHERE state = 'queued' AND not_before IS NULL AND held = 0 AND unmet = 0;
CREATE INDEX job_ended ON job (ended_at) WHERE ended_at IS NOT NULL;

-- migration_3: groups that wait for other groups
CREATE TABLE "group" (  -- one that waits for others, or for which others wait
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  batch  INTEGER NOT NULL REFERENCES batch (id),
  name   TEXT NOT NULL,
  "when" TEXT NOT NULL DEFAULT 'all_succeeded' CHECK ("when" IN ('finished', 'all_succeeded', 'any_succeeded')),
  stand  TEXT NOT NULL DEFAULT 'open' CHECK (stand IN ('filling', 'waiting', 'open', 'hopeless')),
  reason TEXT NOT NULL DEFAULT '',  -- of its jobs that are skipped where it is hopeless
  UNIQUE (batch, name)
) STRICT;

CREATE TABLE group_need (  -- groups whose jobs must have ended before those of a group may start
  "group" INTEGER NOT NULL REFERENCES "group" (id),
  needs   INTEGER NOT NULL REFERENCES "group" (id),
  PRIMARY KEY ("group", needs)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_need_of ON group_need (needs);

PRAGMA defer_foreign_keys = ON;  -- jobs refer to lanes, which are gone for a moment
CREATE TABLE lane_before AS SELECT * FROM lane;
DROP TABLE lane;
CREATE TABLE lane (  -- the jobs that the same holds bind, counted by state; triggers keep the counts
  id        INTEGER PRIMARY KEY,
  batch     INTEGER NOT NULL REFERENCES batch (id),
  account   TEXT NOT NULL,
  model     TEXT NOT NULL,  -- the family of the jobs' models
  queued    INTEGER NOT NULL DEFAULT 0,
  running   INTEGER NOT NULL DEFAULT 0,
  succeeded INTEGER NOT NULL DEFAULT 0,
  failed    INTEGER NOT NULL DEFAULT 0,
  error     INTEGER NOT NULL DEFAULT 0,
  cancelled INTEGER NOT NULL DEFAULT 0,
  skipped   INTEGER NOT NULL DEFAULT 0,
  "group"   INTEGER NOT NULL DEFAULT 0,  -- the jobs' group where that waits or is waited for, else 0
  shut      INTEGER NOT NULL DEFAULT 0,  -- that group waits
  UNIQUE (batch, account, model, "group")
) STRICT;
INSERT INTO lane SELECT *, 0, 0 FROM lane_before;
DROP TABLE lane_before;
CREATE INDEX lane_waiting ON lane (batch) WHERE queued > 0;
CREATE INDEX lane_busy ON lane (batch) WHERE running > 0;
CREATE INDEX lane_group ON lane ("group");

-- migration_4: the stages of a job behind its agent's
ALTER TABLE job ADD COLUMN stage TEXT NOT NULL DEFAULT '' CHECK (stage IN ('', 'check', 'publish'));
ALTER TABLE job ADD COLUMN work TEXT;  -- what its agent has done, where a stage behind it has begun: JSON
ALTER TABLE attempt ADD COLUMN stage TEXT NOT NULL DEFAULT '';

-- migration_5: what attempts have used, and what may be spent
CREATE TABLE spent (  -- what the attempts have used that ended on a day, by batch and account
  day          TEXT NOT NULL,     -- a calendar day where it was worked
  batch        INTEGER NOT NULL,  -- 0: of batches that are forgotten
  account      TEXT NOT NULL,
  attempts     INTEGER NOT NULL,
  usd_told     INTEGER NOT NULL,  -- how many of them told of money;
  microdollars INTEGER NOT NULL,
  tokens_told  INTEGER NOT NULL,  -- and of tokens
  tokens       INTEGER NOT NULL,
  milliseconds INTEGER NOT NULL,  -- how long they took
  PRIMARY KEY (day, batch, account)
) STRICT, WITHOUT ROWID;
CREATE INDEX spent_batch ON spent (batch);
CREATE INDEX spent_account ON spent (account);

CREATE TABLE budget (  -- what may be spent in a scope; NULL: any
  scope      TEXT NOT NULL,
  source     TEXT NOT NULL,  -- who says so: "configuration", "batch:NAME"; each of them counts
  usd        REAL,
  tokens     INTEGER,
  wall       REAL,  -- seconds that attempts take, added up
  day_usd    REAL,  -- the same for each calendar day
  day_tokens INTEGER,
  day_wall   REAL,
  on_exceed  TEXT NOT NULL CHECK (on_exceed IN ('warn', 'stop_launching', 'cancel')),
  reached    INTEGER NOT NULL DEFAULT 0,  -- it was found spent, which is acted on once,
  reached_on TEXT NOT NULL DEFAULT '',    -- and that of a day last on this one
  PRIMARY KEY (scope, source)
) STRICT, WITHOUT ROWID;

INSERT INTO spent (day, batch, account, attempts, usd_told, microdollars, tokens_told, tokens, milliseconds)
SELECT date(attempt.ended_at, 'localtime') AS day, job.batch, job.account, count(*),
  count(usage ->> 'cost_usd'), coalesce(sum(CAST(round((usage ->> 'cost_usd') * 1000000) AS INTEGER)), 0),
  count(coalesce(usage ->> 'input_tokens', usage ->> 'output_tokens')),
  sum(coalesce(usage ->> 'input_tokens', 0) + coalesce(usage ->> 'output_tokens', 0)),
  sum(max(CAST((julianday(attempt.ended_at) - julianday(started_at)) * 86400000 AS INTEGER), 0))
FROM attempt JOIN job ON job.id = attempt.job JOIN definition ON definition.job = job.id
WHERE attempt.ended_at IS NOT NULL AND outcome <> 'unclaimed'
  AND (usage IS NOT NULL OR (json_valid(spec) AND spec ->> 'agent' IS NOT NULL))
GROUP BY 1, 2, 3;

-- migration_6: whether an attempt went on in a session
ALTER TABLE attempt ADD COLUMN resumes INTEGER NOT NULL DEFAULT 0;
UPDATE attempt SET resumes = coalesce(
  (SELECT iif(json_valid(data), data ->> 'resumes', 0) = 1 FROM event WHERE seq = epoch AND name = 'attempt claimed'), 0
);

-- migration_7: how often jobs are tried again after failures of each kind
ALTER TABLE job ADD COLUMN charges TEXT;  -- JSON, where the definition names kinds and one was charged

-- migration_8: what became of jobs that are forgotten
CREATE TABLE history (  -- by the day (UTC) on which attempts were launched, and jobs ended, and by account
  day       TEXT NOT NULL,
  account   TEXT NOT NULL,
  launches  INTEGER NOT NULL,
  limited   INTEGER NOT NULL,
  cut_off   INTEGER NOT NULL,  -- limited, interrupted or lost;
  recovered INTEGER NOT NULL,  -- of these: the job has succeeded since,
  resumed   INTEGER NOT NULL,  -- and the next attempt went on in the session
  retries   INTEGER NOT NULL,  -- after a failure or a time-out
  succeeded INTEGER NOT NULL,  -- jobs
  failed    INTEGER NOT NULL,
  error     INTEGER NOT NULL,
  cancelled INTEGER NOT NULL,
  skipped   INTEGER NOT NULL,
  PRIMARY KEY (day, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE closing (  -- from when to when a limit shut a gate, by what forgotten jobs told
  scope    TEXT NOT NULL,
  "window" TEXT NOT NULL,
  since    TEXT NOT NULL,
  until    TEXT,  -- NULL: it was shut still
  PRIMARY KEY (scope, "window", since)
) STRICT, WITHOUT ROWID;

-- migration_9: who starts a part of a batch alone
ALTER TABLE supervisor ADD COLUMN only TEXT;  -- JSON: the groups and the patterns of names that it starts; NULL: any

-- migration_10: what a person expects of jobs
ALTER TABLE job ADD COLUMN expect REAL;  -- seconds; NULL: nobody says
ALTER TABLE job ADD COLUMN share  REAL;  -- a part of its account's 5-hour window,
ALTER TABLE job ADD COLUMN spread REAL;  -- and how far that may be off

-- migration_11: what agents draw of the windows of their accounts, and what is told of these
ALTER TABLE attempt ADD COLUMN drawn REAL NOT NULL DEFAULT 0;  -- in token equivalents, by itself so far
ALTER TABLE attempt ADD COLUMN answers INTEGER NOT NULL DEFAULT 0;  -- of a model

CREATE TABLE draw (  -- what all attempts have drawn of an account, in pieces of five minutes
  account TEXT NOT NULL,
  model   TEXT NOT NULL,  -- the family of their jobs' models
  at      TEXT NOT NULL,
  tokens  REAL NOT NULL,
  PRIMARY KEY (account, at, model)
) STRICT, WITHOUT ROWID;

CREATE TABLE meter (  -- the present window of each kind, or the last one where nothing was drawn since it ended
  scope            TEXT NOT NULL,  -- an account, or one model of it
  "window"         TEXT NOT NULL CHECK ("window" IN ('minute', '5h', 'day', 'week', 'month', 'spend', 'unknown')),
  begins_at        TEXT NOT NULL,
  resets_at        TEXT,           -- as told
  used             REAL,           -- as told, 0 to 1
  read_at          TEXT,
  drawn            REAL NOT NULL,  -- by us since it began
  drawn_at_reading REAL NOT NULL,
  refused_at       TEXT,
  PRIMARY KEY (scope, "window")
) STRICT, WITHOUT ROWID;

CREATE TABLE tide (  -- windows that are over
  scope            TEXT NOT NULL,
  "window"         TEXT NOT NULL CHECK ("window" IN ('minute', '5h', 'day', 'week', 'month', 'spend', 'unknown')),
  began_at         TEXT NOT NULL,
  ended_at         TEXT NOT NULL,
  used             REAL,
  drawn            REAL NOT NULL,
  drawn_at_reading REAL NOT NULL,
  refused          INTEGER NOT NULL,
  PRIMARY KEY (scope, "window", began_at)
) STRICT, WITHOUT ROWID;

CREATE TABLE reading (  -- what was told of windows, hundredth by hundredth
  scope     TEXT NOT NULL,
  "window"  TEXT NOT NULL CHECK ("window" IN ('minute', '5h', 'day', 'week', 'month', 'spend', 'unknown')),
  at        TEXT NOT NULL,
  used      REAL NOT NULL,
  resets_at TEXT,
  drawn     REAL NOT NULL,  -- by us of that window by then
  PRIMARY KEY (scope, "window", at)
) STRICT, WITHOUT ROWID;

CREATE TABLE cost (  -- what jobs that have succeeded have drawn, in the last run of each
  account TEXT NOT NULL,
  "group" TEXT NOT NULL,     -- BATCH/GROUP
  jobs    INTEGER NOT NULL,
  logs    REAL NOT NULL,     -- of each one's draw the logarithm, added up,
  squares REAL NOT NULL,     -- and its square
  drawn   REAL NOT NULL,
  seconds REAL NOT NULL,     -- that they worked
  rates   REAL NOT NULL,     -- each one's draw per second, added up
  at      TEXT NOT NULL,     -- of the last one
  PRIMARY KEY (account, "group")
) STRICT, WITHOUT ROWID;

-- migration_12: when what is shut is tried ahead of its end, and how windows have behaved
ALTER TABLE hold ADD COLUMN early_at TEXT;
CREATE INDEX hold_early ON hold (early_at) WHERE ramp = 0 AND early_at IS NOT NULL;

CREATE TABLE habit (  -- how a window of a scope has behaved
  scope     TEXT NOT NULL,
  "window"  TEXT NOT NULL,
  opened_at TEXT,           -- when the first attempt was launched that is answered in the present window,
  began     TEXT,           -- and in the one that was used up last,
  cut_at    TEXT,           -- which was then
  span      REAL NOT NULL,  -- the longest time in seconds from such a begin to the reset that was told
  cuts      INTEGER NOT NULL,  -- how often in a row it was used up soon after it had opened;
  rest      REAL NOT NULL,     -- the seconds that it rests for that
  PRIMARY KEY (scope, "window")
) STRICT, WITHOUT ROWID;

-- migration_13: which accounts hold back what would not fit, and what they hold back
ALTER TABLE account ADD COLUMN admission TEXT NOT NULL DEFAULT 'on' CHECK (admission IN ('on', 'observe', 'off'));

CREATE TABLE held (  -- accounts whose best job does not start, for it would not fit what is left of a window
  account  TEXT PRIMARY KEY,
  since    TEXT NOT NULL,
  again    TEXT NOT NULL,  -- when to look again
  job      INTEGER NOT NULL,
  "window" TEXT NOT NULL CHECK ("window" IN ('minute', '5h', 'day', 'week', 'month', 'spend', 'unknown')),
  left     REAL NOT NULL,  -- of the window, as the next two are;
  needed   REAL,           -- NULL: nobody knows
  spread   REAL NOT NULL,
  until    TEXT,
  observed INTEGER NOT NULL  -- it is told alone
) STRICT, WITHOUT ROWID;

-- migration_14: what was foretold of the end of batches
CREATE TABLE forecast (
  batch   INTEGER NOT NULL,
  at      TEXT NOT NULL,
  "left"  INTEGER NOT NULL,  -- jobs that had not ended
  slots   INTEGER NOT NULL,
  p50     TEXT,  -- NULL: nobody could know
  p90     TEXT,
  windows INTEGER,
  weeks   TEXT NOT NULL DEFAULT '{}',  -- by account, JSON
  why     TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (batch, at)
) STRICT, WITHOUT ROWID;

-- migration_15: how much of accounts' windows may be used
CREATE TABLE reserve (  -- an account is shut once so much of a window is used; of several sources the least counts
  account  TEXT NOT NULL,
  "window" TEXT NOT NULL,
  source   TEXT NOT NULL,  -- who says so: "configuration", "batch:NAME"
  stop_at  REAL NOT NULL,  -- a part of the window
  heeded   TEXT,           -- the end of the window in which that was done last
  PRIMARY KEY (account, "window", source)
) STRICT, WITHOUT ROWID;

-- migration_16: which windows do not begin anew
ALTER TABLE habit ADD COLUMN slides INTEGER NOT NULL DEFAULT 0;

-- migration_17: what is tried ahead of its end is known by that until it is answered
DROP INDEX hold_early;
CREATE INDEX hold_early ON hold (early_at) WHERE early_at IS NOT NULL;

-- salvaged: what hangs on a row that is lost goes, and nothing gets a number that one of them may have had
DELETE FROM job WHERE id NOT IN (SELECT job FROM definition);
DELETE FROM definition WHERE job NOT IN (SELECT id FROM job);
DELETE FROM attempt WHERE job NOT IN (SELECT id FROM job);
DELETE FROM need WHERE job NOT IN (SELECT id FROM job) OR needs NOT IN (SELECT id FROM job);
DELETE FROM group_need WHERE "group" NOT IN (SELECT id FROM "group") OR needs NOT IN (SELECT id FROM "group");
DELETE FROM event WHERE job NOT IN (SELECT id FROM job) AND seq < (SELECT max(seq) FROM event);
UPDATE sqlite_sequence SET seq = max(seq, (SELECT coalesce(max(job), 0) FROM event)) WHERE name = 'job';

-- begin: a transaction that writes: waits its turn here, and nowhere later
BEGIN IMMEDIATE;

-- commit: on the disk when it returns
COMMIT;

-- rollback: none of it happened
ROLLBACK;

-- begin_call: one call of a group
SAVEPOINT call;

-- end_call: the call is part of the group's commit
RELEASE call;

-- undo_call: none of this call happened, the others of its group stay
ROLLBACK TO call; RELEASE call;

-- look: several reads of one moment
BEGIN DEFERRED;

-- version: changes when another connection commits
PRAGMA data_version;

-- add_event: append what happened
INSERT INTO event (at, name, job, attempt, scope, data) VALUES (:at, :name, :job, :attempt, :scope, :data);

-- add_events: append the same of each of these jobs
INSERT INTO event (at, name, job, data) SELECT :at, :name, value, :data FROM json_each(:jobs);

-- add_supervisor: a new incarnation
INSERT INTO supervisor (uuid, host, pid, boot_id, started_at, batch, only)
VALUES (:uuid, :host, :pid, :boot_id, :started_at, :batch, :only);

-- end_supervisor: that incarnation has left
UPDATE supervisor SET left_at = :now WHERE uuid = :uuid AND left_at IS NULL;

-- supervisor: one incarnation that has not left
SELECT uuid, host, pid, boot_id, started_at, batch, only FROM supervisor WHERE uuid = :uuid AND left_at IS NULL;

-- is_known: an incarnation, left or not
SELECT 1 FROM supervisor WHERE uuid = :uuid;

-- supervisors: the incarnations that have not left
SELECT uuid, host, pid, boot_id, started_at, batch, only FROM supervisor WHERE left_at IS NULL ORDER BY started_at, uuid;

-- account: one account
SELECT name, max_running, cautious, admission, progress_at, progress_job, other_progress_at, blanks FROM account
WHERE name = :name;

-- accounts: every account, by name
SELECT name, max_running, cautious, admission FROM account ORDER BY name;

-- answered_at: the latest proof that an account's provider answers
SELECT name, progress_at FROM account WHERE progress_at IS NOT NULL;

-- put_account: write an account
INSERT INTO account (name, max_running, cautious, admission, progress_at, progress_job, other_progress_at, blanks)
VALUES (:name, :max_running, :cautious, :admission, :at, :job, :other_at, :blanks)
ON CONFLICT (name) DO UPDATE SET
  max_running = :max_running, cautious = :cautious, admission = :admission,
  progress_at = :at, progress_job = :job, other_progress_at = :other_at, blanks = :blanks;

-- hold: one hold
SELECT * FROM hold WHERE scope = :scope AND origin = :origin AND "window" = :window;

-- holds_on: the holds of one scope
SELECT * FROM hold WHERE scope = :scope ORDER BY origin, "window";

-- wide_holds: every hold but those of single jobs
SELECT * FROM hold WHERE scope < 'job:'
UNION ALL
SELECT * FROM hold WHERE scope >= 'job;';

-- holds: every hold
SELECT * FROM hold ORDER BY scope, origin, "window";

-- due_holds: the holds whose end has come
SELECT * FROM hold WHERE ramp = 0 AND until <= :now ORDER BY until, scope, origin, "window";

-- early_holds: the holds that are to be tried ahead of their end, and those so tried whose end has come
SELECT * FROM hold WHERE early_at <= :now AND ramp = (until <= :now) ORDER BY early_at, scope, origin, "window";

-- next_end: the first end of a hold that is still ahead, or look at what is held back
SELECT min(at) FROM (
  SELECT min(until) AS at FROM hold WHERE ramp = 0 AND until > :now
  UNION ALL
  SELECT min(again) FROM held WHERE again > :now AND NOT observed
);

-- next_early: the first instant ahead at which what is shut is tried, or what is tried ends
SELECT min(iif(ramp, until, early_at)) FROM hold WHERE early_at IS NOT NULL AND iif(ramp, until, early_at) > :now;

-- put_hold: write a hold
INSERT INTO hold (scope, origin, "window", allow, since, until, reason, evidence, by, epoch, resets_at, exact, ramp,
  misses, canary, halt, early_at)
VALUES (:scope, :origin, :window, :allow, :since, :until, :reason, :evidence, :by, :epoch, :resets_at, :exact, :ramp,
  :misses, :canary, :halt, :early_at)
ON CONFLICT (scope, origin, "window") DO UPDATE SET
  allow = :allow, since = :since, until = :until, reason = :reason, evidence = :evidence, by = :by, epoch = :epoch,
  resets_at = :resets_at, exact = :exact, ramp = :ramp, misses = :misses, canary = :canary, halt = :halt,
  early_at = :early_at;

-- drop_hold: remove a hold
DELETE FROM hold WHERE scope = :scope AND origin = :origin AND "window" = :window;

-- hours: when jobs of each scope may start
SELECT scope, hours FROM hours AS said
WHERE rowid = (SELECT max(rowid) FROM hours WHERE scope = said.scope) ORDER BY scope;

-- hours_by: the hours that one source says
SELECT scope, hours FROM hours WHERE source = :source ORDER BY scope;

-- put_hours: by this source a scope has these hours, and it is the last one to say so
INSERT OR REPLACE INTO hours (scope, source, hours) VALUES (:scope, :source, :hours);

-- drop_hours: by this source a scope has no hours any more
DELETE FROM hours WHERE scope = :scope AND source = :source;

-- opening: when a scope was last reopened
SELECT epoch, at FROM opening WHERE scope = :scope;

-- put_opening: a scope is reopened
INSERT INTO opening (scope, epoch, at) VALUES (:scope, :epoch, :at)
ON CONFLICT (scope) DO UPDATE SET epoch = :epoch, at = :at;

-- habit: how a window of a scope has behaved
SELECT * FROM habit WHERE scope = :scope AND "window" = :window;

-- put_habit: remember that
INSERT INTO habit (scope, "window", opened_at, began, cut_at, span, cuts, rest, slides)
VALUES (:scope, :window, :opened_at, :began, :cut_at, :span, :cuts, :rest, :slides)
ON CONFLICT (scope, "window") DO UPDATE SET
  opened_at = :opened_at, began = :began, cut_at = :cut_at, span = :span, cuts = :cuts, rest = :rest,
  slides = :slides;

-- has_shut: whether an attempt has made such a hold of the same evidence before, or moved its end
SELECT EXISTS (
  SELECT 1 FROM event
  WHERE job = :job AND attempt = :attempt AND scope = :scope AND name IN ('gate shut', 'gate moved', 'gate narrowed')
    AND data ->> '$.origin' = :origin AND data ->> '$.window' = :window AND data ->> '$.evidence' = :evidence
);

-- promote: jobs that were to wait until now are ready
UPDATE job SET not_before = NULL WHERE state = 'queued' AND not_before <= :now;

-- unstrand: jobs that were to be tried again later than any wait lasts are due now
UPDATE job SET not_before = :now WHERE state = 'queued' AND not_before > :horizon AND launches > 0;

-- next_job: the first instant ahead at which a waiting job is due
SELECT min(not_before) FROM job WHERE state = 'queued' AND not_before > :now;

-- waiting: the lanes with queued jobs
SELECT lane.id, lane.batch, batch.name, lane.account, lane.model
FROM lane JOIN batch ON batch.id = lane.batch WHERE lane.queued > 0 AND lane.shut = 0;

-- waiting_of: the lanes of a batch with queued jobs
SELECT lane.id, lane.batch, batch.name, lane.account, lane.model
FROM lane JOIN batch ON batch.id = lane.batch WHERE lane.queued > 0 AND lane.shut = 0 AND lane.batch = :batch;

-- ready: the best jobs of a lane that may be claimed, from the index alone
SELECT -priority, 1 - resumed, id FROM job
WHERE lane = :lane AND state = 'queued' AND not_before IS NULL AND held = 0 AND unmet = 0
ORDER BY priority DESC, resumed DESC, id LIMIT :most;

-- ready_only: the same, of the jobs of some groups, or whose names some patterns fit
SELECT -priority, 1 - resumed, id FROM job
WHERE lane = :lane AND state = 'queued' AND not_before IS NULL AND held = 0 AND unmet = 0
  AND EXISTS (SELECT 1 FROM json_each(:only) AS picked WHERE job."group" = picked.value OR job.name GLOB picked.value)
ORDER BY priority DESC, resumed DESC, id LIMIT :most;

-- heads: the best job of each of these lanes that may be claimed
SELECT asked.value, -job.priority, 1 - job.resumed, job.id
FROM json_each(:lanes) AS asked
CROSS JOIN job ON job.id = (
  SELECT id FROM job
  WHERE lane = asked.value AND state = 'queued' AND not_before IS NULL AND held = 0 AND unmet = 0
  ORDER BY priority DESC, resumed DESC, id LIMIT 1
);

-- busy: the lanes with running jobs
SELECT lane.running, lane.id, lane.batch, batch.name, lane.account, lane.model
FROM lane JOIN batch ON batch.id = lane.batch WHERE lane.running > 0;

-- crowd: every running attempt, with its lane and host
SELECT attempt.epoch, supervisor.host, lane.id, lane.batch, batch.name, lane.account, lane.model
FROM attempt
JOIN supervisor ON supervisor.uuid = attempt.supervisor
JOIN job ON job.id = attempt.job
JOIN lane ON lane.id = job.lane
JOIN batch ON batch.id = lane.batch
WHERE attempt.ended_at IS NULL;

-- job: one job with its definition
SELECT batch.name, definition.spec, job.*
FROM job JOIN batch ON batch.id = job.batch JOIN definition ON definition.job = job.id
WHERE job.id = :id;

-- job_names: the names of these jobs
SELECT job.id, job.name FROM json_each(:ids) AS asked CROSS JOIN job ON job.id = asked.value;

-- launches: where these jobs stand, and how often they were launched
SELECT job.id, job.state, job.launches FROM json_each(:ids) AS asked CROSS JOIN job ON job.id = asked.value;

-- put_job: a job's state and what goes with it
UPDATE job SET
  state = :state, not_before = :not_before, attempts = :attempts, launches = :launches,
  limited_in_a_row = :limited_in_a_row, limited_since = :limited_since, lost = :lost, session = :session,
  resumed = :resumed, reason = :reason, ended_at = :ended_at
WHERE id = :id;

-- move_job: a job is in another stage, and for another account
UPDATE job SET stage = :stage, work = :work, lane = :lane, account = :account, model = :model WHERE id = :id;

-- put_charges: how often a job was charged for each kind of failure, where its definition names kinds
UPDATE job SET charges = :charges WHERE id = :id;

-- put_priority: a job's place in its lane
UPDATE job SET priority = :priority WHERE id = :id;

-- ties: whether a job's end is asked for, others wait for its success; its group where that is tied; any budget
SELECT
  EXISTS (SELECT 1 FROM request WHERE verb = 'cancel' AND target = :job),
  EXISTS (SELECT 1 FROM need WHERE needs = :job AND met = 0),
  (SELECT lane."group" FROM job JOIN lane ON lane.id = job.lane WHERE job.id = :job),
  EXISTS (SELECT 1 FROM budget WHERE scope > '');

-- cancel: every queued one of these jobs that is in its agent's stage has ended; those
UPDATE job SET
  state = 'cancelled', reason = :reason, ended_at = :now, not_before = NULL,
  resumed = 0, limited_in_a_row = 0, limited_since = NULL
WHERE state = 'queued' AND stage = '' AND id IN (SELECT value FROM json_each(:jobs))
RETURNING id, name;

-- skip: every queued job that waits for a job's success will never start; those
UPDATE job SET
  state = 'skipped', reason = :reason, ended_at = :now, not_before = NULL,
  resumed = 0, limited_in_a_row = 0, limited_since = NULL
WHERE state = 'queued' AND id IN (SELECT job FROM need WHERE needs = :job AND met = 0)
RETURNING id, name;

-- needed: those of these jobs for whose success others wait
SELECT value FROM json_each(:jobs) AS asked
WHERE EXISTS (SELECT 1 FROM need WHERE needs = asked.value AND met = 0);

-- count_met: they wait for one job less,
UPDATE job SET unmet = unmet - 1 WHERE id IN (SELECT job FROM need WHERE needs = :job AND met = 0);

-- meet: for good
UPDATE need SET met = 1 WHERE needs = :job AND met = 0;

-- unmet: the jobs that a job needs and that have never succeeded
SELECT needs FROM need WHERE job = :job AND met = 0 ORDER BY needs;

-- groups: the groups that wait or are waited for, with what they need and their jobs by state
SELECT
  "group".id, "group".batch, batch.name, "group".name, "group"."when", "group".stand, "group".reason,
  (
    SELECT json_group_array(needed.name) FROM group_need JOIN "group" AS needed ON needed.id = group_need.needs
    WHERE group_need."group" = "group".id
  ),
  coalesce(sum(queued), 0), coalesce(sum(running), 0), coalesce(sum(succeeded), 0), coalesce(sum(failed), 0),
  coalesce(sum(error), 0), coalesce(sum(cancelled), 0), coalesce(sum(skipped), 0)
FROM "group" JOIN batch ON batch.id = "group".batch LEFT JOIN lane ON lane."group" = "group".id
GROUP BY "group".id ORDER BY "group".id;

-- groups_of: those of a batch
SELECT
  "group".id, "group".batch, batch.name, "group".name, "group"."when", "group".stand, "group".reason,
  (
    SELECT json_group_array(needed.name) FROM group_need JOIN "group" AS needed ON needed.id = group_need.needs
    WHERE group_need."group" = "group".id
  ),
  coalesce(sum(queued), 0), coalesce(sum(running), 0), coalesce(sum(succeeded), 0), coalesce(sum(failed), 0),
  coalesce(sum(error), 0), coalesce(sum(cancelled), 0), coalesce(sum(skipped), 0)
FROM "group" JOIN batch ON batch.id = "group".batch LEFT JOIN lane ON lane."group" = "group".id
WHERE "group".batch = :batch
GROUP BY "group".id ORDER BY "group".id;

-- group: one of these by its name
SELECT id FROM "group" WHERE batch = :batch AND name = :name;

-- add_group: from now on it waits or is waited for
INSERT INTO "group" (batch, name) VALUES (:batch, :name);

-- lanes_of_group: a lane for each kind of jobs that a batch has in a group,
INSERT OR IGNORE INTO lane (batch, account, model, "group")
SELECT DISTINCT lane.batch, lane.account, lane.model, :group FROM lane JOIN job ON job.lane = lane.id
WHERE lane.batch = :batch AND lane."group" = 0 AND job."group" = :name;

-- into_group: and these jobs in it
UPDATE job SET lane = (
  SELECT new.id FROM lane AS old JOIN lane AS new USING (batch, account, model)
  WHERE old.id = job.lane AND new."group" = :group
)
WHERE lane IN (SELECT id FROM lane WHERE batch = :batch AND "group" = 0) AND "group" = :name;

-- put_group: when a group may begin, and where it stands
UPDATE "group" SET "when" = :when, stand = :stand, reason = :reason WHERE id = :group;
UPDATE lane SET shut = (:stand <> 'open') WHERE "group" = :group;

-- drop_group_needs: a group waits for none
DELETE FROM group_need WHERE "group" = :group;

-- add_group_needs: what a group waits for
INSERT INTO group_need ("group", needs) SELECT :group, value FROM json_each(:needs);

-- is_unfinished: whether a group has jobs that have not ended
SELECT EXISTS (SELECT 1 FROM lane WHERE "group" = :group AND queued + running > 0);

-- has_begun: whether any job of a group runs, has run to its end, or waits to go on
SELECT EXISTS (SELECT 1 FROM lane WHERE "group" = :group AND running + succeeded + failed + error > 0) OR EXISTS (
  SELECT 1 FROM lane CROSS JOIN job ON job.lane = lane.id AND job.state = 'queued'
  WHERE lane."group" = :group AND (job.resumed OR job.attempts > 0 OR job.stage <> '')
);

-- first_bad: the oldest job of the groups that a group needs which has ended without success
SELECT name, state FROM job WHERE id = (
  SELECT min(job.id) FROM group_need
  JOIN lane ON lane."group" = group_need.needs
  JOIN job ON job.lane = lane.id AND job.state IN ('failed', 'error', 'cancelled', 'skipped')
  WHERE group_need."group" = :group
);

-- leave_out: no queued job of a group will ever start; those
UPDATE job SET
  state = 'skipped', reason = :reason, ended_at = :now, not_before = NULL,
  resumed = 0, limited_in_a_row = 0, limited_since = NULL
WHERE state = 'queued' AND lane IN (SELECT id FROM lane WHERE "group" = :group)
RETURNING id, name;

-- bring_back: the jobs of a group that were skipped for a reason are queued anew; those, and what they wait for
UPDATE job SET
  state = 'queued', reason = '', ended_at = NULL, not_before = NULL, attempts = 0, charges = NULL, lost = 0,
  resumed = 0, limited_in_a_row = 0, limited_since = NULL
WHERE state = 'skipped' AND reason = :reason AND lane IN (SELECT id FROM lane WHERE "group" = :group)
RETURNING id, unmet;

-- tied_batches: the batches of those of these jobs whose groups wait or are waited for
SELECT DISTINCT lane.batch
FROM json_each(:jobs) AS asked CROSS JOIN job ON job.id = asked.value CROSS JOIN lane ON lane.id = job.lane
WHERE lane."group" > 0;

-- requests: what is asked for and not answered yet
SELECT id, at, verb, by, target FROM request ORDER BY id;

-- pending: one request by what it asks for
SELECT id, at, verb, by, target FROM request WHERE verb = :verb AND target IS :target;

-- request: one request
SELECT id, at, verb, by, target FROM request WHERE id = :id;

-- add_request: a new request
INSERT INTO request (at, verb, by, target) VALUES (:at, :verb, :by, :target);

-- drop_request: a request is answered
DELETE FROM request WHERE id = :id;

-- attempt: one attempt
SELECT * FROM attempt WHERE job = :job AND n = :n;

-- attempts: a job's attempts, first to last
SELECT * FROM attempt WHERE job = :job ORDER BY n;

-- add_attempt: a new attempt
INSERT INTO attempt (job, n, supervisor, epoch, started_at, canary, stage, resumes)
VALUES (:job, :n, :supervisor, :epoch, :started_at, :canary, :stage, :resumes);

-- put_attempt: what an attempt has come to, and whose it is
UPDATE attempt SET
  supervisor = :supervisor, progressed = :progressed, ended_at = :ended_at, outcome = :outcome, exit = :exit,
  session = :session, usage = :usage, detail = :detail
WHERE job = :job AND n = :n;

-- drafts: what admission asks of these jobs
SELECT job.id, batch.name || '/' || job."group", job.launches, job.session IS NOT NULL, job.expect, job.share, job.spread
FROM json_each(:jobs) AS asked CROSS JOIN job ON job.id = asked.value JOIN batch ON batch.id = job.batch;

-- underway: and of those that run with an account
SELECT job.id, batch.name || '/' || job."group", job.launches, job.session IS NOT NULL, job.expect, job.share, job.spread,
  attempt.started_at, attempt.drawn
FROM attempt CROSS JOIN job ON job.id = attempt.job CROSS JOIN batch ON batch.id = job.batch
WHERE attempt.ended_at IS NULL AND job.account = :account ORDER BY job.id;

-- held: why nothing of an account may start
SELECT * FROM held WHERE account = :account;

-- every_held: of each of which that is so
SELECT * FROM held ORDER BY account;

-- put_held: why nothing of an account may start
INSERT OR REPLACE INTO held (account, since, again, job, "window", left, needed, spread, until, observed)
VALUES (:account, :since, :again, :job, :window, :left, :needed, :spread, :until, :observed);

-- drop_held: something of an account may start
DELETE FROM held WHERE account = :account;

-- put_drawn: what an attempt has drawn so far
UPDATE attempt SET drawn = :drawn, answers = :answers WHERE job = :job AND n = :n;

-- add_draw: one more part of what was drawn of an account
INSERT INTO draw (account, model, at, tokens) VALUES (:account, :model, :at, :tokens)
ON CONFLICT (account, at, model) DO UPDATE SET tokens = tokens + :tokens;

-- draws: what was drawn of an account from an instant on
SELECT at, tokens FROM draw WHERE account = :account AND at >= :since AND (:model IS NULL OR model = :model)
ORDER BY at, model;

-- meter: one meter
SELECT * FROM meter WHERE scope = :scope AND "window" = :window;

-- meters_on: the meters of a scope
SELECT * FROM meter WHERE scope = :scope ORDER BY "window";

-- meters: every meter
SELECT * FROM meter ORDER BY scope, "window";

-- put_meter: write a meter
INSERT OR REPLACE INTO meter
  (scope, "window", begins_at, resets_at, used, read_at, drawn, drawn_at_reading, refused_at)
VALUES (:scope, :window, :begins_at, :resets_at, :used, :read_at, :drawn, :drawn_at_reading, :refused_at);

-- drop_tides_from: windows that were thought to have ended after this
DELETE FROM tide WHERE scope = :scope AND "window" = :window AND ended_at > :began_at;

-- add_tide: a window has ended
INSERT OR REPLACE INTO tide (scope, "window", began_at, ended_at, used, drawn, drawn_at_reading, refused)
VALUES (:scope, :window, :began_at, :ended_at, :used, :drawn, :drawn_at_reading, :refused);

-- tides: the windows that are over, the newest first
SELECT * FROM tide WHERE scope = :scope AND "window" = :window ORDER BY began_at DESC LIMIT :most;

-- add_reading: what was told of a window
INSERT OR REPLACE INTO reading (scope, "window", at, used, resets_at, drawn)
VALUES (:scope, :window, :at, :used, :resets_at, :drawn);

-- readings: what was told of windows from an instant on
SELECT * FROM reading WHERE scope = :scope AND "window" = :window AND at >= :since ORDER BY at;

-- first_reading: what was told first of a window between two instants
SELECT * FROM reading WHERE scope = :scope AND "window" = :window AND at BETWEEN :since AND :until ORDER BY at LIMIT 1;

-- drop_draws: what was drawn of an account before an instant
DELETE FROM draw WHERE account = :account AND at < :before;

-- drop_readings: what was told of a window before an instant
DELETE FROM reading WHERE scope = :scope AND "window" = :window AND at < :before;

-- cost: what the jobs of a group have drawn
SELECT account, "group", jobs, logs, squares, drawn, seconds, rates FROM cost
WHERE account = :account AND "group" = :group;

-- costs: what the jobs of each group have drawn
SELECT account, "group", jobs, logs, squares, drawn, seconds, rates FROM cost
WHERE account = :account ORDER BY "group";

-- put_cost: what the jobs of a group have drawn by now
INSERT OR REPLACE INTO cost (account, "group", jobs, logs, squares, drawn, seconds, rates, at)
VALUES (:account, :group, :jobs, :logs, :squares, :drawn, :seconds, :rates, :at);

-- drop_tides: windows that ended before an instant, and costs that nothing was added to since
DELETE FROM tide WHERE ended_at < :before;
DELETE FROM cost WHERE at < :before;

-- spent_in: what the attempts of a job told of their part of a session
SELECT usage FROM attempt WHERE job = :job AND session = :session AND usage IS NOT NULL AND ended_at IS NOT NULL;

-- history_of: what became of these jobs (NULL: of all), by the days of their launches and of their ends
SELECT substr(attempt.started_at, 1, 10) AS day, coalesce(claim.data ->> 'account', job.account) AS account,
  sum(attempt.outcome IS NOT 'unclaimed'), sum(attempt.outcome IS 'limited'),
  sum(attempt.outcome IS 'limited' OR attempt.outcome IS 'interrupted' OR attempt.outcome IS 'lost'),
  sum((attempt.outcome IS 'limited' OR attempt.outcome IS 'interrupted' OR attempt.outcome IS 'lost')
    AND job.state = 'succeeded'),
  sum((attempt.outcome IS 'limited' OR attempt.outcome IS 'interrupted' OR attempt.outcome IS 'lost')
    AND coalesce(after.resumes, 0)),
  sum((attempt.outcome IS 'failed' OR attempt.outcome IS 'timedout') AND after.n IS NOT NULL), 0, 0, 0, 0, 0
FROM json_each(coalesce(:jobs, (SELECT json_group_array(id) FROM job))) AS asked
CROSS JOIN job ON job.id = asked.value
CROSS JOIN attempt ON attempt.job = job.id
LEFT JOIN attempt AS after ON after.job = attempt.job AND after.n = attempt.n + 1
LEFT JOIN event AS claim ON claim.seq = attempt.epoch AND claim.name = 'attempt claimed'
GROUP BY 1, 2
UNION ALL
SELECT substr(ended_at, 1, 10), account, 0, 0, 0, 0, 0, 0, sum(state = 'succeeded'), sum(state = 'failed'),
  sum(state = 'error'), sum(state = 'cancelled'), sum(state = 'skipped')
FROM json_each(coalesce(:jobs, (SELECT json_group_array(id) FROM job))) AS asked
CROSS JOIN job ON job.id = asked.value WHERE ended_at IS NOT NULL
GROUP BY 1, 2;

-- history: what became of jobs that are forgotten
SELECT * FROM history;

-- add_history: what became of jobs that are being forgotten
INSERT INTO history (day, account, launches, limited, cut_off, recovered, resumed, retries,
  succeeded, failed, error, cancelled, skipped)
VALUES (:day, :account, :launches, :limited, :cut_off, :recovered, :resumed, :retries,
  :succeeded, :failed, :error, :cancelled, :skipped)
ON CONFLICT (day, account) DO UPDATE SET
  launches = launches + :launches, limited = limited + :limited, cut_off = cut_off + :cut_off,
  recovered = recovered + :recovered, resumed = resumed + :resumed, retries = retries + :retries,
  succeeded = succeeded + :succeeded, failed = failed + :failed, error = error + :error,
  cancelled = cancelled + :cancelled, skipped = skipped + :skipped;

-- told_shuts: whether any of these jobs has told a closing
SELECT EXISTS (
  SELECT 1 FROM json_each(:jobs) AS asked CROSS JOIN event ON event.job = asked.value WHERE event.name = 'gate shut'
);

-- shuts_of: the closings by limits that these jobs (NULL: any) told, and when each opened again
WITH told AS (
  SELECT scope, data ->> 'window' AS "window", at, name, job,
    lead(at) OVER (PARTITION BY scope, data ->> 'window' ORDER BY seq) AS until
  FROM event
  WHERE scope IS NOT NULL AND name IN ('gate shut', 'gate reopening', 'gate lifted') AND data ->> 'origin' = 'limit'
)
SELECT scope, "window", at, until FROM told
WHERE name = 'gate shut' AND (:jobs IS NULL OR job IN (SELECT value FROM json_each(:jobs)));

-- shuts: the closings that jobs told that are forgotten
SELECT scope, "window", since, until FROM closing;

-- add_shut: a closing whose job is being forgotten
INSERT OR REPLACE INTO closing (scope, "window", since, until) VALUES (:scope, :window, :since, :until);

-- spent_by_day: what was spent, by day and account
SELECT day, account, sum(attempts), sum(usd_told), sum(microdollars), sum(tokens_told), sum(tokens), sum(milliseconds)
FROM spent GROUP BY day, account;

-- add_spent: one more part of what a batch has spent on a day with an account
INSERT INTO spent (day, batch, account, attempts, usd_told, microdollars, tokens_told, tokens, milliseconds)
VALUES (:day, :batch, :account, :attempts, :usd_told, :microdollars, :tokens_told, :tokens, :milliseconds)
ON CONFLICT (day, batch, account) DO UPDATE SET
  attempts = attempts + :attempts, usd_told = usd_told + :usd_told, microdollars = microdollars + :microdollars,
  tokens_told = tokens_told + :tokens_told, tokens = tokens + :tokens, milliseconds = milliseconds + :milliseconds;

-- spent_on_day: what was spent on a day
SELECT
  coalesce(sum(attempts), 0), coalesce(sum(usd_told), 0), coalesce(sum(microdollars), 0),
  coalesce(sum(tokens_told), 0), coalesce(sum(tokens), 0), coalesce(sum(milliseconds), 0)
FROM spent WHERE day = :day AND (:batch IS NULL OR batch = :batch) AND (:account IS NULL OR account = :account);

-- spent_of_batch: what a batch has spent
SELECT
  coalesce(sum(attempts), 0), coalesce(sum(usd_told), 0), coalesce(sum(microdollars), 0),
  coalesce(sum(tokens_told), 0), coalesce(sum(tokens), 0), coalesce(sum(milliseconds), 0)
FROM spent WHERE batch = :batch AND (:account IS NULL OR account = :account);

-- spent_of_account: what was spent with an account
SELECT
  coalesce(sum(attempts), 0), coalesce(sum(usd_told), 0), coalesce(sum(microdollars), 0),
  coalesce(sum(tokens_told), 0), coalesce(sum(tokens), 0), coalesce(sum(milliseconds), 0)
FROM spent WHERE account = :account;

-- spent_ever: what was spent
SELECT
  coalesce(sum(attempts), 0), coalesce(sum(usd_told), 0), coalesce(sum(microdollars), 0),
  coalesce(sum(tokens_told), 0), coalesce(sum(tokens), 0), coalesce(sum(milliseconds), 0)
FROM spent;

-- budgets: what may be spent
SELECT scope, source, usd, tokens, wall, day_usd, day_tokens, day_wall, on_exceed, reached, reached_on
FROM budget ORDER BY scope, source;

-- put_budget: what a source says may be spent in a scope
INSERT INTO budget (scope, source, usd, tokens, wall, day_usd, day_tokens, day_wall, on_exceed, reached, reached_on)
VALUES (:scope, :source, :usd, :tokens, :wall, :day_usd, :day_tokens, :day_wall, :on_exceed, :reached, :reached_on)
ON CONFLICT (scope, source) DO UPDATE SET
  usd = :usd, tokens = :tokens, wall = :wall, day_usd = :day_usd, day_tokens = :day_tokens, day_wall = :day_wall,
  on_exceed = :on_exceed, reached = :reached, reached_on = :reached_on;

-- drop_budget: a source says nothing of what may be spent in a scope any more
DELETE FROM budget WHERE scope = :scope AND source = :source;

-- reserves: what may be used of the windows of accounts
SELECT account, "window", source, stop_at, heeded FROM reserve ORDER BY account, "window", source;

-- reserves_of: of those of an account
SELECT account, "window", source, stop_at, heeded FROM reserve WHERE account = :account ORDER BY "window", source;

-- put_reserve: what a source says of a window
INSERT INTO reserve (account, "window", source, stop_at, heeded) VALUES (:account, :window, :source, :stop_at, :heeded)
ON CONFLICT (account, "window", source) DO UPDATE SET stop_at = :stop_at, heeded = :heeded;

-- drop_reserve: a source says nothing of a window any more
DELETE FROM reserve WHERE account = :account AND "window" = :window AND source = :source;

-- unfinished: the jobs of a batch and an account (NULL: any) that have not ended
SELECT job.id FROM lane JOIN job ON job.lane = lane.id
WHERE job.state IN ('queued', 'running') AND lane.queued + lane.running > 0
  AND (:batch IS NULL OR lane.batch = :batch) AND (:account IS NULL OR lane.account = :account)
ORDER BY job.id;

-- running: the jobs and numbers of every running attempt, with its host
SELECT attempt.job, attempt.n, supervisor.host
FROM attempt JOIN supervisor ON supervisor.uuid = attempt.supervisor
WHERE attempt.ended_at IS NULL ORDER BY attempt.job, attempt.n;

-- add_batch: a new batch
INSERT INTO batch (name) VALUES (:name);

-- batch: a batch by its name
SELECT id FROM batch WHERE name = :name;

-- batches: every batch, oldest first
SELECT name, id FROM batch ORDER BY id;

-- add_lane: a new lane
INSERT INTO lane (batch, account, model, "group", shut) VALUES (:batch, :account, :model, :group,
  EXISTS (SELECT 1 FROM "group" WHERE id = :group AND stand <> 'open'));

-- lane: a lane by what it binds
SELECT id FROM lane WHERE batch = :batch AND account = :account AND model = :model AND "group" = :group;

-- known_names: those of these names that a batch has
SELECT job.name, job.id, job.state, definition.digest, job.expect, job.share, job.spread
FROM json_each(:names) AS asked
JOIN job ON job.name = asked.value AND job.batch = :batch
JOIN definition ON definition.job = job.id;

-- names: every name in a batch, oldest first
SELECT job.name FROM lane CROSS JOIN job ON job.lane = lane.id WHERE lane.batch = :batch ORDER BY job.id;

-- newest_job: the greatest id that was ever given
SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'job';

-- add_job: a new job
INSERT INTO job (id, batch, lane, name, account, model, "group", priority, not_before, unmet, created_at,
  expect, share, spread, held)
VALUES (:id, :batch, :lane, :name, :account, :model, :group, :priority, :not_before, :unmet, :now,
  :expect, :share, :spread, EXISTS (SELECT 1 FROM hold WHERE scope = 'job:' || :id AND allow = 0));

-- add_need: what a new job needs
INSERT INTO need (job, needs, met) VALUES (:job, :needs, :met);

-- states: where these jobs are
SELECT job.id, job.state FROM json_each(:jobs) AS asked CROSS JOIN job ON job.id = asked.value;

-- add_definition: what a new job does
INSERT INTO definition (job, digest, spec) VALUES (:id, :digest, :spec);

-- add_job_event: say that a job was added
INSERT INTO event (at, name, job) VALUES (:now, 'job added', :id);

-- change_job: a queued job's new definition, as far as the queue knows it
UPDATE job SET lane = :lane, account = :account, model = :model, "group" = :group, priority = :priority
WHERE id = :id;

-- put_hint: what a person expects of a job from now on
UPDATE job SET expect = :expect, share = :share, spread = :spread WHERE id = :id;

-- change_definition: what a job does from now on
UPDATE definition SET digest = :digest, spec = :spec WHERE job = :id;

-- size: how many jobs a batch has
SELECT coalesce(sum(queued + running + succeeded + failed + error + cancelled + skipped), 0)
FROM lane WHERE batch = :batch;

-- counts: how many jobs of a batch, of an account or of all are in each state
SELECT
  coalesce(sum(queued), 0), coalesce(sum(running), 0), coalesce(sum(succeeded), 0), coalesce(sum(failed), 0),
  coalesce(sum(error), 0), coalesce(sum(cancelled), 0), coalesce(sum(skipped), 0)
FROM lane WHERE (:batch IS NULL OR batch = :batch) AND (:account IS NULL OR account = :account);

-- filled: the lanes of a batch and an account (NULL: any), with how many jobs each has by state
SELECT id, queued, running, succeeded, failed, error, cancelled, skipped
FROM lane WHERE (:batch IS NULL OR batch = :batch) AND (:account IS NULL OR account = :account);

-- every_job: jobs by id
SELECT batch.name, definition.spec, job.*
FROM job JOIN batch ON batch.id = job.batch JOIN definition ON definition.job = job.id
WHERE job.id > :after
  AND (:name IS NULL OR job.name GLOB :name)
  AND (:label IS NULL OR EXISTS (
    SELECT 1 FROM json_each(definition.spec, '$.labels') AS said WHERE said.key = :label AND said.value = :value
  ))
ORDER BY job.id LIMIT :most;

-- every_job_down: jobs by id, the newest first
SELECT batch.name, definition.spec, job.*
FROM job JOIN batch ON batch.id = job.batch JOIN definition ON definition.job = job.id
WHERE job.id < :after
  AND (:name IS NULL OR job.name GLOB :name)
  AND (:label IS NULL OR EXISTS (
    SELECT 1 FROM json_each(definition.spec, '$.labels') AS said WHERE said.key = :label AND said.value = :value
  ))
ORDER BY job.id DESC LIMIT :most;

-- jobs_in: jobs of a lane in a state, by id
SELECT batch.name, definition.spec, job.*
FROM job JOIN batch ON batch.id = job.batch JOIN definition ON definition.job = job.id
WHERE job.lane = :lane AND job.state = :state AND job.id > :after
  AND (:name IS NULL OR job.name GLOB :name)
  AND (:label IS NULL OR EXISTS (
    SELECT 1 FROM json_each(definition.spec, '$.labels') AS said WHERE said.key = :label AND said.value = :value
  ))
ORDER BY job.id LIMIT :most;

-- jobs_in_down: jobs of a lane in a state, by id, the newest first
SELECT batch.name, definition.spec, job.*
FROM job JOIN batch ON batch.id = job.batch JOIN definition ON definition.job = job.id
WHERE job.lane = :lane AND job.state = :state AND job.id < :after
  AND (:name IS NULL OR job.name GLOB :name)
  AND (:label IS NULL OR EXISTS (
    SELECT 1 FROM json_each(definition.spec, '$.labels') AS said WHERE said.key = :label AND said.value = :value
  ))
ORDER BY job.id DESC LIMIT :most;

-- ended: jobs that ended before an instant, by id
SELECT batch.name, definition.spec, job.*
FROM job JOIN batch ON batch.id = job.batch JOIN definition ON definition.job = job.id
WHERE job.ended_at < :before AND +job.id > :after ORDER BY +job.id LIMIT :most;

-- needs: what these jobs need
SELECT need.job, need.needs, job.name, job.state, need.met
FROM json_each(:jobs) AS asked CROSS JOIN need ON need.job = asked.value JOIN job ON job.id = need.needs
ORDER BY need.job, need.needs;

-- forgettable: those of these jobs that have ended and that no unfinished job needs, nor its group
SELECT job.id FROM json_each(:jobs) AS asked CROSS JOIN job ON job.id = asked.value
WHERE job.ended_at IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM need JOIN job AS waiting ON waiting.id = need.job
  WHERE need.needs = job.id AND waiting.ended_at IS NULL
) AND NOT EXISTS (
  SELECT 1 FROM lane AS mine JOIN group_need ON group_need.needs = mine."group"
  JOIN lane AS waiting ON waiting."group" = group_need."group"
  WHERE mine.id = job.lane AND waiting.queued + waiting.running > 0
);

-- keeps_secrets: whether any of these jobs has a secret
SELECT EXISTS (
  SELECT 1 FROM json_each(:jobs) AS asked CROSS JOIN definition ON definition.job = asked.value
  WHERE definition.spec GLOB '*{"secret":*'
);

-- secrets: the files of all the secrets that jobs have
SELECT DISTINCT said.value ->> '$.secret'
FROM definition CROSS JOIN json_each(definition.spec, '$.env') AS said
WHERE definition.spec GLOB '*{"secret":*' AND said.type = 'object';

-- forget_needs: jobs that wait for a forgotten one, in vain, wait for one less
UPDATE job SET unmet = (
  SELECT count(*) FROM need
  WHERE need.job = job.id AND met = 0 AND needs NOT IN (SELECT value FROM json_each(:jobs))
)
WHERE id IN (SELECT job FROM need WHERE needs IN (SELECT value FROM json_each(:jobs)) AND met = 0);

-- forget: all that is known of these jobs
DELETE FROM need WHERE job IN (SELECT value FROM json_each(:jobs));
DELETE FROM need WHERE needs IN (SELECT value FROM json_each(:jobs));
DELETE FROM attempt WHERE job IN (SELECT value FROM json_each(:jobs));
DELETE FROM definition WHERE job IN (SELECT value FROM json_each(:jobs));
DELETE FROM hold WHERE scope IN (SELECT 'job:' || value FROM json_each(:jobs));
DELETE FROM opening WHERE scope IN (SELECT 'job:' || value FROM json_each(:jobs));
DELETE FROM hours WHERE scope IN (SELECT 'job:' || value FROM json_each(:jobs));
DELETE FROM event WHERE job IN (SELECT value FROM json_each(:jobs));
DELETE FROM job WHERE id IN (SELECT value FROM json_each(:jobs));

-- past: what was told of no job before an instant, without the newest row
SELECT seq FROM event WHERE job IS NULL AND at < :before AND seq < (SELECT max(seq) FROM event);

-- drop_events: these events
DELETE FROM event WHERE seq IN (SELECT value FROM json_each(:events));

-- drop_idle: some batches without jobs that nobody works on, and some incarnations that left before an instant
DELETE FROM lane WHERE batch IN (
  SELECT id FROM batch
  WHERE NOT EXISTS (
    SELECT 1 FROM lane WHERE lane.batch = batch.id
    AND queued + running + succeeded + failed + error + cancelled + skipped > 0
  ) AND id NOT IN (SELECT batch FROM supervisor WHERE batch IS NOT NULL AND left_at IS NULL)
  ORDER BY id LIMIT :most
);
DELETE FROM group_need WHERE "group" IN (
  SELECT id FROM "group" WHERE batch NOT IN (SELECT batch FROM lane)
  AND batch NOT IN (SELECT batch FROM supervisor WHERE batch IS NOT NULL AND left_at IS NULL)
);
DELETE FROM "group" WHERE batch NOT IN (SELECT batch FROM lane)
  AND batch NOT IN (SELECT batch FROM supervisor WHERE batch IS NOT NULL AND left_at IS NULL);
DELETE FROM batch WHERE id IN (
  SELECT id FROM batch
  WHERE NOT EXISTS (SELECT 1 FROM lane WHERE lane.batch = batch.id)
  AND id NOT IN (SELECT batch FROM supervisor WHERE batch IS NOT NULL AND left_at IS NULL)
  ORDER BY id LIMIT :most
);
DELETE FROM budget WHERE (source GLOB 'batch:*' AND substr(source, 7) NOT IN (SELECT name FROM batch))
  OR (scope GLOB 'batch:*' AND substr(scope, 7) NOT IN (SELECT name FROM batch));
DELETE FROM reserve WHERE source GLOB 'batch:*' AND substr(source, 7) NOT IN (SELECT name FROM batch)
  AND NOT EXISTS (
    SELECT 1 FROM hold WHERE scope = reserve.account AND origin = 'reserve' AND hold."window" = reserve."window"
  );
INSERT INTO spent (day, batch, account, attempts, usd_told, microdollars, tokens_told, tokens, milliseconds)
SELECT day, 0, account, sum(attempts), sum(usd_told), sum(microdollars), sum(tokens_told), sum(tokens),
  sum(milliseconds)
FROM spent WHERE batch <> 0 AND batch NOT IN (SELECT id FROM batch) GROUP BY day, account
ON CONFLICT (day, batch, account) DO UPDATE SET
  attempts = attempts + excluded.attempts, usd_told = usd_told + excluded.usd_told,
  microdollars = microdollars + excluded.microdollars, tokens_told = tokens_told + excluded.tokens_told,
  tokens = tokens + excluded.tokens, milliseconds = milliseconds + excluded.milliseconds;
DELETE FROM spent WHERE batch <> 0 AND batch NOT IN (SELECT id FROM batch);
DELETE FROM supervisor WHERE uuid IN (
  SELECT uuid FROM supervisor WHERE left_at < :before AND uuid NOT IN (SELECT supervisor FROM attempt) LIMIT :most
);

-- lengths: how long the newest success of a job of each of these names took, in seconds; NULL where there was none
SELECT asked.value, (
  SELECT (julianday(attempt.ended_at) - julianday(attempt.started_at)) * 86400
  FROM job CROSS JOIN attempt ON attempt.job = job.id
  WHERE job.name = asked.value AND attempt.outcome = 'succeeded' AND attempt.stage = ''
  ORDER BY attempt.epoch DESC LIMIT 1
)
FROM json_each(:names) AS asked;

-- jobs_named: the jobs of a name, one for each batch that has it
SELECT batch.name, definition.spec, job.*
FROM job JOIN batch ON batch.id = job.batch JOIN definition ON definition.job = job.id
WHERE job.name = :name AND (:batch IS NULL OR job.batch = :batch) ORDER BY job.id;

-- events: what happened, in order
SELECT seq, at, name, job, attempt, scope, data FROM event WHERE seq > :after ORDER BY seq LIMIT :most;

-- events_of_job: what happened to a job, in order
SELECT seq, at, name, job, attempt, scope, data FROM event
WHERE job = :job AND seq > :after ORDER BY seq LIMIT :most;

-- events_of_batch: what happened to the jobs of a batch, in order
SELECT event.seq, event.at, event.name, event.job, event.attempt, event.scope, event.data
FROM event CROSS JOIN job ON job.id = event.job
WHERE job.batch = :batch AND event.seq > :after ORDER BY event.seq LIMIT :most;

-- last_seq: the newest event's seq
SELECT coalesce(max(seq), 0) FROM event;

-- piles: the unfinished jobs, counted by batch, account, family of models and group
SELECT lane.batch, lane.account, lane.model, job."group", sum(job.state = 'queued'), sum(job.state = 'running'),
  max(job.not_before), sum(job.unmet > 0), avg(job.expect)
FROM lane CROSS JOIN job ON job.lane = lane.id AND job.state IN ('queued', 'running')
WHERE lane.queued + lane.running > 0
GROUP BY 1, 2, 3, 4 ORDER BY 1, min(job.id);

-- open_laps: how long each unfinished job has worked that was begun
WITH begun AS (
  SELECT job.id, lane.batch, lane.account, job."group",
    job.state = 'running' OR (job.resumed AND (job.session IS NOT NULL OR job.stage <> '')) AS stays,
    coalesce((
      SELECT max(n) FROM attempt WHERE job = job.id AND NOT resumes AND stage = '' AND outcome IS NOT 'unclaimed'
    ), 1) AS first
  FROM lane CROSS JOIN job ON job.lane = lane.id AND job.state IN ('queued', 'running')
  WHERE lane.queued + lane.running > 0 AND job.launches > 0
)
SELECT batch, account, "group",
  sum(iif(n >= first, julianday(coalesce(ended_at, :now)) - julianday(started_at), 0)) * 86400,
  sum(julianday(coalesce(ended_at, :now)) - julianday(started_at)) * 86400, sum(drawn), stays, NULL
FROM begun CROSS JOIN attempt ON attempt.job = begun.id
GROUP BY begun.id ORDER BY max(ended_at IS NULL) DESC, begun.id;

-- ended_laps: how long the jobs worked that have ended last
WITH last AS (
  SELECT id, batch, account, "group", state, job.ended_at,
    coalesce((
      SELECT max(n) FROM attempt WHERE job = job.id AND NOT resumes AND stage = '' AND outcome IS NOT 'unclaimed'
    ), 1) AS first
  FROM job WHERE job.ended_at IS NOT NULL ORDER BY job.ended_at DESC LIMIT :most
)
SELECT batch, account, "group",
  sum(iif(n >= first, julianday(attempt.ended_at) - julianday(started_at), 0)) * 86400,
  sum(julianday(attempt.ended_at) - julianday(started_at)) * 86400, sum(drawn), 0, last.ended_at
FROM last CROSS JOIN attempt ON attempt.job = last.id
WHERE state IN ('succeeded', 'failed', 'error') AND attempt.ended_at IS NOT NULL
GROUP BY last.id ORDER BY last.ended_at, last.id;

-- add_forecast: what is foretold of a batch
INSERT OR REPLACE INTO forecast (batch, at, "left", slots, p50, p90, windows, weeks, why)
VALUES (:batch, :at, :left, :slots, :p50, :p90, :windows, :weeks, :why);

-- forecasts: what was foretold of a batch, the first first
SELECT batch, at, "left", slots, p50, p90, windows, weeks, why FROM forecast WHERE batch = :batch ORDER BY at;

-- last_forecast: what was foretold of a batch last
SELECT batch, at, "left", slots, p50, p90, windows, weeks, why FROM forecast
WHERE batch = :batch ORDER BY at DESC LIMIT 1;

-- drop_forecasts: what was foretold before an instant, or of batches that are forgotten
DELETE FROM forecast WHERE at < :before OR batch NOT IN (SELECT id FROM batch);
