-- The file of insight, format 3, apart from the tables of customers (customers.sql). Times are milliseconds since the Unix epoch, UTC, by our clock unless the comment says BIK.
-- All data comes from the journal. It can be rebuilt as long as the journal still has the events.

CREATE TABLE mark (
  name        TEXT    PRIMARY KEY,        -- 'cursor': every event up to this seq is processed; 'rebuild': the tip when a rebuild
  value       INTEGER NOT NULL            -- started; 'figures_after': figures of this hour and before do not change;
                                          -- 'by_the_day': figures before this hour are per day;
                                          -- 'deletion': the time that deletion by age has reached;
                                          -- 'answer_rules': a digest of the rules by which `message.role` was set
) WITHOUT ROWID;

-- Words that repeat. Words of events are cut after 200 characters; a cut word ends with ….
CREATE TABLE word (
  id          INTEGER PRIMARY KEY,
  text        TEXT    NOT NULL UNIQUE
);

-- The uses of a word: 0 source, 1 store, 2 channel, 3 owner, 4 ownerId, 5 status, 6 eventName, 7 failure class. Kinds 1
-- to 6 have a limit; words beyond it count as 'other'.
CREATE TABLE vocabulary (
  kind        INTEGER NOT NULL,
  word        INTEGER NOT NULL,
  PRIMARY KEY (kind, word)
) WITHOUT ROWID;

-- A message and its merged state.
CREATE TABLE message (
  id          INTEGER PRIMARY KEY,        -- in the order of their first events
  key         INTEGER NOT NULL,           -- a digest of source and messageId
  message_id  TEXT    NOT NULL,
  slice       INTEGER NOT NULL,
  incoming    INTEGER NOT NULL,           -- 1: from the customer
  contact     INTEGER,
  first_seq   INTEGER NOT NULL,
  first_at    INTEGER NOT NULL,
  last_at     INTEGER NOT NULL,
  reached     INTEGER NOT NULL,           -- the highest step: 0 accepted, 1 sent, 2 delivered, 3 read, 4 played
  failed      INTEGER NOT NULL,           -- 1: a `failed` was received
  deleted     INTEGER NOT NULL,           -- 1: the message was deleted
  state       INTEGER,                    -- the merged state (`reached`, or 5 failed); NULL for a message from a customer
  reason      INTEGER,                    -- the reason of the failure
  sent_at     INTEGER,                    -- when each status was first received
  delivered_at INTEGER,
  read_at     INTEGER,
  failed_at   INTEGER,
  said_at     INTEGER NOT NULL,           -- when it was sent: the smallest createdAt or time of receipt of its events
  created_at  INTEGER,                    -- BIK's smallest createdAt, in milliseconds after `said_at`
  role        INTEGER                     -- in the conversation: 1 answers the customer, 2 asks for an answer, 3 from the customer
                                          -- without a need for one; NULL: to the customer and no answer
);
CREATE INDEX message_key ON message (key);
CREATE INDEX message_contact ON message (contact, id) WHERE contact IS NOT NULL;
CREATE INDEX message_role ON message (contact, role, said_at) WHERE role IS NOT NULL;
CREATE INDEX message_state ON message (state, id) WHERE state IS NOT NULL;
CREATE INDEX message_reason ON message (reason, id) WHERE reason IS NOT NULL;
CREATE INDEX message_first_at ON message (first_at);

-- The statuses of a message, with the event that reported each.
CREATE TABLE sighting (
  message     INTEGER NOT NULL,
  seq         INTEGER NOT NULL,
  status      INTEGER NOT NULL,           -- 0: the message itself
  at          INTEGER NOT NULL,
  created_at  INTEGER,                    -- BIK's createdAt
  PRIMARY KEY (message, seq, status)
) WITHOUT ROWID;

-- Events that belong to no message.
CREATE TABLE occurrence (
  seq         INTEGER PRIMARY KEY,
  name        INTEGER NOT NULL,
  contact     INTEGER,
  at          INTEGER NOT NULL
);
CREATE INDEX occurrence_contact ON occurrence (contact, seq) WHERE contact IS NOT NULL;
CREATE INDEX occurrence_name ON occurrence (name, seq);

-- Failure reasons, as BIK sent them. Longer ones are cut after 1,000 characters; a cut reason ends with ….
CREATE TABLE reason (
  id          INTEGER PRIMARY KEY,
  text        TEXT    NOT NULL UNIQUE
);

-- The dimensions by which messages are counted.
CREATE TABLE slice (
  id          INTEGER PRIMARY KEY,
  source      INTEGER NOT NULL,
  store       INTEGER,
  channel     INTEGER,
  owner       INTEGER,
  owner_id    INTEGER
);

-- Figures without personal data, kept forever: per hour in which a message was first received, later per day. `at` is
-- the hour, in hours since the epoch.
CREATE TABLE figure (
  at          INTEGER NOT NULL,
  slice       INTEGER NOT NULL,
  incoming    INTEGER NOT NULL,           -- messages from customers
  messages    INTEGER NOT NULL,           -- messages to customers; of these, per step, where a step includes the later ones:
  sent        INTEGER NOT NULL,
  delivered   INTEGER NOT NULL,
  read        INTEGER NOT NULL,
  played      INTEGER NOT NULL,
  failed      INTEGER NOT NULL,           -- failed, and no status shows that the message arrived
  deleted     INTEGER NOT NULL,
  PRIMARY KEY (at, slice)
) WITHOUT ROWID;

CREATE TABLE failure (
  at          INTEGER NOT NULL,
  slice       INTEGER NOT NULL,
  class       INTEGER NOT NULL,
  messages    INTEGER NOT NULL,
  PRIMARY KEY (at, slice, class)
) WITHOUT ROWID;

CREATE TABLE spread (
  at          INTEGER NOT NULL,
  slice       INTEGER NOT NULL,
  measure     INTEGER NOT NULL,           -- 0: sent to delivered, 1: sent to read
  bucket      INTEGER NOT NULL,           -- see `spread.rs`
  messages    INTEGER NOT NULL,
  PRIMARY KEY (at, slice, measure, bucket)
) WITHOUT ROWID;

-- Received events, per hour of arrival, source and event name. Of the repeated statuses, only sent, delivered, read and
-- failed are counted.
CREATE TABLE arrival (
  at          INTEGER NOT NULL,
  source      INTEGER NOT NULL,
  name        INTEGER NOT NULL,
  events      INTEGER NOT NULL,
  disordered  INTEGER NOT NULL,           -- statuses received after a higher one of their message
  repeated    INTEGER NOT NULL,           -- statuses that the message already had
  PRIMARY KEY (at, source, name)
) WITHOUT ROWID;

-- Delay of events, from BIK's createdAt to our receipt. Only first statuses and customers' messages count, because later
-- statuses repeat createdAt.
CREATE TABLE lateness (
  at          INTEGER NOT NULL,
  source      INTEGER NOT NULL,
  bucket      INTEGER NOT NULL,
  events      INTEGER NOT NULL,
  PRIMARY KEY (at, source, bucket)
) WITHOUT ROWID;

-- When each source last sent an event; shows how long a source has been silent.
CREATE TABLE heard (
  source      INTEGER PRIMARY KEY,
  seq         INTEGER NOT NULL,
  at          INTEGER NOT NULL
);
