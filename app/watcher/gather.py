"""Everything that is known of one failed Job, collected when it is told. What cannot be learnt becomes a note."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar

import msgspec

from app.core.actions import JobEnricher, JobEventsEnricher, JobInfoEnricher, JobPodEnricher
from app.core.evidence import PodEvidence
from app.core.job_events import EventLine, read_events
from app.core.job_pods import trimmed
from app.core.job_report import FailedJob, Note, Topic
from app.core.jobs import Failure, JobHead, OwnerReference, failure, owner
from app.core.label_selector import label_selector
from app.core.raw import items, mapping
from app.core.recorded_changes import RecordedChange, read_changes
from app.core.redact import Redactor
from app.kube.errors import ApiError
from app.kube.handling import UNREADABLE
from app.kube.turns import Turns
from app.watcher.changes import RecentChanges
from app.watcher.jobs import FailedCandidate

T = TypeVar("T")

_PATIENCE_SECONDS: Final = 5.0
"""How long a finding waits for logs that are being read: a slow kubelet must not keep everybody uninformed."""

_CALL_SECONDS: Final = 10.0
"""How long a finding waits for one answer of the API server, tries together."""

_EVENTS: Final = 500
_PODS: Final = 100
_PODS_WITH_EVENTS: Final = 5

_SEGMENT: Final = re.compile(r"[A-Za-z0-9](?:[-.A-Za-z0-9]*[A-Za-z0-9])?")
"""What a path is made of. The name of an owner is whatever the author of a Job wrote."""

_ODD: Final = (*UNREADABLE, RecursionError)


class Api(Protocol):
    """What is asked of the API server."""

    async def get(
        self,
        path: str,
        parameters: Mapping[str, str | int] | None = None,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  ends as an ApiError, which asyncio.timeout would not
    ) -> bytes:
        """Return the answer's body; raises ApiError."""


class Evidence(Protocol):
    """Who holds what is known of Pods."""

    def seen(self, job_uid: str, item: msgspec.Raw) -> None:
        """Take a Pod of a failed Job as it is now, and read its logs where they are missing."""

    async def settled(self, job_uid: str, timeout_seconds: float) -> bool:
        """Wait until the logs that are being read have been read; say whether they have."""

    async def held(self, job_uid: str) -> Sequence[PodEvidence]:
        """Return what is held of the Job's Pods, the oldest first."""


class _List(msgspec.Struct):
    items: list[msgspec.Raw] | None = None


