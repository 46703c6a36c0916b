-- The journal, format 4. Times are milliseconds since the Unix epoch, UTC, by the trusted clock.
-- Events and keys are append-only: rows are added at the end, and retention takes them from the beginning.

-- One row an event. `seq` never repeats and never falls, also when the table is empty (see `mark`).
CREATE TABLE event (
  seq         INTEGER PRIMARY KEY,
  received_at INTEGER NOT NULL,           -- never falls from one seq to the next of an era: `since` and `until` bisect it
  class       INTEGER NOT NULL,           -- the lane: 0 incoming-message, 1 everything else
  source      TEXT    NOT NULL,           -- the name of the source in the configuration
  name        TEXT    NOT NULL,           -- eventName
  raw         BLOB    NOT NULL,           -- the element's bytes exactly as they came
  behind      INTEGER NOT NULL DEFAULT 0  -- received_at minus the time when it really came, ms; nearly always 0
);

-- The deduplication window: one row a run of consecutive events, of at most 128.
CREATE TABLE key_run (
  first       INTEGER PRIMARY KEY,        -- the seq of the first event of the run
  came_at     INTEGER NOT NULL,
  entries     BLOB    NOT NULL            -- 32 bytes an event: 16 of the key's digest, 16 of the content's
);

-- Marks that outlive the rows that they come from.
CREATE TABLE mark (
  name        TEXT    PRIMARY KEY,        -- 'seq': the highest ever given; 'received_at': the last given;
                                          -- 'clock': the last known time; 'deletion': up to where deletion by age had come;
                                          -- 'settled LANE SEQ': that a dead letter past the cursor was dropped or
                                          -- delivered; `value` is the seq, and the row stays until the cursor passes it
  value       INTEGER NOT NULL
) WITHOUT ROWID;

-- Clock eras: each correction of the trusted clock begins one. What is older than the first row is of era 0.
CREATE TABLE era (
  number      INTEGER PRIMARY KEY,        -- from 1
  first       INTEGER NOT NULL,           -- the first seq that is given in it
  began_at    INTEGER NOT NULL,           -- the corrected time
  by_ms       INTEGER NOT NULL,           -- by how much the clock was corrected
  shift_ms    INTEGER NOT NULL,           -- what is added to older times where an age is counted
  reason      TEXT    NOT NULL            -- 'accepted' by an operator, or 'agreed' for an hour
);

-- A handler's two lanes, and two more for each of its replays. Everything up to `cursor` is delivered, not wanted, set
-- aside or dead.
CREATE TABLE lane (
  id          INTEGER PRIMARY KEY,
  handler     TEXT    NOT NULL,
  class       INTEGER NOT NULL,
  cursor      INTEGER NOT NULL,
  replay      INTEGER NOT NULL DEFAULT 0, -- the replay that it belongs to; 0: the handler's own
  UNIQUE (handler, class, replay)
);

-- Handlers that deliver nothing until somebody resumes them.
CREATE TABLE pause (
  handler     TEXT    PRIMARY KEY,
  at          INTEGER NOT NULL,
  reason      TEXT    NOT NULL            -- who or what paused it; safe for logs
) WITHOUT ROWID;

-- Replays: what is stored is delivered once more. Their cursors are their lanes'.
CREATE TABLE replay (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  handler     TEXT    NOT NULL,
  after       INTEGER NOT NULL,           -- begins after this seq
  upto        INTEGER NOT NULL,           -- ends with this seq
  filter      TEXT    NOT NULL,           -- JSON: which events, beside what the handler wants
  rate        INTEGER,                    -- events a second at most; NULL: as fast as the handler takes them
  state       TEXT    NOT NULL,           -- 'running', 'paused', 'done', 'cancelled'
  created_at  INTEGER NOT NULL,
  ended_at    INTEGER
);

-- When a lane's cursor came to where; kept for 7 days, and with the last row before them.
CREATE TABLE settle (
  id          INTEGER PRIMARY KEY,
  lane        INTEGER NOT NULL,
  upto        INTEGER NOT NULL,
  at          INTEGER NOT NULL,
  era         INTEGER NOT NULL DEFAULT 0  -- the number of the era that `at` is of
);
CREATE INDEX settle_upto ON settle (lane, upto);

-- The exceptions: events that are delivered later than their place in the lane.
CREATE TABLE aside (
  lane        INTEGER NOT NULL,
  seq         INTEGER NOT NULL,
  order_key   INTEGER,                    -- what it is ordered by; NULL without a messageId
  behind      INTEGER NOT NULL,           -- 1: waits behind an earlier event of its message
  attempts    INTEGER NOT NULL,
  since       INTEGER NOT NULL,
  next_try    INTEGER NOT NULL,
  error       TEXT    NOT NULL,           -- the last one; may quote the payload
  history     TEXT    NOT NULL DEFAULT '[]', -- JSON: the failed tries, [[attempt, at, error], …]; bounded
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
  retrying    INTEGER NOT NULL DEFAULT 0, -- 1: to be delivered again
  history     TEXT    NOT NULL DEFAULT '[]', -- as of `aside`
  replay      INTEGER NOT NULL DEFAULT 0, -- the replay that it died in; 0: the handler's own lane
  era         INTEGER NOT NULL DEFAULT 0  -- the number of the era that `died_at` is of
);
CREATE INDEX dead_lane ON dead (lane, id);
CREATE INDEX dead_event ON dead (lane, seq);
CREATE INDEX dead_retrying ON dead (lane) WHERE retrying = 1;

-- What could not be stored as an event; identical bytes of a source are kept once.
CREATE TABLE quarantine (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  digest      BLOB    NOT NULL UNIQUE,    -- of source, reason and bytes
  source      TEXT    NOT NULL,
  reason      TEXT    NOT NULL,
  detail      TEXT    NOT NULL,           -- what is wrong, and where; may quote the payload
  conflicts_with INTEGER,                 -- for a conflict: the stored event whose key it has
  bytes       BLOB    NOT NULL,
  count       INTEGER NOT NULL,
  first_at    INTEGER NOT NULL,
  last_at     INTEGER NOT NULL,
  era         INTEGER NOT NULL DEFAULT 0  -- the number of the era that `last_at` is of
);
CREATE INDEX quarantine_last_at ON quarantine (last_at);
