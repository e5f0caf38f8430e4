-- How each fault that an audit finds is mended, by its kind. :job and :n are what it is about, :now is the present.
-- What an attempt came to is taken from its events where they tell it; what nobody knows is an interruption: uncharged.

-- event_data: what rows say of what it told; what is there is kept as words
UPDATE event SET data = coalesce(
  CASE name
    WHEN 'attempt ended' THEN (
      SELECT json_object(
        'outcome', outcome, 'exit', exit, 'reason', detail,
        'charged', json(iif(outcome IN ('failed', 'timedout'), 'true', 'false')),
        'next', (SELECT state FROM job WHERE id = event.job), 'damaged', event.data
      ) FROM attempt WHERE attempt.job = event.job AND n = event.attempt AND outcome IS NOT NULL
    )
    WHEN 'attempt claimed' THEN (
      SELECT json_object('n', n, 'canary', json(iif(canary, 'true', 'false')), 'damaged', event.data)
      FROM attempt WHERE attempt.job = event.job AND n = event.attempt
    )
    WHEN 'job ended' THEN (
      SELECT json_object('state', state, 'reason', reason, 'damaged', event.data)
      FROM job WHERE id = event.job AND state NOT IN ('queued', 'running')
    )
  END,
  json_object('damaged', data)
)
WHERE NOT json_valid(data);

-- job_running: it waits again, ahead of fresh work; for a person where it may have published its work
INSERT OR IGNORE INTO hold
  (scope, origin, "window", allow, since, reason, evidence, by, epoch, exact, ramp, misses)
SELECT 'job:' || id, 'human', 'unknown', 0, :now, 'it may be published already', '', 'tidegate',
  (SELECT coalesce(max(seq), 0) FROM event), 0, 0, 0
FROM job WHERE id = :job AND stage = 'publish' AND state IN ('queued', 'running');
UPDATE job SET state = 'queued', resumed = 1, reason = 'it was running without an attempt'
WHERE id = :job AND state = 'running' AND NOT EXISTS (SELECT 1 FROM attempt WHERE job = :job AND ended_at IS NULL);

-- job_stage: its agent begins again; a person is asked first where its work may have been published
INSERT OR IGNORE INTO hold
  (scope, origin, "window", allow, since, reason, evidence, by, epoch, exact, ramp, misses)
SELECT 'job:' || id, 'human', 'unknown', 0, :now, 'it may be published already', '', 'tidegate',
  (SELECT coalesce(max(seq), 0) FROM event), 0, 0, 0
FROM job WHERE id = :job AND stage = 'publish' AND state IN ('queued', 'running');
INSERT INTO event (at, name, job, data) VALUES (:now, 'job staged', :job, '{"stage":""}');
UPDATE job SET stage = '', work = NULL, session = NULL, attempts = 0, charges = NULL, lost = 0, account = coalesce(
  (
    SELECT data ->> 'account' FROM event
    WHERE event.job = :job AND name = 'attempt claimed' AND json_valid(data) AND data ->> 'stage' IS NULL
    ORDER BY seq DESC LIMIT 1
  ), account
) WHERE id = :job;

-- attempt_open: its end is the one that was told, else an interruption, which is told now
UPDATE attempt SET (ended_at, outcome, exit, detail) = (
  SELECT at, iif(name = 'attempt unclaimed', 'unclaimed', data ->> 'outcome'), data ->> 'exit',
    coalesce(data ->> 'reason', '')
  FROM event WHERE event.job = :job AND attempt = :n AND name IN ('attempt ended', 'attempt unclaimed')
)
WHERE job = :job AND n = :n AND (ended_at IS NULL OR outcome IS NULL) AND EXISTS (
  SELECT 1 FROM event WHERE event.job = :job AND attempt = :n AND name IN ('attempt ended', 'attempt unclaimed')
);
UPDATE attempt SET ended_at = coalesce(ended_at, :now), outcome = coalesce(outcome, 'interrupted'),
  detail = iif(detail = '', 'its end was not recorded', detail)
