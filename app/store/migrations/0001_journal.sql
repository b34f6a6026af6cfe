-- The journal: what was recorded, what was found in it, and who still has to be told.

CREATE TABLE entries (
    seq       INTEGER PRIMARY KEY,  -- first 60 bits of the UUIDv7: milliseconds << 12 | counter
    kind      TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    username  TEXT NOT NULL,
    operation TEXT NOT NULL,
    body      BLOB NOT NULL         -- the entry as JSON, deflated where that pays (first byte 0x78, not '{')
);
-- One index per filter of the API; the rowid at the end of each keeps "newest first" free of sorting.
CREATE INDEX entries_kind ON entries (kind);
CREATE INDEX entries_namespace ON entries (namespace);
CREATE INDEX entries_name ON entries (name);
CREATE INDEX entries_username ON entries (username);
CREATE INDEX entries_operation ON entries (operation) WHERE operation <> 'UPDATE';

CREATE TABLE findings (
    seq     INTEGER NOT NULL REFERENCES entries (seq) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,       -- position in the entry's list of findings
    random  INTEGER NOT NULL,       -- last 62 bits of the entry's UUIDv7, so that seq and this make its id
    body    BLOB NOT NULL,          -- the finding as JSON, blocks included
    PRIMARY KEY (seq, ordinal)
) WITHOUT ROWID;

CREATE TABLE deliveries (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    seq             INTEGER NOT NULL,
    ordinal         INTEGER NOT NULL,
    sink            TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'dead')),
    attempts        INTEGER NOT NULL DEFAULT 0,
    created_at      INTEGER NOT NULL,                -- unix milliseconds, like all times here
    updated_at      INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,                -- due when not later than now; a lease moves it to its end
    leased          INTEGER NOT NULL DEFAULT 0,      -- 1 while a worker has it
    last_error      TEXT NOT NULL DEFAULT '',
    FOREIGN KEY (seq, ordinal) REFERENCES findings (seq, ordinal) ON DELETE CASCADE
);
CREATE INDEX deliveries_leased ON deliveries (leased) WHERE leased = 1;
CREATE INDEX deliveries_due ON deliveries (sink, next_attempt_at, id) WHERE state = 'pending';
CREATE INDEX deliveries_pending ON deliveries (seq) WHERE state = 'pending';
CREATE INDEX deliveries_state ON deliveries (state);
CREATE INDEX deliveries_finding ON deliveries (seq, ordinal);

CREATE TABLE absent_sinks (
    sink  TEXT PRIMARY KEY,         -- has pending deliveries, and is not in the configuration
    since INTEGER NOT NULL
) WITHOUT ROWID;