_lists: Final = msgspec.json.Decoder(_List)
_documents: Final = msgspec.json.Decoder(dict[str, Any])


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

    async def of(self, wanted: Callable[[dict[str, Any]], Sequence[JobEnricher]]) -> FailedJob:
        raw = await self._job()
        head = msgspec.convert(raw, JobHead)
        document = self._identified(self._redactor.object("Job", raw))
        self._redactor = self._redactor.knowing("Job", raw)
        enrichers = wanted(document)
        managed_by = owner(head)
        shows_pods = [each for each in enrichers if isinstance(each, JobPodEnricher)]
        # Only what is shown of the logs: this may wait in memory for long, beside many others.
        pods = trimmed(await self._pods(raw), shows_pods) if shows_pods else ()
        (events, pod_events), cron_job, changes = await asyncio.gather(
            self._events(pods) if _wants(JobEventsEnricher, enrichers) else _nothing(((), ())),
            self._cron_job(managed_by) if _wants(JobInfoEnricher, enrichers) else _nothing(None),
            self._owner_changes(managed_by) if _wants(JobInfoEnricher, enrichers) else _nothing(()),
        )
        return FailedJob(
            document=document,
            failure=_failure(head, self._candidate.failed_at, self._redactor),
            events=events,
            pods=pods,
            pod_events=pod_events,
            cron_job=cron_job,
            owner=_owner_name(managed_by, self._candidate.namespace),
            owner_changes=changes,
            notes=tuple(self._notes),
        )

    async def _job(self) -> dict[str, Any]:
        """Return the Job as it was seen, else as it is, else the little that is known."""
        seen = _document(self._candidate.read())
        found = seen or await self._object("job", "The Job", "batch/v1", "jobs", self._candidate.name)
        if found is not None and (head := _head(found)) is not None and head.metadata.uid == self._candidate.uid:
            return found
        if not self._notes:
            self._note("job", "The Job could not be read: it was deleted, and another has its name.")
        return {"apiVersion": "batch/v1", "kind": "Job"}

    def _identified(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the redacted Job with its identity, by which it is found: a pattern for secrets may match a uid.

        As in recorded changes, `managedFields`, which would be half of it, is left out.
        """
        candidate = self._candidate
        identity = {"name": candidate.name, "namespace": candidate.namespace, "uid": candidate.uid}
        metadata = {key: value for key, value in mapping(document, "metadata").items() if key != "managedFields"}
        return {**document, "metadata": {**metadata, **identity}}

    async def _pods(self, job: dict[str, Any]) -> Sequence[PodEvidence]:
        """Show what the API server still has of the Job's Pods to who holds the evidence; return all of it."""
        uid = self._candidate.uid
        # What it leaves out does no harm: whose Pods they are is said by their owners.
        selector = label_selector(mapping(job, "spec", "selector")) or f"job-name={self._candidate.name}"
        turns = Turns()
        for pod in await self._list("pods", "Pods", {"labelSelector": selector, "limit": _PODS}):
            await turns.give()
            owners = items(_document(pod), "metadata", "ownerReferences")
            if any(isinstance(each, dict) and each.get("uid") == uid for each in owners):
                self._evidence.seen(uid, pod)
        if not await self._evidence.settled(uid, _PATIENCE_SECONDS):
            seconds = f"{_PATIENCE_SECONDS:g} s"
            self._note("logs", f"Some logs could not be read within {seconds}: is the Pods' node reachable?")
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
        asked: dict[str, str | int] = {"fieldSelector": f"involvedObject.uid={uid}", "limit": _EVENTS}
        return [_document(event) for event in await self._list("events", "Events", asked)]

    async def _cron_job(self, managed_by: OwnerReference | None) -> dict[str, Any] | None:
        if managed_by is None or managed_by.kind != "CronJob" or managed_by.group != "batch":
            return None
        version = managed_by.api_version
        found = await self._object("cron_job", "The CronJob", version, "cronjobs", managed_by.name)
        return None if found is None else self._redactor.object("CronJob", found)

    async def _owner_changes(self, managed_by: OwnerReference | None) -> tuple[RecordedChange, ...]:
        candidate = self._candidate
        kind, name = ("Job", candidate.name) if managed_by is None else (managed_by.kind, managed_by.name)
        try:
            return read_changes(await self._changes(kind, candidate.namespace, name, candidate.failed_at))
        except LookupError as error:
            self._note("changes", f"The last changes of {kind} {name} are not known: {error.args[0]}.")
            return ()

    async def _object(
        self, topic: Topic, what: str, group_version: str, resource: str, name: str
    ) -> dict[str, Any] | None:
        """Return an object of the Job's namespace, or note why not."""
        segments = ("apis", *group_version.split("/"), "namespaces", self._candidate.namespace, resource, name)
        return await self._ask(topic, what, f"get on {resource}", segments, {}, _documents)

    async def _list(self, topic: Topic, what: str, parameters: Mapping[str, str | int]) -> Sequence[msgspec.Raw]:
        """Return what the core API has in the Job's namespace, or note why not."""
        resource = what.lower()
        segments = ("api", "v1", "namespaces", self._candidate.namespace, resource)
        found = await self._ask(topic, what, f"list on {resource}", segments, parameters, _lists)
        return (found and found.items) or ()

    async def _ask(
        self,
        topic: Topic,
        what: str,
        right: str,
        segments: Sequence[str],
        parameters: Mapping[str, str | int],
        decoder: msgspec.json.Decoder[T],
    ) -> T | None:
        if not all(map(_SEGMENT.fullmatch, segments)):
            self._note(topic, f"{what} could not be read: Kubernetes allows no such name.")
            return None
        try:
            answer = await self._api.get("/" + "/".join(segments), parameters, timeout=_CALL_SECONDS)
            return decoder.decode(answer)
        except ApiError as error:
            self._note(topic, f"{what} could not be read: {_reason(error, right)}.")
        except _ODD:
            self._note(topic, f"{what} could not be read: the API server's answer is not understood.")
        return None

    def _note(self, topic: Topic, text: str) -> None:
        note = Note(topic, text)
        if note not in self._notes:
            self._notes.append(note)


def _document(raw: bytes | msgspec.Raw) -> dict[str, Any] | None:
    try:
        return _documents.decode(raw)
    except _ODD:
        return None


def _head(document: dict[str, Any]) -> JobHead | None:
    try:
        return msgspec.convert(document, JobHead)
    except msgspec.ValidationError:
        return None


def _wants(kind: type[JobEnricher], enrichers: Sequence[JobEnricher]) -> bool:
    return any(isinstance(each, kind) for each in enrichers)


async def _nothing(value: Any) -> Any:
    return value


def _failure(head: JobHead, at: datetime, redactor: Redactor) -> Failure:
    found = failure(head) or Failure(reason="Failed", message="why is not known: the Job could not be read")
    return Failure(reason=found.reason, message=redactor.text(found.message), at=found.at or at.astimezone(UTC))


def _owner_name(managed_by: OwnerReference | None, namespace: str) -> str:
    return f"{managed_by.kind} {namespace}/{managed_by.name}" if managed_by else ""


def _reason(error: ApiError, right: str) -> str:
    if error.is_not_found:
        return "it is gone"
    if error.is_forbidden:
        return f"permission is missing; the watcher's role needs the verb {right}"
    return f"the API server answered {error.status} {error.reason}" if error.status else "the API server did not answer"