WHERE job = :job AND n = :n AND (ended_at IS NULL OR outcome IS NULL);
INSERT INTO event (at, name, job, attempt, data)
SELECT :now, iif(outcome = 'unclaimed', 'attempt unclaimed', 'attempt ended'), job, n, json_object(
  'outcome', outcome, 'exit', exit, 'reason', detail,
  'charged', json(iif(outcome IN ('failed', 'timedout'), 'true', 'false')),
  'next', (SELECT state FROM job WHERE id = :job)
)
FROM attempt WHERE job = :job AND n = :n AND NOT EXISTS (
  SELECT 1 FROM event WHERE event.job = :job AND attempt = :n AND name IN ('attempt ended', 'attempt unclaimed')
);

-- attempt_half: a running attempt has no outcome yet
UPDATE attempt SET outcome = NULL WHERE job = :job AND n = :n AND ended_at IS NULL AND EXISTS (
  SELECT 1 FROM job WHERE id = :job AND state = 'running' AND launches = :n
);

-- attempt_row: as its claim was told; its end is settled next
INSERT INTO supervisor (uuid, host, pid, boot_id, started_at, left_at)
SELECT '00000000-0000-4000-8000-000000000000', :host, 0, '', :now, :now
WHERE NOT EXISTS (SELECT 1 FROM supervisor);
INSERT OR IGNORE INTO attempt (job, n, supervisor, epoch, started_at, canary)
SELECT event.job, event.attempt,
  (SELECT uuid FROM supervisor ORDER BY started_at <= event.at DESC, abs(julianday(started_at) - julianday(event.at)) LIMIT 1),
  seq, at, coalesce(data ->> 'canary', 0)
FROM event WHERE event.job = :job AND event.attempt = :n AND name = 'attempt claimed';

-- job_launches: a row for each launch that is counted, and a count for each row; what is missing is told now
WITH RECURSIVE
  last (n) AS (
    SELECT max(launches, (SELECT coalesce(max(n), 0) FROM attempt WHERE job = :job)) FROM job WHERE id = :job
  ),
  number (n) AS (SELECT 1 FROM last WHERE last.n > 0 UNION ALL SELECT n + 1 FROM number WHERE n < (SELECT n FROM last))
INSERT INTO event (at, name, job, attempt, data)
SELECT :now, 'attempt claimed', :job, n, json_object('n', n, 'canary', json('false'), 'found', json('true'))
FROM number WHERE NOT EXISTS (SELECT 1 FROM attempt WHERE job = :job AND attempt.n = number.n);
INSERT INTO supervisor (uuid, host, pid, boot_id, started_at, left_at)
SELECT '00000000-0000-4000-8000-000000000000', :host, 0, '', :now, :now
WHERE NOT EXISTS (SELECT 1 FROM supervisor);
INSERT OR IGNORE INTO attempt (job, n, supervisor, epoch, started_at, canary)
SELECT event.job, event.attempt, (SELECT uuid FROM supervisor ORDER BY started_at DESC LIMIT 1), seq, at, 0
FROM event WHERE event.job = :job AND name = 'attempt claimed' AND data ->> 'found' ORDER BY seq;
UPDATE job SET launches = (SELECT coalesce(max(n), 0) FROM attempt WHERE job = :job) WHERE id = :job;

-- job_end: an end where it has ended: when that was told, else now
UPDATE job SET ended_at = iif(state IN ('queued', 'running'), NULL, coalesce(
  (SELECT max(at) FROM event WHERE event.job = :job AND name = 'job ended'), :now
)) WHERE id = :job;

-- job_untold: its end is told
INSERT INTO event (at, name, job, data)
SELECT :now, 'job ended', id, json_object('state', state, 'reason', reason) FROM job WHERE id = :job;

