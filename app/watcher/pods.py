"""Which Pods matter: a roll of those that evidence is held of, and a room for those whose Job is not known yet."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from app.core.raw import moment
from app.kube.handling import UNREADABLE
from app.store.evidence import PODS_PER_JOB

WAITING_PODS: Final = 1000
WAITING_BYTES: Final = 1024 * 1024
"""What the room has place for: it also takes Pods of Jobs that ended a moment ago, which nobody will call for."""

WAITING_TIME: Final = timedelta(minutes=10)
"""How old a Pod may be whose Job is not known yet. Jobs are listed before Pods, and their watch lags behind by seconds
or, where it was interrupted, minutes. An older Pod's Job is known, and has ended: there may be thousands of those.
"""


class _Owner(msgspec.Struct):
    kind: str
    uid: str
    controller: bool = False


class _Metadata(msgspec.Struct, rename={"owners": "ownerReferences", "created": "creationTimestamp"}):
    uid: str
    owners: list[_Owner]
    created: str = ""


class _Head(msgspec.Struct):
    metadata: _Metadata


_heads: Final = msgspec.json.Decoder(_Head)


class Identity(NamedTuple):
    """Which Pod it is, and which Job controls it; empty where no Job does."""

    pod_uid: str = ""
    job_uid: str = ""
    created_at: str = ""


def identified(item: msgspec.Raw) -> Identity:
    """Return what identifies a Pod of a Job; nothing of any other."""
    try:
        metadata = _heads.decode(item).metadata
    except UNREADABLE:
        return Identity()
    for owner in metadata.owners:
        if owner.controller and owner.kind == "Job" and owner.uid and metadata.uid:
            return Identity(metadata.uid, owner.uid, metadata.created)
    return Identity()


class Roll:
    """The Pods in trouble of undecided Jobs: of each the first and the newest, as many as the store holds."""

    def __init__(self) -> None:
        self._jobs: dict[str, dict[str, str]] = {}
        self._job_of: dict[str, str] = {}

    def __contains__(self, pod_uid: str) -> bool:
        return pod_uid in self._job_of

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield uid of the Job and uid of the Pod."""
        return ((job_uid, pod_uid) for pod_uid, job_uid in self._job_of.items())

    def jobs(self) -> frozenset[str]:
        """Return the Jobs of these Pods."""
        return frozenset(self._jobs)

    def pods(self, job_uid: str) -> tuple[str, ...]:
        """Return the Pods of a Job."""
        return tuple(self._jobs.get(job_uid, ()))

    def admit(self, job_uid: str, pod_uid: str, created_at: str) -> tuple[str, ...]:
        """Add a Pod; return the Pods that had to go for it, which may be itself."""
        pods = self._jobs.setdefault(job_uid, {})
        pods[pod_uid] = created_at
        self._job_of[pod_uid] = job_uid
        surplus = tuple(sorted(pods, key=lambda uid: (pods[uid], uid))[1 : 1 + max(len(pods) - PODS_PER_JOB, 0)])
        for uid in surplus:
            del pods[uid], self._job_of[uid]
        return surplus

    def drop(self, job_uid: str) -> tuple[str, ...]:
        """Forget a Job; return its Pods."""
        pods = tuple(self._jobs.pop(job_uid, ()))
        for uid in pods:
            del self._job_of[uid]
        return pods


class Waiting(msgspec.Struct, frozen=True):
    """A Pod as it was last seen, its JSON deflated. `gone` says that it was seen for the last time."""

    document: bytes
    gone: bool

    @classmethod
    def of(cls, item: msgspec.Raw, *, gone: bool) -> Waiting:
        """Keep a Pod."""
        return cls(zlib.compress(bytes(item), 1), gone)

    def read(self) -> bytes:
        """Return its JSON."""
        return zlib.decompress(self.document)


class WaitingRoom:
    """Pods that were seen before their Job, newest version each, until they are too old for that to be the reason.

    Where it is full, the Job that came first goes out.
    """

    def __init__(self, pods: int = WAITING_PODS, size_bytes: int = WAITING_BYTES) -> None:
        self._jobs: dict[str, dict[str, Waiting]] = {}
        self._until: dict[str, datetime] = {}
        self._free_pods = pods
        self._free_bytes = size_bytes

    def enter(self, pod: Identity, waiting: Waiting, now: datetime) -> None:
        """Let a Pod wait for its Job, instead of what waits of it."""
        until = (moment(pod.created_at) or now) + WAITING_TIME
        self._dismiss(now)
        if until <= now:
            return
        pods = self._jobs.setdefault(pod.job_uid, {})
        self._until[pod.job_uid] = until
        self._release(pods.pop(pod.pod_uid, None))
        pods[pod.pod_uid] = waiting
        self._free_pods -= 1
        self._free_bytes -= len(waiting.document)
        while self._free_pods < 0 or self._free_bytes < 0:
            self.call(next(iter(self._jobs)))

    def call(self, job_uid: str) -> Iterable[Waiting]:
        """Return the Pods that wait for this Job, and let them go."""
        pods = self._jobs.pop(job_uid, {})
        self._until.pop(job_uid, None)
        for pod in pods.values():
            self._release(pod)
        return pods.values()

    def _dismiss(self, now: datetime) -> None:
        while self._jobs and self._until[job_uid := next(iter(self._jobs))] <= now:
            self.call(job_uid)

    def _release(self, pod: Waiting | None) -> None:
        if pod is not None:
            self._free_pods += 1
            self._free_bytes += len(pod.document)
