"""Which Jobs are open, and which have failed: what the watch of Jobs says, kept as small as it can be."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, Protocol

import msgspec
import structlog

from app.core.claims import LATE, Claim
from app.core.jobs import JobHead, failure, is_finished
from app.core.raw import moment
from app.kube.handling import UNREADABLE

logger = structlog.get_logger(__name__)

_heads: Final = msgspec.json.Decoder(JobHead)
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
"""A failure's time is a part of how it is known, and must be the same at every look: the clock is no substitute."""

_LATE: Final = timedelta(seconds=LATE)


class FailedCandidate(msgspec.Struct, frozen=True, kw_only=True):
    """A Job that failed, not yet told perhaps. `document` is its JSON, deflated; empty where it has to be read again.

    `listed` says that it had failed before the first list of this process was complete.
    """

    uid: str
    namespace: str
    name: str
    failed_at: datetime
    listed: bool = False
    document: bytes = b""

    def read(self) -> bytes:
        """Return the Job's JSON, or nothing."""
        return zlib.decompress(self.document) if self.document else b""


def candidate_of(claim: Claim) -> FailedCandidate:
    """Return what a claim says of a failure."""
    return FailedCandidate(
        uid=claim.uid,
        namespace=claim.namespace,
        name=claim.name,
        failed_at=datetime.fromtimestamp(claim.failed_at, UTC),
    )


class Listener(Protocol):
    """Who is told what becomes of Jobs."""

    def opened(self, job_uid: str) -> None:
        """Take note of a Job that runs, or may still run."""

    def decided(self, job_uid: str) -> None:
        """Take note of a Job that completed, or is gone: nobody will ask for evidence of it."""

    def failed(self, candidate: FailedCandidate) -> None:
        """Take a Job that failed for good; called again whenever the API server names it again."""


class JobTracker:
    """Follows Jobs. Memory grows with the Jobs that are open, never with those that are finished.

    After a list, `too_old` is told how many Jobs failed unseen, and too long ago to be told: each once, whatever lists
    follow.
    """

    def __init__(
        self,
        listener: Listener,
        max_age: timedelta,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        too_old: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._listener = listener
        self._max_age = max_age
        self._clock = clock
        self._open: set[str] = set()
        self._seen: set[str] | None = None
        self._listed_once = False
        self._count_too_old = too_old
        self._too_old = 0
        self._watched_until = _EPOCH
        self.newest_too_old: datetime | None = None
        """When the newest of those Jobs failed that had failed too long ago to be told."""

    def is_open(self, uid: str) -> bool:
        """Say whether a Job is neither complete nor failed, as far as is known."""
        return uid in self._open

    def begin(self) -> None:
        """Take note that a list begins."""
        self._seen = set()
        self._too_old = 0

    def listed(self, item: msgspec.Raw) -> None:
        """Take a Job of a list."""
        self._take(item)

    def end(self) -> None:
        """Take the Jobs that were open and are not in the list for gone."""
        for uid in self._open - (self._seen or set()):
            self._close(uid)
        self._seen = None
        self._listed_once = True
        self._watched_until = self._clock()
        if self._too_old:
            logger.info("failed jobs too old to be told", action="skip", count=self._too_old)
            self._count_too_old(self._too_old)
        self._too_old = 0

    def changed(self, event: Literal["ADDED", "MODIFIED", "DELETED"], item: msgspec.Raw) -> None:
        """Take a Job that came, changed or went."""
        self._watched_until = self._clock()
        self._take(item, deleted=event == "DELETED")

    def _take(self, item: msgspec.Raw, *, deleted: bool = False) -> None:
        try:
            job = _heads.decode(item)
        except (*UNREADABLE, RecursionError) as error:
            logger.warning("job not understood", action="skip", error=str(error))
            return
        uid = job.metadata.uid
        if not uid:
            logger.warning("job not understood", action="skip", error="it has no uid")
            return
        failed = failure(job)
        if failed is not None:
            # Also of a Job that is deleted: with a short TTL its end may be all that is seen of it.
            self._fail(job, failed.at or moment(job.metadata.creation_timestamp or "") or _EPOCH, item)
        elif deleted or is_finished(job):
            self._close(uid)
        else:
            if self._seen is not None:
                self._seen.add(uid)
            if uid not in self._open:
                self._open.add(uid)
                self._listener.opened(uid)

    def _fail(self, job: JobHead, at: datetime, item: msgspec.Raw) -> None:
        known = job.metadata.uid in self._open
        self._open.discard(job.metadata.uid)
        if self._clock() - at > self._max_age and not known:
            self.newest_too_old = max(at, self.newest_too_old or at)
            # What failed while this process watched was handed over when it was seen.
            self._too_old += self._seen is not None and at > self._watched_until + _LATE
            return
        self._listener.failed(
            FailedCandidate(
                uid=job.metadata.uid,
                namespace=job.metadata.namespace,
                name=job.metadata.name,
                failed_at=at,
                listed=not self._listed_once,
                document=zlib.compress(bytes(item), 1),
            )
        )

    def _close(self, uid: str) -> None:
        if uid in self._open:
            self._open.discard(uid)
            self._listener.decided(uid)
