-- The tables of customers, a part of the file of insight since format 3.

-- Where customers are told apart: within a store, or within a source for events without a store.
CREATE TABLE scope (
  id          INTEGER PRIMARY KEY,
  tenant      TEXT    NOT NULL,           -- `tenant` of the source in the configuration; empty without one
  kind        INTEGER NOT NULL,           -- 0: `text` is a store, 1: a source
  text        TEXT    NOT NULL,
  UNIQUE (text, kind, tenant)
);

-- A customer within a scope.
CREATE TABLE contact (
  id          INTEGER PRIMARY KEY,        -- in the order in which customers were first seen
  scope       INTEGER NOT NULL,
  keys        TEXT    NOT NULL,           -- the keys, the first one seen first; a line each: kind and text as in `contact_key`,
                                          -- but the digits of a phone number are in their order
  public      BLOB    NOT NULL UNIQUE,    -- the id in links: a keyed digest of scope and first key
  channel     INTEGER,                    -- the channel of the last event that has one
  name        TEXT,
  last_seq    INTEGER NOT NULL,           -- the last event of this contact
  last_at     INTEGER NOT NULL,
  incoming_at INTEGER,                    -- `said_at` of the last message from the customer: starts the 24 hours (BIK §4)
  answered_at INTEGER,                    -- `said_at` of the last answer
  waits_since INTEGER                     -- `said_at` of the first message after it that asks for an answer
);
CREATE INDEX contact_last ON contact (last_seq);
CREATE INDEX contact_waiting ON contact (waits_since) WHERE waits_since IS NOT NULL;

-- The keys of customers. Keys that were seen together belong to one contact.
CREATE TABLE contact_key (
  kind        INTEGER NOT NULL,           -- 0 phone number, 1 mail address, 2 other address, 3 BIK's customerId
  text        TEXT    NOT NULL,           -- 0: the digits, the last one first; 2: the address, a tab and the channel
  scope       INTEGER NOT NULL,
  contact     INTEGER NOT NULL,
  PRIMARY KEY (kind, text, scope)
) WITHOUT ROWID;

-- Public ids of contacts that were merged into another one.
CREATE TABLE merged_contact (
  public      BLOB    PRIMARY KEY,
  contact     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX merged_contact_contact ON merged_contact (contact);