-- job_charged: as its events say
UPDATE job SET attempts = (
  SELECT count(*) FROM event
  WHERE event.job = :job AND name = 'attempt ended' AND data ->> 'charged' AND seq > (
    SELECT coalesce(max(seq), 0) FROM event WHERE event.job = :job AND name IN ('job retried', 'job staged')
  )
) WHERE id = :job;

-- job_charges: as its events say
UPDATE job SET charges = (
  SELECT json_group_object(kind, number) FROM (
    SELECT data ->> 'kind' AS kind, count(*) AS number FROM event
    WHERE event.job = :job AND name = 'attempt ended' AND data ->> 'charged' AND data ->> 'kind' IS NOT NULL AND seq > (
      SELECT coalesce(max(seq), 0) FROM event WHERE event.job = :job AND name = 'job retried'
    ) GROUP BY 1
  )
) WHERE id = :job;

-- job_lost: as its events say
UPDATE job SET lost = (
  SELECT count(*) FROM event
  WHERE event.job = :job AND name = 'attempt ended' AND data ->> 'outcome' = 'lost' AND seq > (
    SELECT coalesce(max(seq), 0) FROM event WHERE event.job = :job AND name IN ('job retried', 'job staged')
  )
) WHERE id = :job;

-- job_limited: as its attempts say
WITH
  recent AS (
    SELECT * FROM attempt WHERE job = :job AND outcome IS NOT NULL AND epoch > (
      SELECT coalesce(max(seq), 0) FROM event WHERE event.job = :job AND name = 'job retried'
    )
  ),
  new AS (
    SELECT coalesce(max(n + (outcome <> 'limited')), 0) AS n FROM recent
    WHERE progressed OR outcome NOT IN ('limited', 'interrupted', 'lost', 'unclaimed')
  ),
  told AS (
    SELECT count(*) AS limited, min(ended_at) AS since FROM recent
    WHERE outcome = 'limited' AND n >= (SELECT n FROM new)
  )
UPDATE job SET
  limited_in_a_row = iif(state IN ('queued', 'running'), told.limited, 0),
  limited_since = iif(state IN ('queued', 'running'), told.since, NULL)
FROM told WHERE id = :job;

-- job_unmet: as its needs say
UPDATE job SET unmet = (SELECT count(*) FROM need WHERE need.job = :job AND met = 0) WHERE id = :job;

-- need_met: what has succeeded is met
UPDATE need SET met = 1 WHERE job = :job AND needs IN (SELECT id FROM job WHERE state = 'succeeded');
UPDATE job SET unmet = (SELECT count(*) FROM need WHERE need.job = :job AND met = 0) WHERE id = :job;

-- need_hopeless: it is skipped, as it should have been
INSERT INTO event (at, name, job, data)
SELECT :now, 'job ended', :job, json_object('state', 'skipped', 'reason', 'what it needs has ended without success')
FROM job WHERE id = :job AND state = 'queued';
UPDATE job SET state = 'skipped', reason = 'what it needs has ended without success', ended_at = :now,
  not_before = NULL, resumed = 0, limited_in_a_row = 0, limited_since = NULL
WHERE id = :job AND state = 'queued';

-- job_lane: the lane of its batch, account, model and group
INSERT OR IGNORE INTO lane (batch, account, model, "group", shut)
SELECT job.batch, job.account, family(job.model), coalesce("group".id, 0), coalesce(stand <> 'open', 0)
FROM job LEFT JOIN "group" ON "group".batch = job.batch AND "group".name = job."group" WHERE job.id = :job;
UPDATE job SET lane = (
  SELECT lane.id FROM lane
  WHERE lane.batch = job.batch AND lane.account = job.account AND lane.model = family(job.model)
    AND lane."group" = coalesce((SELECT id FROM "group" WHERE batch = job.batch AND name = job."group"), 0)
) WHERE id = :job;

-- lane_shut: as its group stands
UPDATE lane SET shut = EXISTS (SELECT 1 FROM "group" WHERE id = lane."group" AND stand <> 'open');

