-- What must be true in every database, each as a query for what breaks it: job, attempt, the rest of a sentence.
-- The sentence is about the attempt, else about the job, else about the database. All are asked in one transaction.

-- event_data: what an event tells is JSON; first, for the others read it
SELECT job, attempt, format('has event %d, which tells no JSON', seq) FROM event WHERE NOT json_valid(data);

-- job_spec: a definition is JSON; so is that
SELECT job, NULL, 'has a definition that is no JSON' FROM definition WHERE NOT json_valid(spec);

-- job_running: a running job has one open attempt, its last
SELECT job.id, NULL, 'runs, but has no open attempt' FROM job
WHERE state = 'running' AND NOT EXISTS (SELECT 1 FROM attempt WHERE job = job.id AND ended_at IS NULL);

-- attempt_open: only a running job has an open attempt, and only its last one is open
SELECT attempt.job, attempt.n, iif(job.state = 'running', 'is open, but is not its last', format('is open, but its job is %s', job.state))
FROM attempt JOIN job ON job.id = attempt.job
WHERE attempt.ended_at IS NULL AND (job.state <> 'running' OR attempt.n <> job.launches);

-- attempt_end: an attempt has an outcome when it has ended, and only then
SELECT job, n, iif(ended_at IS NULL, format('has the outcome %s, but no end', outcome), 'has ended, but has no outcome')
FROM attempt WHERE (ended_at IS NULL) <> (outcome IS NULL);

-- job_end: a job has an end when it has ended, and only then
SELECT id, NULL, iif(ended_at IS NULL, format('is %s, but has no end', state), format('is %s, but has an end', state))
FROM job WHERE (ended_at IS NULL) <> (state IN ('queued', 'running'));

-- job_untold: what has ended was told
SELECT job.id, NULL, format('is %s, but its last event does not say so', job.state) FROM job
WHERE state NOT IN ('queued', 'running') AND state IS NOT (
  SELECT iif(event.name = 'job ended', event.data ->> 'state', NULL) FROM event
  WHERE event.job = job.id AND event.name IN ('job ended', 'job retried') ORDER BY event.seq DESC LIMIT 1
);

-- job_revived: what was told to have ended has ended
SELECT job.id, NULL, format('is %s, but its last event says that it has ended', job.state) FROM job
WHERE state IN ('queued', 'running') AND 'job ended' IS (
  SELECT event.name FROM event
  WHERE event.job = job.id AND event.name IN ('job ended', 'job retried') ORDER BY event.seq DESC LIMIT 1
);

-- job_added: every job was added once
SELECT id, NULL, 'has no event that it was added' FROM job
WHERE NOT EXISTS (SELECT 1 FROM event WHERE event.job = job.id AND event.name = 'job added');

-- job_stage: of a job in a stage behind its agent's it is known what the agent has done
SELECT id, NULL, format('is in its stage %Q, but nothing tells what its agent has done', stage) FROM job
WHERE stage <> '' AND NOT coalesce(json_valid(work), 0);

-- job_definition: every job has a definition
SELECT id, NULL, 'has no definition: nobody knows what it does' FROM job
WHERE NOT EXISTS (SELECT 1 FROM definition WHERE definition.job = job.id);

-- attempt_row: each claim that was told has its attempt
SELECT event.job, event.attempt, 'was claimed, but has no row' FROM event
WHERE name = 'attempt claimed' AND EXISTS (SELECT 1 FROM job WHERE id = event.job)
  AND NOT EXISTS (SELECT 1 FROM attempt WHERE job = event.job AND n = event.attempt);

-- job_launches: attempts are numbered from 1 to the number of launches
SELECT job.id, NULL, format('counts %d launches, but has %d attempts up to number %d', launches, rows, last)
FROM job JOIN (
  SELECT job.id AS of, count(attempt.n) AS rows, coalesce(max(attempt.n), 0) AS last
  FROM job LEFT JOIN attempt ON attempt.job = job.id GROUP BY job.id
) ON of = job.id
WHERE rows <> launches OR last <> launches;

-- attempt_claim: each attempt has the event of its claim, whose number is its epoch
SELECT job, n, 'has no event of its claim' FROM attempt
WHERE NOT EXISTS (
  SELECT 1 FROM event WHERE seq = epoch AND name = 'attempt claimed' AND event.job = attempt.job AND event.attempt = n
);

