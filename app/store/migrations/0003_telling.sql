-- Telling less: deliveries that are withheld, or told together, and what is remembered about each sink for that.

CREATE TABLE told (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    seq             INTEGER NOT NULL,
    ordinal         INTEGER NOT NULL,
    sink            TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead', 'withheld')),
    attempts        INTEGER NOT NULL DEFAULT 0,
    created_at      INTEGER NOT NULL,                -- unix milliseconds, like all times here
    updated_at      INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,                -- due when not later than now; a lease moves it to its end
    leased          INTEGER NOT NULL DEFAULT 0,      -- 1 while a worker has it
    last_error      TEXT NOT NULL DEFAULT '',        -- of a withheld one: why it is not told
    fold            TEXT NOT NULL DEFAULT '',        -- pending ones of a sink with the same fold are told as one
    FOREIGN KEY (seq, ordinal) REFERENCES findings (seq, ordinal) ON DELETE CASCADE
);
INSERT INTO told SELECT *, '' FROM deliveries;
DROP TABLE deliveries;
ALTER TABLE told RENAME TO deliveries;
CREATE INDEX deliveries_leased ON deliveries (leased) WHERE leased = 1;
CREATE INDEX deliveries_due ON deliveries (sink, next_attempt_at, id) WHERE state = 'pending';
CREATE INDEX deliveries_fold ON deliveries (sink, fold) WHERE state = 'pending' AND fold <> '';
CREATE INDEX deliveries_pending ON deliveries (seq) WHERE state = 'pending';
CREATE INDEX deliveries_state ON deliveries (state);
CREATE INDEX deliveries_finding ON deliveries (seq, ordinal);

-- What a sink's grouping remembers, such as the summary of a group and the message that shows it.
CREATE TABLE sink_memory (
    sink       TEXT NOT NULL,
    key        TEXT NOT NULL,
    body       BLOB NOT NULL,       -- JSON
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (sink, key)
) WITHOUT ROWID;
CREATE INDEX sink_memory_expired ON sink_memory (expires_at);
