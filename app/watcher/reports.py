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
from app.core.identity import EntryIds
from app.core.job_report import FailedJob, Note, Topic
from app.core.playbook import RoutedFinding
from app.store.failures import is_recorded
from app.store.journal import Journal

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
        self._journal = journal
        self._ids = ids
        self._random = random
        self._withheld = withheld
        self._clock = clock
        self._desks = asyncio.Semaphore(_AT_ONCE)

    async def recorded(self, claimed: Collection[Claim]) -> list[str]:
        """Return whose entry the journal has. Waits for what is on its way to the disk, since both go in order."""
        if not claimed:
            return []
        return await self._journal.call(
            lambda c: [each.uid for each in claimed if is_recorded(c, each.namespace, each.name, each.uid)]
        )

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
        answer = await self._journal.append(record_of(failed, routed, self.rules, self._ids, self._random, now))
        for playbook in withheld if answer != "lost" else ():
            self._withheld(playbook)
        if answer != "recorded":
            logger.warning("failed job waits for the disk", action="retry", uid=uid, result=answer)
        return answer == "recorded"

    def _findings(
        self, uid: str, failed: FailedJob, withheld: Collection[str], now: datetime
    ) -> Sequence[RoutedFinding]:
        try:
            return findings_of(failed, self.rules, withheld, now)
        except Exception:
            # A fault in what is attached must not keep anybody from hearing of the failure itself.
            logger.exception("evidence not attached", action="bug", uid=uid)
            return findings_of(_bare(failed), self.rules, withheld, now)


def _bare(failed: FailedJob) -> FailedJob:
    text = "What is known could not be attached: the log of the watcher says why."
    notes = tuple(Note(topic, text) for topic in _TOPICS)
    return FailedJob(document=failed.document, failure=failed.failure, owner=failed.owner, notes=notes)
