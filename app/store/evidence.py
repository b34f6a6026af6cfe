"""Evidence of Jobs that are not decided yet, one row for each Pod: it survives the Pods, and the watcher.

Everything is redacted before it comes here; nothing here looks for secrets. The functions take the writer's connection
(through `Journal.call`); those that only read take any.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Final

import msgspec

from app.core.evidence import PodEvidence
from app.core.moments import milliseconds
from app.store.encoding import UNREADABLE

PODS_PER_JOB: Final = 10
"""Pods that are held of one Job: the first, which often tells why, and the newest."""

LIMIT_BYTES: Final = 64 * 1024 * 1024
"""What all bodies may take, deflated: some thousand Pods with full logs."""

_KEEP: Final = """
    INSERT INTO evidence (job_uid, pod_uid, created_at, kept_at, body) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (job_uid, pod_uid) DO UPDATE SET created_at = excluded.created_at, kept_at = excluded.kept_at,
        body = excluded.body
"""
_SURPLUS: Final = f"""
    DELETE FROM evidence WHERE id IN (
        SELECT id FROM (SELECT id FROM evidence WHERE job_uid = ? ORDER BY created_at DESC, pod_uid DESC
            LIMIT -1 OFFSET {PODS_PER_JOB - 1})
        EXCEPT SELECT id FROM (SELECT id FROM evidence WHERE job_uid = ? ORDER BY created_at, pod_uid LIMIT 1)
    )
"""
_OLDEST: Final = "SELECT job_uid FROM evidence WHERE job_uid <> ? ORDER BY kept_at LIMIT 1"
_HELD: Final = "SELECT body FROM evidence WHERE job_uid = ? ORDER BY created_at, pod_uid"

_encoder: Final = msgspec.json.Encoder()
_pods: Final = msgspec.json.Decoder(PodEvidence)


def packed(pod: PodEvidence) -> bytes:
    """Return what a row has of a Pod. With full logs it takes 10 ms, which the writer need not spend."""
    return zlib.compress(_encoder.encode(pod), 1)


def keep(
    connection: sqlite3.Connection,
    job_uid: str,
    pod: PodEvidence,
    now: datetime,
    limit_bytes: int = LIMIT_BYTES,
    *,
    body: bytes = b"",
) -> int:
    """Hold this instead of what was held of the Pod; return how many Pods of other Jobs had to go for its size.

    Of one Job the oldest Pod and the newest stay, `PODS_PER_JOB` in all. Beyond `limit_bytes` the Job goes whose
    evidence has been still for longest, and so on; this one last. `body` is the Pod `packed`, where it was beforehand.
    """
    row = job_uid, pod.uid, pod.created_at, milliseconds(now), body or packed(pod)
    connection.execute(_KEEP, row)
    connection.execute(_SURPLUS, (job_uid, job_uid))
    dropped = 0
    while size(connection) > limit_bytes:
        oldest = connection.execute(_OLDEST, (job_uid,)).fetchone()
        dropped += drop(connection, oldest or (job_uid,))
    return dropped


def held(connection: sqlite3.Connection, job_uid: str) -> tuple[PodEvidence, ...]:
    """Return what is held of a Job, its oldest Pod first; a row that cannot be read is passed over."""
    return _readable(connection.execute(_HELD, (job_uid,)))


def held_pod(connection: sqlite3.Connection, job_uid: str, pod_uid: str) -> PodEvidence | None:
    """Return what is held of one Pod, if anything is that can be read."""
    rows = connection.execute("SELECT body FROM evidence WHERE job_uid = ? AND pod_uid = ?", (job_uid, pod_uid))
    return next(iter(_readable(rows)), None)


def _readable(rows: Iterable[tuple[bytes]]) -> tuple[PodEvidence, ...]:
    found = []
    for (body,) in rows:
        try:
            found.append(_pods.decode(zlib.decompress(body)))
        except UNREADABLE:  # damaged, or of a newer version; the other Pods are worth telling all the same
            continue
    return tuple(found)


def pods(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Return uid of the Job, uid and time of creation of the Pod, for all that is held."""
    return connection.execute("SELECT job_uid, pod_uid, created_at FROM evidence").fetchall()


def drop(connection: sqlite3.Connection, job_uids: Collection[str]) -> int:
    """Forget what is held of these Jobs; return the number of Pods."""
    return sum(connection.execute("DELETE FROM evidence WHERE job_uid = ?", (uid,)).rowcount for uid in job_uids)


def size(connection: sqlite3.Connection) -> int:
    """Return how many bytes the bodies take, deflated."""
    return int(connection.execute("SELECT bytes FROM evidence_size").fetchone()[0])