-- group_stand: as what it needs says
WITH
  needed AS (
    SELECT group_need."group" AS id, total(queued + running) AS left, total(succeeded) AS good,
      total(failed + error + cancelled + skipped) AS bad
    FROM group_need JOIN lane ON lane."group" = group_need.needs GROUP BY group_need."group"
  ),
  due AS (
    SELECT "group".id, CASE
      WHEN "when" = 'all_succeeded' AND bad > 0 THEN 'hopeless'
      WHEN left > 0 THEN 'waiting'
      WHEN "when" = 'any_succeeded' AND bad > 0 AND good = 0 THEN 'hopeless'
      ELSE 'open' END AS due
    FROM "group" LEFT JOIN needed ON needed.id = "group".id
  )
UPDATE "group" SET stand = due, reason = iif(due = 'hopeless', 'what its group needs has ended without success', '')
FROM due WHERE due.id = "group".id AND stand IN ('waiting', 'open') AND stand <> due
  AND NOT (stand = 'open' AND EXISTS (
    SELECT 1 FROM lane JOIN job ON job.lane = lane.id
    WHERE lane."group" = due.id AND (
      job.state IN ('running', 'succeeded', 'failed', 'error') OR (job.state = 'queued' AND (job.resumed OR attempts > 0 OR job.stage <> ''))
    )
  ));
UPDATE lane SET shut = EXISTS (SELECT 1 FROM "group" WHERE id = lane."group" AND stand <> 'open');
INSERT INTO event (at, name, job, data)
SELECT :now, 'job ended', job.id, json_object('state', 'skipped', 'reason', "group".reason)
FROM job JOIN lane ON lane.id = job.lane JOIN "group" ON "group".id = lane."group"
WHERE stand = 'hopeless' AND job.state = 'queued';
UPDATE job SET state = 'skipped', reason = (
    SELECT "group".reason FROM lane JOIN "group" ON "group".id = lane."group" WHERE lane.id = job.lane
  ), ended_at = :now, not_before = NULL, resumed = 0, limited_in_a_row = 0, limited_since = NULL
WHERE state = 'queued'
  AND lane IN (SELECT lane.id FROM lane JOIN "group" ON "group".id = lane."group" WHERE stand = 'hopeless');

-- group_hopeless: it is skipped, as it should have been
INSERT INTO event (at, name, job, data)
SELECT :now, 'job ended', :job, json_object('state', 'skipped', 'reason', "group".reason)
FROM job JOIN lane ON lane.id = job.lane JOIN "group" ON "group".id = lane."group"
WHERE job.id = :job AND job.state = 'queued';
UPDATE job SET state = 'skipped', reason = (
    SELECT "group".reason FROM lane JOIN "group" ON "group".id = lane."group" WHERE lane.id = job.lane
  ), ended_at = :now, not_before = NULL, resumed = 0, limited_in_a_row = 0, limited_since = NULL
WHERE id = :job AND state = 'queued';

-- job_hint: nobody says what to expect of it
UPDATE job SET expect = NULL, share = NULL, spread = NULL WHERE id = :job;

-- lane_counts: each lane counts its jobs anew
UPDATE lane SET (queued, running, succeeded, failed, error, cancelled, skipped) = (
  SELECT count(*) FILTER (WHERE state = 'queued'), count(*) FILTER (WHERE state = 'running'),
    count(*) FILTER (WHERE state = 'succeeded'), count(*) FILTER (WHERE state = 'failed'),
    count(*) FILTER (WHERE state = 'error'), count(*) FILTER (WHERE state = 'cancelled'),
    count(*) FILTER (WHERE state = 'skipped')
  FROM job WHERE job.lane = lane.id
);

-- job_held: as its holds say
UPDATE job SET held = EXISTS (SELECT 1 FROM hold WHERE scope = 'job:' || job.id AND allow = 0) WHERE id = :job;

