-- What a decision was made from, so that it can be made again, and what wallets hold. Added to journals of version 3 that have
-- none of it: who does not know these tables reads and writes all the others as before, and leaves decisions without an input.

-- What a run begins with: what can be traded, and the tail of the market's past. Rows that the journal holds already, in
-- `market` or of an earlier run, are not written again.
CREATE TABLE IF NOT EXISTS opening (
    run_id INTEGER PRIMARY KEY REFERENCES run (id),
    content BLOB NOT NULL                       -- see bot/journal/past.py
) STRICT;

-- The account, the memory and what the operator asked for, as the decision saw them; its market is the rows up to its time.
CREATE TABLE IF NOT EXISTS input (
    decision_id TEXT PRIMARY KEY REFERENCES decision (id),
    run_id INTEGER NOT NULL,                    -- who made it: another one's decision of this id is not made from this
    written_in TEXT NOT NULL,                   -- the decision that says in full what this one said
    content BLOB NOT NULL                       -- see bot/journal/inputs.py
) STRICT, WITHOUT ROWID;

-- The equity of each wallet at a cycle's end, where an account has several: what one has lost another does not pay for.
CREATE TABLE IF NOT EXISTS wallet (
    time_ms INTEGER NOT NULL,                   -- of the row in equity
    name TEXT NOT NULL,
    usd TEXT NOT NULL,
    PRIMARY KEY (time_ms, name)
) STRICT, WITHOUT ROWID;
