"""Tells failed Jobs: each once, whatever restarts, relists and other replicas do.

A failure is told in three steps: its claim is written into the record that all replicas share, the entry with its
findings is committed to the journal, and the claim is settled. Who crashes between them finds the claim again, and
completes what the journal does not have; where another leads by then, it is given up to that one at once. If nobody
comes back for it, another replica completes it after a grace.

While its disk takes nothing, a replica claims nothing, and soon gives up the lead. What it had claimed by then another
tells after the grace; if the first one's disk takes the entry later after all, that failure is told twice.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Container, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, Protocol

import msgspec
import structlog

from app.audit.failed_jobs import FailureRules
from app.core import claims
from app.core.claims import Claim, Record
from app.core.identity import EntryIds
from app.core.job_report import FailedJob
from app.kube.backoff import Backoff
from app.kube.errors import ApiError
from app.store.journal import Journal
from app.watcher.disk import DiskRefusesError
from app.watcher.gatherings import Gatherings
from app.watcher.jobs import FailedCandidate, candidate_of
from app.watcher.known import Known, SharedRecord, second
from app.watcher.reports import Reports

logger = structlog.get_logger(__name__)

_PATIENCE: Final = timedelta(seconds=10)
"""How long a leader waits for its disk, before it leaves the lead to a replica whose disk may be well."""

_POLL_SECONDS: Final = 10.0
_POLL_DISK_SECONDS: Final = 5.0
_POLL_CLAIMED_SECONDS: Final = 2.0
"""While a leader waits for another's claims: who has them is to come back any moment, and to settle or give them up."""

_BREATH_SECONDS: Final = 0.1
"""Jobs fail in crowds: what fails meanwhile shares the writes to the record, of which each may be 200 KiB."""

_WITH_DOCUMENT: Final = 2000
"""Failures that wait with their Job's document in memory; the Jobs of further ones are read again."""

Result = Literal["told", "before_first_start", "elsewhere", "old"]


class TellerObserver(Protocol):
    """Who counts."""

    def decided(self, result: Result) -> None:
        """Report what became of a failure."""

    def withheld(self, playbook: str) -> None:
        """Report a playbook that kept silent, since its rate limit is used up."""


