-- From format 2 to format 3: an index that finds when a lane passed an event.

CREATE INDEX settle_upto ON settle (lane, upto);
