-- From format 3 to format 4: the trusted clock. schema.sql explains each column.

ALTER TABLE event ADD COLUMN behind INTEGER NOT NULL DEFAULT 0;
ALTER TABLE key_run RENAME COLUMN received_at TO came_at;
ALTER TABLE dead RENAME COLUMN received_at TO came_at;
ALTER TABLE settle ADD COLUMN era INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dead ADD COLUMN era INTEGER NOT NULL DEFAULT 0;
ALTER TABLE quarantine ADD COLUMN era INTEGER NOT NULL DEFAULT 0;

CREATE TABLE era (
  number      INTEGER PRIMARY KEY,
  first       INTEGER NOT NULL,
  began_at    INTEGER NOT NULL,
  by_ms       INTEGER NOT NULL,
  shift_ms    INTEGER NOT NULL,
  reason      TEXT    NOT NULL
);