-- hold_origin: nobody knows what it means
DELETE FROM hold WHERE origin NOT IN ('limit', 'start', 'operator', 'host', 'human', 'disk', 'hours', 'budget', 'reserve',
  'burst')
  OR "window" NOT IN ('minute', '5h', 'day', 'week', 'month', 'spend', 'unknown');

-- hold_allow: a ramp begins anew, any other hold is shut
UPDATE hold SET ramp = ramp AND origin IN ('limit', 'start'), allow = ramp AND origin IN ('limit', 'start')
WHERE allow < 0 OR (ramp AND (allow NOT IN (1, 2, 4, 8, 16, 32) OR origin NOT IN ('limit', 'start')));

-- hold_end: it ends now: a limit lets one go first
UPDATE hold SET until = :now WHERE ramp = 0 AND until IS NULL AND origin IN ('limit', 'start', 'hours', 'reserve');

-- reserve_part: nobody knows what it means
DELETE FROM reserve WHERE NOT (stop_at > 0 AND stop_at <= 1) OR "window" NOT IN ('5h', 'day', 'week', 'month');

-- reserve_hold: nobody has asked for it
DELETE FROM hold WHERE origin = 'reserve' AND NOT EXISTS (
  SELECT 1 FROM reserve WHERE reserve.account = hold.scope AND reserve."window" = hold."window"
);

-- hold_epoch: from now on
UPDATE hold SET epoch = (SELECT coalesce(max(seq), 0) FROM event)
WHERE epoch > (SELECT coalesce(max(seq), 0) FROM event);
UPDATE opening SET epoch = (SELECT coalesce(max(seq), 0) FROM event)
WHERE epoch > (SELECT coalesce(max(seq), 0) FROM event);

-- habit: it is learned again
DELETE FROM habit WHERE "window" NOT IN ('5h', 'day', 'week', 'month', 'spend', 'unknown')
  OR span < 0 OR span > 1e9 OR cuts < 0 OR rest < 0 OR rest > 1e9;

-- money: the books of these batches are made anew, from what is known of their attempts
DELETE FROM spent WHERE batch IN (
  SELECT told.batch FROM (
    SELECT job.batch, count(*) AS number, total(usage ->> 'cost_usd') * 1000000 AS microdollars,
      total(coalesce(usage ->> 'input_tokens', 0) + coalesce(usage ->> 'output_tokens', 0)) AS tokens
    FROM attempt JOIN job ON job.id = attempt.job
    WHERE json_valid(usage) AND attempt.ended_at IS NOT NULL GROUP BY job.batch
  ) AS told
  JOIN (
    SELECT batch, total(microdollars) AS microdollars, total(tokens) AS tokens FROM spent GROUP BY batch
  ) AS kept ON kept.batch = told.batch
  WHERE kept.microdollars + number < told.microdollars OR kept.tokens < told.tokens
);
INSERT INTO spent (day, batch, account, attempts, usd_told, microdollars, tokens_told, tokens, milliseconds)
SELECT date(attempt.ended_at, 'localtime') AS day, job.batch, job.account, count(*),
  count(usage ->> 'cost_usd'), coalesce(sum(CAST(round((usage ->> 'cost_usd') * 1000000) AS INTEGER)), 0),
  count(coalesce(usage ->> 'input_tokens', usage ->> 'output_tokens')),
  sum(coalesce(usage ->> 'input_tokens', 0) + coalesce(usage ->> 'output_tokens', 0)),
  sum(max(CAST((julianday(attempt.ended_at) - julianday(started_at)) * 86400000 AS INTEGER), 0))
FROM attempt JOIN job ON job.id = attempt.job JOIN definition ON definition.job = job.id
WHERE attempt.ended_at IS NOT NULL AND outcome <> 'unclaimed' AND job.batch NOT IN (SELECT batch FROM spent)
  AND (json_valid(usage) OR (usage IS NULL AND json_valid(spec) AND spec ->> 'agent' IS NOT NULL))
GROUP BY 1, 2, 3;

