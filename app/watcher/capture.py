"""Captures what Pods of Jobs leave behind, at the moment they fail: soon after, Pods and logs may be gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog

from app.core.evidence import Log, PodEvidence, in_trouble, merge
from app.core.redact import Redactor
from app.kube.handling import ChangeKind
from app.store.journal import Journal
from app.watcher.holding import CaptureObserver, Holding, Unobserved
from app.watcher.logs import PAUSES, LogLimits, LogReader, LogSource, Reading
from app.watcher.pods import Roll, Waiting, WaitingRoom, identified
from app.watcher.rounds import Round, never_read, not_kept, round_of
from app.watcher.sightings import Glimpse, Sighting, both, glimpse_of, merged

logger = structlog.get_logger(__name__)

MOST_AT_ONCE: Final = 2000
"""Pods that may wait to be worked on: each is a task and what was seen of it, some kilobytes."""


class Capture:
    """Holds the statuses and logs of Pods of undecided Jobs from the moment they are in trouble; a watch's `Handler`.

    In trouble is a Pod with a container that failed, also if it was started again; that failed itself; that is deleted
    before its end; or that cannot start. Statuses are held at once; logs are read at once, redacted, and cut: those of
    the two newest Pods in trouble of a Job, and of the first.
    A Pod is worked on by one task at a time. What goes wrong is told in the evidence, and never raised into the watch.

    `is_open` says whether a Job is known and undecided. `open` comes before the first event, `close` after the last.
    """

    def __init__(
        self,
        api: LogSource,
        journal: Journal,
        redactor: Redactor,
        is_open: Callable[[str], bool],
        *,
        limits: LogLimits | None = None,
        observer: CaptureObserver | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self._observer: CaptureObserver = observer or Unobserved()
        self._holding = Holding(journal, self._observer, clock)
        self._reader = LogReader(api, redactor, limits or LogLimits(), pauses=pauses)
        self._is_open = is_open
        self._clock = clock
        self._roll = Roll()
        self._room = WaitingRoom()
        self._inbox: dict[str, Sighting] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._unlisted: set[str] = set()

    def reconfigure(self, redactor: Redactor, limits: LogLimits) -> None:
        """Redact and cut what is read from now on in this way."""
        self._reader.redactor = redactor
        self._reader.limits = limits

    async def open(self) -> None:
        """Take up what was held before a restart; raises sqlite3.Error or OSError where that cannot be read."""
        for job_uid, pod_uid, created_at in await self._holding.pods():
            self._roll.admit(job_uid, pod_uid, created_at)

    async def run(self) -> None:
        """Write to the journal what is held, until cancelled."""
        await self._holding.run()

    async def close(self, timeout_seconds: float = 5.0) -> None:
        """Stop reading logs; write what is held, as far as the journal takes it in that time."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        try:
            async with asyncio.timeout(timeout_seconds):
                await asyncio.gather(*tasks, return_exceptions=True)
                await self._holding.flush()
                await self._holding.close()
        except TimeoutError:
            logger.warning("evidence not stored", action="close")

    def begin(self) -> None:
        """Begin a list of all Pods."""
        self._unlisted = {pod_uid for _, pod_uid in self._roll}

    def listed(self, item: msgspec.Raw) -> None:
        """Take a Pod of the list."""
        self._unlisted.discard(self._saw(item, gone=False))

    def end(self) -> None:
        """Mark held Pods as gone that were known before the list began, and are not in it."""
        for job_uid, pod_uid in list(self._roll):
            if pod_uid in self._unlisted:
                self._take(pod_uid, Sighting(job_uid, gone=True))

    def changed(self, event: ChangeKind, item: msgspec.Raw) -> None:
        """Take a Pod that changed."""
        self._saw(item, gone=event == "DELETED")

    def opened(self, job_uid: str) -> None:
        """Take the Pods that were seen before their Job, which from now on is open."""
        glimpses: list[Glimpse] = []
        for waiting in self._room.call(job_uid):
            glimpse = glimpse_of(waiting.read(), gone=waiting.gone)
            if glimpse is not None and self._admit(job_uid, glimpse.pod, has_trouble=glimpse.has_trouble):
                # There may be hundreds, of which few stay: only those are worth more than a first look.
                glimpses = [each for each in (*glimpses, glimpse) if each.pod.uid in self._roll]
        for glimpse in glimpses:
            self._take(glimpse.pod.uid, glimpse.sighting(job_uid, self._reader.redactor))

    def decided(self, job_uid: str) -> None:
        """Forget a Job: it completed, it is gone, or its failure was told."""
        self._room.call(job_uid)
        pods = self._roll.drop(job_uid)
        for pod_uid in pods:
            self._inbox.pop(pod_uid, None)
        if pods:
            self._holding.drop(job_uid)

    def held_jobs(self) -> frozenset[str]:
        """Return the Jobs that evidence is held of, also those that ended while nobody watched: to be decided."""
        return self._roll.jobs()

    async def settled(self, job_uid: str, timeout_seconds: float) -> bool:
        """Wait until all that was seen of the Job's Pods is held, logs included, but not longer than that.

        Say whether it is.
        """
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        while tasks := [self._tasks[uid] for uid in self._roll.pods(job_uid) if uid in self._tasks]:
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                logger.info("evidence not settled", action="go on", job=job_uid, pods=len(tasks))
                return False
            await asyncio.wait(tasks, timeout=remaining)
        return True

    def seen(self, job_uid: str, item: msgspec.Raw) -> None:
        """Take a Pod as it is now, of a Job that failed: what is wanting of it is read, before it is told."""
        self._look(job_uid, item, gone=False)

    async def held(self, job_uid: str) -> tuple[PodEvidence, ...]:
        """Return what is held of a Job, its oldest Pod first."""
        return await self._holding.of_job(job_uid)

    def _saw(self, item: msgspec.Raw, *, gone: bool) -> str:
        """Take a Pod as the API server has it; return its uid."""
        pod = identified(item)
        if not pod.job_uid:
            return ""
        if self._is_open(pod.job_uid):
            self._look(pod.job_uid, item, gone=gone)
        else:
            self._room.enter(pod, Waiting.of(item, gone=gone), self._clock())
        return pod.pod_uid

    def _look(self, job_uid: str, item: msgspec.Raw, *, gone: bool) -> None:
        """Take a Pod of an open Job, if it is in trouble or was before."""
        glimpse = glimpse_of(item, gone=gone)
        if glimpse is not None and self._admit(job_uid, glimpse.pod, has_trouble=glimpse.has_trouble):
            self._take(glimpse.pod.uid, glimpse.sighting(job_uid, self._reader.redactor))

    def _admit(self, job_uid: str, pod: PodEvidence, *, has_trouble: bool) -> bool:
        """Put a Pod on the roll if it is in trouble; say whether it is there. Logs are let go of that are not shown."""
        if not has_trouble and pod.uid not in self._roll:
            return False
        before = self._roll.with_logs(job_uid)
        for uid in self._roll.admit(job_uid, pod.uid, pod.created_at, has_logs=in_trouble(pod)):
            self._inbox.pop(uid, None)
        for uid in before - self._roll.with_logs(job_uid):
            if uid in self._roll:
                self._take(uid, Sighting(job_uid))
        return pod.uid in self._roll

    def _take(self, uid: str, sighting: Sighting) -> None:
        waiting = self._inbox.get(uid)
        if waiting is None and len(self._inbox) >= MOST_AT_ONCE:
            self._observer.dropped("too_many")
            return
        self._inbox[uid] = sighting if waiting is None else both(waiting, sighting)
        if uid not in self._tasks:
            self._tasks[uid] = asyncio.create_task(self._work(uid), name=f"capture-{uid}")

    async def _work(self, uid: str) -> None:
        """Work on one Pod until nothing new was seen of it."""
        try:
            while (sighting := self._inbox.pop(uid, None)) is not None:
                await self._capture(uid, sighting)
        except Exception:
            # A loop boundary: one Pod's fault must not keep the others from being captured.
            logger.exception("capture failed", action="bug", pod=uid)
            self._inbox.pop(uid, None)
        finally:
            del self._tasks[uid]

    async def _capture(self, uid: str, sighting: Sighting) -> None:
        todo = await self._update(uid, sighting)
        try:
            for reading in todo.readings:
                if not self._has_logs(sighting.job_uid, uid):
                    break
                await self._read(uid, reading, todo)
                if todo.is_step:
                    await self._add(sighting.job_uid, uid, todo.take())
        finally:
            if rest := todo.take():
                await self._add(sighting.job_uid, uid, rest)

    async def _read(self, uid: str, reading: Reading, todo: Round) -> None:
        wanted = reading.wanted
        if todo.room(wanted.container, wanted.run) <= 0:
            todo.add(not_kept(wanted.container, wanted.run))
            return
        log = await self._reader.read(reading, lambda: self._is_gone(uid))
        self._observer.captured("failed" if log.note else "read")
        if not self._is_overtaken(uid, reading):
            todo.add(log)

    async def _update(self, uid: str, sighting: Sighting) -> Round:
        """Hold what was seen; return what is to be read now. Without the logs that are held: many may wait."""
        held = await self._holding.pod(sighting.job_uid, uid)
        pod = merged(held, sighting)
        if pod is None or uid not in self._roll:
            return Round()
        has_logs = self._has_logs(sighting.job_uid, uid)
        if not has_logs:
            pod = msgspec.structs.replace(pod, logs=())
        elif pod.gone:
            pod = msgspec.structs.replace(pod, logs=(*pod.logs, *never_read(pod)))
        if pod != held:
            self._holding.keep(sighting.job_uid, pod)
        return round_of(sighting, pod) if has_logs else Round()

    async def _add(self, job_uid: str, uid: str, logs: tuple[Log, ...]) -> None:
        held = await self._holding.pod(job_uid, uid)
        if held is not None and self._has_logs(job_uid, uid):
            self._holding.keep(job_uid, merge(held, msgspec.structs.replace(held, logs=logs)))

    def _has_logs(self, job_uid: str, uid: str) -> bool:
        return uid in self._roll.with_logs(job_uid)

    def _is_gone(self, uid: str) -> bool:
        newer = self._inbox.get(uid)
        return uid not in self._roll or (newer is not None and newer.is_last)

    def _is_overtaken(self, uid: str, reading: Reading) -> bool:
        """Say whether the container was started again meanwhile, so that nobody knows which run's log was read."""
        newer = self._inbox.get(uid)
        if newer is None or newer.pod is None:
            return False
        wanted = reading.wanted
        runs = {each.name: each.run for each in newer.pod.containers}
        return runs.get(wanted.container, wanted.run) > wanted.run + wanted.previous