-- attempt_told: an end is told once, and only of an attempt that has ended
SELECT attempt.job, attempt.n, format('has %s, but %d events say that it has', iif(ended_at IS NULL, 'not ended', 'ended'), count(seq))
FROM attempt LEFT JOIN event
  ON event.job = attempt.job AND event.attempt = attempt.n AND event.name IN ('attempt ended', 'attempt unclaimed')
GROUP BY attempt.job, attempt.n HAVING count(seq) <> (ended_at IS NOT NULL);

-- job_charged: the charged attempts are those that events charge since the last retry, in its present stage
WITH
  retried AS (SELECT job, max(seq) AS seq FROM event WHERE name IN ('job retried', 'job staged') GROUP BY job),
  told AS (
    SELECT event.job, count(*) AS charged FROM event LEFT JOIN retried ON retried.job = event.job
    WHERE name = 'attempt ended' AND event.seq > coalesce(retried.seq, 0) AND data ->> 'charged' GROUP BY event.job
  )
SELECT id, NULL, format('counts %d charged attempts, but its events say %d', attempts, coalesce(charged, 0))
FROM job LEFT JOIN told ON told.job = job.id WHERE attempts <> coalesce(charged, 0);

-- job_charges: by kind there are no more than all together
SELECT job.id, NULL, format('counts %d charged attempts by kind, but %d in all', total(one.value), attempts)
FROM job CROSS JOIN json_each(iif(json_valid(charges), charges, '{"none": 1e9}')) AS one WHERE charges IS NOT NULL
GROUP BY job.id HAVING total(one.value) > attempts;

-- job_hint: nobody expects a job to take less than nothing
SELECT id, NULL, format('is expected to take %Q seconds, and %Q ± %Q of a window', expect, share, spread) FROM job
WHERE expect < 0 OR share < 0 OR spread < 0 OR (share IS NULL AND spread IS NOT NULL);

-- job_lost: so are the lost ones
WITH
  retried AS (SELECT job, max(seq) AS seq FROM event WHERE name IN ('job retried', 'job staged') GROUP BY job),
  told AS (
    SELECT event.job, count(*) AS lost FROM event LEFT JOIN retried ON retried.job = event.job
    WHERE name = 'attempt ended' AND event.seq > coalesce(retried.seq, 0) AND data ->> 'outcome' = 'lost'
    GROUP BY event.job
  )
SELECT id, NULL, format('counts %d lost attempts, but its events say %d', job.lost, coalesce(told.lost, 0))
FROM job LEFT JOIN told ON told.job = job.id WHERE job.lost <> coalesce(told.lost, 0);

-- job_limited: refusals in a row are those since the last attempt that got on, or was charged, or the last retry
WITH
  retried AS (SELECT job, max(seq) AS seq FROM event WHERE name = 'job retried' GROUP BY job),
  recent AS (
    SELECT attempt.* FROM attempt LEFT JOIN retried ON retried.job = attempt.job
    WHERE outcome IS NOT NULL AND epoch > coalesce(retried.seq, 0)
  ),
  new AS (
    SELECT job, max(n + (outcome <> 'limited')) AS n FROM recent
    WHERE progressed OR outcome NOT IN ('limited', 'interrupted', 'lost', 'unclaimed') GROUP BY job
  ),
  told AS (
    SELECT recent.job, count(*) AS limited FROM recent LEFT JOIN new ON new.job = recent.job
    WHERE outcome = 'limited' AND recent.n >= coalesce(new.n, 0) GROUP BY recent.job
  ),
  said AS (
    SELECT id, limited_in_a_row, limited_since IS NOT NULL AS since,
      iif(state IN ('queued', 'running'), coalesce(limited, 0), 0) AS limited
    FROM job LEFT JOIN told ON told.job = job.id
  )
SELECT id, NULL, format('counts %d limits in a row%s, but its attempts say %d',
  limited_in_a_row, iif(since, ' since an instant', ''), limited)
FROM said WHERE limited_in_a_row <> limited OR since <> (limited > 0);

-- job_unmet: a job waits for as many jobs as it has needs that are not met
SELECT id, NULL, format('waits for %d jobs, but has %d needs that are not met', unmet, open) FROM (
  SELECT id, unmet, (SELECT count(*) FROM need WHERE need.job = job.id AND met = 0) AS open FROM job
) WHERE unmet <> open;

