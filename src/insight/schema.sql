-- What insight has learnt, format 2. Times are milliseconds since the Unix epoch, UTC, by our clock unless it says BIK.
-- Everything here comes from the journal: what is lost can be learnt again, for as long as the journal has it.

CREATE TABLE mark (
  name        TEXT    PRIMARY KEY,        -- 'cursor': everything up to this seq is in here; 'rebuild': the tip when a rebuild
  value       INTEGER NOT NULL            -- began; 'figures_after': figures of this hour and before stay as they are;
                                          -- 'by_the_day': before this hour they are by the day
) WITHOUT ROWID;

-- Words that repeat; those from the wire are cut after 200 characters and end with … then.
CREATE TABLE word (
  id          INTEGER PRIMARY KEY,
  text        TEXT    NOT NULL UNIQUE
);

-- What a word is used as: 0 source, 1 store, 2 channel, 3 owner, 4 ownerId, 5 status, 6 eventName, 7 class of failures. Each
-- kind has a bound; words beyond it are counted as 'other'.
CREATE TABLE vocabulary (
  kind        INTEGER NOT NULL,
  word        INTEGER NOT NULL,
  PRIMARY KEY (kind, word)
) WITHOUT ROWID;

-- A customer on a channel.
CREATE TABLE contact (
  id          INTEGER PRIMARY KEY,
  channel     INTEGER NOT NULL,
  address     TEXT    NOT NULL,           -- a phone by its digits; any other as it came
  customer    TEXT,                       -- BIK's customerId
  name        TEXT,
  store       INTEGER,
  last_seq    INTEGER NOT NULL,           -- of the last event that concerns it
  last_at     INTEGER NOT NULL,
  incoming_at INTEGER,                    -- when the customer wrote last: opens the 24 hours (BIK §4)
  answered_at INTEGER                     -- when something was last sent that is no broadcast
);
CREATE UNIQUE INDEX contact_address ON contact (address, channel);
CREATE INDEX contact_customer ON contact (customer) WHERE customer IS NOT NULL;
CREATE INDEX contact_last ON contact (last_seq);
CREATE INDEX contact_waiting ON contact (incoming_at) WHERE incoming_at > coalesce(answered_at, 0);

-- A message, and what is known of it.
CREATE TABLE message (
  id          INTEGER PRIMARY KEY,        -- in the order in which they were first seen
  key         INTEGER NOT NULL,           -- a digest of source and messageId
  message_id  TEXT    NOT NULL,
  slice       INTEGER NOT NULL,
  incoming    INTEGER NOT NULL,           -- 1: from the customer
  contact     INTEGER,
  first_seq   INTEGER NOT NULL,
  first_at    INTEGER NOT NULL,
  last_at     INTEGER NOT NULL,
  reached     INTEGER NOT NULL,           -- the highest step: 0 accepted, 1 sent, 2 delivered, 3 read, 4 played
  failed      INTEGER NOT NULL,           -- 1: a `failed` was seen
  deleted     INTEGER NOT NULL,           -- 1: taken back
  state       INTEGER,                    -- what it comes to (`reached`, or 5 failed); NULL for one from a customer
  reason      INTEGER,                    -- of its failure
  sent_at     INTEGER,                    -- when each status came first
  delivered_at INTEGER,
  read_at     INTEGER,
  failed_at   INTEGER,
  created_at  INTEGER                     -- BIK's
);
CREATE INDEX message_key ON message (key);
CREATE INDEX message_contact ON message (contact, id) WHERE contact IS NOT NULL;
CREATE INDEX message_state ON message (state, id) WHERE state IS NOT NULL;
CREATE INDEX message_reason ON message (reason, id) WHERE reason IS NOT NULL;
CREATE INDEX message_first_at ON message (first_at);

-- What was told of a message, by which event.
CREATE TABLE sighting (
  message     INTEGER NOT NULL,
  seq         INTEGER NOT NULL,
  status      INTEGER NOT NULL,           -- 0: the message itself
  at          INTEGER NOT NULL,
  created_at  INTEGER,                    -- BIK's
  PRIMARY KEY (message, seq, status)
) WITHOUT ROWID;

-- Events that are of no message.
CREATE TABLE occurrence (
  seq         INTEGER PRIMARY KEY,
  name        INTEGER NOT NULL,
  contact     INTEGER,
  at          INTEGER NOT NULL
);
CREATE INDEX occurrence_contact ON occurrence (contact, seq) WHERE contact IS NOT NULL;
CREATE INDEX occurrence_name ON occurrence (name, seq);

-- Texts of failures, as BIK told them.
CREATE TABLE reason (
  id          INTEGER PRIMARY KEY,
  text        TEXT    NOT NULL UNIQUE
);

-- By what messages are counted apart.
CREATE TABLE slice (
  id          INTEGER PRIMARY KEY,
  source      INTEGER NOT NULL,
  store       INTEGER,
  channel     INTEGER,
  owner       INTEGER,
  owner_id    INTEGER
);

-- Figures without personal data, kept for ever: by the hour in which a message was first seen, later by the day. `at` is
-- the hour, in hours since the epoch.
CREATE TABLE figure (
  at          INTEGER NOT NULL,
  slice       INTEGER NOT NULL,
  incoming    INTEGER NOT NULL,           -- messages from customers
  messages    INTEGER NOT NULL,           -- messages to customers; of these, by steps that imply one another:
  sent        INTEGER NOT NULL,
  delivered   INTEGER NOT NULL,
  read        INTEGER NOT NULL,
  played      INTEGER NOT NULL,
  failed      INTEGER NOT NULL,           -- failed and not delivered since
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
  bucket      INTEGER NOT NULL,           -- as `spread.rs` counts them
  messages    INTEGER NOT NULL,
  PRIMARY KEY (at, slice, measure, bucket)
) WITHOUT ROWID;

-- What the sender sent, by the hour of arrival and the name of the event.
CREATE TABLE arrival (
  at          INTEGER NOT NULL,
  source      INTEGER NOT NULL,
  name        INTEGER NOT NULL,
  events      INTEGER NOT NULL,
  disordered  INTEGER NOT NULL,           -- statuses that came after a higher one of their message
  repeated    INTEGER NOT NULL,           -- statuses that their message had already
  PRIMARY KEY (at, source, name)
) WITHOUT ROWID;

-- How late an event came: BIK's createdAt to our receipt. Of first statuses and customers' messages alone, since later
-- statuses repeat createdAt.
CREATE TABLE lateness (
  at          INTEGER NOT NULL,
  source      INTEGER NOT NULL,
  bucket      INTEGER NOT NULL,
  events      INTEGER NOT NULL,
  PRIMARY KEY (at, source, bucket)
) WITHOUT ROWID;

-- When something came last, by source: silence is told from it.
CREATE TABLE heard (
  source      INTEGER PRIMARY KEY,
  seq         INTEGER NOT NULL,
  at          INTEGER NOT NULL
);
