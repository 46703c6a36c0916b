-- From format 2 to format 3: when a lane came past an event is found at once.

CREATE INDEX settle_upto ON settle (lane, upto);
