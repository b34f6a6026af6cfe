-- What is known of the Pods of Jobs that are not decided yet: it outlives the Pods, and the watcher.

CREATE TABLE evidence (
    id         INTEGER PRIMARY KEY,
    job_uid    TEXT NOT NULL,
    pod_uid    TEXT NOT NULL,
    created_at TEXT NOT NULL,       -- of the Pod, as Kubernetes writes it: RFC 3339 in UTC, which sorts by time
    kept_at    INTEGER NOT NULL,    -- unix milliseconds of the last time that it was written
    body       BLOB NOT NULL,       -- the evidence as JSON, deflated
    UNIQUE (job_uid, pod_uid)
);
CREATE INDEX evidence_kept ON evidence (kept_at);

-- The sum of the bodies, so that keeping within a limit needs no look at every row.
CREATE TABLE evidence_size (
    bytes INTEGER NOT NULL
);
INSERT INTO evidence_size VALUES (0);
CREATE TRIGGER evidence_added AFTER INSERT ON evidence BEGIN
    UPDATE evidence_size SET bytes = bytes + length(new.body);
END;
CREATE TRIGGER evidence_changed AFTER UPDATE OF body ON evidence BEGIN
    UPDATE evidence_size SET bytes = bytes + length(new.body) - length(old.body);
END;
CREATE TRIGGER evidence_removed AFTER DELETE ON evidence BEGIN
    UPDATE evidence_size SET bytes = bytes - length(old.body);
END;