-- need_met: what has succeeded is waited for no more
SELECT need.job, NULL, format('waits for job %d, which has succeeded', needs) FROM need JOIN job ON job.id = need.needs
WHERE met = 0 AND state = 'succeeded';

-- need_hopeless: nobody waits for what has ended without success
SELECT need.job, NULL, format('is queued, but needs job %d, which is %s', needs, needed.state)
FROM need JOIN job AS needed ON needed.id = need.needs JOIN job AS waiting ON waiting.id = need.job
WHERE met = 0 AND waiting.state = 'queued' AND needed.state NOT IN ('queued', 'running', 'succeeded');

-- need_early: what waits does not run
SELECT id, NULL, format('runs, but waits for %d jobs', unmet) FROM job WHERE state = 'running' AND unmet > 0;

-- need_circle: no job needs itself, by whatever way: each circle has a step from a job to one that is not older
WITH RECURSIVE reached (first, job) AS (
  SELECT job, needs FROM need WHERE needs >= job
  UNION
  SELECT first, needs FROM reached JOIN need ON need.job = reached.job
)
SELECT first, NULL, 'needs itself' FROM reached WHERE job = first;

-- job_lane: a job is in the lane of its batch, account and model, and of its group where that waits or is waited for
SELECT job.id, NULL, format('is in the lane of batch %d, %s/%s, group %d', lane.batch, lane.account, lane.model, lane."group")
FROM job JOIN lane ON lane.id = job.lane
WHERE lane.batch <> job.batch OR lane.account <> job.account OR lane.model <> family(job.model)
  OR lane."group" <> coalesce((SELECT id FROM "group" WHERE batch = job.batch AND name = job."group"), 0);

-- lane_shut: a lane is shut exactly where its group may not begin
SELECT NULL, NULL, format('the lane %s/%s of batch %d is %s, but its group is %s', account, model, lane.batch,
  iif(shut, 'shut', 'open'), coalesce(stand, 'none'))
FROM lane LEFT JOIN "group" ON "group".id = lane."group" WHERE shut <> (stand IS NOT NULL AND stand <> 'open');

-- group_stand: a group waits, or is open, as what it needs says; once something of it has run it stays open
WITH
  needed AS (
    SELECT group_need."group" AS id, total(queued + running) AS left, total(succeeded) AS good,
      total(failed + error + cancelled + skipped) AS bad
    FROM group_need JOIN lane ON lane."group" = group_need.needs GROUP BY group_need."group"
  ),
  due AS (
    SELECT "group".*, CASE
      WHEN "when" = 'all_succeeded' AND bad > 0 THEN 'hopeless'
      WHEN left > 0 THEN 'waiting'
      WHEN "when" = 'any_succeeded' AND bad > 0 AND good = 0 THEN 'hopeless'
      ELSE 'open' END AS due
    FROM "group" LEFT JOIN needed ON needed.id = "group".id
  )
SELECT NULL, NULL, format('group %s of batch %d is %s, but by what it needs it is %s', name, batch, stand, due) FROM due
WHERE stand IN ('waiting', 'open') AND stand <> due AND NOT (stand = 'open' AND EXISTS (
  SELECT 1 FROM lane JOIN job ON job.lane = lane.id
  WHERE lane."group" = due.id AND (
    job.state IN ('running', 'succeeded', 'failed', 'error') OR (job.state = 'queued' AND (job.resumed OR attempts > 0 OR job.stage <> ''))
  )
));

-- group_hopeless: no job waits in a group that can never begin
SELECT job.id, NULL, format('is queued, but its group %s can never begin', "group".name)
FROM "group" JOIN lane ON lane."group" = "group".id JOIN job ON job.lane = lane.id
WHERE "group".stand = 'hopeless' AND job.state = 'queued';

-- group_circle: no group needs itself, by whatever way
WITH RECURSIVE reached (first, "group") AS (
  SELECT "group", needs FROM group_need
  UNION
  SELECT first, needs FROM reached JOIN group_need ON group_need."group" = reached."group"
)
SELECT NULL, NULL, format('group %d needs itself', first) FROM reached WHERE "group" = first;

