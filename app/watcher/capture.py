"""Captures what Pods of Jobs leave behind, at the moment they fail: soon after, Pods and logs may be gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import structlog

from app.core.evidence import LONGEST_MESSAGE, Log, PodEvidence, in_trouble, merge, read_pod, wanted_logs
from app.core.raw import items, string
from app.core.redact import Redactor
from app.core.text import shorten
from app.kube.handling import UNREADABLE, ChangeKind
from app.store.journal import Journal
from app.watcher.holding import CaptureObserver, Holding, Unobserved
from app.watcher.logs import GONE, PAUSES, LogLimits, LogReader, LogSource, Reading
from app.watcher.pods import Roll, Waiting, WaitingRoom, identified

logger = structlog.get_logger(__name__)

MOST_AT_ONCE: Final = 2000
"""Pods that may wait to be worked on: each is a task and what was seen of it, some kilobytes."""

UNSCHEDULABLE: Final = "Unschedulable"
_STARTING: Final = frozenset({"", "ContainerCreating", "PodInitializing"})


class _Sighting(msgspec.Struct, frozen=True):
    """What was seen last of a Pod, and by which redactor; without `pod` only that it is gone."""

    job_uid: str
    namespace: str
    pod: PodEvidence | None
    redactor: Redactor | None = None


class Capture:
    """Holds the statuses and logs of Pods of undecided Jobs from the moment they are in trouble; a watch's `Handler`.

    In trouble is a Pod with a container that failed, also if it was started again; that failed itself; that is deleted
    before its end; or that cannot start. Statuses are held at once; logs are read at once, redacted, and cut.
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
        self._inbox: dict[str, _Sighting] = {}
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
                self._take(pod_uid, _Sighting(job_uid, "", None))

    def changed(self, event: ChangeKind, item: msgspec.Raw) -> None:
        """Take a Pod that changed."""
        self._saw(item, gone=event == "DELETED")

    def opened(self, job_uid: str) -> None:
        """Take the Pods that were seen before their Job, which from now on is open."""
        for waiting in self._room.call(job_uid):
            self._look(job_uid, waiting.read(), gone=waiting.gone)

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

    def _look(self, job_uid: str, item: bytes | msgspec.Raw, *, gone: bool) -> None:
        """Take a Pod of an open Job, if it is in trouble or was before."""
        try:
            document = msgspec.json.decode(item)
        except UNREADABLE as error:
            logger.warning("pod not understood", action="skip", job=job_uid, error=str(error))
            return
        pod = evidence_of(document, self._reader.redactor, gone=gone)
        if not pod.uid or (pod.uid not in self._roll and not (in_trouble(pod) or is_stuck(pod))):
            return
        # Only now, since most Pods are well: to look for secrets in all of a Pod takes as long as all before.
        redactor = self._reader.redactor.knowing("Pod", document)
        pod = evidence_of(document, redactor, gone=gone)
        for uid in self._roll.admit(job_uid, pod.uid, pod.created_at):
            self._inbox.pop(uid, None)
        if pod.uid in self._roll:
            self._take(pod.uid, _Sighting(job_uid, string(document, "metadata", "namespace"), pod, redactor))

    def _take(self, uid: str, sighting: _Sighting) -> None:
        waiting = self._inbox.get(uid)
        if waiting is None and len(self._inbox) >= MOST_AT_ONCE:
            self._observer.dropped("too_many")
            return
        self._inbox[uid] = sighting if waiting is None else _both(waiting, sighting)
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

    async def _capture(self, uid: str, sighting: _Sighting) -> None:
        job_uid = sighting.job_uid
        for reading in await self._update(uid, sighting):
            if uid not in self._roll:
                break
            log = await self._reader.read(reading, lambda: self._is_gone(uid))
            self._observer.captured("failed" if log.note else "read")
            if not self._is_overtaken(uid, reading):
                await self._add(job_uid, uid, (log,))

    async def _update(self, uid: str, sighting: _Sighting) -> tuple[Reading, ...]:
        """Hold what was seen; return the logs that are wanted now. Without the logs that are held: many may wait."""
        held = await self._holding.pod(sighting.job_uid, uid)
        pod = _merged(held, sighting.pod)
        if pod is None or uid not in self._roll:
            return ()
        if pod.gone:
            pod = msgspec.structs.replace(pod, logs=(*pod.logs, *_never_read(pod)))
        if pod != held:
            self._holding.keep(sighting.job_uid, pod)
        return tuple(_readings(sighting, pod))

    async def _add(self, job_uid: str, uid: str, logs: tuple[Log, ...]) -> None:
        held = await self._holding.pod(job_uid, uid)
        if held is not None and uid in self._roll:
            self._holding.keep(job_uid, merge(held, msgspec.structs.replace(held, logs=logs)))

    def _is_gone(self, uid: str) -> bool:
        newer = self._inbox.get(uid)
        return uid not in self._roll or (newer is not None and (newer.pod is None or newer.pod.gone))

    def _is_overtaken(self, uid: str, reading: Reading) -> bool:
        """Say whether the container was started again meanwhile, so that nobody knows which run's log was read."""
        newer = self._inbox.get(uid)
        if newer is None or newer.pod is None:
            return False
        wanted = reading.wanted
        runs = {each.name: each.run for each in newer.pod.containers}
        return runs.get(wanted.container, wanted.run) > wanted.run + wanted.previous


def evidence_of(document: dict[str, Any], redactor: Redactor, *, gone: bool) -> PodEvidence:
    """Return what a Pod's JSON says; that it cannot be scheduled, which only a condition says, is its reason."""
    pod = read_pod(document, redactor)
    for condition in items(document, "status", "conditions"):
        if not pod.reason and string(condition, "reason") == UNSCHEDULABLE and string(condition, "status") == "False":
            message = shorten(redactor.text(string(condition, "message")), LONGEST_MESSAGE)
            pod = msgspec.structs.replace(pod, reason=UNSCHEDULABLE, message=message)
    return msgspec.structs.replace(pod, gone=gone)


def is_stuck(pod: PodEvidence) -> bool:
    """Say whether a Pod waits for something that does not come by itself, such as its image, or a node."""
    return pod.reason == UNSCHEDULABLE or any(
        each.state == "waiting" and each.reason not in _STARTING for each in pod.containers
    )


def _both(earlier: _Sighting, later: _Sighting) -> _Sighting:
    return msgspec.structs.replace(
        later,
        namespace=later.namespace or earlier.namespace,
        pod=_merged(earlier.pod, later.pod),
        redactor=later.redactor or earlier.redactor,
    )


def _merged(held: PodEvidence | None, live: PodEvidence | None) -> PodEvidence | None:
    """Merge what is held of a Pod with what was seen; not seen means gone."""
    if live is None:
        return held and msgspec.structs.replace(held, gone=True)
    return live if held is None else merge(held, live)


def _readings(sighting: _Sighting, pod: PodEvidence) -> Iterator[Reading]:
    ended = {each.name for each in pod.containers if each.ended is not None}
    for wanted in wanted_logs(pod):
        yield Reading(
            namespace=sighting.namespace,
            pod=pod.name,
            wanted=wanted,
            ended=wanted.previous or wanted.container in ended,
            redactor=sighting.redactor,
        )


def _never_read(pod: PodEvidence) -> Iterator[Log]:
    """Say of each log that was still wanted when the Pod went that it is not to be had any more."""
    for wanted in wanted_logs(msgspec.structs.replace(pod, gone=False)):
        if all((log.container, log.run) != (wanted.container, wanted.run) for log in pod.logs):
            yield Log(container=wanted.container, run=wanted.run, note=GONE)
