"""Reports of failed Jobs: the entry and what the playbooks say, committed to the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Final

import structlog

from app.audit.failed_jobs import FailureRules, findings_of, job_facts, record_of
from app.core import claims
from app.core.claims import Claim, Record
from app.core.identity import EntryIds, entry_id
from app.core.job_report import FailedJob, Note, Topic
from app.core.playbook import RoutedFinding
from app.store.failures import is_recorded
from app.store.journal import Journal
from app.store.journal import Record as JournalRecord
from app.watcher.disk import Disk

logger = structlog.get_logger(__name__)

_AT_ONCE: Final = 8
"""Reports that are made together: each takes some milliseconds in which nobody else is served."""

_TOPICS: Final[tuple[Topic, ...]] = ("job", "events", "pods")


class Reports:
    """Makes and commits reports; `withheld` is told each playbook that keeps silent."""

    def __init__(
        self,
        journal: Journal,
        ids: EntryIds,
        random: Callable[[], int],
        rules: FailureRules,
        *,
        withheld: Callable[[str], None],
        clock: Callable[[], datetime],
    ) -> None:
        self.rules = rules
        self.disk = Disk(journal, clock)
        self._journal = journal
        self._ids = ids
        self._random = random
        self._withheld = withheld
        self._clock = clock
        self._desks = asyncio.Semaphore(_AT_ONCE)
        self._queued: dict[str, dict[str, object]] = {}

    def is_queued(self, uid: str) -> bool:
        """Say whether the report was made, and waits for the disk."""
        return uid in self._queued

    def drop(self, uid: str) -> None:
        """Forget a report that waits for the disk: it was told."""
        self._queued.pop(uid, None)

    async def recorded(self, claimed: Collection[Claim]) -> list[str]:
        """Return whose entry the journal has. Waits for what is on its way to the disk, since both go in order.

        Raises DiskRefusesError where the disk takes nothing at the moment.
        """
        if not claimed:
            return []
        found = await self.disk.ask(
            lambda c: [each.uid for each in claimed if is_recorded(c, each.namespace, each.name, each.uid)]
        )
        for uid in found:
            if (said := self._queued.get(uid)) is not None:
                _log_told(said)
        return found

    def reserved(self, record: Record, failed: FailedJob) -> tuple[Record, set[str]]:
        """Use up the rate limits that a failure's playbooks have; return those that are used up already."""
        facts = job_facts(failed.document, self.rules.redactor)
        owner = failed.owner or f"Job {facts['namespace']}/{facts['name']}"
        now = int(self._clock().timestamp())
        limits = self.rules.playbooks.rate_limits(facts)
        keys = {playbook: claims.limit_key(playbook, owner) for playbook in limits}
        silent = {playbook for playbook, key in keys.items() if claims.limited(record, key, now)}
        used = {keys[playbook]: now + limits[playbook] for playbook in limits.keys() - silent}
        return claims.with_limits(record, used), silent

    async def commit(self, uid: str, failed: FailedJob, withheld: Collection[str]) -> bool:
        """Say whether the report is durable; what the disk does not take at once may be so later."""
        async with self._desks:
            try:
                return await self._commit(uid, failed, withheld)
            except Exception:
                # A loop boundary: one report's fault must not keep the others from being told.
                logger.exception("failed job not told yet", action="bug", uid=uid)
                return False

    async def _commit(self, uid: str, failed: FailedJob, withheld: Collection[str]) -> bool:
        now = self._clock()
        routed = self._findings(uid, failed, withheld, now)
        record = record_of(failed, routed, self.rules, self._ids, self._random, now)
        answer = await self._journal.append(record)
        for playbook in withheld if answer != "lost" else ():
            self._withheld(playbook)
        if answer == "recorded":
            _log_told(_said(uid, record))
            return True
        if answer == "pending":
            self._queued[uid] = _said(uid, record)
        logger.warning("failed job waits for the disk", action="retry", uid=uid, result=answer)
        return False

    def _findings(
        self, uid: str, failed: FailedJob, withheld: Collection[str], now: datetime
    ) -> Sequence[RoutedFinding]:
        try:
            return findings_of(failed, self.rules, withheld, now)
        except Exception:
            # A fault in what is attached must not keep anybody from hearing of the failure itself.
            logger.exception("evidence not attached", action="bug", uid=uid)
            return findings_of(_bare(failed), self.rules, withheld, now)


def _said(uid: str, record: JournalRecord) -> dict[str, object]:
    """Return what the log says of a report: who it is about, and how much of it there is."""
    entry = record.entry
    return {
        "uid": uid,
        "namespace": entry.namespace,
        "name": entry.name,
        "entry": entry_id(entry.seq, entry.random),
        "findings": len(record.findings),
        "sinks": len({sink for finding in record.findings for sink in finding.sinks}),
    }


def _log_told(said: dict[str, object]) -> None:
    logger.info("failed job told", action="tell", **said)


def _bare(failed: FailedJob) -> FailedJob:
    text = "What is known could not be attached: the log of the watcher says why."
    notes = tuple(Note(topic, text) for topic in _TOPICS)
    return FailedJob(document=failed.document, failure=failed.failure, owner=failed.owner, notes=notes)