-- lane_counts: a lane counts its jobs by state
WITH told AS (
  SELECT lane,
    total(state = 'queued') AS queued, total(state = 'running') AS running, total(state = 'succeeded') AS succeeded,
    total(state = 'failed') AS failed, total(state = 'error') AS error, total(state = 'cancelled') AS cancelled,
    total(state = 'skipped') AS skipped
  FROM job GROUP BY lane
)
SELECT NULL, NULL, format('the lane %s/%s of batch %d counts its jobs wrongly', account, model, batch)
FROM lane LEFT JOIN told ON told.lane = lane.id
WHERE lane.queued <> coalesce(told.queued, 0) OR lane.running <> coalesce(told.running, 0)
  OR lane.succeeded <> coalesce(told.succeeded, 0) OR lane.failed <> coalesce(told.failed, 0)
  OR lane.error <> coalesce(told.error, 0) OR lane.cancelled <> coalesce(told.cancelled, 0)
  OR lane.skipped <> coalesce(told.skipped, 0);

-- job_held: a job is held exactly where a hold of its own shuts it
SELECT id, NULL, iif(held, 'counts as held, but no hold shuts it', 'does not count as held, but a hold shuts it')
FROM job WHERE held <> EXISTS (SELECT 1 FROM hold WHERE scope = 'job:' || job.id AND allow = 0);

-- hold_origin: a hold has an origin and a window that there are
SELECT NULL, NULL, format('the hold of %s has the origin %Q and the window %Q', scope, origin, "window") FROM hold
WHERE origin NOT IN ('limit', 'start', 'operator', 'host', 'human', 'disk', 'hours', 'budget', 'reserve',
  'burst')
  OR "window" NOT IN ('minute', '5h', 'day', 'week', 'month', 'spend', 'unknown');

-- hold_allow: a hold allows none or some, and what has an end of its own has one
SELECT NULL, NULL, format('the hold of %s (%s) allows %d%s', scope, origin, allow, iif(ramp, ' as a ramp', ''))
FROM hold WHERE allow < 0 OR (ramp AND (allow NOT IN (1, 2, 4, 8, 16, 32) OR origin NOT IN ('limit', 'start')));

-- hold_end: limits, hours and windows have ends
SELECT NULL, NULL, format('the hold of %s (%s) has no end', scope, origin) FROM hold
WHERE ramp = 0 AND until IS NULL AND origin IN ('limit', 'start', 'hours', 'reserve');

-- reserve_part: of a window there is a part to use, and windows are known
SELECT NULL, NULL, format('%s says to stop at %g of the window %Q of %s', source, stop_at, "window", account)
FROM reserve WHERE NOT (stop_at > 0 AND stop_at <= 1) OR "window" NOT IN ('5h', 'day', 'week', 'month');

-- reserve_hold: what is left of a window holds its account only where somebody has said so
SELECT NULL, NULL, format('the hold of %s (reserve) is for its window %s, of which nobody says anything', scope, "window")
FROM hold WHERE origin = 'reserve' AND NOT EXISTS (
  SELECT 1 FROM reserve WHERE reserve.account = hold.scope AND reserve."window" = hold."window"
);

-- hold_epoch: holds and openings are not from the time ahead
SELECT NULL, NULL, format('the hold of %s (%s) is from event %d, which is not here yet', scope, origin, epoch) FROM hold
WHERE epoch > (SELECT coalesce(max(seq), 0) FROM event)
UNION ALL
SELECT NULL, NULL, format('the opening of %s is from event %d, which is not here yet', scope, epoch) FROM opening
WHERE epoch > (SELECT coalesce(max(seq), 0) FROM event);

-- habit: what is remembered of a window is of one that there is, and no less than nothing
SELECT NULL, NULL, format('what is remembered of the %s window of %s cannot be', "window", scope) FROM habit
WHERE "window" NOT IN ('5h', 'day', 'week', 'month', 'spend', 'unknown')
  OR span < 0 OR span > 1e9 OR cuts < 0 OR rest < 0 OR rest > 1e9;

-- money: of what attempts tell that they cost, the books have all; of forgotten ones they may have more
WITH
  told AS (
    SELECT job.batch, count(*) AS number,
      total(iif(json_valid(usage), usage ->> 'cost_usd', 0)) * 1000000 AS microdollars,
      total(iif(json_valid(usage), coalesce(usage ->> 'input_tokens', 0) + coalesce(usage ->> 'output_tokens', 0), 0))
        AS tokens
    FROM attempt JOIN job ON job.id = attempt.job
    WHERE usage IS NOT NULL AND attempt.ended_at IS NOT NULL GROUP BY job.batch
  ),
  kept AS (SELECT batch, total(microdollars) AS microdollars, total(tokens) AS tokens FROM spent GROUP BY batch)