-- windows: what cannot be so is forgotten: it is told again
DELETE FROM meter WHERE coalesce(used, 0) NOT BETWEEN 0 AND 1 OR drawn < 0 OR drawn_at_reading NOT BETWEEN 0 AND drawn
  OR (used IS NULL) <> (read_at IS NULL);
DELETE FROM tide WHERE coalesce(used, 0) NOT BETWEEN 0 AND 1 OR drawn < 0 OR drawn_at_reading NOT BETWEEN 0 AND drawn
  OR ended_at < began_at OR refused NOT IN (0, 1);
DELETE FROM reading WHERE used NOT BETWEEN 0 AND 1 OR drawn < 0;

-- costs: so are costs, which are learned again
DELETE FROM cost
WHERE jobs < 1 OR drawn <= 0 OR seconds < 0 OR rates < 0 OR squares * jobs < logs * logs * 0.999999 - 0.000001;

-- held: the next claim finds out anew
DELETE FROM held WHERE left < 0 OR coalesce(needed, 0) < 0 OR spread < 0 OR observed NOT IN (0, 1);

-- draws: nothing was drawn then
UPDATE attempt SET drawn = max(drawn, 0), answers = max(answers, 0) WHERE drawn < 0 OR answers < 0;
DELETE FROM draw WHERE tokens < 0;

-- forecast: nobody believes it any more
DELETE FROM forecast WHERE "left" < 0 OR slots < 0 OR coalesce(windows, 0) < 0 OR NOT json_valid(weeks)
  OR (p50 IS NULL) <> (p90 IS NULL) OR (p50 IS NULL AND why = '') OR p90 < p50 OR p50 < at;

-- request_cancel: nothing is left to cancel
DELETE FROM request WHERE verb = 'cancel' AND target IS NOT NULL
  AND target NOT IN (SELECT id FROM job WHERE state = 'running');
DELETE FROM request WHERE verb = 'cancel' AND target IS NULL;

-- reference: what hangs on a job that is not there goes; what a job hangs on is made again
INSERT OR IGNORE INTO batch (id, name)
SELECT DISTINCT batch, 'recovered ' || batch FROM job WHERE batch NOT IN (SELECT id FROM batch);
INSERT OR IGNORE INTO batch (id, name)
SELECT DISTINCT batch, 'recovered ' || batch FROM lane WHERE batch NOT IN (SELECT id FROM batch);
DELETE FROM group_need WHERE "group" NOT IN (SELECT id FROM "group") OR needs NOT IN (SELECT id FROM "group");
DELETE FROM "group" WHERE batch NOT IN (SELECT id FROM batch);
INSERT OR IGNORE INTO lane (batch, account, model, "group", shut)
SELECT job.batch, job.account, family(job.model), coalesce("group".id, 0), coalesce(stand <> 'open', 0)
FROM job LEFT JOIN "group" ON "group".batch = job.batch AND "group".name = job."group"
WHERE lane NOT IN (SELECT id FROM lane);
UPDATE job SET lane = (
  SELECT lane.id FROM lane
  WHERE lane.batch = job.batch AND lane.account = job.account AND lane.model = family(job.model)
    AND lane."group" = coalesce((SELECT id FROM "group" WHERE batch = job.batch AND name = job."group"), 0)
) WHERE lane NOT IN (SELECT id FROM lane);
INSERT OR IGNORE INTO supervisor (uuid, host, pid, boot_id, started_at, left_at)
SELECT DISTINCT supervisor, :host, 0, '', :now, :now FROM attempt
WHERE supervisor NOT IN (SELECT uuid FROM supervisor);
DELETE FROM attempt WHERE job NOT IN (SELECT id FROM job);
DELETE FROM definition WHERE job NOT IN (SELECT id FROM job);
DELETE FROM need WHERE job NOT IN (SELECT id FROM job) OR needs NOT IN (SELECT id FROM job);

-- index: every index from its table
REINDEX;

-- repaired: what was done
INSERT INTO event (at, name, job, attempt, data) VALUES (:now, 'repaired', :job, :n, :data);
