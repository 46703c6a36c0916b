-- Events that a handler's own lane is done with and did not deliver. A file of any format may lack this table, so it is
-- created at each start.
CREATE TABLE IF NOT EXISTS omitted (
  id          INTEGER PRIMARY KEY,
  lane        INTEGER NOT NULL,
  first       INTEGER NOT NULL,           -- the first and the last seq: between them there may be events that the
  last        INTEGER NOT NULL,           -- handler does not want, and events of the other lane
  cause       TEXT    NOT NULL,           -- 'start': older than the handler's start; 'skipped': by an operator;
                                          -- 'dropped', 'expired': its dead letter was dropped by an operator, or deleted
                                          -- by age
  at          INTEGER NOT NULL,
  user        TEXT    NOT NULL            -- who decided it; empty if nobody did
);
-- For retention, which deletes the rows of deleted events.
CREATE INDEX IF NOT EXISTS omitted_age ON omitted (last);
-- For the row of a single event. Most rows are of dead letters.
CREATE INDEX IF NOT EXISTS omitted_event ON omitted (lane, last, first);
-- For the ranges, which are few. They may overlap, so the search for an event may have to look at several.
CREATE INDEX IF NOT EXISTS omitted_range ON omitted (lane, last, first) WHERE first < last;