SELECT NULL, NULL, format('the books of batch %d have $%.6f and %d tokens, but its attempts tell of $%.6f and %d',
  told.batch, coalesce(kept.microdollars, 0) / 1e6, coalesce(kept.tokens, 0), told.microdollars / 1e6, told.tokens)
FROM told LEFT JOIN kept ON kept.batch = told.batch
WHERE coalesce(kept.microdollars, 0) + number < told.microdollars OR coalesce(kept.tokens, 0) < told.tokens;

-- windows: what is told of windows can be so
SELECT NULL, NULL, format('the %s window of %s is used by %.2f, %.0f of %.0f drawn', "window", scope, used, drawn_at_reading, drawn)
FROM meter WHERE coalesce(used, 0) NOT BETWEEN 0 AND 1 OR drawn < 0 OR drawn_at_reading NOT BETWEEN 0 AND drawn
  OR (used IS NULL) <> (read_at IS NULL)
UNION ALL
SELECT NULL, NULL, format('the %s window of %s from %s was used by %.2f, %.0f drawn, until %s', "window", scope, began_at, used, drawn, ended_at)
FROM tide WHERE coalesce(used, 0) NOT BETWEEN 0 AND 1 OR drawn < 0 OR drawn_at_reading NOT BETWEEN 0 AND drawn
  OR ended_at < began_at OR refused NOT IN (0, 1)
UNION ALL
SELECT NULL, NULL, format('the %s window of %s is read at %s as used by %.2f, %.0f drawn', "window", scope, at, used, drawn)
FROM reading WHERE used NOT BETWEEN 0 AND 1 OR drawn < 0;

-- costs: what jobs have cost is the sum of numbers that there can be
SELECT NULL, NULL, format('%d jobs of %s have cost %.0f in all with %s, with a logarithm of %.2f', jobs, "group", drawn, account, logs)
FROM cost WHERE jobs < 1 OR drawn <= 0 OR seconds < 0 OR rates < 0 OR squares * jobs < logs * logs * 0.999999 - 0.000001;

-- held: what is held back needs some of a window
SELECT NULL, NULL, format('%s holds back job %d, of whose window %.2f are left and %.2f ± %.2f needed', account, job, left, needed, spread)
FROM held WHERE left < 0 OR coalesce(needed, 0) < 0 OR spread < 0 OR observed NOT IN (0, 1);

-- draws: nobody draws less than nothing
SELECT job, n, format('has drawn %.0f by %d answers', drawn, answers) FROM attempt WHERE drawn < 0 OR answers < 0
UNION ALL
SELECT NULL, NULL, format('%.0f was drawn of %s at %s', tokens, account, at) FROM draw WHERE tokens < 0;

-- forecast: what is foretold is an end that there can be, or why nobody knows one
SELECT NULL, NULL, format('batch %d was foretold at %s to end by %Q or %Q', batch, at, p50, p90) FROM forecast
WHERE "left" < 0 OR slots < 0 OR coalesce(windows, 0) < 0 OR NOT json_valid(weeks)
  OR (p50 IS NULL) <> (p90 IS NULL) OR (p50 IS NULL AND why = '') OR p90 < p50 OR p50 < at;

-- request_cancel: only the end of a running job is asked for
SELECT target, NULL, format('is to be cancelled, but is %s', coalesce(job.state, 'not here'))
FROM request LEFT JOIN job ON job.id = request.target
WHERE verb = 'cancel' AND job.state IS NOT 'running';

-- event_job: events of a job go with it
SELECT NULL, NULL, format('event %d (%s) is of job %d, which is not here', seq, name, event.job) FROM event
WHERE event.job IS NOT NULL AND NOT EXISTS (SELECT 1 FROM job WHERE id = event.job) LIMIT 5;

