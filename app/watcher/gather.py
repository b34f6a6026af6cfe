"""Everything that is known of one failed Job, collected when it is told. What cannot be learnt becomes a note."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from urllib.parse import quote

import msgspec

from app.core.actions import JobEnricher, JobEventsEnricher, JobInfoEnricher, JobPodEnricher
from app.core.evidence import PodEvidence
from app.core.job_events import EventLine, read_events
from app.core.job_report import FailedJob, Note, Topic
from app.core.jobs import Failure, JobHead, OwnerReference, failure, owner
from app.core.recorded_changes import RecordedChange, read_changes
from app.core.redact import Redactor
from app.kube.errors import ApiError
from app.watcher.changes import RecentChanges
from app.watcher.jobs import FailedCandidate

_PATIENCE_SECONDS: Final = 5.0
"""How long a finding waits for logs that are being read: a slow kubelet must not keep everybody uninformed."""

_EVENTS: Final = 500
_PODS: Final = 100
_PODS_WITH_EVENTS: Final = 5


class Api(Protocol):
    """What is asked of the API server."""

    async def get(self, path: str, parameters: Mapping[str, str | int] | None = None) -> bytes:
        """Return the answer's body; raises ApiError."""


class Evidence(Protocol):
    """Who holds what is known of Pods."""

    def seen(self, job_uid: str, item: msgspec.Raw) -> None:
        """Take a Pod of a failed Job as it is now, and read its logs where they are missing."""

    async def settled(self, job_uid: str, timeout_seconds: float) -> None:
        """Wait until the logs that are being read have been read."""

    async def held(self, job_uid: str) -> Sequence[PodEvidence]:
        """Return what is held of the Job's Pods, the oldest first."""


class _List(msgspec.Struct):
    items: list[msgspec.Raw] | None = None


class _PodMetadata(msgspec.Struct, frozen=True, rename="camel"):
    owner_references: tuple[OwnerReference, ...] | None = None


class _Pod(msgspec.Struct):
    metadata: _PodMetadata = _PodMetadata()


class _Selector(msgspec.Struct, rename="camel"):
    match_labels: dict[str, str] | None = None


class _Spec(msgspec.Struct):
    selector: _Selector | None = None


class _JobSelector(msgspec.Struct):
    spec: _Spec | None = None


_lists: Final = msgspec.json.Decoder(_List)
_pods: Final = msgspec.json.Decoder(_Pod)
_selectors: Final = msgspec.json.Decoder(_JobSelector)
_heads: Final = msgspec.json.Decoder(JobHead)


class Gatherer:
    """Collects what the enrichers of a failed Job will ask for, and nothing else."""

    def __init__(
        self,
        api: Api,
        evidence: Evidence,
        changes: RecentChanges,
        redactor: Callable[[], Redactor],
        wanted: Callable[[dict[str, Any]], Sequence[JobEnricher]],
    ) -> None:
        self._api = api
        self._evidence = evidence
        self._changes = changes
        self._redactor = redactor
        self._wanted = wanted

    async def gather(self, candidate: FailedCandidate) -> FailedJob:
        """Return what is known of a failed Job; never raises because something cannot be read."""
        return await _Gathering(self._api, self._evidence, self._changes, self._redactor(), candidate).of(self._wanted)


