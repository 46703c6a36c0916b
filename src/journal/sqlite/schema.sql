-- The journal, format 4. Times are milliseconds since the Unix epoch, UTC, by the trusted clock.
-- Events and keys are append-only: rows are added at the end, and retention deletes them from the beginning.

-- One row per event. `seq` never repeats and never decreases, even after the table was empty (see `mark`).
CREATE TABLE event (
  seq         INTEGER PRIMARY KEY,
  received_at INTEGER NOT NULL,           -- never decreases within an era, so `since` and `until` can use binary search
  class       INTEGER NOT NULL,           -- the lane: 0 incoming-message, 1 everything else
  source      TEXT    NOT NULL,           -- the name of the source in the configuration
  name        TEXT    NOT NULL,           -- eventName
  raw         BLOB    NOT NULL,           -- the element's bytes exactly as received
  behind      INTEGER NOT NULL DEFAULT 0  -- received_at minus the real time of receipt, ms; nearly always 0
);

-- The deduplication window: one row per run of at most 128 consecutive events.
CREATE TABLE key_run (
  first       INTEGER PRIMARY KEY,        -- the seq of the first event of the run
  came_at     INTEGER NOT NULL,
  entries     BLOB    NOT NULL            -- 32 bytes per event: 16 of the key's digest, 16 of the content's digest
);

-- Values that must survive the deletion of the rows that they come from.
CREATE TABLE mark (
  name        TEXT    PRIMARY KEY,        -- 'seq': the highest ever assigned; 'received_at': the last assigned;
                                          -- 'clock': the last known time; 'deletion': the time that deletion by age has reached;
                                          -- 'settled LANE SEQ': a dead letter past the cursor was deleted (dropped,
                                          -- expired or delivered); `value` is the seq, and the row stays until the
                                          -- cursor passes it
  value       INTEGER NOT NULL
) WITHOUT ROWID;

-- Clock eras: each correction of the trusted clock starts one. Events before the first row belong to era 0.
CREATE TABLE era (
  number      INTEGER PRIMARY KEY,        -- from 1
  first       INTEGER NOT NULL,           -- the first seq of the era
  began_at    INTEGER NOT NULL,           -- the corrected time
  by_ms       INTEGER NOT NULL,           -- the size of the correction; negative: the time goes back
  shift_ms    INTEGER NOT NULL,           -- added to the times of older rows when their age is computed
  reason      TEXT    NOT NULL            -- 'accepted': by an operator; 'agreed': an hour had passed without a jump
);

-- A handler's two lanes, and two more for each of its replays. The lane is done with every event up to `cursor`: it was
-- delivered, filtered out, set aside, skipped, or became a dead letter. Events before the handler's start count as
-- done.
CREATE TABLE lane (
  id          INTEGER PRIMARY KEY,
  handler     TEXT    NOT NULL,
  class       INTEGER NOT NULL,
  cursor      INTEGER NOT NULL,
  replay      INTEGER NOT NULL DEFAULT 0, -- the id of the lane's replay; 0: the handler's own lane
  UNIQUE (handler, class, replay)
);

-- Handlers that deliver nothing until somebody resumes them.
CREATE TABLE pause (
  handler     TEXT    PRIMARY KEY,
  at          INTEGER NOT NULL,
  reason      TEXT    NOT NULL            -- why the handler is paused, or by whom; safe for logs
) WITHOUT ROWID;

-- Replays: deliver stored events again. The cursors of a replay are in its rows of `lane`.
CREATE TABLE replay (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  handler     TEXT    NOT NULL,
  after       INTEGER NOT NULL,           -- the replay starts after this seq
  upto        INTEGER NOT NULL,           -- the replay ends with this seq
  filter      TEXT    NOT NULL,           -- JSON: selects events, in addition to the handler's filter
  rate        INTEGER,                    -- maximum number of events per second; NULL: only the handler's limit
  state       TEXT    NOT NULL,           -- 'running', 'paused', 'done', 'cancelled'
  created_at  INTEGER NOT NULL,
  ended_at    INTEGER
);

-- The history of each lane's cursor: the last 7 days, and the last row before them.
CREATE TABLE settle (
  id          INTEGER PRIMARY KEY,
  lane        INTEGER NOT NULL,
  upto        INTEGER NOT NULL,
  at          INTEGER NOT NULL,
  era         INTEGER NOT NULL DEFAULT 0  -- the era of `at`
);
CREATE INDEX settle_upto ON settle (lane, upto);

-- Set-aside events: the lane continues without them and delivers them later.
CREATE TABLE aside (
  lane        INTEGER NOT NULL,
  seq         INTEGER NOT NULL,
  order_key   INTEGER,                    -- events with the same key are delivered in order; NULL without a messageId
  behind      INTEGER NOT NULL,           -- 1: waits for an earlier event of its message
  attempts    INTEGER NOT NULL,
  since       INTEGER NOT NULL,
  next_try    INTEGER NOT NULL,
  error       TEXT    NOT NULL,           -- the last one; may quote the payload
  history     TEXT    NOT NULL DEFAULT '[]', -- JSON: the failed attempts, [[attempt, at, error], …]; bounded
  PRIMARY KEY (lane, seq)
) WITHOUT ROWID;

-- Dead letters keep their own copy of the event.
CREATE TABLE dead (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  lane        INTEGER NOT NULL,
  seq         INTEGER NOT NULL,
  came_at     INTEGER NOT NULL,
  source      TEXT    NOT NULL,
  raw         BLOB    NOT NULL,
  cause       TEXT    NOT NULL,           -- 'refused', 'expired'
  attempts    INTEGER NOT NULL,
  error       TEXT    NOT NULL,           -- the last one; may quote the payload
  died_at     INTEGER NOT NULL,
  retrying    INTEGER NOT NULL DEFAULT 0, -- 1: marked for retry
  history     TEXT    NOT NULL DEFAULT '[]', -- as in `aside`
  replay      INTEGER NOT NULL DEFAULT 0, -- the replay that failed to deliver it; 0: the handler's own lane
  era         INTEGER NOT NULL DEFAULT 0  -- the era of `died_at`
);
CREATE INDEX dead_lane ON dead (lane, id);
CREATE INDEX dead_event ON dead (lane, seq);
CREATE INDEX dead_retrying ON dead (lane) WHERE retrying = 1;

-- Input that could not be stored as an event. Identical bytes with the same source and reason are stored once.
CREATE TABLE quarantine (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  digest      BLOB    NOT NULL UNIQUE,    -- digest of source, reason and bytes
  source      TEXT    NOT NULL,
  reason      TEXT    NOT NULL,
  detail      TEXT    NOT NULL,           -- the error and its position; may quote the payload
  conflicts_with INTEGER,                 -- for a conflict: the seq of the stored event with the same key
  bytes       BLOB    NOT NULL,
  count       INTEGER NOT NULL,
  first_at    INTEGER NOT NULL,
  last_at     INTEGER NOT NULL,
  era         INTEGER NOT NULL DEFAULT 0  -- the era of `last_at`
);
CREATE INDEX quarantine_last_at ON quarantine (last_at);
