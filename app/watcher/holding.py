"""What is held of the Pods of undecided Jobs: in memory until the journal has it, and from then on only there."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Literal, Protocol, TypeVar

import structlog

from app.core.evidence import PodEvidence
from app.store import evidence
from app.store.database import StoreError, connect_reader
from app.store.journal import Journal

logger = structlog.get_logger(__name__)

T = TypeVar("T")
Dropped = Literal["too_many", "memory", "refused", "size"]
"""Why a Pod's evidence was not kept: too many Pods failed at once; the journal takes nothing and memory is full; the
journal refused this Pod; evidence as a whole is larger than it may be."""

MEMORY_BYTES: Final = 16 * 1024 * 1024
"""What may wait for the journal, which takes it at once unless its disk refuses."""

_BATCH: Final = 8
"""Pods in one transaction: few, since reviews may wait for the same writer."""

_STRUCT_BYTES: Final = 1024

_Key = tuple[str, str]
"""Uid of the Job, uid of the Pod."""


class CaptureObserver(Protocol):
    """What capturing reports while it works; called in the event loop."""

    def captured(self, result: Literal["read", "failed"]) -> None:
        """Report a log that was read, or could not be."""

    def dropped(self, reason: Dropped) -> None:
        """Report one Pod whose evidence is lost, in whole or in part."""


class Unobserved:
    """Nobody is told."""

    def captured(self, result: Literal["read", "failed"]) -> None:
        """Do nothing."""

    def dropped(self, reason: Dropped) -> None:
        """Do nothing."""


class Holding:
    """Keeps evidence in the journal without waiting for it, so that a disk that refuses holds up nobody.

    What is kept can be read at once. Changes of one Pod that come while the journal is busy make one write. What the
    journal does not take stays in memory, `memory_bytes` at most: beyond that the oldest is dropped, and reported.
    """

    def __init__(
        self,
        journal: Journal,
        observer: CaptureObserver,
        clock: Callable[[], datetime],
        *,
        memory_bytes: int = MEMORY_BYTES,
        limit_bytes: int = evidence.LIMIT_BYTES,
    ) -> None:
        self._journal = journal
        self._observer = observer
        self._clock = clock
        self._memory_bytes = memory_bytes
        self._limit_bytes = limit_bytes
        self._unsaved: dict[_Key, PodEvidence] = {}
        self._bytes = 0
        self._dirty: dict[_Key, None] = {}
        self._drops: set[str] = set()
        self._changed = asyncio.Event()
        self._writing = asyncio.Lock()
        self._reading = threading.Lock()
        self._reader: sqlite3.Connection | None = None

    async def pods(self) -> list[tuple[str, str, str]]:
        """Return uid of the Job, uid and time of creation of the Pod, for all that the journal holds."""
        return await self._read(evidence.pods)

    async def pod(self, job_uid: str, pod_uid: str) -> PodEvidence | None:
        """Return what is held of one Pod; raises sqlite3.Error or OSError where that is not known."""
        found = self._unsaved.get((job_uid, pod_uid))
        return found or await self._read(lambda connection: evidence.held_pod(connection, job_uid, pod_uid))

    async def of_job(self, job_uid: str) -> tuple[PodEvidence, ...]:
        """Return what is held of a Job, its oldest Pod first; without what the journal holds if it cannot be read."""
        before = self._unsaved_of(job_uid)
        try:
            saved = await self._read(lambda connection: evidence.held(connection, job_uid))
        except (sqlite3.Error, StoreError, OSError) as error:
            logger.exception("evidence not read", action="without", job=job_uid, error=str(error))
            saved = ()
        # What was written meanwhile is in one of the three.
        found = {pod.uid: pod for pod in saved} | before | self._unsaved_of(job_uid)
        return tuple(sorted(found.values(), key=lambda pod: (pod.created_at, pod.uid)))

    def keep(self, job_uid: str, pod: PodEvidence) -> None:
        """Hold this of the Pod from now on."""
        key = job_uid, pod.uid
        self._release(key)
        self._unsaved[key] = pod
        self._bytes += _size(pod)
        self._dirty[key] = None
        while self._bytes > self._memory_bytes:
            self._release(next(iter(self._unsaved)))
            self._observer.dropped("memory")
        self._changed.set()

    def drop(self, job_uid: str) -> None:
        """Hold nothing of the Job any longer."""
        for key in [key for key in self._unsaved if key[0] == job_uid]:
            self._release(key)
        self._drops.add(job_uid)
        self._changed.set()

    async def run(self) -> None:
        """Write what is kept and drop what is dropped, until cancelled or the journal is closed."""
        while True:
            await self._changed.wait()
            await self.flush()

    async def flush(self) -> None:
        """Return once the journal has taken, or refused, all that was kept so far."""
        async with self._writing:
            self._changed.clear()
            while self._dirty or self._drops:
                await self._write(list(itertools.islice(self._dirty, _BATCH)))

    async def _write(self, keys: Sequence[_Key]) -> None:
        batch = [(job_uid, self._unsaved[job_uid, pod_uid]) for job_uid, pod_uid in keys]
        drops, self._drops = frozenset(self._drops), set()
        for key in keys:
            del self._dirty[key]
        now, limit = self._clock(), self._limit_bytes

        def work(connection: sqlite3.Connection) -> int:
            evidence.drop(connection, drops)
            rows = zip(batch, bodies, strict=True)
            return sum(evidence.keep(connection, job_uid, pod, now, limit, body=body) for (job_uid, pod), body in rows)

        try:
            # Beside the loop and the writer: reviews wait for both.
            bodies = await asyncio.to_thread(lambda: [evidence.packed(pod) for _, pod in batch])
            pushed_out = await self._journal.call(work)
        except (sqlite3.Error, StoreError, ValueError) as error:
            self._refused(batch, error)
        else:
            self._saved(batch, pushed_out)

    def _saved(self, batch: Sequence[tuple[str, PodEvidence]], pushed_out: int) -> None:
        for job_uid, pod in batch:
            if self._unsaved.get((job_uid, pod.uid)) is pod:
                self._release((job_uid, pod.uid))
        for _ in range(pushed_out):
            self._observer.dropped("size")
        if pushed_out:
            logger.warning("evidence dropped", action="drop", reason="size", pods=pushed_out)

    def _refused(self, batch: Sequence[tuple[str, PodEvidence]], error: Exception) -> None:
        """Leave in memory what the journal will not take: it can still be told."""
        logger.error("evidence not stored", action="remember", pods=len(batch), error=str(error))
        for _ in batch:
            self._observer.dropped("refused")

    def _release(self, key: _Key) -> None:
        pod = self._unsaved.pop(key, None)
        self._dirty.pop(key, None)
        if pod is not None:
            self._bytes -= _size(pod)

    def _unsaved_of(self, job_uid: str) -> dict[str, PodEvidence]:
        return {pod.uid: pod for (job, _), pod in self._unsaved.items() if job == job_uid}

    async def close(self) -> None:
        """Close what was opened for reading; whoever reads afterwards opens it again."""
        await asyncio.to_thread(self._forget_reader)

    async def _read(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Ask beside the writer, which may be stuck at a disk that refuses."""

        def work() -> T:
            with self._reading:
                # Kept open: to read the schema anew takes a hundred times as long as the answer.
                self._reader = self._reader or connect_reader(self._journal.path)
                try:
                    return question(self._reader)
                except sqlite3.Error:
                    self._reader.close()
                    self._reader = None
                    raise

        return await asyncio.to_thread(work)

    def _forget_reader(self) -> None:
        with self._reading:
            if self._reader is not None:
                self._reader.close()
            self._reader = None


def _size(pod: PodEvidence) -> int:
    return _STRUCT_BYTES * (1 + len(pod.containers)) + sum(len(log.text) for log in pod.logs)
