"""Tells failed Jobs: each once, whatever restarts, relists and other replicas do.

A failure is told in three steps: its claim is written into the record that all replicas share, the entry with its
findings is committed to the journal, and the claim is settled. Who crashes between them finds the claim again, and
completes what the journal does not have; if nobody comes back for it, another replica does after a grace.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, Protocol

import structlog

from app.audit.failed_jobs import FailureRules, findings_of, job_facts, record_of
from app.core import claims
from app.core.claims import Claim, Record
from app.core.identity import EntryIds
from app.core.job_report import FailedJob
from app.kube.errors import ApiError
from app.store.failures import is_recorded
from app.store.journal import Journal
from app.watcher.jobs import FailedCandidate

logger = structlog.get_logger(__name__)

_GRACE: Final = 60
"""Seconds that a claim may stay open before another replica completes it: a crashed container is back by then."""

_AT_ONCE: Final = 8
_POLL_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 2.0
_WITH_DOCUMENT: Final = 2000
"""Failures that wait with their Job's document in memory; the Jobs of further ones are read again."""

Result = Literal["told", "old", "before_first_start", "elsewhere"]


class SharedRecord(Protocol):
    """The record that all replicas share. Where there is none it begins with `Teller.baseline`."""

    async def read(self) -> Record | None:
        """Return the newest record, None if there is none yet; raises ApiError."""

    async def update(self, change: Callable[[Record], Record | None], /) -> Record:
        """Change the record as it is now, atomically, and return it; None changes nothing. Raises ApiError.

        `change` may be called more than once.
        """


class TellerObserver(Protocol):
    """Who counts."""

    def decided(self, result: Result) -> None:
        """Report what became of a failure."""

    def withheld(self, playbook: str) -> None:
        """Report a playbook that kept silent, since its rate limit is used up."""


