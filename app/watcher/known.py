"""The record of told failures as one replica knows it: whose turn it is, and what it writes about its own claims."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from app.core import claims
from app.core.claims import Claim, Record
from app.watcher.jobs import FailedCandidate

logger = structlog.get_logger(__name__)

_GRACE: Final = 60
"""Seconds that a claim may stay open before another replica completes it: a crashed container is back by then, and
gives up what it cannot complete itself."""

_BEAT: Final = 10
"""Seconds after which claims are renewed whose entries wait for the disk, well within the grace."""


class SharedRecord(Protocol):
    """The record that all replicas share. Where there is none it begins with `Teller.baseline`."""

    async def read(self) -> Record | None:
        """Return the newest record, None if there is none yet; raises ApiError."""

    async def update(self, change: Callable[[Record], Record | None], /) -> Record:
        """Change the record as it is now, atomically, and return it; None changes nothing. Raises ApiError.

        `change` may be called more than once.
        """


class Known:
    """Belongs to one event loop, which makes one call after another. `record` is None before it was first seen.

    `renew` and `give_up` count only for claims that are still as they were seen. What asks or writes raises ApiError.
    """

    def __init__(self, shared: SharedRecord, identity: str, max_age: timedelta, clock: Callable[[], datetime]) -> None:
        self.record: Record | None = None
        self.identity = identity
        self.max_age = int(max_age.total_seconds())
        self._shared = shared
        self._clock = clock
        self._doubtful = False

    @property
    def now(self) -> int:
        """The second that it is, by this replica's clock."""
        return second(self._clock())

    @property
    def open_claims(self) -> tuple[Claim, ...]:
        """The open claims of all replicas."""
        return () if self.record is None else self.record.claims

    @property
    def flaw(self) -> str | None:
        """What is wrong with the record, if so."""
        return claims.flaw(self.record, self.now)

    def doubt(self) -> None:
        """Trust nothing that was known: the next look is a new one."""
        self._doubtful = True

    async def look(self, *, is_leading: bool) -> bool:
        """Know the record as it is, and say whether there is one; who leads knows without asking what nobody claims."""
        if self.record is not None and is_leading and not self.open_claims and not self._doubtful:
            return True
        self._doubtful = False
        found = await self._shared.read()
        if found is None:
            return False
        self.record = found
        return True

    async def update(self, change: Callable[[Record], Record | None]) -> Record:
        """Change the record, as `SharedRecord.update` says."""
        self.record = await self._shared.update(change)
        return self.record

    def status(self, candidate: FailedCandidate) -> claims.Status | None:
        """Say what the record says of a failure, None while that is not known."""
        if self.record is None:
            return None
        return claims.status(self.record, candidate.uid, second(candidate.failed_at), self.max_age, self.now)

    def left(self) -> dict[str, Claim]:
        """Return what a leader is to complete: its own claims, and those of replicas that gave up or did not come back.

        By uid.
        """
        if self.record is None:
            return {}
        orphans = claims.orphans(self.record, self.now, _GRACE)
        return {each.uid: each for each in (*self._held(), *orphans)}

    async def renew(self, uids: Collection[str]) -> None:
        """Show that who claimed these is alive: nobody is to take them for orphans. Writes seldom."""
        now = self.now
        due = [each for each in self._held() if each.uid in uids and each.at <= now - _BEAT]
        if due:
            await self.update(lambda found: claims.take_over(found, due, self.identity, now)[0])

    async def give_up(self, uids: Collection[str]) -> None:
        """Leave to whoever leads those of these claims that are this replica's, and were not given up before.

        Only for what this replica cannot be telling any more.
        """
        due = [each for each in self._held() if each.uid in uids]
        given: tuple[str, ...] = ()

        def change(found: Record) -> Record | None:
            nonlocal given
            changed, given = claims.give_up(found, due)
            return changed if given else None

        if due:
            await self.update(change)
        _log_given_up(each for each in due if each.uid in given)

    async def settle(self, uids: Collection[str]) -> None:
        """Write down that these were told."""
        await self.update(lambda found: claims.settle(found, uids))

    def _held(self) -> tuple[Claim, ...]:
        return () if self.record is None else claims.held_by(self.record, self.identity)


def second(moment: datetime) -> int:
    """Return the unix second of a moment, as records have it."""
    return int(moment.timestamp())


def _log_given_up(claims: Iterable[Claim]) -> None:
    for each in claims:
        who = {"uid": each.uid, "namespace": each.namespace, "name": each.name}
        logger.info("claim given up", action="leave", **who)