-- times: every instant is written as all others
WITH written (at) AS (
  SELECT at FROM event UNION ALL SELECT created_at FROM job UNION ALL SELECT ended_at FROM job UNION ALL
  SELECT not_before FROM job UNION ALL SELECT limited_since FROM job UNION ALL SELECT started_at FROM attempt UNION ALL
  SELECT ended_at FROM attempt UNION ALL SELECT since FROM hold UNION ALL SELECT until FROM hold UNION ALL
  SELECT resets_at FROM hold UNION ALL SELECT started_at FROM supervisor UNION ALL SELECT left_at FROM supervisor
  UNION ALL SELECT early_at FROM hold UNION ALL SELECT opened_at FROM habit UNION ALL SELECT began FROM habit
  UNION ALL SELECT cut_at FROM habit UNION ALL SELECT since FROM held UNION ALL SELECT again FROM held
  UNION ALL SELECT until FROM held
  UNION ALL SELECT at FROM request UNION ALL SELECT progress_at FROM account UNION ALL SELECT at FROM draw
  UNION ALL SELECT begins_at FROM meter UNION ALL SELECT resets_at FROM meter UNION ALL SELECT read_at FROM meter
  UNION ALL SELECT refused_at FROM meter UNION ALL SELECT began_at FROM tide UNION ALL SELECT ended_at FROM tide
  UNION ALL SELECT at FROM reading UNION ALL SELECT resets_at FROM reading UNION ALL SELECT at FROM cost
  UNION ALL SELECT heeded FROM reserve UNION ALL SELECT at FROM forecast UNION ALL SELECT p50 FROM forecast
  UNION ALL SELECT p90 FROM forecast
)
SELECT NULL, NULL, format('%Q is no instant', at) FROM written
WHERE at IS NOT NULL AND (datetime(at) IS NULL OR at NOT GLOB '????-??-??T??:??:??.??????Z') LIMIT 5;

-- times_ahead: nothing has happened yet that lies ahead
SELECT job, attempt, format('has event %d (%s) at %s, which lies ahead: was the clock set back?', seq, name, at)
FROM event WHERE at > :soon ORDER BY at DESC LIMIT 1;

-- request_old: who works answers
SELECT NULL, NULL, format('%s was asked by %s at %s, and nobody has answered', verb, by, at) FROM request
WHERE verb <> 'cancel' AND at < :ago;

-- see_past_event_data: for all that is asked next an event that tells no JSON tells nothing
CREATE TEMP VIEW event AS
SELECT seq, at, name, job, attempt, scope, iif(json_valid(data), data, '{}') AS data FROM main.event;

-- see_past_job_spec: so does a definition
CREATE TEMP VIEW definition AS
SELECT job, digest, iif(json_valid(spec), spec, '{}') AS spec FROM main.definition;

-- see_attempts: every attempt with its exit status
SELECT job, n, exit FROM attempt;

-- see_launches: how often each job was launched
SELECT id, launches FROM job;

-- see_kept: those whose output is needed yet: an agent has run, and its job has not ended since; not a restored one's
SELECT attempt.job, attempt.n FROM attempt JOIN job ON job.id = attempt.job
WHERE attempt.exit IS NOT NULL AND job.state IN ('queued', 'running') AND attempt.epoch > (
  SELECT coalesce(max(seq), 0) FROM event
  WHERE (event.job = attempt.job AND name = 'job retried') OR (event.job IS NULL AND name = 'state restored')
);

-- see_open: the attempts that run
SELECT attempt.job, attempt.n, supervisor.uuid, supervisor.host
FROM attempt JOIN supervisor ON supervisor.uuid = attempt.supervisor WHERE attempt.ended_at IS NULL;

-- see_supervisors: every incarnation that ever entered
SELECT uuid, host, pid, started_at, left_at FROM supervisor;

-- see_secrets: the file of each secret, and a job that has it
SELECT said.value ->> '$.secret', min(definition.job)
FROM definition CROSS JOIN json_each(definition.spec, '$.env') AS said
WHERE definition.spec GLOB '*{"secret":*' AND said.type = 'object' GROUP BY 1;

-- see_things: what a database is made of; a table with its columns, as they may have been added one by one
SELECT type, name, iif(type <> 'table', sql, (
  SELECT format('strict %d, rowid %d', strict, NOT wr) FROM pragma_table_list WHERE schema = 'main' AND pragma_table_list.name = sqlite_schema.name
) || (
  SELECT group_concat(format(', %s %s %d %Q %d', name, type, "notnull", dflt_value, pk), '')
  FROM pragma_table_xinfo(sqlite_schema.name)
)) FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%';

-- see_integrity: "ok", or what is broken: pages, and indexes that differ from their tables
PRAGMA integrity_check(20);

-- see_references: rows that refer to rows that are not there
PRAGMA foreign_key_check;