class Teller:
    """Belongs to one event loop. `release(uid)` is called when nobody will ask for evidence of a Job any more."""

    def __init__(
        self,
        *,
        record: SharedRecord,
        is_leading: Callable[[], bool],
        newest_too_old: Callable[[], datetime | None],
        journal: Journal,
        ids: EntryIds,
        random: Callable[[], int],
        gather: Callable[[FailedCandidate], Awaitable[FailedJob]],
        rules: FailureRules,
        identity: str,
        max_age: timedelta,
        release: Callable[[str], None],
        observer: TellerObserver,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.rules = rules
        self.last_error: str | None = None
        self._record = record
        self._is_leading = is_leading
        self._newest_too_old = newest_too_old
        self._journal = journal
        self._ids = ids
        self._random = random
        self._gather = gather
        self._identity = identity
        self._max_age = int(max_age.total_seconds())
        self._release = release
        self._observer = observer
        self._clock = clock
        self._wake = asyncio.Event()
        self._waiting: dict[str, FailedCandidate] = {}
        self._gathering: dict[str, asyncio.Task[FailedJob]] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._committed: set[str] = set()
        self._known: Record | None = None

    @property
    def waiting(self) -> int:
        """The number of failures that are not told yet, or not known to be told by another replica."""
        return len(self._waiting)

    def waits_for(self, uid: str) -> bool:
        """Say whether this Job's failure is yet to be told."""
        return uid in self._waiting

    def failed(self, candidate: FailedCandidate) -> None:
        """Take a failure; one that was told already, by whomever, is not told again."""
        if candidate.uid in self._waiting or candidate.uid in self._committed:
            return
        if self._known is not None and self._status(self._known, candidate) in ("told", "old"):
            self._release(candidate.uid)
            return
        if len(self._waiting) >= _WITH_DOCUMENT:
            candidate = _without_document(candidate)
        self._waiting[candidate.uid] = candidate
        self._wake.set()

    def wake(self) -> None:
        """Look at once: this replica has begun to lead."""
        self._wake.set()

    async def run(self) -> None:
        """Tell until cancelled; begin when the Jobs have been listed, so that the first start knows what was before."""
        patience = 0.0
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), patience)
                self._wake.clear()
                patience = await self._guarded_round()
        finally:
            for task in self._gathering.values():
                task.cancel()

    async def _guarded_round(self) -> float:
        """Do what can be done now; return for how many seconds there may be nothing more to do."""
        try:
            await self._round()
        except ApiError as error:
            self.last_error = str(error)
            logger.warning("failed jobs not told yet", action="retry", waiting=len(self._waiting), error=str(error))
            return error.retry_after or _RETRY_SECONDS
        self.last_error = None
        return _POLL_SECONDS

    async def _round(self) -> None:
        if self._known is None or not self._is_leading() or self._known.claims:
            self._known = await self._record.read()
        if self._known is None:
            if not self._is_leading():
                return
            await self._first_start()
        await self._complete()
        self._forget_told()
        if self._is_leading():
            self._begin_to_gather()
            await self._tell(self._gathered())
            await self._settle()

    def baseline(self) -> Record:
        """Return the record of the first start in a cluster: what has failed by now counts as told."""
        before = [(each.uid, _seconds(each.failed_at)) for each in self._waiting.values() if each.listed]
        older = self._newest_too_old()
        return claims.baseline([*before, ("older", _seconds(older))] if older else before)

    async def _first_start(self) -> None:
        """Begin the record, so that nobody is flooded with what failed before."""
        before = [each.uid for each in self._waiting.values() if each.listed]
        await self._update(lambda _: None)
        logger.info("first start in this cluster", action="ignore", failed_before=len(before))
        for uid in before:
            self._let_go(uid, "before_first_start")

    async def _update(self, change: Callable[[Record], Record | None]) -> None:
        self._known = await self._record.update(change)

    def _status(self, record: Record, candidate: FailedCandidate) -> str:
        failed_at, now = _seconds(candidate.failed_at), _seconds(self._clock())
        return claims.status(record, candidate.uid, failed_at, self._max_age, now)

    def _forget_told(self) -> None:
        """Let go of what was told, here or elsewhere, and of what is too old to be told."""
        for uid, candidate in list(self._waiting.items()):
            status = self._known and self._status(self._known, candidate)
            if status in ("told", "old"):
                self._let_go(uid, "elsewhere" if status == "told" else "old")

    def _let_go(self, uid: str, result: Result) -> None:
        if self._waiting.pop(uid, None) is not None:
            self._observer.decided(result)
        if (task := self._gathering.pop(uid, None)) is not None:
            task.cancel()
        self._release(uid)

    def _begin_to_gather(self) -> None:
        for uid, candidate in self._waiting.items():
            if uid not in self._gathering and self._known and self._status(self._known, candidate) == "new":
                self._start_gathering(candidate)

    def _start_gathering(self, candidate: FailedCandidate) -> asyncio.Task[FailedJob]:
        task = asyncio.create_task(self._gather_in_turn(candidate), name=f"gather {candidate.uid}")
        task.add_done_callback(lambda _: self._wake.set())
        self._gathering[candidate.uid] = task
        return task

    async def _gather_in_turn(self, candidate: FailedCandidate) -> FailedJob:
        async with self._slots:
            return await self._gather(candidate)

    def _gathered(self) -> dict[str, FailedJob]:
        """Return what is ready to be told; a gathering that met a fault of ours is begun again later."""
        ready: dict[str, FailedJob] = {}
        for uid, task in list(self._gathering.items()):
            if not task.done() or uid not in self._waiting:
                continue
            if (error := task.exception()) is None:
                ready[uid] = task.result()
            else:
                logger.error("evidence not gathered", action="bug", uid=uid, exc_info=error)
                del self._gathering[uid]
        return ready

    async def _tell(self, ready: dict[str, FailedJob]) -> None:
        """Claim what is ready and, where nobody was faster, commit it."""
        if not ready:
            return
        wanted = sorted((self._claim(self._waiting[uid]) for uid in ready), key=lambda claim: claim.failed_at)
        won: tuple[str, ...] = ()
        withheld: dict[str, set[str]] = {}

        def change(found: Record) -> Record:
            nonlocal won
            withheld.clear()
            changed, won = claims.claim(claims.settle(found, self._committed), wanted)
            for uid in won:
                changed, withheld[uid] = self._reserved(changed, ready[uid])
            return claims.pruned(changed, _seconds(self._clock()), self._max_age)

        before = frozenset(self._committed)
        await self._update(change)
        self._committed -= before
        await asyncio.gather(*(self._commit(uid, ready[uid], withheld[uid]) for uid in won))

    def _claim(self, candidate: FailedCandidate) -> Claim:
        return Claim(
            uid=candidate.uid,
            by=self._identity,
            namespace=candidate.namespace,
            name=candidate.name,
            failed_at=_seconds(candidate.failed_at),
            at=_seconds(self._clock()),
        )

    def _reserved(self, record: Record, failed: FailedJob) -> tuple[Record, set[str]]:
        """Use up the rate limits that a failure's playbooks have; return those that are used up already."""
        facts = job_facts(failed.document, self.rules.redactor)
        owner = failed.owner or f"Job {facts['namespace']}/{facts['name']}"
        now = _seconds(self._clock())
        limits = self.rules.playbooks.rate_limits(facts)
        keys = {playbook: claims.limit_key(playbook, owner) for playbook in limits}
        silent = {playbook for playbook, key in keys.items() if claims.limited(record, key, now)}
        used = {keys[playbook]: now + limits[playbook] for playbook in limits.keys() - silent}
        return claims.with_limits(record, used), silent

    async def _commit(self, uid: str, failed: FailedJob, withheld: Collection[str]) -> None:
        """Append the entry; what the disk does not take at once stays claimed until it has."""
        routed = findings_of(failed, self.rules, withheld)
        for playbook in withheld:
            self._observer.withheld(playbook)
        answer = await self._journal.append(record_of(failed, routed, self.rules, self._ids, self._random))
        if answer != "recorded":
            logger.warning("failed job waits for the disk", action="retry", uid=uid, result=answer)
            return
        self._committed.add(uid)
        self._let_go(uid, "told")

    async def _settle(self) -> None:
        """Write down what was committed."""
        if not self._committed:
            return
        done = frozenset(self._committed)
        await self._update(lambda found: claims.settle(found, done))
        self._committed -= done

    async def _complete(self) -> None:
        """Settle claims whose entry is in this journal; tell those that a crash left open, where that is up to us."""
        record = self._known
        if record is None or not record.claims:
            return
        mine = claims.held_by(record, self._identity)
        for claim in mine:
            if claim.uid not in self._committed and await self._has(claim):
                self._committed.add(claim.uid)
                self._let_go(claim.uid, "told")
        if self._is_leading():
            left = [claim for claim in mine if claim.uid not in self._committed]
            for claim in [*left, *await self._taken_over(record)]:
                await self._tell_left(claim)
        await self._settle()

    async def _taken_over(self, record: Record) -> list[Claim]:
        """Take over the claims of replicas that did not come back."""
        now, won = _seconds(self._clock()), tuple[str, ...]()
        left = [each for each in claims.orphans(record, now, _GRACE) if each.by != self._identity]
        if not left:
            return []

        def change(found: Record) -> Record:
            nonlocal won
            changed, won = claims.take_over(found, left, self._identity, now)
            return changed

        await self._update(change)
        return [each for each in left if each.uid in won]

    async def _has(self, claim: Claim) -> bool:
        """Say whether the journal has the entry. Waits for what is on its way to the disk, since both go in order."""
        return await self._journal.call(lambda c: is_recorded(c, claim.namespace, claim.name, claim.uid))

    async def _tell_left(self, claim: Claim) -> None:
        """Tell a failure that was claimed and never committed; a rate limit that it has used up does not count."""
        candidate = self._waiting.get(claim.uid) or _candidate(claim)
        logger.info("failed job was claimed and not told", action="tell", uid=claim.uid, claimed_by=claim.by)
        task = self._gathering.get(claim.uid) or self._start_gathering(candidate)
        await self._commit(claim.uid, await task, ())


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _candidate(claim: Claim) -> FailedCandidate:
    return FailedCandidate(
        uid=claim.uid,
        namespace=claim.namespace,
        name=claim.name,
        failed_at=datetime.fromtimestamp(claim.failed_at, UTC),
    )


def _without_document(candidate: FailedCandidate) -> FailedCandidate:
    return FailedCandidate(
        uid=candidate.uid,
        namespace=candidate.namespace,
        name=candidate.name,
        failed_at=candidate.failed_at,
        listed=candidate.listed,
    )