class _Gathering:
    """One failed Job, and the notes on what could not be learnt of it."""

    def __init__(
        self, api: Api, evidence: Evidence, changes: RecentChanges, redactor: Redactor, candidate: FailedCandidate
    ) -> None:
        self._api = api
        self._evidence = evidence
        self._changes = changes
        self._redactor = redactor
        self._candidate = candidate
        self._notes: list[Note] = []
        self._namespace = quote(candidate.namespace, safe="")

    async def of(self, wanted: Callable[[dict[str, Any]], Sequence[JobEnricher]]) -> FailedJob:
        raw = await self._job()
        head = _heads.decode(raw)
        document = self._redactor.object("Job", msgspec.json.decode(raw))
        enrichers = wanted(document)
        managed_by = owner(head)
        pods = await self._pods_of(raw) if _wants(JobPodEnricher, enrichers) else ()
        (events, pod_events), cron_job, changes = await asyncio.gather(
            self._events(pods) if _wants(JobEventsEnricher, enrichers) else _nothing(((), ())),
            self._cron_job(managed_by) if _wants(JobInfoEnricher, enrichers) else _nothing(None),
            self._owner_changes(managed_by) if _wants(JobInfoEnricher, enrichers) else _nothing(()),
        )
        return FailedJob(
            document=document,
            failure=_failure(head, self._candidate.failed_at, self._redactor),
            events=events,
            pods=tuple(pods),
            pod_events=pod_events,
            cron_job=cron_job,
            owner=_owner_name(managed_by, self._candidate.namespace),
            owner_changes=changes,
            notes=tuple(self._notes),
        )

    async def _job(self) -> bytes:
        """Return the Job's JSON: as it was seen, else as it is, else the little that is known."""
        candidate = self._candidate
        if candidate.document:
            return candidate.read()
        path = f"/apis/batch/v1/namespaces/{self._namespace}/jobs/{quote(candidate.name, safe='')}"
        try:
            raw = await self._api.get(path)
            if _heads.decode(raw).metadata.name == candidate.name and candidate.uid.encode() in raw:
                return raw
            self._note("job", "The Job could not be read: it was deleted, and another has its name.")
        except ApiError as error:
            self._note("job", f"The Job could not be read: {_reason(error)}.")
        metadata = {"name": candidate.name, "namespace": candidate.namespace, "uid": candidate.uid}
        return msgspec.json.encode({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata})

    async def _pods_of(self, raw: bytes) -> Sequence[PodEvidence]:
        """Show what the API server still has of the Job's Pods to who holds the evidence; return all of it."""
        uid = self._candidate.uid
        selector = _selectors.decode(raw)
        labels = (selector.spec and selector.spec.selector and selector.spec.selector.match_labels) or {}
        if labels:
            wanted = ",".join(f"{key}={value}" for key, value in labels.items())
            path = f"/api/v1/namespaces/{self._namespace}/pods"
            for pod in await self._list(path, {"labelSelector": wanted, "limit": _PODS}, "pods", "Pods"):
                owners = _pods.decode(pod).metadata.owner_references or ()
                if any(each.uid == uid for each in owners):
                    self._evidence.seen(uid, pod)
        await self._evidence.settled(uid, _PATIENCE_SECONDS)
        return await self._evidence.held(uid)

    async def _events(self, pods: Sequence[PodEvidence]) -> tuple[tuple[EventLine, ...], tuple[EventLine, ...]]:
        """Return the Events of the Job, and of its newest Pods."""
        of_job, *of_pods = await asyncio.gather(
            self._events_about(self._candidate.uid),
            *(self._events_about(pod.uid) for pod in pods[-_PODS_WITH_EVENTS:]),
        )
        return read_events(of_job, self._redactor), read_events(
            [each for some in of_pods for each in some], self._redactor
        )

    async def _events_about(self, uid: str) -> list[Any]:
        path = f"/api/v1/namespaces/{self._namespace}/events"
        asked: dict[str, str | int] = {"fieldSelector": f"involvedObject.uid={uid}", "limit": _EVENTS}
        return [msgspec.json.decode(event) for event in await self._list(path, asked, "events", "Events")]

    async def _cron_job(self, managed_by: OwnerReference | None) -> dict[str, Any] | None:
        if managed_by is None or managed_by.kind != "CronJob" or managed_by.group != "batch":
            return None
        name = quote(managed_by.name, safe="")
        path = f"/apis/{managed_by.api_version}/namespaces/{self._namespace}/cronjobs/{name}"
        try:
            return self._redactor.object("CronJob", msgspec.json.decode(await self._api.get(path)))
        except ApiError as error:
            grant = "; it needs the verb get on cronjobs" if error.is_forbidden else ""
            self._note("cron_job", f"The CronJob could not be read: {_reason(error)}{grant}.")
            return None

    async def _owner_changes(self, managed_by: OwnerReference | None) -> tuple[RecordedChange, ...]:
        candidate = self._candidate
        kind, name = ("Job", candidate.name) if managed_by is None else (managed_by.kind, managed_by.name)
        try:
            return read_changes(await self._changes(kind, candidate.namespace, name, candidate.failed_at))
        except LookupError as error:
            self._note("changes", f"The last changes of {kind} {name} are not known: {error.args[0]}.")
            return ()

    async def _list(
        self, path: str, parameters: Mapping[str, str | int], topic: Topic, what: str
    ) -> Sequence[msgspec.Raw]:
        try:
            return _lists.decode(await self._api.get(path, parameters)).items or ()
        except ApiError as error:
            grant = f"; it needs the verb list on {what.lower()}" if error.is_forbidden else ""
            self._note(topic, f"{what} could not be read: {_reason(error)}{grant}.")
            return ()

    def _note(self, topic: Topic, text: str) -> None:
        note = Note(topic, text)
        if note not in self._notes:
            self._notes.append(note)


def _wants(kind: type[JobEnricher], enrichers: Sequence[JobEnricher]) -> bool:
    return any(isinstance(each, kind) for each in enrichers)


async def _nothing(value: Any) -> Any:
    return value


def _failure(head: JobHead, at: datetime, redactor: Redactor) -> Failure:
    found = failure(head) or Failure(reason="Failed", message="why is not known: the Job was deleted")
    return Failure(reason=found.reason, message=redactor.text(found.message), at=found.at or at.astimezone(UTC))


def _owner_name(managed_by: OwnerReference | None, namespace: str) -> str:
    return f"{managed_by.kind} {namespace}/{managed_by.name}" if managed_by else ""


def _reason(error: ApiError) -> str:
    if error.is_not_found:
        return "it is gone"
    if error.is_forbidden:
        return "permission is missing"
    return f"the API server answered {error.status} {error.reason}" if error.status else "the API server did not answer"
