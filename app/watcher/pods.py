"""Which Pods matter: a roll of those that evidence is held of, and a room for those whose Job is not known yet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from app.kube.handling import UNREADABLE
from app.store.evidence import PODS_PER_JOB

WAITING_PODS: Final = 1000
WAITING_BYTES: Final = 4 * 1024 * 1024
"""What the room has place for: it also takes the Pods of Jobs that ended long ago, which nobody will call for."""


class _Owner(msgspec.Struct):
    kind: str
    uid: str
    controller: bool = False


class _Metadata(msgspec.Struct, rename={"owners": "ownerReferences"}):
    uid: str
    owners: list[_Owner]


class _Head(msgspec.Struct):
    metadata: _Metadata


_heads: Final = msgspec.json.Decoder(_Head)


def identified(item: msgspec.Raw) -> tuple[str, str]:
    """Return the uid of a Pod, and that of the Job which controls it; two empty strings for any other."""
    try:
        metadata = _heads.decode(item).metadata
    except UNREADABLE:
        return "", ""
    for owner in metadata.owners:
        if owner.controller and owner.kind == "Job" and owner.uid and metadata.uid:
            return metadata.uid, owner.uid
    return "", ""


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
    """A Pod as it was last seen, undecoded. `gone` says that it was seen for the last time."""

    document: bytes
    gone: bool


class WaitingRoom:
    """Pods that were seen before their Job, newest version each; where it is full, the Job that came first goes out."""

    def __init__(self, pods: int = WAITING_PODS, size_bytes: int = WAITING_BYTES) -> None:
        self._jobs: dict[str, dict[str, Waiting]] = {}
        self._free_pods = pods
        self._free_bytes = size_bytes

    def enter(self, job_uid: str, pod_uid: str, pod: Waiting) -> None:
        """Let a Pod wait for its Job, instead of what waits of it."""
        pods = self._jobs.setdefault(job_uid, {})
        self._release(pods.pop(pod_uid, None))
        pods[pod_uid] = pod
        self._free_pods -= 1
        self._free_bytes -= len(pod.document)
        while self._free_pods < 0 or self._free_bytes < 0:
            self.call(next(iter(self._jobs)))

    def call(self, job_uid: str) -> Iterable[Waiting]:
        """Return the Pods that wait for this Job, and let them go."""
        pods = self._jobs.pop(job_uid, {})
        for pod in pods.values():
            self._release(pod)
        return pods.values()

    def _release(self, pod: Waiting | None) -> None:
        if pod is not None:
            self._free_pods += 1
            self._free_bytes += len(pod.document)