class Teller:
    """Belongs to one event loop. `release(uid)` is called when nobody will ask for evidence of a Job any more.

    `give_up_lead()` is called while this replica leads and its disk has taken nothing for some seconds.
    """

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
        give_up_lead: Callable[[], Awaitable[None]],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.last_error: str | None = None
        self.recalled = asyncio.Event()
        """Set once the open claims are known: from then on `waits_for` is right of Jobs that are gone, too."""

        self._known = Known(record, identity, max_age, clock)
        self._is_leading = is_leading
        self._newest_too_old = newest_too_old
        self._release = release
        self._observer = observer
        self._give_up_lead = give_up_lead
        self._clock = clock
        self._wake = asyncio.Event()
        self._waiting: dict[str, FailedCandidate] = {}
        self._gatherings = Gatherings(gather, self._wake.set)
        self._reports = Reports(journal, ids, random, rules, withheld=observer.withheld, clock=clock)
        self._committed: set[str] = set()
        self._pause = pause
        self._backoff = Backoff()

    @property
    def rules(self) -> FailureRules:
        """What the configuration says; what is set counts from the next failure on."""
        return self._reports.rules

    @rules.setter
    def rules(self, rules: FailureRules) -> None:
        self._reports.rules = rules

    @property
    def waiting(self) -> int:
        """The number of failures that are not told yet, or not known to be told by another replica."""
        return len(self._waiting)

    @property
    def is_able(self) -> bool:
        """Whether the journal takes what is told."""
        return self._reports.disk.refusal is None

    @property
    def hindered_since(self) -> datetime | None:
        """Since when the journal takes nothing; None while it does."""
        return self._reports.disk.refuses_since

    def waits_for(self, uid: str) -> bool:
        """Say whether this Job's failure is yet to be told."""
        return uid in self._waiting

    def failed(self, candidate: FailedCandidate) -> None:
        """Take a failure; one that was told already, by whomever, is not told again."""
        known = self._waiting.get(candidate.uid)
        if candidate.uid in self._committed or (known is not None and known.document):
            return
        if self._known.status(candidate) == "told":
            self._release(candidate.uid)
            return
        if len(self._waiting) >= _WITH_DOCUMENT:
            candidate = msgspec.structs.replace(candidate, document=b"")
        self._waiting[candidate.uid] = candidate
        self._wake.set()

    def too_old(self, count: int) -> None:
        """Count failures that nobody saw before they were too old to be told."""
        for _ in range(count):
            self._observer.decided("old")

    def lead(self) -> None:
        """Look anew and at once: this replica has begun to lead."""
        self._known.doubt()
        self._wake.set()

    async def run(self) -> None:
        """Tell until cancelled; begin when the Jobs have been listed, so that the first start knows what was before."""
        try:
            while True:
                await self._guarded_round()
        finally:
            self._reports.disk.close()
            await self._gatherings.close()

    async def _guarded_round(self) -> None:
        """Do what can be done now; then wait until there may be more to do."""
        try:
            await self._round()
        except ApiError as error:
            logger.warning("failed jobs not told yet", action="retry", waiting=len(self._waiting), error=str(error))
            await self._rest(str(error), error.retry_after)
        except Exception as error:
            # A loop boundary: whatever a round meets, what failed is still to be told.
            logger.exception("failed jobs not told yet", action="bug", waiting=len(self._waiting))
            await self._rest(f"a fault that the log tells: {type(error).__name__}")
        else:
            self.last_error = self._reports.disk.look() or self._known.flaw
            self._backoff.reset()
            await self._more()

    async def _rest(self, error: str, retry_after: float | None = None) -> None:
        """Try again after a while, whatever comes meanwhile, and trust nothing that was known before."""
        self.last_error = error
        self._known.doubt()
        await self._pause(self._backoff.next(retry_after))

    async def _more(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._poll_seconds()):
                await self._wake.wait()
                await self._pause(_BREATH_SECONDS)
        self._wake.clear()

    def _poll_seconds(self) -> float:
        if not self.is_able:
            return _POLL_DISK_SECONDS
        left = self._known.left()
        is_waiting = self._is_leading() and any(each.uid not in left for each in self._known.open_claims)
        return _POLL_CLAIMED_SECONDS if is_waiting else _POLL_SECONDS

    async def _round(self) -> None:
        if not await self._look():
            return
        absent = await self._recall()
        self.recalled.set()
        self._forget_told()
        if self._is_leading():
            await self._work()
        else:
            await self._known.give_up(absent)
        await self._settle()

    async def _work(self) -> None:
        """Tell what is to be told; while the disk takes nothing, keep what was claimed, but not for long."""
        if self._reports.disk.look() is not None:
            return await self._hold_out()
        left = self._left()
        self._gatherings.begin(each for each in self._waiting.values() if self._is_ours(each, left))
        return await self._tell(left)

    async def _hold_out(self) -> None:
        await self._known.renew({uid for uid in self._waiting if self._reports.is_queued(uid)})
        if self.hindered_since is not None and self._clock() - self.hindered_since >= _PATIENCE:
            await self._give_up_lead()

    async def _look(self) -> bool:
        """Know the record as it is; say no where there is none, and another is to begin it."""
        if await self._known.look(is_leading=self._is_leading()):
            return True
        if not self._is_leading():
            return False
        await self._begin_record()
        return True

    def baseline(self) -> Record:
        """Return how the record begins: at the first start in a cluster, what has failed by now counts as told.

        Where it was there and is no more, it begins as it was known.
        """
        if self._known.record is not None:
            return self._known.record
        before = [(each.uid, second(each.failed_at)) for each in self._waiting.values() if each.listed]
        older = self._newest_too_old()
        if older is not None:
            before.append(("older", second(older)))
        return claims.baseline(before, self._known.now)

    async def _begin_record(self) -> None:
        """Begin the record, so that nobody is flooded with what failed before."""
        begun = await self._known.update(lambda _: None)
        before = [each for each in self._waiting.values() if each.listed and self._known.status(each) == "told"]
        logger.info("record of failed jobs begun", action="begin", failed_before=len(before), since=begun.since)
        for each in before:
            self._let_go(each.uid, "before_first_start")

    def _forget_told(self) -> None:
        """Let go of what was told, here or elsewhere; what has only grown old while it waited is told all the same."""
        for uid, candidate in list(self._waiting.items()):
            if self._known.status(candidate) == "told":
                self._let_go(uid, "elsewhere")

    def _let_go(self, uid: str, result: Result) -> None:
        if self._waiting.pop(uid, None) is not None:
            self._observer.decided(result)
        self._gatherings.drop(uid)
        self._reports.drop(uid)
        self._release(uid)

    async def _recall(self) -> frozenset[str]:
        """Settle the claims whose entry is in this journal; the others wait, whoever is to tell them.

        Return those that this journal does not have and will not get: it was asked after all that it was given, and
        nothing is given to it but by `_tell`, which this round comes to later, and the last one has left.
        """
        claimed = [each for each in self._known.open_claims if each.uid not in self._committed]
        absent: frozenset[str] = frozenset()
        # Where the disk cannot be asked, nothing is told in this round, so that nobody needs to know.
        with contextlib.suppress(DiskRefusesError):
            recorded = await self._reports.recorded(claimed)
            absent = frozenset(each.uid for each in claimed) - frozenset(recorded)
            for uid in recorded:
                self._committed.add(uid)
                self._let_go(uid, "told")
        for claim in claimed:
            if claim.uid not in self._committed:
                self._waiting.setdefault(claim.uid, candidate_of(claim))
        return absent

    def _left(self) -> dict[str, Claim]:
        """Return the claims that are for this replica to complete, if it leads."""
        return {uid: claim for uid, claim in self._known.left().items() if uid not in self._committed}

    def _is_ours(self, candidate: FailedCandidate, left: Container[str]) -> bool:
        # Whoever hands a failure over has seen it in time; that it has grown old since is no reason to be silent.
        return candidate.uid in left or self._known.status(candidate) in ("new", "old")

    async def _tell(self, left: Mapping[str, Claim]) -> None:
        """Claim what was gathered and, where nobody was faster, commit it.

        Claims that were left open are taken over, our own as well, since others may have taken them for orphans; rate
        limits that they have used up do not count.
        """
        gathered = self._gatherings.ready()
        ready = {uid: each for uid, each in gathered.items() if self._is_ours(self._waiting[uid], left)}
        if not ready:
            return
        new = (self._claim(self._waiting[uid]) for uid in ready if uid not in left)
        wanted = sorted(new, key=lambda each: each.failed_at)
        orphans = [left[uid] for uid in ready if uid in left]
        won: tuple[str, ...] = ()
        withheld: dict[str, set[str]] = {}

        def change(found: Record) -> Record:
            nonlocal won
            now = self._known.now
            changed, taken = claims.take_over(found, orphans, self._known.identity, now)
            changed, fresh = claims.claim(changed, wanted)
            for uid in fresh:
                changed, withheld[uid] = self._reports.reserved(changed, ready[uid])
            won = (*taken, *fresh)
            return claims.pruned(changed, now, self._remembered(now))

        await self._known.update(change)
        _log_taken(each for each in orphans if each.uid in won)
        # Whatever happens to one, none of them goes on when this ends: what is not recorded then is not on its way.
        async with asyncio.TaskGroup() as commits:
            for uid in won:
                commits.create_task(self._commit(uid, ready[uid], withheld.get(uid, ())))

    def _remembered(self, now: int) -> int:
        """Return how far back the record must know, in seconds: as far as what still waits to be told."""
        oldest = min((second(each.failed_at) for each in self._waiting.values()), default=now)
        return max(self._known.max_age, now - oldest)

    def _claim(self, candidate: FailedCandidate) -> Claim:
        return Claim(
            uid=candidate.uid,
            by=self._known.identity,
            namespace=candidate.namespace,
            name=candidate.name,
            failed_at=second(candidate.failed_at),
            at=self._known.now,
        )

    async def _commit(self, uid: str, failed: FailedJob, withheld: Collection[str]) -> None:
        if await self._reports.commit(uid, failed, withheld):
            self._committed.add(uid)
            self._let_go(uid, "told")

    async def _settle(self) -> None:
        """Write down what was committed."""
        if not self._committed:
            return
        done = frozenset(self._committed)
        await self._known.settle(done)
        self._committed -= done


def _log_taken(taken: Iterable[Claim]) -> None:
    for each in taken:
        who = {"uid": each.uid, "namespace": each.namespace, "name": each.name}
        logger.info("claim taken over", action="tell", owner=each.by, **who)
