-- From format 1 to format 2: replays, pauses, and the failed attempts of an event. schema.sql explains each column.

CREATE TABLE lane_2 (
  id          INTEGER PRIMARY KEY,
  handler     TEXT    NOT NULL,
  class       INTEGER NOT NULL,
  cursor      INTEGER NOT NULL,
  replay      INTEGER NOT NULL DEFAULT 0,
  UNIQUE (handler, class, replay)
);
INSERT INTO lane_2 (id, handler, class, cursor) SELECT id, handler, class, cursor FROM lane;
DROP TABLE lane;
ALTER TABLE lane_2 RENAME TO lane;

CREATE TABLE pause (
  handler     TEXT    PRIMARY KEY,
  at          INTEGER NOT NULL,
  reason      TEXT    NOT NULL
) WITHOUT ROWID;

CREATE TABLE replay (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  handler     TEXT    NOT NULL,
  after       INTEGER NOT NULL,
  upto        INTEGER NOT NULL,
  filter      TEXT    NOT NULL,
  rate        INTEGER,
  state       TEXT    NOT NULL,
  created_at  INTEGER NOT NULL,
  ended_at    INTEGER
);

ALTER TABLE aside ADD COLUMN history TEXT NOT NULL DEFAULT '[]';
ALTER TABLE dead ADD COLUMN history TEXT NOT NULL DEFAULT '[]';
ALTER TABLE dead ADD COLUMN replay INTEGER NOT NULL DEFAULT 0;
CREATE INDEX dead_event ON dead (lane, seq);
