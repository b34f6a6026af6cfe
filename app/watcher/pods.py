"""Which Pods matter: a roll of those that evidence is held of, and a room for those whose Job is not known yet."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from app.core.evidence import with_logs
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


class _Entry(NamedTuple):
    created_at: str
    pod_uid: str
    has_logs: bool


class Roll:
    """The Pods in trouble of undecided Jobs: of each the first and the newest, as many as the store holds."""

    def __init__(self) -> None:
        self._jobs: dict[str, list[_Entry]] = {}
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
        """Return the Pods of a Job, the oldest first."""
        return tuple(each.pod_uid for each in self._jobs.get(job_uid, ()))

    def with_logs(self, job_uid: str) -> frozenset[str]:
        """Return the Pods of a Job whose logs are wanted: those that the report shows, if the Job fails now."""
        return frozenset(with_logs([each.pod_uid for each in self._jobs.get(job_uid, ()) if each.has_logs]))

    def admit(self, job_uid: str, pod_uid: str, created_at: str, *, has_logs: bool = True) -> tuple[str, ...]:
        """Add a Pod, or what is new of it; return the Pods that had to go for it, which may be itself.

        One that has no logs, since it cannot start, must not take the place of one that has.
        """
        known = {each.pod_uid: each for each in self._jobs.get(job_uid, ())}
        has_logs = has_logs or (pod_uid in known and known[pod_uid].has_logs)
        known[pod_uid] = _Entry(created_at, pod_uid, has_logs)
        pods = sorted(known.values())
        surplus = tuple(each.pod_uid for each in pods[1 : 1 + max(len(pods) - PODS_PER_JOB, 0)])
        self._jobs[job_uid] = [each for each in pods if each.pod_uid not in surplus]
        self._job_of[pod_uid] = job_uid
        for uid in surplus:
            del self._job_of[uid]
        return surplus

    def drop(self, job_uid: str) -> tuple[str, ...]:
        """Forget a Job; return its Pods."""
        pods = self.pods(job_uid)
        self._jobs.pop(job_uid, None)
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
